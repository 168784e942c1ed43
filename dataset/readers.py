"""The data files -> checked tables; an error names file, line, what was found, the remedy."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataset.coded import Coded, Times
from dataset.given import COLUMN, known_codes, with_parts
from dataset.numbers import HOW, to_numbers
from dataset.pairs import MOST, older_of_pairs
from dataset.seasons import seasons_of
from dataset.tables import existing_file, find_file, line_of, read_table, table_chunks
from dataset.tags import parse_tags
from dataset.times import plain_times, years_of

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
    folder: Path, subject_ids: pd.Series, split: str | None = None, with_texts: bool = False
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read interactions.tsv: one row a collected pair of a known title, and counts of what was dropped.

    Args:
        folder: of the data.
        subject_ids: of anime.tsv.
        split: the setting, which decides whether a given split is taken; None where parts are of no interest.
        with_texts: whether to keep the times as they are written, too, which takes far more memory.

    Returns:
        A table with user_id, subject_id (categorical, its codes the rows of subject_ids), rate (float, 0 = unrated),
        comment (categorical), time (seconds since 1970, NaN = unknown), with_texts also updated_at and, of a given
        split that is taken, part (see given.with_parts); and the counts.
    """
    path = existing_file(folder, "interactions.tsv")
    table, bad_times, sentences = _read_rows(path, INTERACTION_COLUMNS, (COLUMN,) if split else (), with_texts)
    if split:
        table = with_parts(path, table, split, subject_ids)
    table["rate"] = _parse_rates(path, table["rate"])
    _tell(path, sentences)
    table, facts = _of_known_titles(table, subject_ids)
    as_floats = facts.pop("as floats")
    shape = (len(table["user_id"].cat.categories), len(subject_ids))
    ids = [table[column].cat.codes.to_numpy() for column in ("user_id", "subject_id")]
    older = older_of_pairs(*ids, table["time"].to_numpy(), shape)
    if len(older):
        table = table.drop(index=older).reset_index(drop=True)
    facts |= {"unparsable times": bad_times, "repeated pairs": len(older)}
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
    return table, facts


