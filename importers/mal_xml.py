"""The elements of a list in MyAnimeList's XML, of a file that a program wrote badly too."""

import io
import re
from pathlib import Path

from dataset.tables import open_bytes
from importers.broken_text import mended_xml
from runtime.encodings import SEEN, encoding_of

Elements = list[tuple[str, dict[str, str]]]
TAGS = ("myinfo", "anime", "manga")
# encodings that are believed of a stranger's file: Python knows some that take for ever
OF_FILES = re.compile(r"(utf|gb|big5|shift|sjis|euc|ks|iso|cp|windows|latin|ascii|us-ascii|koi8)[\w-]*", re.IGNORECASE)


class NoXml(ValueError):
    """A file is not well-formed."""


def elements(path: Path) -> tuple[Elements, int]:
    """Read (tag, {tag of a child: its text}) of TAGS, in the order of the file.

    A child that stands in a comment counts where there is no other: some programs write titles so.

    Returns:
        The elements, and at how many places the file was no XML and had to be mended.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged beyond that, or dangerous.
    """
    with open_bytes(path) as file:
        content = file.read()
    text = _text(content)
    try:
        return _parsed(path, content if text is None else text.encode()), 0
    except NoXml:
        mended, n_mended = mended_xml(text or "")
        if not n_mended:
            raise
    return _parsed(path, mended.encode()), n_mended


def _text(content: bytes) -> str | None:
    """Return the text of a file without its declaration; None if it is not in the encoding that it names.

    What was saved again may name another encoding than it has; expat, which parses it, knows a few only.
    """
    named = re.search(rb"""<\?xml[^>]*encoding=["']([\w.-]+)["']""", content[:200])
    encoding = encoding_of(content[:SEEN], named[1].decode() if named else "")
    if not OF_FILES.fullmatch(encoding):
        return None
    try:
        return re.sub(r"^(\s*)<\?xml.*?\?>", r"\1", content.decode(encoding).removeprefix("\ufeff"))
    except (LookupError, UnicodeError):
        return None


def _parsed(path: Path, content: bytes) -> Elements:
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import ParseError, iterparse
    except ImportError:
        raise ValueError(f"{path}: XML is read with defusedxml, which is missing; run pip install defusedxml") from None
    found: Elements = []
    hidden: dict[str, str] = {}
    try:
        for event, element in iterparse(io.BytesIO(content), events=("comment", "end"), forbid_dtd=True):
            if event == "comment":
                child = re.fullmatch(r"\s*<(\w+)>(.*)</\1>\s*", element.text or "", re.DOTALL)
                hidden |= {child[1]: child[2].strip()} if child else {}
            elif element.tag in TAGS:
                found.append(
                    (element.tag, hidden | {child.tag: "".join(child.itertext()).strip() for child in element})
                )
                element.clear()
                hidden = {}
    except ParseError as error:
        raise NoXml(
            f"{path} line {error.position[0]}: no XML of a list ({error}); the file is cut off, "
            "edited or not in the encoding it names, export it again"
        ) from None
    except DefusedXmlException:
        raise ValueError(f"{path}: declares entities or a DTD, which no export does; export it again") from None
    except (LookupError, ValueError) as error:  # expat does not know the encoding
        raise NoXml(
            f"{path} line 1: no XML of a list ({error}); it is not in the encoding it names, export it again"
        ) from None
    return found
