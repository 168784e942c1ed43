"""Files told by their first bytes: unpacked, or refused in a sentence that fits."""

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from runtime import archives, packings, safe_files
from runtime.packings import head_of, is_there, kind_of, members, open_unpacked
from tests.helpers.packed import PACKINGS, in_tar, in_zip

TABLE = b"user_id,item_id,rating\n" + b"".join(b"%d,%d,%d\n" % (row, row % 7, row % 10) for row in range(999))
MIB = 2**20


def content_of(path: Path) -> bytes:
    with open_unpacked(path) as file:
        return file.read()


@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("called", ["table.csv", "table.csv.gz"])
def test_a_file_is_unpacked_whatever_it_is_called(name: str, called: str, tmp_path: Path) -> None:
    path = tmp_path / called
    path.write_bytes(PACKINGS[name](TABLE))
    assert content_of(path) == TABLE
    assert head_of(path, 9) == TABLE[:9]
    inside = members(path)
    assert (inside is not None) == ("zip" in name or "tar" in name)
    for member in inside or ():
        assert content_of(member) == TABLE
        assert is_there(member)
        assert not is_there(member.with_name("other"))


@pytest.mark.parametrize("name", [name for name in PACKINGS if name != "plain"])
def test_a_cut_file_is_a_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    whole = PACKINGS[name](TABLE)
    for end in (len(whole) // 2, max(len(whole) - 30, 8)):
        path.write_bytes(whole[:end])
        if name == "tar":  # which has no end, nor sums of what it holds
            continue
        with pytest.raises(ValueError, match=r"table\.csv: not a whole .*; compress or download it again") as told:
            content_of(path)
        assert len(str(told.value).splitlines()) == 1
        assert head_of(path, 5) in (b"", TABLE[:5])


BINARY = {
    "SQLite database": b"SQLite format 3\0" + bytes(84),
    "Excel workbook of the old form": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
    "RAR archive": b"Rar!\x1a\x07\x01\x00" + bytes(99),
    "7z archive": b"7z\xbc\xaf\x27\x1c\x00\x04",
    "HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(99),
    "NumPy array": b"\x93NUMPY\x01\x00v\x00{'descr'",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00",
    "Feather or Arrow file": b"ARROW1\0\0" + bytes(99),
    "ORC file": b"ORC\n\x03\x00",
    "Avro file": b"Obj\x01\x04\x14avro.codec",
    "lz4 file": b"\x04\x22\x4d\x18d@",
    "PDF": b"%PDF-1.7\n%\xe2",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(20),
}


@pytest.mark.parametrize("name", BINARY)
def test_what_is_not_read_is_named_with_a_remedy(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(BINARY[name])
    with pytest.raises(ValueError, match=rf"ratings\.csv: a kind of file that is not read \({name}.*\); \w+") as told:
        content_of(path)
    assert "UTF-8" not in str(told.value)
    path.write_bytes(gzip.compress(BINARY[name]))
    with pytest.raises(ValueError, match=name):
        content_of(path)


def test_text_is_no_kind_of_binary_file() -> None:
    for start in (
        b"user_id,item_id\n1,2\n",
        b"PAR1,x\n",
        b"BZh,1\n",
        b"OR,C\n",
        b"7z,a\n",
        b"]\n",
        b"\xff\xfeu\0s\0",
        b"",
    ):
        assert kind_of(start) is None


OFFICE = {
    "xl/workbook.bin": "binary Excel workbook",
    "word/document.xml": "Word document",
    "content.xml": "OpenDocument file",
}


@pytest.mark.parametrize("name", OFFICE)
def test_documents_that_are_zips_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "list.xlsx").write_bytes(in_zip(name, **{"META-INF/manifest.xml": b"<x/>"})(b"<x/>"))
    with pytest.raises(ValueError, match=f"list.xlsx: a {OFFICE[name]}.*; save the table as CSV, or as .xlsx"):
        content_of(tmp_path / "list.xlsx")


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
    (tmp_path / "a.parquet").write_bytes(b"PAR1\x15\x04" + bytes(9))
    (tmp_path / "a.xlsx").write_bytes(in_zip("xl/workbook.xml")(b"<x/>"))
    monkeypatch.setattr(archives, "ZSTD", ("no.module", "nor.this"))
    monkeypatch.setattr("runtime.workbooks.find_spec", lambda name: None)
    for name, package in (("a.zst", "backports.zstd"), ("a.parquet", "pyarrow"), ("a.xlsx", "openpyxl")):
        with pytest.raises(ValueError, match=f"{name}.* is read with {package}, which is missing; pip install"):
            content_of(tmp_path / name)


# --- archives ---


def test_of_several_files_one_has_to_be_named(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    path.write_bytes(in_zip("a.csv", **{"b.csv": b"x"})(TABLE))
    with pytest.raises(ValueError, match=r"two\.zip holds 2 files or sheets \(a\.csv, b\.csv\) where one is wanted"):
        content_of(path)
    assert content_of(path / "a.csv") == TABLE
    with pytest.raises(FileNotFoundError, match=r"two\.zip/c\.csv is missing: two\.zip holds no such file"):
        content_of(path / "c.csv")


@pytest.mark.parametrize("name", ["/etc/passwd", "../out.csv", "a/../../b", "C:/x.csv", "..\\out.csv"])
def test_no_name_leads_out_of_an_archive(name: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("secret")
    folder = tmp_path / "in"
    folder.mkdir()
    for path, packed in ((folder / "a.zip", in_zip(name)), (folder / "a.tar", in_tar("", name))):
        path.write_bytes(packed(b"x"))
        assert members(path) == []
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"out.csv", "a.zip", "a.tar"}


def test_a_file_with_holes_is_left_in_its_tar(tmp_path: Path) -> None:
    """It would unpack to as many zeros as it declares."""
    info = tarfile.TarInfo("a.csv")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info, io.BytesIO())
    assert members(tmp_path / "a.tar") == []


def test_a_zip_with_a_password_is_named(tmp_path: Path) -> None:
    content = bytearray(in_zip("a.csv")(TABLE))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        place = archive.infolist()[1].header_offset
    content[place + 6] |= 1
    for place in range(len(content) - 4):
        if content[place : place + 4] == b"PK\x01\x02":
            content[place + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip: the zip has a password; unpack it"):
        content_of(tmp_path / "a.zip")


# --- bombs ---


@pytest.mark.parametrize("name", [name for name in PACKINGS if name not in ("plain", "tar")])
def test_a_bomb_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_files, "UNPACKED_MB", 1)
    path = tmp_path / "bomb.csv"
    path.write_bytes(PACKINGS[name](b" " * 4 * MIB))
    assert path.stat().st_size < 4 * MIB // safe_files.RATIO
    with pytest.raises(ValueError, match=r"bomb\.csv unpacks to more than 1 MB and 200 times its size"):
        content_of(path)


def test_an_xz_file_may_not_ask_for_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "XZ_MEMORY", 2**20)
    (tmp_path / "a.xz").write_bytes(lzma.compress(TABLE, preset=9))
    with pytest.raises(ValueError, match=r"a\.xz: not a whole xz file \(Memory usage limit exceeded\)"):
        content_of(tmp_path / "a.xz")


