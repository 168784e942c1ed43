"""Small data that several tests share; everything is written to a temporary folder."""

import csv
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import main
from config import get_config
from data_loader import Comments, Dataset, load_dataset
from dataset.splits import PARTS
from runtime import checkpoints


@pytest.fixture(autouse=True)
def saves_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a write takes: tests stop runs after certain epochs."""
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)


@pytest.fixture(autouse=True)
def _logger_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the handler that run_script sets, which writes to a stream of one test, from reaching the next test."""
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("aglrec"), "level", logging.NOTSET)


HEADERS = {
    "anime.tsv": ("subject_id", "name", "tags_name", "summary"),
    "user.tsv": ("user_id", "username", "registration_time"),
    "interactions.tsv": ("user_id", "subject_id", "rate", "comment", "updated_at"),
}


def write_tsv(folder: Path, name: str, rows: Iterable[Iterable[Any]]) -> Path:
    """Write rows below the header that DESIGN gives this file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with open(path, "w", encoding="utf-8", newline="") as file:
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


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def config(data_dir: Path, tmp_path: Path) -> dict[str, Any]:
    """A config for a run of a second or two on data_dir."""
    return get_config(
        {
            "data_dir": str(data_dir),
            "saved_dir": str(tmp_path / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "epochs": 3,
            "batch_size": 64,
            "device": "cpu",
        }
    )


@pytest.fixture
def dataset(config: dict[str, Any]) -> Dataset:
    return load_dataset(config)


def assert_inference_repeats(config: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Check that --mode inference writes the vectors and lists of a finished run again, and changes no figure."""
    saved = Path(config["saved_dir"])
    names = ("user_emb.pt", "item_emb.pt", "recommendations.json", "new_titles.json", "metrics.json")
    before = {name: (saved / name).read_bytes() for name in names}
    for name in names[:-1]:
        (saved / name).unlink()
    again = main.run(
        {**get_config({}), **{key: config[key] for key in ("data_dir", "saved_dir", "device")}, "mode": "inference"}
    )
    assert again == metrics
    assert {name: (saved / name).read_bytes() for name in names} == before
