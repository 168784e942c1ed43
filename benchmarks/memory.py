"""Measure what each step of a run takes at its peak, on made data: reading, text and model, the files it writes.

    python -m benchmarks.memory --users 200k --titles 100k --rows 2M
    torchrun --nproc_per_node=2 -m benchmarks.memory --only model --folder F

Each step runs in a process of its own. "times the text" is the peak as text vectors of all users and titles, which are
(users + titles) x text_dim x 4 bytes. Lists are written for the first --listed users only: of more the peak is
the same, or in proportion. Under torchrun the folder F has to be there, from a call without it.
"""

import argparse
import dataclasses
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import common
from benchmarks.read import make_folder
from config import get_config
from data_loader import Dataset, load_dataset
from inference.outputs import write_outputs
from llm_embedding import TextVectors
from runtime.distributed import process_group, rank
from training.model_factory import build_model

log = logging.getLogger("aglrec")

DIM = 64


def read(folder: str, **_: Any) -> dict[str, Any]:
    """Read the folder."""
    before = common.rss_from_now()
    dataset = load_dataset(get_config({"data_dir": folder}))
    return row_of("read", before, {"bytes a pair": (common.peak_rss() - before) / dataset.seen.nnz})


def model(folder: str, text_dim: int, **_: Any) -> dict[str, Any]:
    """Build a model that fuses text with all of its parts, from text vectors that are there already."""
    config = get_config({"data_dir": folder, "embedding_dim": DIM, "fusion_mode": "sum", "whiten": True})
    with process_group():
        dataset = load_dataset(config)
        rng = np.random.default_rng(0)
        items, users = (rng.standard_normal((n, text_dim), np.float32) for n in (dataset.n_items, dataset.n_users))
        text = items.nbytes + users.nbytes
        before = common.rss_from_now() - text
        build_model(dataset, TextVectors(items, users, {}), config, torch.device("cpu"))
        return row_of(f"model, process {rank()}", before, {"times the text": (common.peak_rss() - before) / text})


def lists(folder: str, listed: int, **_: Any) -> dict[str, Any]:
    """Write the vectors, lists and splits of some users."""
    dataset = first_users(load_dataset(get_config({"data_dir": folder})), listed)
    config = get_config({"data_dir": folder})
    rng = np.random.default_rng(0)
    users, items = (rng.standard_normal((n, DIM), np.float32) for n in (dataset.n_users, dataset.n_items))
    with tempfile.TemporaryDirectory(dir=folder) as saved:
        before = common.rss_from_now()
        write_outputs(
            Path(saved), dataset, *map(torch.from_numpy, (users, items)), np.arange(min(100, dataset.n_items)), config
        )
        return row_of("files", before, {"bytes a user": (common.peak_rss() - before) / dataset.n_users})


STEPS = {"read": read, "model": model, "lists": lists}


def first_users(dataset: Dataset, n: int) -> Dataset:
    """Return a dataset of the first n users alone."""
    parts = ("train", "valid", "test", "cold_valid", "cold_test", "excluded", "seen")
    matrices = {name: getattr(dataset, name)[:n] for name in parts}
    ids = {name: getattr(dataset, name)[:n] for name in ("raw_user_ids", "user_names")}
    return dataclasses.replace(dataset, **matrices, **ids, rates=None, times=None, drawn={})


def row_of(step: str, before: int, more: dict[str, float]) -> dict[str, Any]:
    """Return the row of a step: its peak above what was in use before, and that in some unit."""
    (unit, value), peak = more.popitem(), common.peak_rss() - before
    return {"step": step, "peak MiB": round(peak / common.MIB), "that is": f"{value:,.1f} {unit}"}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the table, write the JSON and return its content."""
    parser = common.parser(__doc__, "seed")
    for name, default in (("users", "200k"), ("titles", "100k"), ("rows", "2M"), ("listed", "20k")):
        parser.add_argument(f"--{name}", type=lambda text: common.numbers(text)[0], default=common.numbers(default)[0])
    parser.add_argument("--text_dim", type=int, default=128)
    parser.add_argument(
        "--only", choices=STEPS, help="measure this step alone; of a folder that is there with --folder"
    )
    parser.add_argument("--folder", help="where the made files are kept for another call")
    arguments = parser.parse_args(argv)
    results = common.begin(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(arguments.folder or name)
        if not (folder / "interactions.tsv").exists():
            make_folder(folder, arguments.rows, arguments.users, arguments.titles, arguments.seed)
        results["memory"] = [
            measured(step, folder, arguments) for step in [arguments.only] * bool(arguments.only) or STEPS
        ]
    common.show("memory at its peak", results["memory"])
    return common.write_json(arguments.out, results)


def measured(step: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a step in a process of its own or, under torchrun, in this one."""
    how = {"folder": str(folder), "text_dim": arguments.text_dim, "listed": arguments.listed}
    return STEPS[step](**how) if "RANK" in os.environ else common.in_child(STEPS[step], **how)


if __name__ == "__main__":
    main()
