"""Measure what reading a user's titles in order reaches: SASRec and GRU4Rec, tuned on valid.

    python studies/sequential.py [--rows N,N] [--seeds N] [--point KEY=N,KEY=N]

Their settings (hidden_size, dropout, lr; named and otherwise fixed as in RecBole) are searched on valid by the first
seed, over at most 8 points each; the best point is trained with every seed. With --point that search is left out, and
its point is trained, as when an earlier search has found it. Seeds are those of run_ablation.py, so that the figures
stand beside its rows: titles with a history are ranked; users are placed for valid by their train rows, and for test,
with a split by time, by those of valid as well. Both models need titles with times. Of the settings, those of data,
split and metrics count, seed, epochs (300 here), early_stop_round, batch_size (users a step, 128 here), device.
The table goes to saved_dir/sequential/results.md, everything else to results.json beside it.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.cli import Flags, answer_early, whole_number

NAMES = ("sasrec", "gru4rec")
START = {"hidden_size": 64, "dropout": 0.5, "lr": 0.001}  # RecBole's
LIKE = "hidden_size=128,dropout=0.5,lr=0.001"


def model_names(text: str) -> list[str]:
    """Read "sasrec,gru4rec" as names of models, as the type of a flag."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no model; they are {', '.join(NAMES)}")
    return names


def point_of(text: str) -> dict[str, float]:
    """Read "hidden_size=128,dropout=0.5,lr=0.001" as a point, what is left out as in START; the type of a flag."""
    point = dict(START)
    for part in text.split(","):
        key, _, value = (side.strip() for side in part.partition("="))
        try:
            point[key] = type(START[key])(value)
        except (KeyError, ValueError):
            raise argparse.ArgumentTypeError(f"{part!r} is no setting; write {LIKE}, or a part of it") from None
    return point


FLAGS = Flags(__doc__)
FLAGS.add_argument("--rows", type=model_names, default=",".join(NAMES), metavar="NAME,NAME", help="models to train")
FLAGS.add_argument("--seeds", type=whole_number(1), default=3, metavar="N", help="runs of each at its best point")
FLAGS.add_argument("--point", type=point_of, metavar="KEY=N", help=f"settings that are not searched, as {LIKE}")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

from config import get_config
from data_loader import Dataset, load_dataset
from evaluation.significance import spread
from evaluation.tables import markdown, mean_and_sd
from runtime.cli import run_script
from runtime.files import atomic_write, write_json
from studies.sequential_models import Fitted, fit, measure
from training.grid_search import Point, coordinate_search

log = logging.getLogger("aglrec")

DEFAULTS = {"epochs": 300, "batch_size": 128}  # other than those of main.py
GRID = {"hidden_size": [64, 128], "dropout": [0.2, 0.5], "lr": [0.0003, 0.001]}
BUDGET = 8  # points

Settings = dict[str, Any]


class Sample(NamedTuple):
    """The data and the settings of a run."""

    dataset: Dataset
    config: Settings


def ordered_data(config: Settings) -> Dataset:
    """Load the data of a run.

    Raises:
        ValueError: they have no order, no valid part, or a train part that holds the test part.
    """
    if config["refit"] or config["refit_valid"]:
        raise ValueError("settings are chosen on valid and measured on test; leave refit and refit_valid out")
    dataset = load_dataset(config)
    if not dataset.has_order:
        raise ValueError(
            f"nobody in {config['data_dir']} has titles of different times, so that there is no order to learn; "
            "give the column updated_at of interactions.tsv"
        )
    if not dataset.warm_pairs("valid").nnz:
        raise ValueError("there is no valid part to choose settings by; give a valid_ratio above 0")
    return dataset


def search(name: str, dataset: Dataset, config: Settings) -> tuple[Point, list[dict[str, Any]], Fitted]:
    """Find the point of GRID that is best on valid, in at most BUDGET trainings.

    Returns:
        The point; what was tried, {"point", "valid", "epoch", "seconds"} each; and the model of the best point.
    """
    metric, tried, best = config["early_stop_metric"], [], None

    def figure(point: Point) -> float | None:
        nonlocal best
        if len(tried) == BUDGET or any(value not in GRID[key] for key, value in point.items()):
            return None
        fitted = trained(name, dataset, point, config)
        tried.append({"point": point, "valid": fitted.valid, "epoch": fitted.epoch, "seconds": fitted.seconds})
        if best is None or fitted.valid[metric] > best.valid[metric]:
            best = fitted
        return fitted.valid[metric]

    return coordinate_search(GRID, START, figure).best, tried, best


