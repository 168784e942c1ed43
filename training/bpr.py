"""The BPR loss, its batches, and their negatives."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import softplus

from model import LightGCN
from training.steps import Batches, Drop, chosen, distinct


def bpr_loss(
    model: LightGCN,
    user_ids: torch.Tensor,
    pos_items: torch.Tensor,
    neg_items: torch.Tensor,
    config: dict[str, Any],
    drop: Drop | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the BPR loss of a batch and its L2 penalty.

    Args:
        user_ids, pos_items, neg_items: (B,) row numbers.
        config: its reg_lambda is the weight of half the squared length of the batch's id vectors, a triple.
        drop: chooses, among nodes, the items that are placed by text only in this step: (n,) -> (n,) bool.

    Returns:
        The mean of -log sigmoid(positive score - negative score), and the penalty; two scalars.

    Source:
        Rendle et al. 2009, BPR-Opt; the penalty as in LightGCN, on the vectors before propagation.
    """
    nodes = torch.cat([user_ids, pos_items + model.n_users, neg_items + model.n_users])  # (3B,)
    nodes, place, times = distinct(nodes)  # (n,), (3B,), (n,)
    final, id_rows = model(nodes, chosen(drop, nodes))  # (n, D) each
    penalty = (id_rows.square().sum(dim=1) * times).sum() / (2 * len(user_ids))
    return bpr_of(final, place), config["reg_lambda"] * penalty


def bpr_of(final: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log sigmoid(positive score - negative score) of triples.

    Args:
        final: (n, D) vectors.
        places: (3B,) where in them the users, the positives and the negatives stand.
    """
    users, positives, negatives = final.index_select(0, places).chunk(3)  # (B, D) each
    margin = (users * (positives - negatives)).sum(dim=1)  # (B,)
    return softplus(-margin).mean()


def bpr_batches(
    train: sp.csr_matrix, config: dict[str, Any], rng: np.random.Generator, device: torch.device
) -> Batches:
    """Draw an epoch's triples and part them: (loss function, [((user_ids, pos_items, neg_items), pairs), ...])."""
    triples = torch.from_numpy(np.stack(sample_triples(train, rng))).to(device)  # (3, n)
    return bpr_loss, [(tuple(batch), batch.shape[1]) for batch in triples.split(config["batch_size"], dim=1)]


def sample_triples(train: sp.csr_matrix, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw an epoch of BPR triples: every train pair once, in random order, with one negative each.

    Negatives are uniform over the items with a train interaction that the user has none with in train;
    held-out pairs are not excluded, for that would leak them. Users who collected
    every such item have no negative and are left out.

    Args:
        train: CSR (n_users, n_items) with sorted indices.
        rng: the random source.

    Returns:
        user_ids, pos_items, neg_items: (n,) int64 row numbers.

    Raises:
        ValueError: nobody has a negative.
    """
    n_items = train.shape[1]
    pool = np.flatnonzero(np.bincount(train.indices, minlength=n_items))
    degrees = np.diff(train.indptr)
    users = np.repeat(np.arange(len(degrees)), degrees)
    keys = users * n_items + train.indices
    negatives = pool[rng.integers(len(pool), size=len(users))]
    drawn = np.flatnonzero(degrees[users] < len(pool))
    if not drawn.size:
        raise ValueError(
            f"bpr needs titles a user has not collected, but every user has all {len(pool):,} that train "
            "knows; use --loss softmax, or more data"
        )
    kept = rng.permutation(drawn)
    while drawn.size:
        wanted = users[drawn] * n_items + negatives[drawn]
        found = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
        drawn = drawn[found]
        negatives[drawn] = pool[rng.integers(len(pool), size=len(drawn))]
    return users[kept], train.indices[kept].astype(np.int64), negatives[kept]
