"""Delimited files -> tables of text: opened packed or not, every row checked to be whole, errors named by line."""

import csv
import io
import re
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pandas as pd

from runtime.encodings import SEEN, decoded, encoding_of, undecodable
from runtime.packings import open_unpacked

# endings that a packed file may have; how it is packed its first bytes tell
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
TEXT_FILES = ("train.txt", "test.txt")  # which both must be there; valid.txt may be


def find_file(folder: Path, name: str) -> Path | None:
    """Return the path of a file, or of the first of its PACKED forms; None if there is none."""
    return next((path for path in (folder / f"{name}{ending}" for ending in ("", *PACKED)) if path.exists()), None)


def existing_file(folder: Path, name: str) -> Path:
    """Return what find_file does.

    Raises:
        FileNotFoundError: there is neither.
    """
    path = find_file(folder, name)
    if path is None and not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; --data_dir names the one that holds the data")
    if path is None:
        both = ", which must hold both train.txt and test.txt" if name in TEXT_FILES else ""
        raise FileNotFoundError(
            f"{folder / name} is missing (nor is there {name}.gz or the like); --data_dir names its folder{both}"
        )
    return path


def read_table(
    folder: Path, name: str, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[Path, pd.DataFrame]:
    """Read the named columns of a TSV file (or its .gz) as stripped text.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, empty, without a column, or a row is not whole.
    """
    path = existing_file(folder, name)
    before = path.stat()
    try:
        with open_text(path) as file:
            rows = whole_rows(path, _tsv_reader(file))
            _check_header(path, next(rows, None), columns)
            deque(rows, maxlen=0)
        with open_text(path) as file:
            table = pd.read_csv(
                file,
                sep="\t",
                dtype=object,
                keep_default_na=False,
                na_filter=False,
                usecols=lambda column: column in (*columns, *optional),
            )
    except pd.errors.ParserError as error:
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


def _check_header(path: Path, header: list[str] | None, columns: tuple[str, ...]) -> None:
    if header is None:
        raise ValueError(f"{path} is empty; it needs a header line: {', '.join(columns)}")
    missing = [column for column in columns if column not in header]
    if missing and len(header) == 1 and len(parts := re.split("[,;]", header[0])) > 1:
        raise ValueError(
            f"{path} line 1: {len(parts)} columns separated by {header[0][len(parts[0])]!r}, not by tab; "
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


# --- rows and their lines ---


def whole_rows(path: Path, reader: Any, width: int = 0) -> Iterator[list[str]]:
    """Yield the rows of a csv reader but empty lines, each of as many fields as the first or, if given, as width.

    Raises:
        ValueError: a row has more or fewer, or is no CSV.
    """
    line = 0
    try:
        for row in reader:
            width = width or len(row)
            if len(row) not in (0, width):
                raise ValueError(
                    f"{path} line {line + 1}: {len(row)} fields where there should be {width}; quote a field that "
                    "holds the delimiter, and close every double quote that starts a field"
                )
            if row:
                yield row
            line = reader.line_num
    except csv.Error as error:
        raise ValueError(
            f"{path} line {line + 1}: {error}; a double quote that starts a field must be closed at "
            "its end, and quotes inside it doubled"
        ) from None


def first_lines(reader: Any) -> Iterator[int]:
    """Yield the line on which each row of a csv reader starts, the header's first; empty lines are no rows."""
    before = 0
    for fields in reader:
        if fields:
            yield before + 1
        before = reader.line_num


def row_lines(path: Path) -> Iterator[int]:
    """Yield the line on which each data row of a TSV file starts."""
    with open_text(path) as file:
        yield from islice(first_lines(_tsv_reader(file)), 1, None)


def line_of(path: Path, row: int) -> int:
    """Return the line on which a data row, counted from 0, starts."""
    return next(islice(row_lines(path), row, None))


def on_one_line(text: str, most: int = 99) -> str:
    """Return the start of what a file holds for an error, without line ends and tabs."""
    return " ".join(text.split())[:most]


def _tsv_reader(file: TextIO) -> Any:
    csv.field_size_limit(2**31 - 1)
    return csv.reader(file, delimiter="\t", strict=True)


# --- opening ---


@contextmanager
def open_text(path: Path, encoding: str = "", delimiter: str = "\t") -> Iterator[TextIO]:
    """Open a text file, packed or not, in the encoding that its first bytes tell.

    Args:
        path: of a file, or into an archive.
        encoding: that is known where there is no mark; "" for the one of --encoding, or UTF-8.
        delimiter: of the text that a workbook becomes.

    Raises:
        FileNotFoundError, ValueError: as of open_unpacked, or it is of another encoding.
    """
    try:
        with open_unpacked(path, delimiter) as file:
            encoding = encoding_of(file.peek(SEEN)[:SEEN], encoding)
            yield io.TextIOWrapper(file, encoding=encoding, newline="")
    except UnicodeDecodeError:
        with open_unpacked(path, delimiter) as file:
            raise undecodable(path, file, encoding) from None


def open_bytes(path: Path) -> AbstractContextManager[BinaryIO]:
    """Open what is in a file as bytes; see packings.open_unpacked."""
    return open_unpacked(path)


def read_text(path: Path) -> str:
    """Read a text file whole, packed or not, in any encoding that open_text reads."""
    with open_text(path) as file:
        return file.read()


def read_input(name: str) -> str:
    """Read a file, or standard input if it is called -, as read_text does."""
    return decoded(sys.stdin.buffer.read(), "standard input") if name == "-" else read_text(Path(name))
