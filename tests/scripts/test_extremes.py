"""Data of extreme shape, losses that run away, memory that runs out: a result that is sane, or one sentence."""

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import main
import trainer
from config import get_config
from data_loader import Dataset
from dataset.splits import NOTHING_LEFT
from evaluation import ranking
from llm_embedding import text_vectors
from runtime import memory
from runtime.cli import run_script
from runtime.files import load_torch
from runtime.identity import RunIdentity
from tests.helpers.data import write_data, write_tsv
from text import encoders
from training import bpr, model_factory
from web.charts import lines

Pairs = Iterable[tuple[int, int]]
CUDA = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 900 bytes. Error code 12 (Cannot allocate memory)"
)
WINDOWS = RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried")
SHORT_OF_MEMORY = [MemoryError(), np._core._exceptions._ArrayMemoryError((3,), np.dtype(int)), CUDA, CPU, WINDOWS]
SOME = [(user, item) for user in range(20) for item in range(30) if (user * 7 + item * 11) % 3 == 0]


def folder_of(
    folder: Path,
    n_items: int,
    pairs: Pairs,
    rate: Callable[[int, int], Any] = lambda user, item: (user + item) % 10 + 1,
    summary: Callable[[int], str] = lambda item: f"story of {item}",
) -> Path:
    write_tsv(folder, "anime.tsv", ((f"s{i}", f"title {i}", f'["tag{i % 5}"]', summary(i)) for i in range(n_items)))
    write_tsv(
        folder,
        "interactions.tsv",
        (
            (f"u{u}", f"s{i}", rate(u, i), f"user {u} on {i}" if (u + i) % 2 else "", f"2020-01-{(u + i) % 28 + 1:02d}")
            for u, i in pairs
        ),
    )
    return folder


SHAPES: dict[str, Callable[[Path], Path]] = {
    "one user": lambda to: folder_of(to, 30, [(0, item) for item in range(10)]),
    "one user with every title": lambda to: folder_of(to, 10, [(0, item) for item in range(10)]),
    "one title": lambda to: folder_of(to, 1, [(user, 0) for user in range(10)]),
    "one user and title": lambda to: folder_of(to, 1, [(0, 0)]),
    "two titles": lambda to: folder_of(to, 2, [(user, user % 2) for user in range(10)]),
    "everyone has everything": lambda to: folder_of(to, 10, [(user, item) for user in range(8) for item in range(10)]),
    "one of many has everything": lambda to: folder_of(to, 30, [*SOME, *((99, item) for item in range(30))]),
    "all rated alike": lambda to: folder_of(to, 30, SOME, lambda user, item: 7),
    "a row each": lambda to: folder_of(to, 30, [(user, user) for user in range(30)]),
    "one text": lambda to: folder_of(to, 30, SOME, summary=lambda item: "the same"),
    "long texts": lambda to: folder_of(to, 30, SOME, summary=lambda item: f"{item} words, " * 8_400),
    "a long word": lambda to: folder_of(to, 30, SOME, summary=lambda item: "abc"[item % 3] * 100_000),
}
WAYS: dict[str, dict[str, Any]] = {
    "bpr": {"epochs": 2, "embedding_dim": 8, "lsa_dim": 8},
    "tuned": {"preset": "tuned", "epochs": 2, "embedding_dim": 8, "linear_dim": 8, "lsa_dim": 8},
    "global_time": {"epochs": 1, "embedding_dim": 8, "lsa_dim": 8, "split": "global_time", "loss": "softmax"},
    "all cold": {"epochs": 1, "cold_item_ratio": 0.99, "split": "user_time"},
    "all cold by date": {"epochs": 1, "cold_item_ratio": 0.99, "split": "global_time"},
}
# of these everyone has every title that train knows, which leaves bpr no negative
FULL = ("one user", "one user with every title", "one title", "one user and title", "everyone has everything")


def sentence_of(shape: str, way: str) -> str:
    """Return what a run says in the place of a result; "" where there must be one."""
    if way.startswith("all cold") or (shape, way) == ("one user and title", "global_time"):
        return NOTHING_LEFT
    return "bpr needs titles a user has not collected, but every user has all" if way == "bpr" and shape in FULL else ""


def settings_for(folder: Path, saved: Path, **settings: Any) -> dict[str, Any]:
    few = {"top_k": [1], "recommend_k": 1}
    return get_config(
        {"data_dir": str(folder), "saved_dir": str(saved), "model_name": "lsa", "device": "cpu", **few, **settings}
    )


