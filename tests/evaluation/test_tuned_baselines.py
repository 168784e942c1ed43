"""Baselines on equal terms with the model: popularity, cold items, users without rows, and the budget of points."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from evaluation import baseline_search, equal_terms, tuned_baselines
from evaluation.baseline_inputs import Fit, Inputs
from evaluation.baselines import BASELINES, GRIDS, HALF, RATED, TIMED, ease_text, edlae
from evaluation.equal_terms import popularity_unit, weights_by_text, with_popularity
from evaluation.tuned_baselines import fitted, tuned
from evaluator import evaluate_warm, means
from tests.helpers.data import dataset_of
from tests.helpers.factors import made, scores_of
from tests.helpers.linear import COLD, METRIC, N_ITEMS, SILENT, ones, parted, ridge, texts
from training.linear_columns import linear_model, linear_users
from training.placed_by_text import RIDGE_GRID

CONFIG = get_config(
    {
        "early_stop_metric": METRIC,
        "top_k": [5],
        "eval_memory_mb": 16,
        "cold_cost": 1.0,
        "linear_dim": 6,
        "calibrate": True,
    }
)
EMPTY = np.diff(parted().train.indptr) == 0  # users


def changed(dataset: Dataset, **parts: sp.csr_matrix) -> Dataset:
    for part in parts.values():
        part.eliminate_zeros()
    return replace(dataset, **parts)


def text_of(name: str) -> np.ndarray | None:
    return texts() if name in (*tuned_baselines.TAKE_TEXT, *HALF) else None


ALL = [name for name in (*BASELINES, *HALF) if name not in (*TIMED, *RATED)]


# --- popularity ---


@pytest.mark.parametrize("name", [name for name in ALL if name != "popularity"])
def test_a_user_without_rows_is_ranked_by_popularity_whatever_its_weight(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, text = parted(), text_of(name)
    expected = np.log(np.maximum(dataset.train.toarray().sum(axis=0), 1))
    warm = dataset.warm_items
    for weights in ((0.0,), baseline_search.POPULARITY_WEIGHTS):
        monkeypatch.setattr(baseline_search, "POPULARITY_WEIGHTS", weights)
        scores = scores_of(tuned(name, dataset, text, CONFIG).factors)[EMPTY]
        assert len(scores) > 1
        for mine in scores[:, warm]:
            np.testing.assert_allclose(mine / mine.max(), expected[warm] / expected[warm].max(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("popularity", *HALF)])
def test_a_weight_of_0_leaves_the_scores_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline_search, "POPULARITY_WEIGHTS", (0.0,))
    dataset = parted()
    best = tuned(name, dataset, text_of(name), CONFIG)
    point = {key: value for key, value in best.found["point"].items() if key != "popularity"}
    plain = scores_of(made(BASELINES[name], Inputs(dataset, text_of(name)), **point))
    warm = dataset.warm_items
    np.testing.assert_allclose(scores_of(best.factors)[~EMPTY][:, warm], plain[~EMPTY][:, warm], atol=1e-6)


def test_popularity_gets_the_weight_that_is_best_on_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of users who all take the popular titles next, whatever they have."""
    rng = np.random.default_rng(0)
    chance = np.linspace(0.9, 0.05, 20)
    likes = rng.random((200, 20)) < chance
    later = rng.random((200, 20)) < 0.4
    dataset = dataset_of(ones(likes & ~later), valid=ones(likes & later))
    monkeypatch.setitem(GRIDS, "item_knn", {"neighbours": (20,)})
    best = tuned("item_knn", dataset, None, CONFIG).found
    inputs = Inputs(dataset, None)
    factors = made(BASELINES["item_knn"], inputs, neighbours=20)
    unit, figures = popularity_unit(factors, inputs), {}
    for weight in (*baseline_search.POPULARITY_WEIGHTS, 3.2, 6.4):  # those beyond the grid
        counts = np.log(dataset.train.toarray().sum(axis=0))
        found = with_popularity(factors, weight, unit, inputs)
        np.testing.assert_allclose(scores_of(found), scores_of(factors) + weight * unit * counts, rtol=1e-4, atol=1e-5)
        figures[weight] = means(evaluate_warm(*found, dataset, "valid", CONFIG))[METRIC]
    assert best["point"] == {"popularity": max(figures, key=figures.get), "neighbours": 20}
    assert best["valid"][METRIC] == pytest.approx(max(figures.values()))
    assert max(figures.values()) > figures[0.0] + 0.003


