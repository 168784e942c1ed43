"""MyAnimeList: the XML that it exports a list as, plain or gzip, and what other programs write in its form."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from importers.broken_text import unmixed
from importers.common import (
    ENTRY_COLUMNS,
    TITLE_COLUMNS,
    Files,
    Format,
    Options,
    count,
    files_under,
    first_text,
    joined_names,
    plain,
    table_of,
    unescaped,
    year_of,
)
from importers.kinds import MANGA, OTHER, kind_of
from importers.mal_xml import elements
from importers.nameless import id_of
from importers.owners import owner_of
from importers.scores import of_ten, score_of
from importers.statuses import status_of

NUMBERED = {"1": "doing", "2": "done", "3": "on_hold", "4": "dropped", "6": "wish"}
BREAK = re.compile(r"\s*<br\s*/?>\s*", re.IGNORECASE)  # what the site writes for a new line; all else is text
EXPORTED_MANGA = "2"  # of user_export_type


class Export(NamedTuple):
    """What a file says: elements as {tag: text}."""

    user: str  # "" where it names none
    anime: list[dict[str, str]]
    n_manga: int
    n_mended: int  # places at which it was no XML
    n_unmixed: int  # texts whose encoding had been mixed up


def find(path: Path) -> Files | None:
    """Know lists by their root element, whatever the file is called."""
    found = files_under(path, lambda file: "<myanimelist" in first_text(file))
    return Files(found, found) if found else None


def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield a list; its user is the one it names, else the option's, else the file's name.

    The export does not say when an entry was last changed: its time is the day of finishing, or of starting.
    """
    export = _read(path)
    count(dropped, OTHER, export.n_manga)
    user = export.user or owner_of(path, options)
    rates, rows = of_ten(_scores(path, export))[0], []
    for cells, rate in zip(export.anime, rates, strict=True):
        written = cells.get("my_status", "")
        status = NUMBERED.get(written) or status_of(written)
        count(dropped, "of an unknown status", status is None)
        if status is not None:
            rows.append(
                {
                    "user_id": user,
                    "username": user,
                    "subject_id": _id(cells),
                    "rate": rate,
                    "status": status,
                    "comment": plain(BREAK.sub(" ", cells.get("my_comments") or "")),
                    "updated_at": _time(cells),
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles of a list; it says no more of them than their names."""
    yield table_of(
        [
            {
                "subject_id": _id(cells),
                "name": joined_names(cells.get("series_title"), *cells.get("series_synonyms", "").split(";")),
                "tags_name": "[]",
                "year": year_of(cells.get("series_start")),
            }
            for cells in _read(path).anime
        ],
        TITLE_COLUMNS,
    )


def remarks(path: Path, options: Options) -> list[str]:
    """Say what had to be mended, and on which scale scores were taken."""
    export = _read(path)
    unnumbered = sum(not id_of(cells.get("series_animedb_id")) for cells in export.anime)
    said = [
        of_ten(_scores(path, export))[1],
        f"it is no XML at {export.n_mended:,} places (an & or < that is not escaped, a character that XML does not "
        "allow), which were read as they were meant" * (export.n_mended > 0),
        f"{export.n_unmixed:,} texts had been written with a mixed up encoding, and were read as they were meant"
        * (export.n_unmixed > 0),
        f"{unnumbered:,} titles have no number of MyAnimeList and are known by their names alone" * (unnumbered > 0),
    ]
    return [sentence for sentence in said if sentence]


def _id(cells: dict[str, str]) -> str:
    return id_of(cells.get("series_animedb_id"), cells.get("series_title"))


def _scores(path: Path, export: Export) -> list[float]:
    return [score_of(path, cells.get("series_title"), cells.get("my_score")) for cells in export.anime]


def _read(path: Path) -> Export:
    """Read a file whole: a list of thousands of titles is some megabytes."""
    found, n_mended = elements(path)
    info = next((cells for tag, cells in found if tag == "myinfo"), {})
    says_manga = info.get("user_export_type") == EXPORTED_MANGA or kind_of(info.get("user_export_type")) == MANGA
    anime, n_manga, n_unmixed = [], 0, 0
    for tag, cells in found:
        if tag == "manga" or tag == "anime" and (says_manga or _is_manga(cells)):
            n_manga += 1
        elif tag == "anime":
            texts = {name: unescaped(cells[name]) for name in ("series_title", "my_comments") if name in cells}
            meant = {name: unmixed(text) for name, text in texts.items()}
            n_unmixed += sum(meant[name] != text for name, text in texts.items())
            anime.append({**cells, **meant})
    return Export(info.get("user_name", ""), anime, n_manga, n_mended, n_unmixed)


def _is_manga(cells: dict[str, str]) -> bool:
    return (
        kind_of(cells.get("series_type")) == MANGA or "series_animedb_id" not in cells and "manga_mangadb_id" in cells
    )


def _time(cells: dict[str, str]) -> str:
    """Return seconds since 1970 where a program wrote them, or the day of finishing or starting; "" for 0000-00-00."""
    for day in (cells.get("my_last_updated", ""), cells.get("my_finish_date", ""), cells.get("my_start_date", "")):
        known = re.sub(r"(-00)+$", "", day)  # the day of a month, and the month of a year, may be unknown
        if known.strip("0"):
            return known
    return ""


FORMATS = (
    Format(
        "mal-xml",
        "one list a file: MyAnimeList's export, animelist_*.xml or .xml.gz",
        find,
        lists,
        titles,
        remarks=remarks,
        takes="rates 1 to 10 (0 is unrated); times of the last change if it has any, else of finishing or starting, "
        "which may be a month or year; comments",
    ),
)
