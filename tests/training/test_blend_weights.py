"""What popularity and the linear columns weigh is decided on valid, and new titles get the popularity of their text."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from evaluator import evaluate, means
from llm_embedding import TextVectors
from model import UNLISTED, LightGCN
from tests.helpers.data import dataset_of
from tests.helpers.linear import COLD, METRIC, SILENT, ones, parted, ridge, texts
from training import after_training, choice_of_weights, item_forms, linear_columns, placed_by_text
from training.after_training import LINEAR_GRID, POPULARITY_GRID, calibrate, search_blend_weights
from training.model_factory import build_model

CONFIG = get_config(
    {
        "top_k": "5",
        "early_stop_metric": METRIC,
        "linear_dim": 8,
        "calibrate": True,
        "fusion_mode": "sum",
        "embedding_dim": 8,
        "num_layers": 1,
        "device": "cpu",
    }
)


def logs(dataset: Dataset) -> np.ndarray:
    return np.log(np.maximum(dataset.train.toarray().sum(axis=0), 1)).astype(np.float32)


def drawn(dataset: Dataset, rank: int, seed: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return tuple(
        torch.from_numpy(scale * rng.normal(size=(n, rank)).astype(np.float32))
        for n in (dataset.n_users, dataset.n_items)
    )


def figure(scores: torch.Tensor, dataset: Dataset) -> float:
    return means(
        evaluate(
            scores,
            torch.eye(dataset.n_items),
            dataset.warm_pairs("valid"),
            dataset.masked_for("valid"),
            CONFIG,
            dataset.warm_items,
        )
    )[METRIC]


def spread(factors: tuple[torch.Tensor, torch.Tensor], dataset: Dataset) -> float:
    """How far the scores of a user with a valid pair lie apart, on average, among the titles with a history."""
    asked = np.flatnonzero(dataset.valid.toarray().any(axis=1))
    scores = (factors[0] @ factors[1].T).numpy()[asked][:, dataset.warm_items]
    return float(scores.std(axis=1, ddof=1).mean())


# --- the weights ---


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_the_best_of_what_was_tried_is_taken(seed: int, scale: float) -> None:
    dataset = parted(seed)
    trained, beside = drawn(dataset, 3, seed, 1.0), drawn(dataset, 2, seed + 100, scale)
    weights, unit, tried = search_blend_weights(*trained, logs(dataset), beside, dataset, CONFIG)
    assert unit == pytest.approx(spread(trained, dataset) / spread(beside, dataset), rel=1e-4)
    for one in tried:
        scores = (
            trained[0] @ trained[1].T
            + one["popularity"] * torch.from_numpy(logs(dataset))
            + one["linear"] * unit * beside[0] @ beside[1].T
        )
        assert one[METRIC] == pytest.approx(figure(scores, dataset), abs=1e-6)
    best = max(one[METRIC] for one in tried)
    [chosen] = [one for one in tried if {key: one[key] for key in weights} == weights]
    assert chosen[METRIC] == best
    assert {(0.0, one) for one in LINEAR_GRID} <= {(one["popularity"], one["linear"]) for one in tried}
    assert set(POPULARITY_GRID) <= {one["popularity"] for one in tried}


@pytest.mark.parametrize("key", ["popularity", "linear"])
def test_a_weight_at_the_end_of_its_grid_goes_on(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Valid asks for title 0 alone, which what is added ranks first where it counts a lot; figures are then 1."""
    monkeypatch.setattr(after_training, f"{key.upper()}_GRID", (0.0, 0.1, 0.2))
    train = parted().train
    dataset = dataset_of(train, valid=ones((train.toarray() == 0) & (np.arange(train.shape[1]) == 0)))
    trained, first = drawn(dataset, 3, 0, 1.0), np.eye(1, dataset.n_items, dtype=np.float32)
    popular = 5 * first[0] if key == "popularity" else np.zeros(dataset.n_items, np.float32)
    beside = (torch.ones(dataset.n_users, 1), torch.from_numpy(first.T)) if key == "linear" else None
    weights, unit, tried = search_blend_weights(*trained, popular, beside, dataset, CONFIG)
    values = sorted(one[key] for one in tried)
    assert values[:5] == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8])
    assert weights[key] >= 0.4
    more = weights["popularity"] * popular + weights["linear"] * unit * first[0]
    found = figure(trained[0] @ trained[1].T + torch.from_numpy(more), dataset)
    assert found == pytest.approx(max(one[METRIC] for one in tried), abs=1e-6)
    assert found > max(one[METRIC] for one in tried if one[key] <= 0.2)


