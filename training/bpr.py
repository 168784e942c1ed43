"""The BPR loss, its batches, and their negatives."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import softplus

from model import LightGCN
from training.steps import Batches, Drop, chosen, distinct, mean_of_pairs, weights_of


def bpr_loss(
    model: LightGCN,
    user_ids: torch.Tensor,
    pos_items: torch.Tensor,
    neg_items: torch.Tensor,
    weights: torch.Tensor | None,
    config: dict[str, Any],
    drop: Drop | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the BPR loss of a batch and its L2 penalty.

    Args:
        user_ids, pos_items: (B,) row numbers.
        neg_items: (B,), or (m, B) candidates, of which each pair gets the one that scores highest.
        weights: (B,) what each pair counts; None if all count one.
        config: its reg_lambda is the weight of half the squared length of the batch's id vectors, a triple.
        drop: chooses, among nodes, the items that are placed by text only in this step: (n,) -> (n,) bool.

    Returns:
        The mean of -log sigmoid(positive score - negative score), and the penalty; two scalars.

    Source:
        Rendle et al. 2009, BPR-Opt; the penalty as in LightGCN, on the vectors before propagation. Zhang et al. 2013,
        Optimizing top-N collaborative filtering via dynamic negative item sampling, for candidates.
    """
    nodes = torch.cat([user_ids, pos_items + model.n_users, neg_items.flatten() + model.n_users])  # ((2 + m) B,)
    nodes, place, times = distinct(nodes)  # (n,), ((2 + m) B,), (n,)
    final, id_rows = model(nodes, chosen(drop, nodes))  # (n, D) each
    if len(place) > 3 * len(user_ids):
        place = _hardest(final.detach(), place, len(user_ids))  # (3B,)
        times = torch.zeros_like(times).index_add_(0, place, torch.ones_like(place))
    penalty = (id_rows.square().sum(dim=1) * times).sum() / (2 * len(user_ids))
    return bpr_of(final, place, weights), config["reg_lambda"] * penalty


def _hardest(final: torch.Tensor, places: torch.Tensor, n: int) -> torch.Tensor:
    """Leave one candidate for each of n pairs, that with the highest score: (3n,) of places, as bpr_of takes them."""
    users, candidates = final.index_select(0, places[:n]), places[2 * n :].view(-1, n)  # (n, D), (m, n)
    scores = torch.stack([(users * final.index_select(0, some)).sum(dim=1) for some in candidates])  # (m, n)
    return torch.cat([places[: 2 * n], candidates.gather(0, scores.argmax(dim=0, keepdim=True))[0]])


def bpr_of(final: torch.Tensor, places: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Return the mean of -log sigmoid(positive score - negative score) of triples.

    Args:
        final: (n, D) vectors.
        places: (3B,) where in them the users, the positives and the negatives stand.
        weights: (B,) what each triple counts; None if all count one.
    """
    users, positives, negatives = final.index_select(0, places).chunk(3)  # (B, D) each
    margin = (users * (positives - negatives)).sum(dim=1)  # (B,)
    return mean_of_pairs(softplus(-margin), weights)


def bpr_batches(
    train: sp.csr_matrix, config: dict[str, Any], rng: np.random.Generator, device: torch.device
) -> Batches:
    """Draw and part an epoch's triples: (loss function, [((user_ids, pos_items, neg_items, weights), pairs), ...])."""
    triples = sample_triples(train, rng, config["hard_negatives"])
    weights = weights_of(train, *triples[:2])
    parts = [
        torch.from_numpy(part).to(device).split(config["batch_size"], dim=-1)
        for part in (*triples, weights)
        if part is not None
    ]
    parts += [[None] * len(parts[0])] * (weights is None)
    return bpr_loss, [(batch, len(batch[0])) for batch in zip(*parts, strict=True)]


def sample_triples(
    train: sp.csr_matrix, rng: np.random.Generator, m: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw an epoch of BPR triples: every train pair once, in random order, with m negatives each.

    Negatives are uniform over the items with a train interaction that the user has none with in train;
    held-out pairs are not excluded, for that would leak them. Users who collected
    every such item have no negative and are left out.

    Args:
        train: CSR (n_users, n_items) with sorted indices.
        rng: the random source.

    Returns:
        user_ids, pos_items, neg_items: (n,) int64 row numbers; the last is (m, n) int32 for m above 1.

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

    def without_positives(negatives: np.ndarray) -> np.ndarray:
        """Draw those again that their users have collected; only the negatives of kept pairs count."""
        left = drawn
        while left.size:
            wanted = users[left] * n_items + negatives[left]
            found = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
            left = left[found]
            negatives[left] = pool[rng.integers(len(pool), size=len(left))]
        return negatives[kept]

    each = without_positives(negatives)
    if m > 1:  # 4 bytes a number, for these are the largest arrays of an epoch
        more = (without_positives(pool[rng.integers(len(pool), size=len(users))]) for _ in range(m - 1))
        each = np.stack([each.astype(np.int32), *(one.astype(np.int32) for one in more)])
    return users[kept], train.indices[kept].astype(np.int64), each
