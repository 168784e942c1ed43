"""Finished runs as rows of a comparison: what is read from their folders, which are seeds of one row, which pair up."""

import math
import os
import re
from pathlib import Path
from typing import Any

from config import CONFIG, METRIC_NAMES, trained_settings
from evaluation.comparisons import FURTHER, KINDS, Result, Row, largest_ndcg, summary
from evaluation.significance import holm, p_over_users, t_test, user_differences, user_values
from runtime import manifest
from runtime.identity import USER_METRICS
from runtime.safe_files import load_arrays
from web.report_files import home_of, read_json

SEEDS = ("seed", "split_seed")


def read_rows(folders: list[Path]) -> dict[str, list[Result]]:
    """Read finished runs of main.py, and the rows of ablations: label -> runs, by seed.

    Runs of main.py with the same settings on the same data are seeds of one row, unless two have the same seeds: those
    are two rows, as with two versions of the code.

    Args:
        folders: each the saved_dir of a run, or an ablation's folder, which has a results.json.

    Returns:
        Runs as of metrics.json, with "folder", "beyond", "user_test" (None where it is not known), "seed" and
        "split_seed". All have the same metrics at k: those that each of them has.

    Raises:
        ValueError: a folder holds no finished run, or the runs have no NDCG in common.
    """
    rows: dict[str, list[Result]] = {}
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    names = short_names(folders)
    for folder, name in zip(folders, names, strict=True):
        ablation = read_json(folder / "results.json")
        if isinstance(ablation, list):
            prefix = f"{name}: " if len(folders) > 1 else ""
            for row in ablation:
                rows[prefix + row["tag"]] = [read_run(home_of(folder, home)) for home in row["folders"]]
        else:
            run = read_run(folder)
            alike = [label for label in names if label in rows and is_seed_of(run, rows[label])]
            rows.setdefault(alike[0] if alike else name, []).append(run)
    ordered = {
        label: sorted(runs, key=lambda run: [seed or 0 for seed in seeds_of(run)]) for label, runs in rows.items()
    }
    return with_same_metrics(ordered)


def short_names(folders: list[Path]) -> list[str]:
    """Name each folder by its path below the deepest folder that holds all of them."""
    above = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [str(folder.relative_to(above)) for folder in folders]


def read_run(folder: Path) -> Result:
    """Read a finished run, of a refit the one that was measured."""
    metrics = read_json(folder / "metrics.json")
    if metrics is None:
        raise ValueError(
            f"{folder} holds no finished run (there is no metrics.json) and no ablation (no results.json); name the "
            "saved_dir of a run, or the folder ablation in it"
        )
    if metrics.get("config", {}).get("refit"):
        return read_run(folder / "measured")
    manifest.check(folder, "metrics.json", "history.jsonl", "id_mappings.json", USER_METRICS)
    compared = read_json(folder / "comparison.json") or {}
    asked = metrics.get("config", metrics)  # a baseline has no settings but its seed
    return {
        "train_s": 0.0,
        **metrics,
        **{key: asked.get(key) for key in SEEDS},
        "folder": str(folder),
        "beyond": compared.get("beyond", {}),
        "per_user": read_per_user(folder, compared),
    }


