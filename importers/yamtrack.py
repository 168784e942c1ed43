"""Yamtrack: its CSV export, in which anime stand beside films, series, manga, games and books."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from importers import sheets
from importers.common import Files, Format, Options, count, joined_names, plain
from importers.kinds import OTHER
from importers.nameless import id_of
from importers.owners import owner_of
from importers.scores import of_ten, score_of
from importers.statuses import status_of

COLUMNS = ("media_id", "source", "media_type", "title")
MORE = ("score", "status", "notes")
TIMES = ("progressed_at", "end_date", "start_date", "created_at")  # the first that a row has
MAL = "mal"  # of the sources: its numbers are those of MyAnimeList


def find(path: Path) -> Files | None:
    """Know the table by its header."""
    found = tuple(file for file in sheets.files_in(path) if set(COLUMNS) <= set(sheets.header(sheets.Sheet(file))))
    return Files(found, found) if found else None


def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the anime of an export; its user is the option's, or the file's name."""
    user = owner_of(path, options)
    for table in _tables(path, dropped):
        statuses = table["status"].map(status_of)
        count(dropped, "of an unknown status", statuses.isna().sum())
        table = table.assign(status=statuses)[statuses.notna()]
        yield sheets.entries(
            user_id=user,
            username=user,
            subject_id=table["subject_id"],
            rate=table["rate"],
            status=table["status"],
            comment=table["notes"].map(plain),
            updated_at=table["time"],
        )


def titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles of an export; it says no more of them than their names."""
    for table in _tables(path, {}):
        yield sheets.titles([[]] * len(table), subject_id=table["subject_id"], name=table["title"].map(joined_names))


def remarks(path: Path, options: Options) -> list[str]:
    """Say on which scale scores were taken."""
    return [said for said in dict.fromkeys(of_ten(scores)[1] for _, scores in _chunks(path, {})) if said]


def _tables(path: Path, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the rows of anime with subject_id, rate and time."""
    for table, scores in _chunks(path, dropped):
        ids = [
            id_of("" if source == "manual" else number, title, site="" if source == MAL else source)
            for number, source, title in zip(
                table["media_id"], table["source"].str.lower(), table["title"], strict=True
            )
        ]
        times = table[list(TIMES)].replace("", pd.NA).bfill(axis=1).iloc[:, 0].fillna("")
        yield table.assign(subject_id=ids, rate=of_ten(scores)[0], time=times)


def _chunks(path: Path, dropped: dict[str, int]) -> Iterator[tuple[pd.DataFrame, list[float]]]:
    """Yield the rows of anime, with their scores."""
    sheet = sheets.Sheet(path)
    known = sheets.header(sheet)
    for table in sheets.read(sheet, [name for name in (*COLUMNS, *MORE, *TIMES) if name in known], "Yamtrack's export"):
        anime = table[table["media_type"].str.lower() == "anime"]
        count(dropped, OTHER, len(table) - len(anime))
        anime = anime.reindex(columns=[*COLUMNS, *MORE, *TIMES], fill_value="")
        yield anime, [score_of(path, *cells) for cells in zip(anime["title"], anime["score"], strict=True)]


FORMATS = (
    Format(
        "yamtrack-csv",
        "one list: Yamtrack's export as CSV",
        find,
        lists,
        titles,
        remarks=remarks,
        takes="rates 1 to 10; times of the last change if it has any, else of finishing or starting; notes as comments",
    ),
)
