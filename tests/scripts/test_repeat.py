"""Same in, same out: the same command, in another process and another folder, writes the same bytes but for times."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
from runtime.identity import OUTPUTS

pytestmark = pytest.mark.slow
ROOT = Path(main.__file__).resolve().parent
SMALL = ("--model_name", "lsa", "--lsa_dim", "8", "--embedding_dim", "8", "--epochs", "1", "--device", "cpu")
WAYS = {
    "tuned": ("--preset", "tuned", *SMALL, "--linear_dim", "8", "--cold_item_ratio", "0.1"),
    "drawn": (*SMALL, "--split", "random", "--id_dropout", "0.3", "--train_rows_per_user", "5", "--refit", "true"),
}
TIMED = ("seconds", "train_s", "timing")
TIMELESS = set(OUTPUTS) - {"metrics.json", "history.jsonl"}
# cells of the report that hold seconds; the training time of a row alone has one decimal
SECONDS = re.compile(r'<th scope="row">(?:seconds|\w+_s)</th><td>[^<]*</td>|<td>\d+\.\d</td>|<time>[^<]*')


def run(home: Path, *settings: str, hash_seed: int) -> dict[str, bytes]:
    """Run main.py on the sample in a folder of its own, and return what it wrote."""
    home.mkdir()
    subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "--data_dir", str(ROOT / "data"), *settings],
        cwd=home,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"},
    )
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def timeless(found: Any) -> Any:
    """Leave out the times, wherever they are."""
    if isinstance(found, dict):
        return {key: timeless(value) for key, value in found.items() if key not in TIMED}
    return [timeless(value) for value in found] if isinstance(found, list) else found


def same(a: Any, b: Any) -> bool:
    """Compare what a .pth may hold."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy(), equal_nan=True)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def without_times(name: str, content: bytes, folder: Path) -> Any:
    if name.endswith("metrics.json"):
        return timeless(json.loads(content))
    if name.endswith("history.jsonl"):
        return [timeless(json.loads(line)) for line in content.splitlines()]
    if name.endswith("manifest.json"):  # it has the sha256 of files with times in them
        files = json.loads(content)["files"]
        return {file: entry if file in TIMELESS else entry["run"] for file, entry in files.items()}
    return SECONDS.sub("", content.decode()) if name.endswith("report.html") else content


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_write_the_same(way: str, tmp_path: Path) -> None:
    first, second = (run(tmp_path / str(number), *WAYS[way], hash_seed=number) for number in (1, 2))
    assert list(first) == list(second)
    assert len(first) >= 15
    for name, content in first.items():
        a, b = without_times(name, content, tmp_path / "1"), without_times(name, second[name], tmp_path / "2")
        assert same(a, b), name
