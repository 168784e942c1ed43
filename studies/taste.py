"""Measure what each --taste of recommend.py brings and costs on the test part of finished runs.

    python studies/taste.py RUN [RUN ...] [--data_dir DIR]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/) whose linear columns mind rates;
several are seeds of the same run, and the table has their mean and deviation. Nothing is trained: users are placed
again, with rates that count less or more. A taste of 0.5 has the figures of metrics.json. "Shared when inverted" is how
many of the first 20 titles stay if a person, given to the model as somebody new, turns each rate into its opposite.
"""

import logging
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from evaluation.rated import rated_figures
from evaluation.significance import spread
from evaluation.tables import markdown, mean_and_sd
from evaluator import evaluate_warm, means, rank_warm
from inference.finished_run import FinishedRun
from inference.lists import list_titles
from inference.people import person, place, scores_of
from inference.taste import AS_MEASURED, FOR_PEOPLE, minds_taste, with_taste
from runtime.cli import Flags, run_script
from studies.common import finished_run

log = logging.getLogger("aglrec")

TASTES = {0.0: "0", 0.25: "0.25", AS_MEASURED: "0.5, as measured", FOR_PEOPLE: "0.75, for people", 1.0: "1"}
K = 20
COLUMNS = (
    f"NDCG@{K}",
    f"liked NDCG@{K}",
    f"loved NDCG@{K}",
    "disliked listed",
    "mean z of hits",
    "shared when inverted",
)
PEOPLE, LEAST_RATED = 200, 5  # whose rates are inverted, and how many titles they rated at least

Rows = dict[str, dict[str, float]]


def measure(run: FinishedRun) -> Rows:
    """Evaluate a run at each taste, by its warm test pairs.

    Args:
        run: as from finished_run.

    Returns:
        taste -> {"NDCG@20", "liked NDCG@20", "loved NDCG@20": of all pairs, and of those that were rated so; "disliked
        listed": the share of disliked pairs whose title is in the list; "mean z of hits": of the rated pairs in the
        lists; see rated_figures; "shared when inverted": see shared_when_inverted}, NaN where there is no such pair.

    Raises:
        ValueError: nothing of the run was held out, or rates decide nothing in its linear columns.
    """
    folder = run.config["saved_dir"]
    if not run.dataset.test.nnz:
        raise ValueError(
            f"nothing of {folder} is held out for a test; train it with a test_ratio above 0 (of a refit run, name the "
            "folder measured in it)"
        )
    if not minds_taste(run):
        raise ValueError(
            f"rates decide nothing in the linear columns of {folder}, so that its lists are the same at every taste; "
            "name a run on data with rates, trained with --rating_weight other than 0 and linear columns"
        )
    return {name: figures(with_taste(run, taste)) for taste, name in TASTES.items()}


def figures(run: FinishedRun) -> dict[str, float]:
    """Compute a row of measure."""
    config = {**run.config, "top_k": [K]}
    factors = (run.user_emb, run.item_emb, run.dataset, "test", config)
    rated = rated_figures(rank_warm(*factors, auc=False), run.dataset, "test", [K])
    ndcg = f"NDCG@{K}"
    values = (
        means(evaluate_warm(*factors, auc=False))[ndcg],
        *(rated[taste].get(ndcg, math.nan) for taste in ("liked", "loved")),
        rated["disliked"].get(f"share@{K}", math.nan),
        rated.get(f"mean z@{K}", math.nan),
        shared_when_inverted(run),
    )
    return dict(zip(COLUMNS, values, strict=True))


def shared_when_inverted(run: FinishedRun) -> float:
    """Count the titles that two lists of a person share: by their rates, and by the same upside down.

    The mean over PEOPLE users, drawn by seed 0, who rated LEAST_RATED titles, not all alike; NaN without any.
    """
    train, rates = run.dataset.train, run.dataset.rates_of(run.dataset.train)
    mine = [slice(*train.indptr[user : user + 2]) for user in range(run.dataset.n_users)]
    users = [
        user
        for user in np.random.default_rng(0).permutation(run.dataset.n_users)
        if (rates[mine[user]] != 0).sum() >= LEAST_RATED and np.ptp(rates[mine[user]][rates[mine[user]] != 0])
    ]
    ends = rates[rates != 0].min() + rates.max()
    shared = []
    for rows in (mine[user] for user in users[:PEOPLE]):
        lists = []
        for given in (rates[rows], np.where(rates[rows] != 0, ends - rates[rows], 0)):
            who = person(run, train.indices[rows], scores_of(run, given))
            lists.append({title["subject_id"] for title in list_titles(run, place(run, who).users[0], K, who.items)})
        shared.append(len(lists[0] & lists[1]))
    return float(np.mean(shared)) if shared else math.nan


def table(runs: list[Rows]) -> str:
    """Lay out the mean and sd of some runs' rows in Markdown."""
    rows = spread(runs).items()
    lines = [[name, *(mean_and_sd(row[column], len(runs)) for column in COLUMNS)] for name, row in rows]
    return markdown([["taste", *COLUMNS], *lines])


def main() -> None:
    """Run the command line."""
    flags = Flags(__doc__)
    flags.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the saved_dir of a run")
    flags.add_argument("--data_dir", metavar="DIR", help="where the data are, if no longer where the run found them")
    asked = flags.parse_args()
    log.info(table([measure(finished_run(folder, asked.data_dir)) for folder in asked.runs]))


if __name__ == "__main__":
    sys.exit(run_script(main))
