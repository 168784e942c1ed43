"""The section of the report about what people rated: how much of what they liked is found, and of what they did not."""

from typing import Any

from config import TASTES
from evaluation.comparisons import figure_at
from web.report_files import Saved
from web.report_parts import Part, figure_lines, kind_bars, row_bars, table


def by_rates(saved: Saved) -> list[Part]:
    """Draw and lay out the test figures by rates; nothing where the data have none."""
    rows = [row for row in saved.rows if "rated" in row]
    if not rows:
        return []
    metric, k = saved.metric, saved.metric.partition("@")[2]
    paths = {f"{taste} {key}": (taste, key) for key in (metric, f"Recall@{k}") for taste in TASTES}
    paths |= {f"disliked share@{k}": ("disliked", f"share@{k}"), f"mean z@{k}": (f"mean z@{k}",)}
    if saved.compared:
        charts = [row_bars(f"liked {metric}", rows, "rated", "liked", metric)]
    else:
        kinds = {"all test pairs": ("warm", metric)} | {taste: ("rated", taste, metric) for taste in TASTES}
        charts = [kind_bars(f"test {metric}", rows[0], kinds)]
    caption = f"What people rated, among the titles that someone collected in train: {_counts(rows[0]['rated'])}"
    return [
        {"charts": charts},
        table(caption, ["row", *paths], figure_lines(rows, "rated", paths)),
        *({"text": text} for text in _explained(k, rows[0]["rated"])),
    ]


def _counts(rated: dict[str, Any]) -> str:
    """Say of how many pairs and users the figures are, over all seeds on average."""
    parts = [("rated", rated["n_rated"], rated["n_users"])]
    parts += [(name, rated[name]["n_pairs"], rated[name]["n_users"]) for name in (*TASTES, "disliked")]
    return ", ".join(f"{n['mean']:,.0f} {name} test pairs of {u['mean']:,.0f} users" for name, n, u in parts)


def _explained(k: str, rated: dict[str, Any]) -> list[str]:
    """Say what each figure is, in a sentence each."""
    of_all = f"{figure_at(rated, 'mean z of all').get('mean', 0.0):.4f}"
    return [
        "z is how far a rate lies above the user's own mean of train, in the user's own spreads.",
        "liked: a test pair counts as found only if it was rated with a z of 0 or more.",
        "loved: it counts only with a z of 0.5 or more.",
        f"disliked share: of the test pairs with a z of -1 or less, those that stand in the first {k} titles of their "
        "users' lists; less is better.",
        f"mean z: the mean z of the rated test pairs that stand there, where that of all of them is {of_all}; more is "
        "better.",
    ]
