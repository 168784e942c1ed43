"""What short runs decide on valid before training: the temperature, id dropout, and whether users' text is left out."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Comments, Dataset
from evaluator import evaluate, means
from llm_embedding import TextVectors, text_vectors
from model import LightGCN
from runtime.identity import resolved
from tests.helpers.data import dataset_of
from training import before_training
from training.before_training import (
    ID_DROPOUT,
    SHORT,
    TEMPERATURE_GRID,
    best_valid_metric,
    choose_before_training,
    short_run,
)

CPU = torch.device("cpu")


@pytest.fixture
def asked(config: dict[str, Any]) -> dict[str, Any]:
    """A config that leaves the temperature open."""
    return {
        **config,
        "temperature": 0.0,
        "normalize": True,
        "loss": "softmax",
        "fusion_mode": "sum",
        "batch_size": 8,
        "lr": 0.05,
        "id_dropout": 0.1,
        "epochs": 5,
        "linear_dim": 4,
        "calibrate": True,
        "cold_cost": 0.1,
    }


@pytest.fixture
def vectors(dataset: Dataset, config: dict[str, Any]) -> TextVectors:
    return text_vectors(dataset, config, "cpu")


class Figures:
    """In the place of short_run: a figure for each choice, and what was asked for beside the temperature."""

    def __init__(self, best: float, more_drops: float = 0.0, without_users: float = 0.0) -> None:
        self.best, self.gains = best, {"id_dropout": more_drops, "use_user_llm": without_users}
        self.asked: list[tuple[float, float, bool]] = []

    def __call__(self, dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> float:
        self.asked.append((config["temperature"], config["id_dropout"], config["use_user_llm"]))
        return (
            0.5
            - abs(config["temperature"] - self.best)
            + (config["id_dropout"] == ID_DROPOUT) * self.gains["id_dropout"]
            + (not config["use_user_llm"]) * self.gains["use_user_llm"]
        )


def other_parts(dataset: Dataset) -> Dataset:
    """Put pairs nobody collected into the test parts."""
    free = np.argwhere(dataset.seen.toarray() == 0)
    pairs = np.zeros(dataset.train.shape, np.float32)
    pairs[tuple(free[::3].T)] = 1
    nothing = sp.csr_matrix(dataset.train.shape, dtype=np.float32)
    return dataclasses.replace(
        dataset, test=sp.csr_matrix(pairs), cold_test=nothing, seen=sp.csr_matrix(dataset.seen + sp.csr_matrix(pairs))
    )


def test_a_temperature_that_is_set_stays(
    dataset: Dataset, vectors: TextVectors, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_training, "short_run", None)
    config = {**asked, "temperature": 0.3}
    assert choose_before_training(dataset, vectors, config, CPU) == {}


@pytest.mark.slow
@pytest.mark.parametrize("best", TEMPERATURE_GRID)
@pytest.mark.parametrize("drops", [0.1, -0.1, 0.0])
@pytest.mark.parametrize("users", [0.1, -0.1, 0.0])
def test_the_best_figure_decides(
    dataset: Dataset,
    vectors: TextVectors,
    asked: dict[str, Any],
    best: float,
    drops: float,
    users: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A choice after the other; what gains nothing stays as the config has it."""
    figures, before = Figures(best, drops, users), dict(asked)
    monkeypatch.setattr(before_training, "short_run", figures)
    told = choose_before_training(dataset, vectors, asked, CPU)
    found = resolved(asked, told)
    dropout = ID_DROPOUT if drops > 0 else asked["id_dropout"]
    assert figures.asked == [
        *((temperature, 0.1, True) for temperature in TEMPERATURE_GRID),
        (best, ID_DROPOUT, True),
        (best, dropout, False),
    ]
    selected = {
        "temperature": best,
        **({"id_dropout": ID_DROPOUT} if drops > 0 else {}),
        **({"use_user_llm": False} if users > 0 else {}),
    }
    assert found == {**before, **selected}
    assert asked == before
    assert (told["selected"], told["metric"]) == (selected, asked["early_stop_metric"])
    expected = [
        *(0.5 - abs(temperature - best) for temperature in TEMPERATURE_GRID),
        0.5 + drops,
        0.5 + max(drops, 0) + users,
    ]
    assert [run["figure"] for run in told["by"]] == pytest.approx(expected)
    assert [run["choice"]["temperature"] for run in told["by"]] == [*TEMPERATURE_GRID, best, best]


