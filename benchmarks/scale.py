"""Measure how time and memory of AGLRec grow with the interactions, each size in a process of its own.

    python -m benchmarks.scale --markdown benchmarks/SCALE.md --out scale.json

The graphs are synthetic; nodes grow in proportion, as in Gowalla. One size is measured again with twice the
nodes, which tells the bytes of an interaction from those of a node.
"""

import argparse
import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import common
from benchmarks.graphs import GOWALLA_ITEMS, GOWALLA_TRAIN, GOWALLA_USERS, csr_of_parts, synthetic_graph
from benchmarks.train import Side, aglrec, settings, take_step
from data_loader import normalized_adjacency
from training.bpr import sample_triples

log = logging.getLogger("aglrec")

FITTED = ("graph s", "step s", "sampling s", "peak RSS MiB")


def build(folder: str, n_interactions: int, nodes_times: float, seed: int) -> int:
    """Draw a graph, leave its arrays in a folder, so that the drawing counts in no measurement; its number of items."""
    share = nodes_times * n_interactions / GOWALLA_TRAIN
    graph = synthetic_graph(n_interactions, seed, round(GOWALLA_USERS * share), round(GOWALLA_ITEMS * share))
    np.save(Path(folder) / "indptr.npy", graph.indptr)
    np.save(Path(folder) / "indices.npy", graph.indices)
    return graph.shape[1]


def measure(
    folder: str, n_items: int, device: str, layers: int, batch_size: int, steps: int, repeats: int, seed: int
) -> dict[str, Any]:
    """Build, sample an epoch and take some steps on the graph of a folder, in this process."""
    indptr, indices = (np.load(Path(folder) / f"{name}.npy", allow_pickle=False) for name in ("indptr", "indices"))
    train = csr_of_parts(indptr, indices, n_items)
    before, config = common.peak_rss(), settings(layers, batch_size, seed=seed)
    graph_s = common.median_seconds(lambda: normalized_adjacency(train).to(device), repeats, device)
    rng = np.random.default_rng([seed, 3])
    sampling_s = common.median_seconds(lambda: sample_triples(train, rng), repeats)
    norm_adj = normalized_adjacency(train).to(device)
    side = aglrec(norm_adj, train.shape[0], config)
    step_s, state_bytes = time_steps(side, np.stack(sample_triples(train, rng)), config, steps, device)
    csr_bytes = sum(t.nbytes for t in (norm_adj.crow_indices(), norm_adj.col_indices(), norm_adj.values()))
    return {
        "interactions": train.nnz,
        "nodes": norm_adj.shape[0],
        "graph s": graph_s,
        "CSR MiB": csr_bytes / common.MIB,
        "step s": step_s,
        "sampling s": sampling_s,
        "peak RSS MiB": common.peak_rss() / common.MIB,
        "RSS before MiB": before / common.MIB,
        "weights and Adam MiB": state_bytes / common.MIB,
        "peak on device MiB": common.device_peak(device) / common.MIB,
    }


def time_steps(side: Side, triples: np.ndarray, config: dict[str, Any], steps: int, device: str) -> tuple[float, int]:
    """Return the median seconds of a step on triples (3, n), and the bytes of weights, gradients and Adam."""
    batches = torch.from_numpy(triples).to(device).split(config["batch_size"], dim=1)
    seconds = [
        common.seconds_of(lambda batch=batch: take_step(side, batch, config), device) for batch in batches[: steps + 2]
    ]
    tensors = [
        *side.model.parameters(),
        *(parameter.grad for parameter in side.model.parameters()),
        *(value for state in side.optimizer.state.values() for value in state.values()),
    ]
    # the first two steps warm up
    return statistics.median(seconds[2:]), sum(t.nbytes for t in tensors)


def one_size(arguments: argparse.Namespace, n_interactions: int, nodes_times: float = 1.0) -> dict[str, Any]:
    """Build and measure one size, in two processes.

    Raises:
        ChildFailed: one of them ended without a result.
    """
    with tempfile.TemporaryDirectory() as folder:
        n_items = common.in_child(
            build, folder=folder, n_interactions=n_interactions, nodes_times=nodes_times, seed=arguments.seed
        )
        settings = {name: getattr(arguments, name) for name in ("device", "layers", "batch_size", "steps", "repeats")}
        return common.in_child(measure, folder=folder, n_items=n_items, seed=arguments.seed, **settings)


