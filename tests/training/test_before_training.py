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
    EPOCHS,
    ID_DROPOUT,
    MIDDLE,
    SHORT,
    TEMPERATURE_GRID,
    best_valid_metric,
    choose_before_training,
    short_run,
)

CPU, FOUR = torch.device("cpu"), TEMPERATURE_GRID[:4]


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


def by_temperature(temperature: float, best: float) -> float:
    return 0.5 * 0.8 ** abs(TEMPERATURE_GRID.index(temperature) - TEMPERATURE_GRID.index(best))


class Figures:
    """In the place of short_run: a figure for each choice, and what was asked for beside the temperature."""

    def __init__(self, best: float, more_drops: float = 0.0, without_users: float = 0.0) -> None:
        self.best, self.gains = best, {"id_dropout": more_drops, "use_user_llm": without_users}
        self.asked: list[tuple[float, float, bool, int]] = []

    def __call__(self, dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> float:
        self.asked.append(tuple(config[key] for key in ("temperature", "id_dropout", "use_user_llm", "epochs")))
        return (
            by_temperature(config["temperature"], self.best)
            + (config["id_dropout"] == ID_DROPOUT) * self.gains["id_dropout"]
            + (not config["use_user_llm"]) * self.gains["use_user_llm"]
        )


def other_parts(dataset: Dataset) -> Dataset:
    """Put pairs nobody collected into the test parts."""
    free = np.argwhere(dataset.seen.toarray() == 0)
    pairs = np.zeros(dataset.train.shape, np.float32)
    pairs[tuple(free[::3].T)] = 1
    nothing = sp.csr_matrix(dataset.train.shape, dtype=np.float32)
    seen = sp.csr_matrix(dataset.seen + sp.csr_matrix(pairs))
    without_values = {"rates": None, "times": None}  # which are one for each pair of seen
    return dataclasses.replace(dataset, test=sp.csr_matrix(pairs), cold_test=nothing, seen=seen, **without_values)


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
    dropout, long = ID_DROPOUT if drops > 0 else asked["id_dropout"], asked["epochs"]
    order = [MIDDLE, 0.08, 0.2, 0.3, 0.45, 0.6, 0.8]
    order = order[: max(3, TEMPERATURE_GRID.index(best) + 2)]  # what is further out than a bad one is not tried
    runs = [*((temperature, 0.1, True, EPOCHS) for temperature in order), (best, ID_DROPOUT, True, EPOCHS)]
    runs += [(best, 0.1, True, long), (best, ID_DROPOUT, True, long)] * (drops == 0)  # what is alike is run at length
    runs += [(best, dropout, False, EPOCHS)]
    runs += [(best, dropout, users_text, long) for users_text in (True, False)] * (users == 0)
    assert figures.asked == list(dict.fromkeys(runs))  # none of them twice
    selected = {
        "temperature": best,
        **({"id_dropout": ID_DROPOUT} if drops > 0 else {}),
        **({"use_user_llm": False} if users > 0 else {}),
    }
    assert found == {**before, **selected}
    assert asked == before
    assert (told["selected"], told["metric"]) == (selected, asked["early_stop_metric"])
    expected = [
        by_temperature(temperature, best) + (drops if drop == ID_DROPOUT else 0) + (0 if users_text else users)
        for temperature, drop, users_text, _ in figures.asked
    ]
    assert [run["figure"] for run in told["by"]] == pytest.approx(expected)
    for run, (temperature, drop, users_text, epochs) in zip(told["by"], figures.asked, strict=True):
        assert run["epochs"] == epochs
        of_run = {**asked, **run["choice"]}
        assert (of_run["temperature"], of_run["id_dropout"], of_run["use_user_llm"]) == (temperature, drop, users_text)


def figures_of(short: list[float], long: list[float], asked: list[tuple[float, int]]) -> Any:
    """Return what stands in the place of short_run: a figure for each of FOUR, by how long a run is."""

    def figure(dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> float:
        asked.append((config["temperature"], config["epochs"]))
        return (short if config["epochs"] == EPOCHS else long)[TEMPERATURE_GRID.index(config["temperature"])]

    return figure


@pytest.mark.parametrize(
    ("short", "long", "run_at_length", "best"),
    [
        ([0.30, 0.49, 0.50, 0.48], [0.90, 0.70, 0.60, 0.65], [1, 2, 3], 1),  # 0.08 would be best, but began too badly
        ([0.30, 0.49, 0.50, 0.48], [0.90, 0.68, 0.60, 0.70], [1, 2, 3], 3),  # near to each other after all
        ([0.30, 0.49, 0.50, 0.48], [0.90, 0.69, 0.60, 0.70], [1, 2, 3], 1),  # even then, so it is the lowest
        ([0.30, 0.49, 0.50, 0.48], [0.90, 0.08, 0.10, 0.09], [1, 2, 3], 2),  # figures of as many epochs are compared
        ([0.50, 0.49, 0.30, 0.48], [0.60, 0.70, 0.90, 0.90], [0, 1], 1),  # 0.3 is further out than one that is bad
        ([0.50, 0.449, 0.30, 0.30], [0.10, 0.90, 0.90, 0.90], [], 0),  # a share of 0.102 below the best is not near
        ([0.50, 0.451, 0.30, 0.30], [0.10, 0.90, 0.90, 0.95], [0, 1], 1),  # 0.098 is
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0, 1, 2, 3], 0),
    ],
)
def test_near_temperatures_are_decided_by_runs_of_all_epochs(
    dataset: Dataset,
    asked: dict[str, Any],
    short: list[float],
    long: list[float],
    run_at_length: list[int],
    best: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[tuple[float, int]] = []
    monkeypatch.setattr(before_training, "TEMPERATURE_GRID", FOUR)
    monkeypatch.setattr(before_training, "short_run", figures_of(short, long, runs))
    told = choose_before_training(dataset, TextVectors(None, None, {}), asked, CPU)
    assert told["selected"] == {"temperature": TEMPERATURE_GRID[best]}
    places = [1, 0, 2, 3] if short[2] >= 0.9 * max(short[:3]) else [1, 0, 2]
    expected = [(TEMPERATURE_GRID[place], 2) for place in places]
    expected += [(TEMPERATURE_GRID[place], asked["epochs"]) for place in run_at_length]
    assert runs == expected
    assert [(run["choice"]["temperature"], run["epochs"]) for run in told["by"]] == expected
    figures = [*(short[place] for place in places), *(long[place] for place in run_at_length)]
    assert [run["figure"] for run in told["by"]] == figures


def test_where_training_is_as_short_no_run_is_repeated(
    dataset: Dataset, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[float, int]] = []
    monkeypatch.setattr(before_training, "TEMPERATURE_GRID", FOUR)
    monkeypatch.setattr(before_training, "short_run", figures_of([0.49, 0.5, 0.5, 0.3], [], runs))
    told = choose_before_training(dataset, TextVectors(None, None, {}), {**asked, "epochs": EPOCHS}, CPU)
    assert told["selected"] == {"temperature": TEMPERATURE_GRID[0]}
    assert runs == [(TEMPERATURE_GRID[place], EPOCHS) for place in (1, 0, 2, 3)]


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
    figures = Figures(TEMPERATURE_GRID[0], -0.1, -0.1)
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
    assert figures.asked[3:] == [(*of_run, EPOCHS) for of_run in more]
    assert found["use_user_llm"] == asked["use_user_llm"]
    assert set(told["selected"]) == {"temperature"}


def test_without_a_valid_part_one_of_the_middle_is_taken_and_that_is_said(
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
    middle = 0.12
    assert TEMPERATURE_GRID[0] < middle < TEMPERATURE_GRID[-1]
    assert found == {**asked, "temperature": middle}
    assert (told["selected"], told["by"]) == ({"temperature": middle}, [])
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "valid" in warning
    assert str(middle) in warning


# --- real short runs ---


@pytest.mark.slow
@pytest.mark.parametrize("near", [0.0, 1.0])
def test_it_decides_alike_each_time_and_whatever_the_test_parts_hold(
    near: float, dataset: Dataset, vectors: TextVectors, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By runs of two epochs alone, and by those of all epochs."""
    monkeypatch.setattr(before_training, "NEAR", near)
    monkeypatch.setattr(before_training, "NEAR_TEMPERATURES", near)
    first = choose_before_training(dataset, vectors, asked, CPU)
    assert choose_before_training(dataset, vectors, asked, CPU) == first
    assert choose_before_training(other_parts(dataset), vectors, asked, CPU) == first
    assert len({run["figure"] for run in first["by"]}) > 1
    assert {run["epochs"] for run in first["by"]} == ({EPOCHS, asked["epochs"]} if near else {EPOCHS})
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
    figures = iter([0.125, 0.25, 0.0625])

    def train(model: LightGCN, optimizer: Any, data: Dataset, config: dict[str, Any], rng: Any, epoch: int) -> float:
        trained.append((model, config))
        return 0.0

    monkeypatch.setattr(before_training, "train_epoch", train)
    monkeypatch.setattr(
        before_training, "valid_metrics", lambda *args, **more: {asked["early_stop_metric"]: next(figures)}
    )
    assert short_run(dataset, vectors, {**asked, "temperature": 0.2, "embedding_dim": dim, "epochs": 3}, CPU) == 0.25
    assert len(trained) == 3
    for model, config in trained:
        assert (model.embedding_dim, config["epochs"], config["temperature"]) == (expected, 3, 0.2)
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
