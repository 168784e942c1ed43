"""The season in which a title began: winter is January to March, as sites of anime count."""

import re
from collections.abc import Iterable

import pandas as pd

SEASONS = ("winter", "spring", "summer", "fall")
_WORDS = {name: name for name in SEASONS} | {"autumn": "fall"} | dict(zip("冬春夏秋", SEASONS, strict=True))
_SEASON = re.compile(rf"(?<![a-z])({'|'.join(_WORDS)})(?![a-z])")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_NAMED_MONTH = re.compile(rf"(?<![a-z])({'|'.join(_MONTHS)})[a-z]*\.?\s+(?:\d{{1,2}},?\s+)?((?:19|20)\d\d)(?!\d)")
_NUMBERED_MONTH = re.compile(r"((?:19|20)\d\d)(?:[-/.年]\s?)(\d{1,2})(?!\d)")


def season_of(text: object) -> str:
    """Return the season that a text names first, as "2014-fall", "" without one.

    Texts are as sites write them: "Fall 2014", "2014-fall", "2014年秋", or a date: "2014-10-04", "Oct 4, 2014 to ?".
    """
    text = "" if text is None else str(text).casefold()
    word, year = _SEASON.search(text), _YEAR.search(text)
    if word and year:
        return f"{year.group()}-{_WORDS[word.group()]}"
    found = [(match.start(), match[2], _MONTHS.index(match[1]) + 1) for match in [_NAMED_MONTH.search(text)] if match]
    found += [(match.start(), match[1], int(match[2])) for match in [_NUMBERED_MONTH.search(text)] if match]
    _, of_year, month = min(found, default=(0, "", 0))
    return f"{of_year}-{SEASONS[(month - 1) // 3]}" if 1 <= month <= 12 else ""


def newest_first(seasons: Iterable[str]) -> list[str]:
    """Return the different ones of some seasons as from season_of, the newest first, without the unknown one."""
    split = {season: season.split("-") for season in seasons if season}
    return sorted(split, key=lambda season: (int(split[season][0]), SEASONS.index(split[season][1])), reverse=True)


def seasons_of(cells: pd.Series) -> pd.Series:
    """Return the seasons of a column, "" where unknown; see season_of."""
    distinct = {cell: season_of(cell) for cell in cells.unique()}
    return cells.map(distinct)
