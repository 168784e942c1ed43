"""What a file is packed in, told by its first bytes whatever it is called, and what is in it as plain bytes.

KINDS says which first bytes mean what. A path may lead into an archive: ml.zip/ml-1m/ratings.dat, list.xlsx/Sheet1.csv.
Nothing is unpacked to a name of its own, and no more is unpacked than safe_files.max_unpacked_bytes allows.
"""

import bz2
import gzip
import io
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from runtime import archives, workbooks
from runtime.archives import Container
from runtime.safe_files import Refused, in_sentences, max_unpacked_bytes, too_large

HEAD = 512  # bytes that tell a kind
DEPTH = 5  # packings within packings
BUFFER = 2**17
IN_MEMORY = 2**24  # bytes of a packed archive; more of them wait in a temporary file


class Kind(NamedTuple):
    """A kind of file that is no text: how it starts, and how what is in it is had."""

    name: str  # as in "not a whole gzip file"
    start: bytes  # a regular expression
    stream: Callable[[BinaryIO], BinaryIO] | None = None  # of a file packed by itself
    container: Callable[..., Container] | None = None  # of several files or sheets
    remedy: str = ""  # where it is not read

    def begins(self, head: bytes) -> bool:
        """Tell by the first HEAD bytes of a file whether it is one."""
        return re.match(self.start, head, re.DOTALL) is not None


UNPACK = "unpack it and give what is in it"
AS_TABLE = "save the table as CSV, or as .xlsx"
EXPORT = "write the table as CSV with the program that made it"
NO_DATA = "give the table or list itself"
KINDS = (
    Kind("gzip file", rb"\x1f\x8b", stream=gzip.open),
    Kind("bz2 file", rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", stream=bz2.open),
    Kind("xz file", rb"\xfd7zXZ\x00", stream=archives.open_xz),
    Kind("zst file", rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", stream=archives.open_zst),
    Kind("zip", rb"PK(\x03\x04|\x05\x06|\x07\x08)", container=workbooks.zip_or_workbook),
    Kind("tar file", rb".{257}ustar", container=archives.Tar),
    Kind("parquet file", rb"PAR1[\x00-\x08\x0b\x0c\x0e-\x1f]", container=workbooks.Parquet),
    Kind("SQLite database", rb"SQLite format 3\x00", remedy="write the table as CSV: sqlite3 -csv -header FILE 'SELECT"
         " * FROM TABLE' > ratings.csv"),
    Kind("Excel workbook of the old form (.xls) or other Office file", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
         remedy=AS_TABLE),
    Kind("RAR archive", rb"Rar!\x1a\x07", remedy=UNPACK),
    Kind("7z archive", rb"7z\xbc\xaf\x27\x1c", remedy=UNPACK),
    Kind("lz4 file", rb"\x04\x22\x4d\x18", remedy=UNPACK),
    Kind(".Z file", rb"\x1f[\x9d\xa0]", remedy=UNPACK),
    Kind("lzma file", rb"\x5d\x00\x00.{2}", remedy=UNPACK),
    Kind("Feather or Arrow file", rb"ARROW1\x00|FEA1[\x00-\x1f]", remedy=EXPORT),
    Kind("ORC file", rb"ORC[\x00-\x1f]", remedy=EXPORT),
    Kind("Avro file", rb"Obj\x01", remedy=EXPORT),
    Kind("HDF5 file", rb"\x89HDF\r\n\x1a\n", remedy=EXPORT),
    Kind("NumPy array", rb"\x93NUMPY", remedy=EXPORT),
    Kind("pickle, and to read one is to run what is in it", rb"\x80[\x02-\x05]", remedy=EXPORT),
    Kind("Stata file", rb"<stata_dta>", remedy=EXPORT),
    Kind("web page", rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)[\s>])",
         remedy="save the export itself, logged in if need be, or a table as CSV"),
    Kind("PDF", rb"%PDF-", remedy=NO_DATA),
    Kind("picture", rb"\x89PNG\r\n|\xff\xd8\xff[\xc0-\xff]|GIF8[79]a|RIFF.{4}WEBP", remedy=NO_DATA),
)  # fmt: skip


def kind_of(head: bytes) -> Kind | None:
    """Tell what a file is by its first HEAD bytes; None where it can be text."""
    return next((kind for kind in KINDS if kind.begins(head)), None)


def archive_of(path: Path) -> Path | None:
    """Return the file into which a path leads; None where it does not."""
    return None if path.exists() else next((parent for parent in path.parents if parent.is_file()), None)


def is_there(path: Path) -> bool:
    """Tell whether a path is a file, or leads into one that has such a member."""
    archive = archive_of(path)
    return path.is_file() if archive is None else path in (members(archive) or ())


def members(path: Path) -> list[Path] | None:
    """Return the files of an archive or the sheets of a workbook, as paths; None of any other file.

    Raises:
        ValueError: it is damaged, a bomb, or of a kind that is not read.
    """
    names = _names(path, _version(path)) if path.is_file() else None
    return None if names is None else [path / name for name in names]


