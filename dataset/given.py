"""A split as published: the part that the data name for each row, checked, and taken as it is."""

import difflib
import logging
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from dataset.splits import EXCLUDED, LATER, PARTS, split_rows
from dataset.tables import line_of, on_one_line

log = logging.getLogger("aglrec")

# values of the setting split with which a given split is taken; with "auto" there need not be one
TAKING = ("auto", "given")
COLUMN = "part"
# an empty cell is that of a pair in no part, which is only never recommended back
CODES = {**{name: code for code, name in enumerate(PARTS)}, "aside": EXCLUDED, "excluded": EXCLUDED, "": LATER}
# how a code is written: of two spellings the first
NAMES = {code: name for name, code in reversed(CODES.items())}


def with_parts(path: Path, table: pd.DataFrame, split: str, subject_ids: pd.Series) -> pd.DataFrame:
    """Replace the column part of interactions.tsv by codes, or leave it out where the split is to be drawn.

    Args:
        path: of the file, for messages.
        table: its rows, all of them; user_id, subject_id and, if the file has it, part, all text.
        split: the setting.
        subject_ids: of anime.tsv.

    Returns:
        The table, with part as codes: an index into PARTS, EXCLUDED or LATER; or without a column part.

    Raises:
        ValueError: split is "given" and there is no part; a part or a title is unknown; a pair is in two parts; a title
            of a cold part is in train as well; or train is empty.
    """
    if COLUMN not in table or not (table[COLUMN] != "").any():
        if split == "given":
            raise ValueError(
                f"{path} has no column {COLUMN} that is filled in, but split is 'given'; write train, valid or test "
                "into it, or set --split user_time to draw a split"
            )
        return table.drop(columns=COLUMN, errors="ignore")
    if split not in TAKING:
        log.info(f"{path}: its column {COLUMN} holds a split; with split {split!r} the parts are merged and drawn anew")
        return table.drop(columns=COLUMN)
    table = table.assign(part=part_codes(path, table[COLUMN]))
    _refuse_unknown_titles(path, table, subject_ids)
    _refuse_two_parts(path, table)
    _refuse_warm_titles(path, table)
    if not (table[COLUMN] == PARTS.index("train")).any():
        raise ValueError(f"{path}: no row is in the part train; a model has nothing to learn from")
    return table


def part_codes(path: Path, cells: pd.Series) -> np.ndarray:
    """Read the names of parts (n,) into codes.

    Raises:
        ValueError: a name is unknown; the message names file, line and the nearest name.
    """
    values, kinds = pd.factorize(cells)
    codes = np.array([CODES.get(kind, len(PARTS)) for kind in kinds], np.int8)[values]
    unknown = np.flatnonzero(codes == len(PARTS))
    if len(unknown):
        row = int(unknown[0])
        names = [name for name in CODES if name]
        near = difflib.get_close_matches(cells.iloc[row], names, n=1, cutoff=0.0)
        _refuse(
            path,
            row,
            f"there is no part {on_one_line(cells.iloc[row])!r}, the nearest is {near[0]!r}; use one of "
            f"{', '.join(names)}, or draw another split with --split user_time",
        )
    return codes


def known_codes(path: Path, table: pd.DataFrame) -> np.ndarray:
    """Return the codes of the rows of known.tsv (n,): EXCLUDED unless its own column part leaves them in no part.

    Raises:
        ValueError: a row is in a part of positives.
    """
    if COLUMN not in table:
        return np.full(len(table), EXCLUDED, np.int8)
    codes = part_codes(path, table[COLUMN])
    positive = np.flatnonzero(codes >= 0)
    if len(positive):
        row = int(positive[0])
        name = NAMES[codes[row]]
        _refuse(path, row, f"the part {name} holds positives only; write aside, or move the line to interactions.tsv")
    return codes


