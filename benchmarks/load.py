"""Time what comes before the first step: reading, cleaning, splitting, and building the graph.

    python -m benchmarks.load --gowalla FOLDER --data_dir FOLDER --out load.json

--data_dir is a folder with anime.tsv and interactions.tsv; without it that part is left out.
"""

from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.graphs import load_graph, read_text_graph
from benchmarks.reference import plain_adjacency
from config import get_config
from data_loader import load_dataset, normalized_adjacency


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the tables, write the JSON and return its content."""
    parser = common.parser(__doc__, "gowalla", "repeats", "seed")
    parser.add_argument("--data_dir", help="folder with anime.tsv and interactions.tsv")
    parser.add_argument(
        "--plain_repeats",
        type=int,
        default=1,
        help="repeats of the plain way, which takes a minute on Gowalla; 0 leaves it out",
    )
    arguments = parser.parse_args(argv)
    results, n = common.begin(arguments), arguments.repeats
    graph = load_graph(arguments.gowalla, arguments.seed)
    ours = common.median_seconds(lambda: normalized_adjacency(graph.train), n)
    row: dict[str, Any] = {"graph": graph.name, "pairs": graph.train.nnz, "aglrec s": ours}
    if arguments.plain_repeats:
        plain = common.median_seconds(lambda: plain_adjacency(graph.train), arguments.plain_repeats)
        row |= {f"dok and lil s, of {arguments.plain_repeats}": plain, "ratio": plain / ours}
    if arguments.gowalla:
        row["train.txt and test.txt s"] = common.median_seconds(lambda: read_text_graph(Path(arguments.gowalla)), n)
    results["graph"] = common.show("building the graph", [row])
    if arguments.data_dir:
        config = get_config({"data_dir": arguments.data_dir, "split_seed": arguments.seed})
        whole = {"TSV to Dataset s": common.median_seconds(lambda: load_dataset(config), n)}
        results["tsv"] = common.show(f"reading {arguments.data_dir}", [whole])
    return common.write_json(arguments.out, results)


if __name__ == "__main__":
    main()
