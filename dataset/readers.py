"""TSV files, or LightGCN's text files -> checked tables; an error names file, line, what was found, the remedy."""

import ast
import csv
import gzip
import io
import itertools
import json
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import pandas as pd

from runtime.safe_files import open_gzip

log = logging.getLogger("aglrec")

ANIME_COLUMNS = ("subject_id", "name", "tags_name", "summary")
USER_COLUMNS = ("user_id", "username", "registration time")
INTERACTION_COLUMNS = ("user_id", "subject_id", "rate", "comment", "updated_at")
KNOWN_COLUMNS = ("user_id", "subject_id", "updated_at")
TEXT_FILES = ("train.txt", "test.txt")
MAX_RATE = 10**9  # rates weigh comments, in float32
# optional columns of anime.tsv: the first one there says of what year a title is
YEAR_COLUMNS = ("year", "date", "air_date", "aired")


def read_anime(folder: Path) -> pd.DataFrame:
    """Read anime.tsv into subject_id, name, tags (a tag a line), text (name, tags and summary, a line each) and year.

    The year is what a cell of the first of YEAR_COLUMNS starts with, "" without such a column or number.
    """
    path, table = read_table(folder, "anime.tsv", ANIME_COLUMNS, YEAR_COLUMNS)
    _refuse(path, table["subject_id"] == "", "subject_id is empty; give the title an id or delete the line")
    again = table["subject_id"].duplicated()
    if again.any():
        log.warning(f"{path.name}: {again.sum():,} rows repeat a subject_id; the first of each stays")
    tags = []
    for row, cell in enumerate(table["tags_name"]):
        try:
            tags.append(parse_tags(cell))
        except ValueError as error:
            raise ValueError(f"{path} line {_line_of(path, row)}: {error}") from None
    table["tags"] = ["\n".join(of_one) for of_one in tags]
    table["text"] = [*map(title_text, table["name"], tags, table["summary"])]
    dated = next((column for column in YEAR_COLUMNS if column in table), None)
    table["year"] = table[dated].str.extract(r"^(\d{4})(?!\d)", expand=False).fillna("") if dated else ""
    return table[~again].reset_index(drop=True)


def title_text(name: str, tags: list[str], summary: str) -> str:
    """Put together what an encoder reads of a title, a line each."""
    return re.sub(r"\n+", "\n", f"{name}\n{' '.join(tags)}\n{summary}").strip()


def parse_tags(cell: str) -> list[str]:
    """Parse a tags_name cell: a JSON list, a Python-style list, or text parted by , ; | or 、.

    Raises:
        ValueError: the cell holds something, but no tag can be read from it.
    """
    if not cell:
        return []
    if cell.startswith("["):
        for parse in (json.loads, ast.literal_eval):
            try:
                return [str(tag).strip() for tag in parse(cell) if str(tag).strip()]
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
        tags = []
    else:
        tags = [tag.strip() for tag in re.split(r"[,;|、，；]", cell) if tag.strip()]
    if not tags:
        raise ValueError(
            f"no tag can be read from tags_name {cell[:60]!r}; write a JSON list like "
            '["a", "b"], or tags parted by commas, or leave it empty'
        )
    return tags


