"""What follows what, counted by hand; and how titles are weighed by age and rate."""

import dataclasses

import numpy as np
import pytest

from data_loader import Dataset
from dataset.ratings import pair_weights
from tests.helpers.linear import N_ITEMS, parted
from training.item_forms import ORDER_HORIZON, ORDER_START, solver, transitions
from training.user_rows import known_rows


def timed(seed: int = 0, ties: bool = False) -> Dataset:
    """Return a dataset whose rows have times, some of them equal, and rates."""
    dataset, rng = parted(seed), np.random.default_rng(seed)
    n = dataset.seen.nnz
    times = rng.integers(3 if ties else 10_000, size=n).astype(float)
    rates = rng.integers(0, 11, size=n).astype(np.float32)
    return dataclasses.replace(dataset, times=times, rates=rates, facts={"split": "user_time"})


def by_hand(dataset: Dataset, window: float) -> np.ndarray:
    """Walk over every user's titles from the oldest to the newest."""
    total = np.zeros((N_ITEMS, N_ITEMS))
    ages = dataset.ages_of(dataset.train)
    for user in range(dataset.n_users):
        start, end = dataset.train.indptr[user : user + 2]
        mine = sorted(range(start, end), key=lambda row: (-ages[row], row))
        for place, row in enumerate(mine):
            for later in mine[place + 1 : place + 1 + int(ORDER_HORIZON * window)]:
                i, j = dataset.train.indices[[row, later]]
                gap, share = ages[row] - ages[later], len(mine) ** -0.5
                if gap > 0:
                    total[i, j] += share * 0.5 ** (max(gap - 1, 0) / window)
                else:
                    total[i, j] += share / 2
                    total[j, i] += share / 2
    return total


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("window", [0.4, 3.0])
def test_what_follows_what_is_counted_as_by_hand(window: float, ties: bool) -> None:
    dataset = timed(ties=ties)
    found = transitions(dataset, window).toarray()
    np.testing.assert_allclose(found, by_hand(dataset, window), atol=1e-5)
    assert (found != found.T).any()


def test_weights_of_what_follows_what_are_scaled_by_counts() -> None:
    dataset = timed()
    counts = np.bincount(dataset.train.indices, minlength=N_ITEMS)
    found = solver(dataset, None)({**ORDER_START, "from_power": 0.8, "to_power": 0.3, "decay": 1.0})
    warm = counts > 0
    scale = np.outer(np.maximum(counts, 1) ** -0.8, np.maximum(counts, 1) ** -0.3)
    wanted = by_hand(dataset, ORDER_START["window"]) * scale
    np.testing.assert_allclose(found, wanted[warm][:, warm], atol=1e-5)


def test_rows_count_by_rate_and_age() -> None:
    dataset = timed()
    rows, train = known_rows(dataset, "valid", 0.5, 2.0), dataset.train
    scores, age = dataset.scores_of(train), 0.5 ** (dataset.ages_of(train) / 2)
    np.testing.assert_allclose(rows.collected.data, pair_weights(scores, 0.5) * age, rtol=1e-6)
    np.testing.assert_allclose(rows.scores.data, scores * age, rtol=1e-6)
    plain = known_rows(dataset, "valid")
    assert (plain.collected != train).nnz == 0
    later = known_rows(dataset, "test", recency=2.0).collected
    both = dataset.train + dataset.valid
    assert (later.astype(bool) != both.astype(bool)).nnz == 0
    newest = later.max(axis=1).toarray().ravel()[np.diff(both.indptr) > 0]
    assert newest.tolist() == [1.0] * len(newest)
