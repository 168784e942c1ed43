"""Figures of drawn users: who they are, that each figure is theirs alone, and that a draw of all changes nothing."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import main
import run_ablation
from config import get_config
from data_loader import Dataset, load_dataset
from dataset.drawn_users import draw_users, of_users
from evaluation.comparison_tables import notes
from evaluation.equal_terms import _cold_valid_figure
from evaluation.held_out import held_out_metrics
from evaluation.rated import liked_and_all
from evaluator import evaluate_warm, figures
from inference.terminal import show
from runtime.identity import RunIdentity
from runtime.safe_files import load_arrays
from tests.helpers.data import write_data
from tests.helpers.parts import is_cold, parted_data, warm_part
from tests.helpers.rankings import TOP_K, brute_force, settings, vectors_scoring
from training.after_training import search_blend_weights
from training.cold_offset import cold_offset, share_of_new

KEY = "NDCG@20"


def drawn_data(valid_users: int = 7, test_users: int = 9) -> tuple[np.ndarray, Any]:
    """Return the scores and dataset of parted_data with some users drawn."""
    scores, dataset = parted_data()
    asked = {"split_seed": 3, "valid_users": valid_users, "test_users": test_users}
    drawn = draw_users(vars(dataset), dataset.raw_user_ids, asked)
    return scores, dataclasses.replace(dataset, drawn=drawn)


# --- who is drawn ---


def test_a_draw_depends_on_ids_and_seed_alone() -> None:
    _, dataset = parted_data()

    def draw(rows: np.ndarray, most: int, seed: int = 0) -> set[str]:
        parts = {name: getattr(dataset, name)[rows] for name in ("valid", "test", "cold_valid", "cold_test")}
        ids = [dataset.raw_user_ids[row] for row in rows]
        found = draw_users(parts, ids, {"split_seed": seed, "valid_users": most, "test_users": most})
        assert found["valid"].are.sum() == most
        return {ids[row] for row in np.flatnonzero(found["valid"].are)}

    rows = np.arange(dataset.n_users)
    some = draw(rows, 12)
    assert draw(rows[::-1], 12) == some != draw(rows, 12, seed=1)
    assert draw(rows, 5) < some
    rest = draw(np.array([row for row in rows if dataset.raw_user_ids[row] not in list(some)[:3]]), 12)
    assert len(rest & some) == 9


def test_only_users_who_are_asked_something_are_drawn() -> None:
    _, dataset = drawn_data(valid_users=40)
    asked = (dataset.test + dataset.cold_test).getnnz(axis=1) > 0
    are = dataset.drawn["test"].are
    assert are.sum() == 9
    assert asked[are].all()
    assert dataset.drawn["test"].n_from == asked.sum()
    everyone = draw_users(vars(dataset), dataset.raw_user_ids, {"split_seed": 3, "valid_users": 60, "test_users": 0})
    assert everyone == {}


def test_who_is_drawn_for_valid_is_drawn_for_test_before_all_others() -> None:
    _, dataset = drawn_data()
    parts = dict.fromkeys(("valid", "test", "cold_valid", "cold_test"), dataset.train)  # the same users in all
    drawn = draw_users(parts, dataset.raw_user_ids, {"split_seed": 3, "valid_users": 7, "test_users": 9})
    assert (drawn["valid"].are.sum(), drawn["test"].are.sum()) == (7, 9)
    assert drawn["test"].are[drawn["valid"].are].all()


# --- whose figures they are ---


def recount(scores: np.ndarray, target: np.ndarray, masked: np.ndarray, users: np.ndarray) -> dict[str, list[float]]:
    return brute_force(scores[users], target[users], masked[users], TOP_K)


def test_each_figure_is_that_of_the_drawn_users() -> None:
    scores, dataset = drawn_data()
    found, by_user = held_out_metrics(*vectors_scoring(scores), dataset, settings())
    users, of_valid = (np.flatnonzero(dataset.drawn[part].are) for part in ("test", "valid"))
    known = (dataset.masked_for("test")).toarray()
    parts = {part: getattr(dataset, part).toarray() for part in ("train", "valid", "test", "cold_test", "cold_valid")}
    warm, cold = warm_part(dataset, "test"), is_cold(dataset)
    joint = parts["test"] + parts["cold_test"]
    among_cold = known + ~(parts["cold_test"].sum(axis=0) > 0)
    expected = {
        "warm": recount(scores, warm, known + cold, users),
        "test": recount(scores, parts["test"], parts["train"] + parts["valid"], users),
        "joint": recount(scores, joint, known + parts["cold_valid"], users),
        "among_cold": recount(scores, parts["cold_test"], among_cold, users),
        "cold_valid": recount(scores, parts["cold_valid"], known, of_valid),
    }
    assert len(expected["warm"][KEY]) < len(users) + 1 < 20
    ours = {
        "warm": found["warm"],
        "test": found["test"],
        "joint": found["listed"]["joint"],
        "among_cold": found["cold"]["among_cold"],
        "cold_valid": found["cold_valid"]["among_all"],
    }
    for name, values in expected.items():
        assert ours[name][KEY] == pytest.approx(np.mean(values[KEY])), name
    np.testing.assert_allclose(by_user[KEY], expected["warm"][KEY])
    groups = found["groups"]["users"].values()
    assert sum(group["n_users"] for group in groups) == len(expected["warm"][KEY])
    head = np.isin(np.arange(120), np.flatnonzero(_head(parts["train"])))
    of_head = recount(scores, parts["test"] * head, known + cold, users)
    assert found["groups"]["items"]["head"][KEY] == pytest.approx(np.mean(of_head[KEY]))


def _head(train: np.ndarray) -> np.ndarray:
    counts, head = train.sum(axis=0), np.zeros(120, bool)
    head[np.argsort(-counts[:100], kind="stable")[:20]] = True
    return head


def test_the_standard_error_is_that_over_users() -> None:
    scores, dataset = drawn_data()
    by_user = evaluate_warm(*vectors_scoring(scores), dataset, "valid", settings())
    found = figures(by_user, dataset, "valid")["drawn"]
    values = by_user[KEY]
    assert found["n_users"] == len(values) <= 7
    assert found["of"] == ((dataset.valid + dataset.cold_valid).getnnz(axis=1) > 0).sum()
    by_hand = (sum((values - values.mean()) ** 2) / (len(values) - 1) / len(values)) ** 0.5
    assert found["standard_error"][KEY] == pytest.approx(by_hand)
    assert "drawn" not in figures(by_user, parted_data()[1], "valid")


def test_what_valid_decides_is_decided_by_the_drawn_users() -> None:
    """As where nobody else has a pair to be found."""
    scores, dataset = drawn_data(valid_users=15)
    are = dataset.drawn["valid"].are
    theirs = {part: of_users(getattr(dataset, part), are) for part in ("valid", "cold_valid")}
    alone, everyone = dataclasses.replace(dataset, drawn={}, **theirs), dataclasses.replace(dataset, drawn={})
    user_emb, item_emb = vectors_scoring(scores)
    config = {**settings(), "early_stop_metric": KEY, "cold_cost": 0.02}
    decide: dict[str, Callable[[Dataset], Any]] = {
        "offset": lambda data: cold_offset(user_emb, item_emb, is_cold(data), data, config),
        "share": lambda data: share_of_new(user_emb, item_emb, is_cold(data), data, config),
        "weights": lambda data: search_blend_weights(
            user_emb, item_emb, np.arange(120, dtype=np.float32), None, data, config
        ),
        "placement": lambda data: _cold_valid_figure((user_emb, item_emb), data, config),
        "all and liked": lambda data: liked_and_all(user_emb, item_emb, data, "valid", config),
    }
    for name, decided in decide.items():
        assert decided(dataset) == decided(alone), name
        assert name == "share" or decided(dataset) != decided(everyone), name


# --- runs ---


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("drawn")
    shape = {"embedding_dim": 8, "lsa_dim": 8, "batch_size": 128, "epochs": 3, "device": "cpu", "model_name": "lsa"}
    paths = {"data_dir": str(write_data(folder / "data")), "saved_dir": str(folder / "drawn")}
    return get_config({**shape, **paths, "valid_users": 6, "test_users": 11, "calibrate": True, "linear_dim": 4})


@pytest.fixture(scope="module")
def metrics(asked: dict[str, Any]) -> dict[str, Any]:
    return main.run(asked)


def test_a_run_says_whose_figures_they_are(asked: dict[str, Any], metrics: dict[str, Any]) -> None:
    saved, dataset = Path(asked["saved_dir"]), load_dataset(asked)
    assert [metrics[part]["drawn"]["n_users"] for part in ("valid", "warm")] == [6, 11]
    users = load_arrays(saved / "user_metrics.npz")["user_ids"]
    assert users.tolist() == np.flatnonzero(dataset.drawn["test"].are).tolist()
    lines = [json.loads(line) for line in (saved / "history.jsonl").read_text().splitlines()]
    assert all(line["drawn"]["n_users"] == 6 for line in lines)
    told = f"11 users drawn from 40; {KEY} {metrics['warm'][KEY]:.4f} ± "
    assert told in show(metrics, saved)
    page = (saved / "report.html").read_text(encoding="utf-8")
    assert told in page
    assert f"6 users drawn from 40; {KEY} {metrics['valid'][KEY]:.4f} ± " in page


def test_the_baselines_of_an_ablation_are_asked_for_the_same_users(
    asked: dict[str, Any], metrics: dict[str, Any], tmp_path: Path
) -> None:
    overrides = {key: value for key, value in asked.items() if key not in ("fusion_mode", "use_user_llm")}
    results = run_ablation.gathered(
        {}, {**overrides, "saved_dir": str(tmp_path)}, tmp_path, 1, False, ("popularity", "item_knn")
    )
    users = [load_dataset(asked).raw_user_ids[row] for row in np.flatnonzero(load_dataset(asked).drawn["test"].are)]
    for [row] in results.values():
        assert list(row["user_test"]) == users
        assert [row[part]["drawn"]["n_users"] for part in ("valid", "warm")] == [6, 11]
        assert row["valid_users"] == 6  # another draw is another baseline
    rows = run_ablation.compared(results, {})
    assert any(note.startswith("test: of 11 users drawn from 40") for note in notes(rows))


def test_another_draw_is_another_run(asked: dict[str, Any], metrics: dict[str, Any]) -> None:
    dataset = load_dataset(asked)
    ids = {
        RunIdentity.of_run({**asked, **other}, dataset.digests, metrics["encoder"]).run_id
        for other in ({}, {"valid_users": 7}, {"test_users": 0})
    }
    assert len(ids) == 3
    assert metrics["run"] in ids


def test_to_draw_all_users_is_to_draw_none(asked: dict[str, Any], tmp_path: Path) -> None:
    found = [
        main.run({**asked, "valid_users": most, "test_users": most, "saved_dir": str(tmp_path / str(most))})
        for most in (0, 40)
    ]
    same = [
        {key: one[key] for key in ("valid", "warm", "test", "groups", "rated", "valid_rated", "decided")}
        for one in found
    ]
    assert same[0] == same[1]
    assert "drawn" not in same[0]["warm"]
    pages = [(tmp_path / name / "item_emb.pt").read_bytes() for name in ("0", "40")]
    assert pages[0] == pages[1]
