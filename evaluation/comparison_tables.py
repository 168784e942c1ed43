"""The tables of a comparison, and what has to be known to read them."""

import csv
import io
from pathlib import Path
from typing import Any

from evaluation.comparisons import Result, Row, best_baseline, every_figure, figure_at, largest_ndcg
from evaluation.tables import Bold, Table, as_latex, as_markdown, mean_and_sd, p_text
from runtime.files import atomic_write

COLUMNS_OF_CSV = ("row", "seed", "split_seed", "part", "metric", "value")

SIGNIFICANT, ENOUGH_RUNS = 0.05, 5  # what is bold


def write_tables(folder: Path, rows: list[Row], results: dict[str, list[Result]], name: str = "results") -> str:
    """Write name.md, name.tex, and name.csv with every figure of every run.

    Args:
        folder: where they go.
        rows: as from summary and add_p_values.
        results: tag -> runs, of the same rows; see every_figure.

    Returns:
        The content of name.md.
    """
    shown, lines = (tables(rows), notes(rows)), io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([COLUMNS_OF_CSV, *every_figure(results)])
    contents = {"md": as_markdown(*shown), "tex": as_latex(*shown), "csv": lines.getvalue()}
    for ending, content in contents.items():
        with atomic_write(folder / f"{name}.{ending}") as file:
            file.write(content.encode())
    return contents["md"]


def tables(rows: list[Row]) -> list[Table]:
    """Lay out test figures, mean and deviation: of titles with a history, what listing the others brings and costs,
    where the data have rates, what of the liked and disliked is listed, and by franchise, where titles have any.

    Args:
        rows: as from summary and add_p_values.
    """
    ndcg = largest_ndcg(rows[0]["warm"])
    warm, new = ([cells(row, ndcg) for row in rows] for cells in (_warm_cells, _new_cells))
    found = [_table("Test, titles with a history", warm), _table("New titles, and what listing them costs", new)]
    if any("rated" in row for row in rows):
        found.append(_table("What people rated, titles with a history", [_rated_cells(row, ndcg) for row in rows]))
    if any("franchises" in row for row in rows):
        found.append(_table("Franchises, titles with a history", [_franchise_cells(row, ndcg) for row in rows]))
    return found


def _table(title: str, rows: list[dict[str, str]]) -> Table:
    """Make a table of the columns in which any row has something."""
    columns = [column for column in rows[0] if any(cells[column] for cells in rows)]
    return Table(title, [columns, *([cells[column] for column in columns] for cells in rows)])


def _warm_cells(row: Row, ndcg: str) -> dict[str, str]:
    figures = {key: mean_and_sd(row["warm"][key], row["n_seeds"]) for key in (ndcg.replace("NDCG", "Recall"), ndcg)}
    seconds = f"{row['fit_s']['mean']:.1f}" if "fit_s" in row else ""
    return {"row": row["tag"], **_with_p(figures, ndcg, row, row.get("n_paired", row["n_seeds"])), "fit s": seconds}


def _rated_cells(row: Row, ndcg: str) -> dict[str, str]:
    share, tested = ndcg.replace("NDCG", "share"), row.get("liked", {})
    found = {f"{taste} {ndcg}": figure_at(row, "rated", taste, ndcg) for taste in ("liked", "loved")}
    found["disliked share"] = figure_at(row, "rated", "disliked", share)
    figures = {name: mean_and_sd(figure, row["n_seeds"]) if figure else "" for name, figure in found.items()}
    n_tested = tested.get("n_paired", row["n_seeds"])
    return {"row": row["tag"], **_with_p(figures, f"liked {ndcg}", tested, n_tested)}


def _franchise_cells(row: Row, ndcg: str) -> dict[str, str]:
    k, tested = ndcg.partition("@")[2], row.get("discovery", {})
    found = {f"{kind} {ndcg}": figure_at(row, "franchises", kind, ndcg) for kind in ("discovery", "continuing")}
    found |= {key: figure_at(row, "franchises", "lists", f"{key}@{k}") for key in ("known", "franchises", "ahead")}
    figures = {name: mean_and_sd(figure, row["n_seeds"]) if figure else "" for name, figure in found.items()}
    n_tested = tested.get("n_paired", row["n_seeds"])
    return {"row": row["tag"], **_with_p(figures, f"discovery {ndcg}", tested, n_tested)}


def _with_p(figures: dict[str, str], tested: str, found: dict[str, Any], n_tested: int) -> dict[str, str]:
    """Add the columns of p, and make bold what passes: a p, and the tested figure of a row that is ahead by one."""
    if (found.get("gain_rival") or 0) > 0 and passes(found.get("p_rival"), n_tested):
        figures = {**figures, tested: Bold(figures[tested])}
    p_values = {
        column: Bold(p_text(p)) if passes(p, n_tested) else p_text(p)
        for column, p in (("p text", found.get("p")), ("p rival", found.get("p_rival")))
    }
    return {**figures, **p_values, "p users": p_text(found.get("p_over_users"))}


def passes(p: float | None, n_seeds: int) -> bool:
    """Tell whether a corrected p counts as significant; tables mark what passes, and nothing else."""
    return p is not None and p < SIGNIFICANT and n_seeds >= ENOUGH_RUNS


