"""The linear half of the model: item-item weights in closed form, reduced to extra columns of the final vectors."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluator import evaluate_warm, means
from training.closed_form import gram, item_weights, low_pass

log = logging.getLogger("aglrec")

# what there is to choose on valid, one after the other: the penalty in users, and how much the titles' text counts
L2_GRID, TEXT_WEIGHT_GRID = (70.0, 150.0, 300.0), (0.0, 3.0, 30.0)
DROPOUT, USER_POWER, ITEM_POWER = 0.2, 0.3, 0.4
WEIGHTS_MAX_ITEMS, SVD_USERS = 12_000, 20_000
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
        The Linear, on the CPU; decided has l2 and text_weight, with the valid metric of each that was tried.

    Source:
        Steck 2020 and Jeunen et al. 2020 for the weights, see item_weights; Shen et al. 2021 for the filter.
        DROPOUT, USER_POWER and ITEM_POWER were chosen on the valid parts of 5,000 MyAnimeList users and of Gowalla.
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
    """Choose l2, then the weight of text, on valid: the weights (n_items, n_items), and what was tried."""
    metric, counts = config["early_stop_metric"], gram(dataset.train, USER_POWER)
    likeness, tried, best = None, [], None
    if item_text is not None and item_text[dataset.warm_items].any():
        text = torch.from_numpy(item_text * np.isin(np.arange(dataset.n_items), dataset.warm_items)[:, None])
        likeness = text @ text.T
        likeness /= likeness.diagonal().sum() / len(dataset.warm_items)

    def solved(l2: float, text_weight: float) -> torch.Tensor:
        return item_weights(counts, l2, DROPOUT, likeness * text_weight if text_weight else None)

    def attempt(l2: float, text_weight: float) -> None:
        nonlocal best
        weights = solved(l2, text_weight)
        valid = means(
            evaluate_warm(dataset.train, weights.T.contiguous(), dataset, "valid", config, auc=metric == "AUC")
        )[metric]
        tried.append({"l2": l2, "text_weight": text_weight, metric: valid})
        if best is None or valid > best[0]:
            best = valid, weights, {"l2": l2, "text_weight": text_weight}

    if chosen:
        return solved(chosen["l2"], chosen["text_weight"]), chosen
    for l2 in L2_GRID if dataset.valid.nnz else L2_GRID[1:2]:
        attempt(l2, 0.0)
    for text_weight in TEXT_WEIGHT_GRID[1:] if likeness is not None and dataset.valid.nnz else ():
        attempt(best[2]["l2"], text_weight)
    return best[1], {**best[2], "tried": tried}


def _cut(train: sp.csr_matrix, weights: torch.Tensor, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Project weights to the `rank` directions in which the scores of the users (a sample, if many) vary the most."""
    from sklearn.utils.extmath import randomized_svd

    weights = weights.numpy()
    some = train
    if train.shape[0] > SVD_USERS:
        some = train[np.sort(np.random.default_rng(0).choice(train.shape[0], SVD_USERS, replace=False))]
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
