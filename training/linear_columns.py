"""The linear half of the model: item-item weights in closed form, reduced to extra columns of the final vectors."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from training.choice_of_weights import Weights, chosen_weights
from training.closed_form import low_pass
from training.placed_by_text import place_cold_by_text, score_spreads
from training.user_rows import UserRows, known_rows

ITEM_POWER = 0.4  # of the graph filter of large catalogues
WEIGHTS_MAX_ITEMS, SVD_USERS = 25_000, 20_000


class Linear(NamedTuple):
    """Scores of a user with the titles R and how much each was liked Z: (R inputs + Z liking) outputs^T / n^user_power.

    R (n_items,) is what each of the user's n titles counts, Z (n_items,) is signed; see UserRows.
    """

    inputs: torch.Tensor  # (n_items, r)
    outputs: torch.Tensor  # (n_items, r)
    user_power: float
    decided: dict[str, Any]
    liking: torch.Tensor | None = None  # (n_items, r); None where rates decide nothing
    rating_weight: float = 0.0  # by which titles count, see ratings.pair_weights
    recency: float = 0.0  # half-life in titles, see recency.recency_weights

    def users(self, rows: UserRows) -> torch.Tensor:
        """Return the vectors (n, r) of users with these rows, weighed as by rating_weight and recency."""
        return linear_users(self.inputs, self.user_power, rows.collected, self.liking, rows.scores)

    def known_users(self, dataset: Dataset, part: str) -> torch.Tensor:
        """Return the vectors (n_users, r) of all users as they are known before "valid" or "test"."""
        return self.users(known_rows(dataset, part, self.rating_weight, self.recency))


def linear_users(
    inputs: torch.Tensor,
    user_power: float,
    collected: sp.csr_matrix,
    liking: torch.Tensor | None = None,
    scores: sp.csr_matrix | None = None,
) -> torch.Tensor:
    """Return the vectors (n, r) of users with these titles, CSR (n, n_items) each; see Linear and UserRows."""
    scale = np.maximum(np.diff(collected.indptr), 1).astype(np.float32) ** -user_power
    users = collected.astype(np.float32) @ inputs.numpy() * scale[:, None]
    if liking is not None:
        users = users + scores @ liking.numpy() * scale[:, None]
    return torch.from_numpy(users)


def linear_model(
    dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any], chosen: dict[str, Any] | None = None
) -> Linear:
    """Fit item-item weights to the train part, in the form and with the rates that are best on valid, at a low rank.

    Beyond WEIGHTS_MAX_ITEMS items, whose weights would take too long, the columns are the smoothest signals on the
    item-item graph instead. Cold items are placed by their text; see place_cold_by_text.

    Args:
        dataset: its test parts are not looked at.
        item_text: (n_items, L) as the model fuses it, or None.
        config: uses linear_dim, rating_weight, rating_cost, recency, early_stop_metric, top_k, seed and eval_memory_mb.
        chosen: what a run with a valid part decided, in place of deciding.

    Returns:
        The Linear, on the CPU; decided has the point of one of the grids of item_forms, the share of the common taste
        that is subtracted, what rates count, and the valid metric of all that was tried.

    Source:
        Steck 2020 and Jeunen et al. 2020 for the weights, see item_weights; Shen et al. 2021 for the filter, whose
        ITEM_POWER was chosen on the valid part of Gowalla. Subtracting the common taste is ours.
    """
    train, rank = dataset.train, min(config["linear_dim"], *dataset.train.shape)
    if dataset.n_items > WEIGHTS_MAX_ITEMS:
        counts = np.maximum(np.bincount(train.indices, minlength=dataset.n_items), 1).astype(np.float32)[:, None]
        _, vectors = low_pass(train, rank)
        fixed = max(config["recency"], 0.0)
        found = Linear(vectors * counts**-ITEM_POWER, vectors * counts**ITEM_POWER, 0.5, {}, recency=fixed)
    else:
        found = cut(chosen_weights(dataset, item_text, config, chosen), dataset, rank)
    outputs = found.outputs
    if item_text is not None:
        length = score_spreads(train, found.inputs)
        outputs = place_cold_by_text(item_text, dataset.warm_items, outputs * length) / length
    else:  # not the rounding errors of the factorisation, which may rank new titles by their place in the file
        outputs = outputs * np.isin(np.arange(dataset.n_items), dataset.warm_items)[:, None]
    parts = {"inputs": found.inputs, "outputs": outputs, "liking": found.liking}
    tensors = {
        key: None if part is None else torch.from_numpy(np.ascontiguousarray(part, np.float32))
        for key, part in parts.items()
    }
    return found._replace(**tensors)


def cut(weights: Weights, dataset: Dataset, rank: int) -> Linear:
    """Project weights to the `rank` directions in which the scores of the users (a sample, if many) vary the most.

    A user's scores are divided by the square root of their number of titles, or the few with long lists decide.

    Returns:
        The Linear, of numpy arrays.
    """
    from sklearn.utils.extmath import randomized_svd

    rows = known_rows(dataset, "valid", weights.rating_weight, weights.recency)
    scores = rows.collected @ weights.collected.numpy()
    if weights.liking is not None:
        scores += rows.scores @ weights.liking.numpy()
    some = np.arange(len(scores))
    if len(scores) > SVD_USERS:
        some = np.sort(np.random.default_rng(0).choice(len(scores), SVD_USERS, replace=False))
    counts = np.maximum(np.diff(dataset.train.indptr), 1).astype(np.float32)
    scores = scores[some] * counts[some, None] ** -0.5
    _, _, vectors = randomized_svd(scores, min(rank, *scores.shape), n_iter=2, random_state=0)
    inputs, liking = (
        None if part is None else part.numpy() @ vectors.T for part in (weights.collected, weights.liking)
    )
    return Linear(inputs, vectors.T, 0.0, weights.decided, liking, weights.rating_weight, weights.recency)