def _new_cells(row: Row, ndcg: str) -> dict[str, str]:
    """Return the share of the warm NDCG that is lost where cold items are listed as well, and what is found of them."""
    warm, listed = row["warm"][ndcg]["mean"], row["listed"]["warm"][ndcg]["mean"]
    lost = round(1 - listed / warm if warm else 0.0, 3) + 0.0  # or it could be -0.0
    found = {
        f"cold {ndcg}": row["cold"].get("among_cold", {}),
        "among all": row["cold"].get("among_all", {}),
        f"joint {ndcg}": row["listed"]["joint"],
    }
    figures = {name: mean_and_sd(part[ndcg], row["n_seeds"]) if ndcg in part else "" for name, part in found.items()}
    return {"row": row["tag"], "lost": f"{lost:.1%}", **figures}


def notes(rows: list[Row]) -> list[str]:
    """Say what the columns of the tables are, where the figures vary, and what is bold."""
    ndcg, n = largest_ndcg(rows[0]["warm"]), max(row["n_seeds"] for row in rows)
    cold = (
        "cold: new titles, ranked among each other and among all titles; " if any(row["cold"] for row in rows) else ""
    )
    found = [
        *_deviation(rows, n),
        f"lost: share of {ndcg} that is lost where new titles are listed as well; {cold}joint: test pairs of both "
        "kinds of titles, ranked among all.",
    ]
    found += _about_drawn(rows, ndcg)
    if any("rated" in row for row in rows):
        found.append(_about_rates(ndcg))
    if any("franchises" in row for row in rows):
        found.append(_about_franchises(ndcg))
    found += _about_p(rows)
    seconds = (
        "fit s: wall seconds from split data and text vectors to final vectors, with all choices on valid; of a "
        "baseline, for its whole grid. Encoding texts, which all rows share, is not in it"
    )
    unknown = [row["tag"] for row in rows if "fit_s" not in row]
    return [*found, seconds + (f"; not measured for {', '.join(unknown)}." if unknown else ".")]


def _deviation(rows: list[Row], n: int) -> list[str]:
    if n == 1:
        return ["One run a row: no deviation, and no p that holds for other runs; five seeds give both."]
    if all(row.get("n_splits") == 1 for row in rows):
        return [f"±: deviation over {n} seeds of the model; the split has none."]
    return [f"±: standard deviation over {n} seeds, each with a split of its own."]


def _about_drawn(rows: list[Row], ndcg: str) -> list[str]:
    """Say how many users figures are of, where they were drawn, and how exact the best row's are."""
    found = []
    for part, key in (("valid", "valid"), ("test", "warm")):
        best = max(rows, key=lambda row: row[key][ndcg]["mean"])
        if drawn := best[key].get("drawn"):
            n_users, of, error = (
                figure["mean"] for figure in (drawn["n_users"], drawn["of"], drawn["standard_error"][ndcg])
            )
            found.append(
                f"{part}: of {n_users:,.0f} users drawn from {of:,.0f}, the same for each row; of {best['tag']} the "
                f"standard error of {ndcg} over users is {error:.4f}. A difference of rows, whose users are paired, is "
                "more exact."
            )
    return found


def _about_rates(ndcg: str) -> str:
    return (
        f"liked, loved: {ndcg} where only test pairs count that were rated at or above the user's mean, or half of the "
        f"user's spread above it; disliked share: of pairs rated a spread below it, those in the first "
        f"{ndcg.partition('@')[2]} titles of a list, so less is better. p in that table are of liked {ndcg}, corrected "
        "among themselves."
    )


def _about_franchises(ndcg: str) -> str:
    k = ndcg.partition("@")[2]
    return (
        f"discovery: {ndcg} of test pairs of franchises that are new to the user, among titles of such franchises; "
        f"continuing: of all others, among the others. Of the first {k} titles of a list: known, the share of "
        "franchises that are not new to the user; franchises, how many different ones; ahead, the share whose "
        "predecessor is neither seen nor listed above. p in that table are of discovery, corrected among themselves."
    )


def _about_p(rows: list[Row]) -> list[str]:
    """Describe the columns of p that are there, and the rule by which something is bold."""
    rival, unpaired = rows[0].get("rival"), {}
    for row in rows:
        unpaired.setdefault(row.get("unpaired"), []).append(row["tag"])
    found = [f"Not tested against {rival}: {', '.join(tags)} ({why})." for why, tags in unpaired.items() if why]
    if any(row.get("p_over_users") is not None for row in rows):
        found.append(
            f"p users: against {rival}, paired, over users alone, by Holm's method as well. A single run does not show "
            "how much runs vary: of rows that differ in nothing but their seeds, half can have p < 0.05 by this."
        )
    chosen = ", the baseline that is best on valid" if rival == best_baseline(rows) else ""
    columns = {
        "p text: against the row without text of the same fusion": "p",
        f"p rival: against {rival}{chosen}": "p_rival",
    }
    there = [words for words, key in columns.items() if any(row.get(key) is not None for row in rows)]
    if not there:
        return found
    test = "two-sided, paired, over users and runs, corrected by Holm's method over all p of the table"
    rule = f"Bold: p < {SIGNIFICANT}" + (
        f", and the NDCG of a row that is ahead of {rival} by such a p" if rival else ""
    )
    n = max(row.get("n_paired", row["n_seeds"]) for row in rows)
    if n < ENOUGH_RUNS:
        rule += f"; only with {ENOUGH_RUNS} runs or more, here {n}"
    return [*found, "; ".join(there) + f". {test[0].upper()}{test[1:]}.", rule + "."]
