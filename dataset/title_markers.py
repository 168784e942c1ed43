"""What a title's name says beside whose it is: season, part, film, OVA, special or recap, year.

Names may be English, romaji, Japanese, simplified or traditional Chinese. A name is folded into words; a run of Chinese
or Japanese characters, which are written without spaces, is one word.
"""

import re
import unicodedata
from typing import NamedTuple

from dataset.marker_words import (
    AT_THE_START,
    COUNTED,
    DIGITS,
    EXTRAS,
    FILMS,
    HAN,
    LAST,
    NEXT,
    NUMBERS,
    NUMERAL,
    PHRASES,
    REWRITTEN,
    ROMAJI,
    UNITS,
)

# what a name calls a title: a work or a season of it, a film or OVA, an extra
WORK, FILM, EXTRA = range(3)
FINAL = 50  # the number of a last season
BETWEEN = " / "  # names of one title
_MOST_SEASONS = 20  # a bare number above is part of the name, as in Eyeshield 21
_ARTICLES = {"the", "a", "an"}  # no name by themselves
_BREAK = "|"  # between the name of a work and that of a part, while a name is read

Words = tuple[str, ...]


class Markers(NamedTuple):
    """A name read: whose title it is, and where that stands."""

    stem: Words  # name of the work, without markers; never empty
    rest: Words  # name of the part, without markers
    season: int  # 1 where the name has no number
    part: int  # number of a film, or within what is numbered beside the work; 0 without
    kind: int  # WORK, FILM or EXTRA
    is_marked: bool  # whether there is a marker of a season
    line: tuple[Words, Words, int]  # what titles share that differ by season and part alone


def is_season(name: Markers) -> bool:
    """Tell whether a title is a season of a work, no film, part or extra of it."""
    return name.kind == WORK and (name.is_marked or not name.rest)


def is_meeting(name: Markers) -> bool:
    """Tell whether two works meet in a title."""
    return bool({"vs", "x"} & {*name.stem[1:-1]})


def read_names(names: str) -> list[Markers]:
    """Read the names of a title, "A / B" being two, at least one."""
    return [read_name(name) for name in dict.fromkeys(names.split(BETWEEN)) if name.strip()] or [read_name(names)]


def merged(names: list[Markers]) -> Markers:
    """Return what the names of a title say together: the first, with a season or kind that another one tells."""
    first, kind = names[0], max(name.kind for name in names)
    marked = next((name for name in names if name.is_marked), first)
    line = first.stem, () if marked.is_marked else first.line[1], kind
    return first._replace(season=marked.season, is_marked=marked.is_marked, kind=kind, line=line)


def read_name(name: str) -> Markers:
    """Read one name of a title."""
    words = _words(name)
    stem, parts, kind, number = _parted(words)
    stem, seasons = _without_seasons(stem)
    line: list[str] = []
    numbers: list[int] = []
    for part in parts:
        bare, numbers = _without_seasons(part, whole=True)
        line += bare
        if numbers:
            break
    if numbers and not line and not seasons:  # "X: Second Season"
        seasons, numbers = numbers, []
    rest = [word for part in parts for word in part] if line else []
    is_numbered = bool(seasons or number)
    return Markers(
        tuple(stem),
        tuple(rest),
        max(seasons, default=1),
        number or max(numbers, default=0),
        kind,
        bool(seasons),
        (tuple(stem), () if is_numbered else tuple(line), kind),
    )


def number_of(word: str, romaji: bool = False) -> int:
    """Return the number that a word means, 0 for none; with romaji, "ni" is 2."""
    if word.isdigit() and word.isascii() and len(word) <= 2:
        return int(word)
    return NUMBERS.get(word, 0) or (ROMAJI.get(word, 0) if romaji else 0)


# --- from a name to words ---

