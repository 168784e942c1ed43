"""How a table of pairs is laid out: its delimiter, whether it has a header, which column holds what, and why.

Without a header the cells tell a rate from a time. Nothing in numbers tells users from titles: there are data with
more users than titles and with fewer, and either may be sorted. So the usual order, users first, is assumed and told,
unless the ids themselves say otherwise.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dataset.tables import on_one_line
from importers.columns import COLUMNS, guess, is_index
from importers.sheets import NO_VALUE, Sheet, first_rows, head

DELIMITERS = ("\t", ",", ";", "|", "::", " ")
PAIR = {"user_id", "subject_id"}
SAMPLE = 1_000  # rows, as far as the head of a file reaches
COUNTED = 5  # rows that count from 0 or 1 before a column without a name is taken for numbers of rows
HIGHEST_RATE, EARLIEST = 100, 1_000
ZERO = re.compile(r"0(\.0*)?")
DATE = re.compile(r"\d{4}[-/.年]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\w{3,9} \d{1,2},? \d{4}")
ORDERS = {
    2: (("user_id", "subject_id"),),
    3: (("user_id", "subject_id", "rate"), ("user_id", "subject_id", "updated_at")),
    4: (("user_id", "subject_id", "rate", "updated_at"), ("user_id", "subject_id", "updated_at", "rate")),
}
USERS = re.compile(r"(u|usr|user|member|customer|reviewer)[_-]?\d+", re.IGNORECASE)
TITLES = re.compile(
    r"(i|m|b|p|itm|item|movie|film|anime|book|product|game|song|title)[_-]?\d+|tt\d{5,}|B0[0-9A-Z]{8}", re.IGNORECASE
)


class Layout(NamedTuple):
    """How a table is written, which of its columns (ours -> that of the file) holds what, and what decided that."""

    sheet: Sheet
    columns: dict[str, str]
    why: str = ""  # without a header; or why nothing could be decided


def layout_of(path: Path, given: dict[str, str]) -> Layout:
    """Lay out a table; columns that are given go before all else.

    The first row is the header if it has a given or usual name in it, or no number; else the table has none.
    """
    sheet = Sheet(path, delimiter_of(path) or ",")
    rows = first_rows(sheet, SAMPLE)
    first = rows[0] if rows else []
    numbers = tuple(str(n + 1) for n in range(len(first)))
    is_named = bool(guess(first, {}, COLUMNS)) or not any(map(is_number, first)) or is_index(first[0]) and len(rows) > 1
    # a first row that is no header may hold a 1 or 2 itself
    by_number = bool(given) and set(given.values()) <= set(numbers) - (set(first) if is_named else set())
    if not by_number and (is_named or set(given.values()) & set(first)):
        return Layout(sheet, guess(first, given, COLUMNS))
    sheet = sheet._replace(names=numbers)
    if given:
        return Layout(sheet, given, "there is no header, and --columns names the columns by number")
    return Layout(sheet, *_in_order(rows))


def told(path: Path, layout: Layout) -> list[str]:
    """Say which columns are taken for what, which are left out, and how one of these could be taken."""
    sheet, columns, why = layout
    if "subject_id" not in columns:
        return []  # an error will say so
    names = list(sheet.names) or next(iter(first_rows(sheet)), [])
    rows = [row for row in first_rows(sheet, SAMPLE)[not sheet.names :] if len(row) == len(names)]
    cells = {name: [row[place] for row in rows] for place, name in reversed([*enumerate(names)])}
    by_theirs: dict[str, list[str]] = {}
    for ours, theirs in columns.items():
        by_theirs.setdefault(theirs, []).append(ours)
    taken = ", ".join(
        f"{_named(theirs, sheet)} is {' and '.join(ours)}"
        + " (0 is unrated)" * ("rate" in ours and any(map(ZERO.fullmatch, cells.get(theirs, []))))
        for theirs, ours in by_theirs.items()
    )
    left = [name for name in names if name not in by_theirs]
    left_out = f"; left out: {', '.join(_named(name, sheet) for name in left)}" * bool(left)
    lines = [f"{path.name}: {taken}{left_out}{f' ({why})' if why else ''}"]
    if "user_id" in columns:
        lines += _hints(sheet, {name: cells[name] for name in left if not is_index(name)}, columns)
    return [on_one_line(line, 600) for line in lines]


def _named(column: str, sheet: Sheet) -> str:
    if sheet.names:
        return f"column {column}"
    return on_one_line(column) if column else "the column without a name"


def _hints(sheet: Sheet, left: dict[str, list[str]], columns: dict[str, str]) -> list[str]:
    """Name the left columns (name -> cells) that look like rates or times, where no column is taken for these."""
    lines = []
    for ours, what, looks in (("rate", "rates", _are_rates), ("updated_at", "times", _are_times)):
        alike = [name for name, cells in left.items() if ours not in columns and "," not in name and looks(cells)]
        lines += [
            f"{sheet.path.name}: {_named(name, sheet)} looks like {what}, and no column of a usual name holds them; if "
            f"it does, add --columns {shlex.quote(f'{ours}={name}')}"
            for name in alike[:3]
        ]
    return lines


# --- without a header ---


def _in_order(rows: list[list[str]]) -> tuple[dict[str, str], str]:
    """Tell what the columns of a table without a header hold; nothing, and why, if that cannot be decided."""
    columns = [list(cells) for cells in zip(*rows, strict=False)]
    counted = (
        len(rows) >= COUNTED
        and [*map(str, range(len(rows)))] == columns[0]
        or (len(rows) >= COUNTED and [*map(str, range(1, len(rows) + 1))] == columns[0])
    )
    orders = [order for order in ORDERS.get(len(columns), ()) if _fits(order, columns)]
    if counted:
        orders += [("", *order) for order in ORDERS.get(len(columns) - 1, ()) if _fits(order, columns[1:])]
    if len(orders) > 1:
        either = " or as ".join(f"({', '.join(name or 'number of the row' for name in order)})" for order in orders)
        return {}, f"there is no header, and the columns can be read as {either}"
    if not orders:
        return {}, f"there is no header, and the first row is {on_one_line(', '.join(rows[0]) if rows else '')}"
    order, skipped = [name for name in orders[0] if name], len(orders[0]) - len([name for name in orders[0] if name])
    found = {ours: str(n + skipped + 1) for n, ours in enumerate(order)}
    users, titles = columns[skipped], columns[skipped + 1]
    if (
        _look_like(TITLES, users)
        and not _look_like(TITLES, titles)
        or (_look_like(USERS, titles) and not _look_like(USERS, users))
    ):
        found["user_id"], found["subject_id"] = found["subject_id"], found["user_id"]
        return found, f"there is no header, and ids such as {users[0]} and {titles[0]} look like titles and users"
    swapped = ",".join(
        f"{ours}={found[{'user_id': 'subject_id', 'subject_id': 'user_id'}.get(ours, ours)]}" for ours in found
    )
    why = ["there is no header, so the usual order is taken, users before titles"]
    if skipped:
        why.append("the first column numbers the rows")
    if not _look_like(USERS, users) and not _look_like(TITLES, titles):
        why.append(f"nothing in the file tells users from titles: if these come first, add --columns {swapped}")
    if not skipped and len(columns) > 2 and rows[0] == [*map(str, range(len(columns)))]:
        why.append(f"line 1 is {', '.join(rows[0])}: delete it if pandas wrote it for want of names")
    return found, "; ".join(why)


def _fits(order: tuple[str, ...], columns: list[list[str]]) -> bool:
    looks = {"rate": _are_rates, "updated_at": _are_times}
    return all(looks[ours](cells) for ours, cells in zip(order, columns, strict=True) if ours in looks)


def _are_rates(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell.casefold() not in NO_VALUE]
    numbers = pd.to_numeric(pd.Series(filled, dtype=object), errors="coerce")
    # ids and counters go on and on, rates come again
    few = len(filled) < 20 or numbers.nunique() <= max(21, len(filled) / 4)
    return bool(filled) and bool((numbers.abs() <= HIGHEST_RATE).all()) and few


def _are_times(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell.casefold() not in NO_VALUE]
    numbers = pd.to_numeric(pd.Series(filled, dtype=object), errors="coerce")
    return bool(filled) and (bool((numbers >= EARLIEST).all()) or all(DATE.match(cell) is not None for cell in filled))


def _look_like(shape: re.Pattern[str], cells: list[str]) -> bool:
    return bool(cells) and all(shape.fullmatch(cell) for cell in cells)


# --- how it is written ---


def delimiter_of(path: Path) -> str:
    """Return the delimiter that makes the most fields, as many in the second row as in the first; "" if none does.

    Spaces part numbers only, and as many in every row, since they are in any text.
    """
    if head(path).lstrip().startswith(("{", "[", "<")):  # JSON, XML
        return ""
    found = {delimiter: first_rows(Sheet(path, delimiter), 2) for delimiter in DELIMITERS[:-1]}
    fitting = {delimiter: len(rows[0]) for delimiter, rows in found.items() if len({len(row) for row in rows}) == 1}
    best = max(fitting, key=fitting.__getitem__, default="")
    if fitting.get(best, 0) > 1:
        return best
    # a damaged second row is told when it is read
    named = [delimiter for delimiter, rows in found.items() if rows and set(guess(rows[0], {}, COLUMNS)) >= PAIR]
    if named:
        return named[0]
    rows = first_rows(Sheet(path, " "), SAMPLE)
    is_spaced = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    return " " if is_spaced and all(map(is_number, (cell for row in rows for cell in row))) else ""


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number without an exponent, written with a point or a comma."""
    return re.fullmatch(r"-?\d*[.,]?\d*", cell) is not None and any(map(str.isdecimal, cell))
