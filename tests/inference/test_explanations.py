"""Scores taken apart: that the parts sum to the score, and that each title is given what came through it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset, normalized_adjacency
from inference.explanations import (
    Composition,
    Sources,
    composition,
    explain,
    of_new_user,
    readable,
    sources,
    sources_of,
)
from inference.finished_run import FinishedRun, layout_of, load_finished
from inference.fold_in import fold_in, place_users
from llm_embedding import TextVectors
from main import run
from model import LightGCN
from runtime.files import load_torch
from tests.helpers.data import dataset_of, write_data
from tests.helpers.graphs import dense_adjacency
from training.linear_columns import linear_users
from training.model_factory import build_model
from training.user_rows import weighted_train

N_USERS, N_ITEMS, DIM, TEXT_DIM, RANK = 40, 30, 6, 9, 4
UNKNOWN = 7  # a user without a title
FUSIONS, DEPTHS = ("none", "sum", "concat"), (0, 1, 2, 3)
CONFIG = {"normalize": False, "temperature": 1.0}


def drawn_train(seed: int = 0) -> sp.csr_matrix:
    """Draw a train matrix in which one user and one title have no pair."""
    dense = (np.random.default_rng(seed).random((N_USERS, N_ITEMS)) < 0.2).astype(np.float32)
    dense[UNKNOWN], dense[:, 3] = 0, 0
    return sp.csr_matrix(dense)


def drawn_model(
    train: sp.csr_matrix, fusion: str, depth: int, columns: bool = False, **more: Any
) -> tuple[LightGCN, np.ndarray | None]:
    """Build a model with random state, and with columns beside if asked for; and its text, (N, L)."""
    generator = torch.Generator().manual_seed(depth)
    text = torch.randn(N_USERS + N_ITEMS, TEXT_DIM, generator=generator)
    text[UNKNOWN] = 0
    model = LightGCN(
        normalized_adjacency(train),
        N_USERS,
        DIM,
        depth,
        fusion,
        None if fusion == "none" else text,
        0.5,
        generator,
        has_bias=columns,
        popularity=torch.rand(N_ITEMS, generator=generator),
        **more,
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    if columns:
        inputs, outputs = (torch.randn(N_ITEMS, RANK, generator=generator) for _ in range(2))
        model.item_bias += torch.randn(N_ITEMS, generator=generator)
        model.set_linear_columns(linear_inputs=inputs, linear_outputs=outputs, linear_power=torch.tensor(0.5))
        model.set_users(linear_users(inputs, 0.5, train), None)
    return model, None if fusion == "none" else text.numpy()


def sources_by(
    model: LightGCN, text: np.ndarray | None, train: sp.csr_matrix, dataset: Dataset | None = None, weight: float = 0.0
) -> Sources:
    config = {
        "num_layers": model.num_layers,
        "input_layer": model.input_layer,
        "normalize": model.normalize,
        "temperature": model.temperature,
        "rating_weight": weight,
    }
    return sources(model.whole_state(model.state_dict()), dataset or dataset_of(train), text, config)


def summed(parts: Composition, width: int) -> np.ndarray:
    """Put the parts together to a vector (width,)."""
    whole = np.zeros(width)
    for _, columns, vectors in parts.parts:
        whole[columns] += vectors.reshape(-1, vectors.shape[-1]).sum(axis=0)
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    "more", [{}, {"normalize": True, "temperature": 0.2}, {"normalize": True}, {"temperature": 0.2}], ids=str
)
@pytest.mark.parametrize("columns", [False, True], ids=["alone", "columns"])
def test_the_parts_of_every_pair_sum_to_its_score(fusion: str, depth: int, more: dict[str, Any], columns: bool) -> None:
    train = drawn_train()
    model, text = drawn_model(train, fusion, depth, columns, **more)
    made_of, (user_emb, item_emb) = sources_by(model, text, train), model.embeddings()
    scores = (user_emb.double() @ item_emb.double().T).numpy()
    by_title = {"history", "graph_text", "linear"}
    for user in range(N_USERS):
        apart = composition(made_of, user)
        np.testing.assert_allclose(summed(apart, item_emb.shape[1]), user_emb[user], atol=1e-5)
        for item, reason in enumerate(explain(apart, item_emb, list(range(N_ITEMS)))):
            assert sum(reason.parts.values()) == pytest.approx(scores[user, item], abs=1e-4)
            assert reason.contributions.sum() == pytest.approx(
                sum(part for name, part in reason.parts.items() if name in by_title), abs=1e-9
            )


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("normalize", [False, True])
def test_the_parts_sum_to_the_score_where_rates_weigh_the_graph(fusion: str, depth: int, normalize: bool) -> None:
    train = drawn_train()
    rates = np.random.default_rng(1).choice([1, 5, 8, 9, 10], train.nnz).astype(np.float32)
    dataset = dataclasses.replace(dataset_of(train), rates=rates)
    model, text = drawn_model(weighted_train(dataset, 0.5), fusion, depth, normalize=normalize)
    made_of, (user_emb, item_emb) = sources_by(model, text, train, dataset, 0.5), model.embeddings()
    scores = (user_emb.double() @ item_emb.double().T).numpy()
    for user in range(N_USERS):
        apart = composition(made_of, user)
        assert apart.titles.tolist() == train[user].indices.tolist()
        for item, reason in enumerate(explain(apart, item_emb, list(range(N_ITEMS)))):
            assert sum(reason.parts.values()) == pytest.approx(scores[user, item], abs=1e-4)


def test_a_title_that_counts_nothing_brings_nothing() -> None:
    train = drawn_train()
    rates = np.full(train.nnz, 9, np.float32)
    rates[:2] = 1, 8  # of the first user, who disliked the first title
    dataset = dataclasses.replace(dataset_of(train), rates=rates)
    weighted = weighted_train(dataset, 1.0)
    assert weighted.data[0] == 0
    model, text = drawn_model(weighted, "sum", 2)
    [reason] = explain(composition(sources_by(model, text, train, dataset, 1.0), 0), model.embeddings()[1], [5])
    brought = dict(zip(reason.titles.tolist(), reason.contributions.tolist(), strict=True))
    assert brought[train.indices[0]] == 0
    assert all(part for title, part in brought.items() if title != train.indices[0])


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("normalize", [False, True])
def test_a_title_brings_what_goes_when_its_edge_is_not_walked(fusion: str, depth: int, normalize: bool) -> None:
    """By dense powers of A: the user's first step is taken over every edge but one, and the length stays."""
    train, user = drawn_train(), 5
    model, text = drawn_model(train, fusion, depth, normalize=normalize)
    item_emb, adjacency = model.embeddings()[1], dense_adjacency(train)
    x = model.id_emb.detach().double().numpy()
    if fusion == "concat":
        x = x @ model.id_weight.detach().double().numpy() + model.bias.detach().double().numpy()
    if fusion != "none":
        x = x + text.astype(float) @ model.text_weight.detach().double().numpy()
    later = sum((np.linalg.matrix_power(adjacency, k) for k in range(depth)), np.zeros_like(adjacency))

    def vector(first: np.ndarray) -> np.ndarray:
        return (x[user] + first @ later @ x) / (depth + 1)

    whole = vector(adjacency[user])
    for reason, item in zip(
        explain(composition(sources_by(model, text, train), user), item_emb, [2, 9]), (2, 9), strict=True
    ):
        assert set(reason.titles) == set(train[user].indices)
        for title, brought in zip(reason.titles, reason.contributions, strict=True):
            first = adjacency[user].copy()
            first[N_USERS + title] = 0
            gone = (whole - vector(first)) / (np.linalg.norm(whole) if normalize else 1)
            assert brought == pytest.approx(gone @ item_emb[item, :DIM].double().numpy(), abs=1e-5)


