"""Encodings told by marks and zeros, and the sentence about text in another one."""

import json
from pathlib import Path

import pytest

from config import get_config, read_config
from dataset.tables import open_text, read_text
from runtime.encodings import decoded, encoding_of, unmarked_text_in

TEXT = "user_id,名字\n1,火影忍者\n2,Amélie\n"
MARKED = ("utf-8-sig", "utf-16", "utf-32")
BY_ZEROS = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize("encoding", ["utf-8", *MARKED, *BY_ZEROS])
def test_unicode_is_read_in_all_its_forms(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.encode(encoding))
    assert read_text(path) == TEXT
    assert decoded(TEXT.encode(encoding), "standard input") == TEXT
    with open_text(path) as file:
        assert [*file] == TEXT.splitlines(keepends=True)


def test_big_endian_marks() -> None:
    assert decoded(b"\xfe\xff" + TEXT.encode("utf-16-be"), "") == TEXT
    assert decoded(b"\0\0\xfe\xff" + TEXT.encode("utf-32-be"), "") == TEXT


@pytest.mark.parametrize(
    ("encoding", "text", "reads"),
    [
        ("gb18030", "用户,条目\n", "in gb18030 it reads '用户,条目'"),
        ("big5", "火影忍者,好看\n", "in big5 it reads '火影忍者,好看'"),
        ("shift_jis", "ナルト,面白い\n", "in shift_jis it reads 'ナルト,面白い'"),
        ("cp1252", "Amélie,être\n", "in cp1252 it reads 'Amélie,être'"),
        ("cp949", "나루토,재미\n", "in euc_kr it reads '나루토,재미'"),
    ],
)
def test_other_text_is_refused_with_its_readings_and_read_on_request(
    encoding: str, text: str, reads: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"a,b\n{text}".encode(encoding))
    with pytest.raises(
        ValueError, match=r"a\.csv line 2: not UTF-8 .*; save it as UTF-8, or give .*--encoding NAME"
    ) as told:
        read_text(path)
    assert reads in str(told.value)
    with pytest.raises(ValueError, match=r"standard input line 2: not UTF-8"):
        decoded(path.read_bytes(), "standard input")
    with unmarked_text_in(encoding):
        assert read_text(path) == f"a,b\n{text}"
    with pytest.raises(ValueError, match="not UTF-8"):
        read_text(path)


def test_a_mark_and_plain_utf_8_outrank_the_encoding_asked_for() -> None:
    with unmarked_text_in("gb18030"):
        for encoding in MARKED:
            assert decoded(TEXT.encode(encoding), "") == TEXT
        assert decoded(TEXT.encode(), "") == TEXT
        assert decoded("联通".encode("gbk"), "") == "联通"  # whose bytes could be UTF-8 as well
        assert encoding_of(b"1,2\n") == "gb18030"
        assert encoding_of(b"1,2\n", "latin-1") == "latin-1"


def test_what_is_damaged_after_a_mark_names_no_other_encoding() -> None:
    with pytest.raises(ValueError, match="x line 2: not UTF-8, as which it begins; save it again") as told:
        decoded(b"\xef\xbb\xbfa\n\xc3(\n", "x")
    assert "--encoding" not in str(told.value)
    with pytest.raises(ValueError, match="x: not whole UTF-16, as which it begins"):
        decoded(b"\xff\xfea\0b", "x")


def test_zeros_are_named() -> None:
    with pytest.raises(ValueError, match="x line 1: .*with zeros between, as UTF-16 has them; .*--encoding utf-16-le"):
        decoded("名称,条目,状态,别名".encode("utf-16-le"), "x")


@pytest.mark.parametrize("encoding", ["utf-8", *MARKED, *BY_ZEROS])
def test_settings_come_in_any_form_of_unicode(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(json.dumps({"lr": 0.01, "model_name": "模型"}, ensure_ascii=False).encode(encoding))
    assert read_config(path) == {"lr": 0.01, "model_name": "模型"}
    path.write_bytes('{"model_name": "模型"}'.encode("gbk"))
    with pytest.raises(ValueError, match=r"run\.json is no JSON"):
        read_config(path)


def test_an_encoding_has_to_be_one() -> None:
    assert get_config({"encoding": "GBK"})["encoding"] == "GBK"
    for name in ("gbq", "rot13", "base64", "a b"):
        with pytest.raises(ValueError, match="encoding is .*; it must be empty, or an encoding, such as gb18030"):
            get_config({"encoding": name})
