"""Lines of a data set that are wrong, and rows that are legal but look wrong."""

import csv
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_loader import Dataset
from dataset.readers import ANIME_COLUMNS, INTERACTION_COLUMNS
from dataset.tables import TEXT_FILES, find_file, open_bytes, read_table, read_text, row_lines
from dataset.tags import holds_objects, is_piece, parse_tags
from dataset.text_files import VALID_FILE
from dataset.times import SECONDS, parse_times
from dataset.written_times import is_open as leaves_open
from importers.nameless import NOT_AN_ID
from inference.name_forms import folded

LONG_SUMMARY = 10_000  # characters; an encoder reads the first thousand or two
OFTEN = 5  # rows in which the same comment looks copied: of one user, or of several if it is long
LONG_COMMENT = 20  # characters
# in scripts without spaces between words, and a slash in any
SEVERAL = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]+ |[\u3040-\u30ff\u4e00-\u9fff]\u30fb|[^\s/]/[^\s/]")
DAY, EARLIEST = 86_400, 631_152_000  # seconds; 1990-01-01
SHARED, MANY_ROWS = 0.05, 50  # a time of so many of the rows with one looks like a placeholder
SINGLE, SINGLE_NOTE = "users with a single title", "they stay in train and are in no figure"
MANY, MANY_NOTE = "users who have more than half of all titles", "or is it a program?"
FILES = ("anime.tsv", "interactions.tsv", "user.tsv", "known.tsv", "relations.tsv", "ids.tsv", *TEXT_FILES, VALID_FILE)
MOST_WRONG, PATIENCE_S = 50, 60


class Suspect(NamedTuple):
    """A kind of doubtful rows: how many, some of them, and what becomes of them."""

    what: str
    count: int
    examples: list[str]
    note: str


def suspicious_rows(folder: Path, n_examples: int = 3) -> list[Suspect]:
    """Find what looks wrong in anime.tsv and interactions.tsv, in files that the readers accept.

    Args:
        folder: of the data.
        n_examples: how many rows of a kind are named.

    Returns:
        The kinds of which there are any.
    """
    titles = _numbered(folder, "anime.tsv", ANIME_COLUMNS)
    rows = _numbered(folder, "interactions.tsv", INTERACTION_COLUMNS)
    kinds = [*_titles(titles), *_pairs(rows, titles), *_users(rows, titles), *_times(rows), _comments(rows)]
    return [Suspect(what, len(found), found[:n_examples], note) for what, found, note in kinds if found]


def suspicious_pairs(dataset: Dataset) -> list[Suspect]:
    """Find what looks wrong in train.txt and test.txt, whose lines the readers do not keep."""
    sizes = np.diff(dataset.seen.indptr)
    kinds = [(what, dataset.facts[what], [], "left out") for what in ("repeated pairs", "test pairs that train has")]
    for what, chosen, note in ((SINGLE, sizes == 1, SINGLE_NOTE), (MANY, sizes * 2 > dataset.n_items, MANY_NOTE)):
        users = np.flatnonzero(chosen)
        kinds.append((what, len(users), [f"user {_short(dataset.raw_user_ids[user])}" for user in users[:3]], note))
    return [Suspect(*kind) for kind in kinds if kind[1]]


Kind = tuple[str, list[str], str]


