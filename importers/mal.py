"""MyAnimeList: the XML that it exports a list as, plain or gzip, and what other programs write in its form."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dataset.tables import open_bytes
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
    rate_of,
    table_of,
    year_of,
)

# lower case, letters and digits only: "On-Hold" and "On Hold" are one
STATUS = {
    "watching": "doing",
    "1": "doing",
    "completed": "done",
    "2": "done",
    "onhold": "on_hold",
    "3": "on_hold",
    "dropped": "dropped",
    "4": "dropped",
    "plantowatch": "wish",
    "6": "wish",
    "rewatching": "doing",
    "": "",
}
MANGA = "2"  # of user_export_type


def find(path: Path) -> Files | None:
    """Know lists by their root element, whatever the file is called."""
    found = files_under(path, lambda file: "<myanimelist" in first_text(file))
    return Files(found, found) if found else None


def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield a list; its user is the one it names, else the option's, else the file's name.

    The export does not say when an entry was last changed: its time is the day of finishing, or of starting.
    """
    user, rows = options.user or path.name.partition(".")[0], []
    for kind, cells in _elements(path):
        if kind == "myinfo":
            user = cells.get("user_name") or user
            continue
        status = STATUS.get(re.sub(r"\W|_", "", cells.get("my_status", "").lower()))
        count(dropped, "of an unknown status", status is None)
        if status is not None:
            rows.append(
                {
                    "user_id": user,
                    "username": user,
                    "subject_id": cells.get("series_animedb_id", ""),
                    "rate": rate_of(path, cells.get("series_title"), cells.get("my_score")),
                    "status": status,
                    "comment": plain(cells.get("my_comments")),
                    "updated_at": _time(cells),
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles of a list; it says no more of them than their names."""
    yield table_of(
        [
            {
                "subject_id": cells.get("series_animedb_id", ""),
                "name": joined_names(cells.get("series_title"), *cells.get("series_synonyms", "").split(";")),
                "tags_name": "[]",
                "year": year_of(cells.get("series_start")),
            }
            for kind, cells in _elements(path)
            if kind == "anime"
        ],
        TITLE_COLUMNS,
    )


def _elements(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield ("myinfo" or "anime", {tag: text}) in the order of the file, which stays unread beyond that."""
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import ParseError, iterparse
    except ImportError:
        raise ValueError(f"{path}: XML is read with defusedxml, which is missing; run pip install defusedxml") from None
    with open_bytes(path) as file:
        try:
            for _, element in iterparse(file, forbid_dtd=True):
                if element.tag in ("myinfo", "anime", "manga"):
                    cells = {child.tag: (child.text or "").strip() for child in element}
                    if element.tag == "manga" or cells.get("user_export_type") == MANGA:
                        raise ValueError(f"{path}: a list of manga; export the list of anime and name that file")
                    yield element.tag, cells
                    element.clear()
        except ParseError as error:
            raise ValueError(
                f"{path} line {error.position[0]}: no XML of a list ({error}); the file is cut off, "
                "edited or not in the encoding it names, export it again"
            ) from None
        except DefusedXmlException:
            raise ValueError(f"{path}: declares entities or a DTD, which no export does; export it again") from None


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
        takes="rates 1 to 10 (0 is unrated); times of the last change if it has any, else of finishing or starting, "
        "which may be a month or year; comments",
    ),
)
