"""Time the steps of a run of main.py: seconds of the processor that each of them takes, whatever else is running.

    python -m benchmarks.tuned --model_name lsa --data_dir DATA --min_rate 0

Takes the settings of main.py; the preset is tuned unless another is named, and files go to a folder that is deleted
unless --saved_dir names one that is not there yet.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from typing import Any, NamedTuple
from unittest import mock

import main as main_script
from benchmarks import common
from config import get_config

# step -> the functions it consists of, as the module names them that calls them; what one of them spends in another
# step counts there
STEPS: dict[str, tuple[str, ...]] = {
    "data": ("main.load_dataset",),
    "text vectors": ("main.text_vectors",),
    "short runs before training": ("main.choose_before_training",),
    "their steps of training": ("training.before_training.train_epoch",),
    "model": ("main.build_model",),
    "steps of training": ("trainer.train_epoch",),
    "valid after each epoch": ("trainer.valid_metrics",),
    "item-item weights": ("training.linear_columns.chosen_weights", "training.linear_columns.liking_weights"),
    "solved in closed form": ("training.closed_form.penalised_inverse",),
    "cut to columns": ("training.linear_columns.cut",),
    "placed by text": ("training.placed_by_text.text_regression",),
    "weight of the columns": ("training.after_training.search_blend_weights",),
    "what rates count": ("training.after_training.choose_rates",),
    "offset of new titles": ("training.after_training.cold_offset",),
    "figures": ("main.evaluate_and_keep",),
    "lists and files": ("main.write_outputs", "main.end"),
    "report": ("main.write_page",),
}


class Clock:
    """Seconds of the processor by step, and how often each was entered."""

    def __init__(self) -> None:
        self.seconds, self.calls = dict.fromkeys([*STEPS, "rest"], 0.0), dict.fromkeys(STEPS, 0)
        self.open, self.since = ["rest"], time.process_time()

    def turn(self) -> None:
        """Count the time since the last turn for the step that is open."""
        now = time.process_time()
        self.seconds[self.open[-1]] += now - self.since
        self.since = now

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls count for a step."""

        @wraps(function)
        def call(*args: Any, **more: Any) -> Any:
            self.turn()
            self.open.append(step)
            self.calls[step] += 1
            try:
                return function(*args, **more)
            finally:
                self.turn()
                self.open.pop()

        return call


class Times(NamedTuple):
    """What a run took, in seconds."""

    clock: Clock
    wall: float


@contextmanager
def by_step() -> Iterator[Clock]:
    """Put a clock to all STEPS."""
    with ExitStack() as stack:
        clock = Clock()
        for step, names in STEPS.items():
            for module, _, function in (name.rpartition(".") for name in names):
                place = main_script if module == "main" else import_module(module)
                stack.enter_context(mock.patch.object(place, function, clock.timed(step, getattr(place, function))))
        yield clock
        clock.turn()


def timed_run(settings: dict[str, Any]) -> Times:
    """Run main.run with these settings, in a folder of its own unless they name one."""
    with tempfile.TemporaryDirectory() as folder, by_step() as clock:
        start = time.perf_counter()
        main_script.run(get_config({"preset": "tuned", "saved_dir": folder, **settings}))
        wall = time.perf_counter() - start
    return Times(clock, wall)


def table(times: Times) -> list[dict[str, Any]]:
    """Return a row a step, and the sum."""
    clock, total = times.clock, sum(times.clock.seconds.values())
    rows = [
        {
            "step": step,
            "s of the processor": seconds,
            "share": f"{seconds / total:.1%}",
            "calls": clock.calls.get(step, 1),
        }
        for step, seconds in clock.seconds.items()
    ]
    return [
        *rows,
        {"step": f"all ({times.wall:.0f} s by the clock)", "s of the processor": total, "share": "", "calls": 1},
    ]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run, log the table, write the JSON and return its content."""
    arguments, settings = common.parser(__doc__).read(argv)
    results = common.begin(arguments)
    times = timed_run(settings)
    results |= {"settings": settings, "steps": common.show("steps of a run", table(times)), "wall_s": times.wall}
    return common.write_json(arguments.out, results)


if __name__ == "__main__":
    main()
