"""Processes that train together (torchrun), and the device each of them works on."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist

from runtime.memory import is_out_of_memory

log = logging.getLogger("aglrec")

P, T = ParamSpec("P"), TypeVar("T")

TIMEOUT = timedelta(minutes=30)  # after which a message that does not come is an error


HELP, DONE = "help", "done"  # what process 0 says to those that wait for it


class Waiting:
    """How the other processes wait for what process 0 does alone, however long that takes, and help it where it asks.

    Process 0 says in the store of the group what comes next; the store lives while torchrun does, so a wait in it ends
    with the job. A message that is waited for longer than TIMEOUT would end it as well.
    """

    def __init__(self, store: dist.Store) -> None:
        self.store, self.n_said, self.others_wait = dist.PrefixStore("said", store), 0, False

    def say(self, word: str) -> None:
        """In process 0, tell the others what comes next."""
        self.n_said += 1
        self.store.set(str(self.n_said), word)

    def until_done(self) -> None:
        """In process 0, say that it is done; in the others wait until it says so, and help until then."""
        if rank() == 0:
            self.say(DONE)
            return
        while self._next() == HELP:
            _take_part()

    def _next(self) -> str:
        """Wait for what process 0 says next."""
        self.n_said += 1
        key = str(self.n_said)
        while not self.store.check([key]):
            with suppress(dist.DistStoreError):  # it took longer than this; whether the store is there, check says
                self.store.wait([key], TIMEOUT)
        return self.store.get(key).decode()


_waiting: list[Waiting] = []  # of the group that this process has joined


@contextmanager
def process_group() -> Iterator[int]:
    """Join the other processes of a torchrun, if there are any, for a while.

    Yields:
        This process's rank; 0 without others. Only rank 0 logs anything below an error.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield 0
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"  # messages about files go by gloo, whichever device trains
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    # imported later, by torch.optim, it would keep the group as its functions' default, and with it threads that the
    # end of the interpreter finds at work, and aborts on now and then
    import_module("torch.distributed.nn")
    store, number, n_processes = next(dist.rendezvous("env://", timeout=TIMEOUT))
    in_group = dist.PrefixStore("group", store)
    dist.init_process_group(backend, timeout=TIMEOUT, store=in_group, rank=number, world_size=n_processes)
    _waiting.append(Waiting(store))
    if number:
        log.setLevel(logging.ERROR)
    try:
        yield number
    finally:
        _waiting.clear()
        dist.destroy_process_group()


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Let a first Ctrl-C be asked about, so that a step can be finished and saved; a second one stops at once.

    Among several processes, and outside the main thread, Ctrl-C stops as ever.

    Yields:
        A function that returns whether there was one.
    """
    if dist.is_initialized() or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked: list[bool] = []

    def at_first(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        log.info("interrupted: this step is finished and saved; Ctrl-C once more stops at once")

    before = signal.signal(signal.SIGINT, at_first)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def rank() -> int:
    """Return the number of this process among those that train together; 0 for a single process."""
    return dist.get_rank() if dist.is_initialized() else 0


def broadcast_from_rank0(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that only process 0 computes; every process has to call it, and gets what it returned.

    Whatever is decided by looking at figures, files or the clock is decided in such a function.
    """

    @wraps(function)
    def broadcast(*args: P.args, **kwargs: P.kwargs) -> T:
        return _with_rank0(lambda: function(*args, **kwargs))

    return broadcast


