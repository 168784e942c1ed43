"""Checkpoints: a killed run goes on bit for bit, and what does not match is refused."""

import logging
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import trainer
from data_loader import Dataset
from runtime import checkpoints, files
from tests.helpers.training import IDENTITY, SOFTMAX, built, fitted, history, killed_before, without_seconds
from training import epoch as training_epoch


@pytest.mark.parametrize(
    "more",
    [{}, SOFTMAX, {**SOFTMAX, "id_dropout": 0.5, "init": "svd", "normalize": True}, {"eval_every": 5}],
    ids=["bpr", "softmax", "dropout", "eval"],
)
def test_a_killed_run_goes_on_bit_for_bit(
    more: dict[str, Any], dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "epochs": 6, "lr": 0.05, "early_stop_round": 0, "num_layers": 2, **more}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    killed_before(4, dataset, config, monkeypatch)
    assert len(torch.load(Path(config["saved_dir"]) / "checkpoint.pth", weights_only=True)["history"]) == 3
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    whole_lines = history({**config, "saved_dir": config["saved_dir"] + "/whole"})
    assert without_seconds(history(config)) == without_seconds(whole_lines)


def test_saving_takes_a_share_of_the_time_at_most(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write takes a second by this clock, and an epoch three: one in seven is saved if that may take a twentieth."""
    clock, saved, save_torch, train_epoch = [0.0], [], checkpoints.save_torch, trainer.train_epoch

    def slow_save(path: Path, content: dict[str, Any]) -> None:
        save_torch(path, content)
        saved.append(content["epoch"])
        clock[0] += 1

    def slow_epoch(*args: Any, **more: Any) -> float:
        clock[0] += 3
        return train_epoch(*args, **more)

    monkeypatch.setattr(checkpoints, "save_torch", slow_save)
    monkeypatch.setattr(checkpoints, "SHARE", 0.05)
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(trainer, "train_epoch", slow_epoch)
    fitted(dataset, {**config, "epochs": 20, "early_stop_round": 0})
    assert saved == [1, 8, 15]


@pytest.mark.parametrize("how", ["asked", "exploded"])
def test_what_was_not_saved_is_when_training_ends_early(
    how: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "epochs": 6, "lr": 0.05, "early_stop_round": 0, "num_layers": 2}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    train_epoch = trainer.train_epoch

    def ending(*args: Any, **more: Any) -> float:
        loss = train_epoch(*args, **more)
        if args[5] == 4:
            if how == "exploded":
                raise FloatingPointError("the loss became nan")
            signal.raise_signal(signal.SIGINT)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "SHARE", 1e-9)  # the first epoch alone is saved
        patch.setattr(trainer, "train_epoch", ending)
        with pytest.raises(KeyboardInterrupt if how == "asked" else FloatingPointError):
            fitted(dataset, config)
    state = files.load_torch(Path(config["saved_dir"]) / "checkpoint.pth")
    assert state["epoch"] == (4 if how == "asked" else 3)
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "another"}, "the data, or how they are split"),
        ({"text": {"encoder": "lsa", "digest": "other"}}, "the model that encodes it"),
        ({"config": {**IDENTITY.config, "epochs": 99, "lr": 0.5}}, "epochs was .*now it is 99; lr was .*now it is 0.5"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_with_what_differs(
    dataset: Dataset, config: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    fitted(dataset, config)
    path = Path(config["saved_dir"]) / "checkpoint.pth"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{said}.*--resume never"):
        trainer.fit(built(dataset, config), dataset, config, IDENTITY._replace(**change))
    assert path.read_bytes() == before


def test_a_checkpoint_of_other_code_is_gone_on_with_and_says_so(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed_before(3, dataset, config, monkeypatch)
    fixed = IDENTITY._replace(code={"model.py": "2", "trainer.py": "1"})
    with caplog.at_level(logging.WARNING):
        result = trainer.fit(built(dataset, config), dataset, config, fixed)
    assert "trained by other code (model.py, trainer.py changed since)" in caplog.text
    assert "--resume never" in caplog.text
    assert result["other_code"] == ["model.py", "trainer.py"]
    saved = files.load_torch(Path(config["saved_dir"]) / "best_model.pth")
    assert (saved["code"], saved["other_code"]) == (fixed.code, result["other_code"])
    caplog.clear()
    assert trainer.fit(built(dataset, config), dataset, config, fixed)["other_code"] == result["other_code"]
    assert "other code" not in caplog.text  # said once


def test_a_run_of_one_code_says_nothing_of_other_code(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed_before(3, dataset, config, monkeypatch)
    assert "other_code" not in fitted(dataset, config)[1]
    assert "other code" not in caplog.text


def test_resume_never_starts_anew(dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(dataset, config)
    epochs: list[int] = []
    train_epoch = trainer.train_epoch
    monkeypatch.setattr(
        trainer, "train_epoch", lambda *args, **more: epochs.append(args[-1]) or train_epoch(*args, **more)
    )
    config = {**config, "resume": "never"}
    trainer.fit(built(dataset, config), dataset, config, IDENTITY._replace(fingerprint="another"))
    assert epochs == [1, 2, 3]


INSIDE = [{}, SOFTMAX, {**SOFTMAX, "id_dropout": 0.5, "init": "svd", "normalize": True}]


@pytest.mark.slow
@pytest.mark.parametrize("more", INSIDE, ids=["bpr", "softmax", "dropout"])
@pytest.mark.parametrize("how", ["asked", "by time"])
def test_a_run_stopped_inside_an_epoch_goes_on_bit_for_bit(
    more: dict[str, Any], how: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "epochs": 4, "lr": 0.05, "early_stop_round": 0, "num_layers": 2, "batch_size": 16, **more}
    config = {**config, "batch_size": 8}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    set_lr, steps = training_epoch.set_lr, []

    def interrupting(*args: Any) -> None:
        set_lr(*args)
        steps.append(args[-1])
        if len(steps) == (7 if more else 70):
            if how == "asked":
                signal.raise_signal(signal.SIGINT)
            else:
                raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(training_epoch, "set_lr", interrupting)
        patch.setattr(training_epoch, "SAVE_SECONDS", 300.0 if how == "asked" else 0.0)
        with pytest.raises(KeyboardInterrupt if how == "asked" else SystemExit):
            fitted(dataset, config)
    state = torch.load(Path(config["saved_dir"]) / "checkpoint.pth", weights_only=True)
    assert state["middle"]["steps"] > 0
    assert state["epoch"] >= 1
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert without_seconds(history(config)) == without_seconds(
        history({**config, "saved_dir": config["saved_dir"] + "/whole"})
    )


def test_a_second_interrupt_stops_at_once(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(dataset, {**config, "epochs": 1})
    path, set_lr, steps = Path(config["saved_dir"]) / "checkpoint.pth", training_epoch.set_lr, []
    path.unlink()

    def interrupting(*args: Any) -> None:
        set_lr(*args)
        steps.append(args[-1])
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training_epoch, "set_lr", interrupting)
    with pytest.raises(KeyboardInterrupt):
        fitted(dataset, config)
    assert len(steps) == 1
    assert not path.exists()


def test_a_full_disk_leaves_the_last_checkpoint(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(dataset, config)
    path = Path(config["saved_dir"]) / "checkpoint.pth"
    before = path.read_bytes()

    def full(content: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        fitted(dataset, {**config, "resume": "never"})
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.tmp"))
