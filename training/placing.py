"""Where users stand for valid and for test: by all that is known of them before, what is old counting less."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluator import evaluate_warm, means
from model import LightGCN
from runtime.distributed import broadcast_from_rank0
from training.choice_of_weights import DECAY_GRID, chooses_recency
from training.linear_columns import linear_users
from training.user_rows import known_rows


class Placing(NamedTuple):
    """How users are placed; kept in the model's state as the buffer placing, in this order."""

    recency: float = 0.0  # half-life for the trained columns; 0 leaves them as trained
    rating_weight: float = 0.0  # of the trained columns
    linear_recency: float = 0.0
    linear_rating: float = 0.0
    by_time: float = 0.0  # 1 if valid rows place users for test, in a split by time


def placing_of(model: LightGCN) -> Placing:
    """Return how a model places users."""
    return Placing() if model.placing is None else Placing(*model.placing.tolist())


def place_users(model: LightGCN, dataset: Dataset, part: str) -> None:
    """Give a model's users the vectors that they have before "valid" or "test" is asked for.

    Their linear columns follow from what is known of them. So do the trained ones where recency was chosen or set:
    they are one round of propagation, over titles that count by their age. Else they are those of training, but for
    users who had nothing in train.

    Args:
        model: with the state that training gave it; see LightGCN.set_users.
        dataset: see Dataset.known_before.
        part: "valid" or "test".
    """
    how, columns, vectors = placing_of(model), None, None
    part = part if how.by_time else "valid"
    if model.linear_inputs is not None:
        inputs, liking = (None if x is None else x.cpu() for x in (model.linear_inputs, model.linear_liking))
        rows = known_rows(dataset, part, how.linear_rating, how.linear_recency)
        columns = linear_users(inputs, model.linear_power.item(), rows.collected, liking, rows.scores)
    if how.by_time:
        collected = known_rows(dataset, part, how.rating_weight, how.recency).collected
        if not how.recency:
            collected = sp.diags_array((np.diff(dataset.train.indptr) == 0).astype(np.float32)) @ collected
        vectors = round_of_propagation(*trained_vectors(model), sp.csr_matrix(collected), dataset.train)
    model.set_users(columns, vectors)


def knows_more_before_test(model: LightGCN, dataset: Dataset) -> bool:
    """Say whether valid rows place users for test, as in a split by time, whose figures others state without that."""
    return bool(placing_of(model).by_time) and dataset.known_before("test") is not dataset.train


def trained_vectors(model: LightGCN) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the trained columns, (n_users, D) and (n_items, D) on the CPU, with users as training left them."""
    model.set_users(model.linear_users, None)
    return tuple(part[:, : model.embedding_dim].cpu() for part in model.embeddings())


def round_of_propagation(
    user_emb: torch.Tensor, item_emb: torch.Tensor, collected: sp.csr_matrix, train: sp.csr_matrix
) -> torch.Tensor:
    """Return the sums of the vectors of users' titles, rare ones counting more, as long as trained users are.

    Args:
        user_emb: (n_users, D), for their mean length alone.
        item_emb: (n_items, D) trained columns.
        collected: CSR (n, n_items), what each title counts.
        train: CSR (n_users, n_items).

    Returns:
        (n, D) float32; zeros for users without titles.

    Source:
        He et al. 2020, equation 3.
    """
    rarity = np.maximum(np.bincount(train.indices, minlength=train.shape[1]), 1).astype(np.float32) ** -0.5
    sums = torch.from_numpy(sp.csr_matrix(collected.multiply(rarity), dtype=np.float32) @ item_emb.numpy())  # (n, D)
    lengths = user_emb.norm(dim=1)
    length = float(lengths[lengths > 0].mean()) if lengths.any() else 0.0
    return torch.nn.functional.normalize(sums) * length


@broadcast_from_rank0
def choose_recency(
    user_emb: torch.Tensor, item_emb: torch.Tensor, dataset: Dataset, config: dict[str, Any]
) -> dict[str, Any]:
    """Choose on valid the half-life of users' titles for the trained columns; 0 leaves them as trained.

    Args:
        user_emb, item_emb: as from trained_vectors.
        dataset: its test parts are not looked at.
        config: as resolved; uses recency, rating_weight and what evaluation uses.

    Returns:
        {"recency", "tried"}, with the valid metric by half-life; "tried" is empty where nothing was to choose.
    """
    if config["recency"] >= 0 or not dataset.valid.nnz or not chooses_recency(dataset, config):
        return {"recency": max(config["recency"], 0.0), "tried": []}
    metric, tried = config["early_stop_metric"], []
    for decay in DECAY_GRID:
        recency, users = 0.0, user_emb
        if decay:
            recency = 1 / decay
            rows = known_rows(dataset, "valid", config["rating_weight"], recency)
            users = round_of_propagation(user_emb, item_emb, rows.collected, dataset.train)
        valid = means(evaluate_warm(users, item_emb, dataset, "valid", config, auc=metric == "AUC"))[metric]
        tried.append({"recency": recency, metric: valid})
    best = max(tried, key=lambda one: one[metric])
    return {"recency": best["recency"], "tried": tried}
