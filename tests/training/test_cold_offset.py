"""What is decided after training: how far titles without a history are lowered. Weights are in test_blend_weights."""

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import main
from config import get_config
from data_loader import Dataset, load_dataset
from model import UNLISTED, LightGCN
from runtime import files
from tests.helpers.runs import assert_inference_repeats
from tests.helpers.training import SOFTMAX, among_warm, fitted, history
from training import after_training
from training.cold_offset import SHARES, cold_offset, share_of_new

# --- by hand ---


class Parts(SimpleNamespace):
    """The parts of a Dataset, whose users are all asked."""

    def targets(self, part: str) -> sp.csr_matrix:
        return getattr(self, part)


def toy(gaps: list[float], asked: list[float], cold_cost: float, metric: str = "NDCG@1") -> list[Any]:
    """Users with one target and lists of one title, so that the metric is the share of users who are hit.

    Args:
        gaps: a user each, by how much the cold title scores above his target, another title: he is hit where the
            offset is larger.
        asked: a user each whose target is the cold title, by how much it scores above all others: he is hit where the
            offset is smaller.

    Returns:
        The arguments of cold_offset; the dataset has no test part that could be looked at.
    """
    n = len(gaps) + len(asked)
    scores, target = np.zeros((n, n + 1), np.float32), np.eye(n, n + 1, dtype=np.float32)
    np.fill_diagonal(scores, 10)
    scores[:, n] = 10 + np.array([*gaps, *asked])
    target[len(gaps) :] = np.eye(1, n + 1, n)
    nothing = sp.csr_matrix((n, n + 1), dtype=np.float32)
    dataset = Parts(valid=sp.csr_matrix(target), cold_valid=nothing, masked_for={"valid": nothing}.get)
    return [
        torch.from_numpy(scores),
        torch.eye(n + 1),
        np.arange(n + 1) == n,
        dataset,
        get_config({"top_k": "1", "early_stop_metric": metric, "cold_cost": cold_cost}),
    ]


def pairs_with_the_cold_title(dataset: Any, *users: int) -> sp.csr_matrix:
    pairs = dataset.valid.toarray() * 0
    pairs[list(users), -1] = 1
    return sp.csr_matrix(pairs)


UP_TO_TEN = [float(gap) for gap in range(1, 11)]


@pytest.mark.parametrize(("cold_cost", "offset"), [(0.0, 10), (0.05, 10), (0.1, 9), (0.3, 7), (0.9, 1)])
def test_the_cost_is_spent_on_listing_more(cold_cost: float, offset: float) -> None:
    found, figures = cold_offset(*toy(UP_TO_TEN, [], cold_cost))
    assert found == pytest.approx(offset, abs=0.02)
    assert figures == pytest.approx({"metric": "NDCG@1", "chosen": offset / 10, "highest": 1, "none listed": 1})


def test_titles_that_cost_nothing_are_raised() -> None:
    # the title stands below the targets by 19, 18, .. 10, and may rise past four of them
    found, figures = cold_offset(*toy([gap - 20 for gap in UP_TO_TEN], [], 0.4))
    assert found == pytest.approx(-14, abs=0.02)
    assert figures["chosen"] == pytest.approx(0.6)


@pytest.mark.parametrize(("cold_cost", "offset", "chosen"), [(0.0, 3, 1.0), (0.2, 2, 0.8), (0.4, 1, 0.6)])
def test_the_highest_metric_comes_first_where_valid_asks_for_cold_titles(
    cold_cost: float, offset: float, chosen: float
) -> None:
    """Above 6 and below 1 the metric is low; taking the smallest offset no worse than none listed gave away 40%."""
    found, figures = cold_offset(*toy([1, 2, 3], [5, 6], cold_cost))
    assert found == pytest.approx(offset, abs=0.02)
    assert figures == pytest.approx({"metric": "NDCG@1", "chosen": chosen, "highest": 1, "none listed": 0.6})


@pytest.mark.parametrize(("cold_cost", "offset", "chosen"), [(0.0, -5, 1.0), (0.3, -5, 1.0), (0.34, -np.inf, 2 / 3)])
def test_the_highest_metric_may_be_at_no_offset_at_all(cold_cost: float, offset: float, chosen: float) -> None:
    """With the title listed as its score says, everyone is hit; there is no reason to raise it past that for free."""
    found, figures = cold_offset(*toy([-5], [1, 2], cold_cost))
    assert found == pytest.approx(offset, abs=0.02) if np.isfinite(offset) else found < -5
    assert figures == pytest.approx({"metric": "NDCG@1", "chosen": chosen, "highest": 1, "none listed": 1 / 3})


