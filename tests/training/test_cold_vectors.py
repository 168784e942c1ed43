"""New titles' trained columns are what a ridge regression on the text of the others expects; they are saved."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
from config import get_config
from data_loader import Dataset
from llm_embedding import TextVectors
from model import LightGCN
from runtime.files import load_torch
from tests.helpers.linear import COLD, METRIC, SILENT, ones, parted, ridge, texts
from tests.helpers.runs import killed_at
from tests.helpers.training import SOFTMAX, fitted, killed_before
from training import after_training, placed_by_text
from training.after_training import calibrate
from training.model_factory import build_model, restore

DIM = 8
CONFIG = get_config(
    {
        "top_k": "5",
        "early_stop_metric": METRIC,
        "linear_dim": 0,
        "calibrate": True,
        "fusion_mode": "sum",
        "embedding_dim": DIM,
        "num_layers": 1,
        "device": "cpu",
    }
)
MODES = [
    {"fusion_mode": "sum"},
    {"fusion_mode": "concat", "num_layers": 2},
    {"fusion_mode": "sum", "normalize": True, "temperature": 0.2},
    {"fusion_mode": "concat", "normalize": True, "temperature": 0.2, "linear_dim": 4},
]


def model_of(dataset: Dataset, config: dict[str, Any], text: np.ndarray | None = None) -> LightGCN:
    """Build a model of which no part is zero."""
    text = texts() if text is None else text
    users = np.random.default_rng(1).normal(size=(dataset.n_users, text.shape[1])).astype(np.float32)
    model = build_model(dataset, TextVectors(text, users, {}), config, torch.device("cpu"))
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if name != "id_emb":
            torch.nn.init.normal_(parameter, generator=generator)
    return model


def trained_columns(model: LightGCN) -> np.ndarray:
    return model.embeddings()[1][:, :DIM].numpy()


@pytest.mark.parametrize("penalty", [0.5, 30.0])
@pytest.mark.parametrize("more", MODES, ids=str)
def test_new_titles_get_the_vectors_that_their_text_lets_expect(
    more: dict[str, Any], penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the text weights of the model would make of it; all other vectors stay as they are."""
    monkeypatch.setattr(placed_by_text, "RIDGE_GRID", [penalty])
    dataset, text, config = parted(), texts() * 3, {**CONFIG, **more}
    text[4] = 0  # a title with a history and no text teaches nothing
    model = model_of(dataset, config, text)
    before, users = trained_columns(model), model.embeddings()[0][:, :DIM]
    calibrate(model, dataset, config)
    after, taught = trained_columns(model), np.setdiff1d(dataset.warm_items, [4])
    np.testing.assert_allclose(after[COLD], ridge(text[taught], before[taught], text[COLD], penalty), atol=1e-5)
    assert np.abs(after[COLD] - before[COLD]).max() > 0.05
    others = [*dataset.warm_items, SILENT]
    np.testing.assert_array_equal(after[others], before[others])
    assert torch.equal(model.embeddings()[0][:, :DIM], users)
    assert model.state_dict()["cold_vectors"].tolist() == after[COLD].tolist()


def test_the_offset_is_that_of_the_vectors_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    cold_offset = after_training.cold_offset

    def watched(user_emb: torch.Tensor, item_emb: torch.Tensor, *more: Any) -> Any:
        seen.append(item_emb[:, :DIM].numpy())
        return cold_offset(user_emb, item_emb, *more)

    monkeypatch.setattr(after_training, "cold_offset", watched)
    dataset, config = parted(), {**CONFIG, "cold_cost": 0.1}
    model = model_of(dataset, config)
    before = trained_columns(model)
    calibrate(model, dataset, config)
    np.testing.assert_array_equal(seen[0], trained_columns(model))
    assert np.abs(seen[0] - before)[COLD].max() > 0.05


def test_it_looks_at_nothing_but_train() -> None:
    dataset, empty = parted(), ones(np.zeros((60, 16)))
    others = [
        dataset,
        dataclasses.replace(dataset, test=dataset.cold_test, cold_test=dataset.test),
        dataclasses.replace(dataset, test=empty, cold_test=empty),
        dataclasses.replace(dataset, valid=dataset.test, test=dataset.valid),
    ]
    found = []
    for one in others:
        model = model_of(one, CONFIG)
        calibrate(model, one, CONFIG)
        found.append(model.cold_vectors.tolist())
    assert found[0] == found[1] == found[2] == found[3]
    assert np.any(found[0])


