"""The command that makes a run: its script, and what of its settings differs from the defaults."""

import shlex
from pathlib import Path
from typing import Any

from config import PRESETS, SETTING, get_config
from runtime.settings import as_argument

OF_ONE_CALL = (
    "mode",
    "resume",
    "lang",
)  # of which the last call on a folder may have had others than the one that trained


def command(script: str, config: dict[str, Any], flags: str = "") -> str:
    """Write the shortest command that runs a script with the settings of a config.

    Args:
        script: such as "main.py".
        config: as from get_config, or a part of it; what it lacks is left at the default.
        flags: of the script itself, put before the settings.

    Returns:
        "python main.py --preset tuned --data_dir D", with a folder below the home folder written as ~/...
    """
    wanted = {key: as_argument(config[key]) for key in SETTING if key in config and key not in OF_ONE_CALL}
    own = min((_beside(preset, wanted) for preset in (None, *PRESETS)), key=len)
    words = [f"--{key} {_quoted(value)}" for key, value in own.items()]
    return " ".join(["python", script, *([flags] if flags else []), *words])


def _beside(preset: str | None, wanted: dict[str, str]) -> dict[str, str]:
    """Return what has to be set, the preset first: key -> value as on a command line."""
    given = {"preset": preset} if preset else {}
    base = get_config(given)
    differs = {key: value for key, value in wanted.items() if value != as_argument(base[key])}
    if "top_k" in differs and "early_stop_metric" in differs:  # which get_config derives from top_k
        derived = get_config({**given, "top_k": differs["top_k"]})["early_stop_metric"]
        if derived == differs["early_stop_metric"]:
            del differs["early_stop_metric"]
    return given | differs


def _quoted(value: str) -> str:
    home = f"{Path.home()}/"
    return f"~/{shlex.quote(value.removeprefix(home))}" if value.startswith(home) else shlex.quote(value)
