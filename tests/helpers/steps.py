"""One training step of several processes: what they reduce, and the gradients it brings."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.distributed as dist

from data_loader import normalized_adjacency
from model import LightGCN
from training import bpr, softmax
from training.softmax import softmax_batches

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
    """Return the gradients of steps of BPR and softmax, whole; Adam hides their scale, so vectors cannot tell of it."""
    found = {}
    for fusion_mode in ("none", "sum", "concat"):
        model, _ = model_of_steps(fusion_mode)
        users = torch.arange(5)
        loss, penalty = bpr.bpr_loss(model, users, users, users + 2, None, {"reg_lambda": 0.1})
        (loss + penalty).backward()
        found |= whole_gradients(model, fusion_mode)
    for most in (7, 2**25):  # scores at once
        model, train = model_of_steps("concat")
        train.data[:] = np.linspace(0.5, 2, train.nnz)
        # six users in steps of five and of one, which leaves the second of two processes without any
        loss_of, batches = softmax_batches(train, {"batch_size": 5}, np.random.default_rng(0), torch.device("cpu"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(softmax, "MAX_SCORES", most)
            for batch, n_pairs in batches:
                loss, penalty = loss_of(model, *batch, {"reg_lambda": 0.1})
                (loss * n_pairs + penalty).backward()
                found.setdefault(f"softmax {most} losses", []).append([float(loss.detach()), float(n_pairs)])
        found |= whole_gradients(model, f"softmax {most}")
    return found


def model_of_steps(fusion_mode: str) -> tuple[LightGCN, sp.csr_matrix]:
    """Return a small model with text, and the train pairs of its graph."""
    generator = torch.Generator().manual_seed(0)
    train = sp.csr_matrix(np.tri(6, 8, 1, dtype=np.float32))
    text = torch.randn(14, LSA_DIM, generator=generator)
    return LightGCN(normalized_adjacency(train), 6, DIM, 2, fusion_mode, text, generator=generator), train


def whole_gradients(model: LightGCN, name: str) -> dict[str, list[Any]]:
    """Return the gradients of all parameters as a single process would have them."""
    whole = model.whole_state({parameter: tensor.grad for parameter, tensor in model.named_parameters()})
    return {f"{name} {parameter}": gradient.tolist() for parameter, gradient in whole.items()}
