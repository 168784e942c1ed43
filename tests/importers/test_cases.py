"""Files as people reported them: each is known for what it is, and read right."""

import shutil
from pathlib import Path

import pytest

from importers import FORMATS, read_export, recognise
from importers.common import NO_OPTIONS, Options
from importers.pipeline import Result, convert
from importers.users import Rules
from tests.helpers.conversions import rows_of
from tools import suspects

CASES = Path(__file__).parent / "cases"
KNOWN = {
    "anilist-manga/manga.json": "anilist-json",
    "anilist-manga/manga_only.json": "anilist-json",
    "anilist-manga/anime.xml": "mal-xml",
    "anilist-score-format": "anilist-json",
    "anilist-gdpr/gdpr_data.json": "anilist-gdpr",
    "anilist-two-aliases/both.json": "anilist-json",
    "mal-xml-variants/amp.xml": "mal-xml",
    "mal-xml-variants/ctrl.xml": "mal-xml",
    "mal-xml-variants/id_zero.xml": "mal-xml",
    "mal-xml-variants/manga_in.xml": "mal-xml",
    "mal-xml-variants/mojibake.xml": "mal-xml",
    "mal-xml-variants/status.xml": "mal-xml",
    "mal-xml-variants/none": "mal-xml",
    "bangumi-takeout/takeout-gbk.csv": "bangumi-takeout",
    "bangumi-takeout/takeout.csv": "bangumi-takeout",
    "bangumi-takeout/takeout.json": "bangumi-collections",
    "other-json/anilist_private.json": "anilist-json",
    "other-json/mal_api_v2.json": "mal-api",
    "other-json/mal_load.json": "mal-load",
    "other-json/shikimori.json": "shikimori-json",
    "yamtrack/yamtrack.csv": "yamtrack-csv",
}


def converted(folder: Path, *names: str) -> Result:
    return convert([recognise(CASES / name) for name in names], folder, Options(), Rules())


