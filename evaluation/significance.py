"""Statistics over runs: means and deviations, and whether a difference would hold for other users and other runs."""

import itertools
from typing import Any

import numpy as np
from scipy.stats import t as student_t


def paired_test(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[float, float | None]:
    """Test the runs of a row against those of another row with the same seeds.

    Users and runs (their splits and their training) are both random samples, and a difference counts only if it would
    hold for another sample of either. A test over users alone mistakes the luck of one training for an effect: given
    two rows with the same settings it finds a difference in half of the cases where training varies much.

    Args:
        ours, theirs: a comparison.json each run; "user_test" maps a user to the metric.

    Returns:
        The mean difference over users, each averaged over the runs that test them, and p of a two-sided t-test whose
        variance is that over users plus that over runs, with the degrees of freedom of Welch and Satterthwaite; p is
        None for a single run (or user), which does not show how much runs vary.

    Source:
        Clark 1973, The language-as-fixed-effect fallacy (min F', here as t).
    """
    runs = user_differences(ours, theirs)
    of_users, of_runs = mean_by_user(runs), np.array([np.mean(list(run.values())) for run in runs])
    gain = float(of_users.mean())
    if min(len(of_runs), len(of_users)) < 2:
        return gain, None
    parts = [sample.var(ddof=1) / len(sample) for sample in (of_users, of_runs)]
    if not sum(parts):
        return gain, 1.0 if gain == 0 else 0.0
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(of_users) - 1) + parts[1] ** 2 / (len(of_runs) - 1))
    return gain, float(2 * student_t.sf(abs(gain) / sum(parts) ** 0.5, freedom))


def user_differences(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return how much better each user's metric is in our runs than in theirs: user -> difference, a dict a run."""
    pairs = [(one["user_test"], other["user_test"]) for one, other in zip(ours, theirs, strict=True)]
    return [{user: value - other[user] for user, value in one.items()} for one, other in pairs]


def mean_by_user(runs: list[dict[str, float]]) -> np.ndarray:
    """Average each user's value over the runs that have them: (n,), users in order of first appearance."""
    users = dict.fromkeys(user for run in runs for user in run)
    return np.array([np.mean([run[user] for run in runs if user in run]) for user in users])


def holm(p_values: dict[str, float | None]) -> dict[str, float | None]:
    """Correct p values for their number: name -> p, in the order given; None stays None.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    tested = sorted((p, name) for name, p in p_values.items() if p is not None)
    scaled = [min(1.0, (len(tested) - rank) * p) for rank, (p, _) in enumerate(tested)]
    corrected = dict(zip((name for _, name in tested), itertools.accumulate(scaled, max), strict=True))
    return {name: corrected.get(name) for name in p_values}


def spread(values: list[Any]) -> Any:
    """Turn dicts of numbers, one a run, into a dict of {"mean", "sd"}; dicts may be nested.

    A number that some runs lack, such as the metrics of a group that is empty there, is that of the others.
    """
    if isinstance(values[0], dict):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: spread([value[key] for value in values if key in value]) for key in keys}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
