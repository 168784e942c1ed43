"""The loss, the epoch loop, early stopping, checkpoint and resume."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import main
import trainer
from config import get_config
from data_loader import Dataset, load_dataset, sample_triples
from llm_embedding import TextVectors, text_vectors, whitened
from model import LightGCN

SIGNATURE = {"config": {"of": "the test"}, "dataset": "this one"}
CPU = torch.device("cpu")
SOFTMAX = {"loss": "softmax", "lr_schedule": "cosine", "item_bias": True, "batch_size": 7}


def built(dataset: Dataset, config: dict[str, Any]) -> LightGCN:
    return trainer.build_model(dataset, text_vectors(dataset, config, "cpu"), config, CPU)


def fitted(dataset: Dataset, config: dict[str, Any]) -> tuple[LightGCN, dict[str, Any]]:
    model = built(dataset, config)
    return model, trainer.fit(model, dataset, config, SIGNATURE)


def history(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config["saved_dir"]) / "history.jsonl").read_text().splitlines()]


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize("side", ["user", "item"])
def test_whiten_whitens_the_text_of_the_sides_that_bring_some(dataset: Dataset, config: dict[str, Any],
                                                              side: str) -> None:
    config = {**config, "fusion_mode": "sum", "num_layers": 0, "whiten": True, "use_user_llm": side == "user",
              "use_item_llm": side == "item"}
    vectors = text_vectors(dataset, config, "cpu")
    users, items = (whitened(part, vectors.items) for part in (vectors.users, vectors.items))
    expected = np.concatenate([users * (side == "user"), items * (side == "item")])
    for whiten in (True, False):
        model = trainer.build_model(dataset, vectors, {**config, "whiten": whiten}, CPU)
        assert np.allclose(model.propagated_text, expected, atol=1e-5) == whiten


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


def test_fusing_nodes_once_or_as_often_as_they_stand_is_the_same(dataset: Dataset, config: dict[str, Any],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU distinct() returns repeated nodes; loss, penalty and gradients may not depend on it."""
    model = built(dataset, config)
    triples = [torch.from_numpy(part[:200]) for part in sample_triples(dataset.train, np.random.default_rng(0))]
    found = []
    for form in (trainer.distinct, lambda nodes: (nodes, torch.arange(len(nodes)), torch.ones_like(nodes))):
        monkeypatch.setattr(trainer, "distinct", form)
        model.zero_grad()
        loss, penalty = trainer.bpr_loss(model, *triples, reg_lambda=0.01)
        (loss + penalty).backward()
        found.append([loss.detach(), penalty.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for once, often in zip(*found, strict=True):
        torch.testing.assert_close(once, often, rtol=1e-4, atol=1e-7)


def test_only_the_cpu_looks_for_repeated_nodes() -> None:
    nodes = torch.tensor([3, 1, 3])
    unique, place, times = trainer.distinct(nodes)
    assert (unique.tolist(), place.tolist(), times.tolist()) == ([1, 3], [1, 0, 1], [1, 2])
    assert trainer.distinct(nodes.to("meta"))[0].shape == (3,)


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


@pytest.mark.parametrize("more", [{}, SOFTMAX, {**SOFTMAX, "id_dropout": 0.5, "init": "svd", "normalize": True}],
                         ids=["bpr", "softmax", "dropout"])
def test_a_killed_run_goes_on_bit_for_bit(more: dict[str, Any], dataset: Dataset, config: dict[str, Any],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**config, "epochs": 6, "lr": 0.05, "early_stop_round": 0, "num_layers": 2, **more}
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
    loss_of, batches = trainer.softmax_batches(dataset.train, 16, np.random.default_rng(0), CPU)
    loss, penalty = loss_of(model, *batches[0][0], 0.01)
    loss.backward()
    gradient = model.id_emb.grad.clone()
    catalogue, users = catalogue_of(dataset), batches[0][0][0].tolist()
    assert len(catalogue) < dataset.n_items
    final, _ = model(torch.arange(dataset.n_users + dataset.n_items))
    terms = []
    for user in users:
        scores = torch.stack([final[user] @ final[dataset.n_users + item] for item in catalogue])
        terms += [torch.nn.functional.cross_entropy(scores[None], torch.tensor([catalogue.index(item)]))
                  for item in dataset.train[[user]].indices.tolist()]
    expected = torch.stack(terms).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert penalty.item() == pytest.approx(0.01 * sum(model.id_emb[user].norm().item() ** 2 for user in users)
                                           / (2 * len(users)), rel=1e-5)
    model.zero_grad()
    expected.backward()
    torch.testing.assert_close(gradient, model.id_emb.grad, rtol=1e-4, atol=1e-7)


def test_softmax_batches_cover_every_train_pair_once_and_nothing_held_out(cold: tuple[dict[str, Any], Dataset]) -> None:
    _, dataset = cold
    rng = np.random.default_rng(0)
    epochs = [trainer.softmax_batches(dataset.train, 16, rng, CPU)[1] for _ in range(2)]
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
    (((user_ids, item_ids, _), weight),) = trainer.softmax_batches(train, 9, np.random.default_rng(0), CPU)[1]
    assert sorted(user_ids.tolist()) == [0, 2]
    assert (item_ids.tolist(), weight) == ([0, 2], 3)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_history_has_the_mean_loss_a_pair(loss: str, dataset: Dataset, config: dict[str, Any],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    terms: list[tuple[float, int]] = []
    computed = getattr(trainer, f"{loss}_loss")

    def recorded(model: LightGCN, *batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        mean, penalty = computed(model, *batch)
        terms.append((mean.item(), len(batch[0]) if loss == "bpr" else batch[2].shape[1]))
        return mean, penalty

    monkeypatch.setattr(trainer, f"{loss}_loss", recorded)
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
    start = trainer.svd_start(train, 6)
    assert (start.shape, start.dtype) == ((sum(train.shape), 6), torch.float32)
    users, items = start[: train.shape[0]].numpy(), start[train.shape[0]:].numpy()
    np.testing.assert_allclose(users @ items.T, u[:, :6] * s[:6] @ vt[:6], atol=1e-3)
    for ours, theirs in ((users, u[:, :6]), (items, vt[:6].T)):
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs * np.sqrt(s[:6])), atol=5e-3)


def test_svd_start_is_padded_with_zeros_beyond_the_rank() -> None:
    train = sp.csr_matrix((np.random.default_rng(0).random((9, 5)) < 0.5).astype(np.float32))
    start = trainer.svd_start(train, 8)
    assert start.shape == (14, 8)
    assert not start[:, 5:].any()
    np.testing.assert_allclose(start[:9] @ start[9:].T, normalised(train), atol=1e-5)


def test_svd_start_is_the_models_start_scaled_to_init_std(dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, {**config, "init": "svd", "init_std": 0.3})
    start = trainer.svd_start(dataset.train, config["embedding_dim"])
    torch.testing.assert_close(model.id_emb.detach(), start * 0.3 / start.std(), rtol=1e-4, atol=1e-5)


def test_item_bias_starts_at_the_logarithm_of_the_popularity(cold: tuple[dict[str, Any], Dataset]) -> None:
    config, dataset = cold
    counts = dataset.train.toarray().sum(axis=0)
    assert (counts == 0).any()
    np.testing.assert_allclose(built(dataset, {**config, "item_bias": True}).item_bias.detach().numpy(),
                               np.log(np.maximum(counts, 1)), rtol=1e-6)
    assert built(dataset, config).item_bias is None


# --- learning rate, id dropout, no valid part ---

@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_course_of_the_learning_rate(schedule: str, dataset: Dataset, config: dict[str, Any],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step",
                        lambda self, *args: rates.append(self.param_groups[0]["lr"]) or step(self, *args))
    fitted(dataset, {**config, "lr_schedule": schedule, "lr": 0.02, "epochs": 4, "early_stop_round": 0})
    steps = 4 * math.ceil(dataset.train.nnz / config["batch_size"])
    assert len(rates) == steps
    if schedule == "constant":
        assert rates == [0.02] * steps
        return
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * done / steps)) for done in range(steps)])
    assert (rates[0], rates[steps // 2]) == pytest.approx((0.02, 0.01))
    assert 0 < rates[-1] < 0.02 * 0.01


@pytest.mark.parametrize(("done", "share"), [(0, 1), (2.5, 0.5), (5, 0), (9, 0)])
def test_cosine_falls_from_the_whole_rate_to_none(done: float, share: float) -> None:
    optimizer = torch.optim.Adam([torch.zeros(1), torch.zeros(1)])
    for schedule, expected in (("cosine", 0.3 * share), ("constant", 0.3)):
        trainer.set_lr(optimizer, {"lr": 0.3, "lr_schedule": schedule, "epochs": 5}, done)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected])


