"""Time and memory of a softmax step over a large catalogue, by chunks and with all scores at once.

    python -m benchmarks.softmax [--items N] [--users N] [--dim N] [--repeats N]

Each form runs in processes of its own, by turns, since the peak of a process's memory never falls. A step is the loss
of some users over all items with the gradients of both; the medians are told.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from runtime.cli import Flags
from training import losses


def step(form: str, n_users: int, n_items: int, dim: int) -> dict[str, float]:
    """Take one step and return its seconds, the loss, and the memory the process took at most, in MiB."""
    generator = torch.Generator().manual_seed(0)
    users, items = (
        torch.randn(n, dim, generator=generator).mul_(dim**-0.5).requires_grad_() for n in (n_users, n_items)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    total = losses.LogSumExp.apply(users, items) if form == "chunks" else (users @ items.T).logsumexp(dim=1)
    total.mean().backward()
    return {
        "s": time.perf_counter() - start,
        "loss": total.mean().item(),
        "MiB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10,
    }


def main() -> None:
    asked = Flags(__doc__)
    for flag, default in (("--items", 300_000), ("--users", 256), ("--dim", 64), ("--repeats", 5)):
        asked.add_argument(flag, type=int, default=default)
    asked.add_argument("--form", choices=("chunks", "whole"))
    asked = asked.parse_args()
    if asked.form:
        print(json.dumps(step(asked.form, asked.users, asked.items, asked.dim)))
        return
    sizes = [f"--{name}={getattr(asked, name)}" for name in ("items", "users", "dim")]
    found: dict[str, list[dict[str, float]]] = {"whole": [], "chunks": []}
    for _ in range(asked.repeats):
        for form, runs in found.items():
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.softmax", "--form", form, *sizes],
                check=True,
                capture_output=True,
                text=True,
            )
            runs.append(json.loads(done.stdout))
    for form, runs in found.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(f"{form:7s} {median['s']:7.2f} s  {median['MiB']:8.0f} MiB beside the vectors  loss {median['loss']:.5f}")


if __name__ == "__main__":
    main()
