"""The rows of an ablation: the settings of each, and which of them a command line asks for and allows."""

import logging
from typing import Any

from config import get_config
from evaluation.baselines import BASELINES, HALF

log = logging.getLogger("aglrec")

Settings = dict[str, Any]  # key -> value, as config.py has them

COMBINATIONS: dict[str, Settings] = {
    f"{fusion_mode}-{text}": {
        "fusion_mode": fusion_mode,
        "use_user_llm": text in ("user", "both"),
        "use_item_llm": text in ("item", "both"),
    }
    for fusion_mode in ("sum", "concat")
    for text in ("none", "user", "item", "both")
}
SAME = {"concat-none": "sum-none"}  # without text there is nothing to fuse: one model, which is trained once
BOTH = COMBINATIONS["sum-both"]
# the two halves of the model, where there are linear columns: HALF of evaluation.baselines, and this
TRAINED: dict[str, Settings] = {"trained": {**BOTH, "linear_dim": 0}}
FULL: dict[str, Settings] = {
    f"{loss}-{init}-drop{drop:g}-{encoder}": {**BOTH, "loss": loss, "init": init, "id_dropout": drop, **encoder_setting}
    for loss in ("bpr", "softmax")
    for init in ("normal", "svd")
    for drop in (0.0, 0.5)
    for encoder, encoder_setting in (("lsa", {"model_name": "lsa"}), ("model_name", {}))
}


def row_config(tag: str, row: Settings, overrides: Settings) -> Settings | None:
    """Return the settings of a row, None (and say so) if the command line does not allow it.

    The halves of the model are those of sum-both, or of what the command line says instead.
    """
    if tag in HALF or tag in TRAINED:
        config = get_config({**BOTH, **overrides})
        if config["linear_dim"]:
            return {**config, "linear_dim": 0} if tag in TRAINED else config
        log.info(f"{tag}: left out, a model has two halves only where linear_dim is above 0 (as with --preset tuned)")
        return None
    config = get_config({**row, **overrides})
    if any(config[key] != value for key, value in row.items()):
        log.info(f"{tag}: left out, the command line contradicts it")
        return None
    return config


def reads_text(config: Settings) -> bool:
    """Tell whether a model with these settings reads text."""
    return config["fusion_mode"] != "none" and (config["use_user_llm"] or config["use_item_llm"])


def picked(settings: dict[str, Settings], only: str) -> tuple[dict[str, Settings], list[str]]:
    """Pick the rows named in --only, split by commas: settings of models, and baselines; all of them if it is empty.

    Raises:
        ValueError: there is no row of that name.
    """
    rows = [*BASELINES, *HALF, *settings]
    names = [name.strip() for name in only.split(",")] if only else rows
    if unknown := sorted(set(names) - set(rows)):
        raise ValueError(f"--only names {', '.join(unknown)}; the rows are {', '.join(rows)}")
    return {tag: row for tag, row in settings.items() if tag in names}, [
        name for name in (*BASELINES, *HALF) if name in names
    ]
