"""Test the paired test: rows that differ in nothing but their seeds should rarely differ significantly.

    python studies/aa_test.py [--groups N] [--seeds N] [--key value ...]

Trains --groups rows of --seeds runs each, under saved_dir/aa/. The n-th runs of all rows share their split, as in
run_ablation.py, and each has its own seed of the model. Every pair of rows is tested as run_ablation.py tests a row
with text against one without; at most 5% of the pairs should have p < 0.05. Interrupted, the same command goes on.
"""

import itertools
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.cli import Flags, answer_early, whole_number

FLAGS = Flags(__doc__)
FLAGS.add_argument("--groups", type=whole_number(2), default=7, metavar="N", help="rows")
FLAGS.add_argument("--seeds", type=whole_number(2), default=3, metavar="N", help="runs of each row")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

from config import get_config
from data_loader import load_dataset
from evaluation.significance import p_over_users, paired_test, user_differences, user_values
from run_ablation import shared_vectors, trained_row
from runtime.cli import run_script
from runtime.files import write_json

log = logging.getLogger("aglrec")

Runs = list[dict[str, Any]]


def rows_alike(overrides: dict[str, Any], groups: int, seeds: int) -> list[Runs]:
    """Train rows that differ in nothing but the seeds of their models: for each group a list of its runs."""
    base, rows = get_config(overrides), [[] for _ in range(groups)]
    shared = {**overrides, "vectors_dir": base["vectors_dir"] or base["saved_dir"]}
    for number in range(seeds):
        split = {**shared, "split_seed": base["split_seed"] + number}
        dataset = load_dataset(get_config(split))
        vectors = shared_vectors(dataset, get_config(split))
        for group, runs in enumerate(rows):
            folder = Path(base["saved_dir"]) / "aa" / f"group_{group}" / f"seed_{number}"
            config = get_config({**split, "seed": base["seed"] + group * seeds + number, "saved_dir": str(folder)})
            runs.append(trained_row(config, dataset, vectors, rerun=False))
    return rows


def shares(rows: list[Runs]) -> dict[str, float]:
    """Return the share of the pairs of rows with p below 0.05: by paired_test, and by a t-test over users alone."""
    pairs = list(itertools.combinations(rows, 2))
    ours = [paired_test(*pair)[1] < 0.05 for pair in pairs]
    alone = [p_over_users(user_differences(*map(user_values, pair))) < 0.05 for pair in pairs]
    return {"pairs": len(pairs), "users and runs": float(np.mean(ours)), "users alone": float(np.mean(alone))}


def main() -> None:
    """Run the command line."""
    asked, overrides = FLAGS.read()
    found = shares(rows_alike(overrides, asked.groups, asked.seeds))
    write_json(Path(get_config(overrides)["saved_dir"]) / "aa" / "results.json", found)
    log.info(
        f"\n{found['pairs']} pairs of rows alike, {asked.seeds} runs each: p < 0.05 in "
        f"{100 * found['users and runs']:.0f}% of them by the test over users and runs, in "
        f"{100 * found['users alone']:.0f}% by one over users alone"
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
