"""Tell what it costs titles with history to list those without: both figures for each cold_cost.

    python tools/cold_cost.py RUN [RUN ...] [--costs 0,0.005,0.01,0.02,0.05,0.1]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/) that was trained with text, a
cold_item_ratio above 0 and a cold_cost below 1; several are seeds of the same run. Nothing is trained: the offset of
titles without history is set anew, by valid as in training, and the test figures are read.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from config import run_script
from data_loader import Dataset, load_dataset
from evaluator import evaluate, means, rank_items
from main import check_fingerprint
from run_ablation import markdown, mean_and_sd, spread
from trainer import calibrate, load_torch

log = logging.getLogger("aglrec")

Rows = dict[str, dict[str, float]]


def measure(folder: Path, costs: list[float]) -> Rows:
    """Read the test figures of a run at each cold_cost, at an offset of 0, and with no such title listed.

    Args:
        folder: the run's saved_dir.
        costs: values of cold_cost, each from 0 to 1.

    Returns:
        row -> {"warm": NDCG@k of test, "cold": NDCG@k of cold_test, among all titles, "listed": the share of such
        titles in the lists}, k the largest of top_k; the rows are "none listed", "offset 0" and "cold_cost c".

    Raises:
        ValueError: the run has no offset or no cold titles, or the data have changed.
    """
    checkpoint = load_torch(folder / "best_model.pth")
    trained, config = checkpoint["state_dict"].get("cold_offset"), checkpoint["config"]
    if trained is None or not config["cold_item_ratio"]:
        raise ValueError(f"{folder} has no offset for titles without history; train it with text, --cold_cost below 1 "
                         "and --cold_item_ratio above 0")
    dataset = load_dataset(config)
    check_fingerprint(checkpoint, dataset)
    user_emb, item_emb = load_torch(folder / "user_emb.pt"), load_torch(folder / "item_emb.pt")
    is_cold = torch.from_numpy(np.bincount(dataset.train.indices, minlength=dataset.n_items) == 0)
    item_emb[:, -1] += trained * is_cold
    offsets = {"none listed": 1e6, "offset 0": 0.0}
    offsets |= {f"cold_cost {cost:g}": calibrate(user_emb, item_emb, is_cold, dataset, {**config, "cold_cost": cost})[0]
                for cost in costs}
    return {name: figures(user_emb, lowered(item_emb, is_cold, offset), is_cold.numpy(), dataset, config)
            for name, offset in offsets.items()}


def lowered(item_emb: torch.Tensor, is_cold: torch.Tensor, offset: float) -> torch.Tensor:
    """Return item_emb (n_items, D + 1) with the offset taken from the last column where is_cold."""
    result = item_emb.clone()
    result[:, -1] -= offset * is_cold
    return result


def figures(user_emb: torch.Tensor, item_emb: torch.Tensor, is_cold: np.ndarray, dataset: Dataset,
            config: dict[str, Any]) -> dict[str, float]:
    """Compute a row of measure."""
    k, known = max(config["top_k"]), dataset.train + dataset.valid
    users = np.flatnonzero(np.diff(dataset.test.indptr))
    lists = rank_items(user_emb, item_emb, users, known, k, None, config["seed"], config["eval_memory_mb"]).items
    found = {name: means(evaluate(user_emb, item_emb, target, known, config, auc=False))[f"NDCG@{k}"]
             for name, target in (("warm", dataset.test), ("cold", dataset.cold_test))}
    return {**found, "listed": float(is_cold[lists[lists >= 0]].mean())}


def hit_rates(folder: Path) -> dict[str, float]:
    """Tell how often the last title of a warm list and the first of a cold one are hits, over users with both.

    This is what a calibration has to live with: a title without history that takes the last place of a list gains
    only as often as it is a hit itself, and loses as often as the title it displaces is one.

    Returns:
        {"last warm": share, "first cold": share}: of the test targets, the title at place k among those with history;
        of the cold_test targets, the title at place 1 among all those without.
    """
    config = load_torch(folder / "best_model.pth")["config"]
    dataset, k = load_dataset(config), max(config["top_k"])
    user_emb, item_emb = load_torch(folder / "user_emb.pt"), load_torch(folder / "item_emb.pt")
    counts, known = np.bincount(dataset.train.indices, minlength=dataset.n_items), dataset.train + dataset.valid
    users = np.flatnonzero((np.diff(dataset.test.indptr) > 0) & (np.diff(dataset.cold_test.indptr) > 0))
    rates = {}
    for name, members, target, place in (("last warm", np.flatnonzero(counts), dataset.test, k - 1),
                                         ("first cold", np.flatnonzero(counts == 0), dataset.cold_test, 0)):
        lists = rank_items(user_emb, item_emb[torch.from_numpy(members)], users, known[:, members], place + 1, None,
                           config["seed"], config["eval_memory_mb"]).items[:, place]
        rates[name] = float(np.asarray(target[users[lists >= 0], members[lists[lists >= 0]]]).mean())
    return rates


def table(runs: list[Rows]) -> str:
    """Lay out the mean and sd of some runs' rows in Markdown; the loss is against "none listed", in percent."""
    rows = {name: spread([run[name] for run in runs]) for name in runs[0]}
    whole = rows["none listed"]["warm"]["mean"]
    lines = [["", "warm", "warm lost", "cold among all", "share of the lists"]]
    for name, row in rows.items():
        lines.append([name, mean_and_sd(row["warm"], len(runs)), f"{100 * (1 - row['warm']['mean'] / whole):.1f}%",
                      mean_and_sd(row["cold"], len(runs)), f"{100 * row['listed']['mean']:.1f}%"])
    return markdown(lines)


def read_costs(text: str) -> list[float]:
    """Read "0,0.01" as shares from 0 to 1, ascending."""
    try:
        costs = sorted({float(word) for word in text.split(",")})
    except ValueError:
        costs = [-1.0]
    if not (costs[0] >= 0 and costs[-1] <= 1):
        raise ValueError(f"--costs takes shares from 0 to 1 like 0,0.01, not {text!r}")
    return costs


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    asked.add_argument("--costs", default="0,0.005,0.01,0.02,0.05,0.1")
    asked = asked.parse_args()
    costs = read_costs(asked.costs)
    log.info(table([measure(folder, costs) for folder in asked.runs]))
    rates = spread([hit_rates(folder) for folder in asked.runs])
    log.info("\nof the last titles of lists with history alone, "
             f"{100 * rates['last warm']['mean']:.1f}% are hits; of the first of those without, "
             f"{100 * rates['first cold']['mean']:.1f}%")


if __name__ == "__main__":
    sys.exit(run_script(main, None))
