"""Equal scores are listed in an order drawn evenly."""

import numpy as np
import pytest
import torch

from data_loader import Dataset
from evaluation.ranking import rank_items
from evaluator import evaluate, means
from inference.top_k import recommend
from tests.helpers.rankings import nothing, settings, to_csr, vectors_scoring


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
