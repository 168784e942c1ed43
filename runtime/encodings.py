"""Bytes -> text: in which encoding a file is, by its first bytes, and what is said of one that cannot be read so."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import BinaryIO

UTF_8 = "utf-8-sig"
# the marks that editors, Excel and PowerShell put first; UTF-32's begins as UTF-16's does
MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# which of the first four bytes are zeros where two characters of ASCII, or one, come first without a mark
ZEROS = {
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
}
# what text is in that is not UTF-8 and has no mark, the likeliest first; GBK is a part of GB18030
LIKELY = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1252")
SHOWN = 12  # characters of each reading
SEEN = 2**16  # bytes that are looked at
FEW = 4  # characters that are UTF-8 by chance
_named: ContextVar[str] = ContextVar("encoding named by --encoding", default="")


@contextmanager
def unmarked_text_in(encoding: str) -> Iterator[None]:
    """Read files without a mark in an encoding, as --encoding names it; "" is UTF-8."""
    token = _named.set(encoding)
    try:
        yield
    finally:
        _named.reset(token)


def encoding_of(start: bytes, known: str = "") -> str:
    """Tell the encoding of text: by its mark, else the one that is known, else by zeros, --encoding or UTF-8.

    Args:
        start: the first bytes, SEEN of them where there are so many.
        known: what a reader knows of its format; "" for nothing.
    """
    marked = next((name for mark, name in MARKS if start.startswith(mark)), "")
    found = marked or known or ZEROS.get(tuple(byte == 0 for byte in start[:4]), "")
    return found or ("" if _is_surely_utf_8(start) else _named.get()) or UTF_8


def _is_surely_utf_8(start: bytes) -> bool:
    """Tell whether bytes hold more than a few characters as UTF-8 alone writes them: files of a folder may differ."""
    text, _ = codecs.utf_8_decode(start, "replace")
    return "\ufffd" not in text and sum(letter > "\x7f" for letter in text) > FEW


def decoded(raw: bytes, name: str) -> str:
    """Decode a whole text.

    Args:
        raw: its bytes.
        name: of the file, for errors.

    Raises:
        ValueError: it is of another encoding.
    """
    encoding = encoding_of(raw[:SEEN])
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise undecodable(name, io.BytesIO(raw), encoding) from None


def undecodable(name: object, file: BinaryIO, encoding: str) -> ValueError:
    """Make the error of a text that is not in an encoding: its line, how it reads in others, and the remedy.

    Args:
        name: of the file.
        file: the text from its beginning.
        encoding: in which it was to be read.
    """
    called = encoding.upper().removesuffix("-SIG")
    if encoding.startswith(("utf-16", "utf-32")):
        return ValueError(f"{name}: not whole {called}, as which it begins; save it again, as UTF-8")
    first = file.readline()
    lines = enumerate(chain([first], file), 1)
    number, line = next(((number, line) for number, line in lines if not _decodes(line, encoding)), (1, b""))
    if first.startswith(codecs.BOM_UTF8):
        return ValueError(f"{name} line {number}: not {called}, as which it begins; save it again, as UTF-8")
    if b"\0" in line:
        return ValueError(
            f"{name} line {number}: not {called}, and with zeros between, as UTF-16 has them; save it as UTF-8, or "
            "name how it is written with --encoding utf-16-le"
        )
    readings = [f"{other} it reads {shown!r}" for other in LIKELY if (shown := _reading(line, other, encoding))]
    in_others = f" (in {', in '.join(readings)})" if readings else ""
    which = "the one in which it reads right" if readings else "its encoding"
    return ValueError(
        f"{name} line {number}: not {called}{in_others}; save it as UTF-8, or give {which}: --encoding NAME"
    )


def _reading(line: bytes, encoding: str, tried: str) -> str:
    """Return how a line reads from its first letter beyond ASCII on, "" where it does not or has to be guessed."""
    try:
        text = "" if encoding == tried else line.decode(encoding)
    except UnicodeDecodeError:
        return ""
    place = next((place for place, letter in enumerate(text) if letter > "\x7f"), None)
    shown = "" if place is None else " ".join(text[max(place - 2, 0) :][:SHOWN].split())
    return shown if shown.isprintable() else ""


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
