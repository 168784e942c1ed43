"""What is chosen on valid of item-item weights: their form, popularity beside them, the common taste, age and rates."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluation.rated import liked_and_all
from evaluator import evaluate_warm, means
from training.closed_form import item_weights, log_popularity
from training.grid_search import Point, coordinate_search
from training.item_forms import (
    FILTER_GRID,
    FILTER_START,
    ORDER_GRID,
    ORDER_START,
    START,
    WEIGHTS_GRID,
    has_text,
    solver,
)
from training.user_rows import known_rows

BUDGET = 16  # points that are fitted of each form
# of log popularity beside the scores, in units in which both are spread alike
POPULARITY_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
COMMON_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # of the common taste that is subtracted, by the spread of scores
# how often the weight of a user's title halves with each newer one: 1 over the half-life of recency
DECAY_GRID = (0.0, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 1.0, 1.5)
ORDER_DECAY = 1.0  # where the search begins for what follows what
# what rates count: in the user's titles, and of the liking in units of the scores' spread; and its penalty
RATING_GRID: dict[str, tuple[float, ...]] = {
    "liking": (0.0, 0.05, 0.1, 0.2, 0.4, 0.8),
    "rating": (0.0, 0.1, 0.2, 0.35, 0.5, 1.0),
    "liking_l2": (50.0, 100.0, 200.0, 400.0),
}
RATING_START = {"liking": 0.0, "rating": 0.0, "liking_l2": 200.0}
SPREAD_USERS = 500
FORM_KEYS = (*WEIGHTS_GRID, *FILTER_GRID, *ORDER_GRID)


class Weights(NamedTuple):
    """Item-item weights: a user's titles R and liking Z, see UserRows, are scored R collected + Z liking."""

    collected: torch.Tensor  # (n_items, n_items)
    liking: torch.Tensor | None  # (n_items, n_items)
    rating_weight: float
    recency: float  # half-life
    decided: dict[str, Any]


def chosen_weights(
    dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], chosen: dict[str, Any] | None = None
) -> Weights:
    """Choose on valid the form of the weights and its point, what age and the common taste count, and rates.

    Each is measured with the weight of log popularity beside it that suits it best, as it is weighed afterwards. Rates
    are chosen last, by the liked pairs; see chosen_rating.

    Args:
        dataset, item_text, config, chosen: as for linear_columns.linear_model.

    Returns:
        The Weights; decided has "tried", and "rating_tried" where rates were.
    """
    solve, metric = solver(dataset, item_text), config["early_stop_metric"]
    text = {} if has_text(dataset, item_text) else {"text_weight"}
    start = {key: value for key, value in START.items() if key not in text}
    half_life = max(config["recency"], 0.0)
    fixed = {"decay": 1 / half_life} if half_life else {}
    if chosen or not dataset.valid.nnz:
        found = chosen or {**start, **fixed, "common": 0.0}
        weights = without_common(known_collected(dataset, found), solve(found), found["common"])
        return _with_liking(weights, found, dataset, found)
    figure, tried, best = _ValidFigure(dataset, config), [], None

    def attempt(point: Point, most: int) -> float | None:
        nonlocal best
        if len(tried) == most:
            return None
        weights = solve(point)
        valid = figure(weights, point)
        tried.append({**point, **figure.weight, metric: valid})
        best = (valid, point, weights) if best is None or valid > best[0] else best
        return valid

    for grid, first in _forms(dataset, config, start):
        first, most = first | fixed, len(tried) + BUDGET
        coordinate_search(
            {key: grid[key] for key in first if key in grid}, first, lambda p, m=most: attempt(p, m), nearby=True
        )
    valid, point, weights = best
    share, weights = _common_share(dataset, weights, point, figure, valid, tried)
    decided = {**point, "common": share, "tried": tried}
    rating = chosen_rating(dataset, weights, point, figure, config)
    return _with_liking(weights, point, dataset, decided | rating)


