"""What is decided on valid after training: how far titles without a history are lowered in the lists."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from evaluator import Ranking, means, rank_items, user_metrics
from model import UNLISTED

log = logging.getLogger("aglrec")

GRID, HALVINGS, SAMPLE = 64, 10, 10_000


def cold_offset(user_emb: torch.Tensor, item_emb: torch.Tensor, is_raised: np.ndarray, dataset: Any,
                config: dict[str, Any]) -> tuple[float, dict[str, float]]:
    """Find how far titles without a history must be lowered to cost at most cold_cost of the valid metric.

    The metric need not fall as more of them are listed: valid may ask for some, where a title lost all of its rows to
    it. So the offset with the highest metric comes first, and from there cold_cost is spent on listing more.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D), with an offset of 0.
        is_raised: (n_items,) bool, the titles without a history that have a text.
        dataset: its test parts are not looked at; a user's pairs of cold_valid are masked, being no misses.
        config: uses cold_cost, early_stop_metric (for AUC, which no list can change, NDCG at the largest of top_k
            stands in), top_k, seed and eval_memory_mb.

    Returns:
        The offset in units of the score, UNLISTED without a valid part; and what it was decided by: the valid metric
        at the offset, at its highest, and with no such title listed.
    """
    if not dataset.valid.nnz:
        log.warning(f"without a valid part nothing tells how to place the {is_raised.sum():,} titles without a "
                    "history: they are not listed (set a --valid_ratio above 0, or --cold_cost 1 to list them all)")
        return UNLISTED, {}
    metric = config["early_stop_metric"]
    metric = f"NDCG@{max(config['top_k'])}" if metric == "AUC" else metric
    value, offsets = _listing(user_emb, item_emb, is_raised, dataset, {**config, "top_k": [int(metric.split("@")[1])]},
                              metric)
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


def _listing(user_emb: torch.Tensor, item_emb: torch.Tensor, is_raised: np.ndarray, dataset: Any,
             config: dict[str, Any], metric: str) -> tuple[Callable[[float], float], list[float]]:
    """Return the valid metric as a function of the offset, and offsets from none listed to all, descending.

    A list is the best of two lists that no offset changes: of the titles it lowers, and of all others.
    """
    [k], masked = config["top_k"], dataset.known("valid") + dataset.cold_valid
    users = np.flatnonzero(np.diff(dataset.valid.indptr))
    others, raised = (_ranked(user_emb, item_emb, np.flatnonzero(members), users, masked, k, config)
                      for members in (~is_raised, is_raised))

    def value(offset: float) -> float:
        scores = np.concatenate([others.scores, raised.scores - np.float32(offset)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # (n, k)
        items = np.take_along_axis(np.concatenate([others.items, raised.items], axis=1), order, axis=1)
        merged = Ranking(users, items, np.take_along_axis(scores, order, axis=1), None)
        return means(user_metrics(merged, dataset.valid, [k]))[metric]

    # a list changes where a title of one reaches a title of the other
    some = slice(None, None, len(users) // SAMPLE + 1)
    ends = raised.scores[some][:, [0, raised.scores.shape[1] // 2, -1]]
    with np.errstate(invalid="ignore"):  # a list that is too short ends in -inf
        gaps = (ends[:, :, None] - others.scores[some][:, None, :]).ravel()
    gaps = gaps[np.isfinite(gaps)]
    if not gaps.size:
        return value, [0.0]
    inner = np.quantile(gaps, np.linspace(1, 0, GRID))
    margin = 1e-3 * (1 + abs(inner[0]))
    return value, [float(inner[0] + margin), *map(float, inner), float(inner[-1] - margin)]


def _ranked(user_emb: torch.Tensor, item_emb: torch.Tensor, members: np.ndarray, users: np.ndarray, masked: Any,
            k: int, config: dict[str, Any]) -> Ranking:
    """Rank some titles alone, by their rows among all."""
    ranking = rank_items(user_emb, item_emb[torch.from_numpy(members).to(item_emb.device)], users, masked[:, members],
                         min(k, len(members)), None, config["seed"], config["eval_memory_mb"])
    return ranking._replace(items=np.where(ranking.items >= 0, members[ranking.items], -1))
