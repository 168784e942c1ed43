"""Popularity, item-kNN, EASE, denoised EASE without and with text, a graph filter, content cosine: what to beat.

Each baseline takes Inputs and a point of its grid, and returns (user_emb, item_emb) such that score = user_emb @
item_emb.T, as a model's vectors do. For the item-item methods user_emb is the train matrix itself, kept sparse, and
item_emb the transposed similarities, so that the scores are those of the papers: R S. On large catalogues both factors
of the graph filter are sparse.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from llm_embedding import whitened
from training.closed_form import (
    filter_weights,
    gram,
    item_weights,
    log_popularity,
    low_pass,
    normalized,
    text_similarity,
)
from training.item_forms import FILTER_RANK, WEIGHTS_GRID
from training.linear_columns import WEIGHTS_MAX_ITEMS, linear_model
from training.placed_by_text import place_cold_by_text

Factors = tuple[torch.Tensor | sp.csr_matrix, torch.Tensor | sp.csr_matrix]

EASE_MAX_ITEMS = WEIGHTS_MAX_ITEMS  # of dense item-item matrices
FILTER_MAX_PAIRS = 400_000_000  # of titles, in graph_filter; 8 bytes each


class Inputs:
    """What a baseline is fitted to, and what all points of its grid have in common, which is computed once."""

    def __init__(self, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any] | None = None):
        """Keep a dataset, whose test parts are not looked at, the text (n_items, L) of its items, and the settings."""
        self.dataset, self.train, self.item_text, self.config = dataset, dataset.train, item_text, config
        self.decided: dict[str, Any] = {}  # what a fit decided on valid by itself
        self._gram: tuple[float, torch.Tensor] | None = None

    def gram(self, user_power: float = 0.0) -> torch.Tensor:
        """Return closed_form.gram, which is not to be changed; that of the last user_power is kept."""
        if self._gram is None or self._gram[0] != user_power:
            self._gram = None
            self._gram = user_power, gram(self.train, user_power)
        return self._gram[1]

    @cached_property
    def similarity(self) -> torch.Tensor:
        """The similarity of the items' texts, (n_items, n_items); see text_similarity."""
        return text_similarity(self.item_text)

    @cached_property
    def log_popularity(self) -> np.ndarray:
        """Log popularity, (n_items,) float32; that of a cold item is predicted from its text, else it is 0."""
        logs, text = log_popularity(self.train), self.item_text
        return logs if text is None else place_cold_by_text(text, self.dataset.warm_items, logs[:, None])[:, 0]

    @cached_property
    def cold_with_text(self) -> np.ndarray:
        """Which items are cold and have a text, (n_items,) bool."""
        cold = ~np.isin(np.arange(self.dataset.n_items), self.dataset.warm_items)
        return cold & (False if self.item_text is None else self.item_text.any(axis=1))

    @cached_property
    def smooth(self) -> sp.csr_matrix:
        """R~^T R~ of graph_filter, (n_items, n_items) float32."""
        smooth = normalized(self.train).astype(np.float32)
        return sp.csr_matrix(smooth.T @ smooth)

    @cached_property
    def low_pass(self) -> np.ndarray:
        """The smoothest signals on the item-item graph, (n_items, FILTER_RANK); see closed_form.low_pass."""
        return low_pass(self.train, FILTER_RANK)[1]


