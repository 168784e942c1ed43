"""Triples of BPR: every pair once, negatives drawn evenly."""

import json
import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Dataset
from llm_embedding import TextVectors
from tests.helpers.splits import random_train
from training.bpr import bpr_loss, sample_triples
from training.model_factory import build_model

Triples = tuple[np.ndarray, np.ndarray, np.ndarray]


# --- negatives ---


def held_out(dataset: Dataset) -> set[tuple[int, int]]:
    return {tuple(pair) for part in (dataset.valid, dataset.test) for pair in np.argwhere(part.toarray()).tolist()}


def sample_within(train: sp.csr_matrix, seed: int = 0, seconds: float = 20) -> Triples:
    """Call sample_triples, and fail instead of hanging where it does not end."""
    found: list[Any] = []
    rng = np.random.default_rng(seed)
    thread = threading.Thread(target=lambda: found.append(sample_triples(train, rng)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "sample_triples did not end (or raised)"
    return found[0]


def test_every_train_pair_is_drawn_exactly_once(dataset: Dataset) -> None:
    user_ids, pos_items, neg_items = sample_triples(dataset.train, np.random.default_rng(0))
    drawn = sorted(zip(user_ids.tolist(), pos_items.tolist(), strict=True))
    assert drawn == [tuple(pair) for pair in np.argwhere(dataset.train.toarray()).tolist()]
    assert user_ids.dtype == pos_items.dtype == neg_items.dtype == np.int64
    assert user_ids.shape == pos_items.shape == neg_items.shape


def test_pairs_come_in_random_order(dataset: Dataset) -> None:
    user_ids = sample_triples(dataset.train, np.random.default_rng(0))[0]
    assert (np.diff(user_ids) < 0).mean() > 0.3


@pytest.mark.parametrize("density", [0.05, 0.5, 0.95])
def test_negatives_are_trained_items_the_user_has_not(density: float) -> None:
    dense = random_train(50, 40, density, seed=2).toarray()
    dense[:, ::4] = 0  # every fourth item has no train interaction
    train = sp.csr_matrix(dense)
    trained = np.flatnonzero(train.sum(axis=0))
    for epoch in range(5):
        user_ids, _, neg_items = sample_within(train, seed=epoch)
        assert np.isin(neg_items, trained).all()
        assert not np.asarray(train[user_ids, neg_items]).any()


def test_held_out_items_are_drawn_like_any_other(dataset: Dataset) -> None:
    """Sparing them would tell the model what is held out: their share must be that of the legal pairs."""
    drawn: Counter[tuple[int, int]] = Counter()
    rng = np.random.default_rng(0)
    for _ in range(100):
        user_ids, _, neg_items = sample_triples(dataset.train, rng)
        drawn.update(zip(user_ids.tolist(), neg_items.tolist(), strict=True))
    hidden = held_out(dataset)
    trained = np.bincount(dataset.train.indices, minlength=dataset.n_items) > 0
    legal = (dataset.train.toarray() == 0) & trained
    weights = np.diff(dataset.train.indptr)[:, None] * legal / legal.sum(axis=1, keepdims=True)
    expected = 100 * sum(weights[pair] for pair in hidden)
    assert sum(drawn[pair] for pair in hidden) == pytest.approx(expected, rel=0.1)


def test_negatives_are_uniform() -> None:
    """User 0 has half of the 40 items, user 1 all of them: user 0's negatives are uniform over the other half."""
    train = sp.csr_matrix(np.stack([np.arange(40) % 2, np.ones(40)]).astype(np.float32))
    rng = np.random.default_rng(0)
    counts = np.zeros(40)
    for _ in range(500):
        counts += np.bincount(sample_triples(train, rng)[2], minlength=40)
    assert counts.sum() == 500 * 20
    assert (counts[1::2] == 0).all()
    chi_square = ((counts[::2] - 500) ** 2 / 500).sum()
    assert chi_square < 60, "19 degrees of freedom: mean 19, the 99.999th percentile is 58"


def test_popular_items_are_no_likelier_negatives() -> None:
    """Item 0 has 30 train users, items 1 to 5 one each; a user of none of them draws each of the six alike."""
    dense = np.zeros((31, 8), np.float32)
    dense[:30, 0] = 1
    dense[range(5), range(1, 6)] = 1
    dense[30, 6] = 1
    train, rng = sp.csr_matrix(dense), np.random.default_rng(0)
    counts = np.zeros(8)
    for _ in range(3000):
        user_ids, _, neg_items = sample_triples(train, rng)
        counts += np.bincount(neg_items[user_ids == 30], minlength=8)
    assert counts[[6, 7]].tolist() == [0, 0]
    np.testing.assert_allclose(counts[:6], 500, atol=120)


def test_user_who_collected_everything_is_left_out() -> None:
    dense = np.eye(6, 5, dtype=np.float32)
    dense[3] = 1
    user_ids, pos_items, _ = sample_within(sp.csr_matrix(dense))
    assert sorted(zip(user_ids.tolist(), pos_items.tolist(), strict=True)) == [(0, 0), (1, 1), (2, 2), (4, 4)]


def test_user_who_collected_every_trained_item_is_left_out() -> None:
    """There is an item 2, but without a train interaction it is no negative."""
    user_ids, _, neg_items = sample_within(sp.csr_matrix(np.array([[1, 1, 0], [1, 0, 0]], np.float32)))
    assert (user_ids.tolist(), neg_items.tolist()) == ([1], [1])


def test_where_nobody_has_a_negative_bpr_is_refused() -> None:
    """There is a title nobody collected, but it is no negative."""
    with pytest.raises(ValueError, match=r"every user has all 4 .*--loss softmax"):
        sample_triples(sp.csr_matrix(np.pad(np.ones((3, 4), np.float32), ((0, 1), (0, 1)))), np.random.default_rng(0))


def test_one_free_item_is_found() -> None:
    dense = np.ones((2, 200), np.float32)
    dense[0, 17] = 0
    user_ids, _, neg_items = sample_within(sp.csr_matrix(dense))
    assert set(user_ids.tolist()) == {0}
    assert set(neg_items.tolist()) == {17}


def test_triples_are_decided_by_the_generator(dataset: Dataset) -> None:
    first, again, other = (sample_triples(dataset.train, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_global_random_state_is_neither_used_nor_changed(dataset: Dataset) -> None:
    before = json.dumps(np.random.get_state(legacy=False), default=str)  # noqa: NPY002
    sample_triples(dataset.train, np.random.default_rng(1))
    assert json.dumps(np.random.get_state(legacy=False), default=str) == before  # noqa: NPY002


@pytest.mark.parametrize("m", [2, 5])
def test_candidates_are_all_negatives(dataset: Dataset, m: int) -> None:
    users, positives, candidates = sample_triples(dataset.train, np.random.default_rng(0), m)
    assert candidates.shape == (m, len(users)) == (m, dataset.train.nnz)
    assert not np.asarray(dataset.train[np.tile(users, m), candidates.ravel()]).any()
    assert np.asarray(dataset.train[users, positives]).all()
    assert len({row.tobytes() for row in candidates}) == m


def test_of_several_candidates_the_highest_scored_is_the_negative(dataset: Dataset, config: dict[str, Any]) -> None:
    model = build_model(dataset, TextVectors(None, None, {}), {**config, "init_std": 1.0}, torch.device("cpu"))
    users, positives, candidates = map(torch.from_numpy, sample_triples(dataset.train, np.random.default_rng(0), 4))
    user_emb, item_emb = model.embeddings()
    scores = (user_emb[users] * item_emb[candidates.long()]).sum(dim=2)  # (4, n)
    hardest = candidates.gather(0, scores.argmax(dim=0, keepdim=True))[0]
    assert (scores.argmax(dim=0) > 0).any()
    found, expected = (bpr_loss(model, users, positives, some, None, config) for some in (candidates, hardest.long()))
    assert [one.item() for one in found] == pytest.approx([one.item() for one in expected])
    assert found[0].item() > bpr_loss(model, users, positives, candidates[0].long(), None, config)[0].item()
