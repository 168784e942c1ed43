"""How valid chooses what rates count, and that a run keeps what it chose."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Dataset
from llm_embedding import TextVectors
from main import run
from runtime.files import load_torch
from runtime.identity import resolved
from training import before_training
from training.before_training import RATING_GRID, choose_before_training, rated_run

CPU = torch.device("cpu")
NO_TEXT = TextVectors(None, None, {})


@pytest.fixture
def asked(config: dict[str, Any]) -> dict[str, Any]:
    """A config that leaves the weight of rates open, and nothing else."""
    return {**config, "rating_weight": -1.0, "fusion_mode": "none", "loss": "softmax", "batch_size": 8, "lr": 0.05}


@pytest.mark.parametrize(
    ("all_pairs", "liked", "cost", "best"),
    [
        ([0.50, 0.50, 0.50, 0.50], [0.30, 0.40, 0.60, 0.50], 0.01, 0.5),
        ([0.50, 0.497, 0.494, 0.40], [0.30, 0.40, 0.60, 0.90], 0.01, 0.25),  # 0.494 is more than 1% below
        ([0.50, 0.497, 0.494, 0.40], [0.30, 0.40, 0.60, 0.90], 0.02, 0.5),
        ([0.50, 0.52, 0.51, 0.40], [0.90, 0.40, 0.30, 0.20], 0.01, 0.25),  # 0.50 is too far below 0.52, and so is 0.51
        ([0.50, 0.40, 0.30, 0.20], [0.10, 0.40, 0.60, 0.90], 1.0, 1.0),
        ([0.50, 0.50, 0.50, 0.50], [0.30, 0.40, 0.40, 0.40], 0.0, 0.25),  # of equal ones the least
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], 0.01, 0.0),
    ],
)
def test_of_weights_that_cost_little_the_one_that_finds_liked_titles_best_is_taken(
    dataset: Dataset,
    asked: dict[str, Any],
    all_pairs: list[float],
    liked: list[float],
    cost: float,
    best: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def figures(data: Dataset, vectors: TextVectors, config: dict[str, Any], device: Any) -> tuple[float, float]:
        place = RATING_GRID.index(config["rating_weight"])
        return all_pairs[place], liked[place]

    monkeypatch.setattr(before_training, "rated_run", figures)
    monkeypatch.setattr(before_training, "SHARE_OF_COST", 1.0)
    told = choose_before_training(dataset, NO_TEXT, {**asked, "rating_cost": cost}, CPU)
    spent = 1 - all_pairs[RATING_GRID.index(best)] / max(all_pairs) if any(all_pairs) else 0
    assert told["selected"].pop("rating_cost", cost) == pytest.approx(cost - spent)  # what is left for other choices
    assert told["selected"] == {"rating_weight": best}
    assert RATING_GRID == (0.0, 0.25, 0.5, 1.0)
    assert told["by"] == [
        {"choice": {"rating_weight": weight}, "epochs": asked["epochs"], "figure": figure, "liked": of_liked}
        for weight, figure, of_liked in zip(RATING_GRID, all_pairs, liked, strict=True)
    ]


def test_weights_of_pairs_may_spend_a_share_of_the_cost(
    dataset: Dataset, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = dict(zip(RATING_GRID, ((1.0, 0.1), (0.998, 0.2), (0.996, 0.3), (0.9, 0.4)), strict=True))
    monkeypatch.setattr(before_training, "rated_run", lambda *args: figures[args[2]["rating_weight"]])
    for cost, best in ((0.01, 0.25), (0.02, 0.5), (0.004, 0.0)):
        told = choose_before_training(dataset, NO_TEXT, {**asked, "rating_cost": cost}, CPU)
        assert told["selected"]["rating_weight"] == best


def test_the_temperature_is_chosen_first_and_without_rates(
    dataset: Dataset, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float, int]] = []

    def rated(data: Dataset, vectors: TextVectors, config: dict[str, Any], device: Any) -> tuple[float, float]:
        seen.append((config["temperature"], config["rating_weight"], config["epochs"]))
        return 1.0 if config["temperature"] in near else 0.1, max(config["rating_weight"], 0.0)

    monkeypatch.setattr(before_training, "short_run", None)  # which does not measure what is liked
    monkeypatch.setattr(before_training, "rated_run", rated)
    epochs = asked["epochs"]
    for near in ((0.2,), (0.2, 0.3)):
        seen.clear()
        told = choose_before_training(dataset, NO_TEXT, {**asked, "temperature": 0.0}, CPU)
        assert told["selected"] == {"temperature": 0.2, "rating_weight": 1.0}
        n_weighed = len(RATING_GRID) - (len(near) > 1)  # a run as long as training, without rates, is not repeated
        assert seen[-n_weighed:] == [(0.2, weight, epochs) for weight in RATING_GRID[-n_weighed:]]
        # still open, and train has no weights; see weighted_train
        assert {weight for _, weight, _ in seen[:-n_weighed]} == {-1.0}
        assert [run["liked"] for run in told["by"] if "liked" in run] == list(RATING_GRID)
        assert resolved(asked, told)["rating_weight"] == 1.0


def without_rates(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, rates=None)


def all_alike(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, rates=np.full(dataset.seen.nnz, 7, np.float32))


def without_valid(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, valid=sp.csr_matrix(dataset.train.shape, dtype=np.float32))


@pytest.mark.parametrize("change", [without_rates, all_alike, without_valid])
def test_without_rates_or_a_valid_part_they_count_nothing_and_nothing_is_run(
    change: Any, dataset: Dataset, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_training, "rated_run", None)
    told = choose_before_training(change(dataset), NO_TEXT, asked, CPU)
    assert (told["selected"], told["by"]) == ({"rating_weight": 0.0}, [])


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_weight_that_is_set_stays(dataset: Dataset, asked: dict[str, Any], weight: float) -> None:
    assert choose_before_training(dataset, NO_TEXT, {**asked, "rating_weight": weight}, CPU) == {}


def test_a_run_counts_by_its_best_epoch_on_all_pairs(
    dataset: Dataset, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, widths = iter([(0.2, 0.9), (0.4, 0.3), (0.3, 0.8)]), []

    def measured(user_emb: torch.Tensor, item_emb: torch.Tensor, data: Dataset, part: str, config: Any) -> Any:
        assert part == "valid"
        widths.append(user_emb.shape[1])
        return next(figures)

    monkeypatch.setattr(before_training, "liked_and_all", measured)
    small = {**asked, "rating_weight": 0.5, "embedding_dim": 300, "epochs": 3}
    assert rated_run(dataset, NO_TEXT, small, CPU) == (0.4, 0.3)
    assert widths == [128] * 3


def test_its_runs_are_measured_on_valid_alone(dataset: Dataset, asked: dict[str, Any]) -> None:
    first = choose_before_training(dataset, NO_TEXT, asked, CPU)
    other = dataclasses.replace(dataset, test=sp.csr_matrix(dataset.train.shape, dtype=np.float32))
    assert choose_before_training(other, NO_TEXT, asked, CPU) == first
    assert len({(run["figure"], run["liked"]) for run in first["by"]}) == 4
    swapped = dataclasses.replace(dataset, valid=dataset.test, test=dataset.valid)
    assert choose_before_training(swapped, NO_TEXT, asked, CPU)["by"] != first["by"]


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_model_whose_graph_hangs_on_rates_is_not_used_with_others(weight: float, asked: dict[str, Any]) -> None:
    config = {**asked, "rating_weight": weight, "epochs": 1}
    run(config)
    path = Path(config["data_dir"]) / "interactions.tsv"
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines(keepends=True)]
    changed = [[*row[:2], "3" if row[2] == "2" else row[2], *row[3:]] for row in rows]
    assert changed != rows
    path.write_text("".join("\t".join(row) for row in [header, *changed]), encoding="utf-8")
    if weight:
        with pytest.raises(ValueError, match=r"rating_weight 0\.5 on other rates .* --mode train"):
            run({**config, "mode": "inference"})
    else:
        run({**config, "mode": "inference"})


@pytest.mark.parametrize("fusion_mode", ["none", "sum"])
def test_a_run_that_chose_is_the_run_that_is_told_and_is_restored_with_it(
    fusion_mode: str, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts of users are not weighed, so that what is chosen after they were made is what can be set."""

    def figures(data: Dataset, vectors: TextVectors, config: dict[str, Any], device: Any) -> tuple[float, float]:
        return 1.0, -abs(config["rating_weight"] - 0.5)

    monkeypatch.setattr(before_training, "rated_run", figures)
    found = {}
    for weight in (-1.0, 0.5, 0.0):
        saved = Path(asked["saved_dir"]) / str(weight)
        config = {**asked, "fusion_mode": fusion_mode, "rating_weight": weight, "saved_dir": str(saved)}
        run(config)
        found[weight] = vectors = [load_torch(saved / f"{side}_emb.pt") for side in ("user", "item")]
        for side in ("user", "item"):
            (saved / f"{side}_emb.pt").unlink()
        run({**config, "mode": "inference"})
        again = [load_torch(saved / f"{side}_emb.pt") for side in ("user", "item")]
        assert all(torch.equal(*pair) for pair in zip(vectors, again, strict=True)), weight
    assert all(torch.equal(*pair) for pair in zip(found[-1.0], found[0.5], strict=True))
    assert not torch.allclose(found[0.0][0], found[0.5][0])
    metrics = json.loads((Path(asked["saved_dir"]) / "-1.0" / "metrics.json").read_text())
    assert metrics["decided"]["selected"] == {"rating_weight": 0.5}
    assert [each["choice"]["rating_weight"] for each in metrics["decided"]["by"]] == list(RATING_GRID)
    assert metrics["config"]["rating_weight"] == -1.0
