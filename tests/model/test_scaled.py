"""Cosine, temperature, and the columns beside the trained ones."""

from typing import Any

import numpy as np
import pytest
import torch

from model import UNLISTED
from tests.helpers.graphs import (
    BIAS,
    COLD_ITEMS,
    COLD_USER,
    DIM,
    N_ITEMS,
    N_NODES,
    N_USERS,
    POPULARITY,
    SCALED,
    assert_same_gradients,
    build,
    build_scaled,
    copies,
    linear_columns,
    mixed_text,
    randomize,
    reference,
    set_linear,
    text_of,
)

FUSIONS = ("none", "sum", "concat")


# --- cosine, temperature, and the columns beside the trained ones ---


def scaled_reference(
    parameters: dict[str, torch.Tensor], num_layers: int, fusion: str, text: torch.Tensor | None, scaled: dict[str, Any]
) -> torch.Tensor:
    """Return the final vectors (N, D) and the columns beside them by the docstring of LightGCN."""
    has_text = torch.zeros(N_NODES, dtype=torch.bool) if fusion == "none" else text.abs().sum(dim=1) > 0
    final = reference(parameters, num_layers, fusion, text)
    if scaled.get("normalize"):
        final = torch.stack([row / row.square().sum().sqrt() if row.any() else row for row in final])
    users, items = final[:N_USERS] / scaled.get("temperature", 1.0), final[N_USERS:]
    if "has_bias" in scaled:
        last = BIAS - torch.tensor(
            [UNLISTED if item in COLD_ITEMS and not has_text[N_USERS + item] else 0.0 for item in range(N_ITEMS)]
        )
        users, items = torch.cat([users, torch.ones(N_USERS, 1)], 1), torch.cat([items, last[:, None]], 1)
    if "linear" in scaled:
        _, outputs, _, beside = linear_columns()
        users, items = torch.cat([users, beside], 1), torch.cat([items, outputs], 1)
    if "popularity" in scaled:
        users = torch.cat([users, torch.zeros(N_USERS, 1)], 1)
        if not has_text[COLD_USER]:
            users = torch.cat([users[:COLD_USER], torch.eye(users.shape[1])[-1:]])
        items = torch.cat([items, scaled["popularity"][:, None]], 1)
    return torch.cat([users, items])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("scaled", SCALED.values(), ids=SCALED)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_scaled_vectors_and_gradients_equal_the_dense_reference(
    fusion: str, scaled: dict[str, Any], num_layers: int
) -> None:
    text = mixed_text()
    model = build_scaled(num_layers, fusion, text, scaled)
    parameters = copies(model)
    expected = scaled_reference(parameters, num_layers, fusion, text, scaled)
    torch.testing.assert_close(torch.cat(model.embeddings()), expected.detach(), rtol=1e-10, atol=1e-10)
    # repeated nodes, users and items mixed, cold ones among them
    nodes = torch.tensor([11, 0, 6, 15, 3, 0, 11, 2, 9, 8])
    final, _ = model(nodes)
    # a step goes by the trained columns alone, and never asks for a user of whom nothing is known
    trained = {key: value for key, value in scaled.items() if key in ("normalize", "temperature")}
    expected = scaled_reference(parameters, num_layers, fusion, text, trained)[nodes]
    torch.testing.assert_close(final, expected, rtol=1e-10, atol=1e-10)
    weight = torch.randn(final.shape, generator=torch.Generator().manual_seed(4))
    (final * weight).sum().backward()
    (expected * weight).sum().backward()
    assert_same_gradients(model, parameters)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", FUSIONS)
def test_scores_are_cosines_over_the_temperature_plus_the_bias(fusion: str) -> None:
    text = text_of((True, True))
    plain = randomize(build(2, fusion, text))
    model = build(2, fusion, text, normalize=True, temperature=0.1, has_bias=True)
    model.load_state_dict(plain.state_dict(), strict=False)
    model.item_bias += BIAS
    cosine = torch.nn.functional.cosine_similarity(
        *(vectors[place] for vectors, place in zip(plain.embeddings(), (np.s_[:, None], np.s_[None]), strict=True)),
        dim=2,
    )
    without = cosine / 0.1 + BIAS
    without[:, list(COLD_ITEMS)] -= UNLISTED if fusion == "none" else 0
    _, outputs, _, users = linear_columns()
    for expected in (without, without + users @ outputs.T):
        user_emb, item_emb = model.embeddings()
        torch.testing.assert_close(user_emb @ item_emb.T, expected, rtol=1e-9, atol=1e-9)
        set_linear(model)


def test_what_stands_beside_starts_at_nothing_untrained_and_is_saved() -> None:
    model = build(1, "sum", mixed_text(), has_bias=True)
    textless = COLD_ITEMS[1]
    assert model.item_bias.tolist() == [-UNLISTED if item == textless else 0 for item in range(N_ITEMS)]
    assert model.embeddings()[0].shape == (N_USERS, DIM + 1)
    set_linear(model)
    assert set(dict(model.named_parameters())) == {"id_emb", "text_weight"}
    # linear_users follows from the others
    assert set(model.state_dict()) == {
        "id_emb",
        "text_weight",
        "item_bias",
        "linear_inputs",
        "linear_outputs",
        "linear_power",
    }


def test_at_the_defaults_the_final_vectors_have_no_more_columns() -> None:
    text = text_of((True, True))
    plain, said = (
        build(1, "sum", text),
        build(1, "sum", text, normalize=False, temperature=1.0, has_bias=False, popularity=None),
    )
    assert plain.embeddings()[1].shape == (N_ITEMS, DIM)
    torch.testing.assert_close(plain.embeddings(), said.embeddings(), rtol=0, atol=0)


# --- users of whom nothing is known ---


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scaled", [{}, SCALED["all"]], ids=["plain", "scaled"])
@pytest.mark.parametrize("knows_text", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_popularity_ranks_for_users_without_edges_and_text_and_for_nobody_else(
    fusion: str, knows_text: bool, scaled: dict[str, Any]
) -> None:
    text = text_of((True, True)) if knows_text else mixed_text()
    scaled = {**scaled, "popularity": POPULARITY}
    model, without = (build_scaled(2, fusion, text, settings) for settings in (scaled, {**scaled, "popularity": None}))
    assert model.state_dict().keys() == without.state_dict().keys()
    (user_emb, item_emb), others = model.embeddings(), without.embeddings()
    assert user_emb.shape[1] == item_emb.shape[1] == others[0].shape[1] + 1
    scores, expected = user_emb @ item_emb.T, others[0] @ others[1].T
    if fusion == "none" or not knows_text:
        assert user_emb[COLD_USER].tolist() == [0] * others[0].shape[1] + [1]
        assert scores[COLD_USER].tolist() == POPULARITY.tolist()
        scores, expected, user_emb = (rows[torch.arange(N_USERS) != COLD_USER] for rows in (scores, expected, user_emb))
    assert not user_emb[:, -1].any()
    torch.testing.assert_close(scores, expected, rtol=1e-12, atol=1e-12)
