"""How much each title is what words ask for: by meaning, by letters and by the tags that they name."""

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from data_loader import Dataset
from inference.cold_items import encoders_of
from inference.finished_run import FinishedRun
from inference.name_forms import folded
from inference.wish_words import Words
from llm_embedding import BLOCK_DIMS
from text.encoders import NO_TEXT, Encode, lsa_encoder, tag_encoder
from text.whitening import whitening

log = logging.getLogger("aglrec")

# what each way of comparing counts, in spreads over the titles; chosen on valid by studies/wishes.py
WEIGHTS = {"meaning": 1.0, "letters": 1.0, "tags": 1.0}
AWAY = 1.0  # what being like what is not wanted counts, for each way
BY_LETTERS = "the words are compared by their letters (lsa), not by what they mean"


class Space(NamedTuple):
    """A way in which words and titles are compared: the cosine of vectors."""

    name: str  # of WEIGHTS
    titles: np.ndarray  # (n_items, L) of length 1, or zeros
    read: Callable[[list[str]], np.ndarray]  # n texts -> (n, L) of length 1, or zeros

    def scores(self, texts: list[str]) -> np.ndarray:
        """Return how alike texts and titles are, in spreads over the titles: (n, n_items)."""
        return in_spreads(self.read(texts) @ self.titles.T)


class Reader(NamedTuple):
    """What reads the words that a run is asked with."""

    spaces: list[Space]
    encode: Encode  # of the first space: that of the run, or lsa
    note: str  # a sentence on what it cannot do; "" where nothing is missing

    @property
    def by(self) -> str:
        """Name what words are compared by in the first place: "meaning" or "letters"."""
        return self.spaces[0].name


@lru_cache(maxsize=2)
def reader_of(run: FinishedRun) -> Reader:
    """Open what reads words for a run: its encoder, where there is one to be had, letters and tags.

    Raises:
        ValueError: no title has a text.
    """
    if run.config["model_name"] == "lsa" or not run.has_item_text:
        return make_reader(run.dataset, None, None, f"{BY_LETTERS}, since this run has no transformer")
    try:
        encode = encoders_of(run)["encoder"]
        return make_reader(run.dataset, encode, run.text_vectors.items[:, : run.text_vectors.blocks["encoder"]])
    except (OSError, ValueError) as error:
        return make_reader(run.dataset, None, None, f"{BY_LETTERS}: {error}")


def make_reader(dataset: Dataset, encode: Encode | None, vectors: np.ndarray | None, note: str = "") -> Reader:
    """Make a reader for the titles of a dataset.

    Args:
        dataset: for its titles alone.
        encode: an encoder, None for none.
        vectors: (n_items, L) what it makes of the titles' texts.
        note: of the reader.

    Raises:
        ValueError: no title has a text.
    """
    if not any(dataset.item_texts):
        raise ValueError(NO_TEXT)
    letters = lsa_encoder(dataset.item_texts, BLOCK_DIMS["words"])
    spaces = [] if encode is None else [space("meaning", vectors, encode)]
    spaces.append(space("letters", letters(dataset.item_texts), letters))
    if len({*dataset.item_tags}) > 1:
        spaces.append(tag_space(dataset))
    return Reader(spaces, encode or letters, note)


def space(name: str, titles: np.ndarray, encode: Encode) -> Space:
    """Compare by an encoder's vectors, of which titles has those of the titles (n_items, L), whitened."""
    evened = whitening(titles)
    return Space(name, unit(evened(titles)), lambda texts: unit(evened(encode(texts, as_query=True))))


def tag_space(dataset: Dataset) -> Space:
    """Compare by the titles' tags that stand in the words: as words of their own, but in scripts without spaces."""
    encode = tag_encoder(dataset.item_tags, BLOCK_DIMS["tags"])
    known = {folded(tag): tag for tags in dataset.item_tags for tag in tags.splitlines() if len(tag) > 1}

    def read(texts: list[str]) -> np.ndarray:
        return encode(["\n".join(tags_in(text, known)) for text in texts])

    return Space("tags", encode(dataset.item_tags), read)


def tags_in(text: str, known: dict[str, str]) -> list[str]:
    """Return the tags that a text names: of known, folded -> as written."""
    said = folded(text)
    return [
        tag
        for key, tag in known.items()
        if key in said and re.search(rf"(?<![a-z0-9]){re.escape(key)}(?![a-z0-9])", said)
    ]


def read(reader: Reader, words: Words) -> np.ndarray:
    """Return how much each title is what is asked for, and not what is not wanted: (n_items,) in spreads.

    Raises:
        ValueError: nothing of the words is known.
    """
    parts = [words.wanted] * bool(words.wanted) + [*words.unwanted]
    total, wanted = np.zeros(len(reader.spaces[0].titles)), bool(words.wanted)
    for one in reader.spaces:
        scores = one.scores(parts)
        if wanted:
            total += WEIGHTS[one.name] * scores[0]
        total -= AWAY * np.maximum(scores[wanted:], 0).sum(axis=0)
    if not total.any():
        raise ValueError(
            f"nothing is known of {'; '.join(parts)!r}; ask with other words, in a language of the titles' texts"
        )
    return in_spreads(total[None])[0]


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows (n, L) at length 1; those of zeros stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def in_spreads(scores: np.ndarray) -> np.ndarray:
    """Return scores (n, n_items) centred, in units of each row's standard deviation; zeros where a row has none."""
    spread = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 1e-9, spread, np.inf)
