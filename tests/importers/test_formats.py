"""Formats told apart, one person's list, and names."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest

import importers
from importers import read_export, recognise
from importers.common import ENTRY_COLUMNS, Format, Options, from_html, joined_names, plain, without_spoilers
from tests.helpers.conversions import converted, entry, mal_list, rows_of, source, title

# --- formats told apart ---


def test_an_unknown_source_is_told_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(importers.FORMATS, "pairs", raising=False)  # which reads any table
    cases = {
        "a.csv": (b"x,y\n1,2\n", "begins with 'x,y\\\\n1,2\\\\n'"),
        "empty.json": (b"", "is an empty file"),
        "utf16.csv": ("名称,条目类型".encode("utf-16"), "begins with '名称,条目类型'"),
        "gbk.csv": ("名称,条目类型".encode("gbk"), "not UTF-8 .save it as UTF-8, or name its encoding"),
        "bytes": (bytes(range(9)), "holds no text"),
    }
    for name, (content, seen) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} {seen}|{name} .*{seen}") as told:
            recognise(tmp_path / name)
        assert "bangumi-archive" in str(told.value)
        assert "anilist-json" in str(told.value)
    with pytest.raises(ValueError, match="is a folder of a.csv, bytes, empty.json, gbk.csv, utf16.csv, which"):
        recognise(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="is an empty folder"):
        recognise(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="is missing"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no format 'mal-xlm', the nearest is mal-xml"):
        recognise(tmp_path / "a.csv", "mal-xlm")
    with pytest.raises(ValueError, match="which is not mal-xml"):
        recognise(tmp_path / "a.csv", "mal-xml")


def test_auto_is_among_the_nearest_formats(tmp_path: Path) -> None:
    for name, near in (("autoo", "auto"), ("movielense", "movielens")):
        with pytest.raises(ValueError, match=f"there is no format '{name}', the nearest is {near};"):
            recognise(tmp_path, name)


def test_pairs_are_asked_last() -> None:
    """That format takes any table for its own."""
    assert importers.MODULES[-1] == "pairs"
    names = [made.name for made in importers.FORMATS.values()]
    assert len(names) == len(set(names)) >= 6


@pytest.mark.parametrize("made", importers.FORMATS.values(), ids=lambda made: made.name)
def test_every_format_says_what_it_takes(made: Format) -> None:
    assert "\n" not in made.takes
    assert len(made.takes) < 160
    assert all(word in made.takes for word in ("rates", "times", "comments")) or made.lists is None
    assert made.takes


# --- one person's list ---


def test_read_export_returns_rows_with_names(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(gzip.compress(mal_list(5, 6)))
    name, rows = read_export(path)
    assert name == "mal-xml"
    assert rows.columns.tolist() == [*ENTRY_COLUMNS, "name", "other_id"]
    assert rows[["user_id", "subject_id", "rate", "status", "name", "other_id"]].to_numpy().tolist() == [
        ["ann", "5", 7.0, "dropped", "T5", ""],
        ["ann", "6", 7.0, "dropped", "T6", ""],
    ]


@pytest.mark.slow
def test_read_export_reads_no_more_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importers, "EXPORT_MB", 1)
    large, packed = tmp_path / "large.xml", tmp_path / "packed.xml.gz"
    large.write_bytes(mal_list(1, pad=" " * 2**20))
    packed.write_bytes(gzip.compress(b" " * 2**26))  # 64 MB in some kB
    for path in (large, packed, tmp_path):
        with pytest.raises(ValueError, match=f"{path.name} holds more than 1 MB, too much for the list of one person"):
            read_export(path)
    packed.write_bytes(gzip.compress(mal_list(1, pad=" " * (2**20 - 300))))
    large.unlink()
    assert len(read_export(packed)[1]) == 1


def test_read_export_takes_the_list_of_one_person_alone(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(mal_list(1))
    (tmp_path / "b.xml").write_bytes(mal_list(2, 3, user="bo"))
    with pytest.raises(ValueError, match=r"holds the lists of 2 people \(ann, bo, ...\); give the export of one"):
        read_export(tmp_path)
    assert read_export(tmp_path, Options(user="bo"))[1]["subject_id"].tolist() == ["2", "3"]
    (tmp_path / "none.xml").write_bytes(mal_list())
    with pytest.raises(ValueError, match="a list without a title"):
        read_export(tmp_path / "none.xml")


def test_read_export_sees_no_file_beside_the_one_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some formats look for the titles that go with a list; a stranger's upload lies among those of others."""
    seen: list[str] = []
    curious = Format("curious", "", lambda path: seen.extend(file.name for file in path.parent.iterdir()), None, None)
    monkeypatch.setattr(importers, "FORMATS", {"curious": curious, **importers.FORMATS})
    for user in ("ann", "bo"):
        (tmp_path / f"{user}.xml").write_bytes(mal_list(1, user=user))
    read_export(tmp_path / "ann.xml")
    assert seen == ["ann.xml"]


