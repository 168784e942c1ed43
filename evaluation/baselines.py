"""Popularity, item-kNN, EASE, denoised EASE without and with text, a graph filter, content cosine: what to beat.

Each baseline takes Inputs and a point of its grid, and returns a Fit, whose factors (user_emb, item_emb) score by
user_emb @ item_emb.T, as a model's vectors do. For the item-item methods user_emb is the matrix of users' titles, kept
sparse, and item_emb the transposed similarities, so that the scores are those of the papers: R S. On large catalogues
both factors of the graph filter are sparse. TIMED and RATED know time and rates as our model does: most are the same
fits, for users whose titles are weighed by age or by rate.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from evaluation.baseline_inputs import Fit, Inputs, collected
from evaluation.ranking import Factor
from evaluation.time_and_rates import ease_rated, follows, popularity_late, popularity_rated
from text.whitening import whitened
from training.choice_of_rates import choose_rates, rated
from training.choice_of_weights import ORDER_DECAY
from training.closed_form import filter_weights, item_weights
from training.item_forms import ORDER_GRID, WEIGHTS_GRID
from training.linear_columns import WEIGHTS_MAX_ITEMS, linear_model
from training.user_rows import UserRows

EASE_MAX_ITEMS = WEIGHTS_MAX_ITEMS  # of dense item-item matrices
FILTER_MAX_PAIRS = 400_000_000  # of titles, in graph_filter; 8 bytes each


def popularity(inputs: Inputs) -> Fit:
    """Score every title by how many users collected it, the same for everyone: popularity_rated without rates.

    Returns:
        The Fit: users have a one, and items (n_items, 1) counts, float32.
    """
    return popularity_rated(inputs)


def item_knn(inputs: Inputs, neighbours: int = 20, shrink: float = 10.0) -> Fit:
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
        The Fit: users have their titles, and items (n_items, n_items) float32 dense, row i the similarities of title
        i; n_items^2 * 4 bytes.

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
    return Fit(collected, torch.zeros_like(similarity).scatter_(1, best.indices, best.values))


def ease(inputs: Inputs, l2: float = 200.0) -> Fit:
    """Score as edlae without drops, all users counting alike."""
    return edlae(inputs, l2, dropout=0.0, user_power=0.0)


def edlae(inputs: Inputs, l2: float = 100.0, dropout: float = 0.2, user_power: float = 0.3) -> Fit:
    """Score by linear item-item weights B that restore R from R where a share of each user's titles is dropped.

    Args:
        inputs: uses train, R.
        l2: above 0, in users: added to each title's count; without it R^T R may have no inverse.
        dropout: the share, from 0 to below 1; 0 is EASE.
        user_power: a user of n titles counts (n / mean n)^-user_power; 0 or more.

    Returns:
        The Fit: users have their titles, and items B^T, (n_items, n_items) float32 dense; a title without train rows
        scores 0. See item_weights.

    Source:
        Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data (EASE); Steck 2020, Autoencoders that don't
        overfit towards the identity (the full-rank EDLAE, for which the drops need not be drawn). Weighing users is
        common in linear recommenders; the power was chosen on valid.
    """
    return Fit(collected, item_weights(inputs.gram(user_power), l2, dropout).T.contiguous())


def ease_text(
    inputs: Inputs, l2: float = 150.0, text_weight: float = 30.0, dropout: float = 0.2, user_power: float = 0.3
) -> Fit:
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
        The Fit, as of edlae.

    Source:
        Jeunen et al. 2020, Closed-form models for collaborative filtering with side-information (additive CEASE), with
        the denoising of Steck 2020.
    """
    weights = item_weights(inputs.gram(user_power), l2, dropout, inputs.similarity * text_weight)
    return Fit(collected, weights.T.contiguous())


def graph_filter(inputs: Inputs, item_power: float = 0.4, low_pass_weight: float = 0.3) -> Fit:
    """Score by smoothing what a user collected over the item-item graph, without any training; see filter_weights.

    Args:
        inputs: uses train.
        item_power, low_pass_weight: as for filter_weights.

    Returns:
        The Fit, as of edlae; beyond EASE_MAX_ITEMS titles with sparse factors, (n_users, n_items + FILTER_RANK) and
        (n_items, n_items + FILTER_RANK) float32 CSR: 46 million numbers for the Gowalla graph, where dense weights
        would be 1.7 billion.

    Source:
        Shen et al. 2021, How powerful is graph convolution for recommendation? (GF-CF, equation 17).
    """
    vectors, counts = inputs.low_pass, inputs.counts
    if len(counts) <= EASE_MAX_ITEMS:
        smooth = torch.from_numpy(inputs.smooth.toarray())
        return Fit(collected, filter_weights(smooth, vectors, counts, item_power, low_pass_weight).T.contiguous())
    fewer, more = (counts[:, None] ** power for power in (-item_power, item_power))

    def users(rows: UserRows) -> sp.csr_matrix:
        scaled = sp.csr_matrix(rows.collected.multiply(fewer.T))
        return sp.csr_matrix(sp.hstack([scaled, sp.csr_matrix(scaled @ vectors)]), dtype=np.float32)

    item_emb = sp.hstack([inputs.smooth.multiply(more), sp.csr_matrix(low_pass_weight * more * vectors)])
    return Fit(users, sp.csr_matrix(item_emb, dtype=np.float32))


