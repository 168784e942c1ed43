"""Closed-form item weights and graph filters against hand-made numbers, least squares and numpy's SVD."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from tests.helpers.linear import column_by_column
from training.closed_form import gram, item_weights, low_pass, normalized

# users of 2, 3, 0 and 1 titles; nobody collected title 3
TOY = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]], np.float32))
COLD = 3


def random_train(n_users: int = 50, n_items: int = 14, density: float = 0.3, seed: int = 0) -> sp.csr_matrix:
    """Draw ones; title COLD and user 2 have none."""
    drawn = np.random.default_rng(seed).random((n_users, n_items)) < density
    drawn[:, COLD] = drawn[2] = False
    return sp.csr_matrix(drawn.astype(np.float32))


# --- gram ---


def test_gram_counts_users_in_common() -> None:
    counts = gram(TOY)
    assert counts.dtype == torch.float32
    assert counts.tolist() == [[3, 2, 1, 0], [2, 2, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_users_with_many_titles_count_less_by_hand(power: float) -> None:
    # the mean of 2, 3 and 1 titles is 2; the user without any is none
    two, three, one = (number**-power for number in (2 / 2, 3 / 2, 1 / 2))
    expected = [
        [two + three + one, two + three, three, 0],
        [two + three, two + three, three, 0],
        [three, three, three, 0],
        [0, 0, 0, 0],
    ]
    np.testing.assert_allclose(gram(TOY, power), expected, rtol=1e-6)


# --- weights ---


@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("l2", [0.5, 30.0])
@pytest.mark.parametrize("power", [0.0, 0.6])
def test_weights_are_those_of_a_constrained_ridge_regression(l2: float, dropout: float, power: float) -> None:
    train = random_train()
    ratings, sizes = train.toarray().astype(float), np.diff(train.indptr)
    assert (sizes == 0).any(), "users without titles are no part of the mean"
    weighted = ratings * np.sqrt((np.maximum(sizes, 1) / sizes[sizes > 0].mean()) ** -power)[:, None]
    penalty = l2 + dropout / (1 - dropout) * np.square(weighted).sum(axis=0)
    weights = item_weights(gram(train, power), l2, dropout)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights, column_by_column(weighted, penalty), rtol=1e-3, atol=1e-5)


def test_a_similarity_is_restored_as_if_by_further_users() -> None:
    train, l2, dropout = random_train(), 5.0, 0.3
    ratings, texts = train.toarray().astype(float), np.random.default_rng(1).normal(size=(14, 4))
    # the similarity is no row that could be dropped: the penalty counts users alone
    penalty = l2 + dropout / (1 - dropout) * ratings.sum(axis=0)
    similarity = torch.from_numpy(texts @ texts.T).float()
    weights = item_weights(gram(train), l2, dropout, similarity).numpy()
    np.testing.assert_allclose(weights, column_by_column(ratings, penalty, texts.T), rtol=1e-3, atol=1e-5)
    assert np.abs(weights[COLD]).max() > 0.01, "a title without rows is known by what it is like"


def test_dropout_is_what_dropping_titles_amounts_to() -> None:
    """Over all ways to drop titles of users (the others counting 1 / (1 - dropout)), no step away lowers the error."""
    ratings, l2, dropout = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 1, 1.0]]), 0.7, 0.3
    weights = item_weights(gram(sp.csr_matrix(ratings.astype(np.float32))), l2, dropout).numpy().astype(float)

    def error(candidate: np.ndarray) -> float:
        total = l2 * np.square(candidate).sum()
        for row, kept in itertools.product(ratings, itertools.product([0, 1], repeat=3)):
            chance = np.prod(np.where(kept, 1 - dropout, dropout))
            total += chance * np.square(row - row * kept / (1 - dropout) @ candidate).sum()
        return total

    for i, j in itertools.permutations(range(3), 2):
        step = np.zeros((3, 3))
        step[i, j] = 1e-3
        slope = (error(weights + step) - error(weights - step)) / 2e-3
        assert slope == pytest.approx(0, abs=1e-4)


def test_no_title_is_used_for_itself_and_a_cold_one_for_nothing() -> None:
    for dropout in (0.0, 0.4):
        weights = item_weights(gram(random_train()), 3.0, dropout)
        assert not weights.diagonal().any()
        assert not weights[COLD].any()
        assert not weights[:, COLD].any()
        assert (weights[weights != 0]).numel() > 100


def test_the_counts_are_left_as_they_are() -> None:
    counts = gram(TOY)
    before = counts.clone()
    item_weights(counts, 1.0, 0.5)
    item_weights(counts, 1.0, 0.5, torch.eye(4))
    assert torch.equal(counts, before)


# --- filters ---


def normalised_by_hand(train: sp.csr_matrix) -> np.ndarray:
    dense, made = train.toarray().astype(float), np.zeros(train.shape)
    for user, item in np.argwhere(dense):
        made[user, item] = 1 / np.sqrt(dense[user].sum() * dense[:, item].sum())
    return made


def test_normalized_divides_by_the_roots_of_both_counts() -> None:
    # user 0 has 2 titles, user 1 has 3, user 3 one; titles have 3, 2, 1 and 0 users
    expected = [[6**-0.5, 4**-0.5, 0, 0], [9**-0.5, 6**-0.5, 3**-0.5, 0], [0, 0, 0, 0], [3**-0.5, 0, 0, 0]]
    np.testing.assert_allclose(normalized(TOY).toarray(), expected, rtol=1e-6)
    np.testing.assert_allclose(normalized(random_train()).toarray(), normalised_by_hand(random_train()), rtol=1e-6)


@pytest.mark.parametrize("rank", [4, 7])
def test_low_pass_keeps_the_largest_singular_vectors(rank: int) -> None:
    """The space they span is compared: single vectors are known up to their sign."""
    train = random_train()
    values, vectors = low_pass(train, rank)
    _, expected, rows = np.linalg.svd(normalised_by_hand(train))
    assert vectors.dtype == values.dtype == np.float32
    assert vectors.shape == (14, rank)
    np.testing.assert_allclose(values, expected[:rank], rtol=1e-4)
    np.testing.assert_allclose(vectors @ vectors.T, rows[:rank].T @ rows[:rank], atol=1e-3)
    assert not np.allclose(vectors @ vectors.T, rows[1 : rank + 1].T @ rows[1 : rank + 1], atol=0.1)


@pytest.mark.parametrize("train", [random_train(), random_train(5, 14)], ids=["items", "users"])
def test_the_rank_is_capped_by_the_smaller_side(train: sp.csr_matrix) -> None:
    values, vectors = low_pass(train, 100)
    assert vectors.shape == (14, min(train.shape))
    assert (np.diff(values) <= 1e-6).all()
    # with every vector there is nothing that is not passed
    dense = normalised_by_hand(train)
    np.testing.assert_allclose(dense @ vectors @ vectors.T, dense, atol=1e-5)


def test_low_pass_is_deterministic() -> None:
    for first, second in zip(low_pass(random_train(), 3), low_pass(random_train(), 3), strict=True):
        assert first.tobytes() == second.tobytes()
