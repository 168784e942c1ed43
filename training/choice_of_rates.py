"""What rates count beside the scores of a model: chosen by the liked pairs, among what costs little of all pairs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from data_loader import Dataset
from evaluation.ranking import Factor
from evaluation.rated import liked_and_all
from evaluation.score_sums import MOST, ScoreSum
from runtime.distributed import broadcast_from_rank0
from training.grid_search import Point, coordinate_search
from training.linear_columns import Linear
from training.user_rows import known_rows

# what rates count: of the liking, in units in which it is spread as the scores are; and in the user's titles, where
# they are scored by the linear columns, see ratings.pair_weights
RATES_GRID: dict[str, tuple[float, ...]] = {
    "liking": (0.0, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4),
    "rating": (0.0, 0.1, 0.2, 0.35, 0.5, 1.0),
}
# weights to try, and beyond the largest, of linear scores scaled to the spread of the trained ones; chosen again with
# rates, which linear columns mind more than what was trained does
LINEAR_GRID = (0.0, 0.12, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0)
SOME_USERS = 500


@broadcast_from_rank0
def choose_rates(
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    linear: Linear,
    weight: float,
    linear_unit: float,
    dataset: Dataset,
    config: dict[str, Any],
) -> dict[str, Any]:
    """Choose on valid what rates count: of what keeps 1 - rating_cost of the best figure, the best for liked pairs.

    Args:
        user_emb, item_emb: (n_users, D) and (n_items, D), of all that is scored beside the linear columns; zeros for
            nothing.
        linear: with a liking_of_one.
        weight: that of the linear scores which is best for all pairs, in units of linear_unit.
        linear_unit: what it is multiplied by.
        dataset: its test parts are not looked at.
        config: uses rating_cost, early_stop_metric, top_k, seed and eval_memory_mb.

    Returns:
        {"liking", "rating"} of RATES_GRID, and "linear", the weight; "unit", what a liking of 1 is multiplied by; and
        "tried", with the figures of all pairs and of the liked ones. The first one tried has no rates.
    """
    tried: list[dict[str, Any]] = []
    unit = _unit(user_emb, item_emb, linear, weight * linear_unit, dataset)

    warm = torch.from_numpy(dataset.warm_items)
    trained, columns = {"trained": (user_emb, item_emb[warm])} if user_emb.any() else {}, linear.outputs[warm]
    scores = ScoreSum(trained, dataset.warm_items, dataset.n_items)
    scores.replace("liking", rated(linear, 0.0, 1.0, 0.0).known_users(dataset, "valid"), columns)

    factors_of = _by_rating(linear, columns, dataset)

    def value(point: Point) -> float:
        part = f"linear, rating {point['rating']}"
        if part not in scores.parts:
            scores.replace(part, *factors_of(point["rating"]))
        weights = {"trained": 1.0, part: point["linear"] * linear_unit, "liking": point["liking"] * unit}
        whole, liked = liked_and_all(*scores.at(weights), dataset, "valid", config)
        tried.append({**point, "all": whole, "liked": liked})
        return within_cost(tried, config["rating_cost"])

    grid = dict(RATES_GRID)
    if user_emb.any():  # else there is nothing that linear columns could count less than
        grid["linear"] = sorted({*LINEAR_GRID, weight})
    start = {"liking": 0.0, "rating": 0.0, "linear": weight}
    return {**coordinate_search(grid, start, value, nearby=True, halvings=1).best, "unit": unit, "tried": tried}


def _by_rating(
    linear: Linear, columns: torch.Tensor, dataset: Dataset
) -> Callable[[float], tuple[Factor, torch.Tensor]]:
    """Return factors of the linear scores, for valid, as a function of the weight of rates.

    Where pairs of titles are few, their columns are multiplied out once, rather than with the users' for each weight.

    Args:
        columns: (n, r), those of the n items that are ranked.
    """
    if linear.user_power or max(dataset.n_users, dataset.n_items) * len(columns) > MOST:
        return lambda rating: (rated(linear, 1.0, 0.0, rating).known_users(dataset, "valid"), columns)
    filled = linear.inputs.any(dim=0)
    pairs = linear.inputs[:, filled] @ columns[:, filled].T  # (n_items, n)
    return lambda rating: (known_rows(dataset, "valid", rating, linear.recency).collected, pairs.T)


def within_cost(tried: list[dict[str, Any]], cost: float) -> float:
    """Return the liked figure of the last of those tried, if its figure of all pairs is high enough for it to count.

    Where it is too low, what is lacking comes out, as a number below 0. The first one tried has no rates.
    """
    lacking = (1 - cost) * tried[0]["all"] - tried[-1]["all"]
    return -lacking if lacking > 0 else tried[-1]["liked"]


def rated(linear: Linear, weight: float, liking: float, rating_weight: float) -> Linear:
    """Return linear columns that count `weight`, whose liking counts `liking`, for titles weighed by their rates."""
    scaled = None if linear.liking_of_one is None or not liking else linear.liking_of_one * liking
    return linear._replace(inputs=linear.inputs * weight, liking=scaled, rating_weight=rating_weight)


def _unit(user_emb: torch.Tensor, item_emb: torch.Tensor, linear: Linear, weight: float, dataset: Dataset) -> float:
    """Return how much wider all scores of a user are spread over the warm items than those of the liking."""
    users = torch.from_numpy(np.flatnonzero(np.diff(dataset.train.indptr))[:SOME_USERS])
    warm, plain = torch.from_numpy(dataset.warm_items), rated(linear, weight, 0.0, 0.0)
    columns = linear.outputs[warm].T
    whole = user_emb[users] @ item_emb[warm].T + plain.known_users(dataset, "valid")[users] @ columns
    liking = rated(linear, 0.0, 1.0, 0.0).known_users(dataset, "valid")[users] @ columns
    spreads = [scores.std(dim=1).mean() for scores in (whole, liking)]
    return float(spreads[0] / spreads[1].clamp_min(1e-12)) if len(users) else 0.0
