"""Pairs of a user and a title in any CSV or TSV: its columns are given, or go by usual names, or stand in an order."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dataset.readers import parse_tags
from dataset.tables import on_one_line
from importers import kaggle, movielens, recbole
from importers.columns import entries_by, guess, titles_by
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, Files, Format, Options
from importers.sheets import Sheet, bare_name, files_in, first_rows, head

DELIMITERS = "\t,;|"
ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".tab")
# without a header the columns are called 1, 2, 3, ...; if options name none, two to four of them hold these
IN_ORDER = ("user_id", "subject_id", "rate", "updated_at")
PAIR = {"user_id", "subject_id"}
DESCRIBING = {"name", "tags_name", "summary"}
COLUMNS = tuple(dict.fromkeys((*ENTRY_COLUMNS, *TITLE_COLUMNS)))
OTHERS = (*kaggle.FORMATS, *movielens.FORMATS, *recbole.FORMATS)


def find(source: Path) -> Files | None:
    """Find tables of pairs and tables that describe titles; what another format knows is left to it.

    A single table may have any header, since options may say what it means; those in a folder must have usual names.
    """
    files = [path for path in files_in(source) if _delimiter(path)]
    if any(other.find(source) for other in OTHERS):
        return None
    if len(files) == 1 and not source.is_dir():
        has = set(_layout(files[0], {})[1])
        return Files(() if has & DESCRIBING and not has >= PAIR else tuple(files), tuple(files))
    held = {path: set(_layout(path, {})[1]) for path in files if bare_name(path).endswith(ENDINGS)}
    found = Files(
        tuple(path for path, has in held.items() if has >= PAIR),
        tuple(path for path, has in held.items() if "subject_id" in has and has & DESCRIBING),
    )
    return found if any(found) else None


def read_lists(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read pairs, with what else is known of them."""
    sheet, columns = _checked(path, options, ("user_id", "subject_id"))
    yield from entries_by(columns, sheet, "a table of pairs, or name its columns")


def read_titles(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read titles; nothing of a table that tells no more of them than their ids."""
    if DESCRIBING & set(_layout(path, options.columns)[1]):
        sheet, columns = _checked(path, options, ("subject_id",))
        yield from titles_by(columns, sheet, parse_tags, "a table of titles, or name its columns")


def _checked(path: Path, options: Options, needed: tuple[str, ...]) -> tuple[Sheet, dict[str, str]]:
    """Return how a table is written and which of its columns holds what; all that is needed must be found."""
    unknown = sorted(set(options.columns) - set(COLUMNS))
    if unknown:
        raise ValueError(f"there is no column {', '.join(unknown)} to be named; name any of: {', '.join(COLUMNS)}")
    sheet, columns = _layout(path, options.columns)
    missing = [ours for ours in needed if ours not in columns]
    if missing:
        found = on_one_line(", ".join(sheet.names or next(iter(first_rows(sheet)), ["nothing"])))
        raise ValueError(
            f"{path} line 1: which column is the {' and the '.join(missing)}? (found: {found}); "
            f"say so with --columns {','.join(f'{ours}=NAME' for ours in missing)}, where NAME is a number "
            "if there is no header"
        )
    return sheet, columns


def _layout(path: Path, given: dict[str, str]) -> tuple[Sheet, dict[str, str]]:
    """Tell how a table is written, and which of its columns (ours -> that of the file) holds what.

    The first row is the header if it has a given or usual name in it, or no number; else the table has none.
    """
    sheet = Sheet(path, _delimiter(path) or ",")
    first = next(iter(first_rows(sheet)), [])
    numbers = tuple(str(n + 1) for n in range(len(first)))
    by_number = bool(given) and set(given.values()) <= set(numbers) - set(first)
    if not by_number and (
        set(given.values()) & set(first) or guess(first, {}, COLUMNS) or not any(map(_is_number, first))
    ):
        return sheet, guess(first, given, COLUMNS)
    in_order = dict(zip(IN_ORDER, numbers, strict=False)) if 2 <= len(first) <= len(IN_ORDER) else {}
    return sheet._replace(names=numbers), given or in_order


def _delimiter(path: Path) -> str:
    """Return the delimiter that makes the most fields, as many in the second row as in the first; "" if none does."""
    if head(path).lstrip().startswith(("{", "[", "<")):  # JSON, XML
        return ""
    widths = {delimiter: [len(row) for row in first_rows(Sheet(path, delimiter), 2)] for delimiter in DELIMITERS}
    fitting = {delimiter: of_rows[0] for delimiter, of_rows in widths.items() if len(set(of_rows)) == 1}
    best = max(fitting, key=fitting.__getitem__, default="")
    return best if fitting.get(best, 0) > 1 else ""


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).removeprefix("-").isdecimal()


FORMATS = (
    Format(
        "pairs",
        "any CSV or TSV of users and titles; --columns tells what its columns hold",
        find,
        read_lists,
        read_titles,
    ),
)
