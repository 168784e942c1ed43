"""The house: which module may import which, and that importing one does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# from the ground up; a module imports only from floors below its own
FLOORS = (
    {"memory", "untrusted"},
    {"settings", "files", "processes", "readers", "splits", "encoders", "significance", "tables", "charts",
     "shallow", "beyond", "report_parts", "serve_models", "title_names"},
    {"config", "data_loader", "vector_cache", "text_store", "model", "manifest"},
    {"llm_embedding"},
    {"evaluator", "losses", "fold_in", "checkpoints"},
    {"baselines", "linear", "lists", "reasons", "report_files"},
    {"calibration", "report_lists", "report_decided", "new_items"},
    {"trainer", "report", "serving"},
    {"selection", "exports", "newcomers"},
    {"serve_answers"},
    {"runs"},
    {"main", "save_embeddings", "recommend", "run_ablation", "serve", "tune"},
)
SCRIPTS = FLOORS[-1]
MODULES = sorted(path.stem for path in ROOT.glob("*.py"))


def allowed(module: str) -> set[str]:
    """Name what a module may import: what lies below it, but config for scripts alone, and main for the ablation."""
    floor = next(number for number, floor in enumerate(FLOORS) if module in floor)
    below = set().union(*FLOORS[:floor]) - {"config"}
    if module == "config":
        return {"settings", "memory"}
    return below | ({"config"} if module in SCRIPTS else set()) | ({"main"} if module == "run_ablation" else set())


def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / f"{module}.py").read_text(encoding="utf-8"))


def imported(module: str) -> set[str]:
    """Name the project modules a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names & set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    assert any(module in floor for floor in FLOORS), f"{module}.py is not in the house"
    assert imported(module) <= allowed(module), f"{module} imports {imported(module) - allowed(module)}"


def test_no_file_of_the_house_is_longer_than_350_lines() -> None:
    files = [*ROOT.glob("*.py"), *ROOT.glob("*.jinja"), *ROOT.glob("*.css"), *ROOT.glob("tools/*.py"),
             *ROOT.glob("benchmarks/*.py"), *ROOT.glob("importers/*.py"), ROOT / "tests" / "conftest.py"]
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {name: length for name, length in lengths.items() if length > 350}


@pytest.mark.parametrize("module", MODULES)
def test_no_eval_and_no_seed_or_threads_set_globally(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "np.random.seed", "torch.manual_seed",
                                "random.seed", "torch.set_num_threads"}, f"{module} line {node.lineno}: {name}"
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert keywords.get("weights_only", "True") == "True"
            assert keywords.get("allow_pickle", "False") == "False"


@pytest.mark.parametrize("module", MODULES)
def test_every_function_has_type_hints(module: str) -> None:
    _assert_type_hints(tree(module), module)


@pytest.mark.parametrize("path", sorted(ROOT.glob("importers/*.py")), ids=lambda path: path.stem)
def test_every_function_of_the_importers_has_type_hints(path: Path) -> None:
    _assert_type_hints(ast.parse(path.read_text(encoding="utf-8")), path.stem)


def _assert_type_hints(parsed: ast.Module, module: str) -> None:
    for node in ast.walk(parsed):
        if isinstance(node, ast.FunctionDef):
            named = [a for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "ctx", "cls")]
            assert all(argument.annotation for argument in named), f"{module}.{node.name}"
            assert node.returns is not None or node.name == "__init__", f"{module}.{node.name}"


@pytest.mark.parametrize("module", MODULES)
def test_config_is_read_with_brackets(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) != "config.get", f"{module} line {node.lineno}"


def test_importing_parses_nothing_and_makes_nothing(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(MODULES)}"
    done = subprocess.run([sys.executable, "-c", program, "--no_such_setting", "x"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_main_run_fits_on_a_screen() -> None:
    run = next(node for node in tree("main").body if isinstance(node, ast.FunctionDef) and node.name == "run")
    assert run.end_lineno - run.lineno <= 55
