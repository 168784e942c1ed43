"""Training: the epoch loop, early stopping on valid, resuming; the parts of a step are in training/."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_loader import Dataset
from model import LightGCN
from runtime import manifest
from runtime.checkpoints import CHECKPOINT, CheckpointWriter, resume
from runtime.distributed import deferred_interrupt, rank
from runtime.files import atomic_write, save_torch
from runtime.identity import RunIdentity
from runtime.log_streams import open_stream
from runtime.safe_files import parse_json
from training.after_training import calibrate
from training.epoch import Pause, train_epoch
from training.optimizer import adam
from training.validation import valid_metrics

log = logging.getLogger("aglrec")

RESULT = ("epoch", "valid", "decided", "other_code")  # of best_model.pth, that metrics.json has as well


def fit(
    model: LightGCN,
    dataset: Dataset,
    config: dict[str, Any],
    identity: RunIdentity,
    selected: dict[str, Any] | None = None,
    measured: dict[str, Any] | None = None,
    epochs_before: int = 0,
) -> dict[str, Any]:
    """Train with early stopping on valid, write checkpoint, history and best model, restore the best epoch.

    Ctrl-C finishes the step, saves, and then stops.

    Args:
        model: as from build_model; holds the best epoch's weights afterwards.
        dataset: its test parts are not looked at.
        config: the settings of identity, with what was chosen before training.
        identity: of this run; the checkpoint of another is refused.
        selected: what was chosen before training, as from choose_before_training; it is saved with the model.
        measured: metrics of the same settings with parts held out, where this run has no valid part: training lasts
            until their best epoch, and what they decided is set again.
        epochs_before: how many epochs count as done, of a model that goes on from an earlier one.

    Returns:
        {"epoch", "valid", "epochs_run", "decided", "train_s", "earlier_s"}: the best epoch, its valid metrics, the
        number of epochs trained, what was decided on valid, the seconds spent in training steps, and how many of these
        were spent before an interrupted run was resumed; "other_code" if a part of it was trained before these modules
        were changed.

    Raises:
        FloatingPointError: the loss is no longer finite, or exploded; the best epoch stays in checkpoint.pth.
        ValueError: the folder has the checkpoint of another run.
    """
    folder, metric = Path(config["saved_dir"]), config["early_stop_metric"]
    optimizer, rng = adam(model, config["lr"]), np.random.default_rng([config["seed"], 3])
    state = resume(folder, identity.signature, config) or {"epoch": epochs_before, "history": [], "best": None}
    earlier_s = _result_of(state["history"])["train_s"] + (state.get("middle") or {"seconds": 0.0})["seconds"]
    if "model" in state:
        load_state(state, model, optimizer, rng)
    last = measured["epoch"] if measured else config["epochs"]
    with deferred_interrupt() as is_asked:
        writer = CheckpointWriter(folder, identity.signature, is_asked)
        stream = open_stream(config, identity.run_id, state["history"])
        while state["epoch"] < last and not _is_stale(state, config["early_stop_round"]):
            _one_epoch(state, model, optimizer, dataset, config, rng, writer, last)
            stream.add_epoch(state["history"][-1])
        stream.close()
    best = state["best"]
    model.load_state_dict(model.own_state(best["state_dict"]))
    decided = calibrate(
        model, dataset, config, measured and measured["decided"], bool(identity.config.get("rating_weight"))
    )
    if decided and (not measured or dataset.valid.nnz):
        best["valid"] = valid_metrics(model, dataset, config)
        log.info(f"with what was decided on valid: {metric} {best['valid'][metric]:.4f}")
    best |= {"state_dict": model.whole_state(model.state_dict()), "decided": (selected or {}) | decided}
    best |= {"other_code": state["other_code"]} if state.get("other_code") else {}
    if rank() == 0:
        _write_model(folder, identity, best, state["history"])
    found = {**_result_of(state["history"]), "earlier_s": earlier_s}
    return {**found, **{key: best[key] for key in RESULT if key in best}}


def _write_model(folder: Path, identity: RunIdentity, best: dict[str, Any], history: list[dict[str, Any]]) -> None:
    with atomic_write(folder / "history.jsonl") as file:
        file.writelines(json.dumps(line).encode() + b"\n" for line in history)
    origin = {"config": identity.config, "text": identity.text, "dataset_fingerprint": identity.fingerprint}
    origin |= {"base": identity.base} if identity.base else {}
    save_torch(folder / "best_model.pth", {**best, **origin, "values": identity.values, "code": identity.code})
    manifest.record(folder, identity.run_id, "history.jsonl", "best_model.pth")


def saved_result(checkpoint: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what fit returned when it trained the model of a checkpoint; without its history, as far as is known."""
    path = folder / "history.jsonl"
    history = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {**_result_of(history), **{key: checkpoint[key] for key in RESULT if key in checkpoint}}


