"""Bytes packed in every way that is read."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from importlib import import_module

import pytest

from runtime.archives import ZSTD


def in_zip(name: str = "data/table.csv", **more: bytes) -> Callable[[bytes], bytes]:
    """Return what packs bytes into a zip as macOS does it, and perhaps further files."""

    def packed(content: bytes) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data/", b"")
            archive.writestr(name, content)
            archive.writestr("__MACOSX/data/._table.csv", b"\0\5\x16\7Mac OS X")
            archive.writestr("data/.DS_Store", b"\0\0\0\1Bud1")
            for other, held in more.items():
                archive.writestr(other, held)
        return made.getvalue()

    return packed


def in_tar(mode: str, name: str = "./data/table.csv") -> Callable[[bytes], bytes]:
    def packed(content: bytes) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode=f"w:{mode}") as archive:
            link = tarfile.TarInfo("link.csv")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        return made.getvalue()

    return packed


def in_zst(content: bytes) -> bytes:
    for name in ZSTD:
        try:
            return import_module(name).compress(content)
        except ModuleNotFoundError:
            continue
    pytest.skip(f"none of {', '.join(ZSTD)} is there")


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gz": gzip.compress,
    "gz in two parts": lambda content: gzip.compress(content[:9]) + gzip.compress(content[9:]),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "xz in two parts": lambda content: lzma.compress(content[:9]) + bytes(4) + lzma.compress(content[9:]),
    "zst": in_zst,
    "zip": in_zip(),
    "tar": in_tar(""),
    "tar.gz": in_tar("gz"),
    "tar.bz2": in_tar("bz2"),
    "tar.xz": in_tar("xz"),
    "gz in zip": lambda content: in_zip("table.csv.gz")(gzip.compress(content)),
    "zip in xz": lambda content: lzma.compress(in_zip()(content)),
}
