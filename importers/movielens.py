"""MovieLens in its three ways of writing: 100k (u.data), 1m and 10m (ratings.dat), later ones (ratings.csv)."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from importers.common import Files, Format, Options, joined_names, year_of
from importers.sheets import (
    Sheet,
    bare_name,
    entries,
    files_in,
    first_rows,
    header,
    open_any,
    rates,
    read,
    sibling_sheet,
    times,
    titles,
)

LISTS = ("userId", "movieId", "rating", "timestamp")
TITLES = ("movieId", "title", "genres")
TAGS = ("userId", "movieId", "tag", "timestamp")
GENRES_100K = (
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
TITLES_100K = ("movieId", "title", "released", "video_released", "url", "unknown", *GENRES_100K)
# files without a header: between fields, their columns
BARE = {
    "u.data": ("\t", LISTS),
    "u.item": ("|", TITLES_100K),
    "ratings.dat": ("::", LISTS),
    "movies.dat": ("::", TITLES),
    "tags.dat": ("::", TAGS),
}
FREE_TAGS = 8  # of a film, those that most users gave it
ARTICLE = re.compile(r"(.+?), (The|An?|L'|Las?|Les?|Los?|Il|El|De[rnst]|Die|Das|Une?|Una)(?= \(|$)")
YEAR = re.compile(r"\((\d{4})(?:[-–]\d{0,4})?\)")


def find(source: Path) -> Files | None:
    """Find a file of ratings and one of films."""
    files = files_in(source)
    found = Files(
        *(tuple(path for path in files if _has(path, any_of))[:1] for any_of in ((LISTS,), (TITLES, TITLES_100K)))
    )
    return found if any(found) else None


def _has(path: Path, any_of: tuple[tuple[str, ...], ...]) -> bool:
    """Tell whether a file has these columns, by its header or by its name and the width of its first row."""
    if bare_name(path) not in BARE:
        return bare_name(path).endswith(".csv") and set(any_of[0]) <= set(header(Sheet(path)))
    delimiter, columns = BARE[bare_name(path)]
    first = first_rows(Sheet(path, delimiter, quoted=False))
    return columns in any_of and [len(row) for row in first] == [len(columns)]


def read_lists(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read ratings, in halves from 0.5 to 5 or whole ones from 1 to 5."""
    sheet = _sheet(path)
    for chunk in read(sheet, LISTS, "ratings.csv, ratings.dat or u.data as downloaded"):
        yield entries(
            user_id=chunk["userId"],
            subject_id=chunk["movieId"],
            rate=rates(sheet, chunk["rating"]),
            updated_at=times(chunk["timestamp"]),
        )


def read_titles(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read films with their genres, and with tags of users where the file of tags lies beside."""
    sheet = _sheet(path)
    is_100k = sheet.names == TITLES_100K
    free_tags = _free_tags(path)
    for chunk in read(sheet, TITLES_100K if is_100k else TITLES, "movies.csv, movies.dat or u.item as downloaded"):
        genres = _flagged(chunk) if is_100k else [cell.split("|") for cell in chunk["genres"]]
        dates = chunk["released"] if is_100k else [""] * len(chunk)
        yield titles(
            [
                [genre for genre in of_one if genre != "(no genres listed)"] + free_tags[film]
                for film, of_one in zip(chunk["movieId"], genres, strict=True)
            ],
            subject_id=chunk["movieId"],
            name=[_names(title) for title in chunk["title"]],
            year=[_year(title, date) for title, date in zip(chunk["title"], dates, strict=True)],
        )


def _flagged(films: pd.DataFrame) -> list[list[str]]:
    """Name the genres of u.item, which has a column of 0 and 1 for each."""
    flags = (films[list(GENRES_100K)] == "1").to_numpy()
    return [[genre for genre, has in zip(GENRES_100K, row, strict=True) if has] for row in flags]


def _free_tags(films: Path) -> dict[str, list[str]]:
    """Return the FREE_TAGS most used tags of each film, the most used first, in lower case."""
    path = sibling_sheet(films, "tags.csv", "tag.csv", "tags.dat")
    tags: dict[str, list[str]] = defaultdict(list)
    if path is None or not _has(path, (TAGS,)):
        return tags
    uses: Counter[tuple[str, str]] = Counter()
    for chunk in read(_sheet(path), TAGS, "tags.csv as downloaded"):
        uses.update(zip(chunk["movieId"], chunk["tag"].str.lower(), strict=True))
    for (film, tag), _ in uses.most_common():
        if len(tags[film]) < FREE_TAGS:
            tags[film].append(tag)
    return tags


def _names(title: str) -> str:
    """Name "Matrix, The (1999)" also "The Matrix"."""
    moved = ARTICLE.match(title)
    return joined_names(title, f"{moved[2]} {moved[1]}".replace("' ", "'", 1) if moved else "")


def _year(title: str, date: str) -> str:
    """Return the last year in brackets, else that of the date."""
    return next(iter(YEAR.findall(title)[::-1]), year_of(date))


def _sheet(path: Path) -> Sheet:
    if bare_name(path) not in BARE:
        return Sheet(path)
    delimiter, names = BARE[bare_name(path)]
    return Sheet(path, delimiter, quoted=False, encoding=_encoding(path), names=names)


def _encoding(path: Path) -> str:
    """Tell latin-1 (100k, 1m) from UTF-8 (10m, and what someone saved again); all ratings are plain ASCII."""
    if "title" not in BARE[bare_name(path)][1]:
        return "utf-8-sig"
    try:
        with open_any(path) as file:
            file.read()
    except ValueError:
        return "latin-1"
    return "utf-8-sig"


FORMATS = (
    Format(
        "movielens",
        "MovieLens 100k, 1m, 10m, 20m, 25m, 32m, latest: the zip, its folder or its files",
        find,
        read_lists,
        read_titles,
        takes="rates 0.5 to 5; times of rating; no comments",
    ),
)