def test_read_export_names_the_file_that_was_given(tmp_path: Path) -> None:
    """Not the unpacked copy in a temporary folder."""
    (tmp_path / "list.xml.gz").write_bytes(gzip.compress(mal_list(1)[:-9]))
    with pytest.raises(ValueError, match="no XML of a list") as told:
        read_export(tmp_path / "list.xml.gz")
    assert str(told.value).startswith(str(tmp_path / "list.xml.gz"))
    (tmp_path / "cut.xml.gz").write_bytes(gzip.compress(mal_list(1))[:40])
    with pytest.raises(ValueError, match="cut.xml.gz: not a whole gzip file"):
        read_export(tmp_path / "cut.xml.gz")


def test_a_file_that_is_not_as_its_format_says_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    """Whatever a stranger puts in the place of a name or a title."""
    entry_of = {"mediaId": 1, "status": "CURRENT", "media": {"idMal": 1, "title": ["a", "b"]}}
    (tmp_path / "a.json").write_text(json.dumps({"lists": [{"entries": [entry_of]}]}))
    (tmp_path / "b.xml").write_bytes(b'<?xml version="1.0" encoding="UTv-8"?>' + mal_list(1))
    something = "something in it is not as its format says"
    for name, what in (("a.json", f": {something}"), ("b.xml", r" line 1: .*unknown encoding: UTv-8")):
        with pytest.raises(ValueError, match=name + what):
            read_export(tmp_path / name)
        with pytest.raises(ValueError, match=name + what):
            converted(tmp_path / "out", recognise(tmp_path / name))


def test_read_export_refuses_what_is_no_list(tmp_path: Path) -> None:
    subject = {"id": 1, "type": 2, "name": "a", "name_cn": "", "infobox": ""}
    (tmp_path / "subject.jsonlines").write_text(json.dumps(subject), encoding="utf-8")
    with pytest.raises(ValueError, match="is bangumi-archive, which holds no one's list"):
        read_export(tmp_path / "subject.jsonlines")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "subject.jsonlines", "subject.jsonlines")
    with pytest.raises(ValueError, match="z.zip is bangumi-archive, which holds no one's list"):
        read_export(tmp_path / "z.zip")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        read_export(Path("/dev/null"))
    with pytest.raises(FileNotFoundError, match="is missing"):
        read_export(tmp_path / "nowhere")


# --- texts ---


