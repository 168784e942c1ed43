"""Baselines against hand-computed scores, against plain numpy, and on the rows that have nothing."""

import inspect
import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from evaluation import baseline_inputs, baselines, tuned_baselines
from evaluation.baseline_inputs import Inputs
from evaluation.baselines import (
    BASELINES,
    GRIDS,
    RATED,
    TIMED,
    content_cosine,
    ease,
    ease_text,
    edlae,
    graph_filter,
    item_knn,
    popularity,
)
from evaluation.ranking import rank_items
from evaluation.tuned_baselines import possible_baselines
from llm_embedding import TextVectors
from tests.helpers.data import dataset_of
from tests.helpers.factors import made, scores_of
from text import whitening

# 6 titles; nobody collected title 4, and user 5 collected nothing
TOY = sp.csr_matrix(
    np.array(
        [
            [1, 1, 0, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [1, 0, 1, 1, 0, 0],
            [0, 0, 1, 1, 0, 1],
            [1, 0, 0, 1, 0, 1],
            [0, 0, 0, 0, 0, 0],
        ],
        np.float32,
    )
)
COLD_ITEM, EMPTY_USER = 4, 5


def random_train(n_users: int = 60, n_items: int = 23, density: float = 0.3, seed: int = 0) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix((rng.random((n_users, n_items)) < density).astype(np.float32))


def inputs_of(train: sp.csr_matrix, texts: np.ndarray | None = None) -> Inputs:
    return Inputs(dataset_of(train), texts)


def dense_similarity(train: sp.csr_matrix, shrink: float) -> np.ndarray:
    """Cosine with shrinkage, pair by pair; the diagonal and pairs without a common user are 0."""
    columns = train.toarray().astype(float).T
    similarity = np.zeros((len(columns), len(columns)))
    for i, j in itertools.permutations(range(len(columns)), 2):
        together = columns[i] @ columns[j]
        if together:
            similarity[i, j] = together / (np.linalg.norm(columns[i]) * np.linalg.norm(columns[j]) + shrink)
    return similarity


def constrained_ridge(train: sp.csr_matrix, l2: float, dropout: float = 0.0, user_power: float = 0.0) -> np.ndarray:
    """The problem of EASE solved column by column, each title regressed on all others; of EDLAE with the others."""
    ratings, sizes = train.toarray().astype(float), np.diff(train.indptr)
    ratings *= np.sqrt((np.maximum(sizes, 1) / sizes[sizes > 0].mean()) ** -user_power)[:, None]
    penalty = l2 + dropout / (1 - dropout) * np.square(ratings).sum(axis=0)
    n_items = ratings.shape[1]
    weights = np.zeros((n_items, n_items))
    for j in range(n_items):
        others = np.delete(np.arange(n_items), j)
        gram = ratings[:, others].T @ ratings[:, others] + np.diag(penalty[others])
        weights[others, j] = np.linalg.solve(gram, ratings[:, others].T @ ratings[:, j])
    return weights


# --- popularity ---


def test_popularity_is_the_count_for_everyone():
    np.testing.assert_array_equal(scores_of(made(popularity, inputs_of(TOY))), np.tile([4, 2, 3, 3, 0, 2], (6, 1)))


def test_popularity_lists_follow_the_counts():
    user_emb, item_emb = made(popularity, inputs_of(TOY))
    ranking = rank_items(user_emb, item_emb, np.array([EMPTY_USER]), TOY, 6)
    assert ranking.items[0, 0] == 0
    assert set(ranking.items[0, 1:3]) == {2, 3}
    assert set(ranking.items[0, 3:5]) == {1, 5}
    assert ranking.items[0, 5] == COLD_ITEM


# --- item-kNN ---


def test_knn_by_hand():
    train = sp.csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1]], np.float32))
    s01, s02 = 2 / np.sqrt(3 * 2), 1 / np.sqrt(3 * 1)
    _, item_emb = made(item_knn, inputs_of(train), neighbours=1, shrink=0)
    # title 0 keeps only title 1; titles 1 and 2 keep title 0
    np.testing.assert_allclose(item_emb, [[0, s01, 0], [s01, 0, 0], [s02, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(
        scores_of(made(item_knn, inputs_of(train), neighbours=1, shrink=0))[2], [0, s01, s02], rtol=1e-6
    )


def test_shrink_by_hand():
    _, item_emb = made(item_knn, inputs_of(TOY), neighbours=5, shrink=10)
    assert item_emb[0, 1].item() == pytest.approx(2 / (np.sqrt(4 * 2) + 10))
    assert item_emb[3, 5].item() == pytest.approx(2 / (np.sqrt(3 * 2) + 10))


@pytest.mark.parametrize("shrink", [0, 10])
@pytest.mark.parametrize("neighbours", [1, 4, 22, 500])
def test_knn_equals_plain_numpy(neighbours: int, shrink: float):
    train = random_train()
    kept = made(item_knn, inputs_of(train), neighbours, shrink)[1].numpy()
    similarity = dense_similarity(train, shrink)
    np.testing.assert_allclose(kept[kept > 0], similarity[kept > 0], rtol=1e-5)
    # compared by value, because ties at the cut may fall either way
    largest = -np.sort(-similarity, axis=1)[:, :neighbours]
    np.testing.assert_allclose(-np.sort(-kept, axis=1)[:, :neighbours], largest, rtol=1e-5)


@pytest.mark.parametrize("neighbours", [1, 3, 7])
def test_knn_keeps_exactly_that_many_and_not_itself(neighbours: int):
    train = random_train(density=0.6)
    assert (dense_similarity(train, 0) > 0).sum(axis=1).min() >= 7
    _, item_emb = made(item_knn, inputs_of(train), neighbours, shrink=0)
    np.testing.assert_array_equal((item_emb != 0).sum(dim=1), neighbours)
    assert not item_emb.diagonal().any()


def test_knn_keeps_no_title_without_a_common_user():
    _, item_emb = made(item_knn, inputs_of(TOY), neighbours=6, shrink=0)
    np.testing.assert_array_equal(item_emb.numpy() > 0, dense_similarity(TOY, 0) > 0)


# --- EASE ---


def test_ease_by_hand():
    # two titles: regress one on the other, b = n_01 / (n_0 + l2)
    train = sp.csr_matrix(np.array([[1, 1], [1, 1], [1, 0]], np.float32))
    user_emb, item_emb = made(ease, inputs_of(train), l2=2)
    np.testing.assert_allclose(item_emb, [[0, 2 / (2 + 2)], [2 / (3 + 2), 0]], rtol=1e-5)
    np.testing.assert_allclose(scores_of((user_emb, item_emb))[2], [0, 2 / 5], rtol=1e-5)


@pytest.mark.parametrize("l2", [0.5, 10, 200])
@pytest.mark.parametrize("train", [TOY, random_train()], ids=["toy", "random"])
def test_ease_solves_the_constrained_ridge_regression(train: sp.csr_matrix, l2: float):
    weights = made(ease, inputs_of(train), l2)[1].numpy().T
    np.testing.assert_allclose(weights, constrained_ridge(train, l2), rtol=1e-3, atol=1e-6)
    assert not weights.diagonal().any()


def test_ease_scores_are_the_ratings_times_the_weights():
    train = random_train()
    expected = train.toarray() @ constrained_ridge(train, 10)
    np.testing.assert_allclose(scores_of(made(ease, inputs_of(train), 10)), expected, rtol=1e-3, atol=1e-5)


# --- EDLAE ---


@pytest.mark.parametrize(
    "point",
    [
        {"l2": 5.0},
        {"l2": 5.0, "dropout": 0.5},
        {"l2": 30.0, "user_power": 1.0},
        {"l2": 3.0, "dropout": 0.4, "user_power": 0.5},
    ],
)
@pytest.mark.parametrize("train", [TOY, random_train()], ids=["toy", "random"])
def test_edlae_drops_titles_and_weighs_users(train: sp.csr_matrix, point: dict[str, float]):
    user_emb, item_emb = made(edlae, inputs_of(train), **{"dropout": 0.0, "user_power": 0.0, **point})
    expected = constrained_ridge(train, **point)
    np.testing.assert_allclose(item_emb.numpy().T, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(scores_of((user_emb, item_emb)), train @ expected, rtol=1e-3, atol=1e-5)
    if len(point) > 1 and train is not TOY:
        assert np.abs(expected - constrained_ridge(train, point["l2"])).max() > 1e-2


# --- EASE with text ---


@pytest.mark.parametrize(("l2", "text_weight", "dropout"), [(5.0, 3.0, 0.0), (20.0, 30.0, 0.4)])
def test_ease_text_regresses_on_texts_as_if_they_were_further_users(l2: float, text_weight: float, dropout: float):
    train, rng = random_train(), np.random.default_rng(1)
    texts = rng.normal(size=(train.shape[1], 4)).astype(np.float32)
    texts[3] = 0  # without a text
    _, item_emb = made(ease_text, inputs_of(train, texts), l2, text_weight, dropout, user_power=0.0)
    scale = text_weight / (np.square(texts).sum() / (len(texts) - 1))
    ratings = np.vstack([train.toarray(), np.sqrt(scale) * texts.T]).astype(float)  # (n_users + L, n_items)
    penalty = l2 + dropout / (1 - dropout) * train.toarray().sum(axis=0)  # a text is not dropped
    for item in range(train.shape[1]):
        others = np.delete(np.arange(train.shape[1]), item)
        gram = ratings[:, others].T @ ratings[:, others] + np.diag(penalty[others])
        expected = np.linalg.solve(gram, ratings[:, others].T @ ratings[:, item])
        np.testing.assert_allclose(item_emb[item, others], expected, rtol=1e-3, atol=1e-5)
    assert not item_emb.diagonal().any()


def test_ease_text_without_weight_is_edlae():
    train, texts = random_train(), np.random.default_rng(1).normal(size=(23, 4))
    np.testing.assert_array_equal(
        made(ease_text, inputs_of(train, texts), 5.0, 0.0)[1], made(edlae, inputs_of(train), 5.0)[1]
    )


def test_ease_text_places_a_title_that_nobody_collected_like_the_one_with_its_text():
    texts = np.eye(6, dtype=np.float32)
    texts[COLD_ITEM] = texts[1]
    scores = scores_of(made(ease_text, inputs_of(TOY, texts), 1.0, 10.0))
    assert (scores[[0, 1], COLD_ITEM] > 0).all()  # those who collected title 1
    assert np.abs(scores[2:, COLD_ITEM]).max() < scores[:2, COLD_ITEM].min()


# --- the graph filter ---


def filtered(train: sp.csr_matrix, item_power: float, low_pass_weight: float, rank: int) -> np.ndarray:
    """Compute the scores of GF-CF with dense matrices."""
    ratings = train.toarray().astype(float)
    counts, sizes = (np.maximum(ratings.sum(axis=axis), 1) for axis in (0, 1))
    normal = ratings / np.sqrt(np.outer(sizes, counts))
    rows = np.linalg.svd(normal)[2][:rank]
    smooth = normal.T @ normal + low_pass_weight * rows.T @ rows
    return ratings @ np.diag(counts**-item_power) @ smooth @ np.diag(counts**item_power)


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("point", [(0.4, 0.3, 4), (0.5, 0.0, 4), (0.0, 3.0, 13), (1.0, 1.0, 6)])
def test_filter_equals_plain_numpy(point: tuple[float, float, int], form: str, monkeypatch: pytest.MonkeyPatch):
    train = random_train(n_items=14)
    monkeypatch.setattr(baselines, "EASE_MAX_ITEMS", 14 if form == "dense" else 13)
    monkeypatch.setattr(baseline_inputs, "FILTER_RANK", point[2])
    factors = made(graph_filter, inputs_of(train), *point[:2])
    assert sp.issparse(factors[1]) == (form == "sparse")
    if form == "sparse":
        assert [part.shape for part in factors] == [(60, 14 + point[2]), (14, 14 + point[2])]
    np.testing.assert_allclose(scores_of(factors), filtered(train, *point), rtol=1e-3, atol=1e-4)


def test_large_data_leave_out_what_does_not_fit(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Users of n titles bring n^2 pairs: 4 + 9 + 9 + 9 + 9 of the toy."""
    caplog.set_level("INFO", "aglrec")
    texts = TextVectors(TEXTS, TEXTS, {}, {"encoder": 1, "tags": 1})
    config, usual = get_config({}), set(BASELINES) - {*TIMED, *RATED}
    assert set(possible_baselines(dataset_of(TOY), texts, config)) == usual
    monkeypatch.setattr(tuned_baselines, "EASE_MAX_ITEMS", 5)
    without = {"item_knn", "ease", "edlae", "ease_text"}
    for limit, more in ((40, set()), (39, {"graph_filter"})):
        monkeypatch.setattr(tuned_baselines, "FILTER_MAX_PAIRS", limit)
        assert usual - set(possible_baselines(dataset_of(TOY), texts, config)) == without | more
    assert (
        "item_knn, ease, edlae, ease_text: left out, 6 titles take about 0 GiB; EASE_MAX_ITEMS allows 5 titles"
        in caplog.text
    )


@pytest.mark.parametrize("memory_mb", [1, 256])
def test_sparse_factors_are_ranked_as_dense_ones(memory_mb: int):
    rng = np.random.default_rng(0)
    user_emb, item_emb = (
        sp.csr_matrix((rng.random((n, 9)) * (rng.random((n, 9)) < 0.6)).astype(np.float32)) for n in (700, 130)
    )
    masked, target = random_train(700, 130, 0.1, 1), random_train(700, 130, 0.1, 2)
    target = sp.csr_matrix(target - target.multiply(masked))
    target.eliminate_zeros()
    users = np.flatnonzero(np.arange(700) % 3)
    dense = [torch.from_numpy(part.toarray()) for part in (user_emb, item_emb)]
    ours, theirs = (
        rank_items(*factors, users, masked, 10, target, 0, memory_mb) for factors in ((user_emb, item_emb), dense)
    )
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-5)
    np.testing.assert_allclose(ours.auc, theirs.auc, atol=1e-5)
    # near ties may fall either way
    assert (ours.items == theirs.items).mean() > 0.98
    assert ours.scores.std() > 0.1


# --- content cosine ---


TEXTS = np.array([[1, 0], [3, 1], [0, 2], [-1, 0], [1, 5], [0, 0]], np.float32)


def test_content_lists_the_nearest_text_first():
    train = sp.csr_matrix(([1.0], ([0], [0])), shape=(1, 6), dtype=np.float32)
    ranking = rank_items(*made(content_cosine, inputs_of(train, TEXTS)), np.array([0]), train, 5)
    # title 2 is orthogonal and title 5 has no text: both score 0
    assert ranking.items[0, :2].tolist() == [1, 4]
    assert set(ranking.items[0, 2:4]) == {2, 5}
    assert ranking.items[0, 4] == 3


def test_content_equals_plain_numpy():
    train, texts = random_train(), np.random.default_rng(1).normal(size=(23, 5))
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    expected = np.empty(train.shape)
    for user, row in enumerate(train.toarray()):
        profile = unit[row > 0].mean(axis=0)
        expected[user] = unit @ profile / np.linalg.norm(profile)
    np.testing.assert_allclose(scores_of(made(content_cosine, inputs_of(train, texts))), expected, atol=1e-5)


def test_content_ignores_how_long_a_vector_is():
    longer = TEXTS * np.array([[1], [100], [0.01], [7], [3], [1]], np.float32)
    np.testing.assert_allclose(
        scores_of(made(content_cosine, inputs_of(TOY, longer))),
        scores_of(made(content_cosine, inputs_of(TOY, TEXTS))),
        atol=1e-6,
    )


def test_content_ranks_a_title_nobody_collected():
    # user 0: (1, 0) + (3, 1) / sqrt(10) against (1, 5) / sqrt(26)
    profile = np.array([1 + 3 / np.sqrt(10), 1 / np.sqrt(10)])
    expected = profile @ [1, 5] / np.linalg.norm(profile) / np.sqrt(26)
    assert scores_of(made(content_cosine, inputs_of(TOY, TEXTS)))[0, COLD_ITEM] == pytest.approx(expected, rel=1e-5)


def test_content_whitens_when_asked():
    train, texts = random_train(), np.random.default_rng(1).normal(3, size=(23, 5)).astype(np.float32)
    plain, white = (
        scores_of(made(content_cosine, inputs_of(train, vectors), whiten))
        for vectors, whiten in ((whitening.whitened(texts, texts), False), (texts, True))
    )
    np.testing.assert_allclose(white, plain, atol=1e-6)
    np.testing.assert_array_equal(scores_of(made(BASELINES["content_whitened"], inputs_of(train, texts))), white)
    assert np.abs(white - scores_of(made(content_cosine, inputs_of(train, texts)))).max() > 0.5


# --- all of them ---


@pytest.mark.parametrize("name", ["item_knn", "ease", "edlae", "ease_text", "graph_filter", "content_cosine"])
def test_a_user_without_rows_scores_zero(name: str):
    scores = scores_of(made(BASELINES[name], inputs_of(TOY, TEXTS)))
    assert np.isfinite(scores).all()
    assert not scores[EMPTY_USER].any()


@pytest.mark.parametrize("name", ["popularity", "item_knn", "ease", "edlae", "graph_filter"])
def test_a_title_without_rows_scores_zero(name: str):
    scores = scores_of(made(BASELINES[name], inputs_of(TOY, TEXTS)))
    assert np.isfinite(scores).all()
    assert not scores[:, COLD_ITEM].any()


@pytest.mark.parametrize("name", ["item_knn", "ease", "edlae", "ease_text", "graph_filter", "content_cosine"])
def test_two_tastes_are_told_apart(name: str):
    rng = np.random.default_rng(0)
    taste = np.repeat([0, 1], 20)
    likes = (taste[:, None] == np.repeat([0, 1], 10)[None, :]) & (rng.random((40, 20)) < 0.5)
    train = sp.csr_matrix(likes.astype(np.float32))
    user_emb, item_emb = made(BASELINES[name], inputs_of(train, np.repeat(np.eye(2), 10, axis=0)))
    user_emb = torch.from_numpy(user_emb.toarray()) if sp.issparse(user_emb) else user_emb
    ranking = rank_items(user_emb, item_emb, np.arange(40), train, 1)
    np.testing.assert_array_equal(ranking.items[:, 0] // 10, taste)


@pytest.mark.parametrize("name", BASELINES)
def test_every_point_of_a_grid_fits_a_dataset(name: str, dataset: Dataset):
    texts = np.random.default_rng(0).normal(size=(dataset.n_items, 4)).astype(np.float32)
    before = dataset.train.copy()
    grid = GRIDS.get(name, {})
    for values in itertools.product(*grid.values()):
        scores = scores_of(made(BASELINES[name], Inputs(dataset, texts), **dict(zip(grid, values, strict=True))))
        assert scores.shape == (dataset.n_users, dataset.n_items)
        assert np.isfinite(scores).all()
    assert (before != dataset.train).nnz == 0


@pytest.mark.parametrize("name", GRIDS)
def test_the_defaults_are_the_middle_of_the_grids(name: str):
    defaults = {key: value.default for key, value in inspect.signature(BASELINES[name]).parameters.items()}
    assert {key: defaults[key] for key in GRIDS[name]} == {
        key: values[len(values) // 2] for key, values in GRIDS[name].items()
    }
    assert all(list(values) == sorted(values) and len(values) % 2 for values in GRIDS[name].values())


def test_what_points_share_is_computed_once_and_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    train, texts = random_train(), np.random.default_rng(1).normal(size=(23, 5)).astype(np.float32)
    points = {"item_knn": {"shrink": 1.0}, "ease": {"l2": 3.0}, "graph_filter": {"item_power": 0.2}, "ease_text": {}}
    alone = {name: scores_of(made(BASELINES[name], inputs_of(train, texts), **point)) for name, point in points.items()}
    calls: list[str] = []
    for name in ("gram", "text_similarity", "low_pass", "normalized"):
        real = getattr(baseline_inputs, name)
        monkeypatch.setattr(baseline_inputs, name, lambda *args, n=name, f=real: calls.append(n) or f(*args))
    inputs = inputs_of(train, texts)
    for name in [*points, *points][:-1]:
        made(BASELINES[name], inputs)
        np.testing.assert_array_equal(scores_of(made(BASELINES[name], inputs, **points[name])), alone[name])
    # of users alike, of users weighed, and of users alike again
    assert sorted(calls) == ["gram"] * 3 + ["low_pass", "normalized", "text_similarity"]
