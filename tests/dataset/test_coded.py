"""Columns that come in chunks, compared with the whole column."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset.coded import Coded, Times
from dataset.times import Unknown, read_times
from tests.properties.inputs import NASTY

CELLS = (
    *NASTY,
    " 1577836800 ",
    "1577836800.25",
    "1577836800000",
    "20210815",
    "202108151030",
    "20210815103000",
    "2021",
    "3",
    "17",
    "03/04/2021",
    "13/04/2021",
    "04/13/2021",
    "2021-08-15 10:00:00+09:00",
    " 2021-08-15",
    "2024-03-00",
    "1971-05-01",
    "Apr 3, 1998",
    "soon",
)
columns = st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=6), min_size=1, max_size=5)


def chunks_of(column: list[list[str]]) -> list[np.ndarray]:
    return [np.array(chunk, object) for chunk in column]


@given(column=columns)
def test_codes_are_the_stripped_texts(column: list[list[str]]) -> None:
    coded = Coded()
    for chunk in chunks_of(column):
        coded.add(chunk)
    assert coded.column().tolist() == [cell.strip() for chunk in column for cell in chunk]


@given(column=columns)
def test_times_in_chunks_are_those_of_the_whole_column(column: list[list[str]]) -> None:
    times, unknown = Times(), Unknown()
    for chunk in chunks_of(column):
        times.add(chunk)
    found, n_unknown, sentences = times.column()
    cells = pd.Series([cell for chunk in column for cell in chunk], dtype=object).str.strip()
    wanted = read_times(cells).seconds
    assert np.array_equal(found, wanted, equal_nan=True), cells.tolist()
    unknown.add(cells, wanted)
    assert sentences == unknown.sentences()
    assert n_unknown == int((np.isnan(wanted) & (cells != "")).sum())


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        ([["03/04/2021"], ["13/04/2021"]], "2021-04-03"),  # a later chunk says that the day is first
        ([["04/03/2021"], ["04/13/2021"]], "2021-04-03"),
        ([["2021"], ["1", "2"]], None),  # mostly small numbers: an order
        ([["2021"], ["1577836800"]], "2021-01-01"),
    ],
)
def test_what_only_the_whole_column_tells(column: list[list[str]], wanted: str | None) -> None:
    times = Times()
    for chunk in chunks_of(column):
        times.add(chunk)
    seconds = np.datetime64(wanted, "s").astype(float) if wanted else float(column[0][0])
    assert times.column()[0][0] == seconds
