"""What every loss of the registry has to do; the formulas are in the test file of each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from config import SETTING
from data_loader import Dataset
from model import LightGCN
from tests.helpers.training import CPU, built, check_gradients, fitted, history
from training import epoch as training_epoch
from training.losses import BATCHES, epoch_batches

each_loss = pytest.mark.parametrize("loss", BATCHES)


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    """Settings with which every loss is allowed, some of them cosines."""
    return {**config, "normalize": True, "fusion_mode": "sum", "num_layers": 2, "negatives": 20}


def first_batch(dataset: Dataset, config: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    loss_of, batches = epoch_batches(dataset.train, config, np.random.default_rng(0), CPU)
    return loss_of, batches[0][0]


def test_the_setting_names_the_losses_that_there_are() -> None:
    assert set(SETTING["loss"].legal.choices) == set(BATCHES)


@each_loss
def test_steps_lower_the_loss(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "loss": loss}
    model, (loss_of, batch) = built(dataset, config), first_batch(dataset, config)
    optimizer, found = torch.optim.Adam(model.parameters(), lr=0.02), []
    for _ in range(15):
        value, penalty = loss_of(model, *batch, config)
        optimizer.zero_grad()
        (value + penalty).backward()
        optimizer.step()
        found.append(value.item())
    assert found[-1] < 0.97 * found[0]


@each_loss
def test_an_epoch_covers_every_train_pair(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    batches = epoch_batches(dataset.train, {**config, "loss": loss, "batch_size": 7}, np.random.default_rng(0), CPU)[1]
    assert sum(n_pairs for _, n_pairs in batches) == dataset.train.nnz
    assert len(batches) > 3


@each_loss
def test_the_penalty_alone_has_reg_lambda(loss: str, dataset: Dataset, config: dict[str, Any]) -> None:
    config = {**config, "loss": loss}
    model, (loss_of, batch) = built(dataset, config), first_batch(dataset, config)
    found = [loss_of(model, *batch, {**config, "reg_lambda": weight}) for weight in (0.0, 0.01, 0.02)]
    assert found[0][0].item() == found[1][0].item()
    assert found[0][1].item() == 0
    assert 0 < 2 * found[1][1].item() == pytest.approx(found[2][1].item())


@each_loss
def test_titles_that_drop_picks_are_placed_by_their_text_only(
    loss: str, dataset: Dataset, config: dict[str, Any]
) -> None:
    """The text that titles get over their edges (propagated_text) is of no use to a title placed by its own."""
    config = {**config, "loss": loss}
    model, (loss_of, batch) = built(dataset, config), first_batch(dataset, config)
    drop = {"none": None, "all": lambda nodes: nodes >= dataset.n_users}
    before = {name: loss_of(model, *batch, config, each)[0].item() for name, each in drop.items()}
    assert before["all"] != pytest.approx(before["none"], rel=1e-6)
    by_edges, by_text = built(dataset, config), built(dataset, config)
    by_edges.propagated_text[dataset.n_users :] += 1
    by_text.item_text += torch.randn(by_text.item_text.shape, generator=torch.Generator().manual_seed(0))
    assert loss_of(by_edges, *batch, config, drop["all"])[0].item() == before["all"]
    assert loss_of(by_edges, *batch, config)[0].item() != pytest.approx(before["none"], rel=1e-6)
    assert loss_of(by_text, *batch, config, drop["all"])[0].item() != pytest.approx(before["all"], rel=1e-6)


@each_loss
@pytest.mark.parametrize("model_of", ["none", "none without layer 0", "sum", "concat"])
def test_gradients_are_those_of_finite_differences(
    loss: str, model_of: str, dataset: Dataset, config: dict[str, Any]
) -> None:
    fusion_mode, has_input = model_of.partition(" ")[0], "without" not in model_of
    config = {
        **config,
        "loss": loss,
        "fusion_mode": fusion_mode,
        "input_layer": has_input,
        "reg_lambda": 0.1,
        "batch_size": 16,
        "margin": 0.1,
    }
    model, (loss_of, batch) = built(dataset, config).double(), first_batch(dataset, config)
    text = model.has_item_text

    def total() -> torch.Tensor:
        return sum(loss_of(model, *batch, config, lambda nodes: text[nodes] & (nodes % 3 == 0)))

    check_gradients(model, total)


@each_loss
def test_a_training_stopped_inside_an_epoch_goes_on_bit_for_bit(
    loss: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "loss": loss, "epochs": 2, "batch_size": 9, "id_dropout": 0.3, "lr": 0.05}
    whole, _ = fitted(dataset, {**config, "saved_dir": config["saved_dir"] + "/whole"})
    set_lr, steps = training_epoch.set_lr, []

    def killed(*args: Any) -> None:
        set_lr(*args)
        steps.append(args[-1])
        if len(steps) == 4:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(training_epoch, "set_lr", killed)
        patch.setattr(training_epoch, "SAVE_SECONDS", 0.0)
        with pytest.raises(SystemExit):
            fitted(dataset, config)
    assert torch.load(Path(config["saved_dir"]) / "checkpoint.pth", weights_only=True)["middle"]["steps"] == 3
    resumed, _ = fitted(dataset, config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@each_loss
def test_the_history_has_the_mean_loss_a_pair(
    loss: str, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    terms: list[tuple[float, int]] = []

    def recorded(*args: Any) -> Any:
        computed, batches = epoch_batches(*args)
        weights = iter([n_pairs for _, n_pairs in batches])

        def loss_of(model: LightGCN, *batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
            mean, penalty = computed(model, *batch)
            terms.append((mean.item(), next(weights)))
            return mean, penalty

        return loss_of, batches

    monkeypatch.setattr(training_epoch, "epoch_batches", recorded)
    # uneven batches, so that a mean over batches is another number
    batch_size = 37 if loss == "softmax" else 300
    fitted(dataset, {**config, "loss": loss, "epochs": 1, "batch_size": batch_size, "lr": 0.1})
    assert history(config)[0]["loss"] == pytest.approx(sum(m * n for m, n in terms) / sum(n for _, n in terms))
    assert history(config)[0]["loss"] != pytest.approx(np.mean([m for m, _ in terms]), rel=1e-5)
