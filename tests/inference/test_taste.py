"""How much rates count in a list: what changes with the taste, and that reasons still add up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from inference import explanations
from inference.finished_run import FinishedRun
from inference.people import by_rates, place
from inference.taste import AS_MEASURED, FOR_PEOPLE, times_chosen, with_taste
from tests.helpers.tastes import N_OF_KIND, taste_run


@pytest.fixture(scope="module", params=[{}, {"recency": 2.0}], ids=["as trained", "by age"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return taste_run(tmp_path_factory.mktemp("tastes"), **request.param)


def test_rates_count_nothing_at_one_end_and_most_at_the_other() -> None:
    tastes = [0, 0.25, AS_MEASURED, FOR_PEOPLE, 1]
    assert [times_chosen(taste) for taste in tastes] == [0, 0.5, 1, 3, 4]


def test_as_measured_nothing_changes(run: FinishedRun) -> None:
    assert with_taste(run, AS_MEASURED) is run


def test_users_are_placed_as_by_the_run_itself(run: FinishedRun) -> None:
    """Halved and doubled again, they are where the run put them."""
    again = with_taste(with_taste(run, 0.25), 0.625)
    assert times_chosen(0.25) * times_chosen(0.625) == 1
    torch.testing.assert_close(again.user_emb, run.user_emb, rtol=1e-4, atol=1e-5)


def test_a_taste_of_0_leaves_rates_out_of_the_linear_columns(run: FinishedRun) -> None:
    plain, layout = with_taste(run, 0.0), run.layout
    how, known = layout.placing, run.dataset.known_before("test" if run.layout.placing.by_time else "valid")
    ages = run.dataset.ages_of(known)
    weights = 0.5 ** (ages / how.linear_recency) if how.linear_recency else np.ones(known.nnz)
    rows = sp.csr_matrix((weights, known.indices, known.indptr), shape=known.shape)
    inputs, power = layout.linear
    expected = rows @ inputs.numpy() * np.maximum(np.diff(known.indptr), 1)[:, None] ** -power
    start = layout.dim + layout.has_bias
    found = plain.user_emb[:, start : start + inputs.shape[1]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, run.user_emb[:, start : start + inputs.shape[1]])


def test_the_more_rates_count_the_fewer_titles_like_the_disliked_are_listed(run: FinishedRun) -> None:
    """Someone who loves six titles of one kind and hates six of the other."""
    shares, gaps = [], []
    for taste in (0.0, AS_MEASURED, 1.0):
        minded = with_taste(run, taste, users=False)
        who = by_rates(minded, dict.fromkeys(range(6), 9.0) | dict.fromkeys(range(30, 36), 2.0))
        scores = (place(minded, who).users @ minded.item_emb.T)[0].double().numpy()
        others = np.setdiff1d(np.arange(len(scores)), list(who.items))
        shares.append(np.mean(others[np.argsort(-scores[others])[:20]] >= N_OF_KIND))
        loved, hated = (scores[others[(others >= N_OF_KIND) == kind]].mean() for kind in (False, True))
        gaps.append((loved - hated) / scores[others].std())
    assert shares[0] >= shares[1] >= shares[2]
    assert gaps[0] < gaps[1] < gaps[2]


def test_a_taste_of_0_still_knows_what_is_disliked(run: FinishedRun) -> None:
    """Where rates weigh titles and nothing else, a weight of 0 would make it a run that knows no rates."""
    state = {key: value for key, value in run.checkpoint["state_dict"].items() if key != "linear_liking"}
    how = run.layout.placing._replace(linear_rating=0.5)
    state["placing"] = torch.tensor(how, dtype=torch.float64)
    only = replace(run, checkpoint={**run.checkpoint, "state_dict": state}, config={**run.config, "rating_weight": 0.0})
    plain = with_taste(only, 0.0)
    assert only.uses_rates
    assert plain.uses_rates
    who, liked = by_rates(plain, {1: 9.0, 31: 2.0}), by_rates(plain, {1: 0.0, 31: 0.0})
    assert who.scores[1] < 0
    torch.testing.assert_close(place(plain, who).users, place(plain, liked).users)


@pytest.mark.parametrize("taste", [0.0, 0.8, 1.0])
def test_reasons_add_up_at_any_taste(run: FinishedRun, taste: float) -> None:
    minded = with_taste(run, taste)
    composition = explanations.of_user(explanations.sources_of(minded), 3, minded.user_emb[3])
    for item, reason in zip((1, 40), explanations.explain(composition, minded.item_emb, [1, 40]), strict=True):
        assert sum(reason.parts.values()) == pytest.approx(
            float(minded.user_emb[3] @ minded.item_emb[item]), rel=1e-5, abs=1e-4
        )


def test_a_run_without_rates_is_left_as_it_is(tmp_path: Path) -> None:
    run = taste_run(tmp_path, rating_weight=0.0)
    assert with_taste(run, 1.0) is run
