"""The sections of the report about metrics: of this run, of an ablation's rows, by group, and for cold items."""

from typing import Any

from evaluation.baselines import BASELINES
from evaluation.comparisons import figure_at
from evaluation.significance import spread
from evaluation.tables import gain_and_p, mean_and_sd
from web.charts import bars
from web.report_files import THIS_RUN, Saved
from web.report_parts import Part, Row, row_bars, table, union, written


def headline(saved: Saved) -> list[Part]:
    """Set the test metrics of this run next to those of the rows that are best on valid, where there are others."""
    if not saved.compared:
        return []
    columns = {f"{THIS_RUN}, epoch {saved.metrics['epoch']}": saved.this_run} if saved.this_run else {}
    for kind in ("best row", "best baseline"):
        rows = [row for row in saved.rows if (row["tag"] in BASELINES) == (kind == "best baseline")]
        if rows:
            best = max(rows, key=lambda row: row["valid"][saved.metric]["mean"])
            columns[f"{kind}: {best['tag']}"] = best
    texts = [
        written({part: row[part] for part in ("warm", "test", "cold")}, row["n_seeds"]) for row in columns.values()
    ]
    short = tuple(f"{part} {metric}" for part in ("warm", "test") for metric in ("Recall", "NDCG", "Hit", "AUC"))
    names = [name for name in union(texts) if name.startswith(short) or name.endswith(saved.metric)]
    caption = (
        f"Epochs, and points of baselines, are the best by {saved.metric} on valid; ± is the standard deviation over "
        "seeds. Warm: test "
        "pairs ranked among the titles that someone collected in train; test: among all titles"
    )
    lines = [[name, *(text.get(name, "-") for text in texts)] for name in names]
    return [table(caption, ["metric", *columns], lines, "headline")]


def comparison(saved: Saved) -> list[Part]:
    """Draw the rows as bars, and test them against the row without text; of a run alone, draw what is beside it."""
    if not saved.compared:
        return _beside(saved)
    metric, n = saved.metric, max(row["n_seeds"] for row in saved.compared)
    charts = [
        row_bars(f"warm {key}", saved.compared, "warm", key) for key in (metric, metric.replace("NDCG", "Recall"))
    ]
    of_what = "seeds of the model; the split has none" if saved.compared[0].get("n_splits") == 1 else "seeds"
    text = (
        "Test pairs, ranked among the titles that someone collected in train, so that every row ranks the same titles. "
        "Grey bars are baselines, tuned on valid. "
        + (f"Error bars: ± 1 standard deviation over {n} {of_what}." if n > 1 else "One seed: no error bars.")
    )
    rival = saved.compared[0].get("rival")  # which results of before have not
    caption = (
        f"Gain in warm {metric} over the row without text of the same fusion_mode"
        + (f", and over {rival}" if rival else "")
        + ", with p of a paired t-test over users and runs, corrected by Holm's method over all p of this table; no p "
        "for one seed"
    )
    header = ["row", metric, "gain", "p", *([f"gain over {rival}", f"p against {rival}"] if rival else [])]
    lines = [
        [row["tag"], mean_and_sd(row["warm"][metric], row["n_seeds"]), *_gains(row, bool(rival))]
        for row in saved.compared
    ]
    return [{"charts": charts}, {"text": text}, table(caption, header, lines)]


def _beside(saved: Saved) -> list[Part]:
    """Draw this run with the plain baselines that it computed."""
    beside = saved.metrics.get("beside") if saved.metrics else None
    if not beside:
        return []
    rows = [saved.this_run, *({"tag": name, "n_seeds": 1, "warm": spread([of])} for name, of in beside.items())]
    keys = (saved.metric, saved.metric.replace("NDCG", "Recall"))
    charts = [
        bars(f"warm {key}", [(row["tag"], row["warm"][key], 1) for row in rows], frozenset(beside)) for key in keys
    ]
    text = (
        "Test pairs, ranked among the titles that someone collected in train. Grey bars are baselines as they are, "
        "without a search; run_ablation.py tunes them on valid."
    )
    return [{"charts": charts}, {"text": text}]


