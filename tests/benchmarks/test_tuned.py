"""python -m benchmarks.tuned: that each second of a run counts for one step, and that the steps are there."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tuned


def test_what_a_step_spends_in_another_counts_there(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(tuned.time, "process_time", lambda: now)
    clock = tuned.Clock()

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    short = clock.timed("model", lambda: spend(2))

    def long() -> None:
        spend(1)
        short()
        spend(4)
        short()
        raise KeyError

    spend(8)
    with pytest.raises(KeyError):
        clock.timed("figures", long)()
    spend(16)
    clock.turn()
    assert {step: seconds for step, seconds in clock.seconds.items() if seconds} == {
        "model": 4,
        "figures": 5,
        "rest": 24,
    }
    assert (clock.calls["model"], clock.calls["figures"]) == (2, 1)


def test_each_function_is_there_and_stays_what_it_was() -> None:
    place = tuned.main_script.load_dataset
    with tuned.by_step():
        assert tuned.main_script.load_dataset is not place
    assert tuned.main_script.load_dataset is place


@pytest.mark.slow
def test_a_run_is_parted_into_its_steps(config: dict[str, Any], tmp_path: Path) -> None:
    out, saved = tmp_path / "steps.json", tmp_path / "kept"
    flags = {"data_dir": config["data_dir"], "saved_dir": str(saved), "top_k": "5", "epochs": "1", "linear_dim": "8"}
    flags |= {"model_name": "lsa", "recommend_k": "5", "cold_item_ratio": "0.2", "split": "random", "min_rate": "0"}
    words = [word for key, value in flags.items() for word in (f"--{key}", value)]
    found = tuned.main([*words, "--out", str(out)])
    written = json.loads(out.read_text())
    assert written["steps"] == found["steps"]
    *steps, whole = found["steps"]
    assert [row["step"] for row in steps] == [*tuned.STEPS, "rest"]
    assert all(row["s of the processor"] > 0 and row["calls"] > 0 for row in steps)
    assert sum(row["s of the processor"] for row in steps) == pytest.approx(whole["s of the processor"])
    assert (saved / "metrics.json").exists()
