"""The loss, the epoch loop, early stopping, checkpoint and resume."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainer
from config import get_config
from data_loader import Dataset, load_dataset, sample_triples
from llm_embedding import TextVectors, text_vectors
from model import LightGCN

SIGNATURE = {"config": {"of": "the test"}, "dataset": "this one"}
CPU = torch.device("cpu")


def built(dataset: Dataset, config: dict[str, Any]) -> LightGCN:
    return trainer.build_model(dataset, text_vectors(dataset, config, "cpu"), config, CPU)


def fitted(dataset: Dataset, config: dict[str, Any]) -> tuple[LightGCN, dict[str, Any]]:
    model = built(dataset, config)
    return model, trainer.fit(model, dataset, config, SIGNATURE)


def history(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config["saved_dir"]) / "history.jsonl").read_text().splitlines()]


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_loss_equals_the_textbook_form(dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, config)
    users, positives, negatives = (torch.from_numpy(part[:50]) for part in
                                   sample_triples(dataset.train, np.random.default_rng(0)))
    loss, penalty = trainer.bpr_loss(model, users, positives, negatives, reg_lambda=0.01)
    user_emb, item_emb = model.embeddings()
    margin = (user_emb[users] * (item_emb[positives] - item_emb[negatives])).sum(1)
    assert loss.item() == pytest.approx(-torch.log(torch.sigmoid(margin)).mean().item(), rel=1e-5)
    x_user, x_item = model.id_emb[: dataset.n_users], model.id_emb[dataset.n_users:]
    norms = x_user[users].norm() ** 2 + x_item[positives].norm() ** 2 + x_item[negatives].norm() ** 2
    assert penalty.item() == pytest.approx(0.01 * norms.item() / 2 / 50, rel=1e-5)


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
    saved = trainer.load_torch(Path(config["saved_dir"]) / "best_model.pth")
    assert saved["epoch"] == result["epoch"]
    assert saved["valid"] == result["valid"]
    assert saved["config"] == config
    assert saved["dataset_fingerprint"] == dataset.fingerprint
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in model.state_dict().items())
    again = trainer.means(trainer.evaluate(*model.embeddings(), dataset.valid, dataset.train, config))
    assert again["NDCG@20"] == pytest.approx(max(scores))


def test_a_killed_run_goes_on_bit_for_bit(dataset: Dataset, config: dict[str, Any],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**config, "epochs": 6, "lr": 0.05, "early_stop_round": 0, "num_layers": 2}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    train_epoch = trainer.train_epoch

    def killed(*args: Any) -> float:
        if args[-1] == 4:
            raise KeyboardInterrupt
        return train_epoch(*args)

    monkeypatch.setattr(trainer, "train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(dataset, config)
    assert len(history(config)) == 3
    monkeypatch.setattr(trainer, "train_epoch", train_epoch)
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    whole_lines = history({**config, "saved_dir": config["saved_dir"] + "/whole"})
    assert without_seconds(history(config)) == without_seconds(whole_lines)


@pytest.mark.parametrize("change", ["signature", "never", "finished"])
def test_a_checkpoint_is_not_gone_on_from(dataset: Dataset, config: dict[str, Any], change: str,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(dataset, config)
    epochs: list[int] = []
    train_epoch = trainer.train_epoch
    monkeypatch.setattr(trainer, "train_epoch", lambda *args: epochs.append(args[-1]) or train_epoch(*args))
    if change == "finished":
        (Path(config["saved_dir"]) / "metrics.json").write_text("{}")
    config = {**config, "resume": "never" if change == "never" else "auto"}
    signature = {**SIGNATURE, "dataset": "another"} if change == "signature" else SIGNATURE
    trainer.fit(built(dataset, config), dataset, config, signature)
    assert epochs == [1, 2, 3]


def test_a_full_disk_leaves_the_last_checkpoint(dataset: Dataset, config: dict[str, Any],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
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
        model = trainer.build_model(dataset, vectors, {**config, "use_user_llm": user_text, "use_item_llm": item_text},
                                    CPU)
        assert bool(model.propagated_text[: dataset.n_users].any()) == user_text
        assert bool(model.propagated_text[dataset.n_users:].any()) == item_text


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xpu"])
def test_a_device_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        trainer.resolve_device(name)


def test_auto_device_is_there() -> None:
    assert torch.zeros(1, device=trainer.resolve_device("auto")).item() == 0


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return print, ("code ran",)

    torch.save({"state_dict": Evil()}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="cannot be read"):
        trainer.load_torch(tmp_path / "x.pth")


def test_user_without_negatives_does_not_hang(tmp_path: Path) -> None:
    from conftest import write_tsv
    write_tsv(tmp_path, "anime.tsv", [(f"s{i}", f"t{i}", "", "text") for i in range(4)])
    write_tsv(tmp_path, "interactions.tsv", [("all", f"s{i}", 5, "", "") for i in range(4)] +
              [(f"u{j}", f"s{(i + j) % 4}", 5, "", "") for j in range(6) for i in range(3)])
    config = get_config({"data_dir": str(tmp_path), "saved_dir": str(tmp_path / "saved"), "fusion_mode": "none",
                         "top_k": [2], "early_stop_metric": "NDCG@2", "epochs": 1})
    dataset = load_dataset(config)
    fitted(dataset, config)
