"""Two processes that share the columns of the vectors against one that has them all.

A launch imports torch three times over, so there are few: one works through several runs and writes down what its
processes did (this very file is its script), two are killed, and two are the command line itself, going on after that.
tests/ranks.py kills at random moments.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

import main
import model as model_module
import trainer
from config import get_config
from model import LightGCN
from runtime import checkpoints, distributed
from runtime.cli import run_script
from tests import ranks
from tests.helpers.steps import DIM, LSA_DIM, bytes_of_a_step, gradients
from training import bpr, model_factory

ROOT = Path(__file__).parents[2]
EPOCHS, STEPS = 11, 10
BASE = {
    "model_name": "lsa",
    "lsa_dim": LSA_DIM,
    "embedding_dim": DIM,
    "num_layers": 2,
    "epochs": EPOCHS,
    "batch_size": 36,
    "lr": 0.01,
    "early_stop_round": 0,
    "valid_ratio": 0.0,
    "device": "cpu",
}
RUNS: dict[str, dict[str, Any]] = {
    "none": {"fusion_mode": "none"},
    "sum": {"fusion_mode": "sum", "id_dropout": 0.3},
    "concat": {"fusion_mode": "concat"},
    "xsimgcl": {"fusion_mode": "concat", "loss": "xsimgcl", "id_dropout": 0.3},
    "simplex": {"fusion_mode": "sum", "loss": "simplex", "normalize": True, "negatives": 20, "margin": 0.2},
    "softmax": {
        "fusion_mode": "sum",
        "loss": "softmax",
        "batch_size": 4,
        "normalize": True,
        "temperature": 0.2,
        "calibrate": True,
        "linear_dim": 4,
        "init": "svd",
        "lr_schedule": "cosine",
        "cold_item_ratio": 0.2,
        "cold_cost": 0.05,
        "valid_ratio": 0.1,
    },
}
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
OF_OFFSET = {"rtol": 1e-3, "atol": 1e-3}  # that of new titles, in item_bias, is read off differences of scores


# --- what the processes of a launch do ---


def work(job: dict[str, Any]) -> None:
    """Do the runs of a job in each process and write down, in its own file, what it did."""
    notes: dict[str, Any] = {"runs": {}, "writes": [], "reads": []}
    with distributed.process_group() as rank:
        watch_writes(job["folder"], notes["writes"])
        watch_reads("interactions.tsv", notes["reads"])
        for name, overrides in job["runs"].items():
            notes["runs"][name] = watched_run(get_config(overrides))
        notes["gradients"] = gradients()
        notes["reduced_for"] = {n_more: bytes_of_a_step(n_more) for n_more in (0, 1000)}
        notes["threads"] = gloo_threads()
    notes["threads left"] = gloo_threads()
    Path(job["notes"], f"{rank}.json").write_text(json.dumps(notes), encoding="utf-8")


def gloo_threads() -> list[str]:
    """Name the threads of this process that pass messages."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def watch_writes(folder: str, found: list[str]) -> None:
    """Note every file below the folder that is opened for writing, renamed or removed from now on."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        written = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if (written or event in ("os.rename", "os.remove", "os.mkdir")) and str(args[0]).startswith(folder):
            found.append(f"{event} {args[0]}")

    sys.addaudithook(hook)


def watch_reads(name: str, found: list[str]) -> None:
    """Note every file of this name that is opened from now on."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and str(args[0]).endswith(name):
            found.append(str(args[0]))

    sys.addaudithook(hook)


def watched_run(config: dict[str, Any]) -> dict[str, Any]:
    """Run an experiment; return its epochs, the nodes and bytes all-reduced of each step, and new titles' vectors."""
    epochs: list[int] = []
    steps: list[dict[str, Any]] = []
    cold: list[list[float]] = []  # the vectors set for new titles
    in_epoch = [False]
    train_epoch, fused, all_reduce = trainer.train_epoch, LightGCN.final_vectors, dist.all_reduce
    set_cold_vectors = LightGCN.set_cold_vectors

    def noted_epoch(*args: Any, **kwargs: Any) -> float:
        epochs.append(args[-1])
        in_epoch[0] = True
        loss = train_epoch(*args, **kwargs)
        in_epoch[0] = False
        return loss

    def noted_vectors(self: LightGCN, propagated: torch.Tensor, nodes: torch.Tensor | None, alone: Any) -> Any:
        if nodes is not None:
            steps.append({"n": len(nodes), "distinct": len(nodes.unique()), "reduced": []})
        return fused(self, propagated, nodes, alone)

    def noted_all_reduce(tensor: torch.Tensor, *args: Any, **more: Any) -> Any:
        if in_epoch[0]:
            steps[-1]["reduced"].append(tensor.numel() * tensor.element_size())
        return all_reduce(tensor, *args, **more)

    def noted_cold_vectors(self: LightGCN, vectors: torch.Tensor) -> None:
        cold.extend(vectors.tolist())
        set_cold_vectors(self, vectors)

    with pytest.MonkeyPatch.context() as patch:
        keep_checkpoint(patch)
        patch.setattr(LightGCN, "set_cold_vectors", noted_cold_vectors)
        patch.setattr(trainer, "train_epoch", noted_epoch)
        patch.setattr(LightGCN, "final_vectors", noted_vectors)
        patch.setattr(dist, "all_reduce", noted_all_reduce)
        main.run(config)
    return {"epochs": epochs, "steps": steps, "cold": cold}


