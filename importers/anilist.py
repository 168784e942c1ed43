"""AniList: the answer to a query of MediaListCollection, saved as JSON.

A title's id is that of MyAnimeList, so that lists of both sites and data sets of MyAnimeList go together; a title that
MyAnimeList lacks is "anilist:ID", which no number of another site can be taken for.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.tables import on_one_line
from importers.common import (
    ENTRY_COLUMNS,
    TITLE_COLUMNS,
    Files,
    Format,
    Options,
    count,
    files_under,
    first_text,
    from_html,
    joined_names,
    plain,
    rate_of,
    read_json,
    table_of,
)

STATUS = {
    "CURRENT": "doing",
    "PLANNING": "wish",
    "COMPLETED": "done",
    "DROPPED": "dropped",
    "PAUSED": "on_hold",
    "REPEATING": "done",
}


def find(path: Path) -> Files | None:
    """Know answers by their first bytes."""
    found = files_under(path, lambda file: ".json" in file.name and _is_answer(first_text(file)))
    return Files(found, found) if found else None


def _is_answer(start: str) -> bool:
    return start.lstrip().startswith("{") and (
        '"MediaListCollection"' in start or '"lists"' in start and '"entries"' in start
    )


def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield a list; its user is the one it names, else the option's, else the file's name."""
    collection = _collection(path)
    user = str((collection.get("user") or {}).get("name") or options.user or path.name.partition(".")[0])
    entries, rows = _entries(collection, dropped), []
    # scores are of 10 if the query asked for POINT_10; without it they may be of 100
    scores = [rate_of(path, entry["mediaId"], entry.get("score")) for entry in entries]
    scale = 10 if max(scores, default=0) > 10 else 1
    for entry, score in zip(entries, scores, strict=True):
        status = STATUS.get(entry.get("status") or "", None if entry.get("status") else "")
        count(dropped, "of an unknown status", status is None)
        if status is not None:
            rows.append(
                {
                    "user_id": user,
                    "username": user,
                    "subject_id": _id(entry),
                    "rate": score / scale,
                    "status": status,
                    "comment": plain(entry.get("notes")),
                    "updated_at": str(entry.get("updatedAt") or ""),
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles of a list, as far as the query asked for them."""
    yield table_of([_title(entry) for entry in _entries(_collection(path), {})], TITLE_COLUMNS)


def other_ids(path: Path) -> dict[str, str]:
    """Return the AniList id of each title."""
    return {_id(entry): str(entry["mediaId"]) for entry in _entries(_collection(path), {})}


def _collection(path: Path) -> dict[str, Any]:
    answer = read_json(path)
    if isinstance(answer, dict) and answer.get("errors"):
        said = answer["errors"][0].get("message", "") if isinstance(answer["errors"], list) else ""
        raise ValueError(
            f"{path}: AniList answered with an error ({on_one_line(str(said))}); make the list public and save it again"
        )
    for key in ("data", "MediaListCollection"):
        answer = answer.get(key, answer) if isinstance(answer, dict) else answer
    entries = [entry for group in answer["lists"] for entry in group["entries"]] if _is_collection(answer) else [None]
    if not all(isinstance(entry, dict) and "mediaId" in entry for entry in entries):
        raise ValueError(
            f"{path}: no MediaListCollection; save the answer to a query of lists {{ entries {{ mediaId "
            "status score(format: POINT_10) updatedAt media { idMal title { romaji english native } } } }"
        )
    return answer


def _is_collection(answer: Any) -> bool:
    return (
        isinstance(answer, dict)
        and isinstance(answer.get("lists"), list)
        and all(isinstance(group, dict) and isinstance(group.get("entries"), list) for group in answer["lists"])
    )


def _entries(collection: dict[str, Any], dropped: dict[str, int]) -> list[dict[str, Any]]:
    """Return each title's entry once: it stands again in every custom list it is in."""
    every = [entry for group in collection["lists"] for entry in group["entries"]]
    once: dict[Any, dict[str, Any]] = {}
    for entry in every:
        once.setdefault(entry["mediaId"], entry)
    count(dropped, "again in a custom list", len(every) - len(once))
    return list(once.values())


def _id(entry: dict[str, Any]) -> str:
    known = (entry.get("media") or {}).get("idMal")
    return str(known) if known else f"anilist:{entry['mediaId']}"


def _title(entry: dict[str, Any]) -> dict[str, str]:
    media = entry.get("media") or {}
    names = media.get("title") or {}
    tags = [*(media.get("genres") or []), *(tag["name"] for tag in media.get("tags") or [])]
    year = media.get("seasonYear") or (media.get("startDate") or {}).get("year")
    return {
        "subject_id": _id(entry),
        "name": joined_names(*(names.get(language) for language in ("romaji", "english", "native"))),
        "tags_name": json.dumps(list(dict.fromkeys(tags)), ensure_ascii=False),
        "summary": from_html(media.get("description")),
        "year": str(year or ""),
        "adult": "1" if media.get("isAdult") else "",
    }


FORMATS = (
    Format(
        "anilist-json",
        "one list a file: AniList's answer to a query of MediaListCollection",
        find,
        lists,
        titles,
        other_ids,
        takes="rates up to 10, or up to 100, which become those of 10; times of the last change; notes as comments",
    ),
)
