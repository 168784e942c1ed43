"""The users of lists: what of them is kept, how many are drawn, and what they only know of a title."""

from typing import NamedTuple, TextIO

import numpy as np
import pandas as pd

from importers.common import POSITIVE, count
from importers.spill import cleaned, one_line, write
from importers.tally import Tally, keys_of

Dropped = dict[str, int]


class Rules(NamedTuple):
    """What of the sources is kept."""

    statuses: tuple[str, ...] = POSITIVE  # whose rows may be positives; all others are only known
    users: int = 0  # how many, at random; 0 for all
    seed: int = 0
    min_rows: int = 1  # that a user must have
    adult: bool = False
    collected_only: bool = False
    drop_spoilers: bool = False  # what marks of spoilers hold; the marks go in any case


class Users:
    """All users met so far: a hash and a number of rows each; on disk their names, and the titles they only know."""

    def __init__(self, names: TextIO, known: TextIO, rules: Rules) -> None:
        self.tally, self.names, self.known, self.rules = Tally(), names, known, rules
        self.excluded: Dropped = {}
        self.last = np.uint64(2**64 - 1)

    def meet(self, table: pd.DataFrame) -> pd.DataFrame:
        """Count the users of some rows, and return the rows of those who may still be drawn.

        Rows of other statuses than asked for go to known.tsv. Drawn are the users with enough rows and the smallest
        hashes; as more users have enough rows, the largest hash among the drawn only falls, so who is above it once
        will never be drawn.
        """
        keys = keys_of(table["user_id"], self.rules.seed)
        is_asked = table["status"].isin(self.rules.statuses).to_numpy()
        for status, n in table["status"][~is_asked].value_counts().items():
            count(self.excluded, f"of status {status or 'unknown'}", n)
        others = table[~is_asked & (keys <= self.last)]
        write(self.known, others[["user_id", "subject_id"]].assign(updated_at=cleaned(others["updated_at"])))
        table, keys = table[is_asked], keys[is_asked]
        new = self.tally.add(keys)
        if self.rules.users:
            enough = self.tally.keys[self.tally.counts >= self.rules.min_rows]
            if len(enough) >= self.rules.users:
                self.last = enough[self.rules.users - 1]
        met = table.iloc[new[keys[new] <= self.last]]
        write(self.names, pd.DataFrame({"user_id": met["user_id"], "username": met["username"].map(one_line)}))
        return table[keys <= self.last]

    def chosen(self, dropped: Dropped) -> np.ndarray:
        """Return the keys of the users who stay, ascending, and count the rows of the others."""
        keys, counts = self.tally.keys, self.tally.counts
        enough, drawn = counts >= self.rules.min_rows, keys <= self.last
        count(dropped, f"of users with fewer than {self.rules.min_rows} rows", counts[~enough].sum())
        count(dropped, f"of users not among the {self.rules.users:,} drawn", counts[enough & ~drawn].sum())
        return keys[enough & drawn]
