"""Holm's correction and the paired test over users and runs."""

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import ttest_1samp

from evaluation.baselines import BASELINES
from evaluation.comparisons import add_p_values, best_baseline, summary
from evaluation.significance import holm, p_over_users, paired_test, user_differences, user_values
from evaluation.tables import p_text
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


def test_rows_that_test_different_users_are_refused() -> None:
    ours = [run_of(0, {"a": 0.5, "b": 0.25}), run_of(0, {"a": 0.5})]
    for theirs in (ours[::-1], ours[:1], [run_of(0, {"a": 0.5}), run_of(0, {"a": 0.1})]):
        with pytest.raises(ValueError, match="same seeds, data and split"):
            paired_test(ours, theirs)


def test_a_run_that_tests_nobody_has_no_say() -> None:
    values = np.random.default_rng(0).random((2, 9))
    ours, theirs = ([*runs_of(row), run_of(0, {})] for row in (values, values - 0.1))
    assert paired_test(ours, theirs) == pytest.approx(paired_test(ours[:2], theirs[:2]))
    assert paired_test([run_of(0, {})] * 2, [run_of(0, {})] * 2) == (0.0, None)


def test_over_users_alone_it_is_a_t_test() -> None:
    ours, theirs = np.random.default_rng(0).random((2, 2, 30))
    differences = user_differences(*(user_values(runs_of(values)) for values in (ours, theirs)))
    assert p_over_users(differences) == pytest.approx(ttest_1samp((ours - theirs).mean(axis=0), 0).pvalue)
    assert p_over_users(0 * differences) == 1.0
    assert p_over_users(differences[:, :1]) is None


@pytest.mark.slow
def test_three_runs_of_rows_alike_have_a_tiny_p_more_often_than_it_says() -> None:
    """Which is why no p below 0.001 is printed: at 0.001 the test of three runs is off by an order of magnitude."""
    rng, found = np.random.default_rng(0), []
    for _ in range(1500):
        values = rng.normal(scale=0.02, size=(2, 3, 1)) + rng.normal(scale=0.1, size=(2, 3, 100))
        found.append(paired_test(*map(runs_of, values))[1])
    assert 0.004 < np.mean(np.array(found) < 0.001) < 0.03
    assert np.mean(np.array(found) < 0.05) < 0.08


# --- which rows are tested ---


def made_rows(values: dict[str, np.ndarray], valid: dict[str, float] | None = None) -> tuple[list, dict]:
    """Make up rows of these values (n_runs, n_users), and of these figures on valid."""
    results = {tag: runs_of(of_row) for tag, of_row in values.items()}
    for tag, figure in (valid or {}).items():
        results[tag] = [{**run, "valid": {"NDCG@10": 1 - figure, "NDCG@20": figure}} for run in results[tag]]
    return [summary(tag, {}, runs) for tag, runs in results.items()], results


TAGS = ("popularity", "ease", "sum-none", "sum-item", "concat-none", "concat-both", "bpr-svd-drop0-lsa")
VALID = {"popularity": 0.2, "ease": 0.1}  # of which ease is far ahead on test


@pytest.mark.parametrize("n_runs", [1, 3])
@pytest.mark.parametrize("against", [None, "sum-none"])
def test_rows_are_tested_against_their_fusion_without_text_and_a_rival(n_runs: int, against: str | None) -> None:
    rng = np.random.default_rng(1)
    values = {tag: rng.random((n_runs, 20)) + 0.2 * (tag == "ease") for tag in TAGS}
    rows, results = made_rows(values, VALID)
    add_p_values(rows, results, against)
    rival, by_tag = against or "popularity", {row["tag"]: row for row in rows}
    text = {"sum-item": "sum-none", "concat-both": "concat-none"}
    asked = {(tag, "p"): other for tag, other in text.items()}
    asked |= {(tag, "p_rival"): rival for tag in TAGS if tag != rival}
    tested = {
        (tag, other): clark(values[tag] - values[other]) if n_runs > 1 else None
        for (tag, _), other in asked.items()  # sum-item against sum-none is one test, in whichever column it stands
    }
    corrected = holm(tested)
    for tag, row in by_tag.items():
        assert row["rival"] == rival
        for column, gain in (("p", "gain"), ("p_rival", "gain_rival")):
            other = asked.get((tag, column))
            expected = (values[tag] - values[other]).mean() if other else None
            assert row[gain] == (pytest.approx(expected) if other else None)
            assert row[column] == (pytest.approx(corrected[tag, other]) if other else None)


