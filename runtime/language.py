"""What the scripts print and a report says, in Chinese: sentences are found in a catalogue by their fixed words.

messages_zh.tsv has a line for each sentence, or part of one: the English with {} for what is put in, a tab, and the
Chinese with {1}, {2}, ... for the same. What {1!} stands for is translated as well, part by part; what {1} stands for
only if it is a sentence, so that names and paths stay as they are. What the catalogue does not know stays English.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from runtime.screen import columns

CATALOGUE = Path(__file__).with_name("messages_zh.tsv")
SENTENCE = 3  # fixed words from which on an English text is no title's name
LONGEST = 10_000  # characters of a line that is translated

# in the order of POSIX: the first one that is set decides
VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
# of an entry of a printed list, which has names
RANKED = re.compile(r"\s*\d+\.\s")
# a label of a table, the gap after it, and the figures
LABELLED = re.compile(r"(\S.*?)( {2,})(\S.*)")
COUNTED = re.compile(r"([\d,.]+) (\D.*)")
# what a metric is of, the metric, and its cut-off, as in "warm NDCG@20"
MEASURED = re.compile(r"(\S.*?)( [A-Z]\w+)?(@\d+)?")
PLACE = re.compile(r"\{(\d+)(!?)\}")
MARKED = re.compile(r"([;:,]?)( *)(.*?) *", re.DOTALL)
MARKS = {";": "；", ":": "：", ",": "，"}
BETWEEN = tuple((f"{mark} ", chinese) for mark, chinese in MARKS.items())
_WORD = re.compile(r"(?<![\w\0])[A-Za-z]+(?![\w\0])")


class Entry(NamedTuple):
    """A line of the catalogue.

    Attributes:
        fixed: the English before, between and after what is put in.
        chinese: its translation, with {1} and {1!}.
        words: how many fixed words it has.
        letters: how many fixed characters, by which the closest of several entries is found.
    """

    fixed: tuple[str, ...]
    chinese: str
    words: int
    letters: int


def of_terminal(environment: Mapping[str, str] = os.environ) -> str:
    """Return the language of the terminal: "zh", or "en" for all others."""
    name = next((environment[key] for key in VARIABLES if environment.get(key)), "")
    return "zh" if name.lower().startswith("zh") else "en"


def can_show(stream: IO[str]) -> bool:
    """Say whether Chinese can be written to a stream as it is."""
    try:
        "中文。".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def in_chinese(text: str) -> str:
    """Return a text of one or more lines in Chinese, as far as the catalogue knows it."""
    if text.startswith(("{", "[")) or "\n| --" in text:  # JSON, for programs, and tables in Markdown, for papers
        return text
    lines = text.split("\n")
    translated = [_line(line) for line in lines]
    if translated == lines and len(lines) > 1:  # a sentence with a line break in what is put in
        return _known(text, 0) or text
    return "\n".join(translated)


def heading_in_chinese(text: str) -> str:
    """Return a heading or a label in Chinese: of these a single word says something too."""
    translated = in_chinese(text)
    return translated if translated != text else _known(text, 1) or _parts(text, 1) or text


def _line(line: str) -> str:
    if len(line) > LONGEST or line.isspace() or RANKED.match(line):
        return line
    indent, body = line[: len(line) - len(line.lstrip(" "))], line.strip(" ")
    sentences = [] if _headed(body) else body.split("; ")
    if len(sentences) > 1 and all(said := [_known(sentence, 1) for sentence in sentences]):
        return indent + "；".join(map(str, said))
    if found := _whole(body, 0):
        return indent + found
    if (table := LABELLED.fullmatch(body)) and (label := _whole(table[1], 0)):
        return indent + label + " " * max(2, columns(table[1] + table[2]) - columns(label)) + table[3]
    return indent + (_parts(body, 0) or body)


def _whole(text: str, least: int) -> str | None:
    """Translate a sentence, or a heading that a colon ends or that was cut."""
    if found := _known(text, least):
        return found
    for mark, chinese in ((":", "："), ("…", "…")):
        if text.endswith(mark) and (found := _known(text[:-1], least)):
            return found + chinese
    return None


def _known(text: str, least: int) -> str | None:
    """Translate a text by the entry that has the most of it fixed, of those with enough words; None without one."""
    if (headed := _headed(text)) and headed.words >= least:
        return _filled(headed, [text.removeprefix(headed.fixed[0])])
    best, values, index = None, [], _index()
    for word in {"", *_WORD.findall(text)}:
        for entry in index.get(word, ()):
            is_a_word = len(entry.fixed) == 1 and entry.words == 1  # which says nothing by itself
            if entry.words >= (least or 1 + is_a_word) and (best is None or entry.letters > best.letters):
                captured = _captured(entry.fixed, text)
                if captured is not None:
                    best, values = entry, captured
    return _filled(best, values) if best else None


def _headed(text: str) -> Entry | None:
    """Return the entry of a head, as in "error: {}", that a text begins with; what follows may be any sentence."""
    return next((entry for entry in _heads() if text.startswith(entry.fixed[0])), None)


def _filled(entry: Entry, values: list[str]) -> str:
    return PLACE.sub(lambda place: _part(values[int(place[1]) - 1], 1 if place[2] else SENTENCE), entry.chinese)


def _part(text: str, least: int) -> str:
    """Translate what is put into a sentence, where it is one itself, or a list of parts that are known."""
    parts = MARKED.fullmatch(text)
    assert parts  # which any text matches
    mark, space, body = parts.groups()
    found = _known(body, least) or _parts(body, least)
    return MARKS.get(mark, space * (len(space) > 1)) + found if found else text


def _parts(text: str, least: int) -> str | None:
    """Translate what marks divide, where all parts are known, or the last part, which says what is wrong."""
    if least < SENTENCE and (counted := COUNTED.fullmatch(text)) and (what := _known(counted[2], least)):
        return f"{counted[1]} {what}"
    if (measured := MEASURED.fullmatch(text)) and any(measured.groups()[1:]) and (of := _known(measured[1], least)):
        return of + "".join(measured.groups("")[1:])
    for mark, chinese in BETWEEN:
        if mark in text:
            start, end = text.split(mark, 1)
            ends = _known(end, least) or _parts(end, least)
            starts = (_known(start, least) or _parts(start, least)) if least < SENTENCE else None
            if ends and (starts or mark != ", "):
                return (starts or start) + chinese + ends
            if starts and mark == "; ":
                return starts + chinese + end
    return None


def _captured(fixed: tuple[str, ...], text: str) -> list[str] | None:
    """Return what is put in between the fixed pieces of a text, as little as possible each; None if it has others."""
    if len(fixed) == 1:
        return [] if fixed[0] == text else None
    if not text.startswith(fixed[0]) or not text.endswith(fixed[-1]):
        return None
    end, place, found = len(text) - len(fixed[-1]), len(fixed[0]), []
    for piece in fixed[1:-1]:
        there = text.find(piece, place, end)
        if there < 0:
            return None
        found.append(text[place:there])
        place = there + len(piece)
    return [*found, text[place:end]] if place <= end else None


def read_catalogue() -> dict[str, str]:
    """Return the Chinese of each English template."""
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


@lru_cache(maxsize=1)
def _index() -> dict[str, list[Entry]]:
    """Return the entries by the rarest of their fixed words; "" has those whose words may run into what is put in."""
    catalogue = read_catalogue()
    words = {english: _WORD.findall(english.replace("{}", "\0")) for english in catalogue}
    often = Counter(word for found in words.values() for word in set(found))
    index: dict[str, list[Entry]] = {}
    for english, chinese in catalogue.items():
        fixed = tuple(english.split("{}"))
        entry = Entry(fixed, chinese, max(1, len(words[english])), sum(map(len, fixed)))
        index.setdefault(min(words[english], key=often.__getitem__, default=""), []).append(entry)
    return index


@lru_cache(maxsize=1)
def _heads() -> list[Entry]:
    every = (entry for entries in _index().values() for entry in entries)
    return [entry for entry in every if entry.fixed[0].endswith(": ") and entry.fixed[1:] == ("",)]
