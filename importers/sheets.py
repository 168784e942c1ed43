"""Delimited files, in folders and zips: recognised by their first bytes, read in chunks of text, errors by line."""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

import numpy as np
import pandas as pd

from dataset.tables import first_lines, on_one_line, open_text, whole_rows
from importers.common import CHUNK, ENTRY_COLUMNS, TITLE_COLUMNS
from runtime.safe_files import check_zip

HEAD = 8192  # bytes that a file is recognised by
# RuntimeError is what zipfile says of a password, NotImplementedError of a rare way of packing
DAMAGED = (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError)
NO_VALUE = ("", "nan", "na", "n/a", "null", "none", "\\n", "unknown")  # in lower case; \\N is that of databases


class Sheet(NamedTuple):
    """A delimited file and how it is written."""

    path: Path  # of a file, or of one in a zip: ml-1m.zip/ml-1m/ratings.dat
    delimiter: str = ","
    quoted: bool = True
    encoding: str = "utf-8-sig"
    names: tuple[str, ...] = ()  # of the columns, where the file has no header


# --- which files ---


def files_in(source: Path) -> list[Path]:
    """Name the files of a zip, none of a damaged one, or of a folder and the folders in it, or the file itself."""
    if source.is_dir():
        return sorted(path for pattern in ("*", "*/*") for path in source.glob(pattern) if path.is_file())
    if not _is_zip(source):
        return [source]
    try:
        with zipfile.ZipFile(source) as archive:
            return sorted(source / name for name in archive.namelist() if not name.endswith("/"))
    except zipfile.BadZipFile:
        return []


def sibling_sheet(path: Path, *names: str) -> Path | None:
    """Return the first file of these names in the folder of path, or in the same folder of its zip."""
    known = {bare_name(file): file for file in files_in(_zip_of(path) or path.parent) if file.parent == path.parent}
    return next((known[name] for name in names if name in known), None)


def bare_name(path: Path) -> str:
    """Return the name of a file in lower case, without .gz."""
    return path.name.lower().removesuffix(".gz")


def head(path: Path, encoding: str = "utf-8-sig") -> str:
    """Return what the first HEAD bytes of a file say; "" for a binary or damaged one."""
    archive = _zip_of(path)
    try:
        if archive:
            with zipfile.ZipFile(archive) as opened, opened.open(_member(archive, path)) as file:
                raw = file.read(HEAD)
        else:
            with path.open("rb") as file:
                raw = file.read(HEAD)
        if raw.startswith(b"\x1f\x8b"):
            raw = zlib.decompressobj(wbits=31).decompress(raw, HEAD)
    except DAMAGED:
        return ""
    return "" if b"\0" in raw else raw.decode(encoding, errors="replace")


def first_rows(sheet: Sheet, n: int = 1) -> list[list[str]]:
    """Return up to n first rows, without blank lines, as far as the head of the file reaches."""
    text = head(sheet.path, sheet.encoding)
    try:
        rows = [[cell.strip() for cell in row] for row in _rows(sheet, io.StringIO(text, newline="")) if row]
    except csv.Error:
        return []
    is_cut = len(text.encode()) >= HEAD - 3  # 3 bytes may have been a mark of UTF-8
    return rows[: len(rows) - is_cut][:n]


def header(sheet: Sheet) -> list[str]:
    """Return the names of the columns; none for an empty or binary file."""
    return list(sheet.names) or next(iter(first_rows(sheet)), [])


# --- reading ---


@contextmanager
def open_any(path: Path, encoding: str = "utf-8-sig") -> Iterator[TextIO]:
    """Open a text file, gzip or not, or one in a zip.

    Raises:
        FileNotFoundError, ValueError: it is missing, cut off, or of another encoding.
    """
    archive = _zip_of(path)
    if not archive:
        with open_text(path, encoding) as text:
            yield text
        return
    try:
        check_zip(archive)
        with zipfile.ZipFile(archive) as opened, opened.open(_member(archive, path)) as file:
            yield io.TextIOWrapper(file, encoding=encoding, newline="")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not {encoding} ({error.reason}); save the file as UTF-8") from None
    except DAMAGED as error:
        raise ValueError(f"{path}: cannot be unpacked ({error}); unpack the zip first, or download it again") from None


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
    with open_any(sheet.path, sheet.encoding) as file:
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
    delimiter = sheet.delimiter
    if len(delimiter) > 1:
        lines, delimiter = (line.replace(sheet.delimiter, "\t") for line in lines), "\t"
    quoting = csv.QUOTE_MINIMAL if sheet.quoted else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=strict)


# --- cells ---


def rates(sheet: Sheet, cells: pd.Series, least: float = -np.inf) -> np.ndarray:
    """Read rates (n,), 0 for what says unrated: nothing, NULL or a number below the least of the scale.

    Raises:
        ValueError: a cell is no number; the message has its line.
    """
    codes, kinds = pd.factorize(cells)
    kinds = pd.Series(["0" if kind.casefold() in NO_VALUE else kind for kind in kinds], dtype=object)
    values = pd.to_numeric(kinds, errors="coerce").to_numpy(float)
    bad = np.flatnonzero(~np.isfinite(values)[codes])
    if len(bad):
        bad_row(sheet, int(cells.index[bad[0]]), f"the rate {cells.iloc[bad[0]]!r} is not a number")
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
    with open_any(sheet.path, sheet.encoding) as file:
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
    """Make a chunk of TITLE_COLUMNS; what is not given is empty."""
    return _table({"tags_name": [_as_json(of_one) for of_one in tags], **columns}, TITLE_COLUMNS)


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


# --- zips ---


def _is_zip(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _zip_of(path: Path) -> Path | None:
    """Return the zip that a path leads into."""
    return None if path.exists() else next((parent for parent in path.parents if _is_zip(parent)), None)


def _member(archive: Path, path: Path) -> str:
    return path.relative_to(archive).as_posix()
