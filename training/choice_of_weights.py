"""What is chosen on valid of item-item weights: form, what age counts, popularity beside them, the common taste."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluation.score_sums import ScoreSum
from evaluator import evaluate_warm, means
from runtime.sparse_products import times_dense
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
# of what follows what, whose points cost little: those of the baseline of that name, and more for what age counts
ORDER_BUDGET, ORDER_HALVINGS = 36, 2
# of log popularity beside the scores, in units in which both are spread alike
POPULARITY_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
COMMON_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # of the common taste that is subtracted, by the spread of scores
# how often the weight of a user's title halves with each newer one: 1 over the half-life of recency
DECAY_GRID = (0.0, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 1.0, 1.5)
ORDER_DECAY = 1.0  # where the search begins for what follows what
SPREAD_USERS = 500
FORM_KEYS = (*WEIGHTS_GRID, *FILTER_GRID, *ORDER_GRID)


class Form(NamedTuple):
    """How weights may be made, and how its point is searched."""

    grid: dict[str, Any]
    start: Point
    budget: int  # points that are fitted
    halvings: int = 0  # of the steps around the best point


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
        return Weights(
            _Scored(dataset, found, solve(found)).without_common(found["common"]), half_life_of(found), found
        )
    figure, tried, best = _ValidFigure(dataset, config), [], None

    def search(form: Form) -> None:
        """Try the points of one form, unless the first of them is far behind the best of another."""
        n_before, rival, first = len(tried), best[0] if best else 0.0, form.start | fixed

        def attempt(point: Point) -> float | None:
            nonlocal best
            mine = tried[n_before:]
            if len(mine) == form.budget or (mine and mine[0][metric] < (1 - FAR_BEHIND) * rival):
                return None
            scored = _Scored(dataset, point, solve(point))
            valid = figure(scored)
            tried.append({**point, **figure.weight, metric: valid})
            best = (valid, point, scored) if best is None or valid > best[0] else best
            return valid

        grid = {key: form.grid[key] for key in first if key in form.grid}
        coordinate_search(grid, first, attempt, nearby=True, halvings=form.halvings)

    for form in _forms(dataset, config, start):
        search(form)
    valid, point, scored = best
    share = _common_share(scored, point, figure, valid, tried)
    return Weights(scored.without_common(share), half_life_of(point), {**point, "common": share, "tried": tried})


def _forms(dataset: Dataset, config: dict[str, Any], start: Point) -> list[Form]:
    """Return the forms that the data allow; what follows what needs an order, and age does."""
    forms = [Form(WEIGHTS_GRID, start, BUDGET), Form(FILTER_GRID, FILTER_START, BUDGET)]
    if chooses_recency(dataset, config):
        age = {"decay": DECAY_GRID}
        forms = [form._replace(grid={**age, **form.grid}, start={"decay": 0.0, **form.start}) for form in forms]
        start = {"decay": ORDER_DECAY, **ORDER_START}
        forms.append(Form({**age, **ORDER_GRID}, start, ORDER_BUDGET, ORDER_HALVINGS))
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
    scored: "_Scored", point: Point, figure: "_ValidFigure", valid: float, tried: list[dict[str, Any]]
) -> float:
    """Choose how much of the common taste is subtracted, as long as the figure does not fall."""
    figures = [valid]
    for share in COMMON_GRID[1:]:
        figures.append(figure(scored, share))
        tried.append({**point, "common": share, **figure.weight, figure.metric: figures[-1]})
        if figures[-1] < figures[-2]:
            break
    return COMMON_GRID[int(np.argmax(figures))]


class _ValidFigure:
    """Returns the valid metric of item-item weights with the weight of log popularity that suits them.

    The search of that weight, which is kept as {"popularity": weight}, starts from the last one.
    """

    def __init__(self, dataset: Dataset, config: dict[str, Any]):
        self.dataset, self.config, self.weight = dataset, config, {"popularity": 0.0}
        self.metric = config["early_stop_metric"]

    def __call__(self, scored: "_Scored", share: float = 0.0) -> float:
        how = scored.how(share)

        def with_popularity(point: Point) -> float:
            factors = scored.sums.at({**how, "popularity": point["popularity"] * how["popularity"]})
            return means(evaluate_warm(*factors, self.dataset, "valid", self.config, self.metric == "AUC"))[self.metric]

        grid = {"popularity": sorted({*POPULARITY_WEIGHTS, *self.weight.values()})}
        self.weight, values, _ = coordinate_search(grid, self.weight, with_popularity, nearby=True)
        return max(value for _, value in values)


class _Scored:
    """Item-item weights of the warm items, and the scores that they give users as they are known before valid.

    Beside them stand log popularity and the common taste of all users. That is the first singular vector v of the train
    matrix, about popularity: the weights W become W - share unit v v^T. Who collected much has been near every popular
    title, and says something by leaving one out; linear weights, where absence is a zero, cannot tell.
    """

    def __init__(self, dataset: Dataset, point: Point, weights: torch.Tensor) -> None:
        """Take the weights (n, n) of the n warm items, which a point made."""
        self.dataset, self.weights = dataset, weights
        self.rows = sp.csr_matrix(known_collected(dataset, point)[:, dataset.warm_items], dtype=np.float32)
        self.some = self.rows[np.flatnonzero(np.diff(self.rows.indptr))[:SPREAD_USERS]]
        self.of_some = times_dense(self.some, weights)  # (b, n)
        self.logs = torch.from_numpy(log_popularity(dataset.train)[dataset.warm_items])

    @cached_property
    def common(self) -> tuple[torch.Tensor, float]:
        """Return v (n,), and the unit in which it spreads a user's scores as the weights do."""
        from sklearn.utils.extmath import randomized_svd

        common = torch.from_numpy(np.abs(randomized_svd(self.rows, 1, n_iter=6, random_state=0)[2][0]))
        scores = torch.outer(torch.from_numpy(self.some @ common.numpy()), common)
        spreads = [_spread(part, self.dataset.n_items) for part in (self.of_some, scores)]
        return common, spreads[0] / max(spreads[1], 1e-12)

    @cached_property
    def sums(self) -> ScoreSum:
        """Return the scores of all users: of the weights, of log popularity, and of what how adds."""
        parts = {
            "weights": (self.rows, self.weights.T),
            "popularity": (torch.ones(self.rows.shape[0], 1), self.logs[:, None]),
        }
        return ScoreSum(parts, self.dataset.warm_items, self.dataset.n_items)

    def how(self, share: float) -> dict[str, float]:
        """Return what each part of sums counts, log popularity so much that it is spread as the rest."""
        scores, counted = self.of_some, {"weights": 1.0}
        if share:
            common, unit = self.common
            counted["common"] = -share * unit
            scores = torch.addr(scores, torch.from_numpy(self.some @ common.numpy()), common, alpha=-share * unit)
            self.sums.replace("common", torch.from_numpy(self.rows @ common.numpy())[:, None], common[:, None])
        return {**counted, "popularity": _spread(scores, len(self.logs)) / max(float(self.logs.std(False)), 1e-12)}

    def without_common(self, share: float) -> torch.Tensor:
        """Return the weights less a share of the common taste: (n_items, n_items), 0 for items without a history."""
        weights, warm, n_items = self.weights, torch.from_numpy(self.dataset.warm_items), self.dataset.n_items
        if share:
            common, unit = self.common
            weights = torch.addr(weights, common * (share * unit), common, alpha=-1)
        if len(warm) == n_items:
            return weights
        return torch.zeros(n_items, n_items).index_copy_(
            0, warm, weights.new_zeros(len(warm), n_items).index_copy_(1, warm, weights)
        )


def _spread(scores: torch.Tensor, n_titles: int) -> float:
    """Return the standard deviation of a user's scores (b, n) over n_titles, those beyond n being 0, on average."""
    scores = scores.double()
    means_of_users = scores.sum(dim=1) / n_titles
    variances = scores.square().sum(dim=1) / n_titles - means_of_users.square()
    return float(variances.clamp_min(0).sqrt().mean())
