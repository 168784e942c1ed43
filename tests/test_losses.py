"""The softmax over a catalogue too large to keep all scores of a step."""

from typing import Any

import numpy as np
import pytest
import torch

from data_loader import Dataset
from llm_embedding import text_vectors
from training import losses, model_factory
from training.losses import LogSumExp, softmax_batches


@pytest.mark.parametrize("most", [7, 40, 10_000])
def test_chunks_give_the_sum_and_the_gradients_of_the_whole(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MAX_SCORES", most)
    users, items = (torch.randn(n, 5, dtype=torch.float64, requires_grad=True) for n in (4, 23))
    assert torch.autograd.gradcheck(LogSumExp.apply, (users, items))
    torch.testing.assert_close(LogSumExp.apply(users, items), (users @ items.T).logsumexp(dim=1))


def test_a_loss_by_chunks_is_that_of_all_scores(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_factory.build_model(dataset, text_vectors(dataset, config, "cpu"), config, torch.device("cpu"))
    loss_of, batches = softmax_batches(dataset.train, 16, np.random.default_rng(0), torch.device("cpu"))
    found = []
    for most in (2**25, 50):
        monkeypatch.setattr(losses, "MAX_SCORES", most)
        model.zero_grad()
        loss, penalty = loss_of(model, *batches[0][0], 0.01)
        (loss + penalty).backward()
        found.append([loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(whole, chunked, rtol=1e-4, atol=1e-7)


def test_no_more_scores_than_the_limit_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MAX_SCORES", 12)
    sizes = []
    product = torch.Tensor.__matmul__

    def counted(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        result = product(one, other)
        sizes.append(result.shape[0] * result.shape[1] if one.shape[0] == 4 else 0)
        return result

    monkeypatch.setattr(torch.Tensor, "__matmul__", counted)
    users, items = torch.randn(4, 3, requires_grad=True), torch.randn(29, 3, requires_grad=True)
    LogSumExp.apply(users, items).sum().backward()
    assert 0 < max(sizes) <= 12