def test_where_none_listed_hits_nobody_the_highest_metric_is_still_found() -> None:
    found, figures = cold_offset(*toy([], [1, 2, 3], 0.0))
    assert found < 1
    assert figures == pytest.approx({"metric": "NDCG@1", "chosen": 1, "highest": 1, "none listed": 0})


def test_the_cost_is_not_spent_beyond_a_valley() -> None:
    """Of 5 users, 3 are hit above an offset of 3, none down to -1, and 2 below that."""
    found, figures = cold_offset(*toy([3, 3, 3], [-1, -1], 0.5))
    assert found == pytest.approx(3, abs=0.02)
    assert figures["chosen"] == figures["highest"] == pytest.approx(0.6)


def test_a_held_out_pair_of_cold_valid_is_no_miss() -> None:
    """Nor is a pair that was set aside: to such a user the title is not offered, so he does not ask for an offset."""
    user_emb, item_emb, is_raised, dataset, config = toy(UP_TO_TEN, [], 0.0)
    dataset.cold_valid = pairs_with_the_cold_title(dataset, 9)
    assert cold_offset(user_emb, item_emb, is_raised, dataset, config)[0] == pytest.approx(9, abs=0.02)
    dataset.masked_for = {"valid": pairs_with_the_cold_title(dataset, 7, 8)}.get
    assert cold_offset(user_emb, item_emb, is_raised, dataset, config)[0] == pytest.approx(7, abs=0.02)


def test_targets_that_are_out_of_reach_bury_no_other_title() -> None:
    """Titles 3 and 4 have no history; user 1 asks for 4, which scores below all others: no offset lists it alone."""
    valid = sp.csr_matrix(np.array([[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]], np.float32))
    known = sp.csr_matrix(np.array([[1, 1, 0, 0, 0, 0]] * 2, np.float32))
    dataset = Parts(
        valid=valid, cold_valid=sp.csr_matrix(valid.shape, dtype=np.float32), masked_for={"valid": known}.get
    )
    item_emb = torch.tensor([0.0, 0.0, 2.0, 1.9, -5.0, 1.0])[:, None]
    config = get_config({"top_k": [1], "early_stop_metric": "NDCG@1", "cold_cost": 0.0})
    offset, figures = cold_offset(torch.ones(2, 1), item_emb, np.isin(np.arange(6), (3, 4)), dataset, config)
    assert offset < 0.01
    assert figures["chosen"] == 0.5


def test_none_listed_is_that_not_even_the_best_of_several_cold_titles_is() -> None:
    scores, target = np.tile(np.float32([10, 5, 30, 12]), (3, 1)), sp.csr_matrix(np.eye(1, 4)[[0, 0, 0]])
    dataset = Parts(valid=target, cold_valid=target * 0, masked_for={"valid": target * 0}.get)
    config = get_config({"top_k": "2", "early_stop_metric": "NDCG@2", "cold_cost": 0.0})
    found, figures = cold_offset(torch.from_numpy(scores), torch.eye(4), np.arange(4) > 1, dataset, config)
    assert figures == {"metric": "NDCG@2", "chosen": 1.0, "highest": 1.0, "none listed": 1.0}
    assert 20 <= found < 20.1  # the target scores 10, the best cold title 30


def test_where_no_list_of_valid_can_tell_nothing_is_lowered() -> None:
    user_emb, item_emb, is_raised, dataset, config = toy([1.0, 2.0], [], 0.05)
    dataset.masked_for = {"valid": pairs_with_the_cold_title(dataset, 0, 1)}.get
    found, figures = cold_offset(user_emb, item_emb, is_raised, dataset, config)
    assert found == 0
    assert figures["chosen"] == figures["none listed"] == 1


def test_of_two_heights_alike_the_one_that_lists_more_is_taken() -> None:
    found, figures = cold_offset(*toy([5.0], [3.0], 0.05))  # half are hit above 5, nobody in between, half below 3
    assert found <= 3
    assert figures == {"metric": "NDCG@1", "chosen": 0.5, "highest": 0.5, "none listed": 0.5}


