"""Check that the GPU path gives what the CPU gives, and time it, on whatever card is there.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --device cpu --tiny

The checks run on a small graph, on the CPU and on the device, the timings on Gowalla or a synthetic graph of its size.
The exit code is 1 if any check or measurement failed.
"""

import argparse
import logging
import re
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import common, gpu_checks, train
from benchmarks.graphs import Graph, load_graph
from config import get_config
from data_loader import normalized_adjacency
from evaluator import evaluate
from model import LightGCN
from runtime.cli import Flags
from runtime.distributed import resolve_device
from text.encoders import transformer_encoder
from training.epoch import train_epoch

log = logging.getLogger("aglrec")

LAYERS = 3
Row = dict[str, Any]


class Sizes(NamedTuple):
    """How much is done."""

    pairs: int  # of the graph of the checks
    text_dim: int  # L of its text vectors
    batch_sizes: tuple[int, int]  # of the timings; all but bpr is done at the first alone
    table_dim: int  # L of the text table under the clock
    steps: int  # a block under the clock
    repeats: int  # blocks
    sampled: int  # pairs that the standard form's sampling is timed on


FULL = Sizes(100_000, 64, (2048, 8192), 1024, 20, 5, 20_000)
TINY = Sizes(3000, 8, (256, 512), 16, 2, 1, 200)


