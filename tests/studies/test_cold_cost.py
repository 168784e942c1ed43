"""studies/cold_cost.py: what each cold_cost costs and brings, read from a finished run."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from config import get_config
from data_loader import load_dataset
from evaluator import evaluate, means
from main import run
from runtime import manifest
from runtime.cli import run_script
from studies import cold_cost
from studies.common import finished_run
from tests.helpers.data import write_data
from training import after_training

COST = 0.3


def settings(folder: Path, **extra: Any) -> dict[str, Any]:
    return get_config(
        {
            "preset": "tuned",
            "data_dir": str(folder / "data"),
            "saved_dir": str(folder / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "epochs": 2,
            "split": "random",
            "min_rate": 0,
            "cold_item_ratio": 0.3,
            "cold_cost": COST,
            "top_k": [2, 5],
            "recommend_k": 5,
            "early_stop_metric": "NDCG@5",
            "device": "cpu",
            **extra,
        }
    )


def measure(folder: Path, costs: list[float], data_dir: str | None = None) -> cold_cost.Rows:
    return cold_cost.measure(finished_run(folder, data_dir), costs)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, and saved/ of a finished run with cold titles."""
    folder = tmp_path_factory.mktemp("cold")
    write_data(folder / "data", n_users=60, n_items=40)
    run(settings(folder))
    return folder


@pytest.fixture(scope="module")
def rows(made: Path) -> cold_cost.Rows:
    return measure(made / "saved", [0.0, COST, 1.0])


def read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "saved" / "metrics.json").read_text(encoding="utf-8"))


def test_the_cost_of_training_gives_the_figures_of_training(made: Path, rows: cold_cost.Rows) -> None:
    metrics, row = read_metrics(made), rows[f"cold_cost {COST:g}"]
    close = {"abs": 2e-3}  # the offset is added and taken off again, and its last bit may exchange two titles
    assert row["test"] == pytest.approx(metrics["listed"]["warm"]["NDCG@5"], **close)
    assert row["joint_test"] == pytest.approx(metrics["listed"]["joint"]["NDCG@5"], **close)
    assert row["cold_test"] == pytest.approx(metrics["cold"]["among_all"]["NDCG@5"], **close)
    # metrics.json measures cold_valid with valid masked as well, as it does cold_test
    made_of = finished_run(made / "saved", None)
    factors, known = (made_of.user_emb, made_of.item_emb), made_of.dataset.train
    of_cold = means(evaluate(*factors, made_of.dataset.cold_valid, known, made_of.config))["NDCG@5"]
    assert row["cold_valid"] == pytest.approx(of_cold, **close)


def test_the_valid_figures_are_those_the_offset_was_decided_by(made: Path, rows: cold_cost.Rows) -> None:
    metrics, row = read_metrics(made), rows[f"cold_cost {COST:g}"]
    decided = metrics["decided"]["cold_offset"]
    # no title lost all of its rows to valid, so the warm part is the whole
    assert (row["valid"], rows["none listed"]["valid"]) == pytest.approx((decided["chosen"], decided["none listed"]))
    assert (1 - COST) * decided["highest"] <= row["valid"] < decided["highest"]
    assert rows["cold_cost 0"]["valid"] == pytest.approx(decided["highest"])
    # with none of them listed it is the figure that epochs were chosen by, but for the titles that are masked alike
    assert rows["none listed"]["valid"] == pytest.approx(metrics["valid"]["NDCG@5"])


def test_none_listed_is_none_listed(made: Path, rows: cold_cost.Rows) -> None:
    row = rows["none listed"]
    assert row["listed"] == row["cold_test"] == row["cold_valid"] == 0
    assert row["test"] == pytest.approx(read_metrics(made)["warm"]["NDCG@5"])
    assert all(0 < row[f"joint_{part}"] < row[part] for part in ("valid", "test"))


