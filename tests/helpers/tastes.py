"""Data in which rates matter: two kinds of titles that the same people watch, who love one kind and hate the other."""

from pathlib import Path
from typing import Any

import numpy as np

import main
from config import get_config
from inference.finished_run import FinishedRun, load_finished
from tests.helpers.data import write_tsv

N_USERS, N_OF_KIND = 120, 30  # titles s0 to s29 are of one kind, s30 to s59 of the other


def write_tastes(folder: Path) -> Path:
    """Write 120 people's lists of 7 titles of the kind they rate 7 to 10, and 5 of that they rate 1 to 4, in order."""
    rng, rows = np.random.default_rng(0), []
    titles = ((f"s{i}", f"title {i}", f"kind{i // N_OF_KIND}", f"story {i % 7}") for i in range(2 * N_OF_KIND))
    write_tsv(folder, "anime.tsv", titles)
    for user in range(N_USERS):
        kinds = [rng.choice(N_OF_KIND, n, replace=False) + N_OF_KIND * ((user + k) % 2) for k, n in enumerate((7, 5))]
        rated = [(item, rng.integers(7, 11)) for item in kinds[0]] + [(item, rng.integers(1, 5)) for item in kinds[1]]
        for day, place in enumerate(rng.permutation(len(rated)), start=1):
            rows.append((f"u{user}", f"s{rated[place][0]}", rated[place][1], "", f"2020-01-{day:02d} 10:00:00"))
    write_tsv(folder, "interactions.tsv", rows)
    return folder


def taste_run(folder: Path, **settings: Any) -> FinishedRun:
    """Train a run on such data whose linear columns know rates, in folder/saved."""
    config = get_config(
        {
            "data_dir": str(write_tastes(folder / "data")),
            "saved_dir": str(folder / "saved"),
            "fusion_mode": "none",
            "loss": "softmax",
            "normalize": True,
            "temperature": 0.2,
            "embedding_dim": 8,
            "linear_dim": 16,
            "calibrate": True,
            "epochs": 2,
            "lr": 0.03,
            "rating_weight": 0.5,
            "rating_cost": 0.9,
            "device": "cpu",
            **settings,
        }
    )
    main.run(config)
    return load_finished(config)
