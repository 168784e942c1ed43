"""Any data folder is a Dataset whose invariants hold, or one sentence that names a file."""

import csv
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import get_config
from data_loader import Dataset, load_dataset
from dataset.given import CODES
from dataset.readers import ANIME_COLUMNS, INTERACTION_COLUMNS
from dataset.splits import NOTHING_LEFT, PARTS
from dataset.tags import NOTHING, parse_tags
from dataset.times import parse_times
from inference.export_split import write_split
from tests.properties.inputs import assert_a_sentence, cells, damaged, folder, ids, put, written

FILES = ("anime.tsv", "interactions.tsv", "user.tsv", "train.txt", "valid.txt", "test.txt")
DRAWN = ("user_time", "leave_one_out", "random", "global_time")
PART_CELLS = st.sampled_from((*["train"] * 4, *CODES, "tset"))
CONFIG = get_config({})
RATES = st.sampled_from(("", "0", "1", "5", "10", "7.5", " 3 ", "1e1", "00"))
TAGS = st.sampled_from(("", "a", "a,b", '["a", "b"]', "['x', 'y\"']", "[1, 2]", "名、b", "a|a", " ; a"))
SETTINGS = st.fixed_dictionaries(
    {
        "split": st.sampled_from(("auto", "given", "user_time", "leave_one_out", "random", "global_time")),
        "min_rate": st.sampled_from((0.0, 1.0, 5.0)),
        "cold_item_ratio": st.sampled_from((0.0, 0.0, 0.3, 0.99)),
        "valid_ratio": st.sampled_from((0.0, 0.1, 0.5)),
        "test_ratio": st.sampled_from((0.1, 0.4)),
        "train_rows_per_user": st.sampled_from((0, 0, 1)),
        "refit": st.booleans(),
    }
)


def loaded(home: Path, settings: dict[str, Any]) -> Dataset | None:
    """Load a folder; None for a sentence."""
    try:
        dataset = load_dataset({**CONFIG, "data_dir": str(home), **settings})
    except (ValueError, OSError) as error:
        assert_a_sentence(error, *FILES, NOTHING_LEFT, str(home))
        return None
    assert_invariants(dataset)
    return dataset


def assert_invariants(dataset: Dataset) -> None:
    """Check what a Dataset does not check of itself on construction."""
    for raw in (dataset.raw_user_ids, dataset.raw_item_ids):
        assert len(set(raw)) == len(raw)
        assert all(isinstance(one, str) and one and one == one.strip() for one in raw)
    texts = (dataset.item_names, dataset.item_texts, dataset.item_tags)
    assert [len(part) for part in texts] == [dataset.n_items] * 3
    assert all(isinstance(text, str) for part in (*texts, dataset.user_names) for text in part)
    assert len(dataset.user_names) == dataset.n_users
    assert dataset.train.nnz
    assert sum(getattr(dataset, part).nnz for part in (*PARTS, "excluded")) <= dataset.seen.nnz
    wrote = dataset.user_comments
    assert len(wrote.user_ids) == len(wrote.texts) == len(wrote.weights) <= dataset.train.nnz
    assert np.isfinite(wrote.weights).all()
    assert not len(wrote.user_ids) or wrote.user_ids.max() < dataset.n_users
    assert dataset.item_years == [] or len(dataset.item_years) == dataset.n_items


