"""Titles found by any of their names, in any script: as written, by words, initials or parts, or nearly."""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
from rapidfuzz import fuzz, process

from inference.name_forms import end_marks, folded, folded_words, phrases_of, spaced, words_of
from inference.title_names import OTHER, OWN, SHORT, TAG, Name, all_names

# how a title can match, in the order in which titles are listed: a name is the query but for case and width; another
# name of it is; one of them is but for spaces, punctuation and script; a name has its words; it is the initials of a
# name; a tag of few titles is it; a name has its words, the last one as a beginning; a name holds it
WRITTEN, CALLED, SAME, WORDS, INITIALS, TAGGED, BEGINS, HOLDS = range(8)
# of a near name, at least, in percent; below it there is no title like the query. One slip in a name of four characters
# is 75; at 80, one in forty of the slips tried is not found, and at 70, unrelated titles are
LIKENESS = 75
SLIP = 50  # the same of what is no title; up to LIKENESS only with half of it in one piece
INITIALS_FROM = 3  # words
SUBTITLE = re.compile(r":| - |\(")
KINDS = {OWN: (WRITTEN, SAME), OTHER: (CALLED, SAME), TAG: (TAGGED, TAGGED)}  # as written; in another spelling
RELATED = 1000  # names that match, at most, for families to be looked for among them
WRITTEN_AS = "="  # before folded names among keys, which have no punctuation
COMMAS = re.compile("([，、；])")


class Names(NamedTuple):
    """The names of titles but for tags, m in all, as they are searched."""

    items: list[int]  # (m,) title rows
    words: list[str]  # (m,) the words with spaces between and around them
    keys: list[str]  # (m,) the words without spaces
    sorted_keys: list[str]  # (m,) the keys with their words in alphabetical order
    whole: dict[str, list[tuple[int, int]]]  # key, initials or folded name -> (how it matches, title row)
    marks: dict[str, dict[int, set[str]]]  # key -> title row -> the end_marks of its names with that key
    popularity_rank: list[int]  # (n_items,) 0 for the most popular title


