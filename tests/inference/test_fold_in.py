"""Users unknown to a run: how near their fitted vectors come to the best ones, and how well they are served."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from config import get_config
from evaluator import evaluate_warm, means
from inference import fold_in
from inference.finished_run import FinishedRun, load_finished
from inference.fold_in import place_users
from inference.lists import list_titles
from inference.people import person, place
from main import run
from training.linear_columns import linear_users

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["softmax", "bpr"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run on the sample data, whose user tastes are known to be learnable; some titles have no history."""
    softmax = {
        "loss": "softmax",
        "normalize": True,
        "temperature": 0.2,
        "init": "svd",
        "lr": 0.03,
        "epochs": 5,
        "reg_lambda": 0.0,
        "batch_size": 256,
        "cold_cost": 0.005,
        "id_dropout": 0.1,
    }
    bpr = {"lr": 0.01, "epochs": 15}
    config = get_config(
        {
            "data_dir": str(ROOT / "data"),
            "saved_dir": str(tmp_path_factory.mktemp("saved")),
            "model_name": "lsa",
            "lsa_dim": 32,
            "embedding_dim": 32,
            "fusion_mode": "sum",
            "num_layers": 2,
            "min_rate": 0.0,
            "device": "cpu",
            **(softmax if request.param == "softmax" else bpr),
        }
    )
    run(config)
    return load_finished(config)


def ndcg(run: FinishedRun, user_emb: torch.Tensor) -> float:
    return means(evaluate_warm(user_emb, run.item_emb, run.dataset, "test", run.config, auc=False))["NDCG@20"]


@pytest.mark.slow
def test_the_runs_own_users_lose_under_5_percent_when_placed_anew(trained: FinishedRun) -> None:
    assert np.diff(trained.dataset.train.indptr).all()
    known, anew = ndcg(trained, trained.user_emb), ndcg(trained, place_users(trained, trained.dataset.train).users)
    assert anew > 0.95 * known
    by_propagation = trained.user_emb.clone()  # the start of the fit: what --new_user once gave
    dim, counts = trained.config["embedding_dim"], np.bincount(trained.dataset.train.indices, minlength=300)
    weights = trained.dataset.train @ sp.diags_array(np.maximum(counts, 1) ** -0.5)
    by_propagation[:, :dim] = torch.from_numpy(weights @ trained.item_emb[:, :dim].numpy())
    if trained.config["normalize"]:
        by_propagation[:, :dim] = torch.nn.functional.normalize(by_propagation[:, :dim]) / trained.config["temperature"]
    assert anew > ndcg(trained, by_propagation)


