"""The rows of a comparison: their means over seeds, how each differs from the others, and every figure of each run."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from evaluation.baselines import BASELINES
from evaluation.significance import holm, spread, t_test, user_differences, user_values

Row = dict[str, Any]  # of results.json
Result = dict[str, Any]  # metrics.json and comparison.json of a run, and its "folder"

SUMMARISED = ("valid", "warm", "test", "listed", "cold", "groups", "beyond", "train_s")


def summary(tag: str, settings: dict[str, Any], runs: list[Result]) -> Row:
    """Summarise the runs of a row over seeds.

    Returns:
        {"tag", "overrides", "encoder", "folders", "epochs", "points", "n_seeds", "n_splits"}, and each of SUMMARISED,
        and "fit_s" (see fit_seconds) where it is known, as in a run's metrics.json with {"mean", "sd"} for every
        number; sd is over seeds, with n - 1, and 0 for one seed. With a split by time, n_splits is 1 for any n_seeds.
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
            pairs of rows. Each p is that of significance.t_test: None for a single run a row.
        results: tag -> runs, of the same rows.
        against: the row that is the rival; the best baseline on valid unless given.
    """
    tests = _all_pairs(results)
    rival = against or best_baseline(rows)
    shown = {
        row["tag"]: {"": without_text(row["tag"], results), "_rival": rival if rival != row["tag"] else None}
        for row in rows
    }
    pairs = {frozenset((tag, other)) for tag, asked in shown.items() for other in asked.values() if other}
    p_shown = holm({pair: tests[pair][2] for pair in tests if pair in pairs})
    p_all = holm({pair: p for pair, (_, _, p) in tests.items()})

    def gain(tag: str, other: str) -> float:
        first, found, _ = tests[frozenset((tag, other))]
        return found if first == tag else -found

    for row in rows:
        tag = row["tag"]
        row["rival"] = rival
        for name, other in shown[tag].items():
            row[f"gain{name}"] = gain(tag, other) if other else None
            row[f"p{name}"] = p_shown[frozenset((tag, other))] if other else None
        row["against"] = {
            other: {"gain": gain(tag, other), "p_uncorrected": tests[pair][2], "p_all_pairs": p_all[pair]}
            for other in results
            if other != tag and (pair := frozenset((tag, other)))
        }


def _all_pairs(results: dict[str, list[Result]]) -> dict[frozenset[str], tuple[str, float, float | None]]:
    """Test every pair of rows: the pair -> the first of the two, by how much it is ahead, and p."""
    values = {tag: user_values(runs) for tag, runs in results.items()}
    return {
        frozenset(pair): (pair[0], *t_test(user_differences(*(values[tag] for tag in pair))))
        for pair in itertools.combinations(values, 2)
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
    found = {key: run[key] for key in (*SUMMARISED, "cold_valid", "epoch") if key in run}
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
