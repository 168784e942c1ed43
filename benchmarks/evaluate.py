"""Time the full ranking of all users beside the standard per-user loop.

    python -m benchmarks.evaluate --gowalla FOLDER --out evaluate.json

The vectors are those of an untrained model: the work is the same whatever they hold.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks import common
from benchmarks.graphs import Graph, load_graph
from benchmarks.reference import plain_evaluate
from config import get_config
from data_loader import normalized_adjacency
from evaluator import evaluate
from model import LightGCN

log = logging.getLogger("aglrec")

K = 20


def vectors(graph: Graph, device: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return user_emb and item_emb of an untrained LightGCN with 3 layers and D = 64."""
    model = LightGCN(
        normalized_adjacency(graph.train).to(device),
        graph.train.shape[0],
        64,
        3,
        generator=torch.Generator().manual_seed(seed),
    )
    return model.embeddings()


def users_with_target(graph: Graph) -> np.ndarray:
    """Return the rows of the users with a test pair."""
    return np.flatnonzero(np.diff(graph.test.indptr))


def compare(graph: Graph, device: str, repeats: int, n_reference: int, seed: int) -> list[dict[str, Any]]:
    """Time both; the reference on its first users, scaled to all."""
    user_emb, item_emb = vectors(graph, device, seed)
    config, everyone = get_config({"top_k": [K], "seed": seed}), users_with_target(graph)
    users = everyone[:n_reference]
    seconds = {}
    for auc in (False, True):
        name = "with AUC" if auc else "without AUC"
        seconds["aglrec", name] = common.median_seconds(
            lambda auc=auc: evaluate(user_emb, item_emb, graph.test, graph.train, config, auc=auc), repeats, device
        )
        plain = common.median_seconds(
            lambda auc=auc: plain_evaluate(user_emb, item_emb, users, graph.test, graph.train, K, auc), repeats, device
        )
        seconds["reference", name] = plain * len(everyone) / len(users)
    return [
        {
            "metrics": name,
            "users": len(everyone),
            "items": len(item_emb),
            "aglrec s": seconds["aglrec", name],
            f"reference s, scaled from {len(users)} users": seconds["reference", name],
            "ratio": seconds["reference", name] / seconds["aglrec", name],
        }
        for name in ("without AUC", "with AUC")
    ]


def disagreement(graph: Graph, device: str, n_reference: int, seed: int) -> dict[str, float]:
    """Return the largest difference between the two in any user's metric, by metric.

    Computed in float64, so that no rank is decided by the order in which a sum was rounded.
    """
    user_emb, item_emb = (part.double() for part in vectors(graph, device, seed))
    users, rows = users_with_target(graph)[:n_reference], np.zeros(graph.test.shape[0], bool)
    rows[users] = True
    target = sp.csr_matrix(sp.diags(rows.astype(np.float32)) @ graph.test)
    target.sort_indices()
    target.eliminate_zeros()
    ours = evaluate(user_emb, item_emb, target, graph.train, get_config({"top_k": [K], "seed": seed}))
    plain = plain_evaluate(user_emb, item_emb, users, graph.test, graph.train, K, auc=True)
    return {key: float(np.abs(ours[key] - plain[key]).max()) for key in plain}


def extra_memory(gowalla: str | None, device: str, users_times: int, auc: bool, seed: int) -> dict[str, Any]:
    """Evaluate in this process, the users repeated so many times, and tell the memory that took on top."""
    graph = load_graph(gowalla, seed)
    user_emb, item_emb = vectors(graph, device, seed)
    user_emb = user_emb.repeat(users_times, 1)
    train, test = (sp.vstack([part] * users_times, format="csr") for part in (graph.train, graph.test))
    before, device_before = common.rss_from_now(), common.device_peak(device)
    evaluate(user_emb, item_emb, test, train, get_config({"top_k": [K], "seed": seed}), auc=auc)
    return {
        "users": len(user_emb),
        "AUC": auc,
        "RSS before MiB": before / common.MIB,
        "extra MiB": (common.peak_rss() - before) / common.MIB,
        "extra on device MiB": (common.device_peak(device) - device_before) / common.MIB,
    }


def memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run extra_memory in processes of their own, with and without AUC, at once and at many times the users."""
    gowalla = arguments.gowalla and str(Path(arguments.gowalla).resolve())
    return [
        common.in_child(
            "evaluate:extra_memory",
            gowalla=gowalla,
            device=arguments.device,
            users_times=times,
            auc=auc,
            seed=arguments.seed,
        )
        for times in sorted({1, arguments.users_times})
        for auc in (False, True)
    ]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the tables, write the JSON and return its content."""
    common.start_logging()
    parser = common.parser(__doc__)
    parser.add_argument("--reference_users", type=int, default=500, help="users the per-user loop is timed on")
    parser.add_argument(
        "--users_times",
        type=int,
        default=10,
        help="the memory is also measured at so many times the users; 0 leaves the memory out",
    )
    arguments = parser.parse_args(argv)
    graph = load_graph(arguments.gowalla, arguments.seed)
    results: dict[str, Any] = {"environment": common.environment(arguments.device), "arguments": vars(arguments)}
    results["seconds"] = common.show(
        "ranking all items for all users with a test pair",
        compare(graph, arguments.device, arguments.repeats, arguments.reference_users, arguments.seed),
    )
    results["disagreement"] = disagreement(graph, arguments.device, arguments.reference_users, arguments.seed)
    common.show("largest difference in a user's metric, in float64", [results["disagreement"]])
    if arguments.users_times:
        results["memory"] = common.show(
            "memory on top of vectors and graph, each in a process of its own", memory(arguments)
        )
    common.write_json(arguments.out, results)
    return results


if __name__ == "__main__":
    main()