def keep_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """Let a finished run keep its last checkpoint, that of its last epoch, by another name."""
    end = main.end

    def keep(saved: Path, *args: Any) -> None:
        shutil.copy(saved / "checkpoint.pth", saved / "last.pth")
        end(saved, *args)

    patch.setattr(main, "end", keep)
    patch.setattr(checkpoints, "SHARE", 1e9)


def be_killed(words: list[str]) -> int:
    """Do what main.py does with these words, but kill the second process in the middle of epoch 2."""
    bpr_loss, steps = bpr.bpr_loss, [0]

    def deadly(*args: Any) -> Any:
        steps[0] += 1
        if distributed.rank() == 1 and steps[0] == STEPS + 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return bpr_loss(*args)

    bpr.bpr_loss = deadly
    sys.argv = ["main.py", *words]
    return run_script(main.main)


# --- launches ---


def launch(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes; none of them outlives a time limit."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as job:
        try:
            out, err = job.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            workers = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", str(job.pid)], capture_output=True, text=True, check=False
            ).stdout.split()
            for pid in (*map(int, workers), job.pid):
                os.kill(pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, job.returncode, out, err)


def overrides_of(name: str, folder: Path, data: Path) -> dict[str, Any]:
    return {**BASE, **RUNS[name], "data_dir": str(data), "saved_dir": str(folder)}


def words_of(overrides: dict[str, Any]) -> list[str]:
    return [
        word
        for key, value in overrides.items()
        for word in (f"--{key}", str(value).lower() if isinstance(value, bool) else str(value))
    ]


def killed_in(epoch: int, overrides: dict[str, Any]) -> None:
    """Begin a run in this process and end it when an epoch begins."""
    train_epoch = trainer.train_epoch

    def killed(*args: Any, **kwargs: Any) -> float:
        if args[-1] == epoch:
            raise KeyboardInterrupt
        return train_epoch(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "train_epoch", killed)
        patch.setattr(checkpoints, "SHARE", 1e9)
        with pytest.raises(KeyboardInterrupt):
            main.run(get_config(overrides))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.helpers.data import write_data

    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder with every run, done in this process."""
    folder = tmp_path_factory.mktemp("single")
    with pytest.MonkeyPatch.context() as patch:
        keep_checkpoint(patch)
        for name in RUNS:
            main.run(get_config(overrides_of(name, folder / name, data)))
    return folder


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder with every run, and "resumed", begun alone, done by two processes; their notes are in notes/."""
    folder = tmp_path_factory.mktemp("double")
    runs = {name: overrides_of(name, folder / name, data) for name in RUNS}
    runs["resumed"] = overrides_of("concat", folder / "resumed", data)
    killed_in(5, runs["resumed"])
    (folder / "notes").mkdir()
    job = {"runs": runs, "folder": str(folder), "notes": str(folder / "notes")}
    done = launch(Path(__file__), "work", json.dumps(job))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[subprocess.CompletedProcess[str], Path, Path]:
    """A launch of which a process was killed, its folder, and a copy of that for others to change."""
    folder = tmp_path_factory.mktemp("killed")
    done = launch(Path(__file__), "killed", *words_of(overrides_of("concat", folder / "saved", data)))
    shutil.copytree(folder / "saved", folder / "copy")
    return done, folder / "saved", folder / "copy"


@pytest.mark.slow
def test_no_thread_of_theirs_outlives_the_group(double: Path) -> None:
    """One that did would end the interpreter with an abort, though seldom."""
    for rank in (0, 1):
        assert notes_of(double, rank)["threads"]
        assert notes_of(double, rank)["threads left"] == []


