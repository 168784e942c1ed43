"""What a section of the report is made of: notes, tables and charts, and how a figure is written in them."""

from collections.abc import Iterable
from typing import Any

from evaluation.baselines import BASELINES
from evaluation.comparisons import figure_at
from evaluation.tables import mean_and_sd
from web.charts import bars

# a piece of a section as the template takes it, named by its first key: further, heading, text, legend, charts, table
# (which "folded" shuts in a box to open), or users
Part = dict[str, Any]
Row = dict[str, Any]  # of ablation/results.json


class Own(str):
    """A word of the page's own among names and values, which stay as they are in any language."""

    is_own = True  # which the template asks


def table(caption: str, header: list[str], lines: list[list[str]], kind: str = "", folded: str = "") -> Part:
    """Describe a table, the first cell of each line being its heading; a wide one scrolls by itself.

    Args:
        caption: above it.
        header: the first line.
        lines: of cells.
        kind: "text" for one of names and values, of which only cells that are Own are put into the page's language;
            "headline" for a larger one.
        folded: what is written on the box that shuts it in, if one does.
    """
    found = {"table": {"caption": caption, "header": header, "lines": lines, "kind": kind}}
    return {"folded": folded, **found} if folded else found


def row_bars(title: str, rows: list[Row], *path: str, top: float = 0) -> dict[str, Any]:
    """Draw one figure of each row that has it.

    Args:
        title: of the chart.
        rows: as in ablation/results.json; baselines are drawn as such.
        path: the keys that lead from a row to the figure, such as "warm", "NDCG@20".
        top: what the axis must reach at least, where charts share a scale.
    """
    found = [(row["tag"], figure_at(row, *path), row["n_seeds"]) for row in rows]
    return bars(title, [(tag, figure, n_seeds) for tag, figure, n_seeds in found if figure], frozenset(BASELINES), top)


def kind_bars(title: str, row: Row, paths: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Draw figures of one row, a bar for each that it has: label -> the keys that lead to it."""
    found = {label: figure_at(row, *path) for label, path in paths.items()}
    return bars(title, [(label, figure, row["n_seeds"]) for label, figure in found.items() if figure], frozenset())


def figure_lines(rows: list[Row], part: str, paths: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """Write figures for a table, a row a line: its tag, and what each path below a part of it leads to."""
    return [
        [row["tag"], *(mean_and_sd(found, row["n_seeds"]) if found else "-" for found in figures)]
        for row in rows
        for figures in [[figure_at(row, part, *path) for path in paths.values()]]
    ]


def written(found: dict[str, Any], n_seeds: int, name: str = "") -> dict[str, str]:
    """Write every figure in nested dicts: a name such as "cold among all NDCG@20" -> mean and deviation."""
    if "mean" in found:
        return {name.replace("_", " ").strip(): mean_and_sd(found, n_seeds)}
    parts = [written(inner, n_seeds, f"{name} {part}") for part, inner in found.items()]
    return {key: text for part in parts for key, text in part.items()}


def as_text(value: Any) -> str:
    """Write a value of any kind for a cell."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def union(dicts: Iterable[dict[str, Any]]) -> list[str]:
    """Return the keys of some dicts, in order of first appearance."""
    return list(dict.fromkeys(key for one in dicts for key in one))
