"""Which pairs their users liked, loved or disliked."""

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from dataset.ratings import DISLIKED, LIKED, LOVED


def pairs_by_taste(dataset: Dataset, pairs: sp.csr_matrix) -> dict[str, sp.csr_matrix]:
    """Pick the rated pairs that their users liked, loved and disliked, by how far a rate lies from the user's mean.

    Args:
        dataset: whose scale of each user is learned from train alone.
        pairs: CSR (n_users, n_items), some of dataset.seen.

    Returns:
        "liked", "loved" and "disliked" -> CSR (n_users, n_items); loved pairs are liked as well. Nothing where the data
        have no rates.
    """
    if not dataset.has_rates:
        return {}
    is_rated, scores = dataset.rates_of(pairs) != 0, dataset.scores_of(pairs)
    chosen = {"liked": scores >= LIKED, "loved": scores >= LOVED, "disliked": scores <= DISLIKED}
    return {taste: picked(pairs, is_rated & are) for taste, are in chosen.items()}


def asked_pairs(dataset: Dataset, pairs: sp.csr_matrix, metric: str) -> tuple[sp.csr_matrix, str]:
    """Return which of the pairs are the target of a metric, and its plain name: of "liked NDCG@20" the liked ones."""
    taste, _, plain = metric.rpartition(" ")
    if not taste:
        return pairs, plain
    return pairs_by_taste(dataset, pairs).get(taste, sp.csr_matrix(pairs.shape, dtype=np.float32)), plain


def picked(pairs: sp.csr_matrix, chosen: np.ndarray) -> sp.csr_matrix:
    """Keep some of the pairs, (nnz,) bool."""
    kept = pairs.copy()
    kept.data = chosen.astype(np.float32)
    kept.eliminate_zeros()
    return kept
