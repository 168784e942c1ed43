"""Baselines that know time and rates: against naive loops, and which rows and rates they may see."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from evaluation import baseline_search, time_and_rates
from evaluation.baseline_inputs import Fit, Inputs
from evaluation.baseline_search import weighed
from evaluation.baselines import BASELINES, HALF, RATED, TIMED, ease_text, edlae
from evaluation.plain import plain_baselines
from evaluation.time_and_rates import ease_rated, follows, popularity_late, popularity_rated
from evaluation.tuned_baselines import OF_ALL_TEXT, OF_TEXT, fitted, made_of, possible_baselines, text_for, tuned
from evaluator import evaluate_warm, means
from llm_embedding import TextVectors
from tests.helpers.factors import made, scores_of
from tests.helpers.linear import METRIC, ones, parted, texts
from training import choice_of_weights
from training.choice_of_weights import chosen_weights
from training.item_forms import ORDER_GRID, ORDER_USER_POWER

SETTINGS = {"early_stop_metric": METRIC, "top_k": [5], "eval_memory_mb": 16, "linear_dim": 6, "calibrate": True}
PLAIN = get_config(SETTINGS)
BY_TIME, BY_RATES = get_config({**SETTINGS, "recency": -1.0}), get_config({**SETTINGS, "rating_weight": -1.0})
BOTH = get_config({**SETTINGS, "recency": -1.0, "rating_weight": -1.0, "rating_cost": 0.2})
DAY = 86_400.0
NO_TEXT = TextVectors(None, None, {"used": None, "dim": 0, "digest": None})


def told(seed: int = 0, split: str = "user_time", n_users: int = 60) -> Dataset:
    """Draw users with times, newest in test and then valid, and with rates, of which some are missing.

    The first user has nothing in train, but in valid and test.
    """
    dataset, rng = parted(seed, n_users), np.random.default_rng(seed + 1)
    seen = dataset.seen.copy()
    seen.sort_indices()
    place = sum(number * getattr(dataset, part).toarray() for number, part in enumerate(("train", "valid", "test")))
    users, items = seen.nonzero()
    days = rng.integers(0, 9, len(users)) + 10 * np.asarray(place)[users, items]
    days = days + rng.integers(0, 30, n_users)[users]
    rates = np.where(rng.random(len(users)) < 0.2, 0, rng.integers(1, 11, len(users)))
    first = ones(np.arange(n_users)[:, None] == np.zeros(dataset.n_items)[None])
    parts = {"train": dataset.train - dataset.train.multiply(first), "valid": dataset.valid}
    parts = {name: sp.csr_matrix(part, dtype=np.float32) for name, part in parts.items()}
    for part in parts.values():
        part.eliminate_zeros()
    return replace(
        dataset, **parts, seen=seen, times=days * DAY, rates=rates.astype(np.float32), facts={"split": split}
    )


def value_of(dataset: Dataset, values: np.ndarray) -> np.ndarray:
    """Spread values (nnz,) of seen over (n_users, n_items)."""
    return sp.csr_matrix((values, dataset.seen.indices, dataset.seen.indptr), dataset.seen.shape).toarray()


def weighed_rows(dataset: Dataset, known: np.ndarray, decay: float, rating: float) -> np.ndarray:
    """Weigh known titles (n_users, n_items) title by title."""
    times, rows = value_of(dataset, dataset.times), np.zeros(known.shape)
    for user, item in zip(*known.nonzero(), strict=True):
        others = times[user, np.flatnonzero(known[user])]
        newer = (others > times[user, item]).sum() + ((others == times[user, item]).sum() - 1) / 2
        rows[user, item] = 0.5 ** (newer * decay)
    scores = np.zeros(known.shape)
    pairs = ones(known)
    scores[known.nonzero()] = dataset.scores_of(pairs)
    return rows * np.clip(1 + rating * scores, 0, 3)


# --- against loops ---


@pytest.mark.parametrize("name", ["ease_recent", "knn_recent", "filter_recent", "follows", "knn_rated", "filter_rated"])
def test_titles_count_by_age_and_rate(name: str) -> None:
    dataset = told()
    inputs = Inputs(dataset, None, BOTH)
    point = {"decay": 0.7, "rating": 0.4}
    fit = BASELINES[name](inputs)
    weights = fit.item_emb.numpy().T
    for part, known in (("valid", dataset.train), ("test", dataset.train + dataset.valid)):
        expected = weighed_rows(dataset, known.toarray(), 0.7, 0.4) @ weights
        scores = scores_of(weighed(fit, point).factors(inputs, part))
        np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-5)
    assert np.abs(scores_of(fit.factors(inputs)) - scores_of(weighed(fit, point).factors(inputs))).max() > 1e-3


@pytest.mark.parametrize("window", [1.0, 4.0])
def test_what_follows_what_is_counted_pair_by_pair(window: float) -> None:
    dataset = told()
    times, train = value_of(dataset, dataset.times), dataset.train.toarray()
    counts, after = np.maximum(train.sum(axis=0), 1), np.zeros((dataset.n_items,) * 2)
    for user in range(dataset.n_users):
        own = np.flatnonzero(train[user])
        ages = [(times[user, own] > t).sum() + ((times[user, own] == t).sum() - 1) / 2 for t in times[user, own]]
        for first, age in zip(own, ages, strict=True):
            for second, other in zip(own, ages, strict=True):
                later = age - other
                if first != second and later >= 0:
                    worth = 0.5 if later == 0 else 0.5 ** (max(later - 1, 0) / window)
                    after[first, second] += worth * len(own) ** -ORDER_USER_POWER
    expected = after * counts[:, None] ** -0.7 * counts[None, :] ** -0.3
    found = follows(Inputs(dataset, None), window, 0.7, 0.3).item_emb.numpy().T
    near = ORDER_USER_POWER and window * 6 >= train.sum(axis=1).max()  # beyond the horizon nothing is counted
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 if near else 0.05)


@pytest.mark.parametrize("moments", [1000, 8])
def test_popularity_of_late_is_what_was_collected_before_the_users_last_title(
    moments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_and_rates, "MOMENTS", moments)
    dataset, half_life = told(), 5.0
    times, train, inputs = value_of(dataset, dataset.times), dataset.train.toarray(), Inputs(dataset, None, BY_TIME)
    distinct = np.unique(times[train > 0])
    drawn = distinct[np.linspace(0, len(distinct) - 1, min(moments, len(distinct))).round().astype(int)]
    for part, known in (("valid", train), ("test", train + dataset.valid.toarray())):
        scores = scores_of(popularity_late(inputs, half_life).factors(inputs, part))
        for user in range(dataset.n_users):
            own = times[user, known[user] > 0]
            before = drawn[drawn <= (own.max() if len(own) else drawn[-1])]
            now = before[-1] if len(before) else drawn[0]
            counts = np.where((train > 0) & (times <= now), 0.5 ** ((now - times) / DAY / half_life), 0).sum(axis=0)
            np.testing.assert_allclose(scores[user], counts, rtol=1e-4, atol=1e-5)


def test_popularity_of_late_without_any_time_is_nothing() -> None:
    assert not scores_of(made(popularity_late, Inputs(parted(), None))).any()


@pytest.mark.parametrize("target", [0.0, 0.5])
def test_popularity_by_rates_sums_what_pairs_count(target: float) -> None:
    dataset = told()
    expected = weighed_rows(dataset, dataset.train.toarray(), 0.0, target).sum(axis=0)
    scores = scores_of(made(popularity_rated, Inputs(dataset, None), target))
    np.testing.assert_allclose(scores, np.tile(expected, (dataset.n_users, 1)), rtol=1e-4)


@pytest.mark.parametrize("with_text", [False, True])
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_ease_by_rates_regresses_what_pairs_count_on_what_was_collected(target: float, with_text: bool) -> None:
    dataset, text = told(), texts() if with_text else None
    train, sizes = dataset.train.toarray().astype(float), np.diff(dataset.train.indptr)
    users = (np.maximum(sizes, 1) / sizes[sizes > 0].mean()) ** -0.3
    goal = weighed_rows(dataset, train, 0.0, target)
    penalty = 4.0 + 0.2 / 0.8 * (users[:, None] * train).sum(axis=0)
    more = np.empty((0, dataset.n_items))
    if with_text:
        more = np.sqrt(9.0 / (np.square(text).sum() / text.any(axis=1).sum())) * text.T.astype(float)
    rows = np.vstack([np.sqrt(users)[:, None] * train, more])
    goals = np.vstack([np.sqrt(users)[:, None] * goal, more])
    expected = np.zeros((dataset.n_items,) * 2)
    for item in range(dataset.n_items):
        others = np.delete(np.arange(dataset.n_items), item)
        gram = rows[:, others].T @ rows[:, others] + np.diag(penalty[others])
        expected[others, item] = np.linalg.solve(gram, rows[:, others].T @ goals[:, item])
    found = ease_rated(Inputs(dataset, text), 4.0, 9.0, 0.2, 0.3, target).item_emb.numpy().T
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_without_rates_ease_is_as_it_is() -> None:
    plain, rated = Inputs(told(), None), Inputs(told(), texts())
    assert torch.equal(ease_rated(plain, 100.0, dropout=0.1).item_emb, edlae(plain, 100.0, 0.1).item_emb)
    assert torch.equal(ease_rated(rated).item_emb, ease_text(rated).item_emb)


# --- who is placed by what ---


def text_of(name: str) -> np.ndarray | None:
    return texts() if name in (*OF_TEXT, *OF_ALL_TEXT, *HALF) else None


def changed_values(dataset: Dataset, part: str, rates: bool = True) -> Dataset:
    """Give the pairs of a part other rates, and other times."""
    there = dataset.seen.multiply(getattr(dataset, part))
    places = np.flatnonzero(value_of_pairs(dataset, there))
    values = {"rates": dataset.rates.copy(), "times": dataset.times.copy()}
    values["rates"][places] = 11 - np.maximum(values["rates"][places], 1)
    values["times"][places] += 500 * DAY
    return replace(dataset, **(values if rates else {"times": values["times"]}))


def value_of_pairs(dataset: Dataset, pairs: sp.csr_matrix) -> np.ndarray:
    """Tell which pairs of seen are among these, (nnz,) bool."""
    return np.asarray(pairs.toarray()[dataset.seen.nonzero()]) > 0


def with_other_valid(dataset: Dataset) -> Dataset:
    """Take the valid pairs of every other user away, which are then in no part."""
    kept = sp.csr_matrix(dataset.valid.multiply(np.arange(dataset.n_users)[:, None] % 2), dtype=np.float32)
    kept.eliminate_zeros()
    return replace(dataset, valid=kept)


PLACED = [name for name in (*BASELINES, *HALF) if name not in ("popularity", "popularity_rated")]


@pytest.mark.parametrize("name", PLACED)
def test_valid_rows_place_users_for_test_in_a_split_by_time_alone(name: str) -> None:
    text, dataset = text_of(name), told()
    decided = tuned(name, dataset, text, BOTH).found["decided"]
    less = with_other_valid(dataset)
    for split, config, differ in (("user_time", BOTH, True), ("random", BOTH, False), ("user_time", PLAIN, False)):
        here = {**config, "rating_weight": BOTH["rating_weight"]}
        ours, theirs = (
            scores_of(fitted(name, replace(data, facts={"split": split}), text, here, decided))
            for data in (dataset, less)
        )
        assert (np.abs(ours - theirs)[::2].max() > 1e-5) == differ, (split, config["recency"])
        np.testing.assert_array_equal(ours[1::2], theirs[1::2])


def test_users_with_nothing_but_valid_rows_are_no_newcomers_for_test() -> None:
    dataset = told()
    new = np.flatnonzero((np.diff(dataset.train.indptr) == 0) & (np.diff(dataset.valid.indptr) > 0))
    assert len(new)
    popular = np.log(np.maximum(dataset.train.toarray().sum(axis=0), 1))
    for config, is_new in ((BY_TIME, False), (PLAIN, True)):
        best = tuned("edlae", dataset, None, config)
        decided, columns = best.found["decided"], best.factors[0].toarray()[:, -1]
        weight = 1.0 if is_new else decided["point"]["popularity"]
        np.testing.assert_allclose(columns[new], weight * decided["popularity_unit"], rtol=1e-5)
        scores = scores_of(best.factors)[new]
        correlation = [np.corrcoef(row, popular)[0, 1] for row in scores]
        assert (np.min(correlation) > 0.9999) == is_new


def test_the_valid_figures_are_those_of_users_placed_by_train() -> None:
    dataset = told()
    for name in ("follows", "graph_filter", "linear"):
        found = tuned(name, dataset, text_of(name), BY_TIME)
        less = tuned(name, with_other_valid(dataset), text_of(name), BY_TIME)
        point = found.found["point"]
        inputs = Inputs(dataset, text_of(name), BY_TIME)
        assert torch.equal(torch.from_numpy(inputs.known("valid").collected.toarray() > 0), as_bool(dataset.train))
        assert torch.equal(
            torch.from_numpy(inputs.known("test").collected.toarray() > 0), as_bool(dataset.train + dataset.valid)
        )
        assert found.found["valid"] != means(evaluate_warm(*found.factors, dataset, "valid", BY_TIME)), point
        assert less.found["tried"] != found.found["tried"]


def as_bool(pairs: sp.csr_matrix) -> torch.Tensor:
    return torch.from_numpy(pairs.toarray() > 0)


def test_the_plain_baselines_of_a_run_are_placed_so_too() -> None:
    dataset = told()
    assert plain_baselines(dataset, BY_TIME)["EASE"] != plain_baselines(dataset, PLAIN)["EASE"]


@pytest.mark.parametrize("name", [*TIMED, *RATED, *HALF])
def test_rates_and_times_that_are_held_out_change_nothing(name: str) -> None:
    text = text_of(name)
    for split, part in (("user_time", "test"), ("random", "valid")):
        dataset = told(split=split)
        ours = tuned(name, dataset, text, BOTH)
        decided = ours.found["decided"]
        changed = changed_values(dataset, part)
        theirs = fitted(name, changed, text, BOTH, decided)
        np.testing.assert_array_equal(scores_of(ours.factors), scores_of(theirs))
        if part == "test":
            assert tuned(name, changed, text, BOTH).found == ours.found
    moved = changed_values(told(), "train")
    assert np.abs(scores_of(fitted(name, moved, text, BOTH, decided)) - scores_of(ours.factors)).max() > 0


# --- the search ---


def test_what_takes_no_fit_is_searched_at_each_point(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[Any] = []
    real = BASELINES["follows"]
    monkeypatch.setitem(BASELINES, "follows", lambda inputs, **point: fits.append(point) or real(inputs, **point))
    found = tuned("follows", told(), None, BY_TIME).found
    assert len(fits) == found["points_tried"] == len(found["tried"]) <= baseline_search.BUDGET
    assert set(found["point"]) == {"popularity", "decay", "window", "from_power", "to_power"}
    assert all(set(point) == {"window", "from_power", "to_power"} for point in fits)


def test_the_models_columns_search_what_follows_what_as_finely_as_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a rival of the same form is ahead of the model by its steps alone."""
    dataset = told(2)
    monkeypatch.setattr(choice_of_weights, "FAR_BEHIND", 1.0)
    tried = [one for one in chosen_weights(dataset, None, BY_TIME).decided["tried"] if "window" in one]
    tried = [one for one in tried if "common" not in one]
    assert baseline_search.BUDGET <= len(tried) <= choice_of_weights.ORDER_BUDGET
    between = [
        any(low < one[key] < high for one in tried for low, high in pairwise(values))
        for key, values in ORDER_GRID.items()
    ]
    assert any(between)
    rival = tuned("follows", dataset, None, BY_TIME).found
    assert max(one[METRIC] for one in tried) >= 0.99 * max(one[METRIC] for one in rival["tried"])
    monkeypatch.setattr(choice_of_weights, "ORDER_BUDGET", 5)
    few = [one for one in chosen_weights(dataset, None, BY_TIME).decided["tried"] if "window" in one]
    assert len([one for one in few if "common" not in one]) == 5


