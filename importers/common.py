"""What all importers share: the tables they yield, the statuses they know, and how they open files."""

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataset.tables import on_one_line, open_text
from dataset.times import year_of as year_of
from runtime.encodings import encoding_of
from runtime.packings import head_of, members

# a chunk of rows: who collected what; all text but rate (float, 0 = unrated); updated_at is for readers.parse_times;
# part is that of a published split (see dataset.given), "" in sources without one
ENTRY_COLUMNS = ("user_id", "username", "subject_id", "rate", "status", "comment", "updated_at", "part")
# a chunk of titles: name holds every name, joined; tags_name is a JSON list; year an int as text or ""; adult "1" or ""
TITLE_COLUMNS = ("subject_id", "name", "tags_name", "summary", "year", "adult")
# which a chunk of titles may have besides: synonyms as a JSON list, type as of kinds.type_of, season as "2014-fall"; ""
# where there is none
MORE_TITLE_COLUMNS = ("synonyms", "type", "season")
# "" is for sources that know no status: collected, one way or another
STATUSES = ("wish", "done", "doing", "on_hold", "dropped", "")
POSITIVE = ("done", "doing", "on_hold", "")
CHUNK = 200_000  # rows
# HTML's elements with or without attributes that have a value: "<harmony/>" and "a <b and b> c" are none
ELEMENT = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|br|center|cite|code|dd|div|dl|dt|em|font|h[1-6]|hr|i|iframe|img|input|li|ol|p|pre|q|"
    r"s|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul|video)"
    r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))*\s*/?>",
    re.IGNORECASE,
)
# innermost first; [mask] is Bangumi's, ~!text!~ AniList's
SPOILER = re.compile(
    r"\[(?P<mark>spoilers?|mask|s)(?:=[^\]\n]*)?\](?P<text>(?:(?!\[(?P=mark)[=\]]).)*?)\[/(?P=mark)\]", re.I | re.DOTALL
)
OPENING, NOTED = r"\[(?:spoilers?|mask)(?:=[^\]\n]*)?\]", re.compile(r"~!(.*?)!~", re.DOTALL)
MARKED = re.compile(r"\[/?(?:spoilers?|mask|s)[=\]]|~!", re.IGNORECASE)


class Options(NamedTuple):
    """What a source cannot say of itself; every one is optional."""

    user: str = ""  # whose list it is, where the source has a single one and does not name its user
    columns: dict[str, str] = {}  # of pairs: our column -> that of the file
    owners: dict[Path, str] = {}  # whose lists files are whose own names do not tell them apart; see owners.told_apart
    text_lines: str = "auto"  # of train.txt: items, triples (user, item, weight), or as they look
    site: str = ""  # whose ids a catalogue of several sites goes by; "" for that which the format names


NO_OPTIONS = Options()


class Format(NamedTuple):
    """A format: how to recognise it, and how to read it.

    find looks at a file, folder or zip and names the files of lists and of titles in it, or None if it is of another
    format; a file with both is named in both. It looks at names and first bytes only. lists and titles yield chunks
    with exactly ENTRY_COLUMNS and TITLE_COLUMNS (perhaps MORE_TITLE_COLUMNS), in the order of the file and never the
    whole of a large one; they raise ValueError with file, line and remedy. What they must drop themselves they count in
    the dict they are given, under a few words of why. relations yields chunks of dataset.relations.COLUMNS, of titles
    that the data have or not, and site_ids chunks of dataset.site_ids.COLUMNS, of
    the files of titles.
    other_ids is for lists whose titles have an id on two sites: subject_id -> the other one.
    lacking is for lists in several files, all of which it is given: user -> what of their list is in none of them.
    remarks is for lists that do not say all about themselves: sentences about what was taken for granted in a file.
    tell is for files whose columns are found by their names: lines that say which was taken for what, and which left.
    """

    name: str
    what: str  # a line for --help
    find: Callable[[Path], "Files | None"]
    lists: Callable[[Path, Options, dict[str, int]], Iterator[pd.DataFrame]] | None
    titles: Callable[[Path, Options, dict[str, int]], Iterator[pd.DataFrame]] | None
    other_ids: Callable[[Path], dict[str, str]] | None = None
    lacking: Callable[[tuple[Path, ...], Options], dict[str, str]] | None = None
    remarks: Callable[[Path, Options], list[str]] | None = None
    tell: Callable[[Path, Options], list[str]] | None = None
    takes: str = ""  # a line for --list: what of rates, times and comments is taken; every format with lists has one
    relations: Callable[[Path, Options, dict[str, int]], Iterator[pd.DataFrame]] | None = None
    site_ids: Callable[[Path, Options, dict[str, int]], Iterator[pd.DataFrame]] | None = None
    site: str = ""  # of a catalogue with ids of several sites: whose ids it goes by if Options name none


class Files(NamedTuple):
    """The files of a source."""

    lists: tuple[Path, ...] = ()
    titles: tuple[Path, ...] = ()
    relations: tuple[Path, ...] = ()


Source = tuple[Format, Files]


def chunks_of(
    read: Callable[[Path, Options, dict[str, int]], Iterator[pd.DataFrame]],
    path: Path,
    options: Options,
    dropped: dict[str, int],
) -> Iterator[pd.DataFrame]:
    """Yield what a Format's lists or titles make of a file.

    Raises:
        ValueError: as they do, and where something is of another kind than the format says, such as a list for a name.
    """
    try:
        yield from read(path, options, dropped)
    except (AttributeError, LookupError, OverflowError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path}: something in it is not as its format says ({type(error).__name__}: {error}); save it again"
        ) from error


