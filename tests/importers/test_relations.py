"""What sources say of how titles are related: it reaches relations.tsv, and the franchises of a run."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from config import get_config
from data_loader import load_dataset
from dataset.franchises import franchises_of
from dataset.readers import read_anime
from importers import anilist, recognise
from importers.common import Files, Options
from importers.pipeline import convert
from importers.users import Rules
from tests.helpers.conversions import converted, entry, rows_of, source, title, with_relations


def subject(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": 2, "name": name, "name_cn": "", "infobox": "", "platform": 1, "date": "", **more}


def lines(*found: dict[str, Any]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found)


def related(one: int, kind: int, other: int) -> dict[str, int]:
    return {"subject_id": one, "relation_type": kind, "related_subject_id": other, "order": 0}


# --- what is written ---


def test_relations_told_from_the_other_end_are_turned_unless_the_pair_says_what_it_is(tmp_path: Path) -> None:
    rows = [("b", "a", "parent"), ("c", "a", "parent"), ("a", "c", "spin_off"), ("b", "c", "full_story")]
    converted(tmp_path, with_relations(rows))
    assert rows_of(tmp_path, "relations.tsv") == [
        ["a", "c", "spin_off"],
        ["a", "b", "side_story"],
        ["c", "b", "summary"],
    ]


def test_a_stale_file_does_not_stay(tmp_path: Path) -> None:
    converted(tmp_path, with_relations([("a", "b", "sequel")]))
    (tmp_path / "ids.tsv").write_text("subject_id\tsite\tid\na\tanilist\t1\n")
    (tmp_path / "relations.tsv.gz").write_bytes(b"old")
    converted(tmp_path, source([entry("u", "a", 8)], [title("a")]))
    assert {path.name for path in tmp_path.iterdir()} == {"anime.tsv", "user.tsv", "interactions.tsv"}


def test_of_titles_that_are_left_out_none_is_written(tmp_path: Path) -> None:
    made, files = with_relations([("a", "b", "sequel"), ("b", "c", "sequel")])
    lists, _ = source([entry("u", "a", 8), entry("u", "b", 8)], None)
    found = (made._replace(lists=lists.lists), files)
    converted(tmp_path, found, collected_only=True)
    assert rows_of(tmp_path, "relations.tsv") == [["a", "b", "sequel"]]


def test_synonyms_and_types_are_columns_where_a_source_has_them(tmp_path: Path) -> None:
    first = source([entry("u", "a", 8)], [title("a", "A", synonyms='["B", "C|D"]'), title("b", synonyms='["E"]')])
    second = source(None, [title("a", "B", type="TV", synonyms='["c|d", "F"]')], name="second")
    converted(tmp_path, first, second)
    table = read_anime(tmp_path).set_index("subject_id")
    assert table["synonyms"].to_dict() == {"a": ["C|D", "F"], "b": ["E"]}
    assert table["name"]["a"] == "A / B"
    header, *rows = (line.split("\t") for line in (tmp_path / "anime.tsv").read_text().splitlines())
    assert header[-2:] == ["synonyms", "type"]
    assert sorted(row[-1] for row in rows) == ["", "TV"]
    converted(tmp_path, source([entry("u", "a", 8)], [title("a")]))
    assert (tmp_path / "anime.tsv").read_text().splitlines()[0].split("\t")[-1] == "year"


# --- Bangumi ---

SUBJECTS = lines(
    subject(1, "Alpha"), subject(2, "Omega Quest"), subject(3, "Zeta", platform=3), subject(9, "Book", type=1)
)
PAIRS = lines(
    related(1, 3, 2),
    related(2, 2, 1),
    related(1, 6, 3),
    related(3, 12, 1),
    related(1, 1, 9),
    related(1, 1002, 2),
    related(1, 14, 3),
    related(4, 3, 1),
)


@pytest.fixture(params=["zip", "zip in a folder", "folder", "beside", "both named"])
def dump(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    folder = tmp_path / "dump"
    folder.mkdir()
    if request.param.startswith("zip"):
        with zipfile.ZipFile(folder / "dump.zip", "w") as archive:
            archive.writestr("subject.jsonlines", SUBJECTS)
            archive.writestr("subject-relations.jsonlines", PAIRS)
        return [folder / "dump.zip" if request.param == "zip" else folder]
    (folder / "subject.jsonlines").write_text(SUBJECTS)
    (folder / "subject-relations.jsonlines").write_text(PAIRS)
    names = {"folder": [""], "beside": ["subject.jsonlines"]}
    return [folder / name for name in names.get(request.param, ["subject.jsonlines", "subject-relations.jsonlines"])]


def test_relations_of_bangumis_dump_reach_the_franchises_of_a_run(dump: list[Path], tmp_path: Path) -> None:
    lists = source([entry(f"u{user}", number, 8) for user in range(4) for number in "123"])
    sources = [recognise(path) for path in dump]
    assert {made.name for made, _ in sources} == {"bangumi-archive"}
    convert([lists, *sources], tmp_path / "data", Options(), Rules())
    assert rows_of(tmp_path / "data", "relations.tsv") == [
        ["1", "2", "sequel"],
        ["2", "1", "prequel"],
        ["1", "3", "side_story"],
        ["1", "3", "other"],
    ]
    found = franchises_of(load_dataset(get_config({"data_dir": str(tmp_path / "data")})))
    assert found.groups.tolist() == [0, 0, 0]
    assert found.places.tolist()[:2] == [0, 1]
    assert [row[-1] for row in rows_of(tmp_path / "data", "anime.tsv")] == ["TV", "TV", "Movie"]


def test_a_line_that_was_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "subject-relations.jsonlines"
    path.write_text(PAIRS[:-20])
    made, files = recognise(path)
    assert files == Files(relations=(path,))
    with pytest.raises(ValueError, match=r"subject-relations\.jsonlines line 8: no relation as JSON"):
        list(made.relations(path, Options(), {}))


# --- AniList ---


def test_relations_and_synonyms_of_anilist(tmp_path: Path) -> None:
    def edge(kind: str, number: int, mal: int | None, of: str | None = "ANIME") -> dict[str, Any]:
        return {"relationType": kind, "node": {"id": number, "idMal": mal, "type": of}}

    edges = [
        edge("SEQUEL", 21, 121),
        edge("SIDE_STORY", 22, None),
        edge("ADAPTATION", 121, 121, "MANGA"),
        edge("SUMMARY", 23, 123, None),
        edge("CHARACTER", 21, 121),
    ]
    first = {
        "idMal": 120,
        "title": {"romaji": "One"},
        "synonyms": ["Uno", "ONE"],
        "format": "TV_SHORT",
        "relations": {"edges": edges},
    }
    others = [
        {"idMal": 121, "title": {"romaji": "Two"}, "relations": None},
        {"idMal": None, "title": {"romaji": "III"}},
    ]
    media = zip((20, 21, 22), [first, *others], strict=True)
    entries = [{"mediaId": number, "status": "COMPLETED", "score": 8, "media": made} for number, made in media]
    path = tmp_path / "ann.json"
    path.write_text(json.dumps({"lists": [{"name": "Completed", "entries": entries}]}))
    convert([recognise(path)], tmp_path / "data", Options(), Rules())
    assert rows_of(tmp_path / "data", "relations.tsv") == [
        ["120", "121", "sequel"],
        ["120", "anilist:22", "side_story"],
        ["120", "121", "other"],
    ]
    table = read_anime(tmp_path / "data")
    assert table["synonyms"].tolist() == [["Uno"], [], []]
    assert any("ask for node { id idMal type }" in sentence for sentence in anilist.remarks(path, Options()))
