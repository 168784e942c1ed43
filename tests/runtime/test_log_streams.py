"""Streams of epochs for trackers: what is in them, and that resuming repeats no epoch."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import main
import trainer
from data_loader import Dataset
from runtime.log_streams import add_result
from tests.helpers.training import fitted, history, killed_before


def lines_of(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def logged(config: dict[str, Any], tmp_path: Path) -> tuple[dict[str, Any], Path]:
    return {**config, "log_dir": str(tmp_path / "logs")}, tmp_path / "logs"


def test_a_run_streams_its_config_its_epochs_and_its_test_figures(logged: tuple[dict[str, Any], Path]) -> None:
    config, folder = logged
    metrics = main.run({**config, "eval_every": 2, "cold_item_ratio": 0.2})
    first, *epochs, last = lines_of(folder)
    assert first["run"] == metrics["run"]
    assert first["config"] == metrics["config"]
    assert [line["step"] for line in epochs] == [1, 2, 3]
    for line, known in zip(epochs, history(config), strict=True):
        assert (line["train/loss"], line["train/seconds"]) == (known["loss"], known["seconds"])
        assert line.get("valid/NDCG_at_20") == known.get("NDCG@20")
    assert ["valid/Recall_at_10" in line for line in epochs] == [False, True, True]
    assert (last["step"], last["best_epoch"]) == (3, metrics["epoch"])
    assert last["test/NDCG_at_20"] == metrics["test"]["NDCG@20"]
    assert last["warm/AUC"] == metrics["warm"]["AUC"]
    assert last["cold/among_all/Hit_at_10"] == metrics["cold"]["among_all"]["Hit@10"]
    assert not any("@" in name for line in [*epochs, last] for name in line)  # MLflow refuses it


def test_without_log_dir_nothing_is_written(config: dict[str, Any], dataset: Dataset, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*.jsonl"))
    fitted(dataset, config)
    add_result(config, {"run": "x"})
    assert {path.name for path in set(tmp_path.rglob("*.jsonl")) - before} == {"history.jsonl"}


@pytest.mark.parametrize("lost", [0, 1], ids=["saved", "an epoch lost"])
def test_resuming_repeats_no_epoch(
    lost: int, logged: tuple[dict[str, Any], Path], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = {**logged[0], "epochs": 5, "early_stop_round": 0}, logged[1]
    with monkeypatch.context() as patch:
        killed_before(3, dataset, config, patch)
    if lost:  # the checkpoint of epoch 1 is the last, while the stream went further
        (path,) = folder.glob("*.jsonl")
        with path.open("a") as file:
            file.write('{"step": 3, "train/loss": 9}\n{"step": 4, "tr')
    fitted(dataset, config)
    _, *epochs = lines_of(folder)
    assert [line["step"] for line in epochs] == [1, 2, 3, 4, 5]
    assert [line["train/loss"] for line in epochs] == [line["loss"] for line in history(config)]


def test_each_run_has_its_own_stream(
    logged: tuple[dict[str, Any], Path], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = logged
    for name in ("a", "b"):
        fitted(dataset, {**config, "saved_dir": f"{config['saved_dir']}/{name}"})
    assert sorted(path.name.rpartition("-")[0] for path in folder.iterdir()) == ["saved-a", "saved-b"]
    monkeypatch.setattr("runtime.log_streams.rank", lambda: 1)
    fitted(dataset, {**config, "saved_dir": f"{config['saved_dir']}/c"})
    assert len(list(folder.iterdir())) == 2  # other processes than the first write nothing


def test_tensorboard_gets_the_same_if_it_is_there(
    logged: tuple[dict[str, Any], Path], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = {**logged[0], "epochs": 4, "early_stop_round": 0}, logged[1]
    found: list[Any] = []

    class Writer:
        def __init__(self, log_dir: str, purge_step: int | None) -> None:
            found.append((Path(log_dir).parent, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            found.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None:
            found.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    killed_before(3, dataset, config, monkeypatch)
    fitted(dataset, config)
    assert [entry for entry in found if len(entry) == 2] == [(folder, 1), (folder, 3)]
    losses = [entry for entry in found if entry[0] == "train/loss"]
    assert losses == [("train/loss", line["loss"], line["epoch"]) for line in history(config)]
    assert found[-1] == "closed"


def test_a_folder_that_cannot_be_is_told_before_training(
    logged: tuple[dict[str, Any], Path], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = logged
    folder.write_text("a file")
    monkeypatch.setattr(trainer, "train_epoch", lambda *args, **more: pytest.fail("trained"))
    with pytest.raises(OSError, match="a file stands where a folder is needed"):
        fitted(dataset, config)
