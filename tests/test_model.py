"""LightGCN against a plain dense implementation, in values and in gradients."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import dataset_of

from config import get_config
from data_loader import normalized_adjacency
from model import UNLISTED, LightGCN, propagate, spmm
from runtime import distributed
from training.epoch import train_epoch
from training.losses import bpr_loss, id_dropout, sample_triples
from training.optimizer import adam

N_USERS, N_ITEMS, DIM, TEXT_DIM = 7, 9, 5, 70
N_NODES = N_USERS + N_ITEMS
COLD_USER, COLD_ITEMS = 6, (4, 8)
COLD_NODES = [COLD_USER, *(N_USERS + item for item in COLD_ITEMS)]
TEXTLESS = [COLD_USER, N_USERS + 2, N_USERS + COLD_ITEMS[1]]  # without text in a mixed catalogue
FUSIONS = ("none", "sum", "concat")
SIDES = {"user": (True, False), "item": (False, True), "both": (True, True)}


@pytest.fixture
def float64() -> Iterator[None]:
    """Let everything a test makes be double precision, so that only a wrong formula can show."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def toy_train() -> sp.csr_matrix:
    """Return a random train matrix in which one user and two items have no pair."""
    dense = (np.random.default_rng(3).random((N_USERS, N_ITEMS)) < 0.45).astype(np.float32)
    dense[COLD_USER] = 0
    dense[:, COLD_ITEMS] = 0
    dense[0, 0] = dense[1, 0] = 1
    return sp.csr_matrix(dense)


def dense_adjacency(train: sp.csr_matrix) -> np.ndarray:
    """Return A from the definition: 1 / sqrt(|N_u| |N_i|) wherever u collected i, float64."""
    pairs = train.toarray()
    n_users, n_items = pairs.shape
    adjacency = np.zeros((n_users + n_items,) * 2)
    for user, item in np.argwhere(pairs):
        value = 1 / np.sqrt(pairs[user].sum() * pairs[:, item].sum(), dtype=np.float64)
        adjacency[user, n_users + item] = adjacency[n_users + item, user] = value
    return adjacency


def to_csr(dense: torch.Tensor) -> torch.Tensor:
    csr = dense.to_sparse_csr()
    return torch.sparse_csr_tensor(
        csr.crow_indices().int(), csr.col_indices().int(), csr.values(), size=dense.shape, check_invariants=True
    )


def text_of(sides: tuple[bool, bool]) -> torch.Tensor:
    """Return text vectors (N, L) with rows of zeros on a side that is off."""
    text = torch.randn(N_NODES, TEXT_DIM, generator=torch.Generator().manual_seed(5))
    text[:N_USERS] *= sides[0]
    text[N_USERS:] *= sides[1]
    return text


def mixed_text() -> torch.Tensor:
    """Return text vectors (N, L) of which a user without edges, and an item with and one without edges have none."""
    text = text_of((True, True))
    text[TEXTLESS] = 0
    return text


def build(
    num_layers: int,
    fusion: str,
    text: torch.Tensor | None,
    seed: int = 0,
    train: sp.csr_matrix | None = None,
    **more: Any,
) -> LightGCN:
    """Build a model on the toy graph (or that of train), in the default dtype."""
    dense = torch.from_numpy(dense_adjacency(toy_train() if train is None else train))
    return LightGCN(
        to_csr(dense.to(torch.get_default_dtype())),
        N_USERS,
        DIM,
        num_layers,
        fusion,
        text,
        0.1,
        torch.Generator().manual_seed(seed),
        **more,
    ).to(torch.get_default_dtype())


