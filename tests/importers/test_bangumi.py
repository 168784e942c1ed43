"""Bangumi's files in their real shape, and what is odd in them."""

import csv
import gzip
import io
import json
import logging
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from importers import bangumi, bangumi_tables, read_export, recognise
from importers.common import CHUNK, ENTRY_COLUMNS, MORE_TITLE_COLUMNS, NO_OPTIONS, TITLE_COLUMNS, Options
from runtime.cli import run_script
from tools import convert

INFOBOX = """{{Infobox animanga/TVAnime\r
|中文名= 水星领航员\r
|别名={\r
[Aria the Animation]\r
[en|Aria &amp; friends]\r
[]\r
}\r
|放送开始= 2005年10月5日\r
|话数= 13\r
}}"""


def subject(number: int = 8, **more: Any) -> dict[str, Any]:
    """Make a subject as the dump writes it."""
    return {
        "id": number,
        "type": 2,
        "name": "ARIA The ANIMATION",
        "name_cn": "水星领航员",
        "infobox": INFOBOX,
        "platform": 1,
        "summary": 'A "story".\r\n\r\nOn &lt;b&gt;Aqua&lt;/b&gt;.',
        "nsfw": False,
        "tags": [{"name": "日常", "count": 5}, {"name": "治愈", "count": 90}, {"name": "R&amp;B", "count": 1}],
        "meta_tags": ["TV", "治愈"],
        "score": 8.1,
        "score_details": {"1": 0},
        "rank": 90,
        "date": "2005-10-05",
        "favorite": {"wish": 1, "done": 2, "doing": 3, "on_hold": 4, "dropped": 5},
        "series": False,
        **more,
    }


def lines(*subjects: dict[str, Any]) -> bytes:
    return "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in subjects).encode()


def all_of(reader: Any, path: Path, options: Options = NO_OPTIONS) -> tuple[pd.DataFrame, dict[str, int]]:
    dropped: dict[str, int] = {}
    chunks = list(reader(path, options, dropped))
    titles = (TITLE_COLUMNS, (*TITLE_COLUMNS, *MORE_TITLE_COLUMNS))
    columns = (ENTRY_COLUMNS,) if reader.__name__.endswith("lists") else titles
    assert all(tuple(chunk.columns) in columns for chunk in chunks)
    return pd.concat(chunks, ignore_index=True), dropped


# --- the Archive dump ---


