"""The softmax loss over the whole catalogue, and its batches."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from model import LightGCN
from runtime.distributed import GradientOverProcesses, own_share
from training.steps import MAX_SCORES, Batches, Drop, chosen, is_weighted, mean_over_processes


def softmax_loss(
    model: LightGCN,
    user_ids: torch.Tensor,
    item_ids: torch.Tensor,
    positives: torch.Tensor,
    weights: torch.Tensor | None,
    config: dict[str, Any],
    drop: Drop | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the multinomial loss of some users over a catalogue, and the L2 penalty of the users' id vectors.

    Of several processes each computes the scores of its share of the users, and the loss is that of all.

    Args:
        user_ids: (B,) row numbers.
        item_ids: (n,) row numbers of the catalogue.
        positives: (2, p), for each train pair of this process's share of the users, the user's place in that share
            and the item's in item_ids.
        weights: (p,) what each of these pairs counts; None if all count one.
        config: its reg_lambda is the weight of half the squared length of the users' id vectors, a user.
        drop: as in bpr_loss.

    Returns:
        The mean over pairs of -log softmax over the catalogue of the user's scores, and the penalty; two scalars.

    Source:
        Liang et al. 2018, Variational autoencoders for collaborative filtering, equation 2 (the likelihood).
    """
    nodes = torch.cat([user_ids, item_ids + model.n_users])  # (B + n,)
    final, id_rows = model(nodes, chosen(drop, nodes))
    final = GradientOverProcesses.apply(final)
    users, catalogue = final[: len(user_ids)][own_share(len(user_ids))], final[len(user_ids) :]
    places, items = positives
    if len(users) * len(catalogue) > MAX_SCORES:
        wanted = (users[places] * catalogue[items]).sum(dim=1)  # (p,)
        total = LogSumExp.apply(users, catalogue)[places]  # (p,)
    else:
        scores = users @ catalogue.T  # (B, n)
        total, wanted = scores.logsumexp(dim=1)[places], scores[places, items]  # (p,) each
    loss = mean_over_processes(total, weights) - mean_over_processes(wanted, weights)
    penalty = id_rows[: len(user_ids)].square().sum() / (2 * len(user_ids))
    return loss, config["reg_lambda"] * penalty


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


def softmax_batches(
    train: sp.csr_matrix, config: dict[str, Any], rng: np.random.Generator, device: torch.device
) -> Batches:
    """Part the users in random order: (loss function, [((user_ids, item_ids, positives, weights), pairs), ...]).

    The catalogue is the items with a train pair: a new title is not a negative of anyone.
    """
    catalogue = np.flatnonzero(np.bincount(train.indices, minlength=train.shape[1]))
    place = np.full(train.shape[1], -1)
    place[catalogue] = np.arange(len(catalogue))
    items = torch.from_numpy(catalogue).to(device)
    lengths = np.diff(train.indptr)
    users = rng.permutation(np.flatnonzero(lengths))
    batches, has_weights = [], is_weighted(train)
    for start in range(0, len(users), config["batch_size"]):
        step_users = users[start : start + config["batch_size"]]
        rows = train[step_users[own_share(len(step_users))]]  # of this process
        positives = np.stack([np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), place[rows.indices]])  # (2, p)
        weights = torch.from_numpy(rows.data).to(device) if has_weights else None
        batch = torch.from_numpy(step_users).to(device), items, torch.from_numpy(positives).to(device), weights
        batches.append((batch, int(lengths[step_users].sum())))
    return softmax_loss, batches
