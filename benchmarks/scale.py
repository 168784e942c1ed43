"""Measure how time and memory of AGLRec grow with the interactions, each size in a process of its own.

    python -m benchmarks.scale --sizes 200k,500k,1M --out scale.json

Each size is a data folder, written in blocks, which goes the way of main.py: it is read and split, the model is built,
some steps are taken, drawn users are ranked, and the files of a run are written with the lists of some users. The
graphs are synthetic; nodes grow in proportion, as in Gowalla. One size is measured again with twice the nodes, which
tells the bytes of an interaction from those of a node. Seconds are those of the processor, on all of its cores.
"""

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks import common
from benchmarks.graphs import GOWALLA_ITEMS, GOWALLA_TRAIN, GOWALLA_USERS, synthetic_graph
from benchmarks.memory import first_users
from benchmarks.read import BLOCK, FIRST
from benchmarks.train import Side, settings, take_step
from data_loader import Dataset, load_dataset, normalized_adjacency
from dataset.pairs import user_blocks
from dataset.readers import ANIME_COLUMNS, INTERACTION_COLUMNS
from inference.outputs import write_outputs
from inference.top_k import recommend
from llm_embedding import TextVectors
from training.bpr import bpr_loss, sample_triples
from training.model_factory import build_model
from training.optimizer import adam
from training.validation import valid_metrics

log = logging.getLogger("aglrec")

FITTED = ("read s", "graph s", "step s", "sampling s", "peak RSS MiB")
SAVED, LETTERS = "saved", 9
PROCESSOR = time.process_time  # by whose clock all is measured: others may use the machine


def build(folder: str, n_interactions: int, nodes_times: float, seed: int) -> None:
    """Draw a graph and write it as anime.tsv and interactions.tsv, each user's rows one after the other in time."""
    share = nodes_times * n_interactions / GOWALLA_TRAIN
    graph = synthetic_graph(n_interactions, seed, round(GOWALLA_USERS * share), round(GOWALLA_ITEMS * share))
    # names that do not tell of a series, as numbers would
    letters = np.random.default_rng(seed).choice(list("abcdefghijklmnopqrstuvwxyz"), (graph.shape[1], LETTERS))
    names = ["".join(row) for row in letters]
    titles = pd.DataFrame({"subject_id": np.arange(len(names)), "name": names, "tags_name": "", "summary": ""})
    titles[list(ANIME_COLUMNS)].to_csv(Path(folder) / "anime.tsv", sep="\t", index=False)
    with (Path(folder) / "interactions.tsv").open("w", encoding="utf-8") as file:
        file.write("\t".join(INTERACTION_COLUMNS) + "\n")
        for users in user_blocks(graph.indptr, BLOCK):
            some = graph[users].tocoo()
            rows = {"user": some.row + users.start, "item": some.col, "rate": 8, "comment": ""}
            times = FIRST + np.arange(len(some.row))
            pd.DataFrame({**rows, "time": times}).to_csv(file, sep="\t", header=False, index=False)


def measure(
    folder: str,
    device: str,
    layers: int,
    batch_size: int,
    steps: int,
    ranked: int,
    listed: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """Read a folder, build the model, take some steps, rank and list, in this process."""
    config = settings(layers, batch_size, seed=seed, data_dir=folder, valid_users=ranked)
    before = common.rss_from_now()
    dataset, read_s = common.timed(lambda: load_dataset(config), read=PROCESSOR)
    reading, train = common.peak_rss(), dataset.train
    rng = np.random.default_rng([seed, 3])
    graph_s = common.median_seconds(lambda: normalized_adjacency(train).to(device), repeats, device, PROCESSOR)
    sampling_s = common.median_seconds(lambda: sample_triples(train, rng), repeats, read=PROCESSOR)
    model = build_model(dataset, TextVectors(None, None, {}), config, torch.device(device))
    side = Side("aglrec", model, adam(model, config["lr"]), bpr_loss)
    step_s, state_bytes = time_steps(side, np.stack(sample_triples(train, rng)), config, steps, device)
    found, ranking_s = common.timed(lambda: valid_metrics(model, dataset, config), device, PROCESSOR)
    n_ranked = found["drawn"]["n_users"] if "drawn" in found else np.count_nonzero(np.diff(dataset.valid.indptr))
    lists_s, files_s = time_lists(model.embeddings(), first_users(dataset, listed), folder, config)
    csr = (model.norm_adj.crow_indices(), model.norm_adj.col_indices(), model.norm_adj.values())
    return {
        "interactions": dataset.seen.nnz,
        "train pairs": dataset.train.nnz,
        "nodes": model.norm_adj.shape[0],
        "read s": read_s,
        "graph s": graph_s,
        "CSR MiB": sum(part.nbytes for part in csr) / common.MIB,
        "step s": step_s,
        "sampling s": sampling_s,
        "ranking s a 1,000 users": ranking_s / n_ranked * 1000,
        "lists s a 1,000 users": lists_s / min(listed, dataset.n_users) * 1000,
        "files s": files_s,
        "reading MiB": reading / common.MIB,
        "peak RSS MiB": common.peak_rss() / common.MIB,
        "RSS before MiB": before / common.MIB,
        "weights and Adam MiB": state_bytes / common.MIB,
        "peak on device MiB": common.device_peak(device) / common.MIB,
    }


def time_lists(
    vectors: tuple[torch.Tensor, torch.Tensor], dataset: Dataset, folder: str, config: dict[str, Any]
) -> tuple[float, float]:
    """Return the seconds that the lists of all users of a dataset take, and those of all files of a run, lists too."""
    (user_emb, item_emb), saved, no_cold = vectors, Path(folder) / SAVED, np.empty(0, np.int64)
    saved.mkdir()
    user_emb = user_emb[: dataset.n_users]
    calls = (
        lambda: recommend(user_emb, item_emb, dataset, config["recommend_k"], config),
        lambda: write_outputs(saved, dataset, user_emb, item_emb, no_cold, config),
    )
    return tuple(common.seconds_of(call, item_emb.device, PROCESSOR) for call in calls)


def time_steps(side: Side, triples: np.ndarray, config: dict[str, Any], steps: int, device: str) -> tuple[float, int]:
    """Return the median seconds of a step on triples (3, n), and the bytes of weights, gradients and Adam."""
    batches = torch.from_numpy(triples).to(device).split(config["batch_size"], dim=1)
    seconds = [
        common.seconds_of(lambda batch=batch: take_step(side, batch, config), device, PROCESSOR)
        for batch in batches[: steps + 2]
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
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        common.in_child(
            build, folder=folder, n_interactions=n_interactions, nodes_times=nodes_times, seed=arguments.seed
        )
        names = ("device", "layers", "batch_size", "steps", "ranked", "listed", "repeats", "seed")
        return common.in_child(measure, folder=folder, **{name: getattr(arguments, name) for name in names})


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
        "CSR bytes a train pair": rows[-1]["CSR MiB"] * common.MIB / rows[-1]["train pairs"],
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
    parser.add_argument("--sizes", type=common.numbers, default=common.numbers("200k,500k,1M"))
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=5, help="steps of which the median is taken, after two others")
    parser.add_argument("--ranked", type=int, default=1000, help="users whose valid rows are ranked, drawn")
    parser.add_argument("--listed", type=int, default=1000, help="users who get lists, the first ones")
    parser.add_argument("--folder", help="where the made files wait; by default where temporary files are")
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
