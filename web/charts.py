"""The geometry of the report's charts: numbers in, positions out; report.html.jinja draws them.

All lengths are in the chart's own units, about a pixel of a small phone each.
"""

import math
from typing import Any

from evaluation.tables import mean_and_sd

WIDTH, LEFT, HEIGHT = 340, 44, 220
MARKERS = (
    "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0",
    "m-3,-3h6v6h-6z",
    "m0,-4l4,7h-8z",
    "m0,-4l4,4l-4,4l-4,-4z",
    "m-3,-3l6,6m0,-6l-6,6",
)

Number = dict[str, float]  # {"mean", "sd"}


def bars(title: str, points: list[tuple[str, Number, int]], base: frozenset[str], top: float = 0) -> dict[str, Any]:
    """Lay out horizontal bars from 0, each below its label and figure.

    Args:
        title: of the chart.
        points: label, {"mean", "sd"}, and the number of seeds.
        base: the labels that are drawn as baselines.
        top: what the axis must reach at least, where charts share a scale.
    """
    drawn = [(number["mean"], number["sd"]) if math.isfinite(number["mean"]) else (0, 0) for _, number, _ in points]
    marks = ticks(0, max([top, *(mean + sd for mean, sd in drawn)]))
    scale, foot = (WIDTH - 24) / marks[-1], 36 * len(points) + 6
    rows = []
    for (label, number, n_seeds), (mean, sd), y in zip(points, drawn, range(6, foot, 36), strict=True):
        error = [round(8 + end * scale, 1) for end in (max(0, mean - sd), mean + sd)] if sd > 0 else None
        row = {"label": label, "text": mean_and_sd(number, n_seeds), "is_base": label in base}
        rows.append({**row, "y": y, "length": round(mean * scale, 1), "error": error})
    x_ticks = [(round(8 + mark * scale, 1), f"{mark:g}") for mark in marks]
    return {"title": title, "height": foot + 20, "foot": foot, "rows": rows, "ticks": x_ticks}


def lines(
    title: str,
    series: dict[str, list[tuple[float, float, float]]],
    x_ticks: list[tuple[float, str]],
    style: dict[str, int],
    x_name: str,
    from_zero: bool = True,
    best: bool = False,
) -> dict[str, Any]:
    """Lay out lines with markers.

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
    y_ticks = ticks(0 if from_zero else min(ys), max(tops))
    xs = [*xs, *(x for x, _ in x_ticks)]  # so that charts with the same ticks have the same scale
    x_scale = (WIDTH - LEFT - 24) / ((max(xs) - min(xs)) or 1)
    y_scale = (HEIGHT - 44) / ((y_ticks[-1] - y_ticks[0]) or 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + 8 + (x - min(xs)) * x_scale, 1), round(HEIGHT - 36 - (y - y_ticks[0]) * y_scale, 1)

    placed = {
        label: [(*at(x, y), *(at(x, end)[1] for end in (max(0, y - sd), y + sd))) for x, y, sd in line]
        for label, line in series.items()
    }
    return {
        "title": title,
        "labels": list(series),
        "x_name": x_name,
        "y_ticks": [(at(0, tick)[1], f"{tick:g}") for tick in y_ticks],
        "x_ticks": [(at(x, 0)[0], text) for x, text in x_ticks],
        "lines": [_line(label, placed[label], style[label], best) for label, line in series.items() if line],
    }


def _line(label: str, points: list[tuple[float, ...]], number: int, best: bool) -> dict[str, Any]:
    """Lay out one line from points x, y, and the ends of the error bar; of many points only some get a mark."""
    every, peak = len(points) // 12 + 1, min(y for _, y, _, _ in points)
    marks = [(x, y, best and y == peak) for x, y, _, _ in points]
    marks = [mark for place, mark in enumerate(marks) if place % every == 0 or mark[2]]
    path = "L".join(f"{x},{y}" for x, y, _, _ in points)
    errors = [(x, low, high) for x, _, low, high in points if low != high]
    return {"label": label, "number": number, "marks": marks, "path": path, "errors": errors}


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about four steps of them, that enclose low and high."""
    span = (high - low) or abs(high) or 1
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step * 4 >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]
