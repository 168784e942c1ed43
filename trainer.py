"""Training: the loss, the epoch loop, early stopping on valid, checkpoint and resume."""

import copy
import json
import logging
import math
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import softplus
from tqdm import tqdm

from data_loader import Dataset, normalized_adjacency, sample_triples
from evaluator import evaluate, means
from llm_embedding import TextVectors, atomic_write
from model import LightGCN

log = logging.getLogger("aglrec")


def resolve_device(name: str) -> torch.device:
    """Turn the device setting into a torch device; "auto" takes cuda, then mps, then cpu.

    Raises:
        ValueError: the device is unknown, or not on this machine.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in has.items() if there))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in has:
        raise ValueError(f"device is {name!r}; use auto, cpu, cuda, cuda:N or mps")
    if not has[device.type] or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"device {name!r} is not on this machine (or this torch, {torch.__version__}, was built "
                         "without it); use --device auto or cpu")
    return device


def build_model(dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> LightGCN:
    """Build the untrained model on its device; a side whose text is switched off brings rows of zeros."""
    text = None
    if vectors.items is not None:
        text = torch.from_numpy(np.concatenate([vectors.users * config["use_user_llm"],
                                                vectors.items * config["use_item_llm"]]))  # (N, L)
    generator = torch.Generator().manual_seed(config["seed"])
    return LightGCN(normalized_adjacency(dataset.train).to(device), dataset.n_users, config["embedding_dim"],
                    config["num_layers"], config["fusion_mode"], text, config["init_std"], generator)


def bpr_loss(model: LightGCN, user_ids: torch.Tensor, pos_items: torch.Tensor, neg_items: torch.Tensor,
             reg_lambda: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the BPR loss of a batch and its L2 penalty.

    Args:
        user_ids, pos_items, neg_items: (B,) row numbers.
        reg_lambda: weight of half the squared length of the batch's id vectors, a triple.

    Returns:
        The mean of -log sigmoid(positive score - negative score), and the penalty; two scalars.

    Source:
        Rendle et al. 2009, BPR-Opt; the penalty as in LightGCN, on the vectors before propagation.
    """
    nodes = torch.cat([user_ids, pos_items + model.n_users, neg_items + model.n_users])  # (3B,)
    # a node often stands in a batch more than once: fuse it once
    nodes, place, times = nodes.unique(return_inverse=True, return_counts=True)  # (n,), (3B,), (n,)
    final, id_rows = model(nodes)  # (n, D) each
    users, positives, negatives = final.index_select(0, place).chunk(3)  # (B, D) each
    margin = (users * (positives - negatives)).sum(dim=1)  # (B,)
    penalty = (id_rows.square().sum(dim=1) * times).sum() / (2 * len(user_ids))
    return softplus(-margin).mean(), reg_lambda * penalty


