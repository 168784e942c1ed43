"""The rows of lists on their way to interactions.tsv: rates as text, and the parts of a published split."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from dataset.given import COLUMN
from dataset.readers import INTERACTION_COLUMNS, MAX_RATE
from importers.scale import Scale, rate_texts
from importers.spill import cleaned, create, write
from importers.tally import Tally, keys_of


class Written(NamedTuple):
    """What is in a file of rows."""

    total: int
    unrated: int
    titles: Tally
    parts: dict[str, int]  # rows of each part; empty without a split
    scale: Scale


def all_or_none_in_parts(chunks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield chunks of ENTRY_COLUMNS as they come, as long as either all name the part of their rows or none does.

    Raises:
        ValueError: one does and another does not: the split would be lost, or rows without a part.
    """
    before = None
    for chunk in chunks:
        names_parts = bool((chunk[COLUMN] != "").any())
        if len(chunk) and before not in (None, names_parts):
            raise ValueError(
                "some of the lists say to which part of a split a row belongs (train, valid, test), and others do not; "
                "convert the ones without the others"
            )
        before = names_parts if len(chunk) else before
        yield chunk


def write_rows(tables: Iterable[pd.DataFrame], path: Path) -> Written:
    """Write interactions.tsv, with a column part if the first rows have one.

    Args:
        tables: chunks of ENTRY_COLUMNS, ids on one line each, or of what this function wrote before.
        path: of the file.
    """
    total, unrated, titles, parts, columns, scale = 0, 0, Tally(), {}, INTERACTION_COLUMNS, Scale()
    tables = iter(tables)
    first = next((table for table in tables if len(table)), None)
    if first is not None and COLUMN in first and (first[COLUMN] != "").any():
        columns = (*INTERACTION_COLUMNS, COLUMN)
    waiting = [] if first is None else [first]
    with create(path, columns) as out, tqdm(unit=" rows", unit_scale=True, leave=False, disable=None) as bar:
        for table in (table for source in (waiting, tables) for table in source):
            rates = pd.to_numeric(table["rate"]).to_numpy(float)
            rates = np.where(np.abs(rates) <= MAX_RATE, rates, 0)
            texts = {column: cleaned(table[column]) for column in ("comment", "updated_at")}
            written, *kinds = rate_texts(rates)
            scale.add(*kinds)
            write(out, table.assign(rate=written, **texts)[list(columns)])
            titles.add(keys_of(table["subject_id"]))
            total, unrated = total + len(table), unrated + int((rates == 0).sum())
            if COLUMN in columns:
                for part, n in table[COLUMN].value_counts().items():
                    parts[part] = parts.get(part, 0) + n
            bar.update(len(table))
    return Written(total, unrated, titles, parts, scale)
