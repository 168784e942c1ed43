"""A date or time in words or numbers, other than ISO 8601 -> seconds since 1970."""

import calendar
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1)
NO_DATE = float("nan")
MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
MONTHS |= {name[:3]: number for name, number in MONTHS.items()} | {"sept": 9}
SEASONS = {"winter": 1, "spring": 4, "summer": 7, "fall": 10, "autumn": 10}  # of broadcasting
# hours ahead of UTC; names of several zones, such as CST, are none
ZONES = {"utc": 0, "gmt": 0, "z": 0, "cet": 1, "cest": 2, "jst": 9, "kst": 9, "est": -5, "edt": -4, "mst": -7}
ZONES |= {"mdt": -6, "pst": -8, "pdt": -7}

CLOCK = re.compile(
    r"(?:(上午|下午|午前|午後|오전|오후)\s*)?(?<!\d)(\d{1,2})[:時时点](\d{1,2})(?:[:分](\d{1,2})(?:[.,](\d{1,9}))?)?[分秒]?"
    r"(?:\s*([ap])\.?m\b\.?)?"
)
OFFSET = re.compile(r"\s*(?:utc|gmt)?\s*([+-])(\d{1,2})(?::?(\d{2}))?\b(?:\s*\(.*\)|\[[\w/+-]+\])?")
IGNORED = re.compile(
    r"\b(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\b[.,]?|@|\b(?:at|on)\b|(?<=\d)(?:st|nd|rd|th)\b"
    r"|\(?(?:星期|周|週)[一二三四五六日天]\)?|[日月火水木金土]曜日?|\([日月火水木金土一二三四五六]\)"
)
YEAR_FIRST = re.compile(
    r"(\d{4})(?:\s*[年년]|\s*([-/. ])\s*(?=\d))(?:\s*(\d{1,2})(?:\s*[月월]|(?=\D|$))(?:\s*\2?\s*(\d{1,2})\s*[日일]?)?)?"
)
IN_NUMBERS = re.compile(r"(\d{1,2})\s*([-/. ])\s*(\d{1,2})(?:\s*\2|,)\s*(\d{4})")
MONTH_AND_YEAR = re.compile(r"(\d{1,2})\s*[-/.]\s*(\d{4})")
# most of what is written like 08/15/2021; groups 1 to 4 as of IN_NUMBERS
SIMPLE = re.compile(r"(\d\d?)([-/.])(\d\d?)\2(\d{4})(?: (\d\d?):(\d\d)(?::(\d\d))?)?", re.ASCII)
LIKELY = re.compile(r"\W*(?:[a-zA-Z]|\d\d?\W)")
WORDS = re.compile(r"[a-z]+|\d+")


class _Parts(NamedTuple):
    date: str  # what is left without clock, zone and weekday
    clock: tuple[int, int, int, int]  # hour, minute, second, microsecond
    ahead: int  # seconds ahead of UTC


def read_written(text: str, orders: frozenset[tuple[str, bool]] = frozenset()) -> float:
    """Read one date or time, at the first instant of what it says.

    Args:
        text: such as 2024-03-00, 2021年8月15日, 08/15/2021 10:00 PM, Apr 3, 1998, Sun Aug 15 10:00:00 +0900 2021.
        orders: what its column says, see day_orders.

    Returns:
        Seconds since 1970, NaN where it cannot be read, or stays open.
    """
    if simple := SIMPLE.fullmatch(text):
        date = _in_order(_numbers_of(simple), orders)
        parts = _Parts("", tuple(int(number or 0) for number in (*simple.groups()[4:], 0)), 0)
    else:
        parts = _parts(text)
        date = _date(parts.date, orders) if parts else None
    if date is None:
        return NO_DATE
    try:
        moment = datetime(*date, *parts.clock)
    except ValueError:
        return NO_DATE
    return (moment - EPOCH).total_seconds() - parts.ahead


def day_orders(texts: Iterable[str]) -> frozenset[tuple[str, bool]]:
    """Return what dates in numbers say of how they all are written: (separator, whether the day is first).

    A date says so by a number above 12. A column that says both, or nothing, leaves the others open.
    """
    found = set()
    for text in texts:
        if len(found) == 8:
            break
        numbers = _in_numbers(text)
        if numbers and (numbers[1] > 12) != (numbers[2] > 12):
            found.add((numbers[0], numbers[1] > 12))
    return frozenset(found)


