"""Vectors of items and users from their texts, and whitening."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import llm_embedding
from data_loader import Comments, load_dataset
from llm_embedding import text_vectors, user_vectors
from tests.helpers.encoders import FakeEncoder
from text import whitening

# --- users ---


def dataset_of(comments: list[tuple[int, str, float]], train: list[list[int]]) -> Any:
    """Return what user_vectors reads of a Dataset."""
    users, texts, weights = (list(column) for column in zip(*comments, strict=True)) if comments else ([], [], [])
    return SimpleNamespace(
        raw_user_ids=[f"u{user}" for user in range(len(train))],
        train=sp.csr_matrix(np.array(train, np.float32)),
        user_comments=Comments(np.array(users, int), texts, np.array(weights, np.float32)),
    )


ITEMS = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)


def test_user_vector_is_the_rating_weighted_mean_of_their_comments() -> None:
    of = FakeEncoder(dim=2).of
    comments = [(1, "fine", 9), (0, "good", 8), (1, "bad", 3), (0, "dull", 2)]
    ours = user_vectors(
        dataset_of(comments, [[1, 1, 0], [1, 0, 1]]), ITEMS, np.stack([of(text) for _, text, _ in comments])
    )
    expected = [(8 * of("good") + 2 * of("dull")) / 10, (9 * of("fine") + 3 * of("bad")) / 12]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_user_without_comments_is_the_mean_of_their_train_items() -> None:
    dataset = dataset_of([(0, "good", 8)], [[0, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]])
    ours = user_vectors(dataset, ITEMS, np.array([[0.6, 0.8]], np.float32))
    np.testing.assert_allclose(ours, [[0.6, 0.8], [0.8, 0.4], [0, 1], [0, 0]], atol=1e-6)


def test_where_comments_are_left_out_users_are_their_train_items() -> None:
    ours = user_vectors(dataset_of([(0, "good", 8)], [[1, 0, 1], [0, 0, 0]]), ITEMS, None)
    np.testing.assert_allclose(ours, [[0.8, 0.4], [0, 0]], atol=1e-6)


def test_users_read_from_files_get_their_train_rows_and_no_other(small: dict[str, Any], fake: FakeEncoder) -> None:
    dataset = load_dataset(small)
    vectors = text_vectors(dataset, small, "cpu")
    users = dict(zip(dataset.raw_user_ids, vectors.users, strict=True))
    np.testing.assert_allclose(users["both"], (8 * fake.of("good") + 2 * fake.of("dull")) / 10, atol=1e-6)
    np.testing.assert_allclose(users["silent"], (vectors.items[2] + vectors.items[3]) / 2, atol=1e-6)
    np.testing.assert_allclose(users["long"], fake.of("early"), atol=1e-6)
    assert {"in valid", "in test"}.isdisjoint(fake.texts)


def test_an_unrated_comment_weighs_as_the_mean_rate(small: dict[str, Any], fake: FakeEncoder) -> None:
    # the rates above 0 of train, with or without a comment, have the mean 5
    dataset = load_dataset(small)
    users = dict(zip(dataset.raw_user_ids, text_vectors(dataset, small, "cpu").users, strict=True))
    np.testing.assert_allclose(users["unrated"], (5 * fake.of("hm") + 5 * fake.of("well")) / 10, atol=1e-6)
    np.testing.assert_allclose(users["zero"], fake.of("never mind"), atol=1e-6)


def test_comments_below_min_rate_are_not_read(small: dict[str, Any], fake: FakeEncoder) -> None:
    changed = {**small, "min_rate": 5.0}
    dataset = load_dataset(changed)
    users = dict(zip(dataset.raw_user_ids, text_vectors(dataset, changed, "cpu").users, strict=True))
    np.testing.assert_allclose(users["both"], fake.of("good"), atol=1e-6)
    assert not users["zero"].any()
    assert {"dull", "hm", "never mind"}.isdisjoint(fake.texts)


def test_item_texts_hold_name_tags_and_summary(small: dict[str, Any], fake: FakeEncoder) -> None:
    dataset = load_dataset(small)
    items = text_vectors(dataset, small, "cpu").items
    for item, text in enumerate(dataset.item_texts):
        assert all(part in text for part in (f"title {item}", "tag", f"story {item}"))
        np.testing.assert_allclose(items[item], fake.of(text), atol=1e-6)


# --- whitening ---


def narrow_cone(n: int = 400) -> np.ndarray:
    """Unit vectors that share a large mean and vary a hundred times more along some axes than along others."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(n, 6)) * np.logspace(0, -1, 6) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    vectors = spread + 3
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_whitened_items_have_no_mean_and_equal_variances() -> None:
    vectors = narrow_cone()
    before, after = (
        np.linalg.eigvalsh(np.cov(part, rowvar=False)) for part in (vectors, llm_embedding.whitened(vectors, vectors))
    )
    assert before[-1] > 20 * before[1]
    assert after[-1] < 1.5 * after[1]
    result = llm_embedding.whitened(vectors, vectors)
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-5)
    assert np.square(result).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    assert result.dtype == np.float32


