"""Catalogues with ids of several sites: anime-offline-database and bangumi-data."""

import json
import logging
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dataset.readers import read_anime
from importers import FORMATS, catalogues, read_export, recognise
from importers.common import Options
from importers.pipeline import Result, convert
from importers.users import Rules
from runtime.cli import run_script
from tests.helpers.conversions import entry, mal_list, rows_of, source
from tools import convert as script

MAL, ANILIST = "https://myanimelist.net/anime/", "https://anilist.co/anime/"


def known(title: str, *sources: str, related: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "sources": list(sources),
        "title": title,
        "type": "TV",
        "episodes": 12,
        "status": "FINISHED",
        "animeSeason": {"season": "FALL", "year": 2014},
        "picture": "https://cdn.myanimelist.net/1.jpg",
        "synonyms": ["Bebop", title.upper()],
        "relatedAnime": list(related),
        "tags": ["space", "drama"],
        **more,
    }


DATABASE = [
    known("Cowboy Bebop", ANILIST + "11", "https://anidb.net/anime/23", MAL + "1", related=(MAL + "5", ANILIST + "15")),
    known(
        "Cowboy Bebop: The Movie",
        "https://anime-planet.com/anime/cowboy-bebop-the-movie",
        "https://animenewsnetwork.com/encyclopedia/anime.php?id=11",
        MAL + "5",
        type="MOVIE",
        animeSeason={"season": "UNDEFINED"},
        related=(ANILIST + "11",),
    ),
    known("Donghua", ANILIST + "77", related=(MAL + "1",), tags=["hentai"], type="UNKNOWN"),
    known("Nowhere", "https://kitsu.app/anime/9"),
]


