"""People outside a run: that their rates and dates count as those of the run's own users do."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dataset.ratings import DISLIKED, DROPPED
from dataset.recency import ages
from inference import people
from inference.explanations import against, explain, of_new_user, of_user, readable, sources_of
from inference.finished_run import FinishedRun
from inference.fold_in import mean_ages, place_users
from inference.lists import list_titles
from inference.lookup import rated_titles
from inference.people import Person, by_rates, on_the_scale, person, place, scores_of, top_of
from inference.user_list import match_user_list
from tests.helpers.tastes import N_OF_KIND, taste_run

ONE, OTHER = range(8), range(N_OF_KIND, N_OF_KIND + 8)


@pytest.fixture(scope="module", params=[0.0, 10.0], ids=["fitted", "by age"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedRun]:
    """A run that knows rates; in the second one users' trained columns are placed by the age of their titles."""
    found = taste_run(tmp_path_factory.mktemp("tastes"), recency=request.param)
    assert found.uses_rates
    assert found.layout.liking is not None
    return found


@pytest.fixture(scope="module")
def without_rates(run: FinishedRun) -> FinishedRun:
    """The same run, as if no rates had been used."""
    state = {key: part for key, part in run.checkpoint["state_dict"].items() if key not in ("linear_liking", "placing")}
    bare = {**run.checkpoint, "state_dict": state}
    found = replace(run, checkpoint=bare, config={**run.config, "rating_weight": 0.0})
    assert not found.uses_rates
    return found


def listed(run: FinishedRun, who: Person, k: int = 20) -> list[str]:
    titles = list_titles(run, place(run, who).users[0], k, [*who.items, *who.left_out])
    return [title["subject_id"] for title in titles]


def rows_of(*rows: tuple[str, str, float, str]) -> pd.DataFrame:
    """Return what importers.read_export does: subject_id, status, rate and updated_at."""
    return pd.DataFrame(rows, columns=["subject_id", "status", "rate", "updated_at"]).assign(name="")


def rated(high: range, low: range) -> dict[int, float]:
    return {**dict.fromkeys(high, 9.0), **dict.fromkeys(low, 2.0)}


# --- what rates do ---


def test_the_same_titles_with_inverted_rates_give_another_list(run: FinishedRun) -> None:
    first, other = (listed(run, by_rates(run, rated(*sides))) for sides in ((ONE, OTHER), (OTHER, ONE)))
    assert len({*first} & {*other}) <= 10
    assert sum(int(raw[1:]) < N_OF_KIND for raw in first) >= 15
    assert sum(int(raw[1:]) >= N_OF_KIND for raw in other) >= 15


def test_a_disliked_title_lowers_what_is_like_it(run: FinishedRun) -> None:
    liked = [*ONE, *OTHER]
    without, with_it, loved = (
        place(run, person(run, [*liked, *([50] if score else [])], [1.0] * 16 + [score] * bool(score))).users[0]
        for score in (0.0, DROPPED, 1.0)
    )
    of_its_kind = [item for item in range(N_OF_KIND, 2 * N_OF_KIND) if item not in (*liked, 50)]
    others = [item for item in range(N_OF_KIND) if item not in liked]

    def lead(user: torch.Tensor) -> float:
        return float((run.item_emb[of_its_kind] @ user).mean() - (run.item_emb[others] @ user).mean())

    assert lead(with_it) < lead(without) - 0.01
    assert lead(with_it) < lead(loved) - 0.01


def test_where_no_score_is_given_the_vectors_are_those_of_ones(run: FinishedRun) -> None:
    pairs = run.dataset.train[:5]
    bare, zeros = place_users(run, pairs), place_users(run, pairs, np.zeros(pairs.nnz, np.float32))
    assert torch.equal(bare.users, zeros.users)
    assert (bare.weights != zeros.weights).nnz == 0


def test_a_title_that_counts_nothing_is_as_if_not_collected_in_the_trained_columns(run: FinishedRun) -> None:
    dim = run.layout.dim
    both, one = (place(run, person(run, items, scores)) for items, scores in (([1, 2], [0.5, -2.0]), ([1], [0.5])))
    none = place(run, person(run, [2], [-2.0]))
    assert both.weights.nnz == one.weights.nnz == 1
    assert both.linear.collected.nnz == 2
    if run.layout.placing.recency:
        torch.testing.assert_close(both.users[:, :dim], one.users[:, :dim])
    assert not none.users[:, :dim].any()
    assert torch.isfinite(none.users).all()


def test_users_of_the_run_are_placed_by_their_rates_and_dates_just_so(run: FinishedRun) -> None:
    """Where columns follow from what is collected, a person with a user's titles has the user's columns."""
    dataset, dim = run.dataset, run.layout.dim
    pairs = dataset.known_before("test" if run.layout.placing.by_time else "valid")
    found = place_users(run, pairs, dataset.scores_of(pairs), dataset.ages_of(pairs)).users
    start = 0 if run.layout.placing.recency else dim
    torch.testing.assert_close(found[:, start:], run.user_emb[:, start:], rtol=1e-4, atol=1e-4)


