"""Titles found by any of their names, in any script: as written, by a beginning, by a part, or nearly."""

import csv
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
from rapidfuzz import fuzz, process

# how a name can match, in the order in which titles are listed
WRITTEN, SAME, BEGINS, WORD_BEGINS, HOLDS = range(5)
BETWEEN = " / "  # names of one title
# a near name is like the query by so many percent, and holds half of it in one piece unless it is liker still
LIKENESS, LIKE_WITHOUT_A_PIECE = 50, 75

APOSTROPHES = dict.fromkeys(map(ord, "’‘′`´＇"), "'")


class Names(NamedTuple):
    """The names of titles; a title has several, m in all."""

    items: np.ndarray  # (m,) title rows
    written: list[str]  # (m,) folded
    keys: list[str]  # (m,) letters and digits alone
    starts: list[list[int]]  # (m,) where in the key a word begins
    sorted_keys: list[str]  # (m,) the keys with their words in alphabetical order
    popularity_rank: list[int]  # (n_items,) 0 for the most popular title


def index_names(names: list[str], popularity: np.ndarray) -> Names:
    """Prepare for finding titles.

    Args:
        names: (n_items,); "A / B" is two names.
        popularity: (n_items,), by which titles that match equally well are ordered.
    """
    of_titles = [dict.fromkeys([name, *name.split(BETWEEN)]) for name in names]
    each = [name for of_one in of_titles for name in of_one]
    keys, starts = zip(*map(_key, each), strict=True)
    items = np.repeat(np.arange(len(names)), [len(of_one) for of_one in of_titles])
    rank = np.argsort(np.argsort(-popularity, kind="stable")).tolist()
    sorted_keys = [_sorted_words(key, of_one) for key, of_one in zip(keys, starts, strict=True)]
    return Names(items, [*map(folded, each)], list(keys), list(starts), sorted_keys, rank)


def search(index: Names, query: str, n: int) -> list[tuple[int, int]]:
    """Find the titles that match a query: (kind of match, title row), by kind and the popular ones first.

    The kinds are WRITTEN (a name is the query but for case), SAME (but for spaces and punctuation), BEGINS,
    WORD_BEGINS and HOLDS; where n titles match better, the last two are left out. See similar_names for mere likeness.
    """
    key, written, best = key_of(query), folded(query), {}
    for fits in (str.startswith, str.__contains__) if key else ():
        if len(best) < n:
            for number in [number for number, name in enumerate(index.keys) if fits(name, key)]:
                kind, item = _kind(index, number, key, written), int(index.items[number])
                best[item] = min(kind, best.get(item, kind))
    return sorted(((kind, item) for item, kind in best.items()), key=lambda of: (of[0], index.popularity_rank[of[1]]))


def _kind(index: Names, number: int, key: str, written: str) -> int:
    """Say how a name matches a query that its key holds."""
    name = index.keys[number]
    if name.startswith(key):
        return BEGINS if name != key else WRITTEN if index.written[number] == written else SAME
    place = name.find(key)
    while place >= 0 and place not in index.starts[number]:
        place = name.find(key, place + 1)
    return WORD_BEGINS if place >= 0 else HOLDS


def similar_names(index: Names, query: str, n: int) -> list[int]:
    """Find up to n titles with a name like the query, in whatever order its words stand, the likest first."""
    key, starts = _key(query)
    pairs = (key, index.keys), (_sorted_words(key, starts), index.sorted_keys)
    likeness = np.max([process.cdist([mine], theirs, scorer=fuzz.ratio)[0] for mine, theirs in pairs], axis=0)  # (m,)
    alike = np.flatnonzero(likeness >= LIKENESS)
    order = sorted(alike, key=lambda number: (-round(likeness[number]), index.popularity_rank[index.items[number]]))
    near: dict[int, None] = {}
    for number in order:
        if len(near) < n and _is_near(key, index.keys[number], likeness[number]):
            near[int(index.items[number])] = None
    return list(near)


def closest(text: str, choices: Iterable[str], n: int = 5) -> list[str]:
    """Return up to n of the choices that a text may be a slip of, the likest first."""
    found = process.extract(text, list(choices), scorer=fuzz.ratio, score_cutoff=LIKENESS, limit=None)
    return [choice for choice, likeness, _ in found if _is_near(text, choice, likeness)][:n]


def _is_near(query: str, name: str, likeness: float) -> bool:
    """Say whether a name that is alike shares more with a query than some letters here and there."""
    if likeness >= LIKE_WITHOUT_A_PIECE:
        return True
    piece = SequenceMatcher(None, query, name, autojunk=False).find_longest_match().size
    return 2 * piece >= len(query)


def folded(text: str) -> str:
    """Return a name or a tag in the form in which two of them are compared: compatible characters and case alike."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def split_names(text: str) -> list[str]:
    """Split a text at commas into distinct names; one that holds a comma stands in double quotes.

    Raises:
        ValueError: a quote is not closed, or there is nothing.
    """
    try:
        [words] = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{text!r} is no list ({error}); separate names by commas, and put what holds a comma in double quotes, "
            "quotes inside doubled"
        ) from None
    words = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not words:
        raise ValueError(f"{text!r} names nothing; separate names by commas")
    return words


def key_of(text: str) -> str:
    """Return the letters and digits of a name, by which it is found whatever its spaces and punctuation."""
    return _key(text)[0]


def end_marks(text: str) -> str:
    """Return the marks that a name ends in, by which seasons are told apart: those of Gintama', New Game!! or K-On!.

    Brackets, dashes, double quotes and spaces are none: they are spelt as a site likes.
    """
    name = folded(text.translate(APOSTROPHES))
    marks = name[len(name.rstrip("".join({c for c in name if unicodedata.category(c)[0] not in "LMN"}))) :]
    return "".join(c for c in marks if unicodedata.category(c) in ("Po", "So", "Sm", "Sk", "Sc") and c not in '"~')


def is_other_season(index: Names, item: int, query: str) -> bool:
    """Say whether a query ends in marks and would be a name of a title, were it not for them."""
    marks, key = end_marks(query), key_of(query)
    same = [number for number in np.flatnonzero(index.items == item) if index.keys[number] == key]
    return bool(marks and same) and all(end_marks(index.written[number]) != marks for number in same)


def _sorted_words(key: str, starts: list[int]) -> str:
    return "".join(sorted(key[start:end] for start, end in zip(starts or [0], [*starts[1:], len(key)], strict=True)))


def _key(text: str) -> tuple[str, list[int]]:
    """Keep letters, marks and digits (everything, of a name without any), and tell where words begin."""
    text, kept, starts, is_inside = folded(text), [], [], False
    for character in text:
        was_inside, is_inside = is_inside, unicodedata.category(character)[0] in "LMN"
        if is_inside:
            starts += [] if was_inside else [len(kept)]
            kept.append(character)
    return "".join(kept) or "".join(text.split()), starts
