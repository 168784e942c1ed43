"""Scales: what AniList's scoreFormat says, what all scores of a list tell, and scores as other programs write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from importers import anilist, read_export
from importers.common import NO_OPTIONS
from importers.scores import of_ten, score_of, to_ten, top_of_anilist


@pytest.mark.parametrize(
    ("scores", "score_format", "top", "said"),
    [
        ([85, 100], "POINT_100", 100, ""),
        ([10, 8], "POINT_100", 100, "no score is above 10; they are taken as of 100"),
        ([8.5, 10], "POINT_10_DECIMAL", 10, ""),
        ([3, 5], "POINT_10", 10, ""),
        ([5, 1], "POINT_5", 5, ""),
        ([3, 1], "POINT_3", 3, ""),
        ([10, 7], "POINT_5", 10, "scoreFormat is POINT_5, which cannot be: the highest of 2 scores is 10"),
        ([85, 7], "", 100, "no scoreFormat: the highest of 2 scores is 85, so they are taken as of 100"),
        ([9, 7.5], "", 10, "taken as of 10;"),
        ([5, 4, 2], "", 5, "taken as of 5;"),
        ([3, 1, 2], "", 3, "taken as of 3;"),
        ([4] * 10, "", 5, "taken as of 5;"),
        ([4, 3, 2], "", 10, "taken as of 10;"),
        ([3], "", 10, "taken as of 10;"),
        ([4.5, 5, 3], "", 10, "taken as of 10;"),
        ([0, 0], "", 10, ""),
        ([], "", 10, ""),
        ([7, 8], "POINT_9", 10, "which cannot be"),
    ],
)
def test_the_scale_of_a_list_of_anilist(scores: list[float], score_format: str, top: float, said: str) -> None:
    found = top_of_anilist([float(score) for score in scores], score_format)
    assert found[0] == top
    assert said in found[1]
    assert bool(said) == bool(found[1])


def test_scores_are_brought_to_ten() -> None:
    assert to_ten([0, 1, 2, 3], 3) == [0, 3.33, 6.67, 10]
    assert to_ten([0, 85], 100) == [0, 8.5]
    assert to_ten([7.25], 10) == [7.25]


def test_scores_of_a_site_of_ten() -> None:
    assert of_ten([0, 7, 10]) == ([0, 7, 10], "")
    assert of_ten([85, 70, 0, 9])[0] == [8.5, 7, 0, 0.9]
    assert of_ten([8, 8, 80])[0] == [8, 8, 0]
    assert of_ten([850, 700])[0] == [0, 0]


@pytest.mark.parametrize(
    ("written", "rate"),
    [("10/10", 10), ("4/5", 8), ("85 / 100", 8.5), ("8,5", 8.5), (" 7 ", 7), ("", 0), (None, 0), (8, 8), ("0/10", 0)],
)
def test_scores_as_programs_write_them(written: Any, rate: float) -> None:
    assert score_of(Path("a.xml"), "A", written) == rate


@pytest.mark.parametrize("written", ["x", "10/5", "1/0", "-1", "nan", "8 of 10", [8]])
def test_what_is_no_score(written: Any) -> None:
    with pytest.raises(ValueError, match=r"a.xml title A: the rate .* is not a number of 0 or more"):
        score_of(Path("a.xml"), "A", written)


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("8分", 8),
        ("４.5", 4.5),
        ("★★★★☆", 4),
        ("★★★½", 3.5),
        ("⭐️", 1),
        ("4.5 stars", 4.5),
        ("85%", 8.5),
        ("8.5/10", 8.5),
        ("4 / 5", 8),
        ("(无评分)", 0),
        ("-", 0),
        ("Not rated", 0),
        ("#N/A", 0),
    ],
)
def test_rates_as_people_write_them(written: str, rate: float, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"user_id,item_id,rating\nann,1,7\nann,2,{written}\n", encoding="utf-8")
    assert read_export(tmp_path / "a.csv")[1]["rate"].tolist() == [7, rate]


@pytest.mark.parametrize("written", ["like", "True", "A+", "7-8", "11/10", "1,234", "inf"])
def test_what_is_no_rate_has_its_line(written: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'user_id,item_id,rating\nann,1,7\nann,2,"{written}"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.csv line 3: the rate .* is not a number"):
        read_export(tmp_path / "a.csv")


def test_each_user_of_a_file_has_a_scale_and_manga_counts_for_it(tmp_path: Path) -> None:
    """Manga of the same user has the same scale."""

    def collection(*scores: float, kind: str = "ANIME") -> dict[str, Any]:
        entries = [{"mediaId": n, "score": score, "media": {"type": kind}} for n, score in enumerate(scores, start=1)]
        return {"lists": [{"name": "Completed", "entries": entries}]}

    def named(name: str, *scores: float, **more: Any) -> dict[str, Any]:
        return {"user": {"name": name}, **collection(*scores, **more)}

    path = tmp_path / "all.json"
    answer = {"a": named("ann", 8, 9), "b": named("ann", 95, kind="MANGA"), "c": named("bo", 5, 4, 3)}
    path.write_text(json.dumps({"data": answer}))
    rows = next(anilist.lists(path, NO_OPTIONS, {}))
    assert rows[["user_id", "rate"]].to_numpy().tolist() == [
        ["ann", 0.8],
        ["ann", 0.9],
        ["bo", 10],
        ["bo", 8],
        ["bo", 6],
    ]
    told = anilist.remarks(path, NO_OPTIONS)
    assert [sentence.partition(":")[0] for sentence in told] == ["ann", "bo"]


@pytest.mark.parametrize(
    "beside",
    [
        {"data": {"Viewer": {"name": "ann", "mediaListOptions": {"scoreFormat": "POINT_5"}}}},
        {"query": "{ lists { entries { score(format: POINT_5) } } }"},
        {"user": {"mediaListOptions": {"scoreFormat": "POINT_5"}}},
    ],
)
def test_the_format_is_found_wherever_it_stands(beside: dict[str, Any], tmp_path: Path) -> None:
    entries = [{"mediaId": 1, "score": 4, "media": {"type": "ANIME"}}]
    answer = {"MediaListCollection": {"lists": [{"name": "x", "entries": entries}]}, **beside.get("data", {})}
    path = tmp_path / "ann.json"
    path.write_text(json.dumps({**beside, "data": answer}))
    _, rows = read_export(path)
    assert rows["rate"].tolist() == [8]
    assert rows["user_id"].tolist() == ["ann"]
    assert rows.attrs["told"] == ()
