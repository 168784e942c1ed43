"""studies/learning_curve.py: what it runs, tests and writes."""

import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student_t

import run_ablation
from config import get_config
from evaluation.tables import mean_and_sd
from runtime.cli import run_script
from studies import learning_curve
from tests.helpers.data import write_data

ROOT = Path(__file__).parents[2]
COUNTS, SEEDS = (1, 4), 2


def words(folder: Path) -> list[str]:
    settings = {
        "rows": "4,1",
        "seeds": SEEDS,
        "data_dir": folder / "data",
        "saved_dir": folder / "saved",
        "model_name": "lsa",
        "lsa_dim": 8,
        "embedding_dim": 8,
        "epochs": 2,
        "batch_size": 128,
        "device": "cpu",
        "fusion_mode": "concat",
        "lr": 0.05,
    }
    return ["learning_curve.py", *(word for key, value in settings.items() for word in (f"--{key}", str(value)))]


def call(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", argv)
    return run_script(learning_curve.main)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, and saved/ of a finished learning curve."""
    folder = tmp_path_factory.mktemp("curve")
    write_data(folder / "data", n_users=30)
    with pytest.MonkeyPatch.context() as patch:
        assert call(words(folder), patch) == 0
    return folder


def row(made: Path, n: int, tag: str) -> list[Path]:
    folder = made / "saved" / "sparsity" / f"n_{n}" / tag
    return [folder, folder / "seed_1"]


@pytest.mark.slow
def test_each_row_is_run_with_its_own_settings(made: Path) -> None:
    for n in COUNTS:
        for tag, fusion_mode in (("text", "concat"), ("no-text", "none")):
            for number, folder in enumerate(row(made, n, tag)):
                metrics = read(folder / "metrics.json")
                config = metrics["config"]
                assert (config["train_rows_per_user"], config["seed"], config["split_seed"]) == (n, number, number)
                assert (config["fusion_mode"], config["lr"]) == (fusion_mode, 0.05)
                assert metrics["data"]["train"] == 30 * n
                assert metrics["encoder"]["used"] == ("lsa" if tag == "text" else None)


def test_results_are_those_of_the_runs(made: Path) -> None:
    results = read(made / "saved" / "sparsity" / "results.json")
    assert (results["metric"], results["n"], results["n_seeds"]) == ("NDCG@20", [1, 4], SEEDS)
    assert list(results["series"]) == [
        "text",
        "no-text",
        "popularity",
        "item_knn",
        "ease",
        "edlae",
        "ease_text",
        "graph_filter",
        "content_cosine",
        "content_whitened",
    ]
    for tag, line in results["series"].items():
        home = tag if tag in ("text", "no-text") else f"baseline-{tag}"
        for n, number in zip(COUNTS, line, strict=True):
            found = [read(folder / "metrics.json")["warm"]["NDCG@20"] for folder in row(made, n, home)]
            assert number == pytest.approx({"mean": np.mean(found), "sd": np.std(found, ddof=1)})
    assert results["series"]["text"] != results["series"]["no-text"]


def test_p_is_that_of_a_paired_test_over_users_and_runs(made: Path) -> None:
    results = read(made / "saved" / "sparsity" / "results.json")
    for place, n in enumerate(COUNTS):
        tests = {
            tag: [read(folder / "comparison.json")["user_test"] for folder in row(made, n, tag)]
            for tag in ("text", "no-text")
        }
        differences = [
            {user: value - other[user] for user, value in one.items()}
            for one, other in zip(*tests.values(), strict=True)
        ]
        of_users = [
            np.mean([run[user] for run in differences if user in run])
            for user in sorted({user for run in differences for user in run})
        ]
        of_runs = [np.mean(list(run.values())) for run in differences]
        parts = [np.var(sample, ddof=1) / len(sample) for sample in (of_users, of_runs)]
        freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(of_users) - 1) + parts[1] ** 2 / (SEEDS - 1))
        assert results["gain"][place] == pytest.approx(np.mean(of_users))
        expected = 2 * student_t.sf(abs(np.mean(of_users)) / sum(parts) ** 0.5, freedom)
        assert results["p_uncorrected"][place] == pytest.approx(expected)
    low, high = sorted(results["p_uncorrected"])
    assert sorted(results["p"]) == pytest.approx([min(1, 2 * low), max(min(1, 2 * low), high)])


def test_one_seed_has_a_gain_without_a_p(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first seed of a finished curve, of which nothing is left to run."""
    shutil.copytree(made, tmp_path / "curve")
    monkeypatch.setattr(run_ablation, "run", lambda config: pytest.fail("run again"))
    argv = words(tmp_path / "curve")
    argv[argv.index("--seeds") + 1] = "1"
    assert call(argv, monkeypatch) == 0
    results = read(tmp_path / "curve" / "saved" / "sparsity" / "results.json")
    assert (results["n_seeds"], results["p"], results["p_uncorrected"]) == (1, [None, None], [None, None])
    assert all(isinstance(gain, float) for gain in results["gain"])
    lines = (tmp_path / "curve" / "saved" / "sparsity" / "results.md").read_text(encoding="utf-8").splitlines()
    assert [line.strip("|").split("|")[-1].strip() for line in lines[2:4]] == ["", ""]
    assert "no p for one seed" in lines[-1]
    assert "±" not in "".join(lines)


def test_table_and_chart(made: Path) -> None:
    lines = (made / "saved" / "sparsity" / "results.md").read_text(encoding="utf-8").splitlines()
    results = read(made / "saved" / "sparsity" / "results.json")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert cells[0] == ["train rows", *results["series"], "gain of text", "p"]
    assert all(set(cell) == {"-", ":"} for cell in cells[1][1:])
    assert [line[0] for line in cells[2:]] == ["1", "4"]
    assert cells[3][2] == mean_and_sd(results["series"]["no-text"][1], SEEDS)
    page = (made / "saved" / "report.html").read_text(encoding="utf-8")
    assert "train rows a user keeps" in page
    assert "what text is worth where users have few titles" not in page


@pytest.mark.slow
def test_the_same_command_goes_on(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = made / "saved" / "sparsity"
    before = read(saved / "results.json")
    (row(made, 4, "text")[0] / "metrics.json").unlink()
    ran: list[str] = []
    run = run_ablation.run
    monkeypatch.setattr(run_ablation, "run", lambda config: ran.append(config["saved_dir"]) or run(config))
    assert call(words(made), monkeypatch) == 0
    assert ran == [str(row(made, 4, "text")[0])]
    assert read(saved / "results.json") == before


@pytest.mark.parametrize(
    ("said", "fusion_mode"),
    [
        ({}, "sum"),
        ({"fusion_mode": "concat"}, "concat"),
        ({"preset": "tuned"}, "sum"),
        ({"preset": "tuned", "fusion_mode": "concat"}, "concat"),
        ({"preset": "paper", "fusion_mode": "sum"}, "sum"),
    ],
)
def test_text_is_fused_as_preset_and_command_line_say(said: dict[str, Any], fusion_mode: str) -> None:
    text, rest = learning_curve.split_settings({**said, "lr": 0.5})
    assert text == {"fusion_mode": fusion_mode, "use_user_llm": True, "use_item_llm": True}
    assert rest == {key: value for key, value in {**said, "lr": 0.5}.items() if key != "fusion_mode"}
    assert get_config({**text, **rest})["fusion_mode"] == fusion_mode
    assert get_config({"fusion_mode": "none", **rest})["fusion_mode"] == "none"


@pytest.mark.parametrize(
    "more",
    [
        ("--rows", "0,3"),
        ("--rows", "a"),
        ("--rows", ""),
        ("--fusion_mode", "none"),
        ("--preset", "paper"),
        ("--use_user_llm", "false", "--use_item_llm", "false"),
        ("--train_rows_per_user", "3"),
        ("--preset", "turbo"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["learning_curve.py", "--saved_dir", str(tmp_path / "saved"), *more], monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "saved").exists()


def test_as_a_script_it_finds_the_project_and_helps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As python studies/learning_curve.py, where sys.path starts with tools/, but without importing torch once more."""
    script = ROOT / "studies" / "learning_curve.py"
    others = [path for path in sys.path if Path(path).resolve() != ROOT]
    monkeypatch.setattr(sys, "path", [str(script.parent), *others])
    for module in ROOT.glob("*.py"):
        monkeypatch.delitem(sys.modules, module.stem, raising=False)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert "python studies/learning_curve.py [--rows" in printed
    assert "  --rows N,N" in printed
