"""Columns of a table that comes in chunks: each text once and a number a row, in the place of a text a row."""

import numpy as np
import pandas as pd

from dataset.times import Unknown, read_alone, read_times


class Coded:
    """A column of texts, stripped."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}  # in the order in which they come
        self.codes: list[np.ndarray] = []

    def add(self, cells: np.ndarray) -> None:
        """Take the cells of a chunk (n,)."""
        codes, kinds = pd.factorize(cells)
        known = (self.texts.setdefault(text.strip(), len(self.texts)) for text in kinds)
        self.codes.append(np.fromiter(known, np.int32, len(kinds))[codes])

    def column(self) -> pd.Series:
        """Return the whole column, categorical; what was taken is given away."""
        codes, self.codes = joined(self.codes, np.int32), []
        return pd.Series(pd.Categorical.from_codes(codes, pd.Index([*self.texts], dtype=object), validate=False))


class Times:
    """A column of times: seconds at once where a cell says enough, and those cells of which the column decides."""

    def __init__(self) -> None:
        self.seconds: list[np.ndarray] = []
        self.places: list[np.ndarray] = []  # rows of the others
        self.others = Coded()
        self.example = ""  # of those that say enough
        self.n_rows = 0

    def add(self, cells: np.ndarray) -> None:
        """Take the cells of a chunk (n,)."""
        seconds = read_alone(cells)
        if not self.example and (known := np.flatnonzero(np.isfinite(seconds))).size:
            self.example = cells[known[0]]
        others = np.flatnonzero(np.isnan(seconds) & cells.astype(bool))
        if len(others):
            self.others.add(cells[others])
            self.places.append(others + self.n_rows)
        self.seconds.append(seconds)
        self.n_rows += len(cells)

    def column(self) -> tuple[np.ndarray, int, list[str]]:
        """Return the seconds (n,), NaN where unknown, how many filled cells are unknown, and what is to be said."""
        seconds, self.seconds = joined(self.seconds, np.float64), []
        codes, unknown = joined(self.others.codes, np.int32), Unknown()
        texts = pd.Series([*self.others.texts, self.example], dtype=object)
        counts = np.append(np.bincount(codes, minlength=len(texts) - 1), 1)
        found = read_times(texts, counts=counts).seconds
        unknown.add(texts, found, counts)
        for places, some in zip(self.places, self.others.codes, strict=True):
            seconds[places] = found[some]
        return seconds, int(counts[np.isnan(found) & (texts != "").to_numpy()].sum()), unknown.sentences()


def joined(chunks: list[np.ndarray], kind: type) -> np.ndarray:
    """Put chunks one after the other into one array."""
    return np.concatenate(chunks) if chunks else np.empty(0, kind)
