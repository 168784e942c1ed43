"""Time the full ranking of all users beside the standard per-user loop.

    python -m benchmarks.evaluate --gowalla FOLDER --out evaluate.json

The vectors are those of an untrained model: the work is the same whatever they hold.
"""

from typing import Any

import numpy as np
import torch

from benchmarks import common
from benchmarks.graphs import Graph, load_graph
from benchmarks.reference import plain_evaluate
from config import get_config
from data_loader import normalized_adjacency
from evaluator import evaluate
from model import LightGCN

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


def compare(graph: Graph, device: str, repeats: int, n_reference: int, seed: int) -> list[dict[str, Any]]:
    """Time both; the reference on its first users, scaled to all."""
    user_emb, item_emb = vectors(graph, device, seed)
    config, everyone = get_config({"top_k": [K], "seed": seed}), np.flatnonzero(np.diff(graph.test.indptr))
    users, rows = everyone[:n_reference], []
    for auc in (False, True):
        ours = common.median_seconds(
            lambda auc=auc: evaluate(user_emb, item_emb, graph.test, graph.train, config, auc=auc), repeats, device
        )
        plain = common.median_seconds(
            lambda auc=auc: plain_evaluate(user_emb, item_emb, users, graph.test, graph.train, K, auc), repeats, device
        )
        plain *= len(everyone) / len(users)
        rows.append(
            {
                "metrics": f"with{'' if auc else 'out'} AUC",
                "users": len(everyone),
                "items": len(item_emb),
                "aglrec s": ours,
                f"reference s, scaled from {len(users)} users": plain,
                "ratio": plain / ours,
            }
        )
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the table, write the JSON and return its content."""
    parser = common.parser(__doc__, "gowalla", "device", "repeats", "seed")
    parser.add_argument("--reference_users", type=int, default=500, help="users the per-user loop is timed on")
    arguments = parser.parse_args(argv)
    results, graph = common.begin(arguments), load_graph(arguments.gowalla, arguments.seed)
    rows = compare(graph, arguments.device, arguments.repeats, arguments.reference_users, arguments.seed)
    results["seconds"] = common.show("ranking all items for all users with a test pair", rows)
    return common.write_json(arguments.out, results)


if __name__ == "__main__":
    main()
