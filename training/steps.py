"""What the losses share: the nodes of a step, which of them have only text, what pairs count, the types of a loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed as dist

from model import LightGCN
from runtime.distributed import SumOverProcesses

MAX_SCORES = 2**25  # users by titles whose scores a step keeps, 128 MiB; beyond, they are computed in chunks

Drop = Callable[[torch.Tensor], torch.Tensor]  # as from id_dropout
Loss = Callable[..., tuple[torch.Tensor, torch.Tensor]]
Batches = tuple[Loss, list[tuple[tuple[Any, ...], int]]]  # see training.losses


def distinct(nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find what to fuse for a batch, in which a node often stands more than once.

    Args:
        nodes: (m,) node rows.

    Returns:
        The nodes to fuse (n,), of each of the m its place among them, and of each of the n how often it stands. On the
        CPU each node is there once; on a GPU all m are, since counting them first would make every step wait for it.
    """
    if _is_on_cpu(nodes):
        return nodes.unique(return_inverse=True, return_counts=True)
    return nodes, torch.arange(len(nodes), device=nodes.device), torch.ones_like(nodes)


def id_dropout(model: LightGCN, share: float, generator: torch.Generator) -> Drop | None:
    """Return a function that draws the items which a step places by text only, of those with text; None for none.

    On a GPU, where a node may stand more than once in a step, a number is drawn for every node there is, so that a
    item is placed by text everywhere in the step or nowhere.
    """
    if not share or not model.has_item_text.any():
        return None

    def drop(nodes: torch.Tensor) -> torch.Tensor:
        each = _is_on_cpu(nodes)
        lots = torch.rand(len(nodes if each else model.has_item_text), generator=generator, device=nodes.device)
        return model.has_item_text[nodes] & ((lots if each else lots[nodes]) < share)

    return drop


def chosen(drop: Drop | None, nodes: torch.Tensor) -> torch.Tensor | None:
    """Return which of a step's nodes (n,) are placed by text only, in the form that costs LightGCN.forward the least.

    That is their positions on the CPU, and on a GPU, which a step would have to wait for to count them, (n,) bool.
    """
    if drop is None:
        return None
    return drop(nodes).nonzero().squeeze(1) if _is_on_cpu(nodes) else drop(nodes)


def is_weighted(train: sp.csr_matrix) -> bool:
    """Tell whether some pairs of train count more or less than others; else a loss has no weights."""
    return bool((train.data != 1).any())


def weights_of(train: sp.csr_matrix, user_ids: np.ndarray, item_ids: np.ndarray) -> np.ndarray | None:
    """Return what these pairs (n,) of train count, (n,) float32; None where all pairs of train count one."""
    return np.asarray(train[user_ids, item_ids]).ravel() if is_weighted(train) else None


def mean_of_pairs(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Return the mean of a value a pair (n,), each counting its weight (n,); 0 where all weights are 0."""
    if weights is None:
        return values.mean()
    return (values * weights).sum() / weights.sum().clamp_min(1e-12)


def mean_over_processes(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Return mean_of_pairs of all processes, each of which has values (n,) of its own pairs, perhaps none."""
    if not dist.is_initialized():
        return mean_of_pairs(values, weights)
    weights = torch.ones_like(values) if weights is None else weights
    total, weight = SumOverProcesses.apply(torch.stack([(values * weights).sum(), weights.sum()]))
    return total / weight.clamp_min(1e-12)


def _is_on_cpu(nodes: torch.Tensor) -> bool:
    """Say whether what depends on the values of nodes can be counted without waiting for a GPU."""
    return nodes.device.type == "cpu"