def remarks_of(made: Format, path: Path, options: Options) -> list[str]:
    """Return what a Format remarks on a file; raises as chunks_of does."""
    remarks = made.remarks
    return (
        [] if remarks is None else list(chunks_of(lambda path, options, _: remarks(path, options), path, options, {}))
    )


# --- files ---


def first_text(path: Path, size: int = 4096, encoding: str = "") -> str:
    """Return the first bytes of a file, packed or not, as text; "" of what is no readable file."""
    start = head_of(path, size)
    return start.decode(encoding_of(start, encoding), errors="replace")


def files_under(source: Path, wanted: Callable[[Path], bool]) -> tuple[Path, ...]:
    """Return the wanted files: of files_in, in order of name."""
    return tuple(path for path in files_in(source) if wanted(path))


def files_in(source: Path) -> list[Path]:
    """Name the files of a folder and the folders in it, those of an archive, or the file itself, damaged or not."""
    if source.is_dir():
        return sorted(path for pattern in ("*", "*/*") for path in source.glob(pattern) if path.is_file())
    try:
        return members(source) or [source]
    except ValueError:
        return [source]


def read_json(path: Path) -> Any:
    """Read a JSON file, packed or not.

    Raises:
        FileNotFoundError, ValueError: it is missing, cut off, or no JSON.
    """
    with open_text(path) as file:
        text = file.read()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} line {error.lineno}: no JSON ({error.msg}); the file is cut off or was edited, save it again"
        ) from None
    except RecursionError:
        raise ValueError(f"{path}: JSON nested too deeply for a list; save it again") from None


# --- tables ---


def table_of(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Make a chunk of ENTRY_COLUMNS or the like of rows, in which what is not named is empty (a rate is 0)."""
    return pd.DataFrame(
        {
            column: pd.Series(
                [row.get(column, 0.0 if column == "rate" else "") for row in rows],
                dtype=float if column == "rate" else object,
            )
            for column in columns
        }
    )


def rate_of(path: Path, title: Any, rate: Any) -> float:
    """Read one rate, where None and "" are 0: unrated; path and title are for the error.

    Raises:
        ValueError: it is no number of 0 or more.
    """
    try:
        number = float(rate or 0)
    except (TypeError, ValueError):
        number = np.nan
    if not 0 <= number < np.inf:
        raise ValueError(
            f"{path} title {on_one_line(str(title))}: the rate {rate!r} is not a number of 0 or more; "
            "write 0 for unrated"
        )
    return number


def count(dropped: dict[str, int], why: str, n: int = 1) -> None:
    """Note that n rows were dropped, and why."""
    if n:
        dropped[why] = dropped.get(why, 0) + int(n)


# --- texts ---


def joined_names(*names: Any) -> str:
    """Join the names a title has in its languages, each once, by " / ": the first is what it is shown by."""
    known: dict[str, str] = {}
    for name in names:
        # a name keeps what looks like a tag: a film may be called "<i>"
        name = " ".join(unescaped(name).split())
        if name:
            known.setdefault(name.casefold(), name)
    return " / ".join(known.values())


def synonyms_of(names: Iterable[Any], name: str) -> str:
    """Write other names of a title as a JSON list without those that its name (joined by " / ") has; "" for none."""
    known = {part.casefold() for part in name.split(" / ")}
    # what has a " / " in it is two names
    others = [other for other in joined_names(*names).split(" / ") if other and other.casefold() not in known]
    return json.dumps(others, ensure_ascii=False) if others else ""


def plain(text: Any) -> str:
    """Return a text that people wrote as text, without HTML entities and repeated spaces; "" for None and NaN.

    What stands between < and > stays: "a<b" and "I <3 this" are no markup.
    """
    text = unescaped(text).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return re.sub(r"[ \t\u00a0]+", " ", text).strip()


def from_html(text: Any) -> str:
    """Return a text of a source that writes HTML without its markup, on one line a paragraph; "" for None and NaN."""
    text = re.sub(r"<br\s*/?>\s*", "\n", unescaped(text), flags=re.IGNORECASE)
    text = re.sub(r"\s*</(?:p|div|li|ul|ol|h\d|tr)>\s*(?=\S)", "\n", text, flags=re.IGNORECASE)
    return plain(ELEMENT.sub("", text))


def without_spoilers(text: str, drop: bool = False) -> str:
    """Return a text without the marks around spoilers and what is struck out, or, to drop them, without what they hold.

    An opening mark that is never closed holds all that follows; [s] counts only if it is closed.
    """
    found = 1
    while found:
        text, found = SPOILER.subn("" if drop else r"\g<text>", text)
    text = NOTED.sub("" if drop else r"\1", text)
    text = re.sub(OPENING + ".*" * drop, "", text, flags=re.IGNORECASE | re.DOTALL)
    return re.sub(r"\[/(?:spoilers?|mask)\]", "", text, flags=re.IGNORECASE).strip()


def unmarked(cells: pd.Series, drop: bool) -> pd.Series:
    """Do what without_spoilers does to every cell (n,)."""
    marked = cells.str.contains(MARKED) if (cells != "").any() else np.zeros(len(cells), bool)
    if not marked.any():
        return cells
    return cells.where(~marked, cells[marked].map(lambda text: without_spoilers(text, drop)))


def tags_of(names: Iterable[Any]) -> str:
    """Return names of tags as a cell of tags_name, each once; what is no text or number, such as an object, is none."""
    names = [name for name in names if isinstance(name, (str, int, float)) and name == name]
    return json.dumps(list(dict.fromkeys(names)), ensure_ascii=False)


def unescaped(text: Any) -> str:
    """Return text without HTML entities, which some sources escape twice; "" for None and NaN."""
    return "" if text is None or text != text else html.unescape(html.unescape(str(text)))
