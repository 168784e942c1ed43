"""Adam over the model's parameters: its learning rates, and its state as a checkpoint holds it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
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


def optimizer_state(model: LightGCN, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return Adam's moments as a single process would hold them, whatever the number of processes."""
    state = optimizer.state_dict()
    return {**state, "state": _each_moment(model, state["state"], model.whole_state)}


def load_state(
    state: dict[str, Any], model: LightGCN, optimizer: torch.optim.Optimizer, rng: np.random.Generator
) -> None:
    """Go on from a checkpoint, each process with its share."""
    model.load_state_dict(model.own_state(state["model"]))
    moments = _each_moment(model, state["optimizer"]["state"], model.own_state)
    optimizer.load_state_dict({**state["optimizer"], "state": moments})
    rng.bit_generator.state = state["rng"]


def _each_moment(
    model: LightGCN,
    moments: dict[int, dict[str, torch.Tensor]],
    convert: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
) -> dict[int, dict[str, Any]]:
    """Apply whole_state or own_state to the moments of every parameter; the step count is no moment."""
    names = [name for name, _ in model.named_parameters()]
    return {
        number: {
            key: value.clone() if key == "step" else convert({names[number]: value})[names[number]]
            for key, value in of_one.items()
        }
        for number, of_one in moments.items()
    }
