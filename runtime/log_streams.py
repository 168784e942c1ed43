"""A stream of a run's epochs for experiment trackers: JSON lines and, where the package is there, TensorBoard's events.

Names are written as trackers group them, "valid/NDCG_at_20" and not "NDCG@20", which MLflow does not take.
"""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from runtime.distributed import rank
from runtime.files import atomic_write, named_write_errors

RESULTS = ("test", "warm", "listed", "cold")  # of metrics.json; see its groups for the others


class LogStream(NamedTuple):
    """Where a run's epochs are written as they end; nowhere without log_dir, and in all processes but the first."""

    path: Path | None = None
    events: Any = None  # a SummaryWriter of torch.utils.tensorboard

    def add(self, step: int, values: dict[str, float]) -> None:
        """Append a line, and the same to the events."""
        if self.path is None:
            return
        with named_write_errors(self.path), self.path.open("ab") as file:
            file.write(_line({"step": step, **values}))
        if self.events:
            for name, value in values.items():
                self.events.add_scalar(name, value, step)
            self.events.flush()

    def add_epoch(self, line: dict[str, Any]) -> None:
        """Append a line of the history."""
        self.add(line["epoch"], _of_epoch(line))

    def close(self) -> None:
        """Close the file of events."""
        if self.events:
            self.events.close()


def open_stream(config: dict[str, Any], run: str, history: list[dict[str, Any]]) -> LogStream:
    """Begin the stream of a run, or go on with it: the config and the epochs so far are written, and nothing else.

    What a run that was killed wrote of later epochs, which are trained again, is dropped.

    Args:
        config: log_dir is the folder; the files in it are named by the end of saved_dir and by the run.
        run: RunIdentity.run_id.
        history: the lines of history.jsonl so far.

    Raises:
        OSError: log_dir cannot be written to.
    """
    path = _path(config, run)
    if path is None:
        return LogStream()
    with atomic_write(path) as file:
        file.write(_line({"run": run, "config": config}))
        file.writelines(_line({"step": line["epoch"], **_of_epoch(line)}) for line in history)
    return LogStream(path, _events(path, after=len(history)))


def add_result(config: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Append the figures of the test part to the stream of a run that has ended.

    Args:
        config: as for open_stream.
        metrics: the content of metrics.json.
    """
    path = _path(config, metrics["run"])
    if path is not None and path.exists():
        stream = LogStream(path, _events(path))
        found = {name: value for key in RESULTS for name, value in _flat(key, metrics[key])}
        stream.add(metrics["epochs_run"], {"best_epoch": metrics["epoch"], **found})
        stream.close()


def _path(config: dict[str, Any], run: str) -> Path | None:
    if not config["log_dir"] or rank() > 0:
        return None
    end = "-".join(part for part in Path(config["saved_dir"]).parts[-2:] if part.strip("./\\"))
    return Path(config["log_dir"]) / f"{end}-{run}.jsonl"


def _events(path: Path, after: int | None = None) -> Any:
    """Open the events beside a stream, without those of steps after some; None if the package is not installed."""
    with suppress(ImportError):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(path.with_suffix("")), purge_step=None if after is None else after + 1)
    return None


def _of_epoch(line: dict[str, Any]) -> dict[str, float]:
    """Name what a line of the history has: loss and seconds are of training, all else is measured on valid."""
    of_training = {key: line[key] for key in ("loss", "seconds")}
    of_valid = {key: value for key, value in line.items() if key not in ("epoch", "loss", "seconds")}
    return dict([*_flat("train", of_training), *_flat("valid", of_valid)])


def _flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Give each finite number of nested figures with its whole name."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(f"{name}/{key.replace('@', '_at_')}", part)
    elif isinstance(value, int | float) and math.isfinite(value):
        yield name, value


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"