def fit(model: LightGCN, dataset: Dataset, config: dict[str, Any], signature: dict[str, Any]) -> dict[str, Any]:
    """Train with early stopping on valid, write checkpoint, history and best model, restore the best epoch.

    Args:
        model: as from build_model; holds the best epoch's weights afterwards.
        dataset: its test parts are not looked at.
        config: as from get_config.
        signature: what makes this experiment this one; a checkpoint with another is not gone on from.

    Returns:
        {"epoch", "valid", "epochs_run", "train_s"}: the best epoch, its valid metrics, the number of epochs
        trained, and the seconds spent in training steps.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    folder = Path(config["saved_dir"])
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"], fused=True)
    rng = np.random.default_rng([config["seed"], 3])
    state = _resume(folder, signature, config) or {"epoch": 0, "history": [], "best": None}
    if state["epoch"]:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rng.bit_generator.state = state["rng"]
    (folder / "metrics.json").unlink(missing_ok=True)  # it marks a finished run, which this is no longer
    while state["epoch"] < config["epochs"] and not _is_stale(state, config["early_stop_round"]):
        start = time.perf_counter()
        loss = train_epoch(model, optimizer, dataset, config, rng, state["epoch"] + 1)
        seconds = time.perf_counter() - start
        state["epoch"] += 1
        valid = means(evaluate(*model.embeddings(), dataset.valid, dataset.train, config))
        state["history"].append({"epoch": state["epoch"], "loss": loss, "seconds": seconds, **valid})
        score = valid[config["early_stop_metric"]]
        better = state["best"] is None or score > state["best"]["valid"][config["early_stop_metric"]]
        if better:
            state["best"] = {"state_dict": copy.deepcopy(model.state_dict()), "epoch": state["epoch"], "valid": valid}
        log.info(f"epoch {state['epoch']:3d}  loss {loss:.4f}  {seconds:.1f} s  valid {config['early_stop_metric']} "
                 f"{score:.4f}{' *' if better else ''}")
        _write_state(folder, state, model, optimizer, rng, signature)
    best = state["best"]
    model.load_state_dict(best["state_dict"])
    save_torch(folder / "best_model.pth", {**best, "config": config, "dataset_fingerprint": dataset.fingerprint})
    return {"epoch": best["epoch"], "valid": best["valid"], "epochs_run": state["epoch"],
            "train_s": sum(line["seconds"] for line in state["history"])}


def train_epoch(model: LightGCN, optimizer: torch.optim.Optimizer, dataset: Dataset, config: dict[str, Any],
                rng: np.random.Generator, epoch: int) -> float:
    """Take a step on every batch of the train pairs and return the mean BPR loss, without the penalty."""
    triples = torch.from_numpy(np.stack(sample_triples(dataset.train, rng))).to(model.id_emb.device)  # (3, n)
    total = torch.zeros((), device=triples.device)
    batches = triples.split(config["batch_size"], dim=1)
    for batch in tqdm(batches, desc=f"epoch {epoch}", unit="batch", leave=False, mininterval=0.5):
        loss, penalty = bpr_loss(model, *batch, config["reg_lambda"])
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        optimizer.step()
        total += loss.detach() * batch.shape[1]
    mean = total.item() / max(triples.shape[1], 1)
    if not math.isfinite(mean):
        raise FloatingPointError(f"the loss became {mean} in epoch {epoch}; lower --lr (it is {config['lr']:g})")
    return mean


def save_torch(path: Path, content: dict[str, Any]) -> None:
    """Write with torch.save, whole or not at all."""
    with atomic_write(path) as file:
        torch.save(content, file)


def load_torch(path: Path) -> dict[str, Any]:
    """Read a file of save_torch, tensors on the CPU and builtins only.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, or holds code.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run python main.py with the same --saved_dir first")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} cannot be read ({str(error)[:120]}); delete it and train again") from None


def _is_stale(state: dict[str, Any], rounds: int) -> bool:
    return rounds > 0 and state["best"] is not None and state["epoch"] - state["best"]["epoch"] >= rounds


def _resume(folder: Path, signature: dict[str, Any], config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state of the checkpoint if it belongs to this experiment and that was not finished."""
    path = folder / "checkpoint.pth"
    # metrics.json is the last thing a run writes: where it stands, there is nothing to go on with
    if config["resume"] == "never" or not path.exists() or (folder / "metrics.json").exists():
        return None
    state = load_torch(path)
    if state.pop("signature") != signature:
        log.warning(f"{path} belongs to other settings or data; training starts anew")
        return None
    log.info(f"going on after epoch {state['epoch']} of {path} (--resume never starts anew)")
    return state


def _write_state(folder: Path, state: dict[str, Any], model: LightGCN, optimizer: torch.optim.Optimizer,
                 rng: np.random.Generator, signature: dict[str, Any]) -> None:
    save_torch(folder / "checkpoint.pth", {**state, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                                           "rng": rng.bit_generator.state, "signature": signature})
    with atomic_write(folder / "history.jsonl") as file:
        file.writelines(json.dumps(line).encode() + b"\n" for line in state["history"])
