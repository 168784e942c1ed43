"""Lists of trackers as JSON whose entries stand one after the other: MyAnimeList's API and load.json, Shikimori.

All three know titles by the numbers of MyAnimeList.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

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
    read_json,
    table_of,
    tags_of,
    year_of,
)
from importers.kinds import ANIME, MANGA, OTHER, UNKNOWN, kind_in, kind_of, kind_of_file
from importers.nameless import id_of
from importers.owners import owner_of
from importers.scores import of_ten, score_of
from importers.statuses import status_of

NUMBERED = {1: "doing", 2: "done", 3: "on_hold", 4: "dropped", 6: "wish"}  # of MyAnimeList
READING = ("reading", "plan_to_read", "rereading")  # statuses of manga


class Row(NamedTuple):
    """What an entry says; "" and None for what it does not."""

    kind: str
    number: Any
    names: list[Any]
    score: Any
    status: str | None
    comment: Any = ""
    time: Any = ""
    tags: tuple[str, ...] = ()
    summary: Any = ""
    year: Any = ""
    user: str = ""


# --- what entries of each tracker say ---


def of_mal_api(entry: dict[str, Any]) -> Row:
    """Read an entry of GET /v2/users/NAME/animelist."""
    node = entry["node"]
    listed = entry.get("list_status") or node.get("my_list_status") or {}
    kind = kind_of(node.get("media_type"))
    if not kind and (any("chapters" in key or "volumes" in key for key in listed) or listed.get("status") in READING):
        kind = MANGA
    if not kind and any("episodes" in key or key == "is_rewatching" for key in listed):
        kind = ANIME
    other = node.get("alternative_titles") or {}
    return Row(
        kind,
        node.get("id"),
        [node.get("title"), other.get("en"), other.get("ja"), *(other.get("synonyms") or [])],
        listed.get("score"),
        status_of(listed.get("status")),
        listed.get("comments"),
        _first(listed, "updated_at", "finish_date", "start_date"),
        _named(node.get("genres")),
        node.get("synopsis"),
        (node.get("start_season") or {}).get("year") or node.get("start_date"),
    )


def of_mal_load(entry: dict[str, Any]) -> Row:
    """Read an entry of what MyAnimeList's own pages load: /animelist/NAME/load.json."""
    kind = ANIME if "anime_id" in entry else MANGA
    number = entry.get("status")
    return Row(
        kind,
        entry.get("anime_id"),
        [entry.get("anime_title"), entry.get("anime_title_eng")],
        entry.get("score"),
        NUMBERED.get(number) if isinstance(number, int) else status_of(number),
        entry.get("comments") or entry.get("notes"),
        _first(entry, "updated_at", "created_at"),
        (*_named(entry.get("genres")), *_named(entry.get("demographics"))),
    )


def of_shikimori(entry: dict[str, Any]) -> Row:
    """Read an entry of Shikimori's export, or of its API: user_rates, or a user's anime_rates."""
    work = entry.get("anime") or entry.get("manga") or {}
    kind = kind_of(entry.get("target_type")) or (ANIME if entry.get("anime") else MANGA if entry.get("manga") else "")
    user = entry.get("user") or {}
    return Row(
        kind,
        entry.get("target_id") or work.get("id"),
        [entry.get("target_title") or work.get("name"), entry.get("target_title_ru") or work.get("russian")],
        entry.get("score"),
        status_of(entry.get("status")),
        entry.get("text"),
        _first(entry, "updated_at", "created_at"),
        year=work.get("aired_on"),
        user=str(user.get("nickname") or ""),
    )


def _first(cells: dict[str, Any], *keys: str) -> str:
    return next((str(cells[key]) for key in keys if cells.get(key)), "")


def _named(parts: Any) -> tuple[str, ...]:
    return tuple(part["name"] for part in parts or [])


# --- files ---


def _find(marks: tuple[str, ...], path: Path) -> Files | None:
    """Know a file by the first keys of its entries, of which a mark names some that all must be there."""
    found = files_under(path, lambda file: _has(first_text(file, 2**16), marks))
    return Files(found, found) if found else None


def _has(start: str, marks: tuple[str, ...]) -> bool:
    return start.lstrip().startswith(("[", "{")) and any(
        all(f'"{key}"' in start for key in mark.split()) for mark in marks
    )


