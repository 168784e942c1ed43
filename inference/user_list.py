"""The list of someone who is not in a run, as exported from a site, its titles matched to the run's."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from importers import read_export
from inference.finished_run import FinishedRun
from inference.title_search import BETWEEN, folded, key_of

NO_TASTE = ("wish", "dropped")


class Collected(NamedTuple):
    """Rows of the titles of a list that a run knows, each once, and how many entries of the list it knows."""

    items: list[int]  # those that say something about the user's taste
    excluded: list[int]  # those that do not, and are not recommended back either
    n_known: int
    n_by_name: int  # of them, those whose id is not known


def read_user_list(run: FinishedRun, path: Path) -> tuple[Collected, str]:
    """Read an exported list, in any format of importers, and find its titles among those of a run.

    Returns:
        What is known of it, and a sentence that says so.

    Raises:
        FileNotFoundError, ValueError: the file is of no known format, or none of its titles says anything about taste.
    """
    name, rows = read_export(path)
    found = match_user_list(run, rows)
    summary = (
        f"{path.name} ({name}): of {len(rows):,} titles, {found.n_known:,} are known here ({found.n_by_name:,} by "
        f"name) and {len(found.items):,} count as liked; those wished for, dropped or rated badly are just not listed"
    )
    if not found.items:
        raise ValueError(f"{summary}; a list needs at least one")
    return found, summary


def match_user_list(run: FinishedRun, rows: pd.DataFrame) -> Collected:
    """Find the titles of a list, as from importers.read_export, among those of a run, and split them by what they say.

    A title is found by its id, or by another site's id where the list has one, or else by its name where exactly one
    title has it. Ids whose names mostly belong to other titles of the run are those of another site, and count for
    nothing. Titles wished for or dropped, or rated below min_rate, are no positives.
    """
    named = _rows_by_name(run, rows["name"])
    found = np.full(len(rows), -1)
    for column in ("subject_id", "other_id"):
        if column in rows:
            by_id = np.array([run.item_rows.get(raw, -1) for raw in rows[column]], int)
            both = (by_id >= 0) & (named >= 0)
            if not both.any() or (by_id == named)[both].mean() >= 0.5:
                found = np.where(found < 0, by_id, found)
    by_name = (found < 0) & (named >= 0)
    found = np.where(by_name, named, found)
    is_positive = ~rows["status"].isin(NO_TASTE) & ~rows["rate"].between(0, run.config["min_rate"], "neither")
    items, others = (np.unique(found[(found >= 0) & chosen]).tolist() for chosen in (is_positive, ~is_positive))
    return Collected(items, sorted(set(others) - set(items)), int((found >= 0).sum()), int(by_name.sum()))


def _rows_by_name(run: FinishedRun, names: pd.Series) -> np.ndarray:
    """Find the only title that has a name, or one of several as in anime.tsv: (n,) title rows, -1 for none or more."""
    written: dict[str, set[int]] = {}
    keys: dict[str, set[int]] = {}
    for item, name, key in zip(run.names.items.tolist(), run.names.written, run.names.keys, strict=True):
        written.setdefault(name, set()).add(item)
        keys.setdefault(key, set()).add(item)
    rows = []
    for name in names:
        each = [part for part in (name, *name.split(BETWEEN)) if part.strip()]
        found = set().union(*(written.get(folded(part), ()) for part in each))
        found = found or set().union(*(keys.get(key_of(part), ()) for part in each))
        rows.append(found.pop() if len(found) == 1 else -1)
    return np.array(rows, int)