def test_what_users_and_titles_are_given_alone_shows_in_its_own_part() -> None:
    train, user = drawn_train(), 5
    model, text = drawn_model(train, "sum", 2, columns=True)
    item_emb, apart = model.embeddings()[1], composition(sources_by(model, text, train), user)
    [reason] = explain(apart, item_emb, [4])
    theirs, mine = item_emb[4, :DIM].detach(), torch.from_numpy(text[user]) @ model.text_weight.detach()
    assert list(reason.parts) == ["history", "graph_text", "own", "own_text", "popularity", "linear"]
    assert reason.parts["own"] == pytest.approx(float(model.id_emb[user].detach() @ theirs) / 3, abs=1e-5)
    assert reason.parts["own_text"] == pytest.approx(float(mine @ theirs) / 3, abs=1e-5)
    assert reason.parts["popularity"] == pytest.approx(float(model.item_bias[4]))
    assert reason.parts["linear"] == pytest.approx(float(model.linear_users[user] @ model.linear_outputs[4]), abs=1e-5)


def test_for_a_user_of_whom_nothing_is_known_popularity_ranks() -> None:
    train = drawn_train()
    model, text = drawn_model(train, "concat", 2, columns=True)
    [reason] = explain(composition(sources_by(model, text, train), UNKNOWN), model.embeddings()[1], [4])
    assert len(reason.titles) == len(reason.contributions) == 0
    assert reason.parts == {"popularity": pytest.approx(float(model.popularity[4]))}


