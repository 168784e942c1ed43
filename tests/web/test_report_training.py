"""What the page tells of the runs that decided before training."""

from types import SimpleNamespace
from typing import Any

import pytest

from web.report_training import chosen_on_valid


@pytest.mark.parametrize(
    ("epochs", "lines"),
    [
        ((2, 5), [["1", "0.1", "2", "0.25"], ["2", "0.1", "5", "0.5"]]),
        (None, [["1", "0.1", "0.25"], ["2", "0.1", "0.5"]]),
    ],
    ids=["now", "before"],
)
def test_runs_of_one_choice_are_told_apart_by_their_epochs(epochs: tuple[int, int] | None, lines: Any) -> None:
    runs = [{"choice": {"temperature": 0.1}, "figure": figure} for figure in (0.25, 0.5)]
    if epochs:
        runs = [{**run, "epochs": number} for run, number in zip(runs, epochs, strict=True)]
    decided = {"selected": {"temperature": 0.1}, "metric": "NDCG@5", "by": runs}
    page = str(chosen_on_valid(SimpleNamespace(metrics={"decided": decided})))
    assert ("'epochs'" in page) == (epochs is not None)
    for line in lines:
        assert str(line)[1:-1] in page
