"""Which column of a table holds what, by the names that columns usually go by."""

import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from dataset.given import CODES
from dataset.tables import on_one_line
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, joined_names, plain, year_of
from importers.sheets import Sheet, bad_row, entries, mapped, parsed, rates, read, titles

# names that columns go by, the likeliest first; case, spaces, hyphens and underscores do not count
USUAL = {
    "user_id": "user_id user uid reviewer_id customer_id account_id member_id session_id username user_name profile",
    "subject_id": "subject_id item_id item iid anime_id mal_id movie_id film_id book_id isbn product_id parent_asin "
    "asin business_id artist_id track_id song_id game_id app_id title_id",
    "username": "username user_name nickname",
    "rate": "rate rating score stars overall my_score user_rating",
    "status": "status",
    "comment": "comment review text review_text content",
    "updated_at": "updated_at timestamp time date datetime created_at unix_review_time",
    "part": "part x_label",
    "name": "name title movie_title item_name anime_name book_title product_name",
    "tags_name": "tags_name tags genres genre class categories category keywords",
    "summary": "summary synopsis description overview plot",
    "year": "year release_year release_date released aired",
}
STATUS_WORDS = {
    "wish": "wish plan_to_watch planned ptw",
    "done": "done completed watched",
    "doing": "doing watching current",
    "on_hold": "on_hold paused",
    "dropped": "dropped",
}
# MMRec's x_label numbers the parts
PART_NAMES = {**{name: name for name in CODES}, "0": "train", "1": "valid", "2": "test"}
_STATUS = {word.replace("_", ""): status for status, words in STATUS_WORDS.items() for word in words.split()}


def guess(names: list[str], given: dict[str, str], wanted: Iterable[str]) -> dict[str, str]:
    """Find which column holds what: the given one, else that of the likeliest usual name."""
    by_key = {_key(name): name for name in reversed(names)}
    found = {}
    for ours in wanted:
        usual = (by_key[_key(name)] for name in USUAL.get(ours, "").split() if _key(name) in by_key)
        if column := given.get(ours) or next(usual, None):
            found[ours] = column
    return found


def _key(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def entries_by(columns: dict[str, str], sheet: Sheet, expected: str) -> Iterator[pd.DataFrame]:
    """Read a file of lists of which these columns (ours -> that of the file) are known."""
    columns = {ours: theirs for ours, theirs in columns.items() if ours in ENTRY_COLUMNS}
    for chunk in read(sheet, columns.values(), expected):
        cells = {ours: chunk[theirs] for ours, theirs in columns.items()}
        if "rate" in cells:
            cells["rate"] = rates(sheet, cells["rate"])
        if "status" in cells:
            cells["status"] = mapped(cells["status"].map(_key), _STATUS)
        if "part" in cells:
            cells["part"] = _parts(sheet, columns["part"], cells["part"])
        yield entries(**cells)


def _parts(sheet: Sheet, column: str, cells: pd.Series) -> np.ndarray:
    strange = ~cells.isin(PART_NAMES)
    if strange.any():
        cell = cells[strange].iloc[0]
        what = f"{column} {on_one_line(cell)!r} is no part of a split; write {', '.join(filter(None, PART_NAMES))}"
        bad_row(sheet, int(cells.index[strange][0]), what)
    return mapped(cells, PART_NAMES)


def titles_by(
    columns: dict[str, str], sheet: Sheet, split: Callable[[str], list[str]], expected: str
) -> Iterator[pd.DataFrame]:
    """Read a file of titles of which these columns (ours -> that of the file) are known; split is for tags."""
    columns = {ours: theirs for ours, theirs in columns.items() if ours in TITLE_COLUMNS}
    for chunk in read(sheet, columns.values(), expected):
        # a table of pairs names a title again and again
        chunk = chunk.drop_duplicates(columns["subject_id"])
        cells = {ours: chunk[theirs] for ours, theirs in columns.items()}
        tags = parsed(sheet, cells.pop("tags_name"), split) if "tags_name" in cells else [[]] * len(chunk)
        for ours, clean in (("name", joined_names), ("summary", plain), ("year", year_of)):
            if ours in cells:
                cells[ours] = cells[ours].map(clean)
        yield titles(tags, **cells)
