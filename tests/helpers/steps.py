"""One training step of several processes: what they reduce, and the gradients it brings."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.distributed as dist

from data_loader import normalized_adjacency
from model import LightGCN
from training import bpr

DIM, LSA_DIM = 9, 7  # lengths that two processes cannot part evenly


def bytes_of_a_step(n_more: int) -> list[int]:
    """Return the bytes all-reduced in a step on the same ten nodes of a graph with n_more nodes on each side."""
    train = sp.csr_matrix(np.pad(np.ones((5, 5), np.float32), ((0, n_more), (0, n_more))))
    model = LightGCN(normalized_adjacency(train), 5 + n_more, DIM, 2, "concat", torch.ones(10 + 2 * n_more, LSA_DIM))
    reduced: list[int] = []
    all_reduce = dist.all_reduce
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "all_reduce", lambda tensor: reduced.append(tensor.nbytes) or all_reduce(tensor))
        users = torch.arange(5)
        loss, penalty = bpr.bpr_loss(model, users, users, (users + 1) % 5, None, {"reg_lambda": 0.1})
        (loss + penalty).backward()
    return reduced


def gradients() -> dict[str, list[Any]]:
    """Return the gradients of a step of each fusion, whole; Adam hides their scale, so vectors cannot tell of it."""
    found = {}
    for fusion_mode in ("none", "sum", "concat"):
        generator = torch.Generator().manual_seed(0)
        train = sp.csr_matrix(np.tri(6, 8, 1, dtype=np.float32))
        model = LightGCN(
            normalized_adjacency(train),
            6,
            DIM,
            2,
            fusion_mode,
            torch.randn(14, LSA_DIM, generator=generator),
            generator=generator,
        )
        users = torch.arange(5)
        loss, penalty = bpr.bpr_loss(model, users, users, users + 2, None, {"reg_lambda": 0.1})
        (loss + penalty).backward()
        whole = model.whole_state({name: parameter.grad for name, parameter in model.named_parameters()})
        found |= {f"{fusion_mode} {name}": gradient.tolist() for name, gradient in whole.items()}
    return found
