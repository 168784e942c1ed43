"""The short form of benchmarks/soak.py: what one process does over and over leaves nothing behind."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
import run_ablation
from benchmarks import soak
from web import answers


@pytest.mark.slow
def test_rows_leave_no_file_open_and_no_tensor_behind(tmp_path: Path) -> None:
    before, middle, end = soak.rows(tmp_path, 2)
    assert [seen["done"] for seen in (before, middle, end)] == [0, 5, 10]
    assert before["open files"] == middle["open files"] == end["open files"]
    assert end["tensors"] == middle["tensors"]
    assert len(list(tmp_path.glob("*/*/**/metrics.json"))) == 10


@pytest.mark.slow
def test_requests_leave_no_file_open(tmp_path: Path) -> None:
    seen = soak.requests(tmp_path, 200)
    assert seen[-1]["done"] == 200
    assert len({one["open files"] for one in seen}) == 1


@pytest.mark.slow
def test_what_a_row_or_a_request_leaves_behind_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    trained_row, read_export = run_ablation.trained_row, answers.read_export
    monkeypatch.setattr(run_ablation, "trained_row", lambda *args: kept.append(torch.ones(3)) or trained_row(*args))
    seen = soak.rows(tmp_path / "rows", 2)
    assert seen[-1]["tensors"] - seen[-2]["tensors"] == len(soak.MODELS)
    assert soak.grown(seen)
    monkeypatch.setattr(answers, "read_export", lambda path: kept.append(path.open("rb")) or read_export(path))
    seen = soak.requests(tmp_path / "requests", 20)
    assert seen[-1]["open files"] > seen[0]["open files"]
    for file in kept[2 * len(soak.MODELS) :]:
        file.close()


@pytest.mark.parametrize(("what", "grows"), [("RSS MiB", soak.NOISE_MIB + 1), ("open files", 1), ("tensors", 1)])
def test_only_what_grows_in_the_last_two_fifths_counts(what: str, grows: float) -> None:
    seen = [{"done": number, "RSS MiB": 100.0, "open files": 5, "tensors": 7} for number in range(6)]
    assert soak.grown([{**seen[0], what: 0}, *seen[1:]]) == []
    assert [line.split(":")[0] for line in soak.grown([*seen[:5], {**seen[5], what: seen[5][what] + grows}])] == [what]
