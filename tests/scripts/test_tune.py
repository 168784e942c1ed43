"""The search of settings: what it searches, that it goes on, and what it leaves behind."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import tune
from config import get_config
from data_loader import Dataset
from llm_embedding import TextVectors
from runtime.cli import parse_overrides
from runtime.files import lock_folder

optuna = pytest.importorskip("optuna")
NO_TEXT = TextVectors(None, None, {"digest": None})
SPACE = {"lr": ("log", 0.001, 0.1), "epochs": ("choice", (1, 2)), "num_layers": ("int", 1, 2)}


@pytest.fixture
def bare(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "fusion_mode": "none"}


def searched(dataset: Dataset, config: dict[str, Any], n_trials: int) -> dict[str, Any]:
    return tune.search(dataset, NO_TEXT, config, SPACE, Path(config["saved_dir"]) / "tuning", lambda n: n >= n_trials)


def drawn(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: trial[key] for key in SPACE} for trial in found["trials"]]


def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(dataset: Dataset, bare: dict[str, Any]) -> None:
    whole = searched(dataset, {**bare, "saved_dir": bare["saved_dir"] + "_whole"}, 5)
    searched(dataset, bare, 3)
    assert drawn(searched(dataset, bare, 5)) == drawn(whole)
    assert len({json.dumps(one) for one in drawn(whole)}) > 1


@pytest.fixture
def killed(dataset: Dataset, bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study that was killed in its third trial."""

    def deadly(trial: Any, *more: Any) -> float:
        if trial.number == 2:
            raise SystemExit  # which Optuna does not catch, so that the trial is left running
        return attempt(trial, *more)

    attempt = tune.attempt
    with monkeypatch.context() as patch:
        patch.setattr(tune, "attempt", deadly)
        with pytest.raises(SystemExit):
            searched(dataset, bare, 5)
    return Path(bare["saved_dir"]) / "tuning"


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(
    killed: Path, dataset: Dataset, bare: dict[str, Any]
) -> None:
    whole = searched(dataset, {**bare, "saved_dir": bare["saved_dir"] + "_whole"}, 5)
    found = searched(dataset, bare, 5)
    assert found == whole
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3, 4]
    assert '"state":3' in (killed / "study.log").read_text()  # the killed trial is marked as failed


def test_what_a_kill_leaves_in_the_study_stops_nothing(killed: Path, dataset: Dataset, bare: dict[str, Any]) -> None:
    whole = searched(dataset, {**bare, "saved_dir": bare["saved_dir"] + "_whole"}, 4)
    Path(killed / "study.log.lock").symlink_to("study.log")  # Optuna would wait for half a minute
    (killed / "study.log.lock7.rename").touch()
    with (killed / "study.log").open("a") as file:
        file.write('{"op_code":5,"wor')
    start = time.monotonic()
    assert searched(dataset, bare, 4) == whole
    assert time.monotonic() - start < 25
    assert {path.name for path in killed.iterdir()} <= {"study.log", "tuning.json", ".lock"}


@pytest.mark.parametrize("content", ["{}\n{}\n", "no JSON\n{}\n", "[]\n", '{"op_code":0}\n', '{"op_code":99}\n'])
def test_a_damaged_study_is_a_sentence(content: str, dataset: Dataset, bare: dict[str, Any]) -> None:
    searched(dataset, bare, 1)
    path = Path(bare["saved_dir"]) / "tuning" / "study.log"
    path.write_text(path.read_text() + content)
    with pytest.raises(ValueError, match="study.log cannot be read .*; delete .*tuning to search anew"):
        searched(dataset, bare, 2)


def test_two_searches_in_a_folder_are_refused(dataset: Dataset, bare: dict[str, Any]) -> None:
    folder = Path(bare["saved_dir"]) / "tuning"
    with lock_folder(folder), pytest.raises(OSError, match="another process is writing to .*tuning"):
        searched(dataset, bare, 1)


def test_settings_under_which_training_explodes_are_a_trial_and_no_end(
    dataset: Dataset, bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([0.5, None, 0.6])

    def training(*arguments: Any) -> float:
        figure = next(figures)
        if figure is None:
            raise FloatingPointError("the loss became nan in epoch 1; lower --lr (it is 9)")
        return figure

    monkeypatch.setattr(tune, "best_valid_metric", training)
    found = searched(dataset, bare, 3)
    assert [trial["state"] for trial in found["trials"]] == ["complete", "pruned", "complete"]
    assert found["best"] == 0.6


def test_the_best_trial_becomes_the_settings_that_config_reads(dataset: Dataset, bare: dict[str, Any]) -> None:
    found = searched(dataset, bare, 4)
    done = [trial for trial in found["trials"] if trial["state"] == "complete"]
    best = max(done, key=lambda trial: trial["valid"])
    assert found["best"] == best["valid"] > 0
    read = get_config(parse_overrides(["--config", str(Path(bare["saved_dir"]) / "tuned.json")]))
    assert {key: read[key] for key in SPACE} == {key: best[key] for key in SPACE}
    assert (read["fusion_mode"], read["data_dir"]) == ("none", bare["data_dir"])


def test_no_pair_of_the_test_is_looked_at(dataset: Dataset, bare: dict[str, Any]) -> None:
    blind = dataclasses.replace(dataset, test=sp.csr_matrix(dataset.test.shape, dtype=np.float32))
    found = [
        searched(one, {**bare, "saved_dir": f"{bare['saved_dir']}_{n}"}, 2) for n, one in enumerate((dataset, blind))
    ]
    assert found[0]["trials"] == found[1]["trials"]


def test_a_study_of_other_settings_is_refused(dataset: Dataset, bare: dict[str, Any]) -> None:
    searched(dataset, bare, 1)
    with pytest.raises(ValueError, match="study of other settings or data"):
        searched(dataset, {**bare, "embedding_dim": 4}, 1)


def test_a_trial_that_lags_is_stopped(dataset: Dataset, bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([0.5] * 6 + [0.1])

    def training(*arguments: Any) -> float:
        figure = next(figures)
        for epoch in (1, 2):
            arguments[-1](epoch, figure)
        return figure

    monkeypatch.setattr(tune, "best_valid_metric", training)
    states = [trial["state"] for trial in searched(dataset, bare, 7)["trials"]]
    assert states == ["complete"] * 6 + ["pruned"]


def test_what_the_command_line_names_is_not_searched() -> None:
    config = get_config({"preset": "tuned", "lr": 0.01})
    assert set(tune.searched(config, {"preset": "tuned", "lr": 0.01})) == set(tune.SPACE) - {"lr", "reg_lambda"}
    bare = get_config({"fusion_mode": "none"})
    assert set(tune.searched(bare, {"fusion_mode": "none"})) == set(tune.SPACE) - {"id_dropout", "temperature"}


def test_the_script_writes_a_table_and_says_what_to_run_next(
    bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = [f"--{key}={bare[key]}" for key in ("data_dir", "saved_dir", "fusion_mode", "device")]
    monkeypatch.setattr(sys, "argv", ["tune.py", "--trials", "2", *words, "--epochs", "1", "--embedding_dim", "4"])
    caplog.set_level("INFO", "aglrec")
    tune.main()
    assert "python main.py --config" in caplog.messages[-1]
    assert "| trial" in caplog.text
    assert json.loads((Path(bare["saved_dir"]) / "tuning" / "tuning.json").read_text())["metric"] == "NDCG@20"


def test_without_optuna_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match="pip install optuna"):
        tune._optuna()
