"""Vectors with given scores, and the metrics of their ranking by brute force."""

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from config import TASTES

TOP_K = [1, 5, 10, 20]


def settings(top_k: list[int] | None = None, seed: int = 0, memory_mb: int = 256) -> dict[str, Any]:
    return {"top_k": top_k or TOP_K, "seed": seed, "eval_memory_mb": memory_mb}


def to_csr(dense: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(dense.astype(np.float32))


def nothing(n_users: int, n_items: int) -> sp.csr_matrix:
    return sp.csr_matrix((n_users, n_items), dtype=np.float32)


def vectors_scoring(scores: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return user and item vectors whose dot products are exactly these scores."""
    return torch.from_numpy(scores.astype(np.float32)), torch.eye(scores.shape[1])


def distinct_scores(rng: np.random.Generator, n_users: int, n_items: int) -> np.ndarray:
    """Return scores without ties: a permutation of -n_items / 2 .. n_items / 2 for each user."""
    return np.stack([rng.permutation(n_items) - n_items // 2 for _ in range(n_users)]).astype(np.float32)


def brute_force(scores: np.ndarray, target: np.ndarray, masked: np.ndarray, top_k: list[int]) -> dict[str, list[float]]:
    """Compute every metric of every user with a target by loops, from the formulas."""
    found: dict[str, list[float]] = {}
    for user in range(len(scores)):
        wanted = set(np.flatnonzero(target[user]).tolist())
        if not wanted:
            continue
        free = [item for item in range(scores.shape[1]) if not masked[user, item]]
        order = sorted(free, key=lambda item: -scores[user, item])  # noqa: B023
        for k in top_k:
            gains = [1 / math.log2(rank + 1) for rank, item in enumerate(order[:k], start=1) if item in wanted]
            ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(wanted), k) + 1))
            found.setdefault(f"Recall@{k}", []).append(len(gains) / len(wanted))
            found.setdefault(f"NDCG@{k}", []).append(sum(gains) / ideal)
            found.setdefault(f"Hit@{k}", []).append(float(len(gains) > 0))
            ranks = [rank for rank, item in enumerate(order[:k], start=1) if item in wanted]
            precisions = [sum(other <= rank for other in ranks) / rank for rank in ranks]
            found.setdefault(f"MRR@{k}", []).append(1 / ranks[0] if ranks else 0.0)
            found.setdefault(f"MAP@{k}", []).append(sum(precisions) / min(len(wanted), k))
            found.setdefault(f"Precision@{k}", []).append(len(ranks) / k)
        pairs = [(scores[user, a], scores[user, b]) for a in wanted for b in free if b not in wanted]
        wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
        found.setdefault("AUC", []).append(wins / len(pairs) if pairs else math.nan)
    return found


def assert_metrics_equal(ours: dict[str, np.ndarray], theirs: dict[str, list[float]]) -> None:
    assert set(ours) == set(theirs)
    for key, values in theirs.items():
        np.testing.assert_allclose(ours[key], values, rtol=1e-9, atol=1e-9, err_msg=key)


def of_all_pairs(metrics: dict[str, Any]) -> dict[str, Any]:
    """Leave out the metrics of what was liked and loved, which are those of fewer pairs."""
    return {key: value for key, value in metrics.items() if not key.startswith(TASTES)}
