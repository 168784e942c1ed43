"""What makes a run that run and no other, and whether a folder holds it finished."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from config import get_config, trained_settings
from runtime import checkpoints, manifest
from runtime.distributed import broadcast_from_rank0, rank
from runtime.safe_files import parse_json
from runtime.source import changed_modules, run_digests, told

log = logging.getLogger("aglrec")

# what a run derives from its trained model, and all that it writes besides the text vectors and the page
DERIVED = [
    "user_emb.pt",
    "item_emb.pt",
    "recommendations.json",
    "new_titles.json",
    "franchises.json",
    "id_mappings.json",
    "splits.npz",
    "train_user_dict.pkl",
]
OUTPUTS = ["history.jsonl", "best_model.pth", *DERIVED, "metrics.json"]
ROWS = "rows.npz"  # the rows that it was made of, for an update; folders of earlier versions have none of it
USER_METRICS = "user_metrics.npz"  # per-user values on the warm test pairs; not with refit, which has no test
PAGE = "report.html"  # written last, once the outputs are recorded in the manifest
LONG = 600.0  # seconds that a finished run took, from which on no other replaces it unasked


class RunIdentity(NamedTuple):
    """The settings as asked for, the data with their split, the text vectors, and the code."""

    config: dict[str, Any]  # as from get_config; what valid decides is not in it, see resolved
    fingerprint: str  # Dataset.fingerprint
    text: dict[str, Any]  # as from text_origin
    code: dict[str, str]  # as from source.run_digests; empty for a run that recorded none
    values: str = ""  # Dataset.values_digest, of rates and times
    base: str = ""  # the run that this one goes on from, of an update; see main.update

    @property
    def signature(self) -> dict[str, Any]:
        """All that decides what is trained; a checkpoint of another is refused, unless they differ in code alone."""
        decides = {"config": trained_settings(self.config), "dataset": self.fingerprint, "text": self.text}
        more = {"base": self.base} if self.base else {}
        return {**decides, "values": self.values, "code": self.code, **more}

    @property
    def run_id(self) -> str:
        """A short name of the signature."""
        return manifest.run_id(self.signature)

    @classmethod
    def of_metrics(cls, metrics: dict[str, Any], config: dict[str, Any]) -> "RunIdentity":
        """Return the identity of a run with this config on the data and texts, and of the code, in metrics.json."""
        data, code = metrics["data"], metrics.get("code", {})
        return cls(config, data["fingerprint"], text_origin(metrics["encoder"]), code, data.get("values", ""))

    @classmethod
    def of_run(cls, config: dict[str, Any], data: dict[str, str], info: dict[str, Any]) -> "RunIdentity":
        """Return the identity of a run of this code with this config.

        Args:
            data: as from Dataset.digests.
            info: of the text vectors, as from text_vectors.
        """
        return cls(config, data["fingerprint"], text_origin(info), run_digests(config), data["values"])


def resolved(config: dict[str, Any], decided: dict[str, Any]) -> dict[str, Any]:
    """Return the config with what the run chose on valid before training."""
    return {**config, **decided.get("selected", {})}


def text_origin(info: dict[str, Any]) -> dict[str, Any]:
    """Return what text vectors were made from: the encoder used, and a digest of its settings and of all texts."""
    return {"encoder": info["used"], "digest": info["digest"]}


@broadcast_from_rank0
def finished_metrics(identity: RunIdentity) -> dict[str, Any] | None:
    """Return the metrics of this run if its saved_dir holds it finished, else None.

    A run of other code is not this run. A checkpoint that a kill left behind after the end of this very run is deleted.
    """
    folder = Path(identity.config["saved_dir"])
    metrics = _metrics_of_same_settings(identity.config)
    found = RunIdentity.of_metrics(metrics, identity.config) if metrics else None
    if found is None:
        return None
    if "update" in metrics:
        log.warning(
            f"{folder}: the run in it was updated, and this command trains anew (--mode update goes on from it)"
        )
        return None
    if found._replace(code=identity.code) != identity:
        was, now = (Path(each["data_dir"]).resolve() for each in (metrics["config"], identity.config))
        changed = checkpoints.differences({**found.signature, "config": {}}, {**identity.signature, "config": {}})
        elsewhere = [f"data_dir was {was}, now it is {now}"] if was != now else []
        _replace(folder, metrics, elsewhere + (changed or ["rates or times have changed"]), is_refused=was != now)
        return None
    if changed := changed_modules(found.code, identity.code):
        which = told(changed) if found.code else "which, it did not record"
        log.warning(f"{folder}: finished by other code ({which}); running again")
        return None
    try:
        if not (folder / ROWS).exists():
            raise ValueError(f"{folder / ROWS} is missing; running again")
        manifest.check(folder, *OUTPUTS, ROWS)
    except ValueError as error:
        log.warning(f"{error}")
        return None
    checkpoints.drop_finished_checkpoint(folder, metrics["run"])
    return metrics


def complete_metrics(identity: RunIdentity) -> dict[str, Any] | None:
    """Return what finished_metrics does if the page is there as well, which a run writes last."""
    return finished_metrics(identity) if (Path(identity.config["saved_dir"]) / PAGE).exists() else None


def refuse_other(config: dict[str, Any]) -> None:
    """Raise ValueError if saved_dir has another run that would be lost, unless this one is finished.

    That is the checkpoint of a run with other settings, or a finished one that took long; that a shorter one is
    replaced, a warning says. Called before the data are read and texts encoded, which may take hours.
    """
    if rank() == 0 and not _metrics_of_same_settings(config):
        folder, settings = Path(config["saved_dir"]), {"config": trained_settings(config)}
        checkpoints.refuse_other(folder, settings, config)
        if metrics := _finished(config):
            was = {"config": trained_settings({**get_config(), **metrics["config"]})}
            changed = checkpoints.differences({"dataset": "", "text": {"encoder": ""}, **was}, settings)
            _replace(folder, metrics, changed)


def _replace(folder: Path, metrics: dict[str, Any], changed: list[str], is_refused: bool = True) -> None:
    """Say that the finished run in a folder is replaced by another, or refuse it where that run took long."""
    took = float(metrics.get("timing", {}).get("total_s", 0))
    what = f"{folder}: the finished run in it ({'; '.join(changed)})"
    if is_refused and took >= LONG:
        raise ValueError(
            f"{what} took {took / 60:,.0f} minutes and would be lost; name another --saved_dir, or replace it with "
            "--resume never"
        )
    log.warning(f"{what} is replaced; another --saved_dir would keep it")


def check_origin(
    checkpoint: dict[str, Any], fingerprint: str, info: dict[str, Any] | None = None, folder: str = "data_dir"
) -> None:
    """Refuse weights trained on other data, whose rows would belong to other users and titles, or on other texts."""
    if checkpoint["dataset_fingerprint"] != fingerprint:
        trained = checkpoint["config"].get("data_dir", folder)
        raise ValueError(
            f"best_model.pth was trained on other data (or another split of it) than {folder} holds now"
            f"{f', those of {trained}' * (trained != folder)}; name their folder as --data_dir, restore the files in "
            "it, take in rows that are new with --mode update, or train again with --mode train"
        )
    if info is not None and checkpoint["text"] != text_origin(info):
        raise ValueError(
            "best_model.pth was trained on other text vectors: a text of anime.tsv or a comment has "
            f"changed since, or the encoder has (it is {info['used']!r} now); restore them, or train "
            "again with --mode train"
        )


def _metrics_of_same_settings(config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the metrics in saved_dir if a run with these settings is finished there, and resume allows it."""
    metrics = _finished(config)
    # a setting that there was not yet did what its default does
    is_same = metrics and trained_settings({**get_config(), **metrics["config"]}) == trained_settings(config)
    return metrics if is_same else None


def _finished(config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the metrics in saved_dir if all outputs of a run are there, and resume allows it to be looked at."""
    folder = Path(config["saved_dir"])
    if config["resume"] == "never" or not all((folder / name).exists() for name in OUTPUTS):
        return None
    try:
        metrics = parse_json((folder / "metrics.json").read_text(encoding="utf-8"))
        RunIdentity.of_metrics(metrics, {**get_config(), **metrics["config"]})  # what a finished run is compared by
        return metrics
    except (ValueError, KeyError, TypeError) as error:
        log.warning(f"{folder / 'metrics.json'} cannot be read ({error!r}); the run is taken for unfinished")
        return None
