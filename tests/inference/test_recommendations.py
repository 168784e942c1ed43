"""Lists of a model: unseen titles, best first."""

import json

import numpy as np
import pytest
import torch

from data_loader import Dataset
from inference.top_k import recommend
from tests.helpers.rankings import settings


def random_vectors(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(dataset.n_users, 6, generator=generator), torch.randn(dataset.n_items, 6, generator=generator))


def test_recommendations_are_unseen_titles_with_their_names_and_scores(dataset: Dataset) -> None:
    user_emb, item_emb = random_vectors(dataset)
    lists = recommend(user_emb, item_emb, dataset, 8, settings())
    assert list(lists) == dataset.raw_user_ids
    scores, seen = (user_emb @ item_emb.T).numpy(), dataset.seen.toarray()
    for user, titles in enumerate(lists.values()):
        items = [dataset.raw_item_ids.index(title["subject_id"]) for title in titles]
        assert not seen[user, items].any()
        assert [title["name"] for title in titles] == [dataset.item_names[item] for item in items]
        assert [title["score"] for title in titles] == pytest.approx(scores[user, items].tolist(), rel=1e-5, abs=1e-6)
        unseen = np.where(seen[user] > 0, -np.inf, scores[user])
        assert items == np.argsort(-unseen)[:8].tolist()


def test_held_out_titles_are_not_recommended_back(dataset: Dataset) -> None:
    lists = recommend(*random_vectors(dataset), dataset, dataset.n_items, settings())
    for user, titles in enumerate(lists.values()):
        items = {dataset.raw_item_ids.index(title["subject_id"]) for title in titles}
        assert items == set(range(dataset.n_items)) - set(dataset.seen[user].indices)
        assert items.isdisjoint(dataset.test[user].indices)


def test_recommendations_for_some_users_are_theirs_and_plain_json(dataset: Dataset) -> None:
    vectors = random_vectors(dataset)
    everyone = recommend(*vectors, dataset, 5, settings())
    some = recommend(*vectors, dataset, 5, settings(), np.array([3, 7]))
    chosen = [dataset.raw_user_ids[user] for user in (3, 7)]
    assert list(some) == chosen
    for user in chosen:
        assert [title["subject_id"] for title in some[user]] == [title["subject_id"] for title in everyone[user]]
    assert json.loads(json.dumps(some)) == some
    assert all(set(title) == {"subject_id", "name", "score"} for titles in some.values() for title in titles)
