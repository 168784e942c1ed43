"""What the report reads from a saved/ folder: runs, rows, histories, vectors and lists."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from dataset.readers import read_anime
from evaluation.ranking import rank_items
from runtime.files import load_torch
from runtime.safe_files import load_arrays, parse_json

THIS_RUN = "this run"


class Saved(NamedTuple):
    """What there is in a saved/ folder; None or empty where a part is missing."""

    folder: Path
    metrics: dict[str, Any] | None  # metrics.json
    rows: list[dict[str, Any]]  # ablation/results.json, or this run in the form of a row
    compared: bool  # whether rows are those of an ablation
    runs: dict[str, dict[str, Any]]  # tag -> metrics.json of this run and of each row's first seed
    histories: dict[str, list[dict[str, Any]]]  # tag -> epochs, of the rows if there are any, else of this run
    sparsity: dict[str, Any] | None  # sparsity/results.json
    tuning: dict[str, Any] | None  # tuning/tuning.json


def read_saved(folder: Path) -> Saved:
    """Read the JSON files of a saved/ folder and of the rows below it."""
    metrics, rows = read_json(folder / "metrics.json"), read_json(folder / "ablation" / "results.json") or []
    # an older version's figures mean something else
    metrics, rows = (metrics if "warm" in (metrics or {}) else None), [row for row in rows if "warm" in row]
    homes = {row["tag"]: _home(folder, row["folders"][0]) for row in rows}
    runs = {THIS_RUN: metrics, **{tag: read_json(home / "metrics.json") for tag, home in homes.items()}}
    homes = homes or {THIS_RUN: folder}
    histories = {tag: read_json(home / "history.jsonl", by_line=True) for tag, home in homes.items()}
    return Saved(
        folder,
        metrics,
        rows or ([as_row(metrics)] if metrics else []),
        bool(rows),
        {tag: run for tag, run in runs.items() if run},
        {tag: epochs for tag, epochs in histories.items() if epochs},
        read_json(folder / "sparsity" / "results.json"),
        read_json(folder / "tuning" / "tuning.json"),
    )


def read_arrays(folder: Path) -> tuple[dict[str, np.ndarray], torch.Tensor, torch.Tensor] | None:
    """Read the (n, 2) pairs of the split and the final vectors; None if they are not all there."""
    paths = [folder / name for name in ("splits.npz", "user_emb.pt", "item_emb.pt")]
    if not all(path.exists() for path in paths):
        return None
    try:
        arrays = load_arrays(paths[0])
        parts = {name: arrays[name] for name in ("train", "valid", "test", "excluded")}
        return parts, *(load_torch(path) for path in paths[1:])
    except Exception as error:  # a damaged file can raise nearly anything
        raise ValueError(
            f"{folder}: {', '.join(path.name for path in paths)} cannot be read ({error}); run main.py again"
        ) from None


def best_titles(
    saved: Saved, parts: dict[str, np.ndarray], vectors: tuple[torch.Tensor, torch.Tensor], users: np.ndarray, k: int
) -> dict[int, list[int]]:
    """Rank all titles with what was known before the test left out: user row -> the best k item rows, best first."""
    pairs = np.concatenate([parts[name] for name in ("train", "valid", "excluded")])
    known = sp.csr_matrix((np.ones(len(pairs), np.float32), pairs.T), shape=tuple(map(len, vectors)))
    ranking = rank_items(*vectors, users, known, k, None, saved.metrics["config"]["seed"])
    return {
        user: [item for item in items if item >= 0]
        for user, items in zip(users.tolist(), ranking.items.tolist(), strict=True)
    }


def anime_names(saved: Saved) -> dict[str, str]:
    try:
        anime = read_anime(Path(saved.metrics["config"]["data_dir"]))
    except (OSError, ValueError):
        return {}
    return dict(zip(anime["subject_id"], anime["name"], strict=True))


def as_row(metrics: dict[str, Any]) -> dict[str, Any]:
    """Turn a run's metrics.json into the form of a row of results.json."""
    keys = ("valid", "warm", "test", "listed", "cold", "groups", "train_s")
    parts = {key: _as_means(metrics[key]) for key in keys if key in metrics}
    return {"tag": THIS_RUN, "n_seeds": 1, "encoder": metrics["encoder"]["used"], **parts}


def _as_means(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _as_means(value) for key, value in found.items()}
    return {"mean": found, "sd": 0}


def largest_ndcg(row: dict[str, Any]) -> str:
    """Name the NDCG with the largest cut-off."""
    return max((key for key in row["test"] if key.startswith("NDCG@")), key=cut_off)


def cut_off(metric: str) -> int:
    return int(metric.split("@")[1])


def _home(folder: Path, written: str) -> Path:
    """Find a row's folder, which may have moved along with the whole of saved/ since it was written down."""
    moved = folder / "ablation" / written.rpartition("ablation/")[2]
    return moved if moved.exists() else Path(written)


def read_json(path: Path, by_line: bool = False) -> Any:
    """Read a JSON file, or one of a JSON text a line; None if there is none."""
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return [parse_json(line) for line in text.splitlines()] if by_line else parse_json(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again what made it") from None
