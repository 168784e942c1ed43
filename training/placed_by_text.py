"""What new items get from their text: ridge regression from the items with a history."""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

RIDGE_GRID = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SPREAD_USERS = 20_000


def place_cold_by_text(item_text: np.ndarray, warm_items: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Predict the values of cold items from their text, by ridge regression over the others.

    Args:
        item_text: (n_items, L); items with rows of zeros have no text, and a value of 0 if they are cold.
        warm_items: rows of the items with a history.
        values: (n_items, m); those of cold items are replaced.

    Returns:
        (n_items, m) float32.

    Source:
        Hoerl and Kennard 1970; the penalty by leave-one-out (generalised cross validation, Golub et al. 1979).
    """
    new = np.setdiff1d(np.flatnonzero(item_text.any(axis=1)), warm_items)
    placed = np.zeros_like(values, dtype=np.float32)
    placed[warm_items] = values[warm_items]
    if len(new):
        placed[new] = text_regression(item_text, warm_items, values)(item_text[new])
    return placed


def text_regression(
    item_text: np.ndarray, warm_items: np.ndarray, values: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the regression of place_cold_by_text: a function from text (n, L) to predicted values (n, m)."""
    from sklearn.linear_model import RidgeCV

    known = warm_items[item_text[warm_items].any(axis=1)]
    if len(known) < 2:
        return lambda text: np.zeros((len(text), values.shape[1]))
    fit = RidgeCV(RIDGE_GRID).fit(item_text[known].astype(np.float64), values[known].astype(np.float64))
    return lambda text: fit.predict(text.astype(np.float64)).reshape(len(text), -1)


def score_spreads(train: sp.csr_matrix, inputs: np.ndarray) -> np.ndarray:
    """Return what outputs (n_items, r) are multiplied by, so that an error counts as it does in the scores: (r,)."""
    return np.maximum(np.linalg.norm(train[:SPREAD_USERS] @ inputs, axis=0), 1e-12)
