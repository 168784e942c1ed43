"""Which titles belong together: what relations say, the same name of a work, and names alike where more speaks for it.

Two works whose names have words in common are one franchise if their texts share rare words, as of characters and
places, or if most who collected the less popular one collected the other; the less the names say, the more is asked. So
One Piece and One Punch Man are two. Works without a word in common, as Bakemonogatari and Nekomonogatari, need both.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, combinations
from math import log2
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dataset.dataset import Dataset
from dataset.marker_words import HAN
from dataset.relations import RELATIONS
from dataset.title_markers import Markers, Words, is_meeting

# what names, texts and collectors say of a pair of works is added up; pairs with ENOUGH are linked. All are measured on
# pairs of MyAnimeList that its relations name
ENOUGH = 0.8
OF_TEXT, MOST_TEXT, OF_COLLECTORS = 6.0, 0.3, 1.1
A_WORD, MOST_WORDS = 0.15, 4  # what a word in common is worth, and how many count
# less if the words are no whole name, if they are not at the start (more if it is one word), and each time that twice
# as many names begin with them
NOT_WHOLE, NOT_AT_THE_START, A_WORD_WITHIN, ONE_OF_MANY = 0.15, 0.25, 0.45, 0.07
OF_OTHER = 0.6  # what a relation of no stated kind adds to words in common; by itself it may be that of a guest
NEIGHBOURS = 6  # in alphabetical order, with which a work is compared
# of works whose names have nothing in common
RARE = 8  # works, at most, whose texts have a rare word
RARE_WORDS, TEXT_ALONE, COLLECTORS_ALONE = 3, 0.08, 0.58
SAMPLE = 2_000_000  # train pairs, at most, that are looked at
HARDLY_ANY = 5.0  # collectors of whom nothing is concluded


class Works(NamedTuple):
    """Names of works (m of them), and which titles have them."""

    stems: list[Words]
    number: dict[Words, int]
    titles: sp.csr_matrix  # (m, n_items) of ones
    first: np.ndarray  # (m,) row of the first title
    meets: list[bool]  # (m,) whether two works meet in it


def links_of(dataset: Dataset, names: list[list[Markers]]) -> np.ndarray:
    """Return pairs of titles (n, 2) that belong to one franchise, enough to reach each of it from any other.

    Args:
        dataset: its texts, relations and train are used.
        names: of the titles, as read by title_markers.
    """
    works = _works(names)
    row = np.repeat(np.arange(len(works.stems)), np.diff(works.titles.indptr))
    same = np.stack([works.first[row], works.titles.indices], axis=1)
    words = _words_of_texts(dataset, works)
    says: dict[tuple[int, int], float] = {}
    for one, other, worth in _alike_in_name(works):
        says[one, other] = max(worth, says.get((one, other), worth))
    told = [pair for pair in _alike_in_text(words, works) if pair not in says]
    ends = np.array([*says, *told], np.int64).reshape(-1, 2)
    text, both = _shared_text(words, ends), _shared_collectors(dataset, works, ends)
    known = np.arange(len(ends)) < len(says)
    score = np.array([*says.values(), *[0.0] * len(told)])
    score += OF_TEXT * np.minimum(text, MOST_TEXT) + OF_COLLECTORS * both
    score += OF_OTHER * _related_somehow(dataset, works, ends)
    alike = np.where(known, score >= ENOUGH, (text >= TEXT_ALONE) & (both >= COLLECTORS_ALONE))
    related = dataset.relations[dataset.relations[:, 2] != RELATIONS.index("other"), :2]  # "other" may be a mere guest
    return np.concatenate([same, works.first[ends[alike]], related])


def _works(names: list[list[Markers]]) -> Works:
    number: dict[Words, int] = {}
    of_titles = [(number.setdefault(name.stem, len(number)), row) for row, each in enumerate(names) for name in each]
    work, title = np.array(of_titles, np.int64).T
    titles = sp.csr_matrix((np.ones(len(work)), (work, title)), shape=(len(number), len(names)))
    titles.sum_duplicates()
    meets = {name.stem for each in names for name in each if is_meeting(name)}
    return Works([*number], number, titles, titles.indices[titles.indptr[:-1]], [stem in meets for stem in number])


# --- names ---


def _alike_in_name(works: Works) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of works whose names have words in common, and what these are worth."""
    spelled = [_letters(stem) for stem in works.stems]
    for one, letters in enumerate(spelled):
        # of two works that meet, the first is the one it belongs to
        for start in range(1 if works.meets[one] else len(letters)):
            for end in range(start + 1, len(letters) + (start > 0)):
                other = works.number.get(_joined(letters[start:end]))
                if other is not None and other != one:
                    within = A_WORD_WITHIN if end == start + 1 else NOT_AT_THE_START
                    yield min(one, other), max(one, other), _worth(letters[start:end]) - within * (start > 0)
    begins = Counter(letters[:size] for letters in spelled for size in range(1, min(len(letters), MOST_WORDS) + 1))
    order = sorted(range(len(spelled)), key=spelled.__getitem__)
    for place, one in enumerate(order):
        for other in order[place + 1 : place + 1 + NEIGHBOURS]:
            size = _common(spelled[one], spelled[other])
            if not size:
                break
            less = NOT_WHOLE + ONE_OF_MANY * log2(begins[spelled[one][: min(size, MOST_WORDS)]])
            yield min(one, other), max(one, other), _worth(spelled[one][:size]) - less