def index_names(
    names: Sequence[str], popularity: np.ndarray, synonyms: Sequence[Sequence[str]] = (), tags: Sequence[str] = ()
) -> Names:
    """Prepare for finding titles; the arguments are those of title_names.all_names.

    Titles that match a query equally well are ordered by popularity.
    """
    every = all_names(names, popularity, synonyms, tags)
    keys = ["".join(name.words) for name in every]
    whole = defaultdict(list)
    for item, text in enumerate(names):
        whole[WRITTEN_AS + folded(text)].append((WRITTEN, item))
    for name, key in zip(every, keys, strict=True):
        written, spelt = KINDS[name.source]
        whole[WRITTEN_AS + name.folded].append((written, name.item))
        whole[key].append((spelt, name.item))
        for initials in _initials(name):
            whole[initials].append((INITIALS, name.item))
    searched = [name for name in every if name.source != TAG]
    marks: defaultdict[str, defaultdict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, key in zip(searched, keys, strict=False):  # tags come last
        marks[key][name.item].add(end_marks(name.text))
    return Names(
        items=[name.item for name in searched],
        words=[spaced(name.words) for name in searched],
        keys=keys[: len(searched)],
        sorted_keys=["".join(sorted(name.words)) for name in searched],
        whole=dict(whole),
        marks=dict(marks),
        popularity_rank=np.argsort(np.argsort(-popularity, kind="stable")).tolist(),
    )


def _better(best: dict[int, int], item: int, kind: int) -> None:
    best[item] = min(kind, best.get(item, kind))


def _initials(name: Name) -> set[str]:
    """Return the initials of a name and of what stands before its colon, dash or bracket."""
    if len(name.words) < INITIALS_FROM or name.source == TAG or not name.words[0].isascii():
        return set()
    first, *more = SUBTITLE.split(name.folded, maxsplit=1)
    lengths = {len(name.words), len(folded_words(first)) if more else 0}
    return {"".join(word[0] for word in name.words[:length]) for length in lengths if length >= INITIALS_FROM}


def find(index: Names, query: str, n: int) -> list[int]:
    """Find the rows of up to n titles: those that match, best first, and then those with a near name."""
    found = [item for _, item in search(index, query, n)]
    if len(found) < n:
        found = list(dict.fromkeys(found + similar_names(index, query, n)))
    return found[:n]


def search(index: Names, query: str, n: int) -> list[tuple[int, int]]:
    """Find the titles that match a query: (kind of match, title row), by kind, and the popular ones first.

    Of names that share words, one that begins others stands before them, whatever their popularity: Mobile Suit Gundam
    before its sequels. Where n titles match better, HOLDS is left out. See similar_names for mere likeness.
    """
    key, best = "".join(words_of(query)), exact(index, query)
    if not key:
        return []
    phrases = phrases_of(query)
    beginning = phrases.pop()[:-1]
    numbers = [
        number
        for number, words in enumerate(index.words)
        if beginning in words and all(phrase in words for phrase in phrases)
    ]
    for number in numbers:
        _better(best, index.items[number], WORDS if f"{beginning} " in index.words[number] else BEGINS)
    if len(best) < n and (len(key) > SHORT or not key.isascii()):
        held = [number for number, name in enumerate(index.keys) if key in name]
        numbers += held
        for number in held:
            _better(best, index.items[number], HOLDS)
    families, ranks = _families(index, numbers) if len(numbers) <= RELATED else {}, index.popularity_rank
    return sorted(
        ((kind, item) for item, kind in best.items()),
        key=lambda of: (of[0], *(families[of[1]] if of[0] > SAME and of[1] in families else (ranks[of[1]], 0))),
    )


def exact(index: Names, query: str) -> dict[int, int]:
    """Return the titles that the whole query means, as a name, initials or a tag: title row -> kind of match."""
    forms = WRITTEN_AS + folded(query), "".join(words_of(query))
    matches = sorted((match for form in forms for match in index.whole.get(form, ())), reverse=True)
    return {item: kind for kind, item in matches}


def told_apart(index: Names, query: str) -> set[int]:
    """Return the titles with a name that is the query but for the marks at its end, and with none that has these."""
    same, marks = index.marks.get("".join(words_of(query)), {}), end_marks(query)
    return {item for item, theirs in same.items() if marks not in theirs}


def is_other_season(index: Names, item: int, query: str) -> bool:
    """Say whether a query ends in marks and would be a name of a title, were it not for them."""
    return bool(end_marks(query)) and item in told_apart(index, query)


def _families(index: Names, numbers: list[int]) -> dict[int, tuple[int, int]]:
    """Say how the titles of some names stand: (rank of the most popular whose name begins with theirs, own length)."""
    stands: dict[int, tuple[int, int]] = {}
    begun: list[int] = []  # numbers whose words begin those of the next number, the shortest first
    for number in sorted(set(numbers), key=index.words.__getitem__):
        while begun and not index.words[number].startswith(index.words[begun[-1]]):
            begun.pop()
        begun.append(number)
        rank = index.popularity_rank[index.items[number]]
        for stem in begun:
            item, length = index.items[stem], len(index.words[stem])
            stands[item] = min((rank, length), stands.get(item, (rank, length)))
    return stands


def similar_names(index: Names, query: str, n: int) -> list[int]:
    """Find up to n titles with a name like the query, in whatever order its words stand, the likest first."""
    words = words_of(query)
    pairs = ("".join(words), index.keys), ("".join(sorted(words)), index.sorted_keys)
    likeness = np.max([process.cdist([mine], theirs, scorer=fuzz.ratio)[0] for mine, theirs in pairs], axis=0)  # (m,)
    alike = np.flatnonzero(likeness >= LIKENESS)
    order = sorted(alike, key=lambda number: (-round(likeness[number]), index.popularity_rank[index.items[number]]))
    return list(dict.fromkeys(index.items[number] for number in order))[:n]


def closest(text: str, choices: Iterable[str], n: int = 5) -> list[str]:
    """Return up to n of the choices that a text may be a slip of, the likest first."""
    found = process.extract(text, list(choices), scorer=fuzz.ratio, score_cutoff=SLIP, limit=None)
    return [choice for choice, likeness, _ in found if _is_slip(text, choice, likeness)][:n]


def _is_slip(text: str, choice: str, likeness: float) -> bool:
    """Say whether what is alike shares more with a text than some letters here and there."""
    if likeness >= LIKENESS:
        return True
    piece = SequenceMatcher(None, text, choice, autojunk=False).find_longest_match().size
    return 2 * piece >= len(text)


def split_names(text: str, is_name: Callable[[str], bool] = lambda _: False) -> list[str]:
    """Split a text at commas, Chinese ones too, into distinct names; one that holds a comma stands in double quotes.

    Args:
        text: to be split.
        is_name: says of a text that it is a whole name; such a one is not split at its Chinese commas.

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
    names = [name.strip() for word in words for name in _split_at_chinese_commas(word, is_name)]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise ValueError(f"{text!r} names nothing; separate names by commas")
    return names


def _split_at_chinese_commas(text: str, is_name: Callable[[str], bool]) -> list[str]:
    """Split a text into the longest pieces that are names, from the left."""
    pieces, names = COMMAS.split(text), []  # every other piece is a comma
    while pieces:
        whole = (end for end in range(len(pieces), 1, -2) if is_name("".join(pieces[:end]).strip()))
        end = next(whole, 1)
        names.append("".join(pieces[:end]))
        pieces = pieces[end + 1 :]
    return names
