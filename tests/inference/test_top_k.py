"""Lists of titles: those of some candidates alone, and the file of new titles that a run writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import main
from data_loader import Dataset, load_dataset
from inference.top_k import recommend
from tests.helpers.data import dataset_of

SILENT = 3  # of the titles without a history, how many have no text


@pytest.fixture
def scored(config: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, Dataset]:
    """Vectors of 9 users and 12 titles, with pairs in every part."""
    rng = np.random.default_rng(0)
    part = rng.choice(7, size=(9, 12), p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    of = [sp.csr_matrix((part == code).astype(np.float32)) for code in range(1, 7)]
    dataset = dataset_of(of[0], valid=of[1], test=of[2], cold_valid=of[3], cold_test=of[4], excluded=of[5])
    users, items = (torch.from_numpy(rng.normal(size=(n, 4)).astype(np.float32)) for n in (9, 12))
    return users, items, dataset


@pytest.mark.parametrize("k", [1, 3, 12])
@pytest.mark.parametrize("candidates", [[1, 4, 5, 10], [7], list(range(12)), None], ids=["some", "one", "all", "none"])
def test_lists_hold_the_best_candidates_not_collected(
    scored: tuple[torch.Tensor, torch.Tensor, Dataset], k: int, candidates: list[int] | None, config: dict[str, Any]
) -> None:
    users, items, dataset = scored
    found = recommend(users, items, dataset, k, config, candidates=None if candidates is None else np.array(candidates))
    scores, seen = (users @ items.T).numpy(), dataset.seen.toarray() > 0
    assert list(found) == dataset.raw_user_ids
    for user, listed in enumerate(found.values()):
        order = [item for item in np.argsort(-scores[user]) if not seen[user, item]]
        best = [item for item in order if candidates is None or item in candidates][:k]
        assert [title["subject_id"] for title in listed] == [str(item) for item in best]
        assert [title["name"] for title in listed] == [dataset.item_names[item] for item in best]
        assert [title["score"] for title in listed] == pytest.approx(scores[user, best].tolist(), rel=1e-5)


def test_only_the_users_asked_for_get_a_list(
    scored: tuple[torch.Tensor, torch.Tensor, Dataset], config: dict[str, Any]
) -> None:
    everyone = recommend(*scored, 2, config, candidates=np.array([0, 3, 8, 9]))
    some = recommend(*scored, 2, config, np.array([2, 7]), np.array([0, 3, 8, 9]))
    assert list(some) == ["2", "7"]
    for user, listed in some.items():
        assert [title["subject_id"] for title in listed] == [title["subject_id"] for title in everyone[user]]


def test_of_no_candidates_the_lists_are_empty(
    scored: tuple[torch.Tensor, torch.Tensor, Dataset], config: dict[str, Any]
) -> None:
    found = recommend(*scored, 5, config, candidates=np.empty(0, np.int64))
    assert found == {str(user): [] for user in range(9)}


# --- the file of new titles ---


@pytest.fixture
def cold(config: dict[str, Any]) -> dict[str, Any]:
    """A config in which a third of the titles have no history, SILENT of them no text; lists could hold them all."""
    config |= {
        "cold_item_ratio": 0.34,
        "fusion_mode": "sum",
        "epochs": 1,
        "top_k": [3],
        "recommend_k": 10,
        "early_stop_metric": "NDCG@3",
        "min_rate": 3.0,
    }
    dataset, path = load_dataset(config), Path(config["data_dir"]) / "anime.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    for item in np.setdiff1d(np.arange(dataset.n_items), dataset.warm_items)[:SILENT]:
        lines[1 + item] = f"s{item}\t\t\t"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config


def new_titles(config: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    main.run(config)
    return json.loads((Path(config["saved_dir"]) / "new_titles.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("cold_cost", [1.0, 0.0])
def test_a_run_lists_all_new_titles_with_text_that_a_user_has_not(cold: dict[str, Any], cold_cost: float) -> None:
    found, dataset = new_titles({**cold, "cold_cost": cold_cost}), load_dataset(cold)
    has_text = np.array([bool(text) for text in dataset.item_texts])
    is_new = (np.asarray(dataset.train.sum(axis=0)).ravel() == 0) & has_text
    assert (~has_text).sum() == SILENT
    assert 5 <= is_new.sum() <= cold["recommend_k"], "a list has room for all of them"
    seen = dataset.seen.toarray() > 0
    for part in (dataset.cold_valid, dataset.cold_test, dataset.excluded):
        assert (part.toarray()[:, is_new] > 0).any()
    assert list(found) == dataset.raw_user_ids
    for user, listed in enumerate(found.values()):
        expected = {dataset.raw_item_ids[item] for item in np.flatnonzero(is_new & ~seen[user])}
        assert {title["subject_id"] for title in listed} == expected
        assert len(listed) == len(expected)
        assert [title["score"] for title in listed] == sorted((title["score"] for title in listed), reverse=True)


def test_the_best_of_them_come_first_by_the_saved_vectors(cold: dict[str, Any]) -> None:
    found, dataset = new_titles({**cold, "recommend_k": 2}), load_dataset(cold)
    users, items = (
        torch.load(Path(cold["saved_dir"]) / f"{side}_emb.pt", weights_only=True) for side in ("user", "item")
    )
    scores = (users @ items.T).numpy()
    is_new = (np.asarray(dataset.train.sum(axis=0)).ravel() == 0) & np.array([bool(t) for t in dataset.item_texts])
    scores[:, ~is_new] = -np.inf
    scores[dataset.seen.toarray() > 0] = -np.inf
    for row, listed in zip(scores, found.values(), strict=True):
        assert [title["score"] for title in listed] == pytest.approx(-np.sort(-row)[:2].astype(float), rel=1e-5)


@pytest.mark.parametrize("off", [{"fusion_mode": "none"}, {"use_item_llm": False}], ids=["no text", "users' text"])
def test_a_model_without_text_of_titles_knows_no_new_ones(cold: dict[str, Any], off: dict[str, Any]) -> None:
    found = new_titles({**cold, **off})
    assert len(found) == load_dataset(cold).n_users
    assert not any(found.values())


def test_a_list_longer_than_the_catalogue_is_refused(dataset: Dataset, config: dict[str, Any]) -> None:
    vectors = torch.ones(dataset.n_users, 3), torch.ones(dataset.n_items, 3)
    with pytest.raises(ValueError, match="cannot be made from a catalogue"):
        recommend(*vectors, dataset, dataset.n_items + 1, config)
