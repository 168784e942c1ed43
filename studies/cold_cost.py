"""Measure what listing new titles brings them and costs the others, for each cold_cost.

    python studies/cold_cost.py RUN [RUN ...] [--costs C,C,...] [--data_dir DIR]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/) that was trained with text, a
cold_item_ratio above 0 and a cold_cost below 1; several are seeds of the same run. Nothing is trained: the offset of
new titles is set again, on valid as in training. Choose a cost by the valid columns; those of test are for reporting.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluation.ranking import rank_items
from evaluation.significance import spread
from evaluation.tables import markdown, mean_and_sd
from evaluator import evaluate, means
from inference.finished_run import FinishedRun
from model import UNLISTED
from runtime.cli import Flags, run_script
from studies.common import finished_run
from training.cold_offset import cold_offset

log = logging.getLogger("aglrec")

Rows = dict[str, dict[str, float]]


def measure(run: FinishedRun, costs: list[float]) -> Rows:
    """Evaluate a run at each cold_cost, at an offset of 0, and with no cold item listed.

    Args:
        run: as from finished_run.
        costs: values of cold_cost, each from 0 to 1.

    Returns:
        row -> {"test", "cold_test", "joint_test", "valid", "cold_valid", "joint_valid", "listed"}: NDCG@k among all
        titles, k the largest of top_k, of the warm part (a user's own cold titles masked), of the cold part, and of
        both as one target (see evaluation.held_out.evaluate_cold_listing); and the share of cold items in the test
        lists. The rows are "none listed", "offset 0" and "cold_cost c".

    Raises:
        ValueError: the run has no offset, no cold titles or no valid part.
    """
    decided, dataset, folder = run.checkpoint["decided"].get("cold_offset"), run.dataset, run.config["saved_dir"]
    if decided is None or not (run.config["cold_item_ratio"] or dataset.cold_test.nnz):
        raise ValueError(
            f"{folder} has no offset for new titles; train it with text, --cold_cost below 1 and "
            "--cold_item_ratio above 0, or on a given split with cold parts"
        )
    if not dataset.valid.nnz:
        raise ValueError(
            f"{folder} has no valid part to set an offset by; train it with a valid_ratio above 0 "
            "(of a refit run, name the folder measured in it)"
        )
    column, is_cold = run.config["embedding_dim"], ~np.isin(np.arange(dataset.n_items), dataset.warm_items)
    has_text = is_cold & (run.item_emb[:, column] > -UNLISTED / 2).numpy()  # those without text are never listed
    if not has_text.any():
        raise ValueError(f"{folder} was trained without text of titles, so that no new title can be listed")

    def lowered(item_emb: torch.Tensor, offset: float) -> torch.Tensor:
        item_emb = item_emb.clone()
        item_emb[:, column] -= offset * torch.from_numpy(has_text)
        return item_emb

    at_zero, offsets = lowered(run.item_emb, -decided["offset"]), {"none listed": UNLISTED, "offset 0": 0.0}
    for cost in costs:
        config = {**run.config, "cold_cost": cost}
        offsets[f"cold_cost {cost:g}"] = cold_offset(run.user_emb, at_zero, has_text, dataset, config)[0]
    return {name: metrics(run, lowered(at_zero, offset), is_cold) for name, offset in offsets.items()}


def metrics(run: FinishedRun, item_emb: torch.Tensor, is_cold: np.ndarray) -> dict[str, float]:
    """Compute a row of measure, with the run's users and these items."""
    k, found, dataset = max(run.config["top_k"]), {}, run.dataset
    for part, own_cold in (("valid", dataset.cold_valid), ("test", dataset.cold_valid + dataset.cold_test)):
        known, cold = dataset.masked_for(part), dataset.targets(f"cold_{part}")
        warm, joint = dataset.warm_pairs(part), dataset.targets(part) + cold
        known_joint = known + own_cold - cold
        for name, target, masked in (
            (part, warm, known_joint + joint - warm),
            (f"cold_{part}", cold, known),
            (f"joint_{part}", joint, known_joint),
        ):
            found[name] = means(evaluate(run.user_emb, item_emb, target, masked, run.config, auc=False))[f"NDCG@{k}"]
    users = np.flatnonzero(np.diff(dataset.test.indptr))
    lists = rank_items(run.user_emb, item_emb, users, dataset.masked_for("test"), k, seed=run.config["seed"]).items
    return {**found, "listed": float(is_cold[lists[lists >= 0]].mean())}


def hit_rates(run: FinishedRun) -> dict[str, float]:
    """Compute how often the last title of a warm list and the first of a cold one are hits, over users with both.

    No calibration can change these odds: a new title that takes the last place of a list gains only as often as it is a
    hit itself, and loses as often as the title it replaces is one.

    Returns:
        {"last warm": share, "first cold": share}: of the test targets, the title at place k among the warm items; of
        the cold_test targets, the title at place 1 among all cold items.
    """
    dataset, k, warm = run.dataset, max(run.config["top_k"]), run.dataset.warm_items
    known, cold = dataset.masked_for("test"), np.setdiff1d(np.arange(dataset.n_items), warm)
    users = np.flatnonzero((np.diff(dataset.test.indptr) > 0) & (np.diff(dataset.cold_test.indptr) > 0))

    def rate(among: np.ndarray, target: sp.csr_matrix, place: int) -> float:
        vectors, masked = run.item_emb[torch.from_numpy(among)], known[:, among]
        ranking = rank_items(run.user_emb, vectors, users, masked, place, seed=run.config["seed"])
        items = ranking.items[:, place - 1]
        return float(np.asarray(target[users[items >= 0], among[items[items >= 0]]]).mean())

    return {"last warm": rate(warm, dataset.test, k), "first cold": rate(cold, dataset.cold_test, 1)}


def table(runs: list[Rows]) -> str:
    """Lay out the mean and sd of some runs' rows in Markdown; the loss is against "none listed", in percent."""
    rows, n, parts = spread(runs), len(runs), ("valid", "test")
    lines = [["", *(name for part in parts for name in (part, "lost", f"cold {part}", f"joint {part}")), "in lists"]]
    for name, row in rows.items():
        cells = []
        for part in parts:
            lost = 1 - row[part]["mean"] / rows["none listed"][part]["mean"]
            more = [mean_and_sd(row[f"{kind}_{part}"], n) for kind in ("cold", "joint")]
            cells += [mean_and_sd(row[part], n), f"{lost:.1%}", *more]
        lines.append([name, *cells, f"{row['listed']['mean']:.1%}"])
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
    """Run the command line."""
    flags = Flags(__doc__)
    flags.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the saved_dir of a run")
    flags.add_argument("--costs", default="0,0.005,0.01,0.02,0.05,0.1", metavar="C,C", help="each from 0 to 1")
    flags.add_argument("--data_dir", metavar="DIR", help="where the data are, if no longer where the run found them")
    asked = flags.parse_args()
    costs = read_costs(asked.costs)
    runs = (finished_run(folder, asked.data_dir) for folder in asked.runs)
    rows, rates = zip(*((measure(run, costs), hit_rates(run)) for run in runs), strict=True)
    log.info(table(rows))
    rate = spread(rates)
    log.info(
        f"\nof the last titles of lists of warm items, {rate['last warm']['mean']:.1%} are hits; of the first of lists "
        f"of new titles, {rate['first cold']['mean']:.1%}"
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