def notes_of(double: Path, rank: int) -> dict[str, Any]:
    return json.loads((double / "notes" / f"{rank}.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_gradients_are_those_of_one_process(double: Path) -> None:
    expected = gradients()
    assert len(expected) == 1 + 2 + 4 + 2 * (4 + 1)
    for rank in (0, 1):
        found = notes_of(double, rank)["gradients"]
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-7, err_msg=name)
            assert np.abs(gradient).max() > 1e-4


def read(folder: Path, name: str) -> Any:
    return torch.load(folder / name, weights_only=True)


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Check that two folders hold the same vectors, losses and choice of an epoch."""
    for name in ("user_emb.pt", "item_emb.pt"):
        mine, other = read(ours, name), read(theirs, name)
        torch.testing.assert_close(mine[:, :DIM], other[:, :DIM], **TOLERANCE, msg=f"{ours} {name}")
        torch.testing.assert_close(mine[:, DIM:], other[:, DIM:], **OF_OFFSET, msg=f"{ours} {name}")
    assert [line["epoch"] for line in history(ours)] == list(range(1, EPOCHS + 1))
    assert [line["loss"] for line in history(ours)] == pytest.approx([line["loss"] for line in history(theirs)], 1e-5)
    assert read(ours, "best_model.pth")["epoch"] == read(theirs, "best_model.pth")["epoch"]


def forms(content: Any) -> Any:
    """Replace every tensor by its dtype and shape, and every other leaf by its type."""
    if isinstance(content, dict):
        return {key: forms(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [forms(value) for value in content]
    return (content.dtype, content.shape) if isinstance(content, torch.Tensor) else type(content)


# --- the same numbers ---


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_what_one_trains(name: str, single: Path, double: Path) -> None:
    assert len(notes_of(double, 0)["runs"][name]["steps"]) >= 100
    begun = model_factory.build_model(*built_from(single / name))
    trained = read(single / name, "item_emb.pt")
    assert trained.shape[1] == begun.embeddings()[1].shape[1] + RUNS[name].get("linear_dim", 0)
    assert not torch.allclose(begun.embeddings()[1][:, :DIM], trained[:, :DIM], atol=0.05)
    assert_same_run(double / name, single / name)


def built_from(folder: Path) -> tuple[Any, ...]:
    """Return what build_model takes for the run in a folder."""
    config = read(folder, "best_model.pth")["config"]
    dataset = main.load_dataset(config)
    return dataset, main.text_vectors(dataset, config, "cpu"), config, torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["last.pth", "best_model.pth"])
@pytest.mark.parametrize("name", RUNS)
def test_what_two_processes_save_looks_like_that_of_one(name: str, file: str, single: Path, double: Path) -> None:
    ours, theirs = read(double / name, file), read(single / name, file)
    assert forms(ours) == forms(theirs)
    key = "model" if file == "last.pth" else "state_dict"
    assert ours[key]["id_emb"].shape[1] == DIM
    beside = [
        {column: state[key].pop(column) for column in [*state[key]] if column.startswith(("item_", "linear_"))}
        for state in (ours, theirs)
    ]
    torch.testing.assert_close(*beside, **OF_OFFSET)
    if name == "softmax" and file == "best_model.pth":
        assert set(beside[0]) == {"item_bias", "linear_inputs", "linear_outputs", "linear_power"}
        assert all(column.any() for key, column in beside[0].items() if key != "linear_power")  # which is 0 for weights
        assert set(ours["decided"]) == {"weights", "unit", "tried", "linear", "cold_offset"}
    torch.testing.assert_close(ours[key], theirs[key], **TOLERANCE)
    if file == "last.pth":
        for number, moments in theirs["optimizer"]["state"].items():
            torch.testing.assert_close(ours["optimizer"]["state"][number], moments, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_run_begun_alone_is_gone_on_with_by_two(single: Path, double: Path) -> None:
    assert [notes_of(double, rank)["runs"]["resumed"]["epochs"] for rank in (0, 1)] == [list(range(5, EPOCHS + 1))] * 2
    assert_same_run(double / "resumed", single / "concat")


@pytest.mark.slow
def test_a_run_begun_by_two_is_gone_on_with_alone(
    killed: tuple[Any, Path, Path], single: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    train_epoch = trainer.train_epoch
    monkeypatch.setattr(
        trainer, "train_epoch", lambda *args, **more: epochs.append(args[-1]) or train_epoch(*args, **more)
    )
    main.run(get_config(overrides_of("concat", killed[2], data)))
    assert epochs == list(range(2, EPOCHS + 1))
    assert_same_run(killed[2], single / "concat")


@pytest.mark.slow
def test_new_titles_stand_in_both_processes_where_they_do_in_one(single: Path, double: Path) -> None:
    """The regression that places them chooses its penalty once, in the first process."""
    expected = read(single / "softmax", "best_model.pth")["state_dict"]["cold_vectors"]
    assert expected.shape[0] >= 3
    for rank in (0, 1):
        found = torch.tensor(notes_of(double, rank)["runs"]["softmax"]["cold"])
        torch.testing.assert_close(found, expected, **TOLERANCE)
        assert notes_of(double, rank)["runs"]["sum"]["cold"] == []


# --- who does what ---


@pytest.mark.slow
def test_the_first_process_alone_writes(double: Path) -> None:
    assert notes_of(double, 1)["writes"] == []
    assert any("checkpoint.pth" in line for line in notes_of(double, 0)["writes"])


@pytest.mark.slow
def test_the_first_process_alone_reads_the_data(double: Path) -> None:
    assert [len(notes_of(double, rank)["reads"]) >= len(RUNS) for rank in (0, 1)] == [True, False]
    assert notes_of(double, 1)["reads"] == []


@pytest.mark.slow
def test_a_step_reduces_the_vectors_of_its_nodes_and_nothing_else(double: Path) -> None:
    n_nodes = 70
    for name, run in notes_of(double, 0)["runs"].items():
        assert len(run["steps"]) == len(run["epochs"]) * STEPS
        for step in run["steps"]:
            assert step["n"] == step["distinct"] < n_nodes, name
            of_nodes, *more = step["reduced"]
            assert of_nodes == step["n"] * DIM * 4, name
            if name == "softmax":  # two means, and the gradient of what each process computes for its users
                assert more == [8, 8, of_nodes]
                continue
            assert [size < 2 * of_nodes for size in more] == [True] * (name == "xsimgcl"), name
        assert run == notes_of(double, 1)["runs"][name]


@pytest.mark.slow
def test_the_bytes_of_a_step_do_not_depend_on_the_size_of_the_graph(double: Path) -> None:
    assert notes_of(double, 0)["reduced_for"] == {"0": [10 * DIM * 4], "1000": [10 * DIM * 4]}


# --- a process that dies ---


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_the_same_command_goes_on(
    killed: tuple[subprocess.CompletedProcess[str], Path, Path], single: Path, data: Path
) -> None:
    died, saved, _ = killed
    assert died.returncode != 0
    assert "SIGKILL" in died.stderr
    assert "Recall" not in died.stdout
    assert not (saved / "metrics.json").exists()
    assert read(saved, "checkpoint.pth")["epoch"] == 1
    done = launch(ROOT / "main.py", *words_of(overrides_of("concat", saved, data)))
    assert done.returncode == 0, done.stderr
    assert_same_run(saved, single / "concat")
    lines = done.stdout.splitlines()
    for table in ("test, titles with a history", "test, all titles"):
        assert [line.startswith(table) for line in lines].count(True) == 1
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == list(map(str, range(2, EPOCHS + 1)))
    assert ["resuming after epoch 1 " in line for line in lines].count(True) == 1
    assert done.stdout.count("for user u0:") == 1


@pytest.mark.slow
def test_the_first_process_killed_ends_the_job_within_seconds_and_the_same_command_ends_equal(
    double: Path, data: Path, tmp_path: Path
) -> None:
    overrides = overrides_of("concat", tmp_path / "saved", data)
    del overrides["saved_dir"]
    seconds, wrong = ranks.survived(tmp_path / "saved", double / "concat", words_of(overrides), (5, 0.0, 0))
    assert wrong == []
    assert seconds is not None


# --- alone ---


def test_alone_there_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with distributed.process_group() as rank:
        assert rank == distributed.rank() == 0
        assert not dist.is_initialized()
    for decorated in (distributed.broadcast_from_rank0, distributed.rank0_first):
        assert decorated(lambda: "computed")() == "computed"
    partial = torch.ones(2)
    assert model_module.sum_over_processes(partial) is partial
    assert model_module.own_share(DIM) == slice(0, DIM)


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(json.loads(sys.argv[2]))
    else:
        sys.exit(be_killed(sys.argv[2:]))