def test_a_user_is_placed_alike_alone_and_among_others(trained: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    some = trained.dataset.train[:7]
    together = place_users(trained, some).users
    monkeypatch.setattr(fold_in, "BLOCK", 2)
    torch.testing.assert_close(place_users(trained, some).users, together, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(("steps", "left"), [(fold_in.STEPS, 0.35), (200, 0.01)])
def test_the_steps_go_to_the_best_vector_there_is(
    fixed: bool, beside: bool, steps: int, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With four columns the softmax is much steeper one way than another, and the way there longer than elsewhere."""
    monkeypatch.setattr(fold_in, "STEPS", steps)
    rng = np.random.default_rng(0)
    linear = rng.normal(size=(1, 3)), 2 * rng.normal(size=(30, 3))
    items, counts = rng.normal(size=(30, 4)), rng.integers(1, 9, 30)
    mine = rng.choice(30, 5, replace=False)
    length = 2.0

    def loss(user: np.ndarray) -> float:
        placed = length * user / np.linalg.norm(user) if fixed else user
        scores = items @ placed + (fold_in.LINEAR * linear[1] @ linear[0][0] if beside else 0)
        away = np.square(placed - start).sum() / length**2
        return logsumexp(scores) - scores[mine].mean() + fold_in.L2 * away

    start = counts[mine] ** -0.5 @ items[mine]
    start *= length / np.linalg.norm(start)
    collected = sp.csr_matrix((np.ones(5), (np.zeros(5, int), mine)), shape=(1, 30))
    columns = tuple(torch.from_numpy(part).float() for part in linear) if beside else None
    found = fold_in.fold_in(collected, torch.from_numpy(items).float(), counts, length, fixed, columns).users
    found = found[0].double().numpy()
    best = minimize(loss, start).fun
    assert best - 1e-6 <= loss(found) <= best + left * (loss(start) - best)
    assert not fixed or np.linalg.norm(found) == pytest.approx(length, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [True, False])
def test_the_vector_is_its_titles_less_what_is_expected_of_the_catalogue(
    fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the best vector nothing is left but a multiple of the softmax's mean; counts and titles differ by user."""
    monkeypatch.setattr(fold_in, "STEPS", 3000)
    rng = np.random.default_rng(1)
    items, counts = torch.from_numpy(rng.normal(size=(30, 4))).float(), rng.integers(1, 9, 30)
    collected = sp.csr_matrix((rng.random((6, 30)) < 0.3).astype(np.float32))
    # so short that the best vector of that length is not beyond the best of all, where titles would count against him
    users, weights = fold_in.fold_in(collected, items, counts, 0.3, fixed)[:2]
    assert ((weights != 0) != (collected != 0)).nnz == 0
    assert (weights.data > 0).all()
    off = torch.from_numpy(weights @ items.numpy()) - users
    expected = (users @ items.T).softmax(dim=1) @ items
    factor = (off * expected).sum(dim=1, keepdim=True) / expected.square().sum(dim=1, keepdim=True)
    torch.testing.assert_close(off, factor * expected, rtol=0.01, atol=0.01)
    assert (factor > 0).all()
    for user in weights:  # a rare title leads the start the more, and so it counts the more
        assert (np.diff(user.data[np.argsort(counts[user.indices])]) < 1e-6).all()


@pytest.mark.slow
def test_the_vector_complements_the_linear_columns(tmp_path: Path) -> None:
    config = get_config(
        {
            "data_dir": str(ROOT / "data"),
            "saved_dir": str(tmp_path),
            "fusion_mode": "none",
            "loss": "softmax",
            "normalize": True,
            "temperature": 0.2,
            "init": "svd",
            "lr": 0.03,
            "epochs": 2,
            "calibrate": True,
            "linear_dim": 16,
            "device": "cpu",
            "min_rate": 0.0,
        }
    )
    run(config)
    found = load_finished(config)
    assert found.layout.linear is not None
    some, dim = found.dataset.train[:5], config["embedding_dim"]
    users = place_users(found, some).users
    counts = np.bincount(found.dataset.train.indices, minlength=found.dataset.n_items)
    start = dim + found.layout.has_bias
    beside = linear_users(*found.layout.linear, some), found.item_emb[:, start : start + 16]
    torch.testing.assert_close(users[:, start : start + 16], beside[0])
    alone, together = (
        fold_in.fold_in(some, found.item_emb[:, :dim], counts, 5.0, True, linear).users for linear in (None, beside)
    )
    torch.testing.assert_close(users[:, :dim], together, rtol=1e-3, atol=1e-3)
    assert (alone - together).norm(dim=1).min() > 0.1


def test_lists_for_new_users_hold_what_they_lack_best_first(trained: FinishedRun) -> None:
    titles = trained.dataset.train.indices[:3].tolist()
    found = list_titles(trained, place(trained, person(trained, titles)).users[0], 10, titles)
    assert not {trained.dataset.raw_item_ids[item] for item in titles} & {title["subject_id"] for title in found}
    scores = [title["score"] for title in found]
    assert len(found) == 10
    assert scores == sorted(scores, reverse=True)


def test_a_title_without_a_history_alone_is_enough(trained: FinishedRun) -> None:
    cold = np.setdiff1d(np.arange(trained.dataset.n_items), trained.dataset.warm_items)[:1].tolist()
    found: list[dict[str, Any]] = list_titles(trained, place(trained, person(trained, cold)).users[0], 5, cold)
    assert len(found) == 5
    assert np.isfinite([title["score"] for title in found]).all()


def test_titles_of_no_weight_are_as_if_not_collected() -> None:
    """Not even among the titles that the softmax is taken over, where nobody else has them."""
    rng, counts = np.random.default_rng(0), np.array([3, 2, 4, 1, 0, 5])
    items = torch.from_numpy(rng.normal(size=(6, 4))).float()
    bare = sp.csr_matrix(np.array([[1, 0, 0.5, 0, 0, 0], [0, 1, 0, 2, 0, 0]], np.float32))
    more = sp.csr_matrix((np.array([1, 0.5, 0, 1, 2, 0], np.float32), [0, 2, 4, 1, 3, 4], [0, 3, 6]), shape=(2, 6))
    for fixed in (True, False):
        one, other = (fold_in.fold_in(pairs, items, counts, 2.0, fixed) for pairs in (bare, more))
        assert torch.equal(one.users, other.users)
        assert (one.weights != other.weights).nnz == 0


def test_a_title_of_more_weight_draws_the_vector_nearer() -> None:
    items, counts = torch.eye(4), np.full(4, 3)
    near = [
        fold_in.fold_in(sp.csr_matrix(np.array([[weight, 1, 0, 0]], np.float32)), items, counts, 2.0, False).users[0, 0]
        for weight in (0.5, 1, 2)
    ]
    assert near[0] < near[1] < near[2]
