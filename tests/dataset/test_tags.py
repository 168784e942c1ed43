"""Cells of tags, in the forms that programs and people write them in."""

import json
from pathlib import Path

import numpy as np
import pytest

from dataset.tags import is_piece, parse_tags, tag_names
from importers import recognise
from importers.common import NO_OPTIONS
from importers.pipeline import Rules, convert
from tests.helpers.data import write_tsv
from tests.helpers.import_samples import write
from tests.helpers.splits import load, write_small
from tools.suspects import suspicious_rows


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ('["mecha", "slow life"]', ["mecha", "slow life"]),
        ("['mecha', 'slow life']", ["mecha", "slow life"]),
        ('["a, b", "c;d|e、f"]', ["a, b", "c;d|e、f"]),
        ("""["it's", 'x']""", ["it's", "x"]),
        ('["搞笑"]', ["搞笑"]),
        (r'["\u641e\u7b11"]', ["搞笑"]),
        ("['搞笑', '日常']", ["搞笑", "日常"]),
        ("a,b", ["a", "b"]),
        ("a;b", ["a", "b"]),
        ("a|b", ["a", "b"]),
        ("搞笑、日常", ["搞笑", "日常"]),
        ("slice of life, mecha", ["slice of life", "mecha"]),
        ("a , b;c | d、e", ["a", "b", "c", "d", "e"]),
        ("a,,b,", ["a", "b"]),
        ("Sci-Fi", ["Sci-Fi"]),
        ("", []),
        ("[]", []),
        ("nan", []),
        ("None", []),
        ("恋爱，校园；日常", ["恋爱", "校园", "日常"]),
        ("恋爱｜校园", ["恋爱", "校园"]),
        ("恋爱　校园", ["恋爱", "校园"]),
        ("剧情 / 爱情", ["剧情", "爱情"]),
        ("恋爱/校园", ["恋爱/校园"]),
        ("ボーイズ・ラブ", ["ボーイズ・ラブ"]),
        ("TV 日本 原创", ["TV 日本 原创"]),
        ("#恋爱 #校园", ["恋爱", "校园"]),
        ("#恋爱# #校园#", ["恋爱", "校园"]),
        ("C#, F#", ["C#", "F#"]),
        ("恋爱\n校园", ["恋爱", "校园"]),
        ("【恋爱】【校园】", ["恋爱", "校园"]),
        ('["【恋爱】｜ x"]', ["【恋爱】｜ x"]),
        ("Sci-Fi &amp; Fantasy; Kids &#39;n Co", ["Sci-Fi & Fantasy", "Kids 'n Co"]),
        ("[&quot;Action&quot;, &quot;Drama&quot;]", ["Action", "Drama"]),
        ("R&B;Soul", ["R&B", "Soul"]),
        ("Action • Drama · Kids", ["Action", "Drama", "Kids"]),
        ("Action\tDrama", ["Action", "Drama"]),
        ("-", []),
        ("无", []),
        ('{Action,"Slice of Life",NULL}', ["Action", "Slice of Life"]),
        ("{Action}", ["Action"]),
    ],
)
def test_tags_formats(cell: str, tags: list[str]) -> None:
    assert parse_tags(cell) == tags


@pytest.mark.parametrize("cell", ["[broken", ",;", "|", "、、", '["a", ', "[a b]", "['a'", "[" * 3000, "[恋爱, 校园]"])
def test_tags_that_parse_as_nothing_are_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="tags_name"):
        parse_tags(cell)


OBJECTS = [
    ("[{'id': 16, 'name': 'Animation'}, {'id': 35, 'name': \"It's\"}]", ["Animation", "It's"]),
    ('[{"name": "TV", "count": 12}, {"name": "漫改", "count": 3}]', ["TV", "漫改"]),
    ("{'id': 1, 'name': 'x'}, {'id': 2, 'name': 'y'}", ["x", "y"]),
    ('{"id": 1, "name": "x"}', ["x"]),
    ("[{'id': '1', 'description': 'Action'}]", ["Action"]),  # Steam's
    ('{"TV": 12, "漫改": 3}', ["TV", "漫改"]),  # SteamSpy's
    ('{"/m/01jfsb": "Thriller", "/m/06n90": "Science Fiction"}', ["Thriller", "Science Fiction"]),  # Freebase's
    ("[{'name': 'A'}\n {'name': 'B'}]", ["A", "B"]),
    ("""["{'id': 16, 'name': 'Animation'}", "Drama"]""", ["Animation", "Drama"]),
    (json.dumps(json.dumps([{"name": "TV"}])), ["TV"]),
    ("[[{'name': 'a'}], ['b', None, nan]]", ["a", "b"]),
    ('"[{""name"": ""TV""}]"', ["TV"]),
    ('[""TV"", ""漫改""]', ["TV", "漫改"]),
    ("['Action' 'Comedy']", ["Action", "Comedy"]),
    ("['Action' 'Comedy' ... 'Drama']", ["Action", "Comedy", "Drama"]),
    ("Index(['Action', 'Drama'], dtype='object')", ["Action", "Drama"]),
    ("dict_keys(['Action', 'Drama'])", ["Action", "Drama"]),
    ("['Action'\n 'Drama']", ["Action", "Drama"]),
    (str(np.array(["Children's", "Slice of Life"])), ["Children's", "Slice of Life"]),
    (repr(np.array(["Action", "Drama"])), ["Action", "Drama"]),
    (repr(np.array(["Action", "Drama"], dtype=object)), ["Action", "Drama"]),
    ("('Action', 'Comedy')", ["Action", "Comedy"]),
    ("'Action', 'Comedy'", ["Action", "Comedy"]),
    ('[null, "Drama"]', ["Drama"]),
    ('["Drama", NaN]', ["Drama"]),
    ("[('TV', 12), ('漫改', 3)]", ["TV", "漫改"]),
    ('[[16, "Animation"], [35, "Comedy"]]', ["Animation", "Comedy"]),
    ("['list(a)', 'array(b), dtype=c)']", ["list(a)", "array(b), dtype=c)"]),
    ("(2014)", ["(2014)"]),
    ('(a so called "x"), Fate (2014)', ['(a so called "x")', "Fate (2014)"]),
    ('["slice\\nof life", "x\\u2028y"]', ["slice of life", "x y"]),
    ('[{"name": null}]', []),
    ('["[2020]", "[Oshi no Ko]"]', ["[2020]", "[Oshi no Ko]"]),
]


