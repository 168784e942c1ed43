"""Archives whose files are read where they lie, and the packings that Python opens without a bound on memory, or not.

No file of an archive is written to the disk under its name; names that lead out of it are none.
"""

import io
import lzma
import re
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from runtime.safe_files import Refused, too_large

XZ_MEMORY = 2**28  # bytes that an xz file may ask for: xz -9 needs a quarter
ZSTD = ("compression.zstd", "backports.zstd")  # from Python 3.14 on, and before
# what macOS and Windows put beside the files
LEAVINGS = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


class Container(Protocol):
    """An archive, or a workbook of sheets."""

    kind: str  # in a sentence
    names: list[str]

    def open(self, name: str, delimiter: str) -> BinaryIO:
        """Open a member; delimiter is for the text that a sheet becomes."""

    def close(self) -> None:
        """Let go of what it holds."""


class Zip:
    """The files of a zip."""

    kind = "zip"

    def __init__(self, archive: zipfile.ZipFile, path: Path, most: int) -> None:
        self.archive = archive
        self.members = {clean: info for info in archive.infolist() if (clean := member_name(info.filename))}
        self.names = sorted(self.members)
        if sum(info.file_size for info in self.members.values()) > most:
            raise Refused(too_large(path))
        if any(info.flag_bits & 1 for info in self.members.values()):
            raise Refused(f"{path}: the zip has a password; unpack it and give what is in it")

    def open(self, name: str, delimiter: str) -> BinaryIO:
        """Open a file of it."""
        return self.archive.open(self.members[name])

    def close(self) -> None:
        """Let go of the archive."""
        self.archive.close()


class Tar:
    """The plain files of a tar file: no links, and none with holes, which declare more than they hold."""

    kind = "tar file"

    def __init__(self, file: BinaryIO, path: Path, most: int) -> None:
        self.archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
        files = [info for info in self.archive if info.isreg() and not info.issparse()]
        self.members = {clean: info for info in files if (clean := member_name(info.name))}
        self.names = sorted(self.members)

    def open(self, name: str, delimiter: str) -> BinaryIO:
        """Open a file of it."""
        return self.archive.extractfile(self.members[name])

    def close(self) -> None:
        """Let go of the archive."""
        self.archive.close()


def member_name(name: str) -> str:
    """Return the name of a file within an archive, "" for a folder, what a system left there, or a way out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    is_folder = name.endswith(("/", "\\")) or not path.parts
    leads_out = path.is_absolute() or ".." in path.parts or "\0" in name or re.match("[a-zA-Z]:", name)
    if is_folder or leads_out or set(path.parts) & set(LEAVINGS) or path.name.startswith("._"):
        return ""
    return path.as_posix()


# --- packings of one file ---


def open_zst(file: BinaryIO) -> BinaryIO:
    """Open a zst file with Python's own module or its backport."""
    for name in ZSTD:
        try:
            return import_module(name).open(file)
        except ModuleNotFoundError:
            continue
    raise Refused(
        f"{getattr(file, 'name', 'what is packed')}: zst is read with backports.zstd, which is missing; "
        "pip install backports.zstd, or unpack it first: zstd -d FILE"
    )


def open_xz(file: BinaryIO) -> BinaryIO:
    """Open an xz file, which may ask for XZ_MEMORY; lzma.open would give it up to 4 GB."""
    return io.BufferedReader(_Xz(file))


class _Xz(io.RawIOBase):
    """The bytes of xz streams, one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.packed, self.unpacker = file, b"", _unpacker()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self.unpacker.eof:
                self.packed = (self.unpacker.unused_data or self.file.read(io.DEFAULT_BUFFER_SIZE)).lstrip(b"\0")
                if not self.packed and not (follows := self.file.read(io.DEFAULT_BUFFER_SIZE).lstrip(b"\0")):
                    return 0
                self.packed, self.unpacker = self.packed or follows, _unpacker()
            elif self.unpacker.needs_input:
                self.packed = self.packed or self.file.read(io.DEFAULT_BUFFER_SIZE)
                if not self.packed:
                    raise EOFError("it ends early")
            packed, self.packed = self.packed, b""
            if block := self.unpacker.decompress(packed, len(buffer)):
                buffer[: len(block)] = block
                return len(block)


def _unpacker() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
