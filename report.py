"""One self-contained HTML page from what a run and an ablation left in saved/.

The page needs no network and runs no code. Ids and titles are text of strangers: whatever reaches the page goes
through esc, and the page's own policy forbids scripts besides.
"""

import json
import math
from collections import Counter
from html import escape as esc
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from baselines import BASELINES
from data_loader import read_anime
from evaluator import rank_items
from llm_embedding import atomic_write

THIS_RUN = "this run"
N_USERS, N_TITLES = 20, 15
NOT_SETTINGS = {"data_dir", "saved_dir", "vectors_dir", "eval_memory_mb", "encode_batch_size", "mode", "device",
                "resume"}
MAKERS = {"run": "python main.py", "comparison": "python run_ablation.py", "sd": "python run_ablation.py --seeds 3",
          "cold": "python run_ablation.py --cold_item_ratio 0.1", "sparsity": "python tools/learning_curve.py"}

WIDTH, LEFT, HEIGHT = 340, 44, 220  # of a chart, in its own units: about a pixel of a small phone each
MARKERS = ("m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0", "m-3,-3h6v6h-6z", "m0,-4l4,7h-8z", "m0,-4l4,4l-4,4l-4,-4z",
           "m-3,-3l6,6m0,-6l-6,6")
CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d0d7de;--card:#f6f8fa;--base:#b3bac2;
--bar:#4c9ad4;--warn:#fff1cc;--warnline:#b58100;--hit:#006b4f;--c0:#0064a3;--c1:#c04a00;--c2:#007a59;--c3:#a63a7c;
--c4:#7d5c00;--c5:#4a5560}
@media(prefers-color-scheme:dark){:root{--bg:#0f1318;--fg:#e6eaef;--soft:#a3adb8;--line:#38414b;--card:#181e25;
--base:#5b6570;--bar:#2f78b0;--warn:#3b2f0b;--warnline:#d9a520;--hit:#4fd6a8;--c0:#5fb5f0;--c1:#f5924a;--c2:#45d1a0;
--c3:#ea9bcb;--c4:#e8c34f;--c5:#b6c2ce}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:1rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;margin:.3rem 0}h2{font-size:1.3rem;margin:2.2rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .3rem}h4{font-size:.85rem;margin:.4rem 0 .2rem;color:var(--soft)}
a{color:var(--c0)}nav a{margin-right:.9rem;display:inline-block;padding:.15rem 0}
p{max-width:75ch;margin:.5rem 0}.soft,figcaption,caption{color:var(--soft);font-size:.9rem}
.missing,.warn{padding:.5rem .8rem;border-left:4px solid var(--line);background:var(--card)}
.warn{border-color:var(--warnline);background:var(--warn);color:var(--fg);font-weight:600;max-width:none}
code{font-family:ui-monospace,monospace;font-size:.9em}
.charts,.lists,.users{display:grid;gap:.8rem;margin:.6rem 0}.users{gap:.3rem}
.charts{grid-template-columns:repeat(auto-fit,minmax(min(100%,310px),1fr));gap:1.2rem}
figure{margin:0}figcaption{color:var(--fg);font-weight:600}figure svg{width:100%;max-width:450px;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--fg);paint-order:stroke;stroke:var(--bg);stroke-width:4px}
svg text.tick{fill:var(--soft);font-size:11px}svg text.long{font-size:10.5px}
.grid{stroke:var(--line);fill:none}.bar{fill:var(--bar)}.bar.base{fill:var(--base)}
.error{stroke:var(--fg);stroke-width:1.3;fill:none}
.line{fill:none;stroke:currentColor;stroke-width:1.8}.mark{stroke:currentColor;fill:var(--bg);stroke-width:1.5}
.best{fill:currentColor;stroke:currentColor;stroke-width:3}
.c0{color:var(--c0)}.c1{color:var(--c1)}.c2{color:var(--c2)}.c3{color:var(--c3)}.c4{color:var(--c4)}.c5{color:var(--c5)}
.d1{stroke-dasharray:7 3}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:8 3 2 3}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;padding:0;margin:.3rem 0;list-style:none;font-size:.9rem}
.legend svg{width:38px;height:12px;vertical-align:middle;margin-right:.35rem}
.scroll{overflow-x:auto;margin:.6rem 0;border:1px solid var(--line)}.scroll:focus-visible{outline:2px solid var(--c0)}
table{border-collapse:collapse;font-size:.88rem;overflow-wrap:normal;width:100%}
caption{text-align:left;padding:.4rem .6rem}
caption span{display:inline-block;position:sticky;left:.6rem;max-width:min(75ch,calc(100vw - 4rem))}
th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap;border-top:1px solid var(--line);
font-variant-numeric:tabular-nums}
thead th{background:var(--card)}tbody th,thead th:first-child{text-align:left;position:sticky;left:0;
background:var(--bg);font-weight:600;white-space:normal;min-width:5.5rem}thead th:first-child{background:var(--card)}
table.headline{font-size:1rem}table.headline thead th{white-space:normal;min-width:6.5rem}
table.text td,table.text th{text-align:left;white-space:normal;min-width:6rem}
.users details{background:var(--card);padding:.4rem .8rem}
.lists{grid-template-columns:repeat(auto-fit,minmax(min(100%,240px),1fr));margin:0}
.lists ol,.lists ul{margin:0;padding-left:1.6rem;font-size:.9rem}
.hit{color:var(--hit);font-weight:700}summary{cursor:pointer;padding:.3rem 0}
"""


class Saved(NamedTuple):
    """What there is in a saved/ folder; None or empty where a part is missing."""

    folder: Path
    metrics: dict[str, Any] | None  # metrics.json
    rows: list[dict[str, Any]]  # ablation/results.json, or this run in the form of a row
    compared: bool  # whether rows are those of an ablation
    runs: dict[str, dict[str, Any]]  # tag -> metrics.json of this run and of each row's first seed
    histories: dict[str, list[dict[str, Any]]]  # tag -> epochs, of the rows if there are any, else of this run
    sparsity: dict[str, Any] | None  # sparsity/results.json


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
    sections = {"Test figures": headline(saved), "Learning curves": curves(saved), "Comparison": comparison(saved),
                "Groups": groups(saved), "Cold start": cold_start(saved), "All figures": all_figures(saved),
                "Settings": settings(saved), "Lists": sample_lists(saved, item_names or {}),
                "Sparse data": sparse_data(saved), "Provenance": provenance(saved)}
    links = "".join(f'<a href="#s{place}">{name}</a> ' for place, name in enumerate(sections))
    body = "".join(f'<section id="s{place}" aria-labelledby="h{place}"><h2 id="h{place}">{name}</h2>{text}</section>'
                   for place, (name, text) in enumerate(sections.items()))
    page = ('<!doctype html><html lang="en"><head><meta charset="utf-8"><title>AGLRec report</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-'
            f'Policy" content="default-src \'none\'; style-src \'unsafe-inline\'"><style>{CSS}</style></head><body>'
            f'<header><h1>AGLRec report</h1><nav aria-label="Sections">{links}</nav></header><main>{notes(saved)}'
            f"{body}</main></body></html>\n")
    with atomic_write(folder / "report.html") as file:
        file.write(page.encode("utf-8", "replace"))  # JSON may hold half a surrogate pair, UTF-8 may not
    return folder / "report.html"


def read_saved(folder: Path) -> Saved:
    """Read the JSON files of a saved/ folder and of the rows below it."""
    metrics, rows = _read(folder / "metrics.json"), _read(folder / "ablation" / "results.json") or []
    homes = {row["tag"]: _home(folder, row["folders"][0]) for row in rows}
    runs = {THIS_RUN: metrics, **{tag: _read(home / "metrics.json") for tag, home in homes.items()}}
    homes = homes or {THIS_RUN: folder}
    histories = {tag: _read(home / "history.jsonl", by_line=True) for tag, home in homes.items()}
    return Saved(folder, metrics, rows or ([_as_row(metrics)] if metrics else []), bool(rows),
                 {tag: run for tag, run in runs.items() if run},
                 {tag: epochs for tag, epochs in histories.items() if epochs},
                 _read(folder / "sparsity" / "results.json"))


# --- sections ---

def notes(saved: Saved) -> str:
    """Say loudly where the figures are not what their settings suggest."""
    fallen: dict[str, list[str]] = {}
    for tag, run in saved.runs.items():
        used, asked = run["encoder"]["used"], run["encoder"].get("requested")
        if asked and used not in (None, asked):
            fallen.setdefault(f"The text vectors are those of {used!r}, not of {asked!r} as requested", []).append(tag)
    found = [f"{note}: {', '.join(tags)}." for note, tags in fallen.items()]
    if len({run["data"]["fingerprint"] for run in saved.runs.values()}) > 1:
        found.append("Not all runs of this page saw the same data and split (see Provenance): do not compare them.")
    return "".join(f'<p class="warn" role="note">&#9888; {esc(note)}</p>' for note in found)


def headline(saved: Saved) -> str:
    """Set the test figures of this run beside those of the rows that valid chose."""
    if not saved.rows:
        return _missing("No run", "run")
    metric, columns = _metric(saved.rows[0]), {}
    if saved.metrics:
        columns[f"{THIS_RUN}, epoch {saved.metrics['epoch']}"] = _as_row(saved.metrics)
    for kind in ("best row", "best baseline") if saved.compared else ():
        rows = [row for row in saved.rows if (row["tag"] in BASELINES) == (kind == "best baseline")]
        if rows:
            best = max(rows, key=lambda row: row["valid"][metric]["mean"])
            columns[f"{kind}: {best['tag']}"] = best
    figures = [(_figures({part: row[part] for part in ("warm", "test", "cold")}), row["n_seeds"])
               for row in columns.values()]
    lines = [[name, *(_shown(mine.get(name), n_seeds) for mine, n_seeds in figures)]
             for name in dict.fromkeys(name for mine, _ in figures for name in mine)
             if name.startswith(("warm", "test")) or name.endswith(metric)]
    few = all(row["n_seeds"] == 1 for row in saved.rows)
    return (_table(f"Best epochs and best rows are those of {metric} on valid; ± is the standard deviation over seeds. "
                   "Warm: test pairs ranked among the titles with a history; test: among all titles",
                   ["figure", *columns], lines, "headline")
            + (_missing("No standard deviations yet", "sd") if few else "")
            + ("" if saved.metrics else _missing("No run of its own in this folder", "run")))


def curves(saved: Saved) -> str:
    """Draw valid metric and loss by epoch, with a chart for every kind of loss."""
    if not saved.histories:
        return _missing("No epochs", "run")
    metric = max((key for key in next(iter(saved.histories.values()))[0] if key.startswith("NDCG@")), key=_cut_off)
    losses: dict[str, dict[str, Any]] = {}
    for tag, epochs in saved.histories.items():
        kind = saved.runs.get(tag, {}).get("config", {}).get("loss", "train")
        losses.setdefault(kind, {})[tag] = [(epoch["epoch"], epoch["loss"], 0) for epoch in epochs]
    found = {tag: [(epoch["epoch"], epoch[metric], 0) for epoch in epochs] for tag, epochs in saved.histories.items()}
    last = max(x for line in found.values() for x, _, _ in line)
    between = [tick for tick in _ticks(1, last) if tick == int(tick) and 1 + last / 10 < tick < last * 0.9]
    ticks = [(tick, f"{tick:g}") for tick in dict.fromkeys([1, *between, last])]
    style = {tag: number for number, tag in enumerate(found)}
    charts = _lines(f"valid {metric}", found, ticks, style, "epoch", best=True) + "".join(
        _lines(f"{kind} loss", lines, ticks, style, "epoch", from_zero=False) for kind, lines in losses.items())
    return (f'{_legend(style)}<div class="charts">{charts}</div><p class="soft">First seed of each row. The filled mark'
            " is the best epoch on valid. The loss axis does not start at 0.</p>")


def comparison(saved: Saved) -> str:
    """Draw the rows as bars, and test them against the row without text."""
    if not saved.compared:
        return _missing("Nothing is compared", "comparison")
    metric, n = _metric(saved.rows[0]), max(row["n_seeds"] for row in saved.rows)
    charts = "".join(_bars(f"warm {key}", [(row["tag"], row["warm"][key], row["n_seeds"]) for row in saved.rows])
                     for key in (metric, metric.replace("NDCG", "Recall")))
    lines = [[row["tag"], _shown(row["warm"][metric], row["n_seeds"]), *_against(row)] for row in saved.rows]
    return (f'<div class="charts">{charts}</div><p class="soft">Test pairs, ranked among the titles with a history, so '
            "that every row ranks the same titles. Grey bars are baselines, tuned on valid. "
            + (f"Error bars: ± 1 standard deviation over {n} seeds.</p>" if n > 1 else "One seed: no error bars.</p>")
            + _table(f"Gain in warm {metric} over the row without text of the same fusion_mode, and p of a paired "
                     "t-test over users and runs, corrected by Holm's method; none for one seed",
                     ["row", metric, "gain", "p"], lines))


def groups(saved: Saved) -> str:
    """Draw how users by activity and items by popularity fare: a chart a group, or one chart for a single row."""
    text = ""
    for side, title in (("users", "Users by their train rows"), ("items", "Titles by popularity in train")):
        metric = _metric(saved.rows[0]) if saved.rows else ""
        panels = {}
        for group, found in (saved.rows[0]["groups"][side] if saved.rows else {}).items():
            if metric in found:
                size = found[f"n_{side}"]["mean"]
                panels[f"{group} ({size:,.0f} {'users' if side == 'users' else 'titles'})"] = [
                    (row["tag"], row["groups"][side][group][metric], row["n_seeds"]) for row in saved.rows
                    if metric in row["groups"][side][group]]
        if not saved.compared:
            panels = {THIS_RUN: [(group, number, n) for group, [(_, number, n)] in panels.items()]}
        top = max((number["mean"] + number["sd"] for points in panels.values() for _, number, _ in points), default=0)
        text += f'<h3>{title}: test {metric}</h3><div class="charts">' + "".join(
            _bars(name, points, top) for name, points in panels.items()) + "</div>"
    return (text + '<p class="soft">The charts of a side share one scale. Head is the most collected fifth of the '
            "titles that train knows, tail the rest of them, cold those it does not know; a group without a test pair "
            "is left out.</p>") if saved.rows else _missing("No groups", "run")


def cold_start(saved: Saved) -> str:
    """Draw how titles without a train row are found, among their like and among all."""
    rows = [row for row in saved.rows if row.get("cold")]
    if not rows:
        return _missing("No cold titles are held out", "cold")
    metric = _metric(rows[0])
    charts = "".join(_bars(f"{metric}, ranked {where.replace('_', ' ')} titles",
                           [(row["tag"], row["cold"][where][metric], row["n_seeds"]) for row in rows])
                     for where in ("among_cold", "among_all"))
    n_items = rows[0]["cold"]["n_items"]["mean"]
    return (f'<div class="charts">{charts}</div><p class="soft">How test pairs of {n_items:,.0f} titles without a '
            "train row are found. Each chart has a scale of its own.</p>")


def all_figures(saved: Saved) -> str:
    """Lay out every figure of every row."""
    if not saved.rows:
        return _missing("No figures", "run")
    parts = ("warm", "test", "valid", "listed", "cold", "beyond")
    figures = [_figures({part: row.get(part, {}) for part in parts}) for row in saved.rows]
    names = [name for name in dict.fromkeys(name for mine in figures for name in mine) if name != "cold n items"]
    lines = [[row["tag"], *(_shown(mine.get(name), row["n_seeds"]) for name in names), *_against(row),
              f"{row['train_s']['mean']:.1f}", str(row["n_seeds"]), row["encoder"] or "none"]
             for row, mine in zip(saved.rows, figures, strict=True)]
    return _table("Means, and ± standard deviations over seeds; gain and p as above",
                  ["row", *names, "gain", "p", "train s", "seeds", "encoder"], lines)


def settings(saved: Saved) -> str:
    """Show in which settings each run differs from the most common value of the runs on this page."""
    configs = {tag: {key: _text(value) for key, value in run["config"].items() if key not in NOT_SETTINGS}
               for tag, run in saved.runs.items() if "config" in run}
    if not configs:
        return _missing("No settings", "run")
    keys = dict.fromkeys(key for own in configs.values() for key in own)
    common = {key: Counter(own.get(key, "-") for own in configs.values()).most_common(1)[0][0] for key in keys}
    differs = {tag: {key: own.get(key, "-") for key in keys if own.get(key, "-") != common[key]}
               for tag, own in configs.items()}
    differs |= {tag: run["point"] for tag, run in saved.runs.items() if run.get("point")}
    lines = [[tag, ", ".join(f"{key} {_text(value)}" for key, value in own.items()) or "nothing"]
             for tag, own in differs.items()]
    return (_table("What differs from the most common settings; for a baseline, what valid chose for its first seed",
                   ["row", "differs in"], lines, "text")
            + "<details><summary>The most common settings</summary>"
            + _table("What most runs share", ["setting", "value"], list(map(list, common.items())), "text")
            + "</details>")


def sample_lists(saved: Saved, item_names: dict[str, str]) -> str:
    """Show some users, evenly spread over activity: what they collected, what test asks for, what they get."""
    lists, ids = (_read(saved.folder / name) for name in ("recommendations.json", "id_mappings.json"))
    arrays = _arrays(saved.folder)
    if not (lists and ids and saved.metrics and arrays):
        return _missing("No lists", "run")
    parts, user_emb, item_emb = arrays
    activity = np.bincount(parts["train"][:, 0], minlength=len(ids["user_ids"]))
    order = np.argsort(-activity, kind="stable")
    users = order[np.linspace(0, len(order) - 1, min(N_USERS, len(order))).round().astype(int)]
    named = {title["subject_id"]: title["name"] for found in lists.values() for title in found}
    names = {**dict.fromkeys(ids["item_ids"]), **_anime_names(saved), **named, **item_names}
    titles = {raw: f"<bdi>{esc(name or raw)}</bdi>" for raw, name in names.items()}
    k = _cut_off(_metric(_as_row(saved.metrics)))
    best = _best(saved, parts, (user_emb, item_emb), np.sort(users), k)
    cards = []
    for user in users.tolist():
        train, test = (part[part[:, 0] == user, 1].tolist() for part in (parts["train"], parts["test"]))
        ids_of = [[ids["item_ids"][item] for item in items] for items in (train, test, best[user])]
        found = [title["subject_id"] for title in lists.get(ids["user_ids"][user], [])]
        cards.append(_user_card(ids["user_ids"][user], *ids_of, found, titles, unfolded=len(cards) < 3))
    return (f'<p>{len(users)} users, evenly spread from the most to the least active. <span class="hit">✓ 3</span> '
            f"marks a hit: a title held out for the test that the model ranks third, among the first {k}, when only "
            "train and valid titles are left out. The recommendations leave out everything a user has collected, "
            'held-out titles too, so they hold no hits.</p><div class="users">'
            f'{"".join(cards)}</div>')


def sparse_data(saved: Saved) -> str:
    """Draw and lay out how rows do when users keep only n train rows."""
    if not saved.sparsity:
        return _missing("No runs on thinned data", "sparsity")
    counts, metric, series = (saved.sparsity[key] for key in ("n", "metric", "series"))
    style = {label: number for number, label in enumerate(series)}
    points = {label: [(math.log(n), number["mean"], number["sd"]) for n, number in zip(counts, line, strict=True)]
              for label, line in series.items()}
    chart = _lines(f"test {metric}", points, [(math.log(n), str(n)) for n in counts], style, "train rows a user keeps")
    return (f'{_legend(style)}<div class="charts">{chart}</div>'
            + _table(f"Test {metric} by train rows a user keeps: mean ± standard deviation over seeds",
                     ["row", *map(str, counts)],
                     [[label, *(_shown(number, 2) for number in line)] for label, line in series.items()]))


def provenance(saved: Saved) -> str:
    """Say what the figures were made with and from."""
    lines = [[tag, run["encoder"].get("requested", "-"), run["encoder"]["used"] or "none", run["data"]["fingerprint"]]
             for tag, run in saved.runs.items()]
    text = _table("Encoder, and fingerprint of data and split, of each row's first seed",
                  ["row", "encoder requested", "encoder used", "fingerprint"], lines, "text")
    for part in ("encoder", "data", "timing", "versions") if saved.metrics else ():
        text += _table(f"This run: {part}", ["what", "value"],
                       [[key, _text(value)] for key, value in saved.metrics[part].items()], "text")
    return text if saved.runs else _missing("No run", "run")


# --- pieces of the page ---

def _missing(what: str, maker: str) -> str:
    return f'<p class="missing">{what}: <code>{MAKERS[maker]}</code> makes this part.</p>'


def _table(caption: str, header: list[str], lines: list[list[str]], kind: str = "") -> str:
    """Lay out cells, the first of each line being its heading; a wide table scrolls by itself."""
    head = "".join(f'<th scope="col">{esc(cell)}</th>' for cell in header)
    body = "".join(f'<tr><th scope="row">{esc(line[0])}</th>' + "".join(f"<td>{esc(cell)}</td>" for cell in line[1:])
                   + "</tr>" for line in lines)
    return (f'<div class="scroll" tabindex="0"><table class="{kind}"><caption><span>{esc(caption)}</span></caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")


def _legend(style: dict[str, int]) -> str:
    """Show colour, dashes and marker of each line of the charts below."""
    return '<ul class="legend">' + "".join(
        f'<li><svg viewBox="0 0 38 12" class="c{number % 6}" aria-hidden="true"><path class="line d{number % 4}" '
        f'd="M1,6H37"/><path class="mark" d="M19,6{MARKERS[number % 5]}"/></svg>{esc(label)}</li>'
        for label, number in style.items()) + "</ul>"


def _svg(title: str, describe: str, height: float, parts: list[str]) -> str:
    return (f'<figure><figcaption>{esc(title)}</figcaption><svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{esc(title)}"><desc>{esc(describe)}</desc>{"".join(parts)}</svg></figure>')


def _bars(title: str, points: list[tuple[str, dict[str, float], int]], top: float = 0) -> str:
    """Draw horizontal bars from 0, each below its label and figure.

    Args:
        title: of the chart.
        points: label, {"mean", "sd"}, and the number of seeds; baselines are told by their label.
        top: what the axis must reach at least, where charts share a scale.
    """
    drawn = [(number["mean"], number["sd"]) if math.isfinite(number["mean"]) else (0, 0) for _, number, _ in points]
    ticks = _ticks(0, max([top, *(mean + sd for mean, sd in drawn)]))
    scale, foot = (WIDTH - 24) / ticks[-1], 36 * len(points) + 6
    parts = [f'<path class="grid" d="M{8 + tick * scale:.1f},4V{foot}"/>'
             + _tick("middle", round(8 + tick * scale, 1), foot + 14, f"{tick:g}") for tick in ticks]
    for row, ((label, number, n_seeds), (mean, sd)) in enumerate(zip(points, drawn, strict=True)):
        y, base = 36 * row + 6, label in BASELINES
        parts.append(f'<text class="{"long" * (len(label) > 31)}" x="8" y="{y + 11}">{esc(label)}'
                     f'{" (baseline)" * base}</text>'
                     f'<text text-anchor="end" x="{WIDTH - 4}" y="{y + 11}">{_shown(number, n_seeds)}</text>'
                     f'<rect class="bar{" base" * base}" x="8" y="{y + 16}" width="{mean * scale:.1f}" height="12"/>')
        if sd > 0:
            low, high = 8 + max(0, mean - sd) * scale, 8 + (mean + sd) * scale
            parts.append(f'<path class="error" d="M{low:.1f},{y + 22}H{high:.1f}m0,-4v8M{low:.1f},{y + 18}v8"/>')
    return _svg(title, "Bars from 0; the figures are written beside their labels.", foot + 20, parts)


def _lines(title: str, series: dict[str, list[tuple[float, float, float]]], x_ticks: list[tuple[float, str]],
           style: dict[str, int], x_name: str, from_zero: bool = True, best: bool = False) -> str:
    """Draw lines with markers.

    Args:
        title: of the chart.
        series: label -> points x, y and standard deviation.
        x_ticks: where and what to write along x.
        style: label -> number that picks colour, dashes and marker.
        x_name: what x counts.
        from_zero: whether y starts at 0.
        best: whether to fill the mark of the highest point of a line.
    """
    series = {label: [point for point in line if math.isfinite(point[1])] for label, line in series.items()}
    xs, ys, tops = zip(*[(x, y, y + sd) for line in series.values() for x, y, sd in line] or [(0, 0, 0)], strict=True)
    y_ticks = _ticks(0 if from_zero else min(ys), max(tops))
    xs = [*xs, *(x for x, _ in x_ticks)]  # so that charts with the same ticks have the same scale
    x_scale = (WIDTH - LEFT - 24) / ((max(xs) - min(xs)) or 1)
    y_scale = (HEIGHT - 44) / (y_ticks[-1] - y_ticks[0])

    def at(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + 8 + (x - min(xs)) * x_scale, 1), round(HEIGHT - 36 - (y - y_ticks[0]) * y_scale, 1)

    parts = [_tick("end", LEFT - 5, at(0, tick)[1] + 4, f"{tick:g}")
             + f'<path class="grid" d="M{LEFT},{at(0, tick)[1]}H{WIDTH - 8}"/>' for tick in y_ticks]
    parts += [_tick("middle", at(x, 0)[0], HEIGHT - 20, text) for x, text in x_ticks]
    parts += [_tick("middle", (WIDTH + LEFT) / 2, HEIGHT - 4, x_name)]
    parts += [_line(label, [(*at(x, y), *(at(x, end)[1] for end in (max(0, y - sd), y + sd))) for x, y, sd in line],
                    style[label], best) for label, line in series.items() if line]
    return _svg(title, f"{len(series)} lines by {x_name}: {', '.join(series)}.", HEIGHT, parts)


def _line(label: str, points: list[tuple[float, ...]], number: int, best: bool) -> str:
    """Draw one line from points x, y, and the ends of the error bar, all in units of the chart."""
    every, peak = len(points) // 12 + 1, min(y for _, y, _, _ in points)
    marks = "".join(f'<path class="{"best" if best and y == peak else "mark"}" d="M{x},{y}{MARKERS[number % 5]}"/>'
                    for place, (x, y, _, _) in enumerate(points) if place % every == 0 or (best and y == peak))
    errors = "".join(f'<path class="line" d="M{x},{low}V{high}"/>' for x, _, low, high in points if low != high)
    path = "L".join(f"{x},{y}" for x, y, _, _ in points)
    return (f'<g class="c{number % 6}"><title>{esc(label)}</title>{errors}'
            f'<path class="line d{number % 4}" d="M{path}"/>{marks}</g>')


def _tick(anchor: str, x: float, y: float, text: str) -> str:
    return f'<text class="tick" text-anchor="{anchor}" x="{x}" y="{y}">{esc(text)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about four steps of them, that enclose low and high."""
    span = (high - low) or abs(high) or 1
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step * 4 >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _user_card(raw: str, train: list[str], test: list[str], best: list[str], found: list[str],
               titles: dict[str, str], unfolded: bool) -> str:
    """Show a user's titles in train, in the test with the rank of each hit among the best, and in his list."""
    hits = [item for item in best if item in test]
    asked = [f'<span class="hit">✓ {best.index(item) + 1}</span> {titles[item]}' for item in hits]
    asked += [titles[item] for item in test if item not in hits]
    columns = (("Collected in train", "ul", [titles[item] for item in train]), ("Held out for the test", "ul", asked),
               ("Recommended", "ol", [titles[item] for item in found]))
    body = ""
    for name, kind, lines in columns:
        entries, rest = "".join(f"<li>{line}</li>" for line in lines[:N_TITLES]), len(lines) - N_TITLES
        body += (f"<div><h4>{name}: {len(lines)}</h4><{kind}>{entries}</{kind}>"
                 + (f'<div class="soft">and {rest} more</div></div>' if rest > 0 else "</div>"))
    return (f"<details{' open' * unfolded}><summary><b>User <bdi>{esc(raw)}</bdi></b>: {len(train)} collected in train,"
            f' test hits: {len(hits)} of {len(test)}</summary><div class="lists">{body}</div></details>')