@pytest.fixture(params=["zip", "zip in a folder", "jsonlines", "folder", "gzip"])
def dump(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same dump in the forms it is found in."""
    bare = subject(10, nsfw=True, name_cn="", tags=None, meta_tags=None, infobox="", summary="", date="")
    content = lines(subject(), subject(9, type=1), subject(7, type=4, of={"type": 2}), bare)
    if request.param.startswith("zip"):
        path = tmp_path / "dump-2024-08-06.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("character.jsonlines", '{"id":1,"role":1,"name":"x","infobox":"","summary":""}\n')
            archive.writestr("dump/subject.jsonlines", content)
        return tmp_path if request.param.endswith("folder") else path
    (tmp_path / "episode.jsonlines").write_text('{"id":1,"name":"x","name_cn":"y","type":0,"subject_id":8}\n')
    path = tmp_path / "subject.jsonlines"
    path.write_bytes(gzip.compress(content) if request.param == "gzip" else content)
    return tmp_path if request.param == "folder" else path


def test_a_dump_is_known_and_read_in_every_form(dump: Path) -> None:
    made, files = recognise(dump)
    assert made.name == "bangumi-archive"
    assert (files.lists, len(files.titles)) == ((), 1)
    titles, dropped = all_of(made.titles, files.titles[0])
    assert titles.to_numpy().tolist() == [
        [
            "8",
            "水星领航员 / ARIA The ANIMATION / Aria & friends",
            '["治愈", "日常", "R&B", "TV"]',
            'A "story".\n\nOn Aqua.',
            "2005",
            "",
            "",
            "TV",
            "2005-fall",
        ],
        ["10", "ARIA The ANIMATION", "[]", "", "", "1", "", "TV", ""],
    ]
    assert dropped == {}


@pytest.mark.parametrize("name", ["character.jsonlines", "episode.jsonlines", "person.jsonlines"])
def test_other_tables_of_the_dump_are_not_taken_for_subjects(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        {
            "c": '{"id":1,"role":1,"name":"x","infobox":"","summary":"","comments":0}',
            "e": '{"id":1,"name":"x","name_cn":"y","type":2,"subject_id":8}',
            "p": '{"id":1,"name":"x","type":2,"career":[],"infobox":"","summary":""}',
        }[name[0]]
    )
    assert bangumi.find_archive(tmp_path) is None


def test_a_name_that_looks_like_a_tag_stays(tmp_path: Path) -> None:
    path = tmp_path / "subject.jsonlines"
    path.write_bytes(lines(subject(name="&lt;harmony/&gt;", name_cn="", infobox="")))
    assert all_of(bangumi.archive_titles, path)[0]["name"].tolist() == ["<harmony/>"]


@pytest.mark.parametrize(
    ("infobox", "expected"),
    [
        (INFOBOX, ["Aria the Animation", "Aria &amp; friends"]),
        ("{{Infobox\n|别名= one name\n}}", ["one name"]),
        ("{{Infobox\n|别名=\n|话数= 13\n}}", []),
        ("", []),
        ("{{Infobox\n|别名={\n}\n}}", []),
        ("|别名={\n" + "".join(f"[n{n}]\n" for n in range(9)) + "}", [f"n{n}" for n in range(9)]),
    ],
)
def test_aliases_of_an_infobox(infobox: str, expected: list[str]) -> None:
    assert bangumi.aliases(infobox) == expected


def test_five_aliases_are_part_of_the_name_and_the_others_synonyms() -> None:
    title = bangumi.title_of(subject(infobox="|别名={\n" + "".join(f"[n{n}]\n" for n in range(7)) + "}", platform=None))
    assert title["name"] == "水星领航员 / ARIA The ANIMATION / n0 / n1 / n2 / n3 / n4"
    assert (title["synonyms"], title["type"]) == ('["n5", "n6"]', "")


def test_the_year_is_that_of_the_infobox_where_there_is_no_date() -> None:
    assert bangumi.title_of(subject(date=""))["year"] == "2005"
    assert bangumi.title_of(subject(date="2011-01-01"))["year"] == "2011"


def test_a_large_dump_comes_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bangumi, "TITLES_A_CHUNK", 2)
    path = tmp_path / "subject.jsonlines"
    path.write_bytes(lines(*(subject(number) for number in range(5))))
    chunks = list(bangumi.archive_titles(path, NO_OPTIONS, {}))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]


def test_damaged_dumps(tmp_path: Path) -> None:
    path = tmp_path / "subject.jsonlines"
    path.write_bytes(lines(subject(), subject(9))[:-40])
    with pytest.raises(ValueError, match=r"subject.jsonlines line 2: no JSON .*download it again"):
        list(bangumi.archive_titles(path, NO_OPTIONS, {}))
    packed = tmp_path / "dump.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("subject.jsonlines", lines(*(subject(number) for number in range(50))))
    whole = packed.read_bytes()
    packed.write_bytes(whole[:60] + bytes(20) + whole[80:])
    with pytest.raises(ValueError, match="dump.zip/subject.jsonlines: not a whole zip"):
        list(bangumi.archive_titles(packed, NO_OPTIONS, {}))
    packed.write_bytes(whole[:-30])
    assert bangumi.find_archive(packed) is None
    with pytest.raises(ValueError, match="dump.zip: not a whole zip"):
        recognise(packed)


# --- collections ---


def collected(number: int, **more: Any) -> dict[str, Any]:
    """Make an entry in the API's order of keys, where the type stands far behind a long summary."""
    return {
        "updated_at": "2022-07-01T12:00:00+08:00",
        "comment": None,
        "tags": ["治愈"],
        "subject": {
            "date": "2005-10-05",
            "name": "ARIA",
            "name_cn": "水星",
            "short_summary": "s" * 9000,
            "tags": [{"name": "日常", "count": 3, "total_cont": 9}],
            "score": 8,
            "type": 2,
            "id": number,
        },
        "subject_id": number,
        "vol_status": 0,
        "ep_status": 13,
        "subject_type": 2,
        "type": 2,
        "rate": 8,
        "private": False,
        **more,
    }


def page(*entries: dict[str, Any], offset: int = 0) -> str:
    return json.dumps({"data": list(entries), "total": len(entries), "limit": 50, "offset": offset}, ensure_ascii=False)


def write_page(folder: Path, user: str, offset: int, n: int, total: int, limit: int | None = 50) -> None:
    (folder / user).mkdir(exist_ok=True, parents=True)
    entries = [collected(offset + place + 1, subject=None) for place in range(n)]
    said = {"data": entries, "total": total, "offset": offset, **({} if limit is None else {"limit": limit})}
    (folder / user / f"{offset}.json").write_text(json.dumps(said), encoding="utf-8")


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ([(0, 50), (50, 50), (100, 20)], ""),
        ([(0, 50), (100, 20)], "no page has 51 to 100 of its 120 titles"),
        ([(50, 50)], "no page has 1 to 50, 101 to 120 of its 120 titles"),
        ([(0, 50)], "no page has 51 to 120 of its 120 titles"),
        ([(0, 48), (50, 50), (100, 20)], "its pages hold 118 of its 120 titles; private ones, or a page was cut"),
    ],
)
@pytest.mark.parametrize("limit", [50, None])
def test_lists_of_which_pages_are_missing_are_named(
    pages: list[tuple[int, int]], told: str, limit: int | None, tmp_path: Path
) -> None:
    for offset, n in pages:
        write_page(tmp_path, "ann", offset, n, 120, limit)
    write_page(tmp_path, "bo", 0, 3, 3)
    made, files = recognise(tmp_path)
    if limit is None and told.startswith("its pages"):
        told = "no page has 49 to 50 of its 120 titles"
    assert made.lacking(files.lists, NO_OPTIONS) == ({"ann": told} if told else {})