def test_the_decay_is_the_best_one_on_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline_search, "POPULARITY_WEIGHTS", (0.0,))
    monkeypatch.setitem(baseline_search.GRIDS, "knn_recent", {"neighbours": (20,)})
    dataset = told(3)
    inputs = Inputs(dataset, None, BY_TIME)
    found = tuned("knn_recent", dataset, None, BY_TIME).found
    fit = BASELINES["knn_recent"](inputs, neighbours=20)
    figures = {
        decay: means(evaluate_warm(*weighed(fit, {"decay": decay}).factors(inputs), dataset, "valid", BY_TIME))[METRIC]
        for decay in baseline_search.DECAY_GRID
    }
    assert found["tried"][0][METRIC] >= max(figures.values())
    assert max(figures.values()) > figures[0.0]
    assert found["point"]["decay"]
    plain = tuned("item_knn", dataset, None, BY_TIME).found
    assert "decay" not in plain["point"]


def test_a_recency_that_is_set_is_where_the_search_begins() -> None:
    empty = sp.csr_matrix(told().valid.shape, dtype=np.float32)
    dataset = replace(told(), valid=empty)
    for recency, decay in ((-1.0, 0.0), (4.0, 0.25)):
        config = {**BY_TIME, "recency": recency}
        assert tuned("ease_recent", dataset, None, config).found["point"]["decay"] == decay


