"""The checks of benchmarks.gpu: that a device gives what the CPU gives; each check stands on its own."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed as dist

import trainer
from benchmarks.graphs import csr_of_keys, synthetic_graph
from benchmarks.train import unit_vectors
from config import get_config
from dataset.dataset import Dataset, no_comments
from dataset.splits import PARTS
from evaluation.ranking import rank_items
from evaluator import evaluate, evaluate_warm, means
from llm_embedding import TextVectors
from model import LightGCN
from runtime import checkpoints
from runtime.checkpoints import CHECKPOINT
from runtime.distributed import process_group, sum_over_processes
from runtime.files import load_torch
from runtime.identity import RunIdentity
from training import model_factory
from training import optimizer as optimizer_module
from training.after_training import calibrate
from training.cold_offset import cold_offset
from training.losses import BATCHES, epoch_batches
from training.steps import Drop, id_dropout

CPU = torch.device("cpu")
VECTORS, LOSSES = 1e-5, 1e-4  # by how much, relatively, the device may differ in vectors and scores, and in losses
STEPS = 50  # over which losses are compared
FEATURES = {"normalize": True, "temperature": 0.2, "cold_cost": 0.01}  # all that a step can have, and an offset


class Setup(NamedTuple):
    """What the checks share."""

    dataset: Dataset
    vectors: TextVectors
    device: torch.device
    config: dict[str, Any]


class Disagreement(AssertionError):
    """The device gives something else than the CPU, or than it should."""


class Skipped(Exception):
    """There is nothing to check or to measure here; the message says why."""


def small_dataset(n_pairs: int, seed: int) -> Dataset:
    """Draw a dataset with titles without a history, each tenth, and users without one, as chance has it."""
    pairs, rng = synthetic_graph(n_pairs, seed), np.random.default_rng([seed, 5])
    users, is_cold = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr)), pairs.indices % 10 == 0
    lots = rng.random(len(users))
    names = np.where(
        is_cold,
        np.where(lots < 0.5, "cold_valid", "cold_test"),
        np.select([lots < 0.8, lots < 0.9], ["train", "valid"], "test"),
    )
    keys = users * pairs.shape[1] + pairs.indices
    parts = {name: csr_of_keys(keys[names == name], pairs.shape) for name in (*PARTS, "excluded")}
    user_ids, item_ids = (list(map(str, range(n))) for n in pairs.shape)
    return Dataset(
        **parts,
        seen=pairs,
        raw_user_ids=user_ids,
        raw_item_ids=item_ids,
        user_names=user_ids,
        item_names=item_ids,
        item_texts=item_ids,
        item_tags=[""] * len(item_ids),
        facts={},
        user_comments=no_comments(),
    )


def set_up(device: torch.device, n_pairs: int, text_dim: int, batch_size: int, seed: int) -> Setup:
    """Draw the dataset and its text vectors; each seventh title has none."""
    dataset = small_dataset(n_pairs, seed)
    text = unit_vectors(dataset.n_users + dataset.n_items, text_dim, seed).numpy()
    users, items = np.split(text, [dataset.n_users])
    items[::7] = 0
    config = get_config(
        {
            "num_layers": 3,
            "lr": 0.01,
            "batch_size": batch_size,
            "top_k": [20],
            "seed": seed,
            "device": str(device),
            "early_stop_round": 0,
            "valid_ratio": 0.1,
        }
    )
    return Setup(dataset, TextVectors(items, users, {}), device, config)


def build(setup: Setup, device: torch.device, **more: Any) -> LightGCN:
    """Build the untrained model as main.py does; it starts alike on every device."""
    return model_factory.build_model(setup.dataset, setup.vectors, {**setup.config, **more}, device)


def training(
    model: LightGCN, pairs: sp.csr_matrix, config: dict[str, Any], drop: Drop | None = None
) -> Iterator[torch.Tensor]:
    """Take a training step for each value asked for, its loss, which is not waited for."""
    device, optimizer = model.id_emb.device, optimizer_module.adam(model, config["lr"])
    loss_of, batches = epoch_batches(pairs, config, np.random.default_rng(config["seed"]), device)
    generator = torch.Generator(device).manual_seed(config["seed"])
    drop = drop or id_dropout(model, config["id_dropout"], generator)
    for batch, _ in itertools.cycle(batches):
        loss, penalty = loss_of(model, *batch, config, drop)
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        optimizer.step()
        yield loss.detach()


def losses_of(
    setup: Setup, device: torch.device, drop: Callable[[LightGCN], Drop] | None = None, **more: Any
) -> torch.Tensor:
    """Train a new model for some steps and return their losses, on the CPU."""
    model = build(setup, device, **more)
    steps = training(model, setup.dataset.train, {**setup.config, **more}, drop and drop(model))
    return torch.stack(list(itertools.islice(steps, STEPS))).cpu()


def trained(setup: Setup, **more: Any) -> LightGCN:
    """Return a model after some steps, on the CPU."""
    model = build(setup, CPU, **more)
    list(itertools.islice(training(model, setup.dataset.train, {**setup.config, **more}), STEPS))
    return model


def agree(what: str, found: float, allowed: float) -> str:
    """Say how large a difference is.

    Raises:
        Disagreement: larger than allowed, or no number.
    """
    if not found <= allowed:
        raise Disagreement(f"{what} differ by {found:.2g}, and {allowed:.2g} is allowed")
    return f"{found:.1g} of {allowed:.1g}"


def agree_losses(found: torch.Tensor, expected: torch.Tensor) -> str:
    """Say how large the largest relative difference of losses is; see agree."""
    return agree("losses", ((found - expected).abs() / expected).max().item(), LOSSES)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, each column's beside its largest number."""
    size = expected.abs().amax(dim=0).clamp_min(1e-12)
    return ((found.cpu() - expected.cpu()).abs().amax(dim=0) / size.cpu()).max().item()


