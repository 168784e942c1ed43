"""The anime sets of Kaggle, all taken from MyAnimeList: four known by their years, and one of reviews."""

import html
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd

from dataset.seasons import season_of
from dataset.tags import parse_tags
from importers.columns import is_index
from importers.common import CHUNK, Files, Format, Options, from_html, joined_names, plain, year_of
from importers.ids import Ids
from importers.kinds import type_of
from importers.sheets import (
    NO_VALUE,
    Sheet,
    bad_row,
    bare_name,
    check_columns,
    delimiter_of,
    entries,
    files_in,
    first_rows,
    header,
    mapped,
    open_any,
    parsed,
    rates,
    read,
    sibling_sheet,
    titles,
)

STATUS = {1: "doing", 2: "done", 3: "on_hold", 4: "dropped", 6: "wish"}
# of the 109 million rows of 2020
INTEGERS = {
    "user_id": np.int32,
    "anime_id": np.int32,
    "rating": np.int8,
    "watching_status": np.int8,
    "watched_episodes": np.int32,
}
NO_SYNOPSIS = re.compile(r"No (synopsis information has been added to this title|description available)\b")
SCORE_WORDS = re.compile(r"\A\s*(more pics\s+)?((Overall|Story|Animation|Sound|Character|Enjoyment)\s+\d+\s*)+")
AS_DOWNLOADED = "the file as downloaded, with its first line"
BUTTONS = re.compile(r"\n\s*Helpful\s*(read more\s*)?$")  # below a review on the page

Columns = dict[str, str]  # ours -> that of the file; names that titles have beside their first are name_2, name_3


class Kind(NamedTuple):
    """A kind of file in a set."""

    columns: Columns  # by which it is recognised, and read
    read: Callable[[Columns, Path], Iterator[pd.DataFrame]]
    name: str = ""  # a pattern in the name of the file, where others have these columns too
    standalone: bool = False  # whether the header has no other column


# --- lists ---


def _read_lists(columns: Columns, path: Path) -> Iterator[pd.DataFrame]:
    sheet = Sheet(path)
    ids = {ours: Ids(sheet, columns[ours]) for ours in ("user_id", "subject_id")}
    for chunk in read(sheet, columns.values(), AS_DOWNLOADED):
        cells = {ours: chunk[theirs] for ours, theirs in columns.items()}
        cells |= {ours: of_one.clean(cells[ours]) for ours, of_one in ids.items()}
        cells["rate"] = rates(sheet, cells["rate"], least=0)
        if "status" in cells:
            cells["status"] = mapped(pd.to_numeric(cells["status"], errors="coerce"), STATUS)
        if "comment" in cells:
            cells["comment"] = [_review(text) for text in cells["comment"]]
        yield entries(**cells)
    for of_one in ids.values():
        of_one.tell()


def _review(text: str) -> str:
    """Cut off what the page shows around a review."""
    text = BUTTONS.sub("", SCORE_WORDS.sub("", plain(text)))
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _read_favourites(columns: Columns, path: Path) -> Iterator[pd.DataFrame]:
    """Read profiles.csv, which has a list of titles in a cell."""
    user, theirs = columns["user_id"], columns["subject_id"]
    sheet = Sheet(path)
    for chunk in read(sheet, columns.values(), AS_DOWNLOADED):
        chunk[theirs] = parsed(sheet, chunk[theirs], parse_tags)
        pairs = chunk.explode(theirs).dropna()
        yield entries(user_id=pairs[user], username=pairs[user], subject_id=pairs[theirs])


def _read_integers(columns: Columns, path: Path) -> Iterator[pd.DataFrame]:
    """Read animelist.csv, or rating_complete.csv, which has only what its users have seen to the end."""
    n_rows = 0
    with open_any(path) as file:
        try:
            # a first row wider than the header is names of rows to pandas
            if len({len(row) for row in first_rows(Sheet(path), 2)}) > 1:
                raise ValueError("the first row is wider than the header")
            # not only the columns needed, or a row with a field too many would pass
            for chunk in pd.read_csv(file, sep=delimiter_of(Sheet(path)), dtype=INTEGERS, chunksize=CHUNK):
                n_rows += len(chunk)
                yield entries(
                    user_id=_texts(chunk["user_id"]),
                    subject_id=_texts(chunk["anime_id"]),
                    rate=chunk["rating"].clip(lower=0),
                    status=mapped(chunk[columns["status"]], STATUS) if "status" in columns else "done",
                )
        except (ValueError, OverflowError) as error:
            _raise_integer(path, error)
    if not n_rows:
        raise ValueError(f"{path}: no rows; give {AS_DOWNLOADED}")


