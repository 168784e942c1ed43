"""Pairs sorted, grouped and cut into blocks, compared with plain sorts."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from dataset.pairs import csr_parts, grouped, older_of_pairs, pair_order, repeated, user_blocks

SHAPE = 40, 25


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(SHAPE[0], size=n), rng.integers(SHAPE[1], size=n)


@pytest.mark.parametrize("n", [0, 1, 700])
def test_rows_are_grouped_as_a_stable_sort_would(n: int) -> None:
    users, items = drawn(n)
    assert np.array_equal(grouped(users, SHAPE[0]), np.argsort(users, kind="stable"))
    assert np.array_equal(pair_order(users, items, SHAPE), np.lexsort((np.arange(n), items, users)))


def test_rows_of_repeated_pairs_are_found() -> None:
    users, items = drawn(700)
    again = pd.DataFrame({"user": users, "item": items}).duplicated(keep=False).to_numpy()
    assert 0 < again.sum() < 700
    assert sorted(repeated(users, items, SHAPE)) == np.flatnonzero(again).tolist()


def test_the_newest_row_of_a_pair_stays() -> None:
    """Unknown times are older than all, and of rows of one time the last stays."""
    users, items = drawn(700)
    times = np.random.default_rng(1).choice([np.nan, 1.0, 2.0, 3.0], 700)
    table = pd.DataFrame({"user": users, "item": items})
    newest = pd.Series(times).fillna(-np.inf).argsort(kind="stable")
    kept = table.iloc[newest].drop_duplicates(keep="last").index
    assert sorted(older_of_pairs(users, items, times, SHAPE)) == sorted(set(range(700)) - set(kept))


def test_parts_are_the_matrices_that_scipy_makes_of_their_rows() -> None:
    keys = np.random.default_rng(2).permutation(SHAPE[0] * SHAPE[1])[:500]
    users, items = np.divmod(keys, SHAPE[1])
    part = np.random.default_rng(3).integers(-2, 3, size=500).astype(np.int8)
    codes = {"a": 0, "b": 1, "c": 2, "d": -1, "none": 7}
    found = csr_parts(users, items, part, pair_order(users, items, SHAPE), SHAPE, codes)
    assert list(found) == [*codes, "seen"]
    for name, matrix in found.items():
        chosen = np.ones(500, bool) if name == "seen" else part == codes[name]
        wanted = sp.csr_matrix((np.ones(chosen.sum(), np.float32), (users[chosen], items[chosen])), shape=SHAPE)
        wanted.sort_indices()
        for key in ("indptr", "indices", "data"):
            assert np.array_equal(getattr(matrix, key), getattr(wanted, key)), (name, key)
            assert getattr(matrix, key).dtype == getattr(wanted, key).dtype, (name, key)


@pytest.mark.parametrize("counts", [[], [0], [0, 0], [5], [1, 2, 0, 9, 3, 3, 0]])
def test_blocks_of_users_are_all_users_once_and_small(counts: list[int]) -> None:
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=int)])
    blocks = list(user_blocks(indptr, 4))
    assert [user for block in blocks for user in range(block.start, block.stop)] == list(range(len(counts)))
    assert all(block.stop - block.start == 1 or sum(counts[block]) <= 4 for block in blocks)
