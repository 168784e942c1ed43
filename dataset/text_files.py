"""A split in LightGCN's text format: train.txt, test.txt and perhaps valid.txt, lines of "user item item ..."."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.splits import PARTS
from dataset.tables import TEXT_FILES, existing_file, find_file, on_one_line, open_text
from dataset.times import SECONDS

log = logging.getLogger("aglrec")

VALID_FILE = "valid.txt"
# lines of user, item and weight are told by this
HIGHEST_WEIGHT, MOST_WEIGHTS, ENOUGH = 10, 21, 5
NAME_OF_USER, NAME_OF_ITEM = r"u|uid|users?[-_]?(id)?|user:token", r"i|iid|items?[-_]?(id)?|item:token"


def is_text_folder(folder: Path) -> bool:
    """Tell whether a data folder is in the text format; an interactions.tsv outranks it."""
    return not find_file(folder, "interactions.tsv") and any(find_file(folder, name) for name in TEXT_FILES)


def read_text_files(
    folder: Path, subject_ids: pd.Series | None = None, kind: str = "auto"
) -> tuple[pd.DataFrame, dict[str, int], list[str], list[str]]:
    """Read train.txt, test.txt and, if it is there, valid.txt: one row a distinct pair, and counts of what was dropped.

    Args:
        folder: of the data.
        subject_ids: of anime.tsv, if the folder has one: the items, in its order.
        kind: of the lines, as the setting text_lines has it.

    Returns:
        A table with user and item (row numbers) and part (index into PARTS), the counts, raw_user_ids and raw_item_ids.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged or without pairs, an item is not in anime.tsv, or,
            where there is a valid.txt, a pair is in two files.
    """
    names = (TEXT_FILES[0], VALID_FILE, TEXT_FILES[1]) if find_file(folder, VALID_FILE) else TEXT_FILES
    found = pd.concat([_read_lines(existing_file(folder, name), kind) for name in names], ignore_index=True)
    pairs = found.dropna().astype({"line": int, "part": int})  # an empty file has columns of no type
    raw_user_ids = _in_order(found["user"].unique().tolist())
    raw_item_ids = _in_order(pairs["item"].unique().tolist()) if subject_ids is None else subject_ids.tolist()
    rows = pairs.assign(
        user=pd.Index(raw_user_ids).get_indexer(pairs["user"]), item=pd.Index(raw_item_ids).get_indexer(pairs["item"])
    )
    unknown = np.flatnonzero(rows["item"] < 0)
    if len(unknown):
        pair = pairs.iloc[unknown[0]]
        raise ValueError(
            f"{existing_file(folder, _file_of(pair.part))} line {pair.line}: anime.tsv has no title "
            f"{on_one_line(pair['item'])!r}; add a line for it there, or take anime.tsv away to do without texts"
        )
    rows = rows.drop_duplicates(["user", "item", "part"])
    # train comes first, so of a pair in both files it is the one in test that goes
    known = rows.duplicated(["user", "item"])
    if VALID_FILE in names and known.any():
        _refuse_two_parts(folder, rows, int(np.flatnonzero(known)[0]), raw_user_ids, raw_item_ids)
    dropped = {"repeated pairs": len(pairs) - len(rows), "test pairs that train has": int(known.sum())}
    if any(dropped.values()):
        log.warning(
            f"{' and '.join(names)}: of {len(pairs):,} pairs, dropped "
            + ", ".join(f"{count:,} {name}" for name, count in dropped.items() if count)
        )
    rows = rows[~known]
    for name in TEXT_FILES:
        if not (rows["part"] == PARTS.index(name.removesuffix(".txt"))).any():
            raise ValueError(
                f"{existing_file(folder, name)} has no pair{' that train.txt lacks' * (name == 'test.txt')}; "
                "write a user and their items on each line, separated by spaces"
            )
    return rows, {"rows": len(pairs), **dropped}, raw_user_ids, raw_item_ids


def kind_of_lines(lines: list[list[str]]) -> str:
    """Tell what lines, each as its words, are: "items", "triples" or, where both are possible, "either".

    Triples are "user item weight" of a single pair, as SELFRec writes them. Then each line has three words, the last a
    number, few of which differ or all of which are small; and users have several lines. In LightGCN's they have one.
    Lines that end with a time, "user item time" or "user item weight time", are read as triples too.
    """
    if end_with_times(lines):
        return "triples"
    if not lines or not all(len(words) == 3 and _is_number(words[2]) for words in lines):
        return "items"
    n_users, kinds = len({words[0] for words in lines}), {float(words[2]) for words in lines}
    are_few = len(kinds) == 1 or len(kinds) <= min(MOST_WEIGHTS, len(lines) // 2)
    are_small = all(0 <= weight <= HIGHEST_WEIGHT for weight in kinds)
    if are_few and len(lines) > n_users or are_small and len(lines) >= 2 * n_users:
        return "triples"
    return "either" if are_few and len(lines) >= ENOUGH else "items"


def end_with_times(lines: list[list[str]]) -> bool:
    """Tell whether all lines are user, item and time, or user, item, weight and time: no item's number is so large."""
    if not lines or len(lines[0]) not in (3, 4) or len({len(words) for words in lines}) > 1:
        return False
    are_numbers = all(_is_number(word) for words in lines for word in words[2:])
    are_times = are_numbers and all(float(words[-1]) >= SECONDS[0] for words in lines)
    return are_times and not any(_is_number(item) and float(item) >= SECONDS[0] for _, item, *_ in lines)


