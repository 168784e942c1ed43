"""Files as Windows writes them, and for Excel."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]

ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_ids_and_titles_as_windows_writes_them(
    encoding: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, title = "u7\r\nu3\r\n".encode(encoding), json.dumps({"name": "title 3", "tags_name": ["tag1"]})
    (tmp_path / "ids.txt").write_bytes(ids)
    (tmp_path / "new.json").write_bytes(title.encode(encoding))
    (tmp_path / "new.tsv").write_bytes("name\ttags_name\r\ntitle 3\ttag1\r\n".encode(encoding))
    code, printed, _ = call("--users", str(tmp_path / "ids.txt"), "--k", "2")
    assert code == 0
    assert "for u7 (u7):" in printed
    assert "for Ann (u3):" in printed
    assert "of no user" not in printed
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ids)))
    assert call("--users", "-", "--k", "2")[1] == printed
    for name in ("new.json", "new.tsv"):
        assert call("--new_item", str(tmp_path / name), "--k", "2")[0] == 0


def test_what_is_not_utf_8_is_refused_or_read(call: Call, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes("u7\n用户\n".encode("gbk"))
    code, _, said = call("--users", str(tmp_path / "ids.txt"))
    assert code == 2
    assert "ids.txt line 2: not UTF-8 (in gb18030 it reads '用户'" in said
    code, printed, _ = call("--users", str(tmp_path / "ids.txt"), "--encoding", "gbk", "--k", "1")
    assert code == 0
    assert "the first of them '用户'" in printed


def test_a_mark_for_excel(call: Call, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("u7\n")
    for name in ("a.csv", "a.tsv"):
        given = ("--users", str(tmp_path / "ids"), "--k", "2", "--out", str(tmp_path / name))
        assert call(*given)[0] == 0
        plain = (tmp_path / name).read_bytes()
        assert call(*given, "--bom")[0] == 0
        assert (tmp_path / name).read_bytes() == b"\xef\xbb\xbf" + plain
        assert call("--user", "u7", "--out", str(tmp_path / name), "--bom")[0] == 0
        assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbf" + plain[:4])
    assert "'a.json' is no table for Excel" in call("--out", "a.json", "--bom")[2]
    assert "--bom is for a file that --out names" in call("--user", "u7", "--bom")[2]
