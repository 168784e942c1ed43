"""Metrics of the parts of a Dataset and of groups of users and items."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from data_loader import Dataset, pairs_of_items
from evaluation.held_out import evaluate_cold_listing, evaluate_groups, item_groups
from evaluator import evaluate_warm
from tests.helpers.data import dataset_of
from tests.helpers.parts import is_cold, parted_data, warm_part
from tests.helpers.rankings import TOP_K, assert_metrics_equal, brute_force, settings, to_csr, vectors_scoring

# --- the parts of a Dataset ---


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