def all_sizes(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    """Measure the sizes in ascending order and say why it stopped; "" if it did not.

    A size is not tried where the peak of the one before it, scaled up, is more than the memory available.
    """
    rows: list[dict[str, Any]] = []
    for size in sorted(arguments.sizes):
        if rows:
            needed = rows[-1]["peak RSS MiB"] * size / rows[-1]["interactions"] * common.MIB
            if needed > common.available_memory():
                return rows, (
                    f"{size:,} interactions were not tried: by the size before they need "
                    f"{needed / 2**30:.1f} GiB, and {common.available_memory() / 2**30:.1f} are available"
                )
        try:
            rows.append(one_size(arguments, size))
        except common.ChildFailed as failure:
            return rows, f"at {size:,} interactions the measurement failed: {failure}"
        log.info(f"{size:,} interactions: {rows[-1]['step s']:.3f} s/step, {rows[-1]['peak RSS MiB']:,.0f} MiB")
    return rows, ""


def linear_fit(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    """Fit key = constant + slope * interactions, by least squares of the relative residuals.

    Returns:
        The constant, the slope (a million interactions), the largest |measured / fitted - 1|, and the cost of an
        interaction at the largest size divided by that at the smallest, each with its share of the constant.
    """
    x, y = (np.array([row[name] for row in rows], float) for name in ("interactions", key))
    slope, constant = np.polyfit(x, y, 1, w=1 / y)
    return {
        "constant": float(constant),
        "a million": float(slope * 1e6),
        "largest deviation": float(np.abs(y / (constant + slope * x) - 1).max()),
        "each interaction, largest / smallest size": float(y[-1] / x[-1] / (y[0] / x[0])),
    }


def bytes_each(rows: list[dict[str, Any]], denser: dict[str, Any]) -> dict[str, float]:
    """Return the bytes of the tensors that stay, and fit peak RSS = constant + bytes an interaction + bytes a node.

    Args:
        rows: of all sizes; the tensors are those of the largest.
        denser: the row of one size with twice the nodes, without which the two could not be separated.
    """
    peak = np.array([row["peak RSS MiB"] for row in (*rows, denser)]) * common.MIB
    columns = np.array([[1, row["interactions"], row["nodes"]] for row in (*rows, denser)], float)
    constant, interaction, node = np.linalg.lstsq(columns / peak[:, None], np.ones(len(peak)), rcond=None)[0]
    return {
        "CSR bytes an interaction": rows[-1]["CSR MiB"] * common.MIB / rows[-1]["interactions"],
        "weights and Adam bytes a node": rows[-1]["weights and Adam MiB"] * common.MIB / rows[-1]["nodes"],
        "constant MiB": float(constant / common.MIB),
        "bytes an interaction": float(interaction),
        "bytes a node": float(node),
    }


def summarise(rows: list[dict[str, Any]], denser: dict[str, Any] | None) -> dict[str, Any]:
    """Fit what was measured; nothing where there are fewer than three sizes."""
    if denser is None:
        return {}
    return {"fits": [{"of": key, **linear_fit(rows, key)} for key in FITTED], "bytes": bytes_each(rows, denser)}


def markdown(results: dict[str, Any]) -> str:
    """Lay out the results as a Markdown page's sections."""
    parts = ["## Measured", common.table(results["rows"]), results["stopped"]]
    if summary := results["summary"]:
        parts += ["## Linear fits", common.table(summary["fits"]), "## Bytes", common.table([summary["bytes"]])]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the tables, write JSON and Markdown, and return the JSON's content."""
    parser = common.parser(__doc__, "device", "repeats", "seed")
    parser.set_defaults(repeats=3)
    parser.add_argument("--sizes", type=common.numbers, default=common.numbers("1M,2M,5M,10M,20M,50M"))
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=5, help="steps of which the median is taken, after two others")
    parser.add_argument("--markdown", metavar="FILE", help="where to write the tables")
    arguments = parser.parse_args(argv)
    results = common.begin(arguments)
    rows, stopped = all_sizes(arguments)
    # not at the largest size, where twice the nodes might not fit
    denser = one_size(arguments, rows[(len(rows) - 1) // 2]["interactions"], 2) if len(rows) > 2 else None
    results |= {"rows": rows, "twice_the_nodes": denser, "stopped": stopped, "summary": summarise(rows, denser)}
    log.info(markdown(results) if rows else stopped)
    if arguments.markdown and rows:
        Path(arguments.markdown).write_text(markdown(results), encoding="utf-8")
    return common.write_json(arguments.out, results)


if __name__ == "__main__":
    main()
