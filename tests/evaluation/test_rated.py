"""Figures by what people rated, beside a recount by loops."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from config import TASTE_METRICS, TASTES, get_config
from data_loader import Dataset, load_dataset
from dataset.ratings import DISLIKED, LEAST_SPREAD, LIKED, LIMIT, LOVED, PRIOR
from evaluation.held_out import evaluate_groups, held_out_metrics
from evaluation.ranking import Ranking
from evaluation.rated import liked_and_all, places_of, rated_figures
from evaluation.tastes import asked_pairs, pairs_by_taste
from evaluator import METRICS, evaluate_warm, means, rank, rank_warm, taste_metrics
from tests.helpers.data import dataset_of
from tests.helpers.rankings import brute_force, distinct_scores, settings, to_csr, vectors_scoring

TOP_K = [1, 5, 10]
CONFIG = {**settings(TOP_K), "early_stop_metric": "NDCG@5"}
N_USERS, N_ITEMS = 40, 60


def rated_data(seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """Return a dataset and its rates, dense; a third of the pairs are unrated.

    User 0 rates nothing, user 1 all held-out pairs but no train pair, users 2 and 3 give everything the same rate, user
    4 has nothing in test, user 5 rates nothing of test. Titles 50 and on have no history.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 6, size=(N_USERS, N_ITEMS))
    masks = {name: drawn == number for number, name in enumerate(("train", "valid", "test", "excluded"))}
    masks["train"][:, 50:] = False
    masks["test"][4] = False
    rates = rng.integers(1, 11, size=drawn.shape) * (rng.random(drawn.shape) > 1 / 3)
    rates[0] = 0
    rates[1] = np.where(masks["train"][1], 0, np.maximum(rates[1], 1))
    rates[2:4] = np.array([[7], [3]])
    rates[5, masks["test"][5]] = 0
    parts = {name: to_csr(mask) for name, mask in masks.items()}
    dataset = dataset_of(parts.pop("train"), **parts)
    rows, columns = dataset.seen.nonzero()
    return dataclasses.replace(dataset, rates=rates[rows, columns].astype(np.float32)), rates


def scores_by_loops(dataset: Dataset, rates: np.ndarray) -> np.ndarray:
    """Return z of every pair, rated or not: (n_users, n_items)."""
    train = dataset.train.toarray() > 0
    given = [[float(r) for r in rates[user][train[user]] if r != 0] for user in range(N_USERS)]
    everything = [rate for mine in given for rate in mine]
    mean = sum(everything) / len(everything)
    squares = [sum((rate - sum(mine) / len(mine)) ** 2 for rate in mine) for mine in given]
    spread = math.sqrt(sum(squares) / sum(max(len(mine) - 1, 0) for mine in given))
    z = np.zeros(rates.shape)
    for user, mine in enumerate(given):
        own = (sum(mine) + PRIOR * mean) / (len(mine) + PRIOR)
        if len(mine) > 1 and len(set(mine)) == 1:
            own = mine[0]
        wide = math.sqrt((squares[user] + PRIOR * spread**2) / (max(len(mine) - 1, 0) + PRIOR))
        wide = max(wide, LEAST_SPREAD * spread)
        z[user] = [min(max((rate - own) / wide, -LIMIT), LIMIT) for rate in rates[user]]
    return z


