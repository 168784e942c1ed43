"""Which baselines the data allow, what text they take, and the best point of each one's grid on valid."""

import itertools
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from data_loader import Dataset
from evaluation.baselines import BASELINES, EASE_MAX_ITEMS, FILTER_MAX_PAIRS, GRIDS, OPEN_ENDED, Factors
from evaluator import evaluate_warm, means
from llm_embedding import TextVectors, fused_text

log = logging.getLogger("aglrec")

MOST_BEYOND = 6  # steps beyond the ends of an open-ended grid
OF_TEXT = ("ease_text", "content_cosine", "content_whitened", "content_blocks")
OF_ALL_TEXT = ("ease_text", "content_blocks")  # these take all blocks, fused as the model fuses them


def possible_baselines(dataset: Dataset, vectors: TextVectors, asked: Iterable[str] = tuple(BASELINES)) -> list[str]:
    """Name the asked baselines that the data allow: item-item matrices must fit in memory, and content needs text."""
    n, refused = dataset.n_items, {}
    if vectors.items is None:
        refused |= dict.fromkeys(OF_TEXT, "the titles have no text")
    elif len(vectors.blocks) < 2:
        refused["content_blocks"] = "there are no text_blocks"
    if n > EASE_MAX_ITEMS:
        memory = (
            f"{n:,} titles take about {12 * n**2 / 2**30:,.0f} GiB; EASE_MAX_ITEMS allows {EASE_MAX_ITEMS:,} titles"
        )
        refused |= dict.fromkeys(("item_knn", "ease", "edlae", "ease_text"), memory)
        if np.square(np.diff(dataset.train.indptr).astype(float)).sum() > FILTER_MAX_PAIRS:
            refused["graph_filter"] = f"the users' lists make more than {FILTER_MAX_PAIRS:,} pairs of titles"
    asked = [name for name in BASELINES if name in asked]
    for name in refused.keys() & set(asked):
        log.info(f"{name}: left out, {refused[name]}")
    return [name for name in asked if name not in refused]


def text_for(name: str, vectors: TextVectors) -> np.ndarray | None:
    """Return the item text a baseline takes: the encoder's block, or all blocks as the model fuses them."""
    if name not in OF_TEXT or vectors.items is None:
        return None
    if name in OF_ALL_TEXT:
        return fused_text(vectors, {"whiten": True, "use_user_llm": True, "use_item_llm": True})[len(vectors.users) :]
    return vectors.items[:, : next(iter(vectors.blocks.values()), vectors.items.shape[1])]


def tuned(
    name: str, dataset: Dataset, item_vectors: np.ndarray | None, config: dict[str, Any]
) -> tuple[Factors, dict[str, Any], dict[str, float]]:
    """Fit a baseline at every point of its grid, and beyond it where that is OPEN_ENDED; keep the best on valid.

    Args:
        name: of BASELINES.
        dataset: its test parts are not looked at.
        item_vectors: (n_items, L), as from text_for.
        config: uses early_stop_metric, by which points are compared, top_k, seed and eval_memory_mb.

    Returns:
        Its Factors, the point of the grid, and its valid metrics.
    """
    grid, metric = {key: sorted(values) for key, values in GRIDS.get(name, {}).items()}, config["early_stop_metric"]
    if grid and not dataset.valid.nnz:
        log.warning(f"{name}: without a valid part {grid} cannot be tuned; the first value of each is taken")
    best: tuple[Factors, dict[str, Any], float] | None = None

    def attempt(point: dict[str, Any]) -> None:
        nonlocal best
        factors = BASELINES[name](dataset, item_vectors, **point)
        valid = means(evaluate_warm(*factors, dataset, "valid", config, auc=metric == "AUC"))[metric]
        if best is None or valid > best[2]:
            best = factors, point, valid

    for values in itertools.product(*grid.values()):
        attempt(dict(zip(grid, values, strict=True)))
    for _ in range(MOST_BEYOND if dataset.valid.nnz else 0):
        beyond = [(key, value) for key in OPEN_ENDED.get(name, ()) if (value := next_value(grid[key], best[1][key]))]
        if not beyond:
            break
        for key, value in beyond:
            grid[key] = sorted([*grid[key], value])
            attempt({**best[1], key: value})
    else:
        if OPEN_ENDED.get(name) and dataset.valid.nnz:
            log.warning(f"{name}: the best point {best[1]} may still be at an end of its grid")
    return best[0], best[1], means(evaluate_warm(*best[0], dataset, "valid", config))


def next_value(values: list[float], best: float) -> float | None:
    """Return the value after an end of an ascending grid by the ratio of its last two, None if best is inside it."""
    if len(values) < 2 or best not in (values[0], values[-1]):
        return None
    end, inner = (values[-1], values[-2]) if best == values[-1] else (values[0], values[1])
    return end * end / inner
