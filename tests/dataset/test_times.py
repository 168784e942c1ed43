"""Dates and times as people write them."""

import numpy as np
import pandas as pd
import pytest

from dataset.times import Unknown, parse_times, plain_times, year_of, years_of

FILLER = "2020-01-01"  # so that the column has a time beside


def moment(text: str) -> float:
    return float((np.datetime64(text, "us") - np.datetime64(0, "us")).astype(np.int64)) / 1e6


def read(cell: str) -> float:
    return parse_times(pd.Series([FILLER, cell], dtype=object))[0][1]


@pytest.mark.parametrize(
    ("cell", "instant"),
    [
        ("2024", "2024-01-01"),
        ("2024.0", "2024-01-01"),
        ("2024-00-00", "2024-01-01"),
        ("2024-00-15", "2024-01-01"),
        ("2024-03-00", "2024-03-01"),
        ("2024-03", "2024-03-01"),
        ("202108", "2021-08-01"),
        ("20210815", "2021-08-15"),
        ("20210815103000", "2021-08-15T10:30"),
        ("2021年8月15日", "2021-08-15"),
        ("2021年8月", "2021-08-01"),
        ("2021年", "2021-01-01"),
        ("2021年8月15日 下午3:05", "2021-08-15T15:05"),
        ("2021年08月15日 10时30分20秒", "2021-08-15T10:30:20"),
        ("２０２１／０８／１５", "2021-08-15"),
        ("2021/08/15", "2021-08-15"),
        ("2012-5-3 21:30", "2012-05-03T21:30"),
        ("08/15/2021", "2021-08-15"),
        ("15.08.2021", "2021-08-15"),
        ("05/05/2021", "2021-05-05"),
        ("8/15/2021 10:30:00 PM", "2021-08-15T22:30"),
        ("8/15/2021 12:30 AM", "2021-08-15T00:30"),
        ("08/2021", "2021-08-01"),
        ("09 13, 2009", "2009-09-13"),
        ("Apr 3, 1998", "1998-04-03"),
        ("3 April 1998", "1998-04-03"),
        ("15-Aug-2021", "2021-08-15"),
        ("Aug 15th, 2021", "2021-08-15"),
        ("Fall 2006", "2006-10-01"),
        ("2013-04-01 12:00:00 UTC", "2013-04-01T12:00"),
        ("2021-08-15 10:00 JST", "2021-08-15T01:00"),
        ("Sun Aug 15 10:00:00 +0900 2021", "2021-08-15T01:00"),
        ("Sun, 15 Aug 2021 10:00:00 GMT", "2021-08-15T10:00"),
        ("Sun Aug 15 2021 10:00:00 GMT+0800 (China Standard Time)", "2021-08-15T02:00"),
        ("1629000000", "2021-08-15T04:00"),
        ("1629000000005", "2021-08-15T04:00:00.005"),
        ("1629000000005123", "2021-08-15T04:00:00.005123"),
        ("1.629E+12", "2021-08-15T04:00"),
        ("1,629E+12", "2021-08-15T04:00"),
        ("1629000000,5", "2021-08-15T04:00:00.5"),
        ("20210800", "2021-08-01"),
        ("20210000", "2021-01-01"),
        ("2021年8月15日(日)", "2021-08-15"),
        ("2021年8月15日 星期日 下午3:05", "2021-08-15T15:05"),
        ("2021/8/15（周日） 10:30", "2021-08-15T10:30"),
        ("2021-08-15 日曜日", "2021-08-15"),
        ("2021. 8. 15.", "2021-08-15"),
        ("2021. 8. 15. 오후 3:05:06", "2021-08-15T15:05:06"),
        ("2021년 8월 15일 오전 3:05", "2021-08-15T03:05"),
        ("2021-08-15 10:00:00 GMT+8", "2021-08-15T02:00"),
        ("2021-08-15T10:00:00+08:00[Asia/Shanghai]", "2021-08-15T02:00"),
    ],
)
def test_forms(cell: str, instant: str) -> None:
    assert read(cell) == pytest.approx(moment(instant), abs=1e-6)
    plain, seconds = plain_times(pd.Series([FILLER, cell], dtype=object))
    assert parse_times(plain)[0].tolist() == seconds.tolist()


