"""relations.tsv: which title continues, sums up or retells which."""

import difflib
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.readers import require_ids
from dataset.tables import find_file, line_of, on_one_line, read_table

log = logging.getLogger("aglrec")

COLUMNS = ("subject_id", "related_id", "relation")
# what related_id is to subject_id
RELATIONS = ("sequel", "prequel", "summary", "side_story", "spin_off", "alternative", "adaptation", "other")


def no_relations() -> np.ndarray:
    """Return the relations of data without a relations.tsv, (0, 3)."""
    return np.empty((0, 3), np.int64)


def read_relations(folder: Path, subject_ids: pd.Series) -> np.ndarray:
    """Read the optional relations.tsv: a row says what the title related_id is to the title subject_id.

    Args:
        folder: of the data.
        subject_ids: of anime.tsv; rows with a title that it does not have are left out, and counted in the log.

    Returns:
        (n, 3) int64, each row once: row of the title, row of the related one, index into RELATIONS.

    Raises:
        ValueError: an id is empty, or a relation unknown; the message names file, line and the nearest relation.
    """
    if not find_file(folder, "relations.tsv"):
        return no_relations()
    path, table = read_table(folder, "relations.tsv", COLUMNS)
    require_ids(path, table, *COLUMNS[:2])
    codes = _codes(path, table["relation"])
    titles = pd.Index(subject_ids)
    found = np.stack([titles.get_indexer(table[column]) for column in COLUMNS[:2]] + [codes], axis=1)  # (rows, 3)
    unknown, same = (found[:, :2] < 0).any(axis=1), found[:, 0] == found[:, 1]
    if unknown.any() or same.any():
        log.warning(
            f"{path.name}: of {len(table):,} rows: {unknown.sum():,} of titles that anime.tsv does not have, "
            f"{(same & ~unknown).sum():,} of a title with itself (left out)"
        )
    return np.unique(found[~unknown & ~same], axis=0).astype(np.int64)


def _codes(path: Path, cells: pd.Series) -> np.ndarray:
    codes = cells.str.lower().map({name: code for code, name in enumerate(RELATIONS)})
    unknown = np.flatnonzero(codes.isna())
    if len(unknown):
        row = int(unknown[0])
        near = difflib.get_close_matches(cells.iloc[row].lower(), RELATIONS, n=1, cutoff=0.0)
        raise ValueError(
            f"{path} line {line_of(path, row)}: there is no relation {on_one_line(cells.iloc[row])!r}, the nearest is "
            f"{near[0]!r}; use one of {', '.join(RELATIONS)} ({len(unknown):,} such rows)"
        )
    return codes.to_numpy(np.int64)