def test_convert_warns_of_missing_pages_and_counts_the_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        write_page(tmp_path / "lists", f"user{number}", 50, 10, 60 if number else 110)
    write_page(tmp_path / "lists", "whole", 0, 2, 2)
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(sys, "argv", ["convert.py", "auto", str(tmp_path / "lists"), "--out", str(tmp_path / "data")])
    assert run_script(convert.main) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "the list of user0 is not whole: no page has 1 to 50, 101 to 110 of its 110 titles" in printed
    assert sum("is not whole" in line for line in printed) == 5
    assert any(line.startswith("lists that are not whole: 7, 2 more than are named") for line in printed)


def test_a_page_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ann" / "0.json"
    path.parent.mkdir()
    path.write_text(
        page(
            collected(8, comment="It&#39;s a<b>c\nreally"),
            collected(9, rate=0, type=1, subject=None),
            collected(10, type=3),
            collected(11, type=4),
            collected(12, type=5),
            collected(13, subject_type=1),
            collected(14, type=9),
        ),
        encoding="utf-8",
    )
    made, files = recognise(tmp_path)
    assert made.name == "bangumi-collections"
    assert files.lists == files.titles == (path,)
    rows, dropped = all_of(made.lists, path)
    assert rows.iloc[0].tolist() == [
        "ann",
        "ann",
        "8",
        8.0,
        "done",
        "It's a<b>c\nreally",
        "2022-07-01T12:00:00+08:00",
        "",
    ]
    assert rows["status"].tolist() == ["done", "wish", "doing", "on_hold", "dropped"]
    assert rows["rate"].tolist() == [8, 0, 8, 8, 8]
    assert rows["comment"].tolist()[1] == ""
    assert dropped == {"of other kinds than anime": 1, "of an unknown status": 1}
    titles, _ = all_of(made.titles, path)
    assert titles["subject_id"].tolist() == ["8", "10", "11", "12", "14"]
    assert titles.iloc[0].tolist() == ["8", "水星 / ARIA", '["日常"]', "s" * 9000, "2005", "", "", "", "2005-fall"]


