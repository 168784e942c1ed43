"""What tools/check.py found, as a page of 80 columns and the command of a first run."""

import os
import shlex
import textwrap
import unicodedata
from functools import partial
from typing import Any

from dataset.splits import PARTS
from runtime.settings import as_argument
from tools.run_time import Encoder

WIDTH, LABEL = 80, 26
_wrapped = partial(textwrap.wrap, break_long_words=False, break_on_hyphens=False)
_paragraph = partial(_wrapped, width=WIDTH, initial_indent="  ", subsequent_indent="    ")


def page(found: dict[str, Any]) -> str:
    """Lay out what check found."""
    if found["problems"]:
        problems = [_wrapped(f"- {problem}", WIDTH, subsequent_indent="  ") for problem in found["problems"]]
        lines = [f"{found['folder']}: main.py would refuse it", "", *(line for lines in problems for line in lines)]
        return "\n".join([*lines, "", "Fix this and check again: more may come to light then."])
    figures = found["profile"]
    lines = [found["folder"], *_counts(figures, found["min_rate"])]
    if "texts" in figures:
        lines += [*_rates(figures["rates"]), *_times(figures["times"]), *_texts(figures["texts"], figures["comments"])]
    lines += ["", "worth a look" if found["suspects"] else "nothing looks wrong"]
    for kind in found["suspects"]:
        lines += _paragraph(f"{kind['what']}: {kind['count']:,} ({kind['note']})")
        lines += [_cut(f"      {example}") for example in kind["examples"]]
        lines += ["      ..."] * (kind["count"] > len(kind["examples"]))
    lines += ["", "advice"]
    for sentence in found["advice"]:
        lines += _paragraph(sentence)
    words = _wrapped(_command(found), WIDTH - 2, initial_indent="  ", subsequent_indent="      ")
    lines += ["", "next", " \\\n".join(words)]  # as a shell takes it
    return "\n".join(lines + (["", *_seconds(found["seconds"], found["encoder"])] if "seconds" in found else []))


def _command(found: dict[str, Any]) -> str:
    """Return the command of a first run, with the settings that were given and those that differ from the defaults."""
    advised = [line.split(":")[0] for line in found["advice"] if line.startswith("--") and "(the default)" not in line]
    given = {flag: value for flag, value in found["settings"].items() if flag != "data_dir"}
    words = [f"--{key} {shlex.quote(as_argument(value))}" for key, value in given.items()]
    words += [advice for advice in advised if advice.split()[0].removeprefix("--") not in given]
    return " ".join(["python main.py --data_dir", shlex.quote(found["folder"]), *words])


def _counts(figures: dict[str, Any], min_rate: float) -> list[str]:
    counts = figures["counts"]
    parts = ", ".join(f"{counts[name]:,} {name}" for name in PARTS if counts[name])
    used = f", of which {counts['pairs']:,} are used" * (counts["rows"] != counts["pairs"])
    of_tables = "as the column part says" if figures["split"] == "given" else f"rate {min_rate:g} or more"
    positive = of_tables if "rates" in figures else "all pairs"
    rows = {
        "users": f"{counts['users']:,}",
        "titles": f"{counts['titles']:,}, {counts['titles without a row']:,} of them without any row",
        "rows": f"{counts['rows']:,}{used}",
        "known only": f"{counts['known only']:,} pairs of known.tsv: no positives, never listed",
        "positives": f"{counts['positives']:,} ({positive}): {parts}",
        "sparsity": f"{1 - counts['density']:.3%} of all pairs are not there",
        "rows of a user": _quartiles(figures["rows per user"]),
        "rows of a title": _quartiles(figures["rows per title"]),
    }
    return [_row(label, text) for label, text in rows.items() if label != "known only" or counts["known only"]]


def _rates(rates: dict[str, Any]) -> list[str]:
    total, most = sum(rates["counts"].values()), max(rates["counts"].values(), default=0)
    return [
        *("", "rates", _row("unrated", percent(rates["unrated"]))),
        *(_row(rate, f"{percent(n / total):>5s} {'#' * round(40 * n / most)}") for rate, n in rates["counts"].items()),
    ]


def _times(times: dict[str, Any]) -> list[str]:
    lines = ["", "times", _row("rows with a time", percent(times["share"]))]
    if times["share"]:
        often = times["most frequent"]
        lines += [
            _row("range", f"{times['first']} to {times['last']}"),
            _row("distinct", f"{percent(times['distinct'])}: no other row of the user has the same"),
            _row("most frequent", f"{often['time']}, {percent(often['share'])} of the rows with a time"),
        ]
    return lines


def _texts(texts: dict[str, Any], comments: dict[str, Any]) -> list[str]:
    lines = [
        *("", "text", *(_row(f"titles with {part}", percent(texts[part])) for part in ("name", "tags", "summary"))),
        _row("tags of a title", _quartiles(texts["tags of a title"])),
        _row("characters of a summary", _quartiles(texts["summary length"])),
        _row("scripts of titles", _scripts(texts["scripts"])),
        _row("rows with a comment", percent(comments["share"])),
    ]
    if comments["share"]:
        lines += [
            _row("characters of a comment", _quartiles(comments["length"])),
            _row("scripts of comments", _scripts(comments["scripts"])),
        ]
    return lines


def _seconds(seconds: dict[str, float], encoder: dict[str, str] | None) -> list[str]:
    minutes = max(1, round(sum(seconds.values()) / 60))
    took = f"{minutes} minute{'s' * (minutes > 1)}" if minutes < 120 else f"{minutes / 60:.0f} hours"
    lines = [f"a run of --preset tuned here: about {took}"]
    lines += _paragraph(", ".join(f"{name} {part:,.0f} s" for name, part in seconds.items()), subsequent_indent="  ")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1):
        lines.append("  other programs keep this machine busy just now; without them it takes less")
    if encoder and not Encoder(**encoder).is_here:
        more = f"and the download of {encoder['name']}, and its encoding of all texts: check again once it is on disk"
        lines += _paragraph(more, subsequent_indent="  ")
    return lines


def _row(label: str, text: str) -> str:
    label = f"  {label}"
    label += " " * max(1, LABEL - _width(label))
    return label + ("\n" + " " * LABEL).join(textwrap.wrap(text, WIDTH - LABEL) or ["-"])


def _quartiles(found: dict[str, float]) -> str:
    if not found:
        return "-"
    least, quarter, median, three, most = (f"{value:,.0f}" for value in found.values())
    return f"median {median}, half from {quarter} to {three}, all from {least} to {most}"


def _scripts(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {percent(share)}" for name, share in found.items())


def percent(share: float) -> str:
    """Write a share without rounding to nothing or to all what is neither."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def _width(text: str) -> int:
    """Count columns on a terminal: two for what is as wide as a Chinese character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )


def _cut(text: str) -> str:
    """Cut text to the width of the page."""
    if _width(text) <= WIDTH:
        return text
    while _width(text) > WIDTH - 1:
        text = text[:-1]
    return text + "\u2026"
