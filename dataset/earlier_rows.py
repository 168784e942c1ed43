"""The rows that a run was made of: written beside it, and found again among those that the data have now."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd

from dataset.dataset import Dataset
from dataset.recency import users_of
from dataset.splits import EXCLUDED, LATER, PARTS, older_than_test
from runtime.files import atomic_write
from runtime.identity import ROWS
from runtime.safe_files import load_arrays, parse_json

TRAIN = PARTS.index("train")
COLD = [PARTS.index("cold_valid"), PARTS.index("cold_test")]
REMEDY = "restore it, or train again with --mode train"


class EarlierRows(NamedTuple):
    """The collected pairs of a run: n of them, in the order of Dataset.seen."""

    user_ids: list[str]  # row -> id, as Dataset.raw_user_ids; and so on
    item_ids: list[str]
    users: np.ndarray  # (n,) row numbers
    items: np.ndarray
    parts: np.ndarray  # (n,) int8, an index into PARTS, EXCLUDED or LATER
    rates: np.ndarray  # (n,) float32, 0 = unrated
    times: np.ndarray  # (n,) float64, NaN = unknown


class Rows(NamedTuple):
    """Rows as they are read now: m of them, each pair once."""

    users: np.ndarray  # (m,) row numbers
    items: np.ndarray
    user_ids: Sequence[str]  # row -> id
    item_ids: Sequence[str]
    rates: np.ndarray | None = None  # (m,), NaN or 0 = unrated
    times: np.ndarray | None = None  # (m,), NaN = unknown


def write_rows(folder: Path, dataset: Dataset) -> None:
    """Write what EarlierRows needs beside id_mappings.json; values that no row has are left out."""
    parts = np.full(dataset.seen.nnz, LATER, np.int8)
    for code, name in [*enumerate(PARTS), (EXCLUDED, "excluded")]:
        parts[dataset.places_of(getattr(dataset, name))] = code
    values = {name: each for name in ("rates", "times") if (each := getattr(dataset, name)) is not None}
    with atomic_write(folder / ROWS) as file:
        np.savez_compressed(file, indptr=dataset.seen.indptr, items=dataset.seen.indices, parts=parts, **values)


def read_rows(folder: Path) -> EarlierRows:
    """Read the rows of the run in a folder.

    Raises:
        ValueError: they are not there, as in a folder of an earlier version, or damaged.
    """
    try:
        found = load_arrays(folder / ROWS)
        ids = parse_json((folder / "id_mappings.json").read_text(encoding="utf-8"))
        counts, n = np.diff(found["indptr"]), len(found["items"])
        rates, times = found.get("rates", np.zeros(n, np.float32)), found.get("times", np.full(n, np.nan))
        users = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return EarlierRows(ids["user_ids"], ids["item_ids"], users, found["items"], found["parts"], rates, times)
    except FileNotFoundError as error:
        raise ValueError(
            f"{error.filename} is missing, so that it is not known which rows are new; train again with --mode train"
        ) from None
    except Exception as error:  # a damaged archive can raise nearly anything
        raise ValueError(f"{folder / ROWS} cannot be read ({error}); train again with --mode train") from None


def rows_in(ids: Sequence[str], earlier: Sequence[str]) -> np.ndarray:
    """Return where each of the ids of a run is among those of now, -1 where it is not."""
    return pd.Index(ids).get_indexer(pd.Index(earlier))


def parts_now(source: Path, rows: Rows, part: np.ndarray, earlier: EarlierRows, split: str | None = None) -> np.ndarray:
    """Return the part of every row where those of a run keep theirs, whatever the split would now make of them.

    A new positive row is trained on, unless a given split holds it out, or its title was held out whole and has to
    stay without a train row.

    Args:
        source: the folder, for messages.
        rows: as read now.
        part: (m,) codes of new rows: train for all positives, or as a split is given, and LATER for the others.
        earlier: the rows of the run.
        split: the setting, where the split was drawn; None for a given one.

    Returns:
        (m,) codes.

    Raises:
        ValueError: a row, a user or a title of the run is no longer there, or a rate or time has changed.
    """
    places = _places(source, rows, earlier)
    _refuse_changes(source, rows, places, earlier)
    is_new = np.ones(len(part), bool)
    is_new[places] = False
    held_out = rows_in(rows.item_ids, _ids(earlier.item_ids, np.unique(earlier.items[np.isin(earlier.parts, COLD)])))
    part = np.where(is_new & (part == TRAIN) & np.isin(rows.items, held_out), EXCLUDED, part)
    part[places] = earlier.parts
    if split:
        part[is_new & (part == LATER) & older_than_test(rows.users, rows.times, part, split)] = EXCLUDED
    return part


def new_pairs(dataset: Dataset, earlier: EarlierRows) -> np.ndarray:
    """Tell which pairs of dataset.seen a run did not have: (nnz,) bool."""
    users, items = rows_in(dataset.raw_user_ids, earlier.user_ids), rows_in(dataset.raw_item_ids, earlier.item_ids)
    old = users[earlier.users].astype(np.int64) * dataset.n_items + items[earlier.items]
    return ~np.isin(users_of(dataset.seen) * dataset.n_items + dataset.seen.indices, old)


def _places(source: Path, rows: Rows, earlier: EarlierRows) -> np.ndarray:
    """Find the rows of a run (n,) among those of now."""
    users, items = rows_in(rows.user_ids, earlier.user_ids), rows_in(rows.item_ids, earlier.item_ids)
    if (items < 0).any():
        gone = _ids(earlier.item_ids, np.flatnonzero(items < 0))
        _refuse(source, f"there is no title {gone[0]!r} any more ({len(gone):,} such titles)")
    keys = rows.users.astype(np.int64) * len(rows.item_ids) + rows.items
    wanted = users[earlier.users].astype(np.int64) * len(rows.item_ids) + items[earlier.items]
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    lost = np.flatnonzero((keys[found] != wanted) | (users[earlier.users] < 0))
    if len(lost):
        _refuse(source, f"the row of {_pair(earlier, lost[0])} is gone ({len(lost):,} such rows)")
    if (users < 0).any():  # who had no row: a line of the text format without titles
        gone = _ids(earlier.user_ids, np.flatnonzero(users < 0))
        _refuse(source, f"there is no user {gone[0]!r} any more ({len(gone):,} such users)")
    return found


def _refuse_changes(source: Path, rows: Rows, places: np.ndarray, earlier: EarlierRows) -> None:
    """Refuse rates and times that are no longer those of a run; -0 and NaN are as unknown as they were."""
    for name, was, now in (("rate", earlier.rates, rows.rates), ("time", earlier.times, rows.times)):
        unknown = 0.0 if name == "rate" else np.nan
        now = np.full(len(places), unknown) if now is None else now[places]
        now = np.nan_to_num(now, nan=unknown).astype(was.dtype)
        changed = np.flatnonzero((was != now) & ~(np.isnan(was) & np.isnan(now)))
        if len(changed):
            first = changed[0]
            before, after = (_told(name, each[first]) for each in (was, now))
            _refuse(
                source,
                f"the {name} of {_pair(earlier, first)} was {before} and is now {after} ({len(changed):,} rows have "
                f"another {name})",
            )


def _told(name: str, value: float) -> str:
    if name == "rate":
        return f"{value:g}" if value else "not given"
    return "unknown" if np.isnan(value) else str(np.datetime64(round(value), "s")).replace("T", " ")


def _pair(earlier: EarlierRows, row: int) -> str:
    return f"user {earlier.user_ids[earlier.users[row]]!r} and title {earlier.item_ids[earlier.items[row]]!r}"


def _ids(ids: list[str], rows: np.ndarray) -> list[str]:
    return [ids[row] for row in rows.tolist()]


def _refuse(source: Path, what: str) -> NoReturn:
    raise ValueError(f"{source}: {what}, and an update only takes in what is new; {REMEDY}")
