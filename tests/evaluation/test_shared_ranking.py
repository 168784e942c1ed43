"""Ranking by all processes of a torchrun (this very file is the script): to the bit what a single process ranks."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluation import ranking, score_sums, shared_ranking
from evaluation.held_out import held_out_metrics
from evaluation.ranking import Ranking
from inference.top_k import recommend
from runtime import distributed
from tests.helpers.data import dataset_of
from tests.helpers.rankings import settings, to_csr

ROOT = Path(__file__).parents[2]
N_USERS, N_ITEMS, K = 4_000, 120, 20
MEMORY = 1  # MiB: blocks of 512 users


def inputs(seed: int = 0, of_integers: bool = False) -> dict[str, Any]:
    """Return vectors, of integers where ties are wanted, and pairs to mask and to find."""
    rng = np.random.default_rng(seed)
    draw = (lambda n: rng.integers(-2, 3, (n, 5))) if of_integers else (lambda n: rng.standard_normal((n, 5)))
    user_emb, item_emb = (torch.from_numpy(draw(n).astype(np.float32)) for n in (N_USERS, N_ITEMS))
    user_emb[rng.random(N_USERS) < 0.02] = 0  # who has no history
    lots = rng.random((N_USERS, N_ITEMS))
    return {
        "user_emb": user_emb,
        "item_emb": item_emb,
        "user_ids": np.flatnonzero(rng.random(N_USERS) < 0.95),
        "masked": to_csr(lots < 0.1),
        "target": to_csr(lots > 0.95),
        "k": K,
        "memory_mb": MEMORY,
    }


def assert_same(found: Ranking, expected: Ranking) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


# --- three processes in this one ---


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Let two others help, who get what is sent; the numbers of users of each share are returned as they come."""
    found: list[list[int]] = []

    def with_help(function: Callable[[Any], Any], shares: list[Any]) -> list[Any]:
        found.append([share.masked.shape[0] for share in shares])
        sides, results = list(shared_ranking._sides), []
        for share in shares:
            shared_ranking._sides[:] = sides  # each process has its own
            results.append(pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(share))))))
        return results

    monkeypatch.setattr(shared_ranking, "n_helpers", lambda: 2)
    monkeypatch.setattr(shared_ranking, "with_help", with_help)
    return found


@pytest.mark.parametrize("of_integers", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("with_auc", [False, True])
def test_lists_are_those_of_one_process(
    of_integers: bool, sparse: bool, with_auc: bool, sizes: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_ranking, "BLOCKS", 2)
    given = inputs(of_integers=of_integers)
    if sparse:
        given |= {key: to_csr(given[key].numpy()) for key in ("user_emb", "item_emb")}
    given["target"] = given["target"] if with_auc else None
    expected = ranking.rank_items(**given)
    assert_same(shared_ranking.rank_items(**given), expected)
    blocks = shared_ranking.rank_together(**given)
    assert np.concatenate([one.user_ids for one in blocks]).tolist() == given["user_ids"].tolist()
    n_users, block = len(given["user_ids"]), 2**20 // (128 * 16)
    left = n_users - 6 * block
    assert sizes == 2 * [[2 * block] * 3, [block, left - block, 0]]
    assert shared_ranking._sides == []


def test_what_is_one_block_is_not_shared(sizes: list[list[int]]) -> None:
    given = {**inputs(), "memory_mb": 64}
    assert_same(shared_ranking.rank_items(**given), ranking.rank_items(**given))
    assert sizes == []


def test_a_list_longer_than_the_catalogue_is_refused(sizes: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=f"k = {N_ITEMS + 1} "):
        shared_ranking.rank_items(**{**inputs(), "k": N_ITEMS + 1})


# --- two processes ---


def tried() -> Dataset:
    given = inputs(of_integers=True)
    none = sp.csr_matrix((N_USERS, N_ITEMS), dtype=np.float32)
    return dataset_of(given["masked"], test=given["target"], valid=none)


def noted(share: Any) -> Any:
    """Fail, or tell which process this is."""
    if share == "memory" and distributed.rank() == 1:
        raise MemoryError("none left")
    if share == "broken" and distributed.rank() == 1:
        raise KeyError("a name")
    return share, distributed.rank()


def figures() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return test figures and lists of made vectors."""
    given, dataset = inputs(of_integers=True), tried()
    config = settings([5, 20], memory_mb=MEMORY)
    vectors = given["user_emb"], given["item_emb"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_sums, "MOST", 0)  # as where scores are too many to be kept
        return held_out_metrics(*vectors, dataset, config)[0], recommend(*vectors, dataset, K, config)


def work(folder: Path) -> None:
    """Rank alone while the other helps, fail there, and write down what came of it."""
    notes: dict[str, Any] = {}
    shared = distributed.broadcast_from_rank0
    with distributed.process_group() as number:
        share = shared_ranking.score_share
        n_users: list[int] = []

        def counted(one: Any) -> Any:
            n_users.append(one.masked.shape[0])
            return share(one)

        counted.__qualname__, counted.__module__ = "score_share", "evaluation.shared_ranking"
        shared_ranking.score_share = counted
        notes["before"] = distributed.n_helpers()
        notes["figures"], notes["lists"] = shared(figures)()
        notes["together"] = shared(lambda: distributed.with_help(noted, ["a", "b"]))()
        for kind in ("memory", "broken"):
            notes[kind] = shared(lambda kind=kind: error_of(lambda: distributed.with_help(noted, [kind] * 2)))()
        notes["n_users"] = n_users
        notes["after"] = distributed.n_helpers()
    (folder / f"{number}.json").write_text(json.dumps(notes))


def error_of(call: Callable[[], Any]) -> str:
    try:
        return f"nothing, but {call()}"
    except (MemoryError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    expected = json.loads(json.dumps(figures()))
    for notes in (ours, theirs):
        assert [notes["figures"], notes["lists"]] == expected
        assert notes["together"] == [["a", 0], ["b", 1]]
        assert notes["memory"] == "MemoryError: none left"
        assert notes["broken"] == "RuntimeError: process 1: KeyError('a name')"
        assert notes["before"] == notes["after"] == 0
    # rankings of 4,000 users each, of which both have their parts
    assert len(ours["n_users"]) == len(theirs["n_users"]) > 3
    assert sum(theirs["n_users"]) > 0.4 * sum(ours["n_users"])


if __name__ == "__main__":
    work(Path(sys.argv[1]))
