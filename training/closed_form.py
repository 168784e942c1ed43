"""Models in closed form: item-item weights (EASE and its kin), graph filters, and popularity."""

import numpy as np
import scipy.sparse as sp
import torch
from scipy.linalg.lapack import spotrf, spotri


def gram(train: sp.csr_matrix, user_power: float = 0.0, targets: sp.csr_matrix | None = None) -> torch.Tensor:
    """Count how many users collected two titles both, users with many titles counting less.

    Args:
        train: R, CSR (n_users, n_items) of ones.
        user_power: a user of n titles counts (n / mean n)^-user_power.
        targets: Y, CSR (n_users, n_items), what the second of two titles counts; R itself unless given.

    Returns:
        R^T W Y, (n_items, n_items) float32 dense.
    """
    targets = train if targets is None else targets
    if not user_power:
        return torch.from_numpy((train.T @ targets).toarray())
    rows = np.diff(train.indptr)
    weights = (np.maximum(rows, 1) / max(rows[rows > 0].mean(), 1)) ** -user_power
    return torch.from_numpy((train.T @ (sp.diags_array(weights.astype(np.float32)) @ targets)).toarray())


def item_weights(
    counts: torch.Tensor,
    l2: float,
    dropout: float = 0.0,
    similarity: torch.Tensor | None = None,
    similarity_weight: float = 1.0,
) -> torch.Tensor:
    """Find the item-item weights that best restore R from R, no title being used for itself.

    B = argmin |R - R B|^2 + sum_i (l2 + dropout / (1 - dropout) n_i) |B_i|^2 subject to diag(B) = 0, in closed form:
    with P = (R^T R + diag(l2 + dropout / (1 - dropout) n))^-1, B_ij = -P_ij / P_jj off the diagonal. The second term of
    the penalty is what dropping a share `dropout` of each user's titles at random amounts to. With a
    similarity, that is to be restored as well, as if by further users.

    Args:
        counts: as from gram.
        l2: above 0, in users: added to each title's count.
        dropout: from 0, which is EASE, to below 1.
        similarity: (n_items, n_items) positive semidefinite, added to counts; in users.
        similarity_weight: what it is multiplied by.

    Returns:
        B, (n_items, n_items) float32; a title without train rows and likeness has a zero row and column.

    Source:
        Steck 2019, Embarrassingly shallow autoencoders for sparse data; Steck 2020, Autoencoders that don't overfit
        towards the identity; Jeunen et al. 2020, Closed-form models for collaborative filtering with side-information.
    """
    inverse = penalised_inverse(counts, l2, dropout, similarity, similarity_weight)
    return inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0)


def penalised_inverse(
    counts: torch.Tensor,
    l2: float,
    dropout: float = 0.0,
    similarity: torch.Tensor | None = None,
    similarity_weight: float = 1.0,
) -> torch.Tensor:
    """Return P of item_weights, whose arguments these are: (n_items, n_items) float32."""
    # float32 is enough: with 6,444 titles and l2 = 10 no entry of B is 4e-6 away from that of float64
    penalised = counts.clone() if similarity is None else torch.add(counts, similarity, alpha=similarity_weight)
    penalised.diagonal().add_(l2 + dropout / (1 - dropout) * counts.diagonal())
    # in place, by scipy's LAPACK, which takes 0.7 of the time of torch's; row by row it has the upper triangle
    factor, failed = spotrf(penalised.numpy().T, lower=True, clean=False, overwrite_a=True)
    if failed:
        raise np.linalg.LinAlgError(f"the counts of {len(counts):,} titles cannot be inverted; raise l2, now {l2:g}")
    upper = torch.from_numpy(spotri(factor, lower=True, overwrite_c=True)[0].T).triu_()
    return upper.add_(upper.triu(1).T)


