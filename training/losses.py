"""The losses and their batches, and the negatives of bpr."""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import softplus

from model import LightGCN

MAX_SCORES = 2**25  # users by titles whose scores a step keeps, 128 MiB; beyond, the softmax is computed in chunks

Drop = Callable[[torch.Tensor], torch.Tensor]
Batches = tuple[Callable[..., tuple[torch.Tensor, torch.Tensor]], list[tuple[tuple[torch.Tensor, ...], int]]]


def bpr_loss(
    model: LightGCN,
    user_ids: torch.Tensor,
    pos_items: torch.Tensor,
    neg_items: torch.Tensor,
    reg_lambda: float,
    drop: Drop | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the BPR loss of a batch and its L2 penalty.

    Args:
        user_ids, pos_items, neg_items: (B,) row numbers.
        reg_lambda: weight of half the squared length of the batch's id vectors, a triple.
        drop: chooses, among nodes, the items that are placed by text only in this step: (n,) -> (n,) bool.

    Returns:
        The mean of -log sigmoid(positive score - negative score), and the penalty; two scalars.

    Source:
        Rendle et al. 2009, BPR-Opt; the penalty as in LightGCN, on the vectors before propagation.
    """
    nodes = torch.cat([user_ids, pos_items + model.n_users, neg_items + model.n_users])  # (3B,)
    nodes, place, times = distinct(nodes)  # (n,), (3B,), (n,)
    final, id_rows = model(nodes, chosen(drop, nodes))  # (n, D) each
    users, positives, negatives = final.index_select(0, place).chunk(3)  # (B, D) each
    margin = (users * (positives - negatives)).sum(dim=1)  # (B,)
    penalty = (id_rows.square().sum(dim=1) * times).sum() / (2 * len(user_ids))
    return softplus(-margin).mean(), reg_lambda * penalty


def distinct(nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find what to fuse for a batch, in which a node often stands more than once.

    Args:
        nodes: (m,) node rows.

    Returns:
        The nodes to fuse (n,), of each of the m its place among them, and of each of the n how often it stands. On the
        CPU each node is there once; on a GPU all m are, since counting them first would make every step wait for it.
    """
    if _is_on_cpu(nodes):
        return nodes.unique(return_inverse=True, return_counts=True)
    return nodes, torch.arange(len(nodes), device=nodes.device), torch.ones_like(nodes)


def softmax_loss(
    model: LightGCN,
    user_ids: torch.Tensor,
    item_ids: torch.Tensor,
    positives: torch.Tensor,
    reg_lambda: float,
    drop: Drop | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the multinomial loss of some users over a catalogue, and the L2 penalty of the users' id vectors.

    Args:
        user_ids: (B,) row numbers.
        item_ids: (n,) row numbers of the catalogue.
        positives: (2, p), for each of the users' train pairs its place in user_ids and in item_ids.
        reg_lambda: weight of half the squared length of the users' id vectors, a user.
        drop: as in bpr_loss.

    Returns:
        The mean over pairs of -log softmax over the catalogue of the user's scores, and the penalty; two scalars.

    Source:
        Liang et al. 2018, Variational autoencoders for collaborative filtering, equation 2 (the likelihood).
    """
    nodes = torch.cat([user_ids, item_ids + model.n_users])  # (B + n,)
    final, id_rows = model(nodes, chosen(drop, nodes))
    users, catalogue, (places, items) = final[: len(user_ids)], final[len(user_ids) :], positives
    if len(users) * len(catalogue) > MAX_SCORES:
        wanted = (users[places] * catalogue[items]).sum(dim=1)  # (p,)
        loss = LogSumExp.apply(users, catalogue)[places].mean() - wanted.mean()
    else:
        scores = users @ catalogue.T  # (B, n)
        loss = scores.logsumexp(dim=1)[places].mean() - scores[places, items].mean()
    penalty = id_rows[: len(user_ids)].square().sum() / (2 * len(user_ids))
    return loss, reg_lambda * penalty


class LogSumExp(torch.autograd.Function):
    """log sum_i exp(user . item), (B,), in chunks of the catalogue: memory is bounded whatever its size.

    The scores of a chunk are computed again for the gradient, which makes four products of three.
    """

    @staticmethod
    def forward(ctx, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Return the logarithms (B,) for users (B, D) and items (n_items, D)."""
        width = max(1, MAX_SCORES // len(users))
        parts = [(users @ chunk.T).logsumexp(dim=1) for chunk in items.split(width)]
        total = torch.stack(parts).logsumexp(dim=0)
        ctx.save_for_backward(users, items, total)
        ctx.width = width
        return total

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gradients of users and items."""
        users, items, total = ctx.saved_tensors
        grad_users, grad_items = torch.zeros_like(users), []
        for chunk in items.split(ctx.width):
            share = (users @ chunk.T - total[:, None]).exp_().mul_(grad[:, None])  # (B, c)
            grad_users.addmm_(share, chunk)
            grad_items.append(share.T @ users)
        return grad_users, torch.cat(grad_items)


def id_dropout(model: LightGCN, share: float, generator: torch.Generator) -> Drop | None:
    """Return a function that draws the items which a step places by text only, of those with text; None for none.

    On a GPU, where a node may stand more than once in a step, a number is drawn for every node there is, so that a
    item is placed by text everywhere in the step or nowhere.
    """
    if not share or not model.has_item_text.any():
        return None

    def drop(nodes: torch.Tensor) -> torch.Tensor:
        each = _is_on_cpu(nodes)
        lots = torch.rand(len(nodes if each else model.has_item_text), generator=generator, device=nodes.device)
        return model.has_item_text[nodes] & ((lots if each else lots[nodes]) < share)

    return drop


def chosen(drop: Drop | None, nodes: torch.Tensor) -> torch.Tensor | None:
    """Return which of a step's nodes (n,) are placed by text only, in the form that costs LightGCN.forward the least.

    That is their positions on the CPU, and on a GPU, which a step would have to wait for to count them, (n,) bool.
    """
    if drop is None:
        return None
    return drop(nodes).nonzero().squeeze(1) if _is_on_cpu(nodes) else drop(nodes)


def _is_on_cpu(nodes: torch.Tensor) -> bool:
    """Say whether what depends on the values of nodes can be counted without waiting for a GPU."""
    return nodes.device.type == "cpu"


def bpr_batches(train: sp.csr_matrix, batch_size: int, rng: np.random.Generator, device: torch.device) -> Batches:
    """Draw an epoch's triples and part them: (loss function, [((user_ids, pos_items, neg_items), pairs), ...])."""
    triples = torch.from_numpy(np.stack(sample_triples(train, rng))).to(device)  # (3, n)
    return bpr_loss, [(tuple(batch), batch.shape[1]) for batch in triples.split(batch_size, dim=1)]


def softmax_batches(train: sp.csr_matrix, batch_size: int, rng: np.random.Generator, device: torch.device) -> Batches:
    """Part the users in random order: (loss function, [((user_ids, item_ids, positives), pairs), ...]).

    The catalogue is the items with a train pair: a new title is not a negative of anyone.
    """
    catalogue = np.flatnonzero(np.bincount(train.indices, minlength=train.shape[1]))
    place = np.full(train.shape[1], -1)
    place[catalogue] = np.arange(len(catalogue))
    items = torch.from_numpy(catalogue).to(device)
    users = rng.permutation(np.flatnonzero(np.diff(train.indptr)))
    batches = []
    for start in range(0, len(users), batch_size):
        mine = users[start : start + batch_size]
        rows = train[mine]
        positives = np.stack([np.repeat(np.arange(len(mine)), np.diff(rows.indptr)), place[rows.indices]])  # (2, p)
        batches.append(((torch.from_numpy(mine).to(device), items, torch.from_numpy(positives).to(device)), rows.nnz))
    return softmax_loss, batches


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


BATCHES = {"bpr": bpr_batches, "softmax": softmax_batches}