@pytest.mark.parametrize("depth", [1, 3])
def test_without_the_input_layer_a_score_is_all_of_the_history(depth: int) -> None:
    train = drawn_train()
    model, text = drawn_model(train, "none", depth, False, input_layer=False)
    made_of, (user_emb, item_emb) = sources_by(model, text, train), model.embeddings()
    for user in np.flatnonzero(np.diff(train.indptr)):
        apart = composition(made_of, user)
        np.testing.assert_allclose(summed(apart, item_emb.shape[1]), user_emb[user], atol=1e-5)
        for reason in explain(apart, item_emb, list(range(N_ITEMS))):
            assert reason.contributions.sum() == pytest.approx(reason.parts["history"], abs=1e-9)
            assert reason.parts["own"] == 0


@pytest.mark.parametrize("known", [True, False], ids=["trained", "newcomer"])
def test_a_planted_title_is_the_main_reason(known: bool) -> None:
    """Two kinds of titles, each collected by its own users; one user has four of a kind, and one of the other."""
    pairs = np.zeros((41, 20), np.float32)
    rng = np.random.default_rng(0)
    for user in range(40):
        pairs[user, rng.choice(10, 6, replace=False) + 10 * (user % 2)] = 1
    pairs[40, [0, 1, 2, 3, 15]] = 1
    dataset = dataset_of(sp.csr_matrix(pairs))
    config = get_config({"fusion_mode": "none", "init": "svd", "embedding_dim": 8, "num_layers": 2, "device": "cpu"})
    model = build_model(dataset, TextVectors(None, None, {}), config, torch.device("cpu"))
    item_emb, state = model.embeddings()[1], model.whole_state(model.state_dict())
    if known:
        apart = composition(sources(state, dataset, None, config), 40)
    else:
        apart = of_new_user(
            fold_in(dataset.train[[40]], item_emb, pairs.sum(axis=0), 1.0, False), item_emb, layout_of(state)
        )
    of_many, of_one = explain(apart, item_emb, [5, 16])
    assert of_one.titles[0] == 15
    assert of_one.contributions[0] > 2 * of_one.contributions[1]
    assert of_many.titles[-1] == 15
    assert set(of_many.titles[:4]) == {0, 1, 2, 3}


