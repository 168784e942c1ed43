"""Which baselines the data allow, what text they take, and the best point of each one's grid on valid."""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from data_loader import Dataset
from evaluation.baselines import BASELINES, EASE_MAX_ITEMS, FILTER_MAX_PAIRS, GRIDS, HALF, Factors, Inputs
from evaluation.equal_terms import (
    offset_on_valid,
    placement_on_valid,
    popularity_unit,
    weights_by_text,
    with_offset,
    with_popularity,
)
from evaluator import evaluate_warm, means
from llm_embedding import TextVectors, fused_text
from runtime.identity import text_origin
from runtime.source import source_digests
from training.choice_of_weights import POPULARITY_WEIGHTS
from training.grid_search import MOST_BEYOND, Point, coordinate_search

log = logging.getLogger("aglrec")

BUDGET = 24  # points that are fitted for each baseline; a weight of popularity takes no fit, and does not count
HALVINGS = 2  # of the steps around the best point, within the budget
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
            f"{n:,} titles take about {32 * n**2 / 2**30:,.0f} GiB; EASE_MAX_ITEMS allows {EASE_MAX_ITEMS:,} titles"
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
        "most_beyond": MOST_BEYOND,
        "halvings": HALVINGS,
        "data": {"fingerprint": dataset.fingerprint},
        "encoder": {"used": info["used"]},
        "text": text_origin(info),
        "code": source_digests("evaluation.tuned_baselines"),
        **{key: config[key] for key in keys},
    }


def tuned(name: str, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any]) -> Tuned:
    """Fit a baseline at points of its grid, at most BUDGET of them, and keep the best on valid; see coordinate_search.

    Each is measured with the weight of log popularity beside its scores that suits it best. Cold items that have a text
    are placed and lowered as the model's are.

    Args:
        name: of BASELINES or HALF.
        dataset: its test parts are not looked at.
        item_text: (n_items, L), as from text_for.
        config: uses early_stop_metric, by which points are compared, cold_cost, top_k, seed and eval_memory_mb; HALF
            also what linear_model uses.
    """
    inputs = Inputs(dataset, item_text, config)
    best, search = _searched(name, inputs)
    factors, decided = best.factors, {"point": best.point, "popularity_unit": best.unit, **inputs.decided}
    if name == "ease_text" and inputs.cold_with_text.any():
        decided["cold_placement"], factors = placement_on_valid(factors, best.point["popularity"], best.unit, inputs)
    factors = _with_popularity(factors, inputs, decided)
    if config["cold_cost"] < 1 and inputs.cold_with_text.any():
        decided["cold_offset"] = offset_on_valid(factors, inputs)
        factors = with_offset(factors, inputs, decided["cold_offset"]["offset"])
    valid = means(evaluate_warm(*factors, dataset, "valid", config))
    return Tuned(factors, {"point": best.point, "decided": decided, "valid": valid, **search})


def fitted(
    name: str, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], decided: dict[str, Any]
) -> Factors:
    """Fit a baseline to the train part of a dataset, which may be another one, with all that tuned decided."""
    inputs = Inputs(dataset, item_text, config)
    point = {key: value for key, value in decided["point"].items() if key != "popularity"}
    chosen = {"chosen": decided["linear"]} if name in HALF else {}
    factors = {**BASELINES, **HALF}[name](inputs, **point, **chosen)
    if decided.get("cold_placement") == "ridge":
        factors = factors[0], weights_by_text(factors[1], inputs)
    factors = _with_popularity(factors, inputs, decided)
    return with_offset(factors, inputs, decided["cold_offset"]["offset"]) if "cold_offset" in decided else factors


def _with_popularity(factors: Factors, inputs: Inputs, decided: dict[str, Any]) -> Factors:
    """Add popularity with the weight that was decided; there is none beside popularity itself."""
    if "popularity" not in decided["point"]:
        return factors
    return with_popularity(factors, decided["point"]["popularity"], decided["popularity_unit"], inputs)


class _Fit(NamedTuple):
    """A fitted point, and the weight of popularity that is best with it."""

    point: Point  # with the weight, where there is one
    factors: Factors  # without popularity
    unit: float
    figure: float  # on valid
    at_end: list[str]  # "popularity" if a larger weight may be better


def _searched(name: str, inputs: Inputs) -> tuple[_Fit, dict[str, Any]]:
    """Search a baseline's point on valid: the best one, and how the search went, for metrics.json."""
    fit, grid = {**BASELINES, **HALF}[name], GRIDS.get(name, {})
    best: _Fit | None = None
    tried: list[dict[str, Any]] = []
    metric = inputs.config["early_stop_metric"]

    def figure(point: Point) -> float | None:
        nonlocal best
        if len(tried) == BUDGET:
            return None
        found = _weighed(name, point, fit(inputs, **point), inputs, best)
        tried.append({**found.point, metric: found.figure})
        best = found if best is None or found.figure > best.figure else best
        return found.figure

    start = {key: values[(len(values) - 1) // 2] for key, values in grid.items()}
    if not inputs.dataset.valid.nnz:
        if name != "popularity":
            log.warning(f"{name}: without a valid part nothing is tuned, and the defaults hold {start or ''}")
        grid = {}
    at_end = coordinate_search(grid, start, figure, halvings=HALVINGS).at_end + best.at_end
    n_points = max(len(tried), len(inputs.decided.get("linear", {}).get("tried", ())))
    log.info(f"{name}: {n_points} points fitted, best on valid: {best.point}")
    if at_end:
        log.warning(
            f"{name}: the best {' and '.join(at_end)} stands at an end of what was tried, and a better one may lie "
            f"beyond (BUDGET is {BUDGET} points)"
        )
    return best, {"points_tried": n_points, "at_end": at_end, "tried": tried}


def _weighed(name: str, point: Point, factors: Factors, inputs: Inputs, best: _Fit | None) -> _Fit:
    """Search the weight of popularity for a point, which takes no fit; near that of the best one so far."""
    unit, metric, dataset = popularity_unit(factors, inputs), inputs.config["early_stop_metric"], inputs.dataset

    def figure(weight: Point) -> float:
        whole = _with_popularity(factors, inputs, {"point": weight, "popularity_unit": unit})
        return means(evaluate_warm(*whole, dataset, "valid", inputs.config, auc=metric == "AUC"))[metric]

    if name == "popularity":
        return _Fit(point, factors, unit, figure({}), [])
    start = {"popularity": best.point["popularity"] if best else 0.0}
    grid = {"popularity": sorted({*POPULARITY_WEIGHTS, *start.values()})} if dataset.valid.nnz else {}
    found = coordinate_search(grid, start, figure, nearby=best is not None)
    return _Fit({**found.best, **point}, factors, unit, max(value for _, value in found.tried), found.at_end)
