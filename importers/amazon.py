"""Amazon's reviews and metadata of 2018 and of 2023, as JSON lines."""

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.tags import tag_names
from importers.common import CHUNK, Files, Format, Options, from_html, joined_names
from importers.sheets import bare_name, entries, files_in, head, open_any, titles

KEY = re.compile(r'"(\w+)"\s*:')  # a quote inside a text has a backslash before it
# the first keys of a line: enough of a file is read to see these
REVIEW_2018, PRODUCT_2018 = {"reviewerID", "asin"}, {"category", "description"}
REVIEW_2023, PRODUCT_2023 = {"rating", "title", "text"}, {"main_category", "title"}

CATEGORIES = ("main_category", "category", "categories")


def _find(review: set[str], product: set[str], source: Path) -> Files | None:
    """Find the files of reviews and of products, of any number of categories."""
    keys = {
        path: set(KEY.findall(head(path)))
        for path in files_in(source)
        if bare_name(path).endswith((".json", ".jsonl")) and head(path).startswith("{")
    }
    found = Files(*(tuple(path for path, has in keys.items() if first <= has) for first in (review, product)))
    return found if any(found) else None


def read_lists(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read reviews; all editions of a product (parent_asin), where they are known, are one title."""
    for user_id, subject_id, rate, time, username, comment in _columns(path, _review, "reviews"):
        yield entries(
            user_id=user_id, subject_id=subject_id, rate=rate, username=username, comment=comment, updated_at=time
        )


def read_titles(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read products; features and description are the summary."""
    for subject_id, name, tags, summary in _columns(path, _product, "metadata"):
        yield titles(tags, subject_id=subject_id, name=name, summary=summary)


def _review(record: dict[str, Any]) -> tuple[Any, ...]:
    return (
        _text(record, "user_id", "reviewerID"),
        _text(record, "parent_asin", "asin"),
        float(_text(record, "rating", "overall") or 0),
        _text(record, "timestamp", "sort_timestamp", "sortTimestamp", "unixReviewTime", "reviewTime"),
        joined_names(_text(record, "reviewerName")),
        from_html(_text(record, "text", "reviewText")),
    )


def _product(record: dict[str, Any]) -> tuple[Any, ...]:
    return (
        _text(record, "parent_asin", "asin"),
        joined_names(_text(record, "title")),
        [html.unescape(tag) for key in CATEGORIES for tag in tag_names(record.get(key))],
        from_html("\n".join(part for key in ("features", "feature", "description") for part in _parts(record, key))),
    )


def _text(record: dict[str, Any], *keys: str) -> str:
    """Return the value of the first key that has one."""
    return next((str(record[key]) for key in keys if record.get(key) not in (None, "")), "")


def _parts(record: dict[str, Any], key: str) -> list[str]:
    """Return a value that may be a text, a list of texts, or missing."""
    value = record.get(key) or []
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def _columns(path: Path, cells_of: Callable[[dict[str, Any]], tuple[Any, ...]], what: str) -> Iterator[list[tuple]]:
    """Read CHUNK lines at a time, and of each line its cells, an id first; yield the cells by column."""
    with open_any(path) as file:
        rows = _cells(path, file, cells_of)
        chunk = list(islice(rows, CHUNK))
        if not chunk or not chunk[0][0]:
            raise ValueError(f"{path} line 1: no {what} of Amazon; give the JSON lines as downloaded")
        while chunk:
            yield list(zip(*chunk, strict=True))
            chunk = list(islice(rows, CHUNK))


def _cells(path: Path, lines: Iterable[str], cells_of: Callable[[dict[str, Any]], tuple[Any, ...]]) -> Iterator[tuple]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError("no object in braces")
                yield cells_of(record)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path} line {number}: not JSON ({error.msg}), which each line must be by itself; "
                    "download the file again"
                ) from None
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path} line {number}: {error}; fix or delete that line") from None


FORMATS = tuple(
    Format(
        f"amazon-{year}",
        f"Amazon reviews {year}: JSON lines of reviews and of metadata, .gz or not",
        partial(_find, *keys),
        read_lists,
        read_titles,
        takes="rates 1 to 5; times of the review; its text as comments",
    )
    for year, *keys in ((2018, REVIEW_2018, PRODUCT_2018), (2023, REVIEW_2023, PRODUCT_2023))
)
