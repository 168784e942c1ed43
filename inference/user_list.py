"""What somebody collected whom a run does not know: a list exported from a site, its titles matched to the run's."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from importers import read_export
from inference.finished_run import Run
from inference.title_search import BETWEEN, folded, key_of

NO_TASTE = ("wish", "dropped")


class Collected(NamedTuple):
    """Rows of the titles of a list that a run knows, each once, and how many entries of the list it knows."""

    items: list[int]  # what tells of him
    left_out: list[int]  # what does not, and is not recommended back either
    n_known: int
    n_by_name: int  # of them, those whose id it did not know


def read_user_list(run: Run, path: Path) -> tuple[Collected, str]:
    """Read an exported list, in any format of importers, and find its titles among those of a run.

    Returns:
        What is known of it, and a sentence that tells so.

    Raises:
        FileNotFoundError, ValueError: the file is of no known format, or none of its titles tells anything.
    """
    name, rows = read_export(path)
    found = match_user_list(run, rows)
    told = (
        f"{path.name} ({name}): of {len(rows):,} titles, {found.n_known:,} are known here ({found.n_by_name:,} by "
        f"name) and {len(found.items):,} tell of taste; those wished for, dropped or rated badly are only not "
        "listed"
    )
    if not found.items:
        raise ValueError(f"{told}; with none there is nothing to go by")
    return found, told


def match_user_list(run: Run, rows: pd.DataFrame) -> Collected:
    """Find the titles of a list, as from importers.read_export, among those of a run, and part them by what they tell.

    A title is found by its id, or by another site's id where the list has one, or else by its name where exactly one
    title has it. Ids whose names mostly belong to other titles of the run are those of another site, and count for
    nothing. Titles wished for or dropped, or rated below min_rate, are no positives.
    """
    found, by_name = match(run, rows)
    is_positive = ~rows["status"].isin(NO_TASTE) & ~rows["rate"].between(0, run.config["min_rate"], "neither")
    items, others = (np.unique(found[(found >= 0) & chosen]).tolist() for chosen in (is_positive, ~is_positive))
    return Collected(items, sorted(set(others) - set(items)), int((found >= 0).sum()), by_name)


def match(run: Run, rows: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Find the titles of a list.

    Args:
        run: as from serving.load_run.
        rows: with subject_id, name and perhaps other_id, all text.

    Returns:
        (n,) title rows, -1 for the unknown, and how many were found by name.
    """
    named = np.array([_only(fits) for fits in map(_names_of(run), rows["name"])], int)
    found = np.full(len(rows), -1)
    for column in ("subject_id", "other_id"):
        if column in rows:
            by_id = np.array([run.item_rows.get(raw, -1) for raw in rows[column]], int)
            both = (by_id >= 0) & (named >= 0)
            if not both.any() or (by_id == named)[both].mean() >= 0.5:
                found = np.where(found < 0, by_id, found)
    by_name = (found < 0) & (named >= 0)
    return np.where(by_name, named, found), int(by_name.sum())


def _names_of(run: Run) -> Callable[[str], set[int]]:
    """Return a function from a name, or several as in anime.tsv, to the titles that have one of them."""
    written: dict[str, set[int]] = {}
    keys: dict[str, set[int]] = {}
    for item, name, key in zip(run.names.items.tolist(), run.names.written, run.names.keys, strict=True):
        written.setdefault(name, set()).add(item)
        keys.setdefault(key, set()).add(item)

    def fits(name: str) -> set[int]:
        each = [part for part in (name, *name.split(BETWEEN)) if part.strip()]
        return set().union(*(written.get(folded(part), ()) for part in each)) or set().union(
            *(keys.get(key_of(part), ()) for part in each)
        )

    return fits


def _only(fits: set[int]) -> int:
    return next(iter(fits)) if len(fits) == 1 else -1
