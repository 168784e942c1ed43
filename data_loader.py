"""TSV files, or LightGCN's text files -> Dataset: reading, cleaning, splitting; the graph; negative sampling."""

import ast
import csv
import gzip
import hashlib
import json
import logging
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

log = logging.getLogger("aglrec")

ANIME_COLUMNS = ("subject_id", "name", "tags_name", "summary")
USER_COLUMNS = ("user_id", "username", "registration time")
INTERACTION_COLUMNS = ("user_id", "subject_id", "rate", "comment", "updated_at")
PARTS = ("train", "valid", "test", "cold_valid", "cold_test")
# beside the indices into PARTS: a row that takes part in no ranking before the test, and is no positive there: a train
# row beyond train_rows_per_user, or one below min_rate that is older than the user's test part; and a newer one
ASIDE, LATER = -1, -2
TEXT_FILES = ("train.txt", "test.txt")


class Comments(NamedTuple):
    """What users wrote in their train rows: three aligned sequences, one entry a comment."""

    user_ids: np.ndarray  # (C,) user rows
    texts: list[str]
    weights: np.ndarray  # (C,) float32, the rate given along with the comment


@dataclass(frozen=True)
class Dataset:
    """Everything a run knows of its data; row numbers are positions in raw_user_ids and raw_item_ids.

    train, valid, test, cold_valid, cold_test, aside and seen are CSR (n_users, n_items), float32, of ones. The
    first six are pairwise disjoint and lie within seen, the pairs that must not be recommended back. Those of aside
    were collected before the test part, but nothing learns from them and nothing asks for them: train rows cut by
    train_rows_per_user, and rows below min_rate. They are masked wherever a ranking is measured.

    Raises:
        ValueError: on construction, if any of this does not hold.
    """

    train: sp.csr_matrix
    valid: sp.csr_matrix
    test: sp.csr_matrix
    cold_valid: sp.csr_matrix
    cold_test: sp.csr_matrix
    aside: sp.csr_matrix
    seen: sp.csr_matrix
    raw_user_ids: list[str]
    raw_item_ids: list[str]
    user_names: list[str]
    item_names: list[str]
    item_texts: list[str]
    user_comments: Comments
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        shape = (len(self.raw_user_ids), len(self.raw_item_ids))
        parts = {name: getattr(self, name) for name in (*PARTS, "aside", "seen")}
        for name, part in parts.items():
            if part.shape != shape or part.dtype != np.float32 or (part.data != 1).any():
                raise ValueError(f"{name} must be a float32 matrix of ones of shape {shape}, not {part.shape}")
        together = sum(parts[name] for name in (*PARTS, "aside"))
        if together.nnz and together.max() > 1:
            raise ValueError("train, valid, test, aside and the cold parts share a pair; they must be disjoint")
        if (together - together.multiply(self.seen)).nnz:
            raise ValueError("a pair of train, valid or test is missing in seen")

    @property
    def n_users(self) -> int:
        return len(self.raw_user_ids)

    @property
    def n_items(self) -> int:
        return len(self.raw_item_ids)

    @cached_property
    def warm_items(self) -> np.ndarray:
        """Rows of the titles with a history, ascending: those that somebody collected in train."""
        return np.flatnonzero(np.bincount(self.train.indices, minlength=self.n_items))

    def warm(self, part: str) -> sp.csr_matrix:
        """Return the pairs of "valid" or "test" whose titles have a history."""
        return only(getattr(self, part), np.isin(np.arange(self.n_items), self.warm_items))

    def known(self, part: str) -> sp.csr_matrix:
        """Return the pairs that are masked when ranking for "valid" or for "test": what came before, and aside."""
        before = self.train + self.aside
        return before + self.valid if part == "test" else before

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the ids in row order and every part of the split."""
        digest = hashlib.sha256(json.dumps([self.raw_user_ids, self.raw_item_ids]).encode())
        for name in (*PARTS, "aside"):
            part = getattr(self, name)
            digest.update(part.indptr.astype(np.int64).tobytes() + part.indices.astype(np.int64).tobytes())
        return digest.hexdigest()


def only(pairs: sp.csr_matrix, members: np.ndarray) -> sp.csr_matrix:
    """Return the pairs (n_users, n_items) whose item is a member, (n_items,) bool."""
    kept = sp.csr_matrix(pairs.multiply(members))
    kept.eliminate_zeros()  # multiply keeps the other pairs as explicit zeros
    return kept


def load_dataset(config: dict[str, Any]) -> Dataset:
    """Read data_dir, drop what can be dropped safely (and say how much), and split.

    A folder holds either anime.tsv and interactions.tsv (and user.tsv, if there are names), or, without an
    interactions.tsv, the text format of LightGCN: train.txt and test.txt with lines of "user item item ...", any ids
    parted by spaces or tabs, a user possibly without items. There test.txt is the test part and valid is drawn from
    train.txt, at random; every pair is a positive, an item is named by its id, and nothing has a text.

    Args:
        config: as from get_config; uses data_dir, min_rate, split, split_seed, the ratios and train_rows_per_user.

    Returns:
        The Dataset; its items are all rows of anime.tsv, its users all who collected a known title. From the text
        format, both are all that occur in either file, in numeric order if every id is an integer.

    Raises:
        FileNotFoundError, ValueError: one sentence with file, line, what was found and the remedy.
    """
    folder = Path(config["data_dir"])
    is_text = not _either(folder, "interactions.tsv") and any(_either(folder, name) for name in TEXT_FILES)
    return (_load_text_files if is_text else _load_tables)(folder, config)


def _load_tables(folder: Path, config: dict[str, Any]) -> Dataset:
    anime = read_anime(folder)
    rows, facts = read_interactions(folder, anime["subject_id"])
    user_ids, raw_user_ids = pd.factorize(rows["user_id"])
    item_ids = pd.Index(anime["subject_id"]).get_indexer(rows["subject_id"])
    positive = np.flatnonzero(rows["rate"] >= config["min_rate"])
    if not positive.size:
        raise ValueError(f"{folder / 'interactions.tsv'}: no row has a rate of {config['min_rate']:g} or more (the "
                         f"highest is {rows['rate'].max():g}); lower --min_rate (0 counts unrated rows too)")
    part, times = np.full(len(rows), LATER), rows["time"].to_numpy()
    part[positive] = split_rows(user_ids[positive], item_ids[positive], times[positive],
                                (len(raw_user_ids), len(anime)), config)
    part[(part == LATER) & older_than_test(user_ids, times, part, config["split"])] = ASIDE
    return _dataset(user_ids, item_ids, part, facts, raw_user_ids=raw_user_ids.tolist(),
                    raw_item_ids=anime["subject_id"].tolist(), user_names=read_user_names(folder, raw_user_ids),
                    item_names=anime["name"].tolist(), item_texts=anime["text"].tolist(),
                    user_comments=_comments(rows[part == 0], user_ids[part == 0]))


def _load_text_files(folder: Path, config: dict[str, Any]) -> Dataset:
    if config["cold_item_ratio"]:
        raise ValueError(f"cold_item_ratio is {config['cold_item_ratio']:g}, but the test part of {folder} is fixed by "
                         "its test.txt; set --cold_item_ratio 0, or write the data as interactions.tsv")
    rows, facts, raw_user_ids, raw_item_ids = read_text_files(folder)
    log.info(f"{folder}: test.txt is the test part and valid is drawn from train.txt at random; "
             "split, test_ratio and min_rate are ignored")
    user_ids, item_ids, is_test = (rows[column].to_numpy() for column in ("user", "item", "is_test"))
    part = np.full(len(rows), PARTS.index("test"))
    part[~is_test] = split_rows(user_ids[~is_test], item_ids[~is_test], np.full((~is_test).sum(), np.nan),
                                (len(raw_user_ids), len(raw_item_ids)), {**config, "split": "random", "test_ratio": 0})
    return _dataset(user_ids, item_ids, part, facts, raw_user_ids=raw_user_ids, raw_item_ids=raw_item_ids,
                    user_names=raw_user_ids, item_names=raw_item_ids, item_texts=[""] * len(raw_item_ids),
                    user_comments=Comments(np.empty(0, np.int64), [], np.empty(0, np.float32)))


def _dataset(user_ids: np.ndarray, item_ids: np.ndarray, part: np.ndarray, facts: dict[str, int],
             **names: Any) -> Dataset:
    """Build the matrices from rows and their part codes, and count what went where."""
    shape = (len(names["raw_user_ids"]), len(names["raw_item_ids"]))
    matrices = {name: _matrix(user_ids[part == code], item_ids[part == code], shape)
                for code, name in enumerate(PARTS)}
    matrices["aside"] = _matrix(user_ids[part == ASIDE], item_ids[part == ASIDE], shape)
    facts |= {"users": shape[0], "items": shape[1], "positives": sum(matrices[name].nnz for name in PARTS)}
    facts |= {name: int(matrix.nnz) for name, matrix in matrices.items()}
    log.info("data: " + ", ".join(f"{count:,} {name}" for name, count in facts.items() if count))
    return Dataset(**matrices, seen=_matrix(user_ids, item_ids, shape), facts=facts, **names)


# --- files ---

def read_anime(folder: Path) -> pd.DataFrame:
    """Read anime.tsv into columns subject_id, name and text (name, tags and summary, a line each)."""
    path, table = _read_table(folder, "anime.tsv", ANIME_COLUMNS)
    _refuse(path, table["subject_id"] == "", "subject_id is empty; give the title an id or delete the line")
    again = table["subject_id"].duplicated()
    if again.any():
        log.warning(f"{path.name}: {again.sum():,} rows repeat a subject_id; the first of each stays")
    tags = []
    for row, cell in enumerate(table["tags_name"]):
        try:
            tags.append(" ".join(parse_tags(cell)))
        except ValueError as error:
            raise ValueError(f"{path} line {_line_of(path, row)}: {error}") from None
    table["text"] = [re.sub(r"\n+", "\n", "\n".join(parts)).strip()
                     for parts in zip(table["name"], tags, table["summary"], strict=True)]
    return table[~again].reset_index(drop=True)


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
        raise ValueError(f"no tag can be read from tags_name {cell[:60]!r}; write a JSON list like "
                         '["a", "b"], or tags parted by commas, or leave it empty')
    return tags


def read_interactions(folder: Path, subject_ids: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read interactions.tsv: one row a collected pair of a known title, and counts of what was dropped.

    Returns:
        A table with user_id, subject_id, rate (float, 0 = unrated), comment and time (seconds since 1970,
        NaN = unknown), and the counts.
    """
    path, table = _read_table(folder, "interactions.tsv", INTERACTION_COLUMNS)
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
        log.warning(f"{path.name}: of {facts['rows']:,} rows: " + ", ".join(
            f"{count:,} {name}" for name, count in dropped.items()) + " (titles and repeats dropped, times ignored)")
    if table.empty:
        raise ValueError(f"{path}: no row names a subject_id of anime.tsv; check that both files use the same ids")
    return table.reset_index(drop=True), facts


