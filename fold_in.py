"""Vectors for users whom training has not seen, from what they collected; the titles' vectors stay as they are."""

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import normalize

STEPS, RATE, L2, BLOCK = 60, 0.1, 0.1, 1024


def fold_in(collected: sp.csr_matrix, item_emb: torch.Tensor, counts: np.ndarray,
            length: float, fixed: bool) -> torch.Tensor:
    """Find, for each user, the vector under which his titles are likeliest.

    It minimises the mean of -log softmax of his titles' scores over the titles with a history, plus L2 times the
    squared way from the start, which is one round of propagation. Models trained with bpr do better so as well than
    with their own loss, and better than with the vectors of their training.

    Args:
        collected: CSR (n, n_items) of ones, at least one a row.
        item_emb: (n_items, D) final vectors of the titles, without the columns beside them.
        counts: (n_items,) how many users collect each in train.
        length: mean length of the trained users' vectors, which the start is given.
        fixed: whether all vectors have that length, as those of a model whose scores are cosines.

    Returns:
        (n, D) float32, such that a score is user . item.

    Source:
        Liang et al. 2018 for the likelihood; He et al. 2020, equation 3, for the start. STEPS, RATE (of Adam, in units
        of the start's root mean square entry) and L2 (in units of length) were chosen on the valid part of 5,000
        MyAnimeList users.
    """
    asked = np.flatnonzero((counts > 0) | (np.bincount(collected.indices, minlength=len(counts)) > 0))
    items, weights = item_emb[asked], torch.from_numpy(np.maximum(counts[asked], 1) ** -0.5)
    parts = [torch.from_numpy(collected[start:start + BLOCK][:, asked].toarray()).float()
             for start in range(0, collected.shape[0], BLOCK)]
    return torch.cat([_fit(part, items, weights.float(), length, fixed) for part in parts])


def _fit(wanted: torch.Tensor, items: torch.Tensor, weights: torch.Tensor,
         length: float, fixed: bool) -> torch.Tensor:
    """Fit a block of users, wanted (n, m) of ones, to m titles."""
    n_wanted = wanted.sum(dim=1)  # (n,)
    start = length * normalize((wanted * weights) @ items)  # (n, D)

    def placed(users: torch.Tensor) -> torch.Tensor:
        return length * normalize(users) if fixed else users

    users = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([users], lr=RATE * length / items.shape[1] ** 0.5)
    for _ in range(STEPS):
        scores = placed(users) @ items.T  # (n, m)
        likelihood = (wanted * scores).sum(dim=1) / n_wanted - scores.logsumexp(dim=1)
        loss = (L2 / length**2 * (users - start).square().sum(dim=1) - likelihood).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return placed(users.detach())