@pytest.mark.parametrize(
    "cell",
    ["0", "-1", "0000-00-00", "0.0", "99", "null", "Not available", "2004 to ?", "03/04/2021", "15/8/21", "2021.8"]
    + [
        "1970-01-01",
        "1970-01-01T00:00:00Z",
        "1970-01-01 08:00:00+08:00",
        "0001-01-01T00:00:00Z",
        "0000-08-15",
        "2564-08-15",
        "1,629,000,000",
        "20211300",
        "2021-13-00",
        "2021年13月1日",
        "31/02/2021",
        "2021-08-15 25:00",
        "2021-08-15 10:00 CST",
        "12:30",
        "last summer",
        "Apr 3",
        "z2015",
        "2015utc",
        "z_2015",
    ],
)
def test_what_is_unknown_never_becomes_1970(cell: str) -> None:
    assert np.isnan(read(cell))


@pytest.mark.parametrize(
    ("column", "days"),
    [
        (["03/04/2021", "15/04/2021"], ["2021-04-03", "2021-04-15"]),
        (["03/04/2021", "04/15/2021"], ["2021-03-04", "2021-04-15"]),
        (["03.04.2021 10:00", "15.04.2021 10:00"], ["2021-04-03T10:00", "2021-04-15T10:00"]),
        (["03/04/2021", "04/15/2021", "15/04/2021"], [None, "2021-04-15", "2021-04-15"]),
        (["03/04/2021", "15.04.2021"], [None, "2021-04-15"]),  # another separator says nothing of this one
    ],
)
def test_the_column_says_whether_day_or_month_is_first(column: list[str], days: list[str | None]) -> None:
    seconds, unknown = parse_times(pd.Series(column))
    assert [None if np.isnan(time) else time for time in seconds] == [day and moment(day) for day in days]
    assert unknown == days.count(None)


def test_small_numbers_are_an_order_unless_they_are_years() -> None:
    places = [str(number) for number in range(3000)]
    assert parse_times(pd.Series(places))[0].tolist() == [float(number) for number in range(3000)]
    years, unknown = parse_times(pd.Series(["2019", "2021", "7", "0"]))
    assert years[:2].tolist() == [moment("2019"), moment("2021")]
    assert unknown == 2


def test_what_is_told() -> None:
    cells = pd.Series(["0000-00-00", "0000-00-00", "noon", "03/04/2021", "", "2020"])
    unknown = Unknown()
    unknown.add(cells, plain_times(cells)[1])
    assert unknown.sentences() == [
        "times that are unknown: 2 say nothing ('0000-00-00'), 1 cannot be read ('noon'), 1 leave open whether day or "
        "month comes first ('03/04/2021'); write 2021-08-15, or seconds since 1970"
    ]
    order = Unknown()
    order.add(pd.Series(["1", "2"]), np.array([1.0, 2.0]))
    assert order.sentences() == ["times that are small numbers count as an order without dates"]


@pytest.mark.parametrize(
    ("cell", "year"),
    [
        ("Apr 3, 1998 to Apr 24, 1999", "1998"),
        ("2004 to ?", "2004"),
        ("Fall 2006", "2006"),
        ("Not available", ""),
        ("19980403", "1998"),
        ("1998年4月3日", "1998"),
        ("03/04/1999", "1999"),
        ("{'from': '1998-04-03T00:00:00+00:00', 'to': None}", "1998"),
        ("2006.0", "2006"),
        ("1154390400", "2006"),
        ("20045", ""),
        ("12", ""),
        ("", ""),
    ],
)
def test_years(cell: str, year: str) -> None:
    assert years_of(pd.Series([cell])).tolist() == [year]
    assert year_of(cell) == ("" if cell == "1154390400" else year)
