"""Popularity, item-kNN, EASE, denoised EASE without and with text, a graph filter, content cosine: what to beat.

Each baseline returns (user_emb, item_emb) such that score = user_emb @ item_emb.T, as a model's vectors do.
For the item-item methods user_emb is the train matrix itself, kept sparse, and item_emb the transposed similarities,
so that the scores are those of the papers: R S. On large catalogues both factors of the graph filter are sparse.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from llm_embedding import whitened
from training.closed_form import gram, item_weights, low_pass, normalized, text_similarity

Factors = tuple[torch.Tensor | sp.csr_matrix, torch.Tensor | sp.csr_matrix]

EASE_MAX_ITEMS = 25_000  # of dense item-item matrices
FILTER_MAX_PAIRS = 400_000_000  # of titles, in graph_filter; 8 bytes each


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

    Source:
        Sarwar et al. 2001, section 3 (cosine; neighbours of the predicted title); the shrink term as in
        Ferrari Dacrema et al. 2019, the plain sum as in Deshpande and Karypis 2004. The defaults of neighbours
        and shrink, and of l2 in EASE, did best of GRIDS on the valid part of 5,000 MyAnimeList users.
    """
    norms = torch.from_numpy(np.sqrt(np.bincount(train.indices, minlength=train.shape[1])).astype(np.float32))
    # a title without train rows would divide 0 by 0; for any other pair the norms are 1 or more
    similarity = gram(train).fill_diagonal_(0).div_(torch.outer(norms, norms).add_(shrink).clamp_(min=1e-9))
    best = similarity.topk(min(neighbours, train.shape[1]), dim=1)
    return train, torch.zeros_like(similarity).scatter_(1, best.indices, best.values)


def edlae(
    train: sp.csr_matrix, l2: float = 100.0, dropout: float = 0.2, user_power: float = 0.3
) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score by linear item-item weights B that restore R from R where a share of each user's titles is dropped.

    Args:
        train: CSR (n_users, n_items) of ones, R.
        l2: above 0, in users: added to each title's count; without it R^T R may have no inverse.
        dropout: the share, from 0 to below 1; 0 is EASE.
        user_power: a user of n titles counts (n / mean n)^-user_power; 0 or more.

    Returns:
        train and B^T, (n_items, n_items) float32 dense; a title without train rows scores 0. See item_weights.

    Source:
        Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data (EASE); Steck 2020, Autoencoders that don't
        overfit towards the identity (the full-rank EDLAE, for which the drops need not be drawn). Weighing users is
        common in linear recommenders; the power was chosen on valid.
    """
    return train, item_weights(gram(train, user_power), l2, dropout).T.contiguous()


def ease_text(
    train: sp.csr_matrix,
    item_vectors: np.ndarray,
    l2: float = 150.0,
    text_weight: float = 100.0,
    dropout: float = 0.2,
    user_power: float = 0.3,
) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score as edlae, by weights that also restore which items have similar texts.

    An item that nobody collected gets weights from its text, so that it is ranked like any other.

    Args:
        train: CSR (n_users, n_items) of ones.
        item_vectors: (n_items, L), as the model fuses them.
        l2: as in edlae.
        text_weight: how many users the text of an item counts as; 0 is edlae.
        dropout: as in edlae.
        user_power: as in edlae.

    Returns:
        train and B^T, (n_items, n_items) float32 dense.

    Source:
        Jeunen et al. 2020, Closed-form models for collaborative filtering with side-information (additive CEASE), with
        the denoising of Steck 2020.
    """
    counts, similarity = gram(train, user_power), text_similarity(item_vectors).mul_(text_weight)
    return train, item_weights(counts, l2, dropout, similarity).T.contiguous()


