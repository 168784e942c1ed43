"""The loss of XSimGCL, beside one written layer by layer with autograd."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, logsigmoid

from config import PRESETS, get_config
from data_loader import Dataset
from model import LightGCN
from tests.helpers.training import CPU, built
from training.xsimgcl import info_nce, xsimgcl_batches

PLAIN = {**PRESETS["xsimgcl"], "embedding_dim": 8, "batch_size": 50, "reg_lambda": 0.01, "cl_weight": 0.3}


def of_layers(
    model: LightGCN, triples: list[list[int]], seed: int, config: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the loss and the penalty as published: dense, every layer kept, one node after the other."""
    adjacency, generator = model.norm_adj.to_dense(), torch.Generator().manual_seed(seed)
    layers = [model.id_emb]
    for _ in range(config["num_layers"]):
        h = adjacency @ layers[-1]
        drawn = torch.rand(h.shape, generator=generator, dtype=h.dtype)
        unit = drawn / drawn.square().sum(dim=1, keepdim=True).sqrt()
        layers.append(h + torch.sign(h) * unit * config["noise"])
    final, other = torch.stack(layers[0 if config["input_layer"] else 1 :]).mean(dim=0), layers[config["cl_layer"]]
    users, positives, negatives = triples
    terms = [
        -logsigmoid(final[u] @ final[model.n_users + i] - final[u] @ final[model.n_users + j])
        for u, i, j in zip(*triples, strict=True)
    ]
    loss = torch.stack(terms).mean()
    for nodes in (set(users), {model.n_users + item for item in positives}):
        contrasts = []
        for node in nodes:
            cosines = torch.stack([cosine_similarity(final[node], other[rival], dim=0) for rival in nodes])
            own = cosine_similarity(final[node], other[node], dim=0)
            shares = torch.exp(cosines / config["cl_temperature"])
            contrasts.append(-torch.log(torch.exp(own / config["cl_temperature"]) / shares.sum()))
        loss = loss + config["cl_weight"] * torch.stack(contrasts).mean()
    lengths = [model.id_emb[users], *(model.id_emb[model.n_users :][items] for items in (positives, negatives))]
    return loss, config["reg_lambda"] * sum(rows.square().sum() for rows in lengths) / (2 * len(users))


def triples_of(batch: tuple[Any, ...], n_users: int) -> list[list[int]]:
    nodes, places = batch[:2]
    users, *items = nodes[places].view(3, -1)
    return [users.tolist(), *((part - n_users).tolist() for part in items)]


@pytest.mark.parametrize(
    "more", [{}, {"num_layers": 3, "cl_layer": 2}, {"num_layers": 1}, {"noise": 0.0}, {"input_layer": True}]
)
def test_loss_and_gradients_are_those_of_the_published_form(
    more: dict[str, Any], dataset: Dataset, config: dict[str, Any]
) -> None:
    config = {**config, **PLAIN, **more}
    model = built(dataset, config).double()
    loss_of, batches = xsimgcl_batches(dataset.train, config, np.random.default_rng(0), CPU)
    batch = batches[0][0]
    found = []
    for parts in (
        loss_of(model, *batch, config),
        of_layers(model, triples_of(batch, model.n_users), batch[-1], config),
    ):
        model.zero_grad()
        sum(parts).backward()
        found.append([*(part.detach() for part in parts), model.id_emb.grad.clone()])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_batches_are_the_triples_of_an_epoch(dataset: Dataset, config: dict[str, Any]) -> None:
    _, batches = xsimgcl_batches(dataset.train, {"batch_size": 50}, np.random.default_rng(0), CPU)
    pairs: list[tuple[int, int]] = []
    for (nodes, places, (n_users, n_positives), _, _), weight in batches:
        users, positives, negatives = triples_of((nodes, places), dataset.n_users)
        assert len(users) == weight
        assert len(set(nodes.tolist())) == len(nodes)
        assert set(nodes[:n_users].tolist()) == set(users)
        assert set(nodes[n_users : n_users + n_positives].tolist()) == {dataset.n_users + item for item in positives}
        assert not any(dataset.train[user, item] for user, item in zip(users, negatives, strict=True))
        pairs += zip(users, positives, strict=True)
    assert sorted(pairs) == [tuple(pair) for pair in np.argwhere(dataset.train).tolist()]
    assert len({batch[-1] for batch, _ in batches}) == len(batches)  # noise is drawn anew for each step


def test_noise_is_of_the_training_alone(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, **PLAIN}
    model = built(dataset, config)
    loss_of, batches = xsimgcl_batches(dataset.train, config, np.random.default_rng(0), CPU)
    before = model.embeddings()
    one, again = (loss_of(model, *batches[0][0], config)[0].item() for _ in range(2))
    *batch, seed = batches[0][0]
    assert one == again != loss_of(model, *batch, seed + 1, config)[0].item()
    assert all(torch.equal(*pair) for pair in zip(before, model.embeddings(), strict=True))


def test_views_that_agree_cost_less_than_views_of_others() -> None:
    views = torch.eye(5)
    assert info_nce(views, views, 0.2).item() == pytest.approx(np.log(np.exp(5) + 4) - 5, rel=1e-5)
    assert info_nce(views, views.roll(1, 0), 0.2).item() == pytest.approx(np.log(np.exp(5) + 4), rel=1e-5)


def test_what_ranks_is_the_mean_of_the_layers_without_noise(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, **PLAIN, "num_layers": 3}
    model = built(dataset, config)
    layers = [model.id_emb.detach()]
    for _ in range(3):
        layers.append(model.norm_adj.to_dense() @ layers[-1])
    torch.testing.assert_close(torch.cat(model.embeddings()), torch.stack(layers[1:]).mean(dim=0))


def test_the_input_layer_stays_where_there_is_text_or_no_other_layer() -> None:
    for more in ({"fusion_mode": "sum"}, {"fusion_mode": "none", "num_layers": 0}):
        with pytest.raises(ValueError, match="input_layer false"):
            get_config({"input_layer": False, **more})


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="cl_layer is 3, but num_layers is 2"):
        get_config({"preset": "xsimgcl", "cl_layer": 3})
    assert get_config({"num_layers": 0})["cl_layer"] == 1  # of no meaning to other losses
