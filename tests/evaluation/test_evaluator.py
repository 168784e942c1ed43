"""The ranking and its metrics against brute force, scikit-learn and oracles."""

import math
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import ndcg_score, roc_auc_score

from config import METRIC_NAMES, get_config
from evaluation.ranking import Ranking, _columns, rank_blocks, rank_items
from evaluator import METRICS, evaluate, means, user_metrics
from tests.helpers.rankings import (
    TOP_K,
    assert_metrics_equal,
    brute_force,
    distinct_scores,
    nothing,
    settings,
    to_csr,
    vectors_scoring,
)

SIZES = [20, 50, 63, 64, 65, 100, 128, 200]


def random_pairs(
    rng: np.random.Generator, n_users: int, n_items: int, share: float = 0.1
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Return disjoint masked and target pairs; some users have no target, some nothing masked."""
    draw = rng.random((n_users, n_items))
    masked, target = draw < 0.3, draw > 1 - share
    masked[0], target[1] = False, False
    target[0, 0] = True
    masked[2], target[2] = True, False
    target[2, :2], masked[2, :2] = True, False  # no more than two items are left to this user
    return to_csr(masked), to_csr(target)


# --- against independent implementations ---


@pytest.mark.parametrize("n_items", SIZES)
def test_evaluate_equals_brute_force(n_items: int) -> None:
    rng = np.random.default_rng(n_items)
    masked, target = random_pairs(rng, 30, n_items)
    scores = distinct_scores(rng, 30, n_items)
    ours = evaluate(*vectors_scoring(scores), target, masked, settings())
    assert_metrics_equal(ours, brute_force(scores, target.toarray(), masked.toarray(), TOP_K))


def test_evaluate_equals_brute_force_on_real_valued_vectors() -> None:
    rng = np.random.default_rng(1)
    masked, target = random_pairs(rng, 40, 90)
    user_emb, item_emb = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(90, 6)).astype(np.float32)
    ours = evaluate(torch.from_numpy(user_emb), torch.from_numpy(item_emb), target, masked, settings())
    assert_metrics_equal(ours, brute_force(user_emb @ item_emb.T, target.toarray(), masked.toarray(), TOP_K))


@pytest.mark.parametrize("n_items", [20, 64, 100])
def test_ndcg_and_auc_equal_scikit_learn(n_items: int) -> None:
    rng = np.random.default_rng(n_items)
    masked, target = random_pairs(rng, 30, n_items)
    scores = distinct_scores(rng, 30, n_items)
    ours = evaluate(*vectors_scoring(scores), target, masked, settings())
    users = np.flatnonzero(np.diff(target.indptr))
    assert len(ours["AUC"]) == len(users)
    for place, user in enumerate(users):
        free = masked.toarray()[user] == 0
        relevance, score = target.toarray()[user, free], scores[user, free]
        if len(score) < 2:
            continue
        for k in TOP_K:
            expected = ndcg_score([relevance], [score], k=k, ignore_ties=True)
            assert ours[f"NDCG@{k}"][place] == pytest.approx(expected)
        if 0 < relevance.sum() < len(relevance):
            assert ours["AUC"][place] == pytest.approx(roc_auc_score(relevance, score))
        else:
            assert np.isnan(ours["AUC"][place])


def test_auc_with_many_ties_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    masked, target = random_pairs(rng, 40, 90)
    scores = rng.integers(-2, 3, size=(40, 90)).astype(np.float32)
    ours = evaluate(*vectors_scoring(scores), target, masked, settings())["AUC"]
    for auc, user in zip(ours, np.flatnonzero(np.diff(target.indptr)), strict=True):
        free = masked.toarray()[user] == 0
        relevance = target.toarray()[user, free]
        if 0 < relevance.sum() < len(relevance):
            assert auc == pytest.approx(roc_auc_score(relevance, scores[user, free]))


def test_user_metrics_of_a_list_written_by_hand() -> None:
    target = to_csr(np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]))
    ranking = Ranking(np.array([0, 1, 2]), np.array([[4, 0, 2], [0, 1, 2], [0, -1, -1]]), np.zeros((3, 3)), None)
    ours = user_metrics(ranking, target, [2, 3])
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    np.testing.assert_allclose(ours["Recall@2"], [1 / 3, math.nan, 0])
    np.testing.assert_allclose(ours["Recall@3"], [2 / 3, math.nan, 0])
    np.testing.assert_allclose(ours["NDCG@2"], [second / (1 + second), math.nan, 0])
    np.testing.assert_allclose(ours["NDCG@3"], [(second + third) / (1 + second + third), math.nan, 0])
    np.testing.assert_allclose(ours["Hit@2"], [1, math.nan, 0])
    np.testing.assert_allclose(ours["MRR@2"], [1 / 2, math.nan, 0])
    np.testing.assert_allclose(ours["MAP@2"], [1 / 2 / 2, math.nan, 0])
    np.testing.assert_allclose(ours["MAP@3"], [(1 / 2 + 2 / 3) / 3, math.nan, 0])
    np.testing.assert_allclose(ours["Precision@2"], [1 / 2, math.nan, 0])
    np.testing.assert_allclose(ours["Precision@3"], [2 / 3, math.nan, 0])
    assert "AUC" not in ours


# --- each metric of the registry ---

each_metric = pytest.mark.parametrize("name", METRICS)


def test_every_metric_can_stop_training_early() -> None:
    """config.py, which is below evaluator.py, has a list of its own."""
    assert tuple(METRICS) == METRIC_NAMES
    for name in METRICS:
        assert get_config({"early_stop_metric": f"{name}@10"})["early_stop_metric"] == f"{name}@10"
    with pytest.raises(ValueError, match=r"MAP@10, Precision@10"):
        get_config({"early_stop_metric": "MRR@11"})


@each_metric
def test_a_metric_is_0_without_a_hit_and_rises_as_a_hit_moves_up(name: str) -> None:
    hits = np.vstack([np.zeros((1, 10), bool), np.eye(10, dtype=bool)[::-1]])
    values = METRICS[name](hits, np.full(11, 3), 10).astype(float)
    assert values[0] == 0
    assert (values[1:] > 0).all()
    assert (np.diff(values) >= 0).all()
    assert values.max() <= 1


@each_metric
def test_a_metric_looks_at_the_first_k_alone(name: str) -> None:
    hits = np.random.default_rng(0).random((50, 20)) < 0.3
    beyond = hits.copy()
    beyond[:, 5:] = ~beyond[:, 5:]
    counts = np.arange(50) + 1
    np.testing.assert_array_equal(METRICS[name](hits, counts, 5), METRICS[name](beyond, counts, 5))
    np.testing.assert_allclose(METRICS[name](hits, counts, 5), METRICS[name](hits[:, :5], counts, 5), rtol=1e-15)


@each_metric
def test_a_metric_of_the_only_title_of_a_list_is_1(name: str) -> None:
    assert METRICS[name](np.array([[True]]), np.array([1]), 1).tolist() == [1]


@each_metric
def test_a_metric_does_not_overflow_in_a_long_list(name: str) -> None:
    values = METRICS[name](np.ones((1, 1000), bool), np.array([1000]), 1000)
    assert values.astype(float) == pytest.approx([1])


def test_user_metrics_take_the_users_of_the_ranking_not_their_place() -> None:
    target = to_csr(np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1]]))
    ranking = Ranking(np.array([2]), np.array([[1, 0, 2]]), np.zeros((1, 3)), np.array([0.5]))
    ours = user_metrics(ranking, target, [1])
    assert {key: values.tolist() for key, values in ours.items()} == {
        "Recall@1": [0.5],
        "NDCG@1": [1.0],
        "Hit@1": [1.0],
        "MRR@1": [1.0],
        "MAP@1": [1.0],
        "Precision@1": [1.0],
        "AUC": [0.5],
    }


def test_padding_is_never_taken_for_an_item() -> None:
    # user 1's padding of -1 must not be read as user 0's last item
    target = to_csr(np.array([[0, 0, 1], [1, 0, 0]]))
    ranking = Ranking(np.array([0, 1]), np.array([[-1, -1], [1, -1]]), np.zeros((2, 2)), None)
    assert user_metrics(ranking, target, [2])["Hit@2"].tolist() == [0, 0]


@pytest.mark.parametrize("n_items", [50, 150])
def test_an_oracle_scores_one_and_an_anti_oracle_zero(n_items: int) -> None:
    rng = np.random.default_rng(2)
    masked, target = random_pairs(rng, 30, n_items)
    masked = to_csr(masked.toarray() * (np.arange(30) != 2)[:, None])  # every user has items enough for both
    few = target.toarray()
    few[:, 8:] = 0
    few[5, 1] = 1 - masked.toarray()[5, 1]
    truth = few * 100 + rng.random((30, n_items))
    for sign, value in ((1, 1.0), (-1, 0.0)):
        ours = evaluate(*vectors_scoring(sign * truth), to_csr(few), masked, settings([8, 10]))
        for key, values in ours.items():
            best = few.sum(axis=1)[few.any(axis=1)] / int(key.split("@")[1]) if key.startswith("Precision") else 1.0
            np.testing.assert_allclose(values, value * best, err_msg=key)


def test_recall_of_an_oracle_is_bounded_by_k() -> None:
    target = np.zeros((1, 40))
    target[0, :20] = 1
    ours = evaluate(*vectors_scoring(target), to_csr(target), nothing(1, 40), settings([5]))
    assert ours["Recall@5"].tolist() == [0.25]
    assert ours["NDCG@5"].tolist() == [pytest.approx(1.0)]


# --- who and what takes part ---


@pytest.mark.parametrize("n_items", SIZES)
def test_masked_items_are_never_listed_and_the_rest_is_sorted(n_items: int) -> None:
    rng = np.random.default_rng(0)
    masked = to_csr(rng.random((30, n_items)) < rng.random((30, 1)))
    scores = rng.normal(size=(30, n_items)).astype(np.float32)
    ranking = rank_items(*vectors_scoring(scores), np.arange(30), masked, 20)
    assert ranking.items.shape == ranking.scores.shape == (30, 20)
    assert ranking.auc is None
    for user, (items, listed) in enumerate(zip(ranking.items, ranking.scores, strict=True)):
        free = np.flatnonzero(masked.toarray()[user] == 0)
        expected = free[np.argsort(-scores[user, free])][:20]
        assert items[: len(expected)].tolist() == expected.tolist()
        np.testing.assert_allclose(listed[: len(expected)], scores[user, expected], rtol=1e-6)


def test_the_best_items_are_found_however_far_apart_they_stand() -> None:
    rng = np.random.default_rng(8)
    scores = np.tile(rng.permutation(1000).astype(np.float32), (20, 1))
    best = np.arange(10, 1000, 90)  # eleven items, none within 64 rows of another
    for user in range(20):
        scores[user, best] = 2000 + rng.permutation(11)
    ranking = rank_items(*vectors_scoring(scores), np.arange(20), nothing(20, 1000), 5)
    assert ranking.items.tolist() == best[np.argsort(-scores[:, best])][:, :5].tolist()


def test_lists_end_in_minus_one_where_too_few_items_are_left() -> None:
    masked = np.zeros((3, 70))
    masked[0, 3:] = 1
    masked[1] = 1
    scores = np.tile(np.arange(70, dtype=np.float32) - 90, (3, 1))  # masked items would win if they scored 0
    ranking = rank_items(*vectors_scoring(scores), np.arange(3), to_csr(masked), 5)
    assert ranking.items.tolist() == [[2, 1, 0, -1, -1], [-1] * 5, [69, 68, 67, 66, 65]]
    assert ranking.scores.tolist()[0] == [-88, -89, -90, -math.inf, -math.inf]
    assert (ranking.scores[1] == -np.inf).all()


def test_items_of_negative_score_come_before_the_padding_of_the_catalogue() -> None:
    scores = np.full((1, 65), -5.0) - np.arange(65)
    ranking = rank_items(*vectors_scoring(scores), np.array([0]), nothing(1, 65), 65)
    assert ranking.items[0].tolist() == list(range(65))


def test_only_the_users_asked_for_are_ranked() -> None:
    scores = distinct_scores(np.random.default_rng(0), 6, 30)
    masked = to_csr(np.random.default_rng(1).random((6, 30)) < 0.3)
    everyone = rank_items(*vectors_scoring(scores), np.arange(6), masked, 8)
    some = rank_items(*vectors_scoring(scores), np.array([1, 4]), masked, 8)
    assert some.user_ids.tolist() == [1, 4]
    assert some.items.tolist() == everyone.items[[1, 4]].tolist()


def test_users_without_targets_have_no_part_in_the_averages() -> None:
    target = to_csr(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1]]))
    ours = evaluate(*vectors_scoring(np.array([[3, 2, 1]] * 3)), target, nothing(3, 3), settings([1]))
    assert len(ours["Recall@1"]) == 2
    assert means(ours) == {**{f"{name}@1": 0.5 for name in METRICS}, "AUC": 0.5}


def test_a_user_whose_every_item_is_a_target_has_no_auc_but_the_other_metrics() -> None:
    target = to_csr(np.array([[1, 1, 0], [1, 0, 0]]))
    masked = to_csr(np.array([[0, 0, 1], [0, 0, 0]]))
    ours = evaluate(*vectors_scoring(np.array([[3, 2, 1], [3, 2, 1]])), target, masked, settings([2]))
    assert np.isnan(ours["AUC"][0])
    assert means(ours) == {**{f"{name}@2": 1 for name in METRICS}, "Precision@2": 0.75, "AUC": 1}


def test_nobody_with_a_target_gives_empty_metrics_and_means_of_zero() -> None:
    ours = evaluate(*vectors_scoring(np.ones((3, 30))), nothing(3, 30), nothing(3, 30), settings())
    assert all(values.shape == (0,) for values in ours.values())
    assert set(means(ours).values()) == {0.0}


def test_auc_can_be_left_out() -> None:
    target = to_csr(np.eye(3))
    ours = evaluate(*vectors_scoring(np.eye(3)), target, nothing(3, 3), settings([1]), auc=False)
    assert set(ours) == {f"{name}@1" for name in METRICS}


@pytest.mark.parametrize("shuffled", [False, True])
def test_candidates_are_the_only_items_ranked(shuffled: bool) -> None:
    rng = np.random.default_rng(4)
    masked, target = random_pairs(rng, 30, 200)
    scores = distinct_scores(rng, 30, 200)
    candidates = rng.choice(200, size=70, replace=False)
    if not shuffled:
        candidates = np.sort(candidates)
    ours = evaluate(*vectors_scoring(scores), target, masked, settings(), candidates)
    expected = brute_force(
        scores[:, candidates], target.toarray()[:, candidates], masked.toarray()[:, candidates], TOP_K
    )
    assert_metrics_equal(ours, expected)


def test_fewer_candidates_than_k_are_all_listed() -> None:
    rng = np.random.default_rng(5)
    masked, target = random_pairs(rng, 30, 100)
    scores, candidates = distinct_scores(rng, 30, 100), np.arange(40, 47)
    ours = evaluate(*vectors_scoring(scores), target, masked, settings([3, 20]), candidates)
    expected = brute_force(
        scores[:, candidates], target.toarray()[:, candidates], masked.toarray()[:, candidates], [3, 20]
    )
    assert_metrics_equal(ours, expected)
    assert set(ours["Recall@20"]) == {1.0}


def test_a_list_longer_than_the_catalogue_is_refused() -> None:
    user_emb, item_emb = torch.ones(2, 3), torch.ones(10, 3)
    with pytest.raises(ValueError, match=r"11\b.*\b10\b"):
        rank_items(user_emb, item_emb, np.arange(2), nothing(2, 10), 11)


def test_a_list_as_long_as_the_catalogue_holds_every_item() -> None:
    for n_items in (10, 64, 65, 128):
        ranking = rank_items(torch.zeros(2, 3), torch.zeros(n_items, 3), np.arange(2), nothing(2, n_items), n_items)
        assert np.sort(ranking.items).tolist() == [list(range(n_items))] * 2


def test_auc_of_one_target_and_one_other_title_and_of_none_of_either() -> None:
    scores = np.tile([0.0, 1.0, 2.0], (5, 1))
    scores[2] = 1  # a tie
    target = to_csr(np.eye(5, 3)[[0, 1, 0, 3, 2]])  # user 3 has none
    masked = to_csr(np.array([[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 1], [1, 1, 0]]))  # user 4 has no other title
    found = rank_items(*vectors_scoring(scores), np.arange(5), masked, 1, target).auc
    np.testing.assert_array_equal(found, [0, 0, 0.5, math.nan, math.nan])


# --- blocks of users ---


@pytest.mark.parametrize("ties", [False, True])
def test_results_do_not_depend_on_the_block_size(ties: bool) -> None:
    rng = np.random.default_rng(6)
    n_users, n_items = 300, 1000  # a MiB holds 64 users
    masked, target = random_pairs(rng, n_users, n_items, 0.005)
    scores = rng.integers(0, 4, size=(n_users, n_items)) if ties else distinct_scores(rng, n_users, n_items)
    users, vectors = np.flatnonzero(np.diff(target.indptr)), vectors_scoring(scores)
    one, many = (rank_items(*vectors, users, masked, 20, target, 0, memory_mb) for memory_mb in (512, 1))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("memory_mb", "users_a_block"), [(1, 64), (2, 128), (3, 192)])
def test_a_block_holds_as_many_users_as_memory_mb_has_room_for(memory_mb: int, users_a_block: int) -> None:
    blocks = rank_blocks(
        torch.ones(300, 2), torch.ones(1000, 2), np.arange(300), nothing(300, 1000), 5, memory_mb=memory_mb
    )  # 1,024 columns of 16 bytes a user
    assert next(blocks).items.shape == (users_a_block, 5)
    assert sum(len(block.items) for block in blocks) == 300 - users_a_block


def test_a_catalogue_of_more_than_a_million_titles_is_ranked_a_user_at_a_time() -> None:
    n_items, item_emb = 2**20 + 1, torch.zeros(2**20 + 1, 1)
    item_emb[[7, 2**20], 0] = torch.tensor([1.0, 2.0])
    target = sp.csr_matrix(([1.0, 1.0], ([0, 1], [7, 2**20])), shape=(2, n_items))
    blocks = list(rank_blocks(torch.ones(2, 1), item_emb, np.arange(2), nothing(2, n_items), 2, target, memory_mb=1))
    assert [block.items.tolist() for block in blocks] == [[[2**20, 7]]] * 2
    assert [block.auc.tolist() for block in blocks] == [[1 - 1 / 2**20], [1.0]]


def test_metrics_do_not_depend_on_memory_mb() -> None:
    rng = np.random.default_rng(7)
    masked, target = random_pairs(rng, 300, 1000, 0.005)
    vectors = vectors_scoring(rng.integers(0, 9, size=(300, 1000)))
    one, many = (evaluate(*vectors, target, masked, settings(memory_mb=mb)) for mb in (256, 1))
    for key in one:
        np.testing.assert_array_equal(one[key], many[key])


# --- means ---


def test_means_pass_over_nan() -> None:
    metrics = {"a": np.array([1.0, math.nan, 0.0, 0.5]), "b": np.array([math.nan] * 4)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert means(metrics) == {"a": 0.5, "b": 0.0}
        assert means(metrics, np.array([False, True, False, True])) == {"a": 0.5, "b": 0.0}
        assert means(metrics, np.array([0, 1])) == {"a": 1.0, "b": 0.0}
        assert means(metrics, np.zeros(4, bool)) == {"a": 0.0, "b": 0.0}
    assert all(type(value) is float for value in means(metrics).values())


# --- sparse user vectors ---


def sparse_users(rng: np.random.Generator, n_users: int = 40, dim: int = 90) -> np.ndarray:
    """Return user vectors, most of them zero, one all zeros; small whole numbers, so that sums are exact."""
    vectors = rng.integers(1, 5, size=(n_users, dim)) * (rng.random((n_users, dim)) < 0.1)
    vectors[3] = 0
    return vectors.astype(np.float32)


@pytest.mark.parametrize("memory_mb", [256, 1 / 512])
def test_sparse_user_vectors_rank_like_dense_ones(memory_mb: float) -> None:
    rng = np.random.default_rng(0)
    masked, target = random_pairs(rng, 40, 100)
    dense = sparse_users(rng)
    item_emb = torch.from_numpy(rng.integers(-3, 4, size=(100, 90)).astype(np.float32))
    users = np.array([0, 3, 4, 17, 39])
    rankings = [
        rank_items(user_emb, item_emb, users, masked, 12, target, seed=3, memory_mb=memory_mb)
        for user_emb in (sp.csr_matrix(dense), torch.from_numpy(dense))
    ]
    for ours, theirs in zip(*rankings, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    best = np.sort(np.where(masked.toarray()[users] > 0, -np.inf, dense[users] @ item_emb.numpy().T))[:, ::-1][:, :12]
    np.testing.assert_array_equal(rankings[0].scores, best)


def test_sparse_user_vectors_evaluate_like_dense_ones() -> None:
    rng = np.random.default_rng(1)
    masked, target = random_pairs(rng, 40, 100)
    dense = sparse_users(rng)
    item_emb = torch.from_numpy(rng.integers(-3, 4, size=(100, 90)).astype(np.float32))
    for candidates in (None, np.arange(0, 100, 2)):
        ours, theirs = (
            evaluate(user_emb, item_emb, target, masked, settings(), candidates)
            for user_emb in (sp.csr_matrix(dense), torch.from_numpy(dense))
        )
        assert_metrics_equal(ours, {key: values.tolist() for key, values in theirs.items()})


# --- beyond accuracy ---


@pytest.mark.parametrize("width", [0, 7])
def test_sparse_factors_rank_as_dense_ones_do(width: int) -> None:
    """Columns that are mostly filled are multiplied apart; what comes out is the same."""
    rng = np.random.default_rng(0)
    parts = [
        np.concatenate(
            [(rng.random((n, 50)) < 0.1) * rng.normal(size=(n, 50)), rng.normal(size=(n, width))], axis=1
        ).astype(np.float32)
        for n in (30, 90)
    ]
    assert len(_columns(to_csr(parts[1]), 128).rows) == width
    masked, target = nothing(30, 90), to_csr(rng.random((30, 90)) < 0.05)
    sparse, dense = (
        rank_items(*factors, np.arange(30), masked, 9, target)
        for factors in (map(to_csr, parts), map(torch.from_numpy, parts))
    )
    np.testing.assert_allclose(sparse.scores, dense.scores, atol=1e-5)
    np.testing.assert_allclose(sparse.auc, dense.auc, atol=1e-6)
    assert (sparse.items == dense.items).mean() > 0.99
