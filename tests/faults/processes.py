"""Scripts in processes of their own, forked from one that has imported all they need, so that a start costs nothing."""

import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from .cases import ROOT

LIMIT = 300.0  # seconds, after which a script hangs


class Ended(Exception):
    """A script ended otherwise than it should have."""


def run(words: list[str], folder: Path, kill_after: float | None = None) -> tuple[bool, float]:
    """Run a script in a folder, and kill its process group after a while.

    Args:
        words: the script, from the root of the project, and its command line.
        folder: where it runs; what it says is in said.txt there.
        kill_after: seconds; None lets it end.

    Returns:
        Whether it was killed, and the seconds it ran.

    Raises:
        Ended: it ended by itself, and not with 0, or not at all.
    """
    start, process = time.perf_counter(), os.fork()
    if process == 0:
        _become(words, folder)
    with suppress(OSError):  # the child does the same, whichever comes first
        os.setpgid(process, process)
    ended, status = 0, 0
    while not ended:
        time.sleep(0.002)
        ended, status = os.waitpid(process, os.WNOHANG)
        if not ended and time.perf_counter() - start >= (LIMIT if kill_after is None else kill_after):
            os.killpg(process, signal.SIGKILL)
            ended, status = os.waitpid(process, 0)
            if kill_after is None:
                raise Ended(f"{Path(words[0]).name} did not end in {LIMIT:.0f} s")
    seconds, code = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if code not in (0, -signal.SIGKILL):
        last = (folder / "said.txt").read_text(encoding="utf-8").splitlines()[-1:]
        raise Ended(f"{Path(words[0]).name} ended with {code}: {' '.join(last)[:300]}")
    return code != 0, seconds


def apart(prepare: Callable[[], Any]) -> None:
    """Do something in a process of its own: threads that it starts would hang in those forked after it."""
    process = os.fork()
    if process == 0:
        try:
            prepare()
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(process, 0)[1]:
        raise Ended("what the script needs could not be made")


def _become(words: list[str], folder: Path) -> NoReturn:
    """Be the script, in a process group of its own, and end with its exit code."""
    code: object = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout, sys.stderr = (
            open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            for number in (1, 2)
        )
        sys.argv = [str(ROOT / words[0]), *words[1:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
