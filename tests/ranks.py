"""Kill one of two processes that train together at random moments, give the command again, and compare.

    python -m tests.ranks [--kills 10] [--seed 0]

A moment is a line that an undisturbed job logs, drawn at random, and a wait after it, up to the longest between two
lines; the rank is drawn as well. A job has to end in an error within SECONDS, and the same command again has to end
with the vectors, lists and losses of the undisturbed job, bit for bit. The exit code is 1 if any did not. Linux only.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).parents[1]
# torchrun looks every tenth of a second and gives the others 30 s to end, which they do at once
SECONDS, HANGS = 20.0, 600.0  # after the latter a job is told to end
SETTINGS = (
    "--model_name lsa --lsa_dim 7 --embedding_dim 9 --num_layers 2 --epochs 8 --batch_size 256 --device cpu "
    "--early_stop_round 0"
)
VECTORS = ("user_emb.pt", "item_emb.pt")


class Ended(NamedTuple):
    """How a job ended."""

    code: int
    seconds: float | None  # from the kill on; None where nothing was killed
    lines: list[float]  # seconds after the start at which it logged something
    said: str


def job(saved: Path, words: list[str], at: tuple[int, float, int] | None = None) -> Ended:
    """Run main.py in two processes, and kill one of them.

    Args:
        saved: saved_dir.
        words: other settings.
        at: the number of logged lines to wait for, seconds to wait then, and the rank to kill; None to kill nothing.
    """
    command = [
        sys.executable,
        "-u",
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(ROOT / "main.py"),
        *words,
        "--saved_dir",
        str(saved),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    began, killed, lines, said = time.perf_counter(), None, [], []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        watch = threading.Timer(HANGS, running.terminate)
        watch.start()
        if at and not at[0]:
            killed = kill(running, at)
        for line in running.stdout:
            lines.append(time.perf_counter() - began)
            said.append(line)
            if at and len(lines) == at[0]:
                killed = kill(running, at)
        code = running.wait()
        watch.cancel()
    return Ended(code, killed and time.perf_counter() - killed, lines, "".join(said))


def kill(running: subprocess.Popen[str], at: tuple[int, float, int]) -> float | None:
    """Wait, kill a rank of the job as soon as there is one, and return when that was; None if the job was faster."""
    time.sleep(at[1])
    while running.poll() is None:
        for path in Path("/proc").glob("[0-9]*"):
            if _is_rank(path, running.pid, at[2]):
                os.kill(int(path.name), signal.SIGKILL)
                return time.perf_counter()
        time.sleep(0.01)
    return None


def _is_rank(path: Path, parent: int, rank: int) -> bool:
    """Tell whether a folder of /proc is that of a rank of a torchrun, and not of one that has ended."""
    try:
        fields = (path / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[1]), fields[0] == "Z") == (parent, False) and (
            f"RANK={rank}".encode() in (path / "environ").read_bytes().split(b"\0")
        )
    except OSError:  # it ended just now
        return False


def differing(ours: Path, theirs: Path) -> list[str]:
    """Name what two runs did not do alike: vectors, lists, and the loss of each epoch."""
    found = [
        name
        for name in VECTORS
        if not torch.equal(*(torch.load(folder / name, weights_only=True) for folder in (ours, theirs)))
    ]
    if (ours / "recommendations.json").read_bytes() != (theirs / "recommendations.json").read_bytes():
        found.append("recommendations.json")
    return found + (["history.jsonl"] if losses(ours) != losses(theirs) else [])


def losses(folder: Path) -> list[Any]:
    lines = map(json.loads, (folder / "history.jsonl").read_text(encoding="utf-8").splitlines())
    return [(line["epoch"], line["loss"]) for line in lines]


def moments(undisturbed: Ended, kills: int, rng: Random) -> list[tuple[int, float, int]]:
    """Draw when to kill which rank, from before the first line to the last epoch's, after which only rank 0 works."""
    times = [0.0, *undisturbed.lines]
    last = max(number for number, line in enumerate(undisturbed.said.splitlines(), 1) if line.startswith("epoch"))
    return [
        (line, rng.random() * (times[line + 1] - times[line]), 0 if line == last else rng.randrange(2))
        for line in (rng.randrange(last + 1) for _ in range(kills))
    ]


def survived(
    saved: Path, undisturbed: Path, words: list[str], at: tuple[int, float, int]
) -> tuple[float | None, list[str]]:
    """Kill, give the command again, and compare.

    Returns:
        The seconds that the killed job took to end, None if it was faster than the kill; and what was not as promised.
    """
    killed, wrong = job(saved, words, at), []
    if killed.seconds is not None:
        wrong += [] if killed.code else ["the killed job ended without an error"]
        wrong += [f"it took {killed.seconds:.0f} s to end"] if killed.seconds > SECONDS else []
    again = job(saved, words)
    if again.code:
        return killed.seconds, [*wrong, again.said]
    return killed.seconds, wrong + [f"{name} differs" for name in differing(saved, undisturbed)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked, words, failed, took = parser.parse_args(), SETTINGS.split(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = job(Path(folder) / "undisturbed", words)
        if undisturbed.code:
            raise RuntimeError(undisturbed.said)
        for number, at in enumerate(moments(undisturbed, asked.kills, Random(asked.seed))):
            seconds, wrong = survived(Path(folder) / str(number), Path(folder) / "undisturbed", words, at)
            took += [] if seconds is None else [seconds]
            failed += bool(wrong)
            ended = "the job was faster" if seconds is None else f"the job ended {seconds:.1f} s later"
            print(
                f"rank {at[2]} killed {at[1]:.2f} s after line {at[0]}: {ended}; {'; '.join(wrong) or 'again: equal'}",
                flush=True,
            )
    print(f"{len(took)} kills, {len(took) - failed} survived; a job ended within {max(took):.1f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
