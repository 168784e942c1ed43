"""Lists of titles with ids, names and scores."""

from typing import Any

import numpy as np
import torch

from evaluator import rank_items


def recommend(user_emb: torch.Tensor, item_emb: torch.Tensor, dataset: Any, k: int, config: dict[str, Any],
              user_ids: np.ndarray | None = None,
              candidates: np.ndarray | None = None) -> dict[str, list[dict[str, Any]]]:
    """List the best k titles each user has not collected: {raw user id: [{subject_id, name, score}, ...]}.

    With candidates, item rows, only these are listed, and no more than there are.
    """
    users = np.arange(dataset.n_users) if user_ids is None else user_ids
    among = np.arange(dataset.n_items) if candidates is None else candidates
    if not len(among):
        return {dataset.raw_user_ids[user]: [] for user in users}
    k = k if candidates is None else min(k, len(among))
    ranking = rank_items(user_emb, item_emb[torch.from_numpy(among).to(item_emb.device)], users, dataset.seen[:, among],
                         k, None, config["seed"], config["eval_memory_mb"])
    items = np.where(ranking.items >= 0, among[ranking.items], -1)
    return {dataset.raw_user_ids[user]: titled(dataset, *lists)
            for user, *lists in zip(users, items.tolist(), ranking.scores.tolist(), strict=True)}


def titled(dataset: Any, items: list[int], scores: list[float]) -> list[dict[str, Any]]:
    """Put ids and names to a list of item rows, leaving out the -1 of rank_items."""
    return [{"subject_id": dataset.raw_item_ids[item], "name": dataset.item_names[item], "score": score}
            for item, score in zip(items, scores, strict=True) if item >= 0]