def _gains(row: Row, with_rival: bool) -> list[str]:
    rival = gain_and_p(row["gain_rival"], row["p_rival"]) if with_rival else []
    return [*gain_and_p(row["gain"], row["p"]), *rival]


def groups(saved: Saved) -> list[Part]:
    """Draw the test metric by user activity."""
    text = "All charts of a kind share one scale. A group without a test pair is left out."
    by_raters: list[Part] = []
    if "raters" in saved.rows[0]["groups"]:
        by_raters = [
            {"heading": f"Users by the number of titles they rated in train: test {saved.metric}"},
            {"charts": _group_charts(saved, "raters", "users")},
        ]
    return [
        {"heading": f"Users by the number of titles they collected in train: test {saved.metric}"},
        {"charts": _group_charts(saved, "users", "users")},
        *by_raters,
        {"text": text},
    ]


def title_groups(saved: Saved) -> list[Part]:
    """Draw the test metric by how often train collects a title."""
    text = (
        "Head is the most collected fifth of the titles in train, tail the other ones in train, cold those that nobody "
        "collected there. All charts share one scale; a group without a test pair is left out."
    )
    return [{"charts": _group_charts(saved, "items", "titles")}, {"text": text}]


def _group_charts(saved: Saved, side: str, unit: str) -> list[dict[str, Any]]:
    """Draw a chart of the rows for each group of a side; of a single row, one chart of its groups."""
    found = {group: row for group, row in saved.rows[0]["groups"][side].items() if saved.metric in row}
    titles = {
        group: f"{group} ({row['n_items' if side == 'items' else 'n_users']['mean']:,.0f} {unit})"
        for group, row in found.items()
    }
    if not saved.compared:
        groups_as_rows = [{"tag": titles[group], "n_seeds": 1, **row} for group, row in found.items()]
        return [row_bars(f"test {saved.metric}", groups_as_rows, saved.metric)]
    paths = {group: ("groups", side, group, saved.metric) for group in found}
    figures = [figure_at(row, *path) for row in saved.rows for path in paths.values()]
    top = max((figure["mean"] + figure["sd"] for figure in figures if figure), default=0)
    return [row_bars(titles[group], saved.rows, *path, top=top) for group, path in paths.items()]


def cold_start(saved: Saved) -> list[Part]:
    """Draw how well cold items are found, among each other and among all items."""
    rows = [row for row in saved.rows if row["cold"]]
    if not rows:
        return []
    charts = [
        row_bars(f"{saved.metric}, {how}", rows, "cold", where, saved.metric)
        for where, how in (("among_cold", "ranked among cold titles"), ("among_all", "ranked among all titles"))
    ]
    n_items = rows[0]["cold"]["n_items"]["mean"]
    text = f"Test pairs of {n_items:,.0f} titles that nobody collected in train. Each chart has its own scale."
    return [{"charts": charts}, {"text": text}]


def all_metrics(saved: Saved) -> list[Part]:
    """Lay out every metric of every row."""
    parts = ("warm", "test", "valid", "listed", "cold", "rated", "beyond")
    texts = [written({part: row[part] for part in parts if part in row}, row["n_seeds"]) for row in saved.rows]
    names = [name for name in union(texts) if name != "cold n items"]
    lines = []
    for row, text in zip(saved.rows, texts, strict=True):
        seconds = f"{row['fit_s']['mean']:.1f}" if "fit_s" in row else "-"
        more = [*gain_and_p(row["gain"], row["p"]), seconds, str(row["n_seeds"])]
        lines.append([row["tag"], *(text.get(name, "-") for name in names), *more, row["encoder"] or "none"])
    caption = (
        "Means, and ± standard deviations over seeds; gain and p as in Comparison; fit s: wall seconds from data and "
        "text vectors to final vectors, of a baseline for its whole grid"
    )
    header = ["row", *names, "gain", "p", "fit s", "seeds", "encoder"]
    return [table(caption, header, lines, folded=f"Open the table: {len(lines)} rows, {len(names)} figures each")]
