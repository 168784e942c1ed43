"""AniList: the download of one's own data, gdpr_data.json, which knows titles by AniList's numbers alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.tables import on_one_line
from importers.common import (
    ENTRY_COLUMNS,
    Files,
    Format,
    Options,
    count,
    files_under,
    first_text,
    plain,
    read_json,
    table_of,
)
from importers.kinds import OTHER, UNKNOWN
from importers.nameless import id_of
from importers.owners import owner_of
from importers.scores import score_of, to_ten

ANIME, MANGA = 0, 1  # of series_type
STATUS = {0: "doing", 1: "wish", 2: "done", 3: "dropped", 4: "on_hold", 5: "done"}
TOP = 100  # of the scores in it, whatever the user's format


def find(path: Path) -> Files | None:
    """Know the download by what its lists are of."""
    found = files_under(path, lambda file: _is_download(first_text(file, 2**20)))
    return Files(found) if found else None


def _is_download(start: str) -> bool:
    return start.lstrip().startswith("{") and '"lists"' in start and '"series_id"' in start


def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the anime of a download."""
    user, entries = _whole(path, options)
    rows = []
    for entry in entries:
        status = STATUS.get(entry.get("status"), None if entry.get("status") is not None else "")
        count(dropped, OTHER, entry.get("series_type") not in (ANIME, None))
        count(dropped, "of an unknown status", entry.get("series_type") in (ANIME, None) and status is None)
        if entry.get("series_type") in (ANIME, None) and status is not None:
            rows.append(
                {
                    "user_id": user,
                    "username": user,
                    "subject_id": id_of(entry.get("series_id"), site="anilist"),
                    "rate": to_ten([score_of(path, entry.get("series_id"), entry.get("score"))], TOP)[0],
                    "status": status,
                    "comment": plain(entry.get("notes")),
                    "updated_at": str(entry.get("updated_at") or entry.get("created_at") or ""),
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def remarks(path: Path, options: Options) -> list[str]:
    """Say that its titles are those of no other site, and whether kinds are unknown."""
    said = (
        "it names no title, only AniList's numbers (anilist:ID), which lists and data sets of other sites lack; where "
        "those are to go together, save an answer of AniList's API, whose media has idMal and title"
    )
    is_unknown = any(entry.get("series_type") is None for entry in _whole(path, options)[1])
    return [said, *[UNKNOWN] * is_unknown]


def _whole(path: Path, options: Options) -> tuple[str, list[dict[str, Any]]]:
    """Return whose download it is, and the entries of its lists."""
    whole = read_json(path)
    entries = whole.get("lists") if isinstance(whole, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(
            f"{path}: no download of AniList, but {on_one_line(str(entries)[:60])!r} in the place of its lists; "
            "download gdpr_data.json again"
        )
    user = whole.get("user") if isinstance(whole.get("user"), dict) else {}
    return str(user.get("display_name") or user.get("name") or owner_of(path, options)), entries


FORMATS = (
    Format(
        "anilist-gdpr",
        "one list: AniList's download of one's own data, gdpr_data.json",
        find,
        lists,
        None,
        remarks=remarks,
        takes="rates up to 100, which become those of 10; times of the last change; notes as comments",
    ),
)
