"""The data files -> checked tables; an error names file, line, what was found, the remedy."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.given import COLUMN, known_codes, with_parts
from dataset.numbers import HOW, to_numbers
from dataset.seasons import seasons_of
from dataset.tables import find_file, line_of, read_table
from dataset.tags import parse_tags
from dataset.times import Unknown, plain_times, years_of

log = logging.getLogger("aglrec")

ANIME_COLUMNS = ("subject_id", "name", "tags_name", "summary")
USER_COLUMNS = ("user_id", "username", "registration time")
INTERACTION_COLUMNS = ("user_id", "subject_id", "rate", "comment", "updated_at")
KNOWN_COLUMNS = ("user_id", "subject_id", "updated_at")
MAX_RATE = 10**9  # rates weigh comments, in float32
# optional columns of anime.tsv, which say of what year a title is, the first ones first
YEAR_COLUMNS = ("year", "date", "air_date", "aired")
SEASON_COLUMNS = ("season", "date", "air_date", "aired")  # likewise, in which season it began
SYNONYMS = "synonyms"  # optional: other names of a title
TYPE = "type"  # optional: what a title was made as: TV, Movie, ...


def read_anime(folder: Path) -> pd.DataFrame:
    """Read anime.tsv into subject_id, name, tags (a tag a line), text (name, tags and summary, a line each), year,
    season and type.

    The year is that of the first of YEAR_COLUMNS that names one, "" without such a column or year; the season likewise.
    With a column SYNONYMS there is also synonyms (lists of names).
    """
    path, table = read_table(folder, "anime.tsv", ANIME_COLUMNS, (*YEAR_COLUMNS, "season", SYNONYMS, TYPE))
    require_ids(path, table, "subject_id")
    again = table["subject_id"].duplicated()
    if again.any():
        log.warning(f"{path.name}: {again.sum():,} rows repeat a subject_id; the first of each stays")
    if SYNONYMS in table:
        table[SYNONYMS] = table[SYNONYMS].map(parse_synonyms)
    tags = []
    for row, cell in enumerate(table["tags_name"]):
        try:
            tags.append(parse_tags(cell))
        except ValueError as error:
            raise ValueError(f"{path} line {line_of(path, row)}: {error}") from None
    table["tags"] = ["\n".join(of_one) for of_one in tags]
    table["text"] = [*map(title_text, table["name"], tags, table["summary"])]
    found = (YEAR_COLUMNS, years_of), (SEASON_COLUMNS, seasons_of)
    table["year"], table["season"] = (_first_told(table, *of) for of in found)
    table[TYPE] = table[TYPE].str.strip() if TYPE in table else ""
    return table[~again].reset_index(drop=True)


def _first_told(table: pd.DataFrame, columns: tuple[str, ...], read: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """Return what the first of some columns tells of each title, "" where none of them is there and tells it."""
    told = pd.Series("", index=table.index, dtype=object)
    for column in (column for column in columns if column in table):
        told = told.where(told != "", read(table[column]))
    return told


def title_text(name: str, tags: list[str], summary: str) -> str:
    """Return what an encoder reads of a title: name, tags and summary, a line each."""
    return re.sub(r"\n+", "\n", f"{name}\n{' '.join(tags)}\n{summary}").strip()


def parse_synonyms(cell: str) -> list[str]:
    """Parse a synonyms cell: a list as of parse_tags, or names separated by | or ｜."""
    if cell.startswith("["):  # a name may start so, too
        try:
            return parse_tags(cell)
        except ValueError:
            pass
    return [part.strip() for part in re.split("[|｜]", cell) if part.strip()]


def read_interactions(
    folder: Path, subject_ids: pd.Series, split: str | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read interactions.tsv: one row a collected pair of a known title, and counts of what was dropped.

    Args:
        folder: of the data.
        subject_ids: of anime.tsv.
        split: the setting, which decides whether a given split is taken; None where parts are of no interest.

    Returns:
        A table with user_id, subject_id, rate (float, 0 = unrated), comment, time (seconds since 1970, NaN = unknown)
        and, of a given split that is taken, part (see given.with_parts); and the counts.
    """
    path, table = read_table(folder, "interactions.tsv", INTERACTION_COLUMNS, (COLUMN,) if split else ())
    require_ids(path, table, "user_id", "subject_id")
    if split:
        table = with_parts(path, table, split, subject_ids)
    table["rate"] = _parse_rates(path, table["rate"])
    table = _with_times(path, table)
    bad_times = int((table["time"].isna() & (table["updated_at"] != "")).sum())
    known = table["subject_id"].isin(subject_ids)
    facts = {"rows": len(table), "rows of unknown titles": int((~known).sum()), "unparsable times": bad_times}
    unknown = table.loc[~known, "subject_id"]
    floats = unknown.str.removesuffix(".0").isin(subject_ids) | unknown.isin(subject_ids.str.removesuffix(".0"))
    as_floats = f" ({floats.sum():,} but for a .0 as of floats: write 12, not 12.0)" * bool(floats.any())
    table = table[known]
    # the newest of a pair stays: a stable sort by time, unknown times first, then the last of each pair
    newest = table["time"].fillna(-np.inf).argsort(kind="stable")
    table = table.iloc[newest].drop_duplicates(["user_id", "subject_id"], keep="last").sort_index()
    facts["repeated pairs"] = facts["rows"] - facts["rows of unknown titles"] - len(table)
    dropped = {name: count for name, count in facts.items() if count and name != "rows"}
    if dropped:
        log.warning(
            f"{path.name}: of {facts['rows']:,} rows: "
            + ", ".join(f"{count:,} {name}" for name, count in dropped.items())
            + f" (unknown titles{as_floats} and repeated pairs are left out, such times ignored)"
        )
    if table.empty:
        raise ValueError(
            f"{path}: no row names a subject_id of anime.tsv; check that both files use the same ids{as_floats}"
        )
    return table.reset_index(drop=True), facts


