"""Which column of a table holds what, by the names that columns usually go by."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from dataset.given import CODES
from dataset.tables import on_one_line
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, from_html, joined_names, year_of
from importers.ids import Ids
from importers.sheets import Sheet, bad_row, entries, mapped, parsed, rates, read, titles

log = logging.getLogger("aglrec")

# names that columns go by, the likeliest first; case, spaces, dots, hyphens, underscores and what stands in brackets do
# not count. What a user gave goes before "rating" and "score", which may be the mean of a title
USUAL = {
    "user_id": "user_id user uid user_key reviewer_id reviewer customer_id customer account_id member_id member "
    "viewer_id visitor_id reader_id listener_id player_id buyer_id client_id profile_id steam_id session_id username "
    "user_name nickname profile 用户id 用户",
    "subject_id": "subject_id item_id item iid subject anime_id mal_id manga_id movie_id film_id show_id series_id "
    "media_id video_id book_id isbn product_id parent_asin asin business_id artist_id track_id song_id album_id "
    "game_id app_id article_id news_id recipe_id course_id poi_id venue_id goods_id work_id content_id title_id 条目id",
    "username": "username user_name nickname",
    "rate": "my_score my_rating my_rate user_score user_rating user_rate book_rating movie_rating anime_rating "
    "item_rating rate rating ratings score stars star star_rating review_score review_rating rating_score rating_value "
    "rate_value rating_val overall overall_rating points grade 评分 我的评分 評価",
    "status": "status",
    "comment": "comment my_comments review text review_text review_body review_content content 评论 短评",
    "updated_at": "updated_at update_at update_time updated_time updated last_updated my_last_updated timestamp "
    "time_stamp unix_timestamp ts time date datetime date_time created_at created create_time created_time "
    "unix_review_time review_time review_date reviewed_at rating_timestamp rating_time rating_date rate_time rated_at "
    "rated_on date_rated watched_at watched_on watched_date date_watched watch_date viewed_at read_at date_read "
    "listened_at played_at purchase_date added_at added_on date_added event_time event_timestamp interaction_time "
    "时间",
    "part": "part x_label",
    "name": "name title movie_title item_name anime_name anime_title book_title product_name",
    "tags_name": "tags_name tags genres genre class categories category keywords",
    "summary": "summary synopsis description overview plot",
    "year": "year release_year release_date released aired year_of_publication publication_year",
}
COLUMNS = tuple(dict.fromkeys((*ENTRY_COLUMNS, *TITLE_COLUMNS)))
# the column of row numbers that pandas writes unless it is told not to
INDEX = re.compile(r"|unnamed: ?\d+(_level_\d+|\.\d+)*|level_\d+|index", re.IGNORECASE)
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


def is_index(name: str) -> bool:
    """Tell whether a column is called as pandas calls numbers of rows."""
    return INDEX.fullmatch(name.strip()) is not None


def _key(name: str) -> str:
    return re.sub(r"\(.*?\)|（.*?）|[\s_.-]", "", name.casefold())


def entries_by(columns: dict[str, str], sheet: Sheet, expected: str) -> Iterator[pd.DataFrame]:
    """Read a file of lists of which these columns (ours -> that of the file) are known."""
    columns = {ours: theirs for ours, theirs in columns.items() if ours in ENTRY_COLUMNS}
    ids = {ours: Ids(sheet, columns[ours]) for ours in ("user_id", "subject_id") if ours in columns}
    for chunk in read(sheet, columns.values(), expected):
        cells = {ours: chunk[theirs] for ours, theirs in columns.items()}
        cells |= {ours: ids[ours].clean(cells[ours]) for ours in ids}
        if "rate" in cells:
            cells["rate"] = rates(sheet, cells["rate"])
        if "status" in cells:
            cells["status"] = mapped(cells["status"].map(_key), _STATUS)
        if "part" in cells:
            cells["part"] = _parts(sheet, columns["part"], cells["part"].str.removesuffix(".0"))
        yield entries(**cells)
    for of_one in ids.values():
        of_one.tell()


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
    ids = Ids(sheet, columns["subject_id"])
    for chunk in read(sheet, columns.values(), expected):
        # a table of pairs names a title again and again
        chunk = chunk.drop_duplicates(columns["subject_id"])
        cells = {ours: chunk[theirs] for ours, theirs in columns.items()}
        cells["subject_id"] = ids.clean(cells["subject_id"])
        tags = parsed(sheet, cells.pop("tags_name"), split) if "tags_name" in cells else [[]] * len(chunk)
        for ours, clean in (("name", joined_names), ("summary", from_html), ("year", year_of)):
            if ours in cells:
                cells[ours] = cells[ours].map(clean)
        yield titles(tags, **cells)
