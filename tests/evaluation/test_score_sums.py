"""Weighted sums of scores, kept or joined: the lists are those of the factors side by side."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from evaluation import score_sums
from evaluation.score_sums import ScoreSum
from evaluator import rank
from tests.helpers.rankings import nothing, settings, to_csr

N_USERS, N_ITEMS = 12, 30


@pytest.mark.parametrize("most", [2**26, 1], ids=["kept", "joined"])
@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize(
    ("candidates", "of_candidates"), [(None, False), (np.arange(3, 25), False), (np.arange(3, 25), True)]
)
@pytest.mark.parametrize("n_columns", [3, 1])
def test_lists_are_those_of_the_factors_side_by_side(
    most: int,
    is_sparse: bool,
    candidates: np.ndarray | None,
    of_candidates: bool,
    n_columns: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(score_sums, "MOST", most)
    rng = np.random.default_rng(0)
    users, others = (rng.normal(size=(N_USERS, d)).astype(np.float32) for d in (4, n_columns))
    items, further = (torch.from_numpy(rng.normal(size=(N_ITEMS, d)).astype(np.float32)) for d in (4, n_columns))
    first = sp.csr_matrix(users) if is_sparse else torch.from_numpy(users)
    own = candidates if of_candidates else np.arange(N_ITEMS)
    parts = {"first": (first, items[own]), "second": (torch.from_numpy(others), further[own])}
    sums = ScoreSum(parts, own, N_ITEMS) if of_candidates else ScoreSum(parts)
    target = to_csr(rng.random((N_USERS, N_ITEMS)) < 0.3)
    config = settings([5])
    for weights in ({"first": 1.0, "second": 0.5}, {"first": 1.0, "second": 2.0}, {"first": 0.7}, {"second": 1.0}):
        parts = [weights.get("first", 0.0) * users, weights.get("second", 0.0) * others]
        whole = torch.from_numpy(np.concatenate(parts, axis=1)), torch.cat([items, further], dim=1)
        wanted = rank(*whole, target, nothing(N_USERS, N_ITEMS), config, candidates)
        found = rank(*sums.at({**weights, "of no part": 1.0}), target, nothing(N_USERS, N_ITEMS), config, candidates)
        np.testing.assert_array_equal(found.items, wanted.items)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.auc, wanted.auc)


def test_a_part_that_is_replaced_counts_anew() -> None:
    one, items = torch.ones(2, 1), torch.arange(3.0)[:, None]
    sums = ScoreSum({"a": (one, items)})
    for factor in (1, 3):
        sums.replace("a", one * factor, items)
        users, columns = sums.at({"a": 1.0})
        found = rank(users, columns, to_csr(np.eye(2, 3)), nothing(2, 3), settings([3]))
        assert found.scores.tolist() == [[2 * factor, factor, 0]] * 2
