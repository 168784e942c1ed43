"""In which order the titles of a franchise are watched."""

import numpy as np

from dataset.dataset import Dataset
from dataset.title_markers import Markers


def in_order(dataset: Dataset, groups: np.ndarray, names: list[Markers]) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each title in its franchise, and the row of the title directly before it, -1 for none."""
    popularity = np.bincount(dataset.train.indices, minlength=dataset.n_items)
    marks = [(name.season + 0.3 * name.kind + 0.25 * bool(name.rest) + 0.001 * min(name.part, 90)) for name in names]
    order = np.lexsort((-popularity, marks, groups))
    starts = np.searchsorted(groups[order], groups[order])
    places, before = np.empty(len(groups), np.int64), np.full(len(groups), -1, np.int64)
    places[order] = np.arange(len(groups)) - starts
    follows = places[order] > 0
    before[order[follows]] = order[np.flatnonzero(follows) - 1]
    return places, before
