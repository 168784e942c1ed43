"""Which titles belong together: what relations say, and names."""

import numpy as np

from dataset.dataset import Dataset
from dataset.title_markers import Markers


def links_of(dataset: Dataset, names: list[list[Markers]]) -> np.ndarray:
    """Return pairs of titles (n, 2) that belong to one franchise, enough to reach each of it from any other."""
    first: dict[tuple[str, ...], int] = {}
    same = [(first.setdefault(name.stem, row), row) for row, of_one in enumerate(names) for name in of_one]
    return np.concatenate([np.array(same, np.int64).reshape(-1, 2), dataset.relations[:, :2]])
