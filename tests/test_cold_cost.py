"""tools/cold_cost.py: what each cold_cost costs and brings, read from a finished run."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_data

from config import get_config, run_script
from data_loader import load_dataset
from main import run
from tools import cold_cost

COST = 0.3


def settings(folder: Path, **extra: Any) -> dict[str, Any]:
    return get_config({"preset": "tuned", "data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"),
                       "model_name": "lsa", "lsa_dim": 8, "embedding_dim": 8, "epochs": 2, "split": "random",
                       "min_rate": 0, "cold_item_ratio": 0.3, "cold_cost": COST, "top_k": [2, 5], "recommend_k": 5,
                       "early_stop_metric": "NDCG@5", "device": "cpu", **extra})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, and saved/ of a finished run with cold titles."""
    folder = tmp_path_factory.mktemp("cold")
    write_data(folder / "data", n_users=60, n_items=40)
    run(settings(folder))
    return folder


@pytest.fixture(scope="module")
def rows(made: Path) -> cold_cost.Rows:
    return cold_cost.measure(made / "saved", [0.0, COST, 1.0])


def test_the_cost_of_training_gives_the_figures_of_training(made: Path, rows: cold_cost.Rows) -> None:
    metrics = json.loads((made / "saved" / "metrics.json").read_text(encoding="utf-8"))
    row = rows[f"cold_cost {COST:g}"]
    assert row["test"] == pytest.approx(metrics["test"]["NDCG@5"], abs=1e-9)
    assert row["cold_test"] == pytest.approx(metrics["cold"]["among_all"]["NDCG@5"], abs=1e-9)


def test_the_valid_figures_are_those_of_training_too(made: Path, rows: cold_cost.Rows) -> None:
    metrics = json.loads((made / "saved" / "metrics.json").read_text(encoding="utf-8"))
    row, best = rows[f"cold_cost {COST:g}"], rows["none listed"]["valid"]
    assert row["valid"] == pytest.approx(metrics["valid"]["NDCG@5"], abs=1e-9)
    assert (1 - COST) * best <= row["valid"] < best
    assert rows["cold_cost 0"]["valid"] >= best


def test_none_listed_is_none_listed(rows: cold_cost.Rows) -> None:
    assert rows["none listed"]["listed"] == rows["none listed"]["cold_test"] == rows["none listed"]["cold_valid"] == 0
    assert rows["none listed"]["test"] > 0


def test_more_cost_lists_more_of_them(rows: cold_cost.Rows) -> None:
    listed = [rows[f"cold_cost {cost:g}"]["listed"] for cost in (0.0, COST, 1.0)]
    assert listed == sorted(listed)
    # at a cost of 1 they may take every place, and there are enough of them (12) to do so
    assert listed[2] == 1
    assert rows["cold_cost 1"]["cold_test"] > rows["cold_cost 0"]["cold_test"]


def test_an_offset_of_zero_undoes_that_of_training(made: Path, rows: cold_cost.Rows) -> None:
    state = torch.load(made / "saved" / "best_model.pth", weights_only=True)["state_dict"]
    assert state["cold_offset"] != 0
    data = load_dataset(settings(made))
    user_emb, item_emb = (torch.load(made / "saved" / f"{side}_emb.pt", weights_only=True) for side in ("user", "item"))
    cold = np.bincount(data.train.indices, minlength=data.n_items) == 0
    scores = (user_emb @ item_emb.T).numpy().astype(np.float64)
    scores[:, cold] += state["cold_offset"].item()
    scores[(data.train + data.valid).toarray() > 0] = -np.inf
    users = np.flatnonzero(np.diff(data.test.indptr))
    best = np.argsort(-scores[users], axis=1)[:, :5]
    assert rows["offset 0"]["listed"] == pytest.approx(cold[best].mean(), abs=1e-9)


def test_hit_rates_are_those_counted_by_hand(made: Path) -> None:
    data = load_dataset(settings(made))
    user_emb, item_emb = (torch.load(made / "saved" / f"{side}_emb.pt", weights_only=True) for side in ("user", "item"))
    scores, counts = (user_emb @ item_emb.T).numpy(), np.bincount(data.train.indices, minlength=data.n_items)
    test, cold_test = data.test.toarray(), data.cold_test.toarray()
    scores[(data.train + data.valid).toarray() > 0] = -np.inf
    last, first = [], []
    for user in range(data.n_users):
        if test[user].any() and cold_test[user].any():
            order = np.argsort(-scores[user], kind="stable")
            last.append(test[user, [i for i in order if counts[i]][4]])
            first.append(cold_test[user, next(i for i in order if not counts[i])])
    assert cold_cost.hit_rates(made / "saved") == pytest.approx({"last warm": np.mean(last),
                                                                 "first cold": np.mean(first)})
    assert 0 < np.mean(first) < 1


def test_it_prints_a_line_a_cost(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    saved = str(made / "saved")
    monkeypatch.setattr(sys, "argv", ["cold_cost.py", saved, saved, "--costs", "0.1,0"])
    assert run_script(cold_cost.main, None) == 0
    printed = capsys.readouterr().out
    names = ["none listed", "offset 0", "cold_cost 0 ", "cold_cost 0.1"]
    assert [printed.index(f"| {name}") for name in names] == sorted(printed.index(f"| {name}") for name in names)
    assert "± 0.0000" in printed
    assert "are hits" in printed


@pytest.mark.parametrize("costs", ["", "x", "-0.1", "0,1.5", "nan"])
def test_costs_that_are_no_shares_are_refused(costs: str) -> None:
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        cold_cost.read_costs(costs)


def test_a_run_without_an_offset_is_refused(made: Path, tmp_path: Path) -> None:
    config = settings(made, saved_dir=str(tmp_path / "plain"), fusion_mode="none")
    run(config)
    with pytest.raises(ValueError, match="train it with text"):
        cold_cost.measure(tmp_path / "plain", [0.0])


def test_data_that_moved_are_found(made: Path, rows: cold_cost.Rows, tmp_path: Path) -> None:
    shutil.copytree(made / "saved", tmp_path / "saved")
    shutil.copytree(made / "data", tmp_path / "moved")
    state = torch.load(tmp_path / "saved" / "best_model.pth", weights_only=True)
    state["config"]["data_dir"] = str(tmp_path / "gone")
    torch.save(state, tmp_path / "saved" / "best_model.pth")
    with pytest.raises(FileNotFoundError):
        cold_cost.measure(tmp_path / "saved", [COST])
    assert cold_cost.measure(tmp_path / "saved", [COST], str(tmp_path / "moved"))["none listed"] == rows["none listed"]


def test_a_run_without_valid_is_refused(made: Path, tmp_path: Path) -> None:
    run(settings(made, saved_dir=str(tmp_path / "saved"), valid_ratio=0))
    with pytest.raises(ValueError, match="no valid part"):
        cold_cost.measure(tmp_path / "saved", [0.0])


def test_changed_data_are_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    write_data(folder / "data", n_users=60, n_items=40)
    run(settings(folder))
    write_data(folder / "data", n_users=60, n_items=40, seed=1)
    with pytest.raises(ValueError, match="other data"):
        cold_cost.measure(folder / "saved", [0.0])
