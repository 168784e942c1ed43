"""Pairs of a user and a title as JSON, as pandas and databases write tables: an object a line, or a list of objects."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.readers import parse_tags
from dataset.tables import on_one_line
from importers.columns import entries_by, guess, titles_by
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, Files, Format, Options, files_in, first_text
from importers.json_rows import JSON, objects
from importers.layout import layout_of
from importers.sheets import Sheet, header, open_any

COLUMNS = tuple(dict.fromkeys((*ENTRY_COLUMNS, *TITLE_COLUMNS)))
PAIR, DESCRIBING = {"user_id", "subject_id"}, {"name", "tags_name", "summary"}
EXPECTED = "objects of JSON with a user and a title, or name their keys with --columns"


def find(source: Path) -> Files | None:
    """Find files whose first object has keys of usual names for a user and a title, or for a title and what it is.

    A file by itself may have any keys, of which two or more are of texts or numbers.
    """
    files = files_in(source)
    first = {path: _first_object(path) for path in files}
    held = {path: set(guess(list(found), {}, COLUMNS)) for path, found in first.items()}
    if len(files) == 1 and sum(isinstance(value, str | int | float) for value in first[files[0]].values()) > 1:
        describes = bool(held[files[0]] & DESCRIBING)
        pairs = not describes or held[files[0]] >= PAIR
        return Files(tuple(files) if pairs else (), tuple(files) if describes else ())
    found = Files(
        tuple(path for path, has in held.items() if has >= PAIR),
        tuple(path for path, has in held.items() if "subject_id" in has and has & DESCRIBING),
    )
    return found if any(found) else None


def read_lists(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read pairs, with what else is known of them."""
    sheet, columns = _checked(path, options, ("subject_id",) if options.user else ("user_id", "subject_id"))
    yield from entries_by(columns, sheet, EXPECTED, counts, options.user)


def read_titles(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read titles."""
    sheet, columns = _checked(path, options, ("subject_id",))
    yield from titles_by(columns, sheet, parse_tags, EXPECTED)


def _checked(path: Path, options: Options, needed: tuple[str, ...]) -> tuple[Sheet, dict[str, str]]:
    """Return the file as a sheet of all keys in it, and which key holds what."""
    stat = path.stat() if path.is_file() else None
    names = _keys(path, stat and stat.st_mtime_ns)
    columns = guess(list(names), options.columns, COLUMNS)
    if options.user and "name" in columns and "rate" in columns:  # the list of one, by name
        columns.setdefault("subject_id", columns["name"])
    unknown = [theirs for theirs in columns.values() if theirs not in names]
    missing = [ours for ours in needed if ours not in columns]
    if missing or unknown:
        what = f"no object has the key {', '.join(unknown)}" if unknown else f"which key is the {missing[0]}?"
        raise ValueError(
            f"{path}: {what} (found: {on_one_line(', '.join(names)) or 'nothing'}); say so with "
            f"--columns {','.join(f'{ours}=NAME' for ours in missing or needed)}"
        )
    return Sheet(path, JSON, names=names), columns


@lru_cache(maxsize=8)
def _keys(path: Path, version: int | None) -> tuple[str, ...]:
    """Name all keys that any object of a file has: one that is left out where it is empty may come late."""
    with open_any(path) as file:
        return tuple(
            dict.fromkeys(key for number, found in objects(file, path) for key in _of_row(path, number, found))
        )


def _of_row(path: Path, number: int, found: dict[str, Any]) -> dict[str, Any]:
    """Return an object that is a row of a table, and not the whole of one."""
    if len(found) > 1 and all(isinstance(value, dict | list) and len(value) > 1 for value in found.values()):
        raise ValueError(
            f"{path} line {number}: columns and no rows, as pandas writes a table unless it is told not to; write it "
            "with orient='records'"
        )
    return found


def names_of(path: Path) -> list[str]:
    """Name the columns of a table, or the keys of its first object if it is JSON."""
    return list(_first_object(path)) or header(layout_of(path, {}).sheet)


def _first_object(path: Path) -> dict[str, Any]:
    """Return the first object, an empty one of a file that is not so."""
    start = first_text(path, 2**16).lstrip().removeprefix("[")
    try:
        return next(objects([f"[{start}"], path))[1] if start.lstrip().startswith(JSON) else {}
    except (ValueError, StopIteration):
        return {}


FORMATS = (
    Format(
        "json-lines",
        "users and titles as JSON, an object a line or a list of them; --columns tells what keys hold",
        find,
        read_lists,
        read_titles,
        takes="rates of any scale (0 is unrated, below 0 a dislike), times in any form and comments, by usual keys or "
        "--columns",
    ),
)
