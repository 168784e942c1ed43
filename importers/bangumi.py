"""Bangumi (bgm.tv): the Archive dump, pages of the API, the CSV of the takeout script, the TSV of a crawler."""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from dataset.tables import open_bytes, open_text
from importers import sheets
from importers.common import (
    CHUNK,
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
    rate_of,
    read_json,
    table_of,
    unescaped,
    year_of,
)
from runtime.safe_files import check_zip, parse_json

ANIME = 2  # of the types of subjects: 1 book, 2 anime, 3 music, 4 game, 6 real
STATUS = {1: "wish", 2: "done", 3: "doing", 4: "on_hold", 5: "dropped"}
TAKEOUT_STATUS = {"想看": "wish", "看过": "done", "在看": "doing", "搁置": "on_hold", "抛弃": "dropped"}
TSV_STATUS = {"wish": "wish", "collect": "done", "do": "doing", "on_hold": "on_hold", "dropped": "dropped"}
TAKEOUT_COLUMNS = ["名称", "名称(中文)", "条目类型", "地址", "状态", "最后标注", "我的评分", "我的评论"]
TSV_COLUMNS = ["uid", "iid", "typ", "state", "adddate", "rate", "comment"]
TITLES_A_CHUNK = 5_000
ALIASES = 5  # a dozen would drown the name


# --- subjects ---


def title_of(subject: dict[str, Any]) -> dict[str, str]:
    """Make a row of TITLE_COLUMNS of a subject as the Archive or the API writes it."""
    infobox = (subject.get("infobox") or "") if isinstance(subject.get("infobox"), str) else ""
    tags = sorted(subject.get("tags") or [], key=lambda tag: -tag.get("count", 0))
    names = [unescaped(tag["name"]) for tag in tags] + (subject.get("meta_tags") or [])
    return {
        "subject_id": str(subject["id"]),
        "name": joined_names(subject.get("name_cn"), subject.get("name"), *aliases(infobox)),
        "tags_name": json.dumps(list(dict.fromkeys(names)), ensure_ascii=False),
        "summary": plain(subject.get("summary") or subject.get("short_summary")),
        "year": year_of(subject.get("date")) or year_of(_field(infobox, "放送开始|上映年度|发售日")),
        "adult": "1" if subject.get("nsfw") else "",
    }


def aliases(infobox: str) -> list[str]:
    """Return the first other names in an infobox: `|别名= name`, or a list of `[name]` and `[kind|name]`."""
    value = _field(infobox, "别名")
    listed = re.findall(r"^\[(?:[^|\]\n]*\|)?(.*)\]\s*$", value, flags=re.MULTILINE)
    return [name for name in (listed if value.startswith("{") else [value]) if name.strip()][:ALIASES]