def rank0_first(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that every process computes, process 0 before the others, which then find its files."""

    @wraps(function)
    def in_order(*args: P.args, **kwargs: P.kwargs) -> T:
        if rank() == 0:
            return _with_rank0(lambda: function(*args, **kwargs), shares=False)
        _with_rank0(lambda: None, shares=False)
        return function(*args, **kwargs)

    return in_order


def _with_rank0(compute: Callable[[], T], shares: bool = True) -> T:
    """Compute in process 0, and in the others wait for that and return the same, or None without shares.

    Raises:
        SystemExit: in the others, where process 0 failed; it says why.
    """
    if not dist.is_initialized():
        return compute()
    box: list[Any] = [False, None]  # whether it ended well, and what it returned
    try:
        if rank() == 0:
            for waiting in _waiting:
                waiting.others_wait = True
            result = compute()
            box = [True, result if shares else None]
    finally:
        for waiting in _waiting:
            waiting.others_wait = False
            waiting.until_done()
        dist.broadcast_object_list(box)
    if not box[0]:
        raise SystemExit(2)
    return result if rank() == 0 else box[1]


def n_helpers() -> int:
    """Return how many other processes wait for this one, and take part in what it shares with with_help."""
    return dist.get_world_size() - 1 if any(waiting.others_wait for waiting in _waiting) else 0


def with_help(function: Callable[[Any], T], shares: list[Any]) -> list[T]:
    """Compute a function in process 0 and in those that wait for it, each with a share of its own.

    Args:
        function: one of a module, which the others import; it must not exchange messages itself.
        shares: of process 0, 1, ..., which are sent to them; tensors on the CPU.

    Returns:
        What it returned for each share, in their order.

    Raises:
        MemoryError, RuntimeError: it failed in one of them, whose message this is.
    """
    for waiting in _waiting:
        waiting.say(HELP)
    found = _take_part(function, shares)
    for _, error in found:
        if error:
            raise error
    return [result for result, _ in found]


def _take_part(
    function: Callable[[Any], Any] | None = None, shares: list[Any] | None = None
) -> list[tuple[Any, Exception | None]]:
    """Do a share of what process 0 asks for; return the results, or errors, of all processes in process 0."""
    task: list[Any] = [None]
    dist.scatter_object_list(task, [(function, share if number else None) for number, share in enumerate(shares or ())])
    function, share = task[0]
    try:
        mine = function(shares[0] if shares else share), None
    except Exception as error:
        known = MemoryError if is_out_of_memory(error) else RuntimeError
        mine = None, known(f"{error}" if known is MemoryError else f"process {rank()}: {error!r}")
    found: list[Any] = [None] * dist.get_world_size()
    dist.gather_object(mine, None if rank() else found)
    return found


def resolve_device(name: str) -> torch.device:
    """Turn the device setting into a torch device; "auto" takes cuda, then cpu.

    Apple GPUs are refused: torch has no sparse matrices there, and a run would end in the middle of the first step.

    Raises:
        ValueError: the device is unknown, or not on this machine.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto" and n_gpus and dist.is_initialized():
        place, n_here = (
            int(os.environ.get(key, default)) for key, default in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
        )
        if n_here > n_gpus:
            raise ValueError(
                f"{n_here} processes were started for {n_gpus} GPU(s), and each needs its own; start "
                f"torchrun with --nproc_per_node={n_gpus}, or set --device cpu"
            )
        return torch.device("cuda", place)
    if name == "auto":
        return torch.device("cuda" if n_gpus else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is not None and device.type == "mps":
        raise ValueError("device is 'mps', but torch has no sparse matrices on Apple GPUs; use --device cpu")
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise ValueError(
            f"device {name!r} is not on this machine (or this torch, {torch.__version__}, was built "
            "without it); use --device auto or cpu"
        )
    return device


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes, each of which computes the same loss from it."""

    @staticmethod
    def forward(ctx, partial: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        return sum_over_processes(partial)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        """Return the gradient, which is the same for every summand."""
        return grad


class GradientOverProcesses(torch.autograd.Function):
    """A tensor that is the same in all processes, each of which computes a part of the loss from it."""

    @staticmethod
    def forward(ctx, whole: torch.Tensor) -> torch.Tensor:
        """Return it as it is."""
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the whole loss, the sum of those of its parts."""
        return sum_over_processes(grad)


def sum_over_processes(partial: torch.Tensor) -> torch.Tensor:
    """Add a tensor up over all processes; a single process gets it back unchanged."""
    if not dist.is_initialized():
        return partial
    total = partial.contiguous().clone()
    dist.all_reduce(total)
    return total


def own_share(n: int) -> slice:
    """Return which of n columns this process owns: all of them, unless there are more processes."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    return slice(rank * n // world, (rank + 1) * n // world)
