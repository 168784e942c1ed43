"""Written forms of known instants come back within their precision, in order, and nothing unknown becomes 1970."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset.times import parse_times, plain_times

N = 300
# how an instant is written, and how many seconds of it are lost: None where the day of the year is
FORMS = {
    "{0}": 1,
    "{1}": 1e-3,
    "{2}": 1e-6,
    "%Y-%m-%dT%H:%M:%S.%fZ": 1e-6,
    "%Y-%m-%d %H:%M:%S UTC": 1,
    "%Y-%m-%dT%H:%M+00:00": 60,
    "%Y%m%d": 86_400,
    "%Y%m%d%H%M%S": 1,
    "%Y/%m/%d %H:%M": 60,
    "%Y年%m月%d日": 86_400,
    "%d.%m.%Y %H:%M:%S": 1,
    "%m/%d/%Y %I:%M:%S %p": 1,
    "%m/%d/%Y": 86_400,
    "%d-%m-%Y": 86_400,
    "%b %d, %Y": 86_400,
    "%d %B %Y %H:%M": 60,
    "%a %b %d %H:%M:%S +0000 %Y": 1,
    "%a, %d %b %Y %H:%M:%S GMT": 1,
    "%Y-%m": 31 * 86_400,
    "%Y-%m-00": 31 * 86_400,
    "%Y-00-00": 366 * 86_400,
    "%Y": 366 * 86_400,
}


def instants(seed: int) -> list[datetime]:
    rng = np.random.default_rng(seed)
    moments = np.sort(rng.integers(631_152_000_000_000, 1_900_000_000_000_000, N))
    return [datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(moment)) for moment in moments]


def written(moment: datetime, form: str) -> str:
    micro = round(moment.timestamp() * 1e6)
    return form.format(micro // 10**6, micro // 10**3, micro) if "{" in form else moment.strftime(form)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_comes_back(form: str) -> None:
    """N instants a form: seven thousand in all."""
    moments = instants(len(form))
    cells = pd.Series([written(moment, form) for moment in moments])
    seconds, unknown = parse_times(cells)
    assert unknown == 0
    lost = np.array([moment.timestamp() for moment in moments]) - seconds.to_numpy()
    assert (lost > -1e-5).all()
    assert (lost < FORMS[form] + 1e-5).all()
    assert all(one <= other for one, other in pairwise(seconds))
    plain, same = plain_times(cells)
    np.testing.assert_array_equal(same, seconds)
    np.testing.assert_array_equal(parse_times(plain)[0], seconds)
    alone = [parse_times(pd.Series(["2020-01-01T10:00:00", cell]))[0][1] for cell in plain[:20]]
    np.testing.assert_array_equal(alone, seconds[:20])


def test_forms_side_by_side_keep_their_order() -> None:
    """All forms but those of months and years, in one column; two of a day share no day."""
    forms = [form for form, lost in FORMS.items() if lost <= 86_400]
    cells = [written(moment, forms[n % len(forms)]) for n, moment in enumerate(instants(1))]
    seconds, unknown = parse_times(pd.Series(cells))
    assert unknown == 0
    assert all(one < other + 86_400 for one, other in pairwise(seconds))


@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), hours=st.integers(-12, 14))  # noqa: DTZ001
def test_zones(moment: datetime, hours: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(hours=hours)), microsecond=0)
    for form in ("%Y-%m-%dT%H:%M:%S%z", "%a %b %d %H:%M:%S %z %Y", "%d %B %Y %H:%M:%S %z"):
        assert parse_times(pd.Series([there.strftime(form)]))[0][0] == there.timestamp()


@given(text=st.text(st.sampled_from("0123456789-/.:, TZ年月日AprMayto+?"), max_size=14))
def test_nothing_unknown_becomes_1970(text: str) -> None:
    """Beside a time, what is read is the text's own year, or no small number."""
    second = parse_times(pd.Series(["2021-08-15", text.strip()], dtype=object))[0][1]
    if second == second and abs(second) < 1e8:
        assert "1970" in text or any(str(year) in text for year in range(1966, 1974))
