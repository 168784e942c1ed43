"""Small data folders and datasets."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from data_loader import Comments, Dataset
from dataset.splits import PARTS

HEADERS = {
    "anime.tsv": ("subject_id", "name", "tags_name", "summary"),
    "user.tsv": ("user_id", "username", "registration_time"),
    "interactions.tsv": ("user_id", "subject_id", "rate", "comment", "updated_at"),
}


def write_tsv(folder: Path, name: str, rows: Iterable[Iterable[Any]]) -> Path:
    """Write rows below the header that DESIGN gives this file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(HEADERS[name])
        writer.writerows(rows)
    return path


def write_data(folder: Path, n_users: int = 40, n_items: int = 30, per_user: int = 10, seed: int = 0) -> Path:
    """Write a random but complete data folder: half of the rows commented, every row timed, rates 1 to 10."""
    rng = np.random.default_rng(seed)
    write_tsv(
        folder,
        "anime.tsv",
        ((f"s{i}", f"title {i}", f'["tag{i % 5}", "tag{i % 7}"]', f"story of {i}") for i in range(n_items)),
    )
    rows = []
    for user in range(n_users):
        for item in rng.choice(n_items, size=per_user, replace=False):
            comment = f"user {user} on {item}" if rng.random() < 0.5 else ""
            time = f"2020-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d} 10:00:00"
            rows.append((f"u{user}", f"s{item}", rng.integers(1, 11), comment, time))
    write_tsv(folder, "interactions.tsv", rows)
    return folder


def dataset_of(train: sp.csr_matrix, **parts: sp.csr_matrix) -> Dataset:
    """Wrap these parts, the others being empty; seen is all of them, ids and names are row numbers."""
    empty = sp.csr_matrix(train.shape, dtype=np.float32)
    matrices = {name: parts.get(name, empty) for name in (*PARTS[1:], "excluded")}
    users, items = ([str(row) for row in range(n)] for n in train.shape)
    return Dataset(
        train,
        **matrices,
        seen=sp.csr_matrix(sum(matrices.values(), train)),
        raw_user_ids=users,
        raw_item_ids=items,
        user_names=users,
        item_names=items,
        item_texts=items,
        item_tags=[""] * len(items),
        user_comments=Comments(np.empty(0, int), [], np.empty(0, np.float32)),
        facts={},
    )
