"""Anime and manga under the same numbers, in every form that says which is which; and what says nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from importers import read_export, recognise
from importers.common import Options
from importers.kinds import kind_of_file
from importers.pipeline import convert
from importers.users import Rules
from tests.helpers.conversions import rows_of

MEDIA = {"idMal": 21, "title": {"romaji": "A Name"}}


def anilist(*media: dict[str, Any], name: str = "Completed", alias: str = "MediaListCollection", **beside: Any) -> str:
    entries = [{"mediaId": 30000 + n, "status": "COMPLETED", "score": 8, "media": one} for n, one in enumerate(media)]
    return json.dumps(
        {"data": {alias: {"user": {"name": "ann"}, "lists": [{"name": name, "entries": entries}]}}, **beside}
    )


MANGA = {
    "media.type": anilist(MEDIA | {"type": "MANGA"}),
    "media.format": anilist(MEDIA | {"format": "NOVEL"}),
    "media.siteUrl": anilist(MEDIA | {"siteUrl": "https://anilist.co/manga/30021/x"}),
    "media.chapters": anilist(MEDIA | {"chapters": 12}),
    "the name of a list": anilist(MEDIA, name="Reading"),
    "an alias": anilist(MEDIA, alias="mangaList"),
    "the variables of the query": anilist(MEDIA, variables={"type": "MANGA", "userName": "ann"}),
    "the query": anilist(MEDIA, query='{ MediaListCollection(userName: "ann", type: MANGA) { lists } }'),
    "MyAnimeList's API: the format": json.dumps(
        {"data": [{"node": {"id": 21, "title": "A", "media_type": "light_novel"}, "list_status": {"score": 9}}]}
    ),
    "MyAnimeList's API: chapters": json.dumps(
        {"data": [{"node": {"id": 21, "title": "A"}, "list_status": {"score": 9, "num_chapters_read": 0}}]}
    ),
    "MyAnimeList's API: the status": json.dumps(
        {"data": [{"node": {"id": 21, "title": "A"}, "list_status": {"score": 9, "status": "plan_to_read"}}]}
    ),
    "MyAnimeList's API: the address": json.dumps(
        {
            "data": [{"node": {"id": 21, "title": "A"}, "list_status": {"score": 9, "status": "completed"}}],
            "paging": {"next": "https://api.myanimelist.net/v2/users/animefan/mangalist?offset=100"},
        }
    ),
    "load.json": json.dumps([{"manga_id": 21, "manga_title": "A", "score": 9, "status": 2}]),
    "Shikimori": json.dumps([{"target_id": 21, "target_type": "Ranobe", "target_title": "A", "status": "completed"}]),
    "Shikimori's API": json.dumps(
        [{"id": 1, "score": 9, "status": "completed", "rewatches": 0, "anime": None, "manga": {"id": 21, "name": "A"}}]
    ),
    "AniList's download": json.dumps({"user": {}, "lists": [{"series_id": 21, "series_type": 1, "status": 2}]}),
    "Yamtrack": '"media_id","source","media_type","title"\n"21","mal","manga","A"\n',
    "Bangumi": json.dumps(
        {"data": [{"subject_id": 21, "subject_type": 1, "type": 2, "rate": 0}], "total": 1, "offset": 0, "limit": 50}
    ),
    "MyAnimeList's XML: elements": "<myanimelist><manga><manga_mangadb_id>21</manga_mangadb_id></manga></myanimelist>",
    "MyAnimeList's XML: its type": "<myanimelist><myinfo><user_export_type>2</user_export_type></myinfo><anime>"
    "<series_animedb_id>21</series_animedb_id></anime></myanimelist>",
    "MyAnimeList's XML: of titles": "<myanimelist><anime><series_animedb_id>21</series_animedb_id>"
    "<series_type>Manga</series_type></anime></myanimelist>",
}


@pytest.mark.parametrize("what", MANGA)
def test_manga_is_refused_alone_and_left_out_beside_anime(what: str, tmp_path: Path) -> None:
    path = tmp_path / {"Yamtrack": "list.csv", "Bangumi": "list.json"}.get(what, "list")
    path.write_text(MANGA[what], encoding="utf-8")
    with pytest.raises(ValueError, match="its titles, 1 in all, are manga or of other kinds than anime"):
        read_export(path)
    source = recognise(path)
    with pytest.raises(ValueError, match="list.*: its titles, 1 in all, are manga"):
        convert([source], tmp_path / "out", Options(), Rules())
    (tmp_path / "bo.json").write_text(json.dumps([{"anime_id": 1, "anime_title": "B", "score": 9, "status": 2}]))
    result = convert([source, recognise(tmp_path / "bo.json")], tmp_path / "out", Options(), Rules())
    assert result.dropped_rows == {"of other kinds than anime": 1}
    assert [row[:2] for row in rows_of(tmp_path / "out", "interactions.tsv")] == [["bo", "1"]]
    assert [row[0] for row in rows_of(tmp_path / "out", "anime.tsv")] == ["1"]


def test_of_both_kinds_anime_is_kept_and_the_rest_is_told(tmp_path: Path) -> None:
    path = tmp_path / "both.json"
    path.write_text(anilist(MEDIA | {"type": "MANGA"}, MEDIA | {"type": "ANIME", "idMal": 22}))
    _, rows = read_export(path)
    assert rows["subject_id"].tolist() == ["22"]
    assert rows.attrs["told"][0] == "left out: 1 of other kinds than anime"


def test_one_title_that_says_its_kind_says_that_of_its_list(tmp_path: Path) -> None:
    path = tmp_path / "ann.json"
    path.write_text(anilist(MEDIA, MEDIA | {"format": "MANGA"}))
    with pytest.raises(ValueError, match="its titles, 2 in all, are manga"):
        read_export(path)


def test_an_unknown_kind_is_taken_for_anime_and_told(tmp_path: Path) -> None:
    path = tmp_path / "mangafan.json"
    path.write_text(anilist(MEDIA))
    _, rows = read_export(path)
    assert rows["subject_id"].tolist() == ["21"]
    assert "nothing in it says whether its titles are anime or manga" in rows.attrs["told"][-1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mangalist.json", "manga"),
        ("ann-manga.json", "manga"),
        ("animelist_1.json", "anime"),
        ("mangafan.json", ""),
        ("anime_and_manga.json", ""),
    ],
)
def test_what_files_are_called_after(name: str, kind: str) -> None:
    assert kind_of_file(Path(name)) == kind
