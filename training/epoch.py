"""One epoch: a step on every batch of the train pairs; it can be interrupted and resumed."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from tqdm import tqdm

from data_loader import Dataset
from model import LightGCN
from runtime.distributed import broadcast_from_rank0, rank
from runtime.memory import explains_out_of_memory
from training.losses import epoch_batches
from training.optimizer import set_lr
from training.steps import id_dropout
from training.user_rows import weighted_train

# of training that a kill can cost, in epochs that last longer
SAVE_SECONDS = 300.0
EXPLODED = 1000  # times the loss of guessing


class Pause(NamedTuple):
    """When an epoch is interrupted to save what was done of it: every SAVE_SECONDS, and when the user asks for it."""

    is_asked: Callable[[], bool]
    keep: Callable[[dict[str, Any]], None]  # takes what train_epoch needs to resume from here


@explains_out_of_memory("a step of training", "lower --batch_size, or else --embedding_dim")
def train_epoch(
    model: LightGCN,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    config: dict[str, Any],
    rng: np.random.Generator,
    epoch: int,
    middle: dict[str, Any] | None = None,
    pause: Pause | None = None,
) -> float:
    """Take a step on every batch of the train pairs and return the mean loss a pair, without the penalty.

    With middle, what pause.keep was given in an interrupted epoch, the steps before it are left out; rng must be as at
    the start of that epoch.
    """
    device = model.id_emb.device
    loss_of, batches = epoch_batches(weighted_train(dataset, config["rating_weight"]), config, rng, device)
    generator = torch.Generator(device).manual_seed(config["seed"] * 1_000_003 + epoch)
    drop = id_dropout(model, config["id_dropout"], generator)
    done, total, n_pairs, saved_at = 0, torch.zeros((), device=device), 0, time.monotonic()
    n_sane = torch.zeros((), device=device)
    if middle:
        done, total, n_pairs = middle["steps"], middle["total"].to(device), middle["n_pairs"]
        generator.set_state(middle["generator"])
    for step, (batch, weight) in enumerate(
        tqdm(
            batches,
            desc=f"epoch {epoch}",
            unit="batch",
            leave=False,
            mininterval=0.5,
            disable=True if rank() > 0 else None,
        )
    ):
        if step < done:
            continue
        set_lr(optimizer, config, epoch - 1 + step / len(batches))
        loss, penalty = loss_of(model, *batch, config, drop)
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        optimizer.step()
        total += loss.detach() * weight
        n_pairs += weight
        n_sane += total.isfinite()  # read after the epoch only, so that no step waits for a GPU
        if pause and _is_due(pause, step, saved_at) and step + 1 < len(batches):
            pause.keep(
                {"steps": step + 1, "total": total.cpu(), "n_pairs": n_pairs, "generator": generator.get_state()}
            )
            saved_at = time.monotonic()
    mean = total.item() / max(n_pairs, 1)
    if not math.isfinite(mean):
        raise FloatingPointError(
            f"the loss became {mean} in epoch {epoch}, batch {done + int(n_sane) + 1} of "
            f"{len(batches)}; lower --lr (it is {config['lr']:g})"
        )
    # to guess costs the logarithm of the number of titles, or less
    if mean > EXPLODED * math.log(dataset.train.shape[1] + 2):
        raise FloatingPointError(
            f"the loss grew to {mean:.3g} in epoch {epoch}, {EXPLODED:,} times that of guessing; "
            f"lower --lr (it is {config['lr']:g})"
        )
    return mean


def _is_due(pause: Pause, step: int, saved_at: float) -> bool:
    """Tell whether to save now; several processes have to agree, which they do not try at every step."""
    if dist.is_initialized():
        return step % 64 == 63 and _is_long_ago(saved_at)
    return pause.is_asked() or _is_long_ago(saved_at)


@broadcast_from_rank0
def _is_long_ago(saved_at: float) -> bool:
    return time.monotonic() - saved_at > SAVE_SECONDS
