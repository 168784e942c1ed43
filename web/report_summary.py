"""The first screen of the report: what was run on which data, what came of it beside a yardstick, and the figures."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.baselines import BASELINES
from evaluation.comparisons import figure_at
from evaluation.plain import MAX_ITEMS, NAMES
from evaluation.significance import spread
from evaluation.tables import mean_and_sd, p_text
from evaluator import told_of_drawn
from web.report_commands import further, made_by
from web.report_files import THIS_RUN, Saved
from web.report_parts import Row, table

# the kinds of test pairs, and where their figures are in a row
KINDS = {
    "titles with a history": ("warm",),
    "all titles": ("test",),
    "liked": ("rated", "liked"),
    "discovery": ("franchises", "discovery"),
    "continuing": ("franchises", "continuing"),
    "new titles, among themselves": ("cold", "among_cold"),
    "new titles, among all": ("cold", "among_all"),
}
N_TILES = 4
DATA = {"users": "users", "items": "titles", "positives": "positive rows"}
PARTS = ("train", "valid", "test", "cold_valid", "cold_test")


class Yardstick(NamedTuple):
    """What a figure is measured by: a baseline, its row, and how it was picked."""

    name: str
    row: Row
    told: str  # after its figure in a sentence


def summary_of(saved: Saved) -> dict[str, Any] | None:
    """Return what report.html.jinja lays out as the first screen; None where nothing has run.

    Returns:
        {"facts": name -> text, "made": when, "commands", "result": a sentence, "more": what was not computed and the
        command that does or None, "tiles", "grid"}.
    """
    if not saved.rows:
        return None
    row = subject(saved)
    marks = yardsticks(saved)
    return {
        "facts": _facts(saved, row),
        "made": _when(saved),
        "commands": made_by(saved),
        "result": result(saved, row, marks),
        "more": _not_computed(saved, marks),
        "tiles": tiles(saved, row, marks),
        "grid": _grid(row),
    }


def subject(saved: Saved) -> Row:
    """Return the row that the first screen is about: this run, or else the row that is best on valid."""
    models = [row for row in saved.compared if row["tag"] not in BASELINES] or saved.compared
    return saved.this_run or max(models, key=lambda row: row["valid"][saved.metric]["mean"])


def yardsticks(saved: Saved) -> list[Yardstick]:
    """Return the best closed form, if one is known, and popularity: of an ablation on the same data, or of the run."""
    own = {run["data"]["fingerprint"] for tag, run in saved.runs.items() if tag == THIS_RUN}
    on_same = {tag for tag, run in saved.runs.items() if not own or run["data"]["fingerprint"] in own}
    rows = {row["tag"]: row for row in saved.compared if row["tag"] in BASELINES and row["tag"] in on_same}
    closed = [row for tag, row in rows.items() if tag != "popularity"]
    found = []
    if closed:
        best = max(closed, key=lambda row: row["valid"][saved.metric]["mean"])
        found.append(Yardstick(best["tag"], best, "; of the baselines the best on valid"))
    beside = {
        name: {"tag": name, "n_seeds": 1, "warm": spread([figures])}
        for name, figures in ((saved.metrics or {}).get("beside") or {}).items()
    }
    if not closed and NAMES["ease"] in beside:
        found.append(Yardstick(NAMES["ease"], beside[NAMES["ease"]], ""))
    popularity = rows.get("popularity") or beside.get(NAMES["popularity"])
    return found + ([Yardstick("popularity", popularity, "")] if popularity else [])


def result(saved: Saved, row: Row, marks: list[Yardstick]) -> str:
    """Say in a sentence how good a row is, and by how much it is ahead of each yardstick."""
    own = row["warm"][saved.metric]
    who = "" if row["tag"] == THIS_RUN else f"{row['tag']}, the row that is best on valid: "
    figure = f"{saved.metric} {mean_and_sd(own, row['n_seeds'])}"
    parts = []
    for mark in marks:
        number = mark.row["warm"][saved.metric]
        is_tested = row.get("rival") == mark.name and row.get("p_rival") is not None
        more = f"; p {p_text(row['p_rival'])}" if is_tested else ""
        parts.append(
            f"{_ahead(own['mean'], number['mean'])} {mark.name} "
            f"({mean_and_sd(number, mark.row['n_seeds'])}{more}{mark.told})"
        )
    if not parts:
        return f"{who}{figure} among titles with a history."
    return f"{who}{figure} among titles with a history: {' and '.join(parts)}."


def _ahead(own: float, other: float) -> str:
    if other <= 0:
        return "against"
    if own >= 2 * other:
        return f"{own / other:.1f} times"
    return f"{abs(own / other - 1):.1%} {'ahead of' if own >= other else 'behind'}"


def _not_computed(saved: Saved, marks: list[Yardstick]) -> dict[str, str] | None:
    """Say why there is no closed form to measure the run by, and which command computes it."""
    if not saved.metrics or any(mark.name != "popularity" for mark in marks):
        return None
    why = "No closed form was computed beside this run"
    if saved.metrics["config"].get("calibrate"):
        why = "Popularity and EASE were not computed beside this run, whose model has both in it"
    elif marks and saved.metrics["data"]["items"] > MAX_ITEMS:
        why = f"EASE was not computed beside this run: with more than {MAX_ITEMS:,} titles it takes over a minute"
    return {"what": why, "command": further(saved, "run_ablation.py", "--only popularity,ease,ease_text,sum-both")}


def tiles(saved: Saved, row: Row, marks: list[Yardstick]) -> list[dict[str, str]]:
    """Return the first figures of these that are known: {"name", "figure", "note"}."""
    metric, k = saved.metric, saved.metric.partition("@")[2]
    found = [
        ("titles with a history", metric, ("warm",), ("warm", metric)),
        ("what was liked", metric, ("rated", "liked"), ("warm", f"liked {metric}")),
        ("discovery: franchises new to the user", metric, ("franchises", "discovery"), ()),
        ("new titles, among themselves", metric, ("cold", "among_cold"), ()),
        ("titles with a history", f"Recall@{k}", ("warm",), ("warm", f"Recall@{k}")),
        ("titles with a history", f"Hit@{k}", ("warm",), ("warm", f"Hit@{k}")),
    ]
    shown = []
    for name, key, path, elsewhere in found:
        number, n_pairs = figure_at(row, *path, key), figure_at(row, *path, "n_pairs")
        if number and (not n_pairs or n_pairs["mean"]):
            of_marks = [
                f"{mark.name} {mean_and_sd(other, mark.row['n_seeds'])}"
                for mark in marks
                if (other := figure_at(mark.row, *path, key) or figure_at(mark.row, *elsewhere)) and "mean" in other
            ]
            shown.append(
                {"name": f"{key}, {name}", "figure": mean_and_sd(number, row["n_seeds"]), "note": ", ".join(of_marks)}
            )
    return shown[:N_TILES]


def _grid(row: Row) -> dict[str, Any]:
    """Lay out the figures of a row: a kind of test pairs a line, a metric and cut-off a column."""
    cutoffs = sorted({int(key.rpartition("@")[2]) for key in row["warm"] if key.startswith("NDCG@")})
    keys = [f"{metric}@{k}" for metric in ("NDCG", "Recall", "Hit") for k in cutoffs]
    lines = [
        [name, *(mean_and_sd(number, row["n_seeds"]) if number else "-" for number in numbers)]
        for name, path in KINDS.items()
        if any(numbers := [figure_at(row, *path, key) for key in keys])
    ]
    return table("Test figures by kind of test pair, metric and cut-off", ["test pairs", *keys], lines)


def _facts(saved: Saved, row: Row) -> dict[str, str]:
    """Say what was run on which data."""
    run = saved.metrics or saved.runs.get(row["tag"], {})
    config, data, encoder = run.get("config", {}), run.get("data", {}), run.get("encoder", {}).get("used")
    model = f"LightGCN with text of {encoder}" if encoder else "LightGCN without text"
    if "epoch" in run:
        model += f", epoch {run['epoch']}" + (f" of {run['epochs_run']}" if "epochs_run" in run else "")
    if "refit" in run:
        model += f"; the lists are of a model that was then trained once more, on {run['refit']['positives']:,} rows"
    if "update" in run:
        rows, times = run["update"]["since"]["rows"], run["update"]["updates"]
        model += f"; updated {times:,} {'time' if times == 1 else 'times'}, at last with {rows:,} new rows"
    if saved.compared:
        n_baselines = sum(one["tag"] in BASELINES for one in saved.compared)
        rows = f"{len(saved.compared) - n_baselines} models and {n_baselines} baselines compared"
        model = f"{model}; {rows}" if saved.metrics else rows
    counts = [f"{data[key]:,} {name}" for key, name in DATA.items() if data.get(key)]
    parts = [f"{data[key]:,} {key.replace('_', ' ')}" for key in PARTS if data.get(key)]
    where = f" in {Path(config['data_dir']).resolve().name}" if "data_dir" in config else ""
    told = f"{', '.join(counts)}{where}; split {data.get('split', 'unknown')}: {', '.join(parts)}"
    drawn = {
        part: told_of_drawn(run.get(key, {}), saved.metric) for part, key in (("valid", "valid"), ("test", "warm"))
    }
    asked = "; ".join(f"{part}: {which}" for part, which in drawn.items() if which)
    return {"Run": model, "Data": told, **({"Users ranked": f"{asked} (standard error over users)"} if asked else {})}


def _when(saved: Saved) -> str:
    """Say when the figures were written."""
    paths = [saved.folder / "metrics.json", saved.folder / "ablation" / "results.json"]
    written = max(path.stat().st_mtime for path in paths if path.exists())
    return f"{datetime.fromtimestamp(written, UTC):%Y-%m-%d %H:%M} UTC"
