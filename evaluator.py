"""Metrics of a full ranking; knows vectors, no model."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from config import TASTE_METRICS, TASTES
from data_loader import Dataset, pairs_of_items
from dataset.recency import users_of
from evaluation.ranking import AsScored, Factor, Ranking
from evaluation.shared_ranking import rank_items
from evaluation.tastes import pairs_by_taste


def recall(hits: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Recall@k = |hits in the first k| / |T|; see METRICS."""
    return hits[:, :k].sum(axis=1) / counts


def ndcg(hits: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k = sum over hits at rank r <= k of 1 / log2(r + 1), by that sum over r = 1 .. min(|T|, k); see METRICS.

    Source:
        Jarvelin and Kekalainen 2002, with binary gains.
    """
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    return hits[:, :k] @ discount[:k] / np.cumsum(discount)[np.minimum(counts, k) - 1]


def hit(hits: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Hit@k = 1 if any of the first k is a hit, else 0; see METRICS."""
    return hits[:, :k].any(axis=1)


def reciprocal_rank(hits: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """MRR@k = 1 / rank of the first hit, 0 without a hit in the first k; see METRICS."""
    return hits[:, :k].any(axis=1) / (hits[:, :k].argmax(axis=1) + 1)


def average_precision(hits: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """MAP@k = sum over hits at rank r <= k of |hits in the first r| / r, divided by min(|T|, k); see METRICS."""
    found = hits[:, :k]
    precisions = np.cumsum(found, axis=1) / np.arange(1, found.shape[1] + 1)
    return (precisions * found).sum(axis=1) / np.minimum(counts, k)


def precision(hits: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Precision@k = |hits in the first k| / k, also where fewer than k titles can be listed; see METRICS."""
    return hits[:, :k].sum(axis=1) / k


# name -> function of hits (n, width) bool, counts (n,) of each user's target items T, at least 1, and k: (n,) values;
# the lists are those of the users in order, best item first. Definitions of all are RecBole's (Zhao et al. 2021).
METRICS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "Recall": recall,
    "NDCG": ndcg,
    "Hit": hit,
    "MRR": reciprocal_rank,
    "MAP": average_precision,
    "Precision": precision,
}


def user_metrics(
    ranking: Ranking, target: sp.csr_matrix, top_k: list[int], names: Iterable[str] = tuple(METRICS)
) -> dict[str, np.ndarray]:
    """Compute metrics, at each cut-off, of every ranked user.

    Args:
        ranking: as from rank_items, lists at least max(top_k) long.
        target: CSR (n_users, n_items).
        top_k: the cut-offs.
        names: which of METRICS; all of them unless given, and then AUC as well where the ranking has it.

    Returns:
        metric key, as "Recall@20" -> (n,) float64 in the order of ranking.user_ids; NaN for users without a target
        item, who belong to no average.
    """
    n_items = target.shape[1]
    counts = np.diff(target.indptr)[ranking.user_ids]
    keys = users_of(target) * n_items + target.indices
    listed = ranking.user_ids[:, None] * n_items + ranking.items
    hits = np.isin(listed, keys) & (ranking.items >= 0)  # (n, width)
    at_least_one = np.maximum(counts, 1)
    metrics = {
        f"{name}@{k}": np.where(counts > 0, METRICS[name](hits, at_least_one, k), np.nan)
        for k in top_k
        for name in names
    }
    if ranking.auc is not None and set(names) == set(METRICS):
        metrics["AUC"] = ranking.auc
    return metrics


def rank(
    user_emb: Factor,
    item_emb: Factor | AsScored,
    target: sp.csr_matrix,
    masked: sp.csr_matrix,
    config: dict[str, Any],
    candidates: np.ndarray | None = None,
    auc: bool = True,
) -> Ranking:
    """Rank the items for every user with a target item; as evaluate, whose lists these are.

    Returns:
        The Ranking, of rows among all items, whatever the candidates.
    """
    users = np.flatnonzero(np.diff(target.indptr))
    if candidates is not None:
        rows = candidates if sp.issparse(item_emb) else torch.from_numpy(candidates)
        item_emb = item_emb.picked(rows) if isinstance(item_emb, AsScored) else item_emb[rows]
        target, masked = target[:, candidates], masked[:, candidates]
    ranking = rank_items(
        user_emb,
        item_emb,
        users,
        masked,
        min(max(config["top_k"]), item_emb.shape[0]),
        target if auc else None,
        config["seed"],
        config["eval_memory_mb"],
    )
    if candidates is None:
        return ranking
    return ranking._replace(items=np.where(ranking.items >= 0, candidates[ranking.items], -1))


def evaluate(
    user_emb: Factor,
    item_emb: Factor | AsScored,
    target: sp.csr_matrix,
    masked: sp.csr_matrix,
    config: dict[str, Any],
    candidates: np.ndarray | None = None,
    auc: bool = True,
) -> dict[str, np.ndarray]:
    """Rank the items for every user with a target item and compute the user's metrics.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D).
        target: CSR (n_users, n_items), the pairs to be found.
        masked: CSR (n_users, n_items), the pairs known before: train, and valid when testing.
        config: uses top_k, seed and eval_memory_mb.
        candidates: item rows to rank among, ascending; all items if None. A list is no longer than there are
            candidates, and only pairs of theirs are targets.
        auc: whether to compute AUC.

    Returns:
        metric key -> (n,) per-user values, n the number of users with a target item; see user_metrics.
    """
    if candidates is not None:
        target = pairs_of_items(target, np.isin(np.arange(target.shape[1]), candidates))
    return user_metrics(rank(user_emb, item_emb, target, masked, config, candidates, auc), target, config["top_k"])


def rank_warm(
    user_emb: Factor, item_emb: Factor | AsScored, dataset: Dataset, part: str, config: dict[str, Any], auc: bool = True
) -> Ranking:
    """Return the lists of evaluate_warm."""
    target = dataset.warm_pairs(part)
    return rank(user_emb, item_emb, target, dataset.masked_for(part), config, dataset.warm_items, auc)


def evaluate_warm(
    user_emb: Factor, item_emb: Factor | AsScored, dataset: Dataset, part: str, config: dict[str, Any], auc: bool = True
) -> dict[str, np.ndarray]:
    """Evaluate among the items with a history only, by which any two models can be compared, with text or without.

    Ranked along with the others, cold items would take places, but only from models that can place them at all.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D).
        dataset: a data_loader.Dataset.
        part: "valid" or "test"; the target is its pairs of items with a history.
        config: as for evaluate.
        auc: as for evaluate.

    Returns:
        As evaluate, of the users with such a target; and, where the data have rates, as taste_metrics.
    """
    ranking = rank_warm(user_emb, item_emb, dataset, part, config, auc)
    found = user_metrics(ranking, dataset.warm_pairs(part), config["top_k"])
    return found | taste_metrics(ranking, dataset, part, config["top_k"])


def taste_metrics(ranking: Ranking, dataset: Dataset, part: str, top_k: list[int]) -> dict[str, np.ndarray]:
    """Compute how well lists of rank_warm find what their users liked, and what they loved.

    Returns:
        metric key, as "liked NDCG@20" or "loved Recall@10" -> values as of user_metrics, of TASTE_METRICS, where only
        the pairs that were liked (or loved) are targets; nothing where the data have no rates.
    """
    pairs = pairs_by_taste(dataset, dataset.warm_pairs(part))
    return {
        f"{taste} {key}": values
        for taste in TASTES
        if taste in pairs
        for key, values in user_metrics(ranking, pairs[taste], top_k, TASTE_METRICS).items()
    }


def figures(metrics: dict[str, np.ndarray], dataset: Dataset, part: str) -> dict[str, Any]:
    """Average per-user metrics on a part and, where its users were drawn, say how many they are and how exact it is.

    Returns:
        As means; where users were drawn, "drawn" as well: {"n_users": of whom the means are, "of": how many they were
        drawn from, "standard_error": {metric key: s / sqrt(n), of the n users with a value and their standard deviation
        s, with n - 1}}, 0.0 below two users.
    """
    found: dict[str, Any] = means(metrics)
    if part not in dataset.drawn:
        return found
    n_users = max((len(values) for values in metrics.values()), default=0)
    errors = {key: _standard_error(values[np.isfinite(values)]) for key, values in metrics.items()}
    return found | {"drawn": {"n_users": n_users, "of": dataset.drawn[part].n_from, "standard_error": errors}}


def told_of_drawn(found: dict[str, Any], metric: str) -> str:
    """Say of figures of drawn users how many they are, and how exact a metric is; "" where all users were asked."""
    if "drawn" not in found:
        return ""
    drawn, error = found["drawn"], found["drawn"]["standard_error"][metric]
    return f"{drawn['n_users']:,} users drawn from {drawn['of']:,}; {metric} {found[metric]:.4f} ± {error:.4f}"


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def means(metrics: dict[str, np.ndarray], users: np.ndarray | slice = slice(None)) -> dict[str, float]:
    """Average per-user metrics over users, passing over NaN; 0.0 where no user is left."""
    picked = {key: values[users] for key, values in metrics.items()}
    return {key: float(np.nanmean(values)) if np.isfinite(values).any() else 0.0 for key, values in picked.items()}
