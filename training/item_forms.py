"""The forms of item-item weights that are tried on valid: least squares, a walk over the graph, what follows what."""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from dataset.recency import users_of
from training.closed_form import filter_weights, gram, item_weights, low_pass, normalized, text_similarity
from training.grid_search import Point

# least squares: how many users the titles' text counts as, the penalty in users, the share of titles dropped, and by
# which power of their number of titles users count less; see closed_form.item_weights
WEIGHTS_GRID: dict[str, tuple[float, ...]] = {
    "text_weight": (3.0, 10.0, 30.0, 100.0, 300.0),
    "l2": (75.0, 150.0, 300.0),
    "dropout": (0.1, 0.2, 0.4),
    "user_power": (0.0, 0.3, 0.6),
}
START = {"text_weight": 100.0, "l2": 150.0, "dropout": 0.2, "user_power": 0.6}
# a graph filter, see closed_form.filter_weights
FILTER_GRID: dict[str, tuple[float, ...]] = {"item_power": (0.1, 0.2, 0.4), "low_pass_weight": (0.0, 0.1, 0.3, 1.0)}
FILTER_START = {"item_power": 0.2, "low_pass_weight": 0.3}
FILTER_RANK = 256
# what follows what, see transitions
ORDER_GRID: dict[str, tuple[float, ...]] = {
    "window": (3.0, 10.0, 30.0),
    "from_power": (0.4, 0.6, 0.8),
    "to_power": (0.2, 0.4, 0.6),
}
ORDER_START = {"window": 10.0, "from_power": 0.6, "to_power": 0.4}
ORDER_USER_POWER, ORDER_HORIZON = 0.5, 6  # windows after which nothing is counted any more


def has_text(dataset: Dataset, item_text: np.ndarray | None) -> bool:
    """Say whether an item with a history has a text."""
    return item_text is not None and bool(item_text[dataset.warm_items].any())


def solver(dataset: Dataset, item_text: np.ndarray | None) -> Callable[..., torch.Tensor]:
    """Return the weights (n, n) of the n warm items as a function of a point of one of the grids.

    What no point changes is computed once.

    Args:
        dataset: uses train, and for what follows what its ages.
        item_text: (n_items, L) as the model fuses it, or None.
    """
    train = sp.csr_matrix(dataset.train[:, dataset.warm_items])
    counts_of, similarity = lru_cache(maxsize=2)(partial(gram, train)), None
    if has_text(dataset, item_text):
        similarity = text_similarity(item_text[dataset.warm_items])
    counts, following = np.bincount(train.indices), lru_cache(maxsize=1)(partial(transitions, dataset))

    @lru_cache(maxsize=1)
    def graph() -> tuple[torch.Tensor, np.ndarray]:
        smooth = normalized(train).astype(np.float32)
        return torch.from_numpy((smooth.T @ smooth).toarray()), low_pass(train, FILTER_RANK)[1]

    def solve(point: Point) -> torch.Tensor:
        if "window" in point:
            after = following(point["window"])[dataset.warm_items][:, dataset.warm_items].toarray()
            scale = (counts.astype(np.float32) ** -point[key] for key in ("from_power", "to_power"))
            return torch.from_numpy(after * next(scale)[:, None] * next(scale)[None, :])
        if "item_power" in point:
            return filter_weights(*graph(), counts, point["item_power"], point["low_pass_weight"])
        text = (similarity, point["text_weight"]) if point.get("text_weight") else ()
        return item_weights(counts_of(point["user_power"]), point["l2"], point["dropout"], *text)

    return solve


def transitions(dataset: Dataset, window: float) -> sp.csr_matrix:
    """Count which titles users collect after which, the later the less.

    A title that comes n titles after another counts 0.5^((n - 1) / window); titles of the same age count half of a next
    one, in both directions. A user of n titles counts n^-ORDER_USER_POWER.

    Args:
        dataset: its train part, in the order of its ages.
        window: half-life in titles, above 0.

    Returns:
        CSR (n_items, n_items) float32: row i, column j, how much j is collected after i.

    Source:
        Choi et al. 2021, Session-aware linear item-item models for session-based recommendation (SLIT), counts such
        pairs; scaled by powers of counts as in closed_form.filter_weights.
    """
    train = dataset.train
    users, ages = users_of(train), dataset.ages_of(train)
    order = np.lexsort((-ages, users))  # of each user the oldest first
    users, ages, items = users[order], ages[order], train.indices[order]
    weights = (np.maximum(np.diff(train.indptr), 1).astype(np.float32) ** -ORDER_USER_POWER)[users]
    total = sp.csr_matrix((dataset.n_items,) * 2, dtype=np.float32)
    longest = int(np.diff(train.indptr).max(initial=1))
    for distance in range(1, min(longest, int(ORDER_HORIZON * window) + 1)):
        near = np.flatnonzero(users[distance:] == users[:-distance])
        first, second = items[near], items[near + distance]
        later = ages[near] - ages[near + distance]  # 0 for titles of the same age
        value = weights[near] * np.exp2(-np.maximum(later - 1, 0) / window) * np.where(later > 0, 1, 0.5)
        total += sp.csr_matrix((value, (first, second)), shape=total.shape, dtype=np.float32)
        tied = later <= 0
        total += sp.csr_matrix((value[tied], (second[tied], first[tied])), shape=total.shape, dtype=np.float32)
    return total
