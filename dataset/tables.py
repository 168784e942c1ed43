"""Delimited files -> tables of text: opened packed or not, every row checked to be whole, errors named by line."""

import codecs
import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import pandas as pd

from dataset.parquet import ENDING, column_names, is_parquet, read_columns
from runtime.encodings import SEEN, decoded, encoding_of, undecodable
from runtime.packings import open_unpacked

# endings that a packed file may have; how it is packed its first bytes tell
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
BLOCK, CHUNK = 2**20, 2**18  # bytes that are checked, rows that are parsed at a time
# of what people have before they make a data folder
OF_OTHER_FORMS = (".csv", ".json", ".jsonl", ".xml", ".xml.gz", ".xlsx", ".inter", ".dat", ".zip")
TEXT_FILES = ("train.txt", "test.txt")  # which both must be there; valid.txt may be


def find_file(folder: Path, name: str) -> Path | None:
    """Return the path of a file, or of the first of its PACKED forms, or of a table as parquet; None without any."""
    names = [f"{name}{ending}" for ending in ("", *PACKED)]
    if name.endswith(".tsv"):
        names.append(Path(name).with_suffix(ENDING).name)
    return next((path for path in (folder / name for name in names) if path.exists()), None)


def existing_file(folder: Path, name: str) -> Path:
    """Return what find_file does.

    Raises:
        FileNotFoundError: there is neither.
    """
    path = find_file(folder, name)
    if path is None and not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; --data_dir names the one that holds the data")
    if path is None:
        more = ", which must hold both train.txt and test.txt" if name in TEXT_FILES else ""
        other = next((file.name for file in sorted(folder.iterdir()) if file.name.lower().endswith(OF_OTHER_FORMS)), "")
        if not more and other:
            more = f"; of {other} and its like tools/convert.py makes one"
        raise FileNotFoundError(
            f"{folder / name} is missing (nor is there {name}.gz or the like); --data_dir names its folder{more}"
        )
    return path


def read_table(
    folder: Path, name: str, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[Path, pd.DataFrame]:
    """Read the named columns of a TSV file (or its .gz) as stripped text; see table_chunks."""
    path = existing_file(folder, name)
    table = pd.concat(table_chunks(path, columns, optional), ignore_index=True)
    return path, table.apply(lambda column: column.str.strip())


def table_chunks(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[pd.DataFrame]:
    """Yield the named columns of a TSV file as text, some rows at a time, in memory that does not grow with the file.

    Args:
        path: as of existing_file.
        columns: that it has to have.
        optional: that it may have.

    Raises:
        ValueError: it is damaged, empty, without a column, or a row is not whole; before that, rows may have come.
    """
    before, n_rows = path.stat(), 0
    try:
        for chunk in _parsed(path, columns, optional):
            n_rows += len(chunk)
            yield chunk
    except pd.errors.ParserError as error:
        raise ValueError(
            f"{path}: {error}; a field that holds a tab, a line break or starts with a quote must stand "
            "in double quotes, quotes inside it doubled"
        ) from None
    finally:
        after = path.stat()
        if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, after.st_size, after.st_ino):
            raise ValueError(f"{path} was written to while it was read; give the command again once it is whole")
    if not n_rows:
        raise ValueError(f"{path} has a header but no rows; put data below it")


def _parsed(path: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[pd.DataFrame]:
    if is_parquet(path):
        names = column_names(path)
        _check_header(path, names, columns)
        yield from read_columns(path, [name for name in names if name in (*columns, *optional)], CHUNK)
        return
    with (
        open_text(path) as file,
        pd.read_csv(
            _Source(_checked(path, file, columns)),
            sep="\t",
            dtype=object,
            keep_default_na=False,
            na_filter=False,
            usecols=lambda column: column in (*columns, *optional),
            chunksize=CHUNK,
            low_memory=False,
        ) as chunks,
    ):
        yield from chunks


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
    return filter(None, _rows(path, reader, width))


def _rows(path: Path, reader: Any, width: int = 0, before: int = 0) -> Iterator[list[str]]:
    """Yield what whole_rows does, and empty rows; before are lines of the file before those of the reader."""
    line = before
    try:
        for row in reader:
            width = width or len(row)
            if len(row) not in (0, width):
                raise ValueError(
                    f"{path} line {line + 1}: {len(row)} fields where there should be {width}; quote a field that "
                    "holds the delimiter, and close every double quote that starts a field"
                )
            yield row
            line = before + reader.line_num
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


# --- whole rows at the speed of the disk ---


class _Source:
    """What pandas takes for a file: blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks

    def read(self, size: int = -1) -> bytes:
        """Return a block; a line that it ends by a lone CR is over for pandas only then, not with the next block."""
        block = next(self.blocks, b"")
        return block[:-1] + b"\n" if block.endswith(b"\r") else block


class _Lines:
    """The lines of a block of text, and of those after it where a quoted field goes on there."""

    def __init__(self, block: str, more: Iterator[str]) -> None:
        self.taken, self.more = [block], more
        self.lines = io.StringIO(block, newline="")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.at_end():
            block = next(self.more)
            self.taken.append(block)
            self.lines = io.StringIO(block, newline="")
        return next(self.lines)

    def at_end(self) -> bool:
        return self.lines.tell() == len(self.taken[-1])


def _checked(path: Path, file: TextIO, columns: tuple[str, ...]) -> Iterator[bytes]:
    """Yield a TSV file in blocks once the rows of each are known to be whole.

    The csv module reads the header, and the blocks that have quoted fields, empty lines, or something wrong.
    """
    blocks, width, n_lines = _blocks_of_lines(file), 0, 0
    for block in blocks:
        raw = block.encode()
        if width and _is_plain(raw, width):
            n_lines += raw.count(b"\n")
            yield raw
            continue
        lines = _Lines(block, blocks)
        reader = _tsv_reader(lines)
        for row in _rows(path, reader, width, n_lines):
            if row and not width:
                _check_header(path, row, columns)
                width = len(row)
            if lines.at_end():
                break
        n_lines += reader.line_num
        yield "".join(lines.taken).encode()
    if not width:
        _check_header(path, None, columns)


def _blocks_of_lines(file: TextIO) -> Iterator[str]:
    """Yield a text in blocks of whole lines, decoded at once: a text file itself takes it in by 8 KiB."""
    decoder, pieces, raw = codecs.getincrementaldecoder(file.encoding)(), [], b"-"
    while raw:
        raw = file.buffer.read(BLOCK)
        text = decoder.decode(raw, not raw)
        # the last character may be the first one of \r\n
        end = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1 if raw else len(text)
        if block := "".join([*pieces, text[:end]]) if end or not raw else "":
            yield block
            pieces = []
        pieces.append(text[end:])


def _is_plain(raw: bytes, width: int) -> bool:
    """Tell whether each line is a row of so many fields, with no field in quotes."""
    starts_quoted = raw.startswith(b'"') or b'\t"' in raw or b'\n"' in raw
    if starts_quoted or width < 2 or b"\0" in raw or raw.count(b"\r") != raw.count(b"\r\n"):
        return False
    marks = np.frombuffer(raw, np.uint8)
    ends, tabs = np.flatnonzero(marks == ord("\n")), np.flatnonzero(marks == ord("\t"))
    if not raw.endswith(b"\n"):
        ends = np.append(ends, len(raw))
    if len(tabs) != len(ends) * (width - 1):
        return False
    tabs = tabs.reshape(len(ends), width - 1)
    return bool((tabs[:, -1] < ends).all() and (tabs[1:, 0] > ends[:-1]).all())


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
