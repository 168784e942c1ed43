"""Measure how much the order of a user's titles tells of the next ones.

    python studies/order.py [--key value ...]

EASE, fitted once to train, ranks for each user by the row as it is; by the row whose titles count half as much a
half-life of titles ago, as with the setting recency; and by the same weights, given to the user's titles at random.
What the second has over the third is order; what the third loses against the first is due to weights alone. Everything
is measured on valid; test is not looked at. Only a split by time asks for titles that came later. It takes seconds, and
minutes with 10,000 titles.
"""

import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.cli import Flags, answer_early

FLAGS = Flags(__doc__)

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

from config import get_config
from data_loader import Dataset, load_dataset
from dataset.recency import TIME_SPLITS, users_of
from evaluation.significance import holm, p_over_users
from evaluation.tables import gain_and_p, markdown
from evaluator import evaluate_warm
from runtime.cli import run_script
from training.closed_form import gram, item_weights
from training.linear_columns import WEIGHTS_MAX_ITEMS
from training.user_rows import weighted_rows

log = logging.getLogger("aglrec")

HALF_LIVES = (1, 2, 3, 5, 10, 20, 50)  # titles
L2 = 200.0  # of EASE
SHUFFLES = 3  # of which the metric of a user is the mean
LEVEL = 0.05  # below which a p counts

Values = np.ndarray  # the metric of each user with a valid title, (n,)


class Rankings(NamedTuple):
    """The metric of each user, for each half-life: by the row as it is (always the same), in order, and shuffled."""

    plain: dict[int, Values]
    ordered: dict[int, Values]
    shuffled: dict[int, Values]


class Gains(NamedTuple):
    """How much better some rankings are than others, by half-life, and p over users, corrected by Holm's method."""

    mean: dict[int, float]
    p: dict[int, float | None]

    def any_significant(self, sign: int) -> bool:
        """Tell whether any gain (sign 1) or loss (sign -1) is significant."""
        return any(sign * self.mean[half_life] > 0 and self.is_significant(half_life) for half_life in self.mean)

    def is_significant(self, half_life: int) -> bool:
        """Tell whether a gain or loss is significant."""
        return self.p[half_life] is not None and self.p[half_life] < LEVEL


def time_facts(dataset: Dataset) -> dict[str, float]:
    """Count what the times of the rows are worth.

    Returns:
        Shares from 0 to 1: "timed", of all collected rows those with a time; "most common", those of the commonest
        time; "ordered", of the users with two train rows or more those with rows of different times; "tied", of train
        rows those with the same time as another one of the user's, or like it with none.
    """
    times = np.full(dataset.seen.nnz, np.nan) if dataset.times is None else dataset.times
    counts = np.unique(times[np.isfinite(times)], return_counts=True)[1]
    users, ages = users_of(dataset.train), dataset.ages_of(dataset.train)
    groups, place, sizes = np.unique(  # of rows of the same user and time
        np.stack([users, ages]), axis=1, return_inverse=True, return_counts=True
    )
    n_times = np.bincount(groups[0].astype(np.int64), minlength=dataset.n_users)
    return {
        "timed": float(np.isfinite(times).mean()),
        "most common": float(counts.max(initial=0) / len(times)),
        "ordered": float((n_times > 1).sum() / max((np.diff(dataset.train.indptr) > 1).sum(), 1)),
        "tied": float((sizes[place] > 1).mean()),
    }


def rankings(dataset: Dataset, config: dict[str, Any]) -> Rankings:
    """Rank for valid by EASE, whose input is each user's row as it is, weighted by age, and by shuffled ages.

    Args:
        dataset: its test part is not looked at.
        config: uses early_stop_metric, seed, and what evaluate uses.

    Raises:
        ValueError: there are too many titles for a matrix of titles by titles, or no valid part.
    """
    if dataset.n_items > WEIGHTS_MAX_ITEMS:
        raise ValueError(
            f"EASE takes a matrix of titles by titles, which is made for {WEIGHTS_MAX_ITEMS:,} titles at most, and "
            f"{config['data_dir']} has {dataset.n_items:,}"
        )
    if not dataset.warm_pairs("valid").nnz:
        raise ValueError("there is no valid part to measure on; give a valid_ratio above 0")
    pairs, metric = dataset.known_before("valid"), config["early_stop_metric"]
    item_emb = item_weights(gram(dataset.train), L2).T.contiguous()
    scores, ages, rng = dataset.scores_of(pairs), dataset.ages_of(pairs), np.random.default_rng([config["seed"], 7])

    def values(ages: np.ndarray, half_life: int) -> Values:
        rows = weighted_rows(pairs, scores, ages, recency=half_life).collected
        return evaluate_warm(rows, item_emb, dataset, "valid", config, auc=metric == "AUC")[metric]

    users = users_of(pairs)
    others = [shuffled(ages, users, rng) for _ in range(SHUFFLES)]
    return Rankings(
        dict.fromkeys(HALF_LIVES, values(ages, 0)),
        {half_life: values(ages, half_life) for half_life in HALF_LIVES},
        {half_life: np.mean([values(each, half_life) for each in others], axis=0) for half_life in HALF_LIVES},
    )