# --- reasons ---


def test_the_reasons_of_people_sum_to_the_score_whatever_they_rated(run: FinishedRun) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        items = rng.choice(60, 12, replace=False)
        who = person(run, items, rng.choice([-2.5, -1.5, -0.4, 0.0, 0.3, 1.0, 2.5], 12), rng.random(12).round(1))
        user = place(run, who)
        scores = (run.item_emb.double() @ user.users[0].double()).tolist()
        for reason, score in zip(
            explain(of_new_user(user, run.item_emb, run.layout), run.item_emb, list(range(60))), scores, strict=True
        ):
            assert sum(reason.parts.values()) == pytest.approx(score, abs=1e-4)
            assert sorted(reason.titles.tolist()) == sorted(items.tolist())
            by_title = reason.parts["history"] + reason.parts["linear"]
            assert reason.contributions.sum() == pytest.approx(by_title, abs=1e-9)


def test_the_reasons_of_users_of_the_run_sum_to_the_score(run: FinishedRun) -> None:
    known, pairs = sources_of(run), run.dataset.known_before("test" if run.layout.placing.by_time else "valid")
    for user in range(0, 120, 11):
        apart = of_user(known, user, run.user_emb[user])
        np.testing.assert_allclose(apart.scores, run.dataset.scores_of(pairs)[slice(*pairs.indptr[user : user + 2])])
        scores = (run.item_emb.double() @ run.user_emb[user].double()).tolist()
        for reason, score in zip(explain(apart, run.item_emb, list(range(60))), scores, strict=True):
            assert sum(reason.parts.values()) == pytest.approx(score, abs=1e-4)
            assert set(reason.titles) == set(pairs[[user]].indices)


def test_what_is_disliked_speaks_against_and_is_never_a_reason(run: FinishedRun) -> None:
    who = by_rates(run, rated(ONE, OTHER))
    user = place(run, who)
    apart = of_new_user(user, run.item_emb, run.layout)
    told = 0
    for reason in explain(apart, run.item_emb, list(range(60))):
        because, despite = readable(reason, run.dataset), against(reason, run.dataset)
        assert {title["subject_id"] for title in because} <= {f"s{item}" for item in ONE}
        assert {title["subject_id"] for title in despite} <= {f"s{item}" for item in OTHER}
        shares = [title["share"] for title in despite]
        assert shares == sorted(shares, reverse=True)
        assert all(share > 0.05 for share in shares)
        told += bool(despite)
    assert told


# --- runs without rates ---


def test_without_rates_in_the_run_scores_only_leave_out(without_rates: FinishedRun) -> None:
    who = person(without_rates, [3, 1, 2], [1.0, DROPPED, -0.5], left_out=[9])
    assert who == Person((2, 3), (0.0, 0.0), None, (1, 9))
    bare = by_rates(replace(without_rates, config={**without_rates.config, "min_rate": 5.0}), {1: 4.0, 2: 5.0, 3: 0.0})
    assert (bare.items, bare.left_out) == ((2, 3), (1,))


# --- an exported list ---


def test_a_list_tells_how_much_each_title_was_liked_and_when(run: FinishedRun) -> None:
    found = match_user_list(
        run,
        rows_of(
            ("s1", "done", 9, "2020-03-01"),
            ("s2", "done", 3, "2020-01-01"),
            ("s3", "wish", 0, "2021-01-01"),
            ("s4", "dropped", 9, "2020-02-01"),
            ("s5", "", 0, ""),
            ("s6", "doing", 6, "2020-03-01"),
            ("s1", "done", 2, "2019-01-01"),  # what it was before
            ("zz", "done", 9, "2020-01-01"),
        ),
        "mal-xml",
    )
    who = found.person
    assert (who.items, who.left_out) == ((1, 2, 4, 5, 6), (3,))
    scores = dict(zip(who.items, who.scores, strict=True))
    assert scores[1] > 0 > scores[2]
    assert scores[2] <= DISLIKED
    assert (scores[4], scores[5]) == (DROPPED, 0)
    assert who.ages == (0.5, 3.0, 2.0, 4.0, 0.5)
    assert sum(found.tastes.values()) == 5
    assert (found.tastes["disliked"], found.tastes["unrated"]) == (2, 1)
    assert found.n_known == 7
    assert set(found.times) == {1, 2, 4, 6}


def test_a_list_without_dates_has_no_order(run: FinishedRun) -> None:
    found = match_user_list(run, rows_of(("s1", "", 9, ""), ("s2", "", 9, "")))
    assert found.person.ages is None
    assert person(run, [1, 2], times=[5.0, 5.0]).ages is None
    assert person(run, [1, 2], times=[5.0, np.nan]).ages == (0.0, 1.0)
    assert person(run, [2, 1], times=[7.0, 5.0]) == person(run, [1, 2], times=[5.0, 7.0])