# --- checks: each returns what was seen, and raises what is wrong ---


def check_embeddings(setup: Setup, fusion: str) -> str:
    """Compare the final vectors of all nodes."""
    expected, found = (
        torch.cat(build(setup, device, fusion_mode=fusion).embeddings()) for device in (CPU, setup.device)
    )
    return agree("vectors", relative(found, expected), VECTORS)


def check_losses(setup: Setup, loss: str) -> str:
    """Compare the losses of a training, step by step."""
    expected, found = (losses_of(setup, device, loss=loss) for device in (CPU, setup.device))
    if not expected[-5:].mean() < expected[:5].mean():
        raise Disagreement(f"the loss does not fall: {expected[0]:.4g} to {expected[-1]:.4g}")
    return agree_losses(found, expected)


def check_text_alone(setup: Setup, loss: str) -> str:
    """Compare the losses where every third title with text is placed by it alone: by position, and by mask on a GPU."""

    def every_third(model: LightGCN) -> Drop:
        return lambda nodes: model.has_item_text[nodes] & (nodes % 3 == 0)

    return agree_losses(
        *(losses_of(setup, device, every_third, loss=loss, **FEATURES) for device in (setup.device, CPU))
    )


def check_dropout(setup: Setup) -> str:
    """See that id_dropout draws the share asked for and, where nodes are repeated, once a title."""
    model = build(setup, setup.device)
    drop = id_dropout(model, 0.3, torch.Generator(setup.device).manual_seed(0))
    nodes = torch.arange(len(model.has_item_text), device=setup.device)
    twice = [drop(nodes.repeat(2)).view(2, -1) for _ in range(100)]
    share = torch.stack(twice)[:, :, model.has_item_text].float().mean().item()
    if setup.device.type == "cuda" and not all(torch.equal(*pair) for pair in twice):
        raise Disagreement("a title that stands twice in a step is placed alone once")
    return agree("share and draws", abs(share - 0.3), 0.02)


