"""AniList: answers to queries of MediaListCollection, saved as JSON.

A title's id is that of MyAnimeList, so that lists of both sites and data sets of MyAnimeList go together; a title that
MyAnimeList lacks is "anilist:ID", which no number of another site can be taken for.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.relations import COLUMNS as RELATION_COLUMNS
from dataset.seasons import season_of
from importers.anilist_answers import Entry, answers
from importers.common import (
    ENTRY_COLUMNS,
    MORE_TITLE_COLUMNS,
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
    synonyms_of,
    table_of,
    tags_of,
)
from importers.kinds import ANIME, MANGA, OTHER, UNKNOWN, kind_of, type_of
from importers.nameless import id_of
from importers.owners import owner_of
from importers.scores import score_of, to_ten, top_of_anilist
from importers.statuses import status_of

STATUS = {
    "CURRENT": "doing",
    "PLANNING": "wish",
    "COMPLETED": "done",
    "DROPPED": "dropped",
    "PAUSED": "on_hold",
    "REPEATING": "done",
}
# what a related title is, but for those that share characters or stand in the same collection
RELATION = {
    "SEQUEL": "sequel",
    "PREQUEL": "prequel",
    "SUMMARY": "summary",
    "SIDE_STORY": "side_story",
    "SPIN_OFF": "spin_off",
    "ALTERNATIVE": "alternative",
    "ADAPTATION": "adaptation",
    "PARENT": "parent",
    "SOURCE": "source",
}


def find(path: Path) -> Files | None:
    """Know answers by their first bytes."""
    found = files_under(path, lambda file: _is_answer(first_text(file, 2**16)))
    return Files(found, found, found) if found else None


def _is_answer(start: str) -> bool:
    """Tell an answer, also one under aliases, of a page of entries, or of an error alone."""
    is_error = '"errors"' in start and '"message"' in start and re.search(r'"data":\s*null', start) is not None
    marks = (["MediaListCollection"], ["lists", "entries"], ["mediaList", "mediaId"], ["mediaId", "status"])
    has_marks = any(all(f'"{mark}"' in start for mark in some) for some in marks)
    return start.lstrip().startswith(("{", "[")) and (is_error or has_marks)


def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield lists; a user is the one they name, else the option's, else the file's name."""
    known = _entries(path, dropped)
    by_user = _scores(path)
    tops = {user: top_of_anilist(scores, score_format)[0] for user, (scores, score_format) in by_user.items()}
    rows = []
    for entry in known:
        status = _status(entry)
        count(dropped, "of an unknown status", status is None)
        if status is not None:
            user = entry.user or owner_of(path, options)
            rows.append(
                {
                    "user_id": user,
                    "username": user,
                    "subject_id": _id(entry.cells),
                    "rate": to_ten([_score(path, entry)], tops[entry.user])[0],
                    "status": status,
                    "comment": plain(entry.cells.get("notes")),
                    "updated_at": str(entry.cells.get("updatedAt") or ""),
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles of a list, as far as the query asked for them."""
    yield table_of([_title(entry.cells) for entry in _entries(path, {})], (*TITLE_COLUMNS, *MORE_TITLE_COLUMNS))


def relations(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the relations of the titles of a list to other anime, as far as the query asked for them.

    The number of a work whose kind is not told may be that of a manga, so that such a work is left out.
    """
    rows = []
    for entry in _entries(path, {}):
        for edge in _edges(entry):
            if kind_of(edge["node"].get("type")) == ANIME:
                related = edge["node"]
                related_id = id_of(related.get("idMal")) or id_of(related.get("id"), site="anilist")
                name = RELATION.get(edge.get("relationType"), "other")
                rows.append({"subject_id": _id(entry.cells), "related_id": related_id, "relation": name})
    yield table_of(rows, RELATION_COLUMNS)


def _edges(entry: Entry) -> list[dict[str, Any]]:
    edges = ((entry.cells.get("media") or {}).get("relations") or {}).get("edges") or []
    return [edge for edge in edges if isinstance(edge.get("node"), dict)]


def other_ids(path: Path) -> dict[str, str]:
    """Return the AniList id of each title."""
    return {_id(entry.cells): id_of(_number(entry.cells)) for entry in _entries(path, {})}


def remarks(path: Path, options: Options) -> list[str]:
    """Say which scale was taken, whether kinds are unknown, and what AniList did not answer."""
    found, by_user = answers(path), _scores(path)
    scales = {user: top_of_anilist(*of_user)[1] for user, of_user in by_user.items()}
    said = [f"{user}: {scale}" if len(by_user) > 1 and scale else scale for user, scale in scales.items()]
    if any(not entry.kind for entry in found.entries):
        said.append(f"{UNKNOWN}; ask for media {{ type }} to be sure")
    if any(not edge["node"].get("type") for entry in found.entries for edge in _edges(entry)):
        said.append("relations to works that may be manga are left out; ask for node { id idMal type } to have them")
    said += [f"AniList answered with an error for a part of it ({error})" for error in found.errors]
    return [sentence for sentence in dict.fromkeys(said) if sentence]


def _entries(path: Path, dropped: dict[str, int]) -> list[Entry]:
    """Return the anime of each user once: a title stands again in every custom list it is in."""
    every = answers(path).entries
    anime = [entry for entry in every if entry.kind != MANGA]
    count(dropped, OTHER, len(every) - len(anime))
    once: dict[Any, Entry] = {}
    for place, entry in enumerate(anime):
        once.setdefault((entry.user, id_of(_number(entry.cells)) or place), entry)
    count(dropped, "again in a custom list", len(anime) - len(once))
    return list(once.values())


def _scores(path: Path) -> dict[str, tuple[list[float], str]]:
    """Return all scores of each user, those of manga too, and the format of them."""
    found: dict[str, tuple[list[float], str]] = {}
    for entry in answers(path).entries:
        found.setdefault(entry.user, ([], entry.score_format))[0].append(_score(path, entry))
    return found


def _score(path: Path, entry: Entry) -> float:
    return score_of(path, _number(entry.cells), entry.cells.get("score"))


def _status(entry: Entry) -> str | None:
    """Return what an entry says of its status, else its list."""
    written = entry.cells.get("status")
    return STATUS.get(written) if written else status_of(entry.group) or ""


def _number(entry: dict[str, Any]) -> Any:
    return entry.get("mediaId") or (entry.get("media") or {}).get("id")


def _id(entry: dict[str, Any]) -> str:
    media = entry.get("media") or {}
    return id_of(media.get("idMal")) or id_of(_number(entry), *_names(media), site="anilist")


def _names(media: dict[str, Any]) -> list[Any]:
    names = media.get("title") or {}
    return [names.get(language) for language in ("romaji", "english", "native")]


def _title(entry: dict[str, Any]) -> dict[str, str]:
    media = entry.get("media") or {}
    tags = [*(media.get("genres") or []), *(tag["name"] for tag in media.get("tags") or [])]
    year = media.get("seasonYear") or (media.get("startDate") or {}).get("year")
    name = joined_names(*_names(media))
    return {
        "subject_id": _id(entry),
        "name": name,
        "synonyms": synonyms_of(media.get("synonyms") or [], name),
        "type": type_of(media.get("format")),
        "tags_name": tags_of(tags),
        "summary": from_html(media.get("description")),
        "year": str(year or ""),
        "season": season_of(f"{media.get('season')} {media.get('seasonYear')}"),
        "adult": "1" if media.get("isAdult") else "",
    }


FORMATS = (
    Format(
        "anilist-json",
        "lists: AniList's answer to a query of MediaListCollection, also of several under aliases",
        find,
        lists,
        titles,
        other_ids,
        remarks=remarks,
        takes="rates of any scoreFormat, as those of 10; times of the last change; notes as comments; synonyms and "
        "relations of titles if asked for",
        relations=relations,
    ),
)
