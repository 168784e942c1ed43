"""What rates change in training: the weights of pairs in the losses, in the graph and in the start."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Dataset, normalized_adjacency
from model import Propagate
from tests.helpers.graphs import dense_adjacency
from tests.helpers.training import CPU, built, check_gradients, fitted
from training import epoch as training_epoch
from training.bpr import bpr_loss
from training.closed_form import normalized
from training.losses import BATCHES, epoch_batches
from training.model_factory import svd_start
from training.steps import mean_of_pairs
from training.user_rows import weighted_train, with_values

each_loss = pytest.mark.parametrize("loss", BATCHES)
# with these the vectors that xsimgcl compares are those of bpr
PLAIN = {"noise": 0.0, "cl_weight": 0.0, "hard_negatives": 1, "negatives": 6, "margin": -0.2, "batch_size": 23}


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    """Settings with which every loss is allowed, and rates weigh pairs."""
    more = {"normalize": True, "fusion_mode": "sum", "num_layers": 2, "init_std": 1.0, "rating_weight": 0.8}
    return {**config, **more, **PLAIN}


@pytest.fixture
def weighted(dataset: Dataset, config: dict[str, Any]) -> sp.csr_matrix:
    return weighted_train(dataset, config["rating_weight"])


def test_pairs_count_by_how_their_users_rated_them(dataset: Dataset, weighted: sp.csr_matrix) -> None:
    scores = dict(zip(map(tuple, np.argwhere(dataset.train)), dataset.scores_of(dataset.train), strict=True))
    expected = {pair: min(max(1 + 0.8 * score, 0), 3) for pair, score in scores.items()}
    found = dict(zip(map(tuple, np.argwhere(dataset.train)), weighted.data, strict=True))
    assert found == pytest.approx(expected)
    assert min(weighted.data) == 0 < 1 < max(weighted.data)
    assert weighted.nnz == dataset.train.nnz


@pytest.mark.parametrize("rating_weight", [0.0, -1.0])
def test_where_rates_decide_nothing_or_are_still_open_train_stays(dataset: Dataset, rating_weight: float) -> None:
    assert weighted_train(dataset, rating_weight) is dataset.train


# --- losses ---


def costs_by_hand(
    loss: str, batch: tuple[Any, ...], final: np.ndarray, n_users: int, config: dict[str, Any]
) -> tuple[list[tuple[int, int]], list[float], float]:
    """Return the pairs of a batch, what each costs, and what the batch costs beside; one pair after the other."""
    users, items = final[:n_users], final[n_users:]
    if loss == "softmax":
        mine, catalogue, (of_users, of_items) = (part.numpy() for part in batch[:3])
        pairs = [(mine[u], catalogue[i]) for u, i in zip(of_users, of_items, strict=True)]
        return (
            pairs,
            [np.log(np.exp(users[u] @ items[catalogue].T).sum()) - users[u] @ items[i] for u, i in pairs],
            0.0,
        )
    if loss == "simplex":
        mine, catalogue, (of_users, of_items) = (part.numpy() for part in batch[:3])
        pairs = [(mine[u], catalogue[i]) for u, i in zip(of_users, of_items, strict=True)]
        size = len(pairs), config["negatives"]
        drawn = torch.randint(len(catalogue), size, generator=torch.Generator().manual_seed(batch[-1])).numpy()
        unit = final / np.linalg.norm(final, axis=1, keepdims=True)
        users, items = unit[:n_users], unit[n_users:]
        beside = [
            max(users[u] @ items[catalogue[j]] - config["margin"], 0)
            for (u, _), row in zip(pairs, drawn, strict=True)
            for j in row
        ]
        return pairs, [1 - users[u] @ items[i] for u, i in pairs], config["negative_weight"] * np.mean(beside)
    if loss == "bpr":
        triples = [part.tolist() for part in batch[:3]]
    else:
        own, liked, others = batch[0][batch[1]].view(3, -1)
        triples = [own.tolist(), (liked - n_users).tolist(), (others - n_users).tolist()]
    costs = [np.log1p(np.exp(users[u] @ items[j] - users[u] @ items[i])) for u, i, j in zip(*triples, strict=True)]
    return list(zip(*triples[:2], strict=True)), costs, 0.0


@each_loss
def test_a_loss_is_the_mean_of_its_pairs_each_counting_its_weight(
    loss: str, dataset: Dataset, weighted: sp.csr_matrix, config: dict[str, Any]
) -> None:
    config = {**config, "loss": loss}
    model = built(dataset, config).double()
    final = model(torch.arange(dataset.n_users + dataset.n_items))[0].detach().numpy()
    loss_of, batches = epoch_batches(weighted, config, np.random.default_rng(0), CPU)
    counts, total = weighted.toarray(), 0
    for batch, n_pairs in batches:
        pairs, costs, beside = costs_by_hand(loss, batch, final, dataset.n_users, config)
        mine = np.array([counts[pair] for pair in pairs])
        expected = (mine * costs).sum() / mine.sum() + beside
        assert loss_of(model, *batch, config)[0].item() == pytest.approx(expected, rel=1e-6)
        assert expected != pytest.approx(np.mean(costs) + beside, rel=1e-4)
        total += n_pairs
    assert total == dataset.train.nnz


@each_loss
def test_where_all_count_one_a_batch_has_no_weights(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    """Then a loss has the bits that it always had; weights of ones would cost the same but for rounding."""
    config = {**config, "loss": loss, "rating_weight": 0.0}
    model = built(dataset, config).double()
    loss_of, batches = epoch_batches(dataset.train, config, np.random.default_rng(0), CPU)
    for batch, n_pairs in batches:
        [place] = [number for number, part in enumerate(batch) if part is None]
        n = len(batch[0]) if loss == "bpr" else n_pairs
        ones = (*batch[:place], torch.ones(n), *batch[place + 1 :])
        found = [loss_of(model, *some, config)[0].item() for some in (batch, ones)]
        assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_a_batch_of_pairs_that_count_nothing_costs_nothing(dataset: Dataset, config: dict[str, Any]) -> None:
    model, some = built(dataset, config), torch.arange(5)
    loss, _ = bpr_loss(model, some, some, some + 1, torch.zeros(5), config)
    loss.backward()
    assert loss.item() == 0
    assert not model.id_emb.grad.any()
    assert mean_of_pairs(torch.ones(3), torch.tensor([0.0, 2.0, 3.0])).item() == 1


@each_loss
def test_gradients_through_a_weighted_graph_are_those_of_finite_differences(
    loss: str, dataset: Dataset, weighted: sp.csr_matrix, config: dict[str, Any]
) -> None:
    config = {**config, "loss": loss, "fusion_mode": "concat", "noise": 0.1, "cl_weight": 0.2}
    model = built(dataset, config).double()
    loss_of, batches = epoch_batches(weighted, config, np.random.default_rng(0), CPU)

    def total() -> torch.Tensor:
        return sum(loss_of(model, *batches[0][0], config))

    check_gradients(model, total)


# --- the graph and the start ---


def drawn_weights(seed: int = 0) -> sp.csr_matrix:
    """Draw weights of pairs, some of them 0; those of a user and of a title are all 0, and another user has no pair."""
    rng = np.random.default_rng(seed)
    train = sp.csr_matrix((rng.random((9, 7)) < 0.5).astype(np.float32))
    values = rng.choice([0, 0.25, 0.6, 1, 3], train.nnz)
    weights = with_values(train, values)
    weights.data[weights.indptr[2] : weights.indptr[3]] = 0
    weights.data[weights.indices == 4] = 0
    assert weights.indptr[3] > weights.indptr[2]
    return weights


def test_the_graph_is_that_of_the_weights_and_symmetric() -> None:
    weights = drawn_weights()
    n_users, dense = weights.shape[0], weights.toarray().astype(np.float64)
    expected = np.zeros((16, 16))
    for user, item in np.argwhere(dense):
        value = dense[user, item] / np.sqrt(dense[user].sum() * dense[:, item].sum())
        expected[user, n_users + item] = expected[n_users + item, user] = value
    norm_adj = normalized_adjacency(weights)
    found = norm_adj.to_dense().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.array_equal(found, found.T)
    assert norm_adj.values().isfinite().all()
    np.testing.assert_allclose(normalized(weights).toarray(), expected[:n_users, n_users:], rtol=1e-5)


def test_a_node_with_pairs_has_edges_whatever_they_count(dataset: Dataset) -> None:
    weights = drawn_weights()
    degrees = np.concatenate([np.diff(weights.indptr), np.bincount(weights.indices, minlength=7)])
    assert normalized_adjacency(weights).crow_indices().diff().tolist() == degrees.tolist()


def test_a_graph_of_ones_has_the_bits_that_it_had(dataset: Dataset) -> None:
    train = dataset.train
    scale = [1 / np.sqrt(np.maximum(np.diff(part.indptr), 1)) for part in (train, train.T.tocsr())]
    before = np.repeat(scale[0], np.diff(train.indptr)) * scale[1][train.indices]
    assert np.array_equal(normalized_adjacency(train).values()[: train.nnz].numpy(), before.astype(np.float32))
    np.testing.assert_allclose(normalized_adjacency(train).to_dense(), dense_adjacency(train), rtol=1e-6)


@pytest.mark.parametrize("num_layers", [1, 3])
def test_the_backward_pass_of_a_weighted_graph_is_propagation(num_layers: int) -> None:
    norm_adj = normalized_adjacency(drawn_weights()).to(torch.float64)
    x, rows = torch.randn(16, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 3, 9, 13])
    assert torch.autograd.gradcheck(lambda x: Propagate.apply(x, norm_adj, num_layers, True, rows), (x,))


def test_the_svd_start_is_that_of_the_weighted_matrix(dataset: Dataset, weighted: sp.csr_matrix) -> None:
    start, rank = svd_start(weighted, 6), 6
    dense = normalized(weighted).toarray().astype(np.float64)
    u, s, vt = np.linalg.svd(dense, full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ vt[:rank]
    found = (start[: dataset.n_users] @ start[dataset.n_users :].T).numpy()
    assert np.abs(found - best).max() < 0.05
    assert np.linalg.norm(dense - found) < 1.01 * np.linalg.norm(dense - best)


# --- whole models ---


def with_rates(dataset: Dataset, part: str, rate: float) -> Dataset:
    """Return the data with this rate for every second pair of a part."""
    keys, rates = set(map(tuple, np.argwhere(getattr(dataset, part))[::2].tolist())), dataset.rates.copy()
    rates[[pair in keys for pair in map(tuple, np.argwhere(dataset.seen).tolist())]] = rate
    assert not np.array_equal(rates, dataset.rates)
    return dataclasses.replace(dataset, rates=rates)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_held_out_rates_change_no_vector(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "loss": loss, "epochs": 2, "lr": 0.05, "init": "svd", "rating_weight": 0.5}
    vectors = []
    for part in (None, "test", "valid", "train"):
        other = with_rates(dataset, part, 10.0) if part else dataset
        own = {**config, "saved_dir": f"{config['saved_dir']}/{part}"}
        vectors.append(torch.cat(fitted(other, own)[0].embeddings()))
    assert torch.equal(vectors[0], vectors[1])
    assert torch.equal(vectors[0], vectors[2])
    assert not torch.allclose(vectors[0], vectors[3])


def test_pairs_that_were_disliked_vanish_from_losses_and_graph(dataset: Dataset, config: dict[str, Any]) -> None:
    """A user's disliked titles are no negatives of theirs either, so triples are not compared."""
    config = {**config, "loss": "softmax", "rating_weight": 1.0, "batch_size": 1000}
    weighted = weighted_train(dataset, 1.0)
    left = weighted.copy()
    left.eliminate_zeros()
    assert dataset.train.nnz - left.nnz > 20
    assert set(left.indices) == set(weighted.indices)  # each title is still liked by somebody: the same catalogue
    model, found = built(dataset, config), []
    for train in (weighted, left):
        model.norm_adj = normalized_adjacency(train)
        model.zero_grad()
        loss_of, [(batch, _)] = epoch_batches(train, config, np.random.default_rng(0), CPU)
        loss_of(model, *batch, config)[0].backward()
        found.append(torch.cat([*model.embeddings(), model.id_emb.grad]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_weights_reach_the_graph_the_start_and_the_steps(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "init": "svd", "loss": "softmax"}
    plain, rated = (built(dataset, {**config, "rating_weight": weight}) for weight in (0.0, 0.8))
    weighted = weighted_train(dataset, 0.8)
    assert torch.equal(rated.norm_adj.to_dense(), normalized_adjacency(weighted).to_dense())
    start = svd_start(weighted, config["embedding_dim"])
    assert torch.equal(rated.id_emb, start * (config["init_std"] / start.std()))
    assert not torch.allclose(plain.id_emb, rated.id_emb)
    assert torch.equal(plain.is_cold, rated.is_cold)


@pytest.mark.parametrize("rating_weight", [0.0, 0.8])
def test_an_epoch_draws_its_batches_from_the_weighted_pairs(
    rating_weight: float, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_from: list[sp.csr_matrix] = []

    def recorded(train: sp.csr_matrix, *args: Any) -> Any:
        drawn_from.append(train)
        return epoch_batches(train, *args)

    monkeypatch.setattr(training_epoch, "epoch_batches", recorded)
    fitted(dataset, {**config, "rating_weight": rating_weight, "epochs": 1})
    [train] = drawn_from
    assert np.array_equal(train.data, weighted_train(dataset, rating_weight).data)
    assert np.array_equal(train.indices, dataset.train.indices)
