"""Runs and scripts in this process."""

import shutil
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

import main
import recommend
import run_ablation
import save_embeddings
from config import get_config
from runtime.cli import run_script
from tests.helpers.data import write_data
from tests.helpers.import_samples import kaggle_2020
from tests.helpers.runs import interrupted, words
from tools import convert

SCRIPTS = {"save_embeddings": save_embeddings, "main": main, "recommend": recommend, "convert": convert}
Script = Callable[..., int]


@pytest.fixture
def script(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Run a script in this process on the data, saved_dir and exports of this test; returns its exit code."""
    kaggle_2020(tmp_path / "kaggle")

    def run(name: str, *more: str) -> int:
        given = {
            "convert": [
                "kaggle-2020",
                str(tmp_path / "kaggle"),
                "--adult",
                "yes",
                "--out",
                str(tmp_path / "converted"),
            ],
            "recommend": ["--data_dir", config["data_dir"], "--saved_dir", config["saved_dir"]],
        }
        monkeypatch.setattr(sys, "argv", [name, *(given[name] if name in given else words(config)[1:]), *more])
        return run_script(SCRIPTS[name].main)

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A config, and the folder of three runs: finished, one whose training was just done, and a page's."""
    folder = tmp_path_factory.mktemp("whole")
    config = get_config(
        {
            "data_dir": str(write_data(folder / "data", 20, 24)),
            "saved_dir": "saved",
            "vectors_dir": str(folder / "vectors"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 4,
            "epochs": 2,
            "batch_size": 64,
            "device": "cpu",
        }
    )
    for name, run in (("finished", main.run), ("stopped", interrupted)):
        (folder / name).mkdir()
        with chdir(folder / name):
            run(config)
    return config, folder


@pytest.fixture
def copied(
    whole: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """Copy the saved/ of one of these runs to where this test runs, and return the config."""

    def copy(name: str) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree("saved", ignore_errors=True)
        shutil.copytree(whole[1] / name / "saved", "saved")
        return whole[0]

    return copy


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The baselines that were tuned."""
    called: list[str] = []
    tuned = run_ablation.tuned
    monkeypatch.setattr(run_ablation, "tuned", lambda name, *args: called.append(name) or tuned(name, *args))
    return called