# --- numbers and files ---

def _arrays(folder: Path) -> tuple[dict[str, np.ndarray], torch.Tensor, torch.Tensor] | None:
    """Read the (n, 2) pairs of the split and the final vectors; None if they are not all there."""
    paths = [folder / name for name in ("splits.npz", "user_emb.pt", "item_emb.pt")]
    if not all(path.exists() for path in paths):
        return None
    try:
        with np.load(paths[0], allow_pickle=False) as archive:
            parts = {name: archive[name] for name in ("train", "valid", "test", "aside")}
        return parts, *(torch.load(path, map_location="cpu", weights_only=True) for path in paths[1:])
    except Exception as error:  # a damaged file can raise nearly anything
        raise ValueError(f"{folder}: {', '.join(path.name for path in paths)} cannot be read ({error}); run main.py "
                         "again") from None


def _best(saved: Saved, parts: dict[str, np.ndarray], vectors: tuple[torch.Tensor, torch.Tensor], users: np.ndarray,
          k: int) -> dict[int, list[int]]:
    """Rank all titles with what was known before the test left out: user row -> the best k item rows, best first."""
    pairs = np.concatenate([parts[name] for name in ("train", "valid", "aside")])
    known = sp.csr_matrix((np.ones(len(pairs), np.float32), pairs.T), shape=tuple(map(len, vectors)))
    ranking = rank_items(*vectors, users, known, k, None, saved.metrics["config"]["seed"])
    return {user: [item for item in items if item >= 0]
            for user, items in zip(users.tolist(), ranking.items.tolist(), strict=True)}


