"""Figures as text: means with deviations, gains with p values, and tables in Markdown and LaTeX."""

import math
import re
import textwrap
from typing import Any, NamedTuple

COLUMNS = 100  # of a terminal that tables and notes fit
DIGITS = 4  # after the point, of a figure without a deviation
SMALLEST_P = 0.001  # three runs of rows that do not differ have a smaller one in 1 to 2% of cases

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    **{character: "\\" + character for character in "{}$&#_%"},
}


class Bold(str):
    """A cell that stands out."""

    is_bold = True  # which the template of the report asks


class Table(NamedTuple):
    """Lines of cells, the first line being the heading, and what the table is about."""

    title: str
    lines: list[list[str]]


def markdown(lines: list[list[str]]) -> str:
    """Lay out lines of cells, the first being the heading; every column but the first is aligned right."""
    texts = [[f"**{cell}**" if isinstance(cell, Bold) else cell for cell in line] for line in lines]
    widths = [max(2, *map(len, column)) for column in zip(*texts, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in (texts[0], rule, *texts[1:])
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def as_markdown(tables: list[Table], notes: list[str]) -> str:
    """Lay out tables, each under its title, and notes under the last, in at most COLUMNS columns where cells allow."""
    parts = [f"{table.title}:\n\n{markdown(table.lines)}" for table in tables]
    return "\n\n".join(
        [*parts, "\n".join(textwrap.fill(f"- {note}", COLUMNS, subsequent_indent="  ") for note in notes)]
    )


def as_latex(tables: list[Table], notes: list[str]) -> str:
    r"""Lay out tables in LaTeX, with the notes in the last caption; the document needs \usepackage{booktabs}."""
    captions = [table.title + "." for table in tables]
    captions[-1] = " ".join([captions[-1], *notes])
    parts = [r"% in the preamble: \usepackage{booktabs}"]
    for table, caption in zip(tables, captions, strict=True):
        head, *body = [" & ".join(map(_latex_cell, line)) + r" \\" for line in table.lines]
        columns = "l" + "r" * (len(table.lines[0]) - 1)
        rows = [r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
        inner = [rf"\begin{{tabular}}{{{columns}}}", *rows, r"\end{tabular}", rf"\caption{{{latex(caption)}}}"]
        parts += [r"\begin{table}", r"\centering", *inner, r"\end{table}"]
    return "\n".join(parts) + "\n"


def latex(text: str) -> str:
    """Write a text so that LaTeX prints it, whatever characters it has."""
    return "".join(LATEX.get(character, character) for character in re.sub(r"\s", " ", text))


def _latex_cell(cell: str) -> str:
    return rf"\textbf{{{latex(cell)}}}" if isinstance(cell, Bold) else latex(cell)


def mean_and_sd(number: dict[str, float], n_seeds: int) -> str:
    """Write a figure of significance.spread; a single seed has no deviation.

    The deviation has one digit that counts, two where that is a 1, and the mean ends where it does: 0.3936 ± 0.0032 is
    0.394 ± 0.003, and 0.3936 ± 0.0117 is 0.394 ± 0.012.
    """
    digits = DIGITS
    if n_seeds > 1 and number["sd"] > 0 and math.isfinite(number["sd"]):
        leading, _, exponent = f"{number['sd']:.0e}".partition("e")
        digits = min(DIGITS, max(0, (leading == "1") - int(exponent)))
    return f"{number['mean']:.{digits}f}" + (f" ± {number['sd']:.{digits}f}" if n_seeds > 1 else "")


def p_text(p: float | None) -> str:
    """Write a p value, "< 0.001" at the least: smaller ones are not to be trusted; empty where there is none."""
    if p is None:
        return ""
    return f"{p:.3f}" if p >= SMALLEST_P else f"< {SMALLEST_P}"


def gain_and_p(gain: float | None, p: float | None) -> list[str]:
    """Write a gain and its p value, each empty where there is none."""
    return ["" if gain is None else f"{gain:+.4f}", p_text(p)]


def best_trials(found: dict[str, Any], n: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the searched keys of a tuning.json, the most important first, and its n best trials, best first."""
    keys = [key for key in found["importance"] or found["trials"][0] if key not in ("number", "state", "valid")]
    done = [trial for trial in found["trials"] if trial["state"] == "complete"]
    return keys, sorted(done, key=lambda trial: -trial["valid"])[:n]