def numbers(found: Any) -> Iterable[float]:
    if isinstance(found, dict | list):
        for part in found.values() if isinstance(found, dict) else found:
            yield from numbers(part)
    elif isinstance(found, float):
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_extreme_shape_gives_a_result_or_a_sentence(shape: str, way: str, tmp_path: Path) -> None:
    config = settings_for(SHAPES[shape](tmp_path / "data"), tmp_path / "saved", **WAYS[way])
    if told := sentence_of(shape, way):
        with pytest.raises(ValueError, match=told):
            main.run(config)
        return
    metrics = main.run(config)
    lists = json.loads((tmp_path / "saved" / "recommendations.json").read_text())
    assert all(map(math.isfinite, [*numbers(metrics), *numbers(lists)]))
    for side in ("user", "item"):
        assert torch.isfinite(load_torch(tmp_path / "saved" / f"{side}_emb.pt")).all()
    assert (tmp_path / "saved" / "report.html").exists()


def test_a_user_with_every_title_is_recommended_none(tmp_path: Path) -> None:
    folder = SHAPES["one of many has everything"](tmp_path / "data")
    main.run(settings_for(folder, tmp_path / "saved", **WAYS["tuned"]))
    lists = json.loads((tmp_path / "saved" / "recommendations.json").read_text())
    assert lists["u99"] == []
    assert all(titles for user, titles in lists.items() if user != "u99")


@pytest.mark.parametrize("split", ["user_time", "random", "leave_one_out", "global_time"])
def test_nothing_left_to_train_on_is_a_sentence(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_data(tmp_path / "data", n_users=5, n_items=8, per_user=3)
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "main.py",
            "--data_dir",
            str(folder),
            "--saved_dir",
            str(tmp_path / "saved"),
            "--split",
            split,
            "--cold_item_ratio",
            "0.99",
        ],
    )
    assert run_script(main.main) == 2
    assert capsys.readouterr().err == f"error: {NOTHING_LEFT}\n"


def test_a_chart_of_losses_that_differ_by_a_rounding_is_drawn() -> None:
    drawn = lines("loss", {"a": [(1, 0.5, 0), (2, 0.5 + 1e-15, 0)]}, [(1, "1")], {"a": 0}, "epoch", from_zero=False)
    assert len(drawn["lines"]) == 1


# --- losses ---


def fitted(dataset: Dataset, config: dict[str, Any]) -> dict[str, Any]:
    vectors = text_vectors(dataset, config, "cpu")
    model = model_factory.build_model(dataset, vectors, config, torch.device("cpu"))
    return trainer.fit(model, dataset, config, RunIdentity({}, "", {}, {}))


