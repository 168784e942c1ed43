"""Large arrays that the processes of a torchrun share: computed by the first one, mapped by the others."""

import os
import pickle
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from runtime.distributed import broadcast_from_rank0, rank, rank0_first

ALIGNED = 64  # bytes of a file at multiples of which arrays begin
P, T = ParamSpec("P"), TypeVar("T")


def mapped_from_rank0(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that only process 0 computes; the others map the arrays of what it returned from a file.

    So large arrays are in memory once. Writing to them changes them in one process only. Every process has to call it;
    where not all are on one machine, it is as rank0_first.
    """

    @wraps(function)
    def mapped(*args: P.args, **kwargs: P.kwargs) -> T:
        if not dist.is_initialized() or os.environ.get("LOCAL_WORLD_SIZE") != os.environ.get("WORLD_SIZE"):
            return rank0_first(function)(*args, **kwargs)
        results: list[T] = []

        def kept() -> tuple[bytes, str, list[int]]:
            results.append(function(*args, **kwargs))
            return _kept(results[0])

        head, name, sizes = broadcast_from_rank0(kept)()
        try:
            if rank():
                results.append(pickle.loads(head, buffers=_mapped(name, sizes)))
            dist.all_reduce(torch.zeros(1))  # all have mapped it: without its name it stays as long as it is mapped
        finally:
            if not rank():
                Path(name).unlink(missing_ok=True)
        return results[0]

    return mapped


def _kept(result: Any) -> tuple[bytes, str, list[int]]:
    """Write the arrays of a result to a file; return how to put it together, the file's name, the bytes of each."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(result, 5, buffer_callback=buffers.append)
    with tempfile.NamedTemporaryFile(prefix="aglrec-", delete=False) as file:
        try:
            for buffer in buffers:
                file.write(buffer.raw())
                file.write(bytes(-file.tell() % ALIGNED))
        except OSError:
            Path(file.name).unlink()
            raise
    return head, file.name, [buffer.raw().nbytes for buffer in buffers]


def _mapped(name: str, sizes: list[int]) -> list[np.ndarray]:
    """Map a file of arrays of so many bytes, one after the other, changes of which stay in this process."""
    starts = np.cumsum([0, *(size + -size % ALIGNED for size in sizes)])
    mapped = np.memmap(name, np.uint8, "c") if starts[-1] else np.empty(0, np.uint8)
    return [mapped[start : start + size] for start, size in zip(starts.tolist(), sizes, strict=False)]
