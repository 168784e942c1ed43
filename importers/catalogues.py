"""Catalogues of titles with their ids on several sites: anime-offline-database and bangumi-data.

A title's subject_id is its id on one site, which --site names. So lists of that site find it, and by ids.tsv those of
the others do.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.relations import COLUMNS as RELATION_COLUMNS
from dataset.seasons import season_of
from dataset.site_ids import COLUMNS as ID_COLUMNS
from dataset.tables import open_text
from importers.common import (
    CHUNK,
    MORE_TITLE_COLUMNS,
    TITLE_COLUMNS,
    Files,
    Format,
    Options,
    count,
    files_under,
    first_text,
    joined_names,
    read_json,
    synonyms_of,
    table_of,
    tags_of,
    year_of,
)
from importers.json_rows import objects
from importers.kinds import type_of
from importers.nameless import id_of

COLUMNS = (*TITLE_COLUMNS, *MORE_TITLE_COLUMNS)
MYANIMELIST, ANILIST, BANGUMI = "myanimelist", "anilist", "bangumi"
# bangumi-data's names of those of its sites that are catalogues
SITES = {"mal": MYANIMELIST, "aniList": ANILIST, "bangumi": BANGUMI, "anidb": "anidb", "tmdb": "tmdb"}
LANGUAGES = ("zh-Hans", "ja", "en", "zh-Hant")
Ids = dict[str, str]  # site -> id of a title
ADDRESS = re.compile(r"https?://(?:www\.)?([\w-]+)\.[\w.]+/(?:.*[/=])?([^/=]+)/?")


def subject_id(ids: Ids, site: str) -> str:
    """Return the id by which a title goes, "" for none.

    What MyAnimeList lacks is called "anilist:ID", as in lists of AniList.
    """
    other = f"{ANILIST}:{ids[ANILIST]}" if site == MYANIMELIST and ANILIST in ids else ""
    return ids.get(site, other)


def _titles(
    path: Path, entries: Iterator[dict[str, Any]], site: str, dropped: dict[str, int],
    ids_of: Callable[[dict[str, Any]], Ids], row_of: Callable[[dict[str, Any]], dict[str, str]],
) -> Iterator[pd.DataFrame]:  # fmt: skip
    rows, sites = [], set()
    for entry in entries:
        ids = ids_of(entry)
        sites |= set(ids)
        own = subject_id(ids, site)
        count(dropped, f"without an id of {site}", not own)
        if own:
            rows.append({"subject_id": own, **row_of(entry)})
    if site not in sites:
        raise ValueError(f"{path}: no title has an id of {site!r}; name with --site one of {', '.join(sorted(sites))}")
    yield table_of(rows, COLUMNS)


def _site_ids(entries: Iterator[dict[str, Any]], site: str, ids_of: Callable[[dict[str, Any]], Ids]) -> pd.DataFrame:
    rows = []
    for ids in map(ids_of, entries):
        own = subject_id(ids, site)
        rows += [{"subject_id": own, "site": site, "id": number} for site, number in ids.items() if own]
    return table_of(rows, ID_COLUMNS)


# --- anime-offline-database ---


def find_database(path: Path) -> Files | None:
    """Know the database by its first entry."""
    found = files_under(path, lambda file: "json" in file.name and _is_database(first_text(file, 2**16)))
    return Files(titles=found, relations=found) if found else None


def _is_database(start: str) -> bool:
    return start.lstrip().startswith("{") and '"sources"' in start and '"relatedAnime"' in start


def database_titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles that have an id of the site."""
    yield from _titles(path, _entries(path), options.site or MYANIMELIST, dropped, _ids, _row)