@pytest.mark.parametrize("n_runs", [1, 3])
def test_what_was_liked_has_a_family_of_its_own(n_runs: int) -> None:
    """Users without a liked pair are in no test of it, and the p of all pairs are as they were."""
    rng = np.random.default_rng(4)
    tags = ("popularity", "sum-none", "sum-item")
    values, liked = ({tag: rng.random((n_runs, 20)) for tag in tags} for _ in range(2))
    for of_row in liked.values():
        of_row[:, 7:12] = np.nan
    rows, results = made_rows(values, {"popularity": 0.2})
    add_p_values(rows, results)
    assert not any("liked" in row for row in rows)
    with_liked = [dict(row) for row in rows]
    runs = {tag: runs_of(values[tag], liked[tag]) for tag in tags}
    add_p_values(with_liked, runs, "popularity")
    pairs = (("sum-item", "sum-none", ""), ("sum-none", "popularity", "_rival"), ("sum-item", "popularity", "_rival"))
    kept = {tag: np.delete(liked[tag], range(7, 12), axis=1) for tag in tags}
    corrected = holm({(a, b): clark(kept[a] - kept[b]) if n_runs > 1 else None for a, b, _ in pairs})
    by_tag = {row["tag"]: row["liked"] for row in with_liked}
    for tag, other, name in pairs:
        assert by_tag[tag][f"gain{name}"] == pytest.approx((kept[tag] - kept[other]).mean())
        assert by_tag[tag][f"p{name}"] == (pytest.approx(corrected[tag, other]) if n_runs > 1 else None)
    assert by_tag["popularity"] == {"gain": None, "p": None, "gain_rival": None, "p_rival": None}
    for row, before in zip(with_liked, rows, strict=True):
        assert {key: row[key] for key in before} == before
    add_p_values(with_liked, {**runs, "sum-none": results["sum-none"]})  # a run of before they were measured


def test_every_pair_of_rows_has_its_p() -> None:
    rng = np.random.default_rng(1)
    values = {tag: rng.random((3, 20)) for tag in TAGS}
    rows, results = made_rows(values)
    add_p_values(rows, results)
    alone = {frozenset((a, b)): clark(values[a] - values[b]) for a in TAGS for b in TAGS if a < b}
    corrected = holm(alone)
    for row in rows:
        assert list(row["against"]) == [tag for tag in TAGS if tag != row["tag"]]
        for other, found in row["against"].items():
            pair = frozenset((row["tag"], other))
            gain = (values[row["tag"]] - values[other]).mean()
            assert list(found.values()) == pytest.approx([gain, alone[pair], corrected[pair]])


def test_the_rival_is_the_best_baseline_on_valid_and_never_one_by_test() -> None:
    values = {tag: np.full((2, 3), 0.9 if tag == "ease" else 0.1) for tag in TAGS}
    rows, _ = made_rows(values, VALID | {"sum-item": 0.8})
    assert best_baseline(rows) == "popularity"
    rows, _ = made_rows(values, dict.fromkeys(values, 0.0))  # no valid part, by which nothing can be chosen
    assert best_baseline(rows) is None
    rows, results = made_rows(
        {tag: of_row for tag, of_row in values.items() if tag not in BASELINES}, {"sum-none": 1.0}
    )
    add_p_values(rows, results)
    assert {(row["rival"], row["p_rival"]) for row in rows} == {(None, None)}


@pytest.mark.slow
def test_a_table_of_rows_alike_seldom_has_anything_significant() -> None:
    """Whole tables: Holm's correction holds over all columns of p, so that few tables have a single false p < 0.05."""
    rng, wrong, n_tables = np.random.default_rng(2), 0, 150
    for _ in range(n_tables):
        values = {
            tag: 0.5 + rng.normal(scale=0.02, size=(5, 1)) + rng.normal(scale=0.1, size=(5, 60))
            for tag in ("popularity", "sum-none", "sum-user", "sum-item", "sum-both")
        }
        rows, results = made_rows(values, {"popularity": 0.5})
        add_p_values(rows, results)
        wrong += any(p is not None and p < 0.05 for row in rows for p in (row["p"], row["p_rival"]))
    assert wrong <= 0.08 * n_tables


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, ""), (0.0, "< 0.001"), (1e-21, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (1, "1.000")],
)
def test_no_p_is_printed_below_its_floor(p: float | None, text: str) -> None:
    assert p_text(p) == text
