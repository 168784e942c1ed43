"""Bangumi (bgm.tv): the table that the collection export tool saves of the pages of one's lists, also as a workbook."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from importers import sheets
from importers.bangumi_tables import TAKEOUT_STATUS
from importers.common import Files, Format, Options, count, joined_names, plain, year_of
from importers.kinds import ANIME, OTHER, UNKNOWN, kind_of, kind_of_file
from importers.owners import owner_of

COLUMNS = ("名称", "地址", "收藏日期", "我的评分")
MORE = ("别名", "发行日期", "吐槽", "状态", "类别")


def find(path: Path) -> Files | None:
    """Know the table by its header."""
    found = tuple(file for file in sheets.files_in(path) if set(COLUMNS) <= set(sheets.header(sheets.Sheet(file))))
    return Files(found, found) if found else None


def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield a list; its user is the option's, or the file's name. Rows of no stated status are collected ones."""
    user = owner_of(path, options)
    for sheet, table in _tables(path, dropped):
        statuses = table["状态"].map({**TAKEOUT_STATUS, "": ""})
        count(dropped, "of an unknown status", statuses.isna().sum())
        table = table.assign(status=statuses).dropna(subset="status")
        yield sheets.entries(
            user_id=user,
            username=user,
            subject_id=table["subject_id"],
            rate=sheets.rates(sheet, table["我的评分"].replace("(无评分)", "")),
            status=table["status"],
            comment=table["吐槽"].replace("(无评论)", "").map(plain),
            updated_at=table["收藏日期"],
        )


def titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles of a list, by the names that Bangumi shows."""
    for _, table in _tables(path, {}):
        names = [joined_names(*pair) for pair in zip(table["名称"], table["别名"], strict=True)]
        years = table["发行日期"].map(year_of)
        yield sheets.titles([[]] * len(table), subject_id=table["subject_id"], name=names, year=years)


def remarks(path: Path, options: Options) -> list[str]:
    """Say that the kinds of the titles are unknown, where they are."""
    is_unknown = kind_of_file(path) != ANIME and "类别" not in sheets.header(sheets.Sheet(path))
    return [UNKNOWN] * is_unknown


def _tables(path: Path, dropped: dict[str, int]) -> Iterator[tuple[sheets.Sheet, pd.DataFrame]]:
    sheet = sheets.Sheet(path)
    known = sheets.header(sheet)
    for table in sheets.read(sheet, [name for name in (*COLUMNS, *MORE) if name in known], "the tool's file as it is"):
        table = table.reindex(columns=[*COLUMNS, *MORE], fill_value="")
        is_anime = table["类别"].map(lambda kind: not kind or kind_of(kind) == ANIME)
        count(dropped, OTHER, (~is_anime).sum())
        ids = table["地址"].str.extract(r"/subject/([1-9]\d*)/?(?:[?#].*)?$", expand=False)[is_anime]
        count(dropped, "without a subject's address", ids.isna().sum())
        yield sheet, table.assign(subject_id=ids).dropna(subset="subject_id")


FORMATS = (
    Format(
        "bangumi-tool",
        "one list: the table of Bangumi's collection export tool",
        find,
        lists,
        titles,
        remarks=remarks,
        takes="rates 1 to 10; times of collecting; comments",
    ),
)