def database_relations(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield which titles are related; how is not told."""
    site, rows = options.site or MYANIMELIST, []
    own = {address: subject_id(_ids(entry), site) for entry in _entries(path) for address in entry["sources"]}
    for entry in _entries(path):
        title = subject_id(_ids(entry), site)
        others = dict.fromkeys(own.get(address, "") for address in entry.get("relatedAnime") or [])
        rows += [{"subject_id": title, "related_id": other, "relation": "other"} for other in others if title and other]
        if len(rows) >= CHUNK:
            yield table_of(rows, RELATION_COLUMNS)
            rows = []
    yield table_of(rows, RELATION_COLUMNS)


def database_ids(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the ids of titles on all sites."""
    yield _site_ids(_entries(path), options.site or MYANIMELIST, _ids)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of the database, a JSON object or a line each after a header."""
    with open_text(path) as file:
        first = next(file, "")
        if _is_line(first):
            yield from (entry for _, entry in objects(chain([first], file), path) if "sources" in entry)
            return
    whole = read_json(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("data"), list):
        raise ValueError(f'{path}: no "data" with a list of titles; download anime-offline-database again')
    yield from whole["data"]


def _is_line(text: str) -> bool:
    """Tell an object of the JSON lines from the start of the whole database."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "data" not in found


def _ids(entry: dict[str, Any]) -> Ids:
    """Return the ids of a title by its addresses, of which the first on each site counts."""
    ids: Ids = {}
    for address in entry["sources"]:
        parts = ADDRESS.fullmatch(address)
        if parts:
            ids.setdefault(parts[1], parts[2])
    return ids


def _row(entry: dict[str, Any]) -> dict[str, str]:
    name = joined_names(entry.get("title"))
    season = entry.get("animeSeason") or {}
    year = season.get("year")
    return {
        "name": name,
        "synonyms": synonyms_of(entry.get("synonyms") or [], name),
        "type": type_of(entry.get("type")),
        "tags_name": tags_of(entry.get("tags") or []),
        "year": str(year) if year else "",
        "season": season_of(f"{season.get('season')} {year}"),
        "adult": "1" if "hentai" in (entry.get("tags") or []) else "",
    }


# --- bangumi-data ---


def find_data(path: Path) -> Files | None:
    """Know dist/data.json by its list of sites."""
    found = files_under(path, lambda file: ".json" in file.name and _is_data(first_text(file)))
    return Files(titles=found) if found else None


def _is_data(start: str) -> bool:
    return start.lstrip().startswith("{") and '"siteMeta"' in start and '"urlTemplate"' in start


def data_titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles that have an id of the site."""
    yield from _titles(path, _items(path), options.site or BANGUMI, dropped, _ids_of_item, _row_of_item)


def data_ids(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the ids of titles on all sites that are catalogues."""
    yield _site_ids(_items(path), options.site or BANGUMI, _ids_of_item)


def _items(path: Path) -> Iterator[dict[str, Any]]:
    whole = read_json(path)
    if not isinstance(whole.get("items"), list):
        raise ValueError(f'{path}: no "items" with a list of titles; give dist/data.json of bangumi-data')
    yield from whole["items"]


def _ids_of_item(item: dict[str, Any]) -> Ids:
    ids: Ids = {}
    for one in item.get("sites") or []:
        if one.get("site") in SITES and id_of(one.get("id")):
            ids.setdefault(SITES[one["site"]], id_of(one["id"]))
    return ids


def _row_of_item(item: dict[str, Any]) -> dict[str, str]:
    """Make a row of a title, its name in each language first, as far as it has one."""
    names = {**(item.get("titleTranslate") or {})}
    names[item.get("lang")] = [item.get("title"), *names.get(item.get("lang"), [])]
    name = joined_names(*(names[language][0] for language in LANGUAGES if names.get(language)), item.get("title"))
    return {
        "name": name,
        "synonyms": synonyms_of((other for of_one in names.values() for other in of_one), name),
        "type": type_of(item.get("type")),
        "tags_name": "[]",
        "year": year_of(item.get("begin")),
        "season": season_of(item.get("begin")),
    }


FORMATS = (
    Format(
        "anime-offline-database",
        "titles: anime-offline-database, JSON or JSON lines; --site says whose ids they go by (myanimelist)",
        find_database,
        None,
        database_titles,
        takes="titles only, each with its year, type, tags and other names; which are related; ids on other sites",
        relations=database_relations,
        site_ids=database_ids,
        site=MYANIMELIST,
    ),
    Format(
        "bangumi-data",
        "titles: bangumi-data of npm, its dist/data.json or package; --site says whose ids they go by (bangumi)",
        find_data,
        None,
        data_titles,
        takes="titles only, each with its year, type and names in four languages; ids on other sites",
        site_ids=data_ids,
        site=BANGUMI,
    ),
)