def placed_alone(dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Train an epoch and return (node_ids, alone) of every step."""
    asked: list[Any] = []
    forward = LightGCN.forward
    monkeypatch.setattr(LightGCN, "forward", lambda self, nodes, alone=None: asked.append((nodes, alone)) or
                        forward(self, nodes, alone))
    model = built(dataset, config)
    trainer.train_epoch(model, torch.optim.Adam(model.parameters()), dataset, config, np.random.default_rng(0), 1)
    return asked


@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_id_dropout_places_its_share_of_the_items_alone(loss: str, share: float, dataset: Dataset,
                                                        config: dict[str, Any],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    asked = placed_alone(dataset, {**config, "loss": loss, "id_dropout": share, "batch_size": 4}, monkeypatch)
    items = [nodes[nodes >= dataset.n_users] for nodes, _ in asked]
    alone = [nodes[chosen] for nodes, chosen in asked]
    assert all((chosen >= dataset.n_users).all() and len(set(chosen.tolist())) == len(chosen) for chosen in alone)
    assert sum(map(len, alone)) / sum(map(len, items)) == pytest.approx(share, abs=0.1)
    assert len({tuple(chosen.tolist()) for chosen in alone}) > len(alone) / 2  # drawn anew for each step


def test_without_id_dropout_or_text_nothing_is_placed_alone(dataset: Dataset, config: dict[str, Any],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    for more in ({"id_dropout": 0.0}, {"id_dropout": 0.5, "fusion_mode": "none"}):
        assert all(alone is None for _, alone in placed_alone(dataset, {**config, **more}, monkeypatch))


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_loss_is_that_of_the_vectors_placed_alone(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    model = built(dataset, config)
    loss_of, batches = trainer.BATCHES[loss](dataset.train, 20, np.random.default_rng(0), CPU)
    everything, _ = loss_of(model, *batches[0][0], 0.0, lambda ids: torch.ones(len(ids), dtype=torch.bool))
    nothing, _ = loss_of(model, *batches[0][0], 0.0, lambda ids: torch.zeros(len(ids), dtype=torch.bool))
    nodes = torch.arange(dataset.n_users + dataset.n_items)
    final, _ = model(nodes, nodes[dataset.n_users:])
    users, items = final[batches[0][0][0]], final[dataset.n_users:]
    if loss == "bpr":
        _, positives, negatives = batches[0][0]
        expected = -torch.sigmoid((users * (items[positives] - items[negatives])).sum(1)).log().mean()
    else:
        _, catalogue, (places, positives) = batches[0][0]
        expected = -(users @ items[catalogue].T).log_softmax(dim=1)[places, positives].mean()
    assert everything.item() == pytest.approx(expected.item(), rel=1e-5)
    assert nothing.item() == pytest.approx(loss_of(model, *batches[0][0], 0.0)[0].item(), rel=1e-6)
    assert everything.item() != pytest.approx(nothing.item(), rel=1e-6)


def test_without_a_valid_part_the_last_epoch_stays_and_none_is_left_out(config: dict[str, Any]) -> None:
    config = {**config, "valid_ratio": 0.0, "epochs": 8, "early_stop_round": 1, "lr": 0.5}
    dataset = load_dataset(config)
    model, result = fitted(dataset, config)
    assert (result["epoch"], result["epochs_run"], len(history(config))) == (8, 8, 8)
    last = trainer.load_torch(Path(config["saved_dir"]) / "checkpoint.pth")["model"]
    saved = trainer.load_torch(Path(config["saved_dir"]) / "best_model.pth")
    for state in (saved["state_dict"], model.state_dict()):
        torch.testing.assert_close(dict(state), last, rtol=0, atol=0)
    assert saved["epoch"] == 8


# --- how far titles without history are lowered ---

def hand_worked(cold_cost: float) -> tuple[Any, ...]:
    """Ten users whose target scores 10 and a cold title above it by 1, 2, .. 10: each must be lowered by that."""
    scores = np.zeros((10, 12), np.float32)
    np.fill_diagonal(scores, 10)
    scores[:, 11] = 11 + np.arange(10)
    user_emb = torch.from_numpy(np.pad(scores, ((0, 0), (0, 1)), constant_values=1))
    item_emb = torch.from_numpy(np.pad(np.eye(12, dtype=np.float32), ((0, 0), (0, 1))))
    target, nothing = sp.csr_matrix(np.eye(10, 12, dtype=np.float32)), sp.csr_matrix((10, 12), dtype=np.float32)
    return (user_emb, item_emb, torch.arange(12) == 11, SimpleNamespace(train=nothing, valid=target),
            get_config({"top_k": "1", "early_stop_metric": "NDCG@1", "cold_cost": cold_cost}))


@pytest.mark.parametrize(("cold_cost", "offset"), [(0.0, 10), (0.05, 10), (0.1, 9), (0.3, 7), (0.9, 1)])
def test_calibrate_by_hand(cold_cost: float, offset: float) -> None:
    found, valid = trainer.calibrate(*hand_worked(cold_cost))
    # a tie with the target is broken at random, so the offset is a hair above the difference
    assert offset <= found <= offset + 0.02
    assert valid["NDCG@1"] == pytest.approx(offset / 10)
    assert valid["AUC"] == pytest.approx((offset * 11 + (10 - offset) * 10) / 110)


def test_calibrate_raises_titles_that_cost_nothing() -> None:
    user_emb, item_emb, is_cold, dataset, config = hand_worked(0.4)
    user_emb[:, 11] -= 20  # now the title stands below the targets by 19, 18, .. 10, and may rise past four of them
    found, valid = trainer.calibrate(user_emb, item_emb, is_cold, dataset, config)
    assert -14 <= found <= -13.98
    assert valid["NDCG@1"] == pytest.approx(0.6)


def test_without_a_valid_part_no_title_is_raised(cold: tuple[dict[str, Any], Dataset]) -> None:
    config = {**cold[0], "valid_ratio": 0.0, "cold_cost": 0.05}
    assert fitted(load_dataset(config), config)[0].cold_offset.item() >= 0


@pytest.fixture
def trained(cold: tuple[dict[str, Any], Dataset]) -> tuple[LightGCN, dict[str, Any], Dataset]:
    """A model of four epochs with an offset that is still 0, its config and dataset."""
    config = {**cold[0], "loss": "softmax", "epochs": 4, "lr": 0.05, "cold_cost": 0.05, "id_dropout": 0.5,
              "early_stop_round": 0}
    model, _ = fitted(cold[1], config)
    model.cold_offset.zero_()
    return model, config, cold[1]


def valid_of(model: LightGCN, dataset: Dataset, config: dict[str, Any], offset: float) -> float:
    """Compute the valid metric of all items with an offset, from the scores."""
    user_emb, item_emb = model.embeddings()
    item_emb[:, -1] -= offset * (torch.from_numpy(dataset.train.toarray().sum(axis=0)) == 0)
    return trainer.means(trainer.evaluate(user_emb, item_emb, dataset.valid, dataset.train, config))["NDCG@20"]


def test_calibrate_does_not_ask_for_targets_that_are_out_of_reach() -> None:
    """A title whose rows all went to valid counts as cold; that is no reason to bury all other cold titles."""
    train = sp.csr_matrix(np.array([[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]], np.float32))
    valid = sp.csr_matrix(np.array([[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]], np.float32))
    user_emb = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    # items 3 and 4 never had a row; user 1's target 4 scores below all others, and no offset lists it alone
    item_emb = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [1.9, 0.0], [-5.0, 0.0], [1.0, 0.0]])
    is_cold = torch.tensor([False, False, False, True, True, False])
    config = get_config({"top_k": [1], "early_stop_metric": "NDCG@1", "cold_cost": 0.0})
    offset, found = trainer.calibrate(user_emb, item_emb, is_cold, SimpleNamespace(train=train, valid=valid), config)
    assert offset < 0.01
    assert found["NDCG@1"] == 0.5


@pytest.mark.parametrize("cold_cost", [0.0, 0.05, 0.3])
def test_calibrate_takes_the_smallest_offset_that_is_cheap_enough(trained: tuple[LightGCN, dict[str, Any], Dataset],
                                                                  cold_cost: float) -> None:
    model, config, dataset = trained
    config = {**config, "cold_cost": cold_cost}
    user_emb, item_emb = model.embeddings()
    is_cold = torch.from_numpy(dataset.train.toarray().sum(axis=0) == 0)
    offset, valid = trainer.calibrate(user_emb, item_emb, is_cold, dataset, config)
    warm = item_emb.clone()
    warm[is_cold, -1] = -1e6
    if cold_cost == 0:
        assert valid["NDCG@20"] >= trainer.means(trainer.evaluate(user_emb, warm, dataset.valid, dataset.train,
                                                                  config))["NDCG@20"]
    alone = trainer.means(trainer.evaluate(user_emb, warm, dataset.valid, dataset.train, config))["NDCG@20"]
    least = (1 - cold_cost) * alone
    assert valid["NDCG@20"] == pytest.approx(valid_of(model, dataset, config, offset), rel=1e-6)
    assert valid["NDCG@20"] >= least - 1e-9
    bound = 2 * (user_emb.norm(dim=1).max() * item_emb.norm(dim=1).max()).item()
    assert -bound < offset < bound
    assert valid_of(model, dataset, config, offset - bound / 1000) < least


def test_calibrate_does_not_look_at_test_or_the_cold_parts(trained: tuple[LightGCN, dict[str, Any], Dataset]) -> None:
    model, config, dataset = trained
    empty = sp.csr_matrix(dataset.train.shape, dtype=np.float32)
    others = [dataclasses.replace(dataset, test=empty, cold_valid=empty, cold_test=empty),
              dataclasses.replace(dataset, test=dataset.cold_test, cold_test=dataset.cold_valid,
                                  cold_valid=dataset.test)]
    found = [trainer.calibrate(*model.embeddings(), model.is_cold, one, config) for one in (dataset, *others)]
    assert found[0] == found[1] == found[2]
    more = sp.csr_matrix(dataset.valid + dataset.cold_valid)
    asked = dataclasses.replace(dataset, valid=more, cold_valid=empty)
    assert trainer.calibrate(*model.embeddings(), model.is_cold, asked, config) != found[0]


def test_fit_sets_the_offset_of_its_best_epoch_and_saves_it(cold: tuple[dict[str, Any], Dataset]) -> None:
    config, dataset = {**cold[0], "cold_cost": 0.05, "epochs": 3, "lr": 0.05}, cold[1]
    model, result = fitted(dataset, config)
    offset = model.cold_offset.item()
    assert offset != 0
    saved = trainer.load_torch(Path(config["saved_dir"]) / "best_model.pth")
    assert saved["state_dict"]["cold_offset"].item() == offset
    assert saved["valid"] == result["valid"]
    again = trainer.means(trainer.evaluate(*model.embeddings(), dataset.valid, dataset.train, config))
    assert again == pytest.approx(result["valid"])
    # during training only titles with history compete, so the offset changes no choice of an epoch
    warm = np.flatnonzero(dataset.train.toarray().sum(axis=0))
    model.cold_offset.zero_()
    among_warm = trainer.means(trainer.evaluate(*model.embeddings(), dataset.valid, dataset.train, config, warm))
    assert among_warm == pytest.approx({key: history(config)[result["epoch"] - 1][key] for key in among_warm})


@pytest.mark.parametrize("more", [{"cold_cost": 1.0}, {"fusion_mode": "none"}, {"cold_item_ratio": 0.0}],
                         ids=["free", "no text", "none cold"])
def test_there_is_no_offset_where_it_would_have_nothing_to_do(more: dict[str, Any], config: dict[str, Any]) -> None:
    config = {**config, "cold_cost": 0.05, "cold_item_ratio": 0.3, "fusion_mode": "sum", **more}
    dataset = load_dataset(config)
    assert built(dataset, config).cold_offset is None
    if "cold_cost" in more:
        assert built(dataset, {**config, "cold_cost": 0.05}).cold_offset is not None


def test_inference_writes_the_same_with_an_offset(cold: tuple[dict[str, Any], Dataset]) -> None:
    config = {**cold[0], **SOFTMAX, "cold_cost": 0.05, "normalize": True, "temperature": 0.2, "lr": 0.05}
    metrics = main.run(config)
    saved = Path(config["saved_dir"])
    assert trainer.load_torch(saved / "best_model.pth")["state_dict"]["cold_offset"].item() != 0
    names = ("user_emb.pt", "item_emb.pt", "recommendations.json", "metrics.json")
    before = {name: (saved / name).read_bytes() for name in names}
    for name in names[:3]:
        (saved / name).unlink()
    again = main.run({**get_config({}), **{key: config[key] for key in ("data_dir", "saved_dir", "device")},
                      "mode": "inference"})
    assert again == metrics
    assert {name: (saved / name).read_bytes() for name in names} == before
