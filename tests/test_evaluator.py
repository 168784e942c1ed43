"""The ranking and its metrics against brute force and scikit-learn, oracles, ties and groups."""

import dataclasses
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import dataset_of
from sklearn.metrics import ndcg_score, roc_auc_score

from data_loader import Dataset, pairs_of_items
from evaluation.list_metrics import beyond_accuracy
from evaluation.ranking import Ranking, _columns, rank_blocks, rank_items
from evaluator import evaluate, evaluate_cold_listing, evaluate_groups, evaluate_warm, item_groups, means, user_metrics
from inference.top_k import recommend

TOP_K = [1, 5, 10, 20]
SIZES = [20, 50, 63, 64, 65, 100, 128, 200]


def settings(top_k: list[int] | None = None, seed: int = 0, memory_mb: int = 256) -> dict[str, Any]:
    return {"top_k": top_k or TOP_K, "seed": seed, "eval_memory_mb": memory_mb}


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


def to_csr(dense: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(dense.astype(np.float32))


def nothing(n_users: int, n_items: int) -> sp.csr_matrix:
    return sp.csr_matrix((n_users, n_items), dtype=np.float32)


def vectors_scoring(scores: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return user and item vectors whose dot products are exactly these scores."""
    return torch.from_numpy(scores.astype(np.float32)), torch.eye(scores.shape[1])


def distinct_scores(rng: np.random.Generator, n_users: int, n_items: int) -> np.ndarray:
    """Return scores without ties: a permutation of -n_items / 2 .. n_items / 2 for each user."""
    return np.stack([rng.permutation(n_items) - n_items // 2 for _ in range(n_users)]).astype(np.float32)


def brute_force(scores: np.ndarray, target: np.ndarray, masked: np.ndarray, top_k: list[int]) -> dict[str, list[float]]:
    """Compute every metric of every user with a target by loops, from the formulas."""
    found: dict[str, list[float]] = {}
    for user in range(len(scores)):
        wanted = set(np.flatnonzero(target[user]).tolist())
        if not wanted:
            continue
        free = [item for item in range(scores.shape[1]) if not masked[user, item]]
        order = sorted(free, key=lambda item: -scores[user, item])  # noqa: B023
        for k in top_k:
            gains = [1 / math.log2(rank + 1) for rank, item in enumerate(order[:k], start=1) if item in wanted]
            ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(wanted), k) + 1))
            found.setdefault(f"Recall@{k}", []).append(len(gains) / len(wanted))
            found.setdefault(f"NDCG@{k}", []).append(sum(gains) / ideal)
            found.setdefault(f"Hit@{k}", []).append(float(len(gains) > 0))
        pairs = [(scores[user, a], scores[user, b]) for a in wanted for b in free if b not in wanted]
        wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
        found.setdefault("AUC", []).append(wins / len(pairs) if pairs else math.nan)
    return found


def assert_metrics_equal(ours: dict[str, np.ndarray], theirs: dict[str, list[float]]) -> None:
    assert set(ours) == set(theirs)
    for key, values in theirs.items():
        np.testing.assert_allclose(ours[key], values, rtol=1e-9, atol=1e-9, err_msg=key)


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
    assert "AUC" not in ours


def test_user_metrics_take_the_users_of_the_ranking_not_their_place() -> None:
    target = to_csr(np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1]]))
    ranking = Ranking(np.array([2]), np.array([[1, 0, 2]]), np.zeros((1, 3)), np.array([0.5]))
    ours = user_metrics(ranking, target, [1])
    assert {key: values.tolist() for key, values in ours.items()} == {
        "Recall@1": [0.5],
        "NDCG@1": [1.0],
        "Hit@1": [1.0],
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
            np.testing.assert_allclose(values, value, err_msg=key)


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
    assert means(ours) == {"Recall@1": 0.5, "NDCG@1": 0.5, "Hit@1": 0.5, "AUC": 0.5}


def test_a_user_whose_every_item_is_a_target_has_no_auc_but_the_other_metrics() -> None:
    target = to_csr(np.array([[1, 1, 0], [1, 0, 0]]))
    masked = to_csr(np.array([[0, 0, 1], [0, 0, 0]]))
    ours = evaluate(*vectors_scoring(np.array([[3, 2, 1], [3, 2, 1]])), target, masked, settings([2]))
    assert np.isnan(ours["AUC"][0])
    assert means(ours) == {"Recall@2": 1, "NDCG@2": 1, "Hit@2": 1, "AUC": 1}


def test_nobody_with_a_target_gives_empty_metrics_and_means_of_zero() -> None:
    ours = evaluate(*vectors_scoring(np.ones((3, 30))), nothing(3, 30), nothing(3, 30), settings())
    assert all(values.shape == (0,) for values in ours.values())
    assert set(means(ours).values()) == {0.0}


def test_auc_can_be_left_out() -> None:
    target = to_csr(np.eye(3))
    ours = evaluate(*vectors_scoring(np.eye(3)), target, nothing(3, 3), settings([1]), auc=False)
    assert set(ours) == {"Recall@1", "NDCG@1", "Hit@1"}


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


# --- ties ---


def test_equal_scores_are_listed_at_random_not_by_row() -> None:
    n_users, n_items = 500, 200
    target = np.zeros((n_users, n_items))
    target[:, :5] = 1
    vectors = torch.zeros(n_users, 4), torch.zeros(n_items, 4)
    ours = means(evaluate(*vectors, to_csr(target), nothing(n_users, n_items), settings([20])))
    assert ours["Recall@20"] == pytest.approx(20 / n_items, abs=0.03)
    assert ours["AUC"] == 0.5
    ranking = rank_items(*vectors, np.arange(n_users), nothing(n_users, n_items), 20)
    assert all(len(set(items)) == 20 for items in ranking.items.tolist())
    listed = np.bincount(ranking.items.ravel(), minlength=n_items)  # 50 times each, give or take 7
    assert 20 < listed.min() <= listed.max() < 85
    first = np.bincount(ranking.items[:, 0] // 50, minlength=4)  # 125 in each quarter, give or take 10
    assert 80 < first.min() <= first.max() < 170


def test_the_seed_decides_how_ties_fall() -> None:
    vectors = torch.zeros(50, 4), torch.zeros(100, 4)
    first, again, other = (
        rank_items(*vectors, np.arange(50), nothing(50, 100), 20, seed=seed).items for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_evaluate_and_recommend_take_the_seed_from_the_config(dataset: Dataset) -> None:
    vectors = torch.zeros(dataset.n_users, 4), torch.zeros(dataset.n_items, 4)
    first, again, other = (recommend(*vectors, dataset, 10, settings(seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    first, again, other = (
        evaluate(*vectors, dataset.test, dataset.train, settings(seed=seed))["Recall@10"].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_users_do_not_share_the_fall_of_their_ties() -> None:
    ranking = rank_items(torch.zeros(50, 4), torch.zeros(100, 4), np.arange(50), nothing(50, 100), 20)
    assert len({tuple(items) for items in ranking.items.tolist()}) == 50


def test_ties_inside_the_list_move_only_among_themselves() -> None:
    n_users, n_items = 400, 150
    scores = np.tile(-np.arange(n_items, dtype=np.float32), (n_users, 1))
    tied = [3, 70, 149]
    scores[:, tied] = 7  # three items share the first places
    items = rank_items(*vectors_scoring(scores), np.arange(n_users), nothing(n_users, n_items), 10).items
    assert (np.sort(items[:, :3]) == tied).all()
    assert (items[:, 3:] == [0, 1, 2, 4, 5, 6, 7]).all()
    for item in tied:
        assert (items[:, 0] == item).mean() == pytest.approx(1 / 3, abs=0.1)


def test_ties_across_the_end_of_the_list_are_drawn_evenly() -> None:
    n_users, n_items = 600, 200
    scores = np.zeros((n_users, n_items))
    above, tied = np.arange(5, 200, 40), np.arange(10, 190, 6)
    scores[:, tied], scores[:, above] = 1, 2
    tied = np.setdiff1d(tied, above)
    ranking = rank_items(*vectors_scoring(scores), np.arange(n_users), nothing(n_users, n_items), 10)
    assert (np.sort(ranking.items[:, :5]) == above).all()
    assert np.isin(ranking.items[:, 5:], tied).all()
    assert (ranking.scores == [2] * 5 + [1] * 5).all()
    listed = np.bincount(ranking.items[:, 5:].ravel(), minlength=n_items)[tied] / n_users
    assert abs(listed - 5 / len(tied)).max() < 0.07


def test_a_tie_of_the_last_place_with_the_one_behind_is_broken_at_random() -> None:
    n_users, n_items = 400, 130
    scores = np.tile(-np.arange(n_items, dtype=np.float32), (n_users, 1))
    scores[:, 129] = scores[:, 9]  # rows 9 and 129 share places 10 and 11
    items = rank_items(*vectors_scoring(scores), np.arange(n_users), nothing(n_users, n_items), 10).items
    assert (items[:, :9] == np.arange(9)).all()
    assert (items[:, 9] == 129).mean() == pytest.approx(0.5, abs=0.1)


def test_a_tie_with_an_item_far_away_is_broken_at_random() -> None:
    scores = np.tile(-np.arange(1000, dtype=np.float32), (400, 1))
    scores[:, [10, 200, 390, 600, 790, 990]] = [9, 8, 7, 6, 5, 5]  # two items for the last of five places
    items = rank_items(*vectors_scoring(scores), np.arange(400), nothing(400, 1000), 5).items
    assert (items[:, :4] == [10, 200, 390, 600]).all()
    assert set(items[:, 4]) == {790, 990}
    assert (items[:, 4] == 790).mean() == pytest.approx(0.5, abs=0.1)


def test_ties_leave_masked_items_out_and_short_lists_short() -> None:
    masked = np.ones((200, 90))
    masked[:, [4, 50, 88]] = 0
    ranking = rank_items(torch.zeros(200, 2), torch.zeros(90, 2), np.arange(200), to_csr(masked), 6)
    assert (np.sort(ranking.items[:, :3]) == [4, 50, 88]).all()
    assert (ranking.items[:, 3:] == -1).all()
    assert (ranking.scores[:, :3] == 0).all()
    assert (ranking.scores[:, 3:] == -np.inf).all()
    assert set(ranking.items[:, 0]) == {4, 50, 88}


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


# --- the parts of a Dataset ---


def parted_data() -> tuple[np.ndarray, Dataset]:
    """Return scores and a Dataset with pairs in every part.

    Users have 0, 5, 6, 20, 21, 50, 51 or a random number of train rows, the last ten no test row. The last twenty
    titles have no history: five are cold_valid, five cold_test, the others lost what they had to valid and test.
    """
    rng = np.random.default_rng(11)
    n_users, n_items = 60, 120
    train = np.zeros((n_users, n_items))
    sizes = [0, 5, 6, 20, 21, 50, 51] + rng.integers(0, 70, size=n_users - 7).tolist()
    for user, size in enumerate(sizes):
        train[user, rng.permutation(100)[:size]] = 1
    drawn = rng.integers(1, 10, size=(n_users, n_items)) * (train == 0)
    place = np.arange(n_items)
    parts = {
        "cold_valid": (drawn < 3) & (place >= 100) & (place < 105),
        "excluded": drawn == 3,
        "cold_test": (drawn < 3) & (place >= 105) & (place < 110),
    }
    free = (place < 100) | (place >= 110)
    parts |= {"valid": (drawn == 1) & free, "test": (drawn == 2) & free & (np.arange(n_users) < 50)[:, None]}
    dataset = dataset_of(to_csr(train), **{name: to_csr(part * (drawn > 0)) for name, part in parts.items()})
    assert is_cold(dataset).nonzero()[0].tolist() == list(range(100, 120))
    return distinct_scores(rng, n_users, n_items), dataset


def is_cold(dataset: Dataset) -> np.ndarray:
    return dataset.train.toarray().sum(axis=0) == 0


def warm_part(dataset: Dataset, part: str) -> np.ndarray:
    return getattr(dataset, part).toarray() * ~is_cold(dataset)


def dense_known(dataset: Dataset, part: str, *more: str) -> np.ndarray:
    """Return what a ranking for this part must leave out, and some parts more."""
    names = ("train", "excluded", *(["valid"] if part == "test" else []), *more)
    return sum(getattr(dataset, name).toarray() for name in names)


def assert_means_equal(ours: dict[str, float], theirs: dict[str, list[float]]) -> None:
    """Compare all metrics but AUC."""
    assert ours == pytest.approx({key: np.mean(values) for key, values in theirs.items() if key != "AUC"})


@pytest.mark.parametrize("part", ["valid", "test"])
def test_evaluate_warm_equals_brute_force_among_the_titles_with_a_history(part: str) -> None:
    scores, dataset = parted_data()
    expected = brute_force(scores, warm_part(dataset, part), dense_known(dataset, part) + is_cold(dataset), TOP_K)
    assert_metrics_equal(evaluate_warm(*vectors_scoring(scores), dataset, part, settings()), expected)
    del expected["AUC"]
    assert_metrics_equal(evaluate_warm(*vectors_scoring(scores), dataset, part, settings(), auc=False), expected)


def test_where_titles_without_a_history_stand_is_nothing_to_evaluate_warm() -> None:
    scores, dataset = parted_data()
    above, below = (scores + place * is_cold(dataset) for place in (1000, -1000))
    found = [evaluate_warm(*vectors_scoring(moved), dataset, "test", settings()) for moved in (above, below)]
    assert_metrics_equal(*found)


@pytest.mark.parametrize("moved", [0, 1000, -1000])
@pytest.mark.parametrize("has_cold_test_rows", [False, True])
def test_evaluate_listed_equals_brute_force_among_all_titles(has_cold_test_rows: bool, moved: float) -> None:
    """A pair of test whose title has no history is masked with those of the cold parts, being no target of warm."""
    scores, dataset = parted_data()
    scores = scores + moved * is_cold(dataset)
    if not has_cold_test_rows:
        dataset = dataclasses.replace(dataset, test=pairs_of_items(dataset.test, ~is_cold(dataset)))
    found = evaluate_cold_listing(*vectors_scoring(scores), dataset, settings())
    warm, test = warm_part(dataset, "test"), dataset.test.toarray()
    assert (warm == test).all() != has_cold_test_rows
    hidden = dense_known(dataset, "test", "cold_valid", "cold_test") + test - warm
    assert found.keys() == {"warm", "joint"}
    assert_means_equal(found["warm"], brute_force(scores, warm, hidden, TOP_K))
    joint = brute_force(scores, test + dataset.cold_test.toarray(), dense_known(dataset, "test", "cold_valid"), TOP_K)
    assert_means_equal(found["joint"], joint)


# --- groups ---


def train_of(counts: list[int], n_users: int = 200) -> sp.csr_matrix:
    """Return a train matrix in which item i is collected by counts[i] users."""
    dense = np.zeros((n_users, len(counts)))
    for item, count in enumerate(counts):
        dense[np.random.default_rng(item).choice(n_users, count, replace=False), item] = 1
    return to_csr(dense)


def test_item_groups_part_the_items_and_head_is_the_most_collected_fifth() -> None:
    counts = [0, 3, 50, 7, 0, 40, 1, 2, 9, 8, 6, 5]  # ten are collected
    groups = {name: np.flatnonzero(members).tolist() for name, members in item_groups(train_of(counts)).items()}
    assert groups == {"cold": [0, 4], "tail": [1, 3, 6, 7, 8, 9, 10, 11], "head": [2, 5]}


def test_item_groups_of_random_counts_are_a_partition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.integers(0, 6, size=rng.integers(1, 40))
        groups = item_groups(train_of(counts.tolist()))
        assert (sum(members.astype(int) for members in groups.values()) == 1).all()
        assert (groups["cold"] == (counts == 0)).all()
        assert groups["head"].sum() == pytest.approx(0.2 * (counts > 0).sum(), abs=0.5)
        if groups["head"].any() and groups["tail"].any():
            assert counts[groups["head"]].min() >= counts[groups["tail"]].max()


def groups_of(user_emb: Any, item_emb: Any, dataset: Dataset) -> dict[str, dict[str, Any]]:
    warm = evaluate_warm(user_emb, item_emb, dataset, "test", settings())
    return evaluate_groups(user_emb, item_emb, dataset, settings(), warm)


def test_user_groups_are_cut_at_5_20_and_50_train_rows() -> None:
    scores, dataset = parted_data()
    groups = groups_of(*vectors_scoring(scores), dataset)["users"]
    rows = np.asarray(dataset.train.sum(axis=1)).ravel()
    for name, low, high in (("<=5", 0, 5), ("6-20", 6, 20), ("21-50", 21, 50), (">50", 51, 10**9)):
        inside = (rows >= low) & (rows <= high)
        expected = brute_force(
            scores, warm_part(dataset, "test") * inside[:, None], dense_known(dataset, "test") + is_cold(dataset), TOP_K
        )
        assert groups[name].pop("n_users") == len(expected["AUC"]) > 0
        assert_means_equal(groups[name], expected)
    assert len(groups) == 4


def test_user_groups_recombine_to_everyone() -> None:
    scores, dataset = parted_data()
    groups = groups_of(*vectors_scoring(scores), dataset)["users"].values()
    overall = evaluate_warm(*vectors_scoring(scores), dataset, "test", settings(), auc=False)
    counts = [group["n_users"] for group in groups]
    assert sum(counts) == np.count_nonzero(warm_part(dataset, "test").any(axis=1)) == 50
    for key, values in overall.items():
        assert np.dot(counts, [group[key] for group in groups]) / 50 == pytest.approx(values.mean())


@pytest.mark.parametrize("name", ["cold", "tail", "head"])
def test_an_item_group_counts_only_targets_within_it(name: str) -> None:
    """Titles without a history are ranked among all, the others among themselves."""
    scores, dataset = parted_data()
    members = item_groups(dataset.train)[name]
    group = groups_of(*vectors_scoring(scores), dataset)["items"][name]
    left_out = 0 if name == "cold" else is_cold(dataset)
    expected = brute_force(scores, dataset.test.toarray() * members, dense_known(dataset, "test") + left_out, TOP_K)
    assert (group.pop("n_items"), group.pop("n_users")) == (members.sum(), len(expected["AUC"]))
    assert_means_equal(group, expected)


def test_hits_of_the_warm_item_groups_add_up_to_all_hits() -> None:
    scores, dataset = parted_data()
    single = warm_part(dataset, "test")
    single[np.arange(single.shape[1]) != single.argmax(axis=1)[:, None]] = 0  # one target a user
    dataset = dataclasses.replace(dataset, test=to_csr(single))
    groups = groups_of(*vectors_scoring(scores), dataset)["items"]
    assert sum(group["n_items"] for group in groups.values()) == scores.shape[1]
    assert groups.pop("cold") == {"n_items": 20, "n_users": 0}
    assert sum(group["n_users"] for group in groups.values()) == 50
    overall = evaluate_warm(*vectors_scoring(scores), dataset, "test", settings(), auc=False)
    for key, values in overall.items():
        assert sum(group["n_users"] * group[key] for group in groups.values()) / 50 == pytest.approx(values.mean())


def test_groups_without_anybody_have_no_metrics_and_the_result_is_json() -> None:
    train = to_csr(np.eye(4, 30))
    dataset = dataset_of(train, test=to_csr(np.eye(4, 30, k=1)))  # the last user's title has no history
    groups = groups_of(*vectors_scoring(np.zeros((4, 30))), dataset)
    assert groups["users"][">50"] == {"n_users": 0}
    assert groups["users"]["<=5"]["n_users"] == 3
    assert groups["items"]["cold"]["n_users"] == 1
    assert json.loads(json.dumps(groups)) == groups


# --- recommendations ---


def random_vectors(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(dataset.n_users, 6, generator=generator), torch.randn(dataset.n_items, 6, generator=generator))


def test_recommendations_are_unseen_titles_with_their_names_and_scores(dataset: Dataset) -> None:
    user_emb, item_emb = random_vectors(dataset)
    lists = recommend(user_emb, item_emb, dataset, 8, settings())
    assert list(lists) == dataset.raw_user_ids
    scores, seen = (user_emb @ item_emb.T).numpy(), dataset.seen.toarray()
    for user, titles in enumerate(lists.values()):
        items = [dataset.raw_item_ids.index(title["subject_id"]) for title in titles]
        assert not seen[user, items].any()
        assert [title["name"] for title in titles] == [dataset.item_names[item] for item in items]
        assert [title["score"] for title in titles] == pytest.approx(scores[user, items].tolist(), rel=1e-5, abs=1e-6)
        unseen = np.where(seen[user] > 0, -np.inf, scores[user])
        assert items == np.argsort(-unseen)[:8].tolist()


def test_held_out_titles_are_not_recommended_back(dataset: Dataset) -> None:
    lists = recommend(*random_vectors(dataset), dataset, dataset.n_items, settings())
    for user, titles in enumerate(lists.values()):
        items = {dataset.raw_item_ids.index(title["subject_id"]) for title in titles}
        assert items == set(range(dataset.n_items)) - set(dataset.seen[user].indices)
        assert items.isdisjoint(dataset.test[user].indices)


def test_recommendations_for_some_users_are_theirs_and_plain_json(dataset: Dataset) -> None:
    vectors = random_vectors(dataset)
    everyone = recommend(*vectors, dataset, 5, settings())
    some = recommend(*vectors, dataset, 5, settings(), np.array([3, 7]))
    chosen = [dataset.raw_user_ids[user] for user in (3, 7)]
    assert list(some) == chosen
    for user in chosen:
        assert [title["subject_id"] for title in some[user]] == [title["subject_id"] for title in everyone[user]]
    assert json.loads(json.dumps(some)) == some
    assert all(set(title) == {"subject_id", "name", "score"} for titles in some.values() for title in titles)


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


def test_lists_that_share_the_catalogue_evenly_cover_it_with_a_gini_of_zero() -> None:
    items = np.array([[0, 1], [2, 3], [4, 5], [1, 0], [3, 2], [5, 4]])
    found = beyond_accuracy(items, nothing(6, 6), None)
    assert (found["Coverage"], found["Gini"]) == pytest.approx((1, 0))
    assert "Diversity" not in found


@pytest.mark.parametrize("n_items", [2, 5, 100])
def test_one_title_for_everyone_has_the_largest_gini(n_items: int) -> None:
    found = beyond_accuracy(np.full((7, 1), n_items - 1), nothing(7, n_items), None)
    assert (found["Coverage"], found["Gini"]) == pytest.approx((1 / n_items, (n_items - 1) / n_items))


def test_gini_by_the_mean_difference_of_all_pairs() -> None:
    # listed 3, 1, 0, 2 times; Gini = sum over pairs |a - b| / (2 n^2 mean)
    items = np.array([[0, 3], [0, 3], [0, 1], [-1, -1]])
    listed = np.array([3, 1, 0, 2])
    expected = np.abs(listed[:, None] - listed[None]).sum() / (2 * 16 * listed.mean())
    found = beyond_accuracy(items, nothing(4, 4), None)
    assert (found["Coverage"], found["Gini"]) == pytest.approx((3 / 4, expected))


def test_novelty_by_hand() -> None:
    # of 7 users 7, 3, 1 and 0 collected the titles: 0, 1, 2 and 3 bits
    train = to_csr(np.arange(7)[:, None] < np.array([7, 3, 1, 0])[None])
    found = beyond_accuracy(np.array([[0, 1, 2], [1, 3, -1]]), train, None)
    assert found["Novelty"] == pytest.approx((0 + 1 + 2 + 1 + 3) / 5)


def test_diversity_by_brute_force_over_the_pairs_of_a_list() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(50, 6)) * rng.integers(1, 9, size=(50, 1))).astype(np.float32)
    vectors[7] = 0  # a title without text is like none
    items = np.stack([rng.permutation(50)[:5] for _ in range(257)])
    assert (items == 7).any()
    lengths = np.linalg.norm(vectors, axis=1)
    alike = []
    for titles in items:
        pairs = [(a, b) for place, a in enumerate(titles) for b in titles[place + 1 :]]
        alike.append(np.mean([vectors[a] @ vectors[b] / max(lengths[a] * lengths[b], 1e-9) for a, b in pairs]))
    found = beyond_accuracy(items, nothing(257, 50), vectors)
    assert found["Diversity"] == pytest.approx(1 - np.mean(alike), abs=1e-6)


def test_diversity_of_lists_of_the_same_and_of_unlike_titles() -> None:
    vectors = np.array([[2, 0], [5, 0], [0, 1], [-3, 0]], np.float32)
    for titles, diversity in (
        ([0, 1], 0),
        ([0, 2], 1),
        ([1, 3], 2),
        ([0, 1, 2], 2 / 3),
        ([0, 2, -1], 1),
        ([1, 3, -1, -1], 2),
    ):
        found = beyond_accuracy(np.array([titles]), nothing(1, 4), vectors)
        assert found["Diversity"] == pytest.approx(diversity)


def test_beyond_accuracy_of_no_lists_is_zero_and_json() -> None:
    found = beyond_accuracy(np.full((3, 2), -1), nothing(3, 4), np.ones((4, 2), np.float32))
    assert found == {"Coverage": 0, "Gini": 0, "Novelty": 0, "Diversity": 0}
    assert json.loads(json.dumps(found)) == found


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
