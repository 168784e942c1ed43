"""What all importers share: the tables they yield, the statuses they know, and how they open files."""

import gzip
import html
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pandas as pd

# a chunk of rows: who collected what; all text but rate (float, 0 = unrated); updated_at is for readers.parse_times
ENTRY_COLUMNS = ("user_id", "username", "subject_id", "rate", "status", "comment", "updated_at")
# a chunk of titles: name holds every name, joined; tags_name is a JSON list; year an int as text or ""; adult "1" or ""
TITLE_COLUMNS = ("subject_id", "name", "tags_name", "summary", "year", "adult")
# "" is for sources that know no status: collected, one way or another
STATUSES = ("wish", "done", "doing", "on_hold", "dropped", "")
POSITIVE = ("done", "doing", "on_hold", "")
CHUNK = 200_000  # rows


class Options(NamedTuple):
    """What a source cannot say of itself; every one is optional."""

    user: str = ""  # whose list it is, where the source has a single one and no name for him
    columns: dict[str, str] = {}  # of pairs: our column -> that of the file


class Format(NamedTuple):
    """A format: how to tell it, and how to read it.

    find looks at a file, folder or zip and names the files of lists and of titles in it, or None if it is of another
    format; a file with both is named in both. It looks at names and first bytes only. lists and titles yield chunks
    with exactly ENTRY_COLUMNS and TITLE_COLUMNS, in the order of the file and never the whole of a large one; they
    raise ValueError with file, line and remedy. What they must drop themselves they count in the dict they are given,
    under a few words of why.
    """

    name: str
    what: str  # a line for --help
    find: Callable[[Path], "Files | None"]
    lists: Callable[[Path, Options, dict[str, int]], Iterator[pd.DataFrame]] | None
    titles: Callable[[Path, Options, dict[str, int]], Iterator[pd.DataFrame]] | None


class Files(NamedTuple):
    """The files of a source."""

    lists: tuple[Path, ...] = ()
    titles: tuple[Path, ...] = ()


@contextmanager
def open_text(path: Path, encoding: str = "utf-8-sig") -> Iterator[TextIO]:
    """Open a text file, gzip or not as its first bytes say.

    Raises:
        FileNotFoundError, ValueError: it is missing, cut off, or of another encoding.
    """
    try:
        with open(path, "rb") as raw, gzip.open(raw) if is_gzip(path) else raw as file:
            yield io.TextIOWrapper(file, encoding=encoding, newline="")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not {encoding} ({error.reason}); save the file as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error}); download it again") from None


def is_gzip(path: Path) -> bool:
    """Tell gzip by its first bytes, whatever the file is called."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def joined_names(*names: Any) -> str:
    """Join the names a title has in its languages, each once, by " / ": the first is what it is shown by."""
    known: dict[str, str] = {}
    for name in names:
        name = plain(name)
        if name and name.casefold() not in ("unknown", "nan", "none", "null"):
            known.setdefault(name.casefold(), name)
    return " / ".join(known.values())


def plain(text: Any) -> str:
    """Return text without HTML entities and tags, on one line a paragraph; "" for None and NaN."""
    if text is None or text != text:
        return ""
    text = html.unescape(html.unescape(str(text))).replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"<br\s*/?>\s*", "\n", text, flags=re.IGNORECASE)
    text = re.sub(r"</?[a-zA-Z][^<>]{0,200}>", "", text).replace("\0", "")
    return re.sub(r"[ \t\u00a0]+", " ", text).strip()


def year_of(text: Any) -> str:
    """Return the first year from 1900 to 2099 a text names, "" without one."""
    found = re.search(r"(?<!\d)(?:19|20)\d\d(?!\d)", "" if text is None else str(text))
    return found.group() if found else ""
