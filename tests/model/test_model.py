"""LightGCN against a plain dense implementation, in values and in gradients."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import normalized_adjacency
from model import LightGCN, propagate, spmm
from runtime import distributed
from tests.helpers.graphs import (
    COLD_ITEMS,
    COLD_USER,
    DIM,
    N_ITEMS,
    N_NODES,
    N_USERS,
    SCALED,
    TEXT_DIM,
    assert_same_gradients,
    build,
    build_scaled,
    copies,
    dense_adjacency,
    randomize,
    reference,
    text_of,
    to_csr,
    toy_train,
)
from training.bpr import bpr_loss, sample_triples

COLD_NODES = [COLD_USER, *(N_USERS + item for item in COLD_ITEMS)]
FUSIONS = ("none", "sum", "concat")
SIDES = {"user": (True, False), "item": (False, True), "both": (True, True)}


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
            loss, penalty = bpr_loss(model, *batch, None, {"reg_lambda": 0.01})
            optimizer.zero_grad()
            (loss + penalty).backward()
            optimizer.step()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_training_fits_the_pairs_and_stays_finite(fusion: str) -> None:
    model = build(2, fusion, text_of((True, True)))
    triples = torch.from_numpy(np.stack(sample_triples(toy_train(), np.random.default_rng(9))))
    before = bpr_loss(model, *triples, None, {"reg_lambda": 0.0})[0].item()
    train_a_little(model)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert bpr_loss(model, *triples, None, {"reg_lambda": 0.0})[0].item() < 0.8 * before


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
