"""Do the same over and over in one process, and see that neither its memory nor its open files grow.

    python -m benchmarks.soak [--rows 200] [--requests 10000] [--out FILE]

Rows are those of an ablation on made data, trained or fitted; requests are all kinds that serve.py answers, wrong ones
among them. Memory and files are counted before, and after each fifth; what counts is what the last two fifths
add, when every cache is full. The exit code is 1 if they add anything.
"""

import gc
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastapi.testclient import TestClient

import main as experiment
from benchmarks import common
from config import get_config
from inference.finished_run import load_finished
from run_ablation import COMBINATIONS, compare
from web.app import create_app, guarded

log = logging.getLogger("aglrec")

N_USERS, N_ITEMS, PER_USER, FIFTHS = 40, 30, 10, 5
MODELS, BASELINES = ("sum-none", "sum-item", "concat-user", "concat-both"), ["ease"]
ROWS = len(MODELS) + len(BASELINES)  # of a seed
# The heap's fragments alone added 0.2 MiB at most in the last two fifths; 50 KiB kept by each of their 80 rows, or
# 1 KiB by each of their 4,000 requests, are beyond this.
NOISE_MIB = 3.0
Look = dict[str, Any]


def look(done: int) -> Look:
    """Tell what this process holds once `done` rows or requests are done and what is unreachable has been freed."""
    gc.collect()
    return {
        "done": done,
        "RSS MiB": common.rss_from_now() / common.MIB,
        "open files": len([*Path("/dev/fd").iterdir()]),
        "tensors": sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()),
    }


def looks(n: int, work: Callable[[int, int], Any]) -> Iterator[Look]:
    """Call work(first, how many) for each fifth of n, and look before it all and after each."""
    yield look(0)
    for part in np.array_split(np.arange(n), min(n, FIFTHS)):
        work(int(part[0]), len(part))
        yield look(int(part[-1]) + 1)


def grown(seen: list[Look]) -> list[str]:
    """Name what there is more of at the end than after three fifths; RSS may grow by NOISE_MIB."""
    middle, end = seen[len(seen) // 2], seen[-1]
    return [
        f"{what}: {middle[what]:,.0f} after {middle['done']:,}, {end[what]:,.0f} after {end['done']:,}"
        for what, noise in (("RSS MiB", NOISE_MIB), ("open files", 0), ("tensors", 0))
        if end[what] > middle[what] + noise
    ]


def rows(folder: Path, seeds: int) -> list[Look]:
    """Train four combinations and fit a baseline with each of some seeds."""
    overrides = made(folder)

    def work(first: int, n: int) -> None:
        mine = {**overrides, "seed": first, "split_seed": first}
        compare({tag: COMBINATIONS[tag] for tag in MODELS}, mine, folder / str(first), n, baselines=BASELINES)

    return [{**seen, "done": seen["done"] * ROWS} for seen in looks(seeds, work)]


def requests(folder: Path, n: int) -> list[Look]:
    """Put questions to the application of serve.py, over a small run.

    Raises:
        ValueError: an answer is not as it must be.
    """
    config = get_config({**made(folder), "linear_dim": 8, "calibrate": True, "loss": "softmax", "temperature": 0.2})
    experiment.run(config)
    rng = Random(0)
    with TestClient(guarded(create_app(load_finished(config)), "127.0.0.1"), base_url="http://localhost") as client:

        def work(first: int, n: int) -> None:
            for number in range(first, first + n):
                status, method, path, more = question(number, rng)
                reply = client.request(method, path, **more)
                if reply.status_code != status:
                    raise ValueError(f"{method} {path}: {reply.status_code} in the place of {status}: {reply.text}")

        return list(looks(n, work))


def question(number: int, rng: Random) -> tuple[int, str, str, dict[str, Any]]:
    """Return the status that a request must have, its method, its path, and its body and type."""
    titles = rng.sample([str(item) for item in range(N_ITEMS)], 6)
    entries = "".join(
        f"<anime><series_animedb_id>{title}</series_animedb_id><my_status>Completed</my_status>"
        "<my_score>9</my_score></anime>"
        for title in titles
    )
    file = {"content-type": "application/octet-stream"}
    asked = (
        (200, "POST", "/api/list", {"json": {"titles": titles, "new": True, "why": True}}),
        (200, "GET", f"/api/titles?n=8&q={titles[0]}", {}),
        (200, "GET", f"/api/similar/{titles[0]}", {}),
        (
            200,
            "POST",
            "/api/upload?name=list.xml",
            {"content": f"<myanimelist>{entries}</myanimelist>".encode(), "headers": file},
        ),
        (200, "POST", "/api/list", {"json": {"titles": titles, "franchise": "first", "niche": 1, "diversity": 0.2}}),
        (200, "GET", rng.choice((f"/api/franchise/{titles[0]}", "/api/health")), {}),
        (200, "GET", rng.choice(("/", "/serve.js", "/api/run")), {}),
        (404, "GET", f"/api/similar/no-{number}", {}),
        (422, "POST", "/api/upload", {"content": b"no list", "headers": file}),
        (422, "POST", "/api/list", {"json": {"titles": number}}),
    )
    return asked[number % len(asked)]


def made(folder: Path) -> dict[str, Any]:
    """Write a small data set into a folder, and return settings for runs of it that take a moment."""
    rng = np.random.default_rng(0)
    data = folder / "data"
    data.mkdir(parents=True)
    numbers = range(N_ITEMS)
    titles = pd.DataFrame({"subject_id": numbers})
    titles["name"] = [f"title {n}" for n in numbers]
    titles["tags_name"] = [f"tag{n % 5}; tag{n % 7}" for n in numbers]
    titles["summary"] = [f"story of {n % 6}" for n in numbers]
    titles.to_csv(data / "anime.tsv", sep="\t", index=False)
    collected = np.concatenate([rng.permutation(N_ITEMS)[:PER_USER] for _ in range(N_USERS)])
    rows = pd.DataFrame({"user_id": np.arange(N_USERS).repeat(PER_USER), "subject_id": collected})
    rows["rate"] = rng.integers(5, 11, len(rows))
    rows["comment"] = [f"on {item % 6}" for item in collected]
    rows["updated_at"] = 1_600_000_000 + np.arange(len(rows)) % PER_USER
    rows.to_csv(data / "interactions.tsv", sep="\t", index=False)
    return {
        "data_dir": str(data),
        "saved_dir": str(folder / "saved"),
        "model_name": "lsa",
        "lsa_dim": 8,
        "embedding_dim": 8,
        "epochs": 1,
        "batch_size": 64,
        "device": "cpu",
    }


def main(argv: list[str] | None = None) -> int:
    """Do both, log the tables, and return the exit code."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=200, help=f"rows in all, {ROWS} with each seed")
    parser.add_argument("--requests", type=int, default=10_000)
    arguments = parser.parse_args(argv)
    results = common.begin(arguments)
    with tempfile.TemporaryDirectory() as folder:
        log.setLevel(logging.ERROR)
        seen = {
            "rows": rows(Path(folder) / "rows", max(1, arguments.rows // ROWS)),
            "requests": requests(Path(folder) / "requests", arguments.requests),
        }
        log.setLevel(logging.INFO)
    more = {what: grown(common.show(what, found)) for what, found in seen.items()}
    common.write_json(arguments.out, {**results, **seen, "grown": more})
    log.info(f"grown in the last two fifths: {json.dumps(more)}")
    return int(any(more.values()))


if __name__ == "__main__":
    sys.exit(main())
