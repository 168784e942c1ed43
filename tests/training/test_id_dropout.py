"""id_dropout: which items are placed by their text alone in a step."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import trainer
from data_loader import Dataset
from model import LightGCN
from tests.helpers.training import CPU, built
from training import optimizer as optimizer_module
from training import steps
from training.losses import BATCHES


def placed_alone(dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Train an epoch and return (node_ids, alone) of every step."""
    asked: list[Any] = []
    final_vectors = LightGCN.final_vectors

    def noted(self: LightGCN, propagated: torch.Tensor, *which: Any) -> torch.Tensor:
        asked.append(which)
        return final_vectors(self, propagated, *which)

    monkeypatch.setattr(LightGCN, "final_vectors", noted)
    model = built(dataset, config)
    trainer.train_epoch(model, optimizer_module.adam(model, config["lr"]), dataset, config, np.random.default_rng(0), 1)
    return asked


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize("loss", BATCHES)
def test_id_dropout_places_its_share_of_the_items_alone(
    loss: str, share: float, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = placed_alone(dataset, {**config, "loss": loss, "id_dropout": share, "batch_size": 4}, monkeypatch)
    items = [nodes[nodes >= dataset.n_users] for nodes, _ in asked]
    alone = [nodes[chosen] for nodes, chosen in asked]
    assert all((chosen >= dataset.n_users).all() and len(set(chosen.tolist())) == len(chosen) for chosen in alone)
    assert sum(map(len, alone)) / sum(map(len, items)) == pytest.approx(share, abs=0.1)
    assert len({tuple(chosen.tolist()) for chosen in alone}) > len(alone) / 2  # drawn anew for each step


def test_without_id_dropout_or_text_nothing_is_placed_alone(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for more in (
        {"id_dropout": 0.0},
        {"id_dropout": 0.5, "fusion_mode": "none"},
        {"id_dropout": 0.5, "use_item_llm": False},
    ):
        assert all(alone is None for _, alone in placed_alone(dataset, {**config, **more}, monkeypatch))


@pytest.mark.parametrize("loss", BATCHES)
def test_titles_without_text_are_never_placed_alone(
    loss: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = set(range(0, dataset.n_items, 3))
    texts = ["" if item in silent else text for item, text in enumerate(dataset.item_texts)]
    asked = placed_alone(
        dataclasses.replace(dataset, item_texts=texts),
        {**config, "loss": loss, "id_dropout": 0.9, "batch_size": 16},
        monkeypatch,
    )
    alone = {node - dataset.n_users for nodes, chosen in asked for node in nodes[chosen].tolist()}
    assert alone == set(range(dataset.n_items)) - silent


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_loss_is_that_of_the_vectors_placed_alone(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, config)
    loss_of, batches = BATCHES[loss](
        dataset.train, {**config, "batch_size": 20, "hard_negatives": 1}, np.random.default_rng(0), CPU
    )
    everything, _ = loss_of(model, *batches[0][0], config, lambda nodes: nodes >= dataset.n_users)
    nothing, _ = loss_of(model, *batches[0][0], config, lambda nodes: nodes < 0)
    nodes = torch.arange(dataset.n_users + dataset.n_items)
    final, _ = model(nodes, nodes[dataset.n_users :])
    users, items = final[batches[0][0][0]], final[dataset.n_users :]
    if loss == "bpr":
        _, positives, negatives, _ = batches[0][0]
        expected = -torch.sigmoid((users * (items[positives] - items[negatives])).sum(1)).log().mean()
    else:
        _, catalogue, (places, positives), _ = batches[0][0]
        expected = -(users @ items[catalogue].T).log_softmax(dim=1)[places, positives].mean()
    assert everything.item() == pytest.approx(expected.item(), rel=1e-5)
    assert nothing.item() == pytest.approx(loss_of(model, *batches[0][0], config)[0].item(), rel=1e-6)
    assert everything.item() != pytest.approx(nothing.item(), rel=1e-6)


@pytest.mark.parametrize("loss", BATCHES)
def test_a_step_has_the_same_loss_and_gradients_in_the_form_for_a_gpu(
    loss: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There nodes are repeated and `alone` is a mask; which titles are placed alone is here no matter of chance."""
    model = built(dataset, {**config, "normalize": True})
    loss_of, batches = BATCHES[loss](dataset.train, {**config, "batch_size": 50}, np.random.default_rng(0), CPU)
    forms, found, final_vectors = [], [], LightGCN.final_vectors

    def noted(self: LightGCN, propagated: torch.Tensor, nodes: torch.Tensor, alone: torch.Tensor) -> torch.Tensor:
        forms.append(alone.dtype)
        return final_vectors(self, propagated, nodes, alone)

    monkeypatch.setattr(LightGCN, "final_vectors", noted)
    for on_cpu in (True, False):
        monkeypatch.setattr(steps, "_is_on_cpu", lambda nodes, on_cpu=on_cpu: on_cpu)
        model.zero_grad()
        parts = loss_of(model, *batches[0][0], config, lambda nodes: model.has_item_text[nodes] & (nodes % 3 == 0))
        sum(parts).backward()
        found.append([*(part.detach() for part in parts), *(p.grad.clone() for p in model.parameters())])
    assert forms == [torch.int64, torch.bool]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_on_a_gpu_id_dropout_draws_once_a_title(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, nodes = built(dataset, config), torch.arange(dataset.n_users + dataset.n_items).repeat(2)
    drawn = {}
    for on_cpu in (True, False):
        monkeypatch.setattr(steps, "_is_on_cpu", lambda nodes, on_cpu=on_cpu: on_cpu)
        drop = steps.id_dropout(model, 0.3, torch.Generator().manual_seed(0))
        drawn[on_cpu] = torch.stack([drop(nodes).view(2, -1) for _ in range(200)])  # (200, 2, N)
    assert (drawn[False][:, 0] == drawn[False][:, 1]).all()
    assert not (drawn[True][:, 0] == drawn[True][:, 1]).all()
    assert not drawn[False][..., ~model.has_item_text].any()
    assert drawn[False][..., model.has_item_text].float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not (drawn[False][0] == drawn[False][1]).all()  # drawn anew for each step


def test_on_the_cpu_id_dropout_draws_as_it_always_did(dataset: Dataset, config: dict[str, Any]) -> None:
    model, nodes = built(dataset, config), torch.arange(dataset.n_users + dataset.n_items).flip(0)
    drawn = steps.id_dropout(model, 0.3, torch.Generator().manual_seed(0))(nodes)
    lots = torch.rand(len(nodes), generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, model.has_item_text[nodes] & (lots < 0.3))
    assert torch.equal(steps.chosen(lambda _: drawn, nodes), drawn.nonzero().squeeze(1))
    assert steps.chosen(None, nodes) is None