def randomize(model: LightGCN) -> LightGCN:
    """Give every parameter random values, for an identity or a bias of zero would hide what it does."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def reference(
    parameters: dict[str, torch.Tensor], num_layers: int, fusion: str, text: torch.Tensor | None
) -> torch.Tensor:
    """Return the final vectors (N, D) by the book: fuse first, then average A^k E0 over k = 0 .. K."""
    adjacency = torch.from_numpy(dense_adjacency(toy_train())).to(torch.get_default_dtype())
    ids = parameters["id_emb"]
    if fusion == "none" or text is None:
        layer = ids
    elif fusion == "sum":
        layer = ids + text @ parameters["text_weight"]
    else:
        stacked = torch.cat([parameters["id_weight"], parameters["text_weight"]])
        layer = torch.cat([ids, text], dim=1) @ stacked + parameters["bias"]
    layers = [layer]
    for _ in range(num_layers):
        layers.append(adjacency @ layers[-1])
    return torch.stack(layers).mean(dim=0)


def copies(model: LightGCN) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone().requires_grad_() for name, parameter in model.named_parameters()}


def assert_same_gradients(model: LightGCN, parameters: dict[str, torch.Tensor], tolerance: float = 1e-10) -> None:
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, parameters[name].grad, rtol=tolerance, atol=tolerance, msg=name)


# --- values and gradients ---


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_values_and_gradients_equal_the_dense_reference(fusion: str, sides: tuple[bool, bool], num_layers: int) -> None:
    text = text_of(sides)
    model = randomize(build(num_layers, fusion, text))
    parameters = copies(model)
    nodes = torch.randperm(N_NODES, generator=torch.Generator().manual_seed(2))[:10]
    weight = torch.randn(10, DIM, generator=torch.Generator().manual_seed(4))
    final, _ = model(nodes)
    expected = reference(parameters, num_layers, fusion, text)
    torch.testing.assert_close(final, expected[nodes], rtol=1e-10, atol=1e-10)
    (final * weight).sum().backward()
    (expected[nodes] * weight).sum().backward()
    assert_same_gradients(model, parameters)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_embeddings_are_the_reference_parted_into_users_and_items(
    fusion: str, sides: tuple[bool, bool], num_layers: int
) -> None:
    text = text_of(sides)
    model = randomize(build(num_layers, fusion, text))
    user_emb, item_emb = model.embeddings()
    assert user_emb.shape == (N_USERS, DIM)
    assert item_emb.shape == (N_ITEMS, DIM)
    expected = reference(copies(model), num_layers, fusion, text)
    torch.testing.assert_close(torch.cat([user_emb, item_emb]), expected.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_float32_on_the_graph_of_the_data_loader_equals_the_reference(fusion: str) -> None:
    text = text_of((True, True))
    model = randomize(LightGCN(normalized_adjacency(toy_train()), N_USERS, DIM, 2, fusion, text))
    parameters = copies(model)
    nodes = torch.tensor([0, 8, 6, 15, 3, 0])
    final, _ = model(nodes)
    expected = reference(parameters, 2, fusion, text)[nodes]
    torch.testing.assert_close(final, expected, rtol=1e-5, atol=1e-5)
    final.square().sum().backward()
    expected.square().sum().backward()
    assert_same_gradients(model, parameters, 1e-4)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", FUSIONS)
def test_without_layers_it_is_matrix_factorisation(fusion: str) -> None:
    text = text_of((True, True))
    model = randomize(build(0, fusion, text))
    ids = model.id_emb.detach()
    expected = {
        "none": lambda: ids,
        "sum": lambda: ids + text @ model.text_weight,
        "concat": lambda: ids @ model.id_weight + text @ model.text_weight + model.bias,
    }[fusion]()
    torch.testing.assert_close(torch.cat(model.embeddings()), expected.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", FUSIONS)
def test_without_text_every_fusion_is_plain_lightgcn(fusion: str) -> None:
    plain, model = build(2, "none", None), build(2, fusion, None)
    assert [name for name, _ in model.named_parameters()] == ["id_emb"]
    for ours, theirs in zip(model.embeddings(), plain.embeddings(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    expected = reference(copies(model), 2, "none", None).detach()
    torch.testing.assert_close(torch.cat(model.embeddings()), expected)


@pytest.mark.usefixtures("float64")
def test_fusion_none_pays_no_attention_to_text() -> None:
    with_text, without = build(2, "none", text_of((True, True))), build(2, "none", None)
    assert [name for name, _ in with_text.named_parameters()] == ["id_emb"]
    torch.testing.assert_close(with_text.embeddings(), without.embeddings(), rtol=0, atol=0)


# --- forward ---


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", FUSIONS)
def test_forward_gives_rows_of_embeddings_in_the_order_asked_for(fusion: str) -> None:
    model = randomize(build(2, fusion, text_of((True, True))))
    nodes = torch.tensor([15, 0, 6, 0, 7, 15, 15])
    final, ids = model(nodes)
    torch.testing.assert_close(final, torch.cat(model.embeddings())[nodes], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ids, model.id_emb[nodes], rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradients_of_repeated_nodes_add_up(fusion: str) -> None:
    text = text_of((True, True))
    model = randomize(build(2, fusion, text))
    parameters = copies(model)
    nodes = torch.tensor([2, 2, 9, 2, 9, 0])
    weight = torch.randn(6, DIM, generator=torch.Generator().manual_seed(4))
    final, ids = model(nodes)
    (final * weight).sum().add((ids * weight.square()).sum()).backward()
    (reference(parameters, 2, fusion, text)[nodes] * weight).sum().backward()
    (parameters["id_emb"][nodes] * weight.square()).sum().backward()
    assert_same_gradients(model, parameters)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradient_of_the_id_vectors_alone_arrives_unpropagated(fusion: str, num_layers: int) -> None:
    model = randomize(build(num_layers, fusion, text_of((True, True))))
    nodes = torch.tensor([1, 12, 1])
    weight = torch.randn(3, DIM, generator=torch.Generator().manual_seed(4))
    _, ids = model(nodes)
    (ids * weight).sum().backward()
    expected = torch.zeros(N_NODES, DIM)
    expected[1], expected[12] = weight[0] + weight[2], weight[1]
    torch.testing.assert_close(model.id_emb.grad, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_gradient_passes_the_numerical_check() -> None:
    model = build(3, "concat", text_of((True, True)))
    nodes = torch.tensor([0, 9, 6, 9])

    def both(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.func.functional_call(model, {"id_emb": ids}, (nodes,))

    assert torch.autograd.gradcheck(both, (torch.randn(N_NODES, DIM, requires_grad=True),))


def test_embeddings_record_no_gradient_and_follow_the_weights() -> None:
    model = build(2, "concat", text_of((True, True)))
    before = torch.cat(model.embeddings())
    assert not before.requires_grad
    with torch.no_grad():
        model.id_emb.mul_(2)
    assert not torch.equal(before, torch.cat(model.embeddings()))


# --- nodes without edges ---


@pytest.mark.parametrize("fusion", FUSIONS)
def test_only_nodes_without_edges_start_with_a_zero_id_vector(fusion: str) -> None:
    model = build(1, fusion, text_of((True, True)))
    assert (model.id_emb == 0).all(dim=1).nonzero().flatten().tolist() == COLD_NODES


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_a_node_without_edges_keeps_its_share_of_itself(num_layers: int) -> None:
    model = build(num_layers, "none", None)
    rows = propagate(torch.eye(N_NODES), model.norm_adj, num_layers)[COLD_NODES]
    torch.testing.assert_close(rows, torch.eye(N_NODES)[COLD_NODES] / (num_layers + 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_after_training_cold_nodes_are_placed_by_text_alone(
    fusion: str, sides: tuple[bool, bool], num_layers: int
) -> None:
    text = text_of(sides)
    model = LightGCN(
        normalized_adjacency(toy_train()),
        N_USERS,
        DIM,
        num_layers,
        fusion,
        text,
        generator=torch.Generator().manual_seed(0),
    )
    before = copies(model)
    train_a_little(model)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} did not train"
    assert (model.id_emb[COLD_NODES] == 0).all()
    placed = torch.zeros(len(COLD_NODES), DIM)
    if fusion != "none":
        placed = text[COLD_NODES] @ model.text_weight.detach()
    if fusion == "concat":
        placed = placed + model.bias.detach()
    final = torch.cat(model.embeddings())[COLD_NODES]
    torch.testing.assert_close(final, placed / (num_layers + 1), rtol=1e-5, atol=1e-6)


def train_a_little(model: LightGCN, epochs: int = 4, lr: float = 0.05) -> None:
    """Take real steps: Adam on the BPR loss and its penalty, triples from the sampler."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        triples = torch.from_numpy(np.stack(sample_triples(toy_train(), rng)))
        for batch in triples.split(16, dim=1):
            loss, penalty = bpr_loss(model, *batch, reg_lambda=0.01)
            optimizer.zero_grad()
            (loss + penalty).backward()
            optimizer.step()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_training_fits_the_pairs_and_stays_finite(fusion: str) -> None:
    model = build(2, fusion, text_of((True, True)))
    triples = torch.from_numpy(np.stack(sample_triples(toy_train(), np.random.default_rng(9))))
    before = bpr_loss(model, *triples, reg_lambda=0.0)[0].item()
    train_a_little(model)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert bpr_loss(model, *triples, reg_lambda=0.0)[0].item() < 0.8 * before


