"""What the report reads from a saved/ folder: runs, rows, histories, vectors and lists."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from evaluation.comparisons import largest_ndcg, summary
from runtime.files import load_torch
from runtime.safe_files import load_arrays, parse_json
from web.report_parts import Own

THIS_RUN = Own("this run")


class Saved(NamedTuple):
    """What there is in a saved/ folder; None or empty where a part is missing."""

    folder: Path
    item_names: dict[str, str]  # subject_id -> title, as far as the caller knows them
    metrics: dict[str, Any] | None  # metrics.json
    this_run: dict[str, Any] | None  # the same as a row
    compared: list[dict[str, Any]]  # ablation/results.json
    runs: dict[str, dict[str, Any]]  # tag -> metrics.json of this run and of each row's first seed
    histories: dict[str, list[dict[str, Any]]]  # tag -> epochs, of the rows if there are any, else of this run
    sparsity: dict[str, Any] | None  # sparsity/results.json
    tuning: dict[str, Any] | None  # tuning/tuning.json

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the ablation; this run alone if there is none."""
        return self.compared or ([self.this_run] if self.this_run else [])

    @property
    def metric(self) -> str:
        """The NDCG of the rows with the largest cut-off."""
        return largest_ndcg(self.rows[0]["test"])


def read_saved(folder: Path, item_names: dict[str, str] | None = None) -> Saved:
    """Read the JSON files of a saved/ folder and of the rows below it."""
    metrics, rows = read_json(folder / "metrics.json"), read_json(folder / "ablation" / "results.json") or []
    homes = {row["tag"]: home_of(folder / "ablation", row["folders"][0]) for row in rows}
    runs = {THIS_RUN: metrics, **{tag: read_json(home / "metrics.json") for tag, home in homes.items()}}
    homes = homes or {THIS_RUN: folder}
    histories = {tag: history_of(home, runs[tag]) for tag, home in homes.items()}
    return Saved(
        folder,
        item_names or {},
        metrics,
        as_row(metrics) if metrics else None,
        rows,
        {tag: run for tag, run in runs.items() if run},
        {tag: epochs for tag, epochs in histories.items() if epochs},
        read_json(folder / "sparsity" / "results.json"),
        read_json(folder / "tuning" / "tuning.json"),
    )


def history_of(folder: Path, metrics: dict[str, Any] | None) -> list[dict[str, Any]] | None:
    """Read the epochs of a run, those of the measured run where a second one learned from the valid part too."""
    home = folder / "measured" if metrics and "refit" in metrics else folder
    return read_json(home / "history.jsonl", by_line=True)


def as_row(metrics: dict[str, Any]) -> dict[str, Any]:
    """Turn a run's metrics.json into the form of a row of results.json."""
    run = {**metrics, "beyond": {}, "folder": ""}
    return {**summary(THIS_RUN, {}, [run]), "gain": None, "p": None}


def home_of(ablation: Path, written: str) -> Path:
    """Find a row's folder below that of its ablation, which may have moved since the path was written down."""
    moved = ablation / written.rpartition("ablation/")[2]
    return moved if moved.exists() else Path(written)


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


def read_json(path: Path, by_line: bool = False) -> Any:
    """Read a JSON file, or one of a JSON text a line; None if there is none."""
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return [parse_json(line) for line in text.splitlines()] if by_line else parse_json(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again what made it") from None
