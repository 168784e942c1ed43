"""A small dataset with cold items, and the linear algebra of its item-item weights done plainly."""

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from tests.helpers.data import dataset_of

METRIC, N_ITEMS = "NDCG@5", 16
COLD, SILENT = np.array([13, 14]), 15  # titles without a history, one of them without text


def ones(pairs: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(pairs.astype(np.float32))


def parted(seed: int = 0, n_users: int = 60) -> Dataset:
    """Draw users of two tastes, whose titles are parted among train, valid and test; cold titles are in test parts."""
    rng = np.random.default_rng(seed)
    alike = np.arange(n_users)[:, None] % 2 == np.arange(N_ITEMS)[None, :] % 2
    likes = rng.random((n_users, N_ITEMS)) < np.where(alike, 0.6, 0.15)
    part = rng.choice(3, size=likes.shape, p=[0.6, 0.2, 0.2])
    cold = np.isin(np.arange(N_ITEMS), [*COLD, SILENT])
    return dataset_of(
        ones(likes & (part == 0) & ~cold),
        valid=ones(likes & (part == 1) & ~cold),
        test=ones(likes & (part == 2) & ~cold),
        cold_test=ones(likes & cold),
    )


def texts(seed: int = 0) -> np.ndarray:
    """Draw texts of unit length, (N_ITEMS, 5)."""
    drawn = np.random.default_rng(seed).normal(size=(N_ITEMS, 5))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn[SILENT] = 0
    return drawn.astype(np.float32)


def ridge(inputs: np.ndarray, values: np.ndarray, new: np.ndarray, penalty: float) -> np.ndarray:
    """Predict by ridge regression with a free constant."""
    centre, mean = inputs.mean(axis=0), values.mean(axis=0)
    centred = inputs - centre
    slope = np.linalg.solve(centred.T @ centred + penalty * np.eye(centred.shape[1]), centred.T @ (values - mean))
    return mean + (new - centre) @ slope


def column_by_column(ratings: np.ndarray, penalty: np.ndarray, more: np.ndarray | None = None) -> np.ndarray:
    """Regress each title on all others by least squares; penalties, and what is restored besides, are further rows."""
    n_items = ratings.shape[1]
    rows, weights = ratings if more is None else np.vstack([ratings, more]), np.zeros((n_items, n_items))
    for j in range(n_items):
        others = np.delete(np.arange(n_items), j)
        inputs = np.vstack([rows[:, others], np.diag(np.sqrt(penalty[others]))])
        target = np.concatenate([rows[:, j], np.zeros(n_items - 1)])
        weights[others, j] = np.linalg.lstsq(inputs, target, rcond=None)[0]
    return weights