def test_joint_asks_for_both_parts(made: Path, rows: cold_cost.Rows) -> None:
    """By hand from the saved vectors: one target of warm and cold pairs, masked what either part knows before."""
    data = load_dataset(settings(made))
    user_emb, item_emb = (torch.load(made / "saved" / f"{side}_emb.pt", weights_only=True) for side in ("user", "item"))
    discount = 1 / np.log2(np.arange(2, 7))
    for part, known in (("valid", data.train), ("test", data.train + data.valid + data.cold_valid)):
        target = (getattr(data, part) + getattr(data, f"cold_{part}")).toarray()
        scores = np.where((known + data.excluded).toarray() > 0, -np.inf, (user_emb @ item_emb.T).numpy())
        found = [
            wanted[np.argsort(-row)[:5]] @ discount / discount[: int(wanted.sum())].sum()
            for row, wanted in zip(scores, target, strict=True)
            if wanted.any()
        ]
        assert rows[f"cold_cost {COST:g}"][f"joint_{part}"] == pytest.approx(np.mean(found), abs=1e-6)


def test_more_cost_lists_more_of_them(rows: cold_cost.Rows) -> None:
    listed = [rows[f"cold_cost {cost:g}"]["listed"] for cost in (0.0, COST, 1.0)]
    assert listed == sorted(listed)
    # at a cost of 1 they may take every place, and there are enough of them (12) to do so
    assert listed[2] == 1
    assert rows["cold_cost 1"]["cold_test"] > rows["cold_cost 0"]["cold_test"]


def test_an_offset_of_zero_undoes_that_of_training(made: Path, rows: cold_cost.Rows) -> None:
    saved = torch.load(made / "saved" / "best_model.pth", weights_only=True)
    offset = saved["decided"]["cold_offset"]["offset"]
    assert offset != 0
    data = load_dataset(settings(made))
    user_emb, item_emb = (torch.load(made / "saved" / f"{side}_emb.pt", weights_only=True) for side in ("user", "item"))
    cold = np.bincount(data.train.indices, minlength=data.n_items) == 0
    scores = (user_emb @ item_emb.T).numpy().astype(np.float64)
    scores[:, cold] += offset
    scores[(data.train + data.valid).toarray() > 0] = -np.inf
    users = np.flatnonzero(np.diff(data.test.indptr))
    best = np.argsort(-scores[users], axis=1)[:, :5]
    assert rows["offset 0"]["listed"] == pytest.approx(cold[best].mean(), abs=1e-9)


