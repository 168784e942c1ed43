"""The pieces that sections of the report are made of."""

from typing import Any

# a piece of a section, as the template takes it: missing, heading, text, legend, charts, table, folded, or users
Part = dict[str, Any]


def missing(what: str, maker: str) -> Part:
    """Name what is not there, and the maker (see report.MAKERS) whose command makes it."""
    return {"missing": what, "maker": maker}


def table(caption: str, header: list[str], cells: list[list[str]], kind: str = "") -> Part:
    """Describe a table, the first cell of each line being its heading; a wide one scrolls by itself."""
    return {"table": {"caption": caption, "header": header, "lines": cells, "kind": kind}}


def as_text(value: Any) -> str:
    """Write a value of any kind for a cell."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
