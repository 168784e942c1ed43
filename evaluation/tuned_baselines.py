"""Which baselines the data allow, what text they take, and the best point of each one's grid on valid."""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from data_loader import Dataset
from evaluation.baselines import (
    BASELINES,
    EASE_MAX_ITEMS,
    FILTER_MAX_PAIRS,
    GRIDS,
    HALF,
    POPULARITY_WEIGHTS,
    Factors,
    Inputs,
)
from evaluation.equal_terms import (
    offset_on_valid,
    placement_on_valid,
    popularity_unit,
    weights_by_text,
    with_offset,
    with_popularity,
)
from evaluation.grid_search import Found, Point, coordinate_search
from evaluator import evaluate_warm, means
from llm_embedding import TextVectors, fused_text
from runtime.identity import text_origin

log = logging.getLogger("aglrec")

BUDGET = 24  # points that are fitted for each baseline; a weight of popularity takes no fit, and does not count
OF_TEXT = ("ease_text", "content_cosine", "content_whitened", "content_blocks")
OF_ALL_TEXT = ("ease_text", "content_blocks")  # these take all blocks, fused as the model fuses them


class Tuned(NamedTuple):
    """A baseline at its best, and for metrics.json what was found.

    found has "point", "decided" (on valid; with it `fitted` makes the same factors again), "valid", "points_tried",
    "at_end", and "tried" with the valid metric of each point.
    """

    factors: Factors
    found: dict[str, Any]


def possible_baselines(dataset: Dataset, vectors: TextVectors, asked: Iterable[str] = tuple(BASELINES)) -> list[str]:
    """Name the asked baselines that the data allow: item-item matrices must fit in memory, and content needs text."""
    n, refused = dataset.n_items, {}
    if vectors.items is None:
        refused |= dict.fromkeys(OF_TEXT, "the titles have no text")
    elif len(vectors.blocks) < 2:
        refused["content_blocks"] = "there are no text_blocks"
    if n > EASE_MAX_ITEMS:
        memory = (
            f"{n:,} titles take about {24 * n**2 / 2**30:,.0f} GiB; EASE_MAX_ITEMS allows {EASE_MAX_ITEMS:,} titles"
        )
        refused |= dict.fromkeys(("item_knn", "ease", "edlae", "ease_text"), memory)
        if np.square(np.diff(dataset.train.indptr).astype(float)).sum() > FILTER_MAX_PAIRS:
            refused["graph_filter"] = f"the users' lists make more than {FILTER_MAX_PAIRS:,} pairs of titles"
    asked = [name for name in BASELINES if name in asked]
    for name in refused.keys() & set(asked):
        log.info(f"{name}: left out, {refused[name]}")
    return [name for name in asked if name not in refused]


def text_for(name: str, vectors: TextVectors, config: dict[str, Any] | None = None) -> np.ndarray | None:
    """Return the item text a baseline takes: the encoder's block, or all blocks as the model fuses them.

    The linear half of the model takes what the model with this config takes.
    """
    if name in HALF and vectors.items is not None and config["fusion_mode"] != "none" and config["use_item_llm"]:
        return fused_text(vectors, config)[len(vectors.users) :]
    if name not in OF_TEXT or vectors.items is None:
        return None
    if name in OF_ALL_TEXT:
        return fused_text(vectors, {"whiten": True, "use_user_llm": True, "use_item_llm": True})[len(vectors.users) :]
    return vectors.items[:, : next(iter(vectors.blocks.values()), vectors.items.shape[1])]


def made_of(
    name: str, dataset: Dataset, item_text: np.ndarray | None, vectors: TextVectors, config: dict[str, Any]
) -> dict[str, Any]:
    """Return what decides the figures of a baseline, by which a finished one is recognised in metrics.json."""
    info = vectors.info if item_text is not None else {"used": None, "digest": None}
    keys = ["seed", "top_k", "early_stop_metric", "refit_valid"]
    keys += ["cold_cost"] if item_text is not None else []
    keys += ["linear_dim", "fusion_mode", "use_item_llm", "whiten"] if name in HALF else []
    return {
        "grid": {key: list(values) for key, values in GRIDS.get(name, {}).items()},
        "open_ended": list(GRIDS.get(name, {})),
        "popularity_weights": list(POPULARITY_WEIGHTS),
        "budget": BUDGET,
        "data": {"fingerprint": dataset.fingerprint},
        "encoder": {"used": info["used"]},
        "text": text_origin(info),
        **{key: config[key] for key in keys},
    }