def popularity(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Score every title by how many users collected it, the same for everyone.

    Returns:
        (n_users, 1) of ones and (n_items, 1) of counts, float32.
    """
    train = inputs.train
    counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)
    return torch.ones(train.shape[0], 1), torch.from_numpy(counts)[:, None]


def item_knn(inputs: Inputs, neighbours: int = 20, shrink: float = 10.0) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score a title by its similarity to those the user collected, counting only its nearest neighbours.

    s_ij = n_ij / (sqrt(n_i n_j) + shrink), with n_ij the users who collected both. Of each title i only the
    largest s_ij stay, itself left out. The sum is not divided by the similarities: with ones for ratings
    that would rank a title with a single, collected neighbour first.

    Args:
        inputs: uses train.
        neighbours: how many are kept a title, fewer where fewer share a user with it; ties at the cut fall
            arbitrarily, the same way in every run.
        shrink: in users; draws similarities that rest on few of them towards 0.

    Returns:
        train and (n_items, n_items) float32 dense, row i the similarities of title i; n_items^2 * 4 bytes.

    Source:
        Sarwar et al. 2001, section 3 (cosine; neighbours of the predicted title); the shrink term as in
        Ferrari Dacrema et al. 2019, the plain sum as in Deshpande and Karypis 2004.
    """
    train = inputs.train
    norms = torch.from_numpy(np.sqrt(np.bincount(train.indices, minlength=train.shape[1])).astype(np.float32))
    # a title without train rows would divide 0 by 0; for any other pair the norms are 1 or more
    similarity = inputs.gram() / torch.outer(norms, norms).add_(shrink).clamp_(min=1e-9)
    similarity.fill_diagonal_(0)
    best = similarity.topk(min(neighbours, train.shape[1]), dim=1)
    return train, torch.zeros_like(similarity).scatter_(1, best.indices, best.values)


def ease(inputs: Inputs, l2: float = 200.0) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score as edlae without drops, all users counting alike."""
    return edlae(inputs, l2, dropout=0.0, user_power=0.0)


def edlae(
    inputs: Inputs, l2: float = 100.0, dropout: float = 0.2, user_power: float = 0.3
) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score by linear item-item weights B that restore R from R where a share of each user's titles is dropped.

    Args:
        inputs: uses train, R.
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
    return inputs.train, item_weights(inputs.gram(user_power), l2, dropout).T.contiguous()


def ease_text(
    inputs: Inputs, l2: float = 150.0, text_weight: float = 30.0, dropout: float = 0.2, user_power: float = 0.3
) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Score as edlae, by weights that also restore which items have similar texts.

    An item that nobody collected gets weights from its text, so that it is ranked like any other; equal_terms may place
    it better.

    Args:
        inputs: uses train, and item_text as the model fuses it.
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
    weights = item_weights(inputs.gram(user_power), l2, dropout, inputs.similarity * text_weight)
    return inputs.train, weights.T.contiguous()


def graph_filter(inputs: Inputs, item_power: float = 0.4, low_pass_weight: float = 0.3) -> Factors:
    """Score by smoothing what a user collected over the item-item graph, without any training; see filter_weights.

    Args:
        inputs: uses train.
        item_power, low_pass_weight: as for filter_weights.

    Returns:
        As edlae; beyond EASE_MAX_ITEMS titles sparse factors, (n_users, n_items + FILTER_RANK) and (n_items,
        n_items + FILTER_RANK) float32 CSR: 46 million numbers for the Gowalla graph, where dense weights would be 1.7
        billion.

    Source:
        Shen et al. 2021, How powerful is graph convolution for recommendation? (GF-CF, equation 17).
    """
    train, vectors = inputs.train, inputs.low_pass
    counts = np.maximum(np.bincount(train.indices, minlength=train.shape[1]), 1).astype(np.float32)
    fewer, more = (counts[:, None] ** power for power in (-item_power, item_power))
    if train.shape[1] <= EASE_MAX_ITEMS:
        smooth = torch.from_numpy(inputs.smooth.toarray())
        return train, filter_weights(smooth, vectors, counts, item_power, low_pass_weight).T.contiguous()
    scaled = sp.csr_matrix(train.multiply(fewer.T))
    user_emb = sp.hstack([scaled, sp.csr_matrix(scaled @ vectors)])
    item_emb = sp.hstack([inputs.smooth.multiply(more), sp.csr_matrix(low_pass_weight * more * vectors)])
    return sp.csr_matrix(user_emb, dtype=np.float32), sp.csr_matrix(item_emb, dtype=np.float32)


def content_cosine(inputs: Inputs, whiten: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Score a title by the cosine between its text and the mean text of the user's train titles.

    Titles count alike in the mean, whatever the length of their vectors. A title nobody collected is scored
    like any other.

    Args:
        inputs: uses train, and item_text.
        whiten: whether the texts are whitened first, as by llm_embedding.whitened.

    Returns:
        (n_users, L) and (n_items, L) float32 of unit rows; zero for a user without train rows and for a
        title without text.

    Source:
        Rocchio 1971 (a profile is the mean of what is relevant, here without negatives); for recommendation
        Pazzani and Billsus 2007.
    """
    text = inputs.item_text
    text = np.asarray(whitened(text, text) if whiten else text, np.float32)
    item_emb = torch.nn.functional.normalize(torch.from_numpy(text))  # (n_items, L)
    profiles = torch.from_numpy(inputs.train @ item_emb.numpy())  # (n_users, L)
    return torch.nn.functional.normalize(profiles), item_emb


def linear(inputs: Inputs, chosen: dict[str, Any] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Score by the model's linear columns alone.

    Args:
        inputs: uses dataset, item_text as the model fuses it, and config.
        chosen: what an earlier fit entered into inputs.decided["linear"], in place of deciding it on valid.

    Returns:
        (n_users, r) and (n_items, r) float32; see linear_model.
    """
    found = linear_model(inputs.dataset, inputs.item_text, inputs.config, chosen)
    inputs.decided["linear"] = found.decided
    return found.known_users(inputs.dataset, "valid"), found.outputs


# name -> (inputs, **a point of GRIDS) -> Factors; without a point, the defaults hold
BASELINES: dict[str, Callable[..., Factors]] = {
    "popularity": popularity,
    "item_knn": item_knn,
    "ease": ease,
    "edlae": edlae,
    "ease_text": ease_text,
    "graph_filter": graph_filter,
    "content_cosine": content_cosine,
    "content_whitened": lambda inputs: content_cosine(inputs, whiten=True),
    "content_blocks": content_cosine,
}

# a part of our own model, fitted and compared as baselines are
HALF: dict[str, Callable[..., Factors]] = {"linear": linear}

# what there is to choose, on valid: the middle of each grid is the default, and numbers go on beyond its ends
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "item_knn": {"neighbours": (5, 20, 80), "shrink": (0.0, 10.0, 30.0)},
    "ease": {"l2": (100.0, 200.0, 400.0)},
    "edlae": {"l2": (50.0, 100.0, 200.0), "dropout": (0.1, 0.2, 0.4), "user_power": (0.0, 0.3, 0.6)},
    "ease_text": WEIGHTS_GRID,
    "graph_filter": {"item_power": (0.2, 0.4, 0.6), "low_pass_weight": (0.0, 0.1, 0.3, 1.0, 3.0)},
}
