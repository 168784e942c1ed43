"""Vectors of an encoder, evened out: centred on the titles' mean, with the titles' variance alike in all directions."""

from collections.abc import Callable

import numpy as np

WHITEN_SAMPLE = 100_000


def whitened(vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """Centre vectors on the items' mean and even out the items' variance over all directions; see whitening.

    Args:
        vectors: (n, L), of items or users.
        item_vectors: (m, L).

    Returns:
        (n, L) float32, in units of the items' root mean square length.
    """
    return whitening(item_vectors)(vectors)


def whitening(item_vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit what centres vectors on the items' mean and evens out the items' variance over all directions.

    Encoders place all texts in a narrow cone, where what texts share outweighs what tells them apart. Users are moved
    with the items, so that a mean of items stays their mean. Rows of zeros bring no text and stay as they are.

    Args:
        item_vectors: (m, L); their covariance (of WHITEN_SAMPLE of them, if there are more) is shrunk towards a
            multiple of the identity, the more the fewer they are. No interaction takes part.

    Returns:
        A function from (n, L) to (n, L) float32, in units of the items' root mean square length.

    Source:
        Zhang et al. 2024, Are ID embeddings necessary? https://arxiv.org/abs/2402.10602, for whitened text in
        recommendation; Ledoit and Wolf 2004 for the shrinkage.
    """
    from sklearn.covariance import ledoit_wolf

    there = np.flatnonzero(item_vectors.any(axis=1))
    if len(there) > WHITEN_SAMPLE:
        there = np.random.default_rng(0).choice(there, WHITEN_SAMPLE, replace=False)
    sample = item_vectors[there].astype(np.float64)
    if (sample == sample[:1]).all():
        return lambda vectors: vectors.astype(np.float32)
    values, axes = np.linalg.eigh(ledoit_wolf(sample)[0])
    evened = (axes / np.sqrt(np.maximum(values, 1e-6 * values[-1]))) @ axes.T  # (L, L), symmetric
    mean = sample.mean(axis=0)
    length = np.sqrt(np.square((sample - mean) @ evened).sum(axis=1).mean())

    def apply(vectors: np.ndarray) -> np.ndarray:
        parts = [
            ((part - mean) * part.any(axis=1, keepdims=True) @ (evened / length)).astype(np.float32)
            for part in np.array_split(vectors, len(vectors) // WHITEN_SAMPLE + 1)
        ]  # float64 a part at a time
        return np.concatenate(parts)

    return apply