def read_known(
    folder: Path, rows: pd.DataFrame, subject_ids: pd.Series, with_texts: bool = False
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read the optional known.tsv: pairs that are never positives, such as a title wished for or dropped.

    Args:
        folder: of the data.
        rows: as from read_interactions; pairs that it has, and users that it does not have, are left out.
        subject_ids: of anime.tsv.
        with_texts: as of read_interactions.

    Returns:
        A table like rows, but without comments, whose rate is NaN: below any min_rate. And counts, none without the
        file.
    """
    if not find_file(folder, "known.tsv"):
        return rows[:0], {}
    path = existing_file(folder, "known.tsv")
    table, _, sentences = _read_rows(path, KNOWN_COLUMNS[:2], (*KNOWN_COLUMNS[2:], COLUMN), with_texts)
    if COLUMN in rows:
        table[COLUMN] = known_codes(path, table)
    _tell(path, sentences)
    users, titles = (
        pd.Series(
            pd.Categorical.from_codes(_codes_in(table[column], rows[column].cat.categories), dtype=rows[column].dtype)
        )
        for column in ("user_id", "subject_id")
    )
    table = table.assign(user_id=users, subject_id=titles, rate=np.nan)
    mine = (users.notna() & titles.notna() & users.isin(rows["user_id"].unique())).to_numpy()
    kept = table[mine].reset_index(drop=True)
    again = kept.duplicated(["user_id", "subject_id"]).to_numpy() | _has_pairs(rows, kept)
    facts = {"known only": int((~again).sum())}
    if not mine.all() or again.any():
        log.warning(
            f"{path.name}: of {len(table):,} rows: {(~mine).sum():,} of titles that anime.tsv does not have or "
            f"users that interactions.tsv does not have, {again.sum():,} of pairs that are there "
            "already (dropped)"
        )
    kept = kept[~again].reset_index(drop=True)
    return kept.reindex(columns=[column for column in rows if column != "comment"], fill_value=""), facts


def read_user_names(folder: Path, raw_user_ids: list[str]) -> list[str]:
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


# --- rows: codes in the place of texts ---


def _read_rows(
    path: Path, columns: tuple[str, ...], optional: tuple[str, ...], with_texts: bool
) -> tuple[pd.DataFrame, int, list[str]]:
    """Read a table of pairs whose texts are categorical, with its times as seconds, NaN without updated_at.

    Also return how many filled cells are unknown times, and what is to be said of them.
    """
    coded: dict[str, Coded] = {}
    times = Times()
    for chunk in table_chunks(path, columns, optional):
        for column in chunk:
            cells = chunk[column].to_numpy(object)
            if column == "updated_at":
                times.add(cells)
            if column != "updated_at" or with_texts:
                coded.setdefault(column, Coded()).add(cells)
    found = {column: coded.pop(column).column() for column in [*coded]}
    table = pd.DataFrame(found, copy=False)
    require_ids(path, table, "user_id", "subject_id")
    if not times.n_rows:
        return table.assign(time=np.nan), 0, []
    if with_texts:
        plain, _ = plain_times(table["updated_at"].astype(object))
        table["updated_at"] = plain
    table["time"], *told = times.column()
    return table, *told


def _tell(path: Path, sentences: list[str]) -> None:
    for sentence in sentences:
        log.warning(f"{path.name}: {sentence}")


def _of_known_titles(table: pd.DataFrame, subject_ids: pd.Series) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows of known titles, by codes that are rows of subject_ids, and what is to be said of the others."""
    titles, codes = table["subject_id"].cat.categories.to_series(), table["subject_id"].cat.codes.to_numpy()
    rows_of = pd.Index(subject_ids).get_indexer(titles).astype(np.int32)
    items = rows_of[codes]
    table["subject_id"] = pd.Categorical.from_codes(items, pd.Index(subject_ids, dtype=object), validate=False)
    known = items >= 0
    facts = {"rows": len(table), "rows of unknown titles": int((~known).sum()), "as floats": ""}
    if known.all():
        return table, facts
    unknown = titles[rows_of < 0]
    is_float = unknown.str.removesuffix(".0").isin(subject_ids) | unknown.isin(subject_ids.str.removesuffix(".0"))
    n_floats = int(np.bincount(codes, minlength=len(titles))[rows_of < 0][is_float.to_numpy()].sum())
    facts["as floats"] = f" ({n_floats:,} but for a .0 as of floats: write 12, not 12.0)" * bool(n_floats)
    return table[known].reset_index(drop=True), facts


def _codes_in(cells: pd.Series, categories: pd.Index) -> np.ndarray:
    """Return the codes (n,) of a categorical column by other categories, -1 for what they lack."""
    return categories.get_indexer(cells.cat.categories)[cells.cat.codes.to_numpy()]


def _has_pairs(rows: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
    """Tell which pairs (n,) are among rows, whose categories are the same, in blocks of rows."""
    wanted, which = np.unique(_pair_keys(pairs), return_inverse=True)
    found = np.zeros(len(wanted) + 1, bool)
    for start in range(0, len(rows) if len(wanted) else 0, MOST):
        keys = _pair_keys(rows[start : start + MOST])
        places = np.searchsorted(wanted, keys)
        found[places[wanted.take(places, mode="clip") == keys]] = True
    return found[which]


def _pair_keys(pairs: pd.DataFrame) -> np.ndarray:
    users, titles = pairs["user_id"].cat, pairs["subject_id"].cat
    return users.codes.to_numpy(np.int64) * len(titles.categories) + titles.codes.to_numpy()


def _parse_rates(path: Path, cells: pd.Series) -> np.ndarray:
    values, kinds = cells.cat.codes.to_numpy(), cells.cat.categories
    rates = to_numbers(pd.Series(kinds.where(kinds != "", "0"), dtype=object))
    bad = ~(np.abs(rates) <= MAX_RATE)
    if bad.any():
        row = int(np.flatnonzero(bad[values])[0])
        raise ValueError(
            f"{path} line {line_of(path, row)}: rate {cells.iloc[row]!r} is not a number (up to {MAX_RATE:,}, "
            f"or down to minus that); {HOW}, or leave it empty for collected but unrated"
        )
    return rates[values]