def read_text_files(folder: Path) -> tuple[pd.DataFrame, dict[str, int], list[str], list[str]]:
    """Read train.txt and test.txt: one row a distinct pair, and counts of what was dropped.

    Returns:
        A table with user and item (row numbers) and is_test, the counts, raw_user_ids and raw_item_ids.
    """
    found = pd.concat([_read_lines(folder, name).assign(is_test=name == "test.txt") for name in TEXT_FILES])
    pairs = found.dropna()
    raw_user_ids, raw_item_ids = (_in_order(column.unique().tolist()) for column in (found["user"], pairs["item"]))
    rows = pd.DataFrame({"user": pd.Index(raw_user_ids).get_indexer(pairs["user"]),
                         "item": pd.Index(raw_item_ids).get_indexer(pairs["item"]),
                         "is_test": pairs["is_test"].to_numpy()}).drop_duplicates()
    # train comes first, so of a pair in both files it is the one in test that goes
    known = rows.duplicated(["user", "item"])
    dropped = {"repeated pairs": len(pairs) - len(rows), "test pairs that train has": int(known.sum())}
    if any(dropped.values()):
        log.warning(f"train.txt and test.txt: of {len(pairs):,} pairs, dropped " + ", ".join(
            f"{count:,} {name}" for name, count in dropped.items() if count))
    rows = rows[~known]
    for name, empty in zip(TEXT_FILES, (rows["is_test"].all(), not rows["is_test"].any()), strict=True):
        if empty:
            raise ValueError(f"{_find(folder, name)} has no pair{' that train.txt lacks' * (name == 'test.txt')}; "
                             "write a user and his items on each line, parted by spaces")
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
    if not _either(folder, "user.tsv"):
        return list(raw_user_ids)
    _, table = _read_table(folder, "user.tsv", USER_COLUMNS[:2])
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
    bad = ~(np.isfinite(rates) & (rates >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad[values])[0])
        raise ValueError(f"{path} line {_line_of(path, row)}: rate {cells.iloc[row]!r} is not a number of 0 or more; "
                         "write a number, or leave it empty for collected but unrated")
    return rates[values]


