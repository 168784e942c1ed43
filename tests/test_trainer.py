"""The loss, the epoch loop, early stopping, checkpoint and resume."""

import dataclasses
import json
import math
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import trainer
from config import get_config
from data_loader import Dataset, load_dataset
from evaluator import evaluate, means
from llm_embedding import TextVectors, text_vectors, whitened
from model import LightGCN
from runtime import checkpoints, distributed, files
from runtime.identity import RunIdentity
from training import epoch as training_epoch
from training import losses, model_factory
from training import optimizer as optimizer_module
from training.losses import sample_triples

IDENTITY = RunIdentity({"of": "the test"}, "this one", {"encoder": "lsa", "digest": "of the test"})
CPU = torch.device("cpu")
SOFTMAX = {"loss": "softmax", "lr_schedule": "cosine", "calibrate": True, "linear_dim": 4, "batch_size": 7}


def built(dataset: Dataset, config: dict[str, Any]) -> LightGCN:
    return model_factory.build_model(dataset, text_vectors(dataset, config, "cpu"), config, CPU)


def fitted(dataset: Dataset, config: dict[str, Any]) -> tuple[LightGCN, dict[str, Any]]:
    model = built(dataset, config)
    return model, trainer.fit(model, dataset, config, IDENTITY)


def history(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config["saved_dir"]) / "history.jsonl").read_text().splitlines()]


def among_warm(model: LightGCN, dataset: Dataset, config: dict[str, Any]) -> dict[str, float]:
    """Compute the valid metrics of the titles with a history, ranked among each other, from the vectors."""
    warm = dataset.train.toarray().any(axis=0)
    target = sp.csr_matrix(dataset.valid.toarray() * warm)
    return means(evaluate(*model.embeddings(), target, dataset.train + dataset.excluded, config, np.flatnonzero(warm)))


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize("side", ["user", "item"])
def test_whiten_whitens_the_text_of_the_sides_that_bring_some(
    dataset: Dataset, config: dict[str, Any], side: str
) -> None:
    config = {
        **config,
        "fusion_mode": "sum",
        "num_layers": 0,
        "whiten": True,
        "use_user_llm": side == "user",
        "use_item_llm": side == "item",
    }
    vectors = text_vectors(dataset, config, "cpu")
    users, items = (whitened(part, vectors.items) for part in (vectors.users, vectors.items))
    expected = np.concatenate([users * (side == "user"), items * (side == "item")])
    for whiten in (True, False):
        model = model_factory.build_model(dataset, vectors, {**config, "whiten": whiten}, CPU)
        assert np.allclose(model.propagated_text, expected, atol=1e-5) == whiten


def test_loss_equals_the_textbook_form(dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, config)
    users, positives, negatives = (
        torch.from_numpy(part[:50]) for part in sample_triples(dataset.train, np.random.default_rng(0))
    )
    loss, penalty = losses.bpr_loss(model, users, positives, negatives, reg_lambda=0.01)
    user_emb, item_emb = model.embeddings()
    margin = (user_emb[users] * (item_emb[positives] - item_emb[negatives])).sum(1)
    assert loss.item() == pytest.approx(-torch.log(torch.sigmoid(margin)).mean().item(), rel=1e-5)
    x_user, x_item = model.id_emb[: dataset.n_users], model.id_emb[dataset.n_users :]
    norms = x_user[users].norm() ** 2 + x_item[positives].norm() ** 2 + x_item[negatives].norm() ** 2
    assert penalty.item() == pytest.approx(0.01 * norms.item() / 2 / 50, rel=1e-5)


