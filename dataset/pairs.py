"""Pairs of users and titles as row numbers: sorted without a sort of all of them, and taken in blocks of users."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

MOST = 2**20  # pairs of a block


def grouped(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Return the places (n,) int32 of the codes in ascending order of code, those of the same code as they stand."""
    rows = sp.csr_matrix(
        (np.ones(len(codes), bool), codes.astype(np.int32, copy=False), np.arange(len(codes) + 1, dtype=np.int32)),
        shape=(len(codes), n_codes),
    )
    return rows.tocsc().indices


def pair_order(user_ids: np.ndarray, item_ids: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the order (n,) of pairs by user, then item; the same pair, if it is there twice, as it stands.

    Args:
        user_ids, item_ids: (n,) row numbers.
        shape: (n_users, n_items).
    """
    by_item = grouped(item_ids, shape[1])
    return by_item[grouped(user_ids[by_item], shape[0])]


def repeated(user_ids: np.ndarray, item_ids: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the places of all rows whose pair is there more than once, those of a pair together, as they stand."""
    order = pair_order(user_ids, item_ids, shape)
    users, items = user_ids[order], item_ids[order]
    same = np.zeros(len(order) + 1, bool)
    same[1:-1] = (users[1:] == users[:-1]) & (items[1:] == items[:-1])
    return order[same[1:] | same[:-1]]


def older_of_pairs(user_ids: np.ndarray, item_ids: np.ndarray, times: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the places of rows whose pair has a newer row, or one as new that stands below; unknown times are oldest.

    Args:
        user_ids, item_ids: (n,) row numbers.
        times: (n,) seconds, NaN where unknown.
        shape: (n_users, n_items).
    """
    rows = repeated(user_ids, item_ids, shape)
    users, items = user_ids[rows], item_ids[rows]
    newest_last = np.lexsort((rows, np.nan_to_num(times[rows], nan=-np.inf), items, users))
    rows, users, items = rows[newest_last], users[newest_last], items[newest_last]
    return rows[:-1][(users[1:] == users[:-1]) & (items[1:] == items[:-1])]


def csr_parts(
    user_ids: np.ndarray, item_ids: np.ndarray, part: np.ndarray, order: np.ndarray, shape: tuple[int, int], codes: dict
) -> dict[str, sp.csr_matrix]:
    """Build matrices (n_users, n_items) of ones, float32 with sorted int32 columns: "seen" of all pairs, and parts.

    Args:
        user_ids, item_ids: (n,) row numbers, no pair twice.
        part: (n,) codes.
        order: of pair_order.
        shape: (n_users, n_items).
        codes: name of a matrix -> the code of its rows.
    """
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user_ids, minlength=shape[0]))]).astype(np.int32)
    columns, part = item_ids[order].astype(np.int32, copy=False), part[order]
    matrices = {}
    for name, code in codes.items():
        mine = part == code
        before = np.concatenate([[0], np.cumsum(mine, dtype=np.int32)]).astype(np.int32, copy=False)
        matrices[name] = _ones(columns[mine], before[indptr], shape)
    return matrices | {"seen": _ones(columns, indptr, shape)}


def _ones(indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
    matrix.has_sorted_indices = True
    return matrix


def user_blocks(indptr: np.ndarray, most: int = MOST) -> Iterator[slice]:
    """Yield slices of users, one after the other, with about so many pairs at most by a CSR's row pointers."""
    start, n_users = 0, len(indptr) - 1
    while start < n_users:
        end = max(start + 1, int(np.searchsorted(indptr, indptr[start] + most, side="right")) - 1)
        yield slice(start, end)
        start = end