# --- what is kept, and the start ---


@pytest.mark.parametrize("fusion", FUSIONS)
def test_state_dict_holds_the_parameters_and_nothing_else(fusion: str) -> None:
    state = build(2, fusion, text_of((True, True))).state_dict()
    shapes = {"id_emb": (N_NODES, DIM)}
    if fusion != "none":
        shapes["text_weight"] = (TEXT_DIM, DIM)
    if fusion == "concat":
        shapes |= {"id_weight": (DIM, DIM), "bias": (DIM,)}
    assert {name: tuple(value.shape) for name, value in state.items()} == shapes


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_state_dict_restores_the_vectors_in_a_new_model(fusion: str) -> None:
    text = text_of((True, True))
    model, other = randomize(build(2, fusion, text)), build(2, fusion, text, seed=8)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.embeddings(), model.embeddings(), rtol=0, atol=0)


def test_the_seed_of_the_generator_alone_decides_the_weights() -> None:
    text = text_of((True, True))
    torch.manual_seed(1)
    first = build(2, "concat", text, seed=4).state_dict()
    torch.manual_seed(2)
    second = build(2, "concat", text, seed=4).state_dict()
    other = build(2, "concat", text, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["id_emb"], other["id_emb"])
    assert not torch.equal(first["text_weight"], other["text_weight"])