@pytest.mark.parametrize(("cell", "tags"), OBJECTS)
def test_objects_give_their_name_and_numpy_parts_by_spaces(cell: str, tags: list[str]) -> None:
    assert parse_tags(cell) == tags


def test_a_set_is_its_members() -> None:
    assert sorted(parse_tags("{'Action', 'Drama'}")) == ["Action", "Drama"]


@pytest.mark.parametrize(
    "cell",
    ["<Tag: Action>", "<QuerySet [<Tag: A>, <Tag: B>]>", "<a href='/g/1'>Action</a>, <a href='/g/2'>Drama</a>"]
    + [
        "OrderedDict([('name', 'A')])",
        "array(['Action', 'Slice of\n Life'], dtype='<U13')",
        "0  A\n1  B\ndtype: object",
    ]
    + ["[{'id': 16}]", '{"rank": {"x": 1}}', "TV; {'name': 'x'}", "{'name': 'TV', 'cou", """["{'name': 'TV', 'cou"]"""],
)
def test_an_object_is_never_a_tag(cell: str) -> None:
    with pytest.raises(ValueError, match="no tag can be read from tags_name"):
        parse_tags(cell)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("{'Action'", True),
        ("'Drama'}", True),
        ("'count': 12}", True),
        ("{'id': 16", True),
        ("[{'name': 'TV'", True),
        ("Fate (2014)", False),
        ('(so "x")', False),
        ("'90s", False),
        ("D.Gray-man [HD]", False),
    ],
)
def test_pieces_of_objects(tag: str, expected: bool) -> None:
    assert is_piece(tag) == expected


def test_values_of_json() -> None:
    assert tag_names([{"name": "a", "count": 1}, "b", ["c", {"name": "d"}], None]) == ["a", "b", "c", "d"]
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(ValueError, match="nested too deeply"):
        tag_names(nested)


def test_objects_in_anime_tsv_are_read_by_name(tmp_path: Path) -> None:
    cells = ['[{"name": "TV", "count": 12}, {"name": "漫改", "count": 3}]', "{'id': 1, 'name': 'TV'}", "TV｜漫改"]
    write_small(tmp_path, [("u", "0", 5)])
    rows = [(str(row), f"name{row}", cell, "") for row, cell in enumerate(cells)]
    write_tsv(tmp_path, "anime.tsv", rows)
    dataset = load(tmp_path)
    assert dataset.item_tags == ["TV\n漫改", "TV", "TV\n漫改"]
    assert dataset.item_texts == ["name0\nTV 漫改", "name1\nTV", "name2\nTV 漫改"]


def test_check_names_objects_and_their_pieces(tmp_path: Path) -> None:
    write_small(tmp_path, [("u", "0", 5)])
    cells = ["[{'name': 'TV'}]", """["{'Action'", "'Drama'}"]""", "TV", "TV 日本 原创", "恋爱/校园", "slice of life"]
    rows = [(str(row), f"name{row}", cell, "") for row, cell in enumerate(cells)]
    write_tsv(tmp_path, "anime.tsv", rows)
    found = {kind.what: kind.examples for kind in suspicious_rows(tmp_path)}
    assert found["tags_name cells that hold objects"] == ["line 2: \"[{'name': 'TV'}]\""]
    assert [text[:7] for text in found["tags that are pieces of objects or lists"]] == ["line 3:"]
    assert [text[:7] for text in found["single tags that may be several"]] == ["line 5:", "line 6:"]


def test_genres_of_dicts_are_converted(tmp_path: Path) -> None:
    genres = {
        "100": "[{'id': 16, 'name': 'Animation'}, {'id': 35, 'name': 'Comedy'}]",
        "102": "['Action' 'Comedy']",
        "103": "['Action'\n 'Drama']",
        "104": "[null, 'Drama']",
        "106": "[]",
        "107": "nan",
    }
    movies = "movie_id,title,genres\n" + "".join(f'{title},T{title},"{cell}"\n' for title, cell in genres.items())
    ratings = "user_id,movie_id,rating\n" + "".join(f"1,{title},8\n" for title in genres)
    source = write(tmp_path / "source", movies__csv=movies, ratings__csv=ratings)
    convert([recognise(source)], tmp_path / "out", NO_OPTIONS, Rules())
    tags = load(tmp_path / "out").item_tags
    assert tags == ["Animation\nComedy", "Action\nComedy", "Action\nDrama", "Drama", "", ""]
    assert not any(is_piece(tag) for cell in tags for tag in cell.split("\n"))
