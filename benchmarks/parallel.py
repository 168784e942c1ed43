"""Time a training step of one process, and of all processes of a torchrun that share it in different ways.

    torchrun --nproc_per_node=2 -m benchmarks.parallel --batch_sizes 256,2k

columns is what main.py does: each process has a share of the columns of the vectors, propagates these and gathers whole
vectors of the step's nodes; with softmax each then computes the scores of its share of the users. "columns, all scores"
leaves out the latter. In "data parallel" each process has whole vectors, propagates all of them for its share of the
batch, and the gradients of all weights are summed. Weights and batches are the same; "difference" is the largest of the
gradient of the id vectors from that of one process, as a share of the largest entry.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist

from benchmarks import common
from benchmarks.graphs import synthetic_graph
from config import get_config
from data_loader import normalized_adjacency
from model import LightGCN
from runtime.distributed import own_share, process_group, rank
from training import softmax
from training.losses import epoch_batches
from training.optimizer import adam
from training.steps import mean_of_pairs

FIRST = 2  # steps before the clock is read


class Form(NamedTuple):
    """A way to share a step: what holds while it is built and taken, and whether each process has its own pairs."""

    name: str
    while_taken: Callable[[], AbstractContextManager[Any]]
    is_data_parallel: bool = False


class Taken(NamedTuple):
    """What the steps of a form took this process."""

    wall_s: float
    cpu_s: float
    reduced: int  # bytes a step
    gradient: torch.Tensor  # (N, D) of the id vectors in the first step


def alone() -> AbstractContextManager[Any]:
    """Let this process work as if there were no others."""
    return mock.patch.object(dist, "is_initialized", return_value=False)


@contextmanager
def all_scores() -> Iterator[None]:
    """Let each process compute the scores of all users of a step."""
    identity = mock.Mock(apply=lambda whole: whole)
    own = {"own_share": lambda n: slice(0, n), "GradientOverProcesses": identity, "mean_over_processes": mean_of_pairs}
    with mock.patch.multiple(softmax, **own):
        yield


FORMS = {
    "softmax": (
        Form("columns", nullcontext),
        Form("columns, all scores", all_scores),
        Form("data parallel", alone, is_data_parallel=True),
    ),
    "bpr": (Form("columns", nullcontext), Form("data parallel", alone, is_data_parallel=True)),
}


def part_of(batch: tuple[Any, ...], loss: str) -> tuple[tuple[Any, ...], float]:
    """Return this process's share of a batch, and what share of the pairs it has times the number of processes."""
    mine, n_pairs = own_share(len(batch[0])), len(batch[0])
    if loss == "softmax":
        users, items, positives, weights = batch
        is_mine, n_pairs = (positives[0] >= mine.start) & (positives[0] < mine.stop), positives.shape[1]
        start = torch.tensor([[mine.start], [0]])
        part = users[mine], items, positives[:, is_mine] - start, weights
        return part, float(is_mine.sum()) * dist.get_world_size() / n_pairs
    users, liked, others, weights = batch
    return (users[mine], liked[mine], others[..., mine], weights), (mine.stop - mine.start) * dist.get_world_size() / (
        n_pairs
    )


