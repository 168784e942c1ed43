"""Bangumi (bgm.tv): the Archive dump and pages of the API; importers/bangumi_tables.py has the tables."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.seasons import season_of
from dataset.tables import on_one_line, open_bytes
from importers.bangumi_relations import read_relations, relations_beside
from importers.common import (
    ENTRY_COLUMNS,
    MORE_TITLE_COLUMNS,
    TITLE_COLUMNS,
    Files,
    Format,
    Options,
    count,
    files_in,
    files_under,
    first_text,
    from_html,
    joined_names,
    plain,
    rate_of,
    read_json,
    synonyms_of,
    table_of,
    tags_of,
    unescaped,
    year_of,
)
from importers.kinds import OTHER
from importers.nameless import id_of
from importers.owners import own_name
from runtime.safe_files import parse_json

ANIME = 2  # of the types of subjects: 1 book, 2 anime, 3 music, 4 game, 6 real
COLUMNS = (*TITLE_COLUMNS, *MORE_TITLE_COLUMNS)
STATUS = {1: "wish", 2: "done", 3: "doing", 4: "on_hold", 5: "dropped"}
TITLES_A_CHUNK = 5_000
ENTRY = ("rate", "subject_id", "subject_type", "type")  # what each entry of a collection has
OFTEN, LONG = 5, 10  # titles with the same comment, of so many characters
ALIASES = 5  # a dozen would drown the name; the others are synonyms
SUBJECTS = "subject.jsonlines"
TYPES = {1: "TV", 2: "OVA", 3: "Movie", 5: "ONA"}  # by the number of a platform


# --- subjects ---


def title_of(subject: dict[str, Any]) -> dict[str, str]:
    """Make a row of TITLE_COLUMNS of a subject as the Archive or the API writes it."""
    infobox = (subject.get("infobox") or "") if isinstance(subject.get("infobox"), str) else ""
    tags = sorted(subject.get("tags") or [], key=lambda tag: -tag.get("count", 0))
    names = [unescaped(tag["name"]) for tag in tags if isinstance(tag["name"], str)] + (subject.get("meta_tags") or [])
    others = aliases(infobox)
    name = joined_names(subject.get("name_cn"), subject.get("name"), *others[:ALIASES])
    return {
        "subject_id": id_of(subject["id"]),
        "name": name,
        "synonyms": synonyms_of(others[ALIASES:], name),
        "type": TYPES.get(subject.get("platform"), "") if isinstance(subject.get("platform"), int) else "",
        "tags_name": tags_of(names),
        "summary": from_html(subject.get("summary") or subject.get("short_summary")),
        "year": year_of(subject.get("date")) or year_of(_field(infobox, "放送开始|上映年度|发售日")),
        "season": season_of(subject.get("date")) or season_of(_field(infobox, "放送开始|上映年度|发售日")),
        "adult": "1" if subject.get("nsfw") else "",
    }


def aliases(infobox: str) -> list[str]:
    """Return the other names in an infobox: `|别名= name`, or a list of `[name]` and `[kind|name]`."""
    value = _field(infobox, "别名")
    listed = re.findall(r"^\[(?:[^|\]\n]*\|)?(.*)\]\s*$", value, flags=re.MULTILINE)
    return [name for name in (listed if value.startswith("{") else [value]) if name.strip()]


def _field(infobox: str, keys: str) -> str:
    found = re.search(rf"^\|\s*(?:{keys})\s*=(.*?)(?=^\||^\}}\}}|\Z)", infobox, flags=re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


# --- the Archive dump ---


def find_archive(path: Path) -> Files | None:
    """Know the dump's zip, its subject.jsonlines, or a folder with either."""
    found = files_under(path, _is_archive)
    relations = relations_beside(path)
    return Files(titles=found, relations=relations) if found or relations else None


def _is_archive(path: Path) -> bool:
    if path.suffix == ".zip":  # in a folder, beside lists
        return any(_is_archive(file) for file in files_in(path) if file.name == SUBJECTS)
    start = first_text(path) if "json" in path.name else ""
    # a line of characters or persons has no name_cn, one of episodes no infobox
    return start.startswith("{") and '"infobox"' in start and '"name_cn"' in start and '"type"' in start


