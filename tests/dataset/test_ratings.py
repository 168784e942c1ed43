"""Scores of rates in a user's own spreads, against the same counted by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from config import get_config
from data_loader import Dataset, load_dataset
from dataset import ratings
from dataset.ratings import LEAST_SPREAD, LIMIT, PRIOR, pair_weights, rating_scale
from tests.helpers.data import write_data, write_tsv


def by_hand(user_ids: np.ndarray, rates: np.ndarray, n_users: int) -> np.ndarray:
    """Score each rate by the mean and spread of its user, with PRIOR rates of the catalogue beside theirs."""
    everything = [rate for rate in rates if rate]
    mean = sum(everything) / len(everything)
    of = {user: [r for u, r in zip(user_ids, rates, strict=True) if u == user and r] for user in range(n_users)}
    squares = sum(sum((r - sum(own) / len(own)) ** 2 for r in own) for own in of.values() if own)
    spread = (squares / sum(max(len(own) - 1, 0) for own in of.values())) ** 0.5
    scores = []
    for user, rate in zip(user_ids, rates, strict=True):
        own = of[user]
        centre = sum(own) / len(own) if own else mean
        distance = sum((r - centre) ** 2 for r in own)
        middle = centre if len(own) > 1 and len(set(own)) == 1 else (sum(own) + PRIOR * mean) / (len(own) + PRIOR)
        width = ((distance + PRIOR * spread**2) / (max(len(own) - 1, 0) + PRIOR)) ** 0.5
        score = (rate - middle) / max(width, LEAST_SPREAD * spread)
        scores.append(max(-LIMIT, min(LIMIT, score)) if rate else 0.0)
    return np.array(scores)


@pytest.mark.parametrize("scale", [(1, 10), (1, 5), (10, 100), (-10, 10)])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_counted_by_hand(seed: int, scale: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    users, rates = rng.integers(12, size=90), rng.integers(scale[0], scale[1] + 1, size=90).astype(float)
    rates[rng.random(90) < 0.2] = 0
    found = rating_scale(users, rates, 12).scores(users, rates)
    np.testing.assert_allclose(found, by_hand(users, rates, 12), atol=1e-5)
    assert found.dtype == np.float32
    assert not found[rates == 0].any()


def test_scores_are_the_same_on_any_scale() -> None:
    rng = np.random.default_rng(1)
    users, rates = rng.integers(9, size=60), rng.integers(1, 11, size=60).astype(float)
    ten, hundred = (rating_scale(users, rates * by, 9).scores(users, rates * by) for by in (1, 10))
    np.testing.assert_allclose(ten, hundred, atol=1e-5)


def test_who_gives_everything_the_same_rate_praises_nothing() -> None:
    users, rates = np.array([0, 0, 0, 1, 1, 2]), np.array([10.0, 10.0, 10.0, 4.0, 8.0, 10.0])
    scores = rating_scale(users, rates, 4).scores(users, rates)
    assert not scores[:3].any()
    assert scores[3] < 0 < scores[4]
    assert scores[5] > 0  # a single rate is measured by what others give


def test_where_no_rates_differ_no_score_does() -> None:
    users, rates = np.array([0, 0, 1]), np.array([7.0, 7.0, 7.0])
    assert not rating_scale(users, rates, 2).scores(users, rates).any()
    assert not rating_scale(users, np.zeros(3), 2).scores(users, np.zeros(3)).any()


def test_a_new_person_is_drawn_towards_the_catalogue() -> None:
    rng = np.random.default_rng(2)
    users, rates = rng.integers(20, size=200), rng.integers(1, 11, size=200).astype(float)
    scale = rating_scale(users, rates, 20)
    mine = np.array([9.0, 3.0, 0.0])
    alone = rating_scale(np.zeros(3, int), mine, 1, (scale.mean, scale.spread))
    mean = (12 + PRIOR * scale.mean) / (2 + PRIOR)
    spread = ((2 * 9 + PRIOR * scale.spread**2) / (1 + PRIOR)) ** 0.5
    expected = [(9 - mean) / spread, (3 - mean) / spread, 0]
    np.testing.assert_allclose(alone.scores(np.zeros(3, int), mine), expected, atol=1e-5)


def test_weights_of_pairs() -> None:
    scores = np.array([-2.5, -1.0, 0.0, 0.5, 2.5], np.float32)
    assert pair_weights(scores, 0.0).tolist() == [1, 1, 1, 1, 1]
    assert pair_weights(scores, 0.5).tolist() == [0, 0.5, 1, 1.25, 2.25]
    assert pair_weights(scores, 1.0).tolist() == [0, 0, 1, 1.5, ratings.HEAVIEST]


# --- of a dataset ---


def test_rates_stand_by_their_pairs(tmp_path: Path) -> None:
    write_data(tmp_path)
    dataset = load_dataset(get_config({"data_dir": str(tmp_path), "min_rate": 3}))
    lines = [line.split("\t") for line in (tmp_path / "interactions.tsv").read_text().splitlines()[1:]]
    given = {(user, title): float(rate) for user, title, rate, *_ in lines}
    for name in ("train", "valid", "test", "seen"):
        pairs = getattr(dataset, name)
        users, items = pairs.nonzero()
        expected = [given[dataset.raw_user_ids[u], dataset.raw_item_ids[i]] for u, i in zip(users, items, strict=True)]
        assert dataset.rates_of(pairs).tolist() == expected


def test_the_scale_is_learned_from_train_alone(tmp_path: Path) -> None:
    write_data(tmp_path)
    dataset = load_dataset(get_config({"data_dir": str(tmp_path)}))
    assert dataset.has_rates
    held_out = np.isin(keys_of(dataset, dataset.seen), keys_of(dataset, dataset.train), invert=True)
    rates = dataset.rates.copy()
    rates[held_out] = 10
    changed = dataclasses.replace(dataset, rates=rates)
    assert np.array_equal(changed.scores_of(dataset.train), dataset.scores_of(dataset.train))
    assert not np.array_equal(changed.scores_of(dataset.test), dataset.scores_of(dataset.test))
    assert changed.values_digest != dataset.values_digest
    assert changed.fingerprint == dataset.fingerprint


def keys_of(dataset: Dataset, pairs: object) -> np.ndarray:
    users, items = pairs.nonzero()
    return users * dataset.n_items + items


def test_rates_below_zero_are_rates(tmp_path: Path) -> None:
    write_data(tmp_path)
    rows = [(f"u{u}", f"s{i}", rate, "", "") for u in range(4) for i, rate in enumerate([-10, -3, "", 5, 9])]
    write_tsv(tmp_path, "interactions.tsv", rows)
    dataset = load_dataset(get_config({"data_dir": str(tmp_path), "min_rate": -10, "split": "random"}))
    assert dataset.seen.nnz == 20
    assert set(dataset.rates.tolist()) == {-10, -3, 0, 5, 9}
    liked = dataset.scores_of(dataset.seen)[dataset.rates == 9]
    disliked = dataset.scores_of(dataset.seen)[dataset.rates == -10]
    assert disliked.max() < 0 < liked.min()


def test_without_rates_or_times_nothing_is_known_of_them(tmp_path: Path) -> None:
    write_data(tmp_path)
    write_tsv(tmp_path, "interactions.tsv", [(f"u{u}", f"s{i}", "", "", "") for u in range(4) for i in range(5)])
    dataset = load_dataset(get_config({"data_dir": str(tmp_path), "min_rate": 0, "split": "random"}))
    assert dataset.rates is None
    assert dataset.times is None
    assert not dataset.has_rates
    assert not dataset.has_order
    assert dataset.values_digest == ""


@pytest.mark.parametrize("name", ["rates", "times"])
def test_values_that_are_not_one_a_pair_are_refused(name: str, tmp_path: Path) -> None:
    write_data(tmp_path)
    dataset = load_dataset(get_config({"data_dir": str(tmp_path)}))
    with pytest.raises(ValueError, match=rf"{name} must be one for each of the .* pairs of seen, not 3"):
        dataclasses.replace(dataset, **{name: np.zeros(3)})
