"""Which baselines the data allow, what text they take, and the best point of each one's grid on valid."""

import itertools
import logging
from typing import Any

import numpy as np

from data_loader import Dataset
from evaluation.baselines import BASELINES, EASE_MAX_ITEMS, GRIDS, Factors, too_many_pairs
from evaluator import evaluate_warm, means
from llm_embedding import TextVectors, fused_text

log = logging.getLogger("aglrec")

OF_TEXT = ("content_cosine", "content_whitened", "content_blocks")


def possible_baselines(dataset: Dataset, vectors: TextVectors) -> list[str]:
    """Name the baselines these data allow: item-item matrices must fit in memory, and content needs text."""
    left_out = set() if vectors.items is not None else set(OF_TEXT)
    left_out |= {"content_blocks"} if len(vectors.blocks) < 2 else set()
    if dataset.n_items > EASE_MAX_ITEMS:
        left_out |= {"item_knn", "ease", "edlae"} | ({"graph_filter"} if too_many_pairs(dataset.train) else set())
    for name in sorted(left_out):
        log.info(f"{name}: left out, {dataset.n_items:,} items, text: {vectors.items is not None}")
    return [name for name in BASELINES if name not in left_out]


def text_for(name: str, vectors: TextVectors) -> np.ndarray | None:
    """Return the item text a baseline takes: the encoder's block, or all blocks as the model fuses them."""
    if name not in OF_TEXT or vectors.items is None:
        return None
    if name == "content_blocks":
        return fused_text(vectors, {"whiten": True, "use_user_llm": True, "use_item_llm": True})[len(vectors.users) :]
    return vectors.items[:, : next(iter(vectors.blocks.values()), vectors.items.shape[1])]


def tuned(
    name: str, dataset: Dataset, item_vectors: np.ndarray | None, config: dict[str, Any]
) -> tuple[Factors, dict[str, Any], dict[str, float]]:
    """Fit a baseline at every point of its grid and keep the one that is best on valid.

    Args:
        name: of BASELINES.
        dataset: its test parts are not looked at.
        item_vectors: (n_items, L), as from text_for.
        config: uses early_stop_metric, by which points are compared, top_k, seed and eval_memory_mb.

    Returns:
        Its Factors, the point of the grid, and its valid metrics.
    """
    best, grid, metric = None, GRIDS.get(name, {}), config["early_stop_metric"]
    if grid and not dataset.valid.nnz:
        log.warning(f"{name}: without a valid part {grid} cannot be tuned; the first value of each is taken")
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        factors = BASELINES[name](dataset, item_vectors, **point)
        valid = means(evaluate_warm(*factors, dataset, "valid", config, auc=metric == "AUC"))
        if best is None or valid[metric] > best[2][metric]:
            best = factors, point, valid
    return best[0], best[1], means(evaluate_warm(*best[0], dataset, "valid", config))
