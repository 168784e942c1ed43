"""The sections of the report about settings and provenance, and the warnings above all sections."""

from collections import Counter

from config import trained_settings
from web.report_files import Saved
from web.report_parts import Own, Part, as_text, table


def warnings(saved: Saved) -> list[str]:
    """Say where the metrics are not what the settings suggest."""
    fallen_back: dict[str, list[str]] = {}
    for tag, run in saved.runs.items():
        used, asked = run["encoder"]["used"], run["encoder"].get("requested")
        if asked and used not in (None, asked):
            note = f"The text vectors are those of {used!r}, not of {asked!r} as requested"
            fallen_back.setdefault(note, []).append(tag)
    found = [f"{note}: {', '.join(tags)}." for note, tags in fallen_back.items()]
    if len({run["data"]["fingerprint"] for run in saved.runs.values()}) > 1:
        found.append(
            "The runs on this page do not all have the same data and split (see Provenance): do not compare them."
        )
    return found


def settings(saved: Saved) -> list[Part]:
    """Show the settings, and in which each run differs from the most common value among the runs on this page."""
    configs = {
        tag: {key: as_text(value) for key, value in trained_settings(run["config"]).items()}
        for tag, run in saved.runs.items()
        if "config" in run
    }
    keys = next(iter(configs.values()), {})
    common = {key: Counter(own[key] for own in configs.values()).most_common(1)[0][0] for key in keys}
    differs = {tag: {key: own[key] for key in keys if own[key] != common[key]} for tag, own in configs.items()}
    differs |= {tag: run["point"] for tag, run in saved.runs.items() if run.get("point")}
    lines = [
        [tag, ", ".join(f"{key} {as_text(value)}" for key, value in own.items()) or Own("nothing")]
        for tag, own in differs.items()
    ]
    caption = "How the rows differ from the most common settings; for a baseline, what valid chose for its first seed"
    told = ("What most runs share", "The most common settings") if len(lines) > 1 else ("As asked for", "All settings")
    shared = table(told[0], ["setting", "value"], list(map(list, common.items())), "text", told[1])
    return [*([table(caption, ["row", "differs in"], lines, "text")] if len(lines) > 1 else []), shared]


def provenance(saved: Saved) -> list[Part]:
    """Say what the metrics were computed from: encoder, data, versions."""
    lines = [
        [tag, run["encoder"].get("requested", "-"), run["encoder"]["used"] or Own("none"), run["data"]["fingerprint"]]
        for tag, run in saved.runs.items()
    ]
    caption = "Encoder, and fingerprint of data and split, of each row's first seed"
    tables = [table(caption, ["row", "encoder requested", "encoder used", "fingerprint"], lines, "text")]
    for part in ("encoder", "data", "timing", "versions") if saved.metrics else ():
        lines = [[key, as_text(value)] for key, value in saved.metrics[part].items()]
        tables.append(table(f"This run: {part}", ["what", "value"], lines, "text"))
    return tables
