"""Coverage, Gini, novelty and diversity of lists by hand and by brute force."""

import json

import numpy as np
import pytest

from evaluation.list_metrics import beyond_accuracy
from tests.helpers.rankings import nothing, to_csr


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