def test_packings_within_packings_have_an_end(tmp_path: Path) -> None:
    content = TABLE
    for _ in range(packings.DEPTH + 1):
        content = gzip.compress(content)
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match="packed more than 5 times"):
        content_of(tmp_path / "a.gz")


# --- workbooks ---


def test_the_sheets_of_a_workbook_are_its_files(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from datetime import datetime

    book = openpyxl.Workbook()
    book.active.title = "wish"
    book.active.append(["id", "day", "rate", "none"])
    book.active.append([103.0, datetime(2020, 1, 2), 7.5, None])
    book.active.append([])
    book.active.append(["a,b", datetime(2020, 1, 2, 3, 4, 5), True, "x\ny"])
    book.create_sheet("empty")
    book.save(tmp_path / "one.xlsx")
    text = 'id,day,rate,none\n103,2020-01-02,7.5,\n\n"a,b",2020-01-02T03:04:05,True,"x\ny"\n'
    assert content_of(tmp_path / "one.xlsx").decode() == text
    assert members(tmp_path / "one.xlsx") == [tmp_path / "one.xlsx" / "wish.csv"]
    book.create_sheet("done").append(["id"])
    book.save(tmp_path / "two.xlsx")
    assert [path.name for path in members(tmp_path / "two.xlsx")] == ["wish.csv", "done.csv"]
    assert content_of(tmp_path / "two.xlsx" / "done.csv") == b"id\n"
    with pytest.raises(ValueError, match="holds 2 files or sheets"):
        content_of(tmp_path / "two.xlsx")
    (tmp_path / "bad.xlsx").write_bytes((tmp_path / "two.xlsx").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"bad\.xlsx: not a whole"):
        content_of(tmp_path / "bad.xlsx")


def test_a_parquet_file_is_a_table(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"user": ["a", None], "item": [1.0, 2.5], "tags": [["x"], []]}), tmp_path / "a.parquet")
    assert content_of(tmp_path / "a.parquet") == b"user,item,tags\na,1,['x']\n,2.5,[]\n"
    (tmp_path / "b.parquet").write_bytes(b"PAR1\x15\x04\x15\x10\x15\x14L\x15\x02\x15\x00\x12\x00\x00PAR1")
    with pytest.raises(ValueError, match=r"b\.parquet: not a whole parquet file"):
        content_of(tmp_path / "b.parquet")