def rates(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for user, title, rate, *_ in rows_of(folder, "interactions.tsv"):
        found.setdefault(user, {})[title] = rate
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_each_file_is_known_for_what_it_is_and_by_no_other_format(name: str) -> None:
    made, files = recognise(CASES / name)
    assert made.name == KNOWN[name]
    others = [other.name for other in FORMATS.values() if other is not made and other.find(CASES / name)]
    assert set(others) <= {"pairs", "json-lines"}
    assert files.lists


@pytest.mark.parametrize("name", ["anilist-manga/manga.json", "anilist-manga/manga_only.json"])
def test_a_list_of_manga_alone_is_refused(name: str, tmp_path: Path) -> None:
    refused = "its titles, 3 in all, are manga or of other kinds than anime"
    with pytest.raises(ValueError, match=refused):
        converted(tmp_path, name)
    with pytest.raises(ValueError, match=refused):
        read_export(CASES / name)
    result = converted(tmp_path, name, "anilist-manga/anime.xml")
    assert rates(tmp_path) == {"reader9": {"21": "8"}}
    assert result.dropped_rows == {"of other kinds than anime": 3}


def test_each_list_of_anilist_has_its_own_scale(tmp_path: Path) -> None:
    converted(tmp_path, "anilist-score-format")
    found = {user: [float(rate) for rate in of_user.values()] for user, of_user in rates(tmp_path).items()}
    assert found == {
        "decimal": [10, 8.5, 6, 1.5, 0],
        "hundred": [10, 8.5, 6, 1, 0],
        "low_hundred": [1, 0.8, 0.5, 0.3, 0],
        "smiley": [10, 6.67, 3.33, 10, 0],
        "stars": [10, 8, 6, 2, 0],
    }


def test_anilists_download_has_ids_of_its_own(tmp_path: Path) -> None:
    result = converted(tmp_path, "anilist-gdpr/gdpr_data.json")
    assert rows_of(tmp_path, "interactions.tsv") == [["reader3", "anilist:1", "8.5", "", "2020-01-02 03:04:05"]]
    assert result.dropped_rows == {"of other kinds than anime": 1}
    _, rows = read_export(CASES / "anilist-gdpr/gdpr_data.json")
    assert rows[["subject_id", "other_id"]].to_numpy().tolist() == [["anilist:1", ""]]
    assert "AniList's numbers" in rows.attrs["told"][1]


def test_of_two_aliases_the_one_of_anime_is_taken(tmp_path: Path) -> None:
    result = converted(tmp_path, "anilist-two-aliases/both.json")
    assert rates(tmp_path) == {"both": {"1": "9"}}
    assert [row[:2] for row in rows_of(tmp_path, "anime.tsv")] == [["1", "Cowboy Bebop"]]
    assert result.dropped_rows == {"of other kinds than anime": 1}


@pytest.mark.parametrize(
    ("name", "title", "comment"),
    [
        ("amp.xml", ["8795", "Panty & Stocking"], ""),
        ("ctrl.xml", ["1", "A"], "bell here"),
        ("mojibake.xml", ["1604", "Katekyo"], "plutôt pas mal bien"),
        ("manga_in.xml", ["1", "A"], ""),
    ],
)
def test_what_programs_broke_in_xml(name: str, title: list[str], comment: str, tmp_path: Path) -> None:
    converted(tmp_path, f"mal-xml-variants/{name}")
    assert [row[:2] for row in rows_of(tmp_path, "anime.tsv")] == [title]
    assert [row[3] for row in rows_of(tmp_path, "interactions.tsv")] == [comment]


def test_titles_without_a_number_are_no_phantom(tmp_path: Path) -> None:
    result = converted(tmp_path, "mal-xml-variants/none", "mal-xml-variants/id_zero.xml")
    assert rates(tmp_path) == {
        "ann": {"name:donghua a": "8", "1": "8", "name:donghua b": "8"},
        "bob": {"name:web short c": "8", "6": "8"},
        "reader6": {
            **{f"name:web short {letter}": "8" for letter in "abc"},
            **{"name:donghua d": "8", "name:donghua e": "8", "name:no id f": "8", "5114": "8"},
        },
    }
    assert result.nameless == (0, 8)
    assert {row[1] for row in rows_of(tmp_path, "anime.tsv")} > {"Donghua A", "Web Short A", "Cowboy Bebop", "FMA B"}
    _, rows = read_export(CASES / "mal-xml-variants/id_zero.xml")
    assert rows[["subject_id", "name"]].to_numpy().tolist()[-2:] == [["", "No id F"], ["5114", "FMA B"]]


def test_statuses_of_any_language_and_odd_scores(tmp_path: Path) -> None:
    result = converted(tmp_path, "mal-xml-variants/status.xml")
    assert list(rates(tmp_path)["reader6"].values()) == ["8", "8", "8", "8", "8", "8.5", "0", "0"]
    assert {row[1] for row in rows_of(tmp_path, "known.tsv")} == {"102", "109"}
    assert result.dropped_rows == {}
    _, rows = read_export(CASES / "mal-xml-variants/status.xml")
    assert rows["rate"].tolist()[-1] == 10  # "10/10"
    assert "1 of 9 scores are above 10 (the highest is 80)" in rows.attrs["told"][0]


@pytest.mark.parametrize(
    ("name", "saved_as", "user"),
    [("takeout.csv", "takeout.csv", "takeout"), ("takeout-gbk.csv", "takeout-某人-2024-05-06.csv", "某人")],
)
def test_a_takeout_in_either_encoding(name: str, saved_as: str, user: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = shutil.copy(CASES / "bangumi-takeout" / name, tmp_path / "in" / saved_as)
    result = convert([recognise(Path(source))], tmp_path, Options(), Rules())
    assert rates(tmp_path) == {user: {"1424": "9", "77": "1"}}
    assert [row[:2] for row in rows_of(tmp_path, "known.tsv")] == [[user, "36612"]]
    assert result.dropped_rows == {"of other kinds than anime": 1}
    assert ["1424", "轻音少女 / けいおん!"] in [row[:2] for row in rows_of(tmp_path, "anime.tsv")]


def test_a_comment_that_stands_with_many_titles_is_told(tmp_path: Path) -> None:
    converted(tmp_path, "bangumi-takeout/takeout.json")
    assert {row[0] for row in rows_of(tmp_path, "interactions.tsv")} == {"reader7"}
    told = read_export(CASES / "bangumi-takeout/takeout.json")[1].attrs["told"]
    assert len(told) == 1
    assert told[0].startswith("the same comment stands with 7 titles ('这一条评论")
    found = {one.what: one.count for one in suspects.suspicious_rows(tmp_path)}
    assert found["comments that are repeated over and over"] == 1


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("mal_api_v2.json", ["mal_api_v2", "1", "9", "", "2020-01-01T00:00:00+00:00"]),
        ("mal_load.json", ["mal_load", "1", "8", "", "1600000000"]),
        ("shikimori.json", ["shikimori", "1", "9", "", ""]),
    ],
)
def test_json_of_other_trackers(name: str, row: list[str], tmp_path: Path) -> None:
    converted(tmp_path, f"other-json/{name}")
    assert rows_of(tmp_path, "interactions.tsv") == [row]
    assert rows_of(tmp_path, "anime.tsv")[0][:2] == ["1", "Cowboy Bebop"]


def test_an_answer_about_a_private_user_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"answered with an error \(Private User\); make the list public"):
        read_export(CASES / "other-json/anilist_private.json")


def test_yamtrack(tmp_path: Path) -> None:
    result = converted(tmp_path, "yamtrack/yamtrack.csv")
    assert rates(tmp_path) == {"yamtrack": {"1": "9", "5114": "0"}}
    assert [row[:2] for row in rows_of(tmp_path, "known.tsv")] == [["yamtrack", "6"]]
    assert result.dropped_rows == {"of other kinds than anime": 1}
    made, files = recognise(CASES / "yamtrack/yamtrack.csv")
    assert made.lacking is None
    assert made.remarks(files.lists[0], NO_OPTIONS) == []
