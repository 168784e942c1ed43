"""run_ablation.py: baselines are tuned on valid, fitted once and kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import run_ablation
from data_loader import Dataset, load_dataset
from evaluation import baseline_search
from evaluation.baseline_inputs import Fit, Inputs
from evaluation.baselines import BASELINES, GRIDS
from evaluation.list_metrics import beyond_accuracy
from evaluation.ranking import rank_items
from evaluation.tastes import pairs_by_taste
from evaluation.tuned_baselines import fitted, text_for, tuned
from evaluator import evaluate, means
from llm_embedding import TextVectors
from run_ablation import baseline_row
from tests.helpers.ablations import among_warm, read
from tests.helpers.data import dataset_of
from tests.helpers.factors import made
from tests.helpers.rankings import of_all_pairs

NO_TEXT = TextVectors(None, None, {"used": None, "dim": 0, "digest": None})


# --- baselines ---


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A baseline whose grid holds an oracle of every part, in the order train, test, valid, cold_test."""
    monkeypatch.setitem(GRIDS, "planted", {"knows": ("train", "test", "valid", "cold_test")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda inputs, knows: Fit(
            lambda rows: torch.from_numpy(getattr(inputs.dataset, knows).toarray()), torch.eye(inputs.dataset.n_items)
        ),
    )
    monkeypatch.setattr(baseline_search, "POPULARITY_WEIGHTS", (0.0,))
    return "planted"


def test_a_baseline_is_tuned_on_valid_alone(planted: str, config: dict[str, Any]) -> None:
    dataset = load_dataset({**config, "test_ratio": 0.4})  # so much that it outweighs valid where both are looked at
    (user_emb, _), found = tuned(planted, dataset, None, config)
    assert found["point"] == {"popularity": 0.0, "knows": "valid"}
    user_emb = user_emb[:, :-1]  # without popularity
    np.testing.assert_array_equal(user_emb.numpy(), dataset.valid.toarray())
    assert found["valid"]["NDCG@20"] == 1
    oracle = (torch.from_numpy(dataset.test.toarray()), torch.eye(dataset.n_items))
    known = dataset.train + dataset.valid
    ours = evaluate(user_emb, torch.eye(dataset.n_items), dataset.test, known, config)["NDCG@20"].mean()
    assert evaluate(*oracle, dataset.test, known, config)["NDCG@20"].mean() == 1 > ours


def test_a_baseline_is_tuned_by_the_early_stop_metric(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    """A list with both targets far down wins by Recall@4, one with a target on top by Hit@1."""
    target = sp.csr_matrix(np.array([[1, 1, 0, 0, 0, 0], [0] * 6], np.float32))
    nothing = sp.csr_matrix((2, 6), dtype=np.float32)
    scores = {"deep": [1.0, 2, 5, 4, 0, 0], "top": [9.0, 0, 5, 4, 3, 2]}
    monkeypatch.setitem(GRIDS, "planted", {"which": ("deep", "top")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda inputs, which: Fit(lambda rows: torch.tensor([scores[which], [0.0] * 6]), torch.eye(6)),
    )
    monkeypatch.setattr(baseline_search, "POPULARITY_WEIGHTS", (0.0,))
    # a second user has collected the titles that the first one has not
    toy = dataset_of(sp.csr_matrix(np.array([[0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]], np.float32)), valid=target)
    monkeypatch.setattr(Dataset, "masked_for", lambda self, part: nothing)
    for metric, which in (("Recall@4", "deep"), ("Hit@1", "top")):
        settings = {**config, "top_k": [1, 4], "early_stop_metric": metric}
        assert tuned("planted", toy, None, settings).found["point"]["which"] == which


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
    """Content is made of the vectors; of the others, only the Diversity of the lists is measured again with them."""
    names = ["popularity", "content_cosine", "content_whitened"]
    of_text = names[1:]
    for used, digest, expected in (
        ("one", "first", names),
        ("one", "first", []),
        ("two", "first", of_text),
        ("two", "second", of_text),
    ):
        fits.clear()
        seed = digest == "second"  # the digest says what is in the vectors
        items = np.random.default_rng(int(seed)).normal(size=(dataset.n_items, 5)).astype(np.float32)
        vectors = TextVectors(items, None, {"used": used, "dim": 5, "digest": digest})
        found = {name: baseline_row(name, tmp_path / name, dataset, vectors, config, False) for name in names}
        assert fits == expected
        assert [found[name]["encoder"]["used"] for name in names] == [None, used, used]
        known, users = dataset.masked_for("test"), np.flatnonzero(np.diff(dataset.test.indptr))
        lists = rank_items(
            *made(BASELINES["popularity"], Inputs(dataset, None)), users, known, 20, seed=config["seed"]
        ).items
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
    assert found["point"] == {"popularity": 0.0, "knows": "valid"}
    for part, values in (("warm", warm), ("test", test), ("valid", among_warm(factors, dataset, "valid", config))):
        assert of_all_pairs(found[part]) == pytest.approx(
            {key: np.nanmean(of_users) for key, of_users in values.items()}
        )
    assert found["warm"] != pytest.approx(found["test"])
    users = np.flatnonzero((dataset.test.toarray() * dataset.train.toarray().any(axis=0)).any(axis=1))
    assert list(found["user_test"]) == [dataset.raw_user_ids[user] for user in users]
    assert list(found["user_test"].values()) == pytest.approx(warm["NDCG@20"].tolist())
    liked = pairs_by_taste(dataset, dataset.warm_pairs("test"))["liked"]
    assert list(found["user_liked"]) == [dataset.raw_user_ids[user] for user in np.unique(liked.nonzero()[0])]
    assert np.mean(list(found["user_liked"].values())) == pytest.approx(found["rated"]["liked"]["NDCG@20"])
    lists = rank_items(*factors, users, dataset.train + dataset.valid + dataset.excluded, 20, seed=config["seed"]).items
    assert found["beyond"] == pytest.approx(beyond_accuracy(lists, dataset.train, None))


def test_without_texts_at_hand_a_finished_baseline_stays_with_its_diversity(
    fits: list[str], tmp_path: Path, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are not encoded for the Diversity of lists alone; once they are, it is measured without tuning again."""
    items = np.random.default_rng(0).normal(size=(dataset.n_items, 5)).astype(np.float32)
    texts = TextVectors(items, None, {"used": "one", "dim": 5, "digest": "first"})
    alone = baseline_row("ease", tmp_path / "ease", dataset, NO_TEXT, config, False)
    assert "Diversity" not in alone["beyond"]
    with_text = baseline_row("ease", tmp_path / "ease", dataset, texts, config, False)
    assert "Diversity" in with_text["beyond"]
    assert {**with_text, "beyond": 0, "text": 0} == {**alone, "beyond": 0, "text": 0}
    assert fits == ["ease"]
    monkeypatch.setattr(run_ablation, "fitted", lambda *args: pytest.fail("fitted again"))
    assert baseline_row("ease", tmp_path / "ease", dataset, NO_TEXT, config, False) == with_text


@pytest.mark.parametrize("name", ["popularity", "edlae", "ease_text", "content_cosine"])
def test_a_refitted_baseline_learns_from_valid_too_and_is_measured_with_that(
    name: str, tmp_path: Path, config: dict[str, Any], cold_dataset: Dataset
) -> None:
    config = {**config, "cold_item_ratio": 0.2, "split_seed": 1, "min_rate": 3.0, "refit_valid": True, "cold_cost": 0.1}
    tested = load_dataset(config)
    learnt = cold_dataset.train + cold_dataset.valid + cold_dataset.cold_valid
    assert (tested.train != learnt).nnz == 0
    items = np.random.default_rng(0).normal(size=(cold_dataset.n_items, 5)).astype(np.float32)
    users = np.zeros((cold_dataset.n_users, 5), np.float32)
    texts = TextVectors(items, users, {"used": "one", "dim": 5, "digest": "first"})
    first, refitted = (
        baseline_row(
            name, tmp_path / str(number), cold_dataset, texts, {**config, "refit_valid": number == 1}, False, data
        )
        for number, data in enumerate((None, tested))
    )
    for key in ("valid", "point", "decided", "tried"):
        assert refitted[key] == first[key], key
    factors = fitted(name, tested, text_for(name, texts), config, first["decided"])
    assert refitted["test"] == means(evaluate(*factors, cold_dataset.test, learnt, config)) != first["test"]
    assert list(refitted["user_test"]) == [
        cold_dataset.raw_user_ids[user] for user in np.flatnonzero(np.diff(tested.warm_pairs("test").indptr))
    ]
    again = baseline_row(name, tmp_path / "1", cold_dataset, texts, config, False, tested)
    assert again == refitted
