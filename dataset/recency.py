"""How long ago a user collected a title, counted in titles, and what the titles count by that."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

TIME_SPLITS = ("user_time", "leave_one_out", "global_time")


def users_of(pairs: sp.csr_matrix) -> np.ndarray:
    """Return the user rows of the pairs, (nnz,)."""
    return np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))


def ages(pairs: sp.csr_matrix, times: np.ndarray | None) -> np.ndarray:
    """Count how many of a user's titles are newer than each: (nnz,) float32, 0 for the newest.

    Titles of the same time have the mean of the places that they share, so that no order is made up; those without a
    time are older than all others.

    Args:
        pairs: CSR (n_users, n_items).
        times: (nnz,) seconds, NaN where unknown; None if all are.
    """
    times = np.full(pairs.nnz, -np.inf) if times is None else np.nan_to_num(times, nan=-np.inf)
    places = pd.Series(-times).groupby(users_of(pairs)).rank(method="average")
    return places.to_numpy(np.float32) - 1


def recency_weights(ages: np.ndarray, half_life: float) -> np.ndarray:
    """Return what titles of these ages (n,) count, (n,) float32: half as much half_life titles ago; all 1 with 0."""
    return np.exp2(-ages / half_life).astype(np.float32) if half_life else np.ones(len(ages), np.float32)
