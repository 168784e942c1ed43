"""Beyond-accuracy metrics of lists: coverage, Gini, novelty, diversity."""

import numpy as np
import scipy.sparse as sp


def beyond_accuracy(items: np.ndarray, train: sp.csr_matrix, item_vectors: np.ndarray | None) -> dict[str, float]:
    """Describe the lists themselves: how much of the catalogue they reach, how popular and how similar the titles are.

    Coverage  = titles that are in any list / titles
    Gini      = of how often each title of the catalogue is listed; 0: all equally often, near 1: a few take all
    Novelty   = mean over listed titles of -log2((users who collected it in train + 1) / (users + 1)), in bits
    Diversity = 1 - mean cosine of the text vectors of two titles of a list, averaged over lists of two or more

    Args:
        items: (n, k) item rows, -1 for none, as Ranking.items.
        train: CSR (n_users, n_items).
        item_vectors: (n_items, L) or None, which leaves Diversity out.

    Source:
        Castells et al. 2015, Novelty and diversity in recommender systems; Ziegler et al. 2005 for the last.
    """
    n_users, n_items = train.shape
    listed = np.bincount(items[items >= 0], minlength=n_items)
    counts = np.bincount(train.indices, minlength=n_items)
    gini = ((2 * np.arange(1, n_items + 1) - n_items - 1) @ np.sort(listed)) / max(n_items * listed.sum(), 1)
    novelty = listed @ -np.log2((counts + 1) / (n_users + 1)) / max(listed.sum(), 1)
    found = {"Coverage": float((listed > 0).mean()), "Gini": float(gini), "Novelty": float(novelty)}
    if item_vectors is not None:
        lengths = np.linalg.norm(item_vectors, axis=1, keepdims=True)
        unit = item_vectors / np.where(lengths > 0, lengths, 1)
        pairs = items[(items >= 0).sum(axis=1) > 1]
        alike = [_alike(unit, block) for block in np.array_split(pairs, len(pairs) // 256 + 1)]
        found["Diversity"] = float(1 - np.concatenate(alike).mean()) if len(pairs) else 0.0
    return found


def _alike(unit: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the mean cosine of two titles of each list (b, k), -1 being none: from |sum of v|^2 - sum of |v|^2."""
    there = items >= 0
    vectors = unit[items] * there[:, :, None]  # (b, k, L)
    sizes = there.sum(axis=1)
    together = np.square(vectors.sum(axis=1)).sum(axis=1) - np.square(vectors).sum(axis=(1, 2))
    return together / (sizes * (sizes - 1))