def _whole(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the entries of a file, which may be several pages, and the addresses of its pages."""
    whole = read_json(path)
    pages = whole if isinstance(whole, list) and all(_is_page(part) for part in whole) else [whole]
    entries = [entry for page in pages for entry in (page["data"] if _is_page(page) else page)]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: its entries are not those of a list; save it again")
    return entries, json.dumps([page.get("paging") for page in pages if _is_page(page)])


def _is_page(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("data"), list)


def _rows(of_entry: Callable[[dict[str, Any]], Row], path: Path) -> list[Row]:
    """Read all entries; what says the kind of the list is the kind of those that do not say it themselves."""
    entries, paging = _whole(path)
    kind = kind_in("".join(re.findall("/(?:anime|manga)list", paging))) or kind_of_file(path)
    return [row if row.kind else row._replace(kind=kind) for row in map(of_entry, entries)]


def _anime(of_entry: Callable[[dict[str, Any]], Row], path: Path) -> list[Row]:
    return [row for row in _rows(of_entry, path) if row.kind != MANGA]


def _user(path: Path, options: Options) -> str:
    """Return whom the addresses of the pages name, else the option's user, else the file's."""
    named = re.search(r"/users/([^/@\"]+)/", _whole(path)[1])
    return named[1] if named else owner_of(path, options)


def _lists(
    of_entry: Callable[[dict[str, Any]], Row], path: Path, options: Options, dropped: dict[str, int]
) -> Iterator[pd.DataFrame]:
    every, rows = _anime(of_entry, path), []
    count(dropped, OTHER, len(_rows(of_entry, path)) - len(every))
    user = _user(path, options)
    rates = of_ten([score_of(path, row.number, row.score) for row in every])[0]
    for row, rate in zip(every, rates, strict=True):
        count(dropped, "of an unknown status", row.status is None)
        if row.status is not None:
            rows.append(
                {
                    "user_id": row.user or user,
                    "username": row.user or user,
                    "subject_id": id_of(row.number, *row.names),
                    "rate": rate,
                    "status": row.status,
                    "comment": plain(row.comment),
                    "updated_at": row.time,
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def _titles(
    of_entry: Callable[[dict[str, Any]], Row], path: Path, options: Options, dropped: dict[str, int]
) -> Iterator[pd.DataFrame]:
    yield table_of(
        [
            {
                "subject_id": id_of(row.number, *row.names),
                "name": joined_names(*row.names),
                "tags_name": tags_of(row.tags),
                "summary": plain(row.summary),
                "year": year_of(row.year),
            }
            for row in _anime(of_entry, path)
        ],
        TITLE_COLUMNS,
    )


def _remarks(of_entry: Callable[[dict[str, Any]], Row], path: Path, options: Options) -> list[str]:
    rows = _anime(of_entry, path)
    said = [of_ten([score_of(path, row.number, row.score) for row in rows])[1]]
    said += [UNKNOWN] * any(not row.kind for row in rows)
    return [sentence for sentence in said if sentence]


def _format(name: str, what: str, takes: str, of_entry: Callable[[dict[str, Any]], Row], *marks: str) -> Format:
    return Format(
        name,
        what,
        partial(_find, marks),
        partial(_lists, of_entry),
        partial(_titles, of_entry),
        remarks=partial(_remarks, of_entry),
        takes=takes,
    )


FORMATS = (
    _format(
        "mal-api",
        "one list a file: answers of MyAnimeList's API v2, /users/NAME/animelist",
        "rates 1 to 10 (0 is unrated); times of the last change; comments",
        of_mal_api,
        "node list_status",
        "node my_list_status",
    ),
    _format(
        "mal-load",
        "one list a file: what MyAnimeList's pages load, /animelist/NAME/load.json",
        "rates 1 to 10 (0 is unrated); times of the last change; no comments",
        of_mal_load,
        "anime_id anime_title status",
        "manga_id manga_title status",
    ),
    _format(
        "shikimori-json",
        "one list a file: Shikimori's export as JSON, or its API's user_rates and anime_rates",
        "rates 1 to 10 (0 is unrated); times of the last change, if any; texts as comments",
        of_shikimori,
        "target_id target_type status",
        "anime manga rewatches status",
    ),
)