def written_plainly(columns: tuple[str, ...], rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue().encode("utf-8", "surrogatepass")


def rows_of(*columns: st.SearchStrategy[str], most: int) -> st.SearchStrategy[list[list[str]]]:
    return st.lists(st.tuples(*columns).map(list), min_size=1, max_size=most)


# cells as they should be, and now and then any
anime_rows = st.one_of(*[rows_of(ids, cells, TAGS, cells, most=6)] * 8, rows_of(cells, cells, cells, cells, most=6))
interaction_rows = st.one_of(
    *[rows_of(ids, ids, RATES, cells, cells, most=12)] * 8, rows_of(cells, ids, cells, cells, cells, most=12)
)


@pytest.mark.slow
@given(anime=anime_rows, rows=interaction_rows, settings=SETTINGS, data=st.data())
def test_whole_tables_keep_every_id(
    anime: list[list[str]], rows: list[list[str]], settings: dict[str, Any], data: st.DataObject
) -> None:
    """Cells of any kind, written as they must be: what is in them is what arrives."""
    with folder() as home:
        some = data.draw(st.sampled_from((True, True, True, False)))
        rows = [[row[0], anime[n % len(anime)][0] if some else row[1], *row[2:]] for n, row in enumerate(rows)]
        put(home / "anime.tsv", data.draw(written(ANIME_COLUMNS, anime)), data.draw(st.booleans()))
        put(home / "interactions.tsv", data.draw(written(INTERACTION_COLUMNS, rows)), data.draw(st.booleans()))
        dataset = loaded(home, settings)
    if dataset is None:
        return
    titles = list(dict.fromkeys(row[0].strip() for row in anime))
    assert dataset.raw_item_ids == titles
    known = [(row[0].strip(), row[1].strip()) for row in rows if row[1].strip() in titles]
    assert set(dataset.raw_user_ids) == {user for user, _ in known}
    seen = {
        (dataset.raw_user_ids[user], dataset.raw_item_ids[item]) for user, item in np.argwhere(dataset.seen.toarray())
    }
    assert seen == set(known)


@pytest.mark.slow
@given(anime=anime_rows, rows=interaction_rows, settings=SETTINGS, split=st.sampled_from(DRAWN), data=st.data())
def test_a_drawn_split_given_back_is_the_same_dataset(
    anime: list[list[str]], rows: list[list[str]], settings: dict[str, Any], split: str, data: st.DataObject
) -> None:
    """Whatever the split, the export of a run is loaded as the same dataset, without drawing anything."""
    with folder() as home:
        rows = [[row[0], anime[n % len(anime)][0], *row[2:]] for n, row in enumerate(rows)]
        put(home / "anime.tsv", data.draw(written(ANIME_COLUMNS, anime)), data.draw(st.booleans()))
        put(home / "interactions.tsv", data.draw(written(INTERACTION_COLUMNS, rows)), data.draw(st.booleans()))
        drawn = loaded(home, {**settings, "split": split})
        if drawn is None:
            return
        config = {**CONFIG, **settings, "data_dir": str(home)}
        write_split(SimpleNamespace(dataset=drawn, config=config), home / "out")
        ratio = {} if drawn.valid.nnz else {"valid_ratio": 0.0}
        given_back = load_dataset({**CONFIG, **ratio, "data_dir": str(home / "out")})
    assert given_back.fingerprint == drawn.fingerprint
    for part in (*PARTS, "excluded", "seen"):
        assert (getattr(given_back, part) != getattr(drawn, part)).nnz == 0, part
    assert given_back.item_texts == drawn.item_texts
    assert given_back.user_comments.texts == drawn.user_comments.texts
    assert np.array_equal(given_back.user_comments.weights, drawn.user_comments.weights)


@pytest.mark.slow
@given(
    anime=anime_rows,
    rows=st.lists(st.tuples(ids, st.integers(0, 5), PART_CELLS), min_size=1, max_size=12),
    settings=SETTINGS,
)
def test_any_parts(anime: list[list[str]], rows: list[tuple[str, int, str]], settings: dict[str, Any]) -> None:
    """Parts at random: every row is where it says, or a sentence."""
    with folder() as home:
        put(home / "anime.tsv", written_plainly(ANIME_COLUMNS, anime), False)
        table = [[user, anime[title % len(anime)][0], "", "", "", part] for user, title, part in rows]
        put(home / "interactions.tsv", written_plainly((*INTERACTION_COLUMNS, "part"), table), False)
        dataset = loaded(home, {**settings, "refit": False, "train_rows_per_user": 0, "valid_ratio": 0.0})
    if dataset is None or dataset.facts["split"] != "given":
        return
    places = {name: np.argwhere(getattr(dataset, name).toarray()).tolist() for name in (*PARTS, "excluded")}
    found = {(dataset.raw_user_ids[u], dataset.raw_item_ids[i]): name for name in places for u, i in places[name]}
    asked = {(row[0].strip(), row[1].strip()): row[5].replace("aside", "excluded") for row in table if row[5]}
    assert found == asked


@pytest.mark.slow
@given(anime=anime_rows, rows=interaction_rows, settings=SETTINGS, data=st.data())
def test_damaged_tables(
    anime: list[list[str]], rows: list[list[str]], settings: dict[str, Any], data: st.DataObject
) -> None:
    with folder() as home:
        for name, columns, content in (
            ("anime.tsv", ANIME_COLUMNS, anime),
            (
                "interactions.tsv",
                INTERACTION_COLUMNS,
                [[row[0], anime[n % len(anime)][0], *row[2:]] for n, row in enumerate(rows)],
            ),
            ("user.tsv", ("user_id", "username"), [row[:2] for row in rows]),
        ):
            if name != "user.tsv" or data.draw(st.booleans()):
                put(home / name, data.draw(damaged(data.draw(written(columns, content)), 2)), data.draw(st.booleans()))
        loaded(home, settings)


@pytest.mark.slow
@given(
    train=st.lists(st.lists(ids, max_size=5), max_size=6),
    test=st.lists(st.lists(ids, max_size=4), max_size=4),
    valid=st.none() | st.lists(st.lists(ids, max_size=3), max_size=3),
    settings=SETTINGS,
    data=st.data(),
)
def test_text_files_of_pairs(
    train: list[list[str]],
    test: list[list[str]],
    valid: list[list[str]] | None,
    settings: dict[str, Any],
    data: st.DataObject,
) -> None:
    with folder() as home:
        for name, lines in (("train.txt", train), ("valid.txt", valid), ("test.txt", test)):
            if lines is None:
                continue
            content = (
                data.draw(st.sampled_from(("\n", "\r\n", "\r")))
                .join(data.draw(st.sampled_from((" ", "\t", "  "))).join(words) for words in lines)
                .encode()
            )
            put(home / name, data.draw(damaged(content, 1)), data.draw(st.booleans()))
        loaded(home, {**settings, "cold_item_ratio": 0.0})


@given(cell=st.one_of(cells, st.text(st.sampled_from("[]{}()\"'\\,-+ abu01#\n"), max_size=12)))
def test_tags(cell: str) -> None:
    try:
        tags = parse_tags(cell)
    except ValueError as error:
        assert_a_sentence(error, "no tag can be read")
        return
    assert all(isinstance(tag, str) and tag == tag.strip() and tag for tag in tags)
    assert bool(tags) or cell.casefold() in NOTHING or cell.lstrip()[:1] in tuple("[{(\"'alstnf")


@given(column=st.lists(st.one_of(cells, st.datetimes().map(str), st.floats().map(str)), max_size=5))
def test_times(column: list[str]) -> None:
    seconds, unparsable = parse_times(pd.Series(column, dtype=object))
    assert len(seconds) == len(column)
    assert not np.isinf(seconds).any()
    assert unparsable == sum(cell != "" for cell in column) - int(seconds.notna().sum())