def without_header(numbered: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leave out a first line, (its number, its words), that only names the columns, such as "user item weight"."""
    first = numbered[0][1][:2] if numbered else []
    is_header = len(first) == 2 and all(map(re.fullmatch, (NAME_OF_USER, NAME_OF_ITEM), map(str.casefold, first)))
    return numbered[1:] if is_header else numbered


def check_triples(path: Path, numbered: list[tuple[int, list[str]]]) -> None:
    """Raise ValueError unless every line of a file, (its number, its words), is a user, an item and a weight.

    A time may follow, on all lines.
    """
    n_words = 4 if end_with_times([words for _, words in numbered]) else 3
    for number, words in numbered:
        if len(words) not in (3, n_words) or not _is_number(words[2]):
            what = f"{len(words)} words" if len(words) != 3 else f"the weight {on_one_line(words[2])!r}"
            raise ValueError(
                f"{path} line {number}: {what} where there should be user, item and weight, as in train.txt; fix or "
                "delete that line"
            )


def doubt_about(path: Path) -> str:
    """Say that lines were taken for a user and two items, and how to have them read as triples."""
    return (
        f"{path}: every line has three words, and few of the last ones differ; they are taken for a user and two "
        "items. If they are user, item and weight, as SELFRec writes them, add --text_lines triples"
    )


def _is_number(word: str) -> bool:
    try:
        return np.isfinite(float(word))
    except ValueError:
        return False


def _read_lines(path: Path, kind: str) -> pd.DataFrame:
    """Read a file into a row a pair, with its line and part; the item of a user without any is NaN."""
    with open_text(path) as file:
        numbered = without_header([(number, words) for number, text in enumerate(file, 1) if (words := text.split())])
    if kind == "triples":
        check_triples(path, numbered)
        numbered = [(number, words[:2]) for number, words in numbered if float(words[2])]
    elif kind == "auto":
        found = kind_of_lines([words for _, words in numbered])
        if found == "triples":
            raise ValueError(
                f"{path} line {numbered[0][0]}: the lines look like user, item and weight, as SELFRec writes them, or "
                "time, not like a user and all their items; add --text_lines triples to read them as that (weights "
                "other than 0 then count alike), or --text_lines items; or make a data folder of it with "
                "tools/convert.py auto, where weights are rates, and times are kept"
            )
        if found == "either" and path.name.startswith("train."):
            log.warning(doubt_about(path))
    columns = {
        "user": [words[0] for _, words in numbered],
        "item": [words[1:] for _, words in numbered],
        "line": [number for number, _ in numbered],
    }
    return pd.DataFrame(columns).explode("item").assign(part=PARTS.index(path.name.split(".")[0]))


def _in_order(ids: list[str]) -> list[str]:
    """Sort ids by number if all are integers, else leave them as they are."""
    return sorted(ids, key=int) if all(re.fullmatch("-?[0-9]{1,18}", raw) for raw in ids) else ids


def _file_of(part: int) -> str:
    return f"{PARTS[part]}.txt"


def _refuse_two_parts(folder: Path, rows: pd.DataFrame, row: int, users: list[str], items: list[str]) -> None:
    here = rows.iloc[row]
    before = rows[(rows["user"] == here.user) & (rows["item"] == here["item"])].iloc[0]
    raise ValueError(
        f"{existing_file(folder, _file_of(here.part))} line {here.line}: user {on_one_line(users[here.user])!r} and "
        f"title {on_one_line(items[here['item']])!r} are here and on line {before.line} of {_file_of(before.part)}; a "
        "pair is in one part only, so delete it from one of the files"
    )
