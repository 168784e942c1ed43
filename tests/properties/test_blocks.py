"""Tables that are checked and parsed in blocks, compared with the csv module on the whole file."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset import tables
from dataset.readers import KNOWN_COLUMNS
from dataset.tables import read_table
from tests.properties.inputs import cells, damaged, folder, ids, written

NAME, COLUMNS = "known.tsv", KNOWN_COLUMNS[:2]
rows_of_cells = st.lists(st.tuples(ids, ids, cells, cells).map(list), min_size=1, max_size=12)


def whole(content: bytes) -> list[list[str]] | int:
    """Read the columns as the csv module does, or return the line of the first row that is not whole."""
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter="\t", strict=True)
    rows, line = [], 0
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                return line + 1
            rows += [row] * bool(row)
            line = reader.line_num
    except csv.Error:
        return line + 1
    places = [rows[0].index(column) for column in COLUMNS]
    return [[row[place].strip() for place in places] for row in rows[1:]]


def read(home: Path, block: int, chunk: int) -> pd.DataFrame | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK", block)
        patch.setattr(tables, "CHUNK", chunk)
        try:
            return read_table(home, NAME, COLUMNS)[1]
        except ValueError as error:
            return str(error)


@given(rows=rows_of_cells, block=st.integers(1, 60), chunk=st.integers(1, 4), data=st.data())
def test_small_blocks_read_as_the_whole(rows: list[list[str]], block: int, chunk: int, data: st.DataObject) -> None:
    content = data.draw(damaged(data.draw(written((*COLUMNS, "more", "yet more"), rows)), 2))
    with folder() as home:
        (home / NAME).write_bytes(content)
        small, large = read(home, block, chunk), read(home, 2**20, 2**18)
    assert type(small) is type(large), (small, large)
    if isinstance(small, str):
        # of a file with two faults, a small block may end before the one that cannot be decoded
        assert small == large or "not UTF-8" in small + large or "not whole UTF" in small + large
    else:
        pd.testing.assert_frame_equal(small, large)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(
    rows=st.lists(st.lists(st.sampled_from(("a", "b c", 'q"q', '"', "x\ty", "x\ny", "")), min_size=3, max_size=3)),
    block=st.integers(1, 40),
    data=st.data(),
)
def test_blocks_read_what_the_csv_module_reads(
    end: str, rows: list[list[str]], block: int, data: st.DataObject
) -> None:
    rows = [[row[0] or "u", row[1] or "s", row[2]] for row in rows] or [["u", "s", ""]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator=end).writerows([[*COLUMNS, "more"], *rows])
    content = text.getvalue().encode()
    if data.draw(st.booleans()):  # a row that is torn, or an empty line
        place = data.draw(st.integers(content.index(end.encode()), len(content)))
        content = content[:place] + data.draw(st.sampled_from((b"\t", end.encode(), b'\t"', b""))) + content[place:]
    with folder() as home:
        (home / NAME).write_bytes(content)
        found: Any = read(home, block, 3)
    wanted = whole(content)
    if isinstance(wanted, int):
        assert isinstance(found, str)
        assert f"{NAME} line {wanted}: " in found
    elif wanted:
        assert isinstance(found, pd.DataFrame), found
        assert found.to_numpy().tolist() == wanted
