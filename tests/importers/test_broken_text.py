"""XML that programs broke, texts of a mixed up encoding, and words for statuses."""

from pathlib import Path

import pytest

from importers import read_export
from importers.broken_text import mended_xml, unmixed
from importers.statuses import WORDS, status_of


@pytest.mark.parametrize(
    ("written", "mended", "n"),
    [
        ("Panty & Stocking", "Panty &amp; Stocking", 1),
        ("R&B &amp; &#39;x&#x27; &lt;", "R&amp;B &amp; &#39;x&#x27; &lt;", 1),
        ("a &nbsp; b", "a &amp;nbsp; b", 1),
        ("I <3 you", "I &lt;3 you", 1),
        ("good<br>bad<br />", "good&lt;br>bad&lt;br />", 2),
        ("bell \x07, and &#7; &#xFFFF; &#99999999;", "bell , and   ", 4),
        ("<![CDATA[ R&B <i> ]]>", "<![CDATA[ R&B <i> ]]>", 0),
        ("<!-- <t>a -- b --->", "<!-- <t>a - - b - -->", 1),
        ("<?xml version='1.0'?><x>b</x>", "<?xml version='1.0'?><x>b</x>", 0),
    ],
)
def test_xml_is_mended_where_it_is_none(written: str, mended: str, n: int) -> None:
    assert mended_xml(written) == (mended, n)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plutÃ´t pas mal", "plutôt pas mal"),
        ("Ã©tÃ©", "été"),
        ("Itâ€™s", "It\u2019s"),
        ("ã\u0081\u0082ã\u0081\u0084", "あい"),
        ("Ð¥Ð¾Ñ\u0080Ð¾Ñ\u0088Ð¾", "Хорошо"),
        ("日本 Ã© mixed", "日本 é mixed"),
    ],
)
def test_a_mixed_up_encoding_is_put_right(written: str, meant: str) -> None:
    assert unmixed(written) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "plutôt",
        "« CAFÉ »",
        "«\u00a0un café\u00a0»",
        "café\u00a0",
        "ÑANDÚ",
        "naïve Ã©",
        "日本",
        "é\u00a0»",
        "É»",
    ],
)
def test_texts_that_are_right_stay(text: str) -> None:
    assert unmixed(text) == text


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Просмотрено", "done"),
        ("看過", "done"),
        ("搁置", "on_hold"),
        ("En cours", "doing"),
        ("Plan to Watch", "wish"),
        ("plan_to_watch", "wish"),
        ("PLANTOWATCH", "wish"),
        ("On-Hold", "on_hold"),
        ("Abgebrochen", "dropped"),
        ("In progress", "doing"),
        ("İzlendi", "done"),
        ("", ""),
        (None, ""),
        ("Seventeen", None),
        ("-", None),
    ],
)
def test_statuses(word: str | None, status: str | None) -> None:
    assert status_of(word) == status


def test_no_word_means_two_statuses() -> None:
    words = [word for of_one in WORDS.values() for word in of_one.split("|")]
    assert len(words) == len(set(words))
    assert all(status_of(word) == status for status, of_one in WORDS.items() for word in of_one.split("|"))


ENTRY = "<anime><series_animedb_id>1</series_animedb_id><series_title>{}</series_title><my_score>8</my_score></anime>"


def test_what_was_mended_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ann.xml"
    path.write_text(f"<myanimelist>{ENTRY.format('Panty & Stocking')}</myanimelist>", encoding="utf-8")
    _, rows = read_export(path)
    assert rows["name"].tolist() == ["Panty & Stocking"]
    assert [told[:31] for told in rows.attrs["told"]] == ["it is no XML at 1 places (an & "]


DECLARED = '<?xml version="1.0" encoding="{}" ?>\n<myanimelist>{}</myanimelist>'


@pytest.mark.parametrize(
    ("named", "encoding"),
    [("UTF-8", "utf-16"), ("UTF-16", "utf-16"), ("UTF-16", "utf-8"), ("GBK", "gbk"), ("Shift_JIS", "shift_jis")]
    + [("windows-1251", "utf-8-sig"), ("UTF-8", "utf-16-le")],
)
def test_a_list_that_was_saved_again_in_another_encoding(named: str, encoding: str, tmp_path: Path) -> None:
    path, name = tmp_path / "ann.xml", "A" if encoding == "utf-8" else "星空"
    path.write_bytes(DECLARED.format(named, ENTRY.format(name)).encode(encoding))
    if (named, encoding) == ("UTF-16", "utf-8"):
        with pytest.raises(ValueError, match=r"ann\.xml line 1: no XML of a list"):
            read_export(path)
    else:
        _, rows = read_export(path)
        assert (rows["name"].tolist(), rows.attrs["told"]) == ([name], ())


@pytest.mark.parametrize("named", ["GBK", "punycode", "nonsense", "UTF-8"])
def test_an_encoding_that_a_list_is_not_in_is_one_sentence(named: str, tmp_path: Path) -> None:
    path = tmp_path / "ann.xml"
    path.write_bytes(DECLARED.format(named, ENTRY.format("é\xff")).encode("latin-1"))
    with pytest.raises(ValueError, match=r"ann\.xml line \d: no XML of a list"):
        read_export(path)


def test_blank_lines_before_a_list(tmp_path: Path) -> None:
    (tmp_path / "ann.xml").write_text("\ufeff\n " + DECLARED.format("UTF-8", ENTRY.format("A")), encoding="utf-8")
    assert read_export(tmp_path / "ann.xml")[1]["name"].tolist() == ["A"]


def test_what_cannot_be_mended_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ann.xml"
    path.write_text(f"<myanimelist>\n{ENTRY.format('A & B')}\n<anime>", encoding="utf-8")
    with pytest.raises(ValueError, match="ann.xml line 3: no XML of a list"):
        read_export(path)


def test_entities_of_a_dtd_are_refused_in_a_broken_file_too(tmp_path: Path) -> None:
    path = tmp_path / "ann.xml"
    bomb = "<!DOCTYPE x [<!ENTITY a 'ha'>]>"
    path.write_text(f"<!-- a -- b -->{bomb}<myanimelist>{ENTRY.format('&a; & b')}</myanimelist>", encoding="utf-8")
    with pytest.raises(ValueError, match="declares entities or a DTD"):
        read_export(path)


def test_a_title_in_a_comment_is_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ann.xml"
    hidden = ENTRY.replace("<series_title>{}</series_title>", "<!-- <series_title>Web & Short -- A</series_title> -->")
    path.write_text(f"<myanimelist>{hidden}</myanimelist>", encoding="utf-8")
    assert read_export(path)[1]["name"].tolist() == ["Web & Short - - A"]
