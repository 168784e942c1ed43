"""In which season a title began, as people and sites write it."""

from pathlib import Path

import pandas as pd
import pytest

from dataset.readers import read_anime
from dataset.seasons import season_of, seasons_of


@pytest.mark.parametrize(
    ("text", "season"),
    [
        ("2014-fall", "2014-fall"),
        ("Fall 2014", "2014-fall"),
        ("FALL 2014", "2014-fall"),
        ("autumn 2014", "2014-fall"),
        ("2014年秋", "2014-fall"),
        ("2014-10-04", "2014-fall"),
        ("2014-12", "2014-fall"),
        ("2015-01-09T00:00:00Z", "2015-winter"),
        ("2014年4月", "2014-spring"),
        ("2014/7/5", "2014-summer"),
        ("Oct 4, 2014 to Mar 28, 2015", "2014-fall"),
        ("Apr 1998 to ?", "1998-spring"),
        ("2014", ""),
        ("UNDEFINED 2014", ""),
        ("None None", ""),
        ("2014-00-00", ""),
        ("2014-13-01", ""),
        ("Unknown", ""),
        ("Springfield 2014", ""),
        ("winter", ""),
        (None, ""),
    ],
)
def test_what_is_written(text: str | None, season: str) -> None:
    assert season_of(text) == season


def test_a_column() -> None:
    cells = pd.Series(["2014-10-04", "", "spring 2001", "2014-10-04"], index=[3, 5, 7, 9])
    assert seasons_of(cells).to_dict() == {3: "2014-fall", 5: "", 7: "2001-spring", 9: "2014-fall"}


def test_anime_tsv_tells_by_its_season_or_else_by_its_dates(tmp_path: Path) -> None:
    rows = (
        "subject_id\tname\ttags_name\tsummary\tdate\tseason\ttype",
        "1\ta\t[]\t\t2014-01-05\tFall 2013\t TV ",
        "2\tb\t[]\t\t2014-01-05\t\t",
        "3\tc\t[]\t\t\tsoon\tMovie",
    )
    (tmp_path / "anime.tsv").write_text("\n".join(rows) + "\n")
    anime = read_anime(tmp_path)
    assert anime["season"].tolist() == ["2013-fall", "2014-winter", ""]
    assert anime["type"].tolist() == ["TV", "", "Movie"]
