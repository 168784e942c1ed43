"""Time AGLRec's training step beside the standard form's, block by block in one run.

    python -m benchmarks.train --gowalla FOLDER --out train.json --full_epoch

An epoch's time is its number of steps times the median step, plus the sampling; --full_epoch trains whole epochs.
"""

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import common
from benchmarks.graphs import Graph, load_graph
from benchmarks.reference import PlainLightGCN, plain_loss, plain_sample, user_sets
from config import get_config
from data_loader import normalized_adjacency
from evaluator import evaluate, means
from model import LightGCN
from training.bpr import bpr_loss, sample_triples
from training.epoch import train_epoch
from training.optimizer import adam

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Side(NamedTuple):
    """One of the implementations under the clock, with its own weights and optimiser."""

    name: str
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[..., tuple[torch.Tensor, torch.Tensor]]


class Bench(NamedTuple):
    """What all measurements of a run share."""

    graph: Graph
    norm_adj: torch.Tensor
    coo_adj: torch.Tensor
    device: torch.device
    repeats: int
    steps: int
    loss_steps: int
    seed: int


def settings(layers: int, batch_size: int, **others: Any) -> dict[str, Any]:
    """Return LightGCN's published settings with another K and batch size."""
    return get_config({"preset": "paper", "num_layers": layers, "batch_size": batch_size, "top_k": [20], **others})


def aglrec(
    norm_adj: torch.Tensor, n_users: int, config: dict[str, Any], text: torch.Tensor | None = None, name: str = "aglrec"
) -> Side:
    """Set up AGLRec as main.py does, with concat where there is text."""
    generator = torch.Generator().manual_seed(config["seed"])
    model = LightGCN(
        norm_adj, n_users, config["embedding_dim"], config["num_layers"], "concat", text, config["init_std"], generator
    )
    return Side(name, model, adam(model, config["lr"]), bpr_loss)


def reference(coo_adj: torch.Tensor, start: LightGCN, config: dict[str, Any], text: torch.Tensor | None = None) -> Side:
    """Set up the standard form with the weights of an AGLRec model."""
    model = PlainLightGCN(coo_adj, start.n_users, config["num_layers"], start.state_dict(), text)
    return Side("reference", model, torch.optim.Adam(model.parameters(), lr=config["lr"]), plain_loss)


def take_step(side: Side, batch: Batch, config: dict[str, Any]) -> torch.Tensor:
    """Train on one batch and return its BPR loss."""
    loss, penalty = side.loss(side.model, *batch, None, config)
    side.optimizer.zero_grad(set_to_none=True)
    (loss + penalty).backward()
    side.optimizer.step()
    return loss.detach()


def batches_of(bench: Bench, batch_size: int) -> Iterator[Batch]:
    """Draw an epoch's triples and give its full batches, over and over."""
    triples = sample_triples(bench.graph.train, np.random.default_rng([bench.seed, 3]))
    batches = torch.from_numpy(np.stack(triples)).to(bench.device).split(batch_size, dim=1)
    return itertools.cycle(batches[:-1] or batches)


def compare_losses(sides: list[Side], batches: Iterator[Batch], steps: int, config: dict[str, Any]) -> dict[str, float]:
    """Train all sides on the same batches; the largest difference between their losses, and how far these fell."""
    losses = torch.stack(
        [torch.stack([take_step(side, batch, config) for side in sides]) for batch in itertools.islice(batches, steps)]
    )  # (steps, sides)
    return {
        f"loss diff in {steps}": (losses.amax(dim=1) - losses.amin(dim=1)).max().item(),
        "loss fell by": (losses[0] - losses[-1]).min().item(),
    }


def step_seconds(sides: list[Side], batches: Iterator[Batch], bench: Bench, config: dict[str, Any]) -> dict[str, float]:
    """Alternate between the sides, a block of steps each, and return the median seconds a step of each."""
    blocks: dict[str, list[float]] = {side.name: [] for side in sides}
    for measured in [False, *[True] * bench.repeats]:  # the first round warms up
        for side in sides:
            start = common.clock(bench.device)
            for batch in itertools.islice(batches, bench.steps):
                take_step(side, batch, config)
            if measured:
                blocks[side.name].append((common.clock(bench.device) - start) / bench.steps)
    return {name: statistics.median(seconds) for name, seconds in blocks.items()}


