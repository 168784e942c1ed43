"""A folder that has a finished run already, and one whose data are not where --data_dir looks by default."""

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import main
import recommend
from config import get_config
from inference.finished_run import load_finished
from runtime import manifest
from runtime.cli import run_script
from tests.helpers.data import write_data


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    words = {"data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"), "fusion_mode": "none", "epochs": 1}
    return get_config({**words, "embedding_dim": 4, "device": "cpu", **more})


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A folder with data and a finished run in saved."""
    write_data(tmp_path / "data", 20, 24)
    main.run(settings(tmp_path))
    return tmp_path


def took(folder: Path, seconds: float) -> bytes:
    """Let the run have taken so long, and return the bytes of its model."""
    path = folder / "saved" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["timing"]["total_s"] = seconds
    path.write_text(json.dumps(metrics), encoding="utf-8")
    manifest.record_again(path.parent, path.name)
    return (folder / "saved" / "best_model.pth").read_bytes()


def test_that_a_short_run_is_replaced_is_told(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "aglrec"):
        metrics = main.run(settings(finished, lr=0.01))
    assert (
        "the finished run in it (lr was 0.001, now it is 0.01) is replaced; another --saved_dir would keep"
        in caplog.text
    )
    assert metrics["config"]["lr"] == 0.01


def test_a_long_run_is_not_lost(finished: Path) -> None:
    before = took(finished, 7200)
    with pytest.raises(ValueError, match=r"\(lr was 0.001, now it is 0.01\) took 120 minutes and would be lost; name"):
        main.run(settings(finished, lr=0.01))
    shutil.copytree(finished / "data", finished / "other")
    path = finished / "other" / "interactions.tsv"
    path.write_text(path.read_text("utf-8") + "new\ts1\t5\t\t\n" + "new\ts2\t5\t\t\n", "utf-8")
    with pytest.raises(ValueError, match=r"data_dir was .*data, now it is .*other; the data, .*would be lost"):
        main.run(settings(finished, data_dir=str(finished / "other")))
    assert (finished / "saved" / "best_model.pth").read_bytes() == before
    assert main.run(settings(finished, lr=0.01, resume="never"))["config"]["lr"] == 0.01


def test_data_that_grew_where_they_are_are_trained_on_again(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    took(finished, 7200)
    path = finished / "data" / "interactions.tsv"
    path.write_text(path.read_text("utf-8") + "new\ts1\t5\t\t\n" + "new\ts2\t5\t\t\n", "utf-8")
    with caplog.at_level(logging.WARNING, "aglrec"):
        main.run(settings(finished))
    assert "(the data, or how they are split, have changed) is replaced" in caplog.text


def test_the_same_run_and_lists_of_another_length_replace_nothing(
    finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = took(finished, 7200)
    with caplog.at_level(logging.WARNING, "aglrec"):
        main.run(settings(finished))
        main.run(settings(finished, recommend_k=5))
    assert not caplog.text
    assert (finished / "saved" / "best_model.pth").read_bytes() == before


# --- the folder of the data ---


def asked(saved: Path, *words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["recommend.py", "--saved_dir", str(saved), *words])
    return run_script(recommend.main)


def test_a_run_knows_where_its_data_are(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.parent)
    assert asked(finished / "saved", "--user", "u1", "--k", "3", monkeypatch=monkeypatch) == 0
    assert f"the data are read from {finished / 'data'}, as in training" in capsys.readouterr().out
    (finished / "data").rename(finished / "moved")
    assert asked(finished / "saved", "--user", "u1", monkeypatch=monkeypatch) == 2
    found = capsys.readouterr()
    assert f"{finished / 'data'}, where the data were in training, is not there; data is read" in found.out
    assert "error: " in found.err
    given = ("--user", "u1", "--data_dir", str(finished / "moved"))
    assert asked(finished / "saved", *given, monkeypatch=monkeypatch) == 0


def test_data_of_another_run_are_told_apart_by_their_folder(finished: Path, tmp_path_factory: Any) -> None:
    other = write_data(tmp_path_factory.mktemp("other"), 10, 24, seed=3)
    with pytest.raises(ValueError, match=f"than {other} holds now, those of {finished / 'data'}; name their folder"):
        load_finished(settings(finished, data_dir=str(other)))


def test_inference_finds_the_data_and_keeps_their_folder(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parent)
    (finished / "saved" / "metrics.json").unlink()
    config = get_config({"saved_dir": str(finished / "saved"), "mode": "inference", "device": "cpu"})
    assert main.run(config)["config"]["data_dir"] == str(finished / "data")
