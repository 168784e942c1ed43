"""Franchises: which titles belong together, in which order, and that held-out rows say nothing."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from config import get_config
from data_loader import Dataset, load_dataset
from dataset.franchises import Franchises, franchises_of, named_franchises
from dataset.relations import RELATIONS
from studies.franchises import checked
from tests.helpers.data import dataset_of

MAL = Path(__file__).resolve().parents[3] / "shared" / "datasets" / "mal-anime"


def titles(names: list[str], collected: dict[int, list[int]] | None = None, **more: object) -> Dataset:
    """Return data with these titles; collected: user -> titles."""
    pairs = [(user, title) for user, each in (collected or {}).items() for title in each]
    shape = (max(collected or [0]) + 1, len(names))
    train = sp.csr_matrix((np.ones(len(pairs), np.float32), tuple(zip(*pairs, strict=True)) or ([], [])), shape=shape)
    train.sort_indices()
    fields = {"item_names": names, "item_texts": [f"{name}\n" for name in names], **more}
    return dataclasses.replace(dataset_of(train), **fields)


def in_order(found: Franchises, names: list[str]) -> list[list[str]]:
    """Return the names of each franchise in its order."""
    groups = [np.flatnonzero(found.groups == group) for group in range(found.groups.max() + 1)]
    return [[names[row] for row in rows[np.argsort(found.places[rows])]] for rows in groups]


def relation(first: int, second: int, name: str) -> np.ndarray:
    return np.array([[first, second, RELATIONS.index(name)]])


# --- together ---


def test_names_of_a_work_are_a_franchise_and_others_are_not() -> None:
    names = ["Toradora!", "Toradora! OVA", "One Piece", "One Punch Man", "Monster", "Monster Musume", "Toradora! SP"]
    found = franchises_of(titles(names))
    assert found.groups.tolist() == [0, 0, 1, 2, 3, 4, 0]


def test_they_are_named_by_their_first_part_in_their_order() -> None:
    dataset = titles(
        ["Monster", "Toradora! 2nd Season", "One Piece", "Toradora!", "One Piece Film 2", "One Piece Film 1"]
    )
    assert named_franchises(dataset) == {"3": ["3", "1"], "2": ["2", "5", "4"]}


def test_any_of_a_titles_names_will_do() -> None:
    names = ["轻音少女 / K-On!", "Keion!! / K-On!!", "轻音少女 剧场版"]
    assert set(franchises_of(titles(names)).groups) == {0}


SAME = "Title\nThe wizard Merlokh and princess Ysandre of Quelthas fight the Zargoth."
OTHER = "Title\nA baseball club near Hokkaido trains until Yamaguchi returns."


@pytest.mark.parametrize(("text", "groups"), [(SAME, [0, 0]), (OTHER, [0, 1])])
def test_names_with_the_same_beginning_belong_together_where_texts_do(text: str, groups: list[int]) -> None:
    names = ["Kaizen Blue", "Kaizen Red"]
    filler = [
        f"Filler{number}\nNothing of {number} is shared in word{'abcdefghij'[number % 10]} here" for number in range(40)
    ]
    all_names = [*names, *(f"Unlike{'abcdefghijklmnopqrstuvwxyz'[number % 26]}{number}" for number in range(40))]
    found = franchises_of(titles(all_names, item_texts=[SAME, text, *filler]))
    assert found.groups[:2].tolist() == groups


@pytest.mark.parametrize(("collectors", "groups"), [([0, 1], [0, 0]), ([1], [0, 1])])
def test_names_with_the_same_beginning_belong_together_where_collectors_do(
    collectors: list[int], groups: list[int]
) -> None:
    collected = {user: collectors if user < 30 else [0, 2] if user % 9 == 0 else [2] for user in range(400)}
    found = franchises_of(titles(["Hetalia", "Hetalia World", "Naruto"], collected))
    assert found.groups[:2].tolist() == groups


def test_relations_join_what_names_do_not() -> None:
    names = ["Bakemonogatari", "Nisemonogatari", "Clannad"]
    found = franchises_of(titles(names, relations=relation(1, 0, "prequel")))
    assert found.groups.tolist() == [0, 0, 1]
    assert found.before.tolist() == [-1, 0, -1]


def test_a_guest_makes_no_franchise_and_a_summary_is_an_extra() -> None:
    names = ["Clannad", "Kanon", "Kanon of Winter", "Kanon in Brief"]
    found = franchises_of(titles(names, relations=np.concatenate([relation(0, 1, "other"), relation(1, 3, "summary")])))
    assert found.groups[0] != found.groups[1] == found.groups[3]
    assert found.is_extra.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("second", "relations", "groups"),
    [
        ("Kaizen Red", relation(1, 0, "other"), [0, 0]),
        ("Kaizen Red", relation(0, 2, "other"), [0, 1]),
        ("Monster", relation(1, 0, "other"), [0, 1]),
    ],
)
def test_a_relation_of_no_stated_kind_speaks_for_names_with_words_in_common(
    second: str, relations: np.ndarray, groups: list[int]
) -> None:
    collected = {user: [0, 1] if user < 15 else [1] if user < 30 else [0] if user < 60 else [2] for user in range(400)}
    found = franchises_of(titles(["Kaizen Blue", second, "Naruto"], collected, relations=relations))
    assert found.groups[:2].tolist() == groups


# --- in order ---


def test_an_order_by_names() -> None:
    names = [
        "Nodame Cantabile Finale",
        "Nodame Cantabile Special",
        "Nodame Cantabile 2nd Season",
        "Nodame Cantabile",
        "Nodame Cantabile Finale Special",
    ]
    found = franchises_of(titles(names))
    assert in_order(found, names) == [[names[row] for row in (3, 1, 2, 0, 4)]]
    assert found.before.tolist() == [2, 3, 3, -1, 0]
    assert found.is_extra.tolist() == [False, True, False, False, True]


def test_films_follow_their_numbers_and_the_work() -> None:
    names = ["Doraemon Movie 02: B", "Doraemon Movie 10: C", "Doraemon", "Doraemon Movie 01: Z"]
    found = franchises_of(titles(names, {0: [0, 1], 1: [0, 1]}))
    assert in_order(found, names) == [[names[row] for row in (2, 3, 0, 1)]]
    assert found.before.tolist() == [3, 0, -1, 2]


def test_a_film_comes_after_the_seasons_that_are_more_popular() -> None:
    names = ["Psycho Pass Movie", "Psycho Pass 2", "Psycho Pass 3", "Psycho Pass"]
    collected = {0: [0, 1, 3], 1: [1, 3], 2: [3], 3: [0, 1]}
    found = franchises_of(titles(names, collected))
    assert in_order(found, names) == [[names[row] for row in (3, 1, 0, 2)]]


def test_years_count_more_than_popularity_and_relations_more_than_both() -> None:
    names = ["Rozen Maiden: Traumend", "Rozen Maiden: Ouverture", "Rozen Maiden"]
    collected = {0: [0, 1, 2], 1: [1, 2]}
    assert in_order(franchises_of(titles(names, collected)), names)[0] == [names[row] for row in (2, 1, 0)]
    years = {"item_years": [2005, 2006, 2004]}
    assert in_order(franchises_of(titles(names, collected, **years)), names)[0] == [names[row] for row in (2, 0, 1)]
    more = {**years, "relations": relation(1, 0, "sequel")}
    assert in_order(franchises_of(titles(names, collected, **more)), names)[0] == [names[row] for row in (2, 1, 0)]


def test_a_work_that_merely_shares_a_world_has_nothing_before_it() -> None:
    works = ["Fate/Zero", "Fate/stay night", "Naruto", "Naruto Shippuuden"]
    names = [*works, "Fate/stay night 2", "Fate/stay night Movie"]
    alike = np.concatenate([relation(0, 1, "alternative"), relation(2, 3, "alternative")])
    found = franchises_of(titles(names, {0: [0, 1, 2]}, relations=alike))
    assert found.groups.tolist() == [0, 0, 1, 1, 0, 0]
    # what begins with the name of a work goes on from it
    assert found.before.tolist() == [-1, -1, -1, 2, 1, 1]
    sequel = np.concatenate([alike, relation(0, 1, "sequel")])
    assert franchises_of(titles(names, {0: [0, 1, 2]}, relations=sequel)).before[:2].tolist() == [-1, 0]


def test_what_most_collected_first_comes_first() -> None:
    names = ["Aria: Second", "Aria: First"]
    collected = {0: [0, 1], 1: [0, 1], 2: [0, 1], 3: [0]}
    times = np.array([5, 1, 9, 2, 3, 4, 1], float)  # two of three had the second one first
    found = franchises_of(titles(names, collected, times=times))
    assert in_order(found, names) == [["Aria: First", "Aria: Second"]]


def test_a_season_may_stand_in_any_name_of_a_title() -> None:
    names = ["轻音少女 / K-On! 2nd Season", "轻音少女 / K-On!"]
    assert in_order(franchises_of(titles(names, {0: [0]})), names) == [names[::-1]]


def test_relations_in_a_circle_still_give_an_order() -> None:
    names = ["A One", "B Two", "C Three"]
    circle = np.concatenate([relation(a, (a + 1) % 3, "sequel") for a in range(3)])
    found = franchises_of(titles(names, {0: [2]}, relations=circle))
    assert sorted(found.places.tolist()) == [0, 1, 2]
    assert in_order(found, names)[0][0] == "C Three"


def test_extras_alone_are_no_extras() -> None:
    assert not franchises_of(titles(["Tokyo Special", "Kanon"])).is_extra.any()


# --- what it rests on ---


def test_no_pair_but_of_train_counts() -> None:
    names = ["Hetalia", "Hetalia World", "Naruto"]
    collected = {user: [0] if user < 30 else [2] for user in range(400)}
    plain = titles(names, collected)
    held = sp.csr_matrix((np.ones(30, np.float32), (np.arange(30), np.ones(30, int))), shape=plain.train.shape)
    together = franchises_of(dataclasses.replace(plain, train=plain.train + held, seen=plain.seen + held)).groups
    assert together[0] == together[1]
    for part in ("valid", "test", "cold_valid", "cold_test", "excluded"):
        other = franchises_of(dataclasses.replace(plain, **{part: held}, seen=plain.seen + held))
        for ours, theirs in zip(other, franchises_of(plain), strict=True):
            assert np.array_equal(ours, theirs), part


NAMES = st.lists(
    st.sampled_from(
        [
            f"{work}{part}"
            for work in ("Alpha Beta", "Alpha Gamma", "Delta", "銀魂")
            for part in ("", " 2", " OVA", ": X")
        ]
        + ["Alpha Beta Movie 1: A", "Alpha Beta Movie 2: B", "劇場版 銀魂", "Zoku Delta", "Delta / Alpha Gamma"]
    ),
    min_size=2,
    max_size=12,
    unique=True,
)


@given(NAMES, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(names: list[str], random: object) -> None:
    collected = {user: [title for title in range(len(names)) if (user + title) % 3] for user in range(7)}
    order = random.sample(range(len(names)), len(names))
    place = np.argsort(order)
    texts = [f"{name}\nword{len(name)} other{len(name) % 3}" for name in names]
    first = franchises_of(titles(names, collected, item_texts=texts))
    again = franchises_of(
        titles(
            [names[row] for row in order],
            {user: [int(place[title]) for title in each] for user, each in collected.items()},
            item_texts=[texts[row] for row in order],
        )
    )
    assert {frozenset(each) for each in in_order(first, names)} == {
        frozenset(each) for each in in_order(again, [names[row] for row in order])
    }
    assert np.array_equal(first.places[order], again.places)
    assert np.array_equal(first.is_extra[order], again.is_extra)
    assert np.array_equal(np.where(first.before[order] < 0, -1, place[first.before[order]]), again.before)


def test_places_number_every_franchise_and_before_comes_before(dataset: Dataset) -> None:
    found = franchises_of(dataset)
    assert franchises_of(dataset) is found
    for group in range(found.groups.max() + 1):
        rows = np.flatnonzero(found.groups == group)
        assert sorted(found.places[rows]) == list(range(len(rows)))
        for row in rows:
            before = found.before[row]
            assert before < 0 or found.places[row] > 0
            assert before < 0 or found.groups[before] == group and found.places[before] < found.places[row]


@pytest.mark.slow
@pytest.mark.skipif(not MAL.is_dir(), reason="shared/datasets/mal-anime is not here")
def test_real_pairs_are_together_and_in_order() -> None:
    dataset = load_dataset(get_config({"data_dir": str(MAL), "split": "random"}))
    found, row = franchises_of(dataset), {raw: row for row, raw in enumerate(dataset.raw_item_ids)}
    with (MAL / "franchise_pairs.tsv").open(encoding="utf-8", newline="") as file:
        pairs = np.array([[row[line["before"]], row[line["after"]]] for line in csv.DictReader(file, delimiter="\t")])
    together, ordered = checked(found, pairs)
    assert together.mean() > 0.95
    assert ordered.sum() / together.sum() > 0.95
    group = {name: found.groups[row] for row, name in enumerate(dataset.item_names)}
    assert group["One Punch Man"] != group["One Piece Film: Z"]
    assert group["Mahou Shoujo Madoka★Magica"] != group["Mahou Shoujo Lyrical Nanoha"]
    assert group["Bakemonogatari"] == group["Nekomonogatari: Kuro"]
    assert np.bincount(found.groups).max() < 100
