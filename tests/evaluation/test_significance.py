"""Holm's correction and the paired test over users and runs."""

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import ttest_1samp

from evaluation.significance import holm, paired_test
from run_ablation import add_p_values
from tests.helpers.ablations import run_of, runs_of

# --- Holm ---


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.2], [0.2]),
        ([0.5, 0.4], [0.8, 0.8]),
        ([0.6, 0.7, 0.9], [1.0, 1.0, 1.0]),
        ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
        ([0.02, 0.001, 0.9], [0.04, 0.003, 0.9]),
        ([None, 0.01, None, 0.04], [None, 0.02, None, 0.04]),
        ([None, None], [None, None]),
        ([], []),
    ],
)
def test_holm_by_hand(given: list[float | None], corrected: list[float | None]) -> None:
    names = "dcba"[: len(given)]
    found = holm(dict(zip(names, given, strict=True)))
    assert list(found) == list(names)
    assert list(found.values()) == pytest.approx(corrected)


# --- the paired test ---


def clark(differences: np.ndarray) -> float:
    """Compute p of min F' from the two F values over users and over runs, as Clark 1973 gives it."""
    n_runs, n_users = differences.shape
    over_users, over_runs = (ttest_1samp(differences.mean(axis=axis), 0).statistic ** 2 for axis in (0, 1))
    freedom = (over_users + over_runs) ** 2 / (over_users**2 / (n_runs - 1) + over_runs**2 / (n_users - 1))
    return float(f_distribution.sf(over_users * over_runs / (over_users + over_runs), 1, freedom))


@pytest.mark.parametrize(("n_runs", "n_users"), [(2, 30), (3, 30), (5, 4)])
def test_paired_test_takes_users_and_runs_as_random(n_runs: int, n_users: int) -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random((n_runs, n_users))
    differences = 0.3 + rng.normal(size=(n_runs, 1)) / 5 + rng.normal(size=(n_runs, n_users)) / 3
    gain, p = paired_test(runs_of(theirs + differences), runs_of(theirs))
    assert gain == pytest.approx(differences.mean())
    assert p == pytest.approx(clark(differences))


def test_a_single_run_does_not_tell_how_much_runs_vary() -> None:
    ours, theirs = np.random.default_rng(0).random((2, 1, 30))
    users = [f"u{number}" for number in range(30)]
    shuffled = [run_of(0, dict(zip(users[::-1], theirs[0, ::-1].tolist(), strict=True)))]
    gain, p = paired_test(runs_of(ours), shuffled)
    assert gain == pytest.approx((ours - theirs).mean())
    assert p is None


def test_paired_test_averages_a_user_over_the_seeds_that_test_him() -> None:
    ours = [{"a": 0.9, "b": 0.5, "c": 0.3}, {"a": 0.5, "b": 0.1, "d": 1.0}]
    theirs = [{"a": 0.1, "b": 0.4, "c": 0.2}, {"a": 0.3, "b": 0.3, "d": 0.5}]
    gain, p = paired_test([run_of(0, one) for one in ours], [run_of(0, one) for one in theirs])
    of_users, of_runs = [(0.8 + 0.2) / 2, (0.1 - 0.2) / 2, 0.1, 0.5], [(0.8 + 0.1 + 0.1) / 3, (0.2 - 0.2 + 0.5) / 3]
    assert gain == pytest.approx(np.mean(of_users))
    parts = np.var(of_users, ddof=1) / 4, np.var(of_runs, ddof=1) / 2
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 1)
    assert p == pytest.approx(f_distribution.sf(gain**2 / sum(parts), 1, freedom))


@pytest.mark.parametrize("n_runs", [2, 3])
def test_rows_that_do_not_differ_have_a_p_of_one(n_runs: int) -> None:
    same = [run_of(0, {"a": 0.5, "b": 0.25})] * n_runs
    assert paired_test(same, same) == (0.0, 1.0)


def test_rows_that_differ_by_the_same_everywhere_have_a_p_of_zero() -> None:
    assert paired_test(runs_of(np.full((2, 3), 0.75)), runs_of(np.full((2, 3), 0.5))) == (0.25, 0.0)


@pytest.mark.slow
def test_of_two_rows_with_the_same_settings_few_differ() -> None:
    """An A/A test of 3 runs a row, whose luck outweighs what a mean over 200 users leaves of theirs.

    A test over users alone takes that luck for an effect: it is the same for every user.
    """
    rng, n_pairs, alarms = np.random.default_rng(0), 300, {"ours": 0, "over users": 0}
    for _ in range(n_pairs):
        values = (
            rng.normal(scale=0.2, size=(1, 1, 200))
            + rng.normal(scale=0.02, size=(2, 3, 1))
            + rng.normal(scale=0.1, size=(2, 3, 200))
        )  # a user's own, a run's luck, and the rest
        alarms["ours"] += paired_test(*map(runs_of, values))[1] < 0.05
        alarms["over users"] += ttest_1samp((values[0] - values[1]).mean(axis=0), 0).pvalue < 0.05
    assert alarms["ours"] <= 0.07 * n_pairs
    assert alarms["over users"] > 0.4 * n_pairs


def test_a_real_effect_is_found() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(50):
        values = rng.normal(scale=0.2, size=(1, 1, 400)) + rng.normal(scale=0.1, size=(2, 3, 400))
        values[0] += 0.05
        found.append(paired_test(*map(runs_of, values))[1] < 0.05)
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("n_runs", [1, 3])
def test_rows_are_tested_against_their_fusion_without_text(n_runs: int) -> None:
    rng = np.random.default_rng(1)
    values = {
        tag: rng.random((n_runs, 20))
        for tag in ("popularity", "sum-none", "sum-item", "concat-none", "concat-both", "bpr-svd-drop0-lsa")
    }
    rows = [{"tag": tag} for tag in values]
    add_p_values(rows, {tag: runs_of(of_row) for tag, of_row in values.items()})
    found = {row["tag"]: (row["gain"], row["p"]) for row in rows}
    differences = {tag: values[tag] - values[f"{tag.split('-')[0]}-none"] for tag in ("sum-item", "concat-both")}
    tested = {tag: clark(of_row) if n_runs > 1 else None for tag, of_row in differences.items()}
    for tag, p in holm(tested).items():
        assert found[tag] == pytest.approx((differences[tag].mean(), p))
    assert [found[tag] for tag in found if tag not in tested] == [(None, None)] * 4