@pytest.mark.parametrize("case", ["calibrate is off", "no valid part", "no text"])
def test_otherwise_the_text_weights_place_them(case: str) -> None:
    dataset, config = parted(), {**CONFIG, "calibrate": case != "calibrate is off"}
    if case == "no valid part":
        dataset = dataclasses.replace(dataset, valid=ones(np.zeros((60, 16))))
    if case == "no text":
        config["fusion_mode"] = "none"
    model = model_of(dataset, config)
    before = trained_columns(model)
    calibrate(model, dataset, config)
    np.testing.assert_array_equal(trained_columns(model), before)
    assert "cold_vectors" not in model.state_dict()


def test_what_was_measured_is_set_again_from_the_vectors_of_now() -> None:
    """With refit nothing is decided anew, but the regression is that of the second training."""
    dataset = parted()
    drawn = {**CONFIG, "init": "normal"}
    first, second = model_of(dataset, drawn), model_of(dataset, {**drawn, "seed": 1})
    measured = calibrate(first, dataset, CONFIG)
    alone = model_of(dataset, {**drawn, "seed": 1})
    calibrate(alone, dataset, CONFIG)
    without_valid = dataclasses.replace(dataset, valid=ones(np.zeros((60, 16))))
    calibrate(second, without_valid, CONFIG, measured)
    assert torch.equal(second.cold_vectors, alone.cold_vectors)
    assert not torch.allclose(second.cold_vectors, first.cold_vectors, atol=0.01)


# --- saved ---


@pytest.mark.parametrize("more", MODES, ids=str)
def test_a_restored_model_has_the_same_vectors(more: dict[str, Any]) -> None:
    dataset, config = parted(), {**CONFIG, **more}
    model, other = model_of(dataset, config), model_of(dataset, {**config, "seed": 1})
    calibrate(model, dataset, config)
    state = model.whole_state(model.state_dict())
    assert not torch.allclose(other.embeddings()[1][:, :DIM], model.embeddings()[1][:, :DIM], atol=0.01)
    restore(other, state, dataset)
    for restored, saved in zip(other.embeddings(), model.embeddings(), strict=True):
        assert torch.equal(restored, saved)


def test_a_model_saved_before_there_were_such_vectors_is_restored_too() -> None:
    dataset = parted()
    model, other = model_of(dataset, CONFIG), model_of(dataset, {**CONFIG, "seed": 1})
    state = model.whole_state(model.state_dict())
    assert "cold_vectors" not in state
    restore(other, state, dataset)
    for restored, saved in zip(other.embeddings(), model.embeddings(), strict=True):
        assert torch.equal(restored, saved)


def settings(cold: tuple[dict[str, Any], Dataset]) -> dict[str, Any]:
    return {**cold[0], **SOFTMAX, "cold_cost": 0.05, "batch_size": 16, "lr": 0.05}


def assert_same_state(folder: Path, other: Path) -> None:
    ours, theirs = (load_torch(each / "best_model.pth") for each in (folder, other))
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    assert ours["state_dict"]["cold_vectors"].any()
    for name, tensor in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], tensor), name
    assert ours["decided"] == theirs["decided"]


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_killed_and_resumed_training_sets_the_same(
    epoch: int, cold: tuple[dict[str, Any], Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, dataset = settings(cold), cold[1]
    fitted(dataset, config)
    again = {**config, "saved_dir": str(tmp_path / "again")}
    killed_before(epoch, dataset, again, monkeypatch)
    fitted(dataset, again)
    assert_same_state(tmp_path / "again", Path(config["saved_dir"]))


@pytest.mark.parametrize("file", ["history.jsonl", "best_model.pth", "item_emb.pt"])
def test_a_run_killed_after_its_training_ends_the_same(
    file: str, cold: tuple[dict[str, Any], Dataset], tmp_path: Path
) -> None:
    """When the vectors were set, and before and after they were saved."""
    config, again = settings(cold), {**settings(cold), "saved_dir": str(tmp_path / "again")}
    main.run(config)
    killed_at(file, again)
    main.run(again)
    assert_same_state(tmp_path / "again", Path(config["saved_dir"]))
    vectors = [load_torch(Path(each["saved_dir"]) / "item_emb.pt") for each in (config, again)]
    assert torch.equal(*vectors)
