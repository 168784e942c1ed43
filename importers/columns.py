"""Which column of a table holds what, by the names that columns usually go by."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from dataset.given import CODES
from dataset.tables import on_one_line
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, count, from_html, joined_names, year_of
from importers.ids import Ids
from importers.kinds import OTHER
from importers.sheets import Sheet, bad_row, entries, first_rows, header, mapped, parsed, rates, read, titles
from importers.statuses import Statuses

log = logging.getLogger("aglrec")

# names that columns go by, the likeliest first; case, spaces, dots, hyphens, underscores and what stands in brackets do
# not count. What a user gave goes before "rating" and "score", which may be the mean of a title
USUAL = {
    "user_id": "user_id user uid user_key reviewer_id reviewer customer_id customer account_id member_id member "
    "viewer_id visitor_id reader_id listener_id player_id buyer_id client_id profile_id steam_id session_id username "
    "user_name nickname profile 用户id 用户编号 用户 用户名 用户昵称 昵称 账号 会员id 使用者 使用者id ユーザーid "
    "ユーザー ユーザー名",
    "subject_id": "subject_id item_id item iid subject anime_id mal_id manga_id movie_id film_id show_id series_id "
    "media_id video_id book_id isbn product_id parent_asin asin business_id artist_id track_id song_id album_id "
    "game_id app_id article_id news_id recipe_id course_id poi_id venue_id goods_id work_id content_id title_id "
    "条目id 条目 条目编号 作品id 作品 动画id 动画 動畫 アニメid アニメ 番剧id 番剧 番組 番组 动漫id 动漫 电影id 电影 "
    "影片id 书籍id 图书id 商品id 物品id 项目id",
    "username": "username user_name nickname 用户名 用户昵称 昵称 ユーザー名",
    "rate": "my_score my_rating my_rate user_score user_rating user_rate book_rating movie_rating anime_rating "
    "item_rating rate rating ratings score stars star star_rating review_score review_rating rating_score "
    "rating_value rate_value rating_val overall overall_rating points grade 评分 我的评分 用户评分 打分 我的打分 "
    "分数 得分 評分 評価 評点 点数 スコア",
    "status": "status my_status watching_status watch_status list_status 状态 我的状态 收藏状态 狀態 視聴状況 "
    "ステータス",
    "comment": "comment my_comments review text review_text review_body review_content content 评论 我的评论 短评 "
    "吐槽 简评 書評 評論 感想 コメント レビュー",
    "updated_at": "updated_at update_at update_time updated_time updated last_updated my_last_updated timestamp "
    "time_stamp unix_timestamp ts time date datetime date_time created_at created create_time created_time "
    "unix_review_time review_time review_date reviewed_at rating_timestamp rating_time rating_date rate_time "
    "rated_at rated_on date_rated watched_at watched_on watched_date date_watched watch_date viewed_at read_at "
    "date_read listened_at played_at purchase_date added_at added_on date_added event_time event_timestamp "
    "interaction_time 时间 日期 评分时间 评分日期 收藏时间 收藏日期 更新时间 创建时间 标注时间 标记时间 最后标注 "
    "观看时间 观看日期 添加时间 時間 日時 日付 更新日 更新日時 視聴日 登録日",
    "part": "part x_label",
    "name": "name title movie_title item_name anime_name anime_title book_title product_name 名称 标题 片名 作品名 "
    "作品名称 动画名称 番剧名称 条目名称 中文名 タイトル",
    "tags_name": "tags_name tags genres genre class categories category keywords 标签 类型 タグ ジャンル",
    "summary": "summary synopsis description overview plot 简介 剧情简介 あらすじ",
    "year": "year release_year release_date released aired year_of_publication publication_year 年份 上映年份 放送年",
}
COLUMNS = tuple(dict.fromkeys((*ENTRY_COLUMNS, *TITLE_COLUMNS)))
# the column of row numbers that pandas writes unless it is told not to
INDEX = re.compile(r"|unnamed: ?\d+(_level_\d+|\.\d+)*|level_\d+|index", re.IGNORECASE)
# columns that tell anime from manga, games and the like, if one of their cells is such a word; 2 is Bangumi's
OF_KIND = (
    "subjecttype",
    "mediatype",
    "seriestype",
    "targettype",
    "itemtype",
    "type",
    "media",
    "kind",
    "条目类型",
    "分类",
)
ANIME_WORDS = ("anime", "动画", "動畫", "アニメ")
SAMPLE = 1_000  # rows, as far as the head of a file reaches
# MMRec's x_label numbers the parts
PART_NAMES = {**{name: name for name in CODES}, "0": "train", "1": "valid", "2": "test"}


def guess(names: list[str], given: dict[str, str], wanted: Iterable[str]) -> dict[str, str]:
    """Find which column holds what: the given one, else that of the likeliest usual name."""
    by_key = {_key(name): name for name in reversed(names)}
    found = {}
    for ours in wanted:
        usual = (by_key[_key(name)] for name in USUAL.get(ours, "").split() if _key(name) in by_key)
        if column := given.get(ours) or next(usual, None):
            found[ours] = column
    if "subject_id" not in found and {"user_id", "name", "rate"} <= set(found) and "subject_id" in wanted:
        found["subject_id"] = found["name"]  # who rated what, by name; a table of users has names and no rates
    return found


def is_index(name: str) -> bool:
    """Tell whether a column is called as pandas calls numbers of rows."""
    return INDEX.fullmatch(name.strip()) is not None


def _key(name: str) -> str:
    return re.sub(r"\(.*?\)|（.*?）|[\s_.-]", "", name.casefold())


def entries_by(
    columns: dict[str, str], sheet: Sheet, expected: str, counts: dict[str, int] | None = None, user: str = ""
) -> Iterator[pd.DataFrame]:
    """Read a file of lists of which these columns (ours -> that of the file) are known.

    Args:
        counts: where rows of other kinds than anime are counted, in a table of several.
        user: whose list it is, if it has no column of users.
    """
    columns = {ours: theirs for ours, theirs in columns.items() if ours in ENTRY_COLUMNS}
    ids = {ours: Ids(sheet, columns[ours]) for ours in ("user_id", "subject_id") if ours in columns}
    statuses = Statuses(sheet.path, columns.get("status", ""))
    for chunk in _of_anime(columns.values(), sheet, expected, {} if counts is None else counts):
        cells = {ours: chunk[theirs] for ours, theirs in columns.items()}
        cells |= {ours: ids[ours].clean(cells[ours]) for ours in ids}
        if "rate" in cells:
            cells["rate"] = rates(sheet, cells["rate"])
        if "status" in cells:
            cells["status"] = statuses.clean(cells["status"])
        if "part" in cells:
            cells["part"] = _parts(sheet, columns["part"], cells["part"].str.removesuffix(".0"))
        yield entries(**{"user_id": user, **cells})
    for of_one in (*ids.values(), statuses):
        of_one.tell()


def _of_anime(columns: Iterable[str], sheet: Sheet, expected: str, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read columns; of a table that says of its rows which are anime, these alone: manga have the same numbers."""
    names = header(sheet)
    rows = [row for row in first_rows(sheet, SAMPLE) if len(row) == len(names)]
    says = {name: {row[place] for row in rows} for place, name in enumerate(names) if _key(name) in OF_KIND}
    kind = next((name for name, words in says.items() if any(_is_anime(name, word) for word in words)), None)
    for chunk in read(sheet, [*columns, *filter(None, [kind])], expected):
        if kind is not None:
            is_anime = chunk[kind].map({word: not word or _is_anime(kind, word) for word in chunk[kind].unique()})
            count(counts, OTHER, (~is_anime).sum())
            chunk = chunk[is_anime]
        yield chunk


def _is_anime(column: str, word: str) -> bool:
    return word.casefold() in ANIME_WORDS or _key(column) == "subjecttype" and word == "2"


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
    for chunk in _of_anime(columns.values(), sheet, expected, {}):
        # a table of pairs names a title again and again
        chunk = chunk.drop_duplicates(columns["subject_id"])
        cells = {ours: chunk[theirs] for ours, theirs in columns.items()}
        cells["subject_id"] = ids.clean(cells["subject_id"])
        tags = parsed(sheet, cells.pop("tags_name"), split) if "tags_name" in cells else [[]] * len(chunk)
        for ours, clean in (("name", joined_names), ("summary", from_html), ("year", year_of)):
            if ours in cells:
                cells[ours] = cells[ours].map(clean)
        yield titles(tags, **cells)