def read_known(folder: Path, rows: pd.DataFrame, subject_ids: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read the optional known.tsv: pairs that are never positives, such as a title wished for or dropped.

    Args:
        folder: of the data.
        rows: as from read_interactions; pairs that it has, and users that it does not have, are left out.
        subject_ids: of anime.tsv.

    Returns:
        A table like rows, whose rate is NaN: below any min_rate. And counts, none without the file.
    """
    if not find_file(folder, "known.tsv"):
        return rows[:0], {}
    path, table = read_table(folder, "known.tsv", KNOWN_COLUMNS[:2], (*KNOWN_COLUMNS[2:], COLUMN))
    require_ids(path, table, "user_id", "subject_id")
    if COLUMN in rows:
        table[COLUMN] = known_codes(path, table)
    table = _with_times(path, table) if "updated_at" in table else table.assign(time=np.nan)
    mine = table["user_id"].isin(rows["user_id"]) & table["subject_id"].isin(subject_ids)
    pairs = [pd.MultiIndex.from_frame(some[["user_id", "subject_id"]]) for some in (table, rows)]
    again = pairs[0].duplicated() | pairs[0].isin(pairs[1])
    facts = {"known only": int((mine & ~again).sum())}
    if not (mine & ~again).all():
        log.warning(
            f"{path.name}: of {len(table):,} rows: {(~mine).sum():,} of titles that anime.tsv does not have or "
            f"users that interactions.tsv does not have, {(mine & again).sum():,} of pairs that are there "
            "already (dropped)"
        )
    kept = table[mine & ~again].assign(rate=np.nan)
    return kept.reindex(columns=rows.columns, fill_value="").reset_index(drop=True), facts


def read_user_names(folder: Path, raw_user_ids: pd.Index) -> list[str]:
    """Read the optional user.tsv; the name of a user without one there is their id."""
    if not find_file(folder, "user.tsv"):
        return list(raw_user_ids)
    _, table = read_table(folder, "user.tsv", USER_COLUMNS[:2])
    names = dict(zip(table["user_id"], table["username"], strict=True))
    return [names.get(user) or user for user in raw_user_ids]


def require_ids(path: Path, table: pd.DataFrame, *columns: str) -> None:
    """Raise a ValueError that names the line of the first empty cell of these columns, if there is one."""
    for column in columns:
        empty = np.flatnonzero(table[column] == "")
        if len(empty):
            line = line_of(path, int(empty[0]))
            raise ValueError(f"{path} line {line}: {column} is empty; fill it in or delete the line")


def _with_times(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Read updated_at into time (seconds since 1970, NaN = unknown), and write out what only the whole column tells."""
    cells, unknown = table["updated_at"], Unknown()
    plain, seconds = plain_times(cells)
    unknown.add(cells, seconds)
    for sentence in unknown.sentences():
        log.warning(f"{path.name}: {sentence}")
    return table.assign(updated_at=plain, time=seconds)


def _parse_rates(path: Path, cells: pd.Series) -> np.ndarray:
    values, kinds = pd.factorize(cells)
    rates = to_numbers(pd.Series(kinds.where(kinds != "", "0"), dtype=object))
    bad = ~(np.abs(rates) <= MAX_RATE)
    if bad.any():
        row = int(np.flatnonzero(bad[values])[0])
        raise ValueError(
            f"{path} line {line_of(path, row)}: rate {cells.iloc[row]!r} is not a number (up to {MAX_RATE:,}, "
            f"or down to minus that); {HOW}, or leave it empty for collected but unrated"
        )
    return rates[values]