def planted(liked: dict[tuple[float, float], tuple[float, float]], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the figures of ease_rated be these by (rating_target, rating): all pairs, and liked ones; return the fits."""
    fits: list[float] = []

    def fit(inputs: Inputs, rating_target: float = 0.0, **point: float) -> Fit:
        fits.append(rating_target)
        return Fit(
            lambda rows: torch.ones(rows.collected.shape[0], 1), torch.full((inputs.dataset.n_items, 1), rating_target)
        )

    real = Fit.factors

    def factors(self: Fit, inputs: Inputs, part: str = "valid") -> Any:
        made = real(self, inputs, part)
        return made[0] * 0 + self.rating_weight, made[1]

    monkeypatch.setitem(BASELINES, "ease_rated", fit)
    monkeypatch.setattr(Fit, "factors", factors)
    monkeypatch.setattr(
        baseline_search,
        "liked_and_all",
        lambda users, items, *args: liked.get((float(items[0, 0]), float(users[0, 0])), (0.0, 0.0)),
    )
    return fits


def test_rates_are_chosen_by_the_liked_pairs_within_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        (0.0, 0.0): (1.0, 0.1),
        (0.5, 0.0): (0.99, 0.2),
        (0.5, 0.25): (0.9, 0.3),
        (0.5, 0.5): (0.7, 0.9),
        (1.0, 0.0): (0.5, 0.8),
    }
    for cost, expected in ((0.0, (0.0, 0.0)), (0.02, (0.5, 0.0)), (0.15, (0.5, 0.25))):
        with monkeypatch.context() as patch:
            fits = planted(figures, patch)
            found = tuned("ease_rated", told(), None, {**BY_RATES, "rating_cost": cost}).found
        assert (found["point"]["rating_target"], found["point"]["rating"]) == expected
        n_unrated = len(found["tried"])
        assert found["points_tried"] == n_unrated + len(set(fits)) - 1 <= baseline_search.BUDGET
        assert found["rating_tried"][0] == {"rating_target": 0.0, "rating": 0.0, "all": 1.0, "liked": 0.1}


def test_what_rates_count_in_what_is_restored_stays_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = planted(
        {(2.0**power, 0.0): (1.0, 1.0 + power) for power in range(9)} | {(0.0, 0.0): (1.0, 0.0)}, monkeypatch
    )
    found = tuned("ease_rated", told(), None, BY_RATES).found
    assert len(set(fits)) == 1 + baseline_search.TARGET_POINTS
    assert found["points_tried"] == len(found["tried"]) + baseline_search.TARGET_POINTS <= baseline_search.BUDGET
    assert found["point"]["rating_target"] == max(fits)


@pytest.mark.parametrize("name", RATED)
def test_the_point_without_rates_is_that_of_the_search_without_rates(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline_search, "TARGET_POINTS", 0)
    plain = {"popularity_rated": "popularity", "knn_rated": "item_knn", "ease_rated": "ease_text"}
    of, text = plain.get(name, "graph_filter"), text_of(name)
    rated = tuned(name, told(), text, BY_RATES).found
    assert {key: value for key, value in rated["point"].items() if key not in RATED[name]} == tuned(
        of, told(), text, BY_RATES
    ).found["point"]


@pytest.mark.parametrize("name", [*TIMED, *RATED])
def test_what_was_decided_makes_the_same_factors_again(name: str) -> None:
    best = tuned(name, told(), text_of(name), BOTH)
    again = fitted(name, told(), text_of(name), BOTH, best.found["decided"])
    np.testing.assert_array_equal(scores_of(best.factors), scores_of(again))
    assert ("decay" in best.found["point"]) == (name not in ("popularity_late", "popularity_rated"))


# --- where they are rows ---


@pytest.mark.parametrize(
    ("names", "change", "settings", "reason"),
    [
        (TIMED, {}, {"recency": 0.0}, "recency is 0"),
        (TIMED, {"facts": {"split": "random"}}, {}, "a random split has mixed"),
        (TIMED, {"times": None}, {}, "no user has titles of different times"),
        (tuple(RATED), {}, {"rating_weight": 0.0}, "rating_weight is 0"),
        (tuple(RATED), {"rates": None}, {}, "no user rated two titles differently"),
        ((), {}, {}, ""),
    ],
)
def test_they_are_left_out_with_a_reason(
    names: tuple[str, ...],
    change: dict[str, Any],
    settings: dict[str, float],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "aglrec")
    asked = [*TIMED, *RATED, "ease"]
    found = possible_baselines(replace(told(), **change), NO_TEXT, {**BOTH, **settings}, asked)
    assert set(asked) - set(found) == set(names)
    assert (f"{', '.join(names)}: left out, {reason}" in caplog.text) == bool(names)


def test_ease_by_rates_takes_the_text_that_ease_with_text_takes() -> None:
    vectors = TextVectors(texts(), np.zeros((60, 5), np.float32), {}, {"encoder": 3, "tags": 2})
    np.testing.assert_array_equal(text_for("ease_rated", vectors), text_for("ease_text", vectors))
    assert text_for("ease_recent", vectors) is text_for("ease_rated", NO_TEXT) is None
    assert "text_weight" in tuned("ease_rated", told(), texts(), BY_RATES).found["point"]
    assert "text_weight" not in tuned("ease_rated", told(), None, BY_RATES).found["point"]


def test_other_rates_and_settings_of_them_are_noticed() -> None:
    dataset = told()
    for name in ("ease", "ease_rated", "ease_recent", "linear"):
        before = made_of(name, dataset, None, NO_TEXT, BOTH)
        assert before != made_of(name, changed_values(dataset, "train"), None, NO_TEXT, BOTH)
        assert before != made_of(name, dataset, None, NO_TEXT, {**BOTH, "recency": 2.0})
        other = made_of(name, dataset, None, NO_TEXT, {**BOTH, "rating_cost": 0.5})
        assert (before != other) == (name in ("ease_rated", "linear"))
