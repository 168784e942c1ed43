"""The benchmarks: their graphs, the standard form they measure against, and that each script runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from benchmarks import common, convert, graphs, load, memory, ranks, read, scale, train
from benchmarks import evaluate as ranking
from benchmarks.graphs import Graph, read_text_graph, synthetic_graph
from benchmarks.reference import plain_adjacency, plain_evaluate, plain_sample, user_sets
from config import get_config
from data_loader import Dataset, load_dataset, normalized_adjacency
from evaluation.ranking import rank_items
from evaluator import evaluate
from model import LightGCN


def write_graph(folder: Path, n_users: int = 60, n_items: int = 130) -> Path:
    """Write a small graph in the text format, a sixth of its pairs as test."""
    folder.mkdir()
    pairs, rng = synthetic_graph(2000, 1, n_users, n_items), np.random.default_rng(0)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for user, items in enumerate(np.split(pairs.indices, pairs.indptr[1:-1])):
        held_out = rng.random(len(items)) < 1 / 6
        for part, mine in (("train", items[~held_out]), ("test", items[held_out])):
            lines[part].append(" ".join(map(str, [user, *mine.tolist()])))
    for part, rows in lines.items():
        (folder / f"{part}.txt").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine, threads that wait for each other make tiny steps a hundred times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "small")


@pytest.fixture
def graph(folder: Path) -> Graph:
    return read_text_graph(folder)


def bench(graph: Graph) -> train.Bench:
    norm_adj = normalized_adjacency(graph.train)
    return train.Bench(graph, norm_adj, plain_adjacency(graph.train), torch.device("cpu"), 1, 1, 20, 0)


def run(script: Any, tmp_path: Path, *argv: str) -> dict[str, Any]:
    """Run a script and return what it wrote, which is what it returned."""
    out = tmp_path / "out.json"
    returned = script.main([*argv, "--out", str(out)])
    written = json.loads(out.read_text())
    assert written == json.loads(json.dumps(returned))
    return written


def test_synthetic_graph_is_seeded_exact_and_heavy_tailed() -> None:
    first, again, other = (synthetic_graph(20_000, seed) for seed in (0, 0, 1))
    assert first.nnz == 20_000
    assert first.has_canonical_format
    assert (first.data == 1).all()
    assert np.diff(first.indptr).min() >= 1
    assert np.array_equal(first.indices, again.indices)
    assert not np.array_equal(first.indices, other.indices)
    for degrees in (np.diff(first.indptr), np.bincount(first.indices)):
        assert degrees.max() > 8 * np.median(degrees)


def test_plain_adjacency_is_ours(graph: Graph) -> None:
    assert torch.allclose(plain_adjacency(graph.train).to_dense(), normalized_adjacency(graph.train).to_dense())


@pytest.mark.parametrize("text_dim", [0, 12])
def test_plain_training_has_our_losses(graph: Graph, text_dim: int) -> None:
    shared, config = bench(graph), train.settings(3, 64)
    text = train.unit_vectors(shared.norm_adj.shape[0], text_dim, 0) if text_dim else None
    ours = train.aglrec(shared.norm_adj, graph.train.shape[0], config, text)
    sides = [ours, train.reference(shared.coo_adj, ours.model, config, text)]
    batches = train.batches_of(shared, 64)
    assert train.compare_losses(sides, batches, 15, config)["loss diff in 15"] < 1e-5
    train.take_step(ours, next(batches), config)
    assert train.compare_losses(sides, batches, 1, config)["loss diff in 1"] > 1e-5  # it sees one a step ahead


def test_plain_sampling_gives_each_pair_a_negative(graph: Graph) -> None:
    rng = np.random.default_rng(0)
    users, positives, negatives = plain_sample(
        graph.train, user_sets(graph.train), rng.permutation(graph.train.nnz), rng
    )
    n_items = graph.train.shape[1]
    assert np.array_equal(np.sort(users * n_items + positives), np.flatnonzero(graph.train.toarray()))
    assert not np.asarray(graph.train[users, negatives]).any()


def test_plain_evaluation_agrees_with_the_evaluator(graph: Graph) -> None:
    user_emb, item_emb = (part.double() for part in ranking.vectors(graph, "cpu", 0))
    users = np.flatnonzero(np.diff(graph.test.indptr))
    ours = evaluate(user_emb, item_emb, graph.test, graph.train, get_config({"top_k": [20]}))
    plain = plain_evaluate(user_emb, item_emb, users, graph.test, graph.train, 20, auc=True)
    assert max(np.abs(ours[key] - plain[key]).max() for key in plain) < 1e-9


def test_plain_evaluation_by_hand() -> None:
    known, wanted = (sp.csr_matrix(np.array([row], np.float32)) for row in ([0, 0, 0, 1], [0, 1, 0, 0]))
    scores = torch.tensor([[0.4, 0.3, 0.2, 0.9]])
    metrics = plain_evaluate(torch.ones(1, 1), scores.T, np.array([0]), wanted, known, 2, auc=True)
    assert metrics["Recall@2"] == metrics["Hit@2"] == 1
    assert metrics["NDCG@2"] == pytest.approx(1 / np.log2(3))
    assert metrics["AUC"] == 0.5


def test_train_script(folder: Path, tmp_path: Path) -> None:
    results = run(
        train,
        tmp_path,
        "--gowalla",
        str(folder),
        "--batch_sizes",
        "128,256",
        "--layers",
        "1",
        "--steps",
        "1",
        "--repeats",
        "1",
        "--loss_steps",
        "5",
        "--text_dim",
        "8",
        "--sampling_pairs",
        "9",
        "--full_epoch",
    )
    assert [(row["K"], row["batch"]) for row in results["steps"]] == [(1, 128), (1, 256)]
    assert all(row["loss diff in 5"] < 1e-5 and row["epoch ratio"] > 0 for row in results["steps"] + results["text"])
    ours, plain = results["full_epochs"]
    assert {"Recall@20", "NDCG@20", "Hit@20"} < set(ours)
    assert ours["epoch"] == plain["epoch"] == 1


def test_evaluate_and_load_scripts(folder: Path, data_dir: Path, tmp_path: Path) -> None:
    results = run(ranking, tmp_path, "--gowalla", str(folder), "--repeats", "1", "--reference_users", "20")
    assert [row["metrics"] for row in results["seconds"]] == ["without AUC", "with AUC"]
    results = run(load, tmp_path, "--gowalla", str(folder), "--data_dir", str(data_dir), "--repeats", "1")
    assert results["tsv"][0]["TSV to Dataset s"] > 0
    assert results["graph"][0]["ratio"] > 0


def measured(folder: Path, n_interactions: int, ranked: int = 20, listed: int = 7) -> dict[str, Any]:
    """Make a data folder and measure it."""
    scale.build(str(folder), n_interactions, 1.0, 0)
    return scale.measure(str(folder), "cpu", 2, 256, 2, ranked, listed, 1, 0)


def test_scale_goes_the_way_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made is read from the files, drawn users are ranked, and lists are written of the users asked for."""
    ranked: list[int] = []
    valid_metrics = scale.valid_metrics

    def noted(model: LightGCN, dataset: Dataset, config: dict[str, Any]) -> dict[str, Any]:
        ranked.append(int((dataset.targets("valid").getnnz(axis=1) > 0).sum()))
        return valid_metrics(model, dataset, config)

    monkeypatch.setattr(scale, "valid_metrics", noted)
    monkeypatch.setattr(scale, "BLOCK", 900)  # so that the file is written in several
    measured(tmp_path, 3000)
    rows = pd.read_csv(tmp_path / "interactions.tsv", sep="\t")
    graph = synthetic_graph(3000, 0)
    assert sorted(zip(rows["user_id"], rows["subject_id"], strict=True)) == sorted(zip(*graph.nonzero(), strict=True))
    assert ranked == [20]
    lists = json.loads((tmp_path / scale.SAVED / "recommendations.json").read_text())
    assert list(lists) == [str(user) for user in range(7)]
    assert load_dataset(get_config({"data_dir": str(tmp_path)})).facts["split"] == "user_time"


