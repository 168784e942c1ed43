"""Users and titles as JSON."""

import json
from pathlib import Path

import pytest

from importers import recognise
from importers.common import Options
from importers.pipeline import Rules, convert
from tests.helpers.conversions import rows_of
from tests.helpers.packed import PACKINGS

ROWS = [
    {"user_id": "u0", "item_id": 7, "rating": 5, "genres": ["SF", "Drama"], "title": "Akira"},
    {"user_id": "u1", "item_id": 7, "rating": None},
    {"user_id": "u1", "item_id": 9.0, "rating": 4.5, "comment": "a\nb, c", "title": "Ran", "more": {"x": 1}},
]
WANTED = [["u0", "7", "5", "", ""], ["u1", "7", "0", "", ""], ["u1", "9", "4.5", "a b, c", ""]]


def converted(path: Path, out: Path, columns: dict[str, str] | None = None, name: str = "auto") -> list[list[str]]:
    convert([recognise(path, name)], out, Options(columns=columns or {}), Rules())
    return rows_of(out, "interactions.tsv")


@pytest.mark.parametrize("packing", ["plain", "gz", "zip"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_objects_of_any_form_become_rows(packing: str, encoding: str, tmp_path: Path) -> None:
    """Keys that an early object lacks are read as well."""
    texts = ["".join(json.dumps(row) + "\n" for row in ROWS), json.dumps(ROWS), json.dumps(ROWS, indent=1)]
    for text in texts:
        (tmp_path / "ratings.json").write_bytes(PACKINGS[packing](text.encode(encoding)))
        assert recognise(tmp_path / "ratings.json")[0].name == "json-lines"
        assert converted(tmp_path / "ratings.json", tmp_path / "out") == WANTED
        titles = rows_of(tmp_path / "out", "anime.tsv")
        assert [row[:2] for row in titles] == [["7", "Akira"], ["9", "Ran"]]
        assert titles[0][2] == '"[""SF"", ""Drama""]"'


def test_keys_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"who": "a", "what": 3, "how": 5}\n{"who": "b", "what": 4}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl: which key is the user_id\? \(found: who, what, how\); say"):
        converted(path, tmp_path / "out")
    columns = {"user_id": "who", "subject_id": "what", "rate": "how"}
    assert converted(path, tmp_path / "out", columns) == [["a", "3", "5", "", ""], ["b", "4", "0", "", ""]]
    with pytest.raises(ValueError, match="no object has the key whom"):
        converted(path, tmp_path / "out", {**columns, "user_id": "whom"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"user_id": 1, "item_id": 2}\n{"user_id": 1, ', "line 2: no object of JSON"),
        ('{"user_id": 1, "item_id": 2}\n[1]\n', "line 2: no object of JSON"),
        ('[{"user_id": 1, "item_id": 2},\n 7]', "line 2: no object of JSON"),
        ('[{"user_id": 1, "item_id": 2},\n', "line 1: no object of JSON .the list does not end"),
        ('{"user_id": 1, "item_id": 2}\n{"user_id": 1, "item_id": 2, "rating": "x"}\n', "line 2: the rate 'x' is not"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json {said}"):
        converted(tmp_path / "a.json", tmp_path / "out")


def test_values_as_mongodb_writes_them(tmp_path: Path) -> None:
    row = {"_id": {"$oid": "x"}, "user_id": "u", "item_id": {"$numberInt": "7"}, "rating": {"$numberInt": "8"}}
    row |= {"updated_at": {"$date": "2021-08-15T00:00:00Z"}}
    (tmp_path / "r.json").write_text(f"{json.dumps(row)}\n")
    assert converted(tmp_path / "r.json", tmp_path / "out") == [["u", "7", "8", "", "2021-08-15T00:00:00Z"]]


@pytest.mark.parametrize(
    "table",
    [{"user_id": ["u", "v"], "item_id": [1, 2]}, {"user_id": {"0": "u", "1": "v"}, "item_id": {"0": 1, "1": 2}}],
)
def test_columns_in_the_place_of_rows_are_refused(table: dict, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=r"r\.json line 1: columns and no rows, .* write it with orient='records'"):
        converted(tmp_path / "r.json", tmp_path / "out")