def read_per_user(folder: Path, compared: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Read the values of each user with a warm test pair: metric -> user -> value; of a baseline one metric's."""
    ids = read_json(folder / "id_mappings.json")
    if ids is None or not (folder / USER_METRICS).exists():
        metric = compared.get("user_metric")
        known = {metric: compared.get("user_test")}
        known |= {f"{kind} {metric}": compared.get(key) for kind, key in KINDS.items()}
        return {key: values for key, values in known.items() if values}
    arrays = load_arrays(folder / USER_METRICS)
    users = [ids["user_ids"][user] for user in arrays.pop("user_ids").tolist()]
    return {
        metric: {user: value for user, value in zip(users, values.tolist(), strict=True) if not math.isnan(value)}
        for metric, values in arrays.items()
    }


def is_seed_of(run: Result, runs: list[Result]) -> bool:
    """Tell whether a run has the settings, data and encoder of others, and seeds that none of them has."""

    def settings(one: Result) -> Any:
        # a setting that came after a run was at its default; a baseline has no settings
        asked = trained_settings({**CONFIG, **one["config"]}) if "config" in one else {"folder": _row_folder(one)}
        alike = {key: value for key, value in asked.items() if key not in SEEDS}
        return alike, one["data"].get("collected"), one["encoder"]["used"]

    return settings(run) == settings(runs[0]) and seeds_of(run) not in map(seeds_of, runs)


def _row_folder(run: Result) -> str:
    """Return the folder of an ablation's row, which has those of its further seeds in it."""
    folder = Path(run["folder"])
    return str(folder.parent if re.fullmatch(r"seed_\d+", folder.name) else folder)


def seeds_of(run: Result) -> tuple[int | None, ...]:
    """Return a run's seeds, of the model and of the split."""
    return tuple(run[key] for key in SEEDS)


def with_same_metrics(rows: dict[str, list[Result]]) -> dict[str, list[Result]]:
    """Leave out metrics that some runs lack, as those at another k, and add "user_test", of the largest NDCG."""
    runs = [run for found in rows.values() for run in found]
    shared = set.intersection(*(set(run["warm"]) for run in runs))
    if not any(key.startswith("NDCG@") for key in shared):
        raise ValueError("the runs have no NDCG at the same k; give them a common --top_k and run them again")

    def is_shared(key: str) -> bool:
        name, _, k = key.partition("@")  # figures of rates are those at the cut-offs that all runs have
        return not k or key in shared or (name not in METRIC_NAMES and f"NDCG@{k}" in shared)

    def pruned(found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        return {key: pruned(value) for key, value in found.items() if is_shared(key)}

    metric = largest_ndcg(shared)
    parts = ("valid", "warm", "test", "listed", "cold", "cold_valid", "groups", *FURTHER)
    for run in runs:
        run |= {part: pruned(run[part]) for part in parts if part in run}
        per_user = run.pop("per_user")
        run |= {"user_test": per_user.get(metric)}
        run |= {key: per_user.get(f"{kind} {metric}") for kind, key in KINDS.items()}
    return rows


def rows_against(results: dict[str, list[Result]], against: str) -> list[Row]:
    """Summarise each row, and test it against one of them by the runs that have the same data and split.

    Returns:
        As summary, with "rival", "gain_rival", "n_paired", "p_rival" (over users and runs, for two paired runs or more)
        or "p_over_users" (for a single pair), each corrected by Holm's method over the rows, and "unpaired": why a
        row could not be tested. Those of KINDS, as "liked", have the same by NDCG of these pairs, where both know the
        same ones.
    """
    rows = [{**summary(label, {}, runs), "gain": None, "p": None} for label, runs in results.items()]
    for row in rows:
        row |= {"rival": against, **_tested([], "user_test"), **{kind: _tested([], key) for kind, key in KINDS.items()}}
        if row["tag"] == against:
            continue
        pairs = paired_runs(results[row["tag"]], results[against])
        if not pairs:
            row["unpaired"] = why_unpaired(results[row["tag"]], results[against])
            continue
        row |= _tested(pairs, "user_test")
        for kind, key in KINDS.items():
            row[kind] = _tested([pair for pair in pairs if _know_the_same(*pair, key)], key)
    for tested in [{row["tag"]: row for row in rows}, *({row["tag"]: row[kind] for row in rows} for kind in KINDS)]:
        for key in ("p_rival", "p_over_users"):
            for tag, p in holm({tag: found[key] for tag, found in tested.items()}).items():
                tested[tag][key] = p
    return rows


def _tested(pairs: list[tuple[Result, Result]], of: str) -> dict[str, Any]:
    """Test our runs against theirs by a value of each user; see significance.user_values."""
    if not pairs:
        return {"n_paired": 0, "gain_rival": None, "p_rival": None, "p_over_users": None}
    differences = user_differences(*(user_values(list(runs), of) for runs in zip(*pairs, strict=True)))
    gain, p = t_test(differences)
    alone = p_over_users(differences) if p is None else None
    return {"n_paired": len(pairs), "gain_rival": gain, "p_rival": p, "p_over_users": alone}


def _know_the_same(ours: Result, theirs: Result, key: str) -> bool:
    """Tell whether two runs of one split have pairs of a kind, see KINDS, for the same users."""
    return all(run[key] for run in (ours, theirs)) and ours[key].keys() == theirs[key].keys()


def paired_runs(ours: list[Result], theirs: list[Result]) -> list[tuple[Result, Result]]:
    """Pair the runs of two rows that have the same data and split, those of one split in the order of their seeds."""

    def by_split(runs: list[Result]) -> dict[str, list[Result]]:
        known = [run for run in runs if run["user_test"] is not None]
        return {one: [run for run in known if fingerprint(run) == one] for one in map(fingerprint, known)}

    first, second = by_split(ours), by_split(theirs)
    return [pair for one in first if one in second for pair in zip(first[one], second[one], strict=False)]


def fingerprint(run: Result) -> str:
    """Return what names a run's data and split."""
    return run["data"]["fingerprint"]


def why_unpaired(ours: list[Result], theirs: list[Result]) -> str:
    """Say why no run of one row can be paired with a run of the other."""
    for which, runs in (("it has", ours), ("that has", theirs)):
        if all(run["user_test"] is None for run in runs):
            return f"{which} no {USER_METRICS} with the values of each user; run it again to get them"
    collected = [{run["data"].get("collected") for run in runs} - {None} for runs in (ours, theirs)]
    differ = "data" if collected[0] and collected[1] and not collected[0] & collected[1] else "splits of the data"
    return f"other {differ}, so that users cannot be paired, and means cannot be compared either"
