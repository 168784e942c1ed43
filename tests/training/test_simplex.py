"""The loss of SimpleX, beside one written pair by pair."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn.functional import cosine_similarity

from config import PRESETS, get_config
from data_loader import Dataset
from tests.helpers.training import CPU, built
from training import simplex
from training.simplex import simplex_batches

PLAIN = {
    **PRESETS["simplex"],
    "embedding_dim": 8,
    "batch_size": 30,
    "negatives": 12,
    "margin": 0.2,
    "reg_lambda": 0.01,
    "init_std": 0.1,
}


@pytest.mark.parametrize("most", [2**25, 70])
@pytest.mark.parametrize("more", [{}, {"num_layers": 0}, {"fusion_mode": "sum", "temperature": 0.5}])
def test_loss_and_gradients_are_those_of_the_published_form(
    more: dict[str, Any], most: int, cold: tuple[dict[str, Any], Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simplex, "MAX_SCORES", most)
    config, dataset = {**cold[0], **PLAIN, **more}, cold[1]
    model = built(dataset, config).double()
    loss_of, batches = simplex_batches(dataset.train, config, np.random.default_rng(0), CPU)
    user_ids, item_ids, places, _, seed = batches[0][0]
    drawn = torch.randint(len(item_ids), (30, 12), generator=torch.Generator().manual_seed(seed))

    def published() -> tuple[torch.Tensor, torch.Tensor]:
        final, id_rows = model(torch.arange(dataset.n_users + dataset.n_items))
        losses, lengths = [], []
        for place, item, negatives in zip(*places.tolist(), item_ids[drawn].tolist(), strict=True):
            user, positive = user_ids[place].item(), dataset.n_users + item_ids[item].item()
            cost = [
                torch.relu(cosine_similarity(final[user], final[dataset.n_users + negative], dim=0) - config["margin"])
                for negative in negatives
            ]
            losses.append(
                1
                - cosine_similarity(final[user], final[positive], dim=0)
                + config["negative_weight"] / len(cost) * sum(cost)
            )
            lengths.append(id_rows[user].square().sum() + id_rows[positive].square().sum())
        return torch.stack(losses).mean(), config["reg_lambda"] / 2 * torch.stack(lengths).mean()

    found = []
    for parts in (loss_of(model, *batches[0][0], config), published()):
        model.zero_grad()
        sum(parts).backward()
        found.append([*(part.detach() for part in parts), model.id_emb.grad.clone()])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_batches_are_the_train_pairs_against_the_catalogue() -> None:
    train = sp.csr_matrix(np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]], np.float32))
    _, batches = simplex_batches(train, {"batch_size": 3}, np.random.default_rng(0), CPU)
    pairs: list[tuple[int, int]] = []
    for (user_ids, item_ids, (of_users, of_items), _, _), weight in batches:
        assert item_ids.tolist() == [0, 2, 3]
        assert sorted(set(of_users.tolist())) == list(range(len(user_ids)))
        assert len(of_users) == weight
        pairs += zip(user_ids[of_users].tolist(), item_ids[of_items].tolist(), strict=True)
    assert sorted(pairs) == [(0, 0), (0, 2), (2, 2), (2, 3)]
    assert [weight for _, weight in batches] == [3, 1]


def test_lists_have_to_be_by_cosine_as_well() -> None:
    with pytest.raises(ValueError, match="--normalize true"):
        get_config({"loss": "simplex"})
