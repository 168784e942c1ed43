"""The linear half of the model: what is chosen on valid, the cut to columns, and titles placed by their text."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from evaluator import evaluate, means
from tests.helpers.data import dataset_of
from tests.helpers.linear import COLD, METRIC, N_ITEMS, SILENT, column_by_column, ones, parted, ridge, texts
from training import choice_of_weights, item_forms, linear_columns, placed_by_text
from training.choice_of_weights import chosen_weights
from training.closed_form import low_pass
from training.linear_columns import linear_model, linear_users
from training.placed_by_text import place_cold_by_text

CONFIG = get_config({"top_k": "5", "early_stop_metric": METRIC, "linear_dim": 64, "calibrate": True})


@pytest.fixture(autouse=True)
def fewer_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Penalties for 60 users in place of thousands."""
    monkeypatch.setitem(item_forms.WEIGHTS_GRID, "l2", (2.0, 10.0, 60.0))
    monkeypatch.setitem(item_forms.START, "l2", 10.0)


def by_hand(dataset: Dataset, point: dict[str, Any], text: np.ndarray | None = None) -> np.ndarray:
    """Make the item-item weights of a point, less the common taste."""
    train, sizes = dataset.train.toarray().astype(float), np.diff(dataset.train.indptr)
    weights = filtered(train, point) if "item_power" in point else least_squares(dataset, point, text)
    common = np.abs(np.linalg.svd(train)[2][0])
    unit = (train[sizes > 0] @ weights).std(axis=1).mean() / np.outer(train[sizes > 0] @ common, common).std(1).mean()
    return weights - point.get("common", 0.0) * unit * np.outer(common, common)


def filtered(train: np.ndarray, point: dict[str, Any]) -> np.ndarray:
    """Smooth over the item-item graph; with so few titles all of its signals pass the filter."""
    users, items = np.maximum(train.sum(axis=1), 1), np.maximum(train.sum(axis=0), 1)
    even = train / np.sqrt(np.outer(users, items))
    smooth = even.T @ even + point["low_pass_weight"] * np.linalg.pinv(even) @ even
    return smooth * (items[None, :] / items[:, None]) ** point["item_power"]


def least_squares(dataset: Dataset, point: dict[str, Any], text: np.ndarray | None) -> np.ndarray:
    """Solve for the item-item weights; the texts (n_items, L) are further rows."""
    train, sizes = dataset.train.toarray().astype(float), np.diff(dataset.train.indptr)
    ratings = train * np.sqrt((np.maximum(sizes, 1) / sizes[sizes > 0].mean()) ** -point["user_power"])[:, None]
    penalty = point["l2"] + point["dropout"] / (1 - point["dropout"]) * np.square(ratings).sum(axis=0)
    if text is not None:
        text = text * np.isin(np.arange(N_ITEMS), dataset.warm_items)[:, None]
        text = np.sqrt(point["text_weight"] / np.square(text[dataset.warm_items]).sum(axis=1).mean()) * text.T
    return column_by_column(ratings, penalty, text)


def figure(dataset: Dataset, weights: np.ndarray, popularity: float = 0.0) -> float:
    """Measure weights with log popularity beside them, which is spread as their scores are, times a weight."""
    train, warm = dataset.train.toarray().astype(float), dataset.warm_items
    scores, logs = train @ weights, np.log(np.maximum(train.sum(axis=0), 1))
    unit = scores[train.any(axis=1)][:, warm].std(axis=1).mean() / logs[warm].std()
    return figure_of_scores(dataset, torch.from_numpy(scores + popularity * unit * logs).float())


def figure_of_scores(dataset: Dataset, scores: torch.Tensor) -> float:
    """Measure scores (n_users, n_items) on valid."""
    return means(evaluate(scores, torch.eye(N_ITEMS), dataset.valid, dataset.train, CONFIG, dataset.warm_items))[METRIC]


def weights_of(found: choice_of_weights.Weights) -> tuple[torch.Tensor, dict[str, Any]]:
    return found.collected, found.decided


def bytes_of(found: linear_columns.Linear) -> tuple[Any, ...]:
    return found.inputs.numpy().tobytes(), found.outputs.numpy().tobytes(), found.user_power, found.decided


# --- weights, and what is chosen ---


