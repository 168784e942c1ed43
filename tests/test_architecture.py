"""The house: which room may import which, and that importing a module does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# from the ground up; a module imports from lower floors and from its own room, never from a neighbour
FLOORS: tuple[tuple[str, ...], ...] = (
    ("runtime.settings", "runtime.presets"),
    ("config",),
    ("runtime",),
    ("dataset", "text"),
    ("data_loader", "importers", "evaluation.ranking", "evaluation.shared_ranking"),
    ("llm_embedding", "evaluation.tastes", "evaluation.score_sums"),
    ("model", "evaluator"),
    ("evaluation.rated",),
    ("training",),
    ("trainer", "evaluation", "inference"),
    ("web",),
    ("main",),
    ("run_ablation", "save_embeddings", "recommend", "tune", "serve", "report"),
    ("tools", "studies", "benchmarks"),
)
SCRIPTS = {name for floor in FLOORS[-3:] for name in floor}


def modules() -> dict[str, Path]:
    """Return every module of the house but its tests by dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] not in ("tests", "data", "saved", "docs") and not parts[0].startswith("."):
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
each_module = pytest.mark.parametrize("module", MODULES)


def floor_of(module: str) -> int:
    """Return the floor of a module: that of its own name, else of its room."""
    places = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    assert {module, room_of(module)} & set(places), f"{module} is in no room of the house"
    return places.get(module, places.get(room_of(module), 0))


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imported(module: str) -> set[str]:
    """Name the project's modules that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {member if member in MODULES else node.module for member in members}
    return names & set(MODULES)


@each_module
def test_imports_point_one_way(module: str) -> None:
    for other in imported(module):
        is_below = floor_of(other) < floor_of(module)
        is_near = room_of(other) == room_of(module)
        assert is_below or is_near, f"{module} imports {other}"


def test_no_module_is_part_of_a_circle() -> None:
    left = {module: imported(module) for module in MODULES}
    while free := {module for module, others in left.items() if not others & set(left)}:
        left = {module: others for module, others in left.items() if module not in free}
    assert not left


def test_the_root_shows_the_ten_modules_and_three_scripts() -> None:
    ten = "config main model trainer evaluator data_loader llm_embedding save_embeddings recommend run_ablation"
    assert {path.stem for path in ROOT.glob("*.py")} == {*ten.split(), "tune", "serve", "report"}


@each_module
def test_only_scripts_read_the_default_settings(module: str) -> None:
    names = {
        alias.name
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom) and node.module == "config"
        for alias in node.names
    }
    assert "CONFIG" not in names or room_of(module) in SCRIPTS or module == "runtime.cli"


def test_no_file_of_the_house_is_longer_than_350_lines() -> None:
    files = [*MODULES.values(), ROOT / "tests" / "conftest.py"]
    files += [path for ending in ("jinja", "css", "html") for path in ROOT.rglob(f"*.{ending}")]
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {name: length for name, length in lengths.items() if length > 350}
    tests = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert not {name: length for name, length in tests.items() if length > 500}


def test_no_test_imports_another() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        named = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        assert not [name for name in named if name and name.rpartition(".")[2].startswith(("test_", "conftest"))], path


@each_module
def test_no_eval_and_no_seed_or_threads_set_globally(module: str) -> None:
    # benchmarks alone time what a rival does, seeds and threads included
    free = {"torch.manual_seed", "torch.set_num_threads"} if room_of(module) == "benchmarks" else set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert (
                name
                not in {
                    "eval",
                    "exec",
                    "pickle.load",
                    "pickle.loads",
                    "np.random.seed",
                    "torch.manual_seed",
                    "random.seed",
                    "torch.set_num_threads",
                }
                - free
            ), f"{module} line {node.lineno}: {name}"
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert keywords.get("weights_only", "True") == "True"
            assert keywords.get("allow_pickle", "False") == "False"


@each_module
def test_every_function_has_type_hints(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef):
            named = [a for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "ctx", "cls")]
            assert all(argument.annotation for argument in named), f"{module}.{node.name}"
            assert node.returns is not None or node.name == "__init__", f"{module}.{node.name}"


@each_module
def test_config_is_read_with_brackets(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) != "config.get", f"{module} line {node.lineno}"


@pytest.mark.slow
def test_importing_parses_nothing_and_makes_nothing(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(MODULES)}"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no_such_setting", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_main_run_fits_on_a_screen() -> None:
    run = next(node for node in TREES["main"].body if isinstance(node, ast.FunctionDef) and node.name == "run")
    assert run.end_lineno - run.lineno <= 55
