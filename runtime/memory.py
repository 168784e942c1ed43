"""Running out of memory: recognised among other failures, reported in a sentence, or avoided by smaller blocks."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("aglrec")

# what torch says of the processor's memory, which it has no exception of its own for, and of that of a GPU
SAID = ("not enough memory", "can't allocate memory", "out of memory", "cublas_status_alloc_failed")
KEYS = "--batch_size, --encode_batch_size, --eval_memory_mb, --linear_dim or --embedding_dim"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception of Python, numpy or torch means that there was too little memory."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in SAID)


def out_of_memory_message(error: BaseException, remedy: str = f"lower {KEYS}, or use a machine with more") -> str:
    """Return one line for an exception of is_out_of_memory; that of enough_for has its remedy already."""
    line = " ".join(str(error).split())
    return line if line.startswith("out of memory") and ";" in line else f"out of memory ({line[:120]}); {remedy}"


@contextmanager
def explains_out_of_memory(what: str, remedy: str) -> Iterator[None]:
    """Name what a step needs memory for, and what makes it need less; a with block, or a decorator.

    Raises:
        MemoryError: there was too little, in one sentence.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(out_of_memory_message(error, f"{what} needs less if you {remedy}")) from None


def in_blocks(n: int, block: int, compute: Callable[[slice], Any]) -> Iterator[Any]:
    """Yield compute(rows) for n rows in turn, a block at a time; a block too large for the memory is halved.

    Args:
        n: how many rows.
        block: rows at a time, at least 1.
        compute: may be asked for rows again that it failed at.

    Raises:
        MemoryError, RuntimeError: a single row is too much.
    """
    start = 0
    while start < n:
        rows = slice(start, min(start + block, n))
        try:
            found = compute(rows)
        except (MemoryError, RuntimeError) as error:
            if rows.stop - start == 1 or not is_out_of_memory(error):
                raise
            block = (rows.stop - start) // 2
            log.warning(
                f"out of memory with {rows.stop - start:,} rows at a time; going on with {block:,} "
                "(a lower --eval_memory_mb asks for no more from the start)"
            )
            continue
        yield found
        start = rows.stop
