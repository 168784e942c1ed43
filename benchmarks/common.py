"""What the benchmark scripts share: arguments, clocks, memory readings, child processes, tables."""

import argparse
import importlib
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

from runtime.cli import Flags

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20

log = logging.getLogger("aglrec")


class ChildFailed(RuntimeError):
    """A measurement's own process ended without a result; the message says how."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments every benchmark takes."""
    arguments = Flags(doc)
    arguments.add_argument(
        "--gowalla",
        metavar="FOLDER",
        help="folder with LightGCN's train.txt and test.txt; without it, a synthetic graph of Gowalla's size",
    )
    arguments.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    arguments.add_argument("--repeats", type=int, default=5, help="measurements of which the median is taken")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", metavar="FILE", help="where to write everything measured as JSON")
    return arguments


def numbers(text: str) -> list[int]:
    """Read "512,2048", "20k" or "1M,50M" as integers."""
    units = {"k": 10**3, "M": 10**6}
    return [round(float(word.rstrip("kM")) * units.get(word[-1], 1)) for word in text.split(",")]


def start_logging() -> None:
    """Send the project's log to stdout."""
    log.handlers = [logging.StreamHandler(sys.stdout)]
    log.setLevel(logging.INFO)


def clock(device: str | torch.device) -> float:
    """Read the clock once everything queued on the device is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_of(function: Callable[[], Any], device: str | torch.device = "cpu") -> float:
    """Time one call."""
    start = clock(device)
    function()
    return clock(device) - start


def median_seconds(function: Callable[[], Any], repeats: int, device: str | torch.device = "cpu") -> float:
    """Return the median time of some calls."""
    return statistics.median(seconds_of(function, device) for _ in range(repeats))


def peak_rss(process: int | str = "self") -> int:
    """Return the largest resident memory this process, or another by its number, has had, in bytes.

    getrusage is the fallback only: a process started by vfork inherits its parent's ru_maxrss over exec, so
    that the child of a large process looks large, while VmHWM belongs to the new program alone.
    """
    try:
        return _status("VmHWM", process)
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
        return _status("VmRSS")
    except FileNotFoundError:
        return peak_rss()


def available_memory() -> int:
    """Return the physical memory, in bytes, that is free or can be freed; all of it where this is not told."""
    try:
        return _kib(Path("/proc/meminfo"), "MemAvailable")
    except FileNotFoundError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def device_peak(device: str | torch.device) -> int:
    """Return the most bytes tensors have taken on a GPU; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) if torch.device(device).type == "cuda" else 0


def measured(function: Callable[[], Any], device: str | torch.device) -> tuple[Any, dict[str, float]]:
    """Call a function once; its result, and the seconds and the peak memory (a GPU's own, else RSS) that it took."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        rss_from_now()
    start = clock(device)
    result = function()
    return result, {"s": clock(device) - start, "peak MiB": (device_peak(device) or peak_rss()) / MIB}


def in_child(function: str, **arguments: Any) -> dict[str, Any]:
    """Call a function of this package in a fresh process and return its result.

    Args:
        function: "module:name", module relative to benchmarks.
        arguments: its keyword arguments, all fit for JSON; paths must be absolute.

    Returns:
        The function's result, a dict fit for JSON.

    Raises:
        ChildFailed: the process was killed or raised; the message holds its last line.
    """
    program = "import sys; from benchmarks.common import answer; answer(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, function, json.dumps(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        killed = f"killed by signal {-done.returncode} (9: most likely for want of memory)"
        raise ChildFailed(killed if done.returncode < 0 else last)
    return json.loads(done.stdout.splitlines()[-1])


def answer(function: str, arguments: str) -> None:
    """Be the child of in_child: call the function and write its result to stdout."""
    module, name = function.split(":")
    result = getattr(importlib.import_module(f"benchmarks.{module}"), name)(**json.loads(arguments))
    sys.stdout.write(json.dumps(result) + "\n")


def environment(device: str) -> dict[str, Any]:
    """Say on what the figures were taken."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_average_at_start": os.getloadavg()[0],
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out rows of equal keys as a Markdown table, aligned for reading as text too."""
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]])


def show(title: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log rows as a table under a title, and return them."""
    log.info(f"\n{title}\n{table(rows)}")
    return rows


def write_json(path: str | None, content: dict[str, Any]) -> None:
    """Write the results, if a path is given."""
    if path:
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        log.info(f"written: {path}")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _status(key: str, process: int | str = "self") -> int:
    return _kib(Path(f"/proc/{process}/status"), key)


def _kib(path: Path, key: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024