def _forms(dataset: Dataset, config: dict[str, Any], start: Point) -> list[tuple[dict[str, Any], Point]]:
    """Return grid and start of each form that the data allow; what follows what needs an order, and age does."""
    forms = [(WEIGHTS_GRID, start), (FILTER_GRID, FILTER_START)]
    if chooses_recency(dataset, config):
        age = {"decay": DECAY_GRID}
        forms = [({**age, **grid}, {"decay": 0.0, **first}) for grid, first in forms]
        forms.append(({**age, **ORDER_GRID}, {"decay": ORDER_DECAY, **ORDER_START}))
    return forms


def chooses_recency(dataset: Dataset, config: dict[str, Any]) -> bool:
    """Say whether what age counts is to be chosen on valid: not where a random split has mixed the order."""
    return config["recency"] < 0 and dataset.facts.get("split") != "random" and dataset.has_order


def known_collected(dataset: Dataset, point: Point, rating_weight: float = 0.0) -> sp.csr_matrix:
    """Return what users' titles count before valid, CSR (n_users, n_items), with the decay of a point."""
    return known_rows(dataset, "valid", rating_weight, half_life_of(point)).collected


def half_life_of(point: Point) -> float:
    """Return the half-life that the decay of a point comes to; 0 where all titles count alike."""
    return 1 / point["decay"] if point.get("decay") else 0.0


def _common_share(
    dataset: Dataset,
    weights: torch.Tensor,
    point: Point,
    figure: "_ValidFigure",
    valid: float,
    tried: list[dict[str, Any]],
) -> tuple[float, torch.Tensor]:
    """Choose how much of the common taste is subtracted, as long as the figure does not fall."""
    figures, rows = [valid], known_collected(dataset, point)
    for share in COMMON_GRID[1:]:
        figures.append(figure(without_common(rows, weights, share), point))
        tried.append({**point, "common": share, **figure.weight, figure.metric: figures[-1]})
        if figures[-1] < figures[-2]:
            break
    share = COMMON_GRID[int(np.argmax(figures))]
    figure.weight = {"popularity": tried[-1]["popularity"]}
    return share, without_common(rows, weights, share)


class _ValidFigure:
    """Returns the valid metric of item-item weights with the weight of log popularity that suits them.

    The search of that weight, which is kept as {"popularity": weight}, starts from the last one.
    """

    def __init__(self, dataset: Dataset, config: dict[str, Any]):
        self.dataset, self.config, self.weight = dataset, config, {"popularity": 0.0}
        self.metric = config["early_stop_metric"]

    def __call__(self, weights: torch.Tensor, point: Point) -> float:
        rows = known_collected(self.dataset, point)
        popularity = popularity_column(self.dataset, weights, rows)
        inputs = sp.hstack([rows, np.ones((self.dataset.n_users, 1), np.float32)], format="csr")

        def with_popularity(point: Point) -> float:
            columns = torch.cat([weights, point["popularity"] * popularity[None]]).T.contiguous()
            found = evaluate_warm(inputs, columns, self.dataset, "valid", self.config, auc=self.metric == "AUC")
            return means(found)[self.metric]

        grid = {"popularity": sorted({*POPULARITY_WEIGHTS, *self.weight.values()})}
        self.weight, values, _ = coordinate_search(grid, self.weight, with_popularity, nearby=True)
        return max(value for _, value in values)


# --- rates ---


def chosen_rating(
    dataset: Dataset, weights: torch.Tensor, point: Point, figure: _ValidFigure, config: dict[str, Any]
) -> dict[str, Any]:
    """Choose what rates count: of what keeps 1 - rating_cost of the best figure, the best for the liked pairs.

    Args:
        dataset: its valid part is asked for.
        weights: (n_items, n_items), chosen already, at this point.
        figure: its weight of popularity stands beside them.
        config: uses rating_weight, rating_cost, and what evaluation uses.

    Returns:
        A point of RATING_GRID and "rating_tried", with the figures of all pairs and of the liked ones; nothing where
        rates are not to decide anything, or where there are none.
    """
    if not config["rating_weight"] or not dataset.has_rates:
        return {}
    tried: list[dict[str, Any]] = []
    popularity = figure.weight["popularity"] * popularity_column(dataset, weights, known_collected(dataset, point))

    def value(rating: Point) -> float:
        found = _with_liking(weights, point, dataset, {**point, **rating})
        rows = known_rows(dataset, "valid", found.rating_weight, found.recency)
        parts, columns = [rows.collected], [weights]
        if found.liking is not None:
            parts, columns = [*parts, rows.scores], [*columns, found.liking]
        users = sp.hstack([*parts, np.ones((dataset.n_users, 1), np.float32)], format="csr")
        both = liked_and_all(users, torch.cat([*columns, popularity[None]]).T.contiguous(), dataset, "valid", config)
        tried.append({**rating, "all": both[0], "liked": both[1]})
        return within_cost(tried, config["rating_cost"])

    best = coordinate_search(RATING_GRID, RATING_START, value, nearby=True).best
    return {**best, "rating_tried": tried}