def _texts(numbers: pd.Series) -> np.ndarray:
    """Write numbers as text (n,), each once."""
    codes, kinds = pd.factorize(numbers.to_numpy())
    return kinds.astype(str).astype(object)[codes]


def _raise_integer(path: Path, error: Exception) -> NoReturn:
    """Raise with the line of the first cell that is no whole number of its column's size."""
    columns = [name for name in header(Sheet(path)) if name in INTEGERS]
    limits = [np.iinfo(INTEGERS[name]) for name in columns]
    for chunk in read(Sheet(path), columns, AS_DOWNLOADED):
        numbers = chunk.apply(pd.to_numeric, errors="coerce")
        fits = (numbers >= [limit.min for limit in limits]) & (numbers <= [limit.max for limit in limits])
        bad = np.argwhere(~(fits & (numbers % 1 == 0)).to_numpy())
        if len(bad):
            row, column = bad[0]
            bad_row(
                Sheet(path),
                int(chunk.index[row]),
                f"{columns[column]} {chunk.iat[row, column]!r} is not a whole "
                f"number from {limits[column].min} to {limits[column].max}",
            )
    raise ValueError(f"{path}: {error}; give {AS_DOWNLOADED}") from None


# --- titles ---


def _read_titles(columns: Columns, path: Path) -> Iterator[pd.DataFrame]:
    names = [theirs for ours, theirs in columns.items() if ours.startswith("name")]
    sheet = Sheet(path)
    columns = {**columns, **{"type": name for name in header(sheet) if name.casefold() == "type"}}  # noqa: B035
    for chunk in read(sheet, columns.values(), AS_DOWNLOADED):
        tags = parsed(sheet, chunk[columns["tags"]], _genres)
        yield titles(
            tags,
            subject_id=chunk[columns["subject_id"]],
            name=[_names(*of_one) for of_one in chunk[names].itertuples(index=False)],
            summary=[_synopsis(text) for text in chunk[columns["summary"]]] if "summary" in columns else "",
            **{
                column: [read_cell(text) for text in chunk[columns[of]]] if of in columns else ""
                for column, of, read_cell in CELLS
            },
            adult=["1" if "Hentai" in of_one else "" for of_one in tags],
        )


def _names(first: str, *others: str) -> str:
    """Join a title's names, of which others are missing where they say so; the first may be a film called Unknown."""
    return joined_names(first, *(name for name in others if name.casefold() not in NO_VALUE))


def _genres(cell: str) -> list[str]:
    """Split genres separated by commas, or written as a list."""
    return [html.unescape(genre) for genre in parse_tags(cell.strip(", "))]


def _synopsis(text: str) -> str:
    text = from_html(text)
    return "" if text.casefold() in NO_VALUE or NO_SYNOPSIS.match(text) else text


def _read_titles_2020(columns: Columns, path: Path) -> Iterator[pd.DataFrame]:
    """Read anime.csv, with the synopses of the file beside it if that is there."""
    file = sibling_sheet(path, "anime_with_synopsis.csv")
    synopses = (
        {}
        if file is None
        else {
            title: text
            for chunk in _read_titles(SYNOPSES, file)
            for title, text in zip(chunk["subject_id"], chunk["summary"], strict=True)
        }
    )
    for chunk in _read_titles(columns, path):
        yield chunk.assign(summary=[synopses.get(title, "") for title in chunk["subject_id"]])


# --- formats ---


def _format(name: str, what: str, lists: tuple[Kind, ...], of_titles: tuple[Kind, ...], takes: str) -> Format:
    """Make a format of its kinds of files, of which a folder is read for the first that is there."""
    find = partial(_find, lists, of_titles)
    return Format(name, what, find, partial(_read, lists), partial(_read, of_titles), takes=takes)


def _find(lists: tuple[Kind, ...], of_titles: tuple[Kind, ...], source: Path) -> Files | None:
    files = [path for path in files_in(source) if bare_name(path).endswith(".csv")]
    headers = {path: [name for name in header(Sheet(path)) if not is_index(name)] for path in files}
    found = Files(_first(lists, headers), _first(of_titles, headers))
    return found if any(found) else None


