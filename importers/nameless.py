"""Titles that a list names without the number of a site: they are known by their names, and never by a shared 0."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from importers.common import joined_names
from importers.spill import one_line, read, sieve
from importers.tally import Tally, among, keys_of

PREFIX = "name:"  # of the id of such a title
NO_ID = ("", "0", "none", "null", "nil", "nan", "<na>", "undefined", "n/a", "-", "-1")  # in lower case
# in any source; a 0 may be a number of a data set. A spreadsheet writes the last ones where a formula failed
NOT_AN_ID = (
    "none",
    "null",
    "nan",
    "<na>",
    "undefined",
    "-",
    "#n/a",
    "#value!",
    "#ref!",
    "#name?",
    "#null!",
    "#num!",
    "#div/0!",
)


def id_of(number: Any, *names: Any, site: str = "") -> str:
    """Return the id of a title: its number on a site, else one made of its first name, "" if it has neither."""
    text = "" if number is None else str(number).strip().removesuffix(".0")
    if text.casefold() not in NO_ID:
        return f"{site}:{text}" if site else text
    name = joined_names(*names).partition(" / ")[0].casefold()
    return PREFIX + name if name else ""


def clean_id(text: str) -> str:
    """Return an id on one line, "" for a word that says that there is none."""
    text = one_line(text)
    return "" if text.casefold() in NOT_AN_ID else text


def found_by_name(path: Path, columns: tuple[str, ...], titles: Tally) -> dict[str, str]:
    """Find titles without a number among those with one, and take them out of the file and the tally.

    Args:
        path: of anime.tsv, titles as they came.
        columns: of it.
        titles: their keys.

    Returns:
        The id made of a name -> the id of the only other title that is called so.
    """
    wanted = {id_.removeprefix(PREFIX) for id_, _ in _named(path) if id_.startswith(PREFIX)}
    called: dict[str, set[str]] = {}
    for id_, name in _named(path) if wanted else ():
        for part in name.split(" / "):
            if not id_.startswith(PREFIX) and part.casefold() in wanted:
                called.setdefault(part.casefold(), set()).add(id_)
    found = {PREFIX + name: ids.pop() for name, ids in called.items() if len(ids) == 1}
    if found:
        gone = np.sort(keys_of(pd.Series(list(found), dtype=object)))
        sieve(path, columns, lambda table: ~among(keys_of(table["subject_id"]), gone))
        stay = ~among(titles.keys, gone)
        titles.keys, titles.counts = titles.keys[stay], titles.counts[stay]
    return found


def _named(path: Path) -> Iterator[tuple[str, str]]:
    for table in read(path):
        yield from zip(table["subject_id"], table["name"], strict=True)
