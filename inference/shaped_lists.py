"""Which of the best titles a person's list shows: one a franchise, well known or hidden, and unlike each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from dataset.franchises import franchises_of
from inference.finished_run import FinishedRun

FRANCHISE = ("first", "new", "continue", "all")
EVEN = 0.5  # between what everybody knows and hidden gems: popularity counts as much as in the scores
GEMS = 1.0  # spreads of scores that a spread of log popularity counts at either end
NEAR = 5  # times the length of a list: so many titles are chosen from where they are to be unlike each other


class Rules(NamedTuple):
    """What a list may show.

    franchise: "first": one entry a franchise, the first part that the person has not seen, before the one that suits
    them most; "new": of these, nothing of a franchise that the person knows; "continue": nothing of any other; "all":
    the best titles, whatever they belong to.
    """

    franchise: str = "all"
    niche: float = EVEN  # from 0, what everybody knows, to 1, hidden gems
    diversity: float = 0.0  # what being unlike the titles above counts, from 0 to 1, beside the score
    min_collectors: int = 0  # of a title, in train


class Has(NamedTuple):
    """Rows of the titles of a person."""

    seen: Sequence[int] = ()
    wished: Sequence[int] = ()  # neither seen nor to be listed
    dropped: Sequence[int] = ()  # some of seen, whose franchises are not listed


class Entry(NamedTuple):
    """A title of a list."""

    item: int  # row
    score: float
    after: int  # row of the part that the person has seen and that it follows, -1 for none
    more: int  # further parts of its franchise that the person has not seen


def shaped(
    run: FinishedRun, user: torch.Tensor, k: int, has: Has, among: np.ndarray | None, rules: Rules
) -> list[Entry]:
    """List up to k titles for a person by rules, best first.

    Args:
        run: as from load_finished.
        user: (width,) their vector.
        k: length of the list.
        has: what is not listed.
        among: rows to choose from; all if None.
        rules: see Rules.
    """
    listable = np.ones(run.dataset.n_items, bool) if among is None else np.isin(np.arange(run.dataset.n_items), among)
    listable[[*has.seen, *has.wished]] = False
    listable &= run.item_counts >= rules.min_collectors
    scores = (run.item_emb @ user).double().numpy()
    scores = scores + popularity_shift(scores, run.item_counts, rules.niche)
    items = (
        np.flatnonzero(listable) if rules.franchise == "all" else _one_a_franchise(run, scores, listable, has, rules)
    )
    # of equal scores the first row would win, and rows often follow popularity
    lots = np.random.default_rng([run.config["seed"], 2]).random(run.dataset.n_items)
    items = items[np.lexsort((lots[items], -scores[items]))]
    items = _few_new(items, run.item_counts, int(round(run.share_of_new * k)))
    items = _unlike(run, items[: NEAR * k], scores, k, rules.diversity) if rules.diversity else items[:k]
    return [_entry(run, item, scores[item], has) for item in items.tolist()]


def _few_new(items: np.ndarray, counts: np.ndarray, most: int) -> np.ndarray:
    """Put behind all others what is listed, best first, of titles nobody collected beyond `most` of them."""
    is_new = counts[items] == 0
    late = is_new & (np.cumsum(is_new) > most)
    return np.concatenate([items[~late], items[late]])


def popularity_shift(scores: np.ndarray, counts: np.ndarray, niche: float) -> np.ndarray:
    """Return what log popularity adds to scores (n_items,): nothing in the middle, and nothing to a title without it.

    It is spread over the titles as their scores are, times GEMS at either end.
    """
    warm = counts > 0
    if niche == EVEN or not warm.any():
        return np.zeros(len(scores))
    logs = np.log(np.maximum(counts, 1))
    logs = (logs - logs[warm].mean()) / max(logs[warm].std(), 1e-12)
    return np.where(warm, (1 - 2 * niche) * GEMS * scores[warm].std() * logs, 0.0)


def _one_a_franchise(run: FinishedRun, scores: np.ndarray, listable: np.ndarray, has: Has, rules: Rules) -> np.ndarray:
    """Return the rows of the titles that stand for their franchises, one for each of which something may be listed."""
    groups, _, before, is_extra = franchises_of(run.dataset)
    known, blocked = np.zeros((2, groups.max() + 1), bool)
    known[groups[[*has.seen]]], blocked[groups[[*has.dropped]]] = True, True
    is_known = known[groups]
    listable = listable & ~blocked[groups] & ~(is_extra & ~is_known)
    if rules.franchise == "new":
        listable = listable & ~is_known
    if rules.franchise == "continue":
        listable = listable & is_known
    items = np.flatnonzero(listable)
    items = items[np.lexsort((-scores[items], is_extra[items]))]  # an extra stands for what is seen but for extras
    best = items[np.unique(groups[items], return_index=True)[1]]
    seen, wished = (np.isin(np.arange(len(groups)), of) for of in (has.seen, has.wished))
    firsts = [_first_part(item, before, listable, seen, wished) for item in best.tolist()]
    return np.array([item for item in firsts if item >= 0], int)


def _first_part(item: int, before: np.ndarray, listable: np.ndarray, seen: np.ndarray, wished: np.ndarray) -> int:
    """Return the earliest listable part that leads to a title by unseen ones; -1 if one of these is wished for."""
    found, part = item, before[item]
    while part >= 0 and not seen[part]:
        if wished[part]:
            return -1
        found, part = part if listable[part] else found, before[part]
    return int(found)


def _unlike(run: FinishedRun, items: np.ndarray, scores: np.ndarray, k: int, diversity: float) -> np.ndarray:
    """Choose k of the items (n,), best first, each by its score and by how unlike those above it is.

    Source:
        Carbonell and Goldstein 1998, maximal marginal relevance; likeness is the cosine of trained columns.
    """
    vectors = torch.nn.functional.normalize(run.item_emb[torch.from_numpy(items), : run.layout.dim])
    value = scores[items] - scores[items].min(initial=np.inf)
    value = value / max(value.max(initial=0), 1e-12)
    likeness, chosen = np.zeros(len(items)), []
    for _ in range(min(k, len(items))):
        worth = (1 - diversity) * value - diversity * likeness
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
        cosines = (vectors @ vectors[chosen[-1]]).double().numpy()
        likeness = cosines if len(chosen) == 1 else np.maximum(likeness, cosines)
    return items[chosen]


def _entry(run: FinishedRun, item: int, score: float, has: Has) -> Entry:
    """Say where a listed title stands in its franchise."""
    groups, _, before, is_extra = franchises_of(run.dataset)
    rest = np.flatnonzero((groups == groups[item]) & ~is_extra)
    more = len(np.setdiff1d(rest, [*has.seen, *has.wished, item]))
    after = int(before[item])
    return Entry(item, float(score), after if after in {*has.seen} else -1, more)