def _numbered(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a file as text, with the line of each row."""
    path, table = read_table(folder, name, columns)
    return table.assign(line=np.fromiter(row_lines(path), int, len(table)))


def _titles(titles: pd.DataFrame) -> Iterable[Kind]:
    again = titles["subject_id"].duplicated()
    yield (
        "titles whose subject_id an earlier line has",
        _cells(titles[again], "subject_id"),
        "left out; the first stays",
    )
    yield "subject_ids that differ only in case or width", _alike(titles, "subject_id"), "taken for different titles"
    yield (
        "subject_ids that say there is none",
        _no_ids(titles, "subject_id"),
        "taken for one title, which many may share",
    )
    named = titles[~again & (titles["name"] != "")]
    keys = named["name"].map(folded)
    groups = named[keys.duplicated(keep=False)].groupby(keys, sort=False)
    yield (
        "names that several titles have",
        [f"lines {_listed(group['line'])}: {_short(group['name'].iloc[0])}" for _, group in groups],
        "the same title twice, or a remake",
    )
    yield from _tags(titles)
    lengths = titles.set_index("line")["summary"].str.len()
    yield (
        f"summaries of more than {LONG_SUMMARY:,} characters",
        [f"line {line}: {length:,} characters" for line, length in lengths[lengths > LONG_SUMMARY].items()],
        "a quote that is closed too late? Encoders read the beginning only",
    )


def _tags(titles: pd.DataFrame) -> Iterable[Kind]:
    tags = titles["tags_name"].map(parse_tags)
    objects, pieces = titles["tags_name"].map(holds_objects), tags.map(lambda of_one: any(map(is_piece, of_one)))
    yield (
        "tags_name cells that hold objects",
        _cells(titles[objects], "tags_name"),
        "their names are the tags; the rest of them is left out",
    )
    yield (
        "tags that are pieces of objects or lists",
        _cells(titles[pieces], "tags_name"),
        "a list was parted as text; convert the source again, or write a JSON list of names",
    )
    yield (
        "single tags that may be several",
        _cells(titles[tags.map(len).eq(1) & titles["tags_name"].str.contains(SEVERAL)], "tags_name"),
        "a space, / or \u30fb does not part tags; write commas where it should",
    )


def _pairs(rows: pd.DataFrame, titles: pd.DataFrame) -> Iterable[Kind]:
    unknown = rows[~rows["subject_id"].isin(titles["subject_id"])]
    yield ("rows of titles that anime.tsv does not have", _cells(unknown, "subject_id"), "left out")
    repeated = rows[rows.duplicated(["user_id", "subject_id"], keep=False)]
    groups = repeated.groupby(["user_id", "subject_id"], sort=False)["line"]
    yield (
        "pairs of user and title that stand in several rows",
        [f"lines {_listed(lines)}: user {_short(user)}, title {_short(title)}" for (user, title), lines in groups],
        "the newest stays, or the last",
    )


def _users(rows: pd.DataFrame, titles: pd.DataFrame) -> Iterable[Kind]:
    yield ("user_ids that differ only in case or width", _alike(rows, "user_id"), "taken for different users")
    yield "user_ids that say there is none", _no_ids(rows, "user_id"), "taken for one user, who may be many"
    known = rows[rows["subject_id"].isin(titles["subject_id"])].drop_duplicates(["user_id", "subject_id"])
    groups = known.groupby("user_id", sort=False)["line"].agg(["size", "first"])
    n_titles = titles["subject_id"].nunique()
    for what, chosen, note in (
        (SINGLE, groups["size"] == 1, SINGLE_NOTE),
        (MANY, groups["size"] * 2 > n_titles, MANY_NOTE),
    ):
        yield (
            what,
            [
                f"line {row.first}: user {_short(row.Index)}, {row.size:,} of {n_titles:,} titles"
                for row in groups[chosen].rename_axis("user").itertuples(name="Group")
            ],
            note,
        )


def _times(rows: pd.DataFrame) -> Iterable[Kind]:
    seconds, _ = parse_times(rows["updated_at"])
    unknown = seconds.isna() & (rows["updated_at"] != "")
    is_open = unknown & rows["updated_at"].where(unknown, "").map(leaves_open)
    is_order = (seconds >= 0) & (seconds < SECONDS[0]) & pd.to_numeric(rows["updated_at"], errors="coerce").notna()
    for what, chosen, note in (
        ("times that cannot be read", unknown & ~is_open, "taken for unknown"),
        ("times that leave open whether day or month comes first", is_open, "taken for unknown"),
        ("times in the future", seconds > time.time() + DAY, "these rows count as the newest, and go to test"),
        ("times that are small numbers", is_order, "taken for an order without dates"),
        ("times before 1990", (seconds < EARLIEST) & ~is_order, "these rows count as the oldest; a placeholder?"),
    ):
        yield (what, _cells(rows[chosen], "updated_at"), note)
    often = seconds.value_counts()
    for moment in often.index[(often >= MANY_ROWS) & (often > SHARED * often.sum())]:
        yield (
            "rows of one and the same time",
            _cells(rows[seconds == moment], "updated_at"),
            "a placeholder? It says nothing of their order",
        )


def _comments(rows: pd.DataFrame) -> Kind:
    wrote = rows[rows["comment"] != ""]
    author = wrote["user_id"].where(wrote["comment"].str.len() < LONG_COMMENT, "")
    often = wrote[wrote.groupby([wrote["comment"], author])["line"].transform("size") >= OFTEN]
    groups = [group for _, group in often.groupby([often["comment"], author], sort=False)]
    return (
        "comments that are repeated over and over",
        [
            f"lines {_listed(group['line'])}: {_short(group['comment'].iloc[0])}, {len(group):,} times"
            for group in sorted(groups, key=len, reverse=True)
        ],
        "a template says nothing about a title",
    )


def _alike(table: pd.DataFrame, column: str) -> list[str]:
    """Name the ids that are the same once folded, with the first line of each."""
    first = table.drop_duplicates(column)
    keys = first[column].map(folded)
    alike = first[keys.duplicated(keep=False)]
    return [
        ", ".join(f"line {line}: {_short(raw)}" for raw, line in zip(group[column], group["line"], strict=True))
        for _, group in alike.groupby(keys, sort=False)
    ]


def _no_ids(table: pd.DataFrame, column: str) -> list[str]:
    return _cells(table[table[column].str.casefold().isin(NOT_AN_ID)], column)


def _cells(rows: pd.DataFrame, column: str) -> list[str]:
    return [f"line {line}: {_short(cell)}" for line, cell in zip(rows["line"], rows[column], strict=True)]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "\u2026")


def _listed(lines: pd.Series) -> str:
    return ", ".join(map(str, lines.iloc[:4])) + ", ..." * (len(lines) > 4)


# --- what the readers refuse ---


def wrong_lines(folder: Path, first: str, read: Callable[[Path], None]) -> list[str]:
    """Name what is wrong with a data set: the readers stop at the first, so each line is emptied and they read again.

    Args:
        folder: of the data, which stays as it is: lines are emptied in a copy.
        first: the sentence with which reading it ended.
        read: reads a folder, and raises OSError or ValueError.

    Returns:
        The sentences, the first one first: up to MOST_WRONG, as many as are found in PATIENCE_S seconds.
    """
    found, end = [first], time.monotonic() + PATIENCE_S
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "data"
        copy.mkdir()
        for path in filter(None, (find_file(folder, name) for name in FILES)):
            try:
                (copy / path.name).write_bytes(_unpacked(path))
            except (OSError, ValueError):  # which the first sentence is about
                return found
        while len(found) < MOST_WRONG and time.monotonic() < end:
            place = re.match(rf"{re.escape(str(folder))}/(\S+) line (\d+): ", found[-1])
            if not place or place[2] == "1":  # nothing to be emptied, or the header
                break
            _empty(copy / place[1], int(place[2]))
            try:
                read(copy)
                break
            except (OSError, ValueError) as error:
                sentence = str(error).replace(str(copy), str(folder))
            if sentence in found or " line " not in sentence:  # what only the missing lines may have brought about
                break
            found.append(sentence)
    return found


def _unpacked(path: Path) -> bytes:
    """Return what is in a file, in UTF-8 where it can be decoded."""
    try:
        return read_text(path).encode()
    except ValueError:
        with open_bytes(path) as file:
            return file.read()


def _empty(path: Path, line: int) -> None:
    """Empty the record that starts on a line, keeping its line breaks, so that all others keep their numbers."""
    lines = path.read_bytes().splitlines(keepends=True)
    reader = csv.reader((part.decode("latin-1") for part in lines[line - 1 :]), delimiter="\t", strict=True)
    try:
        next(reader)
        end = line - 1 + reader.line_num
    except csv.Error:  # a quote that is never closed
        end = line
    lines[line - 1 : end] = [b"\n"] * (end - line + 1)
    path.write_bytes(b"".join(lines))