def content_cosine(inputs: Inputs, whiten: bool = False) -> Fit:
    """Score a title by the cosine between its text and the mean text of the user's titles.

    Titles count alike in the mean, whatever the length of their vectors. A title nobody collected is scored
    like any other.

    Args:
        inputs: uses train, and item_text.
        whiten: whether the texts are whitened first, as by text.whitening.

    Returns:
        The Fit: (n, L) and (n_items, L) float32 of unit rows; zero for a user without titles and for a title without
        text.

    Source:
        Rocchio 1971 (a profile is the mean of what is relevant, here without negatives); for recommendation
        Pazzani and Billsus 2007.
    """
    text = inputs.item_text
    text = np.asarray(whitened(text, text) if whiten else text, np.float32)
    item_emb = torch.nn.functional.normalize(torch.from_numpy(text))  # (n_items, L)

    def users(rows: UserRows) -> Factor:
        profiles = torch.from_numpy(rows.collected @ item_emb.numpy())  # (n, L)
        return torch.nn.functional.normalize(profiles)

    return Fit(users, item_emb)


def linear(inputs: Inputs, chosen: dict[str, Any] | None = None) -> Fit:
    """Score by the model's linear columns alone.

    Args:
        inputs: uses dataset, item_text as the model fuses it, and config.
        chosen: what an earlier fit entered into inputs.decided["linear"], in place of deciding it on valid.

    Returns:
        The Fit: (n, r) and (n_items, r) float32; see linear_model, which decides how titles count, and choose_rates.
    """
    dataset, config = inputs.dataset, inputs.config
    found = linear_model(dataset, inputs.item_text, config, chosen, with_rates=bool(config["rating_weight"]))
    inputs.decided["linear"] = found.decided
    if found.liking_of_one is not None and (chosen or dataset.valid.nnz):
        nothing = torch.zeros(dataset.n_users, 1), torch.zeros(dataset.n_items, 1)
        rates = chosen["rates"] if chosen else choose_rates(*nothing, found, 1.0, 1.0, dataset, config)
        inputs.decided["linear"] = {**found.decided, "rates": rates}
        found = rated(found, 1.0, rates["liking"] * rates["unit"], rates["rating"])
    return Fit(found.users, found.outputs, found.rating_weight, found.recency)


# name -> (inputs, **a point of GRIDS) -> Fit; without a point, the defaults hold
BASELINES: dict[str, Callable[..., Fit]] = {
    "popularity": popularity,
    "item_knn": item_knn,
    "ease": ease,
    "edlae": edlae,
    "ease_text": ease_text,
    "graph_filter": graph_filter,
    "content_cosine": content_cosine,
    "content_whitened": lambda inputs: content_cosine(inputs, whiten=True),
    "content_blocks": content_cosine,
    "popularity_late": popularity_late,
    "knn_recent": item_knn,
    "ease_recent": edlae,
    "filter_recent": graph_filter,
    "follows": follows,
    "popularity_rated": popularity_rated,
    "knn_rated": item_knn,
    "ease_rated": ease_rated,
    "filter_rated": graph_filter,
}

# a part of our own model, fitted and compared as baselines are
HALF: dict[str, Callable[..., Fit]] = {"linear": linear}

# what there is to choose, on valid: the middle of each grid is the default, and numbers go on beyond its ends
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "item_knn": {"neighbours": (5, 20, 80), "shrink": (0.0, 10.0, 30.0)},
    "ease": {"l2": (100.0, 200.0, 400.0)},
    "edlae": {"l2": (50.0, 100.0, 200.0), "dropout": (0.1, 0.2, 0.4), "user_power": (0.0, 0.3, 0.6)},
    "ease_text": WEIGHTS_GRID,
    "graph_filter": {"item_power": (0.2, 0.4, 0.6), "low_pass_weight": (0.0, 0.1, 0.3, 1.0, 3.0)},
    "popularity_late": {"half_life": (7.0, 30.0, 90.0, 365.0, 1095.0)},
    "follows": ORDER_GRID,
    "ease_rated": WEIGHTS_GRID,
}
GRIDS |= dict.fromkeys(("knn_recent", "knn_rated"), GRIDS["item_knn"])
GRIDS |= dict.fromkeys(("filter_recent", "filter_rated"), GRIDS["graph_filter"])
GRIDS["ease_recent"] = GRIDS["edlae"]

# those that know the time of what users collected, and those that know rates: what rates decide there
TIMED = ("popularity_late", "knn_recent", "ease_recent", "filter_recent", "follows")
RATED: dict[str, tuple[str, ...]] = {
    "popularity_rated": ("rating_target",),
    "knn_rated": ("rating",),
    "ease_rated": ("rating_target", "rating"),
    "filter_rated": ("rating",),
}
RATING_VALUES = (0.0, 0.25, 0.5, 1.0)  # rating weights of those keys, see ratings.pair_weights: of pairs, of titles
# what a user's titles count by their age, from where the search begins; of RATED only where TIMED are possible
DECAY_STARTS = {
    "knn_recent": 0.0,
    "ease_recent": 0.0,
    "filter_recent": 0.0,
    "follows": ORDER_DECAY,
    "knn_rated": 0.0,
    "ease_rated": 0.0,
    "filter_rated": 0.0,
}
