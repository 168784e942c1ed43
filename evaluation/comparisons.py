"""The rows of a comparison: their means over seeds, how each differs from the others, and every figure of each run."""

import itertools
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any

from evaluation.baselines import BASELINES
from evaluation.significance import holm, spread, t_test, user_differences, user_values

Row = dict[str, Any]  # of results.json
Result = dict[str, Any]  # metrics.json and comparison.json of a run, and its "folder"

SUMMARISED = ("valid", "warm", "test", "listed", "cold", "groups", "beyond", "train_s")
# what runs have as well on data with rates, and on those where titles belong to franchises
FURTHER = ("rated", "valid_rated", "franchises")
# what is tested beside all pairs: the name of a kind of pair -> a run's key of each user's NDCG of these
KINDS = {"liked": "user_liked", "discovery": "user_discovery"}


def summary(tag: str, settings: dict[str, Any], runs: list[Result]) -> Row:
    """Summarise the runs of a row over seeds.

    Returns:
        {"tag", "overrides", "encoder", "folders", "epochs", "points", "n_seeds", "n_splits"}, and each of SUMMARISED,
        and "fit_s" (see fit_seconds) and FURTHER where they are known, as in a run's metrics.json with {"mean", "sd"}
        for every number; sd is over seeds, with n - 1, and 0 for one seed. With a split by time, n_splits is 1 for any
        n_seeds.
    """
    seconds = [second for run in runs if (second := fit_seconds(run)) is not None]
    return {
        "tag": tag,
        "overrides": settings,
        "encoder": runs[0]["encoder"]["used"],
        "n_seeds": len(runs),
        "n_splits": len({run["data"]["fingerprint"] for run in runs}),
        "folders": [run["folder"] for run in runs],
        "epochs": [run["epoch"] for run in runs],
        "points": [run.get("point", {}) for run in runs],
        **{key: spread([run[key] for run in runs]) for key in SUMMARISED},
        **{key: spread([run[key] for run in runs]) for key in FURTHER if all(key in run for run in runs)},
        **({"fit_s": spread(seconds)} if seconds else {}),
    }


def fit_seconds(run: Result) -> float | None:
    """Return the wall seconds from data and text vectors to final vectors, of a baseline those of its whole grid.

    None for a run whose metrics.json was written again by --mode inference.
    """
    return run.get("timing", {}).get("fit_s", run["train_s"] if "point" in run else None)


def best_baseline(rows: list[Row]) -> str | None:
    """Name the baseline with the best NDCG on valid at the largest cut-off; None without a baseline or a valid part."""
    known = [(row["valid"][largest_ndcg(row["valid"])]["mean"], row["tag"]) for row in rows if row["tag"] in BASELINES]
    best = max(known, key=lambda found: found[0], default=(0, None))
    return best[1] if best[0] > 0 else None


def without_text(tag: str, tags: Iterable[str]) -> str | None:
    """Name the row without text of the same fusion_mode as a row such as sum-item; None where there is none."""
    fusion_mode, _, text = tag.partition("-")
    reference = f"{fusion_mode}-none"
    return reference if text in ("user", "item", "both") and reference in tags else None


