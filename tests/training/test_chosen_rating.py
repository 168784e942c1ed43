"""What rates count is chosen by the liked pairs, among what costs little of all pairs."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from evaluation.rated import liked_and_all
from llm_embedding import TextVectors
from tests.helpers.linear import METRIC, N_ITEMS, column_by_column, parted
from training import item_forms
from training.after_training import calibrate
from training.choice_of_rates import choose_rates, rated, within_cost
from training.choice_of_weights import chosen_weights
from training.linear_columns import liking_weights, linear_model
from training.model_factory import build_model

SETTINGS = {
    "top_k": "5",
    "early_stop_metric": METRIC,
    "linear_dim": 64,
    "calibrate": True,
    "rating_weight": -1,
    "rating_cost": 0.2,
}
CONFIG = get_config(SETTINGS)


@pytest.fixture(autouse=True)
def fewer_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Penalties for 60 users in place of thousands."""
    monkeypatch.setitem(item_forms.WEIGHTS_GRID, "l2", (2.0, 10.0, 60.0))
    monkeypatch.setitem(item_forms.START, "l2", 10.0)


def liking_data(seed: int = 0) -> Dataset:
    """Return users of two tastes who rate the titles of one third high, in turn, and all others low."""
    dataset = parted(seed, n_users=500)
    users, items = dataset.seen.nonzero()
    rates = np.where(items % 3 == (users // 2) % 3, 9, 3) + np.random.default_rng(seed).integers(2, size=len(users))
    return dataclasses.replace(dataset, rates=rates.astype(np.float32))


def test_liking_is_restored_as_by_least_squares() -> None:
    dataset = liking_data()
    scores = np.zeros(dataset.train.shape)
    scores[dataset.train.nonzero()] = dataset.scores_of(dataset.train)
    expected = column_by_column(scores, np.full(N_ITEMS, 7.0))
    np.testing.assert_allclose(liking_weights(dataset, 7.0), expected, atol=1e-4)


def plain(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what stands beside the linear columns: nothing."""
    return torch.zeros(dataset.n_users, 1), torch.zeros(N_ITEMS, 1)


@pytest.mark.parametrize("weight", [0.5, 4.0])
def test_of_what_costs_little_the_best_for_the_liked_is_taken(weight: float) -> None:
    dataset = liking_data()
    columns = linear_model(dataset, None, CONFIG, with_rates=True)
    found = choose_rates(*plain(dataset), columns, 1.0, weight, dataset, CONFIG)
    tried = found["tried"]
    assert (tried[0]["liking"], tried[0]["rating"]) == (0, 0)
    best = max((one for one in tried if one["all"] >= 0.8 * tried[0]["all"]), key=lambda one: one["liked"])
    assert best["liked"] > 1.05 * tried[0]["liked"]
    assert {key: best[key] for key in ("liking", "rating", "linear")}.items() <= found.items()
    chosen = rated(columns, best["linear"] * weight, best["liking"] * found["unit"], best["rating"])
    again = liked_and_all(chosen.known_users(dataset, "valid"), chosen.outputs, dataset, "valid", CONFIG)
    assert again == pytest.approx((best["all"], best["liked"]))


def test_columns_score_titles_by_their_weights_and_by_liking() -> None:
    dataset = liking_data()
    columns = linear_model(dataset, None, CONFIG, with_rates=True)
    weights, scores = chosen_weights(dataset, None, CONFIG).collected.numpy(), dataset.scores_of(dataset.train)
    rows, collected = dataset.train.copy(), dataset.train.copy()
    rows.data, collected.data = scores, np.clip(1 + 0.35 * scores, 0, 3).astype(np.float32)
    expected = 2.0 * (collected @ weights) + 0.7 * (rows @ liking_weights(dataset).numpy())
    chosen = rated(columns, 2.0, 0.7, 0.35)
    found = (chosen.known_users(dataset, "valid") @ chosen.outputs.T).numpy()
    warm = dataset.warm_items
    np.testing.assert_allclose(found[:, warm], expected[:, warm], atol=1e-3)


def test_a_liking_of_one_is_spread_as_all_scores_are() -> None:
    dataset = liking_data()
    columns = linear_model(dataset, None, CONFIG, with_rates=True)
    users, items = torch.randn(dataset.n_users, 3), torch.randn(N_ITEMS, 3)
    unit = choose_rates(users, items, columns, 2.0, 1.0, dataset, CONFIG)["unit"]
    some, warm = np.flatnonzero(np.diff(dataset.train.indptr))[:500], dataset.warm_items
    outputs = columns.outputs.numpy()
    whole = (users @ items.T).numpy() + dataset.train @ (2.0 * columns.inputs.numpy()) @ outputs.T
    rows = dataset.train.copy()
    rows.data = dataset.scores_of(dataset.train)
    alone = rows @ columns.liking_of_one.numpy() @ outputs.T
    spreads = [scores[some][:, warm].std(axis=1, ddof=1).mean() for scores in (whole, alone)]
    assert unit == pytest.approx(spreads[0] / spreads[1], rel=1e-3)


def test_without_rates_there_is_no_liking() -> None:
    dataset = liking_data()
    assert linear_model(dataset, None, CONFIG).liking_of_one is None
    assert linear_model(dataclasses.replace(dataset, rates=None), None, CONFIG, with_rates=True).liking_of_one is None


def test_until_rates_are_chosen_they_count_nothing() -> None:
    """The weights of the blend are chosen before: a liking among the linear scores would spoil them."""
    dataset = liking_data()
    columns = linear_model(dataset, None, CONFIG, with_rates=True)
    plain = linear_model(dataset, None, CONFIG)
    scores = [one.known_users(dataset, "valid") @ one.outputs.T for one in (columns, plain)]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-4)


def test_few_columns_keep_what_liking_tells_apart() -> None:
    dataset = liking_data()
    columns = linear_model(dataset, None, {**CONFIG, "linear_dim": 10}, with_rates=True)
    rows = dataset.train.copy()
    rows.data = dataset.scores_of(dataset.train)
    whole = rows @ liking_weights(dataset).numpy()
    found = rows @ columns.liking_of_one.numpy() @ columns.outputs.numpy().T
    warm = dataset.warm_items
    assert np.linalg.norm((found - whole)[:, warm]) < 0.5 * np.linalg.norm(whole[:, warm])


def test_a_figure_that_costs_too_much_counts_below_all_others() -> None:
    tried = [{"all": 0.5, "liked": 0.3}, {"all": 0.496, "liked": 0.4}]
    assert within_cost(tried[:1], 0.01) == 0.3
    assert within_cost(tried, 0.01) == 0.4
    assert within_cost([*tried, {"all": 0.49, "liked": 0.6}], 0.01) == pytest.approx(-0.005)


@pytest.mark.parametrize(("weight", "with_rates"), [(-1.0, True), (0.5, True), (0.0, False)])
def test_a_model_counts_rates_as_was_chosen(weight: float, with_rates: bool) -> None:
    dataset = liking_data()
    config = get_config({**SETTINGS, "rating_weight": weight, "fusion_mode": "none", "embedding_dim": 8})
    model = build_model(dataset, TextVectors(None, None, {}), {**config, "rating_weight": 0.0}, torch.device("cpu"))
    decided = calibrate(model, dataset, config, with_rates=with_rates)
    assert ("rates" in decided) == with_rates
    assert (model.linear_liking is not None) == bool(with_rates and decided["rates"]["liking"])
    if with_rates:
        tried = decided["rates"]["tried"]
        [best] = [
            one for one in tried if all(one[key] == decided["rates"][key] for key in ("liking", "rating", "linear"))
        ]
        found = liked_and_all(*model.embeddings(), dataset, "valid", config)
        assert found == pytest.approx((best["all"], best["liked"]), abs=1e-6)
        gone = dataclasses.replace(dataset, valid=sp.csr_matrix(dataset.train.shape, dtype=np.float32))
        again = build_model(dataset, TextVectors(None, None, {}), {**config, "rating_weight": 0.0}, torch.device("cpu"))
        calibrate(again, gone, config, decided, with_rates=True)
        torch.testing.assert_close(again.linear_liking, model.linear_liking, atol=1e-4, rtol=1e-3)
        assert torch.equal(again.placing, model.placing)


def test_held_out_rates_of_test_choose_nothing() -> None:
    dataset = liking_data()
    users, items = dataset.test.nonzero()
    keys = np.ravel_multi_index(dataset.seen.nonzero(), dataset.seen.shape)
    places = np.isin(keys, users * N_ITEMS + items)
    rates = np.where(places, 12 - dataset.rates, dataset.rates).astype(np.float32)
    found = [
        linear_model(one, None, CONFIG, with_rates=True) for one in (dataset, dataclasses.replace(dataset, rates=rates))
    ]
    assert found[0].decided == found[1].decided
    assert found[0].liking_of_one.equal(found[1].liking_of_one)
    chosen = [
        choose_rates(*plain(dataset), found[0], 1.0, 1.0, one, CONFIG)
        for one in (dataset, dataclasses.replace(dataset, rates=rates))
    ]
    assert chosen[0] == chosen[1]
