"""Lists by franchise, by niche and by variety, on titles whose scores are set by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from dataset.franchises import Franchises
from inference.shaped_lists import Entry, Has, Rules, popularity_shift, shaped
from tests.helpers.data import dataset_of

# franchise 0: titles 0, 1, 2 in order, and 3, its recap; franchise 1: 4, 5 in order; franchises 2 and 3: 6 and 7 alone
GROUPS, BEFORE = np.array([0, 0, 0, 0, 1, 1, 2, 3]), np.array([-1, 0, 1, -1, -1, 4, -1, -1])
IS_EXTRA = np.arange(8) == 3
SCORES = [1.0, 5.0, 8.0, 9.0, 3.0, 7.0, 6.0, 2.0]


def run_scoring(scores: list[float] = SCORES, counts: list[int] | None = None) -> Any:
    """Return what shaped reads of a run: a person's vector is [1, ...], a title's its score."""
    collected = np.array([1] * 8 if counts is None else counts)
    train = np.arange(collected.max())[:, None] < collected
    dataset = dataset_of(sp.csr_matrix(train.astype(np.float32)))
    vars(dataset).update(_franchises=Franchises(GROUPS, np.zeros(8, int), BEFORE, IS_EXTRA))
    return SimpleNamespace(
        dataset=dataset,
        item_emb=torch.tensor(scores)[:, None],
        item_counts=collected,
        layout=SimpleNamespace(dim=1),
        config={"seed": 0},
        share_of_new=1.0,
    )


def entries(has: Has, rules: Rules, k: int = 10, among: Any = None, run: Any = None) -> list[Entry]:
    return shaped(run_scoring() if run is None else run, torch.ones(1), k, has, among, rules)


def items(*args: Any, **kwargs: Any) -> list[int]:
    return [entry.item for entry in entries(*args, **kwargs)]


FIRST, NEW, CONTINUE, ALL = (Rules(how) for how in ("first", "new", "continue", "all"))


@pytest.mark.parametrize(
    ("has", "rules", "listed"),
    [
        # all: by score alone
        (Has(), ALL, [3, 2, 5, 6, 1, 4, 7, 0]),
        (Has(seen=[2, 6], wished=[5]), ALL, [3, 1, 4, 7, 0]),
        # first: one a franchise, the part to begin with, whose own score counts; no recap of what is not seen
        (Has(), FIRST, [6, 4, 7, 0]),
        (Has(seen=[0]), FIRST, [6, 1, 4, 7]),
        (Has(seen=[0, 1]), FIRST, [2, 6, 4, 7]),
        (Has(seen=[0, 1, 2]), FIRST, [3, 6, 4, 7]),  # the recap is what is left, and has its work
        (Has(seen=[1]), FIRST, [2, 6, 4, 7]),  # goes on from what is seen, whatever lies before that
        # a part that leads on from one that is wished for is not listed before it
        (Has(wished=[4]), FIRST, [6, 7, 0]),
        (Has(wished=[0]), FIRST, [6, 4, 7]),
        # what is dropped takes its franchise along
        (Has(seen=[0], dropped=[0]), FIRST, [6, 4, 7]),
        (Has(seen=[0, 6], dropped=[0]), ALL, [3, 2, 5, 1, 4, 7]),
        (Has(seen=[0]), NEW, [6, 4, 7]),
        (Has(seen=[0, 4, 6]), NEW, [7]),
        (Has(seen=[0, 4]), CONTINUE, [5, 1]),
        (Has(seen=[0, 4], dropped=[4]), CONTINUE, [1]),
        (Has(), CONTINUE, []),
    ],
)
def test_which_titles_are_listed(has: Has, rules: Rules, listed: list[int]) -> None:
    assert items(has, rules) == listed
    assert items(has, rules, k=2) == listed[:2]


def test_an_entry_tells_what_it_follows_and_what_more_there_is() -> None:
    assert entries(Has(seen=[0]), FIRST)[1] == Entry(1, 5.0, after=0, more=1)  # the recap is nothing more
    assert entries(Has(), FIRST)[-1] == Entry(0, 1.0, after=-1, more=2)
    assert entries(Has(seen=[4]), CONTINUE) == [Entry(5, 7.0, after=4, more=0)]


def test_filters_leave_the_earliest_part_that_passes() -> None:
    assert items(Has(), FIRST, among=np.array([1, 2, 5])) == [5, 1]


def test_titles_that_few_collected_are_left_out() -> None:
    run = run_scoring(counts=[9, 9, 9, 9, 9, 9, 2, 0])
    assert items(Has(), ALL._replace(min_collectors=3), run=run) == [3, 2, 5, 1, 4, 0]


def test_niche_moves_lists_towards_what_few_collected_and_leaves_new_titles_where_they_are() -> None:
    counts, scores = np.array([0, 1, 2, 4, 8, 16]), np.array([9.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert not popularity_shift(scores, counts, 0.5).any()
    known, hidden = popularity_shift(scores, counts, 0.0), popularity_shift(scores, counts, 1.0)
    np.testing.assert_allclose(known, -hidden)
    assert known[0] == 0
    assert (np.diff(known[1:]) > 0).all()
    assert known[1:].std() == pytest.approx(scores[1:].std())
    run = run_scoring([1.3, 1.6, 1.1, 1.8, 1.2, 1.7, 1.4, 1.5], counts=[1, 2, 3, 4, 5, 6, 7, 8])
    hidden, even, known = ([*items(Has(), ALL._replace(niche=n), k=4, run=run)] for n in (1.0, 0.5, 0.0))
    assert sum(hidden) < sum(even) < sum(known)  # a row's number is one less than its count


def test_new_titles_fill_no_more_of_a_list_than_they_may_unless_nothing_else_is_left() -> None:
    run = run_scoring(counts=[1, 1, 0, 0, 1, 0, 1, 1])  # best first: 3, 2, 5, 6, 1, 4, 7, 0
    for share, listed in ((1.0, [3, 2, 5, 6]), (0.5, [3, 2, 6, 1]), (0.25, [3, 6, 1, 4]), (0.0, [6, 1, 4, 7])):
        run.share_of_new = share
        assert items(Has(), ALL, k=4, run=run) == listed
    assert items(Has(), ALL, k=4, run=run, among=np.array([2, 3, 5])) == [3, 2, 5]
    assert items(Has(seen=[0, 1, 4]), ALL, k=4, run=run) == [6, 7, 3, 2]


def test_diversity_puts_unlike_titles_first() -> None:
    run = run_scoring([8.0, 7.9, 7.8, 7.7, -1.0, -2.0, -3.0, -9.0])
    run.item_emb = torch.cat([run.item_emb, torch.zeros(8, 1)], dim=1)
    run.item_emb[4:, 1] = run.item_emb[4:, 0]
    run.item_emb[4:, 0] = 0
    run.layout = SimpleNamespace(dim=2)
    user = torch.ones(2)
    plain = [entry.item for entry in shaped(run, user, 4, Has(), None, ALL)]
    varied = [entry.item for entry in shaped(run, user, 4, Has(), None, ALL._replace(diversity=0.5))]
    assert plain == [0, 1, 2, 3]
    assert varied[:2] == [0, 4]
    assert len(set(varied)) == 4


def test_of_titles_with_the_same_score_it_is_not_the_first_row_that_is_listed() -> None:
    assert items(Has(), ALL, run=run_scoring([1.0] * 8)) != list(range(8))
