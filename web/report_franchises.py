"""The section of the report about franchises: how well lists continue what a user knows, and find what is new."""

from typing import Any

from web.report_files import Saved
from web.report_parts import Part, figure_lines, kind_bars, row_bars, table

KINDS = ("discovery", "continuing")


def by_franchise(saved: Saved) -> list[Part]:
    """Draw and lay out the test figures by franchise; nothing where each title is one of its own."""
    rows = [row for row in saved.rows if "franchises" in row]
    if not rows:
        return []
    metric, k = saved.metric, saved.metric.partition("@")[2]
    paths = {f"{kind} {key}": (kind, key) for key in (metric, f"Recall@{k}") for kind in KINDS}
    of_lists = {f"{name}@{k}": ("lists", f"{name}@{k}") for name in ("known", "franchises", "ahead", "collectors")}
    if saved.compared:
        charts = [row_bars(f"{kind} {metric}", rows, "franchises", kind, metric) for kind in KINDS]
    else:
        charts = [kind_bars(f"test {metric}", rows[0], {kind: ("franchises", kind, metric) for kind in KINDS})]
    caption = f"Franchises, among the titles that someone collected in train: {_counts(rows[0]['franchises'])}"
    return [
        {"charts": charts},
        table(caption, ["row", *paths], figure_lines(rows, "franchises", paths)),
        table(f"The first {k} titles of lists", ["row", *of_lists], figure_lines(rows, "franchises", of_lists)),
        *({"text": text} for text in _explained(k)),
    ]


def _counts(found: dict[str, Any]) -> str:
    """Say of how many pairs and users the figures are, over all seeds on average."""
    counts = [(kind, found[kind]["n_pairs"]["mean"], found[kind]["n_users"]["mean"]) for kind in KINDS]
    return ", ".join(f"{pairs:,.0f} {kind} test pairs of {users:,.0f} users" for kind, pairs, users in counts)


def _explained(k: str) -> list[str]:
    """Say what each figure is, in a sentence each."""
    return [
        "discovery: test pairs of franchises that the user is not known by, found among the titles of such franchises.",
        "continuing: all other test pairs, found among the titles of franchises that the user is known by.",
        f"known: the share of the first {k} titles of lists that belong to a franchise the user is known by; "
        "franchises: how many different ones a list has.",
        "ahead: the share of titles whose predecessor the user has not seen, and the list does not name above them.",
        "collectors: how many users collected a listed title in train, the median.",
    ]