def test_titles_without_dates_count_alike_and_together_as_much_as_dated_ones(run: FinishedRun) -> None:
    pairs = run.dataset.train[:3]
    alike, half_life = mean_ages(pairs, 4.0), 4.0
    ordered = ages(pairs, np.arange(pairs.nnz, dtype=float))
    for user in range(3):
        mine = slice(*pairs.indptr[user : user + 2])
        assert np.ptp(alike[mine]) == 0
        assert np.exp2(-alike[mine] / half_life).sum() == pytest.approx(np.exp2(-ordered[mine] / half_life).sum())


def test_the_newest_title_counts_the_most_where_age_counts(run: FinishedRun) -> None:
    if not run.layout.placing.recency:
        pytest.skip("age counts nothing in this run")
    old, new = (place(run, person(run, [1, 40], times=times)).weights.toarray()[0] for times in ([1, 2], [2, 1]))
    assert old[40] / old[1] == pytest.approx(2 ** (2 / 10) * new[40] / new[1], rel=1e-4)


# --- scales ---


@pytest.mark.parametrize(
    ("rates", "top"), [([5.0, 3.0], 5), ([4.5], 5), ([6.0], 10), ([10.0, 1.0], 10), ([11.0], 100), ([250.0], 250)]
)
def test_the_scale_of_rates_is_told_by_the_largest(rates: list[float], top: float) -> None:
    assert top_of(np.array(rates)) == top


def test_rates_on_another_scale_are_brought_to_that_of_the_data(run: FinishedRun) -> None:
    stars = [("s1", "done", 5.0, ""), ("s2", "done", 1.0, ""), ("s3", "done", 3.0, "")]
    of_ten = [(raw, status, 2 * rate, date) for raw, status, rate, date in stars]
    of_hundred = [(raw, status, 20 * rate, date) for raw, status, rate, date in stars]
    ten = match_user_list(run, rows_of(*of_ten), "mal-xml").person
    assert match_user_list(run, rows_of(*stars), "movielens").person == ten
    assert match_user_list(run, rows_of(*stars), "pairs").person == ten
    assert match_user_list(run, rows_of(*of_hundred), "pairs").person == ten
    harsh = match_user_list(run, rows_of(*stars), "bangumi-collections").person
    assert max(harsh.scores) < max(ten.scores)  # 5 of 10, as the importer knows
    np.testing.assert_array_equal(on_the_scale(run, np.array([0.0, 5.0]), 5.0), [0, 10])


def test_scores_are_drawn_towards_the_catalogue(run: FinishedRun) -> None:
    """A single high rate is praise by what others give."""
    assert scores_of(run, np.array([10.0]))[0] > 0.5
    assert scores_of(run, np.array([1.0]))[0] < DISLIKED
    assert scores_of(run, np.array([0.0, 9.0, 9.0])).tolist() == [0, 0, 0]  # who gives the same to all praises none


# --- rates that are typed ---


@pytest.fixture
def named(run: FinishedRun) -> FinishedRun:
    names = list(run.dataset.item_names)
    names[0], names[1], names[2], names[3], names[4] = "Naruto", "Season: 2", "K-On!", "Re: Zero: 9", "Re: Zero"
    return replace(run, dataset=replace(run.dataset, item_names=names))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Naruto:9,K-On!:3", {0: 9, 2: 3}),
        ("Naruto, K-On!: 3.5", {0: 0, 2: 3.5}),
        ("Season: 2", {1: 0}),
        ("season 2:8", {1: 8}),
        ("Re: Zero: 9", {3: 0}),
        ("Re: Zero: 8", {4: 8}),
        ("Re: Zero: 9: 4", {3: 4}),
        ("s5:7", {5: 7}),
        ("naru:7", {0: 7}),
        ('"K-On!:10"', {2: 10}),
    ],
)
def test_a_number_behind_the_last_colon_is_a_rate_unless_the_whole_is_a_title(
    named: FinishedRun, text: str, found: dict[int, float]
) -> None:
    assert rated_titles(named, text) == (found, [])


def test_of_a_name_that_is_none_the_name_is_told(named: FinishedRun) -> None:
    rated, [refused] = rated_titles(named, "Nraruto:9,K-On!")
    assert rated == {2: 0}
    assert refused.startswith("there is no title 'Nraruto' in this run; the nearest are Naruto")


def test_typed_rates_are_on_the_scale_of_the_data_or_above_it(run: FinishedRun) -> None:
    assert by_rates(run, {1: 5.0, 2: 1.0}).scores[0] < by_rates(run, {1: 10.0, 2: 2.0}).scores[0]
    assert by_rates(run, {1: 100.0, 2: 20.0}) == by_rates(run, {1: 10.0, 2: 2.0})
    assert people.are_disliked(by_rates(run, {1: 1.0}).scores)
