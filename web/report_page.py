"""One self-contained HTML page from what a run and an ablation left in saved/.

This module gathers figures; report.html.jinja lays them out, report.css says how they look, and charts.py where the
parts of a chart stand. The page needs no network and runs no code. Ids and titles are text of strangers: the template
escapes whatever reaches the page, and the page's own policy forbids scripts besides.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.baselines import BASELINES
from runtime.files import atomic_write
from web.charts import HEIGHT, LEFT, MARKERS, WIDTH, bars, lines, ticks
from web.report_decided import decided, searched
from web.report_files import THIS_RUN, Saved, as_row, cut_off, largest_ndcg, read_saved
from web.report_lists import sample_lists
from web.report_parts import Part, as_text, missing, table

HOME = Path(__file__).parent
N_TITLES = 15
BASE = frozenset(BASELINES)
NOT_SETTINGS = {
    "data_dir",
    "saved_dir",
    "vectors_dir",
    "eval_memory_mb",
    "encode_batch_size",
    "mode",
    "device",
    "resume",
}
MAKERS = {
    "run": "python main.py",
    "comparison": "python run_ablation.py",
    "sd": "python run_ablation.py --seeds 3",
    "search": "python tune.py",
    "cold": "python run_ablation.py --cold_item_ratio 0.1",
    "sparsity": "python studies/learning_curve.py",
}


def write_report(folder: Path, item_names: dict[str, str] | None = None) -> Path:
    """Write folder/report.html from whatever runs and tools have left in folder.

    Args:
        folder: a saved/ folder; a part that is missing is named on the page with the command that makes it.
        item_names: subject_id -> title; by default titles are those of the lists and of anime.tsv, if it is still in
            the run's data_dir, and a title that neither knows is shown by its id.

    Returns:
        The path of the page.

    Raises:
        ValueError: a file in folder is damaged; the message names it.
    """
    saved = read_saved(folder)
    sections = {
        "Test figures": headline(saved),
        "Learning curves": curves(saved),
        "Comparison": comparison(saved),
        "Groups": groups(saved),
        "Cold start": cold_start(saved),
        "All figures": all_figures(saved),
        "Settings": settings(saved),
        "Decided on valid": decided(saved),
        "Lists": lists_of(saved, item_names or {}),
        "Sparse data": sparse_data(saved),
        "Search": searched(saved),
        "Provenance": provenance(saved),
    }
    environment = Environment(loader=FileSystemLoader(HOME), autoescape=True, undefined=StrictUndefined)
    environment.filters["shown"] = shown
    environment.globals |= {
        "makers": MAKERS,
        "markers": MARKERS,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "n_titles": N_TITLES,
    }
    page = environment.get_template("report.html.jinja").render(
        css=(HOME / "report.css").read_text(encoding="utf-8"),
        notes=notes(saved),
        sections=[{"name": name, "parts": parts} for name, parts in sections.items()],
    )
    with atomic_write(folder / "report.html") as file:
        file.write(page.encode("utf-8", "replace"))  # JSON may hold half a surrogate pair, UTF-8 may not
    return folder / "report.html"


# --- sections ---


def notes(saved: Saved) -> list[str]:
    """Say loudly where the figures are not what their settings suggest."""
    fallen: dict[str, list[str]] = {}
    for tag, run in saved.runs.items():
        used, asked = run["encoder"]["used"], run["encoder"].get("requested")
        if asked and used not in (None, asked):
            fallen.setdefault(f"The text vectors are those of {used!r}, not of {asked!r} as requested", []).append(tag)
    found = [f"{note}: {', '.join(tags)}." for note, tags in fallen.items()]
    if len({run["data"]["fingerprint"] for run in saved.runs.values()}) > 1:
        found.append("Not all runs of this page saw the same data and split (see Provenance): do not compare them.")
    return found


def headline(saved: Saved) -> list[Part]:
    """Set the test figures of this run beside those of the rows that valid chose."""
    if not saved.rows:
        return [missing("No run", "run")]
    metric, columns = largest_ndcg(saved.rows[0]), {}
    if saved.metrics:
        columns[f"{THIS_RUN}, epoch {saved.metrics['epoch']}"] = as_row(saved.metrics)
    for kind in ("best row", "best baseline") if saved.compared else ():
        rows = [row for row in saved.rows if (row["tag"] in BASE) == (kind == "best baseline")]
        if rows:
            best = max(rows, key=lambda row: row["valid"][metric]["mean"])
            columns[f"{kind}: {best['tag']}"] = best
    figures = [
        (_figures({part: row[part] for part in ("warm", "test", "cold")}), row["n_seeds"]) for row in columns.values()
    ]
    cells = [
        [name, *(shown(mine.get(name), n_seeds) for mine, n_seeds in figures)]
        for name in dict.fromkeys(name for mine, _ in figures for name in mine)
        if name.startswith(("warm", "test")) or name.endswith(metric)
    ]
    parts = [
        table(
            f"Best epochs and best rows are those of {metric} on valid; ± is the standard deviation over "
            "seeds. Warm: test pairs ranked among the titles with a history; test: among all titles",
            ["figure", *columns],
            cells,
            "headline",
        )
    ]
    parts += [missing("No standard deviations yet", "sd")] * all(row["n_seeds"] == 1 for row in saved.rows)
    return parts + [missing("No run of its own in this folder", "run")] * (not saved.metrics)


def curves(saved: Saved) -> list[Part]:
    """Draw valid metric and loss by epoch, with a chart for every kind of loss."""
    if not saved.histories:
        return [missing("No epochs", "run")]
    metric = max(
        (key for epochs in saved.histories.values() for epoch in epochs for key in epoch if key.startswith("NDCG@")),
        key=cut_off,
    )
    losses: dict[str, dict[str, Any]] = {}
    for tag, epochs in saved.histories.items():
        kind = saved.runs.get(tag, {}).get("config", {}).get("loss", "train")
        losses.setdefault(kind, {})[tag] = [(epoch["epoch"], epoch["loss"], 0) for epoch in epochs]
    found = {
        tag: [(epoch["epoch"], epoch[metric], 0) for epoch in epochs if metric in epoch]
        for tag, epochs in saved.histories.items()
    }
    last = max(x for line in found.values() for x, _, _ in line)
    between = [tick for tick in _round_ticks(last) if 1 + last / 10 < tick < last * 0.9]
    x_ticks = [(tick, f"{tick:g}") for tick in dict.fromkeys([1, *between, last])]
    style = {tag: number for number, tag in enumerate(found)}
    charts = [lines(f"valid {metric}", found, x_ticks, style, "epoch", best=True)]
    charts += [lines(f"{kind} loss", drawn, x_ticks, style, "epoch", from_zero=False) for kind, drawn in losses.items()]
    return [
        {"legend": style},
        {"charts": charts},
        {
            "text": "First seed of each row. The filled mark is the best epoch on valid. The loss axis does not start "
            "at 0."
        },
    ]


def comparison(saved: Saved) -> list[Part]:
    """Draw the rows as bars, and test them against the row without text."""
    if not saved.compared:
        return [missing("Nothing is compared", "comparison")]
    metric, n = largest_ndcg(saved.rows[0]), max(row["n_seeds"] for row in saved.rows)
    charts = [
        bars(f"warm {key}", [(row["tag"], row["warm"][key], row["n_seeds"]) for row in saved.rows], BASE)
        for key in (metric, metric.replace("NDCG", "Recall"))
    ]
    cells = [[row["tag"], shown(row["warm"][metric], row["n_seeds"]), *_against(row)] for row in saved.rows]
    return [
        {"charts": charts},
        {
            "text": "Test pairs, ranked among the titles with a history, so that every row ranks the same titles. "
            "Grey bars are baselines, tuned on valid. "
            + (f"Error bars: ± 1 standard deviation over {n} seeds." if n > 1 else "One seed: no bars.")
        },
        table(
            f"Gain in warm {metric} over the row without text of the same fusion_mode, and p of a paired t-test "
            "over users and runs, corrected by Holm's method; none for one seed",
            ["row", metric, "gain", "p"],
            cells,
        ),
    ]


def groups(saved: Saved) -> list[Part]:
    """Draw how users by activity and items by popularity fare: a chart a group, or one chart for a single row."""
    if not saved.rows:
        return [missing("No groups", "run")]
    parts, metric = [], largest_ndcg(saved.rows[0])
    for side, title in (("users", "Users by their train rows"), ("items", "Titles by popularity in train")):
        panels = {}
        for group, found in saved.rows[0]["groups"][side].items():
            if metric in found:
                size = found[f"n_{side}"]["mean"]
                panels[f"{group} ({size:,.0f} {'users' if side == 'users' else 'titles'})"] = [
                    (row["tag"], row["groups"][side][group][metric], row["n_seeds"])
                    for row in saved.rows
                    if metric in row["groups"][side][group]
                ]
        if not saved.compared:
            panels = {THIS_RUN: [(group, number, n) for group, [(_, number, n)] in panels.items()]}
        top = max((number["mean"] + number["sd"] for points in panels.values() for _, number, _ in points), default=0)
        parts += [
            {"heading": f"{title}: test {metric}"},
            {"charts": [bars(name, points, BASE, top) for name, points in panels.items()]},
        ]
    return [
        *parts,
        {
            "text": "The charts of a side share one scale. Head is the most collected fifth of the titles "
            "that train knows, tail the rest of them, cold those it does not know; a group without a "
            "test pair is left out."
        },
    ]


def cold_start(saved: Saved) -> list[Part]:
    """Draw how titles without a train row are found, among their like and among all."""
    rows = [row for row in saved.rows if row.get("cold")]
    if not rows:
        return [missing("No cold titles are held out", "cold")]
    metric, n_items = largest_ndcg(rows[0]), rows[0]["cold"]["n_items"]["mean"]
    charts = [
        bars(
            f"{metric}, ranked {where.replace('_', ' ')} titles",
            [(row["tag"], row["cold"][where][metric], row["n_seeds"]) for row in rows],
            BASE,
        )
        for where in ("among_cold", "among_all")
    ]
    return [
        {"charts": charts},
        {
            "text": f"How test pairs of {n_items:,.0f} titles without a train row are found. Each "
            "chart has a scale of its own."
        },
    ]


def all_figures(saved: Saved) -> list[Part]:
    """Lay out every figure of every row."""
    if not saved.rows:
        return [missing("No figures", "run")]
    parts = ("warm", "test", "valid", "listed", "cold", "beyond")
    figures = [_figures({part: row.get(part, {}) for part in parts}) for row in saved.rows]
    names = [name for name in dict.fromkeys(name for mine in figures for name in mine) if name != "cold n items"]
    cells = [
        [
            row["tag"],
            *(shown(mine.get(name), row["n_seeds"]) for name in names),
            *_against(row),
            f"{row['train_s']['mean']:.1f}",
            str(row["n_seeds"]),
            row["encoder"] or "none",
        ]
        for row, mine in zip(saved.rows, figures, strict=True)
    ]
    return [
        table(
            "Means, and ± standard deviations over seeds; gain and p as above",
            ["row", *names, "gain", "p", "train s", "seeds", "encoder"],
            cells,
        )
    ]


def settings(saved: Saved) -> list[Part]:
    """Show in which settings each run differs from the most common value of the runs on this page."""
    configs = {
        tag: {key: as_text(value) for key, value in run["config"].items() if key not in NOT_SETTINGS}
        for tag, run in saved.runs.items()
        if "config" in run
    }
    if not configs:
        return [missing("No settings", "run")]
    keys = dict.fromkeys(key for own in configs.values() for key in own)
    common = {key: Counter(own.get(key, "-") for own in configs.values()).most_common(1)[0][0] for key in keys}
    differs = {
        tag: {key: own.get(key, "-") for key in keys if own.get(key, "-") != common[key]}
        for tag, own in configs.items()
    }
    differs |= {tag: run["point"] for tag, run in saved.runs.items() if run.get("point")}
    cells = [
        [tag, ", ".join(f"{key} {as_text(value)}" for key, value in own.items()) or "nothing"]
        for tag, own in differs.items()
    ]
    return [
        table(
            "What differs from the most common settings; for a baseline, what valid chose for its first seed",
            ["row", "differs in"],
            cells,
            "text",
        ),
        {
            "folded": "The most common settings",
            **table("What most runs share", ["setting", "value"], list(map(list, common.items())), "text"),
        },
    ]


def lists_of(saved: Saved, item_names: dict[str, str]) -> list[Part]:
    """Show some users' lists; see report_lists."""
    return sample_lists(saved, item_names) or [missing("No lists", "run")]