@pytest.fixture(params=["json", "pretty", "jsonl"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    head = {"license": {"name": "ODbL"}, "repository": "r", "lastUpdate": "2025-01-01"}
    ending = "jsonl" if request.param == "jsonl" else "json"
    path = tmp_path / f"anime-offline-database.{ending}"
    if request.param == "jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in [head, *DATABASE]))
    else:
        indent = 2 if request.param == "pretty" else None
        path.write_text(json.dumps({**head, "data": DATABASE}, indent=indent))
    return path


def with_lists(path: Path, folder: Path, *ids: str, site: str = "", adult: bool = True) -> Result:
    lists = source([entry("u", number, 8) for number in ids])
    return convert([lists, recognise(path)], folder, Options(site=site), Rules(adult=adult))


def test_the_database_in_every_form(database: Path, tmp_path: Path) -> None:
    made, files = recognise(database)
    assert made.name == "anime-offline-database"
    others = [other.name for other in FORMATS.values() if other is not made and other.find(database)]
    assert set(others) <= {"pairs", "json-lines"}
    result = with_lists(database, tmp_path / "data", "1", "5")
    assert result.dropped_titles == {"without an id of myanimelist": 1}
    assert rows_of(tmp_path / "data", "anime.tsv") == [
        ["1", "Cowboy Bebop", '"[""space"", ""drama""]"', "", "2014", '"[""Bebop""]"', "TV", "2014-fall"],
        ["5", "Cowboy Bebop: The Movie", '"[""space"", ""drama""]"', "", "", '"[""Bebop""]"', "Movie", ""],
        ["anilist:77", "Donghua", '"[""hentai""]"', "", "2014", '"[""Bebop""]"', "", "2014-fall"],
    ]
    assert rows_of(tmp_path / "data", "relations.tsv") == [
        ["1", "5", "other"],
        ["5", "1", "other"],
        ["anilist:77", "1", "other"],
    ]
    ids = {tuple(row) for row in rows_of(tmp_path / "data", "ids.tsv")}
    assert ids == {
        ("1", "anilist", "11"),
        ("1", "anidb", "23"),
        ("1", "myanimelist", "1"),
        ("5", "anime-planet", "cowboy-bebop-the-movie"),
        ("5", "animenewsnetwork", "11"),
        ("5", "myanimelist", "5"),
        ("anilist:77", "anilist", "77"),
    }


def test_another_site_and_adult_titles(database: Path, tmp_path: Path) -> None:
    result = with_lists(database, tmp_path / "data", "11", site="anilist", adult=False)
    assert [row[0] for row in rows_of(tmp_path / "data", "anime.tsv")] == ["11"]
    assert result.dropped_titles == {"without an id of anilist": 2, "adult": 1}
    with pytest.raises(ValueError, match=r"no title has an id of 'mal'; name with --site one of anidb, anilist, "):
        with_lists(database, tmp_path / "data", "11", site="mal")


def test_it_holds_no_list_and_a_broken_one_is_named(database: Path) -> None:
    with pytest.raises(ValueError, match="is anime-offline-database, which holds no one's list"):
        read_export(database)
    database.write_text(database.read_text()[:-30])
    with pytest.raises(ValueError, match=r"anime-offline-database\.jsonl? line \d+: no (JSON|object of JSON)"):
        list(catalogues.database_titles(database, Options(), {}))


ITEMS = [
    {
        "title": "狼と香辛料",
        "titleTranslate": {
            "zh-Hans": ["狼与香辛料", "狼与辛香料"],
            "en": ["Spice and Wolf"],
            "zh-Hant": ["狼與辛香料"],
        },
        "type": "tv",
        "lang": "ja",
        "begin": "2008-01-08T16:30:00.000Z",
        "end": "",
        "sites": [
            {"site": "bangumi", "id": "2117"},
            {"site": "mal", "id": "2966"},
            {"site": "aniList", "id": "2966"},
            {"site": "bilibili", "id": "4"},
        ],
    },
    {
        "title": "Only",
        "titleTranslate": {},
        "type": "web",
        "lang": "en",
        "begin": "",
        "sites": [{"site": "mal", "id": 7}],
    },
]
DATA = {"siteMeta": {"bangumi": {"title": "b", "urlTemplate": "https://bangumi.tv/subject/{{id}}"}}, "items": ITEMS}


@pytest.fixture(params=["file", "package"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(DATA, ensure_ascii=False), encoding="utf-8")
    if request.param == "file":
        return path
    with tarfile.open(tmp_path / "bangumi-data-0.3.tgz", "w:gz") as archive:
        archive.add(path, "package/dist/data.json")
    path.unlink()
    return tmp_path / "bangumi-data-0.3.tgz"


def test_names_in_four_languages_of_bangumi_data(data: Path, tmp_path: Path) -> None:
    assert recognise(data)[0].name == "bangumi-data"
    result = with_lists(data, tmp_path / "data", "2117")
    assert result.dropped_titles == {"without an id of bangumi": 1}
    table = read_anime(tmp_path / "data")
    assert table[["subject_id", "name", "year"]].to_numpy().tolist() == [
        ["2117", "狼与香辛料 / 狼と香辛料 / Spice and Wolf / 狼與辛香料", "2008"]
    ]
    assert table["synonyms"].tolist() == [["狼与辛香料"]]
    assert rows_of(tmp_path / "data", "ids.tsv") == [
        ["2117", "bangumi", "2117"],
        ["2117", "myanimelist", "2966"],
        ["2117", "anilist", "2966"],
    ]
    with_lists(data, tmp_path / "data", "7", site="myanimelist")
    assert [row[:2] for row in rows_of(tmp_path / "data", "anime.tsv")] == [
        ["2966", "狼与香辛料 / 狼と香辛料 / Spice and Wolf / 狼與辛香料"],
        ["7", "Only"],
    ]


def test_two_catalogues_go_by_one_site_which_the_command_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.json").write_text(json.dumps(DATA))
    (tmp_path / "aod.json").write_text(json.dumps({"data": DATABASE}))
    (tmp_path / "ann.xml").write_bytes(mal_list(1, 5).replace(b"Dropped", b"Completed"))
    names = [str(tmp_path / name) for name in ("data.json", "aod.json", "ann.xml")]
    monkeypatch.setattr(sys, "argv", ["convert.py", "auto", *names, "--out", str(tmp_path / "data")])
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    assert run_script(script.main) == 2
    said = "ids of different sites: bangumi-data by those of bangumi, anime-offline-database by those of myanimelist"
    assert said in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--site", "myanimelist"])
    assert run_script(script.main) == 0
    assert {row[0] for row in rows_of(tmp_path / "data", "anime.tsv")} == {"1", "5", "7", "2966"}
    assert "relations.tsv: 2 relations between titles" in capsys.readouterr().out