def test_scale_measures_a_graph_and_fits_a_line(tmp_path: Path) -> None:
    row = measured(tmp_path, 3000)
    assert row["interactions"] == 3000
    assert 0.75 < row["train pairs"] / 3000 < 0.95
    assert row["CSR MiB"] * common.MIB == 4 * (row["nodes"] + 1) + 2 * row["train pairs"] * 8
    assert row["weights and Adam MiB"] * common.MIB / row["nodes"] == pytest.approx(4 * 4 * 64, rel=1e-3)
    rows = [
        row
        | {
            "interactions": n,
            "nodes": n / 10,
            "peak RSS MiB": 300 + n / 1e4,
            "read s": n,
            "graph s": n,
            "step s": 1 + n,
            "sampling s": n**2,
        }
        for n in (10**6, 2 * 10**6, 4 * 10**6)
    ]
    denser = rows[1] | {"nodes": 4e5, "peak RSS MiB": 300 + 200 + 2e5 * 1e3 / common.MIB}
    summary = scale.summarise(rows, denser)
    deviations = {fit["of"]: fit["largest deviation"] for fit in summary["fits"]}
    assert deviations["graph s"] < 1e-9
    assert deviations["sampling s"] > 0.2
    assert summary["bytes"]["bytes a node"] == pytest.approx(1e3)
    assert summary["bytes"]["constant MiB"] == pytest.approx(300)