def _first(kinds: tuple[Kind, ...], headers: dict[Path, list[str]]) -> tuple[Path, ...]:
    return next(
        (
            (path,)
            for kind in kinds
            for path, names in headers.items()
            if set(kind.columns.values()) <= set(names)
            and re.search(kind.name, bare_name(path))
            and not (kind.standalone and set(names) > set(kind.columns.values()))
        ),
        (),
    )


def _read(kinds: tuple[Kind, ...], path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    names = set(header(Sheet(path)))
    kind = next((kind for kind in kinds if set(kind.columns.values()) <= names), kinds[0])
    check_columns(Sheet(path), kind.columns.values(), AS_DOWNLOADED)
    yield from kind.read(kind.columns, path)


# column -> that of a Kind it is read off, and how
CELLS = (("year", "year", year_of), ("season", "year", season_of), ("type", "type", type_of))
LISTS = {"user_id": "user_id", "subject_id": "anime_id", "rate": "rating"}
LISTS_2018 = {
    "user_id": "username",
    "username": "username",
    "subject_id": "anime_id",
    "rate": "my_score",
    "status": "my_status",
    "updated_at": "my_last_updated",
}
REVIEWS = {"user_id": "profile", "username": "profile", "subject_id": "anime_uid", "rate": "score", "comment": "text"}
FAVOURITES = {"user_id": "profile", "subject_id": "favorites_anime"}
TITLES_2020 = {
    "subject_id": "MAL_ID",
    "name": "Name",
    "name_2": "English name",
    "name_3": "Japanese name",
    "tags": "Genres",
    "year": "Aired",
}
SYNOPSES = {"subject_id": "MAL_ID", "name": "Name", "tags": "Genres", "summary": "sypnopsis"}
TITLES_2018 = {
    "subject_id": "anime_id",
    "name": "title",
    "name_2": "title_english",
    "name_3": "title_japanese",
    "tags": "genre",
    "year": "aired_string",
}
TITLES_2023 = {
    "subject_id": "anime_id",
    "name": "Name",
    "name_2": "English name",
    "name_3": "Other name",
    "tags": "Genres",
    "summary": "Synopsis",
    "year": "Aired",
}
TITLES_2016 = {"subject_id": "anime_id", "name": "name", "tags": "genre"}
REVIEWED = {"subject_id": "uid", "name": "title", "tags": "genre", "summary": "synopsis", "year": "aired"}

FORMATS = (
    _format(
        "kaggle-2020",
        "Anime Recommendation Database 2020: animelist.csv or rating_complete.csv; anime.csv",
        (
            Kind({**LISTS, "status": "watching_status"}, _read_integers),
            Kind(LISTS, _read_integers, "^rating_complete", standalone=True),
        ),
        (Kind(TITLES_2020, _read_titles_2020), Kind(SYNOPSES, _read_titles)),
        "rates 1 to 10 (0 is unrated); no times; no comments",
    ),
    # the author's cleaned files go before the raw ones, which lie beside them
    _format(
        "kaggle-2018",
        "MyAnimeList Dataset (azathoth42): UserAnimeList.csv, AnimeList.csv, or cleaned ones",
        tuple(Kind(LISTS_2018, _read_lists, name) for name in ("cleaned", "filtered", "")),
        tuple(Kind(TITLES_2018, _read_titles, name) for name in ("cleaned", "filtered", "")),
        "rates 1 to 10 (0 is unrated); times of the last change; no comments",
    ),
    _format(
        "kaggle-2023",
        "Anime Dataset 2023: users-score-2023.csv, anime-dataset-2023.csv",
        (Kind({**LISTS, "username": "Username"}, _read_lists),),
        (Kind(TITLES_2023, _read_titles),),
        "rates 1 to 10; no times; no comments",
    ),
    _format(
        "kaggle-2016",
        "Anime Recommendations Database (CooperUnion): rating.csv, anime.csv",
        (Kind(LISTS, _read_lists, r"^ratings?\.csv$", standalone=True),),
        (Kind(TITLES_2016, _read_titles),),
        "rates 1 to 10 (-1 is unrated); no times; no comments",
    ),
    _format(
        "kaggle-reviews",
        "Anime Dataset with Reviews (marlesson): reviews.csv or profiles.csv; animes.csv",
        (Kind(REVIEWS, _read_lists), Kind(FAVOURITES, _read_favourites)),
        (Kind(REVIEWED, _read_titles),),
        "rates 1 to 10; no times; reviews as comments",
    ),
)