_YEAR = re.compile(r"\((19|20)\d\d\)")
_FORMAT = re.compile(r"\(?\b(tv|ova|oad|ona|movie|special)\)")
_BREAKS = re.compile(
    # "Re:" is no work
    rf"(?<!\bre):\s+|\s+[-~\u2013\u2014\u301c]+\s*|[(\[\u300c\u300e\u3010\u3008\u300a~\u301c]"
    rf"|(?:\u30fb|(?<!\bre):)(?=[{HAN}])"
)
_JOINED = re.compile(r"['\u2019`]|-(?=san\b)")  # "san" by itself is a number
_SCRIPTS_MEET = re.compile(rf"([{HAN}])(?=[0-9a-z])|([0-9a-z])(?=[{HAN}])")
_NO_WORD = re.compile(rf"[^0-9a-z{HAN}\u0400-\u04ff\uac00-\ud7af|%]+")


def _words(name: str) -> list[str]:
    """Fold a name into words, with a break where its parts meet."""
    text = name.replace("½", " half ").replace("×", "x").casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = NUMERAL.sub(lambda found: str(DIGITS[found[0]]), text)
        for pattern, words in REWRITTEN:
            text = pattern.sub(words, text)
        text = "".join(char for char in unicodedata.normalize("NFD", text) if not "\u0300" <= char <= "\u036f")
        text = _SCRIPTS_MEET.sub(r"\1\2 ", text)
    text = _FORMAT.sub(r" \1 ", _YEAR.sub(" ", text))
    text = _JOINED.sub("", _BREAKS.sub(f" {_BREAK} ", text))
    text = f" {_NO_WORD.sub(' ', text)} "
    for phrase, word in PHRASES.items():
        text = text.replace(f" {phrase} ", f" {word} ")
    words = text.strip(f" {_BREAK}").split()
    return words or [name.casefold() or "?"]


def _parted(words: list[str]) -> tuple[list[str], list[list[str]], int, int]:
    """Part words at breaks and words of a format: those of the work, those of each part, the kind, and its number."""
    kind, number = WORK, 0
    if len(words) > 1 and words[0] in AT_THE_START and words[0] in FILMS | EXTRAS:
        kind, words = (FILM if words[0] in FILMS else EXTRA), words[1:]
        words = words[1:] if words[0] == _BREAK else words
    parts: list[list[str]] = [[]]
    counts = False  # whether a number that comes now counts films
    least = 1 + (words[0] in _ARTICLES)
    for place, word in enumerate(words):
        if place >= least and word in FILMS | EXTRAS:
            kind = max(kind, EXTRA if word in EXTRAS else WORK if word == "tv" else FILM)
            parts.append([])
        elif word == _BREAK:
            parts.append([])
        elif counts and not number and number_of(word):
            number = number_of(word)
        else:
            parts[-1].append(word)
        counts = place >= least and word in FILMS | EXTRAS
    return parts[0], [part for part in parts[1:] if part], kind, number


def _without_seasons(words: list[str], whole: bool = False) -> tuple[list[str], list[int]]:
    """Take markers of seasons off the end of words, and off the start, and return their numbers.

    A word stays that is no article, unless whole allows to take all.
    """
    seasons: list[int] = []
    least = 0 if whole else 1 + (words[0] in _ARTICLES)
    while len(words) > least:
        taken, number = _marker_at_the_end(words, least)
        if number and len(words) - taken >= least:
            words, seasons = words[:-taken], [*seasons, number]
        elif words[0] in AT_THE_START and len(words) > 1:
            words, seasons = words[1:], [*seasons, AT_THE_START[words[0]]]
        else:
            break
    return words, seasons


def _marker_at_the_end(words: list[str], least: int) -> tuple[int, int]:
    """Return how many words at the end mark a season, and its number, 0 for none."""
    word, before = words[-1], words[-2] if len(words) > 1 else ""
    if word in COUNTED and (number := number_of(before, romaji=True)):
        return 2, number
    if before in UNITS and (number := number_of(word, romaji=True)):
        return 2, number
    if number := number_of(word):
        return 1, number if number <= _MOST_SEASONS else 0
    if word in LAST:
        return 1, FINAL
    # by itself "ni" is a number only behind a longer name
    is_romaji = word in ("ni", "san", "shi", "go") and len(words) > least + 1
    return 1, ROMAJI[word] if is_romaji else NEXT.get(word, 0)
