"""What is worked out once of a run, and let go of when another one takes its place."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

_kept: list[Any] = []


def kept(most: int) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function of a run as lru_cache does, whose results, and with them the run, are kept until forget."""

    def decorate(function: Callable[..., Any]) -> Any:
        _kept.append(lru_cache(maxsize=most)(function))
        return _kept[-1]

    return decorate


def forget() -> None:
    """Let go of all that is kept of runs."""
    for function in _kept:
        function.cache_clear()