def tuned(name: str, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any]) -> Tuned:
    """Fit a baseline at points of its grid, at most BUDGET of them, and keep the best on valid; see coordinate_search.

    The weight of log popularity beside its scores is searched along with its own keys. Cold items that have a text are
    placed and lowered as the model's are.

    Args:
        name: of BASELINES or HALF.
        dataset: its test parts are not looked at.
        item_text: (n_items, L), as from text_for.
        config: uses early_stop_metric, by which points are compared, cold_cost, top_k, seed and eval_memory_mb; HALF
            also what linear_model uses.
    """
    inputs = Inputs(dataset, item_text, config)
    found, factors, unit = _searched(name, inputs)
    decided = {"point": found.best, "popularity_unit": unit, **inputs.decided}
    if name == "ease_text" and inputs.cold_with_text.any():
        decided["cold_placement"], factors = placement_on_valid(factors, found.best["popularity"], unit, inputs)
    factors = _completed(factors, inputs, decided)
    if config["cold_cost"] < 1 and inputs.cold_with_text.any():
        decided["cold_offset"] = offset_on_valid(factors, inputs)
        factors = with_offset(factors, inputs, decided["cold_offset"]["offset"])
    valid = means(evaluate_warm(*factors, dataset, "valid", config))
    return Tuned(factors, {"point": found.best, "decided": decided, "valid": valid, **_report(name, found, inputs)})


def fitted(
    name: str, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], decided: dict[str, Any]
) -> Factors:
    """Fit a baseline to the train part of a dataset, which may be another one, with all that tuned decided."""
    inputs = Inputs(dataset, item_text, config)
    chosen = {"chosen": decided["linear"]} if name in HALF else {}
    factors = {**BASELINES, **HALF}[name](inputs, **_own(decided["point"]), **chosen)
    if decided.get("cold_placement") == "ridge":
        factors = factors[0], weights_by_text(factors[1], inputs)
    factors = _completed(factors, inputs, decided)
    return with_offset(factors, inputs, decided["cold_offset"]["offset"]) if "cold_offset" in decided else factors


def _completed(factors: Factors, inputs: Inputs, decided: dict[str, Any]) -> Factors:
    """Add popularity, to all scores but its own."""
    if "popularity" not in decided["point"]:
        return factors
    return with_popularity(factors, decided["point"]["popularity"], decided["popularity_unit"], inputs)


def _searched(name: str, inputs: Inputs) -> tuple[Found, Factors, float]:
    """Search a baseline's point: what was found, the factors there without popularity, and the unit of its weight."""
    fit, metric = {**BASELINES, **HALF}[name], inputs.config["early_stop_metric"]
    grid = {**({} if name == "popularity" else {"popularity": POPULARITY_WEIGHTS}), **GRIDS.get(name, {})}
    # of the best point so far and of the one being measured: (factors, unit)
    kept: dict[tuple[Any, ...], tuple[Factors, float]] = {}
    best: tuple[float, tuple[Any, ...]] | None = None
    n_fits = 0

    def figure(point: Point) -> float | None:
        nonlocal best, n_fits
        key = tuple(_own(point).values())
        if key not in kept:
            if n_fits == BUDGET:
                return None
            factors = fit(inputs, **_own(point))
            kept[key] = factors, popularity_unit(factors, inputs)
            n_fits += 1
        factors, unit = kept[key]
        factors = _completed(factors, inputs, {"point": point, "popularity_unit": unit})
        valid = means(evaluate_warm(*factors, inputs.dataset, "valid", inputs.config, auc=metric == "AUC"))[metric]
        if best is None or valid > best[0]:
            best = valid, key
        for other in kept.keys() - {best[1]}:
            del kept[other]
        return valid

    start = {key: 0.0 if key == "popularity" else values[(len(values) - 1) // 2] for key, values in grid.items()}
    if grid and not inputs.dataset.valid.nnz:
        log.warning(f"{name}: without a valid part nothing is tuned, and it is fitted with {start}")
        grid = {}
    found = coordinate_search(grid, start, figure)
    return found, *kept[tuple(_own(found.best).values())]


def _own(point: Point) -> Point:
    """Return a point without the weight of popularity, which takes no fit."""
    return {key: value for key, value in point.items() if key != "popularity"}


def _report(name: str, found: Found, inputs: Inputs) -> dict[str, Any]:
    """Log how the search ended, and return it for metrics.json."""
    n_points = len({tuple(_own(point).values()) for point, _ in found.tried})
    n_points = max(n_points, len(inputs.decided.get("linear", {}).get("tried", ())))
    log.info(f"{name}: {n_points} points fitted, best on valid: {found.best}")
    if found.at_end:
        log.warning(
            f"{name}: the best {' and '.join(found.at_end)} stands at an end of what was tried, and a better one may "
            f"lie beyond (BUDGET is {BUDGET} points)"
        )
    metric = inputs.config["early_stop_metric"]
    tried = [{**point, metric: figure} for point, figure in found.tried]
    return {"points_tried": n_points, "at_end": found.at_end, "tried": tried}
