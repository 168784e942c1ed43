"""The data files -> checked tables; an error names file, line, what was found, the remedy."""

import ast
import json
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.given import COLUMN, known_codes, with_parts
from dataset.tables import find_file, line_of, read_table

log = logging.getLogger("aglrec")

ANIME_COLUMNS = ("subject_id", "name", "tags_name", "summary")
USER_COLUMNS = ("user_id", "username", "registration time")
INTERACTION_COLUMNS = ("user_id", "subject_id", "rate", "comment", "updated_at")
KNOWN_COLUMNS = ("user_id", "subject_id", "updated_at")
MAX_RATE = 10**9  # rates weigh comments, in float32
# optional columns of anime.tsv: the first one there says of what year a title is
YEAR_COLUMNS = ("year", "date", "air_date", "aired")
SYNONYMS = "synonyms"  # optional: other names of a title


def read_anime(folder: Path) -> pd.DataFrame:
    """Read anime.tsv into subject_id, name, tags (a tag a line), text (name, tags and summary, a line each) and year.

    The year is what a cell of the first of YEAR_COLUMNS starts with, "" without such a column or number. With a column
    SYNONYMS there is also synonyms (lists of names).
    """
    path, table = read_table(folder, "anime.tsv", ANIME_COLUMNS, (*YEAR_COLUMNS, SYNONYMS))
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
    dated = next((column for column in YEAR_COLUMNS if column in table), None)
    table["year"] = table[dated].str.extract(r"^(\d{4})(?!\d)", expand=False).fillna("") if dated else ""
    return table[~again].reset_index(drop=True)


def title_text(name: str, tags: list[str], summary: str) -> str:
    """Return what an encoder reads of a title: name, tags and summary, a line each."""
    return re.sub(r"\n+", "\n", f"{name}\n{' '.join(tags)}\n{summary}").strip()


def parse_tags(cell: str) -> list[str]:
    """Parse a tags_name cell: a JSON list, a Python-style list, or text separated by , ; | or 、.

    Raises:
        ValueError: the cell holds something, but no tag can be read from it.
    """
    tags = _parse_list(cell) if cell.startswith("[") else _split(cell, "[,;|、，；]") or None
    if cell and tags is None:
        raise ValueError(
            f"no tag can be read from tags_name {cell[:60]!r}; write a JSON list like "
            '["a", "b"], or tags separated by commas, or leave it empty'
        )
    return tags or []


def parse_synonyms(cell: str) -> list[str]:
    """Parse a synonyms cell: a JSON list, a Python-style list, or names separated by | or ｜."""
    names = _parse_list(cell) if cell.startswith("[") else None  # a name may start so too
    return _split(cell, "[|｜]") if names is None else names


def _split(cell: str, separators: str) -> list[str]:
    return [part.strip() for part in re.split(separators, cell) if part.strip()]


def _parse_list(cell: str) -> list[str] | None:
    """Return what a list in a cell holds; None if it cannot be read."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return [str(part).strip() for part in parse(cell) if str(part).strip()]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


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
    table["time"], bad_times = parse_times(table["updated_at"])
    known = table["subject_id"].isin(subject_ids)
    facts = {"rows": len(table), "rows of unknown titles": int((~known).sum()), "unparsable times": bad_times}
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
            + " (unknown titles and repeated pairs are left out, such times ignored)"
        )
    if table.empty:
        raise ValueError(f"{path}: no row names a subject_id of anime.tsv; check that both files use the same ids")
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
    table["time"], _ = parse_times(table["updated_at"]) if "updated_at" in table else (np.nan, 0)
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


def parse_times(cells: pd.Series) -> tuple[pd.Series, int]:
    """Parse ISO 8601 times (or seconds since 1970) to seconds since 1970, NaN where empty or unparsable.

    Returns:
        float64 seconds, and how many non-empty cells could not be parsed.
    """
    filled = cells[cells != ""]
    seconds = pd.to_numeric(filled, errors="coerce").astype(float)
    written = filled[seconds.isna()]
    # pandas reads "now" and "today" as the clock's time, which is nothing a file can mean
    written = written.where(written.str.contains(r"\d"), "")
    dates = pd.to_datetime(written, errors="coerce", utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    # in microseconds, since nanoseconds do not reach far years
    seconds[written.index] = (dates - pd.Timestamp(0, tz="UTC").as_unit("us")).dt.total_seconds().to_numpy()
    seconds = seconds.where(np.isfinite(seconds))
    return seconds.reindex(cells.index), int(seconds.isna().sum())


def _parse_rates(path: Path, cells: pd.Series) -> np.ndarray:
    values, kinds = pd.factorize(cells)
    rates = pd.to_numeric(pd.Series(kinds.where(kinds != "", "0"), dtype=object), errors="coerce").to_numpy(float)
    bad = ~(np.abs(rates) <= MAX_RATE)
    if bad.any():
        row = int(np.flatnonzero(bad[values])[0])
        raise ValueError(
            f"{path} line {line_of(path, row)}: rate {cells.iloc[row]!r} is not a number (up to {MAX_RATE:,}, "
            "or down to minus that); write a number, or leave it empty for collected but unrated"
        )
    return rates[values]
