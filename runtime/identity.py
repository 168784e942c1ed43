"""What makes a run that run and no other: whether it is finished, and what belongs to it."""

import logging
from pathlib import Path
from typing import Any

from config import RUNTIME_KEYS
from runtime import checkpoints, manifest
from runtime.distributed import rank
from runtime.safe_files import parse_json

log = logging.getLogger("aglrec")

# what a run writes of the trained model, and all that it writes beside the text vectors and the page
WRITTEN = [
    "user_emb.pt",
    "item_emb.pt",
    "recommendations.json",
    "new_titles.json",
    "id_mappings.json",
    "splits.npz",
    "train_user_dict.pkl",
]
OUTPUTS = ["history.jsonl", "best_model.pth", *WRITTEN, "metrics.json"]
PAGE = "report.html"  # written last, once they are entered


def settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide what is trained, which the length of lists does not."""
    return {key: value for key, value in config.items() if key not in (*RUNTIME_KEYS, "recommend_k")}


def signature(config: dict[str, Any], fingerprint: str, info: dict[str, Any]) -> dict[str, Any]:
    """Say what makes a training this one: a checkpoint of another is not gone on from."""
    return {"config": settings_of(config), "dataset": fingerprint, "text": text_origin(info)}


def text_origin(info: dict[str, Any]) -> dict[str, Any]:
    """Say what text vectors were made of: the encoder that was used, and the digest of it and of all texts."""
    return {"encoder": info["used"], "digest": info["digest"]}


def finished_metrics(
    folder: Path, config: dict[str, Any], fingerprint: str, origin: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the metrics of a finished run with these settings, data and text vectors (see text_origin), else None.

    A checkpoint of that very run, which a kill can leave, goes.
    """
    metrics = metrics_of_same_settings(folder, config)
    if not metrics or (metrics["data"]["fingerprint"], text_origin(metrics["encoder"])) != (fingerprint, origin):
        return None
    try:
        manifest.check(folder, *OUTPUTS)
    except ValueError as error:
        log.warning(f"{error}")
        return None
    checkpoints.drop_finished_checkpoint(folder, metrics.get("run"))
    return metrics


def complete_metrics(
    folder: Path, config: dict[str, Any], fingerprint: str, origin: dict[str, Any]
) -> dict[str, Any] | None:
    """Return what finished does if the page is there as well, without which a run was killed and has that to write."""
    return finished_metrics(folder, config, fingerprint, origin) if (folder / PAGE).exists() else None


def metrics_of_same_settings(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the metrics of a run with these settings if its files are there and it need not be run again."""
    if config["resume"] == "never" or not all((folder / name).exists() for name in OUTPUTS):
        return None
    try:
        metrics = parse_json((folder / "metrics.json").read_text(encoding="utf-8"))
        # an older version's figures mean something else
        is_it = "digest" in metrics["encoder"] and settings_of(metrics["config"]) == settings_of(config)
    except (ValueError, KeyError, TypeError) as error:
        log.warning(f"{folder / 'metrics.json'} cannot be read ({error!r}); it is taken for unfinished")
        return None
    return metrics if is_it else None


def refuse_other(config: dict[str, Any], fingerprint: str | None = None) -> None:
    """Refuse the checkpoint of another run before texts are encoded, unless this run has nothing to do."""
    saved = Path(config["saved_dir"])
    if rank() == 0 and not metrics_of_same_settings(saved, config):
        checkpoints.refuse_other(
            saved, {"config": settings_of(config)} | ({"dataset": fingerprint} if fingerprint else {}), config
        )


def check_origin(checkpoint: dict[str, Any], fingerprint: str, info: dict[str, Any] | None = None) -> None:
    """Refuse weights trained on other data, whose rows would belong to other users and titles, or on other texts."""
    if checkpoint["dataset_fingerprint"] != fingerprint:
        raise ValueError(
            "best_model.pth was trained on other data (or another split of it); restore the files in "
            "data_dir, or train again with --mode train"
        )
    if info is not None and checkpoint.get("text") != text_origin(info):
        raise ValueError(
            "best_model.pth was trained on other text vectors: a text of anime.tsv or a comment has "
            f"changed since, or the encoder has (it is {info['used']!r} now); restore them, or train "
            "again with --mode train"
        )


def fit_result(checkpoint: dict[str, Any], saved: Path) -> dict[str, Any]:
    """Return what fit returned when it trained the model of a checkpoint, as far as its files tell."""
    path, told = saved / "history.jsonl", {key: checkpoint[key] for key in ("epoch", "valid")}
    told["decided"] = checkpoint.get("decided", {})
    lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {**told, "epochs_run": len(lines), "train_s": sum(line["seconds"] for line in lines)}