class HalfTable(LightGCN):
    """LightGCN with concat that reads its text from a table of another dtype; for a measurement only."""

    def _own_part(self, propagated: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        text = self.propagated_text if rows is None else self.propagated_text.index_select(0, rows)
        return propagated @ self.id_weight + text.to(self.text_weight.dtype) @ self.text_weight


# --- timings: each returns rows of a table ---


def standard(bench: train.Bench, sizes: Sizes) -> list[Row]:
    """Time bpr beside the standard form on the same device; epochs told from their steps and the sampling."""
    sampling = train.sampling_seconds(bench, sizes.sampled)
    return [train.compare(bench, LAYERS, size, sampling) for size in sizes.batch_sizes]


def epoch(bench: train.Bench, name: str, model: LightGCN, config: dict[str, Any]) -> Row:
    """Train a whole epoch, after some steps that warm up."""
    list(islice(gpu_checks.training(model, bench.graph.train, config), 3))
    optimizer, rng = train.adam(model, config["lr"]), np.random.default_rng(bench.seed)
    loss, figures = common.measured(lambda: train_epoch(model, optimizer, bench.graph, config, rng, 1), bench.device)
    return {"measured": name, **figures, "loss": loss}


def plain_epochs(bench: train.Bench, sizes: Sizes) -> list[Row]:
    """Train an epoch of bpr at each batch size and one of softmax, without text."""
    rows = []
    for loss, size in [*(("bpr", size) for size in sizes.batch_sizes), ("softmax", sizes.batch_sizes[0])]:
        config = train.settings(LAYERS, size, seed=bench.seed, loss=loss)
        rows.append(epoch(bench, f"{loss} epoch, batch {size}", vector_model(bench, config), config))
    return rows


def vector_model(bench: train.Bench, config: dict[str, Any]) -> LightGCN:
    """Set up LightGCN without text."""
    return train.aglrec(bench.norm_adj, bench.graph.train.shape[0], config).model


def text_epoch(bench: train.Bench, sizes: Sizes, dtype: torch.dtype) -> list[Row]:
    """Train an epoch of concat with the text table in float32 or, as a measurement only, in another dtype."""
    config = train.settings(LAYERS, sizes.batch_sizes[0], seed=bench.seed, fusion_mode="concat")
    text = train.unit_vectors(bench.norm_adj.shape[0], sizes.table_dim, bench.seed)
    kind = LightGCN if dtype == torch.float32 else HalfTable
    model = kind(
        bench.norm_adj,
        bench.graph.train.shape[0],
        config["embedding_dim"],
        LAYERS,
        "concat",
        text,
        config["init_std"],
        torch.Generator().manual_seed(bench.seed),
    )
    if kind is HalfTable:
        model.propagated_text, model.item_text = model.propagated_text.to(dtype), model.item_text.to(dtype)
    return [epoch(bench, f"concat, L={sizes.table_dim}, {str(dtype).removeprefix('torch.')}", model, config)]


def ranking(bench: train.Bench, sizes: Sizes) -> list[Row]:
    """Rank all items for all users with a test pair."""
    vectors = vector_model(bench, train.settings(LAYERS, sizes.batch_sizes[0], seed=bench.seed)).embeddings()
    config, rows = get_config({"top_k": [20], "seed": bench.seed}), []
    for auc in (False, True):
        call = partial(evaluate, *vectors, bench.graph.test, bench.graph.train, config, auc=auc)
        call()
        rows.append({"measured": f"ranking, with{'' if auc else 'out'} AUC", **common.measured(call, bench.device)[1]})
    return rows


def encoding(bench: train.Bench, folder: str | None) -> list[Row]:
    """Encode made-up texts with a sentence-transformers model, fp16 on a GPU, float32 on a CPU."""
    if folder is None:
        raise gpu_checks.Skipped("no --model_folder")
    if find_spec("sentence_transformers") is None:
        raise gpu_checks.Skipped("sentence-transformers is not installed")
    on_gpu = bench.device.type == "cuda"
    config, rng = get_config({"encode_batch_size": 256 if on_gpu else 32}), np.random.default_rng(bench.seed)
    encode = transformer_encoder(str(Path(folder).resolve()), config, str(bench.device))
    texts = [" ".join(f"word{number}" for number in rng.integers(0, 999, 60)) for _ in range(2048 if on_gpu else 16)]
    encode(texts[:16])
    _, figures = common.measured(lambda: encode(texts), bench.device)
    name = f"{len(texts)} texts encoded, {'fp16' if on_gpu else 'float32'}"
    return [{"measured": name, **figures, "texts/s": len(texts) / figures["s"]}]


def timings(bench: train.Bench, sizes: Sizes, folder: str | None) -> dict[str, Callable[[], list[Row]]]:
    """Name the measurements, in the order in which they run."""
    return {
        "standard form": lambda: standard(bench, sizes),
        "epochs": lambda: plain_epochs(bench, sizes),
        "text in float32": lambda: text_epoch(bench, sizes, torch.float32),
        "text in bfloat16": lambda: text_epoch(bench, sizes, torch.bfloat16),
        "ranking": lambda: ranking(bench, sizes),
        "encoding": lambda: encoding(bench, folder),
    }


# --- the run ---


def attempt(name: str, function: Callable[[], Any]) -> Row:
    """Call a function and say what came of it: passed, failed or skipped, with what it returned or the reason."""
    start, level = time.perf_counter(), log.level
    log.setLevel(logging.WARNING)  # the epochs of the checks are no news
    try:
        outcome = {"result": "passed", "detail": function()}
    except gpu_checks.Skipped as reason:
        outcome = {"result": "skipped", "detail": str(reason)}
    except Exception as error:  # whatever it is, the others still run
        kind = "" if isinstance(error, gpu_checks.Disagreement) else f"{type(error).__name__}: "
        outcome = {"result": "failed", "detail": kind + " ".join(str(error).split())[:300]}
    finally:
        log.setLevel(level)
    log.info(f"{name}: {outcome['result']}")
    return {"name": name, **outcome, "s": time.perf_counter() - start}


def set_up(arguments: argparse.Namespace, device: torch.device, sizes: Sizes, setup: gpu_checks.Setup) -> train.Bench:
    """Build the graph of the timings: with --tiny and no --gowalla, that of the checks."""
    graph = (
        Graph("tiny", setup.dataset.train, setup.dataset.test)
        if arguments.tiny and not arguments.gowalla
        else load_graph(arguments.gowalla, arguments.seed)
    )
    norm_adj = normalized_adjacency(graph.train)
    return train.Bench(
        graph,
        norm_adj.to(device),
        norm_adj.to_sparse_coo().coalesce().to(device),
        device,
        sizes.repeats,
        sizes.steps,
        sizes.steps,
        arguments.seed,
    )


def show(checks: list[Row], timed: list[Row]) -> list[str]:
    """Log the tables, no wider than 80 columns, and then what failed and why; the names of what failed."""
    common.show(
        "checks",
        [
            {
                "check": row["name"],
                "result": row["result"],
                "s": row["s"],
                "difference": row["detail"] if row["result"] == "passed" else "",
            }
            for row in checks
        ],
    )
    rows = {row["name"]: row["detail"] for row in timed if row["result"] == "passed"}
    if "standard form" in rows:
        common.show(
            "bpr, K=3, D=64, beside the standard form",
            [
                {
                    "batch": row["batch"],
                    "s/epoch": row["aglrec s/epoch"],
                    "standard": row["reference s/epoch"],
                    "ms/step": row["aglrec ms/step"],
                    "standard ms": row["reference ms/step"],
                    "step ratio": row["step ratio"],
                }
                for row in rows.pop("standard form")
            ],
        )
    measured = [
        {"measured": row["measured"], "s": row["s"], "peak MiB": row["peak MiB"]}
        for part in rows.values()
        for row in part
    ]
    if measured:
        common.show("measured once; the peak is that of the card's tensors, on a CPU of the process", measured)
    for result in ("skipped", "failed"):
        found = [f"{row['name']}: {row['detail']}" for row in checks + timed if row["result"] == result]
        log.info(
            "".join(
                f"\n{line}"
                for line in [
                    f"{result}: {len(found)}",
                    *(textwrap.fill(line, 80, initial_indent="- ", subsequent_indent="  ") for line in found),
                ]
            )
        )
    return [row["name"] for row in checks + timed if row["result"] == "failed"]


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line and settle on the device."""
    parser = Flags(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--tiny", action="store_true", help="sizes so small that all takes seconds on a CPU")
    parser.add_argument(
        "--gowalla",
        metavar="FOLDER",
        help="folder with LightGCN's train.txt and test.txt; without it, a synthetic graph of Gowalla's size",
    )
    parser.add_argument("--model_folder", metavar="FOLDER", help="a sentence-transformers model to time as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where to write everything as JSON (default: benchmarks/gpu/ and the device's name; with --tiny, nowhere)",
    )
    arguments = parser.parse_args(argv)
    try:
        arguments.device = str(resolve_device(arguments.device))
    except ValueError as error:
        parser.error(str(error))
    return arguments


def path_of(arguments: argparse.Namespace, device_name: str) -> str | None:
    """Return where the JSON goes, its folder made; None for nowhere."""
    slug = re.sub("[^a-z0-9]+", "-", device_name.lower()).strip("-")
    path = arguments.out or (None if arguments.tiny else str(common.ROOT / "benchmarks" / "gpu" / f"{slug}.json"))
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return path


def main(argv: list[str] | None = None) -> int:
    """Check, measure, log the tables, write the JSON and return the exit code."""
    common.start_logging()
    arguments = read_arguments(argv)
    device, sizes = torch.device(arguments.device), TINY if arguments.tiny else FULL
    if device.type == "cuda":
        torch.cuda.set_device(device)
    environment = common.environment(str(device))
    setup = gpu_checks.set_up(device, sizes.pairs, sizes.text_dim, sizes.batch_sizes[0], arguments.seed)
    checks = [attempt(name, partial(check, setup)) for name, check in gpu_checks.checks().items()]
    bench = set_up(arguments, device, sizes, setup)
    timed = [attempt(name, call) for name, call in timings(bench, sizes, arguments.model_folder).items()]
    name = environment["device"] if device.type == "cuda" else f"cpu {environment['cpu']}"
    log.info(f"\n{name}, torch {torch.__version__}, {bench.graph.name} graph")
    failed = show(checks, timed)
    common.write_json(
        path_of(arguments, name),
        {
            "device": name,
            "torch": torch.__version__,
            "environment": environment,
            "arguments": vars(arguments),
            "graph": bench.graph.name,
            "checks": checks,
            "timings": timed,
            "failed": failed,
        },
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
