"""Tables that are no text, as text: the sheets of Excel's workbooks, and parquet; a row becomes a line of CSV."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from runtime.archives import Zip
from runtime.safe_files import Refused, in_sentences

ROWS = 2**14  # of a parquet file at once
WHOLE = 2**53  # below which a float that is a whole number is exact
OTHER_OFFICE = {
    "xl/workbook.bin": "binary Excel workbook (.xlsb)",
    "word/document.xml": "Word document",
    "ppt/presentation.xml": "PowerPoint presentation",
    "content.xml": "OpenDocument file",
    "Index/Document.iwa": "Numbers or Pages document",
}


def zip_or_workbook(file: BinaryIO, path: Path, most: int) -> "Zip | Workbook":
    """Open a zip, or the workbook that it is; one of another program is refused."""
    archive = Zip(zipfile.ZipFile(file), path, most)
    if "xl/workbook.xml" in archive.names:
        with in_sentences(path, Workbook.kind):
            return Workbook(file, path)
    for name, what in OTHER_OFFICE.items():
        if name in archive.names and (name != "content.xml" or "META-INF/manifest.xml" in archive.names):
            raise Refused(f"{path}: a {what}; save the table as CSV, or as .xlsx")
    return archive


class Workbook:
    """The sheets of an .xlsx that hold anything, each as a CSV of its name."""

    kind = "Excel workbook"

    def __init__(self, file: BinaryIO, path: Path) -> None:
        openpyxl = needed("openpyxl", path, "save its sheet as CSV")
        file.seek(0)
        self.book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        self.sheets = {f"{sheet.title.replace('/', '_')}.csv": sheet for sheet in self.book.worksheets}
        self.names = [name for name, sheet in self.sheets.items() if any(map(any, _cells(sheet)))]

    def open(self, name: str, delimiter: str) -> BinaryIO:
        """Open a sheet as text."""
        return _as_text(map(as_texts, _cells(self.sheets[name])), delimiter)

    def close(self) -> None:
        """Let go of the file."""
        self.book.close()


class Parquet:
    """The one table of a parquet file."""

    kind = "parquet file"
    names = ["table.csv"]

    def __init__(self, file: BinaryIO, path: Path, most: int) -> None:
        needed("pyarrow", path, "write it as CSV with the program that made it")
        import pyarrow.parquet as pq

        self.file = pq.ParquetFile(file)

    def open(self, name: str, delimiter: str) -> BinaryIO:
        """Open a sheet as text."""
        return _as_text(self._rows(), delimiter)

    def _rows(self) -> Iterator[list[str]]:
        yield self.file.schema_arrow.names
        for batch in self.file.iter_batches(ROWS):
            yield from map(as_texts, zip(*(column.to_pylist() for column in batch.columns), strict=True))

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


def needed(package: str, path: Path, otherwise: str) -> Any:
    """Import a package that is needed only for some files, or refuse the file with what to do."""
    if find_spec(package) is None:
        raise Refused(f"{path} is read with {package}, which is missing; pip install {package}, or {otherwise}")
    return __import__(package)


def _cells(sheet: Any) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # which some programs write wrong
    return sheet.iter_rows(values_only=True)


def as_texts(cells: Iterable[Any]) -> list[str]:
    """Write cells as a CSV would have them."""
    return [cell if type(cell) is str else _text(cell) for cell in cells]


def _text(cell: Any) -> str:
    """Write a cell as a CSV would have it: whole numbers without a point, times as in ISO 8601."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < WHOLE:
        return str(int(cell))
    if isinstance(cell, datetime):
        midnight = cell.time() == time() and cell.tzinfo is None
        return (cell.date() if midnight else cell).isoformat()
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return str(cell)


def _as_text(rows: Iterable[list[str]], delimiter: str) -> BinaryIO:
    return io.BufferedReader(_Lines(iter(rows), delimiter))


class _Lines(io.RawIOBase):
    """Rows as lines of text, as wide as the header; an empty row is an empty line, so that line n is row n."""

    def __init__(self, rows: Iterator[list[str]], delimiter: str) -> None:
        self.rows, self.delimiter, self.width, self.left = rows, delimiter, 0, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self.left) < len(buffer):
            text = io.StringIO(newline="")
            writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
            for _, row in zip(range(500), self.rows, strict=False):
                writer.writerow(self._fitted(row))
            if not text.tell():
                break
            self.left += text.getvalue().encode("utf-8", "replace")
        n = min(len(self.left), len(buffer))
        buffer[:n], self.left = self.left[:n], self.left[n:]
        return n

    def _fitted(self, row: list[str]) -> list[str]:
        while row and not row[-1]:
            row.pop()
        self.width = self.width or len(row)
        return row and row + [""] * (self.width - len(row))