@pytest.mark.parametrize("fixed", [True, False])
def test_those_outside_are_taken_apart_whatever_the_order_of_their_titles(fixed: bool) -> None:
    model, _ = drawn_model(drawn_train(), "none", 1, columns=True)
    item_emb, columns = model.embeddings()[1], layout_of(model.whole_state(model.state_dict()))
    found = []
    for titles in ([2, 11, 5, 28], [28, 5, 2, 11]):
        collected = sp.csr_matrix((np.ones(4, np.float32), titles, [0, 4]), shape=(1, N_ITEMS))
        fit = fold_in(collected, item_emb[:, :DIM], np.full(N_ITEMS, 3), 2.0, fixed)
        user = torch.cat([fit.users, torch.ones(1, 1), linear_users(model.linear_inputs, 0.5, collected)], dim=1)
        reasons = explain(of_new_user(fit, item_emb, columns), item_emb, list(range(N_ITEMS)))
        for reason, score in zip(reasons, (item_emb[:, :-1].double() @ user[0].double()).tolist(), strict=True):
            assert sum(reason.parts.values()) == pytest.approx(score, abs=1e-4)
            assert list(reason.parts) == ["history", "catalogue", "popularity", "linear"]
        found.append([dict(zip(reason.titles.tolist(), reason.contributions, strict=True)) for reason in reasons])
    for one, other in zip(*found, strict=True):
        assert sorted(one) == [2, 5, 11, 28]
        assert one == pytest.approx(other, abs=1e-4)


@pytest.fixture(scope="module", params=["concat", "sum"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A finished run on data with comments, with all there is beside the trained columns."""
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "data", n_users=60, n_items=40)
    config = get_config(
        {
            "preset": "tuned",
            "fusion_mode": request.param,
            "data_dir": str(folder / "data"),
            "saved_dir": str(folder / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "linear_dim": 8,
            "epochs": 2,
            "device": "cpu",
            "cold_item_ratio": 0.1,
        }
    )
    run(config)
    return load_finished(config)


@pytest.mark.slow
def test_a_finished_run_is_explained_from_its_files(finished: FinishedRun) -> None:
    dataset, saved = finished.dataset, Path(finished.config["saved_dir"])
    user_emb, item_emb = (load_torch(saved / f"{side}_emb.pt") for side in ("user", "item"))
    made_of, rng = sources_of(finished), np.random.default_rng(0)
    pairs = rng.integers((dataset.n_users, dataset.n_items), size=(1000, 2)).tolist()
    cold = torch.from_numpy(finished.cold_items)
    assert torch.equal(finished.checkpoint["state_dict"]["cold_vectors"], item_emb[cold, :8])
    pairs += [[user, item] for user in range(5) for item in finished.cold_items.tolist()]  # placed by regression
    for user, item in pairs:
        [reason] = explain(composition(made_of, user), item_emb, [item])
        assert sum(reason.parts.values()) == pytest.approx(
            float(user_emb[user].double() @ item_emb[item].double()), abs=1e-4
        )
        assert set(reason.titles) == set(dataset.known_before("test")[[user]].indices)


def test_new_users_of_a_finished_run_are_explained_as_they_are_placed(finished: FinishedRun) -> None:
    users, items = place_users(finished, finished.dataset.train[:9]), finished.item_emb
    scores = (users.users.double() @ items.double().T).numpy()
    for user in range(9):
        apart = of_new_user(users, items, finished.layout, user)
        for item, reason in enumerate(explain(apart, items, list(range(len(items))))):
            assert sum(reason.parts.values()) == pytest.approx(scores[user, item], abs=1e-4)


def test_changed_texts_are_refused(finished: FinishedRun) -> None:
    titles = Path(finished.config["data_dir"]) / "anime.tsv"
    before = titles.read_text(encoding="utf-8")
    titles.write_text(before.replace("story of 3", "another story"), encoding="utf-8")
    try:
        with pytest.raises(ValueError, match="other text vectors"):
            sources_of(load_finished(finished.config))
    finally:
        titles.write_text(before, encoding="utf-8")


def test_the_titles_that_spoke_for_it_most_are_named() -> None:
    train = drawn_train()
    model, _ = drawn_model(train, "none", 2)
    dataset = dataset_of(train)
    for reason in explain(composition(sources_by(model, None, train), 5), model.embeddings()[1], list(range(N_ITEMS))):
        found, favour = readable(reason, dataset), reason.contributions[reason.contributions > 0]
        assert (np.diff(reason.contributions) <= 0).all()
        assert [title["subject_id"] for title in found] == [str(row) for row in reason.titles[: min(3, len(favour))]]
        assert [title["share"] for title in found] == pytest.approx(favour[:3] / favour.sum())
