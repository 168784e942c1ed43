"""Text vectors centred and evened out, part by part, so that no large array stands beside the result."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

WHITEN_SAMPLE = 100_000
PART_ROWS = 2**15  # fewer rows stay together


def row_parts(n: int) -> list[slice]:
    """Cut n rows into slices."""
    ends = np.linspace(0, n, n // PART_ROWS + 2).astype(int).tolist()
    return [slice(*both) for both in pairwise(ends)]


def centring(titles: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what centres a bag of tags on the titles (m, L): in it, what is rare counts more already."""
    if not titles.any():
        return lambda rows: rows
    mean = titles[titles.any(axis=1)].mean(axis=0)
    return lambda rows: (rows - mean) * rows.any(axis=1, keepdims=True)


def whitened(vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """Whiten vectors (n, L), of items or users, part by part; see whitening."""
    result, change = np.empty(vectors.shape, np.float32), whitening(item_vectors)
    for rows in row_parts(len(vectors)):
        result[rows] = change(vectors[rows])
    return result


def whitening(item_vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Centre vectors on the items' mean and even out the items' variance over all directions.

    Encoders place all texts in a narrow cone, where what texts share outweighs what tells them apart. Users are moved
    with the items, so that a mean of items stays their mean. Rows of zeros bring no text and stay as they are.

    Args:
        item_vectors: (m, L); their covariance (of WHITEN_SAMPLE of them, if there are more) is shrunk towards a
            multiple of the identity, the more the fewer they are. No interaction takes part.

    Returns:
        What turns vectors (n, L), of items or users, into (n, L) float32, in units of the items' root mean square
        length.

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
        return lambda rows: rows.astype(np.float32)
    values, axes = np.linalg.eigh(ledoit_wolf(sample)[0])
    evened = (axes / np.sqrt(np.maximum(values, 1e-6 * values[-1]))) @ axes.T  # (L, L), symmetric
    mean = sample.mean(axis=0)
    length = np.sqrt(np.square((sample - mean) @ evened).sum(axis=1).mean())
    evened /= length

    def change(rows: np.ndarray) -> np.ndarray:
        return ((rows - mean) * rows.any(axis=1, keepdims=True) @ evened).astype(np.float32)  # float64 until here

    return change