def sampling_seconds(bench: Bench, n_pairs: int) -> dict[str, float]:
    """Time an epoch's sampling: ours whole, the pair-by-pair one on a slice and scaled up."""
    train, rng = bench.graph.train, np.random.default_rng(bench.seed)
    collected, n_pairs = user_sets(train), min(n_pairs, train.nnz)
    ours = common.median_seconds(lambda: sample_triples(train, rng), bench.repeats)
    pairs = rng.permutation(train.nnz)[:n_pairs]
    plain = common.median_seconds(lambda: plain_sample(train, collected, pairs, rng), bench.repeats)
    return {"aglrec_s": ours, "reference_s_scaled": plain * train.nnz / n_pairs, "reference_pairs_timed": n_pairs}


def compare(
    bench: Bench, layers: int, batch_size: int, sampling: dict[str, float], text_dim: int = 0
) -> dict[str, Any]:
    """Measure one pair of K and batch size; with text_dim, concat with text of users and items beside no text as well.

    An epoch's time is its number of steps times the median step, plus the sampling.
    """
    config, n_users = settings(layers, batch_size, seed=bench.seed), bench.graph.train.shape[0]
    text = unit_vectors(bench.norm_adj.shape[0], text_dim, bench.seed).to(bench.device) if text_dim else None
    ours = aglrec(bench.norm_adj, n_users, config, text)
    sides = [ours, reference(bench.coo_adj, ours.model, config, text)]
    batches = batches_of(bench, batch_size)
    losses = compare_losses(sides, batches, bench.loss_steps, config)
    if text_dim:
        sides.append(aglrec(bench.norm_adj, n_users, config, name="no text"))
    step = step_seconds(sides, batches, bench, config)
    n_steps = -(-bench.graph.train.nnz // batch_size)
    epoch = {
        name: n_steps * seconds + sampling["reference_s_scaled" if name == "reference" else "aglrec_s"]
        for name, seconds in step.items()
    }
    return {
        "K": layers,
        "batch": batch_size,
        **({"L": text_dim, "epoch, text / no text": epoch["aglrec"] / epoch["no text"]} if text_dim else {}),
        **{f"{name} ms/step": 1000 * s for name, s in step.items()},
        **{f"{name} s/epoch": s for name, s in epoch.items()},
        "step ratio": step["reference"] / step["aglrec"],
        "epoch ratio": epoch["reference"] / epoch["aglrec"],
        **losses,
    }


def unit_vectors(n: int, dim: int, seed: int) -> torch.Tensor:
    """Draw n directions uniformly: (n, dim) float32."""
    return torch.nn.functional.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)))


def full_epochs(bench: Bench, layers: int, batch_size: int, n_epochs: int) -> list[dict[str, Any]]:
    """Train whole epochs of both, by turns and from the same start, sampling included; metrics on test."""
    config = settings(layers, batch_size, seed=bench.seed)
    ours = aglrec(bench.norm_adj, bench.graph.train.shape[0], config)
    plain = reference(bench.coo_adj, ours.model, config)
    rng, collected = np.random.default_rng([bench.seed, 3]), user_sets(bench.graph.train)
    rows = []
    for epoch in range(1, n_epochs + 1):
        seconds = {
            "aglrec": common.seconds_of(
                lambda epoch=epoch: train_epoch(ours.model, ours.optimizer, bench.graph, config, rng, epoch),
                bench.device,
            )
        }
        seconds["reference"] = common.seconds_of(
            lambda: plain_epoch(plain, bench, config, collected, rng), bench.device
        )
        with torch.no_grad():
            vectors = {"aglrec": ours.model.embeddings(), "reference": plain.model()}
        rows += [
            {
                "epoch": epoch,
                "side": name,
                "s": seconds[name],
                **means(evaluate(*vectors[name], bench.graph.test, bench.graph.train, config, auc=False)),
            }
            for name in seconds
        ]
    return rows


