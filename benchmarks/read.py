"""Measure what reading a data folder takes: seconds of the processor, memory at its peak, bytes a row.

    python -m benchmarks.read --rows 1M,3M,10M --out read.json
    python -m benchmarks.read --data_dir FOLDER

The rows are made: a user's stand together, as a crawl has them, or --shuffled. Each size is read in its own process.
--limit_mib reads under a limit of the operating system on the addresses of that process.
"""

import argparse
import logging
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import common
from config import get_config
from data_loader import load_dataset
from dataset.readers import ANIME_COLUMNS, INTERACTION_COLUMNS

log = logging.getLogger("aglrec")

BLOCK = 500_000  # rows made and written at once
FIRST, SPAN = 1_200_000_000, 500_000_000  # seconds since 1970


def make_folder(
    folder: Path, n_rows: int, n_users: int, n_items: int, seed: int = 0, shuffled: bool = False, times: str = "seconds"
) -> None:
    """Write a data folder of made rows, no pair twice, some titles far more common than others.

    Args:
        folder: made if missing.
        n_rows, n_users, n_items: its size.
        seed: of the draw.
        shuffled: whether rows come in any order, not user by user.
        times: "seconds", "days" or "none" in updated_at.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"title {item}" for item in range(n_items)]
    texts = {"name": names, "tags_name": "", "summary": ""}
    titles = pd.DataFrame({"subject_id": np.arange(n_items) + 1, **texts})
    titles[list(ANIME_COLUMNS)].to_csv(folder / "anime.tsv", sep="\t", index=False)
    keys = np.empty(0, np.int64)
    while len(keys) < n_rows:
        more = int(1.2 * (n_rows - len(keys))) + 100
        users, items = rng.integers(n_users, size=more), (n_items * rng.random(more) ** 2).astype(np.int64)
        keys = np.unique(np.concatenate([keys, users * n_items + items]))
    keys = rng.permutation(keys)[:n_rows]
    if not shuffled:
        keys.sort()
    with (folder / "interactions.tsv").open("w", encoding="utf-8") as file:
        file.write("\t".join(INTERACTION_COLUMNS) + "\n")
        for start in range(0, n_rows, BLOCK):
            users, items = np.divmod(keys[start : start + BLOCK], n_items)
            rows = {"user": users + 1, "item": items + 1, "rate": rng.integers(11, size=len(users)), "comment": ""}
            seconds = FIRST + rng.integers(SPAN, size=len(users))
            written = {"seconds": seconds, "days": seconds.astype("datetime64[s]").astype("datetime64[D]"), "none": ""}
            pd.DataFrame({**rows, "time": written[times]}).to_csv(file, sep="\t", header=False, index=False)


def measure(folder: str, limit_mib: int = 0) -> dict[str, Any]:
    """Read a folder in this process."""
    config = get_config({"data_dir": folder})
    if limit_mib:
        resource.setrlimit(resource.RLIMIT_AS, (limit_mib * common.MIB,) * 2)
    before, start, cpu = common.rss_from_now(), time.perf_counter(), time.process_time()
    dataset = load_dataset(config)
    wall_s, cpu_s, peak, rows = time.perf_counter() - start, time.process_time() - cpu, common.peak_rss(), dataset.facts
    after = common.rss_from_now()
    return {
        "rows": rows["rows"],
        "users": dataset.n_users,
        "titles": dataset.n_items,
        "processor s": cpu_s,
        "wall s": wall_s,
        "rows a second": round(rows["rows"] / cpu_s),
        "before MiB": round(before / common.MIB),
        "peak MiB": round(peak / common.MIB),
        "after MiB": round(after / common.MIB),
        "bytes a row at the peak": round((peak - before) / rows["rows"], 1),
        "fingerprint": dataset.fingerprint[:12],
    }


def one_size(arguments: argparse.Namespace, n_rows: int) -> dict[str, Any]:
    """Make a folder of so many rows and read it."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        make_folder(
            Path(name),
            n_rows,
            max(2, round(n_rows / arguments.per_user)),
            arguments.titles,
            arguments.seed,
            arguments.shuffled,
            arguments.times,
        )
        return common.in_child(measure, folder=name, limit_mib=arguments.limit_mib)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the table, write the JSON and return its content."""
    parser = common.parser(__doc__, "seed")
    parser.add_argument("--data_dir", help="a folder to be read in the place of made ones")
    parser.add_argument("--rows", type=common.numbers, default=common.numbers("1M,3M,10M"))
    parser.add_argument("--per_user", type=float, default=335, help="rows of a user, as in the 109 million of Kaggle")
    parser.add_argument("--titles", type=int, default=17_562)
    parser.add_argument("--times", choices=("seconds", "days", "none"), default="seconds")
    parser.add_argument("--shuffled", action="store_true", help="rows in any order")
    parser.add_argument("--limit_mib", type=int, default=0, help="limit of the operating system; 0 is none")
    parser.add_argument("--folder", help="where the made files wait; by default where temporary files are")
    arguments = parser.parse_args(argv)
    results = common.begin(arguments)
    if arguments.data_dir:
        rows = [common.in_child(measure, folder=arguments.data_dir, limit_mib=arguments.limit_mib)]
    else:
        rows = [one_size(arguments, n_rows) for n_rows in arguments.rows]
    results["read"] = common.show("reading", rows)
    return common.write_json(arguments.out, results)


if __name__ == "__main__":
    main()