def check_ranking(setup: Setup) -> str:
    """Rank the same vectors on both: scores at every place, true to the item there, and the metrics."""
    vectors, data = trained(setup).embeddings(), setup.dataset
    there = [part.to(setup.device) for part in vectors]
    users = np.flatnonzero(np.diff(data.test.indptr))
    expected, found = (rank_items(*pair, users, data.masked_for("test"), 20) for pair in (vectors, there))
    if ((expected.items < 0) != (found.items < 0)).any():
        raise Disagreement("lists are not equally long")
    true = (vectors[0][users][:, None] * vectors[1][found.items]).sum(dim=2).numpy()
    listed, size = found.items >= 0, np.abs(true).max()
    for what, scores in (("scores at a place", expected.scores), ("scores and items", true)):
        agree(what, float(np.abs(found.scores - scores)[listed].max() / size), VECTORS)
    metrics = [means(evaluate(*pair, data.test, data.masked_for("test"), setup.config)) for pair in (vectors, there)]
    # in one user's list two titles that score alike to the last digits may change places
    return agree("metrics", max(abs(metrics[0][key] - metrics[1][key]) for key in metrics[0]), 2 / len(users))


def check_ties(setup: Setup) -> str:
    """Rank by scores that are all small integers: ordered by score, and among equal ones at random."""
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.integers(0, 4, (50, 700)).astype(np.float32))
    masked = sp.csr_matrix((rng.random((50, 700)) < 0.1).astype(np.float32))
    open_scores = np.where(masked.toarray() > 0, -np.inf, scores.numpy())
    vectors = torch.eye(50, device=setup.device), scores.T.contiguous().to(setup.device)
    lists = [rank_items(*vectors, np.arange(50), masked, 300, seed=seed).items for seed in (0, 0, 1)]
    for items in lists:
        if not np.array_equal(np.take_along_axis(open_scores, items, 1), -np.sort(-open_scores, 1)[:, :300]):
            raise Disagreement("a list is not in the order of the scores")
        if any(len(set(row)) < 300 for row in items.tolist()):
            raise Disagreement("a list holds a title twice")
    if not np.array_equal(lists[0], lists[1]) or np.array_equal(lists[0], lists[2]):
        raise Disagreement("the seed does not decide the order of ties")
    ascending = np.mean(np.diff(lists[0], axis=1)[np.diff(np.take_along_axis(open_scores, lists[0], 1)) == 0] > 0)
    return agree("places of ties and chance", abs(float(ascending) - 0.5), 0.05)


def check_calibration(setup: Setup) -> str:
    """Compare the offsets found for titles without a history by the lists that they give."""
    model, data, config = trained(setup, **FEATURES), setup.dataset, {**setup.config, **FEATURES}
    is_cold = (model.is_cold & model.has_item_text[data.n_users :]).numpy()
    user_emb, item_emb = model.embeddings()
    found = [
        cold_offset(user_emb.to(device), item_emb.to(device), is_cold, data, config) for device in (CPU, setup.device)
    ]
    column, lists = user_emb.shape[1] - 1 - (model.popularity is not None), []  # of the items' bias
    for offset, _ in found:
        lowered = item_emb.clone()
        lowered[:, column] -= offset * torch.from_numpy(is_cold)
        lists.append(
            means(
                evaluate(user_emb, lowered, data.valid, data.masked_for("valid") + data.cold_valid, config, auc=False)
            )["NDCG@20"]
        )
    figures = [abs(found[0][1][key] - found[1][1][key]) for key in ("chosen", "highest", "none listed")]
    return agree("valid metrics", max(*figures, abs(lists[0] - lists[1])), 4 / data.n_users)


