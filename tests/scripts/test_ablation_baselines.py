"""run_ablation.py: baselines are tuned on valid, fitted once and kept."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Dataset, load_dataset
from evaluation.baselines import BASELINES, GRIDS
from evaluation.list_metrics import beyond_accuracy
from evaluation.ranking import rank_items
from evaluation.tuned_baselines import tuned
from evaluator import evaluate
from llm_embedding import TextVectors
from run_ablation import baseline_row
from tests.helpers.ablations import among_warm, read

NO_TEXT = TextVectors(None, None, {"used": None, "dim": 0, "digest": None})


# --- baselines ---


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A baseline whose grid holds an oracle of every part, in the order train, test, valid, cold_test."""
    monkeypatch.setitem(GRIDS, "planted", {"knows": ("train", "test", "valid", "cold_test")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda dataset, item_vectors, knows: (
            torch.from_numpy(getattr(dataset, knows).toarray()),
            torch.eye(dataset.n_items),
        ),
    )
    return "planted"


def test_a_baseline_is_tuned_on_valid_alone(planted: str, config: dict[str, Any]) -> None:
    dataset = load_dataset({**config, "test_ratio": 0.4})  # so much that it outweighs valid where both are looked at
    (user_emb, _), point, valid = tuned(planted, dataset, None, config)
    assert point == {"knows": "valid"}
    np.testing.assert_array_equal(user_emb.numpy(), dataset.valid.toarray())
    assert valid["NDCG@20"] == 1
    oracle = (torch.from_numpy(dataset.test.toarray()), torch.eye(dataset.n_items))
    known = dataset.train + dataset.valid
    ours = evaluate(user_emb, torch.eye(dataset.n_items), dataset.test, known, config)["NDCG@20"].mean()
    assert evaluate(*oracle, dataset.test, known, config)["NDCG@20"].mean() == 1 > ours


def test_a_baseline_is_tuned_by_the_early_stop_metric(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    """A list with both targets far down wins by Recall@4, one with a target on top by Hit@1."""
    target = sp.csr_matrix(np.array([[1, 1, 0, 0, 0, 0]], np.float32))
    nothing = sp.csr_matrix((1, 6), dtype=np.float32)
    scores = {"deep": [1, 2, 5, 4, 0, 0], "top": [9, 0, 5, 4, 3, 2]}
    monkeypatch.setitem(GRIDS, "planted", {"which": ("deep", "top")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda dataset, item_vectors, which: (torch.tensor([scores[which]], dtype=torch.float32), torch.eye(6)),
    )
    toy = SimpleNamespace(
        valid=target, warm_pairs={"valid": target}.get, masked_for={"valid": nothing}.get, warm_items=np.arange(6)
    )
    for metric, which in (("Recall@4", "deep"), ("Hit@1", "top")):
        settings = {**config, "top_k": [1, 4], "early_stop_metric": metric}
        assert tuned("planted", toy, None, settings)[1] == {"which": which}


def test_every_point_of_a_grid_is_tried_and_the_best_kept(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, config: dict[str, Any]
) -> None:
    tried: list[tuple[int, str]] = []
    oracle = torch.from_numpy(dataset.valid.toarray()), torch.eye(dataset.n_items)
    monkeypatch.setitem(GRIDS, "planted", {"a": (1, 2), "b": ("x", "y", "z")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda dataset, item_vectors, a, b: (
            tried.append((a, b))
            or (oracle if (a, b) == (2, "x") else (torch.zeros(dataset.n_users, 1), torch.zeros(dataset.n_items, 1)))
        ),
    )
    assert tuned("planted", dataset, None, config)[1] == {"a": 2, "b": "x"}
    assert sorted(tried) == [(a, b) for a in (1, 2) for b in "xyz"]


@pytest.mark.slow
def test_a_finished_baseline_is_fitted_again_only_when_something_changed(
    fits: list[str], tmp_path: Path, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(config: dict[str, Any] = config, dataset: Dataset = dataset, rerun: bool = False) -> bool:
        fits.clear()
        result = baseline_row("item_knn", tmp_path / "knn", dataset, NO_TEXT, config, rerun)
        assert read(tmp_path / "knn" / "metrics.json")["test"] == result["test"]
        return fits == ["item_knn"]

    assert fitted()
    assert not fitted()
    assert not fitted({**config, "lr": 5.0, "epochs": 99})
    assert fitted(rerun=True)
    for change in ({"seed": 1}, {"top_k": [5, 10, 20]}, {"early_stop_metric": "Recall@10"}):
        assert fitted({**config, **change}), change
        assert not fitted({**config, **change}), change
        assert fitted(), change
    other = load_dataset({**config, "split": "random"})
    assert fitted(dataset=other)
    assert not fitted(dataset=other)
    monkeypatch.setitem(GRIDS, "item_knn", {"neighbours": (2, 7), "shrink": (0,)})
    assert fitted(dataset=other)
    assert not fitted(dataset=other)


def test_baselines_are_fitted_again_with_other_texts(
    fits: list[str], tmp_path: Path, dataset: Dataset, config: dict[str, Any]
) -> None:
    """Content is made of the vectors, and the Diversity of every baseline's lists is measured with them."""
    names = ["popularity", "content_cosine", "content_whitened"]
    for number, (used, digest, expected) in enumerate(
        (("one", "first", names), ("one", "first", []), ("two", "first", names), ("two", "second", names))
    ):
        fits.clear()
        items = np.random.default_rng([number - (expected == [])]).normal(size=(dataset.n_items, 5)).astype(np.float32)
        vectors = TextVectors(items, None, {"used": used, "dim": 5, "digest": digest})
        found = {name: baseline_row(name, tmp_path / name, dataset, vectors, config, False) for name in names}
        assert fits == expected
        assert [found[name]["encoder"]["used"] for name in names] == [None, used, used]
        known, users = dataset.masked_for("test"), np.flatnonzero(np.diff(dataset.test.indptr))
        lists = rank_items(*BASELINES["popularity"](dataset, items), users, known, 20, seed=config["seed"]).items
        assert found["popularity"]["beyond"] == pytest.approx(beyond_accuracy(lists, dataset.train, items))


@pytest.fixture
def cold_dataset(data_dir: Path, config: dict[str, Any]) -> Dataset:
    """Titles without a history, rows set aside, and a user with a single row, who has none in test."""
    with (data_dir / "interactions.tsv").open("a", encoding="utf-8") as file:
        file.write("untested\ts1\t5\t\t\n")
        file.writelines(f"u{user}\tin_test\t5\t\t2021-01-01\n" for user in range(9))
    with (data_dir / "anime.tsv").open("a", encoding="utf-8") as file:
        file.write("in_test\tall of its rows are in test\t\t\n")
    dataset = load_dataset({**config, "cold_item_ratio": 0.2, "split_seed": 1, "min_rate": 3.0})
    assert dataset.excluded.nnz > 0
    assert 0 < dataset.warm_pairs("test").nnz < dataset.test.nnz
    return dataset


def test_a_baseline_has_the_figures_of_its_best_point(
    tmp_path: Path, planted: str, cold_dataset: Dataset, config: dict[str, Any]
) -> None:
    dataset = cold_dataset
    found = baseline_row(planted, tmp_path / "planted", dataset, NO_TEXT, config, False)
    factors = torch.from_numpy(dataset.valid.toarray()), torch.eye(dataset.n_items)
    warm, test = (
        among_warm(factors, dataset, "test", config),
        evaluate(*factors, dataset.test, dataset.train + dataset.valid, config),
    )
    assert found["point"] == {"knows": "valid"}
    for part, values in (("warm", warm), ("test", test), ("valid", among_warm(factors, dataset, "valid", config))):
        assert found[part] == pytest.approx({key: np.nanmean(of_users) for key, of_users in values.items()})
    assert found["warm"] != pytest.approx(found["test"])
    users = np.flatnonzero((dataset.test.toarray() * dataset.train.toarray().any(axis=0)).any(axis=1))
    assert list(found["user_test"]) == [dataset.raw_user_ids[user] for user in users]
    assert list(found["user_test"].values()) == pytest.approx(warm["NDCG@20"].tolist())
    lists = rank_items(*factors, users, dataset.train + dataset.valid + dataset.excluded, 20, seed=config["seed"]).items
    assert found["beyond"] == pytest.approx(beyond_accuracy(lists, dataset.train, None))
