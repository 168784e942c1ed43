"""Ids by the million: a hash of 64 bits and a count each, since an id in memory takes ten times the room."""

import numpy as np
import pandas as pd


def keys_of(ids: pd.Series, seed: int = 0) -> np.ndarray:
    """Hash ids to 64 bits each (uint64), in an order that the seed decides."""
    return pd.util.hash_array(ids.to_numpy(object), hash_key=f"{seed:016d}", categorize=True)


class Tally:
    """How often each of many ids came up, by hash."""

    def __init__(self) -> None:
        self.keys = np.empty(0, np.uint64)  # ascending
        self.counts = np.empty(0, np.int64)

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Count keys (n,), and return where those that were new first stand."""
        keys, first, counts = np.unique(keys, return_index=True, return_counts=True)
        new = ~among(keys, self.keys)
        place = np.searchsorted(self.keys, keys)
        self.counts[place[~new]] += counts[~new]
        self.keys = np.insert(self.keys, place[new], keys[new])
        self.counts = np.insert(self.counts, place[new], counts[new])
        return np.sort(first[new])


def among(keys: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Tell which keys (n,) are in an ascending array."""
    place = np.searchsorted(ascending, keys)
    place[place == len(ascending)] = 0
    return ascending[place] == keys if len(ascending) else np.zeros(len(keys), bool)