def take_steps(form: Form, train: Any, text: torch.Tensor | None, config: dict[str, Any], n_steps: int) -> Taken:
    """Build the model of a form and take some steps."""
    reduced: list[int] = []
    all_reduce, is_shared = dist.all_reduce, form.is_data_parallel and dist.is_initialized()

    def counted(tensor: torch.Tensor, *args: Any) -> Any:
        reduced.append(tensor.nbytes)
        return all_reduce(tensor, *args)

    with form.while_taken():
        generator = torch.Generator().manual_seed(config["seed"])
        size, layers = config["embedding_dim"], config["num_layers"]
        model = LightGCN(
            normalized_adjacency(train),
            train.shape[0],
            size,
            layers,
            "none" if text is None else "sum",
            text,
            generator=generator,
            normalize=config["normalize"],
            temperature=config["temperature"] or 1.0,
        )
        optimizer = adam(model, config["lr"])
        loss_of, batches = epoch_batches(train, config, np.random.default_rng(config["seed"]), torch.device("cpu"))
    walls, cpus, gradient = [], [], torch.empty(0)
    for batch, _ in batches[: n_steps + FIRST]:
        if dist.is_initialized():
            dist.barrier()
        wall, cpu = time.perf_counter(), time.process_time()
        factor = 1.0
        if is_shared:
            batch, factor = part_of(batch, config["loss"])
        with form.while_taken(), mock.patch.object(dist, "all_reduce", counted):
            loss, penalty = loss_of(model, *batch, config)
            optimizer.zero_grad(set_to_none=True)
            ((loss + penalty) * factor).backward()
        if is_shared:
            for parameter in model.parameters():
                counted(parameter.grad)
                parameter.grad /= dist.get_world_size()
        optimizer.step()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        if not gradient.numel():
            with form.while_taken():
                gradient = model.whole_state({"id_emb": model.id_emb.grad})["id_emb"]
    steps = slice(FIRST, None)
    return Taken(statistics.median(walls[steps]), statistics.median(cpus[steps]), sum(reduced) // len(walls), gradient)


def measure(arguments: argparse.Namespace, batch_size: int) -> list[dict[str, Any]]:
    """Take the steps of every form; a row of each, with the seconds of the first process."""
    train = synthetic_graph(arguments.pairs, arguments.seed, arguments.users, arguments.titles)
    config = get_config(
        {
            **({"preset": "tuned", "temperature": 0.1} if arguments.loss == "softmax" else {"preset": "paper"}),
            "embedding_dim": arguments.dim,
            "num_layers": arguments.layers,
            "batch_size": batch_size,
            "seed": arguments.seed,
            "reg_lambda": 0.0,
        }
    )
    generator = torch.Generator().manual_seed(arguments.seed)
    text = torch.randn(sum(train.shape), arguments.text_dim, generator=generator) if arguments.text_dim else None
    with alone():
        whole = take_steps(Form("one process", alone), train, text, config, arguments.steps) if not rank() else None
    rows = [] if whole is None else [_row("one process", batch_size, whole, whole)]
    for form in FORMS[arguments.loss]:
        dist.barrier()  # the others have waited for the first
        taken = take_steps(form, train, text, config, arguments.steps)
        rows += [] if whole is None else [_row(form.name, batch_size, taken, whole)]
    return rows


def _row(name: str, batch_size: int, taken: Taken, whole: Taken) -> dict[str, Any]:
    difference = float((taken.gradient - whole.gradient).abs().max() / whole.gradient.abs().max())
    row: dict[str, Any] = {"shared by": name, "batch": batch_size, "wall s a step": taken.wall_s}
    row |= {"of one process": taken.wall_s / whole.wall_s, "processor s": taken.cpu_s}
    return row | {"MB reduced": taken.reduced / 1e6, "difference": difference}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the table, write the JSON and return its content."""
    parser = common.parser(__doc__, "seed")
    for name, number in (("users", 5_000), ("titles", 6_000), ("pairs", 500_000)):
        parser.add_argument(f"--{name}", type=lambda text: common.numbers(text)[0], default=number)
    parser.add_argument("--batch_sizes", type=common.numbers, default=[256, 2048])
    parser.add_argument("--loss", choices=tuple(FORMS), default="softmax")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--text_dim", type=int, default=0, help="columns of text vectors; 0 for none")
    parser.add_argument("--steps", type=int, default=5, help="of which the median is taken, after two others")
    arguments = parser.parse_args(argv)
    results = common.begin(arguments)
    with process_group() as number:
        if not dist.is_initialized():
            parser.error("this compares processes; start it by torchrun --nproc_per_node=2 -m benchmarks.parallel")
        results["steps"] = [row for size in arguments.batch_sizes for row in measure(arguments, size)]
        if number:
            return results
        common.show("a step", results["steps"])
        return common.write_json(arguments.out, results)


if __name__ == "__main__":
    main()
