"""Which baselines the data and settings allow, what text they take, and each one at its best on valid."""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from data_loader import Dataset
from evaluation.baseline_inputs import Factors, Fit, Inputs
from evaluation.baseline_search import BUDGET, HALVINGS, TARGET_POINTS, factors_at, fit_at, searched
from evaluation.baselines import (
    BASELINES,
    DECAY_STARTS,
    EASE_MAX_ITEMS,
    FILTER_MAX_PAIRS,
    GRIDS,
    HALF,
    RATED,
    RATING_VALUES,
    TIMED,
)
from evaluation.equal_terms import offset_on_valid, placement_on_valid, weights_by_text, with_offset
from evaluator import evaluate_warm, figures
from llm_embedding import TextVectors, fused_text
from runtime.identity import text_origin
from runtime.source import source_digests
from training.choice_of_weights import DECAY_GRID, POPULARITY_WEIGHTS
from training.grid_search import MOST_BEYOND

log = logging.getLogger("aglrec")

OF_TEXT = ("ease_text", "content_cosine", "content_whitened", "content_blocks")  # not without text
OF_ALL_TEXT = ("ease_text", "ease_rated", "content_blocks")  # these take all blocks, fused as the model fuses them
TAKE_TEXT = {*OF_TEXT, *OF_ALL_TEXT}
PLACED_BY_TEXT = ("ease_text", "ease_rated")  # whose weights of new titles are their own, or predicted from text
OF_ITEM_PAIRS = (
    "item_knn",
    "ease",
    "edlae",
    "ease_text",
    "knn_recent",
    "ease_recent",
    "follows",
    "knn_rated",
    "ease_rated",
)
FILTERS = ("graph_filter", "filter_recent", "filter_rated")


class Tuned(NamedTuple):
    """A baseline at its best, users as they are known before test, and for metrics.json what was found.

    found has "point", "decided" (on valid; with it `fitted` makes the same factors again), "valid", "points_tried",
    "at_end", and "tried" with the valid metric of each point; where rates were chosen, "rating_tried".
    """

    factors: Factors
    found: dict[str, Any]


def possible_baselines(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], asked: Iterable[str] = tuple(BASELINES)
) -> list[str]:
    """Name the asked baselines that the data and settings allow, and log why others are left out.

    Item-item matrices must fit in memory, content needs text, TIMED need times and RATED rates that are to decide.
    """
    refused: dict[str, str] = {}
    if vectors.items is None:
        refused |= dict.fromkeys(OF_TEXT, "the titles have no text")
    elif len(vectors.blocks) < 2:
        refused["content_blocks"] = "there are no text_blocks"
    refused |= _too_large(dataset)
    if reason := without_time(dataset, config):
        refused |= dict.fromkeys(TIMED, reason)
    if reason := _without_rates(dataset, config):
        refused |= dict.fromkeys(RATED, reason)
    asked = [name for name in BASELINES if name in asked]
    for reason in dict.fromkeys(refused.values()):
        if names := [name for name in asked if refused.get(name) == reason]:
            log.info(f"{', '.join(names)}: left out, {reason}")
    return [name for name in asked if name not in refused]


def _too_large(dataset: Dataset) -> dict[str, str]:
    """Say of the baselines that do not fit in memory why."""
    n, refused = dataset.n_items, {}
    if n > EASE_MAX_ITEMS:
        memory = (
            f"{n:,} titles take about {32 * n**2 / 2**30:,.0f} GiB; EASE_MAX_ITEMS allows {EASE_MAX_ITEMS:,} titles"
        )
        refused |= dict.fromkeys(OF_ITEM_PAIRS, memory)
        if np.square(np.diff(dataset.train.indptr).astype(float)).sum() > FILTER_MAX_PAIRS:
            refused |= dict.fromkeys(FILTERS, f"the users' lists make more than {FILTER_MAX_PAIRS:,} pairs of titles")
    return refused


def without_time(dataset: Dataset, config: dict[str, Any]) -> str | None:
    """Say why baselines cannot go by time; None where they can, as our model does where it may choose a recency."""
    if not config["recency"]:
        return "recency is 0 (-1 lets what is old count less)"
    if dataset.facts.get("split") == "random":
        return "a random split has mixed old and new titles"
    return None if dataset.has_order else "no user has titles of different times (updated_at)"


def _without_rates(dataset: Dataset, config: dict[str, Any]) -> str | None:
    """Say why baselines cannot go by rates; None where they can."""
    if not config["rating_weight"]:
        return "rating_weight is 0 (-1 lets rates count)"
    return None if dataset.has_rates else "no user rated two titles differently"


