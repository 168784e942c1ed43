"""The linear half of the model: item-item weights in closed form, reduced to extra columns of the final vectors."""

import logging
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluator import evaluate_warm, means
from training.closed_form import (
    filter_weights,
    gram,
    item_weights,
    log_popularity,
    low_pass,
    normalized,
    text_similarity,
)
from training.grid_search import Point, coordinate_search

log = logging.getLogger("aglrec")

# what there is to choose on valid, each key in turn, see closed_form: how many users the titles' text counts as, the
# penalty in users, the share of titles dropped, and by which power of their number of titles users count less
WEIGHTS_GRID: dict[str, tuple[float, ...]] = {
    "text_weight": (3.0, 10.0, 30.0, 100.0, 300.0),
    "l2": (75.0, 150.0, 300.0),
    "dropout": (0.1, 0.2, 0.4),
    "user_power": (0.0, 0.3, 0.6),
}
START = {"text_weight": 100.0, "l2": 150.0, "dropout": 0.2, "user_power": 0.6}
BUDGET = 16  # points that are fitted
# the other form of the weights, a graph filter, of which as many points are tried; see closed_form.filter_weights
FILTER_GRID = {"item_power": (0.1, 0.2, 0.4), "low_pass_weight": (0.0, 0.1, 0.3, 1.0)}
FILTER_START = {"item_power": 0.2, "low_pass_weight": 0.3}
FILTER_RANK = 256
# of log popularity beside the scores, in units in which both are spread alike
POPULARITY_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
COMMON_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # of the common taste that is subtracted, by the spread of scores
ITEM_POWER = 0.4  # of the graph filter
WEIGHTS_MAX_ITEMS, SVD_USERS, SPREAD_USERS = 25_000, 20_000, 500
RIDGE_GRID = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Linear(NamedTuple):
    """Scores r (inputs outputs^T) / n^user_power for a user who collected the n titles of r (n_items,), ones."""

    inputs: torch.Tensor  # (n_items, r)
    outputs: torch.Tensor  # (n_items, r)
    user_power: float
    decided: dict[str, Any]


def linear_users(inputs: torch.Tensor, user_power: float, collected: sp.csr_matrix) -> torch.Tensor:
    """Return the vectors (n, r) of users who collected these titles, CSR (n, n_items) of ones; see Linear."""
    scale = np.maximum(np.diff(collected.indptr), 1).astype(np.float32) ** -user_power
    return torch.from_numpy(collected.astype(np.float32) @ inputs.numpy() * scale[:, None])


def linear_model(
    dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], chosen: dict[str, Any] | None = None
) -> Linear:
    """Fit item-item weights to the train part, with the items' text where that is better on valid, at a low rank.

    Beyond WEIGHTS_MAX_ITEMS items, whose weights would take too long, the columns are the smoothest signals on the
    item-item graph instead. Cold items are placed by their text; see place_cold_by_text.

    Args:
        dataset: its test parts are not looked at.
        item_text: (n_items, L) as the model fuses it, or None.
        config: uses linear_dim, early_stop_metric, top_k, seed and eval_memory_mb.
        chosen: what a run with a valid part decided, in place of deciding.

    Returns:
        The Linear, on the CPU; decided has the point of WEIGHTS_GRID, the share of the common taste
        that is subtracted, and the valid metric of all that was tried.

    Source:
        Steck 2020 and Jeunen et al. 2020 for the weights, see item_weights; Shen et al. 2021 for the filter, whose
        ITEM_POWER was chosen on the valid part of Gowalla. Subtracting the common taste is ours.
    """
    train, rank = dataset.train, min(config["linear_dim"], *dataset.train.shape)
    if dataset.n_items > WEIGHTS_MAX_ITEMS:
        counts = np.maximum(np.bincount(train.indices, minlength=dataset.n_items), 1).astype(np.float32)[:, None]
        _, vectors = low_pass(train, rank)
        inputs, outputs, power, decided = vectors * counts**-ITEM_POWER, vectors * counts**ITEM_POWER, 0.5, {}
    else:
        weights, decided = chosen_weights(dataset, item_text, config, chosen)
        inputs, outputs, power = *_cut(train, weights, rank), 0.0
    if item_text is not None:
        length = score_spreads(train, inputs)
        outputs = place_cold_by_text(item_text, dataset.warm_items, outputs * length) / length
    else:  # not the rounding errors of the factorisation, which may rank new titles by their place in the file
        outputs = outputs * np.isin(np.arange(dataset.n_items), dataset.warm_items)[:, None]
    return Linear(
        *(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in (inputs, outputs)), power, decided
    )