def take_split(
    source: str,
    user_ids: np.ndarray,
    item_ids: np.ndarray,
    part: np.ndarray,
    shape: tuple[int, int],
    config: dict[str, Any],
) -> np.ndarray:
    """Take a given split, and do to it what the settings still ask for.

    Args:
        source: what gives the split, for messages.
        user_ids, item_ids, part: (n,) row numbers, and codes.
        shape: (n_users, n_items).
        config: valid_ratio, with which valid is drawn from train, at random, if no row is in it; train_rows_per_user,
            split_seed, refit and refit_valid as of split_rows. cold_item_ratio must be 0.

    Returns:
        (n,) codes.

    Raises:
        ValueError: cold titles are asked for, which are part of a split.
    """
    if config["cold_item_ratio"]:
        raise ValueError(
            f"cold_item_ratio is {config['cold_item_ratio']:g}, but {source} gives the split, with its cold titles if "
            "it has any; set --cold_item_ratio 0, or draw another split of interactions.tsv with --split user_time"
        )
    has_valid = bool((part == PARTS.index("valid")).any())
    drawn = not has_valid and config["valid_ratio"] > 0 and not config["refit"]
    _say(source, drawn, config)
    if config["refit"]:
        return np.where(part >= 0, PARTS.index("train"), part)
    if not np.isin(part, [PARTS.index("test"), PARTS.index("cold_test")]).any():
        log.warning(f"{source} puts no row into test or cold_test: there will be no test figures")
    train = np.flatnonzero(part == PARTS.index("train"))
    ratios = {"test_ratio": 0, "valid_ratio": config["valid_ratio"] if drawn else 0}
    times = np.full(len(train), np.nan)
    part = part.copy()
    part[train] = split_rows(user_ids[train], item_ids[train], times, shape, {**config, "split": "random", **ratios})
    if config["refit_valid"]:
        part[np.isin(part, [PARTS.index("valid"), PARTS.index("cold_valid")])] = PARTS.index("train")
    return part


def _say(source: str, drawn: bool, config: dict[str, Any]) -> None:
    ignored = ["min_rate", "test_ratio", *([] if drawn else ["valid_ratio"])]
    if config["split"] not in TAKING:
        ignored.insert(0, f"split {config['split']!r}")
    lines = [f"{source} gives the split" + ", and valid is drawn from its train part at random" * drawn]
    if config["train_rows_per_user"] and not config["refit"]:
        lines.append(f"of the train part each user keeps {config['train_rows_per_user']} rows (train_rows_per_user)")
    log.info("; ".join([*lines, f"{', '.join(ignored[:-1])} and {ignored[-1]} are ignored"]))


# --- what is refused ---


def _refuse(path: Path, row: int, what: str) -> NoReturn:
    raise ValueError(f"{path} line {line_of(path, row)}: {what}")


def _refuse_unknown_titles(path: Path, table: pd.DataFrame, subject_ids: pd.Series) -> None:
    unknown = np.flatnonzero(~table["subject_id"].isin(subject_ids))
    if len(unknown):
        title = table["subject_id"].iloc[unknown[0]]
        _refuse(
            path,
            int(unknown[0]),
            f"anime.tsv has no title {on_one_line(title)!r} ({len(unknown):,} such rows); add a line for it there, so "
            "that the split stays whole, or draw another split with --split user_time, which leaves these rows out",
        )


def _refuse_two_parts(path: Path, table: pd.DataFrame) -> None:
    rows = np.flatnonzero(table.duplicated(["user_id", "subject_id"], keep=False))
    again = table.iloc[rows]
    first = pd.Series(rows, again.index).groupby([again["user_id"], again["subject_id"]]).transform("first").to_numpy()
    codes = table[COLUMN].to_numpy()
    clash = np.flatnonzero(codes[rows] != codes[first])
    if len(clash):
        row, before = int(rows[clash[0]]), int(first[clash[0]])
        user, title = (on_one_line(table[column].iloc[row]) for column in ("user_id", "subject_id"))
        _refuse(
            path,
            row,
            f"user {user!r} and title {title!r} are {_in_part(codes[row])} here and {_in_part(codes[before])} on line "
            f"{line_of(path, before)}; a pair is in one part only, so delete one of the lines",
        )


def _refuse_warm_titles(path: Path, table: pd.DataFrame) -> None:
    codes, titles = table[COLUMN].to_numpy(), table["subject_id"]
    in_train = codes == PARTS.index("train")
    is_cold = np.isin(codes, [PARTS.index("cold_valid"), PARTS.index("cold_test")])
    warm = np.flatnonzero(is_cold & titles.isin(titles[in_train].unique()).to_numpy())
    if len(warm):
        row = int(warm[0])
        train = line_of(path, int(np.flatnonzero(in_train & (titles == titles.iloc[row]).to_numpy())[0]))
        _refuse(
            path,
            row,
            f"title {on_one_line(titles.iloc[row])!r} is in the part {NAMES[codes[row]]}, but line {train} has it in "
            "train; the cold parts are of titles without a train row, so write valid or test here",
        )


def _in_part(code: int) -> str:
    return f"in the part {NAMES[code]}" if NAMES[code] else "in no part"
