"""Fixtures of all tests: a small data folder, a config for a run of a second, and its dataset."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from config import get_config
from data_loader import Dataset, load_dataset
from runtime import checkpoints
from runtime.language import VARIABLES
from tests.helpers.data import write_data
from tests.helpers.profiles import load_profile

for name in VARIABLES:  # tests read what is printed, in English
    if os.environ.get(name, "").lower().startswith("zh"):
        os.environ[name] = "C.UTF-8"


load_profile()


@pytest.fixture(autouse=True)
def saves_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a write takes: tests stop runs after certain epochs."""
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)


@pytest.fixture(autouse=True)
def _logger_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the handler that run_script sets, which writes to a stream of one test, from reaching the next test."""
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("aglrec"), "level", logging.NOTSET)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def config(data_dir: Path, tmp_path: Path) -> dict[str, Any]:
    """A config for a run of a second or two on data_dir."""
    return get_config(
        {
            "data_dir": str(data_dir),
            "saved_dir": str(tmp_path / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "epochs": 3,
            "batch_size": 64,
            "device": "cpu",
        }
    )


@pytest.fixture
def dataset(config: dict[str, Any]) -> Dataset:
    return load_dataset(config)