def test_building_a_model_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    build(2, "concat", text_of((True, True)))
    assert torch.equal(before, torch.get_rng_state())


def test_initial_values_are_as_documented() -> None:
    n_items = 400
    train = sp.csr_matrix(np.ones((2, n_items), np.float32))
    model = LightGCN(
        normalized_adjacency(train),
        2,
        50,
        1,
        "concat",
        torch.ones(2 + n_items, 30),
        init_std=0.3,
        generator=torch.Generator().manual_seed(0),
    )
    assert model.id_emb.std().item() == pytest.approx(0.3, rel=0.05)
    assert model.id_emb.mean().item() == pytest.approx(0, abs=0.02)
    assert model.text_weight.std().item() == pytest.approx(0.3, rel=0.1)
    assert torch.equal(model.id_weight, torch.eye(50))
    assert torch.equal(model.bias, torch.zeros(50))


# --- propagation ---


@pytest.mark.parametrize("columns", [1, 3, 64, 130])
@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (40, 23)])
def test_spmm_equals_the_dense_product(shape: tuple[int, int], columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.3)
    dense[0] = 0
    h = torch.randn(shape[1], columns, generator=generator)
    torch.testing.assert_close(spmm(to_csr(dense), h), dense @ h, rtol=1e-5, atol=1e-5)


