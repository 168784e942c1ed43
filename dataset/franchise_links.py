"""Which titles belong together: what relations say, the same name of a work, and names alike where more speaks for it.

Two works whose names have a beginning in common are one franchise if their texts share rare words (of characters and
places), or if most who collected the less popular one collected the other; the less the names say, the more is asked.
"""

import re
from collections import Counter
from collections.abc import Iterator
from math import log2
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dataset.dataset import Dataset
from dataset.title_markers import HAN, Markers, Words

# of a score of a pair of works: what texts, collectors and names say; links have ENOUGH
ENOUGH = 0.8
OF_TEXT, OF_COLLECTORS, OF_NAME = 6.0, 1.1, 1.0
NEIGHBOURS = 6  # in alphabetical order, with which a work is compared
SAMPLE = 2_000_000  # train pairs, at most, that are looked at
HARDLY_ANY = 5.0  # collectors, in whose favour and disfavour nothing is concluded
OF_COMMON = 0.05  # what a single word in common is worth less each time that twice as many names begin with it
_SHORT = 4  # letters of a word that says nothing on its own


class Works(NamedTuple):
    """Names of works (m of them), and which titles have them."""

    stems: list[Words]
    number: dict[Words, int]
    titles: sp.csr_matrix  # (m, n_items) of ones
    first: np.ndarray  # (m,) row of the first title


class Pair(NamedTuple):
    """Two works with names alike."""

    one: int
    other: int
    says: float  # what the names alone are worth


def links_of(dataset: Dataset, names: list[list[Markers]]) -> np.ndarray:
    """Return pairs of titles (n, 2) that belong to one franchise, enough to reach each of it from any other."""
    works = _works(names)
    rows = np.repeat(np.arange(len(works.stems)), np.diff(works.titles.indptr))
    same = np.stack([works.first[rows], works.titles.indices], axis=1)
    pairs = [pair for pair in dict.fromkeys(_alike(works))]
    ends = np.array([(pair.one, pair.other) for pair in pairs], np.int64).reshape(-1, 2)
    says = np.array([pair.says for pair in pairs])
    alike = ends[scores(dataset, works, ends, says) >= ENOUGH]
    return np.concatenate([same, works.first[alike], dataset.relations[:, :2]])


def scores(dataset: Dataset, works: Works, ends: np.ndarray, says: np.ndarray) -> np.ndarray:
    """Return how much speaks for each pair of works (n, 2) to be one franchise, (n,)."""
    return (
        OF_NAME * says
        + OF_TEXT * np.minimum(_shared_text(dataset, works, ends), 0.3)
        + OF_COLLECTORS * _shared_collectors(dataset, works, ends)
    )


def _works(names: list[list[Markers]]) -> Works:
    number: dict[Words, int] = {}
    of_titles = [(number.setdefault(name.stem, len(number)), row) for row, each in enumerate(names) for name in each]
    work, title = np.array(of_titles, np.int64).T
    titles = sp.csr_matrix((np.ones(len(work)), (work, title)), shape=(len(number), len(names)))
    titles.sort_indices()
    return Works(list(number), number, titles, titles.indices[titles.indptr[:-1]])


# --- names ---


def _alike(works: Works) -> Iterator[Pair]:
    """Yield pairs of works whose names have something in common."""
    for one, stem in enumerate(works.stems):
        letters = _letters(stem)
        for start in range(len(letters)):
            for end in range(start + 1, len(letters) + 1 - (start == 0)):
                other = works.number.get(_words(letters[start:end]))
                if other is not None and other != one:
                    yield Pair(other, one, _worth(letters[start:end], start == 0, True))
            if {"vs", "x"} & {*stem[1:-1]}:
                break  # of two works that meet, the first is the one it belongs to
    begin = Counter(stem[0] for stem in works.stems)
    order = sorted(range(len(works.stems)), key=lambda number: works.stems[number])
    spelled = [_letters(works.stems[number]) for number in order]
    for place, number in enumerate(order):
        for near in range(place + 1, min(place + 1 + NEIGHBOURS, len(order))):
            common = next((k for k, (a, b) in enumerate(zip(spelled[place], spelled[near])) if a != b), 99)
            if not common:
                break
            if common < min(len(spelled[place]), len(spelled[near])):
                worth = _worth(spelled[place][:common], True, False) - OF_COMMON * log2(begin[works.stems[number][0]]) * (common == 1)
                yield Pair(number, order[near], worth)


