"""AniList's answers in their real shape, and what is odd in them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from importers import anilist, read_export, recognise
from importers.common import ENTRY_COLUMNS, MORE_TITLE_COLUMNS, NO_OPTIONS, TITLE_COLUMNS, Options

COLUMNS = (*TITLE_COLUMNS, *MORE_TITLE_COLUMNS)


def entry(number: int = 20, mal: int | None = 120, **more: Any) -> dict[str, Any]:
    media = {
        "idMal": mal,
        "title": {"romaji": "Fruits Basket", "english": None, "native": "フルーツバスケット"},
        "genres": ["Drama"],
        "description": "A <i>girl</i>.<br><br>\n\n(Source: ANN &amp; others)",
        "seasonYear": 2001,
        "season": "FALL",
        "isAdult": False,
    }
    return {
        "mediaId": number,
        "status": "COMPLETED",
        "score": 8,
        "repeat": 0,
        "notes": None,
        "updatedAt": 1400000000,
        "media": media,
        **more,
    }


def group(*entries: dict[str, Any], name: str = "Completed", custom: bool = False) -> dict[str, Any]:
    return {"name": name, "isCustomList": custom, "status": None if custom else "COMPLETED", "entries": list(entries)}


def read(folder: Path, answer: Any, options: Options = NO_OPTIONS) -> tuple[pd.DataFrame, dict[str, int]]:
    path = folder / "ann.json"
    path.write_text(answer if isinstance(answer, str) else json.dumps(answer), encoding="utf-8")
    dropped: dict[str, int] = {}
    chunks = list(anilist.lists(path, options, dropped))
    assert all(tuple(chunk.columns) == ENTRY_COLUMNS for chunk in chunks)
    assert all(tuple(chunk.columns) == COLUMNS for chunk in anilist.titles(path, options, {}))
    return pd.concat(chunks, ignore_index=True), dropped


@pytest.mark.parametrize(
    "wrap",
    [
        lambda made: made,
        lambda made: {"MediaListCollection": made},
        lambda made: {"data": {"MediaListCollection": made}},
    ],
)
def test_an_answer_is_known_and_read_wrapped_or_not(tmp_path: Path, wrap: Any) -> None:
    (tmp_path / "ann.json").write_text(json.dumps(wrap({"lists": [group(entry(notes="It&#039;s a<b>c"))]})))
    made, files = recognise(tmp_path)
    assert made.name == "anilist-json"
    assert files.lists == files.titles == (tmp_path / "ann.json",)
    _, rows = read_export(tmp_path / "ann.json")
    assert rows.to_numpy().tolist() == [
        ["ann", "ann", "120", 8.0, "done", "It's a<b>c", "1400000000", "", "Fruits Basket / フルーツバスケット", "20"]
    ]
    titles = pd.concat(made.titles(files.titles[0], NO_OPTIONS, {}))
    assert titles.to_numpy().tolist() == [
        [
            "120",
            "Fruits Basket / フルーツバスケット",
            '["Drama"]',
            "A girl.\n\n(Source: ANN & others)",
            "2001",
            "",
            "",
            "",
            "2001-fall",
        ]
    ]


def test_a_title_in_custom_lists_is_read_once(tmp_path: Path) -> None:
    rows, dropped = read(
        tmp_path,
        {
            "lists": [
                group(entry(), entry(21, 121)),
                group(entry(), custom=True, name="Best"),
                group(entry(), entry(22, 122), custom=True, name="Other"),
            ]
        },
    )
    assert rows["subject_id"].tolist() == ["120", "121", "122"]
    assert dropped == {"again in a custom list": 2}


def test_entries_alone_are_a_list(tmp_path: Path) -> None:
    entries = [{"mediaId": 30, "status": "COMPLETED", "score": 8, "media": {"idMal": 1, "type": "ANIME"}}]
    path = tmp_path / "ann.json"
    path.write_text(json.dumps([*entries, {"mediaId": 31, "status": "PLANNING", "score": 0}]))
    name, rows = read_export(path)
    assert (name, rows["subject_id"].tolist(), rows["status"].tolist()) == (
        "anilist-json",
        ["1", "anilist:31"],
        ["done", "wish"],
    )


def test_a_title_that_mal_lacks_has_an_id_no_other_site_has(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, {"lists": [group(entry(20, None), entry(120), {"mediaId": 5, "status": "CURRENT"})]})
    assert rows["subject_id"].tolist() == ["anilist:20", "120", "anilist:5"]
    assert read_export(tmp_path / "ann.json")[1]["other_id"].tolist() == ["20", "120", "5"]
    assert read_export(tmp_path / "ann.json")[1]["name"].tolist()[-1] == ""


def test_statuses(tmp_path: Path) -> None:
    asked = ["CURRENT", "PLANNING", "COMPLETED", "DROPPED", "PAUSED", "REPEATING", None, "SEEN"]
    rows, dropped = read(
        tmp_path, {"lists": [group(*(entry(number, number + 1, status=status) for number, status in enumerate(asked)))]}
    )
    assert rows["status"].tolist() == [
        "doing",
        "wish",
        "done",
        "dropped",
        "on_hold",
        "done",
        "done",
    ]  # the list is called so
    assert dropped == {"of an unknown status": 1}


@pytest.mark.parametrize(
    ("scores", "rates"), [([0, 7.5, 10], [0, 7.5, 10]), ([0, 75, 100], [0, 7.5, 10]), ([None, 8], [0, 8])]
)
def test_scores_of_10_and_of_100(tmp_path: Path, scores: list[Any], rates: list[float]) -> None:
    rows, _ = read(
        tmp_path, {"lists": [group(*(entry(number, number + 1, score=score) for number, score in enumerate(scores)))]}
    )
    assert rows["rate"].tolist() == rates


def test_whose_list_it_is_and_when(tmp_path: Path) -> None:
    made = {"lists": [group(entry(updatedAt=0))]}
    assert read(tmp_path, made)[0][["user_id", "updated_at"]].to_numpy().tolist() == [["ann", ""]]
    assert read(tmp_path, made, Options(user="bo"))[0]["user_id"].tolist() == ["bo"]
    named = {**made, "user": {"name": "cy"}}
    assert read(tmp_path, named, Options(user="bo"))[0]["user_id"].tolist() == ["cy"]


def test_tags_and_adult_titles(tmp_path: Path) -> None:
    media = {
        **entry()["media"],
        "isAdult": True,
        "tags": [{"name": "Tragedy", "rank": 90}, {"name": "Drama", "rank": 8}],
    }
    read(tmp_path, {"lists": [group(entry(media=media))]})
    titles = pd.concat(anilist.titles(tmp_path / "ann.json", NO_OPTIONS, {}))
    assert titles[["tags_name", "adult"]].to_numpy().tolist() == [['["Drama", "Tragedy"]', "1"]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"errors": [{"message": "Private User"}], "data": {"MediaListCollection": None}}, r"error \(Private User\)"),
        ({"data": {"MediaListCollection": None}}, "no MediaListCollection; save the answer"),
        ({"lists": [{"entries": [{"score": 1}]}]}, "no MediaListCollection"),
        ({"lists": [{"entries": None}]}, "no MediaListCollection"),
        ({"lists": [group(entry(score="good"))]}, "ann.json title 20: the rate 'good' is not a number"),
        ([1], "no MediaListCollection"),
        ('{"lists": [{"entries": [', "ann.json line 1: no JSON"),
        ("", "ann.json line 1: no JSON"),
    ],
)
def test_damaged_answers(tmp_path: Path, answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, answer)