def test_what_helps_is_weighed_and_what_does_not_is_left_out() -> None:
    """Popularity, linear columns that know the answer, and both against a model that knows it already."""
    dataset = parted()
    answer = torch.from_numpy(dataset.valid.toarray())
    knows, noise = (answer, torch.eye(dataset.n_items)), drawn(dataset, 3, 0, 1.0)
    against = 3 * np.random.default_rng(0).random(dataset.n_items).astype(np.float32)
    weights, _, _ = search_blend_weights(*knows, against, noise, dataset, CONFIG)
    assert weights == {"popularity": 0.0, "linear": 0.0}
    weights, _, tried = search_blend_weights(*noise, logs(dataset) * 0, knows, dataset, CONFIG)
    assert weights["linear"] > 0
    assert weights["popularity"] == 0
    assert max(one[METRIC] for one in tried) > 0.9
    # valid asks for title 0 alone, which many more collected
    valid = np.zeros(dataset.train.shape)
    valid[:, 0] = dataset.train.toarray()[:, 0] == 0
    asked = dataset_of(dataset.train, valid=ones(valid))
    popular = np.eye(1, dataset.n_items, dtype=np.float32)[0] * 5
    weights, unit, _ = search_blend_weights(*noise, popular, None, asked, CONFIG)
    assert weights["popularity"] > 0
    assert weights["linear"] == unit == 0


def test_it_does_not_look_at_test_parts() -> None:
    dataset, empty = parted(), ones(np.zeros((60, 16)))
    others = [
        dataclasses.replace(dataset, test=dataset.cold_test, cold_test=dataset.test),
        dataclasses.replace(dataset, test=empty, cold_test=empty),
    ]
    trained, beside = drawn(dataset, 3, 0, 1.0), drawn(dataset, 2, 1, 1.0)
    found = [search_blend_weights(*trained, logs(dataset), beside, one, CONFIG) for one in (dataset, *others)]
    assert found[0] == found[1] == found[2]
    asked = dataclasses.replace(dataset, valid=dataset.test, test=dataset.valid)
    assert search_blend_weights(*trained, logs(dataset), beside, asked, CONFIG)[2] != found[0][2]


def test_a_sample_of_users_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = parted()
    trained = drawn(dataset, 3, 0, 1.0)
    whole = search_blend_weights(*trained, logs(dataset), None, dataset, CONFIG)
    monkeypatch.setattr(after_training, "SAMPLE", 20)
    some = search_blend_weights(*trained, logs(dataset), None, dataset, CONFIG)
    assert some == search_blend_weights(*trained, logs(dataset), None, dataset, CONFIG)
    assert [one[METRIC] for one in some[2]] != [one[METRIC] for one in whole[2]]


# --- what a model gets of them ---


def model_of(dataset: Dataset, text: np.ndarray | None, **changes: Any) -> tuple[LightGCN, dict[str, Any]]:
    config = {**CONFIG, **changes}
    vectors = TextVectors(text, None if text is None else np.zeros((dataset.n_users, 5), np.float32), {})
    return build_model(dataset, vectors, config, torch.device("cpu")), config


def decide(monkeypatch: pytest.MonkeyPatch, popularity: float, beside: float, unit: float) -> None:
    monkeypatch.setattr(
        after_training,
        "search_blend_weights",
        lambda *args: ({"popularity": popularity, "linear": beside}, unit, ["what was tried"]),
    )