_IS_HAN = re.compile(f"[{HAN}]")


def _letters(stem: Words) -> tuple[str, ...]:
    """Part a name into what is compared: words, or the characters of a word written in Chinese or Japanese."""
    return tuple(part for word in stem for part in (word if _IS_HAN.match(word) else (word,)))


def _words(letters: tuple[str, ...]) -> Words:
    return tuple("".join(f"{part}" if _IS_HAN.match(part) else f" {part} " for part in letters).split())


def _worth(letters: tuple[str, ...], is_start: bool, is_whole: bool) -> float:
    """Say what it is worth that two names have these letters in common."""
    size = sum(0.5 if _IS_HAN.match(part) else 1.0 if len(part) >= _SHORT else 0.3 for part in letters)
    return min(size, 4) * 0.15 - (0.0 if is_whole else 0.2) - (0.0 if is_start else 0.25)


# --- texts ---


def _shared_text(dataset: Dataset, works: Works, ends: np.ndarray) -> np.ndarray:
    """Return the likeness of the texts of pairs of works (n,): cosines of words weighed by rarity, without the name's."""
    asked, places = np.unique(ends, return_inverse=True)
    words: dict[str, int] = {}
    rows, columns = [], []
    texts = [text.split("\n", 1)[-1] for text in dataset.item_texts]
    for place, work in enumerate(asked):
        of_one: set[str] = set()
        for title in works.titles.indices[works.titles.indptr[work] : works.titles.indptr[work + 1]]:
            of_one.update(_text_words(texts[title]))
        of_one.difference_update(works.stems[work])
        columns += [words.setdefault(word, len(words)) for word in of_one]
        rows += [place] * len(of_one)
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(asked), max(len(words), 1)))
    rarity = np.log(len(asked) / np.maximum(np.bincount(columns, minlength=matrix.shape[1]), 1))
    matrix = matrix @ sp.diags(rarity)
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix = sp.diags(1 / np.maximum(lengths, 1e-9)) @ matrix
    one, other = places.reshape(ends.shape).T
    return np.asarray(matrix[one].multiply(matrix[other]).sum(axis=1)).ravel()


_TEXT_WORD = re.compile(r"[^\W\d_]{3,}")
_HAN_RUN = re.compile(f"[{HAN}]{{2,}}")


def _text_words(text: str) -> set[str]:
    if not _IS_HAN.search(text):
        return set(_TEXT_WORD.findall(text.lower()))
    pairs = {run[start : start + 2] for run in _HAN_RUN.findall(text) for start in range(len(run) - 1)}
    return pairs | {word for word in _TEXT_WORD.findall(text.lower()) if word.isascii()}


# --- collectors ---


def _shared_collectors(dataset: Dataset, works: Works, ends: np.ndarray) -> np.ndarray:
    """Return, of the collectors of the less popular work of each pair, the share that has the other beyond chance (n,)."""
    train = dataset.train
    every = max(1, -(-train.nnz // SAMPLE))
    users = (works.titles @ train[::every].T.tocsc()).tocsr()
    users.data[:] = 1
    counts = np.diff(users.indptr)
    one, other = ends.T
    both = np.asarray(users[one].multiply(users[other]).sum(axis=1)).ravel()
    by_chance = counts[one] * counts[other] / max(users.shape[1], 1)
    return np.maximum(both - by_chance, 0) / (np.minimum(counts[one], counts[other]) + HARDLY_ANY)
