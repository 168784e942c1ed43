"""Test the test: rows with the same settings, trained with other seeds, must not be told apart.

    python studies/aa_test.py [--groups N] [--seeds N] [--key value ...]

Trains --groups rows of --seeds runs each, under saved_dir/aa/. The n-th run of every row has the same split, as in
run_ablation.py, and a seed of the model of its own. Every pair of rows is tested as run_ablation.py tests a row with
text against one without; p < 0.05 should come up in 5% of them at most. Interrupted, the same command goes on.
"""

import itertools
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.cli import Flags, answer_early, whole_number

FLAGS = Flags(__doc__)
FLAGS.add_argument("--groups", type=whole_number(2), default=7, metavar="N", help="rows")
FLAGS.add_argument("--seeds", type=whole_number(2), default=3, metavar="N", help="runs of each row")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

from config import get_config
from data_loader import load_dataset
from evaluation.significance import paired_test
from run_ablation import shared_vectors, trained_row
from runtime.cli import run_script
from runtime.files import write_json

log = logging.getLogger("aglrec")

Runs = list[dict[str, Any]]


def rows_alike(overrides: dict[str, Any], groups: int, seeds: int) -> list[Runs]:
    """Train rows that differ in nothing but the seeds of their models: a list of seeds runs for each group."""
    base, rows = get_config(overrides), [[] for _ in range(groups)]
    shared = {**overrides, "vectors_dir": base["vectors_dir"] or base["saved_dir"]}
    for number in range(seeds):
        split = {**shared, "split_seed": base["split_seed"] + number}
        dataset, vectors = load_dataset(get_config(split)), None
        for group, runs in enumerate(rows):
            folder = Path(base["saved_dir"]) / "aa" / f"group_{group}" / f"seed_{number}"
            config = get_config({**split, "seed": base["seed"] + group * seeds + number, "saved_dir": str(folder)})
            vectors = vectors or shared_vectors(dataset, config)
            runs.append(trained_row(config, dataset, vectors, rerun=False))
    return rows


def shares(rows: list[Runs]) -> dict[str, float]:
    """Tell in which share of the pairs of rows p is below 0.05: by paired_test, and by a t-test over users alone."""
    pairs = list(itertools.combinations(rows, 2))
    ours = [paired_test(*pair)[1] < 0.05 for pair in pairs]
    alone = [_p_over_users(*pair) < 0.05 for pair in pairs]
    return {"pairs": len(pairs), "users and runs": float(np.mean(ours)), "users alone": float(np.mean(alone))}


def _p_over_users(ours: Runs, theirs: Runs) -> float:
    differences: dict[str, list[float]] = {}
    for one, other in zip(ours, theirs, strict=True):
        for user, value in one["user_test"].items():
            differences.setdefault(user, []).append(value - other["user_test"][user])
    return float(ttest_1samp([np.mean(values) for values in differences.values()], 0).pvalue)


def main() -> None:
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
