"""The command of a run, written from its settings: it brings these settings again."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from config import PRESETS, get_config
from runtime.cli import parse_overrides
from runtime.commands import command


def settings_of(line: str) -> dict[str, Any]:
    return get_config(parse_overrides(shlex.split(line)[2:]))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "python main.py"),
        ({"epochs": 5, "model_name": "lsa"}, "python main.py --model_name lsa --epochs 5"),
        ({"preset": "tuned", "data_dir": "my data"}, "python main.py --preset tuned --data_dir 'my data'"),
        ({"top_k": [5, 50]}, "python main.py --top_k 5,50"),
        ({"refit": True, "cold_cost": 0.25}, "python main.py --cold_cost 0.25 --refit true"),
        ({"preset": "tuned", "log_dir": "", "linear_dim": 0}, "python main.py --preset tuned --linear_dim 0"),
    ],
)
def test_the_shortest_command_is_written(given: dict[str, Any], line: str) -> None:
    config = get_config(given)
    assert command("main.py", config) == line
    assert settings_of(line) == config


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("more", [{}, {"top_k": [3], "saved_dir": "a;b", "recency": -1.0, "text_blocks": ""}])
def test_it_brings_the_settings_again(preset: str, more: dict[str, Any]) -> None:
    config = get_config({"preset": preset, **more})
    line = command("main.py", config)
    assert f"--preset {preset}" in line
    assert settings_of(line) == config


def test_the_metric_that_stops_training_is_named_where_top_k_does_not_say_it() -> None:
    config = get_config({"top_k": [5, 50], "early_stop_metric": "Recall@5"})
    assert settings_of(command("main.py", config)) == config


def test_a_home_folder_is_not_told() -> None:
    line = command("main.py", get_config({"saved_dir": f"{Path.home()}/a b/c"}))
    assert line == "python main.py --saved_dir ~/'a b/c'"


def test_flags_of_the_script_come_first_and_settings_of_other_versions_are_left_out() -> None:
    assert command("tune.py", {"seed": 3, "gone": 1}, "--minutes 5") == "python tune.py --minutes 5 --seed 3"
