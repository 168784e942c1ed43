"""The softmax loss, whole and by chunks, and its batches."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Dataset
from llm_embedding import text_vectors
from tests.helpers.training import CPU, built
from training import model_factory, softmax
from training.softmax import LogSumExp, softmax_batches


@pytest.mark.parametrize("most", [7, 40, 10_000])
def test_chunks_give_the_sum_and_the_gradients_of_the_whole(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "MAX_SCORES", most)
    users, items = (torch.randn(n, 5, dtype=torch.float64, requires_grad=True) for n in (4, 23))
    assert torch.autograd.gradcheck(LogSumExp.apply, (users, items))
    torch.testing.assert_close(LogSumExp.apply(users, items), (users @ items.T).logsumexp(dim=1))


def test_a_loss_by_chunks_is_that_of_all_scores(
    dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_factory.build_model(dataset, text_vectors(dataset, config, "cpu"), config, torch.device("cpu"))
    loss_of, batches = softmax_batches(dataset.train, {"batch_size": 16}, np.random.default_rng(0), torch.device("cpu"))
    found = []
    for most in (2**25, 50):
        monkeypatch.setattr(softmax, "MAX_SCORES", most)
        model.zero_grad()
        loss, penalty = loss_of(model, *batches[0][0], {"reg_lambda": 0.01})
        (loss + penalty).backward()
        found.append([loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(whole, chunked, rtol=1e-4, atol=1e-7)


def test_no_more_scores_than_the_limit_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "MAX_SCORES", 12)
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


# --- softmax ---


def catalogue_of(dataset: Dataset) -> list[int]:
    return [item for item in range(dataset.n_items) if dataset.train[:, [item]].nnz]


def test_softmax_loss_is_a_cross_entropy_over_the_catalogue(cold: tuple[dict[str, Any], Dataset]) -> None:
    config, dataset = cold
    model = built(dataset, config)
    loss_of, batches = softmax_batches(dataset.train, {"batch_size": 16}, np.random.default_rng(0), CPU)
    loss, penalty = loss_of(model, *batches[0][0], {"reg_lambda": 0.01})
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
    epochs = [softmax_batches(dataset.train, {"batch_size": 16}, rng, CPU)[1] for _ in range(2)]
    for batches in epochs:
        found: list[tuple[int, int]] = []
        for (user_ids, item_ids, (places, items), _), weight in batches:
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
    (((user_ids, item_ids, _, _), weight),) = softmax_batches(train, {"batch_size": 9}, np.random.default_rng(0), CPU)[
        1
    ]
    assert sorted(user_ids.tolist()) == [0, 2]
    assert (item_ids.tolist(), weight) == ([0, 2], 3)
