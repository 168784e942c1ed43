"""Time the ranking of one process beside that of all processes of a torchrun, which have to find the same.

    torchrun --nproc_per_node=2 -m benchmarks.ranks --users 2k --titles 50k

Vectors and pairs are drawn at random. Memory is bounded as in a run (eval_memory_mb). Where others use the machine the
processor's seconds of the first process tell more: what it has less of, the others have done.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks import common
from config import CONFIG
from evaluation import ranking, shared_ranking
from runtime.distributed import broadcast_from_rank0, n_helpers, process_group, rank

K, HELD_OUT = 20, 5  # length of the lists; pairs of a user that are to be found


def pairs(n_users: int, n_items: int, each: int, rng: np.random.Generator) -> sp.csr_matrix:
    """Draw so many items for each user, some of them twice and then one: CSR (n_users, n_items) of ones."""
    items = rng.integers(n_items, size=n_users * each)
    matrix = sp.csr_matrix((np.ones(len(items), np.float32), (np.repeat(np.arange(n_users), each), items)))
    matrix.resize(n_users, n_items)
    matrix.data[:] = 1
    return matrix


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Rank by both ways, with AUC and without, in process 0 while the others wait for it."""
    rng = np.random.default_rng(arguments.seed)
    user_emb, item_emb = (
        torch.from_numpy(rng.standard_normal((n, arguments.dim), np.float32))
        for n in (arguments.users, arguments.titles)
    )
    masked = pairs(arguments.users, arguments.titles, arguments.rows, rng)
    target = pairs(arguments.users, arguments.titles, HELD_OUT, rng)
    target = sp.csr_matrix(target - target.multiply(masked))
    target.eliminate_zeros()
    rows = []
    for name, asked in (("lists", None), ("lists and AUC", target)):
        given = (user_emb, item_emb, np.arange(arguments.users), masked, K, asked, 0, CONFIG["eval_memory_mb"])
        alone = timed(lambda given=given: ranking.rank_items(*given))
        together = timed(lambda given=given: shared_ranking.rank_items(*given))
        row = {"ranked": name, "users": arguments.users, "titles": arguments.titles, "processes": n_helpers() + 1}
        row |= {"alone s": alone.wall_s, "together s": together.wall_s}
        row |= {"processor s alone": alone.cpu_s, "processor s of the first together": together.cpu_s}
        rows.append(row | {"equal": alike(alone.found, together.found)})
    return rows


class Timed(NamedTuple):
    """What was found, and what it took this process."""

    found: ranking.Ranking
    wall_s: float
    cpu_s: float


def timed(rank_all: Callable[[], ranking.Ranking]) -> Timed:
    """Rank by both clocks."""
    start, cpu = time.perf_counter(), time.process_time()
    return Timed(rank_all(), time.perf_counter() - start, time.process_time() - cpu)


def alike(one: ranking.Ranking, other: ranking.Ranking) -> bool:
    """Tell whether two rankings are the same to the bit."""
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None]
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in both)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the table, write the JSON and return its content."""
    parser = common.parser(__doc__, "seed")
    parser.add_argument("--users", type=lambda text: common.numbers(text)[0], default=2_000)
    parser.add_argument("--titles", type=lambda text: common.numbers(text)[0], default=50_000)
    parser.add_argument("--rows", type=int, default=27, help="pairs of a user that are masked")
    parser.add_argument("--dim", type=int, default=64)
    arguments = parser.parse_args(argv)
    results = common.begin(arguments)
    with process_group():
        results["ranking"] = broadcast_from_rank0(measure)(arguments)
        if rank():
            return results
        common.show("ranking", results["ranking"])
        return common.write_json(arguments.out, results)


if __name__ == "__main__":
    main()