def graph_filter(
    train: sp.csr_matrix, item_power: float = 0.4, low_pass_weight: float = 0.3, rank: int = 256
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Score by smoothing what a user collected over the item-item graph, without any training.

    s_u = r_u D^-item_power (R~^T R~ + low_pass_weight V V^T) D^item_power, with R~ the normalised train matrix, D the
    titles' counts and V the items' `rank` largest singular vectors.

    Args:
        train: CSR (n_users, n_items) of ones.
        item_power: 0.5 as published; less lets popular titles count more.
        low_pass_weight: 0 or more; 0 leaves the second term out.
        rank: at least 1.

    Returns:
        As edlae; beyond EASE_MAX_ITEMS titles sparse factors, (n_users, n_items + rank) and (n_items, n_items + rank)
        float32 CSR: 46 million numbers for the Gowalla graph, where dense weights would be 1.7 billion.

    Source:
        Shen et al. 2021, How powerful is graph convolution for recommendation? (GF-CF, equation 17).
    """
    counts = np.maximum(np.bincount(train.indices, minlength=train.shape[1]), 1).astype(np.float32)
    fewer, more = (counts[:, None] ** power for power in (-item_power, item_power))
    smooth, vectors = normalized(train).astype(np.float32), low_pass(train, rank)[1]
    if train.shape[1] <= EASE_MAX_ITEMS:
        weights = (smooth.T @ smooth).toarray() + low_pass_weight * vectors @ vectors.T
        return train, torch.from_numpy(more * weights * fewer.T)
    inputs = sp.csr_matrix(train.multiply(fewer.T))
    user_emb = sp.hstack([inputs, sp.csr_matrix(inputs @ vectors)])
    item_emb = sp.hstack([(smooth.T @ smooth).multiply(more), sp.csr_matrix(low_pass_weight * more * vectors)])
    return sp.csr_matrix(user_emb, dtype=np.float32), sp.csr_matrix(item_emb, dtype=np.float32)


def content_cosine(
    train: sp.csr_matrix, item_vectors: np.ndarray, whiten: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
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

    Source:
        Rocchio 1971 (a profile is the mean of what is relevant, here without negatives); for recommendation
        Pazzani and Billsus 2007.
    """
    item_vectors = np.asarray(whitened(item_vectors, item_vectors) if whiten else item_vectors, np.float32)
    item_emb = torch.nn.functional.normalize(torch.from_numpy(item_vectors))  # (n_items, L)
    profiles = torch.from_numpy(train @ item_emb.numpy())  # (n_users, L)
    return torch.nn.functional.normalize(profiles), item_emb


# name -> (dataset, item_vectors, **a point of GRIDS) -> Factors; without a point, the defaults hold
BASELINES: dict[str, Callable[..., Factors]] = {
    "popularity": lambda dataset, item_vectors: popularity(dataset.train),
    "item_knn": lambda dataset, item_vectors, **point: item_knn(dataset.train, **point),
    "ease": lambda dataset, item_vectors, l2=200.0: edlae(dataset.train, l2, dropout=0.0, user_power=0.0),
    "edlae": lambda dataset, item_vectors, **point: edlae(dataset.train, **point),
    "ease_text": lambda dataset, item_vectors, **point: ease_text(dataset.train, item_vectors, **point),
    "graph_filter": lambda dataset, item_vectors, **point: graph_filter(dataset.train, **point),
    "content_cosine": lambda dataset, item_vectors: content_cosine(dataset.train, item_vectors),
    "content_whitened": lambda dataset, item_vectors: content_cosine(dataset.train, item_vectors, whiten=True),
    "content_blocks": lambda dataset, item_vectors: content_cosine(dataset.train, item_vectors),
}

# what there is to choose, on valid
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "item_knn": {"neighbours": (2, 5, 20, 100), "shrink": (0, 10)},
    "ease": {"l2": (10, 30, 100, 200, 500, 1000)},
    "edlae": {"l2": (30, 100, 300), "dropout": (0.2,), "user_power": (0.0, 0.3)},
    "ease_text": {"l2": (70, 150, 300), "text_weight": (10, 30, 100, 300, 1000)},
    "graph_filter": {"item_power": (0.3, 0.4, 0.5), "low_pass_weight": (0.3, 1.0, 3.0)},
}

# values that go on beyond an end of their grid, by the ratio of the last two, while the best point is there
OPEN_ENDED: dict[str, tuple[str, ...]] = {"ease_text": ("l2", "text_weight")}