def trained(name: str, dataset: Dataset, point: Point, config: Settings) -> Fitted:
    """Train a model at a point, which takes minutes, and say what it reached."""
    fitted, metric = fit(name, dataset, point, config), config["early_stop_metric"]
    log.info(
        f"{name} {words(point)}: valid {metric} {fitted.valid[metric]:.4f} at epoch {fitted.epoch}, "
        f"{fitted.seconds:.0f} s"
    )
    return fitted


def samples(overrides: Settings, seeds: int) -> list[Sample]:
    """Return what each run trains on, with the seeds that run_ablation.py gives its runs."""
    asked = {**DEFAULTS, **overrides}
    base = get_config(asked)
    configs = [
        get_config({**asked, **{key: base[key] + nth for key in ("seed", "split_seed")}}) for nth in range(seeds)
    ]
    return [Sample(ordered_data(config), config) for config in configs]


def study(name: str, runs: list[Sample], point: Point | None = None) -> dict[str, Any]:
    """Search a model's settings with the first run's seed, and measure the best ones with every seed.

    Args:
        name: of NAMES.
        runs: as from samples.
        point: settings that are measured in place of a search.

    Returns:
        {"point", "tried", "runs", "mean"}: runs has {"seed", "split_seed", "epoch", "seconds", "valid", "test"} each,
        and mean the {"mean", "sd"} of "seconds", "valid" and "test".
    """
    tried, fitted = [], []
    if point is None:
        point, tried, first = search(name, *runs[0])
        fitted = [first]
    fitted += [trained(name, dataset, point, config) for dataset, config in runs[len(fitted) :]]
    found = [measured(each, *run) for each, run in zip(fitted, runs, strict=True)]
    mean = spread([{key: run[key] for key in ("seconds", "valid", "test")} for run in found])
    return {"point": point, "tried": tried, "runs": found, "mean": mean}


def measured(fitted: Fitted, dataset: Dataset, config: Settings) -> dict[str, Any]:
    """Measure a model on test, and return a run of study."""
    seeds = {key: config[key] for key in ("seed", "split_seed")}
    test = measure(fitted.model, dataset, "test", config)
    return {**seeds, "epoch": fitted.epoch, "seconds": fitted.seconds, "valid": fitted.valid, "test": test}


def words(point: Point) -> str:
    """Write a point as "hidden_size 64, dropout 0.5, lr 0.001"."""
    return ", ".join(f"{key} {value:g}" for key, value in point.items())


def table(rows: dict[str, dict[str, Any]], k: int) -> str:
    """Lay the rows out in Markdown, and say below what was chosen."""
    metrics = [(part, f"{name}@{k}") for part in ("valid", "test") for name in ("NDCG", "Recall")]
    lines = [["model", *(f"{part} {metric}" for part, metric in metrics), "seconds"]]
    for name, row in rows.items():
        n, mean = len(row["runs"]), row["mean"]
        cells = [mean_and_sd(mean[part][metric], n) for part, metric in metrics]
        lines.append([name, *cells, f"{mean['seconds']['mean']:.0f}"])
    chosen = [
        f"{name}: {words(row['point'])}, " + (f"of {n} points tried." if (n := len(row["tried"])) else "not searched.")
        for name, row in rows.items()
    ]
    return "\n".join([markdown(lines), "", *chosen, ""])


def main() -> None:
    """Run the command line."""
    asked, overrides = FLAGS.read()
    runs, rows = samples(overrides, asked.seeds), {}
    dataset, config = runs[0]
    folder = Path(config["saved_dir"]) / "sequential"
    for name in asked.rows:
        rows[name] = study(name, runs, asked.point)
        results = {"rows": rows, "config": config, "data": dataset.digests}
        write_json(folder / "results.json", results)
        with atomic_write(folder / "results.md") as file:
            file.write(table(rows, max(config["top_k"])).encode())
    log.info("\n" + table(rows, max(config["top_k"])))


if __name__ == "__main__":
    sys.exit(run_script(main))