def score_spreads(train: sp.csr_matrix, inputs: np.ndarray) -> np.ndarray:
    """Return what outputs (n_items, r) are multiplied by, so that an error counts as it does in the scores: (r,)."""
    return np.maximum(np.linalg.norm(train[:SVD_USERS] @ inputs, axis=0), 1e-12)


def chosen_weights(
    dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], chosen: dict[str, Any] | None = None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Choose on valid a point of WEIGHTS_GRID or of FILTER_GRID, then how much of the common taste is subtracted.

    Each is measured with the weight of log popularity beside it that suits it best, as it is weighed afterwards.

    Args:
        dataset, item_text, config, chosen: as for linear_model.

    Returns:
        The weights (n_items, n_items), and what was decided, with "tried".
    """
    metric, train, solve = config["early_stop_metric"], dataset.train, _solver(dataset, item_text)
    start = START if has_text(dataset, item_text) else {key: START[key] for key in START if key != "text_weight"}
    if chosen or not dataset.valid.nnz:
        found = chosen or {**start, "common": 0.0}
        point = {key: value for key, value in found.items() if key in (*WEIGHTS_GRID, *FILTER_GRID)}
        return without_common(train, solve(**point), found["common"]), found
    figure, tried, best = _ValidFigure(dataset, config), [], None

    def attempt(point: Point, most: int) -> float | None:
        nonlocal best
        if len(tried) == most:
            return None
        weights = solve(**point)
        valid = figure(weights)
        tried.append({**point, **figure.weight, metric: valid})
        best = (valid, point, weights) if best is None or valid > best[0] else best
        return valid

    for grid, first in ((WEIGHTS_GRID, start), (FILTER_GRID, FILTER_START)):
        search = partial(attempt, most=len(tried) + BUDGET)
        coordinate_search({key: grid[key] for key in first}, first, search, nearby=True)
    valid, point, weights = best
    figures = [valid]
    for share in COMMON_GRID[1:]:
        figures.append(figure(without_common(train, weights, share)))
        tried.append({**point, "common": share, **figure.weight, metric: figures[-1]})
        if figures[-1] < figures[-2]:
            break
    share = COMMON_GRID[int(np.argmax(figures))]
    return without_common(train, weights, share), {**point, "common": share, "tried": tried}


class _ValidFigure:
    """Returns the valid metric of item-item weights with the weight of log popularity that suits them.

    The search of that weight, which is kept as {"popularity": weight}, starts from the last one.
    """

    def __init__(self, dataset: Dataset, config: dict[str, Any]):
        self.dataset, self.config, self.weight = dataset, config, {"popularity": 0.0}
        self.inputs = sp.hstack([dataset.train, np.ones((dataset.n_users, 1), np.float32)], format="csr")

    def __call__(self, weights: torch.Tensor) -> float:
        metric, popularity = self.config["early_stop_metric"], popularity_column(self.dataset, weights)

        def with_popularity(point: Point) -> float:
            columns = torch.cat([weights, point["popularity"] * popularity[None]]).T.contiguous()
            found = evaluate_warm(self.inputs, columns, self.dataset, "valid", self.config, auc=metric == "AUC")
            return means(found)[metric]

        grid = {"popularity": sorted({*POPULARITY_WEIGHTS, *self.weight.values()})}
        self.weight, values, _ = coordinate_search(grid, self.weight, with_popularity, nearby=True)
        return max(value for _, value in values)


def popularity_column(dataset: Dataset, weights: torch.Tensor) -> torch.Tensor:
    """Return log popularity, spread over the warm items as the scores of item-item weights are: (n_items,)."""
    logs, warm = log_popularity(dataset.train), dataset.warm_items
    spread = _scores_of_some(dataset.train, weights)[:, warm].std(axis=1).mean()
    return torch.from_numpy(logs * np.float32(spread / max(logs[warm].std(), 1e-12)))


def _scores_of_some(train: sp.csr_matrix, weights: torch.Tensor) -> np.ndarray:
    """Return the scores of the first SPREAD_USERS users with train rows, (n, n_items)."""
    return train[np.flatnonzero(np.diff(train.indptr))[:SPREAD_USERS]].astype(np.float32) @ weights.numpy()


def has_text(dataset: Dataset, item_text: np.ndarray | None) -> bool:
    """Say whether an item with a history has a text."""
    return item_text is not None and bool(item_text[dataset.warm_items].any())


def _solver(dataset: Dataset, item_text: np.ndarray | None) -> Callable[..., torch.Tensor]:
    """Return the weights as a function of a point of WEIGHTS_GRID or FILTER_GRID; what no point changes is kept.

    Only the warm items are solved for; the others have rows and columns of zeros.
    """
    warm = torch.from_numpy(dataset.warm_items)
    train = sp.csr_matrix(dataset.train[:, dataset.warm_items])
    counts_of, similarity = lru_cache(maxsize=2)(partial(gram, train)), None
    if has_text(dataset, item_text):
        similarity = text_similarity(item_text[dataset.warm_items])

    @lru_cache(maxsize=1)
    def graph() -> tuple[torch.Tensor, np.ndarray]:
        smooth = normalized(train).astype(np.float32)
        return torch.from_numpy((smooth.T @ smooth).toarray()), low_pass(train, FILTER_RANK)[1]

    def solve(**point: float) -> torch.Tensor:
        if "item_power" in point:
            found = filter_weights(*graph(), np.bincount(train.indices), **point)
        else:
            likeness = similarity * point["text_weight"] if point.get("text_weight") else None
            found = item_weights(counts_of(point["user_power"]), point["l2"], point["dropout"], likeness)
        if len(warm) == dataset.n_items:
            return found
        weights = torch.zeros(dataset.n_items, dataset.n_items)
        weights[warm[:, None], warm] = found
        return weights

    return solve


def without_common(train: sp.csr_matrix, weights: torch.Tensor, share: float) -> torch.Tensor:
    """Subtract from item-item weights what all users have in common.

    That is the first singular vector v of the train matrix, about popularity: the weights become W - share unit v v^T,
    with the unit in which both terms spread a user's scores alike. Who collected much has been near every popular
    title, and says something by leaving one out; linear weights, where absence is a zero, cannot tell.

    Args:
        train: CSR (n_users, n_items) of ones.
        weights: (n_items, n_items).
        share: 0 or more; 0 returns the weights.
    """
    if not share:
        return weights
    from sklearn.utils.extmath import randomized_svd

    common = np.abs(randomized_svd(train.astype(np.float32), 1, n_iter=6, random_state=0)[2][0])  # (n_items,)
    column = torch.from_numpy(common)
    spreads = [_scores_of_some(train, part).std(axis=1).mean() for part in (weights, torch.outer(column, column))]
    return torch.addr(weights, column * float(share * spreads[0] / max(spreads[1], 1e-12)), column, alpha=-1)


def _cut(train: sp.csr_matrix, weights: torch.Tensor, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Project weights to the `rank` directions in which the scores of the users (a sample, if many) vary the most.

    A user's scores are divided by the square root of their number of titles, or the few with long lists decide.
    """
    from sklearn.utils.extmath import randomized_svd

    weights = weights.numpy()
    some = train
    if train.shape[0] > SVD_USERS:
        some = train[np.sort(np.random.default_rng(0).choice(train.shape[0], SVD_USERS, replace=False))]
    some = sp.diags_array(np.maximum(np.diff(some.indptr), 1).astype(np.float32) ** -0.5) @ some
    _, _, vectors = randomized_svd(some @ weights, min(rank, *some.shape), n_iter=2, random_state=0)
    return weights @ vectors.T, vectors.T


