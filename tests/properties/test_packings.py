"""A table in any packing and encoding reads back equal; one that is damaged does, or is a sentence."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.tables import open_text
from runtime.packings import head_of, members, open_unpacked
from tests.helpers.packed import PACKINGS
from tests.properties.inputs import assert_a_sentence, damaged, folder

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
HERE = [name for name in PACKINGS if name != "zst"]  # which not every machine has
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
tables = st.lists(st.lists(texts, min_size=3, max_size=3), max_size=6)


def text_of(rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["user_id", "名", "rate"], *rows])
    return text.getvalue()


@pytest.mark.slow
@given(rows=tables, packing=st.sampled_from(HERE), encoding=st.sampled_from(ENCODINGS), data=st.data())
def test_what_is_written_reads_back(rows: list[list[str]], packing: str, encoding: str, data: st.DataObject) -> None:
    text = text_of(rows)
    with folder() as home:
        path = home / data.draw(st.sampled_from(("a.csv", "a.csv.gz", "a.zip", "a.xlsx", "a")))
        path.write_bytes(PACKINGS[packing](text.encode(encoding)))
        inside = members(path)
        for file in [path, *(inside or ())]:
            with open_text(file) as opened:
                assert opened.read() == text


@pytest.mark.slow
@settings(max_examples=2 * settings().max_examples)
@given(rows=tables, packing=st.sampled_from(HERE), data=st.data())
def test_what_is_damaged_is_read_or_named(rows: list[list[str]], packing: str, data: st.DataObject) -> None:
    with folder() as home:
        path = Path(home / "a.csv")
        path.write_bytes(data.draw(damaged(PACKINGS[packing](text_of(rows).encode()))))
        head_of(path, 99)
        for reads in (members, _read):
            try:
                reads(path)
            except (ValueError, OSError) as error:
                assert_a_sentence(error, path.name)


def _read(path: Path) -> None:
    with open_unpacked(path) as file:
        file.read()
    with open_text(path) as text:
        text.read()