def check_columns(setup: Setup) -> str:
    """Decide what stands beside the same trained columns on both, and compare what the lists are worth."""
    more = {**FEATURES, "calibrate": True, "linear_dim": 16}
    config, state, found = {**setup.config, **more}, trained(setup, **more).state_dict(), []
    for device in (CPU, setup.device):
        model = build(setup, device, **more)
        model_factory.restore(model, state, setup.dataset)
        weights = calibrate(model, setup.dataset, config)["weights"]
        if not any(weights.values()):
            raise Disagreement("nothing was set beside columns that were hardly trained")
        found.append(means(evaluate_warm(*model.embeddings(), setup.dataset, "valid", config, auc=False))["NDCG@20"])
    return agree("valid metrics", abs(found[0] - found[1]), 4 / setup.dataset.n_users)


def fit_until(setup: Setup, device: torch.device, folder: Path, epochs: int) -> torch.Tensor:
    """Train with trainer.fit up to an epoch, resuming from what lies in folder; the losses of all epochs."""
    config = {**setup.config, "saved_dir": str(folder), "epochs": epochs}
    with mock.patch.object(checkpoints, "SHARE", 1e9):  # so that every epoch is kept
        trainer.fit(build(setup, device), setup.dataset, config, RunIdentity({}, "", {"encoder": None}, {}))
    return torch.tensor([line["loss"] for line in load_torch(folder / CHECKPOINT)["history"]], dtype=torch.float64)


def check_resume(setup: Setup) -> str:
    """Train two epochs on the CPU, resume on the device, and then on the CPU again."""
    with tempfile.TemporaryDirectory() as name:
        moved, stayed = Path(name, "moved"), Path(name, "stayed")
        begun = fit_until(setup, CPU, moved, 2)
        fit_until(setup, setup.device, moved, 4)
        found, expected = (fit_until(setup, CPU, folder, 5) for folder in (moved, stayed))
    if len(found) != 5 or not torch.equal(found[:2], begun):
        raise Disagreement(f"training was not resumed: {begun.tolist()}, then {found.tolist()}")
    return agree_losses(found, expected)


def check_no_wait(setup: Setup) -> str:
    """Take steps of every loss, with and without id_dropout, while torch refuses to wait for the GPU."""
    if setup.device.type == "cpu":
        raise Skipped("on a CPU there is no queue to wait for")
    for loss, share, more in itertools.product(BATCHES, (0.0, 0.3), ({}, {"fusion_mode": "sum", **FEATURES})):
        config = {"loss": loss, "id_dropout": share, **more}
        steps = training(build(setup, setup.device, **config), setup.dataset.train, {**setup.config, **config})
        list(itertools.islice(steps, 3))
        torch.cuda.synchronize(setup.device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            list(itertools.islice(steps, 3))
        except RuntimeError as error:
            raise Disagreement(f"with {config}: {error}") from error
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return f"{4 * len(BATCHES)} settings"


def check_group(setup: Setup) -> str:
    """Join a process group of one: all_reduce, and the losses with and without it."""
    place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # 0: any free port
    place["LOCAL_RANK"] = str(setup.device.index or 0)
    more = {"loss": "softmax", "fusion_mode": "concat"}
    expected = losses_of(setup, setup.device, **more)
    with mock.patch.dict(os.environ, place), process_group():
        ones = torch.ones(8, device=setup.device)
        if not dist.is_initialized() or not torch.equal(sum_over_processes(ones), ones):
            raise Disagreement("the sum over one process is not what that process has")
        found = losses_of(setup, setup.device, **more)
    return agree_losses(found, expected)


def checks() -> dict[str, Callable[[Setup], str]]:
    """Name the checks, in the order in which they run."""
    named = {f"embeddings, {fusion}": partial(check_embeddings, fusion=fusion) for fusion in ("none", "sum", "concat")}
    for loss in BATCHES:
        named[f"losses, {loss}"] = partial(check_losses, loss=loss)
        named[f"placed by text alone, {loss}"] = partial(check_text_alone, loss=loss)
    return named | {
        "id_dropout": check_dropout,
        "ranking": check_ranking,
        "ties": check_ties,
        "calibration": check_calibration,
        "columns beside": check_columns,
        "resume from the CPU": check_resume,
        "no waiting in a step": check_no_wait,
        "process group of one": check_group,
    }