def plain_epoch(
    side: Side, bench: Bench, config: dict[str, Any], collected: list[set[int]], rng: np.random.Generator
) -> float:
    """Train the standard form for an epoch and return its mean loss."""
    train = bench.graph.train
    triples = np.stack(plain_sample(train, collected, rng.permutation(train.nnz), rng))
    total = 0.0
    for batch in torch.from_numpy(triples).to(bench.device).split(config["batch_size"], dim=1):
        total += take_step(side, batch, config).item() * batch.shape[1]
    return total / triples.shape[1]


def rss_of_training(
    gowalla: str | None, device: str, layers: int, batch_size: int, text_dim: int, seed: int
) -> dict[str, float]:
    """Train one epoch of AGLRec alone, in this process, and return its largest resident memory."""
    graph = load_graph(gowalla, seed)
    config = settings(layers, batch_size, seed=seed)
    norm_adj = normalized_adjacency(graph.train).to(device)
    text = unit_vectors(norm_adj.shape[0], text_dim, seed) if text_dim else None
    side = aglrec(norm_adj, graph.train.shape[0], config, text)
    del text
    train_epoch(side.model, side.optimizer, graph, config, np.random.default_rng([seed, 3]), 1)
    return {
        "K": layers,
        "batch": batch_size,
        "L": text_dim,
        "peak RSS MiB": common.peak_rss() / common.MIB,
        "peak on device MiB": common.device_peak(device) / common.MIB,
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure what the arguments ask for, log the tables, write the JSON and return its content."""
    arguments = read_arguments(argv)
    results = common.begin(arguments)
    bench = set_up(
        load_graph(arguments.gowalla, arguments.seed),
        torch.device(arguments.device),
        arguments.repeats,
        arguments.steps,
        arguments.loss_steps,
        arguments.seed,
    )
    layers, sizes = max(arguments.layers), arguments.batch_sizes
    size = 2048 if 2048 in sizes else sizes[0]  # of what is measured at one size only
    sampling = sampling_seconds(bench, arguments.sampling_pairs)
    results["sampling"] = common.show("sampling an epoch", [sampling])[0]
    results["steps"] = common.show(
        "no text", [compare(bench, k, batch_size, sampling) for k in arguments.layers for batch_size in sizes]
    )
    if arguments.text_dim:
        row = compare(bench, layers, size, sampling, arguments.text_dim)
        results["text"] = common.show("concat, text of users and items", [row])
    if arguments.full_epoch:
        rows = full_epochs(bench, layers, size, arguments.full_epoch)
        results["full_epochs"] = common.show("whole epochs, sampling included", rows)
    if arguments.rss:
        shared = {"gowalla": arguments.gowalla, "device": arguments.device, "seed": arguments.seed}
        rows = [
            common.in_child(rss_of_training, layers=layers, batch_size=size, text_dim=dim, **shared)
            for dim in sorted({0, arguments.text_dim})
        ]
        results["rss"] = common.show("peak memory of an epoch of AGLRec alone, in a process of its own", rows)
    return common.write_json(arguments.out, results)


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser(__doc__, "gowalla", "device", "repeats", "seed")
    parser.add_argument("--batch_sizes", type=common.numbers, default=[512, 2048, 8192])
    parser.add_argument("--layers", type=common.numbers, default=[1, 3])
    parser.add_argument("--text_dim", type=int, default=1024, help="L of the text vectors; 0 leaves that part out")
    parser.add_argument("--steps", type=int, default=10, help="steps a block")
    parser.add_argument("--loss_steps", type=int, default=50, help="steps over which the losses are compared")
    parser.add_argument("--sampling_pairs", type=int, default=50_000, help="pairs the plain sampling is timed on")
    parser.add_argument(
        "--full_epoch",
        type=int,
        nargs="?",
        const=1,
        default=0,
        metavar="N",
        help="also train N (1) whole epochs of both, at the largest K",
    )
    parser.add_argument("--rss", action="store_true", help="also measure the peak memory, in processes of their own")
    return parser.parse_args(argv)


def set_up(graph: Graph, device: torch.device, repeats: int, steps: int, loss_steps: int, seed: int) -> Bench:
    """Build the graph in both layouts, from the same numbers."""
    norm_adj = normalized_adjacency(graph.train)
    coo_adj = norm_adj.to_sparse_coo().coalesce()
    return Bench(graph, norm_adj.to(device), coo_adj.to(device), device, repeats, steps, loss_steps, seed)


if __name__ == "__main__":
    main()