def recount(lists: dict[int, list[int]], dataset: Dataset, rates: np.ndarray, part: str) -> dict[str, Any]:
    """Count the figures of lists, user -> titles, by loops."""
    z, warm = scores_by_loops(dataset, rates), dataset.train.toarray().any(axis=0)
    asked = [pair for pair in zip(*getattr(dataset, part).nonzero(), strict=True) if warm[pair[1]] and rates[pair] != 0]
    wanted = {
        "liked": [pair for pair in asked if z[pair] >= LIKED],
        "loved": [pair for pair in asked if z[pair] >= LOVED],
        "disliked": [pair for pair in asked if z[pair] <= DISLIKED],
    }
    found: dict[str, Any] = {
        name: {"n_pairs": len(pairs), "n_users": len({user for user, _ in pairs})} for name, pairs in wanted.items()
    }
    for k in TOP_K:
        for taste in ("liked", "loved"):
            recalls, gains = [], []
            for user in sorted({user for user, _ in wanted[taste]}):
                target = [item for owner, item in wanted[taste] if owner == user]
                ranks = [rank for rank, item in enumerate(lists[user][:k], start=1) if item in target]
                ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(target), k) + 1))
                recalls.append(len(ranks) / len(target))
                gains.append(sum(1 / math.log2(rank + 1) for rank in ranks) / ideal)
            found[taste] |= {f"Recall@{k}": np.mean(recalls), f"NDCG@{k}": np.mean(gains)}
        listed = [item in lists[user][:k] for user, item in wanted["disliked"]]
        found["disliked"][f"share@{k}"] = sum(listed) / len(listed)
        found[f"mean z@{k}"] = np.mean([z[user, item] for user, item in asked if item in lists[user][:k]])
    found["mean z of all"] = np.mean([z[pair] for pair in asked])
    return {**found, "n_rated": len(asked), "n_users": len({user for user, _ in asked})}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_figures_are_those_of_a_recount_by_loops(part: str, seed: int) -> None:
    dataset, rates = rated_data(seed)
    scores = distinct_scores(np.random.default_rng(seed), N_USERS, N_ITEMS)
    hidden = sum(getattr(dataset, name).toarray() for name in ("train", "excluded"))
    hidden = hidden + (dataset.valid.toarray() if part == "test" else 0) + ~dataset.train.toarray().any(axis=0)
    lists = {
        user: [item for item in sorted(range(N_ITEMS), key=lambda i: -scores[user, i]) if not hidden[user, item]]  # noqa: B023
        for user in range(N_USERS)
    }
    found = rated_figures(rank_warm(*vectors_scoring(scores), dataset, part, CONFIG), dataset, part, TOP_K)
    assert_same(found, recount(lists, dataset, rates, part))
    assert json.loads(json.dumps(found)) == found
    if part == "test":
        metrics, _ = held_out_metrics(*vectors_scoring(scores), dataset, CONFIG)
        assert metrics["rated"] == found
        assert metrics["valid_rated"].keys() == found.keys()
        assert metrics["valid_rated"] != found


def test_with_ties_the_figures_are_those_of_the_lists_as_drawn() -> None:
    """Most scores tie; the lists are those of the main figures, so that both are of one ranking."""
    dataset, rates = rated_data()
    scores = np.random.default_rng(3).integers(0, 3, size=(N_USERS, N_ITEMS)).astype(np.float32)
    ranking = rank_warm(*vectors_scoring(scores), dataset, "test", CONFIG)
    lists = {user: row[row >= 0].tolist() for user, row in zip(ranking.user_ids, ranking.items, strict=True)}
    found = rated_figures(ranking, dataset, "test", TOP_K)
    assert_same(found, recount(lists, dataset, rates, "test"))
    warm = means(evaluate_warm(*vectors_scoring(scores), dataset, "test", CONFIG))
    assert {key: warm[f"liked {key}"] for key in found["liked"] if "@" in key} == pytest.approx(
        {key: value for key, value in found["liked"].items() if "@" in key}
    )
    assert warm["NDCG@5"] == means(held_out_metrics(*vectors_scoring(scores), dataset, CONFIG)[1])["NDCG@5"]


def test_who_rates_nothing_has_no_figure_and_constant_raters_like_everything() -> None:
    dataset, rates = rated_data()
    pairs = dataset.warm_pairs("test")
    by_taste = pairs_by_taste(dataset, pairs)
    users = {taste: set(chosen.nonzero()[0].tolist()) for taste, chosen in by_taste.items()}
    rated = {user for user, item in zip(*pairs.nonzero(), strict=True) if rates[user, item]}
    assert not {0, 4, 5} & rated
    assert {1, 2, 3} <= rated
    for user in (2, 3):  # a rate at the mean is liked and neither loved nor disliked
        assert by_taste["liked"][[user]].nnz == pairs[[user]].nnz
        assert user not in users["loved"] | users["disliked"]
    ranking = rank_warm(*vectors_scoring(np.zeros((N_USERS, N_ITEMS))), dataset, "test", CONFIG)
    values = taste_metrics(ranking, dataset, "test", TOP_K)["liked NDCG@5"]
    assert np.isnan(values).tolist() == [user not in users["liked"] for user in ranking.user_ids]
    assert set(users["loved"]) < set(users["liked"])


