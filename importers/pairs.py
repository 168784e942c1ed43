"""Pairs of a user and a title in any CSV or TSV: its columns are given, or go by usual names, or stand in an order."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dataset.splits import PARTS
from dataset.tables import on_one_line
from dataset.tags import parse_tags
from importers import kaggle, movielens, recbole
from importers.columns import COLUMNS, entries_by, titles_by
from importers.common import Files, Format, Options
from importers.layout import PAIR, delimiter_of, layout_of, told
from importers.sheets import Sheet, bare_name, files_in, first_rows

ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".tab", ".data", ".inter")
DESCRIBING = {"name", "tags_name", "summary"}
OTHERS = (*kaggle.FORMATS, *movielens.FORMATS, *recbole.FORMATS)


def find(source: Path) -> Files | None:
    """Find tables of pairs and tables that describe titles; what another format knows is left to it.

    A single table may have any header, since options may say what it means; those in a folder must have usual names.
    """
    files = [path for path in files_in(source) if delimiter_of(path)]
    if any(other.find(source) for other in OTHERS):
        return None
    if len(files) == 1 and not source.is_dir():
        has = set(layout_of(files[0], {}).columns)
        return Files(() if has & DESCRIBING and not has >= PAIR else tuple(files), tuple(files))
    held = {path: set(layout_of(path, {}).columns) for path in files if bare_name(path).endswith(ENDINGS)}
    found = Files(
        tuple(path for path, has in held.items() if has >= PAIR),
        tuple(path for path, has in held.items() if "subject_id" in has and has & DESCRIBING),
    )
    return found if any(found) else None


def read_lists(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read pairs, with what else is known of them."""
    sheet, columns = _checked(path, options, ("subject_id",) if options.user else ("user_id", "subject_id"))
    yield from entries_by(columns, sheet, "a table of pairs, or name its columns", counts, options.user)


def read_titles(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read titles; nothing of a table that tells no more of them than their ids."""
    if DESCRIBING & set(layout_of(path, options.columns).columns):
        sheet, columns = _checked(path, options, ("subject_id",))
        yield from titles_by(columns, sheet, parse_tags, "a table of titles, or name its columns")


def tell(path: Path, options: Options) -> list[str]:
    """Say which columns of a table are taken for what, and that a split by files is none by rows."""
    layout = layout_of(path, options.columns)
    name = bare_name(path).partition(".")[0]
    is_part = name in PARTS and set(layout.columns) >= PAIR and "part" not in layout.columns
    merged = f"{path.name}: its rows are merged with all others; to keep them apart give each a column part ({name})"
    return told(path, layout) + [merged] * is_part


def _checked(path: Path, options: Options, needed: tuple[str, ...]) -> tuple[Sheet, dict[str, str]]:
    """Return how a table is written and which of its columns holds what; all that is needed must be found."""
    unknown = sorted(set(options.columns) - set(COLUMNS))
    if unknown:
        raise ValueError(f"there is no column {', '.join(unknown)} to be named; name any of: {', '.join(COLUMNS)}")
    sheet, columns, why = layout_of(path, options.columns)
    if options.user and "name" in columns and "rate" in columns:  # the list of one, by name
        columns.setdefault("subject_id", columns["name"])
    missing = [ours for ours in needed if ours not in columns]
    if missing:
        found = on_one_line(", ".join(sheet.names or next(iter(first_rows(sheet)), ["nothing"])))
        raise ValueError(
            f"{path} line 1: {why + '; ' * bool(why)}which column is the {' and the '.join(missing)}? "
            f"(found: {found}); say so with --columns {','.join(f'{ours}=NAME' for ours in missing)}, where NAME is a "
            "number if there is no header"
        )
    return sheet, columns


FORMATS = (
    Format(
        "pairs",
        "any CSV or TSV of users and titles; --columns tells what its columns hold",
        find,
        read_lists,
        read_titles,
        tell=tell,
        takes="rates of any scale (0 is unrated, below 0 a dislike, 8.5/10 is of 10), times, comments; usual names of "
        "columns, or --columns; the list of one: --user",
    ),
)
