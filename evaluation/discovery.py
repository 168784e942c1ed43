"""Figures by franchise: whether lists find what continues a user's titles, and what is new to the user."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from dataset.franchises import franchises_of
from dataset.recency import users_of
from evaluation.ranking import Factor, Ranking
from evaluation.tastes import picked
from evaluator import means, rank, user_metrics
from runtime.memory import in_blocks

FRANCHISE_METRICS = ("Recall", "NDCG")
CELLS = 2**23  # of users x titles, ranked at a time; not by memory, or ties would be broken otherwise


def franchise_figures(
    user_emb: Factor, item_emb: Factor, ranking: Ranking, dataset: Dataset, part: str, config: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measure by what users knew of a franchise before: the figures of list_figures, and of two kinds of pairs.

    A pair is "continuing" if its user is known by another title of the franchise, and found among titles of such
    franchises alone; else it is "discovery", and found among the titles of all others. A title without a franchise is
    one of its own.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D).
        ranking: of rank_warm for this part.
        dataset: whose franchises are learned without any held-out pair.
        part: "valid" or "test"; of its pairs those of titles with a history count.
        config: uses top_k, seed and eval_memory_mb.

    Returns:
        {"discovery": {"n_pairs", "n_users", "Recall@k", "NDCG@k"}, "continuing": {...}, "lists": {...}}, averaged over
        users with such a pair and without figures where nobody has one; and per-user values of NDCG, in the order of
        ranking.user_ids, as "discovery NDCG@20". Nothing where each title is a franchise of its own.
    """
    groups, top_k = franchises_of(dataset).groups, config["top_k"]
    if len(np.unique(groups)) == dataset.n_items:
        return {}, {}
    known, pairs = known_franchises(dataset, part), dataset.warm_pairs(part)
    continues = _has(known, users_of(pairs), groups[pairs.indices])
    found: dict[str, Any] = {"lists": list_figures(ranking, known, dataset.masked_for(part), dataset, top_k)}
    per_user: dict[str, np.ndarray] = {}
    for name, target in (("discovery", picked(pairs, ~continues)), ("continuing", picked(pairs, continues))):
        lists = _lists(user_emb, item_emb, target, known, name == "continuing", dataset, part, config)
        values = user_metrics(lists, target, top_k, FRANCHISE_METRICS)
        found[name] = {"n_pairs": int(target.nnz), "n_users": len(lists.user_ids)}
        found[name] |= means(values) if target.nnz else {}
        where = np.searchsorted(ranking.user_ids, lists.user_ids)
        for key in (f"NDCG@{k}" for k in top_k):
            per_user[f"{name} {key}"] = np.full(len(ranking.user_ids), np.nan)
            per_user[f"{name} {key}"][where] = values[key]
    return found, per_user


def known_franchises(dataset: Dataset, part: str) -> sp.csr_matrix:
    """Return which franchises users are known by before a part: CSR (n_users, n_franchises) of their titles' counts."""
    return sp.csr_matrix(dataset.known_before(part) @ members(franchises_of(dataset).groups))


def members(groups: np.ndarray) -> sp.csr_matrix:
    """Return which titles belong to which franchise, of groups (n_items,): CSR (n_items, n_franchises) of ones."""
    ones = np.ones(len(groups), np.float32)
    return sp.csr_matrix((ones, groups, np.arange(len(groups) + 1)), (len(groups), int(groups.max(initial=-1)) + 1))


def list_figures(
    ranking: Ranking, known: sp.csr_matrix, had: sp.csr_matrix, dataset: Dataset, top_k: list[int]
) -> dict[str, float]:
    """Describe lists by franchise.

    Args:
        ranking: of n users.
        known: see known_franchises.
        had: CSR (n_users, n_items), the pairs that users had before.
        dataset: with franchises.
        top_k: the cut-offs.

    Returns:
        At each cut-off k: "known@k", the share of entries of a franchise that the user is known by; "franchises@k", how
        many different ones a list has on average; "ahead@k", the share of entries whose predecessor is neither one of
        the user's titles nor listed above; "collectors@k", the median of how many users collected an entry.
    """
    groups, before = franchises_of(dataset).groups, franchises_of(dataset).before
    collectors = np.bincount(dataset.train.indices, minlength=dataset.n_items)
    found = {}
    for k in top_k:
        items = ranking.items[:, :k]
        rows, ranks = np.nonzero(items >= 0)
        users, entries = ranking.user_ids[rows], items[rows, ranks]
        if not len(entries):
            continue
        predecessor = before[entries]
        seen = _has(had, users, np.maximum(predecessor, 0))
        place = {pair: number for number, pair in enumerate(zip(rows.tolist(), entries.tolist(), strict=True))}
        above = [
            place.get((row, title), len(place)) < number
            for number, (row, title) in enumerate(zip(rows.tolist(), predecessor.tolist(), strict=True))
        ]
        found[f"known@{k}"] = float(_has(known, users, groups[entries]).mean())
        found[f"franchises@{k}"] = len({*zip(rows.tolist(), groups[entries].tolist(), strict=True)}) / len(items)
        found[f"ahead@{k}"] = float(((predecessor >= 0) & ~seen & ~np.array(above)).mean())
        found[f"collectors@{k}"] = float(np.median(collectors[entries]))
    return found


def _has(pairs: sp.csr_matrix, users: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Tell which of some places (n,) of a matrix hold anything, (n,) bool; scipy picks no values of nothing."""
    return np.asarray(pairs[users, columns]).ravel() > 0 if len(users) else np.zeros(0, bool)


def _lists(
    user_emb: Factor,
    item_emb: Factor,
    target: sp.csr_matrix,
    known: sp.csr_matrix,
    continuing: bool,
    dataset: Dataset,
    part: str,
    config: dict[str, Any],
) -> Ranking:
    """Rank, for every user with a target, the titles of franchises that the user is known by, or of all others."""
    users, belongs = np.flatnonzero(np.diff(target.indptr)), members(franchises_of(dataset).groups)
    masked, kept = dataset.masked_for(part), np.zeros(dataset.n_items, bool)
    kept[dataset.warm_items] = True

    def ranked(rows: slice) -> Ranking:
        mine = np.zeros(dataset.n_users, np.float32)
        mine[users[rows]] = 1
        of_some = sp.csr_matrix(sp.diags_array(mine) @ target)
        of_some.eliminate_zeros()
        inside = (known[users[rows]] @ belongs.T).toarray() > 0  # (b, n_items)
        out = np.flatnonzero((inside != continuing) & kept)
        columns = out % dataset.n_items
        others = sp.csr_matrix(
            (np.ones(len(out), np.float32), (users[rows][out // dataset.n_items], columns)), target.shape
        )
        return rank(user_emb, item_emb, of_some, masked + others, config, dataset.warm_items, auc=False)

    parts = list(in_blocks(len(users), max(1, CELLS // dataset.n_items), ranked))
    if not parts:
        return Ranking(users, np.empty((0, max(config["top_k"])), np.int64), np.empty((0, 1), np.float32), None)
    return Ranking(users, *(np.concatenate([found[a] for found in parts]) for a in (1, 2)), None)