def test_one_process_ranks_as_all_of_one(tmp_path: Path) -> None:
    results = run(ranks, tmp_path, "--users", "50", "--titles", "300", "--rows", "9")
    assert [row["equal"] for row in results["ranking"]] == [True, True]
    assert results["ranking"][0]["processes"] == 1
    one = rank_items(torch.eye(3), torch.eye(3), np.arange(3), sp.csr_matrix((3, 3), dtype=np.float32), 2)
    assert not ranks.alike(one, one._replace(items=one.items[::-1]))


def test_scale_says_where_it_stopped_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_size(arguments: Any, n_interactions: int, nodes_times: float = 1.0) -> dict[str, Any]:
        if n_interactions > 2000:
            raise common.ChildFailed("killed by signal 9")
        return {"interactions": n_interactions, "step s": 1.0, "peak RSS MiB": 1.0}

    monkeypatch.setattr(scale, "one_size", one_size)
    page = tmp_path / "SCALE.md"
    results = run(scale, tmp_path, "--sizes", "1k,2k,4k,8k", "--markdown", str(page))
    assert [row["interactions"] for row in results["rows"]] == [1000, 2000]
    assert "4,000" in results["stopped"]
    assert results["stopped"] in page.read_text()
    monkeypatch.setattr(common, "available_memory", lambda: common.MIB)
    assert "were not tried" in run(scale, tmp_path, "--sizes", "1k,2k")["stopped"]


@pytest.mark.slow
def test_a_child_that_fails_says_how() -> None:
    with pytest.raises(common.ChildFailed, match="at most half of all pairs"):
        common.in_child(graphs.synthetic_graph, n_interactions=10)


@pytest.mark.slow
def test_a_made_list_is_converted_whole(tmp_path: Path) -> None:
    convert.make(tmp_path, 1000, seed=0)
    rows = pd.read_csv(tmp_path / "animelist.csv")
    assert len(rows) == 1000
    assert not rows.duplicated(["user_id", "anime_id"]).any()
    assert set(rows["watching_status"]) == set(convert.STATUSES)
    cost = convert.converted(tmp_path)
    written = [len(pd.read_csv(tmp_path / "converted" / name, sep="\t")) for name in ("interactions.tsv", "known.tsv")]
    assert sum(written) == 1000
    assert min(written) > 100
    assert cost["wall s"] > 0
    assert 10 < cost["peak MiB"] < 2000


@pytest.mark.parametrize("times", ["seconds", "days", "none"])
def test_made_rows_are_read_whole(times: str, tmp_path: Path) -> None:
    read.make_folder(tmp_path, 3000, 40, 200, shuffled=times == "days", times=times)
    row = read.measure(str(tmp_path))
    assert (row["rows"], row["users"], row["titles"]) == (3000, 40, 200)
    assert row["processor s"] > 0
    assert row["peak MiB"] >= row["before MiB"] > 0


def test_the_memory_of_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "in_child", lambda function, **arguments: function(**arguments))
    sizes = ("--users", "50", "--titles", "60", "--rows", "1k", "--text_dim", "8", "--listed", "20")
    rows = run(memory, tmp_path, *sizes)["memory"]
    assert [row["step"] for row in rows] == ["read", "model, process 0", "files"]
