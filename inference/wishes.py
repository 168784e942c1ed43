"""Lists asked for in words: of titles like the words, of what suits a person, or of both, still by one dot product.

How much each title is what the words ask for (see wish_reader) stands in a further column of the titles' final vectors,
and what words count in that of the person's vector; so all rules of people's lists hold. The rest of that vector is
scaled, so that words and taste count as asked, whatever the spread of a run's scores.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from inference.explanations import Composition, Part
from inference.finished_run import FinishedRun
from inference.kept import kept
from inference.lists import Titles, list_for_person
from inference.lookup import summary_of
from inference.shaped_lists import Has, Rules
from inference.wish_reader import Reader, dense, read, reader_of
from inference.wish_words import Words, read_words, sentences

# what words count beside taste, from 0 to 1, unless it is said; chosen on valid by studies/wishes.py
WEIGHT = 0.6
KEPT = 1024  # titles, the vectors of whose sentences are kept


class Wish(NamedTuple):
    """What is asked for."""

    words: Words
    scores: np.ndarray  # (n_items,) how much each title is that, in spreads over the titles
    reader: Reader

    @property
    def heading(self) -> str:
        """Say what was understood."""
        parts = ([f"“{self.words.wanted}”"] if self.words.wanted else []) + [
            f"not “{of}”" for of in self.words.unwanted
        ]
        return ", ".join(parts)


def wish_for(run: FinishedRun, text: str) -> Wish:
    """Read what is asked of a run.

    Raises:
        ValueError: nothing is asked, or nothing of it is known, or no title has a text.
    """
    words, reader = read_words(text), reader_of(run)
    if not words.wanted and not words.unwanted:
        raise ValueError('nothing is asked for; say it as in --wish "a slow, sad story about robots, no romance"')
    return Wish(words, read(reader, words), reader)


def list_for_wish(
    run: FinishedRun,
    wish: Wish,
    weight: float,
    user: torch.Tensor | None,
    k: int,
    has: Has,
    rules: Rules,
    among: np.ndarray | None = None,
    composition: Composition | None = None,
) -> Titles:
    """List up to k titles by words and, where there is a person, by taste.

    Args:
        run: as from load_finished.
        wish: as from wish_for.
        weight: what the words count, from 0, by taste alone, to 1, by words alone.
        user: (width,) vector of the person, None for nobody.
        k, has, rules, among, composition: as of list_for_person.

    Returns:
        As of list_for_person; with a composition each title has "says", the sentence of its text that is nearest to
        the words, "" where it has none, and its "parts" have "words".
    """
    asked, vector, composition = with_words(run, wish, weight, user, composition)
    titles = list_for_person(asked, vector, k, has, rules, among, composition)
    if composition is not None:
        said = nearest_sentences(run, wish, [run.item_rows[title["subject_id"]] for title in titles])
        titles = [{**title, "says": one} for title, one in zip(titles, said, strict=True)]
    return titles


def with_words(
    run: FinishedRun, wish: Wish, weight: float, user: torch.Tensor | None, composition: Composition | None
) -> tuple[FinishedRun, torch.Tensor, Composition | None]:
    """Add the column of the words to a run's titles and to a person's vector and its composition."""
    width, scale = run.item_emb.shape[1], 0.0
    if user is None:
        user, weight = torch.zeros(width), 1.0
    if weight < 1:
        spread = (run.item_emb[torch.from_numpy(run.dataset.warm_items)] @ user).std(correction=0).item()
        scale = (1 - weight) / max(spread, 1e-12)
    column = torch.from_numpy(wish.scores.astype(np.float32))[:, None]
    asked = dataclasses.replace(run, item_emb=torch.cat([run.item_emb, column], dim=1))
    if composition is not None:
        parts = [part._replace(vectors=part.vectors * scale) for part in composition.parts] if scale else []
        words = Part("words", slice(width, width + 1), np.array([weight]))
        composition = composition._replace(parts=[*parts, words])
    return asked, torch.cat([scale * user, torch.tensor([weight])]), composition


def nearest_sentences(run: FinishedRun, wish: Wish, items: list[int]) -> list[str]:
    """Return, for each of these titles, the sentence of its summary that is nearest to what is wanted.

    It is "" for a title without a summary, and for all where nothing is wanted.
    """
    if not wish.words.wanted:
        return [""] * len(items)
    query, found = wish.reader.spaces[0].encode([wish.words.wanted], as_query=True), []
    for item in items:
        parts, vectors = _sentences(run, wish.reader, item)
        found.append(parts[int(dense(vectors @ query.T).argmax())] if parts else "")
    return found


@kept(KEPT)
def _sentences(run: FinishedRun, reader: Reader, item: int) -> tuple[list[str], np.ndarray | sp.csr_matrix]:
    """Return the sentences of a title's summary, and their vectors (n, L) in the first space of a reader."""
    parts = sentences(summary_of(run.dataset, item))
    return parts, reader.spaces[0].encode(parts) if parts else np.empty((0, 0), np.float32)