@pytest.mark.parametrize("text", [None, texts()], ids=["no text", "text"])
def test_uncut_columns_score_as_the_chosen_weights(text: np.ndarray | None) -> None:
    dataset = parted()
    found = linear_model(dataset, text, CONFIG)
    expected = by_hand(dataset, found.decided, text)
    scores = linear_users(found.inputs, found.user_power, dataset.train) @ found.outputs.T
    warm = dataset.warm_items
    np.testing.assert_allclose(scores[:, warm], (dataset.train @ expected)[:, warm], atol=2e-4)
    assert scores.numpy().max() > 100 * np.abs(scores[:, warm].numpy() - (dataset.train @ expected)[:, warm]).max()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_best_on_valid_is_chosen(seed: int) -> None:
    dataset, text = parted(seed), texts(seed)
    weights, decided = weights_of(chosen_weights(dataset, text, CONFIG))
    tried = decided.pop("tried")
    fits = [one for one in tried if "common" not in one]
    assert fits == tried[: len(fits)]
    filters = [one for one in fits if "item_power" in one]
    weighted = fits[: len(fits) - len(filters)]
    assert filters == fits[len(weighted) :]
    assert {key: weighted[0][key] for key in item_forms.START} == item_forms.START
    assert [one["text_weight"] for one in weighted[:3]] == [100.0, 30.0, 300.0]  # the start, and what stands beside it
    assert {key: filters[0][key] for key in item_forms.FILTER_START} == item_forms.FILTER_START
    assert 3 < len(weighted) <= choice_of_weights.BUDGET
    is_far = filters[0][METRIC] < (1 - choice_of_weights.FAR_BEHIND) * max(one[METRIC] for one in weighted)
    assert len(filters) == 1 if is_far else 3 < len(filters) <= choice_of_weights.BUDGET
    for one in tried:
        made = by_hand(dataset, one, text)
        assert one[METRIC] == pytest.approx(figure(dataset, made, one["popularity"]), abs=1e-6)
    best = max(fits, key=lambda one: one[METRIC])
    assert {key: best[key] for key in best if key not in (METRIC, "popularity")} == {
        key: decided[key] for key in decided if key != "common"
    }
    of_common = {0.0: best[METRIC], **{one["common"]: one[METRIC] for one in tried[len(fits) :]}}
    assert of_common[decided["common"]] == max(of_common.values())
    # as far as it does not fall
    assert tuple(of_common) == choice_of_weights.COMMON_GRID[: len(of_common)]
    falls = np.diff(list(of_common.values())) < 0
    assert not falls[:-1].any()
    assert falls[-1] or len(of_common) == len(choice_of_weights.COMMON_GRID)
    [last] = [one for one in (best, *tried[len(fits) :]) if one.get("common", 0.0) == decided["common"]]
    assert figure(dataset, weights.numpy(), last["popularity"]) == pytest.approx(max(of_common.values()), abs=1e-6)
    assert len({round(one[METRIC], 6) for one in tried}) > 1


@pytest.mark.parametrize("seed", range(3))
def test_what_all_have_in_common_is_subtracted_where_that_is_better_on_valid(seed: int) -> None:
    """Valid asks for the titles that fewest collected, which popularity ranks last; and then for those of the most."""
    train = parted(seed).train
    counts = train.toarray().sum(axis=0)
    order, decided = np.argsort(counts)[(counts == 0).sum() :], []
    for asked in (order[:4], order[-4:]):
        free = (train.toarray() == 0) & np.isin(np.arange(N_ITEMS), asked)
        decided.append(chosen_weights(dataset_of(train, valid=ones(free)), None, CONFIG).decided)
    seldom, often = decided
    assert seldom["common"] > 0 == often["common"]
    figures = [one[METRIC] for one in seldom["tried"] if "common" in one]
    assert max(figures) > 1.02 * max(one[METRIC] for one in seldom["tried"] if "common" not in one)


def test_popularity_stands_beside_the_weights_where_that_is_better() -> None:
    """Valid asks for what most collected; then a large weight of popularity goes with every point that is tried."""
    train = parted().train
    counts = train.toarray().sum(axis=0)
    decided = []
    for asked in (np.argsort(counts)[-4:], np.argsort(counts)[(counts == 0).sum() :][:4]):
        free = (train.toarray() == 0) & np.isin(np.arange(N_ITEMS), asked)
        decided.append(chosen_weights(dataset_of(train, valid=ones(free)), None, CONFIG).decided["tried"])
    assert all(one["popularity"] > 0 for one in decided[0])
    assert all(one["popularity"] == 0 for one in decided[1])


