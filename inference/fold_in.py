"""Vectors of users that training has not seen, from what they collected; the titles' vectors stay as they are."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from dataset.recency import users_of
from inference.finished_run import FinishedRun
from training.linear_columns import linear_users
from training.placing import round_of_propagation
from training.user_rows import UserRows, weighted_rows, with_values

STEPS, DAMPING, L2, LINEAR, BLOCK = 20, 0.1, 0.3, 0.5, 1024


class FoldedIn(NamedTuple):
    """Vectors of users, and what their titles' vectors count in the trained columns.

    In these users = weights @ item_emb - a positive combination of what the softmax expects, which are means over the
    catalogue; exactly, however near to the best vectors the steps came. A round of propagation subtracts nothing.
    """

    users: torch.Tensor  # (n, D) float32; from place_users (n, width)
    weights: sp.csr_matrix  # (n, n_items), where the titles of a user count
    linear: UserRows | None = None  # by what the linear columns were made; None for ones where weights has an entry
    scores: sp.csr_matrix | None = None  # (n, n_items) how much each title was liked; None where rates decide nothing


def place_users(
    run: FinishedRun, collected: sp.csr_matrix, scores: np.ndarray | None = None, ages: np.ndarray | None = None
) -> FoldedIn:
    """Place users that are not in a run, such that a score is the dot product with a row of item_emb.

    Their titles count by rate and age as those of the run's own users do. Where the run chose how long titles count,
    the trained columns are one round of propagation over them; else they are fitted, see fold_in.

    Args:
        run: as from load_finished.
        collected: CSR (n, n_items) of ones, at least one a row, its rows sorted by title.
        scores: (nnz,) how much each was liked; see RatingScale. 0 for all if None.
        ages: (nnz,) see recency.ages; None where no order is known: all of a user's titles count the same then, and
            together as much as if there were one.
    """
    layout, how = run.layout, run.layout.placing
    liked = np.zeros(collected.nnz, np.float32) if scores is None else scores
    linear_ages, trained_ages = (
        mean_ages(collected, half_life) if ages is None else ages for half_life in (how.linear_recency, how.recency)
    )
    by_linear = weighted_rows(collected, liked, linear_ages, how.linear_rating, how.linear_recency)
    columns, width, beside = [torch.ones(collected.shape[0], 1)] * layout.has_bias, run.item_emb.shape[1], None
    if layout.linear:
        columns.append(linear_users(*layout.linear, by_linear.collected, layout.liking, by_linear.scores))
        beside = columns[-1], run.item_emb[:, layout.dim + layout.has_bias :][:, : columns[-1].shape[1]]
    by_trained = weighted_rows(collected, liked, trained_ages, max(run.config["rating_weight"], 0.0), how.recency)
    counted = by_trained.collected
    vectors = run.item_emb[:, : layout.dim]
    if how.recency:
        placed = round_of_propagation(run.user_emb[:, : layout.dim], vectors, counted, run.dataset.train)
        fitted = FoldedIn(placed, round_weights(placed, vectors, counted, run.item_counts))
    else:
        fitted = fold_in(counted, vectors, run.item_counts, run.user_length, run.config["normalize"], beside)
    users = torch.cat([fitted.users, *columns], dim=1)
    # where a last column of popularity ranks for users of whom nothing is known, these have 0
    users = torch.nn.functional.pad(users, (0, width - users.shape[1]))
    return FoldedIn(users, fitted.weights, by_linear, None if scores is None else with_values(collected, liked))


def mean_ages(collected: sp.csr_matrix, half_life: float) -> np.ndarray:
    """Return the age (nnz,) at which a title counts what the user's titles would on average, were their order known."""
    if not half_life:
        return np.zeros(collected.nnz, np.float32)
    counts, fading = np.maximum(np.diff(collected.indptr), 1), 2 ** (-1 / half_life)
    means = (1 - fading**counts) / (counts * (1 - fading))  # of a geometric series
    return (-half_life * np.log2(means)).astype(np.float32)[users_of(collected)]


def round_weights(
    users: torch.Tensor, item_emb: torch.Tensor, counted: sp.csr_matrix, counts: np.ndarray
) -> sp.csr_matrix:
    """Return what titles count in vectors that placing.round_of_propagation made: users = weights @ item_emb.

    Args:
        users: (n, D), the vectors.
        item_emb: (n_items, D).
        counted: CSR (n, n_items), what each title counts.
        counts: (n_items,) how many users collect each in train.
    """
    weights = sp.csr_matrix(counted.multiply(np.maximum(counts, 1) ** -0.5), dtype=np.float64)
    lengths = np.linalg.norm(weights @ item_emb.double().numpy(), axis=1)
    return sp.csr_matrix(sp.diags_array(users.double().norm(dim=1).numpy() / np.maximum(lengths, 1e-12)) @ weights)


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
        collected: CSR (n, n_items), what each title counts in the mean and in the start; those of 0 are as if not
            collected, and users without any other have a vector of zeros.
        item_emb: (n_items, D) trained columns of the titles' final vectors.
        counts: (n_items,) how many users collect each in train.
        length: mean length of the trained users' vectors, which the start is given.
        fixed: whether all vectors have that length, as those of a model whose scores are cosines.
        linear: the linear columns of these users (n, r) and of the titles (n_items, r), if there are any.

    Source:
        Liang et al. 2018 for the likelihood; He et al. 2020, equation 3, for the start. STEPS, DAMPING, L2 (in units of
        length) and LINEAR were chosen on the valid rows of MyAnimeList users left out of training.
    """
    collected = collected.copy()
    collected.eliminate_zeros()
    catalogue = np.flatnonzero((counts > 0) | (np.bincount(collected.indices, minlength=len(counts)) > 0))
    titles, rarity = item_emb.contiguous().numpy(), np.maximum(counts, 1) ** -0.5
    total = np.asarray(collected.astype(np.float64).sum(axis=1)).ravel()
    is_known, each = torch.from_numpy(total > 0)[:, None], 1 / np.where(total > 0, total, 1)
    means, starts = (sp.csr_matrix(collected.multiply(scale), dtype=np.float32) for scale in (each[:, None], rarity))
    mean, start = (torch.from_numpy(part @ titles) for part in (means, starts))  # (n, D) each
    scale = length / start.norm(dim=1, keepdim=True).clamp_min(1e-12)
    fits, items = [], item_emb[catalogue]
    for block in torch.arange(len(mean)).split(BLOCK):
        # (b, m); of all titles first, which is cheaper than a copy of those of the catalogue
        known = 0.0 if linear is None else (LINEAR * linear[0][block] @ linear[1].T)[:, catalogue]
        fits.append(_fit(mean[block], (scale * start)[block], items, known, length, fixed))
    users, shares = (torch.cat(part) for part in zip(*fits, strict=True))
    of_mean, of_start = shares[:, :1].numpy(), (shares[:, 1:] * scale).numpy()  # (n, 1) each
    return FoldedIn(users.masked_fill(~is_known, 0), sp.csr_matrix(means.multiply(of_mean) + starts.multiply(of_start)))


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