def target_weights(inverse: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """Find the item-item weights that best restore other targets than R from R, no title being used for itself.

    With Y for targets, B = P R^T Y - P diag(mu), where mu_j = (P R^T Y)_jj / P_jj makes the diagonal 0; with Y = R
    these are item_weights.

    Args:
        inverse: P, see penalised_inverse.
        products: R^T Y, (n_items, n_items), and the similarity where P has one; see gram.

    Returns:
        B, (n_items, n_items) float32.
    """
    restored = inverse @ products
    return restored.sub_(inverse * (restored.diagonal() / inverse.diagonal())).fill_diagonal_(0)


def text_similarity(item_text: np.ndarray) -> torch.Tensor:
    """Return the inner products of the items' texts, scaled so that an item with text has 1 with itself on average.

    Args:
        item_text: (n_items, L); rows of zeros have no text, and a similarity of 0.

    Returns:
        (n_items, n_items) float32, positive semidefinite: a similarity for item_weights, in users.
    """
    text = torch.from_numpy(np.ascontiguousarray(item_text, np.float32))
    similarity = text @ text.T
    return similarity / (similarity.diagonal().sum() / max(int(text.any(dim=1).sum()), 1)).clamp_min(1e-12)


def low_pass(train: sp.csr_matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the smoothest signals on the item-item graph: the largest singular vectors of the normalised train matrix.

    Args:
        train: CSR (n_users, n_items) of ones.
        rank: how many; no more than the smaller side of the matrix.

    Returns:
        The singular values (rank,), descending, and the vectors of the items, (n_items, rank) float32; 0 for items
        without train rows.

    Source:
        Shen et al. 2021, How powerful is graph convolution for recommendation? (GF-CF); Halko et al. 2011.
    """
    from sklearn.utils.extmath import randomized_svd

    _, values, vectors = randomized_svd(normalized(train), min(rank, *train.shape), n_iter=2, random_state=0)
    # not the rounding errors of the factorisation, which may rank new titles by their place in the file
    there = np.bincount(train.indices, minlength=train.shape[1])[:, None] > 0
    return values.astype(np.float32), np.ascontiguousarray(vectors.T * there, np.float32)


def filter_weights(
    smooth: torch.Tensor, vectors: np.ndarray, counts: np.ndarray, item_power: float, low_pass_weight: float
) -> torch.Tensor:
    """Return the graph filter as item-item weights: D^-item_power (R~^T R~ + low_pass_weight V V^T) D^item_power.

    Args:
        smooth: R~^T R~ of the normalised train matrix R~, (n_items, n_items); see normalized.
        vectors: V, (n_items, rank), see low_pass.
        counts: the diagonal of D, (n_items,), 1 or more.
        item_power: 0.5 as published; less lets popular titles count more.
        low_pass_weight: 0 or more; 0 leaves the second term out.

    Returns:
        (n_items, n_items) float32; scores are R times it.

    Source:
        Shen et al. 2021, How powerful is graph convolution for recommendation? (GF-CF, equation 17).
    """
    fewer, more = (torch.from_numpy(counts.astype(np.float32) ** power) for power in (-item_power, item_power))
    low = torch.from_numpy(vectors)
    return torch.addmm(smooth, low, low.T, alpha=low_pass_weight).mul_(fewer[:, None]).mul_(more[None])


def log_popularity(train: sp.csr_matrix) -> np.ndarray:
    """Return the logarithm of how many users collect each item, (n_items,) float32; 0 for items without train rows."""
    return np.log(np.maximum(np.bincount(train.indices, minlength=train.shape[1]), 1)).astype(np.float32)


def normalized(train: sp.csr_matrix) -> sp.csr_matrix:
    """Divide every value by the square roots of the sums of its row and of its column; without any, by 1."""
    sums = (np.asarray(train.sum(axis=axis)).ravel() for axis in (1, 0))
    scale = [np.where(total > 0, total, 1) ** -0.5 for total in sums]
    return sp.csr_matrix(sp.diags_array(scale[0]) @ train @ sp.diags_array(scale[1]))