def test_places_in_lists_by_hand() -> None:
    ranking = Ranking(np.array([1, 3]), np.array([[4, 0, 2], [1, -1, -1]]), np.zeros((2, 3)), None)
    pairs = sp.csr_matrix(np.array([[1, 0, 0, 0, 1], [1, 1, 0, 0, 1], [0, 1, 0, 0, 1], [0, 1, 0, 0, 1]], np.float32))
    expected = [np.inf, np.inf, 1, np.inf, 0, np.inf, np.inf, 0, np.inf]
    assert places_of(pairs, ranking).tolist() == expected
    nobody = Ranking(np.empty(0, int), np.empty((0, 3), int), np.empty((0, 3)), None)
    assert np.isinf(places_of(pairs, nobody)).all()


# --- one ranking, two figures ---


@pytest.mark.parametrize("metric", ["NDCG@5", "Hit@1", "MRR@10", "liked NDCG@5", "loved Recall@1", "AUC"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_liked_and_all_are_those_of_brute_force(metric: str, is_sparse: bool) -> None:
    dataset, rates = rated_data()
    scores = distinct_scores(np.random.default_rng(5), N_USERS, N_ITEMS)
    factors = vectors_scoring(scores)
    if is_sparse:
        factors = sp.csr_matrix(factors[0].numpy()), sp.identity(N_ITEMS, np.float32, "csr")
    z, warm = scores_by_loops(dataset, rates), dataset.train.toarray().any(axis=0)
    target = (dataset.valid.toarray() > 0) & warm
    hidden = dataset.train.toarray() + dataset.excluded.toarray() + ~warm
    taste, _, plain = {"AUC": "NDCG@10"}.get(metric, metric).rpartition(" ")

    def figure(least: float | None) -> float:
        chosen = target if least is None else target & (rates != 0) & (z >= least)
        # what is not asked for keeps its place in the lists: the metric counts its hits alone
        return float(np.mean(brute_force(scores, chosen, hidden, [1, 5, 10])[plain]))

    expected = figure({"": None, "liked": LIKED, "loved": LOVED}[taste]), figure(LIKED)
    found = liked_and_all(*factors, dataset, "valid", {**CONFIG, "early_stop_metric": metric})
    assert found == pytest.approx(expected)
    if metric in (whole := means(evaluate_warm(*factors, dataset, "valid", CONFIG))) and metric != "AUC":
        assert found[0] == whole[metric]


def test_without_rates_there_is_nothing_of_them() -> None:
    dataset, _ = rated_data()
    for rates in (None, np.zeros(dataset.seen.nnz, np.float32), np.full(dataset.seen.nnz, 4, np.float32)):
        plain = dataclasses.replace(dataset, rates=rates)
        factors = vectors_scoring(distinct_scores(np.random.default_rng(1), N_USERS, N_ITEMS))
        assert not pairs_by_taste(plain, plain.test)
        metrics, by_user = held_out_metrics(*factors, plain, CONFIG)
        assert not {"rated", "valid_rated"} & metrics.keys()
        assert "raters" not in metrics["groups"]
        assert set(by_user) == {f"{name}@{k}" for name in METRICS for k in TOP_K} | {"AUC"} == set(metrics["warm"])
        value, liked = liked_and_all(*factors, plain, "valid", CONFIG)
        assert (value > 0, liked) == (True, 0.0)
        assert asked_pairs(plain, plain.test, "liked NDCG@5")[0].nnz == 0


def test_the_values_of_users_are_those_of_warm_and_ndcg_by_taste() -> None:
    dataset, _ = rated_data()
    factors = vectors_scoring(distinct_scores(np.random.default_rng(1), N_USERS, N_ITEMS))
    metrics, by_user = held_out_metrics(*factors, dataset, CONFIG)
    assert set(by_user) == set(metrics["warm"]) | {f"{taste} NDCG@{k}" for taste in TASTES for k in TOP_K}
    for taste in TASTES:
        assert np.isfinite(by_user[f"{taste} NDCG@5"]).sum() == metrics["rated"][taste]["n_users"]
        assert np.nanmean(by_user[f"{taste} NDCG@5"]) == pytest.approx(metrics["rated"][taste]["NDCG@5"])
        for name in TASTE_METRICS:
            assert get_config({"early_stop_metric": f"{taste} {name}@10"})["early_stop_metric"] == f"{taste} {name}@10"


def test_a_changed_rate_of_a_held_out_pair_changes_its_figures_alone() -> None:
    dataset, _ = rated_data()
    factors = vectors_scoring(distinct_scores(np.random.default_rng(1), N_USERS, N_ITEMS))
    rows, columns = dataset.seen.nonzero()
    in_test = np.asarray(dataset.test[rows, columns]).ravel() > 0
    changed = dataclasses.replace(dataset, rates=np.where(in_test, 11 - dataset.rates, dataset.rates))
    before, after = (held_out_metrics(*factors, data, CONFIG)[0] for data in (dataset, changed))
    assert before.pop("rated") != after.pop("rated")
    assert before == after
    assert liked_and_all(*factors, dataset, "valid", CONFIG) == liked_and_all(*factors, changed, "valid", CONFIG)
    np.testing.assert_array_equal(changed.scores_of(dataset.train), dataset.scores_of(dataset.train))


# --- groups by rates ---


def test_users_are_grouped_by_how_many_titles_they_rated_in_train() -> None:
    rng = np.random.default_rng(2)
    sizes = [0, 1, 5, 6, 20, 21, 40, 0, 3]
    train, test = np.zeros((len(sizes), 60)), np.zeros((len(sizes), 60))
    train[:, :45], test[:, 45:50] = 1, 1
    train[0, 45:50] = 1
    test[0] = 0
    test[0, 50] = train[1, 50] = 1
    train[-1, 45:50], test[-1] = 1, 0  # who has nothing in test is in no group
    dataset = dataset_of(to_csr(train), test=to_csr(test))
    rates = np.zeros(train.shape)
    for user, size in enumerate(sizes):
        rates[user, rng.permutation(45)[:size]] = rng.integers(1, 11, size)
    rows, columns = dataset.seen.nonzero()
    dataset = dataclasses.replace(dataset, rates=rates[rows, columns].astype(np.float32))
    scores = distinct_scores(rng, *train.shape)
    warm = evaluate_warm(*vectors_scoring(scores), dataset, "test", CONFIG)
    groups = evaluate_groups(*vectors_scoring(scores), dataset, CONFIG, {"NDCG@5": warm["NDCG@5"]})["raters"]
    members = {"0": [0, 7], "1-5": [1, 2], "6-20": [3, 4], ">20": [5, 6]}
    assert list(groups) == list(members)
    for name, users in members.items():
        assert groups[name] == {"n_users": 2, "NDCG@5": pytest.approx(warm["NDCG@5"][users].mean())}


def test_a_metric_by_rates_needs_rates(data_dir: Path, config: dict[str, Any]) -> None:
    asked = {**config, "early_stop_metric": "liked NDCG@20"}
    assert load_dataset(asked).has_rates
    path = data_dir / "interactions.tsv"
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    lines[1:] = [[*line[:2], "4", *line[3:]] for line in lines[1:]]
    path.write_text("\n".join("\t".join(line) for line in lines), encoding="utf-8")
    with pytest.raises(ValueError, match="'liked NDCG@20'.*nobody rated.*set --early_stop_metric NDCG@20"):
        load_dataset(asked)
    assert not load_dataset(config).has_rates


def test_lists_of_candidates_that_are_too_short_have_rows_of_all_titles() -> None:
    """User 0 has one candidate left, and the -1 in the rest of the list are no title."""
    target, masked = to_csr(np.array([[0, 0, 0, 1, 0]])), to_csr(np.array([[1, 0, 0, 0, 1]]))
    ranking = rank(*vectors_scoring(np.zeros((1, 5))), target, masked, settings([2]), np.array([0, 3]), auc=False)
    assert ranking.items.tolist() == [[3, -1]]
