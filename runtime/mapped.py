"""Large arrays that the processes of a torchrun share: computed by the first one, mapped by the others."""

import os
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
import torch.distributed as dist

from runtime.distributed import broadcast_from_rank0, rank, rank0_first

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
        import joblib  # comes with scikit-learn

        results: list[T] = []

        def kept() -> str:
            results.append(function(*args, **kwargs))
            with tempfile.NamedTemporaryFile(prefix="aglrec-", delete=False) as file:
                try:
                    joblib.dump(results[0], file)
                except BaseException:  # as of a full disk, or of Ctrl-C: nobody else would remove it
                    Path(file.name).unlink()
                    raise
            return file.name

        path = Path(broadcast_from_rank0(kept)())
        try:
            if rank():
                results.append(joblib.load(path, mmap_mode="c"))
            dist.all_reduce(torch.zeros(1))  # all have mapped it: without its name it stays as long as it is mapped
        finally:
            if not rank():
                path.unlink(missing_ok=True)
        return results[0]

    return mapped