def add_p_values(rows: list[Row], results: dict[str, list[Result]], against: str | None = None) -> None:
    """Test each row against the row without text of the same fusion_mode, against a rival, and against all others.

    Args:
        rows: as from summary; "gain" and "p" (against the row without text), "rival", "gain_rival" and "p_rival", and
            "against" are added to each. Both p are corrected by Holm's method over all pairs that are tested so;
            "against" maps every other row to {"gain", "p_uncorrected", "p_all_pairs"}, the last corrected over all
            pairs of rows. Each p is that of significance.t_test: None for a single run a row. For those of KINDS
            that all runs know, as "liked", the same two gains and p are added by NDCG of these pairs, corrected among
            themselves.
        results: tag -> runs, of the same rows.
        against: the row that is the rival; the best baseline on valid unless given.
    """
    rival = against or best_baseline(rows)
    asked = {
        row["tag"]: {"": without_text(row["tag"], results), "_rival": rival if rival != row["tag"] else None}
        for row in rows
    }
    tests = _all_pairs(results, "user_test")
    p_all, shown = holm({pair: p for pair, (_, _, p) in tests.items()}), _gains_and_p(tests, asked)
    of_kinds = {
        kind: _gains_and_p(_all_pairs(results, key), asked)
        for kind, key in KINDS.items()
        if all(run.get(key) for runs in results.values() for run in runs)
    }
    for row in rows:
        tag = row["tag"]
        row |= {"rival": rival, **shown[tag], **{kind: found[tag] for kind, found in of_kinds.items()}}
        row["against"] = {
            other: {"gain": _gain(tests, tag, other), "p_uncorrected": tests[pair][2], "p_all_pairs": p_all[pair]}
            for other in results
            if other != tag and (pair := frozenset((tag, other)))
        }


Tests = dict[frozenset[str], tuple[str, float, float | None]]  # two rows -> the first, how far it is ahead, p


def _all_pairs(results: dict[str, list[Result]], of: str) -> Tests:
    """Test every pair of rows by a value of each user; see significance.user_values."""
    values = {tag: user_values(runs, of) for tag, runs in results.items()}
    return {
        frozenset(pair): (pair[0], *t_test(user_differences(*(values[tag] for tag in pair))))
        for pair in itertools.combinations(values, 2)
    }


def _gain(tests: Tests, tag: str, other: str) -> float:
    first, found, _ = tests[frozenset((tag, other))]
    return found if first == tag else -found


def _gains_and_p(tests: Tests, asked: dict[str, dict[str, str | None]]) -> dict[str, dict[str, float | None]]:
    """Return each row's gain over some others, and p, corrected by Holm's method over all pairs that are asked for.

    Args:
        tests: of all pairs.
        asked: tag -> ending of a key -> the other row, or None.

    Returns:
        tag -> "gain" and "p" with each ending, None without another row.
    """
    pairs = {frozenset((tag, other)) for tag, others in asked.items() for other in others.values() if other}
    p = holm({pair: tests[pair][2] for pair in tests if pair in pairs})
    return {
        tag: {
            key: value
            for name, other in others.items()
            for key, value in (
                (f"gain{name}", _gain(tests, tag, other) if other else None),
                (f"p{name}", p[frozenset((tag, other))] if other else None),
            )
        }
        for tag, others in asked.items()
    }


def every_figure(results: dict[str, list[Result]]) -> list[tuple[str, int, int, str, str, float]]:
    """List every figure of every run: row, seed, split_seed, part (such as cold.among_all), metric and value."""
    return [
        (tag, run["seed"], run["split_seed"], ".".join(path) or "run", metric, value)
        for tag, runs in results.items()
        for run in runs
        for path, metric, value in _figures(_figures_of(run))
    ]


def _figures_of(run: Result) -> dict[str, Any]:
    found = {key: run[key] for key in (*SUMMARISED, *FURTHER, "cold_valid", "epoch") if key in run}
    return {**found, "fit_s": seconds} if (seconds := fit_seconds(run)) is not None else found


def _figures(found: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, float]]:
    """Walk through nested dicts of numbers: the keys above a number, its own, and the number."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from _figures(value, (*path, key))
        else:
            yield path, key, value


def largest_ndcg(keys: Iterable[str]) -> str:
    """Name the NDCG with the largest cut-off among the keys of metrics."""
    return max((key for key in keys if key.startswith("NDCG@")), key=lambda key: int(key.split("@")[1]))


def figure_at(row: Row, *path: str) -> dict[str, Any]:
    """Return what a path of keys leads to, empty where there is nothing."""
    return reduce(lambda found, key: found.get(key, {}), path, row)
