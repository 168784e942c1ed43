"""The state of an unfinished training on disk, which that training alone goes on from."""

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

log = logging.getLogger("aglrec")

CHECKPOINT = "checkpoint.pth"
SHARE = 0.05  # of the time, that saving after epochs takes at most


@dataclass
class CheckpointWriter:
    """Where the state of training goes, of which experiment it is, and whether the user wants to stop."""

    folder: Path
    signature: dict[str, Any]
    is_asked: Callable[[], bool]
    due: float = 0.0  # from when on an epoch is saved, in seconds of time.monotonic

    def write(self, state: dict[str, Any]) -> None:
        """Write the checkpoint (the first process alone), and stop here if that is wanted."""
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

    Raises:
        ValueError: it belongs to another experiment; the message says what differs.
    """
    state = refuse_other(folder, signature, config)
    if state:
        steps = f" and {state['middle']['steps']:,} steps" if state.get("middle") else ""
        log.info(f"going on after epoch {state['epoch']}{steps} of {folder / CHECKPOINT} (--resume never starts anew)")
    return state


def drop_finished_checkpoint(folder: Path, run: str | None) -> None:
    """Drop the checkpoint if it is of this run, which is finished: it was killed when all was written but that."""
    path = folder / CHECKPOINT
    with suppress(ValueError, KeyError):  # a damaged one is told by who wants to go on from it
        if path.exists() and run_id(load_torch(path)["signature"]) == run:
            path.unlink()


def refuse_other(folder: Path, signature: dict[str, Any], config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state of a checkpoint that is to be gone on with, as far as a part of its signature tells.

    Raises:
        ValueError: it belongs to another experiment; the message says what differs.
    """
    path = folder / CHECKPOINT
    if config["resume"] == "never" or not path.exists():
        return None
    state = load_torch(path)
    changed = differences(state.pop("signature"), signature)
    if changed:
        raise ValueError(
            f"{path} is that of an interrupted run of other settings or data: {'; '.join(changed)}. "
            "Give that run's command to go on with it, --resume never to drop it, or another --saved_dir"
        )
    return state


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say in which settings, data and texts two signatures differ, key by key, as far as the new one tells."""
    was, now = old["config"], new["config"]
    said = [
        f"{key} was {was.get(key, 'unknown')}, now it is {now.get(key, 'unknown')}"
        for key in sorted({*was, *now})
        if was.get(key) != now.get(key)
    ]
    if new.get("dataset", old["dataset"]) != old["dataset"]:
        said.append("the data, or how they are split, have changed")
    text = new.get("text", old["text"])
    if text["encoder"] != old["text"]["encoder"]:
        said.append(f"the text vectors were those of {old['text']['encoder']!r}, now they are of {text['encoder']!r}")
    elif text != old["text"]:
        said.append("a text, or the model that encodes it, has changed")
    return said
