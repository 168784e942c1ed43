"""Measure how well franchises are found: whether titles known to belong together do, and in the right order.

    python studies/franchises.py [--pairs FILE] [--draw N] [--key value ...]

FILE is tab-separated with columns before and after, ids of titles: the second continues or belongs to the first. Of the
pairs whose titles the data have, it prints how many share a franchise, and of these how many are in order. Then come
the largest franchises, and with --draw N as many drawn at random from those of two titles or more, each in its order
("*": a recap, special or other extra), to be read by eye. --data_dir names the data.
"""

import logging
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.cli import Flags, answer_early, run_script, whole_number

FLAGS = Flags(__doc__)
FLAGS.add_argument("--pairs", help="a file of pairs of titles that belong together")
FLAGS.add_argument("--draw", type=whole_number(0), default=0, help="how many franchises to draw and print")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

from config import get_config
from data_loader import Dataset, load_dataset
from dataset.franchises import Franchises, franchises_of
from dataset.tables import read_table

log = logging.getLogger("aglrec")

LARGEST = 10  # franchises that are named


def read_pairs(path: Path, raw_item_ids: list[str]) -> np.ndarray:
    """Read pairs of titles as rows (n, 2); those with a title that the data lack are left out.

    Raises:
        ValueError: no pair is left.
    """
    path, table = read_table(path.parent, path.name.removesuffix(".gz"), ("before", "after"))
    rows = np.stack([pd.Index(raw_item_ids).get_indexer(table[column]) for column in ("before", "after")], axis=1)
    pairs = rows[(rows >= 0).all(axis=1)]
    if not len(pairs):
        raise ValueError(f"{path}: no pair of its {len(rows):,} has both titles in the data; check that ids are theirs")
    return pairs


def checked(found: Franchises, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say of each pair (n, 2) whether its titles share a franchise, and whether they do and are in order."""
    first, second = pairs.T
    together = found.groups[first] == found.groups[second]
    return together, together & (found.places[first] < found.places[second])


def told(found: Franchises, dataset: Dataset, group: int) -> str:
    """Write a franchise in its order on a line, its extras with a star."""
    rows = np.flatnonzero(found.groups == group)
    rows = rows[np.argsort(found.places[rows])]
    return " > ".join(dataset.item_names[row] + "*" * bool(found.is_extra[row]) for row in rows)


def first(found: Franchises, dataset: Dataset, group: int) -> str:
    """Name the title with which a franchise begins."""
    return dataset.item_names[np.flatnonzero((found.groups == group) & (found.places == 0))[0]]


def largest(sizes: np.ndarray) -> list[int]:
    """Return the largest franchises of two titles or more, given the titles of each."""
    return [group for group in np.argsort(-sizes, kind="stable")[:LARGEST].tolist() if sizes[group] > 1]


def main() -> None:
    """Run the command line."""
    flags, overrides = FLAGS.read()
    config = get_config(overrides)
    dataset = load_dataset(config)
    began = time.perf_counter()
    found = franchises_of(dataset)
    sizes = np.bincount(found.groups)
    log.info(
        f"{len(sizes):,} franchises of {dataset.n_items:,} titles in {time.perf_counter() - began:.1f} s; "
        f"{(sizes > 1).sum():,} have two titles or more, {sizes[sizes > 1].sum():,} titles in all; "
        f"{found.is_extra.sum():,} titles are extras"
    )
    if flags.pairs:
        pairs = read_pairs(Path(flags.pairs), dataset.raw_item_ids)
        together, ordered = checked(found, pairs)
        log.info(f"of {len(pairs):,} pairs:")
        log.info(f"together {together.mean():.1%}")
        log.info(f"in order {ordered.sum() / max(together.sum(), 1):.1%}")
    log.info(f"largest: {', '.join(f'{first(found, dataset, group)} ({sizes[group]:,})' for group in largest(sizes))}")
    several = np.flatnonzero(sizes > 1)
    rng = np.random.default_rng(config["seed"])
    for group in np.sort(rng.choice(several, min(flags.draw, len(several)), replace=False)):
        log.info(f"- {told(found, dataset, group)}")


if __name__ == "__main__":
    sys.exit(run_script(main))