def _result_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    return {"epochs_run": len(history), "train_s": sum(line["seconds"] for line in history)}


def _one_epoch(
    state: dict[str, Any],
    model: LightGCN,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    config: dict[str, Any],
    rng: np.random.Generator,
    writer: CheckpointWriter,
    last: int,
) -> None:
    """Train an epoch, or what is left of it, evaluate if it is due, and enter both into the state, which is saved."""
    start, at_start = time.perf_counter(), rng.bit_generator.state
    before = state.get("middle") or {"seconds": 0.0}

    def whole() -> dict[str, Any]:
        return {"model": model.whole_state(model.state_dict()), "optimizer": optimizer_state(model, optimizer)}

    def keep(middle: dict[str, Any]) -> None:
        middle["seconds"] = before["seconds"] + time.perf_counter() - start
        writer.write({**state, **whole(), "rng": at_start, "middle": middle})

    try:
        loss = train_epoch(
            model,
            optimizer,
            dataset,
            config,
            rng,
            state["epoch"] + 1,
            middle=state.pop("middle", None),
            pause=Pause(writer.is_asked, keep),
        )
    except FloatingPointError as error:
        if state["best"]:
            writer.write({**state, "rng": at_start})
        raise FloatingPointError(f"{error}{_kept(writer.folder, state)}") from None
    seconds = before["seconds"] + time.perf_counter() - start
    state["epoch"] += 1
    state["history"].append({"epoch": state["epoch"], "loss": loss, "seconds": seconds})
    state |= whole()
    result = ""
    if state["epoch"] % config["eval_every"] == 0 or state["epoch"] == last:
        result = _evaluated(state, model, dataset, config)
    log.info(f"epoch {state['epoch']:3d}  loss {loss:.4f}  {seconds:.1f} s{result}")
    writer.after_epoch({**state, "rng": rng.bit_generator.state})


def _evaluated(state: dict[str, Any], model: LightGCN, dataset: Dataset, config: dict[str, Any]) -> str:
    """Evaluate the epoch that has ended on valid, keep it in the state if it is the best, and say how it did."""
    valid, metric = valid_metrics(model, dataset, config), config["early_stop_metric"]
    # without valid rows there is nothing to choose by, and the last epoch stays
    better = not dataset.valid.nnz or state["best"] is None or valid[metric] > state["best"]["valid"][metric]
    if better:
        state["best"] = {"state_dict": state["model"], "epoch": state["epoch"], "valid": valid}
    if not dataset.valid.nnz:  # whose figures are 0, and no figures
        return ""
    state["history"][-1] |= valid
    error = f" ± {valid['drawn']['standard_error'][metric]:.4f}" if "drawn" in valid else ""
    return f"  valid {metric} {valid[metric]:.4f}{error}{' *' if better else ''}"


def _kept(folder: Path, state: dict[str, Any]) -> str:
    """Say where the best epoch is when a later one fails."""
    best = state["best"]
    return f"; {folder / CHECKPOINT} keeps epoch {best['epoch']}, the best so far" if best else ""


def _is_stale(state: dict[str, Any], rounds: int) -> bool:
    """Tell whether the epoch that was evaluated last came so many after the best one."""
    evaluated = [line["epoch"] for line in state["history"] if len(line) > len(("epoch", "loss", "seconds"))]
    return rounds > 0 and bool(evaluated) and evaluated[-1] - state["best"]["epoch"] >= rounds


def optimizer_state(model: LightGCN, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return Adam's moments as a single process would hold them, whatever the number of processes."""
    state = optimizer.state_dict()
    return {**state, "state": _each_moment(model, state["state"], model.whole_state)}


def load_state(
    state: dict[str, Any], model: LightGCN, optimizer: torch.optim.Optimizer, rng: np.random.Generator
) -> None:
    """Resume from the state of a checkpoint: weights, Adam's moments and the generator, each process with its share."""
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
