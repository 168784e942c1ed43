"""Train and test graphs for the benchmarks: read from text, or drawn with the degree distribution of Gowalla."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from config import get_config
from data_loader import load_dataset

log = logging.getLogger("aglrec")

GOWALLA_USERS, GOWALLA_ITEMS, GOWALLA_TRAIN, GOWALLA_TEST = 29_858, 40_981, 810_128, 217_242
# Degrees in Gowalla are close to a floor plus a log-normal: (floor as a share of the mean, sigma). Drawn so, the
# users' 50th, 90th and 99th percentiles are 16, 53 and 188 (there 16, 53 and 182), the items' 12, 40 and 125
# (there 12, 34 and 139).
USER_DEGREES, ITEM_DEGREES = (0.26, 1.32), (0.2, 1.17)


class Graph(NamedTuple):
    """Train and test pairs as CSR (n_users, n_items), float32, of ones, with sorted indices."""

    name: str
    train: sp.csr_matrix
    test: sp.csr_matrix


def load_graph(gowalla: str | None, seed: int = 0) -> Graph:
    """Read the folder if one is given, else draw a graph of Gowalla's size."""
    if gowalla is None:
        log.info("no --gowalla FOLDER: a synthetic graph of Gowalla's size stands in")
        return synthetic_gowalla(seed)
    return read_text_graph(Path(gowalla))


def read_text_graph(folder: Path) -> Graph:
    """Read train.txt and test.txt as main.py does, with all of train.txt in train."""
    dataset = load_dataset(get_config({"data_dir": str(folder), "valid_ratio": 0.0}))
    return Graph(folder.resolve().name, dataset.train, dataset.test)


def write_text_graph(graph: Graph, folder: Path) -> None:
    """Write train.txt and test.txt, which read_text_graph reads."""
    folder.mkdir(parents=True)
    for name, pairs in (("train", graph.train), ("test", graph.test)):
        rows = np.split(pairs.indices, pairs.indptr[1:-1])
        text = "".join(" ".join(map(str, (user, *items))) + "\n" for user, items in enumerate(rows))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def synthetic_gowalla(seed: int = 0) -> Graph:
    """Draw a graph with Gowalla's numbers of users, items, train and test pairs, and much the same degrees."""
    rng = np.random.default_rng([seed, 1])
    together = synthetic_graph(GOWALLA_TRAIN + GOWALLA_TEST, seed, GOWALLA_USERS, GOWALLA_ITEMS)
    order = rng.permutation(together.nnz)
    users = np.repeat(np.arange(GOWALLA_USERS), np.diff(together.indptr))
    keys = users * GOWALLA_ITEMS + together.indices
    # the first pair of each user in this order stays in train, so that nobody is without
    first = order[np.unique(users[order], return_index=True)[1]]
    held_out = np.setdiff1d(order, first, assume_unique=True)
    held_out = rng.permutation(held_out)[:GOWALLA_TEST]
    test = np.zeros(len(keys), bool)
    test[held_out] = True
    return Graph("synthetic", csr_of_keys(keys[~test], together.shape), csr_of_keys(keys[test], together.shape))


def synthetic_graph(
    n_interactions: int, seed: int = 0, n_users: int | None = None, n_items: int | None = None
) -> sp.csr_matrix:
    """Draw a heavy-tailed bipartite graph without repeated pairs, every user with at least one.

    Users and items get degrees as in Gowalla; the ends of the edges are then joined at random, and what
    comes out twice is drawn again, first by the items' degrees, at last uniformly.

    Args:
        n_interactions: number of pairs, exactly.
        seed: of the draw.
        n_users, n_items: by default in proportion to n_interactions, as in Gowalla's train graph.

    Returns:
        CSR (n_users, n_items) float32 of ones, sorted indices.

    Raises:
        ValueError: fewer pairs than nodes of a side, or too many for half of all pairs.
    """
    n_users = n_users or max(2, round(GOWALLA_USERS / GOWALLA_TRAIN * n_interactions))
    n_items = n_items or max(2, round(GOWALLA_ITEMS / GOWALLA_TRAIN * n_interactions))
    if not 4 * max(n_users, n_items) <= n_interactions <= n_users * n_items // 2:
        raise ValueError(
            f"{n_interactions} pairs between {n_users} users and {n_items} items: give at least 4 a node "
            "and at most half of all pairs"
        )
    rng = np.random.default_rng([seed, 0])
    degrees = _degrees(n_users, n_interactions, *USER_DEGREES, n_items // 2, rng)
    ends = np.repeat(np.arange(n_items), _degrees(n_items, n_interactions, *ITEM_DEGREES, n_users // 2, rng))
    rng.shuffle(ends)
    return csr_of_keys(_distinct_keys(degrees, ends, n_items, rng), (n_users, n_items))


def csr_of_keys(keys: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """Make the CSR matrix of ones from sorted keys user * n_items + item."""
    users, items = np.divmod(keys, shape[1])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=shape[0]))])
    return csr_of_parts(indptr.astype(np.int32), items.astype(np.int32), shape[1])


def csr_of_parts(indptr: np.ndarray, indices: np.ndarray, n_items: int) -> sp.csr_matrix:
    """Make the CSR matrix of ones from its rows' bounds and sorted, distinct columns."""
    shape = (len(indptr) - 1, n_items)
    matrix = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape)
    matrix.has_sorted_indices = True
    return matrix


def _degrees(n_nodes: int, total: int, floor: float, sigma: float, most: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n_nodes degrees of at least 1 that sum to total: a floor (share of the mean) plus a log-normal."""
    weights = floor + (1 - floor) * rng.lognormal(-(sigma**2) / 2, sigma, n_nodes)
    degrees = np.clip(weights * total / weights.sum(), 1, most).astype(np.int64)
    short = total - degrees.sum()
    return degrees + np.bincount(rng.integers(n_nodes, size=short), minlength=n_nodes)


def _distinct_keys(degrees: np.ndarray, ends: np.ndarray, n_items: int, rng: np.random.Generator) -> np.ndarray:
    """Give each user their number of distinct items and return the sorted keys."""
    keys = _distinct(np.repeat(np.arange(len(degrees)) * n_items, degrees) + ends)
    attempt = 0
    while len(keys) < len(ends):
        attempt += 1
        lacking = degrees - np.bincount(keys // n_items, minlength=len(degrees))
        users = np.repeat(np.arange(len(degrees)) * n_items, lacking)
        items = rng.choice(ends, len(users)) if attempt < 5 else rng.integers(n_items, size=len(users))
        # two sorted runs: a stable sort merges them
        keys = _distinct(np.concatenate([keys, np.sort(users + items)]), kind="stable")
    return keys


def _distinct(keys: np.ndarray, kind: str = "quicksort") -> np.ndarray:
    """Sort in place and drop what repeats; np.unique hashes integers, at seven times the cost."""
    keys.sort(kind=kind)
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if keys.size else keys
