"""Delimited files, in folders and archives: recognised by first bytes, read in chunks of text, errors by line."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

import numpy as np
import pandas as pd

from dataset.numbers import HOW, to_numbers
from dataset.tables import PACKED, first_lines, on_one_line, open_text, whole_rows
from importers.common import CHUNK, ENTRY_COLUMNS, MORE_TITLE_COLUMNS, TITLE_COLUMNS, files_in
from importers.json_rows import JSON, JsonRows
from importers.scores import written_rate
from runtime.encodings import encoding_of
from runtime.packings import archive_of, head_of

HEAD = 8192  # bytes that a file is recognised by
SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE)  # Excel's first line
NO_VALUE = ("", "nan", "na", "n/a", "null", "none", "\\n", "unknown")  # in lower case; \\N is that of databases


class Sheet(NamedTuple):
    """A delimited file and how it is written."""

    path: Path  # of a file, or of one in an archive: ml-1m.zip/ml-1m/ratings.dat
    delimiter: str = ","
    quoted: bool = True
    encoding: str = ""  # where there is no mark; "" for that of --encoding, or UTF-8
    names: tuple[str, ...] = ()  # of the columns, where the file has no header


# --- which files ---


def sibling_sheet(path: Path, *names: str) -> Path | None:
    """Return the first file of these names in the folder of path, or in the same folder of its archive."""
    known = {bare_name(file): file for file in files_in(archive_of(path) or path.parent) if file.parent == path.parent}
    return next((known[name] for name in names if name in known), None)


def bare_name(path: Path) -> str:
    """Return the name of a file in lower case, without the ending of a packing."""
    name = path.name.lower()
    return next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)


def head(path: Path, encoding: str = "", delimiter: str = ",") -> str:
    """Return what the first HEAD bytes of a file say; "" for a binary or damaged one."""
    raw = head_of(path, HEAD, delimiter)
    encoding = encoding_of(raw, encoding)
    is_binary = b"\0" in raw and not encoding.startswith(("utf-16", "utf-32"))
    return "" if is_binary else raw.decode(encoding, errors="replace")


def first_rows(sheet: Sheet, n: int = 1) -> list[list[str]]:
    """Return up to n first rows, without blank lines, as far as the head of the file reaches."""
    text = head(sheet.path, sheet.encoding, _one(sheet.delimiter))
    try:
        rows = [[cell.strip() for cell in row] for row in _rows(sheet, io.StringIO(text, newline="")) if row]
    except csv.Error:
        return []
    is_cut = len(head_of(sheet.path, HEAD, _one(sheet.delimiter))) == HEAD
    return rows[: len(rows) - is_cut][:n]


def header(sheet: Sheet) -> list[str]:
    """Return the names of the columns; none for an empty or binary file."""
    return list(sheet.names) or next(iter(first_rows(sheet)), [])


# --- reading ---


def open_any(path: Path, encoding: str = "", delimiter: str = ",") -> AbstractContextManager[TextIO]:
    """Open a text file, packed or not, or one in an archive; see dataset.tables.open_text."""
    return open_text(path, encoding, delimiter)


def check_columns(sheet: Sheet, columns: Iterable[str], expected: str) -> list[str]:
    """Return the header, which must name these columns.

    Args:
        expected: what the file should be, for the error.

    Raises:
        ValueError: it does not.
    """
    names = header(sheet)
    missing = [column for column in columns if column not in names]
    if missing:
        raise ValueError(
            f"{sheet.path} line 1: no column {', '.join(missing)} "
            f"(found: {on_one_line(', '.join(names)) or 'nothing'}); give {expected}"
        )
    return names


def read(sheet: Sheet, columns: Iterable[str], expected: str) -> Iterator[pd.DataFrame]:
    """Read columns in chunks of CHUNK rows as stripped text; the index counts rows from 0, blank lines left out.

    Raises:
        ValueError: as of check_columns; there are no rows; or one has not as many fields as the header.
    """
    columns = list(dict.fromkeys(columns))
    names = check_columns(sheet, columns, expected)
    n_rows = 0
    with open_any(sheet.path, sheet.encoding, _one(sheet.delimiter)) as file:
        rows = islice(whole_rows(sheet.path, _rows(sheet, file, strict=True), len(names)), not sheet.names, None)
        while (cells := _columns(rows, [names.index(column) for column in columns]))[0]:
            index = range(n_rows, n_rows + len(cells[0]))
            yield pd.DataFrame(dict(zip(columns, cells, strict=True)), dtype=object, index=index)
            n_rows = index.stop
    if not n_rows:
        raise ValueError(f"{sheet.path}: no rows; give {expected}")


def _columns(rows: Iterator[list[str]], positions: list[int]) -> list[list[str]]:
    """Turn up to CHUNK rows into columns."""
    columns: list[list[str]] = [[] for _ in positions]
    # few rows at a time: lists by the hundred thousand halve the speed, as the garbage collector walks them
    for _ in range(-(-CHUNK // 250)):
        by_column = list(zip(*islice(rows, 250), strict=True))
        if not by_column:
            break
        for column, position in zip(columns, positions, strict=True):
            column.extend(map(str.strip, by_column[position]))
    return columns


def _rows(sheet: Sheet, lines: Iterable[str], strict: bool = False) -> Any:
    """Open a csv reader, which takes a delimiter of one character only: "::" becomes a tab."""
    if sheet.delimiter == JSON:
        return JsonRows(lines, sheet.path, sheet.names)
    delimiter, lines = sheet.delimiter, iter(lines)
    if len(delimiter) > 1:
        delimiter, lines = _one(delimiter), (line.replace(sheet.delimiter, "\t") for line in lines)
    elif first := list(islice(lines, 1)):
        delimiter, first[0] = _as_saved_again(delimiter, first[0])
        lines = chain(first, lines)
    quoting = csv.QUOTE_MINIMAL if sheet.quoted else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=strict)


def delimiter_of(sheet: Sheet) -> str:
    """Return the delimiter that a sheet has, which may not be the one of its format."""
    return _as_saved_again(sheet.delimiter, next(iter(head(sheet.path, sheet.encoding).splitlines()), ""))[0]


def _as_saved_again(delimiter: str, line: str) -> tuple[str, str]:
    """Return the delimiter of a file and its first line, empty where it only names the delimiter.

    Excel writes a CSV with semicolons in many countries, its "Unicode text" with tabs, and reads a first line "sep=;".
    """
    if named := SEPARATOR.fullmatch(line):
        return named[1], "\n"
    widths = {other: len(next(csv.reader([line[:HEAD]], delimiter=other), [])) for other in (delimiter, *";\t")}
    return (max(widths, key=widths.__getitem__) if delimiter == "," else delimiter), line


def _one(delimiter: str) -> str:
    return delimiter if len(delimiter) == 1 else "\t"


# --- cells ---


def rates(sheet: Sheet, cells: pd.Series, least: float = -np.inf) -> np.ndarray:
    """Read rates (n,), 0 for what says unrated: nothing, NULL or a number below the least of the scale.

    Raises:
        ValueError: a cell is no number; the message has its line.
    """
    codes, kinds = pd.factorize(cells)
    plain = ["0" if kind.casefold() in NO_VALUE else kind for kind in kinds]
    for place in np.flatnonzero(~np.isfinite(to_numbers(pd.Series(plain, dtype=object)))):
        plain[place] = written_rate(plain[place])
    values = to_numbers(pd.Series(plain, dtype=object))
    bad = np.flatnonzero(~np.isfinite(values)[codes])
    if len(bad):
        bad_row(sheet, int(cells.index[bad[0]]), f"the rate {cells.iloc[bad[0]]!r} is not a number ({HOW})")
    return np.where(values < least, 0, values)[codes]


def parsed(sheet: Sheet, cells: pd.Series, parse: Callable[[str], Any]) -> list[Any]:
    """Parse each cell; the ValueError of one that cannot be gets its line."""
    made = []
    for row, cell in cells.items():
        try:
            made.append(parse(cell))
        except ValueError as error:
            bad_row(sheet, int(row), str(error))
    return made


def bad_row(sheet: Sheet, row: int, what: str) -> NoReturn:
    """Raise with the line of row number `row` (from 0)."""
    raise ValueError(f"{sheet.path} line {line_of_row(sheet, row)}: {what}; fix or delete that line")


def line_of_row(sheet: Sheet, row: int) -> int:
    """Return the line on which row number `row` (from 0) starts; fields may hold line breaks."""
    with open_any(sheet.path, sheet.encoding, _one(sheet.delimiter)) as file:
        return next(islice(first_lines(_rows(sheet, file)), row + (not sheet.names), None))


def mapped(cells: Any, meanings: dict[Any, str]) -> np.ndarray:
    """Replace each cell by its meaning, "" for one without (n,)."""
    codes, kinds = pd.factorize(cells)
    return np.array([meanings.get(kind, "") for kind in kinds], dtype=object)[codes]


# --- tables ---


def entries(**columns: Any) -> pd.DataFrame:
    """Make a chunk of ENTRY_COLUMNS; what is not given is empty, and unrated."""
    return _table({"rate": 0.0, **columns}, ENTRY_COLUMNS)


def titles(tags: Iterable[Iterable[str]], **columns: Any) -> pd.DataFrame:
    """Make a chunk of TITLE_COLUMNS and of what is given of MORE_TITLE_COLUMNS; what is not given is empty."""
    names = (*TITLE_COLUMNS, *(name for name in MORE_TITLE_COLUMNS if name in columns))
    return _table({"tags_name": [_as_json(of_one) for of_one in tags], **columns}, names)


def _table(given: dict[str, Any], columns: tuple[str, ...]) -> pd.DataFrame:
    index = range(len(given["subject_id"]))
    cells = {name: given.get(name, "") for name in columns}
    cells = {name: of_one.to_numpy() if isinstance(of_one, pd.Series) else of_one for name, of_one in cells.items()}
    return pd.DataFrame(
        {
            name: pd.Series(of_one, index=index, dtype=float if name == "rate" else object)
            for name, of_one in cells.items()
        }
    )


def _as_json(tags: Iterable[str]) -> str:
    known: dict[str, str] = {}
    for tag in map(str.strip, tags):
        known.setdefault(tag.casefold(), tag)
    return json.dumps([tag for key, tag in known.items() if key not in NO_VALUE], ensure_ascii=False)
