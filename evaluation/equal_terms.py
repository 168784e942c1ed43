"""What our model has beside its scores, for the baselines too: log popularity, and a place for cold items."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluation.baseline_inputs import Factors, Fit, Inputs
from evaluation.tastes import asked_pairs
from evaluator import evaluate, means
from training.cold_offset import cold_offset
from training.placed_by_text import RIDGE_GRID

SAMPLE = 500  # users whose scores are looked at


def popularity_unit(factors: Factors, inputs: Inputs) -> float:
    """Return what log popularity is multiplied by to be spread over the warm items as the scores of a user are."""
    users, warm = _some_users(inputs.train), inputs.dataset.warm_items
    if not len(users) or len(warm) < 2:
        return 0.0
    mine, items = (part if sp.issparse(part) else part.numpy() for part in factors)
    scores = mine[users] @ items[warm].T
    scores = scores.toarray() if sp.issparse(scores) else scores
    return float(scores.std(axis=1).mean() / max(inputs.log_popularity[warm].std(), 1e-12))


def with_popularity(factors: Factors, weight: float, unit: float, inputs: Inputs, part: str = "valid") -> Factors:
    """Add weighted log popularity to the scores; users without a title that is known before a part are ranked by it."""
    has_rows = np.diff(inputs.known(part).collected.indptr) > 0
    return with_column(factors, np.where(has_rows, weight * unit, unit or 1.0), inputs.log_popularity)


def with_column(factors: Factors, of_users: np.ndarray, of_items: np.ndarray) -> Factors:
    """Add the product of (n_users,) and (n_items,) to the scores."""
    return tuple(_beside(part, column) for part, column in zip(factors, (of_users, of_items), strict=True))


def _beside(part: torch.Tensor | sp.csr_matrix, column: np.ndarray) -> torch.Tensor | sp.csr_matrix:
    column = np.asarray(column, np.float32)[:, None]
    if sp.issparse(part):
        return sp.hstack([part, sp.csr_matrix(column)], format="csr", dtype=np.float32)
    return torch.cat([part, torch.from_numpy(column)], dim=1)


def weights_by_text(item_emb: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """Replace the rows of cold items with text by what ridge regression from text predicts, as the model places them.

    A prediction is the same combination of the warm items' rows for each of the columns, so that it takes one product.
    The penalty is chosen by the scores of some users.

    Args:
        item_emb: (n_items, D).
        inputs: uses train and item_text.

    Returns:
        (n_items, D) float32; item_emb itself if there is nothing to place, or to learn from.

    Source:
        See placed_by_text.place_cold_by_text.
    """
    from sklearn.linear_model import RidgeCV

    text, warm, new = inputs.item_text, inputs.dataset.warm_items, np.flatnonzero(inputs.cold_with_text)
    known = warm[text[warm].any(axis=1)]
    if not len(new) or len(known) < 2:
        return item_emb
    rows = item_emb[torch.from_numpy(known)]
    scores = inputs.train[_some_users(inputs.train)] @ rows.numpy().T  # (n, n_known)
    penalty = RidgeCV(RIDGE_GRID).fit(text[known].astype(np.float64), scores.T.astype(np.float64)).alpha_
    mean = text[known].mean(axis=0, dtype=np.float64)
    centred = text[known] - mean
    inverse = np.linalg.solve(centred.T @ centred + penalty * np.eye(len(mean)), centred.T)  # (L, n_known)
    shares = (text[new] - mean) @ inverse + 1 / len(known)  # (n_new, n_known)
    placed = item_emb.clone()
    placed[torch.from_numpy(new)] = torch.from_numpy(shares.astype(np.float32)) @ rows
    return placed


def _some_users(train: sp.csr_matrix) -> np.ndarray:
    """Draw SAMPLE users with train rows, ascending."""
    users = np.flatnonzero(np.diff(train.indptr))
    return np.sort(np.random.default_rng(0).permutation(users)[:SAMPLE])


def placement_on_valid(fit: Fit, weight: float, unit: float, inputs: Inputs) -> tuple[str, Fit]:
    """Choose whether cold items keep their rows of item_emb ("own") or get those of weights_by_text ("ridge").

    Returns:
        The way that is better on cold_valid, "ridge" without that part; and the fit with it.
    """
    ways = {"own": fit, "ridge": fit._replace(item_emb=weights_by_text(fit.item_emb, inputs))}
    if not inputs.dataset.cold_valid.nnz:
        return "ridge", ways["ridge"]
    figures = {
        way: _cold_valid_figure(
            with_popularity(placed.factors(inputs), weight, unit, inputs), inputs.dataset, inputs.config
        )
        for way, placed in ways.items()
    }
    best = max(figures, key=figures.get)
    return best, ways[best]


def _cold_valid_figure(factors: Factors, dataset: Dataset, config: dict[str, Any]) -> float:
    """Return the metric by which points are compared for the pairs of cold_valid, ranked among that part's items."""
    items = np.flatnonzero(np.bincount(dataset.cold_valid.indices, minlength=dataset.n_items))
    known, metric = dataset.masked_for("valid"), config["early_stop_metric"]
    target, plain = asked_pairs(dataset, dataset.targets("cold_valid"), metric)
    return means(evaluate(*factors, target, known, config, items, auc=metric == "AUC"))[plain]


def offset_on_valid(factors: Factors, inputs: Inputs) -> dict[str, Any]:
    """Decide how far cold items with text are lowered, as the model does: {"offset", and the figures that decided}."""
    offset, figures = cold_offset(*factors, inputs.cold_with_text, inputs.dataset, inputs.config)
    return {"offset": offset, **figures}


def with_offset(factors: Factors, inputs: Inputs, offset: float) -> Factors:
    """Lower the scores of cold items with text."""
    return with_column(factors, np.ones(inputs.dataset.n_users), -offset * inputs.cold_with_text)