def test_each_point_is_measured_with_the_weight_that_suits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first point all weights are tried, of others those near the best one so far, while they are better."""
    values = {"a": {0.0: 5.0, 0.4: 6.0}, "b": {0.0: 9.0, 0.4: 1.0, 0.8: 6.5, 1.6: 7.0}, "c": {0.0: 2.0, 0.4: 1.0}}
    monkeypatch.setitem(GRIDS, "planted", {"key": ("c", "a", "b")})
    monkeypatch.setitem(BASELINES, "planted", lambda inputs, key: Fit(lambda rows: key, None))
    monkeypatch.setattr(baseline_search, "popularity_unit", lambda *args: 1.0)
    monkeypatch.setattr(baseline_search, "with_popularity", lambda factors, weight, *args: (factors[0], weight))
    for module in (baseline_search, tuned_baselines):
        monkeypatch.setattr(
            module, "evaluate_warm", lambda key, weight, *args, **more: {METRIC: values[key].get(weight, 0.0)}
        )
    monkeypatch.setattr(baseline_search, "means", lambda metrics: metrics)
    monkeypatch.setattr(tuned_baselines, "figures", lambda metrics, *where: metrics)
    found = tuned("planted", parted(), None, CONFIG).found
    assert found["point"] == {"popularity": 1.6, "key": "b"}
    assert found["tried"] == [
        {"popularity": 0.4, "key": "a", METRIC: 6.0},
        {"popularity": 0.4, "key": "c", METRIC: 1.0},
        {"popularity": 1.6, "key": "b", METRIC: 7.0},
    ]


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_in_units_popularity_is_spread_as_the_scores_are(form: str) -> None:
    dataset = parted()
    inputs, rng = Inputs(dataset, None), np.random.default_rng(0)
    users, items = rng.normal(size=(60, 4)).astype(np.float32), 3 * rng.normal(size=(N_ITEMS, 4)).astype(np.float32)
    factors = tuple(map(sp.csr_matrix if form == "sparse" else torch.from_numpy, (users, items)))
    spread = (users @ items.T)[~EMPTY][:, dataset.warm_items].std(axis=1).mean()
    counts = np.log(dataset.train.toarray().sum(axis=0)[dataset.warm_items])
    assert popularity_unit(factors, inputs) * counts.std() == pytest.approx(spread, rel=1e-4)


# --- the search ---


def test_the_budget_is_kept_and_what_is_still_at_an_end_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    points: list[dict[str, float]] = []
    real = BASELINES["edlae"]
    monkeypatch.setitem(BASELINES, "edlae", lambda inputs, **point: points.append(point) or real(inputs, **point))
    for budget, at_end in ((3, True), (200, False)):
        points.clear()
        caplog.clear()
        monkeypatch.setattr(baseline_search, "BUDGET", budget)
        found = tuned("edlae", parted(), None, CONFIG).found
        assert found["points_tried"] == len(points) == len({tuple(point.values()) for point in points}) <= budget
        assert (points, len(points)) != ([], budget) or at_end
        assert ("stands at an end" in caplog.text) == bool(found["at_end"])
        if at_end:
            assert len(points) == budget
            assert found["at_end"]
    assert len(points) > 10
    assert {key for key, values in GRIDS["edlae"].items() if {point[key] for point in points} - set(values)}


def test_weights_of_popularity_take_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[str] = []
    real = BASELINES["content_cosine"]
    monkeypatch.setitem(BASELINES, "content_cosine", lambda inputs: fits.append("") or real(inputs))
    found = tuned("content_cosine", parted(), texts(), CONFIG).found
    assert len(fits) == found["points_tried"] == len(found["tried"]) == 1


def test_without_valid_the_defaults_hold(caplog: pytest.LogCaptureFixture) -> None:
    dataset = changed(parted(), valid=ones(np.zeros((60, N_ITEMS))))
    best = tuned("edlae", dataset, None, CONFIG)
    assert best.found["point"] == {"popularity": 0.0, "l2": 100.0, "dropout": 0.2, "user_power": 0.3}
    assert best.found["points_tried"] == 1
    assert "without a valid part nothing is tuned" in caplog.text
    plain = scores_of(made(edlae, Inputs(dataset, None)))
    np.testing.assert_allclose(scores_of(best.factors)[~EMPTY], plain[~EMPTY], atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_what_was_decided_makes_the_same_factors_again(name: str) -> None:
    dataset, text = with_cold_valid(parted()), text_of(name)
    config = {**CONFIG, "cold_cost": 0.02}
    best = tuned(name, dataset, text, config)
    for ours, theirs in zip(best.factors, fitted(name, dataset, text, config, best.found["decided"]), strict=True):
        assert (ours != theirs).nnz == 0 if sp.issparse(ours) else torch.equal(ours, theirs)
    more = changed(dataset, train=dataset.train + dataset.valid, valid=0 * dataset.valid)
    other = scores_of(fitted(name, more, text, config, best.found["decided"]))
    assert np.abs(other - scores_of(best.factors)).max() > 1e-4
    assert best.found["valid"] == means(evaluate_warm(*best.factors, dataset, "valid", config))


# --- cold items ---


def with_cold_valid(dataset: Dataset) -> Dataset:
    """Move the pairs of the last cold title with text from cold_test to cold_valid."""
    is_last = np.isin(np.arange(N_ITEMS), COLD[-1:]).astype(np.float32)
    parts = {
        name: sp.csr_matrix(dataset.cold_test.multiply(mask))
        for name, mask in (("cold_valid", is_last), ("cold_test", 1 - is_last))
    }
    return changed(dataset, **parts)


def test_weights_by_text_are_those_of_a_ridge_regression() -> None:
    dataset, text = parted(), texts()
    inputs = Inputs(dataset, text)
    item_emb = ease_text(inputs, l2=3.0).item_emb
    placed = weights_by_text(item_emb, inputs).numpy()
    warm = dataset.warm_items
    candidates = [
        ridge(text[warm].astype(float), item_emb.numpy()[warm].astype(float), text[COLD], penalty)
        for penalty in RIDGE_GRID
    ]
    errors = [np.abs(placed[COLD] - candidate).max() for candidate in candidates]
    assert min(errors) < 1e-5
    assert sorted(errors)[1] > 1e-4, "another penalty makes other weights"
    np.testing.assert_array_equal(np.delete(placed, COLD, axis=0), np.delete(item_emb.numpy(), COLD, axis=0))
    assert not placed[SILENT].any()


@pytest.mark.parametrize("better", ["own", "ridge"])
def test_cold_valid_decides_how_cold_items_are_placed(better: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The regression is replaced by what ranks the pairs of cold_valid first, or last."""
    dataset = parted()
    dataset = changed(dataset, cold_valid=dataset.cold_test, cold_test=0 * dataset.cold_test)

    def planted(item_emb: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        known = np.linalg.lstsq(dataset.train.toarray(), dataset.cold_valid.toarray()[:, COLD], rcond=None)[0]
        placed = item_emb.clone()
        placed[torch.from_numpy(COLD)] = torch.from_numpy(100 * (1 if better == "ridge" else -1) * known.T).float()
        return placed

    monkeypatch.setattr(equal_terms, "weights_by_text", planted)
    best = tuned("ease_text", dataset, texts(), CONFIG)
    assert best.found["decided"]["cold_placement"] == better


def test_without_cold_valid_the_regression_places_cold_items() -> None:
    best = tuned("ease_text", parted(), texts(), CONFIG)
    assert best.found["decided"]["cold_placement"] == "ridge"
    point = {key: value for key, value in best.found["point"].items() if key != "popularity"}
    inputs = Inputs(parted(), texts())
    users, items = made(ease_text, inputs, **point)
    expected = with_popularity(
        (users, weights_by_text(items, inputs)),
        best.found["point"]["popularity"],
        best.found["decided"]["popularity_unit"],
        inputs,
    )
    np.testing.assert_allclose(scores_of(best.factors), scores_of(expected), atol=1e-6)


@pytest.mark.parametrize("name", ["ease_text", "content_cosine", "linear"])
def test_cold_items_are_lowered_as_far_as_cold_cost_says(name: str) -> None:
    dataset, text = parted(), texts()
    at_most, free = (tuned(name, dataset, text, {**CONFIG, "cold_cost": cost}) for cost in (0.02, 1.0))
    assert "cold_offset" not in free.found["decided"]
    offset = at_most.found["decided"]["cold_offset"]["offset"]
    lowered = scores_of(free.factors)
    lowered[:, COLD] -= offset
    np.testing.assert_allclose(scores_of(at_most.factors), lowered, rtol=1e-4, atol=1e-4)
    assert offset != 0


# --- the half of the model ---


def test_the_linear_half_is_the_models_linear_columns_and_popularity(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, text = parted(), texts()
    best = tuned("linear", dataset, text, CONFIG)
    columns = linear_model(dataset, text, CONFIG)
    plain = linear_users(columns.inputs, columns.user_power, dataset.train), columns.outputs
    decided = best.found["decided"]
    expected = with_popularity(plain, decided["point"]["popularity"], decided["popularity_unit"], Inputs(dataset, text))
    np.testing.assert_allclose(scores_of(best.factors), scores_of(expected), rtol=1e-4, atol=1e-5)
    assert decided["linear"] == columns.decided
    assert best.found["points_tried"] == len(columns.decided["tried"]) > 1


def test_the_linear_half_keeps_what_was_decided_when_it_is_fitted_again() -> None:
    dataset, text = parted(), texts()
    chosen = {"text_weight": 1.0, "l2": 7.0, "dropout": 0.3, "user_power": 0.2, "common": 0.1}
    decided = {"point": {"popularity": 0.0}, "popularity_unit": 1.0, "linear": chosen}
    columns = linear_model(dataset, text, CONFIG, chosen)
    expected = linear_users(columns.inputs, columns.user_power, dataset.train) @ columns.outputs.T
    scores = scores_of(fitted("linear", dataset, text, CONFIG, decided))
    np.testing.assert_allclose(scores[~EMPTY], expected.numpy()[~EMPTY], rtol=1e-4, atol=1e-5)
