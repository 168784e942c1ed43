"""Time what comes before the first step: reading, cleaning, splitting, and building the graph.

    python -m benchmarks.load --gowalla FOLDER --data_dir FOLDER --out load.json

--data_dir is a folder with anime.tsv and interactions.tsv; without it that part is left out.
"""

import argparse
import logging
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import data_loader
from benchmarks import common
from benchmarks.graphs import Graph, load_graph, read_text_graph
from benchmarks.reference import plain_adjacency
from config import get_config
from dataset import readers

log = logging.getLogger("aglrec")


@contextmanager
def stopwatch(module: Any, names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Add up the seconds spent in some functions of a module, calls they make included."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            start = common.clock("cpu")
            try:
                return function(*positional, **named)
            finally:
                seconds[name] += common.clock("cpu") - start

        return call

    with ExitStack() as stack:
        for name in names:
            stack.enter_context(patch.object(module, name, timed(name, getattr(module, name))))
        yield seconds


def tsv_seconds(data_dir: str, seed: int) -> dict[str, float]:
    """Load a dataset once and tell parsing, splitting and the rest apart, and the graph of its train part."""
    config = get_config({"data_dir": data_dir, "split_seed": seed})
    datasets = []
    with stopwatch(readers, ("read_table",)) as reading, stopwatch(data_loader, ("split_rows",)) as splitting:
        whole = common.seconds_of(lambda: datasets.append(data_loader.load_dataset(config)))
    parse, split = reading["read_table"], splitting["split_rows"]
    return {
        "parse s": parse,
        "map and clean s": whole - parse - split,
        "split s": split,
        "TSV to Dataset s": whole,
        "graph s": common.seconds_of(lambda: data_loader.normalized_adjacency(datasets[0].train)),
    }


def tsv_medians(data_dir: str, seed: int, repeats: int) -> dict[str, float]:
    """Return the median of each of tsv_seconds."""
    runs = [tsv_seconds(data_dir, seed) for _ in range(repeats)]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def graph_seconds(graph: Graph, repeats: int, plain_repeats: int) -> dict[str, Any]:
    """Time building the normalised adjacency, beside the way by dok and lil matrices."""
    ours = common.median_seconds(lambda: data_loader.normalized_adjacency(graph.train), repeats)
    row: dict[str, Any] = {"graph": graph.name, "pairs": graph.train.nnz, "aglrec s": ours}
    if plain_repeats:
        plain = common.median_seconds(lambda: plain_adjacency(graph.train), plain_repeats)
        row |= {f"dok and lil s, of {plain_repeats}": plain, "ratio": plain / ours}
    return row


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the tables, write the JSON and return its content."""
    common.start_logging()
    arguments = read_arguments(argv)
    results: dict[str, Any] = {"environment": common.environment(arguments.device), "arguments": vars(arguments)}
    graph = load_graph(arguments.gowalla, arguments.seed)
    row = graph_seconds(graph, arguments.repeats, arguments.plain_repeats)
    if arguments.gowalla:
        row["train.txt and test.txt s"] = common.median_seconds(
            lambda: read_text_graph(Path(arguments.gowalla)), arguments.repeats
        )
    results["graph"] = common.show("building the graph", [row])
    if arguments.data_dir:
        results["tsv"] = common.show(
            f"reading {arguments.data_dir}", [tsv_medians(arguments.data_dir, arguments.seed, arguments.repeats)]
        )
    common.write_json(arguments.out, results)
    return results


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--data_dir", help="folder with anime.tsv and interactions.tsv")
    parser.add_argument(
        "--plain_repeats",
        type=int,
        default=1,
        help="repeats of the plain way, which takes a minute on Gowalla; 0 leaves it out",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
