"""The checkpoint of an unfinished training, from which the same training and no other resumes."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.distributed import broadcast_from_rank0, rank
from runtime.files import load_torch, save_torch
from runtime.manifest import run_id
from runtime.source import changed_modules, told

log = logging.getLogger("aglrec")

CHECKPOINT = "checkpoint.pth"
SHARE = 0.05  # of the time, that saving after epochs takes at most


@dataclass
class CheckpointWriter:
    """Writes the checkpoints of one training."""

    folder: Path
    signature: dict[str, Any]
    is_asked: Callable[[], bool]
    due: float = 0.0  # from when on an epoch is saved, in seconds of time.monotonic

    def write(self, state: dict[str, Any]) -> None:
        """Write the checkpoint (in process 0), and raise KeyboardInterrupt if the user asked to stop."""
        if rank() == 0:
            start = time.monotonic()
            save_torch(self.folder / CHECKPOINT, {**state, "signature": self.signature})
            end = time.monotonic()
            self.due = end + (end - start) / SHARE
        if self.is_asked():
            raise KeyboardInterrupt

    def after_epoch(self, state: dict[str, Any]) -> None:
        """Write the checkpoint unless that would take more than its share of the time, as with epochs of a second."""
        if self.is_asked() or time.monotonic() >= self.due:
            self.write(state)


@broadcast_from_rank0
def resume(folder: Path, signature: dict[str, Any], config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state of the checkpoint, which an interrupted run leaves, if there is one.

    One of other code is taken as well, so that a bug can be fixed in the middle of a run; "other_code" in the state
    names the modules that have changed since, and a warning does.

    Raises:
        ValueError: it belongs to another experiment; the message says what differs.
    """
    state = refuse_other(folder, signature, config)
    if state:
        changed = changed_modules(state.pop("code"), signature["code"])
        state["other_code"] = sorted({*state.get("other_code", []), *changed})
        steps = f" and {state['middle']['steps']:,} steps" if state.get("middle") else ""
        log.info(
            f"resuming after epoch {state['epoch']}{steps} from {folder / CHECKPOINT} (to start over: --resume never)"
        )
        if changed:
            log.warning(
                f"the epochs in {folder / CHECKPOINT} were trained by other code ({told(changed)}), and the rest will "
                "be by this one; for a run of this code alone: --resume never"
            )
    return state


def drop_finished_checkpoint(folder: Path, run: str | None) -> None:
    """Drop the checkpoint if it is of this run, which is finished: it was killed when all was written but that."""
    path = folder / CHECKPOINT
    with suppress(ValueError, KeyError):  # whoever resumes from a damaged one reports it
        if path.exists() and run_id(load_torch(path)["signature"]) == run:
            path.unlink()


def refuse_other(folder: Path, signature: dict[str, Any], config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state of the checkpoint to resume from, if there is one; signature may be a part of a run's.

    Raises:
        ValueError: it belongs to another experiment; the message says what differs.
    """
    path = folder / CHECKPOINT
    if config["resume"] == "never" or not path.exists():
        return None
    state = load_torch(path)
    before = state.pop("signature")
    state["code"] = before.get("code", {})
    if changed := differences(before, signature):
        raise ValueError(
            f"{path} is that of an interrupted run of other settings or data: {'; '.join(changed)}. "
            "Give that run's command to resume it, --resume never to delete it, or another --saved_dir"
        )
    return state


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """List in which settings, data and texts two signatures differ; the new one may be a part of a signature."""
    was, now = old["config"], new["config"]
    found = [
        f"{key} was {was.get(key, 'unknown')}, now it is {now.get(key, 'unknown')}"
        for key in sorted({*was, *now})
        if was.get(key) != now.get(key)
    ]
    if new.get("dataset", old["dataset"]) != old["dataset"]:
        found.append("the data, or how they are split, have changed")
    text = new.get("text", old["text"])
    if text["encoder"] != old["text"]["encoder"]:
        found.append(f"the text vectors were those of {old['text']['encoder']!r}, now they are of {text['encoder']!r}")
    elif text != old["text"]:
        found.append("a text, or the model that encodes it, has changed")
    return found
