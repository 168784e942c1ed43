"""How far new titles are lowered, so that listing them costs no more of the valid metric than it may.

And how much of one person's list they may fill: the cost is a mean, and a few lists can bear most of it.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from data_loader import Dataset
from evaluation.ranking import Ranking
from evaluation.tastes import asked_pairs
from evaluator import means, rank, user_metrics
from model import UNLISTED
from runtime.distributed import broadcast_from_rank0

log = logging.getLogger("aglrec")

GRID, HALVINGS, SAMPLE = 64, 10, 10_000
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # of a list, to try
ALIKE = 5e-4  # of a metric, below which the smaller share is taken


@broadcast_from_rank0
def cold_offset(
    user_emb: torch.Tensor, item_emb: torch.Tensor, is_cold: np.ndarray, dataset: Dataset, config: dict[str, Any]
) -> tuple[float, dict[str, float]]:
    """Find how far cold items must be lowered to cost at most cold_cost of the valid metric.

    The metric need not fall as more of them are listed: valid has some as targets, where an item lost all of its rows
    to it. So the offset with the highest metric is found first, and from there cold_cost is spent on listing more.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D), with an offset of 0.
        is_cold: (n_items,) bool, the cold items that have a text.
        dataset: its test parts are not looked at; a user's pairs of cold_valid are masked, since they are no misses.
        config: uses cold_cost, early_stop_metric (see _metric_of_lists), top_k, seed and eval_memory_mb.

    Returns:
        The offset in units of the score, UNLISTED without a valid part; and the figures that decided: the valid metric
        at the offset, at its highest, and with no cold item listed.
    """
    if not dataset.valid.nnz:
        log.warning(
            f"without a valid part the {is_cold.sum():,} new titles cannot be placed, and they are not listed "
            "(set a --valid_ratio above 0, or --cold_cost 1 to list them all)"
        )
        return UNLISTED, {}
    metric = _metric_of_lists(config)
    value, offsets = _listing(
        user_emb, item_emb, is_cold, dataset, {**config, "top_k": [int(metric.split("@")[1])]}, metric
    )
    values = [value(offset) for offset in offsets]
    best = max(range(len(offsets)), key=lambda place: (values[place], -offsets[place]))
    least, place = (1 - config["cold_cost"]) * values[best], best
    while place + 1 < len(offsets) and values[place + 1] >= least:
        place += 1
    found = offsets[place]
    if place + 1 < len(offsets):
        low = offsets[place + 1]
        for _ in range(HALVINGS):
            middle = (low + found) / 2
            low, found = (low, middle) if value(middle) >= least else (middle, found)
    return found, {"metric": metric, "chosen": value(found), "highest": values[best], "none listed": values[0]}


@broadcast_from_rank0
def share_of_new(
    user_emb: torch.Tensor, item_emb: torch.Tensor, is_cold: np.ndarray, dataset: Dataset, config: dict[str, Any]
) -> float:
    """Choose how much of a person's list titles without a history may fill, by what finds most in valid and cold_valid.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D), with the offset.
        is_cold: (n_items,) bool, the cold items that have a text.
        dataset: its test parts are not looked at.
        config: as for cold_offset.

    Returns:
        The smallest of SHARES whose metric is the best but for ALIKE of it; 1 where no such title is asked for.
    """
    target, asked = dataset.targets("valid") + dataset.targets("cold_valid"), np.flatnonzero(is_cold)
    if not target[:, asked].nnz:
        return 1.0
    metric = _metric_of_lists(config)
    k = int(metric.split("@")[1])
    target, plain = asked_pairs(dataset, target, metric)
    users, masked = np.flatnonzero(np.diff(target.indptr)), dataset.masked_for("valid")
    warm, cold = (
        rank(user_emb, item_emb, target, masked, {**config, "top_k": [k]}, np.flatnonzero(members), auc=False)
        for members in (~is_cold, is_cold)
    )
    values = []
    for share in SHARES:
        may = np.where(np.arange(cold.scores.shape[1]) < round(share * k), cold.scores, -np.inf)
        values.append(means(user_metrics(_merged(users, warm, cold, may, k), target, [k]))[plain])
    return SHARES[next(place for place, value in enumerate(values) if value >= (1 - ALIKE) * max(values))]


def _metric_of_lists(config: dict[str, Any]) -> str:
    """Return early_stop_metric; NDCG at the largest of top_k stands in for AUC, which no list can change."""
    metric = config["early_stop_metric"]
    return f"NDCG@{max(config['top_k'])}" if metric == "AUC" else metric


def _merged(users: np.ndarray, warm: Ranking, cold: Ranking, cold_scores: np.ndarray, k: int) -> Ranking:
    """Return the best k of two lists a user; cold_scores (n, k) stand in for those of the cold."""
    scores = np.concatenate([warm.scores, cold_scores], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # (n, k)
    items = np.take_along_axis(np.concatenate([warm.items, cold.items], axis=1), order, axis=1)
    return Ranking(users, items, np.take_along_axis(scores, order, axis=1), None)


def _listing(
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    is_cold: np.ndarray,
    dataset: Dataset,
    config: dict[str, Any],
    metric: str,
) -> tuple[Callable[[float], float], list[float]]:
    """Return the valid metric as a function of the offset, and offsets from none listed to all, descending.

    A list is the best of two lists that no offset changes: of the titles it lowers, and of all warm.
    """
    [k], masked = config["top_k"], dataset.masked_for("valid") + dataset.cold_valid
    valid = dataset.targets("valid")
    target, plain = asked_pairs(dataset, valid, metric)
    users = np.flatnonzero(np.diff(valid.indptr))
    warm, cold = (
        rank(user_emb, item_emb, valid, masked, config, np.flatnonzero(members), auc=False)
        for members in (~is_cold, is_cold)
    )

    def value(offset: float) -> float:
        merged = _merged(users, warm, cold, cold.scores - np.float32(offset), k)
        return means(user_metrics(merged, target, [k]))[plain]

    # a merged list changes at the offsets where a cold item and another one have the same score
    some = slice(None, None, len(users) // SAMPLE + 1)
    ends = cold.scores[some][:, [0, cold.scores.shape[1] // 2, -1]]
    with np.errstate(invalid="ignore"):  # a list that is too short ends in -inf
        gaps = (ends[:, :, None] - warm.scores[some][:, None, :]).ravel()
    gaps = gaps[np.isfinite(gaps)]
    if not gaps.size:
        return value, [0.0]
    inner = np.quantile(gaps, np.linspace(1, 0, GRID))
    margin = 1e-3 * (1 + abs(inner[0]))
    return value, [float(inner[0] + margin), *map(float, inner), float(inner[-1] - margin)]