def _anime_names(saved: Saved) -> dict[str, str]:
    try:
        anime = read_anime(Path(saved.metrics["config"]["data_dir"]))
    except (OSError, ValueError):
        return {}
    return dict(zip(anime["subject_id"], anime["name"], strict=True))


def _as_row(metrics: dict[str, Any]) -> dict[str, Any]:
    """Turn a run's metrics.json into the form of a row of results.json."""
    keys = ("valid", "warm", "test", "listed", "cold", "groups", "train_s")
    parts = {key: _as_means(metrics[key]) for key in keys if key in metrics}
    return {"tag": THIS_RUN, "n_seeds": 1, "encoder": metrics["encoder"]["used"], **parts}


def _as_means(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _as_means(value) for key, value in found.items()}
    return {"mean": found, "sd": 0}


def _figures(found: dict[str, Any], name: str = "") -> dict[str, dict[str, float]]:
    """Flatten nested dicts to {"mean", "sd"} by names such as "cold among all NDCG@20"."""
    if "mean" in found:
        return {name.replace("_", " ").strip(): found}
    return {key: number for part, inner in found.items() for key, number in _figures(inner, f"{name} {part}").items()}


def _shown(number: dict[str, float] | None, n_seeds: int) -> str:
    if number is None:
        return "-"
    return f"{number['mean']:.4f}" + (f" ± {number['sd']:.4f}" if n_seeds > 1 else "")


def _against(row: dict[str, Any]) -> list[str]:
    """Show gain and p of a row, empty where it is not tested."""
    return ["" if row.get("gain") is None else f"{row['gain']:+.4f}", "" if row.get("p") is None else f"{row['p']:.1g}"]


def _metric(row: dict[str, Any]) -> str:
    """Name the NDCG with the largest cut-off."""
    return max((key for key in row["test"] if key.startswith("NDCG@")), key=_cut_off)


def _cut_off(metric: str) -> int:
    return int(metric.split("@")[1])


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _home(folder: Path, written: str) -> Path:
    """Find a row's folder, which may have moved along with the whole of saved/ since it was written down."""
    moved = folder / "ablation" / written.rpartition("ablation/")[2]
    return moved if moved.exists() else Path(written)


def _read(path: Path, by_line: bool = False) -> Any:
    """Read a JSON file, or one of a JSON text a line; None if there is none."""
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()] if by_line else json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again what made it") from None
