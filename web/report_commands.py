"""The commands on the report: those that made what it shows, and those that would add to it."""

from pathlib import Path
from typing import Any

from evaluation.baselines import BASELINES
from evaluation.rows import COMBINATIONS, SAME
from runtime.commands import command
from web.report_files import Saved

NO_SETTINGS_OF_A_COMPARISON = ("refit", "refit_valid")  # that those of a run are taken over into


def made_by(saved: Saved) -> list[str]:
    """Return the commands of the run and of the ablation in a folder."""
    run = [command("main.py", saved.metrics["config"])] if saved.metrics else []
    return run + ([_of_ablation(saved)] if saved.compared else [])


def further(saved: Saved, script: str, flags: str = "", **more: Any) -> str:
    """Return the command that adds to a folder what a script makes, with the settings of its run.

    Args:
        saved: the folder.
        script: such as "tune.py".
        flags: of the script itself.
        more: settings beside those of the run.
    """
    settings = {**(saved.metrics or {}).get("config", {})} or _shared(saved)
    folder = Path(settings.get("saved_dir", "saved"))
    if folder.resolve() != saved.folder.resolve():  # the folder has moved since
        settings["saved_dir"] = str(saved.folder)
    if script != "main.py":
        settings = {key: value for key, value in settings.items() if key not in NO_SETTINGS_OF_A_COMPARISON}
    return command(script, {**settings, **more}, flags)


def _shared(saved: Saved) -> dict[str, Any]:
    """Return the settings that all rows of an ablation have and none of them sets for itself."""
    configs = {tag: run["config"] for tag, run in saved.runs.items() if "config" in run and "point" not in run}
    own = {key for row in saved.compared for key in row["overrides"]} | {"saved_dir", "vectors_dir"}
    first = next(iter(configs.values()), {})
    shared = {
        key: first[key] for key in first if all((key, first[key]) in config.items() for config in configs.values())
    }
    return {key: value for key, value in shared.items() if key not in own} | {"saved_dir": str(saved.folder)}


def _of_ablation(saved: Saved) -> str:
    tags, n_seeds = [row["tag"] for row in saved.compared], max(row["n_seeds"] for row in saved.compared)
    whole = {*COMBINATIONS} - {*SAME} <= {*tags} and bool({*BASELINES} & {*tags})
    flags = ([] if whole else [f"--only {','.join(tags)}"]) + ([f"--seeds {n_seeds}"] if n_seeds > 1 else [])
    return command("run_ablation.py", _shared(saved), " ".join(flags))