def read_interactions(folder: Path, subject_ids: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read interactions.tsv: one row a collected pair of a known title, and counts of what was dropped.

    Returns:
        A table with user_id, subject_id, rate (float, 0 = unrated), comment and time (seconds since 1970,
        NaN = unknown), and the counts.
    """
    path, table = read_table(folder, "interactions.tsv", INTERACTION_COLUMNS)
    for column in ("user_id", "subject_id"):
        _refuse(path, table[column] == "", f"{column} is empty; fill it in or delete the line")
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
            + " (titles and repeats dropped, times ignored)"
        )
    if table.empty:
        raise ValueError(f"{path}: no row names a subject_id of anime.tsv; check that both files use the same ids")
    return table.reset_index(drop=True), facts


def read_known(folder: Path, rows: pd.DataFrame, subject_ids: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read the optional known.tsv: pairs that are no positives at any rate, as a title wished for or given up.

    Args:
        folder: of the data.
        rows: as from read_interactions; what it has of a pair counts, and of a user it does not have nothing is known.
        subject_ids: of anime.tsv.

    Returns:
        A table like rows, whose rate is NaN: below any min_rate. And counts, none without the file.
    """
    if not find_file(folder, "known.tsv"):
        return rows[:0], {}
    path, table = read_table(folder, "known.tsv", KNOWN_COLUMNS[:2], KNOWN_COLUMNS[2:])
    for column in KNOWN_COLUMNS[:2]:
        _refuse(path, table[column] == "", f"{column} is empty; fill it in or delete the line")
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


def read_text_files(folder: Path) -> tuple[pd.DataFrame, dict[str, int], list[str], list[str]]:
    """Read train.txt and test.txt: one row a distinct pair, and counts of what was dropped.

    Returns:
        A table with user and item (row numbers) and is_test, the counts, raw_user_ids and raw_item_ids.
    """
    found = pd.concat([_read_lines(folder, name).assign(is_test=name == "test.txt") for name in TEXT_FILES])
    pairs = found.dropna()
    raw_user_ids, raw_item_ids = (_in_order(column.unique().tolist()) for column in (found["user"], pairs["item"]))
    rows = pd.DataFrame(
        {
            "user": pd.Index(raw_user_ids).get_indexer(pairs["user"]),
            "item": pd.Index(raw_item_ids).get_indexer(pairs["item"]),
            "is_test": pairs["is_test"].to_numpy(),
        }
    ).drop_duplicates()
    # train comes first, so of a pair in both files it is the one in test that goes
    known = rows.duplicated(["user", "item"])
    dropped = {"repeated pairs": len(pairs) - len(rows), "test pairs that train has": int(known.sum())}
    if any(dropped.values()):
        log.warning(
            f"train.txt and test.txt: of {len(pairs):,} pairs, dropped "
            + ", ".join(f"{count:,} {name}" for name, count in dropped.items() if count)
        )
    rows = rows[~known]
    for name, empty in zip(TEXT_FILES, (rows["is_test"].all(), not rows["is_test"].any()), strict=True):
        if empty:
            raise ValueError(
                f"{_find(folder, name)} has no pair{' that train.txt lacks' * (name == 'test.txt')}; "
                "write a user and his items on each line, parted by spaces"
            )
    return rows, {"rows": len(pairs), **dropped}, raw_user_ids, raw_item_ids


def _read_lines(folder: Path, name: str) -> pd.DataFrame:
    """Read lines of "user item item ..." into a row a pair; the item of a user without any is NaN."""
    with _open_text(_find(folder, name)) as file:
        lines = [words for words in map(str.split, file) if words]
    return pd.DataFrame({"user": [words[0] for words in lines], "item": [words[1:] for words in lines]}).explode("item")


def _in_order(ids: list[str]) -> list[str]:
    """Sort ids by number if all are integers, else leave them as they are."""
    return sorted(ids, key=int) if all(re.fullmatch("-?[0-9]{1,18}", raw) for raw in ids) else ids


def read_user_names(folder: Path, raw_user_ids: pd.Index) -> list[str]:
    """Read the optional user.tsv; a user without a name there is called by his id."""
    if not find_file(folder, "user.tsv"):
        return list(raw_user_ids)
    _, table = read_table(folder, "user.tsv", USER_COLUMNS[:2])
    names = dict(zip(table["user_id"], table["username"], strict=True))
    return [names.get(user) or user for user in raw_user_ids]


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
    bad = ~((rates >= 0) & (rates <= MAX_RATE))
    if bad.any():
        row = int(np.flatnonzero(bad[values])[0])
        raise ValueError(
            f"{path} line {_line_of(path, row)}: rate {cells.iloc[row]!r} is not a number of 0 or more "
            f"(up to {MAX_RATE:,}); write a number, or leave it empty for collected but unrated"
        )
    return rates[values]


def read_table(
    folder: Path, name: str, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[Path, pd.DataFrame]:
    """Read the named columns of a TSV file (or its .gz) as stripped text; every row must be whole."""
    path = _find(folder, name)
    before = path.stat()
    try:
        _check_rows(path, columns)
        with _open_text(path) as file:
            table = pd.read_csv(
                file,
                sep="\t",
                dtype=object,
                keep_default_na=False,
                na_filter=False,
                usecols=lambda column: column in (*columns, *optional),
            )
    except (pd.errors.ParserError, csv.Error) as error:
        raise ValueError(
            f"{path}: {error}; a field that holds a tab, a line break or starts with a quote must stand "
            "in double quotes, quotes inside it doubled"
        ) from None
    finally:
        after = path.stat()
        if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, after.st_size, after.st_ino):
            raise ValueError(f"{path} was written to while it was read; give the command again once it is whole")
    if table.empty:
        raise ValueError(f"{path} has a header but no rows; put data below it")
    return path, table.apply(lambda column: column.str.strip())


def find_file(folder: Path, name: str) -> Path | None:
    """Return the path of a file or of its .gz, None if there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)


def _find(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None and not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; --data_dir names the one that holds the data")
    if path is None:
        both = ", which must hold both train.txt and test.txt" if name in TEXT_FILES else ""
        raise FileNotFoundError(
            f"{folder / name} is missing (nor is there {name}.gz); --data_dir names its folder{both}"
        )
    return path


def _check_rows(path: Path, columns: tuple[str, ...]) -> None:
    """Raise unless the header names the columns, each once, and every row has a field for each name."""
    with _open_text(path) as file:
        reader, line = _csv_rows(file), 0
        try:
            header = next(reader, None)
            _check_header(path, header, columns)
            line = reader.line_num
            for row in reader:
                if len(row) != len(header) and row:
                    raise ValueError(
                        f"{path} line {line + 1}: {len(row)} fields where the header has {len(header)}; "
                        "add or remove tabs, and close every double quote that starts a field"
                    )
                line = reader.line_num
        except csv.Error as error:
            raise ValueError(
                f"{path} line {line + 1}: {error}; a double quote that starts a field must be closed at "
                "its end, and quotes inside it doubled"
            ) from None


def _check_header(path: Path, header: list[str] | None, columns: tuple[str, ...]) -> None:
    if header is None:
        raise ValueError(f"{path} is empty; it needs a header line: {', '.join(columns)}")
    missing = [column for column in columns if column not in header]
    if missing and len(header) == 1 and len(parts := re.split("[,;]", header[0])) > 1:
        raise ValueError(
            f"{path} line 1: {len(parts)} columns parted by {header[0][len(parts[0])]!r}, not by tab; "
            "save it tab-separated, or make a data folder of it with tools/convert.py pairs"
        )
    if missing:
        raise ValueError(
            f"{path} line 1: no column {', '.join(missing)} (found: {on_one_line(', '.join(header))}); add "
            "it to the header, tab-separated; its cells may be empty unless they are ids"
        )
    again = [column for column in columns if header.count(column) > 1]
    if again:
        raise ValueError(
            f"{path} line 1: {header.count(again[0])} columns are called {again[0]}; leave one of them, "
            "or give the others another name"
        )


def on_one_line(text: str, most: int = 99) -> str:
    """Return the start of what a file holds for an error, without line ends and tabs."""
    return " ".join(text.split())[:most]


def _csv_rows(file: TextIO) -> Any:
    csv.field_size_limit(2**31 - 1)
    return csv.reader(file, delimiter="\t", strict=True)


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    try:
        with (open_gzip if path.suffix == ".gz" else _open_plain)(path) as file:
            yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    except UnicodeDecodeError:
        raise ValueError(f"{path} line {_undecodable_line(path)}: not UTF-8; save the file as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error}); compress it again") from None


def _open_plain(path: Path) -> BinaryIO:
    return open(path, "rb")


def row_lines(path: Path) -> Iterator[int]:
    """Yield the line on which each data row starts; fields may hold line breaks, and empty lines are no rows."""
    with _open_text(path) as file:
        reader = _csv_rows(file)
        next(reader)
        before = reader.line_num
        for fields in reader:
            if fields:
                yield before + 1
            before = reader.line_num


def _line_of(path: Path, row: int) -> int:
    return next(itertools.islice(row_lines(path), row, None))


def _undecodable_line(path: Path) -> int:
    with (open_gzip if path.suffix == ".gz" else _open_plain)(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _refuse(path: Path, bad: pd.Series, what: str) -> None:
    if bad.any():
        raise ValueError(f"{path} line {_line_of(path, int(np.argmax(bad.to_numpy())))}: {what}")