@pytest.mark.parametrize("weight", [0.0, 0.45])
def test_new_titles_get_the_popularity_that_their_text_lets_expect(
    weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(monkeypatch, weight, 0.0, 1.0)
    monkeypatch.setattr(placed_by_text, "RIDGE_GRID", [3.0])
    dataset, text = parted(), texts()
    model, config = model_of(dataset, text, linear_dim=0)
    decided = calibrate(model, dataset, config)
    bias, warm = model.item_bias.numpy(), dataset.warm_items
    np.testing.assert_allclose(bias[warm], weight * logs(dataset)[warm], rtol=1e-5)
    expected = ridge(text[warm], logs(dataset)[warm, None], text[COLD], 3.0)[:, 0]
    np.testing.assert_allclose(bias[COLD], weight * expected, rtol=1e-4)
    assert bias[SILENT] == -UNLISTED
    assert model.linear_users is None
    assert decided == {
        "weights": {"popularity": weight, "linear": 0.0},
        "unit": 1.0,
        "tried": ["what was tried"],
        "linear": None,
    }


def test_without_text_new_titles_stay_unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    decide(monkeypatch, 0.3, 0.0, 1.0)
    dataset = parted()
    model, config = model_of(dataset, None, linear_dim=0)
    calibrate(model, dataset, config)
    np.testing.assert_array_equal(model.item_bias[[*COLD, SILENT]], -UNLISTED)
    np.testing.assert_allclose(model.item_bias[dataset.warm_items], 0.3 * logs(dataset)[dataset.warm_items], rtol=1e-5)


def test_scores_are_the_trained_ones_with_what_was_decided_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, beside, unit = 0.2, 0.5, 7.0
    decide(monkeypatch, weight, beside, unit)
    dataset = parted()
    model, config = model_of(dataset, texts())
    before = [part.clone() for part in model.embeddings()]
    decided = calibrate(model, dataset, config)
    whole = linear_columns.linear_model(dataset, texts(), config)
    more = linear_columns.linear_users(whole.inputs, whole.user_power, dataset.train) @ whole.outputs.T
    expected = before[0] @ before[1].T + weight * torch.from_numpy(logs(dataset)) + beside * unit * more
    scores = (lambda users, items: users @ items.T)(*model.embeddings())
    known = np.ix_(np.diff(dataset.train.indptr) > 0, dataset.warm_items)
    np.testing.assert_allclose(scores[known], expected[known], atol=1e-4)
    assert decided["linear"] == whole.decided
    # a user who comes later is placed by the same numbers
    later = linear_columns.linear_users(model.linear_inputs, model.linear_power.item(), dataset.train)
    np.testing.assert_allclose(later, model.linear_users, atol=1e-5)


def test_linear_columns_that_count_nothing_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    decide(monkeypatch, 0.2, 0.0, 7.0)
    dataset = parted()
    model, config = model_of(dataset, texts())
    width = model.embeddings()[0].shape[1]
    assert calibrate(model, dataset, config)["linear"]
    assert model.linear_users is None
    assert model.embeddings()[0].shape[1] == width


def test_what_is_decided_is_best_on_valid_as_the_model_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    # for 60 users in place of thousands
    monkeypatch.setattr(choice_of_weights, "START", {**item_forms.START, "l2": 10.0, "text_weight": 3.0})
    monkeypatch.setitem(item_forms.WEIGHTS_GRID, "l2", (2.0, 10.0, 60.0))
    dataset = parted(2)
    model, config = model_of(dataset, texts(2))
    decided = calibrate(model, dataset, config)
    found = means(
        evaluate(
            *model.embeddings(), dataset.warm_pairs("valid"), dataset.masked_for("valid"), CONFIG, dataset.warm_items
        )
    )[METRIC]
    assert found == pytest.approx(max(one[METRIC] for one in decided["tried"]), abs=1e-6)
    assert decided["weights"]["linear"] > 0


@pytest.mark.parametrize("case", ["calibrate is off", "no valid part"])
def test_nothing_is_weighed(case: str) -> None:
    dataset = parted()
    if case == "no valid part":
        dataset = dataclasses.replace(dataset, valid=sp.csr_matrix(dataset.train.shape, dtype=np.float32))
    model, config = model_of(dataset, texts(), calibrate=case == "no valid part", linear_dim=0)
    before = [part.clone() for part in model.embeddings()]
    assert calibrate(model, dataset, config) == {}
    for old, new in zip(before, model.embeddings(), strict=True):
        assert torch.equal(old, new)
