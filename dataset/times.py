"""Dates and times as people and programs write them -> seconds since 1970, with fractions.

A half date lies at its first instant: 2024 is 2024-01-01, and 2024-03-00 is 2024-03-01, so that no row is newer than
what is known of it, and order is kept as far as it is known. Without a zone a time is UTC. Numbers are told apart by
their size, each by itself: seconds, milliseconds, microseconds and nanoseconds of the years 1973 to 5138, years,
20210815 and the like. A column of nothing but smaller numbers is an order without dates. Whether 03/04/2021 is in March
or April the column says, by days above 12. What says nothing, cannot be read or stays open is NaN: unknown.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataset.tables import on_one_line
from dataset.written_times import day_orders, is_open, read_written

# from here on a number is seconds since 1970, and up to a thousand times that
SECONDS = 1e8, 1e11
# 1629000000,5 and 1,629E+12, as half of Europe's spreadsheets write such numbers
WITH_COMMA = r"^(\d{9,}),(\d+)$|^(\d),(\d+E\+?\d{1,2})$"
UNITS = (1.0, 1e3, 1e6, 1e9)  # of a second
# digits of what is written without separators -> how
COMPACT = {6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
YEARS = 1900, 2100
HALF = re.compile(r"(\d{4}-(?!00)\d\d)-00|(\d{4})-00(?:-\d\d)?")
SAYS_NOTHING = re.compile(
    r"[-0/.: TZ+?]*|(?:0001|1970)-01-01(?!\d).*|nan|nat|#?n/?a|null|none|\\n|unknown|not available", re.IGNORECASE
)

Orders = frozenset[tuple[str, bool]]  # what a column says of dates in numbers; see written_times.day_orders
NO_ORDERS: Orders = frozenset()


class Read(NamedTuple):
    """What a column of times says."""

    seconds: np.ndarray  # (n,) float64, NaN where unknown
    # (n,) bool: cells that mean the same in any column: seconds, years, ISO 8601; and all that are unknown or empty
    is_plain: np.ndarray


def parse_times(cells: pd.Series) -> tuple[pd.Series, int]:
    """Read a whole column of times.

    Returns:
        float64 seconds since 1970, NaN where unknown, and how many cells that are not empty are unknown.
    """
    seconds = pd.Series(read_times(cells).seconds, index=cells.index)
    return seconds, int((seconds.isna() & (cells != "")).sum())


def read_times(cells: pd.Series, orders: Orders | None = None, counts: np.ndarray | None = None) -> Read:
    """Read a column of times, or a part of one, of which orders is then what the whole says of day and month.

    With counts (n,) the cells are different ones, and each stands in so many rows.
    """
    texts = cells.to_numpy(object)
    seconds, is_plain = np.full(len(texts), np.nan), np.ones(len(texts), bool)
    filled = np.flatnonzero(texts.astype(bool))
    if len(filled):
        counts = np.ones(len(filled), int) if counts is None else counts[filled]
        seconds[filled], is_plain[filled] = _read(pd.Series(texts[filled], dtype=object), orders, counts)
    return Read(seconds, is_plain | np.isnan(seconds))


def read_alone(texts: np.ndarray) -> np.ndarray:
    """Read what means the same in any column: (n,) seconds, NaN for all else."""
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(float)
    seconds, _ = _of_numbers(np.where((numbers >= SECONDS[0]) & np.isfinite(numbers), numbers, np.nan))
    rest = np.flatnonzero(np.isnan(numbers) & texts.astype(bool))
    if len(rest):
        seconds[rest] = _of_iso(pd.Series(texts[rest], dtype=object))
    return seconds


def plain_times(cells: pd.Series, orders: Orders | None = None) -> tuple[pd.Series, np.ndarray]:
    """Read times, and write those that depend on their column, or that few can read, in a form that all can.

    Returns:
        The cells, of which such become seconds or ISO 8601; and the seconds (n,), NaN where unknown.
    """
    seconds, is_plain = read_times(cells, orders)
    if is_plain.all():
        return cells, seconds
    cells = cells.copy()
    cells[~is_plain] = [_plain(*of_one) for of_one in zip(cells[~is_plain], seconds[~is_plain].tolist(), strict=True)]
    return cells, seconds


def has_open(cells: pd.Series, seconds: np.ndarray) -> bool:
    """Tell whether some of the unknown times only leave open whether day or month comes first."""
    return any(map(is_open, pd.unique(cells.to_numpy(object)[np.isnan(seconds)])))


def orders_of(columns: Iterable[pd.Series]) -> Orders:
    """Return what a column, which may come in parts, says of dates such as 03/04/2021."""
    return frozenset().union(*(day_orders(pd.unique(cells.to_numpy(object))) for cells in columns))


# --- what is told ---

KINDS = {
    "say nothing": SAYS_NOTHING.fullmatch,
    "leave open whether day or month comes first": is_open,
    "cannot be read": bool,
}
REMEDY = "write 2021-08-15, or seconds since 1970"


class Unknown:
    """Times that are unknown, of a column that may come in parts: how many, why, and an example of each kind."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, str] = {}
        self.is_order = False  # whether some are small numbers, and no dates

    def add(self, cells: pd.Series, seconds: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Count the cells of a part whose seconds (n,) are NaN, in so many rows each; empty ones are none."""
        is_unknown = np.isnan(seconds)
        counts = np.ones(len(seconds), int) if counts is None else counts
        rows = pd.Series(counts[is_unknown]).groupby(cells.to_numpy(object)[is_unknown], sort=False).sum()
        for text, n in rows.sort_values(ascending=False, kind="stable").items():
            if text:
                kind = next(kind for kind, fits in KINDS.items() if fits(text))
                self.counts[kind] = self.counts.get(kind, 0) + int(n)
                self.examples.setdefault(kind, text)
        small = cells[(seconds >= 0) & (seconds < SECONDS[0])]
        self.is_order |= bool(len(small)) and bool(pd.to_numeric(small, errors="coerce").notna().any())

    def sentences(self) -> list[str]:
        """Say what is unknown, and what a reader may not expect."""
        found = [f"{n:,} {kind} ({on_one_line(self.examples[kind], 40)!r})" for kind, n in self.counts.items()]
        told = [f"times that are unknown: {', '.join(found)}; {REMEDY}"] * bool(found)
        return told + ["times that are small numbers count as an order without dates"] * self.is_order


# --- the layers: numbers, ISO 8601, all else ---


def _read(texts: pd.Series, orders: Orders | None, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    numbers = _numbers(texts).copy()
    missing = np.flatnonzero(np.isnan(numbers))
    with_comma = missing[texts.iloc[missing].str.contains(",", regex=False).to_numpy(bool)]
    numbers[with_comma] = _numbers(texts.iloc[with_comma].str.replace(WITH_COMMA, r"\1\3.\2\4", regex=True))
    seconds, is_plain = _of_numbers(numbers)
    is_plain[with_comma] = False
    is_small = (numbers >= 0) & (numbers < SECONDS[0])
    rest = np.flatnonzero(np.isnan(numbers))
    if len(rest):
        seconds[rest], is_plain[rest] = _of_texts(texts.iloc[rest], orders)
    _read_small(numbers, is_small, seconds, is_plain, counts)
    return seconds, is_plain


def _numbers(texts: pd.Series) -> np.ndarray:
    return pd.to_numeric(texts, errors="coerce").replace([np.inf, -np.inf], np.nan).to_numpy(float)


def _of_numbers(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read numbers that are seconds or fractions of them (n,), and dates without separators that are as large."""
    seconds, is_plain = np.full(len(numbers), np.nan), np.ones(len(numbers), bool)
    for unit in UNITS:
        chosen = (numbers >= SECONDS[0] * unit) & (numbers < SECONDS[1] * unit)
        if unit == 1 and chosen.all():
            return numbers.copy(), is_plain
        seconds[chosen] = numbers[chosen] / unit
        is_plain[chosen] = unit == 1
    for digits in (12, 14):
        _read_compact(numbers, digits, seconds, is_plain)
    return seconds, is_plain


def _read_compact(numbers: np.ndarray, digits: int, seconds: np.ndarray, is_plain: np.ndarray) -> None:
    """Read numbers such as 20210815 that are dates, in place."""
    size = 10.0 ** (digits - 4)
    found = np.flatnonzero((numbers >= YEARS[0] * size) & (numbers < YEARS[1] * size) & (numbers % 1 == 0))
    if len(found):
        texts = pd.Index(numbers[found].astype(np.int64).astype(str))
        if digits == 8:  # AniList's 20210800 and 20210000: a day or month that is unknown
            texts = texts.str.replace(r"^(....)00..$", r"\g<1>0101", regex=True).str.replace("00$", "01", regex=True)
        dates = pd.to_datetime(texts, format=COMPACT[digits], errors="coerce", utc=True)
        found, dates = found[dates.notna()], dates[dates.notna()]
        seconds[found], is_plain[found] = _seconds(dates), False


def _read_small(
    numbers: np.ndarray, is_small: np.ndarray, seconds: np.ndarray, is_plain: np.ndarray, counts: np.ndarray
) -> None:
    """Read numbers below SECONDS, in place: as years and dates, or else all of them as they are: an order."""
    if not is_small.any():
        return
    dates = np.where(is_small, numbers, np.nan)
    has_times = bool(np.isfinite(seconds).any())
    found, plain = np.full(len(numbers), np.nan), np.ones(len(numbers), bool)
    is_year = (dates >= YEARS[0]) & (dates < YEARS[1]) & (dates % 1 == 0)
    found[is_year] = (dates[is_year].astype(int).astype(str).astype("datetime64[Y]") - EPOCH).astype(float)
    for digits in (6, 8):
        _read_compact(dates, digits, found, plain)
    is_date = np.isfinite(found)
    is_other = is_small & ~is_date & (numbers != 0)
    if not has_times and counts[is_other].sum() > counts[is_date].sum():
        seconds[is_small] = numbers[is_small]
    else:
        seconds[is_date], is_plain[is_date] = found[is_date], plain[is_date]


def _of_texts(texts: pd.Series, orders: Orders | None) -> tuple[np.ndarray, np.ndarray]:
    seconds, is_plain = _of_iso(texts), np.ones(len(texts), bool)
    rest = np.flatnonzero(np.isnan(seconds))
    if len(rest):
        which, kinds = pd.factorize(texts.iloc[rest])
        orders = day_orders(kinds) if orders is None else orders
        seconds[rest] = np.array([read_written(kind, orders) for kind in kinds])[which]
        is_plain[rest] = False
    # programs write the instant at which their calendar begins where there is no time
    return np.where(seconds == 0, np.nan, seconds), is_plain


def _of_iso(texts: pd.Series) -> np.ndarray:
    seconds = _seconds(pd.to_datetime(texts.to_numpy(), errors="coerce", utc=True, format="ISO8601"))
    # pandas reads "now" and "today" as the clock's time, which is nothing a file can mean
    seconds[[not text[0].isdigit() for text in texts]] = np.nan
    first, last = ((year - 1970) * 365.25 * 86_400 for year in YEARS)
    return np.where((seconds >= first) & (seconds < last) & (seconds != 0), seconds, np.nan)


EPOCH = np.datetime64(0, "s")


def _seconds(dates: pd.DatetimeIndex) -> np.ndarray:
    """Return (n,) seconds; in microseconds, since nanoseconds do not reach far years."""
    moments = dates.tz_localize(None).to_numpy("datetime64[us]")
    return np.where(np.isnat(moments), np.nan, (moments - EPOCH.astype("datetime64[us]")).astype(np.int64) / 1e6)


def _plain(text: str, seconds: float) -> str:
    """Write a moment: a half date or a day as such, else seconds since 1970."""
    if half := HALF.fullmatch(text):
        return half[1] or half[2]
    if seconds % 86_400 == 0 or seconds < SECONDS[0]:
        moment = np.datetime64(round(seconds * 1e6), "us")
        return str(moment.astype("datetime64[D]")) if seconds % 86_400 == 0 else f"{moment}Z"
    return np.format_float_positional(seconds, trim="-")


# --- years ---


def year_of(text: object) -> str:
    """Return the first year from 1900 to 2099 a text names, "" without one: of "Apr 3, 1998 to ?" it is 1998."""
    text = "" if text is None else str(text)
    found = re.search(r"(?<!\d)(?:19|20)\d\d(?:(?!\d)|(?=(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)))", text)
    return found.group() if found else ""


def years_of(cells: pd.Series) -> pd.Series:
    """Return the years of a column, "" where unknown: what a cell starts with, or names, or a time lies in."""
    years = cells.str.extract(r"^(\d{4})(?!\d)", expand=False).fillna("")
    rest = cells[(years == "") & (cells != "")]
    years[rest.index] = rest.map(year_of)
    rest = rest[years[rest.index] == ""]
    seconds = read_times(rest).seconds
    known = np.isfinite(seconds) & (np.abs(seconds) >= SECONDS[0])
    years[rest.index[known]] = seconds[known].astype("datetime64[s]").astype("datetime64[Y]").astype(str)
    return years
