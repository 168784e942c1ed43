"""What a model starts from that goes on from an earlier one."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import Dataset
from llm_embedding import text_vectors
from tests.helpers.data import dataset_of
from training.model_factory import build_model
from training.update import Start, first_epoch, moved_weights, start_from


def random_dataset(n_users: int, n_items: int, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    return dataset_of(sp.csr_matrix((rng.random((n_users, n_items)) < 0.3).astype(np.float32)))


def taken(dataset: Dataset, users: np.ndarray, items: np.ndarray) -> Dataset:
    return dataset_of(sp.csr_matrix(dataset.train[users][:, items]))


@pytest.mark.parametrize("fusion_mode", ["none", "sum", "concat"])
def test_old_users_and_titles_have_the_vectors_they_had(fusion_mode: str, tmp_path: Any) -> None:
    """In a graph that stayed the same, in other rows, the final vectors are the same, too."""
    settings = {
        "fusion_mode": fusion_mode,
        "model_name": "lsa",
        "embedding_dim": 6,
        "saved_dir": str(tmp_path),
        "device": "cpu",
    }
    config, rng = get_config(settings), np.random.default_rng(1)
    now = random_dataset(12, 20)
    users, items = rng.permutation(12), rng.permutation(20)
    before = taken(now, users, items)
    models = []
    for dataset in (before, now):
        vectors = text_vectors(dataset, {**config, "saved_dir": str(tmp_path / str(len(models)))}, "cpu")
        models.append(build_model(dataset, vectors, config, torch.device("cpu")))
    earlier, model = models
    with torch.no_grad():
        for parameter in earlier.parameters():
            parameter.add_(torch.from_numpy(rng.normal(size=parameter.shape).astype(np.float32)) * 0.1)
    text = None
    if fusion_mode != "none":
        text = earlier.whole_item_text().numpy(), model.whole_item_text().numpy()[items]
    start_from(model, Start(earlier.state_dict(), users, items, text), now)
    for was, is_now, rows in zip(earlier.embeddings(), model.embeddings(), (users, items), strict=True):
        torch.testing.assert_close(is_now[torch.from_numpy(rows)], was, rtol=0.02, atol=0.02)


def test_the_first_pairs_of_users_and_titles_place_them(tmp_path: Any) -> None:
    config = get_config({"fusion_mode": "none", "embedding_dim": 4, "saved_dir": str(tmp_path), "device": "cpu"})
    now = random_dataset(10, 12)
    users, items = np.arange(8), np.arange(10)
    before, model = (
        build_model(dataset, text_vectors(dataset, config, "cpu"), config, torch.device("cpu"))
        for dataset in (taken(now, users, items), now)
    )
    start_from(model, Start(before.state_dict(), users, items, None), now)
    own, ids = before.id_emb.detach(), model.id_emb.detach()
    had = own.any(dim=1)
    torch.testing.assert_close(ids[:8][had[:8]], own[:8][had[:8]])
    torch.testing.assert_close(ids[10:20][had[8:]], own[8:][had[8:]])
    rarity = np.maximum(np.asarray(now.train.sum(axis=0)).ravel(), 1) ** -0.5
    expected = (now.train[8].toarray()[0] * rarity) @ ids[10:].numpy()
    mean = own[:8][had[:8]].norm(dim=1).mean()
    torch.testing.assert_close(ids[8].norm(), mean)
    cosine = torch.nn.functional.cosine_similarity(ids[8], torch.from_numpy(expected.astype(np.float32)), dim=0)
    assert cosine > 0.8  # titles that are new themselves have no part in it yet
    assert ids[8:10].any(dim=1).all()
    assert ids[20:].any(dim=1).all()


def test_new_users_of_new_titles_alone_are_not_at_zero(tmp_path: Any) -> None:
    """With vectors of 0 on both sides of a pair, a loss of cosines would never move either."""
    config = get_config({"fusion_mode": "none", "embedding_dim": 4, "saved_dir": str(tmp_path), "device": "cpu"})
    apart = np.zeros((10, 12), np.float32)
    apart[:8, :10] = random_dataset(8, 10).train.toarray()
    apart[8:, 10:] = 1
    now = dataset_of(sp.csr_matrix(apart))
    before, model = (
        build_model(dataset, text_vectors(dataset, config, "cpu"), config, torch.device("cpu"))
        for dataset in (taken(now, np.arange(8), np.arange(10)), now)
    )
    drawn = model.id_emb.detach().clone()
    start_from(model, Start(before.state_dict(), np.arange(8), np.arange(10), None), now)
    ids = model.id_emb.detach()
    for new in ids[[8, 9, 20, 21]]:  # two users, both with both of two titles
        assert torch.nn.functional.cosine_similarity(new, drawn[20:].sum(dim=0), dim=0) > 0.999
    torch.testing.assert_close(ids[[*range(8), *range(10, 20)]], before.id_emb.detach())


def test_weights_follow_their_texts_into_other_columns() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(40, 8)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
    weights = torch.from_numpy(rng.normal(size=(8, 3)).astype(np.float32))
    now = np.concatenate([before @ turn, 0.01 * rng.normal(size=(40, 2)).astype(np.float32)], axis=1)
    moved = moved_weights(weights, before, now)
    torch.testing.assert_close(torch.from_numpy(now) @ moved, torch.from_numpy(before) @ weights, rtol=0.01, atol=0.01)
    assert moved_weights(weights, before, before) is weights


def test_an_update_has_the_last_epochs_of_a_training() -> None:
    assert [first_epoch(last) for last in (1, 2, 3, 6, 20, 100)] == [0, 1, 1, 3, 13, 66]
