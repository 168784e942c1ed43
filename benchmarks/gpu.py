"""Check that the GPU path gives what the CPU gives, and time it, on whatever card is there.

    python -m benchmarks.gpu --gowalla FOLDER --model_folder MODEL
    python -m benchmarks.gpu --device cpu --tiny

The checks run on a small graph, on the CPU and on the device, the timings on Gowalla or a synthetic graph of its size.
With --tiny every line of the table is made in a minute on a CPU. The exit code is 1 if any check or measurement failed,
or if all took longer than LIMIT seconds.
"""

import argparse
import logging
import re
import sys
import tempfile
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

import main as main_script
from benchmarks import common, gpu_checks, train
from benchmarks.graphs import Graph, load_graph, write_text_graph
from config import get_config
from data_loader import load_dataset
from evaluator import evaluate, means
from runtime.distributed import resolve_device
from runtime.files import load_torch
from text.encoders import transformer_encoder
from training.epoch import train_epoch

log = logging.getLogger("aglrec")

LAYERS = 3
LIMIT = 480  # seconds
PUBLISHED = 0.1830  # Recall@20 of LightGCN on Gowalla, He et al. 2020
TUNED = {
    "preset": "tuned", "fusion_mode": "none", "temperature": 0.1, "batch_size": 512, "epochs": 1, "top_k": [20],
    "valid_ratio": 0.02, "recommend_k": 20,
}  # fmt: skip
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
    return [{**row, "figure": f"{_n_tokens(Path(folder), texts, config) / row['s']:,.0f} tokens/s"}]


def _n_tokens(folder: Path, texts: list[str], config: dict[str, Any]) -> int:
    """Count the tokens of texts that a model reads, by the tokenizer.json beside it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(next(folder.rglob("tokenizer.json"))))
    return sum(min(len(found.ids), config["max_seq_length"]) for found in tokenizer.encode_batch(texts))


def tuned(bench: train.Bench) -> list[Row]:
    """Run main.py's preset tuned for an epoch, which is enough for Gowalla's published Recall@20; see RESULTS.md.

    Returns:
        The seconds until best_model.pth is written, with the figure of the test part; and the same vectors rounded to
        bfloat16.
    """
    with tempfile.TemporaryDirectory() as name:
        data, saved = Path(name, "data"), Path(name, "saved")
        write_text_graph(bench.graph, data)
        config = get_config({**TUNED, "data_dir": str(data), "saved_dir": str(saved), "device": str(bench.device)})
        start, metrics = time.time(), {}
        row = measured("tuned, whole run", lambda: metrics.update(main_script.run(config)), bench.device)
        seconds = (saved / "best_model.pth").stat().st_mtime - start
        vectors = [load_torch(saved / f"{side}_emb.pt").to(bench.device) for side in ("user", "item")]
        dataset, figures = load_dataset(config), []
    for kind in (torch.float32, torch.bfloat16):
        rounded = [part.to(kind).float() for part in vectors]
        found = evaluate(*rounded, dataset.test, dataset.masked_for("test"), config, auc=False)
        figures.append(means(found)["Recall@20"])
    reached = f"R@20 {figures[0]:.4f}"
    return [
        {**row, "measured": "tuned, until best_model.pth", "s": seconds, "figure": reached},
        {**row, "figure": "lists, report"},
        {**row, "measured": "its vectors in bfloat16", "s": 0.0, "figure": f"R@20 {figures[1] - figures[0]:+.5f}"},
    ]


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


def lines(checks: list[Row], timed: list[Row]) -> list[Row]:
    """Return the table: a row a check and a measurement, and one for each of these that failed or was skipped."""
    table = [
        {**_line(row["name"], row), "figure": row["detail"] if row["result"] == "passed" else ""} for row in checks
    ]
    for part in timed:
        if part["result"] != "passed":
            table.append(_line(part["name"], part))
        elif part["name"] == "standard form":
            table += [
                _line(f"bpr, batch {row['batch']}, s an epoch", {**part, "s": row["aglrec s/epoch"]})
                | {"figure": f"{row['step ratio']:.3g}x of {row['reference s/epoch']:.3g}"}
                for row in part["detail"]
            ]
        else:
            table += [_line(row["measured"], {**part, **row}) for row in part["detail"]]
    return table


def _line(name: str, row: Row) -> Row:
    peak = f"{row['peak MiB']:.0f}" if "peak MiB" in row else ""
    return {"line": name, "result": row["result"], "s": f"{row['s']:.2f}", "MiB": peak, "figure": row.get("figure", "")}


def show(checks: list[Row], timed: list[Row]) -> list[str]:
    """Log the table, no wider than 80 columns, and then what failed and why; the names of what failed."""
    title = "MiB: the peak of the card's tensors, on a CPU of the process; x of: the standard\nform's seconds; "
    title += f"R@20: Recall@20, published on Gowalla: {PUBLISHED:.4f}"
    common.show(title, lines(checks, timed))
    for result in ("skipped", "failed"):
        found = [f"{row['name']}: {row['detail']}" for row in checks + timed if row["result"] == result]
        told = [textwrap.fill(line, 80, initial_indent="- ", subsequent_indent="  ") for line in found]
        log.info("\n".join(["", f"{result}: {len(found)}", *told]))
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
    arguments, start = read_arguments(argv), time.perf_counter()
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
        "tuned": lambda: tuned(bench),
    }
    timed = [attempt(name, call) for name, call in timings.items()]
    name = results["environment"]["device"] if device.type == "cuda" else f"cpu {results['environment']['cpu']}"
    log.info(f"\n{name}, torch {torch.__version__}, {graph.name} graph")
    results |= {"device": name, "graph": graph.name, "checks": checks, "timings": timed, "failed": show(checks, timed)}
    results["seconds"] = time.perf_counter() - start
    log.info(f"\nall of it took {results['seconds']:.0f} s")
    if results["seconds"] > LIMIT:
        results["failed"].append(f"all of it took longer than {LIMIT} s")
    common.write_json(path_of(arguments, name), results)
    return int(bool(results["failed"]))


if __name__ == "__main__":
    sys.exit(main())
