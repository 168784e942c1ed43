"""Titles of all sources on their way to anime.tsv: each once, with what the sources together say of it."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from importers.common import (
    MORE_TITLE_COLUMNS,
    TITLE_COLUMNS,
    Format,
    Options,
    Source,
    chunks_of,
    count,
    joined_names,
    synonyms_of,
    unmarked,
)
from importers.nameless import PREFIX, clean_id
from importers.spill import batches, create, one_line, read, sieve, write
from importers.tally import Tally, among, keys_of
from importers.users import Dropped, Rules

ANIME_COLUMNS = ("subject_id", "name", "tags_name", "summary", "year")
SPILLED_COLUMNS = (*ANIME_COLUMNS, *MORE_TITLE_COLUMNS)


class Spilled(NamedTuple):
    """What came of titles."""

    titles: Tally  # how often each came
    adult: np.ndarray  # ascending keys of adult ones
    n_nameless: int  # of them without a number
    columns: tuple[str, ...]  # ANIME_COLUMNS, and those of MORE_TITLE_COLUMNS that some title has


def spill_titles(sources: list[Source], path: Path, options: Options, rules: Rules, dropped: Dropped) -> Spilled:
    """Write titles as they come, in SPILLED_COLUMNS.

    Of a group, the first row of a title counts. A file of titles alone is a group, since another may add what it
    lacks, and comes before the lists; the lists of a format are one together, since all say the same.
    """
    groups: dict[str, list[tuple[Format, Path]]] = {}
    files = [(file in files.lists, made, file) for made, files in sources for file in files.titles]
    for in_list, made, file in sorted(files, key=lambda entry: entry[0]):
        groups.setdefault(made.name if in_list else str(file), []).append((made, file))
    titles, adult, nameless, held = Tally(), Tally(), Tally(), set()
    with create(path, SPILLED_COLUMNS) as out:
        for group in groups.values():
            met = Tally()
            chunks = (chunk for made, file in group for chunk in chunks_of(made.titles, file, options, dropped))
            for chunk in batches(chunks, (*TITLE_COLUMNS, *MORE_TITLE_COLUMNS)):
                table = chunk.assign(summary=unmarked(chunk["summary"], rules.drop_spoilers)).map(one_line)
                table["subject_id"] = table["subject_id"].map(clean_id)
                count(dropped, "without an id", (table["subject_id"] == "").sum())
                table = table[table["subject_id"] != ""]
                table = table.iloc[met.add(keys_of(table["subject_id"]))]
                keys = keys_of(table["subject_id"])
                titles.add(keys)
                adult.add(keys[table["adult"] == "1"])
                nameless.add(keys[table["subject_id"].str.startswith(PREFIX).to_numpy(bool)])
                held |= {column for column in MORE_TITLE_COLUMNS if (table[column] != "").any()}
                write(out, table[list(SPILLED_COLUMNS)])
    columns = (*ANIME_COLUMNS, *(column for column in MORE_TITLE_COLUMNS if column in held))
    return Spilled(titles, adult.keys, len(nameless.keys), columns)


def left_titles(titles: Tally, hidden: np.ndarray, collected: np.ndarray, rules: Rules, dropped: Dropped) -> np.ndarray:
    """Return the keys of the titles that stay, ascending."""
    kept = titles.keys[~among(titles.keys, hidden)]
    count(dropped, "adult", len(titles.keys) - len(kept))
    if rules.collected_only:
        every, kept = kept, kept[among(kept, collected)]
        count(dropped, "not collected by anybody", len(every) - len(kept))
    return kept


def finish_titles(path: Path, titles: Tally, kept: np.ndarray, columns: tuple[str, ...]) -> None:
    """Leave out what is not wanted, and make one of the rows of a title described more than once."""
    again, repeats = titles.keys[titles.counts > 1], []

    def once(table: pd.DataFrame) -> np.ndarray:
        keys = keys_of(table["subject_id"])
        wanted, repeated = among(keys, kept), among(keys, again)
        repeats.append(table[wanted & repeated])
        return wanted & ~repeated

    sieve(path, columns, once)
    with path.open("a", encoding="utf-8", newline="") as out:
        write(out, _merged(pd.concat(repeats))[list(columns)])


def _merged(table: pd.DataFrame) -> pd.DataFrame:
    """Make one row of those with the same subject_id: all names, and of the rest what is first filled in."""
    empty = {"summary": "", "year": "", "type": "", "season": "", "tags_name": "[]"}
    cells = table.assign(**{column: table[column].mask(table[column] == nothing) for column, nothing in empty.items()})
    found = cells.groupby("subject_id", sort=False).agg(
        {
            "name": lambda names: joined_names(*(name for joined in names for name in joined.split(" / "))),
            "synonyms": lambda cells: [name for cell in cells if cell for name in json.loads(cell)],
            **dict.fromkeys(empty, "first"),
        }
    )
    names = zip(found["synonyms"], found["name"], strict=True)
    return found.assign(synonyms=[synonyms_of(*both) for both in names]).fillna(empty).reset_index()


def bare_titles(rows: Path, path: Path) -> None:
    """Write titles of which nothing is known but that they are in the rows; the id stands for the name."""
    known = Tally()
    with create(path, ANIME_COLUMNS) as out:
        for table in read(rows):
            ids = table["subject_id"].iloc[known.add(keys_of(table["subject_id"]))]
            write(out, pd.DataFrame({"subject_id": ids, "name": ids, "tags_name": "[]", "summary": "", "year": ""}))
