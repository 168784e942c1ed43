"""Someone who is not in a run: which of their titles count, how much each was liked, and how old it is.

Scores are in the person's own spreads, as those of the run's users are; see dataset.ratings.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dataset.ratings import DISLIKED, DROPPED, rating_scale
from dataset.recency import ages
from inference.finished_run import FinishedRun
from inference.fold_in import FoldedIn, place_users
from inference.lookup import rated_titles
from inference.shaped_lists import Has

log = logging.getLogger("aglrec")

# scores of who says no more than this: a little above Loved and Liked of dataset.ratings, and what dropping says
LOVE, LIKE, DISLIKE = 1.0, 0.3, DROPPED
MAXIMA = (5.0, 10.0, 100.0)  # what rates are usually given out of


class Person(NamedTuple):
    """Rows of the titles of someone; hashable, and the same in whatever order the titles were named."""

    items: tuple[int, ...]  # those that count, ascending
    scores: tuple[float, ...]  # of each, 0 where unrated; see ratings.RatingScale
    ages: tuple[float, ...] | None  # of each, see recency.ages; None where no order is known
    left_out: tuple[int, ...]  # those that say nothing, and are not listed either


def person(
    run: FinishedRun,
    items: Sequence[int],
    scores: Sequence[float] | None = None,
    times: Sequence[float] | None = None,
    is_negative: Sequence[bool] | None = None,
    left_out: Sequence[int] = (),
) -> Person:
    """Say what a run makes of someone's titles.

    Args:
        run: as from load_finished.
        items: (n,) rows of titles, each once.
        scores: (n,) how much each was liked, 0 where unrated; None if all are.
        times: (n,) seconds or any numbers that rise with time, NaN where unknown; None if all are.
        is_negative: (n,) which are no positives, and say nothing where the run uses no rates; those up to DISLIKED if
            None.
        left_out: rows of further titles, which are not listed.
    """
    rows, order = np.asarray(items, int), np.argsort(np.asarray(items, int))
    liked = np.zeros(len(rows)) if scores is None else np.asarray(scores, float)
    counts = np.ones(len(rows), bool)
    if not run.uses_rates:
        counts = liked > DISLIKED if is_negative is None else ~np.asarray(is_negative, bool)
        liked = np.zeros(len(rows))
    order, excluded = order[counts[order]], {*map(int, left_out), *rows[~counts].tolist()} - {*rows[counts].tolist()}
    rows = rows[order]
    pairs = sp.csr_matrix((np.ones(len(rows), np.float32), rows, [0, len(rows)]), shape=(1, run.dataset.n_items))
    known = np.full(len(rows), np.nan) if times is None else np.asarray(times, float)[order]
    has_order = len(np.unique(known)) > 1  # nan is a time of its own
    old = tuple(ages(pairs, known).tolist()) if has_order else None
    return Person(tuple(rows.tolist()), tuple(liked[order].tolist()), old, tuple(sorted(excluded)))


def place(run: FinishedRun, who: Person) -> FoldedIn:
    """Place someone who has at least one title that counts; see fold_in.place_users."""
    shape = (1, run.dataset.n_items)
    pairs = sp.csr_matrix((np.ones(len(who.items), np.float32), who.items, [0, len(who.items)]), shape=shape)
    old = None if who.ages is None else np.array(who.ages, np.float32)
    return place_users(run, pairs, np.array(who.scores, np.float32) if run.uses_rates else None, old)


def tells_nothing(run: FinishedRun, who: Person) -> bool:
    """Whether the run knows nothing of any of someone's titles: nobody had collected one, and none has a text.

    Their list would follow from what they did not name alone.
    """
    rows, layout = list(who.items), run.layout
    return not run.item_emb[rows, : layout.dim].any() and not (layout.linear and layout.linear[0][rows].any())


UNKNOWN = "nothing is known of these titles: nobody else had collected one in training, and the run has no text of them"


def has_of(who: Person) -> Has:
    """Say what a person has; a title as disliked as a dropped one counts as dropped."""
    dropped = [item for item, score in zip(who.items, who.scores, strict=True) if score <= DROPPED]
    return Has(who.items, who.left_out, dropped)


def has_of_user(run: FinishedRun, user: int) -> Has:
    """Say what a user of the run has, by all that they collected and their rates, where the run uses them."""
    seen = run.dataset.seen[[user]]
    mine = slice(*run.dataset.seen.indptr[user : user + 2])
    rates = np.zeros(seen.nnz) if run.dataset.rates is None or not run.uses_rates else run.dataset.rates[mine]
    scores = run.dataset.rating_scale.scores(np.full(seen.nnz, user), rates)
    return Has(seen.indices.tolist(), (), seen.indices[scores <= DROPPED].tolist())


# --- rates ---


def top_of(rates: np.ndarray) -> float:
    """Return what rates are given out of, by the largest: the usual maximum from it on."""
    largest = float(np.max(rates, initial=0))
    return next((top for top in MAXIMA if largest <= top), largest)


def on_the_scale(run: FinishedRun, rates: np.ndarray, top: float) -> np.ndarray:
    """Bring rates (n,) given out of top to the scale of the run's data; 0 stays unrated."""
    known = run.dataset.rates
    return rates if known is None or not known.any() else rates * (top_of(known) / top)


def scores_of(run: FinishedRun, rates: np.ndarray) -> np.ndarray:
    """Return how much someone liked what they rated (n,) on the scale of the data: (n,) float32, 0 where unrated.

    Their mean and spread are drawn towards those of the run's catalogue; see ratings.rating_scale.
    """
    nobody, catalogue = np.zeros(len(rates), int), run.dataset.rating_scale
    return rating_scale(nobody, rates, 1, catalogue=(catalogue.mean, catalogue.spread)).scores(nobody, rates)


def by_rates(run: FinishedRun, rated: dict[int, float]) -> Person:
    """Say what a run makes of titles that someone rated as in its data, row -> rate, 0 where unrated.

    Rates above all of the data's scale are brought to it, those below min_rate are of no positives.
    """
    rates, known = np.array([*rated.values()], float), run.dataset.rates
    if known is not None and top_of(rates) > top_of(known):
        rates = on_the_scale(run, rates, top_of(rates))
    is_negative = (rates != 0) & (rates < run.config["min_rate"])
    return person(run, [*rated], scores_of(run, rates), is_negative=is_negative)


def named_person(run: FinishedRun, text: str) -> tuple[Person, str]:
    """Read the titles that someone collected, with their rates, and say for whom the list is.

    Raises:
        ValueError: no name fits exactly one title, or all of the titles are disliked.
    """
    rated, refused = rated_titles(run, text)
    if not rated:
        raise ValueError("; ".join(refused))
    for sentence in refused:
        log.warning(f"left out: {sentence}")
    who = by_rates(run, rated)
    if any(rated.values()) and not run.uses_rates:
        log.warning(
            f"this run was trained without rates (--rating_weight): a rate below {run.config['min_rate']:g} leaves its "
            "title out, and any other changes nothing"
        )
    if are_disliked(who.scores):
        raise ValueError(f"all titles of {text!r} are disliked; name at least one that is not")
    names = [
        run.dataset.item_names[item] + f" ({rate:g})" * bool(rate) + " (left out)" * (item in who.left_out)
        for item, rate in rated.items()
    ]
    return who, f"for someone who collected {', '.join(names)}:"


def are_disliked(scores: Sequence[float]) -> bool:
    """Whether all of these are, so that there is nothing to recommend by."""
    return all(score <= DISLIKED for score in scores)
