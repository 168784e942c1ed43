"""The sections of the report about what valid decided: in a run, and in a search of settings."""

from web.report_files import Saved
from web.report_parts import Part, as_text, missing, table

N_TRIALS = 15


def decided(saved: Saved) -> list[Part]:
    """Tell what this run left to valid, and by which figures it was decided."""
    if not saved.metrics:
        return [missing("No run of its own in this folder", "run")]
    found = saved.metrics.get("decided") or {}
    linear = found.get("linear") or {}
    groups = {
        "weight of": found.get("weights", {}),
        "titles without a history,": found.get("cold_offset", {}),
        "linear columns,": {name: value for name, value in linear.items() if name != "tried"},
    }
    chosen = {
        **found.get("selected", {}),
        **{f"{group} {name}": value for group, values in groups.items() for name, value in values.items()},
    }
    if not chosen:
        return [{"text": "The settings left nothing to valid but the best epoch."}]
    cells = [[name, as_text(value)] for name, value in chosen.items()]
    parts = [table("What was decided on valid", ["what", "value"], cells, "text")]
    tried = {
        "short runs": [{**run["choice"], found["metric"]: run["figure"]} for run in found.get("by", [])],
        "linear columns": linear.get("tried", []),
        "weights": found.get("tried", []),
    }
    for name, runs in tried.items():
        if runs:
            keys = list(dict.fromkeys(key for run in runs for key in run))
            lines = [
                [str(number), *(as_text(run[key]) if key in run else "-" for key in keys)]
                for number, run in enumerate(runs, start=1)
            ]
            parts.append(
                {
                    "folded": f"{name} that were tried: {len(runs)}",
                    "table": table("Among the titles with a history", ["", *keys], lines)["table"],
                }
            )
    return parts


def searched(saved: Saved) -> list[Part]:
    """Show what a search of settings found, and which keys its differences hang on."""
    if not saved.tuning or not saved.tuning["trials"]:
        return [missing("No search", "search")]
    found, keys = saved.tuning, [key for key in saved.tuning["trials"][0] if key not in ("number", "state", "valid")]
    best = sorted(
        (trial for trial in found["trials"] if trial["state"] == "complete"), key=lambda trial: -trial["valid"]
    )[:N_TRIALS]
    parts = [
        table(
            f"The best of {len(found['trials'])} trials by valid {found['metric']}",
            ["trial", found["metric"], *keys],
            [[str(trial["number"]), *(as_text(trial[key]) for key in ("valid", *keys))] for trial in best],
        )
    ]
    if found["importance"]:
        parts.append(
            table(
                "How much of the differences between trials each key explains",
                ["key", "share"],
                [[key, f"{share:.0%}"] for key, share in found["importance"].items()],
            )
        )
    return parts