@contextmanager
def open_unpacked(path: Path, delimiter: str = ",") -> Iterator[io.BufferedReader]:
    """Open what is in a file, however it is packed; a file of an archive that has one only need not be named.

    Args:
        path: of a file, or into an archive.
        delimiter: between the fields of the text that a workbook becomes.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, a bomb, of a kind that is not read, or there are several
            files in it; some of this only while it is read.
    """
    archive = archive_of(path)
    with ExitStack() as stack:
        opening = _Opening(stack, path, archive or path)
        name = path.relative_to(archive).as_posix() if archive else ""
        stream, container = opening.peeled(stack.enter_context((archive or path).open("rb")))
        for _ in range(DEPTH):
            if container is None:
                break
            stream, container = opening.peeled(opening.member(container, name, delimiter))
            name = ""
        if container is not None or name:
            raise Refused(f"{path}: no file that can be read; {UNPACK}")
        yield stream


def head_of(path: Path, size: int, delimiter: str = ",") -> bytes:
    """Return up to size first bytes of what open_unpacked opens; b"" where that fails."""
    if not (archive_of(path) or path).is_file():
        return b""
    return _head(path, size, delimiter, _version(archive_of(path) or path))


@lru_cache(maxsize=256)  # of a workbook or a tar file each look costs a pass over it
def _head(path: Path, size: int, delimiter: str, version: Any) -> bytes:
    try:
        with open_unpacked(path, delimiter) as file:
            return file.read(size)
    except (OSError, ValueError):
        return b""


@lru_cache(maxsize=64)
def _names(path: Path, version: Any) -> tuple[str, ...] | None:
    with ExitStack() as stack:
        _, container = _Opening(stack, path, path).peeled(stack.enter_context(path.open("rb")))
        return None if container is None else tuple(container.names)


def _version(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


# --- packings within packings ---


class _Opening:
    """The opening of one file: what has to be closed, how much may be unpacked, and how it is called."""

    def __init__(self, stack: ExitStack, path: Path, whole: Path) -> None:
        self.stack, self.path, self.whole = stack, path, whole
        self.most = max_unpacked_bytes(whole.stat().st_size)

    def peeled(self, stream: io.BufferedReader) -> tuple[BinaryIO, Container | None]:
        """Unpack until plain bytes come, or a container."""
        for _ in range(DEPTH):
            kind = kind_of(stream.peek(HEAD)[:HEAD])
            if kind is None:
                return stream, None
            if kind.remedy:
                raise Refused(f"{self.path}: a kind of file that is not read ({kind.name}); {kind.remedy}")
            with in_sentences(self.path, kind.name):
                if kind.container:
                    container = kind.container(self._seekable(stream), self.path, self.most)
                    self.stack.callback(container.close)
                    return stream, container
                stream = self._bounded(kind.stream(stream), kind.name)
        raise Refused(f"{self.path}: packed more than {DEPTH} times; {UNPACK}")

    def member(self, container: Container, name: str, delimiter: str) -> io.BufferedReader:
        """Open a file of a container, the only one where none is named."""
        names = container.names
        if name and name not in names:
            raise FileNotFoundError(f"{self.path} is missing: {self.whole.name} holds no such file")
        if not name and len(names) != 1:
            some = f" ({', '.join(names[:3])}{', ...' * (len(names) > 3)})" if names else ""
            raise Refused(
                f"{self.path} holds {len(names):,} files or sheets{some} where one is wanted; leave only that one in it"
            )
        with in_sentences(self.path, container.kind):
            return self._bounded(container.open(name or names[0], delimiter), container.kind)

    def _bounded(self, stream: BinaryIO, kind: str) -> io.BufferedReader:
        return io.BufferedReader(_Bounded(stream, self.path, kind, self.most), BUFFER)

    def _seekable(self, stream: io.BufferedReader) -> BinaryIO:
        """Return what can be read from any place: a file as it lies on the disk, else a copy of what is unpacked."""
        if isinstance(stream.raw, io.FileIO):
            return stream
        copy = self.stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
        while block := stream.read(BUFFER):
            copy.write(block)
        copy.seek(0)
        return copy


class _Bounded(io.RawIOBase):
    """A stream of unpacked bytes that ends in a sentence where they are too many for the file, or damaged."""

    def __init__(self, stream: BinaryIO, path: Path, kind: str, most: int) -> None:
        self.stream, self.path, self.kind, self.left = stream, path, kind, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        filled = 0
        with in_sentences(self.path, self.kind):
            # as much as there is room for, so that a peek sees enough
            while filled < len(buffer) and (block := self.stream.read(len(buffer) - filled)):
                buffer[filled : filled + len(block)] = block
                filled += len(block)
        self.left -= filled
        if self.left < 0:
            raise Refused(too_large(self.path))
        return filled