def _read_table(folder: Path, name: str, columns: tuple[str, ...]) -> tuple[Path, pd.DataFrame]:
    """Read the named columns of a TSV file (or its .gz) as stripped text; every row must be whole."""
    path = _find(folder, name)
    try:
        _check_rows(path, columns)
        with _open_text(path) as file:
            table = pd.read_csv(file, sep="\t", dtype=object, keep_default_na=False, na_filter=False,
                                usecols=list(columns))
    except (pd.errors.ParserError, csv.Error) as error:
        raise ValueError(f"{path}: {error}; a field that holds a tab, a line break or starts with a quote must stand "
                         "in double quotes, quotes inside it doubled") from None
    if table.empty:
        raise ValueError(f"{path} has a header but no rows; put data below it")
    return path, table.apply(lambda column: column.str.strip())


def _either(folder: Path, name: str) -> Path | None:
    """Return the path of a file or of its .gz, None if there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)


def _find(folder: Path, name: str) -> Path:
    path = _either(folder, name)
    if path is None:
        both = ", which must hold both train.txt and test.txt" if name in TEXT_FILES else ""
        raise FileNotFoundError(f"{folder / name} is missing (nor is there {name}.gz); --data_dir names its folder"
                                f"{both}")
    return path


def _check_rows(path: Path, columns: tuple[str, ...]) -> None:
    """Raise unless the header names the columns and every row has a field for each name."""
    with _open_text(path) as file:
        reader = _csv_rows(file)
        header = next(reader, None)
        if header is None:
            raise ValueError(f"{path} is empty; it needs a header line: {', '.join(columns)}")
        missing = [column for column in columns if column not in header]
        if missing:
            raise ValueError(f"{path} line 1: no column {', '.join(missing)} (found: {', '.join(header)[:99]}); add it "
                             "to the header, tab-separated; its cells may be empty unless they are ids")
        line = 1
        try:
            for row in reader:
                if len(row) != len(header) and row:
                    raise ValueError(f"{path} line {line + 1}: {len(row)} fields where the header has {len(header)}; "
                                     "add or remove tabs, and close every double quote that starts a field")
                line = reader.line_num
        except csv.Error as error:
            raise ValueError(f"{path} line {line + 1}: {error}; a double quote that starts a field must be closed at "
                             "its end, and quotes inside it doubled") from None


def _csv_rows(file: TextIO) -> Any:
    csv.field_size_limit(2**31 - 1)
    return csv.reader(file, delimiter="\t", strict=True)


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise ValueError(f"{path} line {_undecodable_line(path)}: not UTF-8; save the file as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error}); compress it again") from None


def _line_of(path: Path, row: int) -> int:
    """Return the line on which data row number `row` (from 0) starts; fields may hold line breaks."""
    with _open_text(path) as file:
        reader = _csv_rows(file)
        before = 0
        for fields in reader:
            row -= bool(fields)
            if row < -1:
                break
            before = reader.line_num
    return before + 1


def _undecodable_line(path: Path) -> int:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _refuse(path: Path, bad: pd.Series, what: str) -> None:
    if bad.any():
        raise ValueError(f"{path} line {_line_of(path, int(np.argmax(bad.to_numpy())))}: {what}")


def _matrix(user_ids: np.ndarray, item_ids: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.ones(len(user_ids), np.float32), (user_ids, item_ids)), shape=shape)
    matrix.sort_indices()
    return matrix


def _comments(rows: pd.DataFrame, user_ids: np.ndarray) -> Comments:
    """Gather the comments of these rows; one given without a rate weighs as much as the mean rate."""
    wrote = (rows["comment"] != "").to_numpy()
    rates = rows["rate"].to_numpy(np.float32)
    neutral = rates[rates > 0].mean() if (rates > 0).any() else 1.0
    weights = np.where(rates > 0, rates, neutral).astype(np.float32)
    return Comments(user_ids[wrote], rows["comment"][wrote].tolist(), weights[wrote])


# --- splits ---

def split_rows(user_ids: np.ndarray, item_ids: np.ndarray, times: np.ndarray, shape: tuple[int, int],
               config: dict[str, Any]) -> np.ndarray:
    """Assign every positive row to a part.

    Args:
        user_ids, item_ids: (n,) row numbers.
        times: (n,) seconds, NaN where unknown.
        shape: (n_users, n_items).
        config: split, split_seed, valid_ratio, test_ratio, cold_item_ratio, train_rows_per_user.

    Returns:
        (n,) codes: index into PARTS, or ASIDE. Unless one date cuts everyone (global_time), a user with fewer than 3
        warm rows keeps all of them in train.
    """
    rng = np.random.default_rng([config["split_seed"], 1])
    part = np.zeros(len(user_ids), np.int8)
    if config["cold_item_ratio"] > 0:
        cold_valid, cold_test = _draw_cold_items(item_ids, config["cold_item_ratio"], rng)
        part[np.isin(item_ids, cold_valid)] = PARTS.index("cold_valid")
        part[np.isin(item_ids, cold_test)] = PARTS.index("cold_test")
    warm = np.flatnonzero(part == 0)
    # the random order breaks ties of time, and stands in where there is no time
    order = rng.permutation(len(warm))
    if config["split"] == "random":
        age = order
    else:
        age = np.lexsort((order, np.nan_to_num(times[warm], nan=-np.inf))).argsort()
        _warn_of_missing_times(times[warm], config["split"])
    if config["split"] == "global_time":
        part[warm] = _cut_by_date(times[warm], age, config)
    else:
        part[warm] = _cut_per_user(user_ids[warm], age, shape[0], config)
    if not (part == 0).any():
        raise ValueError("the split leaves no training pair; lower cold_item_ratio, valid_ratio or test_ratio")
    if config["train_rows_per_user"]:
        train = rng.permutation(np.flatnonzero(part == 0))
        place = pd.Series(user_ids[train]).groupby(user_ids[train]).cumcount().to_numpy()
        part[train[place >= config["train_rows_per_user"]]] = ASIDE
    return part


def older_than_test(user_ids: np.ndarray, times: np.ndarray, part: np.ndarray, split: str) -> np.ndarray:
    """Tell which rows are older than the first test row, of their user or, with global_time, of anyone.

    Args:
        user_ids, times, part: (n,) row numbers, seconds or NaN, and codes as of split_rows.
        split: the setting; random has no time, so every row counts as older.

    Returns:
        (n,) bool; a row without a time is older than all, as in the splits.
    """
    if split == "random":
        return np.ones(len(part), bool)
    who = np.zeros_like(user_ids) if split == "global_time" else user_ids
    is_test, first = part == PARTS.index("test"), np.full(who.max() + 1, np.inf)
    np.fmin.at(first, who[is_test], times[is_test])
    return ~(times >= first[who])


def _draw_cold_items(item_ids: np.ndarray, ratio: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    collected = np.unique(item_ids)
    cold = rng.permutation(collected)[: max(2, round(ratio * len(collected)))]
    return cold[: len(cold) // 2], cold[len(cold) // 2:]


def _warn_of_missing_times(times: np.ndarray, split: str) -> None:
    missing = int(np.isnan(times).sum())
    if missing:
        what = "those in a seeded random order, as older than all others"
        if split == "global_time" and _mostly_missing(times):
            what = "all rows in a seeded random order, since a date would cut off too little of them"
        log.warning(f"updated_at is missing in {missing:,} of {len(times):,} positive rows: split {split!r} takes "
                    f"{what}")


def _mostly_missing(times: np.ndarray) -> bool:
    return bool(np.isnan(times).mean() > 0.5)


def _cut_per_user(user_ids: np.ndarray, age: np.ndarray, n_users: int, config: dict[str, Any]) -> np.ndarray:
    counts = np.bincount(user_ids, minlength=n_users)
    ratios = np.array([[config["test_ratio"]], [config["valid_ratio"]]])  # (2, 1)
    wanted = 1 if config["split"] == "leave_one_out" else np.floor(counts * ratios + 0.5)  # (2, n_users)
    n_test, n_valid = np.where((ratios > 0) & (counts >= 3), np.maximum(1, wanted), 0).astype(int)
    n_test = np.minimum(n_test, np.maximum(counts - 2, 0))
    n_valid = np.minimum(n_valid, np.maximum(counts - n_test - 1, 0))
    newest_first = np.lexsort((-age, user_ids))
    rank = np.empty(len(user_ids), int)
    rank[newest_first] = np.arange(len(user_ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    test, valid = n_test[user_ids], n_valid[user_ids]
    return np.where(rank < test, 2, np.where(rank < test + valid, 1, 0))


def _cut_by_date(times: np.ndarray, age: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    when = age.astype(float) if _mostly_missing(times) else np.nan_to_num(times, nan=-np.inf)
    ordered = np.sort(when)
    first_test = ordered[int(len(when) * (1 - config["test_ratio"]))]
    first_valid = ordered[int(len(when) * (1 - config["test_ratio"] - config["valid_ratio"]))]
    return np.where(when >= first_test, 2, np.where(when >= first_valid, 1, 0))


# --- graph and negatives ---

def normalized_adjacency(train: sp.csr_matrix) -> torch.Tensor:
    """Build D^-1/2 [[0, R], [R^T, 0]] D^-1/2 of the train graph.

    Args:
        train: CSR (n_users, n_items) of ones.

    Returns:
        Sparse CSR tensor (N, N), N = n_users + n_items, float32 with int32 indices; users come first.

    Source:
        He et al. 2020, equation 8.
    """
    n_users, n_items = train.shape
    back = train.T.tocsr()
    back.sort_indices()
    scale = [1 / np.sqrt(np.maximum(np.diff(m.indptr), 1)) for m in (train, back)]
    values = [np.repeat(scale[a], np.diff(m.indptr)) * scale[1 - a][m.indices] for a, m in enumerate((train, back))]
    indptr = np.concatenate([train.indptr, train.nnz + back.indptr[1:]]).astype(np.int32)
    indices = np.concatenate([train.indices + n_users, back.indices]).astype(np.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(torch.from_numpy(indptr), torch.from_numpy(indices),
                                       torch.from_numpy(np.concatenate(values).astype(np.float32)),
                                       size=(n_users + n_items,) * 2, check_invariants=False)


def sample_triples(train: sp.csr_matrix, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw an epoch of BPR triples: every train pair once, in random order, with one negative each.

    Negatives are uniform over the items with a train interaction that the user has none with in train;
    held-out pairs are not excluded, for that would tell the model where they are. Users who collected
    every such item have no negative and are left out.

    Args:
        train: CSR (n_users, n_items) with sorted indices.
        rng: the random source.

    Returns:
        user_ids, pos_items, neg_items: (n,) int64 row numbers.

    Raises:
        ValueError: nobody has a negative.
    """
    n_items = train.shape[1]
    pool = np.flatnonzero(np.bincount(train.indices, minlength=n_items))
    degrees = np.diff(train.indptr)
    users = np.repeat(np.arange(len(degrees)), degrees)
    keys = users * n_items + train.indices
    negatives = pool[rng.integers(len(pool), size=len(users))]
    drawn = np.flatnonzero(degrees[users] < len(pool))
    if not drawn.size:
        raise ValueError(f"bpr needs titles a user has not collected, but every user has all {len(pool):,} that train "
                         "knows; use --loss softmax, or more data")
    kept = rng.permutation(drawn)
    while drawn.size:
        wanted = users[drawn] * n_items + negatives[drawn]
        found = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
        drawn = drawn[found]
        negatives[drawn] = pool[rng.integers(len(pool), size=len(drawn))]
    return users[kept], train.indices[kept].astype(np.int64), negatives[kept]