@pytest.mark.parametrize(
    ("name", "offset", "user"),
    [
        ("ann/0.json", 0, "ann"),
        ("ann/50.json", 50, "ann"),
        ("ann.json", 0, "ann"),
        ("ann_50.json", 50, "ann"),
        ("sai_50.json", 0, "sai_50"),
        ("12345.json", 0, "12345"),
        ("12345/100.json", 100, "12345"),
        ("12345_100.json", 100, "12345"),
        ("a.b_0.json.gz", 0, "a.b"),
    ],
)
def test_names_of_files_tell_the_user(tmp_path: Path, name: str, offset: int, user: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    content = page(collected(8), offset=offset).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    assert recognise(tmp_path)[1].lists == (path,)
    assert all_of(bangumi.collection_lists, path)[0]["user_id"].tolist() == [user]
    assert all_of(bangumi.collection_lists, path, Options(user="bo"))[0]["user_id"].tolist() == ["bo"]


def test_takeout_json_says_whose_it_is(tmp_path: Path) -> None:
    entry = collected(8)
    entry["subject_data"] = entry.pop("subject")
    path = tmp_path / "takeout.json"
    path.write_text(json.dumps({"meta": {"user": {"username": "ann", "nickname": "A"}}, "data": [entry]}))
    name, rows = read_export(path)
    assert name == "bangumi-collections"
    assert rows[["user_id", "subject_id", "name"]].to_numpy().tolist() == [["ann", "8", "水星 / ARIA"]]


def test_an_empty_page_is_a_page(tmp_path: Path) -> None:
    (tmp_path / "ann_50.json").write_text(page(offset=50))
    made, files = recognise(tmp_path)
    assert len(all_of(made.lists, files.lists[0])[0]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (page(collected(8))[:-90], "ann.json line 1: no JSON"),
        ('{"data": [{"subject_type": 2}]}', "not a page of collections"),
        (page(collected(8, rate=-1)), "ann.json title 8: the rate -1 is not a number"),
        ('{"data": {"subject_type": 2}}', "not a page"),
        (page(collected(8)).encode("gbk"), "not UTF-8"),
        ('{"data":' + "[" * 200_000 + '"subject_type"', "nested too deeply|no JSON"),
    ],
)
def test_damaged_pages(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "ann.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        list(bangumi.collection_lists(path, NO_OPTIONS, {}))


# --- the takeout script's table ---


HEADER = [
    "名称",
    "名称(中文)",
    "条目类型",
    "地址",
    "状态",
    "最后标注",
    "完成度",
    "完成度(百分比)",
    "完成单集",
    "我的评分",
    "我的标签",
    "我的评论",
]


def takeout(*rows: list[str], encoding: str = "utf-8-sig") -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([HEADER, *rows])
    return text.getvalue().encode(encoding)


def marked(
    number: int, status: str = "看过", kind: str = "动画", rate: str = "8", comment: str = "(无评论)"
) -> list[str]:
    return [
        "ARIA",
        "水星",
        kind,
        f"https://bgm.tv/subject/{number}",
        status,
        "2022-07-01T12:00:00+08:00",
        "13 | 13",
        "100",
        "",
        rate,
        "治愈 日常",
        comment,
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "gb18030"])
def test_a_takeout_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "takeout-小明-2023-01-02.csv"
    path.write_bytes(
        takeout(
            marked(8, comment='好看,\n"真的"'),
            marked(9, "想看", rate="(无评分)"),
            marked(10, "在看"),
            marked(11, "搁置"),
            marked(12, "抛弃"),
            marked(13, kind="书籍"),
            marked(14, "?"),
            [*marked(15)[:3], "", *marked(15)[4:]],
            encoding=encoding,
        )
    )
    made, files = recognise(path)
    assert made.name == "bangumi-takeout"
    rows, dropped = all_of(made.lists, path)
    assert rows.iloc[0].tolist() == ["小明", "小明", "8", 8.0, "done", '好看,\n"真的"', "2022-07-01T12:00:00+08:00", ""]
    assert rows["status"].tolist() == ["done", "wish", "doing", "on_hold", "dropped"]
    assert rows["rate"].tolist() == [8, 0, 8, 8, 8]
    assert rows["comment"].tolist()[1:] == [""] * 4
    assert dropped == {"of other kinds than anime": 1, "without a subject's address": 1, "of an unknown status": 1}
    titles, _ = all_of(made.titles, path)
    assert titles.iloc[0].tolist() == ["8", "水星 / ARIA", "[]", "", "", ""]
    assert titles["subject_id"].tolist() == ["8", "9", "10", "11", "12", "14"]