def test_spmm_of_a_graph_without_edges_is_zero() -> None:
    assert torch.equal(spmm(to_csr(torch.zeros(4, 6)), torch.ones(6, 3)), torch.zeros(4, 3))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_propagate_is_the_mean_of_the_powers(num_layers: int) -> None:
    adjacency = torch.from_numpy(dense_adjacency(toy_train()))
    powers = torch.stack([torch.linalg.matrix_power(adjacency, k) for k in range(num_layers + 1)])
    x = torch.randn(N_NODES, DIM, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        propagate(x, to_csr(adjacency), num_layers), powers.mean(dim=0) @ x, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_propagate_returns_a_new_tensor_and_leaves_its_input(num_layers: int) -> None:
    norm_adj = normalized_adjacency(toy_train())
    x = torch.ones(N_NODES, DIM)
    out = propagate(x, norm_adj, num_layers)
    out.fill_(7)
    assert torch.equal(x, torch.ones(N_NODES, DIM))
    assert torch.equal(norm_adj.to_dense(), normalized_adjacency(toy_train()).to_dense())


@pytest.mark.parametrize("num_layers", [0, 1, 3])
@pytest.mark.parametrize("contiguous", [True, False])
def test_two_halves_of_the_columns_propagate_to_the_whole(num_layers: int, contiguous: bool) -> None:
    norm_adj = normalized_adjacency(toy_train())
    x = torch.randn(N_NODES, 12, generator=torch.Generator().manual_seed(0))
    halves = [half.contiguous() if contiguous else half for half in x.split(6, dim=1)]
    together = torch.cat([propagate(half, norm_adj, num_layers) for half in halves], dim=1)
    torch.testing.assert_close(together, propagate(x, norm_adj, num_layers), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_models_on_half_the_columns_score_as_the_whole_in_sum() -> None:
    whole = randomize(build(2, "none", None))
    norm_adj = whole.norm_adj
    scores = 0
    for columns in (slice(0, 2), slice(2, DIM)):
        part = LightGCN(norm_adj, N_USERS, len(range(DIM)[columns]), 2)
        part.load_state_dict({"id_emb": whole.id_emb.detach()[:, columns].clone()})
        user_emb, item_emb = part.embeddings()
        scores = scores + user_emb @ item_emb.T  # (n_users, n_items)
    user_emb, item_emb = whole.embeddings()
    torch.testing.assert_close(scores, user_emb @ item_emb.T, rtol=1e-10, atol=1e-10)


# --- cosine, temperature, and the columns beside the trained ones ---

POPULARITY = torch.arange(N_ITEMS, 0, -1).float()
SCALED: dict[str, dict[str, Any]] = {
    "normalize": {"normalize": True},
    "temperature": {"temperature": 0.2},
    "item_bias": {"has_bias": True},
    "linear": {"linear": True},
    "popularity": {"popularity": POPULARITY},
    "all": {"normalize": True, "temperature": 0.2, "has_bias": True, "linear": True, "popularity": POPULARITY},
}
BIAS = torch.linspace(-2, 3, N_ITEMS)
N_LINEAR = 3


def build_scaled(num_layers: int, fusion: str, text: torch.Tensor | None, scaled: dict[str, Any]) -> LightGCN:
    """Build a model and set from outside what stands beside its trained columns."""
    model = randomize(build(num_layers, fusion, text, **{k: value for k, value in scaled.items() if k != "linear"}))
    if model.item_bias is not None:
        model.item_bias += BIAS
    if scaled.get("linear"):
        model.set_linear_columns(*linear_columns())
    return model


def linear_columns() -> tuple[torch.Tensor, ...]:
    """Return inputs, outputs, power and users, as add_linear takes them."""
    generator = torch.Generator().manual_seed(6)
    inputs, outputs, users = (torch.randn(n, N_LINEAR, generator=generator) for n in (N_ITEMS, N_ITEMS, N_USERS))
    return inputs, outputs, torch.tensor(0.5), users


def scaled_reference(
    parameters: dict[str, torch.Tensor], num_layers: int, fusion: str, text: torch.Tensor | None, scaled: dict[str, Any]
) -> torch.Tensor:
    """Return the final vectors (N, D) and the columns beside them by the docstring of LightGCN."""
    has_text = torch.zeros(N_NODES, dtype=torch.bool) if fusion == "none" else text.abs().sum(dim=1) > 0
    final = reference(parameters, num_layers, fusion, text)
    if scaled.get("normalize"):
        final = torch.stack([row / row.square().sum().sqrt() if row.any() else row for row in final])
    users, items = final[:N_USERS] / scaled.get("temperature", 1.0), final[N_USERS:]
    if "has_bias" in scaled:
        last = BIAS - torch.tensor(
            [UNLISTED if item in COLD_ITEMS and not has_text[N_USERS + item] else 0.0 for item in range(N_ITEMS)]
        )
        users, items = torch.cat([users, torch.ones(N_USERS, 1)], 1), torch.cat([items, last[:, None]], 1)
    if "linear" in scaled:
        _, outputs, _, beside = linear_columns()
        users, items = torch.cat([users, beside], 1), torch.cat([items, outputs], 1)
    if "popularity" in scaled:
        users = torch.cat([users, torch.zeros(N_USERS, 1)], 1)
        if not has_text[COLD_USER]:
            users = torch.cat([users[:COLD_USER], torch.eye(users.shape[1])[-1:]])
        items = torch.cat([items, scaled["popularity"][:, None]], 1)
    return torch.cat([users, items])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("scaled", SCALED.values(), ids=SCALED)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_scaled_vectors_and_gradients_equal_the_dense_reference(
    fusion: str, scaled: dict[str, Any], num_layers: int
) -> None:
    text = mixed_text()
    model = build_scaled(num_layers, fusion, text, scaled)
    parameters = copies(model)
    expected = scaled_reference(parameters, num_layers, fusion, text, scaled)
    torch.testing.assert_close(torch.cat(model.embeddings()), expected.detach(), rtol=1e-10, atol=1e-10)
    # repeated nodes, users and items mixed, cold ones among them
    nodes = torch.tensor([11, 0, 6, 15, 3, 0, 11, 2, 9, 8])
    final, _ = model(nodes)
    # a step goes by the trained columns alone, and never asks for a user of whom nothing is known
    trained = {key: value for key, value in scaled.items() if key in ("normalize", "temperature")}
    expected = scaled_reference(parameters, num_layers, fusion, text, trained)[nodes]
    torch.testing.assert_close(final, expected, rtol=1e-10, atol=1e-10)
    weight = torch.randn(final.shape, generator=torch.Generator().manual_seed(4))
    (final * weight).sum().backward()
    (expected * weight).sum().backward()
    assert_same_gradients(model, parameters)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", FUSIONS)
def test_scores_are_cosines_over_the_temperature_plus_the_bias(fusion: str) -> None:
    text = text_of((True, True))
    plain = randomize(build(2, fusion, text))
    model = build(2, fusion, text, normalize=True, temperature=0.1, has_bias=True)
    model.load_state_dict(plain.state_dict(), strict=False)
    model.item_bias += BIAS
    cosine = torch.nn.functional.cosine_similarity(
        *(vectors[place] for vectors, place in zip(plain.embeddings(), (np.s_[:, None], np.s_[None]), strict=True)),
        dim=2,
    )
    without = cosine / 0.1 + BIAS
    without[:, list(COLD_ITEMS)] -= UNLISTED if fusion == "none" else 0
    inputs, outputs, power, users = linear_columns()
    for expected in (without, without + users @ outputs.T):
        user_emb, item_emb = model.embeddings()
        torch.testing.assert_close(user_emb @ item_emb.T, expected, rtol=1e-9, atol=1e-9)
        model.set_linear_columns(inputs, outputs, power, users)


def test_what_stands_beside_starts_at_nothing_untrained_and_is_saved() -> None:
    model = build(1, "sum", mixed_text(), has_bias=True)
    textless = COLD_ITEMS[1]
    assert model.item_bias.tolist() == [-UNLISTED if item == textless else 0 for item in range(N_ITEMS)]
    assert model.embeddings()[0].shape == (N_USERS, DIM + 1)
    model.set_linear_columns(*linear_columns())
    assert set(dict(model.named_parameters())) == {"id_emb", "text_weight"}
    # linear_users follows from the others
    assert set(model.state_dict()) == {
        "id_emb",
        "text_weight",
        "item_bias",
        "linear_inputs",
        "linear_outputs",
        "linear_power",
    }


def test_at_the_defaults_the_final_vectors_have_no_more_columns() -> None:
    text = text_of((True, True))
    plain, said = (
        build(1, "sum", text),
        build(1, "sum", text, normalize=False, temperature=1.0, has_bias=False, popularity=None),
    )
    assert plain.embeddings()[1].shape == (N_ITEMS, DIM)
    torch.testing.assert_close(plain.embeddings(), said.embeddings(), rtol=0, atol=0)


# --- users of whom nothing is known ---


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scaled", [{}, SCALED["all"]], ids=["plain", "scaled"])
@pytest.mark.parametrize("knows_text", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_popularity_ranks_for_users_without_edges_and_text_and_for_nobody_else(
    fusion: str, knows_text: bool, scaled: dict[str, Any]
) -> None:
    text = text_of((True, True)) if knows_text else mixed_text()
    scaled = {**scaled, "popularity": POPULARITY}
    model, without = (build_scaled(2, fusion, text, settings) for settings in (scaled, {**scaled, "popularity": None}))
    assert model.state_dict().keys() == without.state_dict().keys()
    (user_emb, item_emb), others = model.embeddings(), without.embeddings()
    assert user_emb.shape[1] == item_emb.shape[1] == others[0].shape[1] + 1
    scores, expected = user_emb @ item_emb.T, others[0] @ others[1].T
    if fusion == "none" or not knows_text:
        assert user_emb[COLD_USER].tolist() == [0] * others[0].shape[1] + [1]
        assert scores[COLD_USER].tolist() == POPULARITY.tolist()
        scores, expected, user_emb = (rows[torch.arange(N_USERS) != COLD_USER] for rows in (scores, expected, user_emb))
    assert not user_emb[:, -1].any()
    torch.testing.assert_close(scores, expected, rtol=1e-12, atol=1e-12)


# --- items placed by their text alone ---

ALONE_ITEMS = [2, 0, 7]


def without_edges(items: list[int]) -> sp.csr_matrix:
    dense = toy_train().toarray()
    assert dense[:, items].any(axis=0).all()
    dense[:, items] = 0
    return sp.csr_matrix(dense)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scaled", [{}, {"normalize": True, "temperature": 0.2}], ids=["plain", "scaled"])
@pytest.mark.parametrize("num_layers", [0, 1, 3])
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_alone_an_item_stands_where_it_would_without_edges(
    fusion: str, num_layers: int, scaled: dict[str, Any]
) -> None:
    text = text_of((True, True))
    model = randomize(build(num_layers, fusion, text, **scaled))
    new = build(num_layers, fusion, text, train=without_edges(ALONE_ITEMS), **scaled)
    ids = model.id_emb.detach().clone()
    ids[[N_USERS + item for item in ALONE_ITEMS]] = 0  # as they begin and stay where there are no edges
    new.load_state_dict({**model.state_dict(), "id_emb": ids})
    nodes = torch.tensor([3, N_USERS + 2, N_USERS + 5, 0, N_USERS, N_USERS + 7, N_USERS + 4])
    alone = torch.tensor([1, 4, 5])
    final, ids = model(nodes, alone)
    torch.testing.assert_close(final[alone], new(nodes)[0][alone], rtol=1e-12, atol=1e-12)
    rest = torch.tensor([0, 2, 3, 6])
    plain, plain_ids = model(nodes)
    assert not torch.isclose(final[alone], plain[alone]).all(dim=1).any()
    torch.testing.assert_close(final[rest], plain[rest], rtol=0, atol=0)
    torch.testing.assert_close(ids, plain_ids, rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_alone_an_item_trains_the_text_and_no_id_vector(fusion: str) -> None:
    text = text_of((True, True))
    model = randomize(build(2, fusion, text))
    nodes = torch.tensor([0, N_USERS + 2, N_USERS + 7])
    weight = torch.randn(2, DIM, generator=torch.Generator().manual_seed(4))
    final, _ = model(nodes, torch.tensor([1, 2]))
    (final[1:] * weight).sum().backward()
    assert not model.id_emb.grad.any()
    torch.testing.assert_close(model.text_weight.grad, text[nodes[1:]].T @ weight / 3, rtol=1e-10, atol=1e-10)
    if fusion == "concat":
        assert not model.id_weight.grad.any()
        torch.testing.assert_close(model.bias.grad, weight.sum(dim=0) / 3, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_gradients_of_the_others_are_as_if_the_item_alone_were_not_there(fusion: str) -> None:
    model = randomize(build(2, fusion, text_of((True, True))))
    nodes, weight = torch.tensor([0, N_USERS + 2, N_USERS + 7]), torch.arange(2 * DIM).view(2, DIM).double()
    gradients = []
    for alone in (torch.tensor([1]), None):
        model.zero_grad()
        (model(nodes, alone)[0][[0, 2]] * weight).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("scaled", SCALED.values(), ids=SCALED)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_mask_places_alone_what_its_positions_place(fusion: str, scaled: dict[str, Any], num_layers: int) -> None:
    model = build_scaled(num_layers, fusion, mixed_text(), scaled)
    nodes = torch.tensor([3, N_USERS + 2, N_USERS + 5, 0, N_USERS, N_USERS + 2, N_USERS + 4])
    mask = torch.tensor([False, True, False, False, True, True, False])
    found = []
    for alone in (mask.nonzero().squeeze(1), mask):
        model.zero_grad()
        final, ids = model(nodes, alone)
        weight = torch.randn(final.shape, generator=torch.Generator().manual_seed(4))
        ((final * weight).sum() + ids.square().sum()).backward()
        found.append([final.detach(), ids.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    assert torch.equal(found[1][0], model(nodes)[0]) == (fusion == "none")
    torch.testing.assert_close(model(nodes, torch.zeros_like(mask)), model(nodes), rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("text", [None, text_of((True, True))], ids=["no text", "text unused"])
def test_without_text_nothing_is_placed_by_text(text: torch.Tensor | None) -> None:
    model = build_scaled(2, "none", text, {"has_bias": True})
    nodes = torch.tensor([0, N_USERS + 2, N_USERS + 7])
    torch.testing.assert_close(model(nodes, torch.tensor([1, 2])), model(nodes), rtol=0, atol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_has_item_text_says_which_nodes_can_be_placed_by_text(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = mixed_text()
    text[N_USERS, :-1] = 0  # a text in one column, which of two processes the second owns
    expected = [fusion != "none" and node >= N_USERS and node not in TEXTLESS for node in range(N_NODES)]
    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: 2)
    for rank in (None, 0, 1):
        monkeypatch.setattr(distributed.dist, "is_initialized", lambda rank=rank: rank is not None)
        monkeypatch.setattr(distributed.dist, "get_rank", lambda rank=rank: rank)
        model = build(1, fusion, text)
        assert model.has_item_text.tolist() == expected
        assert model.is_unknown.nonzero().flatten().tolist() == [COLD_USER]


@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_id_dropout_draws_a_share_of_the_items_with_text(fusion: str) -> None:
    model, nodes = build(1, fusion, mixed_text()), torch.arange(N_NODES).repeat(2000)
    drawn = [id_dropout(model, 0.3, torch.Generator().manual_seed(seed))(nodes) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    share = drawn[0].view(2000, N_NODES).double().mean(dim=0)
    assert not share[~model.has_item_text].any()
    torch.testing.assert_close(share[model.has_item_text], torch.full((N_ITEMS - 2,), 0.3).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("fusion", "text", "share"),
    [
        ("none", text_of((True, True)), 0.5),
        ("sum", None, 0.5),
        ("sum", text_of((True, False)), 0.5),
        ("concat", text_of((True, False)), 0.5),
        ("sum", text_of((True, True)), 0.0),
    ],
    ids=["none", "no text", "users alone", "users alone in concat", "no share"],
)
def test_id_dropout_is_none_where_there_is_nothing_to_draw(
    fusion: str, text: torch.Tensor | None, share: float
) -> None:
    assert id_dropout(build(1, fusion, text), share, torch.Generator()) is None


@pytest.mark.parametrize("text", [text_of((True, False)), mixed_text()], ids=["items' text off", "mixed catalogue"])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_no_title_without_text_is_placed_by_text_in_a_step(
    fusion: str, loss: str, text: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, such a title would stand at zero, or with all others at the bias of concat."""
    model, forward, met = build(2, fusion, text), LightGCN.forward, {"alone": 0, "textless": 0}

    def watched(self: LightGCN, nodes: torch.Tensor, alone: torch.Tensor | None = None) -> Any:
        final, ids = forward(self, nodes, alone)
        with torch.no_grad():
            as_always = (forward(self, nodes)[0] == final).all(dim=1)
        has_text = text[nodes].any(dim=1) & (nodes >= N_USERS)
        assert as_always[~has_text].all()
        assert final.any(dim=1).all()  # all nodes of a batch have edges
        met["alone"] += int((~as_always).sum())
        met["textless"] += int((~has_text & (nodes >= N_USERS)).sum())
        return final, ids

    monkeypatch.setattr(LightGCN, "forward", watched)
    config = get_config({"loss": loss, "id_dropout": 0.9, "batch_size": 4, "lr": 0.05})
    optimizer, rng = adam(model, config["lr"]), np.random.default_rng(0)
    for epoch in (1, 2):
        train_epoch(model, optimizer, dataset_of(toy_train()), config, rng, epoch)
    assert met["textless"] > 0
    assert (met["alone"] > 0) == bool(text[N_USERS:].any())


# --- a start that is given ---


def test_a_given_start_is_scaled_to_init_std() -> None:
    initial = torch.randn(N_NODES, DIM, generator=torch.Generator().manual_seed(0)) * 7
    initial[COLD_NODES] = 0  # as a factorisation of the train matrix leaves them
    model = build(1, "sum", text_of((True, True)), initial=initial)
    assert model.id_emb.std().item() == pytest.approx(0.1, rel=1e-5)
    torch.testing.assert_close(model.id_emb.detach(), initial * (0.1 / initial.std()))
    assert model.text_weight.std().item() == pytest.approx(0.1, rel=0.3)


def test_a_given_start_is_zero_for_nodes_without_edges() -> None:
    model = build(1, "none", None, initial=torch.full((N_NODES, DIM), 2.0) + torch.arange(N_NODES)[:, None])
    assert (model.id_emb == 0).all(dim=1).nonzero().flatten().tolist() == COLD_NODES


def test_a_start_of_zeros_stays_finite() -> None:
    assert not build(1, "none", None, initial=torch.zeros(N_NODES, DIM)).id_emb.any()


# --- states of one and of several processes ---


def states(fusion: str) -> tuple[LightGCN, dict[str, torch.Tensor]]:
    model = build_scaled(2, fusion, text_of((True, True)), SCALED["all"])
    return model, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_in_one_process_whole_and_own_state_change_nothing(fusion: str) -> None:
    model, state = states(fusion)
    for changed in (model.whole_state(state), model.own_state(state), model.own_state(model.whole_state(state))):
        assert set(changed) == set(state)
        torch.testing.assert_close(changed, state, rtol=0, atol=0)


def test_whole_state_is_a_copy() -> None:
    model, state = states("concat")
    whole = model.whole_state(model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name in ("item_bias", "linear_inputs", "linear_outputs", "linear_power"):
            getattr(model, name).zero_()
    torch.testing.assert_close(whole, state, rtol=0, atol=0)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_own_states_are_shares_that_lie_side_by_side(fusion: str, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, state = states(fusion)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed.dist, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed.dist, "get_world_size", lambda: world)
        parts.append(model.own_state(state))
        built = build_scaled(2, fusion, text_of((True, True)), SCALED["all"]).state_dict()
        assert {name: value.shape for name, value in parts[-1].items()} == {n: v.shape for n, v in built.items()}
    for name, value in state.items():
        dim = {"id_emb": 1, "id_weight": 0, "text_weight": 0}.get(name)
        shares = [part[name] for part in parts]
        if dim is None:
            assert all(torch.equal(share, value) for share in shares), name
        else:
            assert torch.equal(torch.cat(shares, dim=dim), value), name
            sizes = [share.shape[dim] for share in shares]
            assert max(sizes) - min(sizes) <= 1, name
