"""What rates count is chosen by the liked pairs, among what costs little of all pairs."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from config import get_config
from data_loader import Dataset
from evaluation.rated import liked_and_all
from tests.helpers.linear import METRIC, N_ITEMS, column_by_column, parted
from training import item_forms
from training.choice_of_weights import chosen_weights, liking_weights, within_cost
from training.linear_columns import linear_model

CONFIG = get_config(
    {
        "top_k": "5",
        "early_stop_metric": METRIC,
        "linear_dim": 64,
        "calibrate": True,
        "rating_weight": -1,
        "rating_cost": 0.2,
    }
)


@pytest.fixture(autouse=True)
def fewer_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Penalties for 60 users in place of thousands."""
    monkeypatch.setitem(item_forms.WEIGHTS_GRID, "l2", (2.0, 10.0, 60.0))
    monkeypatch.setitem(item_forms.START, "l2", 10.0)


def rated(seed: int = 0) -> Dataset:
    """Return users of two tastes who rate the titles of one third high, in turn, and all others low."""
    dataset = parted(seed, n_users=500)
    users, items = dataset.seen.nonzero()
    rates = np.where(items % 3 == (users // 2) % 3, 9, 3) + np.random.default_rng(seed).integers(2, size=len(users))
    return dataclasses.replace(dataset, rates=rates.astype(np.float32))


def test_liking_is_restored_as_by_least_squares() -> None:
    dataset = rated()
    scores = np.zeros(dataset.train.shape)
    scores[dataset.train.nonzero()] = dataset.scores_of(dataset.train)
    expected = column_by_column(scores, np.full(N_ITEMS, 7.0))
    np.testing.assert_allclose(liking_weights(dataset, 7.0), expected, atol=1e-4)


def test_of_what_costs_little_the_best_for_the_liked_is_taken() -> None:
    dataset = rated()
    found = chosen_weights(dataset, None, CONFIG)
    tried = found.decided["rating_tried"]
    least = 0.8 * tried[0]["all"]
    assert (tried[0]["liking"], tried[0]["rating"]) == (0, 0)
    best = max((one for one in tried if one["all"] >= least), key=lambda one: one["liked"])
    assert best["liked"] > 1.05 * tried[0]["liked"]
    assert {key: best[key] for key in ("liking", "rating", "liking_l2")}.items() <= found.decided.items()
    assert (found.rating_weight, found.liking is None) == (best["rating"], best["liking"] == 0)


def test_columns_score_as_was_measured() -> None:
    dataset = rated()
    columns = linear_model(dataset, None, CONFIG)
    assert columns.liking is not None
    tried = columns.decided["rating_tried"]
    [best] = [
        one
        for one in tried
        if {key: one[key] for key in ("liking", "rating", "liking_l2")}.items() <= columns.decided.items()
    ]
    found = liked_and_all(columns.known_users(dataset, "valid"), columns.outputs, dataset, "valid", CONFIG)
    if columns.decided["tried"][-1]["popularity"] == 0:
        assert found == pytest.approx((best["all"], best["liked"]), abs=1e-3)
    weights = chosen_weights(dataset, None, CONFIG)
    rows = dataset.train.copy()
    rows.data = dataset.scores_of(dataset.train)
    plain = sp.csr_matrix(dataset.train)
    plain.data = np.clip(1 + weights.rating_weight * rows.data, 0, 3).astype(np.float32)
    expected = plain @ weights.collected.numpy() + rows @ weights.liking.numpy()
    scores = (columns.known_users(dataset, "valid") @ columns.outputs.T).numpy()
    warm = dataset.warm_items
    np.testing.assert_allclose(scores[:, warm], expected[:, warm], atol=2e-4)


def test_without_rates_or_without_their_setting_nothing_is_chosen() -> None:
    for dataset, weight in ((rated(), 0.0), (dataclasses.replace(rated(), rates=None), -1.0)):
        found = chosen_weights(dataset, None, {**CONFIG, "rating_weight": weight})
        assert (found.liking, found.rating_weight) == (None, 0.0)
        assert "rating_tried" not in found.decided


def test_what_was_decided_makes_the_same_columns_again() -> None:
    dataset = rated()
    first = linear_model(dataset, None, CONFIG)
    gone = dataclasses.replace(dataset, valid=sp.csr_matrix(dataset.train.shape, dtype=np.float32))
    again = linear_model(gone, None, CONFIG, first.decided)
    np.testing.assert_allclose(again.inputs @ again.outputs.T, first.inputs @ first.outputs.T, atol=1e-4)
    np.testing.assert_allclose(again.liking @ again.outputs.T, first.liking @ first.outputs.T, atol=1e-4)
    assert again.rating_weight == first.rating_weight


def test_a_figure_that_costs_too_much_counts_below_all_others() -> None:
    tried = [{"all": 0.5, "liked": 0.3}, {"all": 0.496, "liked": 0.4}]
    assert within_cost(tried[:1], 0.01) == 0.3
    assert within_cost(tried, 0.01) == 0.4
    assert within_cost([*tried, {"all": 0.49, "liked": 0.6}], 0.01) == pytest.approx(-0.005)


def test_held_out_rates_of_test_choose_nothing() -> None:
    dataset = rated()
    users, items = dataset.test.nonzero()
    places = np.isin(dataset._seen_keys, users * N_ITEMS + items)
    rates = np.where(places, 12 - dataset.rates, dataset.rates).astype(np.float32)
    found = [linear_model(one, None, CONFIG) for one in (dataset, dataclasses.replace(dataset, rates=rates))]
    assert found[0].decided == found[1].decided
    assert found[0].liking.equal(found[1].liking)
