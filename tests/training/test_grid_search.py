"""The search of a baseline's settings, on figures that are known."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from training.grid_search import MOST_BEYOND, Found, beyond, coordinate_search


def peak_at(**peak: float) -> Callable[[dict[str, Any]], float]:
    """Return a figure that falls with the distance from a point in logarithms."""
    return lambda point: -sum(abs(math.log(point[key] / value)) for key, value in peak.items())


def searched(grid: dict[str, tuple[Any, ...]], figure: Callable[[dict[str, Any]], float | None]) -> Found:
    start = {key: values[(len(values) - 1) // 2] for key, values in grid.items()}
    found = coordinate_search(grid, start, figure)
    points = [tuple(point.values()) for point, _ in found.tried]
    assert len(points) == len(set(points)), "a point is tried twice"
    assert found.tried[0][0] == start
    return found


@pytest.mark.parametrize(
    ("peak", "best", "n_tried"),
    [(30.0, 30.0, 3), (100.0, 100.0, 4), (3000.0, 3703.0, 7), (1.2, 1.111, 6)],
    ids=["inside", "at an end", "above", "below"],
)
def test_a_grid_goes_on_until_the_best_value_is_inside(peak: float, best: float, n_tried: int) -> None:
    found = searched({"l2": (10.0, 30.0, 100.0)}, peak_at(l2=peak))
    assert found.best == {"l2": pytest.approx(best, rel=1e-3)}
    assert (len(found.tried), found.at_end) == (n_tried, [])


def test_a_grid_goes_on_so_far_and_then_says_so() -> None:
    found = searched({"l2": (10.0, 30.0, 100.0), "other": (1.0, 2.0, 4.0)}, peak_at(l2=1e9, other=2))
    assert found.at_end == ["l2"]
    assert len({point["l2"] for point, _ in found.tried}) == 3 + MOST_BEYOND
    assert found.best["l2"] == max(point["l2"] for point, _ in found.tried)


def test_keys_are_searched_again_after_others_changed() -> None:
    """The best a for the first b is not that for the best b."""

    def figure(point: dict[str, float]) -> float:
        return -abs(math.log(point["a"] / point["b"])) - 2 * abs(math.log(point["b"] / 40))

    assert searched({"a": (1.0, 3.0, 9.0), "b": (2.0, 4.0, 8.0)}, figure).best == {"a": 27.0, "b": 32.0}


def test_figures_that_cannot_be_had_any_more_end_it() -> None:
    asked: list[dict[str, float]] = []
    figure = peak_at(l2=1e9)
    found = searched(
        {"l2": (10.0, 30.0, 100.0)}, lambda point: figure(point) if asked.append(point) or len(asked) < 5 else None
    )
    assert len(found.tried) == 4
    assert found.best == {"l2": pytest.approx(333.3)}
    assert found.at_end == ["l2"]


def test_words_are_all_tried_and_have_nothing_beyond() -> None:
    good = {("z", 1): 3, ("x", 2): 4}
    found = searched({"a": ("x", "y", "z"), "b": (1, 2)}, lambda point: good.get(tuple(point.values()), 0))
    assert {point["a"] for point, _ in found.tried} == set("xyz")
    assert found.best == {"a": "z", "b": 1}
    assert found.at_end == []


@pytest.mark.parametrize(("halvings", "best", "n_tried"), [(0, 10.0, 3), (1, 17.32, 6), (2, 22.79, 8)])
def test_in_the_end_the_steps_around_the_best_point_are_halved(halvings: int, best: float, n_tried: int) -> None:
    found = coordinate_search(
        {"l2": (3.0, 10.0, 30.0)}, {"l2": 10.0}, peak_at(l2=20.0 if halvings else 15.0), halvings=halvings
    )
    assert found.best == {"l2": pytest.approx(best)}
    assert len(found.tried) == n_tried
    whole = coordinate_search({"n": (1, 2, 9)}, {"n": 2}, peak_at(n=2.2), halvings=9)
    assert [point["n"] for point, _ in whole.tried] == [2, 1, 9, 4, 3]
    from_nothing = coordinate_search(
        {"weight": (0.0, 1.0)}, {"weight": 0.0}, lambda point: -point["weight"], halvings=1
    )
    assert [point["weight"] for point, _ in from_nothing.tried] == [0.0, 1.0, 0.5]


def test_nearby_the_rest_of_the_grid_is_left_out() -> None:
    grid, figure = {"a": (1.0, 2.0, 4.0, 8.0, 16.0)}, {1.0: 9, 2.0: 1, 4.0: 2, 8.0: 3, 16.0: 2}
    for nearby, best, n_tried in ((True, 8.0, 4), (False, 1.0, 6)):
        found = coordinate_search(grid, {"a": 4.0}, lambda point: figure.get(point["a"], 0), nearby=nearby)
        assert (found.best, len(found.tried)) == ({"a": best}, n_tried)


def test_of_points_alike_the_first_stays() -> None:
    assert searched({"a": (0.0, 1.0, 2.0)}, lambda point: 7.0).best == {"a": 1.0}


@pytest.mark.parametrize(
    ("key", "values", "current", "expected"),
    [
        ("l2", (10.0, 30.0), 30.0, [90.0]),
        ("l2", (10.0, 30.0), 10.0, [3.333]),
        ("l2", (10.0, 30.0, 90.0), 30.0, []),
        ("shrink", (0.0, 10.0), 0.0, []),
        ("shrink", (0.0, 10.0), 10.0, [20.0]),
        ("dropout", (0.1, 0.2, 0.4), 0.4, [0.8]),
        ("dropout", (0.1, 0.2, 0.4, 0.8), 0.8, [0.9]),
        ("dropout", (0.8, 0.9), 0.9, [0.95]),
        ("neighbours", (5, 20), 5, [1]),
        ("neighbours", (1, 5, 20), 1, []),
        ("neighbours", (5, 20), 20, [80]),
        ("l2", (10.0,), 10.0, []),
        ("which", ("x", "y"), "y", []),
    ],
)
def test_what_lies_beyond_a_grid(key: str, values: tuple[Any, ...], current: Any, expected: list[Any]) -> None:
    found = beyond(values, current, key)
    assert found == expected
    assert all(isinstance(value, type(values[0])) for value in found)
