"""Statistics over runs: means and deviations, and whether a difference would be there with other users and runs."""

from typing import Any

import numpy as np
from scipy.stats import t as student_t


def paired_test(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[float, float | None]:
    """Test the runs of a row against those of another with the same seeds, as of comparison.

    Both the users and the runs (their splits and their training) are drawn from many, and a difference counts only if
    it would be there with others of either. A test over users alone takes the luck of a training for an effect: of
    two rows with the same settings it finds a difference in half of the cases where training varies much.

    Returns:
        The mean difference over users, each averaged over the runs that test him, and p of a two-sided t-test whose
        variance is that over users plus that over runs, with the degrees of freedom of Welch and Satterthwaite; None
        for a single run (or user), which does not tell how much runs vary.

    Source:
        Clark 1973, The language-as-fixed-effect fallacy (min F', here as t).
    """
    runs = [
        np.array([value - other["user_test"][user] for user, value in one["user_test"].items()])
        for one, other in zip(ours, theirs, strict=True)
    ]
    differences: dict[str, list[float]] = {}
    for one, values in zip(ours, runs, strict=True):
        for user, value in zip(one["user_test"], values.tolist(), strict=True):
            differences.setdefault(user, []).append(value)
    of_users = np.array([np.mean(values) for values in differences.values()])
    gain = float(of_users.mean())
    if min(len(runs), len(of_users)) < 2:
        return gain, None
    samples = [of_users, np.array([values.mean() for values in runs])]
    parts = [sample.var(ddof=1) / len(sample) for sample in samples]
    if not sum(parts):
        return gain, 1.0 if gain == 0 else 0.0
    freedom = sum(parts) ** 2 / sum(part**2 / (len(sample) - 1) for part, sample in zip(parts, samples, strict=True))
    return gain, float(2 * student_t.sf(abs(gain) / sum(parts) ** 0.5, freedom))


def holm(p_values: dict[str, float | None]) -> dict[str, float | None]:
    """Correct p values for their number: name -> p, in the order given; None stays None.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    tested = {name: p for name, p in p_values.items() if p is not None}
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(tested, key=tested.get)):
        largest = max(largest, min(1.0, (len(tested) - rank) * tested[name]))
        corrected[name] = largest
    return {name: corrected.get(name) for name in p_values}


def spread(values: list[Any]) -> Any:
    """Turn dicts of numbers, one a run, into a dict of {"mean", "sd"}; dicts may be nested.

    A number that some runs lack, such as the metrics of a group that is empty there, is that of the others.
    """
    if isinstance(values[0], dict):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: spread([value[key] for value in values if key in value]) for key in keys}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
