"""Files that are written whole or not at all, and read without running what is in them."""

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from runtime.safe_files import check_torch

log = logging.getLogger("aglrec")

LOCK = ".lock"
FULL, CLOSED = "free some space, or name another disk", "make the folder writable, or name another one"
FILE = "a file stands where a folder is needed; name another folder"
REMEDIES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EROFS: CLOSED,
    errno.EACCES: CLOSED,
    errno.EPERM: CLOSED,
    errno.EEXIST: FILE,
    errno.ENOTDIR: FILE,
}


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of path once all of it is on the disk; on any failure path stays.

    Raises:
        OSError: in a sentence that names the path, where the disk is full or the folder cannot be written to.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with named_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove what atomic_write left half-written in a folder, of a file or of all, for processes that were killed."""
    for left in folder.glob("*.*.tmp"):
        if left.name.startswith(f"{name}." * bool(name)) and _is_dead(left.suffixes[-2][1:]):
            left.unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: Path, wait: bool = False, remedy: str = "give another --saved_dir") -> Iterator[None]:
    """Hold a folder's lock, which a process loses when it dies, and clear away what killed ones left half-written.

    A folder made for this in which nothing was written is removed again.

    Args:
        folder: made if missing.
        wait: whether to wait for another process that holds it.
        remedy: what to do about it other than wait for it, if wait is False.

    Raises:
        OSError: another process holds it, and wait is False; or nothing can be written there.
    """
    is_new = not folder.exists()
    with named_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy = f"another process is writing to {folder}"
            if not wait:
                raise OSError(f"{busy}; wait for it to end, or {remedy}") from None
            log.info(f"{busy}; waiting for it, to go on from what it made")
            lock.acquire()
    try:
        remove_leftovers(folder)
        yield
    finally:
        if is_new and not wait and list(folder.glob("*")) == [folder / LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
        lock.release()


@contextmanager
def named_write_errors(path: Path) -> Iterator[None]:
    """Turn a failure to write into an OSError that says what could not be written, and what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch's writer raises an error of its own while it handles the system's
        number = getattr(error if isinstance(error, OSError) else error.__context__, "errno", None)
        if number not in REMEDIES:
            raise
        raise OSError(
            f"{path} cannot be written ({os.strerror(number)}); {REMEDIES[number]}. What was there before stays"
        ) from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON that a person can read, whole or not at all."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, ensure_ascii=False, indent=1).encode())


def write_array(file: IO[bytes], array: np.ndarray) -> None:
    """Write .npy to a file of atomic_write.

    Given the file itself, numpy would write through a buffer of its own, and not say that the disk is full.
    """
    np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)
    file.flush()  # what the disk has no room for is known before anything else is done


def save_torch(path: Path, content: dict[str, Any]) -> None:
    """Write with torch.save, whole or not at all."""
    import torch  # here, since who converts files needs none of it, and it takes seconds

    with atomic_write(path) as file:
        torch.save(content, file)


def load_torch(path: Path) -> dict[str, Any]:
    """Read a file of save_torch, tensors on the CPU and builtins only.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged (a single bit is noticed), or holds code.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run python main.py with the same --saved_dir first")
    import torch

    try:
        check_torch(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or crafted file can raise nearly anything
        raise ValueError(f"{path} cannot be read ({str(error)[:120]}); delete it and train again") from None


def _is_dead(pid: str) -> bool:
    """Tell whether no process has this number; where that cannot be asked, none is taken for dead."""
    if os.name != "posix" or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