def within_cost(tried: list[dict[str, Any]], cost: float) -> float:
    """Return the liked figure of the last of those tried, if its figure of all pairs is high enough for it to count.

    Where it is too low, what is lacking comes out, as a number below 0. The first one tried has no rates.
    """
    lacking = (1 - cost) * tried[0]["all"] - tried[-1]["all"]
    return -lacking if lacking > 0 else tried[-1]["liked"]


def _with_liking(weights: torch.Tensor, point: Point, dataset: Dataset, decided: dict[str, Any]) -> Weights:
    """Add the weights of the liking that was decided, scaled to the spread of the scores."""
    liking, recency = None, half_life_of(point)
    if decided.get("liking"):
        rows = known_rows(dataset, "valid", 0.0, recency)
        liking = liking_weights(dataset, decided["liking_l2"])
        spreads = [
            _scores_of_some(part, by).std(axis=1).mean()
            for part, by in ((rows.collected, weights), (rows.scores, liking))
        ]
        liking = liking * float(decided["liking"] * spreads[0] / max(spreads[1], 1e-12))
    return Weights(weights, liking, decided.get("rating", 0.0), recency, decided)


def liking_weights(dataset: Dataset, l2: float) -> torch.Tensor:
    """Return the item-item weights that best restore how much users liked their titles from the others: EASE on scores.

    Args:
        dataset: its train part; pairs that nobody rated say nothing.
        l2: penalty, in users.

    Returns:
        (n_items, n_items) float32, for the scores of UserRows.
    """
    train = dataset.train
    scores = sp.csr_matrix((dataset.scores_of(train), train.indices, train.indptr), shape=train.shape)
    return item_weights(torch.from_numpy((scores.T @ scores).toarray()), l2)


# --- spreads ---


def popularity_column(dataset: Dataset, weights: torch.Tensor, rows: sp.csr_matrix) -> torch.Tensor:
    """Return log popularity, spread over the warm items as the scores of item-item weights are: (n_items,)."""
    logs, warm = log_popularity(dataset.train), dataset.warm_items
    spread = _scores_of_some(rows, weights)[:, warm].std(axis=1).mean()
    return torch.from_numpy(logs * np.float32(spread / max(logs[warm].std(), 1e-12)))


def _scores_of_some(rows: sp.csr_matrix, weights: torch.Tensor) -> np.ndarray:
    """Return the scores of the first SPREAD_USERS users with rows, (n, n_items)."""
    return rows[np.flatnonzero(np.diff(rows.indptr))[:SPREAD_USERS]].astype(np.float32) @ weights.numpy()


def without_common(rows: sp.csr_matrix, weights: torch.Tensor, share: float) -> torch.Tensor:
    """Subtract from item-item weights what all users have in common.

    That is the first singular vector v of the train matrix, about popularity: the weights become W - share unit v v^T,
    with the unit in which both terms spread a user's scores alike. Who collected much has been near every popular
    title, and says something by leaving one out; linear weights, where absence is a zero, cannot tell.

    Args:
        rows: CSR (n_users, n_items), what each title counts.
        weights: (n_items, n_items).
        share: 0 or more; 0 returns the weights.
    """
    if not share:
        return weights
    from sklearn.utils.extmath import randomized_svd

    common = np.abs(randomized_svd(rows.astype(np.float32), 1, n_iter=6, random_state=0)[2][0])  # (n_items,)
    column = torch.from_numpy(common)
    spreads = [_scores_of_some(rows, part).std(axis=1).mean() for part in (weights, torch.outer(column, column))]
    return torch.addr(weights, column * float(share * spreads[0] / max(spreads[1], 1e-12)), column, alpha=-1)
