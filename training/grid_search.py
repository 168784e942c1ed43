"""The search of settings on valid: one key after the other, on grids that go on beyond their ends."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Point = dict[str, Any]  # key -> value

MOST_BEYOND = 8  # values added to the grid of a key
BOUNDS = {"dropout": (0.0, 1.0)}  # what a key's values must stay between; above 0 where nothing is said


class Found(NamedTuple):
    """What a search came to."""

    best: Point
    tried: list[tuple[Point, float]]  # with the figure of each, in order
    at_end: list[str]  # keys whose best value is the first or last one tried, although others lie beyond it


def coordinate_search(
    grid: dict[str, Sequence[Any]],
    start: Point,
    figure: Callable[[Point], float | None],
    nearby: bool = False,
    halvings: int = 0,
) -> Found:
    """Search the point with the highest figure along one key at a time, until no key changes any more.

    In the first round all values of each grid are tried, the other keys being as they are best so far; afterwards those
    next to the best one. Where that is the first or last of its grid, the grid goes on (see beyond), by MOST_BEYOND
    values at most. In the end the steps around the best point are halved.

    Args:
        grid: key -> values, numbers in ascending order; others are all tried in each round, and none is beyond them.
        start: a value of each grid.
        figure: of a point; None if it cannot be had any more, which passes the point over.
        nearby: try no values but those next to the best one in the first round either.
        halvings: how often.

    Returns:
        The Found; of points with the same figure the one tried first is best.
    """
    grid, tried = {key: list(values) for key, values in grid.items()}, [(start, figure(start))]
    room = dict.fromkeys(grid, MOST_BEYOND)
    best = tried[0]

    def attempt(key: str, value: Any) -> None:
        nonlocal best
        point = {**best[0], key: value}
        if all(point != other for other, _ in tried) and (found := figure(point)) is not None:
            tried.append((point, found))
            best = max(best, tried[-1], key=lambda pair: pair[1])

    def climb(key: str) -> None:
        """Try the values beside the best one until it is the best of them."""
        current = None
        while best[0][key] != current:
            current = best[0][key]
            more = beyond(grid[key], current, key)[: room[key]]
            room[key] -= len(more)
            grid[key] = sorted([*grid[key], *more]) if more else grid[key]
            for value in _beside(grid[key], current):
                attempt(key, value)

    for key in () if nearby else grid:
        for value in grid[key]:
            attempt(key, value)
        climb(key)
    before = None
    while best != before or halvings:
        if best == before:
            halvings -= 1
            grid = {key: _with_middles(values, best[0][key]) for key, values in grid.items()}
        before = best
        for key in grid:
            climb(key)
    values = {key: sorted({point[key] for point, _ in tried}) for key in grid}
    at_end = [key for key in grid if beyond(values[key] if len(values[key]) > 1 else grid[key], best[0][key], key)]
    return Found(best[0], tried, at_end)


def _with_middles(values: list[Any], current: Any) -> list[Any]:
    """Add to an ascending grid of numbers the middles between the current one and those next to it."""
    if not _are_numbers(values):
        return values
    around = _beside(values, current)
    middles = [(low * high) ** 0.5 if low else high / 2 for low, high in pairwise(around)]
    return sorted({*values, *(_rounded(middle, values) for middle in middles)})


def _rounded(value: float, values: Sequence[float]) -> float:
    """Round to four digits, or to a whole number where all values are such."""
    return round(value) if all(isinstance(each, int) for each in values) else float(f"{value:.4g}")


def _beside(values: list[Any], current: Any) -> list[Any]:
    place = values.index(current)
    return values[max(place - 1, 0) : place + 2] if _are_numbers(values) else values


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def beyond(values: Sequence[Any], current: Any, key: str = "") -> list[float]:
    """Return the values after those ends of an ascending grid at which the current value stands.

    They follow by the ratio of the last two; halfway to a bound of the key where that would reach it. Nothing is below
    0, and nothing beyond a grid of one value or of words.
    """
    if len(values) < 2 or not _are_numbers(values):
        return []
    low, high = BOUNDS.get(key, (0.0, float("inf")))
    found = []
    for end, inner in ((values[0], values[1]), (values[-1], values[-2])):
        if current == end:
            value = end * end / inner if inner else 2 * end
            value = (end + high) / 2 if value >= high else value
            value = _rounded(value, values)
            found += [value] if low < value < high and value != end else []
    return found