def place_cold_by_text(item_text: np.ndarray, warm_items: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Predict the values of cold items from their text, by ridge regression over the others.

    Args:
        item_text: (n_items, L); items with rows of zeros have no text, and a value of 0 if they are cold.
        warm_items: rows of the items with a history.
        values: (n_items, m); those of cold items are replaced.

    Returns:
        (n_items, m) float32.

    Source:
        Hoerl and Kennard 1970; the penalty by leave-one-out (generalised cross validation, Golub et al. 1979).
    """
    new = np.setdiff1d(np.flatnonzero(item_text.any(axis=1)), warm_items)
    placed = np.zeros_like(values, dtype=np.float32)
    placed[warm_items] = values[warm_items]
    if len(new):
        placed[new] = text_regression(item_text, warm_items, values)(item_text[new])
    return placed


def text_regression(
    item_text: np.ndarray, warm_items: np.ndarray, values: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the regression of place_cold_by_text: a function from text (n, L) to predicted values (n, m)."""
    from sklearn.linear_model import RidgeCV

    known = warm_items[item_text[warm_items].any(axis=1)]
    if len(known) < 2:
        return lambda text: np.zeros((len(text), values.shape[1]))
    fit = RidgeCV(RIDGE_GRID).fit(item_text[known].astype(np.float64), values[known].astype(np.float64))
    return lambda text: fit.predict(text.astype(np.float64)).reshape(len(text), -1)