def test_whitening_turns_nothing() -> None:
    """The map is symmetric, so that no sign or rotation is left to the machine's linear algebra."""
    vectors = narrow_cone()
    result = llm_embedding.whitened(vectors, vectors)
    turn = np.linalg.lstsq(vectors - vectors.mean(axis=0), result, rcond=None)[0]
    np.testing.assert_allclose(turn, turn.T, atol=1e-3 * np.abs(turn).max())


def test_many_titles_are_whitened_by_parts_and_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = (np.random.default_rng(3).normal(size=(5000, 6)) @ np.diag([5, 3, 2, 1, 1, 0.5])).astype(np.float32)
    at_once = llm_embedding.whitened(vectors[:3000], vectors[:3000])
    monkeypatch.setattr(whitening, "WHITEN_SAMPLE", 3000)
    np.testing.assert_array_equal(llm_embedding.whitened(vectors[:2999], vectors[:3000]), at_once[:2999])
    by_parts = llm_embedding.whitened(vectors, vectors[:3000])
    np.testing.assert_allclose(by_parts[:3000], at_once, atol=1e-6)
    of_sample = llm_embedding.whitened(vectors, vectors)
    assert np.abs(np.cov(of_sample.T) * 6 - np.eye(6)).max() < 0.1  # nearly what all titles would have given


def test_a_mean_of_items_stays_their_mean_when_whitened() -> None:
    items = narrow_cone()
    users = items.reshape(80, 5, 6).mean(axis=1)
    expected = llm_embedding.whitened(items, items).reshape(80, 5, 6).mean(axis=1)
    np.testing.assert_allclose(llm_embedding.whitened(users, items), expected, atol=1e-4)


def test_titles_without_text_take_no_part_in_a_users_mean(config: dict[str, Any]) -> None:
    dataset = load_dataset(config)
    items = np.random.default_rng(0).normal(size=(dataset.n_items, 4)).astype(np.float32)
    items[::3] = 0
    silent = dataclasses.replace(
        dataset,
        user_comments=dataset.user_comments._replace(
            user_ids=np.empty(0, int), texts=[], weights=np.empty(0, np.float32)
        ),
    )
    found = llm_embedding.user_vectors(silent, items, np.empty((0, 4)))
    for user in range(dataset.n_users):
        mine = [item for item in dataset.train[user].indices if item % 3]
        np.testing.assert_allclose(found[user], items[mine].mean(axis=0), atol=1e-5)


def test_rows_without_text_stay_zero_and_count_for_nothing_when_whitened() -> None:
    items = narrow_cone()
    gaps = np.concatenate([items, np.zeros((50, 6), np.float32)])
    result = llm_embedding.whitened(gaps, gaps)
    assert not result[400:].any()
    np.testing.assert_allclose(result[:400], llm_embedding.whitened(items, items), atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_a_few_titles_are_whitened_to_finite_numbers(n: int) -> None:
    items = narrow_cone()[:n]
    for vectors in (items, np.zeros((4, 6), np.float32), narrow_cone()[-3:]):
        result = llm_embedding.whitened(vectors, items)
        assert result.shape == vectors.shape
        assert np.isfinite(result).all()


def test_titles_of_the_same_text_are_left_alone() -> None:
    same = np.repeat(narrow_cone()[:1], 7, axis=0)
    np.testing.assert_array_equal(llm_embedding.whitened(same, same), same)