def sparse_data(saved: Saved) -> list[Part]:
    """Draw and lay out how rows do when users keep only n train rows."""
    if not saved.sparsity:
        return [missing("No runs on thinned data", "sparsity")]
    counts, metric, series = (saved.sparsity[key] for key in ("n", "metric", "series"))
    style = {label: number for number, label in enumerate(series)}
    points = {
        label: [(math.log(n), number["mean"], number["sd"]) for n, number in zip(counts, line, strict=True)]
        for label, line in series.items()
    }
    chart = lines(f"test {metric}", points, [(math.log(n), str(n)) for n in counts], style, "train rows a user keeps")
    return [
        {"legend": style},
        {"charts": [chart]},
        table(
            f"Test {metric} by train rows a user keeps: mean ± standard deviation over seeds",
            ["row", *map(str, counts)],
            [[label, *(shown(number, 2) for number in line)] for label, line in series.items()],
        ),
    ]


def provenance(saved: Saved) -> list[Part]:
    """Say what the figures were made with and from."""
    if not saved.runs:
        return [missing("No run", "run")]
    cells = [
        [tag, run["encoder"].get("requested", "-"), run["encoder"]["used"] or "none", run["data"]["fingerprint"]]
        for tag, run in saved.runs.items()
    ]
    tables = [
        table(
            "Encoder, and fingerprint of data and split, of each row's first seed",
            ["row", "encoder requested", "encoder used", "fingerprint"],
            cells,
            "text",
        )
    ]
    for part in ("encoder", "data", "timing", "versions") if saved.metrics else ():
        tables.append(
            table(
                f"This run: {part}",
                ["what", "value"],
                [[key, as_text(value)] for key, value in saved.metrics[part].items()],
                "text",
            )
        )
    return tables


# --- pieces ---


def _round_ticks(last: int) -> list[int]:
    return [int(tick) for tick in ticks(1, last) if tick == int(tick)]


# --- numbers and files ---


def _figures(found: dict[str, Any], name: str = "") -> dict[str, dict[str, float]]:
    """Flatten nested dicts to {"mean", "sd"} by names such as "cold among all NDCG@20"."""
    if "mean" in found:
        return {name.replace("_", " ").strip(): found}
    return {key: number for part, inner in found.items() for key, number in _figures(inner, f"{name} {part}").items()}


def shown(number: dict[str, float] | None, n_seeds: int) -> str:
    """Write a figure as mean and, over several seeds, deviation."""
    if number is None:
        return "-"
    return f"{number['mean']:.4f}" + (f" ± {number['sd']:.4f}" if n_seeds > 1 else "")


def _against(row: dict[str, Any]) -> list[str]:
    """Show gain and p of a row, empty where it is not tested."""
    return ["" if row.get("gain") is None else f"{row['gain']:+.4f}", "" if row.get("p") is None else f"{row['p']:.1g}"]