@pytest.mark.parametrize(
    ("case", "more"),
    [
        ("no comment", [(TEMPERATURE_GRID[0], ID_DROPOUT, True)]),
        ("no users' text", [(TEMPERATURE_GRID[0], ID_DROPOUT, False)]),
        ("no titles' text", [(TEMPERATURE_GRID[0], 0.1, False)]),
        ("no text", []),
        ("dropout is high", [(TEMPERATURE_GRID[0], 0.6, False)]),
    ],
)
def test_only_what_is_there_is_asked_about(
    dataset: Dataset,
    vectors: TextVectors,
    asked: dict[str, Any],
    case: str,
    more: list[tuple[float, float, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Users' text where they wrote something, whatever titles have; id dropout where it could rise."""
    figures = Figures(TEMPERATURE_GRID[0])
    monkeypatch.setattr(before_training, "short_run", figures)
    assert dataset.user_comments.texts
    if case == "no comment":
        dataset = dataclasses.replace(dataset, user_comments=Comments(np.empty(0, int), [], np.empty(0, np.float32)))
    if case == "no text":
        vectors = TextVectors(None, None, {})
    asked["use_user_llm"], asked["use_item_llm"] = case != "no users' text", case != "no titles' text"
    asked["id_dropout"] = 0.6 if case == "dropout is high" else 0.1
    told = choose_before_training(dataset, vectors, asked, CPU)
    found = resolved(asked, told)
    assert figures.asked[3:] == more
    assert found["use_user_llm"] == asked["use_user_llm"]
    assert set(told["selected"]) == {"temperature"}


def test_without_a_valid_part_the_middle_is_taken_and_that_is_said(
    dataset: Dataset,
    vectors: TextVectors,
    asked: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(before_training, "short_run", None)
    dataset = dataclasses.replace(dataset, valid=sp.csr_matrix(dataset.train.shape, dtype=np.float32))
    told = choose_before_training(dataset, vectors, asked, CPU)
    found = resolved(asked, told)
    middle = sorted(TEMPERATURE_GRID)[len(TEMPERATURE_GRID) // 2]
    assert found == {**asked, "temperature": middle}
    assert (told["selected"], told["by"]) == ({"temperature": middle}, [])
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "valid" in warning
    assert str(middle) in warning


# --- real short runs ---


@pytest.mark.slow
def test_it_decides_alike_each_time_and_whatever_the_test_parts_hold(
    dataset: Dataset, vectors: TextVectors, asked: dict[str, Any]
) -> None:
    first = choose_before_training(dataset, vectors, asked, CPU)
    assert choose_before_training(dataset, vectors, asked, CPU) == first
    assert choose_before_training(other_parts(dataset), vectors, asked, CPU) == first
    assert len({run["figure"] for run in first["by"]}) > 1
    swapped = dataclasses.replace(dataset, valid=dataset.test, test=dataset.valid)
    assert choose_before_training(swapped, vectors, asked, CPU)["by"] != first["by"]
    assert not (Path(asked["saved_dir"]) / "checkpoint.pth").exists()


@pytest.mark.parametrize(("dim", "expected"), [(8, 8), (500, SHORT["embedding_dim"])])
def test_a_short_run_is_small_and_its_best_epoch_counts(
    dataset: Dataset,
    vectors: TextVectors,
    asked: dict[str, Any],
    dim: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[tuple[LightGCN, dict[str, Any]]] = []
    figures = iter([0.25, 0.125])

    def train(model: LightGCN, optimizer: Any, data: Dataset, config: dict[str, Any], rng: Any, epoch: int) -> float:
        trained.append((model, config))
        return 0.0

    monkeypatch.setattr(before_training, "train_epoch", train)
    monkeypatch.setattr(
        before_training, "valid_metrics", lambda *args, **more: {asked["early_stop_metric"]: next(figures)}
    )
    assert short_run(dataset, vectors, {**asked, "temperature": 0.2, "embedding_dim": dim, "epochs": 9}, CPU) == 0.25
    assert len(trained) == 2
    for model, config in trained:
        assert (model.embedding_dim, config["epochs"], config["temperature"]) == (expected, 2, 0.2)
        assert (config["calibrate"], config["linear_dim"], config["cold_cost"]) == (False, 0, 1.0)
        assert model.item_bias is None


def test_a_figure_is_the_valid_metric_among_titles_with_a_history(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    likes = np.random.default_rng(0).choice(4, size=(20, 12), p=[0.5, 0.3, 0.1, 0.1])
    train, valid = likes == 1, likes == 2
    train[:, 11] = False  # asked for in valid, but nobody has it in train
    data = dataset_of(sp.csr_matrix(train.astype(np.float32)), valid=sp.csr_matrix(valid.astype(np.float32)))
    made: list[LightGCN] = []
    build = before_training.build_model
    monkeypatch.setattr(before_training, "build_model", lambda *args: made.append(build(*args)) or made[0])
    config = {
        **asked,
        "temperature": 0.2,
        "epochs": 1,
        "top_k": [3],
        "early_stop_metric": "NDCG@3",
        "calibrate": False,
        "cold_cost": 1.0,
    }
    heard: list[tuple[int, float]] = []
    found = best_valid_metric(data, TextVectors(None, None, {}), config, CPU, lambda *told: heard.append(told))
    warm = np.arange(11)
    assert valid[:, 11].any()
    expected = means(evaluate(*made[0].embeddings(), data.valid, data.train, config, warm))["NDCG@3"]
    assert found == pytest.approx(expected)
    assert heard == [(1, found)]