def archive_titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the anime of a dump, line by line, never unpacked to disk."""
    rows = []
    with open_bytes(next((file for file in files_in(path) if file.name == SUBJECTS), path)) as file:
        for number, line in enumerate(file, start=1):
            # most lines are books and music, and to look is many times as fast as to parse
            if not re.search(rb'"type":\s*2\b', line):
                continue
            try:
                subject = parse_json(line)
            except ValueError as error:
                raise ValueError(
                    f"{path} line {number}: no JSON ({error}); the dump is cut off or was edited, download it again"
                ) from None
            if subject["type"] == ANIME:
                rows.append(title_of(subject))
            if len(rows) == TITLES_A_CHUNK:
                yield table_of(rows, COLUMNS)
                rows = []
    yield table_of(rows, COLUMNS)


# --- collections, as pages of the API ---


def find_collections(path: Path) -> Files | None:
    """Know pages of collections by their first bytes, in a file, a folder, or a folder of a folder a user."""
    found = files_under(path, lambda file: ".json" in file.name and _is_page(first_text(file, 2**16)))
    return Files(found, found) if found else None


def _is_page(start: str) -> bool:
    if start.lstrip().startswith("["):  # the entries alone, or several answers
        return all(f'"{key}"' in start for key in ENTRY)
    return (
        start.lstrip().startswith("{")
        and '"data"' in start
        and ('"subject_type"' in start or re.search(r'"data":\s*\[\s*\]', start) is not None)
        and '"paging"' not in start  # of MyAnimeList
    )


def collection_lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the anime of a page; see user_of for whose it is."""
    page, rows = _page(path), []
    user = user_of(path, page, options)
    for entry in page["data"]:
        if entry["subject_type"] != ANIME:
            count(dropped, OTHER)
        elif entry["type"] not in STATUS:
            count(dropped, "of an unknown status")
        else:
            rows.append(
                {
                    "user_id": user,
                    "username": user,
                    "subject_id": id_of(entry["subject_id"]),
                    "rate": rate_of(path, entry["subject_id"], entry["rate"]),
                    "status": STATUS[entry["type"]],
                    "comment": plain(entry.get("comment")),
                    "updated_at": str(entry.get("updated_at") or ""),
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def user_of(path: Path, page: dict[str, Any], options: Options) -> str:
    """Return whose page this is: USERNAME/OFFSET.json, USERNAME_OFFSET.json or USERNAME.json.

    A number counts as OFFSET only if the page says that it starts there, so names may be numbers and end in them. The
    takeout script's takeout.json says itself whose it is. Files of one name in several folders are of several users.
    """
    said = (page.get("meta") or {}).get("user") or {}
    stem, offset = path.name.removesuffix(".gz").removesuffix(".json"), str(page.get("offset", ""))
    if said.get("username"):
        return str(said["username"])
    if stem == offset:
        return options.user or path.resolve().parent.name
    folder = options.owners.get(path, "")[len(own_name(path)) :]
    return options.user or (stem.removesuffix(f"_{offset}") if offset else stem) + folder


def collection_titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles that a page describes."""
    subjects = [
        entry.get("subject") or entry.get("subject_data")
        for entry in _page(path)["data"]
        if entry["subject_type"] == ANIME
    ]
    yield table_of([title_of(subject) for subject in subjects if subject], COLUMNS)


def remarks(path: Path, options: Options) -> list[str]:
    """Name a comment that stands with many titles, as the API once answered."""
    comments = Counter(plain(entry.get("comment")) for entry in _page(path)["data"] if entry["subject_type"] == ANIME)
    often = [(text, n) for text, n in comments.items() if len(text) >= LONG and n >= OFTEN]
    return [
        f"the same comment stands with {n:,} titles ({on_one_line(text, 30)!r}), which may be an error of the "
        "API; it is taken as it is"
        for text, n in often
    ]


def lacking_pages(paths: tuple[Path, ...], options: Options) -> dict[str, str]:
    """Return whose list is incomplete: places up to its total that no page covers, or fewer titles than it says."""
    pages: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        page = _page(path)
        if isinstance(page.get("total"), int) and isinstance(page.get("offset"), int):
            pages.setdefault(user_of(path, page, options), []).append(page)
    lacking = {user: _lacking(sorted(of_one, key=lambda page: page["offset"])) for user, of_one in pages.items()}
    return {user: what for user, what in lacking.items() if what}


def _lacking(pages: list[dict[str, Any]]) -> str:
    total, end, gaps = max(page["total"] for page in pages), 0, []
    for page in [*pages, {"offset": total, "data": []}]:
        if page["offset"] > end:
            gaps.append(f"{end + 1:,} to {page['offset']:,}")
        # a page has fewer titles than its limit where some are private
        limit = page["limit"] if isinstance(page.get("limit"), int) else 0
        end = max(end, page["offset"] + max(limit, len(page["data"])))
    if gaps:
        return f"no page has {', '.join(gaps)} of its {total:,} titles"
    held = sum(len(page["data"]) for page in pages)
    return f"its pages hold {held:,} of its {total:,} titles; private ones, or a page was cut" * (held < total)


def _page(path: Path) -> dict[str, Any]:
    page = read_json(path)
    if isinstance(page, list):
        parts = [
            part["data"] if isinstance(part, dict) and isinstance(part.get("data"), list) else [part] for part in page
        ]
        page = {"data": [entry for entries in parts for entry in entries]}
    if (
        not isinstance(page, dict)
        or not isinstance(page.get("data"), list)
        or not all(isinstance(entry, dict) and set(ENTRY) <= set(entry) for entry in page["data"])
    ):
        raise ValueError(
            f"{path}: not a page of collections; save an answer of /v0/users/USERNAME/collections, whose "
            f'"data" is a list of entries with {", ".join(ENTRY)}'
        )
    return page


FORMATS = (
    Format(
        "bangumi-archive",
        "titles: the dump of Bangumi Archive, a zip or its subject.jsonlines (and subject-relations.jsonlines)",
        find_archive,
        None,
        archive_titles,
        takes="titles only, each with its year, type and other names; relations between them",
        relations=read_relations,
    ),
    Format(
        "bangumi-collections",
        "lists: answers of Bangumi's API saved as USERNAME/OFFSET.json, or takeout.json",
        find_collections,
        collection_lists,
        collection_titles,
        lacking=lacking_pages,
        remarks=remarks,
        takes="rates 1 to 10 (0 is unrated); times of the last change; comments",
    ),
)