def test_a_list_with_too_few_titles_counts_none_twice() -> None:
    scores, target = torch.tensor([[1.0, 10.0, 5.0, 7.0]]), sp.csr_matrix([[0.0, 1.0, 1.0, 0.0]])
    known = sp.csr_matrix([[1.0, 0.0, 0.0, 1.0]])  # two titles are left for a list of three, both of them targets
    dataset = Parts(valid=target, cold_valid=target * 0, masked_for={"valid": known}.get)
    config = get_config({"top_k": "3", "early_stop_metric": "NDCG@3", "cold_cost": 0.0})
    assert cold_offset(scores, torch.eye(4), np.arange(4) > 2, dataset, config)[1]["highest"] == 1


def test_auc_knows_no_lists_so_ndcg_stands_in() -> None:
    arguments = toy(UP_TO_TEN, [], 0.3, "AUC")
    assert cold_offset(*arguments) == cold_offset(*toy(UP_TO_TEN, [], 0.3))
    arguments[-1]["top_k"] = [2, 3, 1]
    assert cold_offset(*arguments)[1]["metric"] == "NDCG@3"


def test_without_a_valid_part_none_is_listed_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    arguments = toy(UP_TO_TEN, [], 0.9)
    arguments[3].valid = sp.csr_matrix(arguments[3].valid.shape, dtype=np.float32)
    assert cold_offset(*arguments) == (UNLISTED, {})
    [told] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "--valid_ratio" in told
    assert "not listed" in told


@pytest.mark.parametrize(
    ("asked_in_valid", "asked_in_cold_valid", "share"),
    [
        ([0, 1], [], 1.0),  # nobody asks for a new title, so nothing speaks for or against them
        ([0, 1], [4], 0.15),  # a place of four for the first new title; a second place would cost more than it finds
        ([0, 1], [4, 5, 6], 0.5),
        ([], [4, 5, 6, 7], 1.0),
        ([0, 1, 2], [5], 0.0),  # it stands second of the new ones, and two of them cost too much
    ],
)
def test_a_list_holds_as_few_new_titles_as_find_what_is_asked_for(
    asked_in_valid: list[int], asked_in_cold_valid: list[int], share: float
) -> None:
    """One user; new titles 4 to 7 score above the known ones 0 to 3; lists hold four."""
    scores = torch.tensor([[4.0, 3, 2, 1, 8, 7, 6, 5]])
    valid, cold_valid = (
        sp.csr_matrix(np.isin(np.arange(8), asked).astype(np.float32)[None])
        for asked in (asked_in_valid, asked_in_cold_valid)
    )
    dataset = Parts(valid=valid, cold_valid=cold_valid, masked_for={"valid": valid * 0}.get)
    config = get_config({"top_k": "4", "early_stop_metric": "NDCG@4"})
    assert share_of_new(scores, torch.eye(8), np.arange(8) > 3, dataset, config) == share
    assert {0.0, 1.0} < set(SHARES)


# --- of a trained model ---


@pytest.fixture
def cold(config: dict[str, Any]) -> tuple[dict[str, Any], Dataset]:
    """A config and its dataset in which nearly a third of the titles have no history, and rows are set aside."""
    config = {
        **config,
        "cold_item_ratio": 0.3,
        "fusion_mode": "sum",
        "num_layers": 2,
        "batch_size": 16,
        "cold_cost": 0.05,
        "lr": 0.05,
        "min_rate": 3.0,
        "top_k": [3, 5],
        "early_stop_metric": "NDCG@5",
    }
    return config, load_dataset(config)


@pytest.fixture
def trained(cold: tuple[dict[str, Any], Dataset]) -> tuple[LightGCN, dict[str, Any], Dataset]:
    """A model of four epochs with its offset taken back, its config and dataset."""
    config, dataset = {**cold[0], "loss": "softmax", "epochs": 4, "id_dropout": 0.5, "early_stop_round": 0}, cold[1]
    assert dataset.excluded.nnz > 0
    model, _ = fitted(dataset, config)
    assert model.item_bias.any()
    model.item_bias.zero_()
    return model, config, dataset


def cold_titles(dataset: Dataset) -> np.ndarray:
    return ~dataset.train.toarray().any(axis=0)


