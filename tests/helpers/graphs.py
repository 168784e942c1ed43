"""A small train graph and LightGCN written out densely."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from model import LightGCN

N_USERS, N_ITEMS, DIM, TEXT_DIM = 7, 9, 5, 70
N_NODES = N_USERS + N_ITEMS
COLD_USER, COLD_ITEMS = 6, (4, 8)
TEXTLESS = [COLD_USER, N_USERS + 2, N_USERS + COLD_ITEMS[1]]  # without text in a mixed catalogue


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
        set_linear(model)
    return model


def set_linear(model: LightGCN) -> None:
    """Give a model the linear columns of linear_columns."""
    inputs, outputs, power, users = linear_columns()
    model.set_linear_columns(linear_inputs=inputs, linear_outputs=outputs, linear_power=power)
    model.set_users(users, None)


def linear_columns() -> tuple[torch.Tensor, ...]:
    """Return inputs, outputs, power and users."""
    generator = torch.Generator().manual_seed(6)
    inputs, outputs, users = (torch.randn(n, N_LINEAR, generator=generator) for n in (N_ITEMS, N_ITEMS, N_USERS))
    return inputs, outputs, torch.tensor(0.5), users
