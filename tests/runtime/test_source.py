"""Digests of the code: what changes them and what does not, and which modules a run has."""

import ast
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

import main
from runtime import identity, source
from runtime.files import load_torch
from runtime.source import changed_modules, run_digests, source_digests, told
from training.losses import BATCHES

ROOT = Path(__file__).parents[2]
CODE = '''"""A module."""

from training import helper


def scale(x: float) -> float:
    """Double it."""
    # twice
    return 2 * x


class Empty:
    """Nothing."""
'''


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project of which main imports a part, with a room that does not count."""
    files = {
        "main.py": "import model\nfrom runtime import files\nfrom training.epoch import train\n",
        "model.py": CODE,
        "training/helper.py": "STEP = 1\n",
        "training/epoch.py": "from training.losses import BATCHES\n\n\ndef train():\n    pass\n",
        "training/losses.py": "from training import bpr, other\n\nBATCHES = {'bpr': bpr, 'other': other}\n",
        "training/bpr.py": "A = 1\n",
        "training/other.py": "B = 1\n",
        "training/alone.py": "C = 1\n",
        "runtime/files.py": "D = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(source, "ROOT", tmp_path)
    source._read.cache_clear()
    return tmp_path


def rewritten(house: Path, name: str, old: str, new: str) -> list[str]:
    """Return what changes for bpr where a file is changed."""
    before = source_digests("main", loss="bpr")
    text = (house / name).read_text()
    assert old in text
    (house / name).write_text(text.replace(old, new))
    source._read.cache_clear()
    return changed_modules(before, source_digests("main", loss="bpr"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# twice", "# two times"),
        ("    # twice\n", ""),
        ('"""Double it."""', '"""Return twice as much."""'),
        ('    """Double it."""\n', ""),
        ('"""A module."""\n', ""),
        ("return 2 * x", "return (2  *  x)"),
        ("\n\n\ndef", "\n\n\n\n\ndef"),
    ],
)
def test_words_and_layout_change_nothing(old: str, new: str, house: Path) -> None:
    assert rewritten(house, "model.py", old, new) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 * x", "3 * x"),
        ("2 * x", "2.0 * x"),
        ("2 * x", "x * 2"),
        ("2 * x", "2 + x"),
        ("return 2 * x", "x = 2 * x\n    return x"),
        ("scale(x: float)", "scale(x: float = 1)"),
        ("scale", "scaled"),
        ("    return 2 * x", "    return '2 * x'"),
        ('"""Double it."""', "'' 'not', 'a docstring'"),
    ],
)
def test_code_changes_the_digest_of_its_module_alone(old: str, new: str, house: Path) -> None:
    assert rewritten(house, "model.py", old, new) == ["model.py"]


def test_what_main_imports_counts_in_the_rooms_that_decide_figures(house: Path) -> None:
    of_bpr = ["main.py", "model.py", "training/bpr.py", "training/epoch.py", "training/helper.py"]
    assert list(source_digests("main", loss="bpr")) == of_bpr
    assert "training/other.py" in source_digests("main", loss="other")
    assert {"training/other.py", "training/bpr.py"} <= set(source_digests("main", loss="of no file"))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("training/losses.py", "'other': other", "'third': other"),
        ("training/other.py", "1", "2"),
        ("training/alone.py", "1", "2"),
        ("runtime/files.py", "1", "2"),
    ],
)
def test_what_decides_no_figure_of_the_run_changes_nothing(name: str, old: str, new: str, house: Path) -> None:
    assert rewritten(house, name, old, new) == []


def test_changes_are_named() -> None:
    assert changed_modules({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == ["b", "c", "d"]
    assert changed_modules({}, {"a": "1"}) == ["a"]
    assert told(["model.py"]) == "model.py changed since"
    assert told(list("abcdef")) == "a, b, c, d and 2 more changed since"


@pytest.mark.parametrize("loss", BATCHES)
def test_the_modules_of_a_run_are_those_that_decide_its_figures(loss: str) -> None:
    found = run_digests({"loss": loss})
    others = {f"training/{other}.py" for other in BATCHES if other not in (loss, "bpr", "softmax")}
    assert not set(found) & others
    decide = ["main.py", "model.py", "trainer.py", "evaluator.py", "data_loader.py", "llm_embedding.py"]
    decide += ["evaluation/ranking.py", "text/encoders.py", "training/epoch.py", "training/steps.py"]
    assert {*decide, f"training/{loss}.py"} <= set(found)
    assert not any(name.startswith(("runtime/", "web/", "inference/", "importers/", "config")) for name in found)


def test_digests_are_there_at_once() -> None:
    source._read.cache_clear()
    seconds = []
    for _ in range(3):
        source._read.cache_clear()
        start = time.process_time()
        run_digests({"loss": "bpr"})
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2  # a twentieth on a free core


def test_every_file_of_the_project_can_be_read() -> None:
    """No field of a tree is left out but those without a value and the context of names."""
    for path in (ROOT / "training").glob("*.py"):
        digest, imported = source._read(path, path.stat().st_mtime_ns, path.stat().st_size)
        assert len(digest) == 12
        lines = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        own = {line.module for line in lines if (ROOT / (line.module.replace(".", "/") + ".py")).is_file()}
        assert own <= set(imported)


# --- runs ---


def rerun(config: dict[str, Any], caplog: pytest.LogCaptureFixture) -> str:
    """Give the command of a run again, and return what it logs."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        main.run(config)
    return caplog.text


@pytest.mark.slow
def test_a_finished_run_of_other_code_is_named_and_run_again(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = Path(config["saved_dir"])
    config = {**config, "epochs": 1}
    metrics = main.run(config)
    assert metrics["code"] == run_digests(config) == load_torch(saved / "best_model.pth")["code"]
    assert "nothing is left to do" in rerun(config, caplog)
    other = {**metrics["code"], "model.py": "0" * 12}
    with monkeypatch.context() as patch:
        patch.setattr(identity, "run_digests", lambda config: other)
        told_of = rerun(config, caplog)
        assert "finished by other code (model.py changed since); running again" in told_of
        assert "epoch   1" in told_of
        assert json.loads((saved / "metrics.json").read_text())["code"] == other
        assert "nothing is left to do" in rerun(config, caplog)


@pytest.mark.slow
def test_a_setting_that_is_new_since_leaves_a_finished_run_finished(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    saved = Path(config["saved_dir"])
    metrics = main.run({**config, "epochs": 1})
    del metrics["config"]["margin"]
    (saved / "metrics.json").write_text(json.dumps(metrics))
    (saved / "manifest.json").unlink()
    assert "nothing is left to do" in rerun({**config, "epochs": 1}, caplog)
    assert "nothing is left to do" not in rerun({**config, "epochs": 1, "margin": 0.5}, caplog)


@pytest.mark.slow
def test_a_run_that_recorded_no_code_is_run_again_and_can_be_used_before(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    saved = Path(config["saved_dir"])
    config = {**config, "epochs": 1}
    metrics = main.run(config)
    old = {key: value for key, value in metrics.items() if key != "code"}
    (saved / "metrics.json").write_text(json.dumps(old))
    (saved / "manifest.json").unlink()
    main.run({**config, "mode": "inference"})
    assert "other code" not in caplog.text
    assert "(which, it did not record); running again" in rerun(config, caplog)
