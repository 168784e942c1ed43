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
from dataset.relations import RELATIONS
from dataset.title_markers import EXTRA, Markers, merged, read_names

_KEPT = "_franchises"


class Franchises(NamedTuple):
    """The franchises of all titles; a title that stands alone is a franchise of its own."""

    # all (n_items,), the first three int64
    groups: np.ndarray  # titles of one franchise share a number; 0, 1, ... in the order of their first titles
    places: np.ndarray  # where a title stands in its franchise, 0 the one to begin with
    before: np.ndarray  # row of the title to be seen directly before it, -1 for none: where a work begins
    is_extra: np.ndarray  # bool: recaps, specials and the like, which mean nothing without what they belong to


def franchises_of(dataset: Dataset) -> Franchises:
    """Return the franchises of a Dataset; they are found once (a second or two) and kept with it."""
    kept = vars(dataset)
    if _KEPT not in kept:
        kept[_KEPT] = _find(dataset)
    return kept[_KEPT]


def named_franchises(dataset: Dataset) -> dict[str, list[str]]:
    """Return the franchises of two titles and more by ids of titles: that of the first part -> all, in their order."""
    groups, places, *_ = franchises_of(dataset)
    order = np.lexsort((places, groups))
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    named = ([dataset.raw_item_ids[item] for item in part] for part in parts if len(part) > 1)
    return {ids[0]: ids for ids in named}


def _find(dataset: Dataset) -> Franchises:
    names = [read_names(name) for name in dataset.item_names]
    links = links_of(dataset, names)
    groups = _components(links, dataset.n_items)
    places, before = in_order(dataset, groups, [merged(of_one) for of_one in names])
    return Franchises(groups, places, before, _extras(dataset, names, groups))


def _components(links: np.ndarray, n_items: int) -> np.ndarray:
    """Number the groups (n_items,) that links (n, 2) make, in the order of their first titles."""
    graph = sp.coo_matrix((np.ones(len(links)), links.T), shape=(n_items, n_items))
    labels = sp.csgraph.connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _extras(dataset: Dataset, names: list[list[Markers]], groups: np.ndarray) -> np.ndarray:
    """Tell the extras (n_items,) by their names and by relations; where there is nothing else they are none."""
    is_extra = np.array([any(name.kind == EXTRA for name in of_one) for of_one in names], bool)
    is_extra[dataset.relations[dataset.relations[:, 2] == RELATIONS.index("summary"), 1]] = True
    has_work = np.zeros(len(groups), bool)
    has_work[groups[~is_extra]] = True
    return is_extra & has_work[groups]