def test_the_form_that_is_better_on_valid_is_chosen() -> None:
    """Valid asks for what least squares find, and then for what a walk over the graph does."""
    dataset, chosen = parted(), []
    point = {"l2": 2.0, "dropout": 0.1, "user_power": 0.0}
    for weights in (least_squares(dataset, point, None), filtered(dataset.train.toarray(), item_forms.FILTER_START)):
        scores = np.where(dataset.train.toarray() > 0, -np.inf, dataset.train @ weights)[:, :13]
        asked = np.zeros(dataset.train.shape)
        np.put_along_axis(asked, np.argsort(-scores, axis=1)[:, :3], 1, axis=1)
        chosen.append(chosen_weights(dataset_of(dataset.train, valid=ones(asked)), None, CONFIG).decided)
    assert "l2" in chosen[0]
    assert "item_power" not in chosen[0]
    assert "l2" not in chosen[1]
    assert chosen[1]["item_power"] == pytest.approx(item_forms.FILTER_START["item_power"], rel=0.5)


def test_no_more_points_are_fitted_than_the_budget_has(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = parted()
    monkeypatch.setattr(choice_of_weights, "FAR_BEHIND", 1.0)
    for budget in (1, 3, 1000):
        monkeypatch.setattr(choice_of_weights, "BUDGET", budget)
        weights, decided = weights_of(chosen_weights(dataset, texts(), CONFIG))
        both = [one for one in decided["tried"] if "common" not in one]
        fits = [one for one in both if "l2" in one]
        for form in (fits, [one for one in both if "item_power" in one]):
            assert len(form) == budget if budget < 1000 else len(form) > 3
        best = max(both, key=lambda one: one[METRIC])
        assert {key: best[key] for key in decided if key in best and key != "common"}.items() <= decided.items()
        best = max(fits, key=lambda one: one[METRIC])
        np.testing.assert_allclose(weights, by_hand(dataset, decided, texts()), atol=1e-5)
    # in the end all that stands beside the best one was tried
    for key, values in item_forms.WEIGHTS_GRID.items():
        place = values.index(best[key]) if best[key] in values else None
        beside = [] if place is None else values[max(place - 1, 0) : place + 2]
        tried = [
            one[key]
            for one in fits
            if all(one[other] == best[other] for other in best if other not in (key, METRIC, "popularity"))
        ]
        assert set(beside) <= set(tried)


def test_how_much_text_counts_does_not_hang_on_the_length_of_the_vectors() -> None:
    dataset = parted()
    short, long = (chosen_weights(dataset, texts() * length, CONFIG).decided["tried"] for length in (1, 100))
    for one, other in zip(short, long, strict=True):
        assert one == pytest.approx(other)


@pytest.mark.parametrize("linear_dim", [64, -1])
def test_it_does_not_look_at_test_parts(linear_dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_columns, "COLUMNS", (2, 4))
    dataset, config = parted(), {**CONFIG, "linear_dim": linear_dim}
    empty = ones(np.zeros(dataset.train.shape))
    swapped = dataclasses.replace(dataset, test=dataset.cold_test, cold_test=dataset.test)
    gone = dataclasses.replace(dataset, test=empty, cold_test=empty, seen=sp.csr_matrix(dataset.train + dataset.valid))
    found = [bytes_of(linear_model(one, texts(), config)) for one in (dataset, swapped, gone)]
    assert found[0] == found[1] == found[2]
    asked = dataclasses.replace(dataset, valid=dataset.test, test=dataset.valid)
    assert bytes_of(linear_model(asked, texts(), config)) != found[0]


def test_without_a_valid_part_nothing_is_chosen() -> None:
    dataset = parted()
    dataset = dataclasses.replace(dataset, valid=ones(np.zeros(dataset.train.shape)))
    weights, decided = weights_of(chosen_weights(dataset, texts(), CONFIG))
    assert decided == {**item_forms.START, "common": 0.0}
    np.testing.assert_allclose(weights, by_hand(dataset, decided, texts()), atol=1e-5)


def test_text_of_cold_titles_alone_says_nothing_of_the_others() -> None:
    text = texts() * np.isin(np.arange(N_ITEMS), COLD)[:, None]
    weights, decided = weights_of(chosen_weights(parted(), text, CONFIG))
    assert "text_weight" not in decided
    np.testing.assert_allclose(weights, by_hand(parted(), decided), atol=1e-5)


def test_few_columns_are_the_directions_in_which_scores_vary_most() -> None:
    dataset = parted()
    found = linear_model(dataset, None, {**CONFIG, "linear_dim": 3})
    even = np.maximum(np.diff(dataset.train.indptr), 1)[:, None] ** -0.5  # long lists count no more than short ones
    whole = dataset.train @ by_hand(dataset, found.decided)
    scores = linear_users(found.inputs, found.user_power, dataset.train) @ found.outputs.T
    values = np.linalg.svd(even * whole, compute_uv=False)
    assert found.inputs.shape == found.outputs.shape == (N_ITEMS, 3)
    assert np.linalg.norm(even * (scores.numpy() - whole)) == pytest.approx(np.linalg.norm(values[3:]), rel=1e-3)


@pytest.mark.parametrize(("cost", "expected"), [(1.0, 2), (-0.1, 2), (-1.0, 4)])
def test_columns_are_as_many_as_valid_asks_for(
    cost: float, expected: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aglrec")
    monkeypatch.setattr(linear_columns, "COLUMNS", (2, 4))
    monkeypatch.setattr(linear_columns, "COLUMNS_COST", cost)
    dataset, config = parted(), {**CONFIG, "linear_dim": -1}
    found = linear_model(dataset, texts(), config)
    uncut, of_two = found.decided["columns_tried"]
    two = linear_model(dataset, texts(), {**CONFIG, "linear_dim": 2})
    scores = linear_users(two.inputs, 0.0, dataset.train) @ two.outputs.T
    assert uncut == {"columns": 0, METRIC: pytest.approx(figure(dataset, by_hand(dataset, found.decided, texts())))}
    assert of_two == {"columns": 2, METRIC: pytest.approx(figure_of_scores(dataset, scores))}
    assert found.decided["columns"] == found.inputs.shape[1] == expected
    lost = f"4 linear columns, because half of them lose {1 - of_two[METRIC] / uncut[METRIC]:.1%} of {METRIC} on valid"
    assert (lost in caplog.text) == (expected == 4)
    fixed = linear_model(dataset, texts(), {**CONFIG, "linear_dim": expected})
    assert bytes_of(found)[:3] == bytes_of(fixed)[:3]
    assert "columns" not in fixed.decided


def test_columns_that_cut_nothing_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_columns, "COLUMNS", (N_ITEMS, 2 * N_ITEMS))
    found = linear_model(parted(), None, {**CONFIG, "linear_dim": -1})
    assert (found.decided["columns"], found.decided["columns_tried"]) == (N_ITEMS, [])


def test_a_run_without_a_valid_part_has_the_columns_that_were_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_columns, "COLUMNS", (2, 4))
    monkeypatch.setattr(linear_columns, "COLUMNS_COST", -1.0)
    config = {**CONFIG, "linear_dim": -1}
    before = linear_model(parted(), texts(), config)
    whole = dataclasses.replace(parted(), valid=sp.csr_matrix(parted().valid.shape, dtype=np.float32))
    again = linear_model(whole, texts(), config, before.decided)
    assert again.decided == before.decided
    assert again.inputs.shape == (N_ITEMS, 4)
    assert linear_model(whole, texts(), config).inputs.shape == (N_ITEMS, 2)