def ndcg_by_hand(model: LightGCN, dataset: Dataset, offset: float, k: int = 5) -> float:
    """Compute NDCG@k of valid among all titles from the whole matrix of scores, cold ones lowered by an offset."""
    user_emb, item_emb = (part.numpy().astype(np.float64) for part in model.embeddings())
    scores = user_emb @ item_emb.T - offset * cold_titles(dataset)
    scores[(dataset.train + dataset.excluded + dataset.cold_valid).toarray() > 0] = -np.inf
    found, discount = [], 1 / np.log2(np.arange(2, k + 2))
    for row, target in zip(scores, dataset.valid.toarray(), strict=True):
        if target.any():
            hits = target[np.argsort(-row)[:k]]
            found.append((hits * discount).sum() / discount[: int(target.sum())].sum())
    return float(np.mean(found))


@pytest.mark.slow
@pytest.mark.parametrize("cold_cost", [0.0, 0.05, 0.3, 0.8])
def test_against_a_ranking_of_everything(trained: tuple[LightGCN, dict[str, Any], Dataset], cold_cost: float) -> None:
    model, config, dataset = trained
    offset, figures = cold_offset(
        *model.embeddings(), cold_titles(dataset), dataset, {**config, "cold_cost": cold_cost}
    )
    bound = 2 * max(np.abs(np.prod([part.norm(dim=1).max() for part in model.embeddings()])), 1)
    curve = {place: ndcg_by_hand(model, dataset, place) for place in np.linspace(-bound, bound, 400)}
    assert figures["chosen"] == pytest.approx(ndcg_by_hand(model, dataset, offset))
    assert figures["none listed"] == pytest.approx(curve[bound])
    # the search has a grid of its own, so it may pass by a peak, but not by a large one
    assert figures["highest"] == pytest.approx(max(curve.values()), rel=0.02)
    least = (1 - cold_cost) * figures["highest"]
    assert figures["chosen"] >= least
    # what was given up listed more: a hair further and it would have been too much
    assert -bound < offset < bound
    assert min(ndcg_by_hand(model, dataset, place) for place in offset - bound * np.linspace(1e-6, 1e-3, 9)) < least


def test_more_cost_lists_more(trained: tuple[LightGCN, dict[str, Any], Dataset]) -> None:
    model, config, dataset = trained
    found = [
        cold_offset(*model.embeddings(), cold_titles(dataset), dataset, {**config, "cold_cost": cost})
        for cost in (0.0, 0.05, 0.3, 0.8)
    ]
    assert [offset for offset, _ in found] == sorted((offset for offset, _ in found), reverse=True)
    assert found[0][0] > found[-1][0]
    assert len({figures["highest"] for _, figures in found}) == 1


def test_it_does_not_look_at_test_or_cold_test(trained: tuple[LightGCN, dict[str, Any], Dataset]) -> None:
    model, config, dataset = trained
    empty = sp.csr_matrix(dataset.train.shape, dtype=np.float32)
    others = [
        dataclasses.replace(dataset, test=empty, cold_test=empty),
        dataclasses.replace(dataset, test=dataset.cold_test, cold_test=dataset.test),
    ]
    found = [cold_offset(*model.embeddings(), cold_titles(dataset), one, config) for one in (dataset, *others)]
    assert found[0] == found[1] == found[2]
    asked = dataclasses.replace(dataset, valid=sp.csr_matrix(dataset.valid + dataset.cold_valid), cold_valid=empty)
    assert cold_offset(*model.embeddings(), cold_titles(dataset), asked, config) != found[0]


# --- in training ---


def test_fit_sets_the_offset_of_its_best_epoch_and_saves_it(cold: tuple[dict[str, Any], Dataset]) -> None:
    config, dataset = cold
    model, result = fitted(dataset, config)
    decided = result["decided"]["cold_offset"]
    offset = decided["offset"]
    assert 0 != offset < UNLISTED
    np.testing.assert_allclose(model.item_bias, -offset * cold_titles(dataset), rtol=1e-6)
    saved = files.load_torch(Path(config["saved_dir"]) / "best_model.pth")
    assert torch.equal(saved["state_dict"]["item_bias"], model.item_bias)
    assert saved["valid"] == result["valid"]
    assert saved["decided"] == result["decided"]
    model.item_bias.zero_()
    assert decided["chosen"] == pytest.approx(ndcg_by_hand(model, dataset, offset))
    # the epoch was chosen among titles with a history, whatever came of the others
    assert result["epoch"] == 1 + np.argmax([line["NDCG@5"] for line in history(config)])
    assert result["valid"]["NDCG@5"] != decided["chosen"]


