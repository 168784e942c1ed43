"""Time tools/convert.py on a made file of the shape and size of Kaggle's animelist.csv (2020).

    python -m benchmarks.convert --rows 109224747 --folder FOLDER

FOLDER keeps the made files, 25 bytes a row, and what they are converted to; a file of as many rows is not made again.
What a person waits depends on the disk as well, so the figure is rows a second of processor time.
"""

import contextlib
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import common

ROWS_A_USER, TITLES = 336, 17_579  # titles: a prime, so that the steps below meet none twice
STATUSES, SHARES = (1, 2, 3, 4, 6), (0.04, 0.57, 0.04, 0.04, 0.31)  # watching, seen, on hold, dropped, planned


def make(folder: Path, n_rows: int, seed: int) -> None:
    """Write animelist.csv with n_rows rows, users one after the other and no pair twice, and anime.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"made title {number}" for number in range(TITLES)]
    pd.DataFrame(
        {
            "MAL_ID": range(TITLES),
            "Name": names,
            "English name": names,
            "Japanese name": "Unknown",
            "Genres": "Action, Comedy",
            "Aired": "Apr 3, 1998 to Apr 24, 1999",
        }
    ).to_csv(folder / "anime.csv", index=False)
    rng, block = np.random.default_rng(seed), 1000 * ROWS_A_USER
    with (folder / "animelist.csv").open("w", encoding="utf-8", newline="") as file:
        file.write("user_id,anime_id,rating,watching_status,watched_episodes\n")
        for start in range(0, n_rows, block):
            users, places = np.divmod(np.arange(start, min(start + block, n_rows)), ROWS_A_USER)
            first, step = rng.integers(TITLES, size=1000), rng.integers(1, TITLES, size=1000)
            titles = (first[users % 1000] + step[users % 1000] * places) % TITLES
            rows = np.stack(
                [
                    users,
                    titles,
                    rng.integers(0, 11, len(users)),
                    rng.choice(STATUSES, len(users), p=SHARES),
                    rng.integers(0, 25, len(users)),
                ],
                axis=1,
            )
            pd.DataFrame(rows).to_csv(file, header=False, index=False)


def converted(folder: Path) -> dict[str, Any]:
    """Convert the made files: rows a second of the processor, seconds on the wall, and the peak of memory."""
    shutil.rmtree(out := folder / "converted", ignore_errors=True)
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    command = [sys.executable, "tools/convert.py", "kaggle-2020", str(folder), "--out", str(out)]
    with subprocess.Popen(command, cwd=common.ROOT) as process:
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError, StopIteration):  # it has ended just now
                peak = max(peak, common.peak_rss(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise common.ChildFailed("tools/convert.py failed; what it said is above")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall s": time.perf_counter() - start,
        "peak MiB": peak / common.MIB,
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Make the files if they are not there, convert them, log the table, write the JSON and return its content."""
    parser = common.parser(__doc__, "seed")
    parser.add_argument("--rows", type=lambda text: common.numbers(text)[0], default=10_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args(argv)
    results = common.begin(arguments)
    folder = arguments.folder.resolve() / f"rows_{arguments.rows}"
    if not (done := folder / "made").exists():
        make(folder, arguments.rows, arguments.seed)
        done.touch()
    cost = converted(folder)
    row = {"rows": arguments.rows, **cost, "rows / cpu s": arguments.rows / cost["cpu s"]}
    return common.write_json(arguments.out, {**results, "convert": common.show("convert", [row])})


if __name__ == "__main__":
    main()
