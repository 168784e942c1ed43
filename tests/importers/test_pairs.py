"""Pairs in any table; and that each format tells its own files from all others by their first bytes."""

import json
import logging
from pathlib import Path

import pytest

from importers import amazon, kaggle, movielens, recbole
from importers import pairs as module
from importers.common import Files, Format, Options
from tests.helpers.import_samples import SAMPLES, all_of, found, lists_of, pairs, titles_of, write

PAIRS = module.FORMATS[0]
FORMATS = {made.name: made for owner in (kaggle, movielens, recbole, amazon, module) for made in owner.FORMATS}


def test_a_folder_with_titles(tmp_path: Path) -> None:
    rows = lists_of(PAIRS, pairs(tmp_path))
    assert rows["user_id"].tolist() == ["ann", "bob"]
    assert rows["subject_id"].tolist() == ["007", "42"]
    assert rows["rate"].tolist() == [4.5, 3]
    titles = titles_of(PAIRS, tmp_path)
    assert titles["name"].tolist() == ["Akira", "Ran"]
    assert titles["tags_name"].map(json.loads).tolist() == [["SF", "Action"], []]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_delimiters_are_told(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(("userId", "Item-ID", "Time Stamp", "comment"))
    text += "\r\n" + delimiter.join(("u", "01", "2020-01-02", '"a, b; c|d"')) + "\r\n"
    row = lists_of(PAIRS, write(tmp_path, t__txt="\ufeff" + text.replace("Time Stamp", "Timestamp"))).iloc[0]
    assert (row["user_id"], row["subject_id"], row["updated_at"], row["comment"]) == (
        "u",
        "01",
        "2020-01-02",
        "a, b; c|d",
    )


def test_any_header_when_options_name_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="wer,was,wie,titel\n7,a,3,Akira\n8,a,,Akira\n") / "t.csv"
    assert found(PAIRS, path) == Files((path,), (path,))
    options = Options(columns={"user_id": "wer", "subject_id": "was", "rate": "wie", "name": "titel"})
    assert all_of(PAIRS.lists, path, options)["rate"].tolist() == [3, 0]
    assert all_of(PAIRS.titles, path, options)["name"].tolist() == ["Akira"]
    with pytest.raises(ValueError, match=r"t\.csv line 1: which column is the user_id and the subject_id\? .*wer, was"):
        all_of(PAIRS.lists, path)
    with pytest.raises(ValueError, match=r"t\.csv line 1: no column wem"):
        all_of(PAIRS.lists, path, Options(columns={"user_id": "wem", "subject_id": "was"}))
    with pytest.raises(ValueError, match="there is no column uid to be named; name any of: user_id, "):
        all_of(PAIRS.lists, path, Options(columns={"uid": "wer"}))


def test_options_go_before_usual_names(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="user_id,account,item_id\n1,ann,5\n") / "t.csv"
    assert all_of(PAIRS.lists, path, Options(columns={"user_id": "account"}))["user_id"].tolist() == ["ann"]


def test_a_first_row_longer_than_what_is_read_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv='user;item;comment\n1;2;"' + "line, and;\n" * 2000 + '"\n') / "t.csv"
    assert found(PAIRS, path).lists == (path,)
    assert all_of(PAIRS.lists, path)["subject_id"].tolist() == ["2"]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_without_a_header_the_order_decides(tmp_path: Path, n: int) -> None:
    path = (
        write(
            tmp_path,
            t__csv="".join(
                ",".join(row[:n]) + "\n" for row in (["u1", "01", "4.5", "1000"], ["u2", "02", "3", "2000"])
            ),
        )
        / "t.csv"
    )
    rows = all_of(PAIRS.lists, path)
    assert rows["user_id"].tolist() == ["u1", "u2"]
    assert rows["subject_id"].tolist() == ["01", "02"]
    assert rows["rate"].tolist() == ([4.5, 3] if n > 2 else [0, 0])
    assert rows["updated_at"].tolist() == (["1000", "2000"] if n > 3 else ["", ""])
    assert list(PAIRS.titles(path, Options(), {})) == []


def test_without_a_header_columns_go_by_number(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="asin,ann,x,y,3\nb,bob,x,y,4\n") / "t.csv"
    options = Options(columns={"user_id": "2", "subject_id": "1", "rate": "5"})
    rows = all_of(PAIRS.lists, path, options)
    assert rows["user_id"].tolist() == ["ann", "bob"]
    assert rows["rate"].tolist() == [3, 4]
    path.write_text("1,ann,x,y,3\n")
    with pytest.raises(
        ValueError,
        match=r"which column .*found: 1, 2, 3, 4, 5\); say so with "
        r"--columns user_id=NAME,subject_id=NAME",
    ):
        all_of(PAIRS.lists, path)


