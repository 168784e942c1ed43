"""Measure what each --franchise, --niche and --diversity of recommend.py does to lists, on the test part of runs.

    python studies/lists.py RUN [RUN ...] [--users N] [--data_dir DIR]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/); several are seeds of the same
run, and the table has their mean and deviation. Nothing is trained. Lists are those of people whose train and valid
rows are known, of titles with a history, as long as those that metrics.json measures.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from evaluation.discovery import known_franchises, list_figures
from evaluation.ranking import Ranking
from evaluation.significance import spread
from evaluation.tables import markdown, mean_and_sd
from evaluator import means, user_metrics
from inference.finished_run import FinishedRun
from inference.shaped_lists import EVEN, Has, Rules, shaped
from runtime.cli import Flags, run_script, whole_number
from studies.common import finished_run

log = logging.getLogger("aglrec")

K = 20
PLAIN = Rules()
RULES = {
    "all": PLAIN,
    "first": PLAIN._replace(franchise="first"),
    "new": PLAIN._replace(franchise="new"),
    "continue": PLAIN._replace(franchise="continue"),
    **{f"all, niche {niche:g}": PLAIN._replace(niche=niche) for niche in (0.0, 0.25, 0.6, 0.75, 1.0) if niche != EVEN},
    **{f"all, diversity {share:g}": PLAIN._replace(diversity=share) for share in (0.1, 0.2, 0.4)},
}
COLUMNS = (f"NDCG@{K}", "known", "franchises", "ahead", "collectors", "likeness")

Rows = dict[str, dict[str, float]]


def measure(run: FinishedRun, n_users: int) -> Rows:
    """Measure the lists that each of RULES makes.

    Args:
        run: as from finished_run.
        n_users: how many users with a warm test pair are drawn, by seed 0; all where there are fewer.

    Returns:
        rule -> {"NDCG@20"; "known", "franchises", "ahead", "collectors": see list_figures; "likeness": the mean cosine
        of the trained columns of two titles of a list}.

    Raises:
        ValueError: nothing of the run was held out.
    """
    target = run.dataset.warm_pairs("test")
    users = np.flatnonzero(np.diff(target.indptr))
    if not len(users):
        raise ValueError(
            f"nothing of {run.config['saved_dir']} is held out for a test; train it with a test_ratio above 0 (of a "
            "refit run, name the folder measured in it)"
        )
    drawn = np.random.default_rng(0).permutation(users)[:n_users]
    return {name: figures(run, np.sort(drawn), rules) for name, rules in RULES.items()}


def figures(run: FinishedRun, users: np.ndarray, rules: Rules) -> dict[str, float]:
    """Compute a row of measure, for the users (n,)."""
    dataset, had = run.dataset, run.dataset.masked_for("test")
    lists = np.full((len(users), K), -1)
    for row, user in enumerate(users):
        has = Has(seen=had[user].indices.tolist())
        found = [entry.item for entry in shaped(run, run.user_emb[user], K, has, dataset.warm_items, rules)]
        lists[row, : len(found)] = found
    ranking = Ranking(users, lists, np.zeros(lists.shape, np.float32), None)
    described = list_figures(ranking, known_franchises(dataset, "test"), had, dataset, [K])
    values = (
        means(user_metrics(ranking, dataset.warm_pairs("test"), [K], ["NDCG"]))[f"NDCG@{K}"],
        *(described[f"{name}@{K}"] for name in ("known", "franchises", "ahead", "collectors")),
        _likeness(run, lists),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _likeness(run: FinishedRun, lists: np.ndarray) -> float:
    vectors = torch.nn.functional.normalize(run.item_emb[:, : run.layout.dim])
    cosines = []
    for items in lists:
        mine = vectors[torch.from_numpy(items[items >= 0])]
        if (n := len(mine)) > 1:
            cosines.append((float((mine @ mine.T).sum()) - n) / (n * (n - 1)))
    return float(np.mean(cosines)) if cosines else 0.0


def table(runs: list[Rows]) -> str:
    """Lay out the mean and sd of some runs' rows in Markdown."""
    lines = [[name, *(mean_and_sd(row[column], len(runs)) for column in COLUMNS)] for name, row in spread(runs).items()]
    return markdown([["list", *COLUMNS], *lines])


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    flags = Flags(__doc__)
    flags.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the saved_dir of a run")
    flags.add_argument("--users", type=whole_number(1), default=1000, metavar="N", help="users drawn of a run")
    flags.add_argument("--data_dir", metavar="DIR", help="where the data are, if no longer where the run found them")
    return flags.parse_args(argv)


def main() -> None:
    """Run the command line."""
    asked = parse()
    log.info(table([measure(finished_run(folder, asked.data_dir), asked.users) for folder in asked.runs]))


if __name__ == "__main__":
    sys.exit(run_script(main))