def shuffled(values: np.ndarray, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return values (n,) in random order within each user, whose rows are next to each other."""
    return values[np.lexsort((rng.random(len(values)), users))]


def gains(ours: dict[int, Values], theirs: dict[int, Values]) -> Gains:
    """Compare rankings of the same users: half-life -> their metrics."""
    differences = {half_life: values - theirs[half_life] for half_life, values in ours.items()}
    return Gains(
        {half_life: float(np.nanmean(values)) for half_life, values in differences.items()},
        holm({half_life: p_over_users(values[None]) for half_life, values in differences.items()}),
    )


def table(found: Rankings, metric: str) -> str:
    """Lay the rankings out in Markdown, a line for each half-life."""
    by_order, by_age = gains(found.ordered, found.shuffled), gains(found.ordered, found.plain)
    lines = [["half-life, titles", f"{metric} in order", "shuffled", "gain of order", "p", "gain over as it is", "p"]]
    for half_life, ordered in found.ordered.items():
        cells = [f"{np.nanmean(values):.4f}" for values in (ordered, found.shuffled[half_life])]
        cells += [cell for each in (by_order, by_age) for cell in gain_and_p(each.mean[half_life], each.p[half_life])]
        lines.append([str(half_life), *cells])
    lines.insert(1, ["row as it is", f"{np.nanmean(found.plain[HALF_LIVES[0]]):.4f}", *[""] * 5])
    return markdown(lines)


def conclusion(found: Rankings, metric: str) -> str:
    """Say in a sentence what order tells."""
    by_order, by_age = gains(found.ordered, found.shuffled), gains(found.ordered, found.plain)
    best = max(found.ordered, key=lambda half_life: np.nanmean(found.ordered[half_life]))
    over = f"{by_order.mean[best]:+.4f} over the same weights shuffled"
    if by_order.any_significant(1) and by_age.is_significant(best) and by_age.mean[best] > 0:
        return (
            f"Order tells: with a half-life of {best} titles {metric} is {np.nanmean(found.ordered[best]):.4f}, "
            f"{by_age.mean[best]:+.4f} over the row as it is and {over}."
        )
    if by_order.any_significant(1):
        return f"Order tells a little ({over}), but weights by age are no better than the row as it is."
    if by_order.any_significant(-1):
        return "Order does not help: the newest titles tell less of the next ones than others of the user's do."
    return f"Order tells nothing: at no half-life are titles in order better than shuffled (p < {LEVEL})."


def main() -> None:
    """Run the command line."""
    _, overrides = FLAGS.read()
    config = get_config(overrides)
    dataset, metric = load_dataset(config), config["early_stop_metric"]
    facts = time_facts(dataset)
    log.info(
        f"{facts['timed']:.1%} of rows have a time, {facts['most common']:.1%} the same one; {facts['ordered']:.1%} of "
        f"users with two train rows have an order; {facts['tied']:.1%} of train rows share their time with another one "
        "of the user's"
    )
    if not dataset.has_order:
        log.info("Order tells nothing: nobody has train rows of different times.")
        return
    if dataset.facts["split"] not in TIME_SPLITS:
        log.info(f"split {dataset.facts['split']} does not ask for later titles; give --split user_time")
    found = rankings(dataset, config)
    log.info(f"\n{table(found, metric)}\n\n{conclusion(found, metric)}")


if __name__ == "__main__":
    sys.exit(run_script(main))
