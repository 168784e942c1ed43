"""Figures by what people rated: whether lists find what their users liked, and spare them what they disliked."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from config import TASTES
from data_loader import Dataset
from dataset.recency import users_of
from evaluation.ranking import AsScored, Factor, Ranking
from evaluation.tastes import asked_pairs, pairs_by_taste
from evaluator import means, rank_warm, taste_metrics, user_metrics


def rated_figures(ranking: Ranking, dataset: Dataset, part: str, top_k: list[int]) -> dict[str, Any]:
    """Measure lists by the held-out pairs that were rated; see RatingScale for z, how much a user liked a title.

    share@k  = disliked pairs whose title stands in the first k of the user's list / all disliked pairs
    mean z@k = mean z of the rated pairs whose title stands there

    Args:
        ranking: of rank_warm for this part.
        dataset: with rates; see pairs_by_taste for what is liked, loved and disliked.
        part: "valid" or "test"; of its pairs those of titles with a history count.
        top_k: the cut-offs.

    Returns:
        {"liked": {"n_pairs", "n_users", "Recall@k", "NDCG@k"}, "loved": {...}: see taste_metrics, averaged over users
        with such a pair; "disliked": {"n_pairs", "n_users", "share@k"}; "n_rated", "n_users" (with a rated pair), "mean
        z@k", "mean z of all" (rated pairs, listed or not)}. A figure of no pair is left out.
    """
    pairs, by_user = dataset.warm_pairs(part), means(taste_metrics(ranking, dataset, part, top_k))
    found: dict[str, Any] = {}
    for taste, chosen in pairs_by_taste(dataset, pairs).items():
        if taste in TASTES:
            figures = {key.partition(" ")[2]: value for key, value in by_user.items() if key.startswith(taste + " ")}
        else:
            places = places_of(chosen, ranking)
            figures = {f"share@{k}": float((places < k).mean()) for k in top_k} if chosen.nnz else {}
        found[taste] = {"n_pairs": int(chosen.nnz), "n_users": _n_users(chosen), **(figures if chosen.nnz else {})}
    is_rated, scores, places = dataset.rates_of(pairs) != 0, dataset.scores_of(pairs), places_of(pairs, ranking)
    chosen = {"mean z of all": is_rated, **{f"mean z@{k}": is_rated & (places < k) for k in top_k}}
    z = {name: float(scores[are].mean(dtype=np.float64)) for name, are in chosen.items() if are.any()}
    return {**found, "n_rated": int(is_rated.sum()), "n_users": len(np.unique(users_of(pairs)[is_rated])), **z}


def _n_users(pairs: sp.csr_matrix) -> int:
    return int(np.count_nonzero(np.diff(pairs.indptr)))


def places_of(pairs: sp.csr_matrix, ranking: Ranking) -> np.ndarray:
    """Return where the title of each pair stands in the list of its user, (nnz,): 0 is first, inf in no list."""
    rows, ranks = np.nonzero(ranking.items >= 0)
    where = ranking.user_ids[rows], ranking.items[rows, ranks]
    listed = sp.csr_matrix((ranks + 1.0, where), pairs.shape)
    if not pairs.nnz or not listed.nnz:  # scipy picks no values of nothing
        return np.full(pairs.nnz, np.inf)
    places = np.asarray(listed[users_of(pairs), pairs.indices]).ravel()  # 0 in no list
    return np.where(places > 0, places - 1, np.inf)


def liked_and_all(
    user_emb: Factor, item_emb: Factor | AsScored, dataset: Dataset, part: str, config: dict[str, Any]
) -> tuple[float, float]:
    """Measure one ranking twice among the items with a history: by all pairs, and by those that were liked.

    Args:
        user_emb: (n_users, D), sparse or not; item_emb: (n_items, D).
        dataset: with rates or without.
        part: "valid" or "test".
        config: uses early_stop_metric (for AUC, which is one of all pairs, NDCG at the largest of top_k stands in),
            top_k, seed and eval_memory_mb.

    Returns:
        The mean of early_stop_metric, and the mean of the same metric where only liked pairs are targets; of "loved
        NDCG@20", the second is that of the liked. 0.0 where no user has such a pair.
    """
    asked = f"NDCG@{max(config['top_k'])}" if config["early_stop_metric"] == "AUC" else config["early_stop_metric"]
    metric = asked.rpartition(" ")[2]
    ranking, pairs = rank_warm(user_emb, item_emb, dataset, part, config, auc=False), dataset.warm_pairs(part)

    def figure(which: str) -> float:
        target, _ = asked_pairs(dataset, pairs, which)
        name, _, k = metric.partition("@")
        return means(user_metrics(ranking, target, [int(k)], [name]))[metric]

    return figure(asked), figure(f"liked {metric}")
