"""The scale of rates, learned as they come: numbers that say unrated, and from where on a rate is a positive.

Rates below 0 are rates. A single number apart from all others is none: -1 beside 1 to 10, or 99 beside -10 to 10.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from importers.spill import create, read, write

JESTER = 99.0  # which stands for unrated on its scale from -10 to 10
BELOW_ALL = (-99.0, -999.0, -9999.0)  # which may, as -1, on a scale that is above 0


class Scale:
    """What rates were met: the two smallest and the two largest, and how many lie between 0 and 1."""

    def __init__(self) -> None:
        self.low: list[float] = []
        self.high: list[float] = []
        self.least_above_0 = np.inf
        self.rated = self.below_1 = 0

    def add(self, kinds: np.ndarray, counts: np.ndarray) -> None:
        """Meet rates (k,), ascending, each with how often it is there; 0 is unrated."""
        kinds, counts = kinds[kinds != 0], counts[kinds != 0]
        self.low = sorted({*self.low, *kinds[:2].tolist()})[:2]
        self.high = sorted({*self.high, *kinds[-2:].tolist()})[-2:]
        self.rated += int(counts.sum())
        self.below_1 += int(counts[(kinds > 0) & (kinds < 1)].sum())
        self.least_above_0 = min(self.least_above_0, kinds[kinds > 0].min(initial=np.inf))

    @property
    def unrated(self) -> float | None:
        """The number that says unrated, None without one."""
        if not self.low or self.low[0] >= 0:
            return None
        if self.high == [self.high[0], JESTER] and self.high[0] <= 10:
            return JESTER
        is_only = len(self.low) == 2 and self.low[1] > 0
        is_apart = self.high[-1] > 1 if self.low[0] == -1 else self.low[0] in BELOW_ALL
        return self.low[0] if is_only and is_apart else None

    @property
    def has_dislikes(self) -> bool:
        """Whether some rates are below 0, and are rates."""
        return bool(self.low) and self.low[0] < 0 and self.unrated in (None, JESTER)

    @property
    def min_rate(self) -> float | None:
        """From where on a rate is a positive, where the default of 1 leaves out most, or what is liked a little."""
        is_low = self.has_dislikes or 2 * self.below_1 > self.rated
        return self.least_above_0 if is_low and self.least_above_0 < 1 else None

    def sentences(self, n_unrated: int) -> list[str]:
        """Say what was made of the rates, of which so many said that they are none."""
        told = []
        if self.unrated is not None:
            told.append(
                f"the rate {self.unrated:g} is taken for unrated, apart from all others as it is: {n_unrated:,} rows"
            )
        if self.has_dislikes:
            told.append(
                f"rates go down to {self.low[0]:g}: below 0 they are dislikes, no positives; a 0 is taken for unrated"
            )
        if self.min_rate is not None:
            told.append(f"the positives are the rates from {self.min_rate:g} on, as --min_rate says below")
        return told


def rate_texts(rates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write rates (n,) as texts (n,); also return the different rates (k,), ascending, and how often each is there."""
    kinds, which, counts = np.unique(rates, return_inverse=True, return_counts=True)
    texts = np.array([np.format_float_positional(rate, trim="-") for rate in kinds], dtype=object)
    return texts[which], kinds, counts


def read_scale(rates: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return all rates of a list (n,), 0 where one says unrated, and a sentence if there are such."""
    scale = Scale()
    scale.add(*np.unique(rates, return_counts=True))
    if scale.unrated is None:
        return rates, []
    is_it = rates == scale.unrated
    return np.where(is_it, 0, rates), scale.sentences(int(is_it.sum()))[:1]


def without(unrated: float, path: Path) -> int:
    """Write 0 for a number that says unrated in a file of rows; return in how many."""
    n, before = 0, path.with_name(f"{path.name}.all")
    path.replace(before)
    with before.open(encoding="utf-8") as file:
        columns = file.readline().rstrip("\n").split("\t")
    with create(path, tuple(columns)) as out:
        for table in read(before):
            is_it = pd.to_numeric(table["rate"]).to_numpy(float) == unrated
            n += int(is_it.sum())
            write(out, table.assign(rate=table["rate"].mask(is_it, "0")))
    before.unlink()
    return n
