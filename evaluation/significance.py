"""Statistics over runs: means and deviations, and whether a difference would hold for other users and other runs."""

import itertools
from collections.abc import Hashable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.stats import t as student_t
from scipy.stats import ttest_1samp

Name = TypeVar("Name", bound=Hashable)


def paired_test(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[float, float | None]:
    """Test the runs of a row against those of another row with the same seeds.

    Users and runs (their splits and their training) are both random samples, and a difference counts only if it would
    hold for another sample of either. A test over users alone mistakes the luck of one training for an effect: given
    two rows with the same settings it finds a difference in half of the cases where training varies much.

    Args:
        ours, theirs: a comparison.json each run; "user_test" maps a user to the metric.

    Returns:
        As t_test.

    Raises:
        ValueError: the runs do not test the same users.
    """
    return t_test(user_differences(user_values(ours), user_values(theirs)))


def t_test(differences: np.ndarray) -> tuple[float, float | None]:
    """Test whether differences are other than 0 on average, over users and over runs.

    Args:
        differences: (n_runs, n_users), as from user_differences.

    Returns:
        The mean difference over users, each averaged over the runs that test them, and p of a two-sided t-test whose
        variance is that over users plus that over runs, with the degrees of freedom of Welch and Satterthwaite; p is
        None for a single run (or user), which does not show how much runs vary.

    Source:
        Clark 1973, The language-as-fixed-effect fallacy (min F', here as t).
    """
    differences = differences[~np.isnan(differences).all(axis=1)]
    if not differences.size:
        return 0.0, None
    of_users, of_runs = mean_by_user(differences), np.nanmean(differences, axis=1)
    gain = float(of_users.mean())
    if min(len(of_runs), len(of_users)) < 2:
        return gain, None
    parts = [sample.var(ddof=1) / len(sample) for sample in (of_users, of_runs)]
    if not sum(parts):
        return gain, 1.0 if gain == 0 else 0.0
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(of_users) - 1) + parts[1] ** 2 / (len(of_runs) - 1))
    return gain, float(2 * student_t.sf(abs(gain) / sum(parts) ** 0.5, freedom))


def p_over_users(differences: np.ndarray) -> float | None:
    """Return p of a t-test over users alone, which takes the luck of a training for an effect; see paired_test."""
    of_users = mean_by_user(differences) if differences.size else np.array([])
    if len(of_users) < 2:
        return None
    return float(ttest_1samp(of_users, 0).pvalue) if of_users.any() else 1.0


def user_values(runs: list[dict[str, Any]], of: str = "user_test") -> pd.DataFrame:
    """Return the metric of each user in each run: (n_runs, n_users), a column a user, NaN where a run tests no such.

    Args:
        runs: a comparison.json each.
        of: its key that maps a user to the metric: "user_test", or "user_liked", of users with a liked test pair.
    """
    return pd.DataFrame([run[of] for run in runs], dtype=float)


def user_differences(ours: pd.DataFrame, theirs: pd.DataFrame) -> np.ndarray:
    """Return how much better each user's metric is in our runs than in theirs: (n_runs, n_users), NaN as there.

    Raises:
        ValueError: the runs do not test the same users.
    """
    theirs = theirs.reindex(columns=ours.columns)
    if len(ours) != len(theirs) or (ours.isna().to_numpy() != theirs.isna().to_numpy()).any():
        raise ValueError("the runs of two rows test different users; give both rows the same seeds, data and split")
    return (ours - theirs).to_numpy()


def mean_by_user(differences: np.ndarray) -> np.ndarray:
    """Average each user's value over the runs that have it: (n_runs, n_users) -> (n_users,)."""
    return np.nanmean(differences, axis=0)


def holm(p_values: dict[Name, float | None]) -> dict[Name, float | None]:
    """Correct p values for their number: name -> p, in the order given; None stays None.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    tested = sorted(((p, name) for name, p in p_values.items() if p is not None), key=lambda found: found[0])
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