@pytest.mark.slow
def test_columns_behind_the_offset_are_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind it stand the linear columns and, last, popularity for users of whom nothing is known."""
    # random data know of no linear model, so that valid might well leave it out
    monkeypatch.setattr(
        after_training, "search_blend_weights", lambda *_: ({"popularity": 0.3, "linear": 1.0}, 0.5, [])
    )
    write_data(tmp_path / "data", n_users=60, n_items=40)
    with (tmp_path / "data" / "interactions.tsv").open("a", encoding="utf-8") as file:
        file.writelines(f"new{user}\ts{user}\t1\t\t\n" for user in range(3))
    run(settings(tmp_path, min_rate=2))
    user_emb, item_emb = (
        torch.load(tmp_path / "saved" / f"{side}_emb.pt", weights_only=True) for side in ("user", "item")
    )
    state = torch.load(tmp_path / "saved" / "best_model.pth", weights_only=True)["state_dict"]
    assert user_emb.shape[1] == item_emb.shape[1] == 8 + 1 + state["linear_inputs"].shape[1] + 1
    assert sorted(user_emb[:, -1].unique().tolist()) == [0, 1]
    found, metrics = measure(tmp_path / "saved", [0.0, COST, 1.0]), read_metrics(tmp_path)
    row = found[f"cold_cost {COST:g}"]
    assert row["test"] == pytest.approx(metrics["listed"]["warm"]["NDCG@5"], abs=1e-9)
    assert row["valid"] == pytest.approx(metrics["decided"]["cold_offset"]["chosen"])
    assert found["none listed"]["listed"] == 0
    assert found["cold_cost 1"]["listed"] > 0.9


@pytest.mark.slow
def test_titles_without_text_stay_unlisted_at_every_cost(tmp_path: Path) -> None:
    write_data(tmp_path / "data", n_users=60, n_items=40)
    cold = np.flatnonzero(np.bincount(load_dataset(settings(tmp_path)).train.indices, minlength=40) == 0)
    path = tmp_path / "data" / "anime.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    silent = cold[1:]
    for item in silent:
        lines[1 + item] = f"s{item}\t\t\t"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run(settings(tmp_path))
    found = measure(tmp_path / "saved", [0.0, 1.0])
    # the one cold title with a text can take a place of 5 at most
    assert 0 < found["cold_cost 1"]["listed"] <= 0.2
    assert found["offset 0"]["listed"] <= 0.2


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
    assert cold_cost.hit_rates(finished_run(made / "saved")) == pytest.approx(
        {"last warm": np.mean(last), "first cold": np.mean(first)}
    )
    assert 0 < np.mean(first) < 1


def test_it_prints_a_line_a_cost(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    saved = str(made / "saved")
    monkeypatch.setattr(sys, "argv", ["cold_cost.py", saved, saved, "--costs", "0.1,0"])
    assert run_script(cold_cost.main) == 0
    printed = capsys.readouterr().out
    heading = [cell.strip() for cell in next(line for line in printed.splitlines() if line[0] == "|").split("|")]
    assert heading[1:-1] == [
        "",
        "valid",
        "lost",
        "cold valid",
        "joint valid",
        "test",
        "lost",
        "cold test",
        "joint test",
        "in lists",
    ]
    names = ["none listed", "offset 0", "cold_cost 0 ", "cold_cost 0.1"]
    assert [printed.index(f"| {name}") for name in names] == sorted(printed.index(f"| {name}") for name in names)
    assert "± 0.0000" in printed
    assert "are hits" in printed


@pytest.mark.parametrize("costs", ["", "x", "-0.1", "0,1.5", "nan"])
def test_costs_that_are_no_shares_are_refused(costs: str) -> None:
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        cold_cost.read_costs(costs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"fusion_mode": "none"}, "train it with text"),
        ({"use_item_llm": False}, "train it with text"),
        ({"cold_cost": 1.0}, "train it with text, --cold_cost below 1"),
        ({"cold_item_ratio": 0.0}, "--cold_item_ratio above 0"),
    ],
    ids=["no text", "users' text", "free", "none cold"],
)
def test_a_run_without_an_offset_is_refused(more: dict[str, Any], told: str, made: Path, tmp_path: Path) -> None:
    run(settings(made, saved_dir=str(tmp_path / "plain"), **more))
    with pytest.raises(ValueError, match=told):
        measure(tmp_path / "plain", [0.0])


def test_data_that_moved_are_found(made: Path, rows: cold_cost.Rows, tmp_path: Path) -> None:
    shutil.copytree(made / "saved", tmp_path / "saved")
    shutil.copytree(made / "data", tmp_path / "moved")
    state = torch.load(tmp_path / "saved" / "best_model.pth", weights_only=True)
    state["config"]["data_dir"] = str(tmp_path / "gone")
    torch.save(state, tmp_path / "saved" / "best_model.pth")
    manifest.record(tmp_path / "saved", manifest.recorded_run(tmp_path / "saved"), "best_model.pth")
    with pytest.raises(FileNotFoundError):
        measure(tmp_path / "saved", [COST])
    assert measure(tmp_path / "saved", [COST], str(tmp_path / "moved"))["none listed"] == rows["none listed"]


def test_a_run_without_valid_is_refused(made: Path, tmp_path: Path) -> None:
    run(settings(made, saved_dir=str(tmp_path / "saved"), valid_ratio=0))
    with pytest.raises(ValueError, match="no valid part"):
        measure(tmp_path / "saved", [0.0])


@pytest.mark.slow
def test_changed_data_are_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    write_data(folder / "data", n_users=60, n_items=40)
    run(settings(folder))
    write_data(folder / "data", n_users=60, n_items=40, seed=1)
    with pytest.raises(ValueError, match="other data"):
        measure(folder / "saved", [0.0])
