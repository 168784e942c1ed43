"""The sections of the report about training: loss and metric by epoch, and what was chosen on valid."""

from typing import Any

from evaluation.comparisons import largest_ndcg
from web.charts import lines, ticks
from web.report_files import Saved
from web.report_parts import Own, Part, as_text, table, union


def curves(saved: Saved) -> list[Part]:
    """Draw the valid metric and the loss by epoch, with a chart for each kind of loss."""
    known = union(epoch for epochs in saved.histories.values() for epoch in epochs)
    metric = largest_ndcg(known) if any(key.startswith("NDCG@") for key in known) else ""
    losses: dict[str, dict[str, Any]] = {}
    for tag, epochs in saved.histories.items():
        kind = saved.runs.get(tag, {}).get("config", {}).get("loss", "train")
        losses.setdefault(kind, {})[tag] = [(epoch["epoch"], epoch["loss"], 0) for epoch in epochs]
    valid = {
        tag: [(epoch["epoch"], epoch[metric], 0) for epoch in epochs if metric in epoch]
        for tag, epochs in saved.histories.items()
    }
    last = max(epoch["epoch"] for epochs in saved.histories.values() for epoch in epochs)
    between = [int(tick) for tick in ticks(1, last) if tick == int(tick) and 1 + last / 10 < tick < last * 0.9]
    x_ticks = [(tick, str(tick)) for tick in dict.fromkeys([1, *between, last])]
    style = {tag: number for number, tag in enumerate(valid)}
    charts = [lines(f"valid {metric}", valid, x_ticks, style, "epoch", best=True)] if metric else []
    charts += [lines(f"{kind} loss", drawn, x_ticks, style, "epoch", from_zero=False) for kind, drawn in losses.items()]
    best = "Filled markers are the best epochs on valid." if metric else "There is no valid part to measure epochs by."
    text = f"The first seed of each row. {best} The loss axis does not start at 0."
    return [{"legend": style}, {"charts": charts}, {"text": text}]


def chosen_on_valid(saved: Saved) -> list[Part]:
    """Show what this run left to valid, and the metric of each choice that was tried."""
    decided = saved.metrics["decided"]
    linear = decided.get("linear") or {}
    groups = {
        "weight of": decided.get("weights", {}),
        "new titles,": decided.get("cold_offset", {}),
        "linear columns,": {name: value for name, value in linear.items() if name != "tried"},
    }
    grouped = {f"{group} {name}": value for group, values in groups.items() for name, value in values.items()}
    chosen = decided.get("selected", {}) | grouped
    if not chosen:
        return [{"text": "With these settings valid chose the best epoch and nothing else."}]
    tried = {
        "short runs tried": [
            # an earlier version told no epochs
            {
                **run["choice"],
                **{key: run[key] for key in ("epochs", "liked") if key in run},
                decided["metric"]: run["figure"],
            }
            for run in decided.get("by", [])
        ],
        "linear columns tried": linear.get("tried", []),
        "weights tried": decided.get("tried", []),
    }
    parts = [
        table(
            "What this run chose on valid",
            ["what", "value"],
            [[Own(name), as_text(value)] for name, value in chosen.items()],
            "text",
        )
    ]
    for name, runs in tried.items():
        if runs:
            keys = union(runs)
            cells = [[as_text(run[key]) if key in run else "-" for key in keys] for run in runs]
            numbered = [[str(number), *line] for number, line in enumerate(cells, start=1)]
            caption, folded = (
                "Valid metrics are those among the titles that someone collected in train",
                f"{name}: {len(runs)}",
            )
            parts.append(table(caption, ["", *keys], numbered, folded=folded))
    return parts