def _field(infobox: str, keys: str) -> str:
    found = re.search(rf"^\|\s*(?:{keys})\s*=(.*?)(?=^\||^\}}\}}|\Z)", infobox, flags=re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


# --- the Archive dump ---


def find_archive(path: Path) -> Files | None:
    """Know the dump's zip, its subject.jsonlines, or a folder with either."""
    found = files_under(path, _is_archive)
    return Files(titles=found) if found else None


def _is_archive(path: Path) -> bool:
    if path.suffix == ".zip":
        return zipfile.is_zipfile(path) and _member(path) is not None
    start = first_text(path) if "json" in path.name else ""
    # a line of characters or persons has no name_cn, one of episodes no infobox
    return start.startswith("{") and '"infobox"' in start and '"name_cn"' in start and '"type"' in start


def _member(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        return next((name for name in archive.namelist() if Path(name).name == "subject.jsonlines"), None)


@contextmanager
def _open_archive(path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".zip":
        with open_bytes(path) as file:
            yield file
        return
    try:
        check_zip(path)
        with zipfile.ZipFile(path) as archive, archive.open(_member(path)) as file:
            yield file
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole zip ({error}); download it again") from None


def archive_titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the anime of a dump, line by line, never unpacked to disk."""
    rows = []
    with _open_archive(path) as file:
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
                yield table_of(rows, TITLE_COLUMNS)
                rows = []
    yield table_of(rows, TITLE_COLUMNS)


# --- collections, as pages of the API ---


def find_collections(path: Path) -> Files | None:
    """Know pages of collections by their first bytes, in a file, a folder, or a folder of a folder a user."""
    found = files_under(path, lambda file: ".json" in file.name and _is_page(first_text(file, 2**16)))
    return Files(found, found) if found else None


def _is_page(start: str) -> bool:
    return (
        start.lstrip().startswith("{")
        and '"data"' in start
        and ('"subject_type"' in start or re.search(r'"data":\s*\[\s*\]', start) is not None)
    )


def collection_lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the anime of a page; see user_of for whose it is."""
    page, rows = _page(path), []
    user = user_of(path, page, options)
    for entry in page["data"]:
        if entry["subject_type"] != ANIME:
            count(dropped, "of other kinds than anime")
        elif entry["type"] not in STATUS:
            count(dropped, "of an unknown status")
        else:
            rows.append(
                {
                    "user_id": user,
                    "username": user,
                    "subject_id": str(entry["subject_id"]),
                    "rate": rate_of(path, entry["subject_id"], entry["rate"]),
                    "status": STATUS[entry["type"]],
                    "comment": plain(entry.get("comment")),
                    "updated_at": str(entry.get("updated_at") or ""),
                }
            )
    yield table_of(rows, ENTRY_COLUMNS)


def user_of(path: Path, page: dict[str, Any], options: Options) -> str:
    """Tell whose page this is: USERNAME/OFFSET.json, USERNAME_OFFSET.json or USERNAME.json.

    A number counts as OFFSET only if the page says that it starts there, so names may be numbers and end in them. The
    takeout script's takeout.json says itself whose it is.
    """
    said = (page.get("meta") or {}).get("user") or {}
    stem, offset = path.name.removesuffix(".gz").removesuffix(".json"), str(page.get("offset", ""))
    if said.get("username"):
        return str(said["username"])
    if stem == offset:
        return options.user or path.resolve().parent.name
    return options.user or (stem.removesuffix(f"_{offset}") if offset else stem)


def collection_titles(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the titles that a page describes."""
    subjects = [
        entry.get("subject") or entry.get("subject_data")
        for entry in _page(path)["data"]
        if entry["subject_type"] == ANIME
    ]
    yield table_of([title_of(subject) for subject in subjects if subject], TITLE_COLUMNS)


def lacking_pages(paths: tuple[Path, ...], options: Options) -> dict[str, str]:
    """Tell whose list is not whole: places up to its total that no page covers, or fewer titles than it says."""
    pages: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        page = _page(path)
        if isinstance(page.get("total"), int) and isinstance(page.get("offset"), int):
            pages.setdefault(user_of(path, page, options), []).append(page)
    told = {user: _lacking(sorted(of_one, key=lambda page: page["offset"])) for user, of_one in pages.items()}
    return {user: what for user, what in told.items() if what}


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
    wanted = {"subject_id", "subject_type", "type", "rate"}
    if (
        not isinstance(page, dict)
        or not isinstance(page.get("data"), list)
        or not all(isinstance(entry, dict) and wanted <= set(entry) for entry in page["data"])
    ):
        raise ValueError(
            f"{path}: not a page of collections; save an answer of /v0/users/USERNAME/collections, whose "
            f'"data" is a list of entries with {", ".join(sorted(wanted))}'
        )
    return page


# --- the takeout script's CSV ---


def find_takeout(path: Path) -> Files | None:
    """Know the table by its header; on a Chinese Windows the script writes it in GB18030."""
    found = files_under(path, lambda file: file.suffix == ".csv" and _takeout_encoding(file) is not None)
    return Files(found, found) if found else None


def _takeout_encoding(path: Path) -> str | None:
    with open(path, "rb") as file:
        start = file.read(400)
    return next(
        (
            encoding
            for encoding, codec in (("utf-8-sig", "utf-8"), ("gb18030", "gb18030"))
            if all(column.encode(codec) in start for column in ("名称(中文)", "条目类型"))
        ),
        None,
    )


def _takeout(path: Path, dropped: dict[str, int]) -> Iterator[tuple[sheets.Sheet, pd.DataFrame]]:
    sheet = sheets.Sheet(path, encoding=_takeout_encoding(path) or "utf-8-sig")
    for table in sheets.read(sheet, TAKEOUT_COLUMNS, "the CSV as the script writes it"):
        anime = table["条目类型"].isin(("动画", "anime", "2"))
        count(dropped, "of other kinds than anime", (~anime).sum())
        # only the address has the title's id
        ids = table["地址"].str.extract(r"/subject/(\d+)$", expand=False)[anime]
        count(dropped, "without a subject's address", ids.isna().sum())
        yield sheet, table.assign(subject_id=ids).dropna(subset="subject_id")


def takeout_lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield a takeout's anime; its user is the option's, or the name in takeout-NAME-DATE.csv, or the file's."""
    user = options.user or re.sub(r"^takeout-(.+)-\d{4}-\d\d-\d\d$", r"\1", path.stem)
    for sheet, table in _takeout(path, dropped):
        table = _known_status(table, table["状态"].map(TAKEOUT_STATUS), dropped)
        yield sheets.entries(
            user_id=user,
            username=user,
            subject_id=table["subject_id"],
            rate=sheets.rates(sheet, table["我的评分"].replace("(无评分)", "")),
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
    count(dropped, "of other kinds than anime", len(table) - len(anime))
    table = _known_status(anime, anime["state"].map(TSV_STATUS), dropped)
    return sheets.entries(
        user_id=table["uid"],
        subject_id=table["iid"],
        rate=sheets.rates(sheet, table["rate"]),
        status=table["status"],
        comment=table["comment"].map(plain),
        updated_at=table["adddate"],
    )


FORMATS = (
    Format(
        "bangumi-archive",
        "titles: the dump of Bangumi Archive, a zip or its subject.jsonlines",
        find_archive,
        None,
        archive_titles,
    ),
    Format(
        "bangumi-collections",
        "lists: answers of Bangumi's API saved as USERNAME/OFFSET.json, or takeout.json",
        find_collections,
        collection_lists,
        collection_titles,
        lacking=lacking_pages,
    ),
    Format(
        "bangumi-takeout",
        "one list: the CSV of the Bangumi takeout script",
        find_takeout,
        takeout_lists,
        takeout_titles,
    ),
    Format(
        "bangumi-tsv",
        "lists: an older crawler's uid, iid, typ, state, adddate, rate, tags, comment",
        find_tsv,
        tsv_lists,
        None,
    ),
)
