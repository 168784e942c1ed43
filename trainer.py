"""Training: the loss, the epoch loop, early stopping on valid, checkpoint and resume."""

import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed as dist
from tqdm import tqdm

from calibration import calibrate
from data_loader import Dataset, normalized_adjacency
from evaluator import evaluate_warm, means
from linear import linear_users
from llm_embedding import TextVectors, fused_text
from losses import BATCHES, id_dropout
from model import LightGCN
from runtime import manifest
from runtime.checkpoints import CHECKPOINT, Saving, resume
from runtime.distributed import from_first, patiently, rank
from runtime.files import atomic_write, save_torch
from runtime.memory import enough_for
from shallow import normalized

log = logging.getLogger("aglrec")

# of training that a kill can cost, in epochs that last longer
SAVE_SECONDS = 300.0
EXPLODED = 1000  # times the loss of guessing


def build_model(dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> LightGCN:
    """Build the untrained model on its device; a side whose text is switched off brings rows of zeros."""
    text = None
    if vectors.items is not None:
        text = torch.from_numpy(fused_text(vectors, config))
    generator = torch.Generator().manual_seed(config["seed"])
    popularity = torch.from_numpy(np.bincount(dataset.train.indices, minlength=dataset.n_items))
    return LightGCN(normalized_adjacency(dataset.train).to(device), dataset.n_users, config["embedding_dim"],
                    config["num_layers"], config["fusion_mode"], text, config["init_std"], generator,
                    initial=svd_start(dataset.train, config["embedding_dim"]) if config["init"] == "svd" else None,
                    normalize=config["normalize"], temperature=config["temperature"],
                    has_bias=config["calibrate"] or config["cold_cost"] < 1 and bool((popularity == 0).any()),
                    popularity=None if np.diff(dataset.train.indptr).all() else popularity.float().log1p())


def svd_start(train: sp.csr_matrix, embedding_dim: int) -> torch.Tensor:
    """Factorise the normalised train matrix: (n_users + n_items, D), U sqrt(S) above V sqrt(S).

    Source:
        Halko et al. 2011, randomised SVD (scikit-learn's); the matrix is the upper right block of A.
    """
    from sklearn.utils.extmath import randomized_svd
    rank = min(embedding_dim, *train.shape)
    u, s, vt = randomized_svd(normalized(train), rank, n_iter=4, random_state=0)
    vectors = np.concatenate([u, vt.T]) * np.sqrt(s)  # (N, rank)
    return torch.from_numpy(np.pad(vectors, ((0, 0), (0, embedding_dim - rank))).astype(np.float32))


def restore(model: LightGCN, state: dict[str, torch.Tensor], dataset: Dataset) -> None:
    """Give a model the state of a finished run."""
    if "linear_inputs" in state:
        inputs, outputs, power = (state[f"linear_{name}"] for name in ("inputs", "outputs", "power"))
        model.add_linear(inputs, outputs, power, linear_users(inputs, power.item(), dataset.train))
    model.load_state_dict(model.own_state(state))


def fit(model: LightGCN, dataset: Dataset, config: dict[str, Any], signature: dict[str, Any],
        selected: dict[str, Any] | None = None, measured: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train with early stopping on valid, write checkpoint, history and best model, restore the best epoch.

    Ctrl-C finishes the step, saves, and then stops.

    Args:
        model: as from build_model; holds the best epoch's weights afterwards.
        dataset: its test parts are not looked at.
        config: as from get_config.
        signature: what makes this experiment this one; a checkpoint with another is refused. Its "text" says what the
            text vectors were made of.
        selected: what was decided before training, which is reported along with what is decided after it.
        measured: metrics of the same settings with parts held out, where this run has none: training lasts until its
            best epoch, and what it decided is taken over.

    Returns:
        {"epoch", "valid", "epochs_run", "decided", "train_s"}: the best epoch, its valid metrics, the number of epochs
        trained, what was decided on valid, and the seconds spent in training steps.

    Raises:
        FloatingPointError: the loss is no longer finite, or exploded; the best epoch stays in checkpoint.pth.
        ValueError: the folder has the checkpoint of another experiment.
    """
    folder, metric = Path(config["saved_dir"]), config["early_stop_metric"]
    optimizer = adam(model, config["lr"])
    rng = np.random.default_rng([config["seed"], 3])
    state = from_first(lambda: resume(folder, signature, config)) or {"epoch": 0, "history": [], "best": None}
    if "model" in state:
        load_state(state, model, optimizer, rng)
    last = measured["epoch"] if measured else config["epochs"]
    with patiently() as is_asked:
        saving = Saving(folder, signature, is_asked)
        while state["epoch"] < last and not _is_stale(state, config["early_stop_round"]):
            _one_epoch(state, model, optimizer, dataset, config, rng, saving, last)
    best = state["best"]
    model.load_state_dict(model.own_state(best["state_dict"]))
    decided = calibrate(model, dataset, config, measured and measured["decided"])
    if decided and not measured:
        vectors = model.embeddings()
        best["valid"] = from_first(lambda: means(evaluate_warm(*vectors, dataset, "valid", config)))
        log.info(f"with what was decided on valid: {metric} {best['valid'][metric]:.4f}")
    decided = (selected or {}) | decided
    best["state_dict"] = model.whole_state(model.state_dict())
    if rank() == 0:
        with atomic_write(folder / "history.jsonl") as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in state["history"])
        save_torch(folder / "best_model.pth", {**best, "config": config, "text": signature["text"], "decided": decided,
                                               "dataset_fingerprint": dataset.fingerprint})
        manifest.enter(folder, manifest.run_id(signature), "history.jsonl", "best_model.pth")
    return {"epoch": best["epoch"], "valid": best["valid"], "epochs_run": state["epoch"], "decided": decided,
            "train_s": sum(line["seconds"] for line in state["history"])}


def _one_epoch(state: dict[str, Any], model: LightGCN, optimizer: torch.optim.Optimizer, dataset: Dataset,
               config: dict[str, Any], rng: np.random.Generator, saving: Saving, last: int) -> None:
    """Train an epoch, or what is left of it, evaluate if it is due, and enter both into the state, which is saved."""
    start, at_start = time.perf_counter(), rng.bit_generator.state
    before = state.get("middle") or {"seconds": 0.0}

    def whole() -> dict[str, Any]:
        return {"model": model.whole_state(model.state_dict()), "optimizer": optimizer_state(model, optimizer)}

    def keep(middle: dict[str, Any]) -> None:
        middle["seconds"] = before["seconds"] + time.perf_counter() - start
        saving.write({**state, **whole(), "rng": at_start, "middle": middle})

    try:
        loss = train_epoch(model, optimizer, dataset, config, rng, state["epoch"] + 1, middle=state.pop("middle", None),
                           pause=Pause(saving.is_asked, keep))
    except FloatingPointError as error:
        if state["best"]:
            saving.write({**state, "rng": at_start})
        raise FloatingPointError(f"{error}{_kept(saving.folder, state)}") from None
    seconds = before["seconds"] + time.perf_counter() - start
    state["epoch"] += 1
    state["history"].append({"epoch": state["epoch"], "loss": loss, "seconds": seconds})
    state |= whole()
    said = ""
    if state["epoch"] % config["eval_every"] == 0 or state["epoch"] == last:
        said = _evaluated(state, model, dataset, config)
    log.info(f"epoch {state['epoch']:3d}  loss {loss:.4f}  {seconds:.1f} s{said}")
    saving.after_epoch({**state, "rng": rng.bit_generator.state})


def _evaluated(state: dict[str, Any], model: LightGCN, dataset: Dataset, config: dict[str, Any]) -> str:
    """Evaluate the epoch that has ended on valid, keep it in the state if it is the best, and say how it did."""
    vectors, metric = model.embeddings(), config["early_stop_metric"]
    valid = from_first(lambda: means(evaluate_warm(*vectors, dataset, "valid", config)))
    state["history"][-1] |= valid
    # without valid rows there is nothing to choose by, and the last epoch stays
    better = not dataset.valid.nnz or state["best"] is None or valid[metric] > state["best"]["valid"][metric]
    if better:
        state["best"] = {"state_dict": state["model"], "epoch": state["epoch"], "valid": valid}
    return f"  valid {metric} {valid[metric]:.4f}{' *' if better else ''}"


class Pause(NamedTuple):
    """When an epoch is interrupted to save what was done of it: every SAVE_SECONDS, and when the user asks for it."""

    is_asked: Callable[[], bool]
    keep: Callable[[dict[str, Any]], None]  # takes what train_epoch needs to go on from here


@enough_for("a step of training", "lower --batch_size, or else --embedding_dim")
def train_epoch(model: LightGCN, optimizer: torch.optim.Optimizer, dataset: Dataset, config: dict[str, Any],
                rng: np.random.Generator, epoch: int, middle: dict[str, Any] | None = None,
                pause: Pause | None = None) -> float:
    """Take a step on every batch of the train pairs and return the mean loss a pair, without the penalty.

    With middle, what pause.keep was given in an interrupted epoch, the steps before it are left out; rng must be as at
    the start of that epoch.
    """
    device = model.id_emb.device
    loss_of, batches = BATCHES[config["loss"]](dataset.train, config["batch_size"], rng, device)
    generator = torch.Generator(device).manual_seed(config["seed"] * 1_000_003 + epoch)
    drop = id_dropout(model, config["id_dropout"], generator)
    done, total, n_pairs, saved_at = 0, torch.zeros((), device=device), 0, time.monotonic()
    n_sane = torch.zeros((), device=device)
    if middle:
        done, total, n_pairs = middle["steps"], middle["total"].to(device), middle["n_pairs"]
        generator.set_state(middle["generator"])
    for step, (batch, weight) in enumerate(tqdm(batches, desc=f"epoch {epoch}", unit="batch", leave=False,
                                                mininterval=0.5, disable=True if rank() > 0 else None)):
        if step < done:
            continue
        set_lr(optimizer, config, epoch - 1 + step / len(batches))
        loss, penalty = loss_of(model, *batch, config["reg_lambda"], drop)
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        optimizer.step()
        total += loss.detach() * weight
        n_pairs += weight
        n_sane += total.isfinite()  # looked at after the epoch alone: a GPU is not waited for
        if pause and _is_due(pause, step, saved_at) and step + 1 < len(batches):
            pause.keep({"steps": step + 1, "total": total.cpu(), "n_pairs": n_pairs,
                        "generator": generator.get_state()})
            saved_at = time.monotonic()
    mean = total.item() / max(n_pairs, 1)
    if not math.isfinite(mean):
        raise FloatingPointError(f"the loss became {mean} in epoch {epoch}, batch {done + int(n_sane) + 1} of "
                                 f"{len(batches)}; lower --lr (it is {config['lr']:g})")
    # to guess costs the logarithm of the number of titles, or less
    if mean > EXPLODED * math.log(dataset.train.shape[1] + 2):
        raise FloatingPointError(f"the loss grew to {mean:.3g} in epoch {epoch}, {EXPLODED:,} times that of guessing; "
                                 f"lower --lr (it is {config['lr']:g})")
    return mean


def _is_due(pause: Pause, step: int, saved_at: float) -> bool:
    """Tell whether to save now; processes that train together ask the first one, and not at every step."""
    if dist.is_initialized():
        return step % 64 == 63 and from_first(lambda: time.monotonic() - saved_at > SAVE_SECONDS)
    return pause.is_asked() or time.monotonic() - saved_at > SAVE_SECONDS


def adam(model: LightGCN, lr: float) -> torch.optim.Adam:
    """Return Adam over the model's parameters, W_id of concat with a rate of lr / embedding_dim.

    A step moves every entry by about the rate, and a row of W_id reaches embedding_dim numbers of each id vector at
    once. With one rate for all, what suits the id vectors throws W_id far from the identity that it starts as.

    Source:
        Yang et al. 2021, Tensor Programs V, https://arxiv.org/abs/2203.03466: with Adam the rate of a matrix goes with
        1 / fan-in.
    """
    shares = {"id_weight": 1 / model.embedding_dim}
    return torch.optim.Adam([{"params": [parameter], "share": shares.get(name, 1.0)}
                             for name, parameter in model.named_parameters()], lr=lr, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, config: dict[str, Any], epochs_done: float) -> None:
    """Set the learning rates for the next step by lr_schedule, each parameter's its share of lr."""
    share = min(epochs_done / config["epochs"], 1.0)
    factor = 0.5 * (1 + math.cos(math.pi * share)) if config["lr_schedule"] == "cosine" else 1.0
    for group in optimizer.param_groups:
        group["lr"] = config["lr"] * factor * group["share"]


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


def load_state(state: dict[str, Any], model: LightGCN, optimizer: torch.optim.Optimizer,
               rng: np.random.Generator) -> None:
    """Go on from a checkpoint, each process with its share."""
    model.load_state_dict(model.own_state(state["model"]))
    moments = _each_moment(model, state["optimizer"]["state"], model.own_state)
    optimizer.load_state_dict({**state["optimizer"], "state": moments})
    rng.bit_generator.state = state["rng"]


def _each_moment(model: LightGCN, moments: dict[int, dict[str, torch.Tensor]],
                 convert: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> dict[int, dict[str, Any]]:
    """Apply whole_state or own_state to the moments of every parameter; the step count is no moment."""
    names = [name for name, _ in model.named_parameters()]
    return {number: {key: value.clone() if key == "step" else convert({names[number]: value})[names[number]]
                     for key, value in of_one.items()} for number, of_one in moments.items()}
