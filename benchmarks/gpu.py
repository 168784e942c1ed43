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
from evaluator import evaluate
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


# --- timings: each returns rows of a table ---


def standard(bench: train.Bench, sizes: Sizes) -> list[Row]:
    """Time bpr beside the standard form on the same device."""
    sampling = train.sampling_seconds(bench, sizes.sampled)
    return [train.compare(bench, LAYERS, size, sampling) for size in sizes.batch_sizes]


def measured(name: str, function: Callable[[], Any], device: torch.device) -> Row:
    """Call a function once: the seconds and the peak memory (a GPU's own, else RSS) that it took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        common.rss_from_now()
    seconds = common.seconds_of(function, device)
    return {"measured": name, "s": seconds, "peak MiB": (common.device_peak(device) or common.peak_rss()) / common.MIB}


def epochs(bench: train.Bench, sizes: Sizes) -> list[Row]:
    """Train a whole epoch of bpr at each batch size, of softmax, and of concat with text, each after a few steps."""
    small, large = sizes.batch_sizes
    text = train.unit_vectors(bench.norm_adj.shape[0], sizes.table_dim, bench.seed)
    rows = []
    for name, size, loss, vectors in (
        (f"bpr epoch, batch {small}", small, "bpr", None),
        (f"bpr epoch, batch {large}", large, "bpr", None),
        (f"softmax epoch, batch {small}", small, "softmax", None),
        (f"concat, L={sizes.table_dim}", small, "bpr", text),
    ):
        config = train.settings(LAYERS, size, seed=bench.seed, loss=loss)
        side = train.aglrec(bench.norm_adj, bench.graph.train.shape[0], config, vectors)
        list(islice(gpu_checks.training(side.model, bench.graph.train, config), 3))
        rng = np.random.default_rng(bench.seed)
        call = partial(train_epoch, side.model, side.optimizer, bench.graph, config, rng, 1)
        rows.append(measured(name, call, bench.device))
    return rows


def ranking(bench: train.Bench, sizes: Sizes) -> list[Row]:
    """Rank all items for all users with a test pair."""
    config = train.settings(LAYERS, sizes.batch_sizes[0], seed=bench.seed)
    vectors = train.aglrec(bench.norm_adj, bench.graph.train.shape[0], config).model.embeddings()
    rows = []
    for auc in (False, True):
        call = partial(evaluate, *vectors, bench.graph.test, bench.graph.train, config, auc=auc)
        call()
        rows.append(measured(f"ranking, with{'' if auc else 'out'} AUC", call, bench.device))
    return rows


def encoding(bench: train.Bench, folder: str | None) -> list[Row]:
    """Encode made-up texts with a sentence-transformers model, fp16 on a GPU, float32 on a CPU."""
    if folder is None:
        raise gpu_checks.Skipped("no --model_folder")
    if find_spec("sentence_transformers") is None:
        raise gpu_checks.Skipped("sentence-transformers is not installed")
    on_gpu = bench.device.type == "cuda"
    config, rng = get_config({"encode_batch_size": 256 if on_gpu else 32}), np.random.default_rng(bench.seed)
    encode = transformer_encoder(Path(folder).resolve(), config, str(bench.device))
    texts = [" ".join(f"word{number}" for number in rng.integers(0, 999, 60)) for _ in range(2048 if on_gpu else 16)]
    encode(texts[:16])
    row = measured(
        f"{len(texts)} texts encoded, {'fp16' if on_gpu else 'float32'}", lambda: encode(texts), bench.device
    )
    return [{**row, "texts/s": len(texts) / row["s"]}]


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
    columns = {
        "batch": "batch",
        "s/epoch": "aglrec s/epoch",
        "standard": "reference s/epoch",
        "ms/step": "aglrec ms/step",
        "standard ms": "reference ms/step",
        "step ratio": "step ratio",
    }
    compared = [{name: row[key] for name, key in columns.items()} for row in rows.pop("standard form", [])]
    once = [{key: row[key] for key in ("measured", "s", "peak MiB")} for part in rows.values() for row in part]
    for title, found in (
        ("bpr, K=3, D=64, beside the standard form", compared),
        ("measured once; the peak is that of the card's tensors, on a CPU of the process", once),
    ):
        if found:
            common.show(title, found)
    for result in ("skipped", "failed"):
        found = [f"{row['name']}: {row['detail']}" for row in checks + timed if row["result"] == result]
        lines = [textwrap.fill(line, 80, initial_indent="- ", subsequent_indent="  ") for line in found]
        log.info("\n".join(["", f"{result}: {len(found)}", *lines]))
    return [row["name"] for row in checks + timed if row["result"] == "failed"]


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line and settle on the device."""
    parser = common.parser(__doc__, "device", "gowalla", "seed")
    parser.set_defaults(device="auto")
    parser.add_argument("--tiny", action="store_true", help="sizes so small that all takes seconds on a CPU")
    parser.add_argument("--model_folder", metavar="FOLDER", help="a sentence-transformers model to time as well")
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
    arguments = read_arguments(argv)
    results = common.begin(arguments)
    device, sizes, seed = torch.device(arguments.device), TINY if arguments.tiny else FULL, arguments.seed
    if device.type == "cuda":
        torch.cuda.set_device(device)
    setup = gpu_checks.set_up(device, sizes.pairs, sizes.text_dim, sizes.batch_sizes[0], seed)
    checks = [attempt(name, partial(check, setup)) for name, check in gpu_checks.checks().items()]
    tiny = Graph("tiny", setup.dataset.train, setup.dataset.test)
    graph = tiny if arguments.tiny and not arguments.gowalla else load_graph(arguments.gowalla, seed)
    bench = train.set_up(graph, device, sizes.repeats, sizes.steps, sizes.steps, seed)
    timings = {
        "standard form": lambda: standard(bench, sizes),
        "epochs": lambda: epochs(bench, sizes),
        "ranking": lambda: ranking(bench, sizes),
        "encoding": lambda: encoding(bench, arguments.model_folder),
    }
    timed = [attempt(name, call) for name, call in timings.items()]
    name = results["environment"]["device"] if device.type == "cuda" else f"cpu {results['environment']['cpu']}"
    log.info(f"\n{name}, torch {torch.__version__}, {graph.name} graph")
    results |= {"device": name, "graph": graph.name, "checks": checks, "timings": timed, "failed": show(checks, timed)}
    common.write_json(path_of(arguments, name), results)
    return int(bool(results["failed"]))


if __name__ == "__main__":
    sys.exit(main())