def test_main_says_what_was_decided(cold: tuple[dict[str, Any], Dataset]) -> None:
    decided = main.run({**cold[0], "epochs": 1})["decided"]
    assert set(decided) == {"cold_offset"}
    assert set(decided["cold_offset"]) == {"offset", "metric", "chosen", "highest", "none listed", "share"}
    assert decided["cold_offset"]["highest"] >= decided["cold_offset"]["chosen"] > 0


@pytest.mark.parametrize(
    "more",
    [{"cold_cost": 1.0}, {"fusion_mode": "none"}, {"use_item_llm": False}, {"cold_item_ratio": 0.0, "min_rate": 0.0}],
    ids=["free", "no text", "users' text", "none cold"],
)
def test_nothing_is_decided_where_there_is_nothing_to_place(
    more: dict[str, Any], cold: tuple[dict[str, Any], Dataset]
) -> None:
    config = {**cold[0], "epochs": 1, **more}
    dataset = load_dataset(config)
    model, result = fitted(dataset, config)
    assert result["decided"] == {}
    has_bias = cold_titles(dataset).any() and config["cold_cost"] < 1
    assert (model.item_bias is not None) == has_bias
    # without text they are unlisted from the beginning
    assert not has_bias or (model.item_bias == -UNLISTED * torch.from_numpy(cold_titles(dataset))).all()


@pytest.mark.parametrize("fusion_mode", ["sum", "concat"])
def test_titles_without_text_are_never_raised(fusion_mode: str, cold: tuple[dict[str, Any], Dataset]) -> None:
    """Nothing tells where to place them, whatever valid says of those that have one."""
    config, dataset = {**cold[0], "fusion_mode": fusion_mode, "cold_cost": 0.9}, cold[1]
    is_cold = cold_titles(dataset)
    silent = np.flatnonzero(is_cold)[::2]
    texts = ["" if item in silent else text for item, text in enumerate(dataset.item_texts)]
    model, _ = fitted(dataclasses.replace(dataset, item_texts=texts), config)
    user_emb, item_emb = model.embeddings()
    scores = (user_emb @ item_emb.T).numpy()
    others = np.setdiff1d(np.arange(dataset.n_items), silent)
    assert scores[:, silent].max() < scores[:, others].min()
    # the others without a history are among the rest, as they were asked to be
    assert np.isin(np.argsort(-scores, axis=1)[:, :5], np.flatnonzero(is_cold)).any()


def test_without_a_valid_part_no_title_is_raised(cold: tuple[dict[str, Any], Dataset]) -> None:
    config = {**cold[0], "valid_ratio": 0.0}
    dataset = load_dataset(config)
    model, result = fitted(dataset, config)
    assert result["decided"] == {"cold_offset": {"offset": UNLISTED}}
    scores = (lambda user_emb, item_emb: user_emb @ item_emb.T)(*model.embeddings()).numpy()
    assert scores[:, cold_titles(dataset)].max() < scores[:, ~cold_titles(dataset)].min()


def test_valid_is_told_with_what_was_decided(
    cold: tuple[dict[str, Any], Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, dataset = {**cold[0], **SOFTMAX, "cold_cost": 1.0}, cold[1]
    monkeypatch.setattr(
        after_training, "search_blend_weights", lambda *_: ({"popularity": 0.3, "linear": 4.0}, 1.0, [])
    )
    model, result = fitted(dataset, config)
    expected = among_warm(model, dataset, config)
    assert {key: result["valid"][key] for key in expected} == pytest.approx(expected)
    assert result["valid"]["NDCG@5"] != history(config)[result["epoch"] - 1]["NDCG@5"]


def test_inference_writes_the_same_with_all_that_can_be_decided(
    cold: tuple[dict[str, Any], Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**cold[0], **SOFTMAX, "normalize": True, "temperature": 0.2}
    # random data know of no linear model, so that valid might well leave it out
    monkeypatch.setattr(
        after_training, "search_blend_weights", lambda *_: ({"popularity": 0.3, "linear": 1.0}, 0.5, [])
    )
    metrics = main.run(config)
    assert set(metrics["decided"]) == {"weights", "unit", "tried", "linear", "cold_offset"}
    state = files.load_torch(Path(config["saved_dir"]) / "best_model.pth")["state_dict"]
    assert state["item_bias"].any()
    assert state["linear_inputs"].shape == (30, 4)
    assert state["linear_inputs"].any()
    assert state["cold_vectors"].shape == (cold_titles(cold[1]).sum(), config["embedding_dim"])
    assert state["cold_vectors"].any()
    monkeypatch.undo()
    assert_inference_repeats(config, metrics)
