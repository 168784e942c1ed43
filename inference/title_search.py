"""Titles found by any of their names, in any script: as written, by a beginning, by a part, or nearly."""

import csv
import unicodedata
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

# how a name can fit: the orders in which titles are found, of which the last is no match but a likeness
WRITTEN, SAME, BEGINS, WORD_BEGINS, HOLDS, NEAR = range(6)
BETWEEN = " / "  # names of one title
LIKENESS = 0.4  # of a near name, at least


class Names(NamedTuple):
    """The names of titles; a title has several, m in all."""

    items: np.ndarray  # (m,) title rows
    written: list[str]  # (m,) in lower case
    keys: list[str]  # (m,) letters and digits alone
    starts: list[frozenset[int]]  # (m,) where in the key a word begins
    standing: list[int]  # (n_items,) 0 for the most popular title
    counter: Any  # text -> its pairs of neighbouring characters, CSR
    pairs: sp.csr_matrix  # (pairs, m) of ones


def index_names(names: list[str], popularity: np.ndarray) -> Names:
    """Prepare for finding titles.

    Args:
        names: (n_items,); "A / B" is two names.
        popularity: (n_items,), by which titles that fit alike are ordered.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    of_titles = [dict.fromkeys([name, *name.split(BETWEEN)]) for name in names]
    each = [name for of_one in of_titles for name in of_one]
    keys, starts = zip(*map(_key, each), strict=True)
    counter = CountVectorizer(analyzer="char_wb", ngram_range=(2, 2), binary=True, dtype=np.float32)
    standing = np.argsort(np.argsort(-popularity, kind="stable")).tolist()
    pairs = counter.fit_transform([*keys, "-"])[:-1]  # never an empty vocabulary
    return Names(
        np.repeat(np.arange(len(names)), [len(of_one) for of_one in of_titles]),
        [*map(folded, each)],
        list(keys),
        list(starts),
        standing,
        counter,
        sp.csr_matrix(pairs.T),
    )


def search(index: Names, query: str, n: int) -> list[tuple[int, int]]:
    """Find the titles that fit a query: (order, title row), by order and the popular ones first.

    The orders are WRITTEN (a name is the query but for case), SAME (but for spaces and punctuation), BEGINS,
    WORD_BEGINS and HOLDS; see near for those that only resemble it. Where n titles fit better, these two are left out.
    """
    key, written, best = key_of(query), folded(query), {}
    if not key:
        return []
    begin = [number for number, name in enumerate(index.keys) if name.startswith(key)]
    for number, item in zip(begin, index.items[begin].tolist(), strict=True):
        order = WRITTEN if index.written[number] == written else SAME if index.keys[number] == key else BEGINS
        best[item] = min(order, best.get(item, NEAR))
    if len(best) < n:
        hold = [number for number, name in enumerate(index.keys) if key in name]
        for number, item in zip(hold, index.items[hold].tolist(), strict=True):
            order = WORD_BEGINS if _begins_word(index.keys[number], key, index.starts[number]) else HOLDS
            best[item] = min(order, best.get(item, NEAR))
    return sorted(((order, item) for item, order in best.items()), key=lambda fit: (fit[0], index.standing[fit[1]]))


def similar_names(index: Names, query: str) -> list[int]:
    """Find titles with a name like the query, the likest first: pairs of neighbouring characters in common, by Dice."""
    pairs = sp.csr_matrix(index.counter.transform([key_of(query)]))
    if not pairs.nnz:
        return []
    common = np.asarray((pairs @ index.pairs).todense()).ravel()  # (m,)
    sizes = np.asarray(index.pairs.sum(axis=0)).ravel()
    likeness = np.round(2 * common / (len(key_of(query)) + 1 + sizes), 1)
    alike = np.flatnonzero(likeness >= LIKENESS)
    order = sorted(alike, key=lambda number: (-likeness[number], index.standing[index.items[number]]))
    return list(dict.fromkeys(index.items[order].tolist()))


def _begins_word(name: str, key: str, starts: frozenset[int]) -> bool:
    place = name.find(key)
    while place >= 0 and place not in starts:
        place = name.find(key, place + 1)
    return place >= 0


def folded(text: str) -> str:
    """Return a name or a tag in the form in which two of them are compared: compatible characters and case alike."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def split_names(text: str) -> list[str]:
    """Read what is parted by commas, each once; what holds a comma itself stands in double quotes.

    Raises:
        ValueError: a quote is not closed, or there is nothing.
    """
    try:
        [words] = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{text!r} is no list ({error}); part what is in it by commas, and put what holds a comma in "
            "double quotes, quotes inside doubled"
        ) from None
    words = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not words:
        raise ValueError(f"{text!r} names nothing; part what is meant by commas")
    return words


def key_of(text: str) -> str:
    """Return the letters and digits of a name, by which it is found whatever its spaces and punctuation."""
    return _key(text)[0]


def _key(text: str) -> tuple[str, frozenset[int]]:
    """Keep letters, marks and digits (everything, of a name without any), and tell where words begin."""
    text, kept, starts = folded(text), [], []
    is_inside = False
    for character in text:
        if unicodedata.category(character)[0] in "LMN":
            if not is_inside:
                starts.append(len(kept))
            kept.append(character)
        is_inside = unicodedata.category(character)[0] in "LMN"
    return "".join(kept) or "".join(text.split()), frozenset(starts)