@pytest.mark.parametrize(
    ("name", "asked", "user"),
    [("my list.csv", "", "my list"), ("my list.csv", "ann", "ann"), ("takeout-a-b-2023-01-02.csv", "", "a-b")],
)
def test_the_user_of_a_takeout(tmp_path: Path, name: str, asked: str, user: str) -> None:
    (tmp_path / name).write_bytes(takeout(marked(8)))
    assert read_export(tmp_path / name, Options(user=asked))[1]["user_id"].tolist() == [user]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (takeout(marked(8), marked(9, rate="good")), "list.csv line 3: the rate 'good' is not a number"),
        (takeout(marked(8), [*marked(9), "more", "fields"]), "list.csv line 3: 14 fields where there should be 12"),
        (takeout([*marked(8), "more"]), "list.csv line 2: 13 fields where there should be 12"),
        (
            takeout(marked(8)).replace("我的评分".encode(), b"rate"),
            "list.csv line 1: no column 我的评分 .*give the CSV as the script writes it",
        ),
        (takeout(marked(8)) + "名".encode("gbk"), "list.csv line .: not UTF-8, as which it begins; save it again"),
    ],
)
def test_damaged_takeouts(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(bangumi_tables.takeout_lists(path, NO_OPTIONS, {}))


# --- the crawler's table ---


def test_a_crawlers_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "record-2020-01-02.tsv"
    header = "name\tuid\tiid\ttyp\tstate\tadddate\trate\ttags\tcomment\n"
    path.write_text(
        header + 'ann\t7\t8\tanime\tcollect\t2019-05-06\t9\ta;b\t"好""\t"""\n'
        "ann\t7\t9\tbook\tdo\t2019-05-06\t\t\t\nann\t7\t10\tanime\tdo\t2019-05-06\t\t\t\n"
        "bo\t8\t8\tanime\twish\t2019-05-06\tNone\t\t\nbo\t8\t11\tanime\ton_hold\t\t10.0\t\t\n"
        "bo\t8\t12\tanime\tdropped\t\t1\t\t\nbo\t8\t13\tanime\tseen\t\t1\t\t\n",
        encoding="utf-8",
    )
    made, files = recognise(path)
    assert (made.name, files.titles) == ("bangumi-tsv", ())
    rows, dropped = all_of(made.lists, path)
    assert rows.to_numpy().tolist() == [
        ["7", "", "8", 9.0, "done", '好" "', "2019-05-06", ""],
        ["7", "", "10", 0.0, "doing", "", "2019-05-06", ""],
        ["8", "", "8", 0.0, "wish", "", "2019-05-06", ""],
        ["8", "", "11", 10.0, "on_hold", "", "", ""],
        ["8", "", "12", 1.0, "dropped", "", "", ""],
    ]
    assert dropped == {"of other kinds than anime": 1, "of an unknown status": 1}


@pytest.mark.slow
def test_a_long_table_comes_in_chunks_and_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "record.tsv"
    with path.open("w", encoding="utf-8") as file:
        file.write("uid\tiid\ttyp\tstate\tadddate\trate\ttags\tcomment\n")
        file.writelines(f"{row}\t8\tanime\tdo\t\t\t\t\n" for row in range(CHUNK + 5))
        file.write("1\t8\tanime\tdo\t\tx\t\t\n")
    chunks = bangumi_tables.tsv_lists(path, NO_OPTIONS, {})
    assert len(next(chunks)) == CHUNK
    with pytest.raises(ValueError, match=f"record.tsv line {CHUNK + 7}: the rate 'x'"):
        next(chunks)