def is_open(text: str) -> bool:
    """Tell whether a text is a date that only leaves open whether day or month comes first."""
    numbers = _in_numbers(text)
    return numbers is not None and min(numbers[1:3]) >= 1 and max(numbers[1:3]) <= 12


def _in_numbers(text: str) -> tuple[str, int, int, int] | None:
    """Return separator, first and second number and year of a date such as 03/04/2021."""
    found = SIMPLE.fullmatch(text)
    if not found and (LIKELY.match(text) or not text[:1].isascii()):  # others at little cost
        parts = _parts(text)
        found = IN_NUMBERS.fullmatch(parts.date) if parts else None
    return _numbers_of(found) if found else None


def _numbers_of(found: re.Match[str]) -> tuple[str, int, int, int]:
    return found[2], int(found[1]), int(found[3]), int(found[4])


def _parts(text: str) -> _Parts | None:
    """Take a text apart; None if its zone is unknown."""
    text = unicodedata.normalize("NFKC", text).lower().strip()
    text = re.sub(r"(?<=\d)t(?=\d)", " ", text)
    clock, ahead = (0, 0, 0, 0), 0
    found = CLOCK.search(text)
    before, after = (text[: found.start()], text[found.end() :]) if found else (text, "")
    if found:
        clock = _clock(found)
        if offset := OFFSET.match(after):
            ahead = int(f"{offset[1]}1") * (int(offset[2]) * 3600 + int(offset[3] or 0) * 60)
            after = after[offset.end() :]
    date = " ".join(IGNORED.sub(" ", f"{before} {after}").split()).strip(" ,").removesuffix(".")
    words = [word for word in re.findall(r"[a-z]+", date) if word not in MONTHS and word not in SEASONS]
    if any(word not in ZONES for word in words) or len(words) > 1:
        return None
    for word in words:
        date, ahead = " ".join(re.sub(rf"\b{word}\b", " ", date).split()).strip(" ,"), ZONES[word] * 3600
    return _Parts(date, clock, ahead)


def _clock(found: re.Match[str]) -> tuple[int, int, int, int]:
    hour, is_late = int(found[2]), found[1] in ("下午", "午後", "오후") or found[6] == "p"
    if found[1] or found[6]:
        hour = hour % 12 + 12 * is_late if hour <= 12 else hour
    return hour, int(found[3]), int(found[4] or 0), int((found[5] or "0")[:6].ljust(6, "0"))


def _date(text: str, orders: frozenset[tuple[str, bool]]) -> tuple[int, int, int] | None:
    """Return year, month and day of a date; what is unknown of it, or 0, is 1."""
    if found := YEAR_FIRST.fullmatch(text):
        return _filled(*(int(number or 0) for number in found.group(1, 3, 4)))
    if found := IN_NUMBERS.fullmatch(text):
        return _in_order(_numbers_of(found), orders)
    if found := MONTH_AND_YEAR.fullmatch(text):
        return _filled(int(found[2]), int(found[1]))
    words = WORDS.findall(text)
    names = [word for word in words if word.isalpha()]
    years = [word for word in words if word.isdigit() and len(word) == 4]
    days = [word for word in words if word.isdigit() and len(word) <= 2]
    if len(years) != 1 or len(names) != 1 or len(days) > 1 or len(names + years + days) != len(words):
        return None
    if names[0] in SEASONS:
        return _filled(int(years[0]), SEASONS[names[0]]) if not days else None
    if names[0] not in MONTHS:  # a zone that is written to a number
        return None
    return _filled(int(years[0]), MONTHS[names[0]], int(days[0]) if days else 0)


def _in_order(numbers: tuple[str, int, int, int], orders: frozenset[tuple[str, bool]]) -> tuple[int, int, int] | None:
    separator, first, second, year = numbers
    if first > 12 or first == second:
        says = {True}
    elif second > 12:
        says = {False}
    else:
        says = {day_first for known, day_first in orders if known == separator}
    if len(says) != 1 or not first or not second:
        return None
    return _filled(year, *((second, first) if says == {True} else (first, second)))


def _filled(year: int, month: int = 0, day: int = 0) -> tuple[int, int, int] | None:
    """Put a half date at its first day; a month that is unknown makes its day unknown too."""
    return (year, month or 1, (day or 1) if month else 1) if 1900 <= year < 2100 else None
