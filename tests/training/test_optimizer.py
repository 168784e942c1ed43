"""The start of the vectors, the learning rate and what Adam holds."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import trainer
from data_loader import Dataset
from model import LightGCN
from tests.helpers.training import built, fitted, killed_before
from training import epoch as training_epoch
from training import model_factory
from training import optimizer as optimizer_module

# --- the start ---


def normalised(train: sp.csr_matrix) -> np.ndarray:
    pairs = train.toarray().astype(np.float64)
    degrees = [np.maximum(pairs.sum(axis=axis), 1) for axis in (1, 0)]
    return pairs / np.sqrt(degrees[0])[:, None] / np.sqrt(degrees[1])[None]


def test_svd_start_is_the_best_approximation_of_its_rank(cold: tuple[dict[str, Any], Dataset]) -> None:
    train = cold[1].train
    u, s, vt = np.linalg.svd(normalised(train))
    start = model_factory.svd_start(train, 6)
    assert (start.shape, start.dtype) == ((sum(train.shape), 6), torch.float32)
    users, items = start[: train.shape[0]].numpy(), start[train.shape[0] :].numpy()
    np.testing.assert_allclose(users @ items.T, u[:, :6] * s[:6] @ vt[:6], atol=1e-3)
    for ours, theirs in ((users, u[:, :6]), (items, vt[:6].T)):
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs * np.sqrt(s[:6])), atol=5e-3)


def test_svd_start_is_padded_with_zeros_beyond_the_rank() -> None:
    train = sp.csr_matrix((np.random.default_rng(0).random((9, 5)) < 0.5).astype(np.float32))
    start = model_factory.svd_start(train, 8)
    assert start.shape == (14, 8)
    assert not start[:, 5:].any()
    np.testing.assert_allclose(start[:9] @ start[9:].T, normalised(train), atol=1e-5)


def test_svd_start_is_the_models_start_scaled_to_init_std(dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, {**config, "init": "svd", "init_std": 0.3})
    start = model_factory.svd_start(dataset.train, config["embedding_dim"])
    torch.testing.assert_close(model.id_emb.detach(), start * 0.3 / start.std(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "has_bias"),
    [({}, False), ({"calibrate": True}, True), ({"cold_cost": 0.5}, True)],
    ids=["neither", "calibrate", "cold_cost"],
)
def test_there_is_an_item_bias_where_something_is_decided_after_training(
    more: dict[str, Any], has_bias: bool, cold: tuple[dict[str, Any], Dataset]
) -> None:
    config, dataset = cold
    model = built(dataset, {**config, "cold_cost": 1.0, **more})
    assert (model.item_bias is not None) == has_bias
    assert model.item_bias is None or not model.item_bias.any()


# --- learning rate, id dropout, no valid part ---


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The learning rates of every step, one a parameter, in the order of the model's named_parameters."""
    found: list[list[float]] = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *args: found.append([group["lr"] for group in self.param_groups]) or step(self, *args),
    )
    return found


def shares_of(model: LightGCN) -> list[float]:
    """Return what share of lr each parameter has: id_weight of concat one by its fan-in, all others the whole."""
    return [1 / model.embedding_dim if name == "id_weight" else 1.0 for name, _ in model.named_parameters()]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_course_of_the_learning_rate(
    schedule: str, dataset: Dataset, config: dict[str, Any], rates: list[list[float]]
) -> None:
    model, _ = fitted(dataset, {**config, "lr_schedule": schedule, "lr": 0.02, "epochs": 4, "early_stop_round": 0})
    steps, shares = 4 * math.ceil(dataset.train.nnz / config["batch_size"]), shares_of(model)
    assert sorted(shares) == [1 / 8, 1, 1, 1]
    course = np.full(steps, 0.02)
    if schedule == "cosine":
        course = 0.01 * (1 + np.cos(math.pi * np.arange(steps) / steps))
        assert (course[0], course[steps // 2]) == pytest.approx((0.02, 0.01))
        assert 0 < course[-1] < 0.02 * 0.01
    np.testing.assert_allclose(rates, np.outer(course, shares), rtol=1e-9)


@pytest.mark.parametrize(("done", "share"), [(0, 1), (2.5, 0.5), (5, 0), (9, 0)])
def test_cosine_falls_from_the_whole_rate_to_none(
    done: float, share: float, dataset: Dataset, config: dict[str, Any]
) -> None:
    model = built(dataset, config)
    optimizer = optimizer_module.adam(model, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3] * 4
    for schedule, expected in (("cosine", 0.3 * share), ("constant", 0.3)):
        training_epoch.set_lr(optimizer, {"lr": 0.3, "lr_schedule": schedule, "epochs": 5}, done)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [expected * own for own in shares_of(model)]
        )


@pytest.mark.parametrize(
    "more", [{"fusion_mode": "sum"}, {"fusion_mode": "none"}, {"calibrate": True}], ids=["sum", "none", "bias"]
)
def test_adam_holds_every_parameter_once_and_only_id_weight_back(
    more: dict[str, Any], dataset: Dataset, config: dict[str, Any]
) -> None:
    model = built(dataset, {**config, **more})
    groups = optimizer_module.adam(model, 0.1).param_groups
    assert [group["share"] for group in groups] == shares_of(model)
    for group, parameter in zip(groups, model.parameters(), strict=True):
        assert group["params"] == [parameter]


def test_adam_moves_id_weight_by_its_share(dataset: Dataset, config: dict[str, Any]) -> None:
    """A first step of Adam moves every entry that has a gradient by the rate."""
    config = {**config, "lr": 0.08, "batch_size": 10_000, "reg_lambda": 0.0, "epochs": 1}
    model = built(dataset, config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer.train_epoch(model, optimizer_module.adam(model, config["lr"]), dataset, config, np.random.default_rng(0), 1)
    moved = {name: (parameter.detach() - before[name]).abs() for name, parameter in model.named_parameters()}
    for name, rate in (("id_weight", 0.01), ("text_weight", 0.08), ("id_emb", 0.08)):
        assert moved[name].median().item() == pytest.approx(rate, rel=0.01), name


def test_a_resumed_run_keeps_the_shares(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, rates: list[list[float]]
) -> None:
    config = {**config, "epochs": 4, "early_stop_round": 0}
    killed_before(3, dataset, config, monkeypatch)
    rates.clear()
    model, _ = fitted(dataset, config)
    assert len(rates) == 2 * math.ceil(dataset.train.nnz / config["batch_size"])
    np.testing.assert_allclose(rates, [[config["lr"] * share for share in shares_of(model)]] * len(rates), rtol=1e-9)
