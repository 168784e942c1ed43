"""Finished runs of an ablation, made up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from evaluator import evaluate


def run_of(value: float, user_test: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """Return what model() and baseline() return of a run whose figures are all this value."""
    figures = {"NDCG@20": value, "Recall@20": 10 * value}
    return {
        "encoder": {"used": "lsa"},
        "folder": f"folder of {value:g}",
        "epoch": int(value),
        "valid": figures,
        "test": figures,
        "warm": figures,
        "listed": {"warm": {"NDCG@20": 0.75 * value}, "joint": figures},
        "cold": {},
        "groups": {"users": {"<=5": {"n_users": 4, **figures}}},
        "beyond": {"Coverage": value},
        "train_s": value,
        "timing": {"fit_s": 3 * value},
        "data": {"fingerprint": "that of all runs"},
        "seed": int(value),
        "split_seed": int(value) + 1,
        "user_test": user_test or {},
        **more,
    }


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def runs_of(values: np.ndarray, liked: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Return a row's runs that test the same users: (n_runs, n_users) values, and those by what was liked."""

    def by_user(run: np.ndarray) -> dict[str, float]:
        return {f"u{number}": value for number, value in enumerate(run.tolist()) if not np.isnan(value)}

    more = [{"user_liked": by_user(run)} for run in liked] if liked is not None else [{}] * len(values)
    return [run_of(0, by_user(run), **one) for run, one in zip(values, more, strict=True)]


def among_warm(factors: Any, dataset: Dataset, part: str, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Evaluate the titles with a history among each other, with all pairs masked that came before."""
    warm = dataset.train.toarray().any(axis=0)
    known = dataset.train + dataset.excluded + (dataset.valid if part == "test" else 0 * dataset.valid)
    return evaluate(
        *factors, sp.csr_matrix(getattr(dataset, part).toarray() * warm), known, config, np.flatnonzero(warm)
    )
