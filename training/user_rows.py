"""What users are placed by: their titles, each with what it counts by its rate and by its age."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from dataset.ratings import pair_weights
from dataset.recency import recency_weights


class UserRows(NamedTuple):
    """The titles of some users, CSR (n, n_items) float32 each, with the same pairs, of which some may be 0."""

    collected: sp.csr_matrix  # what each title counts, 0 or more
    scores: sp.csr_matrix  # how much it was liked, negative where disliked; see RatingScale


def weighted_rows(
    pairs: sp.csr_matrix, scores: np.ndarray, ages: np.ndarray, rating_weight: float = 0.0, recency: float = 0.0
) -> UserRows:
    """Weigh pairs by their scores and ages.

    Args:
        pairs: CSR (n, n_items).
        scores, ages: (nnz,), as of Dataset.scores_of and Dataset.ages_of.
        rating_weight: as of ratings.pair_weights.
        recency: half-life, see recency.recency_weights.
    """
    age = recency_weights(ages, recency)
    return UserRows(with_values(pairs, age * pair_weights(scores, rating_weight)), with_values(pairs, age * scores))


def known_rows(dataset: Dataset, part: str, rating_weight: float = 0.0, recency: float = 0.0) -> UserRows:
    """Weigh all that is known of the users of a dataset before "valid" or "test"; see Dataset.known_before."""
    pairs = dataset.known_before(part)
    return weighted_rows(pairs, dataset.scores_of(pairs), dataset.ages_of(pairs), rating_weight, recency)


def weighted_train(dataset: Dataset, rating_weight: float) -> sp.csr_matrix:
    """Return train with what each pair counts in training: float32, and train itself where rates decide nothing.

    Args:
        rating_weight: as of ratings.pair_weights; -1, which is still to be chosen, weighs as 0 does.
    """
    if rating_weight <= 0:
        return dataset.train
    return with_values(dataset.train, pair_weights(dataset.scores_of(dataset.train), rating_weight))


def with_values(pairs: sp.csr_matrix, values: np.ndarray) -> sp.csr_matrix:
    """Return pairs with these values (nnz,), float32; those that are 0 stay."""
    return sp.csr_matrix((values.astype(np.float32), pairs.indices, pairs.indptr), shape=pairs.shape)
