"""Tell what it costs titles with history to list those without: both figures for each cold_cost.

    python studies/cold_cost.py RUN [RUN ...] [--costs C,C,...] [--data_dir DIR]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/) that was trained with text, a
cold_item_ratio above 0 and a cold_cost below 1; several are seeds of the same run. Nothing is trained: the offset of
titles without history is set anew, by valid as in training. Choose a cost by the valid columns; those of test are
for reporting it.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_loader import Dataset, load_dataset
from evaluation.significance import spread
from evaluation.tables import markdown, mean_and_sd
from evaluator import evaluate, means, rank_items
from model import UNLISTED
from runtime import manifest
from runtime.cli import Flags, run_script
from runtime.files import load_torch
from runtime.identity import check_origin
from training.after_training import cold_offset

log = logging.getLogger("aglrec")

Rows = dict[str, dict[str, float]]


def measure(folder: Path, costs: list[float], data_dir: str | None = None) -> Rows:
    """Read the figures of a run at each cold_cost, at an offset of 0, and with no such title listed.

    Args:
        folder: the run's saved_dir.
        costs: values of cold_cost, each from 0 to 1.
        data_dir: where the data are, if no longer where the run found them.

    Returns:
        row -> {"test", "cold_test", "joint_test", "valid", "cold_valid", "joint_valid", "listed"}: NDCG@k among all
        titles, k the largest of top_k, of the warm part (a user's own cold titles masked), of the cold part, and of
        both as one target (see evaluator.evaluate_listed); and the share of titles without a history in the test
        lists. The rows are "none listed", "offset 0" and "cold_cost c".

    Raises:
        ValueError: the run has no offset, no cold titles or no valid part, or the data have changed.
    """
    manifest.check(folder, "best_model.pth", "user_emb.pt", "item_emb.pt")
    checkpoint = load_torch(folder / "best_model.pth")
    decided, config = checkpoint.get("decided", {}).get("cold_offset"), run_config(folder, data_dir)
    if decided is None or not config["cold_item_ratio"]:
        raise ValueError(
            f"{folder} has no offset for titles without history; train it with text, --cold_cost below 1 "
            "and --cold_item_ratio above 0"
        )
    dataset = load_dataset(config)
    check_origin(checkpoint, dataset.fingerprint)
    if not dataset.valid.nnz:
        raise ValueError(
            f"{folder} has no valid part to set an offset by; train it with a valid_ratio above 0 "
            "(of a refit run, name the folder measured in it)"
        )
    user_emb, item_emb = load_torch(folder / "user_emb.pt"), load_torch(folder / "item_emb.pt")
    column, is_cold = config["embedding_dim"], ~np.isin(np.arange(dataset.n_items), dataset.warm_items)
    is_raised = is_cold & (item_emb[:, column] > -UNLISTED / 2).numpy()  # those without text are never listed
    if not is_raised.any():
        raise ValueError(f"{folder} was trained without text of titles, so that no title without history can be listed")
    item_emb[:, column] += decided["offset"] * torch.from_numpy(is_raised)

    def row(offset: float) -> dict[str, float]:
        lowered = item_emb.clone()
        lowered[:, column] -= offset * torch.from_numpy(is_raised)
        return figures(user_emb, lowered, is_cold, dataset, config)

    offsets = {"none listed": UNLISTED, "offset 0": 0.0}
    offsets |= {
        f"cold_cost {cost:g}": cold_offset(user_emb, item_emb, is_raised, dataset, {**config, "cold_cost": cost})[0]
        for cost in costs
    }
    return {name: row(offset) for name, offset in offsets.items()}


def figures(
    user_emb: torch.Tensor, item_emb: torch.Tensor, is_cold: np.ndarray, dataset: Dataset, config: dict[str, Any]
) -> dict[str, float]:
    """Compute a row of measure."""
    k, found = max(config["top_k"]), {}
    users = np.flatnonzero(np.diff(dataset.test.indptr))
    for part, own_cold in (("valid", dataset.cold_valid), ("test", dataset.cold_valid + dataset.cold_test)):
        known, cold = dataset.masked_for(part), getattr(dataset, f"cold_{part}")
        warm, joint = dataset.warm_pairs(part), getattr(dataset, part) + cold
        known_joint = known + own_cold - cold
        for name, target, masked in (
            (part, warm, known_joint + joint - warm),
            (f"cold_{part}", cold, known),
            (f"joint_{part}", joint, known_joint),
        ):
            metrics = evaluate(user_emb, item_emb, target, masked, config, auc=False)
            found[name] = means(metrics)[f"NDCG@{k}"]
    lists = rank_items(
        user_emb, item_emb, users, dataset.masked_for("test"), k, None, config["seed"], config["eval_memory_mb"]
    ).items
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
    counts, known = np.bincount(dataset.train.indices, minlength=dataset.n_items), dataset.masked_for("test")
    users = np.flatnonzero((np.diff(dataset.test.indptr) > 0) & (np.diff(dataset.cold_test.indptr) > 0))
    rates = {}
    for name, members, target, place in (
        ("last warm", np.flatnonzero(counts), dataset.test, k - 1),
        ("first cold", np.flatnonzero(counts == 0), dataset.cold_test, 0),
    ):
        lists = rank_items(
            user_emb,
            item_emb[torch.from_numpy(members)],
            users,
            known[:, members],
            place + 1,
            None,
            config["seed"],
            config["eval_memory_mb"],
        ).items[:, place]
        rates[name] = float(np.asarray(target[users[lists >= 0], members[lists[lists >= 0]]]).mean())
    return rates


def table(runs: list[Rows]) -> str:
    """Lay out the mean and sd of some runs' rows in Markdown; the loss is against "none listed", in percent."""
    rows = {name: spread([run[name] for run in runs]) for name in runs[0]}
    lines = [
        [
            "",
            *(column for part in ("valid", "test") for column in (part, "lost", f"cold {part}", f"joint {part}")),
            "in lists",
        ]
    ]
    for name, row in rows.items():
        cells = []
        for part in ("valid", "test"):
            lost = 1 - row[part]["mean"] / rows["none listed"][part]["mean"]
            cells += [
                mean_and_sd(row[part], len(runs)),
                f"{100 * lost:.1f}%",
                *(mean_and_sd(row[f"{name}_{part}"], len(runs)) for name in ("cold", "joint")),
            ]
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
    flags = Flags(__doc__)
    flags.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the saved_dir of a run")
    flags.add_argument("--costs", default="0,0.005,0.01,0.02,0.05,0.1", metavar="C,C", help="each from 0 to 1")
    flags.add_argument("--data_dir", metavar="DIR", help="where the data are, if no longer where the run found them")
    asked = flags.parse_args()
    costs = read_costs(asked.costs)
    log.info(table([measure(folder, costs, asked.data_dir) for folder in asked.runs]))
    rates = spread([hit_rates(folder, asked.data_dir) for folder in asked.runs])
    log.info(
        "\nof the last titles of lists with history alone, "
        f"{100 * rates['last warm']['mean']:.1f}% are hits; of the first of those without, "
        f"{100 * rates['first cold']['mean']:.1f}%"
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
