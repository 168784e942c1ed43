"""What is chosen on valid of item-item weights: form, what age counts, popularity beside them, the common taste."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluation.score_sums import ScoreSum
from evaluator import evaluate_warm, means
from training.closed_form import log_popularity
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

BUDGET = 16  # points that are fitted of each form; of one whose first point is so far behind, that one alone
FAR_BEHIND = 0.05
# of log popularity beside the scores, in units in which both are spread alike
POPULARITY_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
COMMON_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # of the common taste that is subtracted, by the spread of scores
# how often the weight of a user's title halves with each newer one: 1 over the half-life of recency
DECAY_GRID = (0.0, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 1.0, 1.5)
ORDER_DECAY = 1.0  # where the search begins for what follows what
SPREAD_USERS = 500
FORM_KEYS = (*WEIGHTS_GRID, *FILTER_GRID, *ORDER_GRID)


class Weights(NamedTuple):
    """Item-item weights, by which a user's titles are scored, each weighed by its age."""

    collected: torch.Tensor  # (n_items, n_items)
    recency: float  # half-life
    decided: dict[str, Any]


def chosen_weights(
    dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], chosen: dict[str, Any] | None = None
) -> Weights:
    """Choose on valid the form of the weights and its point, and what age and the common taste count.

    Each is measured with the weight of log popularity beside it that suits it best, as it is weighed afterwards.

    Args:
        dataset, item_text, config, chosen: as for linear_columns.linear_model.

    Returns:
        The Weights; decided has "tried".
    """
    solve, metric = solver(dataset, item_text), config["early_stop_metric"]
    text = {} if has_text(dataset, item_text) else {"text_weight"}
    start = {key: value for key, value in START.items() if key not in text}
    half_life = max(config["recency"], 0.0)
    fixed = {"decay": 1 / half_life} if half_life else {}
    if chosen or not dataset.valid.nnz:
        found = chosen or {**start, **fixed, "common": 0.0}
        weights = without_common(known_collected(dataset, found), solve(found), found["common"])
        return Weights(weights, half_life_of(found), found)
    figure, tried, best = _ValidFigure(dataset, config), [], None

    def search(grid: dict[str, Any], first: Point) -> None:
        """Try the points of one form, unless the first of them is far behind the best of another."""
        n_before, rival = len(tried), best[0] if best else 0.0

        def attempt(point: Point) -> float | None:
            nonlocal best
            mine = tried[n_before:]
            if len(mine) == BUDGET or (mine and mine[0][metric] < (1 - FAR_BEHIND) * rival):
                return None
            weights = solve(point)
            valid = figure(weights, point)
            tried.append({**point, **figure.weight, metric: valid})
            best = (valid, point, weights) if best is None or valid > best[0] else best
            return valid

        coordinate_search({key: grid[key] for key in first if key in grid}, first, attempt, nearby=True)

    for grid, first in _forms(dataset, config, start):
        search(grid, first | fixed)
    valid, point, weights = best
    share, weights = _common_share(dataset, weights, point, figure, valid, tried)
    return Weights(weights, half_life_of(point), {**point, "common": share, "tried": tried})


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


def known_collected(dataset: Dataset, point: Point) -> sp.csr_matrix:
    """Return what users' titles count before valid, CSR (n_users, n_items), with the decay of a point."""
    return known_rows(dataset, "valid", recency=half_life_of(point)).collected


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
        popularity, everyone = popularity_column(self.dataset, weights, rows), torch.ones(self.dataset.n_users, 1)
        scores = ScoreSum({"weights": (rows, weights.T), "popularity": (everyone, popularity[:, None])})

        def with_popularity(point: Point) -> float:
            factors = scores.at({"weights": 1.0, **point})
            return means(evaluate_warm(*factors, self.dataset, "valid", self.config, self.metric == "AUC"))[self.metric]

        grid = {"popularity": sorted({*POPULARITY_WEIGHTS, *self.weight.values()})}
        self.weight, values, _ = coordinate_search(grid, self.weight, with_popularity, nearby=True)
        return max(value for _, value in values)


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
