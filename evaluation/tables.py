"""Figures as text: means with deviations, gains with p values, and Markdown tables."""

from typing import Any


def markdown(lines: list[list[str]]) -> str:
    """Lay out lines of cells, the first being the heading; every column but the first is aligned right."""
    widths = [max(2, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def mean_and_sd(number: dict[str, float], n_seeds: int) -> str:
    """Write a figure of significance.spread; a single seed has no deviation."""
    return f"{number['mean']:.4f}" + (f" ± {number['sd']:.4f}" if n_seeds > 1 else "")


def gain_and_p(gain: float | None, p: float | None) -> list[str]:
    """Write a gain and its p value, each empty where there is none."""
    return ["" if gain is None else f"{gain:+.4f}", "" if p is None else f"{p:.1g}"]


def ablation_table(rows: list[dict[str, Any]]) -> str:
    """Lay out the rows of an ablation in Markdown: test metrics, mean and, over several seeds, standard deviation.

    Recall and NDCG are those of the warm test, which ranks warm items only; "lost by listing" is the share of that NDCG
    which is lost where cold items are listed as well.
    """
    k = max(int(key.split("@")[1]) for key in rows[0]["warm"] if "@" in key)
    table = [_ablation_cells(row, k, with_cold=any(row["cold"] for row in rows)) for row in rows]
    return markdown([list(table[0]), *(list(cells.values()) for cells in table)])


def _ablation_cells(row: dict[str, Any], k: int, with_cold: bool) -> dict[str, str]:
    ndcg, n = f"NDCG@{k}", row["n_seeds"]
    warm, listed = row["warm"][ndcg]["mean"], row["listed"]["warm"][ndcg]["mean"]
    cells = {"row": row["tag"], **{key: mean_and_sd(row["warm"][key], n) for key in (f"Recall@{k}", ndcg)}}
    cells["lost by listing"] = f"{1 - listed / warm if warm else 0.0:.1%}"
    if with_cold:
        for where in ("among_cold", "among_all"):
            cells[f"cold {ndcg} {where.replace('_', ' ')}"] = mean_and_sd(row["cold"][where][ndcg], n)
        cells[f"joint {ndcg}"] = mean_and_sd(row["listed"]["joint"][ndcg], n)
    cells["coverage"] = mean_and_sd(row["beyond"]["Coverage"], n)
    return {**cells, "p": gain_and_p(None, row["p"])[1], "train s": f"{row['train_s']['mean']:.1f}"}


def best_trials(found: dict[str, Any], n: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the searched keys of a tuning.json, the most important first, and its n best trials, best first."""
    keys = [key for key in found["importance"] or found["trials"][0] if key not in ("number", "state", "valid")]
    done = [trial for trial in found["trials"] if trial["state"] == "complete"]
    return keys, sorted(done, key=lambda trial: -trial["valid"])[:n]
