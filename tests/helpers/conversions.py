"""Sources made of a few rows, and the files that a conversion writes of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.relations import COLUMNS
from importers.common import ENTRY_COLUMNS, MORE_TITLE_COLUMNS, TITLE_COLUMNS, Files, Format, Options, Source, table_of
from importers.pipeline import Result, convert
from importers.users import Rules


def entry(user: str, title: str, rate: float = 0, status: str = "", **more: str) -> dict[str, Any]:
    return {"user_id": user, "subject_id": title, "rate": float(rate), "status": status, **more}


def title(subject_id: str, name: str = "", **more: str) -> dict[str, Any]:
    return {"subject_id": subject_id, "name": name or f"name {subject_id}", "tags_name": "[]", **more}


def source(
    entries: list[dict[str, Any]] | None = None,
    titles: list[dict[str, Any]] | None = None,
    chunk: int = 2,
    name: str = "made",
    together: bool = False,
) -> tuple[Format, Files]:
    """Make a source of rows in memory, yielded a few at a time; together: the lists name the titles."""

    def tables(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Callable[..., Iterator[pd.DataFrame]]:
        return lambda path, options, dropped: (
            table_of(rows[start : start + chunk], columns) for start in range(0, len(rows), chunk)
        )

    lists = (Path(f"{name} lists"),) if entries is not None else ()
    of_titles = (lists if together else (Path(f"{name} titles"),)) if titles is not None else ()
    made = Format(
        name,
        "made for a test",
        lambda path: None,
        tables(entries or [], ENTRY_COLUMNS),
        tables(titles or [], (*TITLE_COLUMNS, *MORE_TITLE_COLUMNS)),
    )
    return made, Files(lists, of_titles)


def with_relations(rows: list[tuple[str, str, str]], titles: str = "abc", chunk: int = 2) -> Source:
    """Make a source with a list and relations."""
    made, files = source([entry("u", one, 8) for one in titles], [title(one) for one in titles])

    def relations(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            yield table_of([dict(zip(COLUMNS, row, strict=True)) for row in part], COLUMNS)

    return made._replace(relations=relations), files._replace(relations=(Path("made relations"),))


def converted(folder: Path, *sources: tuple[Format, Files], **rules: Any) -> Result:
    return convert(list(sources), folder, Options(), Rules(**rules))


def rows_of(folder: Path, name: str) -> list[list[str]]:
    return [line.split("\t") for line in (folder / name).read_text(encoding="utf-8").splitlines()[1:]]


def pairs(folder: Path) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in rows_of(folder, "interactions.tsv")}


def mal_list(*ids: int, user: str = "ann", pad: str = "") -> bytes:
    entries = "".join(
        f"<anime><series_animedb_id>{number}</series_animedb_id><series_title>T{number}</series_title>"
        f"<my_score>7</my_score><my_status>Dropped</my_status></anime>{pad}"
        for number in ids
    )
    return f"<myanimelist><myinfo><user_name>{user}</user_name></myinfo>{entries}</myanimelist>".encode()
