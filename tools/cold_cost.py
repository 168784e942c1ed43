"""Tell what it costs titles with history to list those without: both figures for each cold_cost.

    python tools/cold_cost.py RUN [RUN ...] [--costs 0,0.005,0.01,0.02,0.05,0.1] [--data_dir FOLDER]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/) that was trained with text, a
cold_item_ratio above 0 and a cold_cost below 1; several are seeds of the same run. Nothing is trained: the offset of
titles without history is set anew, by valid as in training. Choose a cost by the valid columns; those of test are
for reporting it.
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


def measure(folder: Path, costs: list[float], data_dir: str | None = None) -> Rows:
    """Read the figures of a run at each cold_cost, at an offset of 0, and with no such title listed.

    Args:
        folder: the run's saved_dir.
        costs: values of cold_cost, each from 0 to 1.
        data_dir: where the data are, if no longer where the run found them.

    Returns:
        row -> {"test": NDCG@k, "cold_test": NDCG@k among all titles, the same of "valid" and "cold_valid", "listed":
        the share of such titles in the test lists}, k the largest of top_k; the rows are "none listed", "offset 0" and
        "cold_cost c".

    Raises:
        ValueError: the run has no offset, no cold titles or no valid part, or the data have changed.
    """
    checkpoint = load_torch(folder / "best_model.pth")
    trained, config = checkpoint["state_dict"].get("cold_offset"), run_config(folder, data_dir)
    if trained is None or not config["cold_item_ratio"]:
        raise ValueError(f"{folder} has no offset for titles without history; train it with text, --cold_cost below 1 "
                         "and --cold_item_ratio above 0")
    dataset = load_dataset(config)
    check_fingerprint(checkpoint, dataset)
    if not dataset.valid.nnz:
        raise ValueError(f"{folder} has no valid part to set an offset by; train it with a valid_ratio above 0")
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
    found = {part: means(evaluate(user_emb, item_emb, getattr(dataset, part), masked, config, auc=False))[f"NDCG@{k}"]
             for part, masked in (("valid", dataset.train), ("cold_valid", dataset.train), ("test", known),
                                  ("cold_test", known))}
    return {**found, "listed": float(is_cold[lists[lists >= 0]].mean())}


def run_config(folder: Path, data_dir: str | None) -> dict[str, Any]:
    """Return the settings of a run, with its data found in data_dir if that is given."""
    config = load_torch(folder / "best_model.pth")["config"]
    return {**config, "data_dir": data_dir or config["data_dir"]}


def hit_rates(folder: Path, data_dir: str | None = None) -> dict[str, float]:
    """Tell how often the last title of a warm list and the first of a cold one are hits, over users with both.

    This is what a calibration has to live with: a title without history that takes the last place of a list gains
    only as often as it is a hit itself, and loses as often as the title it displaces is one.

    Returns:
        {"last warm": share, "first cold": share}: of the test targets, the title at place k among those with history;
        of the cold_test targets, the title at place 1 among all those without.
    """
    config = run_config(folder, data_dir)
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
    lines = [["", *(column for part in ("valid", "test") for column in (part, "lost", f"cold {part}")), "in lists"]]
    for name, row in rows.items():
        cells = []
        for part in ("valid", "test"):
            lost = 1 - row[part]["mean"] / rows["none listed"][part]["mean"]
            cells += [mean_and_sd(row[part], len(runs)), f"{100 * lost:.1f}%",
                      mean_and_sd(row[f"cold_{part}"], len(runs))]
        lines.append([name, *cells, f"{100 * row['listed']['mean']:.1f}%"])
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
    asked.add_argument("--data_dir")
    asked = asked.parse_args()
    costs = read_costs(asked.costs)
    log.info(table([measure(folder, costs, asked.data_dir) for folder in asked.runs]))
    rates = spread([hit_rates(folder, asked.data_dir) for folder in asked.runs])
    log.info("\nof the last titles of lists with history alone, "
             f"{100 * rates['last warm']['mean']:.1f}% are hits; of the first of those without, "
             f"{100 * rates['first cold']['mean']:.1f}%")


if __name__ == "__main__":
    sys.exit(run_script(main, None))
