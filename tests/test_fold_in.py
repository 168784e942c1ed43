"""Users unknown to a run: how near their fitted vectors come to the best ones, and how well they are served."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

import fold_in
from config import get_config
from evaluator import evaluate_warm, means
from main import run
from serving import Run, list_for_new, load_run, place
from tools.new_users import measure

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", params=["softmax", "bpr"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the sample data, whose user tastes are known to be learnable; some titles have no history."""
    softmax = {"loss": "softmax", "normalize": True, "temperature": 0.2, "init": "svd", "lr": 0.03, "epochs": 5,
               "reg_lambda": 0.0, "batch_size": 256, "cold_cost": 0.005, "id_dropout": 0.1}
    bpr = {"lr": 0.01, "epochs": 15}
    config = get_config({"data_dir": str(ROOT / "data"), "saved_dir": str(tmp_path_factory.mktemp("saved")),
                         "model_name": "lsa", "lsa_dim": 32, "embedding_dim": 32, "fusion_mode": "sum", "num_layers": 2,
                         "min_rate": 0.0, "device": "cpu", **(softmax if request.param == "softmax" else bpr)})
    run(config)
    return load_run(config)


def ndcg(run: Run, user_emb: torch.Tensor) -> float:
    return means(evaluate_warm(user_emb, run.item_emb, run.dataset, "test", run.config, auc=False))["NDCG@20"]


def test_the_runs_own_users_lose_under_5_percent_when_placed_anew(trained: Run) -> None:
    assert np.diff(trained.dataset.train.indptr).all()
    known, anew = ndcg(trained, trained.user_emb), ndcg(trained, place(trained, trained.dataset.train))
    assert anew > 0.95 * known
    by_propagation = trained.user_emb.clone()  # the start of the fit: what --new_user once gave
    dim, counts = trained.config["embedding_dim"], np.bincount(trained.dataset.train.indices, minlength=300)
    weights = trained.dataset.train @ sp.diags_array(np.maximum(counts, 1) ** -0.5)
    by_propagation[:, :dim] = torch.from_numpy(weights @ trained.item_emb[:, :dim].numpy())
    if trained.config["normalize"]:
        by_propagation[:, :dim] = torch.nn.functional.normalize(by_propagation[:, :dim]) / trained.config["temperature"]
    assert anew > ndcg(trained, by_propagation)


def test_the_tool_tells_the_same(trained: Run) -> None:
    rows = measure(Path(trained.config["saved_dir"]))
    assert rows["trained"]["test"] == pytest.approx(ndcg(trained, trained.user_emb))
    assert rows["folded in"]["test"] == pytest.approx(ndcg(trained, place(trained, trained.dataset.train)))
    assert rows["folded in"]["ms"] > 0


def test_a_user_is_placed_alike_alone_and_among_others(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    some = trained.dataset.train[:7]
    together = place(trained, some)
    monkeypatch.setattr(fold_in, "BLOCK", 2)
    torch.testing.assert_close(place(trained, some), together, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fixed", [True, False])
def test_the_vector_is_near_the_best_there_is(fixed: bool) -> None:
    rng = np.random.default_rng(0)
    items, counts = rng.normal(size=(30, 4)), rng.integers(1, 9, 30)
    mine = rng.choice(30, 5, replace=False)
    length = 2.0

    def loss(user: np.ndarray) -> float:
        placed = length * user / np.linalg.norm(user) if fixed else user
        scores = items @ placed
        away = np.square(user - start).sum() / length**2
        return logsumexp(scores) - scores[mine].mean() + fold_in.L2 * away

    start = counts[mine] ** -0.5 @ items[mine]
    start *= length / np.linalg.norm(start)
    collected = sp.csr_matrix((np.ones(5), (np.zeros(5, int), mine)), shape=(1, 30))
    found = fold_in.fold_in(collected, torch.from_numpy(items).float(), counts, length, fixed)[0].double().numpy()
    best = minimize(loss, start).fun
    assert best <= loss(found) <= best + 0.02 * (loss(start) - best)
    assert not fixed or np.linalg.norm(found) == pytest.approx(length, rel=1e-5)


def test_lists_for_new_users_hold_what_they_lack_best_first(trained: Run) -> None:
    titles = trained.dataset.train.indices[:3].tolist()
    found = list_for_new(trained, titles, 10)
    assert not {trained.dataset.raw_item_ids[item] for item in titles} & {title["subject_id"] for title in found}
    scores = [title["score"] for title in found]
    assert len(found) == 10
    assert scores == sorted(scores, reverse=True)


def test_a_title_without_a_history_alone_is_enough(trained: Run) -> None:
    cold = np.setdiff1d(np.arange(trained.dataset.n_items), trained.dataset.warm_items)[:1].tolist()
    found: list[dict[str, Any]] = list_for_new(trained, cold, 5)
    assert len(found) == 5
    assert np.isfinite([title["score"] for title in found]).all()
