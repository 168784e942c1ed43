"""Adam over the model's parameters: its learning rates, and its state as a checkpoint holds it."""

import math
from typing import Any

import torch

from model import LightGCN


def adam(model: LightGCN, lr: float) -> torch.optim.Adam:
    """Return Adam over the model's parameters, W_id of concat with a rate of lr / embedding_dim.

    A step moves every entry by about the rate, and a row of W_id reaches embedding_dim numbers of each id vector at
    once. With one rate for all, what suits the id vectors throws W_id far from the identity that it starts as.

    Source:
        Yang et al. 2021, Tensor Programs V, https://arxiv.org/abs/2203.03466: with Adam the rate of a matrix goes with
        1 / fan-in.
    """
    shares = {"id_weight": 1 / model.embedding_dim}
    return torch.optim.Adam(
        [{"params": [parameter], "share": shares.get(name, 1.0)} for name, parameter in model.named_parameters()],
        lr=lr,
        fused=True,
    )


def set_lr(optimizer: torch.optim.Optimizer, config: dict[str, Any], epochs_done: float) -> None:
    """Set the learning rates for the next step by lr_schedule, each parameter's its share of lr."""
    share = min(epochs_done / config["epochs"], 1.0)
    factor = 0.5 * (1 + math.cos(math.pi * share)) if config["lr_schedule"] == "cosine" else 1.0
    for group in optimizer.param_groups:
        group["lr"] = config["lr"] * factor * group["share"]
