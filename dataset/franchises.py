"""Which titles are parts of one work, in which order one watches them, and which mean nothing on their own.

All is found from the data: relations.tsv where there is one, names, texts and tags, years, and who collected what in
the train part. Nothing is learned from valid or test.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dataset.dataset import Dataset
from dataset.franchise_links import links_of
from dataset.franchise_order import in_order
from dataset.title_markers import EXTRA, Markers, read_names

_KEPT = "_franchises"


class Franchises(NamedTuple):
    """The franchises of all titles; a title that stands alone is a franchise of its own."""

    groups: (
        np.ndarray
    )  # (n_items,) int64: titles of one franchise share a number; 0, 1, ... as their first titles stand
    places: np.ndarray  # (n_items,) int64: where a title stands in its franchise, 0 the one to begin with
    before: np.ndarray  # (n_items,) int64: row of the title to be seen directly before it, -1 for none
    is_extra: (
        np.ndarray
    )  # (n_items,) bool: recaps, specials and the like, which mean nothing without what they belong to


def franchises_of(dataset: Dataset) -> Franchises:
    """Return the franchises of a Dataset; they are found once (a second or two) and kept with it."""
    kept = vars(dataset)
    if _KEPT not in kept:
        kept[_KEPT] = _find(dataset)
    return kept[_KEPT]


def _find(dataset: Dataset) -> Franchises:
    names = [read_names(name) for name in dataset.item_names]
    links = links_of(dataset, names)
    groups = _components(links, dataset.n_items)
    places, before = in_order(dataset, groups, [of_one[0] for of_one in names])
    return Franchises(groups, places, before, _extras(names, groups))


def _components(links: np.ndarray, n_items: int) -> np.ndarray:
    """Number the groups (n_items,) that links (n, 2) make, in the order of their first titles."""
    graph = sp.coo_matrix((np.ones(len(links)), links.T), shape=(n_items, n_items))
    labels = sp.csgraph.connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _extras(names: list[list[Markers]], groups: np.ndarray) -> np.ndarray:
    is_extra = np.array([any(name.kind == EXTRA for name in of_one) for of_one in names], bool)
    has_work = np.zeros(len(groups), bool)
    has_work[groups[~is_extra]] = True
    return is_extra & has_work[groups]
