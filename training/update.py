"""A model that goes on from an earlier one, whose users and titles are among its own: what it starts from."""

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from model import LightGCN
from training.placing import round_of_propagation

SHARE = 0.34  # of the epochs of the training, that an update has; they are its last ones, learning rate included
RIDGE = 1e-4  # of the mean power of a column of text


class Start(NamedTuple):
    """An earlier model, and where its users and titles are now."""

    state: dict[str, torch.Tensor]  # of its best_model.pth
    users: np.ndarray  # (n_users before,) row numbers of now
    items: np.ndarray  # (n_items before,)
    # of its titles as fused then, (n_items before, L before), and as now, (n_items before, L); None without
    item_text: tuple[np.ndarray, np.ndarray] | None


def first_epoch(last: int) -> int:
    """Return how many epochs of a training of so many an update leaves out."""
    return last - max(1, math.ceil(SHARE * last))


def start_from(model: LightGCN, start: Start, dataset: Dataset) -> None:
    """Give a new model the parameters of an earlier one.

    Id vectors of users and titles with a first train pair are those of a round of propagation over what they are
    connected to. Weights of text are what gives the titles of the earlier model the vectors that they had by it: fitted
    encoders have other columns with each further title.

    Args:
        model: as from build_model, of the same settings; everything that is not trained stays as it is.
        start: the earlier model.
        dataset: of now.
    """
    state = {name: start.state[name] for name, _ in model.named_parameters()}
    drawn = model.whole_state({"id_emb": model.id_emb})["id_emb"].cpu()
    state["id_emb"] = _id_vectors(state["id_emb"], start, dataset, drawn[dataset.n_users :])
    if "text_weight" in state:
        state["text_weight"] = moved_weights(state["text_weight"], *start.item_text)
    mine = model.own_state(state)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(mine[name])


def _id_vectors(before: torch.Tensor, start: Start, dataset: Dataset, drawn: torch.Tensor) -> torch.Tensor:
    """Return the id vectors (N, D) of now: those of before (N before, D), and new ones.

    Where new users know nothing but titles that nobody else knows, the drawn ones of these titles (n_items, D) place
    the users, and the users then the titles.
    """
    n_before = len(start.users)
    users, items = torch.zeros(dataset.n_users, before.shape[1]), torch.zeros(dataset.n_items, before.shape[1])
    users[start.users], items[start.items] = before[:n_before], before[n_before:]
    pairs = dataset.train, dataset.train.T.tocsr()
    users, items = _with_first_places(users, items, pairs[0]), _with_first_places(items, users, pairs[1])
    users = _with_first_places(users, torch.where(items.any(dim=1, keepdim=True), items, drawn), pairs[0])
    return torch.cat([users, _with_first_places(items, users, pairs[1])])


def _with_first_places(own: torch.Tensor, others: torch.Tensor, train: sp.csr_matrix) -> torch.Tensor:
    """Place those of one side that have pairs and no vector yet by what they are connected to: (n, D)."""
    first = np.flatnonzero((np.diff(train.indptr) > 0) & ~own.any(dim=1).numpy())
    return own.index_copy(0, torch.from_numpy(first), round_of_propagation(own, others, train[first], train))


def moved_weights(weights: torch.Tensor, before: np.ndarray, now: np.ndarray) -> torch.Tensor:
    """Return weights (L, D) with which texts now have the vectors that they had: now @ result is near before @ weights.

    Args:
        weights: (L before, D).
        before: (n, L before) texts of titles.
        now: (n, L) the same titles.
    """
    if before.shape == now.shape and np.allclose(before, now, rtol=0, atol=1e-6):
        return weights
    columns = torch.from_numpy(now).double()
    gram = columns.T @ columns
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    wanted = columns.T @ (torch.from_numpy(before).double() @ weights.double())
    return torch.linalg.solve(gram, wanted).float()
