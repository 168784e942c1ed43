"""MyAnimeList's export in its real shape, and what is odd in it."""

import builtins
import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from importers import mal, read_export, recognise
from importers.common import ENTRY_COLUMNS, NO_OPTIONS, TITLE_COLUMNS, Options

INFO = "<user_id>123</user_id><user_name>ann</user_name><user_export_type>1</user_export_type>"


def anime(number: int = 1, title: str = "Cowboy Bebop", **cells: Any) -> str:
    """Make an entry with the elements of an export; cells change or add some."""
    cells = {
        "my_score": 8,
        "my_status": "Completed",
        "my_finish_date": "0000-00-00",
        "my_start_date": "0000-00-00",
        "my_comments": "<![CDATA[]]>",
        **cells,
    }
    inner = "".join(f"<{tag}>{text}</{tag}>\n" for tag, text in cells.items())
    return (
        f"<anime>\n<series_animedb_id>{number}</series_animedb_id>\n"
        f"<series_title><![CDATA[{title}]]></series_title>\n<series_type>TV</series_type>\n<my_id>0</my_id>\n<my_watched_episodes>26</my_watched_episodes>\n{inner}"
        "<my_tags><![CDATA[]]></my_tags>\n<update_on_import>0</update_on_import>\n</anime>\n"
    )


def export(*entries: str, info: str = INFO, head: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8" ?>\n{head}<!--\n Created by XML Export feature\n-->\n<myanimelist>\n'
        f"<myinfo>\n{info}\n</myinfo>\n{''.join(entries)}</myanimelist>\n"
    ).encode()


def read(
    folder: Path, content: bytes, name: str = "list.xml", options: Options = NO_OPTIONS
) -> tuple[pd.DataFrame, dict[str, int]]:
    path = folder / name
    path.write_bytes(content)
    dropped: dict[str, int] = {}
    chunks = list(mal.lists(path, options, dropped))
    assert all(tuple(chunk.columns) == ENTRY_COLUMNS for chunk in chunks)
    return pd.concat(chunks, ignore_index=True), dropped


@pytest.mark.parametrize("name", ["animelist_1.xml", "animelist_1.xml.gz", "upload", "misnamed.gz"])
def test_a_list_is_known_by_its_content_and_gzip_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    content = export(anime(1, title="Tom &amp; <i>", my_comments="<![CDATA[It's 5 <6 & a<b>c]]>"))
    (tmp_path / name).write_bytes(gzip.compress(content) if name in ("animelist_1.xml.gz", "upload") else content)
    made, files = recognise(tmp_path)
    assert made.name == "mal-xml"
    assert files.lists == files.titles == (tmp_path / name,)
    assert all(tuple(chunk.columns) == TITLE_COLUMNS for chunk in made.titles(files.titles[0], NO_OPTIONS, {}))
    _, rows = read_export(tmp_path / name)  # with a single entry
    assert rows.to_numpy().tolist() == [["ann", "ann", "1", 8.0, "done", "It's 5 <6 & a<b>c", "", "", "Tom & <i>", ""]]


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("Watching", "doing"),
        ("Completed", "done"),
        ("On-Hold", "on_hold"),
        ("On Hold", "on_hold"),
        ("Dropped", "dropped"),
        ("Plan to Watch", "wish"),
        ("plantowatch", "wish"),
        ("1", "doing"),
        ("2", "done"),
        ("3", "on_hold"),
        ("4", "dropped"),
        ("6", "wish"),
        ("", ""),
    ],
)
def test_statuses_as_words_and_numbers(tmp_path: Path, written: str, status: str) -> None:
    rows, dropped = read(tmp_path, export(anime(my_status=written)))
    assert rows["status"].tolist() == [status]
    assert dropped == {}


def test_an_unknown_status_is_counted(tmp_path: Path) -> None:
    rows, dropped = read(tmp_path, export(anime(1), anime(2, my_status="5")))
    assert rows["subject_id"].tolist() == ["1"]
    assert dropped == {"of an unknown status": 1}


@pytest.mark.parametrize(
    ("cells", "time"),
    [
        ({}, ""),
        ({"my_finish_date": "2015-04-03"}, "2015-04-03"),
        ({"my_finish_date": "2015-04-00"}, "2015-04"),
        ({"my_finish_date": "2015-00-00"}, "2015"),
        ({"my_start_date": "2010-10-20"}, "2010-10-20"),
        ({"my_start_date": "2010-10-20", "my_finish_date": "2011-01-01"}, "2011-01-01"),
        ({"my_last_updated": "1400000000", "my_finish_date": "2011-01-01"}, "1400000000"),
        ({"my_last_updated": "0"}, ""),
    ],
)
def test_days_are_the_times_and_0000_is_none(tmp_path: Path, cells: dict[str, str], time: str) -> None:
    assert read(tmp_path, export(anime(**cells)))[0]["updated_at"].tolist() == [time]


@pytest.mark.parametrize(
    ("info", "asked", "user"),
    [(INFO, "bo", "ann"), ("<user_id>1</user_id>", "bo", "bo"), ("<user_id>1</user_id>", "", "list")],
)
def test_whose_list_it_is(tmp_path: Path, info: str, asked: str, user: str) -> None:
    assert read(tmp_path, export(anime(), info=info), options=Options(user=asked))[0]["user_id"].tolist() == [user]


def test_scores(tmp_path: Path) -> None:
    assert read(tmp_path, export(anime(1, my_score=0), anime(2, my_score=""), anime(3, my_score="7.5")))[0][
        "rate"
    ].tolist() == [0, 0, 7.5]
    with pytest.raises(ValueError, match="list.xml title Cowboy Bebop: the rate 'x' is not a number"):
        read(tmp_path, export(anime(1), anime(2, my_score="x")))


def test_synonyms_and_years_where_a_program_wrote_them(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(export(anime(series_synonyms="; Kaubôi; COWBOY BEBOP", series_start="1998-04-03")))
    titles = pd.concat(mal.titles(tmp_path / "a.xml", NO_OPTIONS, {}))
    assert titles.to_numpy().tolist() == [["1", "Cowboy Bebop / Kaubôi", "[]", "", "1998", ""]]


BOMB = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]>"
OUTSIDE = "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/hostname'>]>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (export(anime(my_comments="&b;"), head=BOMB), "declares entities or a DTD"),
        (export(anime(my_comments="&a;"), head=OUTSIDE), "declares entities or a DTD"),
        (export(anime())[:-30], r"line \d+: no XML of a list"),
        (export(anime())[:200], r"line \d+: no XML of a list"),
        (export(anime(title="Café")).decode().encode("latin-1"), r"line \d+: no XML .*not in the encoding it names"),
        (gzip.compress(export(anime()))[:-20], "not a whole gzip file"),
    ],
)
def test_damaged_and_dangerous_lists(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"list.xml:? ?{message}"):
        read(tmp_path, content)


def test_what_is_no_list_is_not_taken_for_one(tmp_path: Path) -> None:
    for name, content in (("a.xml", b"<rss></rss>"), ("b.xml", b""), ("c.gz", b"\x1f\x8bx")):
        (tmp_path / name).write_bytes(content)
        assert mal.find(tmp_path / name) is None


def test_a_missing_defusedxml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("defusedxml"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match="list.xml: .*run pip install defusedxml"):
        read(tmp_path, export(anime()))
