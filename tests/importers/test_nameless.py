"""Titles without a number: no phantom that everybody shares, and found by name where another source has it."""

import json
from pathlib import Path

import pytest

from importers import read_export, recognise
from importers.common import Options
from importers.nameless import id_of
from importers.pipeline import convert
from importers.users import Rules
from tests.helpers.conversions import converted, entry, pairs, rows_of, source, title


@pytest.mark.parametrize("nothing", [None, "", " ", 0, "0", "0.0", "None", "null", "NULL", "NaN", "-1"])
def test_what_is_no_number(nothing: object) -> None:
    assert id_of(nothing) == id_of(nothing, None) == ""
    assert id_of(nothing, None, "Web  Short", "Other", site="anilist") == "name:web short"


def test_numbers() -> None:
    assert id_of(5, "A") == id_of("5.0") == id_of(" 5 ") == "5"
    assert id_of(5, site="anilist") == "anilist:5"


def test_a_title_without_a_number_is_found_by_its_name(tmp_path: Path) -> None:
    result = converted(
        tmp_path,
        source(
            [entry("u", "name:web short", 8), entry("u", "name:lost"), entry("v", "7"), entry("v", "name:twice")],
            [title("name:web short", "Web Short"), title("name:lost", "Lost"), title("name:twice", "Twice")],
            name="lists",
            together=True,
        ),
        source(titles=[title("7", "Something / Web short"), title("8", "Twice"), title("9", "twice")], name="dump"),
    )
    assert pairs(tmp_path) == {("u", "7"), ("u", "name:lost"), ("v", "7"), ("v", "name:twice")}
    assert result.nameless == (1, 2)
    assert sorted(row[0] for row in rows_of(tmp_path, "anime.tsv")) == ["7", "8", "9", "name:lost", "name:twice"]
    assert result.titles == 5


@pytest.mark.parametrize("word", ["None", "null", "nan", "<NA>"])
def test_a_word_for_nothing_is_no_id_in_any_format(word: str, tmp_path: Path) -> None:
    entries = [entry("u", word), entry("v", word), entry("v", "1"), entry("v", "0")]
    result = converted(tmp_path, source(entries, [title(word, "x"), title("1"), title("0")]))
    assert pairs(tmp_path) == {("v", "1"), ("v", "0")}
    assert result.dropped_rows == {"without the id of a user or title": 2}
    assert result.dropped_titles == {"without an id": 1}


def test_entries_with_neither_number_nor_name_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"anime_id": 0, "anime_title": "", "status": 2}, {"anime_id": 1, "status": 2}]))
    _, rows = read_export(path)
    assert rows["subject_id"].tolist() == ["1"]
    assert rows.attrs["told"] == ("left out: 1 without the number or the name of a title",)
    result = convert([recognise(path)], tmp_path / "out", Options(), Rules())
    assert result.dropped_rows == {"without the id of a user or title": 1}