def test_titles_in_the_table_of_pairs_come_once(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="user,item,title,year\n1,5,Akira,1988\n2,5,Akira,1988\n2,6,Ran &amp; I,\n") / "t.csv"
    titles = all_of(PAIRS.titles, path)
    assert titles["name"].tolist() == ["Akira", "Ran & I"]
    assert titles["year"].tolist() == ["1988", ""]


def test_statuses_and_milliseconds(tmp_path: Path) -> None:
    path = (
        write(
            tmp_path,
            t__csv="user,item,status,timestamp\n1,5,Plan to Watch,1598567408138\n1,6,Completed,\n"
            "1,7,On-Hold,2020-01-01T00:00:00Z\n1,8,unheard of,99\n",
        )
        / "t.csv"
    )
    rows = all_of(PAIRS.lists, path)
    assert rows["status"].tolist() == ["wish", "done", "on_hold", ""]
    assert rows["updated_at"].tolist() == ["1598567408138", "", "2020-01-01T00:00:00Z", "99"]


def test_statuses_in_chinese_and_by_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "用户,条目,状态\n1,5,想看\n1,6,看过\n1,7,\n1,8,2\n1,9,已收藏\n"
    with caplog.at_level(logging.WARNING, "aglrec"):
        rows = all_of(PAIRS.lists, write(tmp_path, t__csv=text) / "t.csv")
    assert rows["status"].tolist() == ["wish", "done", "", "", ""]
    assert "2 cells of 状态 are no known status ('2', '已收藏'), and these rows count as collected" in caplog.text
    rows = all_of(PAIRS.lists, write(tmp_path, t__csv="user,anime_id,my_status\n1,5,6\n1,6,2.0\n") / "t.csv")
    assert rows["status"].tolist() == ["wish", "done"]


@pytest.mark.parametrize(
    "header", ["用户,条目,评分,时间", "用户名,作品ID,我的打分,收藏日期", "ユーザー,作品,評価,日時"]
)
def test_headers_in_chinese_and_japanese(header: str, tmp_path: Path) -> None:
    path = write(tmp_path, t__csv=f"{header}\n张三,8,9,2021年8月15日\n") / "t.csv"
    row = all_of(PAIRS.lists, path).iloc[0]
    assert row[["user_id", "subject_id", "rate", "updated_at"]].tolist() == ["张三", "8", 9, "2021年8月15日"]


def test_titles_go_by_name_where_there_is_no_id(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="user,title,score\nann,Akira,8\nbob,Akira,7\n") / "t.csv"
    assert found(PAIRS, path) == Files((path,), (path,))
    assert all_of(PAIRS.lists, path)["subject_id"].tolist() == ["Akira", "Akira"]
    assert all_of(PAIRS.titles, path)[["subject_id", "name"]].to_numpy().tolist() == [["Akira", "Akira"]]
    users = write(tmp_path, users__csv="user_id,name,created_at\n1,Ann,2020-01-01\n") / "users.csv"
    assert found(PAIRS, users).lists == ()


def test_rows_of_manga_in_a_table_of_both_are_left_out(tmp_path: Path) -> None:
    text = "user,anime_id,media_type,title\n1,21,anime,One Piece\n1,21,manga,Death Note\n1,3,tv,S\n1,4,,x\n"
    path, counts = write(tmp_path, t__csv=text) / "t.csv", {}
    rows = next(PAIRS.lists(path, Options(), counts))
    assert rows["subject_id"].tolist() == ["21", "4"]
    assert counts == {"of other kinds than anime": 2}
    assert all_of(PAIRS.titles, path)["name"].tolist() == ["One Piece", "x"]
    by_number = write(tmp_path, n__csv="user,subject_id,subject_type\n1,8,2\n1,9,3\n") / "n.csv"
    assert all_of(PAIRS.lists, by_number)["subject_id"].tolist() == ["8"]
    shop = write(tmp_path, s__csv="user,item_id,type\n1,8,book\n1,9,movie\n") / "s.csv"
    assert len(all_of(PAIRS.lists, shop)) == 2


def test_a_damaged_second_row_has_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="user_id,item_id,comment\n1,2,good, but long\n") / "t.csv"
    with pytest.raises(ValueError, match=r"t\.csv line 2: 4 fields where there should be 3"):
        all_of(PAIRS.lists, path)


