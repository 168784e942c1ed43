"""Figures by franchise, beside a recount by loops."""

import json
from typing import Any

import numpy as np
import pytest

from data_loader import Dataset
from dataset.franchises import Franchises, franchises_of
from evaluation.discovery import franchise_figures
from evaluation.held_out import held_out_metrics
from evaluator import rank_warm
from tests.helpers.data import dataset_of
from tests.helpers.rankings import brute_force, distinct_scores, settings, to_csr, vectors_scoring

TOP_K = [1, 5, 10]
CONFIG = {**settings(TOP_K), "early_stop_metric": "NDCG@5"}
N_USERS, N_ITEMS = 30, 60


def with_franchises(dataset: Dataset, groups: np.ndarray, before: np.ndarray) -> Dataset:
    """Give titles these franchises, in place of what their names say."""
    vars(dataset).update(_franchises=Franchises(groups, np.zeros_like(groups), before, np.zeros(len(groups), bool)))
    assert franchises_of(dataset).groups is groups
    return dataset


def data(seed: int = 0) -> Dataset:
    """Return random data with 20 franchises of three titles, one after the other; titles 50 and on have no history."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 9, size=(N_USERS, N_ITEMS))
    masks = {name: drawn == number for number, name in enumerate(("train", "valid", "test", "excluded"))}
    masks["train"][:, 50:] = False
    masks["train"][4] = False  # knows nothing, so that everything is a discovery
    dataset = dataset_of(**{name: to_csr(mask) for name, mask in masks.items()})
    items = np.arange(N_ITEMS)
    return with_franchises(dataset, items % 20, np.where(items >= 20, items - 20, -1))


def recount(dataset: Dataset, scores: np.ndarray, part: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compute, by loops: the figures of each kind of pair, and those of lists."""
    train, groups, before = dataset.train.toarray() > 0, np.arange(N_ITEMS) % 20, franchises_of(dataset).before
    known = np.array(
        [[train[user, groups == groups[item]].any() for item in range(N_ITEMS)] for user in range(N_USERS)]
    )
    warm, asked = train.any(axis=0), getattr(dataset, part).toarray() > 0
    masked = (dataset.masked_for(part).toarray() > 0) | ~warm
    kinds = {}
    for kind, of_kind in (("discovery", ~known), ("continuing", known)):
        target = asked & warm & of_kind
        figures = brute_force(scores, target, masked | ~of_kind, TOP_K)
        kinds[kind] = {"n_pairs": int(target.sum()), "n_users": int(target.any(axis=1).sum())}
        kinds[kind] |= {key: np.mean(values) for key, values in figures.items() if key.startswith(("Recall", "NDCG"))}
    lists = {}
    for k in TOP_K:
        of_known, ahead, different, collectors = [], [], [], []
        for user in np.flatnonzero((asked & warm).any(axis=1)):
            free = [item for item in range(N_ITEMS) if not masked[user, item]]
            entries = sorted(free, key=lambda item: -scores[user, item])[:k]  # noqa: B023
            of_known += [known[user, item] for item in entries]
            different.append(len({groups[item] for item in entries}))
            collectors += [train[:, item].sum() for item in entries]
            for place, item in enumerate(entries):
                unseen = before[item] >= 0 and not dataset.masked_for(part)[user, before[item]]
                ahead.append(unseen and before[item] not in entries[:place])
        lists |= {f"known@{k}": np.mean(of_known), f"franchises@{k}": np.mean(different)}
        lists |= {f"ahead@{k}": np.mean(ahead), f"collectors@{k}": np.median(collectors)}
    return kinds, lists


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_figures_are_those_of_a_recount_by_loops(part: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, scores = data(seed), distinct_scores(np.random.default_rng(seed), N_USERS, N_ITEMS)
    ranking = rank_warm(*vectors_scoring(scores), dataset, part, CONFIG)
    found, of_users = franchise_figures(*vectors_scoring(scores), ranking, dataset, part, CONFIG)
    kinds, lists = recount(dataset, scores, part)
    assert found["lists"] == pytest.approx(lists)
    for kind, figures in kinds.items():
        assert found[kind] == pytest.approx(figures)
        values = of_users[f"{kind} NDCG@5"]
        assert len(values) == len(ranking.user_ids)
        assert np.nanmean(values) == pytest.approx(figures["NDCG@5"])
        assert np.isfinite(values).sum() == figures["n_users"]
    assert json.loads(json.dumps(found)) == found
    monkeypatch.setattr("evaluation.discovery.CELLS", 3 * N_ITEMS)  # three users at a time
    again, _ = franchise_figures(*vectors_scoring(scores), ranking, dataset, part, CONFIG)
    assert again == found


def test_held_out_metrics_have_them_and_each_user_s_values() -> None:
    dataset, scores = data(), distinct_scores(np.random.default_rng(0), N_USERS, N_ITEMS)
    metrics, of_users = held_out_metrics(*vectors_scoring(scores), dataset, CONFIG)
    assert metrics["franchises"]["discovery"]["NDCG@10"] == pytest.approx(np.nanmean(of_users["discovery NDCG@10"]))


def test_a_held_out_row_makes_no_franchise_known() -> None:
    """Of the pairs of a user without a train row, none is continuing, although others of the franchise are held out."""
    dataset = data()
    ranking = rank_warm(*vectors_scoring(np.zeros((N_USERS, N_ITEMS))), dataset, "test", CONFIG)
    _, of_users = franchise_figures(*vectors_scoring(np.zeros((N_USERS, N_ITEMS))), ranking, dataset, "test", CONFIG)
    assert dataset.test[4].nnz
    assert dataset.valid[4].nnz
    assert np.isnan(of_users["continuing NDCG@5"][ranking.user_ids == 4]).all()
    assert np.isfinite(of_users["discovery NDCG@5"][ranking.user_ids == 4]).all()


def test_where_each_title_stands_alone_there_is_nothing_to_say() -> None:
    dataset = with_franchises(data(), np.arange(N_ITEMS), np.full(N_ITEMS, -1))
    factors = vectors_scoring(distinct_scores(np.random.default_rng(0), N_USERS, N_ITEMS))
    assert franchise_figures(*factors, rank_warm(*factors, dataset, "test", CONFIG), dataset, "test", CONFIG) == (
        {},
        {},
    )
    assert "franchises" not in held_out_metrics(*factors, dataset, CONFIG)[0]
