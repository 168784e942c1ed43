"""The test of the test: rows that differ in nothing but their models' seeds, on the same splits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.cli import run_script
from studies import aa_test


@pytest.fixture
def overrides(config: dict[str, Any]) -> dict[str, Any]:
    keys = ("data_dir", "saved_dir", "model_name", "lsa_dim", "embedding_dim", "batch_size", "device")
    return {**{key: config[key] for key in keys}, "epochs": 1, "split": "random"}


@pytest.mark.slow
def test_rows_alike_share_splits_and_no_seed(overrides: dict[str, Any]) -> None:
    rows = aa_test.rows_alike(overrides, groups=2, seeds=2)
    configs = [[run["config"] for run in runs] for runs in rows]
    assert [[one["split_seed"] for one in row] for row in configs] == [[0, 1], [0, 1]]
    assert sorted(one["seed"] for row in configs for one in row) == [0, 1, 2, 3]
    for number in range(2):
        assert len({runs[number]["data"]["fingerprint"] for runs in rows}) == 1
        assert len({json.dumps(runs[number]["warm"]) for runs in rows}) == 2


def test_shares_tell_rows_apart_only_where_users_and_runs_agree() -> None:
    rng, users = np.random.default_rng(0), [f"u{number}" for number in range(50)]

    def row(gain: float, luck: float) -> aa_test.Runs:
        return [
            {"user_test": dict(zip(users, rng.normal(gain + luck * sign, 0.01, 50).tolist(), strict=True))}
            for sign in (-1, 0, 1)
        ]

    found = aa_test.shares([row(0, 0), row(1, 0)])
    assert found == {"pairs": 1, "users and runs": 1.0, "users alone": 1.0}
    found = aa_test.shares([row(0, 0), row(0.1, 5)])  # a gain in the mean, which hangs on a single run
    assert found == {"pairs": 1, "users and runs": 0.0, "users alone": 1.0}


def test_the_script_writes_its_figures(
    overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr("sys.argv", ["aa_test.py", "--groups", "2", "--seeds", "2", *words])
    assert run_script(aa_test.main) == 0
    assert "1 pairs of rows alike, 2 runs each" in capsys.readouterr().out
    assert json.loads((Path(overrides["saved_dir"]) / "aa" / "results.json").read_text())["pairs"] == 1
    monkeypatch.setattr("sys.argv", ["aa_test.py", "--groups", "1"])
    assert run_script(aa_test.main) == 2
    assert "at least 2" in capsys.readouterr().err