def test_blank_lines_and_spaces_around_cells_are_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="\n\nuser, item ,rating\n\n ann , 007, 4 \n\nbob,8,x\n") / "t.csv"
    with pytest.raises(ValueError, match=r"t\.csv line 7: the rate 'x'"):
        all_of(PAIRS.lists, path)
    path.write_text(path.read_text().replace("x", ""))
    assert all_of(PAIRS.lists, path)[["user_id", "subject_id", "rate"]].to_numpy().tolist() == [
        ["ann", "007", 4],
        ["bob", "8", 0],
    ]


def test_a_table_of_titles_alone_has_no_lists(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv="item_id,title\n1,Akira\n") / "t.csv"
    assert found(PAIRS, path) == Files((), (path,))


@pytest.mark.parametrize(
    "text",
    ["", "one column\n1\n", "Dear user, hello\nthis is prose\n", '{"a": 1, "b": 2}\n', "<a>1,2</a>\n", "\0,\1\n"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, t__csv=text) / "t.csv"
    assert PAIRS.find(path) is None


def test_errors_name_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv='user,item,rating,comment\n1,2,3,"two\nlines"\n1,2,good,\n') / "t.csv"
    with pytest.raises(ValueError, match=r"t\.csv line 4: the rate 'good' is not a number"):
        all_of(PAIRS.lists, path)
    path.write_text('user,item\n1,2\n1,"2\n1,3\n')
    with pytest.raises(ValueError, match=r"t\.csv line 3: .*close(d| every double quote)"):
        all_of(PAIRS.lists, path)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("asked", FORMATS)
def test_each_format_knows_its_own_folder_and_files_and_no_others(tmp_path: Path, sample: str, asked: str) -> None:
    folder = SAMPLES[sample](tmp_path / "sample")
    owner = sample.split()[0]
    files = FORMATS[owner].find(folder)
    if asked == owner:
        assert files.lists
        assert files.titles
        for path in files.lists:
            assert FORMATS[asked].find(path).lists == (path,)
        for path in files.titles:
            assert FORMATS[asked].find(path) == Files((), (path,))
    else:
        for path in (folder, *files.lists, *files.titles):
            assert FORMATS[asked].find(path) is None, f"{asked} takes {path.name} of {owner} for its own"


OTHERS = {
    "list.xml": '<?xml version="1.0"?>\n<myanimelist><myinfo><user_id>1</user_id></myinfo></myanimelist>\n',
    "anilist.json": '{"data": {"MediaListCollection": {"lists": [{"name": "Completed", "entries": []}]}}}\n',
    "subject.jsonlines": '{"id": 1, "type": 2, "name": "a", "name_cn": "b", "tags": [], "summary": "text"}\n',
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("asked", FORMATS)
def test_exports_of_sites_are_left_to_their_importers(tmp_path: Path, name: str, asked: str) -> None:
    (tmp_path / name).write_text(OTHERS[name])
    assert FORMATS[asked].find(tmp_path / name) is None
    assert FORMATS[asked].find(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "header", "owner"),
    [
        ("ratings.csv", "userId,movieId,rating,timestamp", "movielens"),
        ("ratings.csv", "user_id,anime_id,rating", "kaggle-2016"),
        ("rating_complete.csv", "user_id,anime_id,rating", "kaggle-2020"),
        ("mine.csv", "user_id,anime_id,rating", "pairs"),
        ("ratings.csv", "user_id,anime_id,rating,watching_status,watched_episodes", "kaggle-2020"),
        ("ratings.csv", "User-ID,ISBN,Book-Rating", "pairs"),
        ("anime.csv", "anime_id,name,genre,type,episodes,rating", "kaggle-2016"),
        ("anime.csv", "id,name,genre", "pairs"),
    ],
)
def test_of_one_name_the_header_decides(tmp_path: Path, name: str, header: str, owner: str) -> None:
    path = tmp_path / name
    path.write_text(f"{header}\n{','.join('1' * (header.count(',') + 1))}\n")
    assert [asked for asked, made in FORMATS.items() if made.find(path)] == [owner]


def bytes_read_by_this_process() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
@pytest.mark.parametrize("sample", SAMPLES)
def test_recognition_reads_the_first_kilobytes_only(tmp_path: Path, sample: str) -> None:
    folder = SAMPLES[sample](tmp_path)
    n_files = len(list(folder.iterdir()))
    for path in folder.iterdir():
        with path.open("ab") as file:
            file.write(path.read_bytes().splitlines(keepends=True)[-1] * 100_000)
    made: Format = FORMATS[sample.split()[0]]
    before = bytes_read_by_this_process()
    assert made.find(folder)
    # each file is opened up to 24 times by pairs, which asks all others first
    assert bytes_read_by_this_process() - before < n_files * 8192 * 25
    assert sum(path.stat().st_size for path in folder.iterdir()) > n_files * 8192 * 25
