"""Vectors of users that training has not seen, from what they collected; the titles' vectors stay as they are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from inference.finished_run import FinishedRun
from training.linear_columns import linear_users

STEPS, DAMPING, L2, LINEAR, BLOCK = 20, 0.1, 0.3, 0.5, 1024


class FoldedIn(NamedTuple):
    """Vectors of users, and what their titles' vectors count in the trained columns.

    In these users = weights @ item_emb - a positive combination of what the softmax expects, which are means over the
    catalogue; exactly, however near to the best vectors the steps came.
    """

    users: torch.Tensor  # (n, D) float32; from place_users (n, width)
    weights: sp.csr_matrix  # (n, n_items), where the users collected


def place_user(run: FinishedRun, items: Sequence[int]) -> FoldedIn:
    """Do as place_users for one user, who collected the titles in these rows, at least one."""
    where = np.zeros(len(items), int), items
    return place_users(run, sp.csr_matrix((np.ones(len(items), np.float32), where), shape=(1, run.dataset.n_items)))


def place_users(run: FinishedRun, collected: sp.csr_matrix) -> FoldedIn:
    """Fit vectors of users that are not in a run, such that a score is the dot product with a row of item_emb.

    Args:
        run: as from load_finished.
        collected: CSR (n, n_items) of ones, at least one a row.
    """
    dim, has_bias, linear = run.layout
    columns, width = [torch.ones(collected.shape[0], 1)] * has_bias, run.item_emb.shape[1]
    if linear:
        columns.append(linear_users(*linear, collected))
        linear = columns[-1], run.item_emb[:, dim + has_bias :][:, : columns[-1].shape[1]]
    normalize = run.config["normalize"]
    fitted = fold_in(collected, run.item_emb[:, :dim], run.item_counts, run.user_length, normalize, linear)
    users = torch.cat([fitted.users, *columns], dim=1)
    # where a last column of popularity ranks for users of whom nothing is known, these have 0
    return fitted._replace(users=torch.nn.functional.pad(users, (0, width - users.shape[1])))


def fold_in(
    collected: sp.csr_matrix,
    item_emb: torch.Tensor,
    counts: np.ndarray,
    length: float,
    fixed: bool,
    linear: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> FoldedIn:
    """Find, for each user, the vector under which their titles are likeliest.

    It minimises the mean of -log softmax of their titles' scores over the titles with a history, plus L2 times the
    squared distance from the start, which is one round of propagation. Linear columns take part in these scores by a
    share LINEAR: what they explain the vector need not, but they know the user's own titles better than they would know
    others. This also serves models trained with bpr better than their own loss, or the vectors of their training.

    Args:
        collected: CSR (n, n_items) of ones, at least one a row.
        item_emb: (n_items, D) trained columns of the titles' final vectors.
        counts: (n_items,) how many users collect each in train.
        length: mean length of the trained users' vectors, which the start is given.
        fixed: whether all vectors have that length, as those of a model whose scores are cosines.
        linear: the linear columns of these users (n, r) and of the titles (n_items, r), if there are any.

    Source:
        Liang et al. 2018 for the likelihood; He et al. 2020, equation 3, for the start. STEPS, DAMPING, L2 (in units of
        length) and LINEAR were chosen on the valid rows of MyAnimeList users left out of training.
    """
    catalogue = np.flatnonzero((counts > 0) | (np.bincount(collected.indices, minlength=len(counts)) > 0))
    titles, each, rarity = item_emb.contiguous().numpy(), 1 / np.diff(collected.indptr), np.maximum(counts, 1) ** -0.5
    means, starts = (sp.csr_matrix(collected.multiply(scale), dtype=np.float32) for scale in (each[:, None], rarity))
    mean, start = (torch.from_numpy(part @ titles) for part in (means, starts))  # (n, D) each
    scale = length / start.norm(dim=1, keepdim=True).clamp_min(1e-12)
    fits, items = [], item_emb[catalogue]
    for block in torch.arange(len(mean)).split(BLOCK):
        known = 0.0 if linear is None else LINEAR * linear[0][block] @ linear[1][catalogue].T  # (b, m)
        fits.append(_fit(mean[block], (scale * start)[block], items, known, length, fixed))
    users, shares = (torch.cat(part) for part in zip(*fits, strict=True))
    of_mean, of_start = shares[:, :1].numpy(), (shares[:, 1:] * scale).numpy()  # (n, 1) each
    return FoldedIn(users, sp.csr_matrix(means.multiply(of_mean) + starts.multiply(of_start)))


def _fit(
    mean: torch.Tensor,
    start: torch.Tensor,
    items: torch.Tensor,
    known: torch.Tensor | float,
    length: float,
    fixed: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit a block of users: their vectors (n, D), and what mean and start count in them, (n, 2).

    mean (n, D) is that of each user's titles, start (n, D) where they begin, items (m, D) the catalogue, and known
    (n, m) what the linear columns add to the scores. At the best vector, mean + pull start - expected points along it,
    where expected is the mean of the catalogue by its own softmax. A step goes there from the last vector, damped;
    where the loss rises, the softmax is too steep for that, and the damping doubles.

    Source:
        Journee et al. 2010, Generalized power method, for steps on a sphere; gradient descent elsewhere.
    """
    pull, users, last = 2 * L2 / length**2, start, torch.full_like(start[:, :1], torch.inf)
    shares = torch.tensor([[0.0, 1.0]]).repeat(len(users), 1)  # (n, 2)
    damping = torch.full_like(last, DAMPING * items.square().sum(dim=1).mean().item())  # (n, 1)
    for _ in range(STEPS):
        scores = users @ items.T + known  # (n, m)
        total = scores.logsumexp(dim=1, keepdim=True)
        loss = total + (pull / 2 * (users - start).square() - mean * users).sum(dim=1, keepdim=True)
        rises = loss > last + 1e-5 * last.abs()  # and not by rounding
        damping, last = torch.where(rises, 2 * damping, damping), loss
        moved = mean + pull * start - (scores - total).exp() @ items + damping * users  # (n, D)
        over = moved.norm(dim=1, keepdim=True).clamp_min(1e-12) / length if fixed else pull + damping
        users, shares = moved / over, (torch.tensor([1.0, pull]) + damping * shares) / over
    return users, shares
