"""Bangumi (bgm.tv), as tables: the CSV of the takeout script, and the TSV of an older crawler."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dataset.tables import open_text
from importers import sheets
from importers.common import CHUNK, Files, Format, Options, count, files_under, first_text, joined_names, plain
from importers.kinds import OTHER
from importers.owners import owner_of

TAKEOUT_STATUS = {"想看": "wish", "看过": "done", "在看": "doing", "搁置": "on_hold", "抛弃": "dropped"}
TSV_STATUS = {"wish": "wish", "collect": "done", "do": "doing", "on_hold": "on_hold", "dropped": "dropped"}
TAKEOUT_COLUMNS = ["名称", "名称(中文)", "条目类型", "地址", "状态", "最后标注", "我的评分", "我的评论"]
TSV_COLUMNS = ["uid", "iid", "typ", "state", "adddate", "rate", "comment"]


# --- the takeout script's CSV ---


def find_takeout(path: Path) -> Files | None:
    """Know the table by its header; on a Chinese Windows the script writes it in GB18030."""
    tables = files_under(path, lambda file: sheets.bare_name(file).endswith(".csv"))
    found = tuple(file for file in tables if _takeout_encoding(file) is not None)
    return Files(found, found) if found else None


def _takeout_encoding(path: Path) -> str | None:
    return next(
        (
            encoding
            for encoding in ("", "gb18030")
            if all(column in first_text(path, 400, encoding) for column in ("名称(中文)", "条目类型"))
        ),
        None,
    )


def _takeout(path: Path, dropped: dict[str, int]) -> Iterator[tuple[sheets.Sheet, pd.DataFrame]]:
    sheet = sheets.Sheet(path, encoding=_takeout_encoding(path) or "")
    for table in sheets.read(sheet, TAKEOUT_COLUMNS, "the CSV as the script writes it"):
        anime = table["条目类型"].isin(("动画", "anime", "2"))
        count(dropped, OTHER, (~anime).sum())
        # only the address has the title's id
        ids = table["地址"].str.extract(r"/subject/([1-9]\d*)/?(?:[?#].*)?$", expand=False)[anime]
        count(dropped, "without a subject's address", ids.isna().sum())
        yield sheet, table.assign(subject_id=ids).dropna(subset="subject_id")


def takeout_lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield a takeout's anime; its user is the option's, or the name in takeout-NAME-DATE.csv, or the file's."""
    user = owner_of(path, options)
    for sheet, table in _takeout(path, dropped):
        table = _known_status(table, table["状态"].map(TAKEOUT_STATUS), dropped)
        yield sheets.entries(
            user_id=user,
            username=user,
            subject_id=table["subject_id"],
            rate=sheets.rates(sheet, table["我的评分"].replace("(无评分)", ""), least=0),
            status=table["status"],
            comment=table["我的评论"].replace("(无评论)", "").map(plain),
            updated_at=table["最后标注"],
        )


def takeout_titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles that a takeout names; it has nothing else about them."""
    for _, table in _takeout(path, {}):
        names = [joined_names(*pair) for pair in zip(table["名称(中文)"], table["名称"], strict=True)]
        yield sheets.titles([[]] * len(table), subject_id=table["subject_id"], name=names)


def _known_status(table: pd.DataFrame, statuses: pd.Series, dropped: dict[str, int]) -> pd.DataFrame:
    count(dropped, "of an unknown status", statuses.isna().sum())
    return table.assign(status=statuses).dropna(subset="status")


# --- the TSV of an older crawler ---


def find_tsv(path: Path) -> Files | None:
    """Know the table by its header."""
    found = files_under(path, lambda file: set(TSV_COLUMNS) <= set(first_text(file).partition("\n")[0].split()))
    return Files(lists=found) if found else None


def tsv_lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the anime of a table of many users, chunk by chunk."""
    sheet = sheets.Sheet(path, "\t")
    sheets.check_columns(sheet, TSV_COLUMNS, "the crawler's file as it is")
    with open_text(path) as file:
        try:
            # millions of rows, which pandas reads twice as fast as sheets.read; usecols would let wide rows pass
            for table in pd.read_csv(
                file, sep="\t", dtype=object, keep_default_na=False, na_filter=False, chunksize=CHUNK
            ):
                if not isinstance(table.index, pd.RangeIndex):
                    raise ValueError(
                        f"{path}: more fields in line 2 than in the header; use the crawler's file as it is"
                    )
                yield _tsv_entries(sheet, table, dropped)
        except pd.errors.ParserError as error:
            raise ValueError(f"{path}: {str(error).strip()}; the file was edited or cut off, save it again") from None


def _tsv_entries(sheet: sheets.Sheet, table: pd.DataFrame, dropped: dict[str, int]) -> pd.DataFrame:
    anime = table[table["typ"] == "anime"]
    count(dropped, OTHER, len(table) - len(anime))
    table = _known_status(anime, anime["state"].map(TSV_STATUS), dropped)
    return sheets.entries(
        user_id=table["uid"],
        subject_id=table["iid"].where(table["iid"] != "0", ""),
        rate=sheets.rates(sheet, table["rate"], least=0),
        status=table["status"],
        comment=table["comment"].map(plain),
        updated_at=table["adddate"],
    )


FORMATS = (
    Format(
        "bangumi-takeout",
        "one list: the CSV of the Bangumi takeout script",
        find_takeout,
        takeout_lists,
        takeout_titles,
        takes="rates 1 to 10; times of the last change; comments",
    ),
    Format(
        "bangumi-tsv",
        "lists: an older crawler's uid, iid, typ, state, adddate, rate, tags, comment",
        find_tsv,
        tsv_lists,
        None,
        takes="rates 1 to 10 (0 is unrated); times of collecting; comments",
    ),
)