_IS_HAN = re.compile(f"[{HAN}]")


def _letters(stem: Words) -> Words:
    """Part a name into what is compared: words, or the characters of a word written in Chinese or Japanese."""
    return tuple(part for word in stem for part in (word if _IS_HAN.match(word) else (word,)))


def _joined(letters: Words) -> Words:
    return tuple("".join(part if _IS_HAN.match(part) else f" {part} " for part in letters).split())


def _common(one: Words, other: Words) -> int:
    """Count the letters with which both names begin."""
    return next(
        (size for size, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _worth(letters: Words) -> float:
    sizes = (0.5 if _IS_HAN.match(part) else 1.0 if len(part) > 3 else 0.3 for part in letters)
    return A_WORD * min(sum(sizes), MOST_WORDS)


# --- texts ---

_LATIN = re.compile(r"[^\W\d_]{3,}")
_HAN_RUN = re.compile(f"[{HAN}]{{2,}}")


def _words_of_texts(dataset: Dataset, works: Works) -> sp.csr_matrix:
    """Return which words the texts of works have, (m, words) bool, without those of the work's own name."""
    numbers: dict[str, int] = {}
    columns: list[int] = []
    ends = [0]
    of_titles = [_text_words(text.partition("\n")[2]) for text in dataset.item_texts]
    for stem, start, end in zip(works.stems, works.titles.indptr, works.titles.indptr[1:], strict=False):
        of_one = dict.fromkeys(chain.from_iterable(of_titles[title] for title in works.titles.indices[start:end]))
        columns.extend(numbers.setdefault(word, len(numbers)) for word in of_one if word not in stem)
        ends.append(len(columns))
    return sp.csr_matrix((np.ones(len(columns), bool), columns, ends), shape=(len(works.stems), max(len(numbers), 1)))


def _text_words(text: str) -> dict[str, None]:
    """Return the words of a text, each once; of Chinese or Japanese, pairs of characters."""
    words = dict.fromkeys(_LATIN.findall(text.lower()))
    if text.isascii() or not _IS_HAN.search(text):
        return words
    pairs = (run[start : start + 2] for run in _HAN_RUN.findall(text) for start in range(len(run) - 1))
    return dict.fromkeys(chain(pairs, (word for word in words if not _IS_HAN.match(word))))


def _alike_in_text(words: sp.csr_matrix, works: Works) -> list[tuple[int, int]]:
    """Return pairs of works whose texts share some rare words."""
    by_word = words.tocsc()
    by_word.sort_indices()
    counts = np.diff(by_word.indptr)
    shared: Counter[tuple[int, int]] = Counter()
    for column in np.flatnonzero((counts > 1) & (counts <= RARE)):
        shared.update(combinations(by_word.indices[by_word.indptr[column] : by_word.indptr[column + 1]].tolist(), 2))
    return [
        (one, other)
        for (one, other), count in shared.items()
        if count >= RARE_WORDS and not works.meets[one] and not works.meets[other]
    ]


def _shared_text(words: sp.csr_matrix, ends: np.ndarray) -> np.ndarray:
    """Return the cosine of the texts of pairs of works (n,), words weighed by how rare they are."""
    rarity = np.log(words.shape[0] / np.maximum(np.bincount(words.indices, minlength=words.shape[1]), 1))
    weighed = sp.csr_matrix((rarity[words.indices], words.indices, words.indptr), shape=words.shape)
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    dots = np.asarray(weighed[ends[:, 0]].multiply(weighed[ends[:, 1]]).sum(axis=1)).ravel()
    return dots / np.maximum(lengths[ends[:, 0]] * lengths[ends[:, 1]], 1e-9)


# --- relations of no stated kind ---


def _related_somehow(dataset: Dataset, works: Works, ends: np.ndarray) -> np.ndarray:
    """Say of pairs of works whether a title of one has the relation "other" to one of the other, (n,) bool."""
    one, other = dataset.relations[dataset.relations[:, 2] == RELATIONS.index("other"), :2].T
    shape = (dataset.n_items, dataset.n_items)
    pairs = sp.coo_matrix((np.ones(2 * len(one)), (np.r_[one, other], np.r_[other, one])), shape).tocsr()
    linked = (works.titles @ pairs).tocsr()  # (m, n_items)
    return np.asarray(linked[ends[:, 0]].multiply(works.titles[ends[:, 1]]).sum(axis=1)).ravel() > 0


# --- collectors ---


def _shared_collectors(dataset: Dataset, works: Works, ends: np.ndarray) -> np.ndarray:
    """Return the share of the collectors of the less popular work of pairs who have the other, beyond chance (n,)."""
    train = dataset.train[:: max(1, -(-dataset.train.nnz // SAMPLE))]
    users = (works.titles @ train.T.tocsr()).tocsr()  # (m, users)
    users.data[:] = 1
    counts = np.diff(users.indptr)
    one, other = ends.T
    both = np.asarray(users[one].multiply(users[other]).sum(axis=1)).ravel()
    by_chance = counts[one] * counts[other] / max(users.shape[1], 1)
    return np.maximum(both - by_chance, 0) / (np.minimum(counts[one], counts[other]) + HARDLY_ANY)
