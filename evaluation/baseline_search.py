"""The best point of a baseline's grid on valid, and what takes no fit beside it: popularity, age, and rates."""

import logging
from typing import Any, NamedTuple

from evaluation.baseline_inputs import Factors, Fit, Inputs
from evaluation.baselines import BASELINES, DECAY_STARTS, GRIDS, HALF, RATED, RATING_VALUES
from evaluation.equal_terms import popularity_unit, with_popularity
from evaluation.rated import liked_and_all
from evaluator import evaluate_warm, means
from training.choice_of_rates import within_cost
from training.choice_of_weights import DECAY_GRID, POPULARITY_WEIGHTS, half_life_of
from training.grid_search import Point, coordinate_search

log = logging.getLogger("aglrec")

# points that are fitted for each baseline; what takes no fit does not count: the weight of popularity, what age counts,
# and what rates count in a user's titles
BUDGET = 24
TARGET_POINTS = 4  # of them, kept for what rates count in what is restored
HALVINGS = 2  # of the steps around the best point, within the budget
WITHOUT_FIT = ("popularity", "decay", "rating")  # keys of a point
OF_POPULARITY = ("popularity", "popularity_rated")  # beside which there is no weight of popularity


class Best(NamedTuple):
    """A fitted point, and what is best with it of what takes no fit."""

    point: Point  # with the weight of popularity, where there is one, and what age and rates count
    fit: Fit
    unit: float  # of popularity
    figure: float  # on valid
    at_end: list[str]  # of WITHOUT_FIT, those that may be better beyond what was tried


def grid_of(name: str, inputs: Inputs) -> dict[str, tuple[Any, ...]]:
    """Return the grid that is searched: GRIDS, without the weight of text where there is none."""
    grid = GRIDS.get(name, {})
    return {key: values for key, values in grid.items() if key != "text_weight" or inputs.item_text is not None}


def fit_at(name: str, point: Point, inputs: Inputs, **chosen: Any) -> Fit:
    """Fit a baseline, or a half of the model, at a point, users' titles being weighed as the point says."""
    fit = {**BASELINES, **HALF}[name](inputs, **without(point, *WITHOUT_FIT), **chosen)
    return weighed(fit, point)


def without(point: Point, *keys: str) -> Point:
    """Return a point without some keys."""
    return {key: value for key, value in point.items() if key not in keys}


def weighed(fit: Fit, point: Point) -> Fit:
    """Weigh users' titles as a point says; without a word of that they stay as they are."""
    fit = fit._replace(recency=half_life_of(point)) if "decay" in point else fit
    return fit._replace(rating_weight=point["rating"]) if "rating" in point else fit


def factors_at(fit: Fit, inputs: Inputs, point: Point, unit: float, part: str = "valid") -> Factors:
    """Return the factors of a fit, users as known before a part, with popularity if the point has a weight of it."""
    factors = fit.factors(inputs, part)
    return with_popularity(factors, point["popularity"], unit, inputs, part) if "popularity" in point else factors


