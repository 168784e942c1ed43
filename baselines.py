"""Popularity, item-kNN, EASE and content cosine: what any model must beat.

Each baseline returns (user_emb, item_emb) such that score = user_emb @ item_emb.T, as a model's vectors do.
For the two item-item methods user_emb is the train matrix itself, kept sparse, and item_emb the transposed
similarities, so that the scores are those of the papers: R S.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from llm_embedding import whitened

Factors = tuple[torch.Tensor | sp.csr_matrix, torch.Tensor]

KNN_BLOCK = 1024
EASE_MAX_ITEMS = 25_000


def popularity(train: sp.csr_matrix) -> tuple[torch.Tensor, torch.Tensor]:
    """Score every title by how many users collected it, the same for everyone.

    Args:
        train: CSR (n_users, n_items) of ones.

    Returns:
        (n_users, 1) of ones and (n_items, 1) of counts, float32.
    """
    counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)
    return torch.ones(train.shape[0], 1), torch.from_numpy(counts)[:, None]


def item_knn(train: sp.csr_matrix, neighbours: int = 20, shrink: float = 0.0) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score a title by its similarity to those the user collected, counting only its nearest neighbours.

    s_ij = n_ij / (sqrt(n_i n_j) + shrink), with n_ij the users who collected both. Of each title i only the
    largest s_ij stay, itself left out. The sum is not divided by the similarities: with ones for ratings
    that would rank a title with a single, collected neighbour first.

    Args:
        train: CSR (n_users, n_items) of ones.
        neighbours: how many are kept a title, fewer where fewer share a user with it; ties at the cut fall
            arbitrarily, the same way in every run.
        shrink: in users; draws similarities that rest on few of them towards 0.

    Returns:
        train and (n_items, n_items) float32 dense, row i the similarities of title i; n_items^2 * 4 bytes.

    Raises:
        ValueError: neighbours below 1 or shrink below 0.

    Source:
        Sarwar et al. 2001, section 3 (cosine; neighbours of the predicted title); the shrink term as in
        Ferrari Dacrema et al. 2019, the plain sum as in Deshpande and Karypis 2004. The defaults of neighbours
        and shrink, and of l2 in ease, did best of GRIDS on the valid part of 5,000 MyAnimeList users.
    """
    if neighbours < 1 or shrink < 0:
        raise ValueError(f"item_knn needs neighbours of 1 or more and shrink of 0 or more, not {neighbours} and "
                         f"{shrink:g}")
    n_items = train.shape[1]
    norms = np.sqrt(np.bincount(train.indices, minlength=n_items)).astype(np.float32)
    by_item = train.T.tocsr()  # (n_items, n_users)
    item_emb = torch.zeros(n_items, n_items)
    for start in range(0, n_items, KNN_BLOCK):
        similarity = (by_item[start:start + KNN_BLOCK] @ train).toarray()  # (b, n_items)
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = 0
        # a title without train rows would divide 0 by 0; for any other pair the norms are 1 or more
        similarity /= np.maximum(np.outer(norms[start + rows], norms) + np.float32(shrink), 1e-9)
        best = torch.from_numpy(similarity).topk(min(neighbours, n_items), dim=1)
        item_emb[start:start + KNN_BLOCK].scatter_(1, best.indices, best.values)
    return train, item_emb


def ease(train: sp.csr_matrix, l2: float = 200.0) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score by the linear item-item weights that best restore R from R, no title being used for itself.

    B = argmin |R - R B|^2 + l2 |B|^2 subject to diag(B) = 0, in closed form: with P = (R^T R + l2 I)^-1,
    B_ij = -P_ij / P_jj off the diagonal. A title without train rows has a zero row and column, and scores 0.

    Args:
        train: CSR (n_users, n_items) of ones.
        l2: above 0, in users: added to each title's count.

    Returns:
        train and B^T, (n_items, n_items) float32 dense.

    Raises:
        ValueError: l2 is not above 0, or there are more than EASE_MAX_ITEMS titles.

    Source:
        Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data.
    """
    n_items = train.shape[1]
    if l2 <= 0:
        raise ValueError(f"EASE needs an l2 above 0, not {l2}; without it R^T R may have no inverse")
    if n_items > EASE_MAX_ITEMS:
        raise ValueError(f"EASE inverts a matrix of items by items: {n_items:,} titles take about "
                         f"{12 * n_items**2 / 2**30:,.0f} GiB of memory (three such float32 matrices), more than the "
                         f"limit of {EASE_MAX_ITEMS:,} titles allows; use item_knn, or raise EASE_MAX_ITEMS")
    # float32 is enough: with 6,444 titles and l2 = 10 no entry of B is 4e-6 away from that of float64
    gram = torch.from_numpy((train.T @ train).toarray())  # (n_items, n_items)
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    item_emb = inverse.div_(-inverse.diagonal().clone()[:, None]).fill_diagonal_(0)  # P is symmetric: this is B^T
    return train, item_emb


def content_cosine(train: sp.csr_matrix, item_vectors: np.ndarray | None,
                   whiten: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Score a title by the cosine between its text and the mean text of the user's train titles.

    Titles count alike in the mean, whatever the length of their vectors. A title nobody collected is scored
    like any other.

    Args:
        train: CSR (n_users, n_items) of ones.
        item_vectors: (n_items, L), as TextVectors.items.
        whiten: whether they are whitened first, as by llm_embedding.whitened.

    Returns:
        (n_users, L) and (n_items, L) float32 of unit rows; zero for a user without train rows and for a
        title without text.

    Raises:
        ValueError: there are no vectors, or not one for each title.

    Source:
        Rocchio 1971 (a profile is the mean of what is relevant, here without negatives); for recommendation
        Pazzani and Billsus 2007.
    """
    if item_vectors is None or len(item_vectors) != train.shape[1]:
        found = "none" if item_vectors is None else f"{len(item_vectors):,}"
        raise ValueError(f"content_cosine needs a text vector for each of {train.shape[1]:,} titles and got {found}; "
                         "set use_item_llm true and fusion_mode to concat or sum")
    item_vectors = np.asarray(whitened(item_vectors, item_vectors) if whiten else item_vectors, np.float32)
    item_emb = torch.nn.functional.normalize(torch.from_numpy(item_vectors))  # (n_items, L)
    profiles = torch.from_numpy(train @ item_emb.numpy())  # (n_users, L)
    return torch.nn.functional.normalize(profiles), item_emb


# name -> (dataset, item_vectors, **a point of GRIDS) -> Factors; without a point, the defaults hold
BASELINES: dict[str, Callable[..., Factors]] = {
    "popularity": lambda dataset, item_vectors: popularity(dataset.train),
    "item_knn": lambda dataset, item_vectors, **point: item_knn(dataset.train, **point),
    "ease": lambda dataset, item_vectors, **point: ease(dataset.train, **point),
    "content_cosine": lambda dataset, item_vectors: content_cosine(dataset.train, item_vectors),
    "content_whitened": lambda dataset, item_vectors: content_cosine(dataset.train, item_vectors, whiten=True),
}

# what there is to choose, on valid
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "item_knn": {"neighbours": (2, 5, 20, 100), "shrink": (0, 10)},
    "ease": {"l2": (10, 30, 100, 200, 500, 1000)},
}
