"""Scales of rates, and times of lists, on their way to a data folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset.readers import read_interactions
from importers import read_export, recognise
from importers.common import NO_OPTIONS
from importers.pipeline import Result, Rules, convert
from importers.scale import Scale
from tests.helpers.conversions import rows_of
from tests.helpers.import_samples import write
from tools.convert import convert_summary


def table(folder: Path, rates: list[float | str], times: list[str] | None = None) -> Path:
    """Write pairs of ten users; rates and times are repeated."""
    times = times or ["1600000000"]
    lines = [f"u{n % 10},i{n // 10},{rates[n % len(rates)]},{times[n % len(times)]}" for n in range(100)]
    return write(folder, t__csv="user_id,item_id,rating,timestamp\n" + "\n".join(lines) + "\n") / "t.csv"


def converted(path: Path) -> tuple[Result, list[str], str]:
    """Return what was written, the rates, and the command of a first run."""
    folder = path.parent / "out"
    result = convert([recognise(path)], folder, NO_OPTIONS, Rules())
    command = next(line for line in convert_summary(result, folder).splitlines() if "main.py" in line)
    return result, [row[2] for row in rows_of(folder, "interactions.tsv")], command


@pytest.mark.parametrize(
    ("rates", "kept", "suggested", "told"),
    [
        (
            [-9.5, 8.25, 0, -0.5, 0.75, 4, 2],
            ["-9.5", "8.25", "0", "-0.5", "0.75", "4", "2"],
            "--min_rate 0.75",
            "dislikes",
        ),
        ([-1, 1], ["-1", "1"], None, "rates go down to -1"),
        ([-1, 7, -1, 10], ["0", "7", "0", "10"], None, "the rate -1 is taken for unrated"),
        ([-1, -1, 10], ["0", "0", "10"], "--min_rate 0", "the rate -1 is taken for unrated"),
        ([99, -3.5, 9.5], ["0", "-3.5", "9.5"], None, "the rate 99 is taken for unrated"),
        ([-999, 60, 100], ["0", "60", "100"], None, "the rate -999"),
        ([0.2, 0.4, 1], ["0.2", "0.4", "1"], "--min_rate 0.2", "the positives are the rates from 0.2 on"),
        ([0.5, 3, 5], ["0.5", "3", "5"], None, ""),
        ([10, 55, 100], ["10", "55", "100"], None, ""),
        ([-3, -3, 0, 0, 0, 2], ["-3", "-3", "0", "0", "0", "2"], None, "dislikes"),
    ],
)
def test_scales(tmp_path: Path, rates: list[float], kept: list[str], suggested: str | None, told: str) -> None:
    result, written, command = converted(table(tmp_path, rates))
    assert written[: len(kept)] == kept
    assert told in " ".join(result.told)
    assert bool(told) == bool(result.told)
    assert ("--min_rate" in command) == (suggested is not None)
    assert (suggested or "") in command
    least = float(suggested.split()[1]) if suggested else 1
    assert not any(
        rate < 0 and float(text) >= least and rate not in (-1, -999) for rate, text in zip(rates, kept, strict=True)
    )


def test_most_rows_disliked_are_no_positives_where_most_are_unrated(tmp_path: Path) -> None:
    result, _, command = converted(table(tmp_path, [-3, 0, 0, 2]))
    assert result.unrated == 50
    result, _, command = converted(table(tmp_path / "more", [-3, 0, 0, 0, 2]))
    assert "--min_rate 0" in command  # from which -3 is no positive


def test_a_list_of_one_person_has_the_same_scale(tmp_path: Path) -> None:
    text = "user_id,item_id,rating\n" + "".join(f"u,{n},{rate}\n" for n, rate in enumerate((-1, 7, 9, -1)))
    assert read_export(write(tmp_path, t__csv=text) / "t.csv")[1]["rate"].tolist() == [0, 7, 9, 0]


def test_a_scale_is_the_same_however_it_is_met() -> None:
    rates = np.array([-1, 7, 8, 9, 9, 0, -1.0])
    at_once, in_parts = Scale(), Scale()
    at_once.add(*np.unique(rates, return_counts=True))
    for rate in rates:
        in_parts.add(*np.unique([rate], return_counts=True))
    assert vars(at_once) == vars(in_parts)


# --- times ---


def test_the_whole_file_says_whether_day_or_month_is_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row that says so is in the last of many chunks."""
    monkeypatch.setattr("importers.sheets.CHUNK", 250)
    days = ["03/04/2021"] * 999 + ["15/04/2021"]
    lines = [f"u{n % 10},i{n // 10},5,{day}" for n, day in enumerate(days)]
    write(tmp_path, t__csv="user_id,item_id,rating,date\n" + "\n".join(lines) + "\n")
    result, _, _ = converted(tmp_path / "t.csv")
    assert {row[4] for row in rows_of(tmp_path / "out", "interactions.tsv")} == {"2021-04-03", "2021-04-15"}
    assert result.told == ()


def test_open_times_are_told_and_kept(tmp_path: Path) -> None:
    result, _, _ = converted(table(tmp_path, [5], ["03/04/2021"]))
    assert "100 leave open whether day or month comes first ('03/04/2021')" in result.told[0]
    assert {row[4] for row in rows_of(tmp_path / "out", "interactions.tsv")} == {"03/04/2021"}


def test_milliseconds_keep_their_digits(tmp_path: Path) -> None:
    converted(table(tmp_path, [5], [str(1_629_000_000_005 + n) for n in range(100)]))
    times = [row[4] for row in rows_of(tmp_path / "out", "interactions.tsv")]
    assert times[:2] == ["1629000000.005", "1629000000.006"]


LIST = """<myanimelist><myinfo><user_name>{user}</user_name></myinfo>{titles}</myanimelist>"""
TITLE = (
    "<anime><series_animedb_id>{0}</series_animedb_id><series_title>T{0}</series_title><my_finish_date>{1}"
    "</my_finish_date><my_score>7</my_score><my_status>Completed</my_status></anime>"
)


def test_half_dates_of_a_list_keep_their_order(tmp_path: Path) -> None:
    """As MyAnimeList writes a year alone; the newest was 2,024 seconds after 1970."""
    days = ["2005-03-02", "2012-00-00", "2013-05-00", "2024-00-00", "0000-00-00"]
    titles = "".join(TITLE.format(n, day) for n, day in enumerate(days, start=1))
    (tmp_path / "list.xml").write_text(LIST.format(user="ann", titles=titles), encoding="utf-8")
    convert([recognise(tmp_path / "list.xml")], tmp_path / "out", NO_OPTIONS, Rules())
    rows, facts = read_interactions(tmp_path / "out", pd.Series([str(n) for n in range(1, 6)]))
    moments = rows.set_index("subject_id")["time"]
    assert moments["1"] < moments["2"] < moments["3"] < moments["4"]
    assert moments["4"] == 1_704_067_200  # 2024-01-01
    assert np.isnan(moments["5"])
    assert facts["unparsable times"] == 0
