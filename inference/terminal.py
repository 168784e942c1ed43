"""Lists and figures laid out for a terminal, where a CJK character takes two columns."""

import unicodedata
from pathlib import Path
from typing import Any

from evaluator import told_of_drawn
from inference.title_names import BETWEEN
from inference.top_k import first_lists
from runtime.screen import columns

WIDTH = 80
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def show(metrics: dict[str, Any], saved: Path, n_users: int = 5) -> str:
    """Lay out the test figures and the lists of the first users for the screen."""
    cutoffs, lines = metrics["config"]["top_k"], []
    for name, found in (("test, titles with a history", metrics["warm"]), ("test, all titles", metrics["test"])):
        lines += ["", f"{name:28s}" + "".join(f"{'@' + str(k):>9s}" for k in cutoffs)]
        lines += [
            f"{key:28s}" + "".join(f"{found[f'{key}@{k}']:9.4f}" for k in cutoffs) for key in ("Recall", "NDCG", "Hit")
        ] + [f"{'AUC':28s}{found['AUC']:9.4f}"]
    if told := told_of_drawn(metrics["warm"], f"NDCG@{max(cutoffs)}"):
        lines += ["", f"test figures are those of {told}"]
    if rated := metrics.get("rated"):
        lines += ["", *_by_rates(rated, cutoffs)]
    for user, titles in first_lists(saved / "recommendations.json", n_users).items():
        lines += ["", f"for user {plain(user)}:"] + [
            f"  {rank}. {plain(title['name'])}  ({title['score']:.3f})"
            for rank, title in enumerate(titles[:5], start=1)
        ]
    if beside := metrics.get("beside"):
        metric = f"NDCG@{max(cutoffs)}"
        figures = ", ".join(f"{name} {found[metric]:.4f}" for name, found in beside.items())
        lines += [
            "",
            f"{metric} by plain baselines (titles with a history): {figures}",
            "--preset tuned weighs both with the trained vectors; it takes longer.",
        ]
    if update := metrics.get("update"):
        since = update["since"]
        counts = f"{since['rows']:,} rows, {since['users']:,} users, {since['titles']:,} titles"
        lines += ["", f"updated with {counts} that came since; the figures above are", update["figures"]]
    encoder = metrics["encoder"]
    if encoder["used"] not in (None, encoder["requested"]):
        lines += ["", f"!!! text vectors are those of {encoder['used']!r}, not of {encoder['requested']!r}"]
    return "\n".join(lines + ["", f"everything is in {saved}"])


def _by_rates(rated: dict[str, Any], cutoffs: list[int]) -> list[str]:
    """Lay out how much of the liked is found, and of the disliked listed, which should be little."""
    figures = {"NDCG, liked only": ("liked", "NDCG"), "share of disliked listed": ("disliked", "share")}
    lines = [f"{'test, what people rated':28s}" + "".join(f"{'@' + str(k):>9s}" for k in cutoffs)]
    for name, (taste, metric) in figures.items():
        if (found := rated[taste])["n_pairs"]:
            lines.append(f"{name:28s}" + "".join(f"{found[f'{metric}@{k}']:9.4f}" for k in cutoffs))
    return lines


def printed(heading: str, entries: list[dict[str, Any]], with_parts: bool = False) -> str:
    """Lay a list of titles or users out for a screen of WIDTH columns, of which a CJK character takes two.

    Args:
        heading: the first line.
        entries: as from lists; with "because" the reasons of each are told.
        with_parts: whether the parts of scores are told, too.
    """
    width, lines = len(str(len(entries))) + 2, [clipped(heading, WIDTH)]
    for rank, entry in enumerate(entries, start=1):
        name, raw = (entry[key] for key in (("name", "subject_id") if "name" in entry else ("username", "user_id")))
        start, end = f"{rank:{width}d}. {entry['score']:7.3f}  ", f" ({plain(raw)})"
        more = f" +{entry['more']:,}" if entry.get("more") else ""
        lines.append(start + clipped(name, max(8, WIDTH - len(start) - columns(more + end))) + more + end)
        if after := entry.get("after"):
            lines.append(" " * (width + 2) + clipped(f"after {after['name'].split(BETWEEN)[0]}", WIDTH - width - 2))
        if "parts" in entry:
            names = [title["name"].split(BETWEEN)[0] for title in entry["because"]] or ["no title alone"]
            parts = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in entry["parts"].items()]
            room, against = WIDTH - width - 2, [title["name"].split(BETWEEN)[0] for title in entry.get("despite", ())]
            because = ["because of", *_joined(names, ";")]
            if against:
                because[-1] += ";"
                because += ["in spite of", *_joined(against, ";")]
            said = f"in it: {entry['says']}".split() if entry.get("says") else []
            if said and not entry["because"]:
                because = []
            for words in filter(None, (said, because, _joined(parts, " +") if with_parts else [])):
                lines += [" " * (width + 2) + clipped(line, room) for line in filled(words, room)]
    return "\n".join(lines if entries else [*lines, "  there is none"])


def _joined(words: list[str], mark: str) -> list[str]:
    return [*(word + mark for word in words[:-1]), *words[-1:]]


def filled(words: list[str], width: int) -> list[str]:
    """Put words, which stay whole, on lines of at most width columns where they fit."""
    lines = [""]
    for word in words:
        if lines[-1] and columns(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def plain(text: str) -> str:
    """Return a text on one line, without what would command the terminal or turn the direction of what follows."""
    text = "".join(c for c in " ".join(text.split()) if c not in DIRECTIONS)
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" else c for c in text)


def clipped(text: str, width: int) -> str:
    """Cut a text that takes more columns of the screen than width."""
    text = plain(text)
    if columns(text) <= width:
        return text
    while columns(text) >= width:
        text = text[:-1]
    return text + "…"
