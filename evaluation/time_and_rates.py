"""Baselines that are fitted to time or rates: popularity of late, what follows what, targets weighed by rates."""

import numpy as np
import scipy.sparse as sp
import torch

from dataset.ratings import pair_weights
from dataset.recency import users_of
from evaluation.baseline_inputs import Fit, Inputs, collected
from training.closed_form import gram, item_weights, penalised_inverse, target_weights
from training.item_forms import transitions
from training.user_rows import UserRows, with_values

MOMENTS = 256  # at which popularity of late is known
DAY = 86_400  # seconds


def popularity_late(inputs: Inputs, half_life: float = 90.0) -> Fit:
    """Score every title by who collected it lately, as seen when the user last collected something.

    A train row counts 0.5^(days before then / half_life); later ones and those without a time do not count. Users
    without a time stand at the end.

    Args:
        inputs: uses the train part of its dataset, and its times.
        half_life: in days.

    Returns:
        The Fit: users have a one for the last of the moments (n, m) that is not after their last title, and items their
        popularity at each, (n_items, m). Moments are the times of train rows, MOMENTS of them at most, evenly drawn.

    Source:
        Ji et al. 2020, A re-visit of the popularity baseline in recommender systems (DecayPop).
    """
    dataset, train = inputs.dataset, inputs.train
    times = dataset.times_of(train)
    moments = np.unique(times[np.isfinite(times)])
    if len(moments) > MOMENTS:
        moments = moments[np.linspace(0, len(moments) - 1, MOMENTS).round().astype(int)]
    if not len(moments):
        return Fit(lambda rows: torch.zeros(rows.collected.shape[0], 1), torch.zeros(dataset.n_items, 1))
    known = np.flatnonzero(np.isfinite(times))
    first = np.searchsorted(moments, times[known])  # the first moment at which a row is known
    days = (moments[first] - times[known]) / DAY
    late = sp.csr_matrix((np.exp2(-days / half_life), (train.indices[known], first)), (dataset.n_items, len(moments)))
    late = late.toarray()  # (n_items, m)
    for place, gap in enumerate(np.diff(moments) / DAY):
        late[:, place + 1] += late[:, place] * np.exp2(-gap / half_life)

    def users(rows: UserRows) -> torch.Tensor:
        pairs = rows.collected
        last = np.full(pairs.shape[0], -np.inf)
        np.fmax.at(last, users_of(pairs), dataset.times_of(pairs))
        last[np.isinf(last)] = moments[-1]
        places = np.maximum(np.searchsorted(moments, last, side="right") - 1, 0)
        return torch.nn.functional.one_hot(torch.from_numpy(places), len(moments)).float()

    return Fit(users, torch.from_numpy(late.astype(np.float32)))


def follows(inputs: Inputs, window: float = 10.0, from_power: float = 0.6, to_power: float = 0.4) -> Fit:
    """Score a title by how often it is collected after those of the user.

    Args:
        inputs: uses the train part of its dataset, in the order of its times.
        window: half-life in titles, see item_forms.transitions.
        from_power, to_power: by which powers of their counts titles count less, before and after.

    Returns:
        The Fit: users have their titles, and items (n_items, n_items) float32 dense: row j says how
        often j comes after each.

    Source:
        See item_forms.transitions.
    """
    after = inputs.last("transitions", window, lambda: transitions(inputs.dataset, window)).toarray()
    scaled = after * inputs.counts[:, None] ** -from_power * inputs.counts[None, :] ** -to_power
    return Fit(collected, torch.from_numpy(np.ascontiguousarray(scaled.T, np.float32)))


def popularity_rated(inputs: Inputs, rating_target: float = 0.0) -> Fit:
    """Score every title by what the pairs of it count, the same for everyone.

    Args:
        inputs: uses the train part of its dataset, and its rates.
        rating_target: what rates count, see ratings.pair_weights.

    Returns:
        The Fit: users have a one, and items (n_items, 1) sums, float32.
    """
    weights = pair_weights(inputs.dataset.scores_of(inputs.train), rating_target)
    sums = np.bincount(inputs.train.indices, weights, minlength=inputs.dataset.n_items).astype(np.float32)
    return Fit(lambda rows: torch.ones(rows.collected.shape[0], 1), torch.from_numpy(sums)[:, None])


def ease_rated(
    inputs: Inputs,
    l2: float = 150.0,
    text_weight: float = 30.0,
    dropout: float = 0.2,
    user_power: float = 0.3,
    rating_target: float = 0.0,
) -> Fit:
    """Score as ease_text, or as edlae without text, by weights that restore what was liked more than the rest.

    Args:
        inputs: uses the train part of its dataset, its rates, and item_text.
        l2, text_weight, dropout, user_power: as in ease_text.
        rating_target: what rates count in what is restored, see ratings.pair_weights; with 0 the weights are those of
            ease_text.

    Returns:
        The Fit, as of edlae.

    Source:
        Steck 2019, whose closed form holds for any targets; see closed_form.target_weights.
    """
    train, likeness = inputs.train, None if inputs.item_text is None else inputs.similarity * text_weight
    penalised = inputs.gram(user_power), l2, dropout, likeness
    if not rating_target:
        return Fit(collected, item_weights(*penalised).T.contiguous())
    point = l2, text_weight, dropout, user_power
    inverse = inputs.last("inverse", point, lambda: penalised_inverse(*penalised))
    weighed = with_values(train, pair_weights(inputs.dataset.scores_of(train), rating_target))
    products = gram(train, user_power, weighed)
    products = products if likeness is None else products.add_(likeness)
    return Fit(collected, target_weights(inverse, products).T.contiguous())
