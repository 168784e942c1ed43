"""The epoch loop, early stopping on valid, devices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from config import get_config
from data_loader import Dataset, load_dataset
from evaluator import evaluate, means
from llm_embedding import TextVectors, text_vectors
from runtime import distributed, files
from tests.helpers.rankings import of_all_pairs
from tests.helpers.training import CPU, IDENTITY, among_warm, built, fitted, history, without_seconds
from text.whitening import whitened
from training import bpr, model_factory, steps
from training.bpr import sample_triples


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
    loss, penalty = bpr.bpr_loss(model, users, positives, negatives, None, {"reg_lambda": 0.01})
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
    for form in (steps.distinct, lambda nodes: (nodes, torch.arange(len(nodes)), torch.ones_like(nodes))):
        monkeypatch.setattr(bpr, "distinct", form)
        model.zero_grad()
        loss, penalty = bpr.bpr_loss(model, *triples, None, {"reg_lambda": 0.01})
        (loss + penalty).backward()
        found.append([loss.detach(), penalty.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for once, often in zip(*found, strict=True):
        torch.testing.assert_close(once, often, rtol=1e-4, atol=1e-7)


def test_only_the_cpu_looks_for_repeated_nodes() -> None:
    nodes = torch.tensor([3, 1, 3])
    unique, place, times = steps.distinct(nodes)
    assert (unique.tolist(), place.tolist(), times.tolist()) == ([1, 3], [1, 0, 1], [1, 2])
    assert steps.distinct(nodes.to("meta"))[0].shape == (3,)


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
    assert among_warm(model, dataset, config) == pytest.approx(of_all_pairs(result["valid"]))
    assert result["valid"]["NDCG@20"] == max(scores)


def test_an_epoch_can_be_chosen_by_what_was_liked(dataset: Dataset, config: dict[str, Any]) -> None:
    metric = "liked NDCG@10"
    _, result = fitted(dataset, {**config, "epochs": 12, "lr": 0.1, "early_stop_round": 0, "early_stop_metric": metric})
    lines = history(config)
    by_liked, by_all = ([line[key] for line in lines] for key in (metric, "NDCG@10"))
    assert result["epoch"] == 1 + int(np.argmax(by_liked)) != 1 + int(np.argmax(by_all))
    assert result["valid"][metric] == max(by_liked)


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
    with (data_dir / "anime.tsv").open("a", encoding="utf-8") as file:
        file.writelines(f"{title}\t{title}\t\tstory of its own\n" for title in ("in_valid", "in_test"))
    with (data_dir / "interactions.tsv").open("a", encoding="utf-8") as file:
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
    assert among_warm(model, dataset, config) == pytest.approx(of_all_pairs(result["valid"]))
    among_all = means(evaluate(*model.embeddings(), dataset.valid, dataset.train + dataset.excluded, config))
    assert among_all != pytest.approx(of_all_pairs(result["valid"]))


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
    from tests.helpers.data import write_tsv

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


# --- learning rate, id dropout, no valid part ---


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