def spoil(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int, factor: float, per_epoch: int) -> None:
    """Multiply the loss of a batch of an epoch, both counted from 1."""
    bpr_loss, steps = bpr.bpr_loss, []

    def spoiled(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        steps.append(1)
        loss, penalty = bpr_loss(*args)
        return (loss * factor if len(steps) == (epoch - 1) * per_epoch + batch else loss), penalty

    monkeypatch.setattr(bpr, "bpr_loss", spoiled)


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (math.nan, "the loss became nan in epoch 3, batch 4 of 5; lower --lr"),
        (math.inf, "the loss became (inf|nan) in epoch 3, batch 4 of 5; lower --lr"),
        (1e9, "the loss grew to .* in epoch 3, 1,000 times that of guessing; lower --lr"),
    ],
)
def test_a_loss_that_runs_away_is_told_and_the_best_epoch_kept(
    factor: float, told: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "lr": 0.05, "batch_size": -(-dataset.train.nnz // 5), "epochs": 9}
    path = Path(config["saved_dir"]) / "checkpoint.pth"
    fitted(dataset, {**config, "epochs": 2})
    best = load_torch(path)["best"]
    spoil(monkeypatch, 3, 4, factor, 5)
    with pytest.raises(FloatingPointError, match=f"{told}.*; .*checkpoint.pth keeps epoch {best['epoch']}, the best"):
        fitted(dataset, {**config, "resume": "never"})
    kept = load_torch(path)
    assert kept["epoch"] == 2
    assert kept["best"]["epoch"] == best["epoch"]
    assert all(torch.equal(kept["best"]["state_dict"][name], value) for name, value in best["state_dict"].items())


def test_a_loss_that_runs_away_at_once_names_no_epoch_that_is_not_there(
    dataset: Dataset, config: dict[str, Any]
) -> None:
    with pytest.raises(FloatingPointError, match=r"epoch 1, batch \d+ of \d+; lower --lr \(it is 1e\+30\)$"):
        fitted(dataset, {**config, "lr": 1e30})


def test_a_high_first_loss_is_no_explosion(dataset: Dataset, config: dict[str, Any]) -> None:
    assert fitted(dataset, {**config, "init_std": 10.0, "lr": 0.1})["epochs_run"] == config["epochs"]


# --- memory ---


@pytest.mark.parametrize("error", SHORT_OF_MEMORY, ids=lambda error: f"{type(error).__name__} {str(error)[:9]}")
def test_ranking_halves_its_block_and_finds_the_same(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng, most = np.random.default_rng(0), 7
    user_emb, item_emb = (torch.from_numpy(rng.integers(-2, 3, (n, 4)).astype(np.float32)) for n in (50, 40))
    masked, target = (sp.csr_matrix(rng.random((50, 40)) < share, dtype=np.float32) for share in (0.2, 0.1))
    target = sp.csr_matrix(target - target.multiply(masked))
    expected = ranking.rank_items(user_emb, item_emb, np.arange(50), masked, 10, target)
    break_ties, blocks = ranking._break_ties, []

    def short(of_tied: torch.Tensor, *args: Any) -> np.ndarray:
        blocks.append(len(of_tied))  # in these lists of every user scores are equal
        items = break_ties(of_tied, *args)
        if len(of_tied) > most:
            raise error
        return items

    monkeypatch.setattr(ranking, "_break_ties", short)  # which has drawn lots when it fails
    found = ranking.rank_items(user_emb, item_emb, np.arange(50), masked, 10, target)
    assert blocks[:4] == [50, 25, 12, 6]
    assert max(blocks[4:]) == 6
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    assert [record.getMessage().startswith("out of memory with") for record in caplog.records] == [True] * 3
    assert "--eval_memory_mb" in caplog.text


def test_a_block_that_fails_for_another_reason_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[slice] = []

    def broken(rows: slice) -> None:
        asked.append(rows)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(memory.in_blocks(10, 5, broken))
    assert asked == [slice(0, 5)]


def test_a_single_row_that_is_too_much_ends_it() -> None:
    def never(rows: slice) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        list(memory.in_blocks(10, 4, never))


@pytest.mark.parametrize("error", SHORT_OF_MEMORY, ids=lambda error: f"{type(error).__name__} {str(error)[:9]}")
@pytest.mark.parametrize(
    ("place", "keys"),
    [("bpr_loss", ("--batch_size", "--embedding_dim")), ("normalized_adjacency", ("--batch_size", "--embedding_dim"))],
)
def test_training_without_memory_names_what_to_lower(
    place: str,
    keys: tuple[str, ...],
    error: Exception,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*args: Any) -> None:
        raise error

    monkeypatch.setattr(bpr if place == "bpr_loss" else model_factory, place, full)
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "main.py",
            "--data_dir",
            str(data_dir),
            "--saved_dir",
            str(tmp_path / "saved"),
            "--model_name",
            "lsa",
            "--device",
            "cpu",
        ],
    )
    assert run_script(main.main) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: out of memory (")
    assert len(told.splitlines()) == 1
    assert all(key in told for key in keys)
    assert ("a step of training needs less" in told) == (place == "bpr_loss")


class Encoder:
    """Stands for a sentence-transformers model in which so many texts at a time are too much."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error, self.asked = most, error, []

    def encode(self, texts: list[str], batch_size: int, **more: Any) -> np.ndarray:
        self.asked.append(batch_size)
        if min(batch_size, len(texts)) > self.most:
            raise self.error
        return np.array([[len(text)] for text in texts])


@pytest.mark.parametrize("error", SHORT_OF_MEMORY, ids=lambda error: f"{type(error).__name__} {str(error)[:9]}")
def test_a_batch_of_texts_that_is_too_much_is_halved(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    model = Encoder(6, error)
    encode = encoders.batched(model, 25)
    texts = ["x" * length for length in range(1, 41)]
    assert encode(texts).tolist() == [[length] for length in range(1, 41)]
    assert model.asked == [25, 12, 6]
    encode(texts)
    assert model.asked == [25, 12, 6, 6]
    assert [record.getMessage().partition(" texts")[0] for record in caplog.records] == [
        "out of memory with 25",
        "out of memory with 12",
    ]
    with pytest.raises(MemoryError, match=r"encoding needs less if you lower --max_seq_length"):
        encoders.batched(Encoder(0, error), 2)(texts)


def test_an_encoder_that_fails_for_another_reason_is_not_asked_again() -> None:
    model = Encoder(1, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        encoders.batched(model, 8)(["a", "b"])
    assert model.asked == [8]


def test_another_failure_of_torch_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        run_script(broken)
    with pytest.raises(RuntimeError, match="mat1"), memory.explains_out_of_memory("a step", "wait"):
        broken()
