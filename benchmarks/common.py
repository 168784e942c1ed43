"""What the benchmark scripts share: arguments, clocks, memory readings, child processes, tables."""

import argparse
import json
import logging
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

from evaluation.tables import markdown
from runtime.cli import Flags

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
T = TypeVar("T")

SHARED: dict[str, dict[str, Any]] = {
    "gowalla": {
        "metavar": "FOLDER",
        "help": "folder with LightGCN's train.txt and test.txt; without it, a synthetic graph of Gowalla's size",
    },
    "device": {"default": "cpu", "help": "cpu, cuda or cuda:N"},
    "repeats": {"type": int, "default": 5, "help": "measurements of which the median is taken"},
    "seed": {"type": int, "default": 0},
    "out": {"metavar": "FILE", "help": "where to write everything measured as JSON"},
}

log = logging.getLogger("aglrec")


class ChildFailed(RuntimeError):
    """A measurement's own process ended without a result; the message says how."""


def parser(doc: str | None, *shared: str) -> argparse.ArgumentParser:
    """Return a parser with --out and with those of SHARED that are named."""
    arguments = Flags(doc)
    for name in (*shared, "out"):
        arguments.add_argument(f"--{name}", **SHARED[name])
    return arguments


def numbers(text: str) -> list[int]:
    """Read "512,2048", "20k" or "1M,50M" as integers."""
    units = {"k": 10**3, "M": 10**6}
    return [round(float(word.rstrip("kM")) * units.get(word[-1], 1)) for word in text.split(",")]


def begin(arguments: argparse.Namespace) -> dict[str, Any]:
    """Send the project's log to stdout, and return the start of the results: environment and arguments."""
    log.handlers = [logging.StreamHandler(sys.stdout)]
    log.setLevel(logging.INFO)
    return {"environment": environment(getattr(arguments, "device", "cpu")), "arguments": vars(arguments)}


def write_json(path: str | None, results: dict[str, Any]) -> dict[str, Any]:
    """Write the results if a path is given, and return them."""
    if path:
        Path(path).write_text(json.dumps(results, indent=1, default=str) + "\n", encoding="utf-8")
        log.info(f"written: {path}")
    return results


def clock(device: str | torch.device, read: Callable[[], float] = time.perf_counter) -> float:
    """Read the clock, or another one, once everything queued on the device is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return read()


def timed(
    function: Callable[[], T], device: str | torch.device = "cpu", read: Callable[[], float] = time.perf_counter
) -> tuple[T, float]:
    """Call a function; return what it returned, and the seconds that took."""
    start = clock(device, read)
    found = function()
    return found, clock(device, read) - start


def seconds_of(
    function: Callable[[], Any], device: str | torch.device = "cpu", read: Callable[[], float] = time.perf_counter
) -> float:
    """Time one call."""
    return timed(function, device, read)[1]


def median_seconds(
    function: Callable[[], Any],
    repeats: int,
    device: str | torch.device = "cpu",
    read: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median time of some calls."""
    return statistics.median(seconds_of(function, device, read) for _ in range(repeats))


def peak_rss(process: int | str = "self") -> int:
    """Return the largest resident memory this process, or another by its number, has had, in bytes.

    getrusage is the fallback only: a process started by vfork inherits its parent's ru_maxrss over exec, so
    that the child of a large process looks large, while VmHWM belongs to the new program alone.
    """
    try:
        return _kib(f"/proc/{process}/status", "VmHWM")
    except FileNotFoundError:
        if process != "self":
            raise
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def rss_from_now() -> int:
    """Return the resident memory in bytes, and let peak_rss count from here where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        log.warning("the peak memory cannot be reset; what is reported is an upper bound")
    try:
        return _kib("/proc/self/status", "VmRSS")
    except FileNotFoundError:
        return peak_rss()


def available_memory() -> int:
    """Return the physical memory, in bytes, that is free or can be freed; all of it where the system does not say."""
    try:
        return _kib("/proc/meminfo", "MemAvailable")
    except FileNotFoundError:
        return _all_memory()


def device_peak(device: str | torch.device) -> int:
    """Return the most bytes tensors have taken on a GPU; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) if torch.device(device).type == "cuda" else 0


def in_child(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function of a module in a fresh process and return its result.

    Raises:
        ChildFailed: the process was killed, or the function raised; the message says what.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        try:
            return process.submit(function, **arguments).result()
        except BrokenProcessPool:
            raise ChildFailed("its process was killed, most likely for want of memory") from None
        except Exception as error:
            raise ChildFailed(f"{type(error).__name__}: {error}") from error


def environment(device: str) -> dict[str, Any]:
    """Say on what the figures were taken."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(_all_memory() / 2**30, 1),
        "load_average_at_start": os.getloadavg()[0],
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out rows of equal keys as a Markdown table."""
    return markdown([list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)])


def show(title: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log rows as a table under a title, and return them."""
    log.info(f"\n{title}\n{table(rows)}")
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _all_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _kib(path: str, key: str) -> int:
    line = next(line for line in Path(path).read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024
