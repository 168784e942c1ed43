"""Process 0 works alone for longer than any message may take: the others wait (this very file is the script)."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from runtime import distributed

ROOT = Path(__file__).parents[2]
TIMEOUT, WORK = 2.0, 5.0  # seconds


def slow() -> str:
    """Take process 0 longer than a message may take."""
    if distributed.rank() == 0:
        time.sleep(WORK)
    return f"made by {distributed.rank()}"


def work() -> None:
    """Do it in both of the ways in which process 0 comes first, and between quick ones."""
    distributed.TIMEOUT = timedelta(seconds=TIMEOUT)
    with distributed.process_group() as rank:
        for decorated in (distributed.broadcast_from_rank0, distributed.rank0_first):
            quick = [decorated(lambda number=number: number)() for number in range(3)]
            print(f"process {rank}: {decorated(slow)()}, {quick}\n", end="", flush=True)  # in one write


@pytest.mark.slow
def test_no_length_of_work_of_the_first_process_ends_the_job() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = sorted(line for line in done.stdout.splitlines() if line.startswith("process"))
    quick = [0, 1, 2]
    made = [(0, 0), (0, 0), (1, 0), (1, 1)]  # the result of process 0, or one of its own once that one is done
    assert said == [f"process {rank}: made by {by}, {quick}" for rank, by in made]


if __name__ == "__main__":
    work()