# --- users ---


def test_users_are_the_sum_of_their_titles_scaled_by_how_many_they_are() -> None:
    inputs = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]])
    collected = ones(np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1]]))
    assert linear_users(inputs, 0.0, collected).tolist() == [[4, 7], [7, 11], [0, 0], [11, 18]]
    expected = np.array([[4, 7], [7, 11], [0, 0], [11, 18]]) / np.sqrt([[2], [1], [1], [3]])
    np.testing.assert_allclose(linear_users(inputs, 0.5, collected), expected, rtol=1e-6)


# --- large catalogues ---


@pytest.mark.parametrize("text", [None, texts()], ids=["no text", "text"])
def test_a_large_catalogue_is_filtered(text: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_columns, "WEIGHTS_MAX_ITEMS", N_ITEMS - 1)
    dataset, rank = parted(), 6
    found = linear_model(dataset, text, {**CONFIG, "linear_dim": rank})
    ratings = dataset.train.toarray().astype(float)
    n_users, sizes = np.maximum(ratings.sum(axis=0), 1), np.maximum(ratings.sum(axis=1), 1)[:, None]
    _, _, rows = np.linalg.svd(ratings / np.sqrt(n_users * sizes))
    passed = rows[:rank].T @ rows[:rank] * (n_users[None, :] / n_users[:, None]) ** linear_columns.ITEM_POWER
    scores = linear_users(found.inputs, found.user_power, dataset.train) @ found.outputs.T
    warm = dataset.warm_items
    np.testing.assert_allclose(scores[:, warm], (ratings @ passed / np.sqrt(sizes))[:, warm], atol=1e-3)
    assert (found.user_power, found.decided) == (0.5, {})
    assert not scores[:, SILENT].any()
    assert bool(scores[:, COLD].any()) == (text is not None)