def test_fusing_nodes_once_or_as_often_as_they_stand_is_the_same(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU distinct() returns repeated nodes; loss, penalty and gradients may not depend on it."""
    model = built(dataset, config)
    triples = [torch.from_numpy(part[:200]) for part in sample_triples(dataset.train, np.random.default_rng(0))]
    found = []
    for form in (losses.distinct, lambda nodes: (nodes, torch.arange(len(nodes)), torch.ones_like(nodes))):
        monkeypatch.setattr(losses, "distinct", form)
        model.zero_grad()
        loss, penalty = losses.bpr_loss(model, *triples, reg_lambda=0.01)
        (loss + penalty).backward()
        found.append([loss.detach(), penalty.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for once, often in zip(*found, strict=True):
        torch.testing.assert_close(once, often, rtol=1e-4, atol=1e-7)


def test_only_the_cpu_looks_for_repeated_nodes() -> None:
    nodes = torch.tensor([3, 1, 3])
    unique, place, times = losses.distinct(nodes)
    assert (unique.tolist(), place.tolist(), times.tolist()) == ([1, 3], [1, 0, 1], [1, 2])
    assert losses.distinct(nodes.to("meta"))[0].shape == (3,)


def test_training_lowers_the_loss_and_writes_a_line_an_epoch(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "epochs": 15, "lr": 0.05, "early_stop_round": 0}
    fitted(dataset, config)
    lines = history(config)
    assert [line["epoch"] for line in lines] == list(range(1, 16))
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert all(key in lines[0] for key in ("seconds", "Recall@10", "NDCG@20", "Hit@20", "AUC"))


def test_best_epoch_on_valid_is_restored_and_saved(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "epochs": 30, "lr": 0.1, "early_stop_round": 3}
    model, result = fitted(dataset, config)
    lines = history(config)
    scores = [line["NDCG@20"] for line in lines]
    assert result["epoch"] == 1 + int(np.argmax(scores))
    assert len(lines) == min(30, result["epoch"] + 3)
    saved = files.load_torch(Path(config["saved_dir"]) / "best_model.pth")
    assert saved["epoch"] == result["epoch"]
    assert saved["valid"] == result["valid"]
    assert saved["config"] == IDENTITY.config
    assert saved["dataset_fingerprint"] == IDENTITY.fingerprint
    assert saved["text"] == IDENTITY.text
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in model.state_dict().items())
    assert among_warm(model, dataset, config) == pytest.approx(result["valid"])
    assert result["valid"]["NDCG@20"] == max(scores)


def test_valid_is_looked_at_every_so_many_epochs_and_after_the_last(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "epochs": 10, "lr": 0.05, "early_stop_round": 0}
    fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/each"})
    each = history({**config, "saved_dir": config["saved_dir"] + "/each"})
    _, result = fitted(dataset, {**config, "eval_every": 4})
    lines = history(config)
    evaluated = [line["epoch"] for line in lines if "NDCG@20" in line]
    assert evaluated == [4, 8, 10]
    assert without_seconds([lines[epoch - 1] for epoch in evaluated]) == without_seconds(
        [each[epoch - 1] for epoch in evaluated]
    )
    assert [line["loss"] for line in lines] == [line["loss"] for line in each]
    assert result["valid"]["NDCG@20"] == max(lines[epoch - 1]["NDCG@20"] for epoch in evaluated)
    assert result["epoch"] in evaluated


def test_training_stops_only_where_valid_was_looked_at(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "epochs": 60, "lr": 0.1, "early_stop_round": 3, "eval_every": 2}
    _, result = fitted(dataset, config)
    assert result["epoch"] + 4 == result["epochs_run"] < 60


@pytest.fixture
def lost(config: dict[str, Any], data_dir: Path) -> tuple[dict[str, Any], Dataset]:
    """A config and its dataset in which two titles have no train row: one lost all to valid, the other to test."""
    with open(data_dir / "anime.tsv", "a", encoding="utf-8") as file:
        file.writelines(f"{title}\t{title}\t\tstory of its own\n" for title in ("in_valid", "in_test"))
    with open(data_dir / "interactions.tsv", "a", encoding="utf-8") as file:
        file.writelines(
            f"u{user}\t{title}\t5\t\t2021-01-{day}\n"
            for user in range(0, 40, 2)
            for title, day in (("in_valid", "01"), ("in_test", "02"))
        )
    dataset = load_dataset(config)
    assert (dataset.valid.nnz, dataset.warm_pairs("valid").nnz, len(dataset.warm_items)) == (40, 20, 30)
    return config, dataset


@pytest.mark.parametrize(
    "more",
    [{"fusion_mode": "none"}, {"fusion_mode": "sum"}, {"cold_cost": 0.05}, {"cold_cost": 1.0}],
    ids=["no text", "sum", "listed", "free"],
)
def test_valid_metrics_are_those_of_titles_with_a_history_in_every_row(
    more: dict[str, Any], lost: tuple[dict[str, Any], Dataset]
) -> None:
    """Or a row that places new titles anywhere would be stopped, and chosen, by another measure than one without."""
    config, dataset = {**lost[0], "lr": 0.05, **more}, lost[1]
    model, result = fitted(dataset, config)
    row = history(config)[result["epoch"] - 1]
    assert {key: row[key] for key in result["valid"]} == result["valid"]
    # read off the vectors after the offset was set, which changes nothing here
    assert among_warm(model, dataset, config) == pytest.approx(result["valid"])
    among_all = means(evaluate(*model.embeddings(), dataset.valid, dataset.train + dataset.excluded, config))
    assert among_all != pytest.approx(result["valid"])


def killed_before(epoch: int, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until a kill at the start of an epoch."""
    train_epoch = trainer.train_epoch

    def killed(*args: Any, **kwargs: Any) -> float:
        if args[-1] == epoch:
            raise KeyboardInterrupt
        return train_epoch(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted(dataset, config)


@pytest.mark.parametrize(
    "more",
    [{}, SOFTMAX, {**SOFTMAX, "id_dropout": 0.5, "init": "svd", "normalize": True}, {"eval_every": 5}],
    ids=["bpr", "softmax", "dropout", "eval"],
)
def test_a_killed_run_goes_on_bit_for_bit(
    more: dict[str, Any], dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "epochs": 6, "lr": 0.05, "early_stop_round": 0, "num_layers": 2, **more}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    killed_before(4, dataset, config, monkeypatch)
    assert len(torch.load(Path(config["saved_dir"]) / "checkpoint.pth", weights_only=True)["history"]) == 3
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    whole_lines = history({**config, "saved_dir": config["saved_dir"] + "/whole"})
    assert without_seconds(history(config)) == without_seconds(whole_lines)


def test_saving_takes_a_share_of_the_time_at_most(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write takes a second by this clock, and an epoch three: one in seven is saved if that may take a twentieth."""
    clock, saved, save_torch, train_epoch = [0.0], [], checkpoints.save_torch, trainer.train_epoch

    def slow_save(path: Path, content: dict[str, Any]) -> None:
        save_torch(path, content)
        saved.append(content["epoch"])
        clock[0] += 1

    def slow_epoch(*args: Any, **more: Any) -> float:
        clock[0] += 3
        return train_epoch(*args, **more)

    monkeypatch.setattr(checkpoints, "save_torch", slow_save)
    monkeypatch.setattr(checkpoints, "SHARE", 0.05)
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(trainer, "train_epoch", slow_epoch)
    fitted(dataset, {**config, "epochs": 20, "early_stop_round": 0})
    assert saved == [1, 8, 15]


@pytest.mark.parametrize("how", ["asked", "exploded"])
def test_what_was_not_saved_is_when_training_ends_early(
    how: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "epochs": 6, "lr": 0.05, "early_stop_round": 0, "num_layers": 2}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    train_epoch = trainer.train_epoch

    def ending(*args: Any, **more: Any) -> float:
        loss = train_epoch(*args, **more)
        if args[5] == 4:
            if how == "exploded":
                raise FloatingPointError("the loss became nan")
            signal.raise_signal(signal.SIGINT)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "SHARE", 1e-9)  # the first epoch alone is saved
        patch.setattr(trainer, "train_epoch", ending)
        with pytest.raises(KeyboardInterrupt if how == "asked" else FloatingPointError):
            fitted(dataset, config)
    state = files.load_torch(Path(config["saved_dir"]) / "checkpoint.pth")
    assert state["epoch"] == (4 if how == "asked" else 3)
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "another"}, "the data, or how they are split"),
        ({"text": {"encoder": "lsa", "digest": "other"}}, "the model that encodes it"),
        ({"config": {**IDENTITY.config, "epochs": 99, "lr": 0.5}}, "epochs was .*now it is 99; lr was .*now it is 0.5"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_with_what_differs(
    dataset: Dataset, config: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    fitted(dataset, config)
    path = Path(config["saved_dir"]) / "checkpoint.pth"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{said}.*--resume never"):
        trainer.fit(built(dataset, config), dataset, config, IDENTITY._replace(**change))
    assert path.read_bytes() == before


def test_resume_never_starts_anew(dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(dataset, config)
    epochs: list[int] = []
    train_epoch = trainer.train_epoch
    monkeypatch.setattr(
        trainer, "train_epoch", lambda *args, **more: epochs.append(args[-1]) or train_epoch(*args, **more)
    )
    config = {**config, "resume": "never"}
    trainer.fit(built(dataset, config), dataset, config, IDENTITY._replace(fingerprint="another"))
    assert epochs == [1, 2, 3]


INSIDE = [{}, SOFTMAX, {**SOFTMAX, "id_dropout": 0.5, "init": "svd", "normalize": True}]


@pytest.mark.parametrize("more", INSIDE, ids=["bpr", "softmax", "dropout"])
@pytest.mark.parametrize("how", ["asked", "by time"])
def test_a_run_stopped_inside_an_epoch_goes_on_bit_for_bit(
    more: dict[str, Any], how: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "epochs": 4, "lr": 0.05, "early_stop_round": 0, "num_layers": 2, "batch_size": 16, **more}
    config = {**config, "batch_size": 8}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    set_lr, steps = training_epoch.set_lr, []

    def interrupting(*args: Any) -> None:
        set_lr(*args)
        steps.append(args[-1])
        if len(steps) == (7 if more else 70):
            if how == "asked":
                signal.raise_signal(signal.SIGINT)
            else:
                raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(training_epoch, "set_lr", interrupting)
        patch.setattr(training_epoch, "SAVE_SECONDS", 300.0 if how == "asked" else 0.0)
        with pytest.raises(KeyboardInterrupt if how == "asked" else SystemExit):
            fitted(dataset, config)
    state = torch.load(Path(config["saved_dir"]) / "checkpoint.pth", weights_only=True)
    assert state["middle"]["steps"] > 0
    assert state["epoch"] >= 1
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert without_seconds(history(config)) == without_seconds(
        history({**config, "saved_dir": config["saved_dir"] + "/whole"})
    )


def test_a_second_interrupt_stops_at_once(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(dataset, {**config, "epochs": 1})
    path, set_lr, steps = Path(config["saved_dir"]) / "checkpoint.pth", training_epoch.set_lr, []
    path.unlink()

    def interrupting(*args: Any) -> None:
        set_lr(*args)
        steps.append(args[-1])
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training_epoch, "set_lr", interrupting)
    with pytest.raises(KeyboardInterrupt):
        fitted(dataset, config)
    assert len(steps) == 1
    assert not path.exists()


def test_a_full_disk_leaves_the_last_checkpoint(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(dataset, config)
    path = Path(config["saved_dir"]) / "checkpoint.pth"
    before = path.read_bytes()

    def full(content: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        fitted(dataset, {**config, "resume": "never"})
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.tmp"))


def test_the_same_seed_gives_the_same_run(dataset: Dataset, config: dict[str, Any]) -> None:
    runs = [fitted(dataset, {**config, "resume": "never", "seed": seed})[0].id_emb for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_loss_that_explodes_is_an_error(dataset: Dataset, config: dict[str, Any]) -> None:
    with pytest.raises(FloatingPointError, match="lower --lr"):
        fitted(dataset, {**config, "lr": 1e30})


def test_a_side_without_text_brings_zeros(dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "num_layers": 0, "fusion_mode": "sum"}
    vectors = TextVectors(np.ones((dataset.n_items, 4), np.float32), np.ones((dataset.n_users, 4), np.float32), {})
    for user_text, item_text in ((True, False), (False, True)):
        sides = {"use_user_llm": user_text, "use_item_llm": item_text}
        model = model_factory.build_model(dataset, vectors, {**config, **sides}, CPU)
        assert bool(model.propagated_text[: dataset.n_users].any()) == user_text
        assert bool(model.propagated_text[dataset.n_users :].any()) == item_text


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xpu", "mps"])
def test_a_device_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        distributed.resolve_device(name)


def test_more_processes_than_gpus_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    for n_here in (2, 3):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(n_here))
        if n_here == 2:
            assert distributed.resolve_device("auto") == torch.device("cuda", 1)
            continue
        with pytest.raises(ValueError, match="3 processes were started for 2 GPU.*--nproc_per_node=2"):
            distributed.resolve_device("auto")


def test_auto_leaves_apple_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparse CSR tensors do not exist there; a run would end in its first step."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert distributed.resolve_device("auto").type in ("cpu", "cuda")


def test_auto_device_is_there() -> None:
    assert torch.zeros(1, device=distributed.resolve_device("auto")).item() == 0


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return print, ("code ran",)

    torch.save({"state_dict": Evil()}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="cannot be read"):
        files.load_torch(tmp_path / "x.pth")


def test_user_without_negatives_does_not_hang(tmp_path: Path) -> None:
    from conftest import write_tsv

    write_tsv(tmp_path, "anime.tsv", [(f"s{i}", f"t{i}", "", "text") for i in range(4)])
    write_tsv(
        tmp_path,
        "interactions.tsv",
        [("all", f"s{i}", 5, "", "") for i in range(4)]
        + [(f"u{j}", f"s{(i + j) % 4}", 5, "", "") for j in range(6) for i in range(3)],
    )
    config = get_config(
        {
            "data_dir": str(tmp_path),
            "saved_dir": str(tmp_path / "saved"),
            "fusion_mode": "none",
            "top_k": [2],
            "early_stop_metric": "NDCG@2",
            "epochs": 1,
        }
    )
    dataset = load_dataset(config)
    fitted(dataset, config)


# --- softmax ---


@pytest.fixture
def cold(config: dict[str, Any]) -> tuple[dict[str, Any], Dataset]:
    """A config and its dataset in which nearly a third of the items have no train pair."""
    config = {**config, "cold_item_ratio": 0.3, "fusion_mode": "sum", "num_layers": 2, "batch_size": 16}
    return config, load_dataset(config)


def catalogue_of(dataset: Dataset) -> list[int]:
    return [item for item in range(dataset.n_items) if dataset.train[:, [item]].nnz]


def test_softmax_loss_is_a_cross_entropy_over_the_catalogue(cold: tuple[dict[str, Any], Dataset]) -> None:
    config, dataset = cold
    model = built(dataset, config)
    loss_of, batches = losses.softmax_batches(dataset.train, 16, np.random.default_rng(0), CPU)
    loss, penalty = loss_of(model, *batches[0][0], 0.01)
    loss.backward()
    gradient = model.id_emb.grad.clone()
    catalogue, users = catalogue_of(dataset), batches[0][0][0].tolist()
    assert len(catalogue) < dataset.n_items
    final, _ = model(torch.arange(dataset.n_users + dataset.n_items))
    terms = []
    for user in users:
        scores = torch.stack([final[user] @ final[dataset.n_users + item] for item in catalogue])
        terms += [
            torch.nn.functional.cross_entropy(scores[None], torch.tensor([catalogue.index(item)]))
            for item in dataset.train[[user]].indices.tolist()
        ]
    expected = torch.stack(terms).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert penalty.item() == pytest.approx(
        0.01 * sum(model.id_emb[user].norm().item() ** 2 for user in users) / (2 * len(users)), rel=1e-5
    )
    model.zero_grad()
    expected.backward()
    torch.testing.assert_close(gradient, model.id_emb.grad, rtol=1e-4, atol=1e-7)


def test_softmax_batches_cover_every_train_pair_once_and_nothing_held_out(cold: tuple[dict[str, Any], Dataset]) -> None:
    _, dataset = cold
    rng = np.random.default_rng(0)
    epochs = [losses.softmax_batches(dataset.train, 16, rng, CPU)[1] for _ in range(2)]
    for batches in epochs:
        found: list[tuple[int, int]] = []
        for (user_ids, item_ids, (places, items)), weight in batches:
            assert item_ids.tolist() == catalogue_of(dataset)
            assert len(user_ids) <= 16
            pairs = list(zip(user_ids[places].tolist(), item_ids[items].tolist(), strict=True))
            assert len(pairs) == weight
            found += pairs
        assert sorted(found) == [tuple(pair) for pair in np.argwhere(dataset.train).tolist()]
    first, second = (torch.cat([batch[0] for batch, _ in batches]) for batches in epochs)
    assert not torch.equal(first, second)
    assert not torch.equal(first, first.sort().values)


def test_softmax_batches_leave_out_users_without_a_train_pair() -> None:
    train = sp.csr_matrix(np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1]], np.float32))
    (((user_ids, item_ids, _), weight),) = losses.softmax_batches(train, 9, np.random.default_rng(0), CPU)[1]
    assert sorted(user_ids.tolist()) == [0, 2]
    assert (item_ids.tolist(), weight) == ([0, 2], 3)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_history_has_the_mean_loss_a_pair(
    loss: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    terms: list[tuple[float, int]] = []
    computed = getattr(losses, f"{loss}_loss")

    def recorded(model: LightGCN, *batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        mean, penalty = computed(model, *batch)
        terms.append((mean.item(), len(batch[0]) if loss == "bpr" else batch[2].shape[1]))
        return mean, penalty

    monkeypatch.setattr(losses, f"{loss}_loss", recorded)
    # uneven batches, so that a mean over batches is another number
    fitted(dataset, {**config, "loss": loss, "epochs": 1, "batch_size": {"bpr": 300, "softmax": 37}[loss], "lr": 0.1})
    assert history(config)[0]["loss"] == pytest.approx(sum(m * n for m, n in terms) / sum(n for _, n in terms))
    assert history(config)[0]["loss"] != pytest.approx(np.mean([m for m, _ in terms]), rel=1e-4)


# --- the start ---


def normalised(train: sp.csr_matrix) -> np.ndarray:
    pairs = train.toarray().astype(np.float64)
    degrees = [np.maximum(pairs.sum(axis=axis), 1) for axis in (1, 0)]
    return pairs / np.sqrt(degrees[0])[:, None] / np.sqrt(degrees[1])[None]


def test_svd_start_is_the_best_approximation_of_its_rank(cold: tuple[dict[str, Any], Dataset]) -> None:
    train = cold[1].train
    u, s, vt = np.linalg.svd(normalised(train))
    start = model_factory.svd_start(train, 6)
    assert (start.shape, start.dtype) == ((sum(train.shape), 6), torch.float32)
    users, items = start[: train.shape[0]].numpy(), start[train.shape[0] :].numpy()
    np.testing.assert_allclose(users @ items.T, u[:, :6] * s[:6] @ vt[:6], atol=1e-3)
    for ours, theirs in ((users, u[:, :6]), (items, vt[:6].T)):
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs * np.sqrt(s[:6])), atol=5e-3)


def test_svd_start_is_padded_with_zeros_beyond_the_rank() -> None:
    train = sp.csr_matrix((np.random.default_rng(0).random((9, 5)) < 0.5).astype(np.float32))
    start = model_factory.svd_start(train, 8)
    assert start.shape == (14, 8)
    assert not start[:, 5:].any()
    np.testing.assert_allclose(start[:9] @ start[9:].T, normalised(train), atol=1e-5)


def test_svd_start_is_the_models_start_scaled_to_init_std(dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, {**config, "init": "svd", "init_std": 0.3})
    start = model_factory.svd_start(dataset.train, config["embedding_dim"])
    torch.testing.assert_close(model.id_emb.detach(), start * 0.3 / start.std(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "has_bias"),
    [({}, False), ({"calibrate": True}, True), ({"cold_cost": 0.5}, True)],
    ids=["neither", "calibrate", "cold_cost"],
)
def test_there_is_an_item_bias_where_something_is_decided_after_training(
    more: dict[str, Any], has_bias: bool, cold: tuple[dict[str, Any], Dataset]
) -> None:
    config, dataset = cold
    model = built(dataset, {**config, "cold_cost": 1.0, **more})
    assert (model.item_bias is not None) == has_bias
    assert model.item_bias is None or not model.item_bias.any()


# --- learning rate, id dropout, no valid part ---


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The learning rates of every step, one a parameter, in the order of the model's named_parameters."""
    found: list[list[float]] = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *args: found.append([group["lr"] for group in self.param_groups]) or step(self, *args),
    )
    return found


def shares_of(model: LightGCN) -> list[float]:
    """Return what share of lr each parameter has: id_weight of concat one by its fan-in, all others the whole."""
    return [1 / model.embedding_dim if name == "id_weight" else 1.0 for name, _ in model.named_parameters()]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_course_of_the_learning_rate(
    schedule: str, dataset: Dataset, config: dict[str, Any], rates: list[list[float]]
) -> None:
    model, _ = fitted(dataset, {**config, "lr_schedule": schedule, "lr": 0.02, "epochs": 4, "early_stop_round": 0})
    steps, shares = 4 * math.ceil(dataset.train.nnz / config["batch_size"]), shares_of(model)
    assert sorted(shares) == [1 / 8, 1, 1, 1]
    course = np.full(steps, 0.02)
    if schedule == "cosine":
        course = 0.01 * (1 + np.cos(math.pi * np.arange(steps) / steps))
        assert (course[0], course[steps // 2]) == pytest.approx((0.02, 0.01))
        assert 0 < course[-1] < 0.02 * 0.01
    np.testing.assert_allclose(rates, np.outer(course, shares), rtol=1e-9)


@pytest.mark.parametrize(("done", "share"), [(0, 1), (2.5, 0.5), (5, 0), (9, 0)])
def test_cosine_falls_from_the_whole_rate_to_none(
    done: float, share: float, dataset: Dataset, config: dict[str, Any]
) -> None:
    model = built(dataset, config)
    optimizer = optimizer_module.adam(model, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3] * 4
    for schedule, expected in (("cosine", 0.3 * share), ("constant", 0.3)):
        training_epoch.set_lr(optimizer, {"lr": 0.3, "lr_schedule": schedule, "epochs": 5}, done)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [expected * own for own in shares_of(model)]
        )


@pytest.mark.parametrize(
    "more", [{"fusion_mode": "sum"}, {"fusion_mode": "none"}, {"calibrate": True}], ids=["sum", "none", "bias"]
)
def test_adam_holds_every_parameter_once_and_only_id_weight_back(
    more: dict[str, Any], dataset: Dataset, config: dict[str, Any]
) -> None:
    model = built(dataset, {**config, **more})
    groups = optimizer_module.adam(model, 0.1).param_groups
    assert [group["share"] for group in groups] == shares_of(model)
    for group, parameter in zip(groups, model.parameters(), strict=True):
        assert group["params"] == [parameter]


def test_adam_moves_id_weight_by_its_share(dataset: Dataset, config: dict[str, Any]) -> None:
    """A first step of Adam moves every entry that has a gradient by the rate."""
    config = {**config, "lr": 0.08, "batch_size": 10_000, "reg_lambda": 0.0, "epochs": 1}
    model = built(dataset, config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer.train_epoch(model, optimizer_module.adam(model, config["lr"]), dataset, config, np.random.default_rng(0), 1)
    moved = {name: (parameter.detach() - before[name]).abs() for name, parameter in model.named_parameters()}
    for name, rate in (("id_weight", 0.01), ("text_weight", 0.08), ("id_emb", 0.08)):
        assert moved[name].median().item() == pytest.approx(rate, rel=0.01), name


def test_a_resumed_run_keeps_the_shares(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, rates: list[list[float]]
) -> None:
    config = {**config, "epochs": 4, "early_stop_round": 0}
    killed_before(3, dataset, config, monkeypatch)
    rates.clear()
    model, _ = fitted(dataset, config)
    assert len(rates) == 2 * math.ceil(dataset.train.nnz / config["batch_size"])
    np.testing.assert_allclose(rates, [[config["lr"] * share for share in shares_of(model)]] * len(rates), rtol=1e-9)


def placed_alone(dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Train an epoch and return (node_ids, alone) of every step."""
    asked: list[Any] = []
    forward = LightGCN.forward
    monkeypatch.setattr(
        LightGCN,
        "forward",
        lambda self, nodes, text_only=None: asked.append((nodes, text_only)) or forward(self, nodes, text_only),
    )
    model = built(dataset, config)
    trainer.train_epoch(model, optimizer_module.adam(model, config["lr"]), dataset, config, np.random.default_rng(0), 1)
    return asked


@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_id_dropout_places_its_share_of_the_items_alone(
    loss: str, share: float, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = placed_alone(dataset, {**config, "loss": loss, "id_dropout": share, "batch_size": 4}, monkeypatch)
    items = [nodes[nodes >= dataset.n_users] for nodes, _ in asked]
    alone = [nodes[chosen] for nodes, chosen in asked]
    assert all((chosen >= dataset.n_users).all() and len(set(chosen.tolist())) == len(chosen) for chosen in alone)
    assert sum(map(len, alone)) / sum(map(len, items)) == pytest.approx(share, abs=0.1)
    assert len({tuple(chosen.tolist()) for chosen in alone}) > len(alone) / 2  # drawn anew for each step


def test_without_id_dropout_or_text_nothing_is_placed_alone(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for more in (
        {"id_dropout": 0.0},
        {"id_dropout": 0.5, "fusion_mode": "none"},
        {"id_dropout": 0.5, "use_item_llm": False},
    ):
        assert all(alone is None for _, alone in placed_alone(dataset, {**config, **more}, monkeypatch))


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_titles_without_text_are_never_placed_alone(
    loss: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = set(range(0, dataset.n_items, 3))
    texts = ["" if item in silent else text for item, text in enumerate(dataset.item_texts)]
    asked = placed_alone(
        dataclasses.replace(dataset, item_texts=texts),
        {**config, "loss": loss, "id_dropout": 0.9, "batch_size": 16},
        monkeypatch,
    )
    alone = {node - dataset.n_users for nodes, chosen in asked for node in nodes[chosen].tolist()}
    assert alone == set(range(dataset.n_items)) - silent


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_loss_is_that_of_the_vectors_placed_alone(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, config)
    loss_of, batches = losses.BATCHES[loss](dataset.train, 20, np.random.default_rng(0), CPU)
    everything, _ = loss_of(model, *batches[0][0], 0.0, lambda nodes: nodes >= dataset.n_users)
    nothing, _ = loss_of(model, *batches[0][0], 0.0, lambda nodes: nodes < 0)
    nodes = torch.arange(dataset.n_users + dataset.n_items)
    final, _ = model(nodes, nodes[dataset.n_users :])
    users, items = final[batches[0][0][0]], final[dataset.n_users :]
    if loss == "bpr":
        _, positives, negatives = batches[0][0]
        expected = -torch.sigmoid((users * (items[positives] - items[negatives])).sum(1)).log().mean()
    else:
        _, catalogue, (places, positives) = batches[0][0]
        expected = -(users @ items[catalogue].T).log_softmax(dim=1)[places, positives].mean()
    assert everything.item() == pytest.approx(expected.item(), rel=1e-5)
    assert nothing.item() == pytest.approx(loss_of(model, *batches[0][0], 0.0)[0].item(), rel=1e-6)
    assert everything.item() != pytest.approx(nothing.item(), rel=1e-6)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_a_step_has_the_same_loss_and_gradients_in_the_form_for_a_gpu(
    loss: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There nodes are repeated and `alone` is a mask; which titles are placed alone is here no matter of chance."""
    model = built(dataset, {**config, "normalize": True})
    loss_of, batches = losses.BATCHES[loss](dataset.train, 50, np.random.default_rng(0), CPU)
    forms, found, forward = [], [], LightGCN.forward
    monkeypatch.setattr(
        LightGCN, "forward", lambda self, nodes, alone: forms.append(alone.dtype) or forward(self, nodes, alone)
    )
    for on_cpu in (True, False):
        monkeypatch.setattr(losses, "_is_on_cpu", lambda nodes, on_cpu=on_cpu: on_cpu)
        model.zero_grad()
        parts = loss_of(model, *batches[0][0], 0.01, lambda nodes: model.has_item_text[nodes] & (nodes % 3 == 0))
        sum(parts).backward()
        found.append([*(part.detach() for part in parts), *(p.grad.clone() for p in model.parameters())])
    assert forms == [torch.int64, torch.bool]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_on_a_gpu_id_dropout_draws_once_a_title(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, nodes = built(dataset, config), torch.arange(dataset.n_users + dataset.n_items).repeat(2)
    drawn = {}
    for on_cpu in (True, False):
        monkeypatch.setattr(losses, "_is_on_cpu", lambda nodes, on_cpu=on_cpu: on_cpu)
        drop = losses.id_dropout(model, 0.3, torch.Generator().manual_seed(0))
        drawn[on_cpu] = torch.stack([drop(nodes).view(2, -1) for _ in range(200)])  # (200, 2, N)
    assert (drawn[False][:, 0] == drawn[False][:, 1]).all()
    assert not (drawn[True][:, 0] == drawn[True][:, 1]).all()
    assert not drawn[False][..., ~model.has_item_text].any()
    assert drawn[False][..., model.has_item_text].float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not (drawn[False][0] == drawn[False][1]).all()  # drawn anew for each step


def test_on_the_cpu_id_dropout_draws_as_it_always_did(dataset: Dataset, config: dict[str, Any]) -> None:
    model, nodes = built(dataset, config), torch.arange(dataset.n_users + dataset.n_items).flip(0)
    drawn = losses.id_dropout(model, 0.3, torch.Generator().manual_seed(0))(nodes)
    lots = torch.rand(len(nodes), generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, model.has_item_text[nodes] & (lots < 0.3))
    assert torch.equal(losses.chosen(lambda _: drawn, nodes), drawn.nonzero().squeeze(1))
    assert losses.chosen(None, nodes) is None


def test_without_a_valid_part_the_last_epoch_stays_and_none_is_left_out(config: dict[str, Any]) -> None:
    config = {**config, "valid_ratio": 0.0, "epochs": 8, "early_stop_round": 1, "lr": 0.5}
    dataset = load_dataset(config)
    model, result = fitted(dataset, config)
    assert (result["epoch"], result["epochs_run"], len(history(config))) == (8, 8, 8)
    last = files.load_torch(Path(config["saved_dir"]) / "checkpoint.pth")["model"]
    saved = files.load_torch(Path(config["saved_dir"]) / "best_model.pth")
    for state in (saved["state_dict"], model.state_dict()):
        torch.testing.assert_close(dict(state), last, rtol=0, atol=0)
    assert saved["epoch"] == 8
