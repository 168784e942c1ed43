"""Items placed by their text alone."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from model import LightGCN
from runtime import distributed
from tests.helpers.data import dataset_of
from tests.helpers.graphs import (
    COLD_USER,
    DIM,
    N_ITEMS,
    N_NODES,
    N_USERS,
    SCALED,
    TEXTLESS,
    build,
    build_scaled,
    mixed_text,
    randomize,
    text_of,
    toy_train,
)
from training.epoch import train_epoch
from training.optimizer import adam
from training.steps import id_dropout

FUSIONS = ("none", "sum", "concat")


# --- items placed by their text alone ---


ALONE_ITEMS = [2, 0, 7]


def without_edges(items: list[int]) -> sp.csr_matrix:
    dense = toy_train().toarray()
    assert dense[:, items].any(axis=0).all()
    dense[:, items] = 0
    return sp.csr_matrix(dense)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scaled", [{}, {"normalize": True, "temperature": 0.2}], ids=["plain", "scaled"])
@pytest.mark.parametrize("num_layers", [0, 1, 3])
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_alone_an_item_stands_where_it_would_without_edges(
    fusion: str, num_layers: int, scaled: dict[str, Any]
) -> None:
    text = text_of((True, True))
    model = randomize(build(num_layers, fusion, text, **scaled))
    new = build(num_layers, fusion, text, train=without_edges(ALONE_ITEMS), **scaled)
    ids = model.id_emb.detach().clone()
    ids[[N_USERS + item for item in ALONE_ITEMS]] = 0  # as they begin and stay where there are no edges
    new.load_state_dict({**model.state_dict(), "id_emb": ids})
    nodes = torch.tensor([3, N_USERS + 2, N_USERS + 5, 0, N_USERS, N_USERS + 7, N_USERS + 4])
    alone = torch.tensor([1, 4, 5])
    final, ids = model(nodes, alone)
    torch.testing.assert_close(final[alone], new(nodes)[0][alone], rtol=1e-12, atol=1e-12)
    rest = torch.tensor([0, 2, 3, 6])
    plain, plain_ids = model(nodes)
    assert not torch.isclose(final[alone], plain[alone]).all(dim=1).any()
    torch.testing.assert_close(final[rest], plain[rest], rtol=0, atol=0)
    torch.testing.assert_close(ids, plain_ids, rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_alone_an_item_trains_the_text_and_no_id_vector(fusion: str) -> None:
    text = text_of((True, True))
    model = randomize(build(2, fusion, text))
    nodes = torch.tensor([0, N_USERS + 2, N_USERS + 7])
    weight = torch.randn(2, DIM, generator=torch.Generator().manual_seed(4))
    final, _ = model(nodes, torch.tensor([1, 2]))
    (final[1:] * weight).sum().backward()
    assert not model.id_emb.grad.any()
    torch.testing.assert_close(model.text_weight.grad, text[nodes[1:]].T @ weight / 3, rtol=1e-10, atol=1e-10)
    if fusion == "concat":
        assert not model.id_weight.grad.any()
        torch.testing.assert_close(model.bias.grad, weight.sum(dim=0) / 3, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_gradients_of_the_others_are_as_if_the_item_alone_were_not_there(fusion: str) -> None:
    model = randomize(build(2, fusion, text_of((True, True))))
    nodes, weight = torch.tensor([0, N_USERS + 2, N_USERS + 7]), torch.arange(2 * DIM).view(2, DIM).double()
    gradients = []
    for alone in (torch.tensor([1]), None):
        model.zero_grad()
        (model(nodes, alone)[0][[0, 2]] * weight).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("scaled", SCALED.values(), ids=SCALED)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_mask_places_alone_what_its_positions_place(fusion: str, scaled: dict[str, Any], num_layers: int) -> None:
    model = build_scaled(num_layers, fusion, mixed_text(), scaled)
    nodes = torch.tensor([3, N_USERS + 2, N_USERS + 5, 0, N_USERS, N_USERS + 2, N_USERS + 4])
    mask = torch.tensor([False, True, False, False, True, True, False])
    found = []
    for alone in (mask.nonzero().squeeze(1), mask):
        model.zero_grad()
        final, ids = model(nodes, alone)
        weight = torch.randn(final.shape, generator=torch.Generator().manual_seed(4))
        ((final * weight).sum() + ids.square().sum()).backward()
        found.append([final.detach(), ids.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    assert torch.equal(found[1][0], model(nodes)[0]) == (fusion == "none")
    torch.testing.assert_close(model(nodes, torch.zeros_like(mask)), model(nodes), rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("text", [None, text_of((True, True))], ids=["no text", "text unused"])
def test_without_text_nothing_is_placed_by_text(text: torch.Tensor | None) -> None:
    model = build_scaled(2, "none", text, {"has_bias": True})
    nodes = torch.tensor([0, N_USERS + 2, N_USERS + 7])
    torch.testing.assert_close(model(nodes, torch.tensor([1, 2])), model(nodes), rtol=0, atol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_has_item_text_says_which_nodes_can_be_placed_by_text(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = mixed_text()
    text[N_USERS, :-1] = 0  # a text in one column, which of two processes the second owns
    expected = [fusion != "none" and node >= N_USERS and node not in TEXTLESS for node in range(N_NODES)]
    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: 2)
    for rank in (None, 0, 1):
        monkeypatch.setattr(distributed.dist, "is_initialized", lambda rank=rank: rank is not None)
        monkeypatch.setattr(distributed.dist, "get_rank", lambda rank=rank: rank)
        model = build(1, fusion, text)
        assert model.has_item_text.tolist() == expected
        assert model.is_unknown.nonzero().flatten().tolist() == [COLD_USER]


@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_id_dropout_draws_a_share_of_the_items_with_text(fusion: str) -> None:
    model, nodes = build(1, fusion, mixed_text()), torch.arange(N_NODES).repeat(2000)
    drawn = [id_dropout(model, 0.3, torch.Generator().manual_seed(seed))(nodes) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    share = drawn[0].view(2000, N_NODES).double().mean(dim=0)
    assert not share[~model.has_item_text].any()
    torch.testing.assert_close(share[model.has_item_text], torch.full((N_ITEMS - 2,), 0.3).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("fusion", "text", "share"),
    [
        ("none", text_of((True, True)), 0.5),
        ("sum", None, 0.5),
        ("sum", text_of((True, False)), 0.5),
        ("concat", text_of((True, False)), 0.5),
        ("sum", text_of((True, True)), 0.0),
    ],
    ids=["none", "no text", "users alone", "users alone in concat", "no share"],
)
def test_id_dropout_is_none_where_there_is_nothing_to_draw(
    fusion: str, text: torch.Tensor | None, share: float
) -> None:
    assert id_dropout(build(1, fusion, text), share, torch.Generator()) is None


@pytest.mark.parametrize("text", [text_of((True, False)), mixed_text()], ids=["items' text off", "mixed catalogue"])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_no_title_without_text_is_placed_by_text_in_a_step(
    fusion: str, loss: str, text: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, such a title would stand at zero, or with all others at the bias of concat."""
    model, forward, met = build(2, fusion, text), LightGCN.forward, {"alone": 0, "textless": 0}

    def watched(self: LightGCN, nodes: torch.Tensor, alone: torch.Tensor | None = None) -> Any:
        final, ids = forward(self, nodes, alone)
        with torch.no_grad():
            as_always = (forward(self, nodes)[0] == final).all(dim=1)
        has_text = text[nodes].any(dim=1) & (nodes >= N_USERS)
        assert as_always[~has_text].all()
        assert final.any(dim=1).all()  # all nodes of a batch have edges
        met["alone"] += int((~as_always).sum())
        met["textless"] += int((~has_text & (nodes >= N_USERS)).sum())
        return final, ids

    monkeypatch.setattr(LightGCN, "forward", watched)
    config = get_config({"loss": loss, "id_dropout": 0.9, "batch_size": 4, "lr": 0.05})
    optimizer, rng = adam(model, config["lr"]), np.random.default_rng(0)
    for epoch in (1, 2):
        train_epoch(model, optimizer, dataset_of(toy_train()), config, rng, epoch)
    assert met["textless"] > 0
    assert (met["alone"] > 0) == bool(text[N_USERS:].any())