def test_a_catalogue_at_the_limit_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_columns, "WEIGHTS_MAX_ITEMS", N_ITEMS)
    assert linear_model(parted(), None, CONFIG).decided["tried"]


def test_weights_that_fewer_titles_decided_stay_weights(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of an update that takes a catalogue beyond the limit: how much the columns count was chosen for these."""
    caplog.set_level("INFO", "aglrec")
    before = linear_model(parted(), texts(), CONFIG)
    assert "the linear columns" not in caplog.text
    monkeypatch.setattr(linear_columns, "WEIGHTS_MAX_ITEMS", N_ITEMS - 1)
    after = linear_model(parted(), texts(), CONFIG, before.decided)
    assert (after.user_power, after.decided) == (before.user_power, before.decided)
    torch.testing.assert_close(after.inputs @ after.outputs.T, before.inputs @ before.outputs.T)
    assert f"the linear columns keep item-item weights, as decided for fewer titles; {N_ITEMS} of them" in caplog.text


# --- titles placed by their text ---


@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_new_titles_get_what_a_ridge_regression_expects(penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placed_by_text, "RIDGE_GRID", [penalty])
    text, warm = texts() * 3, np.arange(13)
    values = np.random.default_rng(3).normal(size=(N_ITEMS, 2)).astype(np.float32)
    text[4] = 0  # a title with a history and no text teaches nothing, and keeps its values
    placed = place_cold_by_text(text, warm, values)
    assert placed.dtype == np.float32
    np.testing.assert_array_equal(placed[warm], values[warm])
    taught = np.delete(warm, 4)
    np.testing.assert_allclose(placed[COLD], ridge(text[taught], values[taught], text[COLD], penalty), atol=1e-5)
    assert not placed[SILENT].any()
    assert values[SILENT].any()


def test_the_penalty_is_the_best_with_one_title_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placed_by_text, "RIDGE_GRID", [0.1, 3.0, 100.0])
    rng, text, warm, chosen = np.random.default_rng(7), texts(7) * 2, np.arange(13), set()
    for noise in (0.01, 1.0, 1.0, 10.0, 10.0):
        values = (text @ rng.normal(size=(5, 1)) + noise * rng.normal(size=(N_ITEMS, 1))).astype(np.float32)
        errors = {
            penalty: np.mean(
                [
                    np.square(
                        values[i] - ridge(text[np.delete(warm, i)], values[np.delete(warm, i)], text[[i]], penalty)
                    )
                    for i in warm
                ]
            )
            for penalty in placed_by_text.RIDGE_GRID
        }
        best = min(errors, key=errors.get)
        chosen.add(best)
        np.testing.assert_allclose(
            place_cold_by_text(text, warm, values)[COLD],
            ridge(text[warm], values[warm], text[COLD], best),
            rtol=1e-3,
            atol=1e-4,
        )
    assert len(chosen) > 1


def test_the_cold_titles_of_a_model_stand_where_titles_of_their_text_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold title with the very text of a single other one, told apart from all others, scores much like it."""
    monkeypatch.setattr(placed_by_text, "RIDGE_GRID", [1e-6])
    text = np.eye(N_ITEMS, dtype=np.float32)
    text[COLD[0]], text[SILENT] = text[2], 0
    found = linear_model(parted(), text, CONFIG)
    scores = linear_users(found.inputs, found.user_power, parted().train) @ found.outputs.T
    np.testing.assert_allclose(scores[:, COLD[0]], scores[:, 2], atol=1e-3)
    assert not scores[:, SILENT].any()


def test_without_text_new_titles_tie_exactly(dataset: Dataset, config: dict[str, Any]) -> None:
    """Rounding errors of a factorisation would rank them by their place in the file, which may follow popularity."""
    cold = np.isin(np.arange(dataset.n_items), (0, 7))
    train = sp.csr_matrix(dataset.train.multiply(~cold))
    train.eliminate_zeros()
    thinned = dataclasses.replace(dataset, train=train)
    for most in (12_000, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear_columns, "WEIGHTS_MAX_ITEMS", most)
            found = linear_model(thinned, None, {**config, "linear_dim": 6})
        assert not found.outputs[torch.from_numpy(cold)].any()
        assert found.outputs[torch.from_numpy(~cold)].any()
    assert not low_pass(train, 5)[1][cold].any()