@pytest.mark.parametrize(
    ("name", "text", "titles"),
    [
        ("my.csv", "Title,Score,Status\nAkira,9/10,Completed\nRan,,Plan to Watch\n", ["Akira", "Ran"]),
        ("my.csv", "anime_id,my_score,my_status\n1,9,2\n5,0,6\n", ["1", "5"]),
        (
            "my.json",
            '[{"subject_id": 8, "rate": 9, "status": "done"}, {"subject_id": 9, "status": "wish"}]',
            ["8", "9"],
        ),
    ],
)
def test_a_table_without_users_is_the_list_of_one(name: str, text: str, titles: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    _, rows = read_export(tmp_path / name)
    assert rows["user_id"].tolist() == ["my", "my"]
    assert rows["subject_id"].tolist() == titles
    assert rows["rate"].tolist() == [9, 0]
    assert rows["status"].tolist() == ["done", "wish"]
    assert read_export(tmp_path / name, Options(user="ann"))[1]["user_id"].tolist() == ["ann", "ann"]
    (tmp_path / "titles.csv").write_text("item_id,title,genres\n1,Akira,SF\n")
    with pytest.raises(ValueError, match="titles.csv is pairs, which holds no one's list"):
        read_export(tmp_path / "titles.csv")


def test_bangumis_entries_alone_and_several_answers_are_pages(tmp_path: Path) -> None:
    entries = [{"subject_id": n, "subject_type": n, "type": 2, "rate": 8} for n in (2, 3)]
    for whole in (entries, [{"total": 2, "offset": 0, "data": entries}, {"total": 2, "data": []}]):
        (tmp_path / "ann.json").write_text(json.dumps(whole))
        name, rows = read_export(tmp_path / "ann.json")
        assert (name, rows["user_id"].tolist(), rows["subject_id"].tolist()) == ("bangumi-collections", ["ann"], ["2"])


def test_names_keep_tags_and_lose_entities_and_repeats() -> None:
    names = ("Tom &amp; Jerry&#039;s", "<i>", None, float("nan"), " ", "tom &amp;amp; jerry's", "猫\n鼠")
    assert joined_names(*names) == "Tom & Jerry's / <i> / 猫 鼠"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>It&#039;s<br/>\n <b>good</b> &lt;3</p>", "It's\ngood <3"),
        ("<p>One.</p><p class='x'>Two <a href=\"y\">here</a></p>", "One.\nTwo here"),
        ("a<b, c>d and <harmony/>; I <3 it <b and b> x <-> y", "a<b, c>d and <harmony/>; I <3 it <b and b> x <-> y"),
        (None, ""),
    ],
)
def test_markup_is_removed_where_the_source_has_it(text: str | None, expected: str) -> None:
    assert from_html(text) == expected


@pytest.mark.parametrize("text", ["a<b", "I <3 this", "x <b>y</b> z", "if a <b and c> d", "1 < 2 > 0"])
def test_plain_text_is_no_html(text: str) -> None:
    assert plain(text) == text
    assert plain(f"{text}&amp;\t x\r\n") == f"{text}& x"


@pytest.mark.parametrize(
    ("text", "kept", "left"),
    [
        ("fine [spoiler]he dies[/spoiler] end", "fine he dies end", "fine  end"),
        ("[mask]a [mask]b[/mask] c[/mask]d", "a b cd", "d"),
        ("x [SPOILER=the end]y[/Spoiler]", "x y", "x"),
        ("x [spoiler]never closed", "x never closed", "x"),
        ("x[/spoiler] y", "x y", "x y"),
        ("so [s]bad[/s] good", "so bad good", "so  good"),
        ("book[s] and more", "book[s] and more", "book[s] and more"),
        ("x ~!she lives!~", "x she lives", "x"),
        ("[b]bold[/b] [1] [mask", "[b]bold[/b] [1] [mask", "[b]bold[/b] [1] [mask"),
    ],
)
def test_marks_of_spoilers_go_and_what_they_hold_where_asked(text: str, kept: str, left: str, tmp_path: Path) -> None:
    assert (without_spoilers(text), without_spoilers(text, drop=True)) == (kept, left)
    for drop, expected in ((False, kept), (True, left)):
        rows = [entry("u", "a", comment=text), entry("v", "a", comment="plain")]
        converted(tmp_path, source(rows, [title("a", "x", summary=text)]), drop_spoilers=drop)
        assert [row[3] for row in rows_of(tmp_path, "interactions.tsv")] == [" ".join(expected.split()), "plain"]
        assert rows_of(tmp_path, "anime.tsv")[0][3] == " ".join(expected.split())


@pytest.mark.parametrize("name", ["Unknown", "None", "NULL", "Nan"])
def test_a_title_may_be_called_like_nothing(name: str, tmp_path: Path) -> None:
    """There are films called so; only the data sets of Kaggle write such words for a missing name."""
    assert joined_names(name, "未知") == f"{name} / 未知"
    converted(tmp_path, source([entry("u", "a")], [title("a", name)]), source(titles=[title("a", "x")], name="other"))
    assert rows_of(tmp_path, "anime.tsv")[0][1] == f"{name} / x"