def text_for(name: str, vectors: TextVectors, config: dict[str, Any] | None = None) -> np.ndarray | None:
    """Return the item text a baseline takes: the encoder's block, or all blocks as the model fuses them.

    The linear half of the model takes what the model with this config takes.
    """
    if name in HALF and vectors.items is not None and config["fusion_mode"] != "none" and config["use_item_llm"]:
        return fused_text(vectors, config)[len(vectors.users) :]
    if name not in TAKE_TEXT or vectors.items is None:
        return None
    if name in OF_ALL_TEXT:
        return fused_text(vectors, {"whiten": True, "use_user_llm": True, "use_item_llm": True})[len(vectors.users) :]
    return vectors.items[:, : next(iter(vectors.blocks.values()), vectors.items.shape[1])]


def made_of(
    name: str, dataset: Dataset, item_text: np.ndarray | None, vectors: TextVectors, config: dict[str, Any]
) -> dict[str, Any]:
    """Return what decides the figures of a baseline, by which a finished one is recognised in metrics.json."""
    info = vectors.info if item_text is not None else {"used": None, "digest": None}
    keys = ["seed", "top_k", "early_stop_metric", "refit_valid", "recency", "valid_users", "test_users"]
    keys += ["split_seed"] if config["valid_users"] or config["test_users"] else []  # by which they are drawn
    keys += ["cold_cost"] if item_text is not None else []
    keys += ["rating_weight", "rating_cost"] if name in (*RATED, *HALF) else []
    keys += ["linear_dim", "fusion_mode", "use_item_llm", "whiten"] if name in HALF else []
    grids = GRIDS.get(name, {}) | dict.fromkeys(RATED.get(name, ()), RATING_VALUES)
    grids |= {"decay": DECAY_GRID} if name in DECAY_STARTS else {}
    return {
        "grid": {key: list(values) for key, values in grids.items()},
        "open_ended": list(grids),
        "popularity_weights": list(POPULARITY_WEIGHTS),
        "budget": BUDGET,
        "target_points": TARGET_POINTS,
        "most_beyond": MOST_BEYOND,
        "halvings": HALVINGS,
        "data": {"fingerprint": dataset.fingerprint, "values": dataset.values_digest},
        "encoder": {"used": info["used"]},
        "text": text_origin(info),
        "code": source_digests("evaluation.tuned_baselines"),
        **{key: config[key] for key in keys},
    }


def tuned(name: str, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any]) -> Tuned:
    """Fit a baseline at points of its grid, at most BUDGET of them, and keep the best on valid; see coordinate_search.

    Each is measured with the weight of log popularity beside its scores that suits it best, and with what its users'
    titles count by age where that may decide. Rates are chosen last. Cold items that have a text are placed and lowered
    as the model's are.

    Args:
        name: of BASELINES or HALF.
        dataset: its test parts are not looked at.
        item_text: (n_items, L), as from text_for.
        config: uses early_stop_metric, by which points are compared, recency, rating_cost, cold_cost, top_k, seed and
            eval_memory_mb; HALF also what linear_model uses.
    """
    inputs = Inputs(dataset, item_text, config)
    best, search = searched(name, inputs, by_age=without_time(dataset, config) is None)
    fit, decided = best.fit, {"point": best.point, "popularity_unit": best.unit, **inputs.decided}
    if name in PLACED_BY_TEXT and inputs.cold_with_text.any():
        decided["cold_placement"], fit = placement_on_valid(fit, best.point["popularity"], best.unit, inputs)
    if config["cold_cost"] < 1 and inputs.cold_with_text.any():
        decided["cold_offset"] = offset_on_valid(_whole(fit, inputs, decided, "valid"), inputs)
    by_user = evaluate_warm(*_whole(fit, inputs, decided, "valid"), dataset, "valid", config)
    valid = figures(by_user, dataset, "valid")
    found = {"point": best.point, "decided": decided, "valid": valid, **search}
    return Tuned(_whole(fit, inputs, decided, "test"), found)


def fitted(
    name: str, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], decided: dict[str, Any]
) -> Factors:
    """Fit a baseline to the train part of a dataset, which may be another one, with all that tuned decided.

    Returns:
        Its factors, users as they are known before test.
    """
    inputs = Inputs(dataset, item_text, config)
    fit = fit_at(name, decided["point"], inputs, **({"chosen": decided["linear"]} if name in HALF else {}))
    if decided.get("cold_placement") == "ridge":
        fit = fit._replace(item_emb=weights_by_text(fit.item_emb, inputs))
    return _whole(fit, inputs, decided, "test")


def _whole(fit: Fit, inputs: Inputs, decided: dict[str, Any], part: str) -> Factors:
    """Return the factors of a fit before a part, with the popularity and the offset of cold items that were decided."""
    factors = factors_at(fit, inputs, decided["point"], decided["popularity_unit"], part)
    return with_offset(factors, inputs, decided["cold_offset"]["offset"]) if "cold_offset" in decided else factors
