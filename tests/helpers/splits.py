"""Data folders written row by row, and what load_dataset makes of them."""

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from config import get_config
from data_loader import Dataset, load_dataset
from dataset.splits import PARTS
from tests.helpers.data import write_tsv

DISJOINT = (*PARTS, "excluded")
Pairs = set[tuple[str, str]]


def load(folder: Path, **overrides: Any) -> Dataset:
    return load_dataset(get_config({"data_dir": str(folder), **overrides}))


def write_small(folder: Path, rows: list[tuple[Any, ...]], titles: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """Write these interaction rows, padded with empty cells, and a bare title for each id."""
    write_tsv(folder, "anime.tsv", ((title, f"name of {title}", "", "") for title in titles))
    write_tsv(folder, "interactions.tsv", (row + ("",) * (5 - len(row)) for row in rows))
    return folder


def write_timed(folder: Path, n_users: int, per_user: int, n_items: int = 40) -> Path:
    """Write users whose rows all have times of their own, in shuffled file order, each comment "user item"."""
    rng = np.random.default_rng(5)
    minutes = rng.permutation(n_users * per_user)
    rows = []
    for user in range(n_users):
        for place, item in enumerate(rng.choice(n_items, per_user, replace=False)):
            minute = int(minutes[user * per_user + place])
            rows.append(
                (
                    f"u{user}",
                    f"s{item}",
                    1 + minute % 10,
                    f"u{user} s{item}",
                    f"2020-01-{1 + minute // 1440:02d} {minute // 60 % 24:02d}:{minute % 60:02d}:00",
                )
            )
    return write_small(folder, rows, tuple(f"s{i}" for i in range(n_items)))


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def rewrite(folder: Path, **cells: str) -> None:
    """Set columns of interactions.tsv to one value in every row."""
    write_tsv(folder, "interactions.tsv", [{**row, **cells}.values() for row in read_rows(folder)])


def pairs(dataset: Dataset, *parts: str) -> Pairs:
    """Return the (raw user id, raw item id) pairs of these parts."""
    return {
        (dataset.raw_user_ids[u], dataset.raw_item_ids[i])
        for part in parts
        for u, i in np.argwhere(getattr(dataset, part).toarray())
    }


def per_user(dataset: Dataset, part: str) -> list[int]:
    return np.diff(getattr(dataset, part).indptr).tolist()


def load_with_every_part(folder: Path) -> Dataset:
    """Load with cold titles, and rows that are cut from train or below min_rate."""
    dataset = load(folder, cold_item_ratio=0.2, min_rate=4, train_rows_per_user=4)
    assert all(pairs(dataset, part) for part in DISJOINT)
    return dataset


def warnings_of(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(
        record.getMessage()
        for record in caplog.records
        if record.name == "aglrec" and record.levelno >= logging.WARNING
    )


def random_train(n_users: int, n_items: int, density: float, seed: int = 0) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.random.default_rng(seed).random((n_users, n_items)) < density).astype(np.float32))
    matrix.sort_indices()
    return matrix
