"""Users placed by what is known before valid and test: one round of propagation, and the linear columns."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from llm_embedding import TextVectors
from model import LightGCN
from tests.helpers.linear import METRIC, parted
from training.after_training import calibrate
from training.model_factory import build_model, restore
from training.placing import Placing, place_users, placing_of, round_of_propagation, trained_vectors

BASE = {"top_k": "5", "early_stop_metric": METRIC, "fusion_mode": "none", "embedding_dim": 8, "model_name": "lsa"}


def ordered(seed: int = 0, split: str = "user_time") -> Dataset:
    """Return users whose valid rows come after train, and who go from each title to the next one by number."""
    dataset = parted(seed)
    _, items = dataset.seen.nonzero()
    return dataclasses.replace(dataset, times=items.astype(float), facts={"split": split})


def model_of(dataset: Dataset, **settings: Any) -> tuple[LightGCN, dict[str, Any]]:
    config = get_config({**BASE, **settings})
    vectors = TextVectors(None, None, {})
    return build_model(dataset, vectors, config, torch.device("cpu")), config


def expected_round(model: LightGCN, dataset: Dataset, part: str, half_life: float) -> np.ndarray:
    users, items = (part.numpy() for part in trained_vectors(model))
    known = dataset.train + (dataset.valid if part == "test" else 0 * dataset.valid)
    counts = np.maximum(dataset.train.toarray().sum(axis=0), 1)
    lengths = np.linalg.norm(users, axis=1)
    found = np.zeros_like(users)
    for user in range(dataset.n_users):
        mine = np.flatnonzero(known.toarray()[user])
        newest = np.argsort(-mine)  # times are item numbers
        ages = np.empty(len(mine))
        ages[newest] = np.arange(len(mine))
        total = (0.5 ** (ages / half_life) / np.sqrt(counts[mine])) @ items[mine] if len(mine) else found[user]
        found[user] = total * lengths[lengths > 0].mean() / max(np.linalg.norm(total), 1e-12)
    return found


@pytest.mark.parametrize("part", ["valid", "test"])
def test_users_are_a_round_over_what_is_known(part: str) -> None:
    dataset = ordered()
    model, config = model_of(dataset, recency=2.0)
    before = model.embeddings()
    decided = calibrate(model, dataset, config)
    assert decided["recency"] == {"recency": 2.0, "tried": []}
    place_users(model, dataset, part)
    users, items = model.embeddings()
    known = np.diff((dataset.train + dataset.valid if part == "test" else dataset.train).indptr) > 0
    np.testing.assert_allclose(users[known, :8], expected_round(model, dataset, part, 2.0)[known], atol=1e-4)
    assert torch.equal(items, before[1])


def test_by_default_users_stay_as_they_were_trained() -> None:
    dataset = ordered()
    model, config = model_of(dataset)
    before = model.embeddings()
    assert "recency" not in calibrate(model, dataset, config)
    place_users(model, dataset, "test")
    assert all(torch.equal(one, other) for one, other in zip(before, model.embeddings(), strict=True))
    assert "placing" not in model.state_dict()


def test_a_random_split_chooses_nothing() -> None:
    dataset = ordered(split="random")
    model, config = model_of(dataset, recency=-1.0)
    before = model.embeddings()[0]
    assert calibrate(model, dataset, config)["recency"] == {"recency": 0.0, "tried": []}
    place_users(model, dataset, "test")
    assert torch.equal(model.embeddings()[0], before)


def test_the_half_life_is_the_best_on_valid() -> None:
    dataset = ordered(3)
    model, config = model_of(dataset, recency=-1.0)
    found = calibrate(model, dataset, config)["recency"]
    assert len(found["tried"]) > 3
    best = max(found["tried"], key=lambda one: one[METRIC])
    assert found["recency"] == best["recency"] == placing_of(model).recency
    gone = dataclasses.replace(dataset, valid=sp.csr_matrix(dataset.valid.shape, dtype=np.float32))
    model, config = model_of(gone, recency=-1.0)
    assert calibrate(model, gone, config)["recency"] == {"recency": 0.0, "tried": []}


def test_who_is_new_in_valid_is_known_before_test() -> None:
    dataset = ordered()
    user = int(np.flatnonzero(np.diff(dataset.valid.indptr))[0])
    kept = dataset.train.copy().tolil()
    kept[user] = 0
    train = kept.tocsr().astype(np.float32)
    dataset = dataclasses.replace(dataset, train=train)
    model, config = model_of(dataset, recency=-1.0)
    calibrate(model, dataset, config)
    assert model.embeddings()[0][user, -1] == 1  # popularity ranks
    place_users(model, dataset, "test")
    placed = model.embeddings()[0][user]
    assert placed[-1] == 0
    assert placed[:8].any()


def test_a_restored_model_places_users_alike() -> None:
    dataset = ordered()
    settings = {"recency": 2.0, "calibrate": True, "linear_dim": 6}
    model, config = model_of(dataset, **settings)
    calibrate(model, dataset, config)
    place_users(model, dataset, "test")
    again, _ = model_of(dataset, **settings)
    restore(again, model.state_dict(), dataset)
    for one, other in zip(model.embeddings(), again.embeddings(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert placing_of(again) == placing_of(model) != Placing()


def test_test_rows_place_nobody() -> None:
    dataset = ordered()
    swapped = dataclasses.replace(dataset, test=dataset.cold_test, cold_test=dataset.test)
    found = []
    for one in (dataset, swapped):
        model, config = model_of(one, recency=-1.0, calibrate=True, linear_dim=6)
        calibrate(model, one, config)
        place_users(model, one, "test")
        found.append(model.embeddings()[0])
    assert torch.equal(*found)


def test_a_round_ends_at_the_length_of_trained_users() -> None:
    dataset = ordered()
    users, items = torch.randn(60, 4), torch.randn(16, 4)
    placed = round_of_propagation(users, items, dataset.train, dataset.train)
    lengths = placed.norm(dim=1)[torch.from_numpy(np.diff(dataset.train.indptr) > 0)]
    torch.testing.assert_close(lengths, torch.full_like(lengths, users.norm(dim=1).mean()))