def searched(name: str, inputs: Inputs, by_age: bool) -> tuple[Best, dict[str, Any]]:
    """Search a baseline's point on valid: the best one, and how the search went, for metrics.json.

    Args:
        name: of BASELINES or HALF.
        inputs: with the settings.
        by_age: whether what age counts is among what is chosen, see DECAY_STARTS.
    """
    tried, metric, has_valid = [], inputs.config["early_stop_metric"], bool(inputs.dataset.valid.nnz)
    most, best = BUDGET - TARGET_POINTS if "rating_target" in RATED.get(name, ()) else BUDGET, None
    free = free_start(name, inputs, by_age)

    def figure(point: Point) -> float | None:
        nonlocal best
        if len(tried) == most:
            return None
        found = with_free(point, fit_at(name, point, inputs), inputs, best, free)
        tried.append({**found.point, metric: found.figure})
        best = found if best is None or found.figure > best.figure else best
        return found.figure

    grid = grid_of(name, inputs)
    start = {key: values[(len(values) - 1) // 2] for key, values in grid.items()}
    if not has_valid and name != "popularity":
        log.warning(f"{name}: without a valid part nothing is tuned, and the defaults hold {start or ''}")
    at_end = coordinate_search(grid if has_valid else {}, start, figure, halvings=HALVINGS).at_end + best.at_end
    n_points = max(len(tried), len(inputs.decided.get("linear", {}).get("tried", ())))
    how = {"points_tried": n_points, "at_end": at_end, "tried": tried}
    if name in RATED and has_valid:
        best, rating_tried, n_fits = with_rates(name, best, inputs)
        how |= {"points_tried": n_points + n_fits, "rating_tried": rating_tried}
    log.info(f"{name}: {how['points_tried']} points fitted, best on valid: {best.point}")
    if at_end:
        log.warning(
            f"{name}: the best {' and '.join(at_end)} stands at an end of what was tried, and a better one may lie "
            f"beyond (BUDGET is {BUDGET} points)"
        )
    return best, how


def free_start(name: str, inputs: Inputs, by_age: bool) -> Point:
    """Return where the search of what takes no fit begins, but for rates, which are chosen last."""
    start = {} if name in OF_POPULARITY else {"popularity": 0.0}
    if by_age and name in DECAY_STARTS:
        fixed = inputs.config["recency"]
        start["decay"] = 1 / fixed if fixed > 0 else DECAY_STARTS[name]
    return start


def with_free(point: Point, fit: Fit, inputs: Inputs, best: Best | None, start: Point) -> Best:
    """Search what takes no fit for a fitted point; near that of the best one so far."""
    metric, dataset = inputs.config["early_stop_metric"], inputs.dataset
    start = {key: best.point[key] for key in start} if best else start
    grids = {"popularity": POPULARITY_WEIGHTS, "decay": DECAY_GRID}
    grid = {key: sorted({*grids[key], value}) for key, value in start.items()} if dataset.valid.nnz else {}
    units: dict[float, float] = {}
    last: tuple[float, Factors] | None = None  # the factors of the last decay

    def figure(free: Point) -> float:
        nonlocal last
        decay = free.get("decay", 0.0)
        if last is None or last[0] != decay:
            last = decay, weighed(fit, free).factors(inputs)
            units[decay] = popularity_unit(last[1], inputs)
        whole = last[1]
        if "popularity" in free:
            whole = with_popularity(whole, free["popularity"], units[decay], inputs)
        return means(evaluate_warm(*whole, dataset, "valid", inputs.config, auc=metric == "AUC"))[metric]

    found = coordinate_search(grid, start, figure, nearby=best is not None)
    unit = units[found.best.get("decay", 0.0)]
    return Best({**found.best, **point}, weighed(fit, found.best), unit, max(f for _, f in found.tried), found.at_end)


def with_rates(name: str, best: Best, inputs: Inputs) -> tuple[Best, list[dict[str, float]], int]:
    """Choose what rates count at a point that was chosen without them, as our model does; see within_cost.

    Of what keeps 1 - rating_cost of the figure of all pairs that the point has, the best for the liked pairs. The
    weight of popularity and its unit stay.

    Returns:
        The Best with rates; the figures of all pairs and of the liked ones of all that was tried; and how many more
        points were fitted.
    """
    targets, tried = {0.0}, []
    config, grid = inputs.config, dict.fromkeys(RATED[name], RATING_VALUES)

    def fit_with(rating: Point) -> Fit:
        target = rating.get("rating_target", 0.0)
        if not target:
            return weighed(best.fit, rating)
        point = {**best.point, "rating_target": target}
        # the last one alone is kept, for the memory
        return weighed(inputs.last("rated", target, lambda: fit_at(name, point, inputs)), rating)

    def value(rating: Point) -> float | None:
        target = rating.get("rating_target", 0.0)
        if target not in targets and len(targets) > TARGET_POINTS:
            return None
        targets.add(target)
        factors = factors_at(fit_with(rating), inputs, best.point, best.unit)
        both = liked_and_all(*factors, inputs.dataset, "valid", config)
        tried.append({**rating, "all": both[0], "liked": both[1]})
        return within_cost(tried, config["rating_cost"])

    rating = coordinate_search(grid, dict.fromkeys(grid, 0.0), value).best
    return best._replace(point={**best.point, **rating}, fit=fit_with(rating)), tried, len(targets) - 1
