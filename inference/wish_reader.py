"""How much each title is what words ask for: by meaning, by the words themselves and by the tags that they name."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from inference.cold_items import encoders_of
from inference.finished_run import FinishedRun
from inference.kept import kept
from inference.name_forms import PHRASES, UNSPACED, folded, words_of
from inference.wish_words import Words
from llm_embedding import BLOCK_DIMS
from text.encoders import NO_TEXT, Encode, tag_encoder
from text.languages import without_language
from text.scripts import script_of

# what each way of comparing counts, in spreads over the titles; chosen on valid by studies/wishes.py
WEIGHTS = {"meaning": 1.0, "words": 1.0, "tags": 0.5}
AWAY = 1.0  # what being like what is not wanted counts, beside being like what is
BY_WORDS = "words are looked for as they are written, not by what they mean"


class Space(NamedTuple):
    """A way in which words and titles are compared: by the cosine of vectors."""

    name: str  # of WEIGHTS
    titles: np.ndarray | sp.csr_matrix  # (n_items, L) of length 1, or zeros
    encode: Encode  # which may return a sparse matrix

    def scores(self, texts: list[str]) -> np.ndarray:
        """Return how alike texts and titles are, in spreads over the titles: (n, n_items)."""
        return in_spreads(np.asarray(dense(self.encode(texts, as_query=True) @ self.titles.T), np.float32))


@dataclass(frozen=True, eq=False)
class Reader:
    """What reads the words that a run is asked with."""

    spaces: list[Space]
    note: str = ""  # a sentence on what it cannot do; "" where nothing is missing

    @property
    def by(self) -> str:
        """Name what words are compared by in the first place: "meaning", or "words" as they are written."""
        return self.spaces[0].name


@kept(2)
def reader_of(run: FinishedRun) -> Reader:
    """Open what reads words for a run: its encoder, where there is one to be had, the words themselves, and tags.

    Raises:
        ValueError: no title has a text.
    """
    if run.config["model_name"] == "lsa" or not run.has_item_text:
        return make_reader(run.dataset, note=f"{BY_WORDS}, since this run has no transformer")
    try:
        encode, n_columns = encoders_of(run, further=False)["encoder"], run.text_vectors.blocks["encoder"]
    except (OSError, ValueError) as error:
        return make_reader(run.dataset, note=f"{BY_WORDS}: {error}")
    return make_reader(run.dataset, encode, run.text_vectors.items[:, :n_columns])


def make_reader(
    dataset: Dataset, encode: Encode | None = None, vectors: np.ndarray | None = None, note: str = ""
) -> Reader:
    """Make a reader for the titles of a dataset.

    Args:
        dataset: for its titles alone.
        encode: an encoder, None for none.
        vectors: (n_items, L) what it makes of the titles' texts; not whitened, which finds less.
        note: of the reader.

    Raises:
        ValueError: no title has a text.
    """
    if not any(dataset.item_texts):
        raise ValueError(NO_TEXT)
    spaces = [] if encode is None else [Space("meaning", vectors, in_their_language(encode, dataset.item_texts))]
    spaces.append(word_space(with_comments(dataset)))
    if len({*dataset.item_tags}) > 1:
        spaces.append(tag_space(dataset.item_tags))
    return Reader(spaces, note)


def in_their_language(encode: Encode, texts: list[str]) -> Encode:
    """Return an encoder whose queries in a language that these texts lack are moved to what says the same in theirs."""
    scripts = [*map(script_of, texts)]

    def moved(asked: list[str], as_query: bool = False) -> np.ndarray:
        found = encode(asked, as_query=as_query)
        return without_language(encode, asked, found, scripts, as_query) if as_query else found

    return moved


def with_comments(dataset: Dataset) -> list[str]:
    """Return the titles' texts, each followed by what people wrote of it in their train rows: (n_items,)."""
    texts, comments = [[text] for text in dataset.item_texts], dataset.user_comments
    if comments.item_ids is not None:
        for item, said in zip(comments.item_ids.tolist(), comments.texts, strict=True):
            texts[item].append(said)
    return ["\n".join(text) for text in texts]


def word_space(texts: list[str]) -> Space:
    """Compare by the words that texts share, rare ones counting more; see terms_of.

    Source:
        Salton and Buckley 1988, Term-weighting approaches in automatic text retrieval.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    counter = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True, dtype=np.float32).fit(texts)
    return Space("words", counter.transform(texts), lambda texts, as_query=False: counter.transform(texts))


def terms_of(text: str) -> list[str]:
    """Return the words of a text, and the pairs of signs that stand together in scripts without spaces."""
    runs = [found for found in PHRASES.findall(folded(text)) if re.match(f"[{UNSPACED}]", found)]
    return words_of(text) + [one[at : at + 2] for one in runs for at in range(len(one) - 1)]


def tag_space(item_tags: list[str]) -> Space:
    """Compare by the titles' tags that stand in the words: as words of their own, but in scripts without spaces."""
    encode = tag_encoder(item_tags, BLOCK_DIMS["tags"])
    known = {folded(tag): tag for tags in item_tags for tag in tags.splitlines() if len(tag) > 1}
    return Space(
        "tags", encode(item_tags), lambda texts, as_query=False: encode([tags_in(one, known) for one in texts])
    )


def tags_in(text: str, known: dict[str, str]) -> str:
    """Return the tags that a text names, one a line: of known, folded -> as written."""
    said = folded(text)
    found = (key for key in known if key in said and re.search(rf"(?<![a-z0-9]){re.escape(key)}(?![a-z0-9])", said))
    return "\n".join(known[key] for key in found)


def read(reader: Reader, words: Words) -> np.ndarray:
    """Return how much each title is what is asked for, and not what is not wanted: (n_items,) in spreads.

    Raises:
        ValueError: nothing of the words is known.
    """
    wanted, parts = [words.wanted] * bool(words.wanted), [*words.unwanted]
    found = [(WEIGHTS[one.name], one.scores(wanted + parts)) for one in reader.spaces]
    total = sum(weight * scores[: len(wanted)].sum(axis=0) for weight, scores in found)
    total = total - AWAY * sum(weight * np.maximum(scores[len(wanted) :], 0).sum(axis=0) for weight, scores in found)
    if not total.any():
        asked = "; ".join(wanted + parts)
        raise ValueError(f"nothing is known of {asked!r}; ask with other words, in a language of the titles' texts")
    return in_spreads(total[None])[0]


def dense(rows: np.ndarray | sp.csr_matrix) -> np.ndarray:
    """Return a matrix as an array."""
    return rows.toarray() if sp.issparse(rows) else rows


def in_spreads(scores: np.ndarray) -> np.ndarray:
    """Return scores (n, n_items) centred, in units of each row's standard deviation; zeros where a row has none."""
    spread = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 1e-9, spread, np.inf)
