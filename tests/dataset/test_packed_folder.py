"""The data folder, its files packed and encoded in every way, under their own names or those of packings."""

from pathlib import Path

import pandas as pd
import pytest

from config import get_config
from data_loader import load_dataset
from dataset import tables
from dataset.parquet import write_columns
from dataset.readers import read_anime, read_interactions
from dataset.tables import PACKED, read_table, table_chunks
from tests.helpers.data import HEADERS, write_data, write_tsv
from tests.helpers.packed import PACKINGS

FILES = ("anime.tsv", "interactions.tsv")


def rows_of(folder: Path) -> pd.DataFrame:
    titles = read_anime(folder)
    return read_interactions(folder, titles["subject_id"])[0].assign(n_titles=len(titles))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_folder_reads_as_the_plain_one(packing: str, tmp_path: Path) -> None:
    wanted = rows_of(write_data(tmp_path))
    for name in FILES:
        (tmp_path / name).write_bytes(PACKINGS[packing]((tmp_path / name).read_bytes()))
    pd.testing.assert_frame_equal(rows_of(tmp_path), wanted)
    for ending in PACKED:
        for path in [path for path in tmp_path.iterdir() if path.name.startswith(FILES)]:
            path.rename(tmp_path / f"{path.name.split('.')[0]}.tsv{ending}")
        pd.testing.assert_frame_equal(rows_of(tmp_path), wanted)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_a_folder_in_another_unicode(encoding: str, tmp_path: Path) -> None:
    wanted = rows_of(write_data(tmp_path))
    for name in FILES:
        (tmp_path / name).write_bytes((tmp_path / name).read_text().encode(encoding))
    pd.testing.assert_frame_equal(rows_of(tmp_path), wanted)


def test_a_folder_in_an_encoding_that_is_named(tmp_path: Path) -> None:
    write_data(tmp_path)
    text = (tmp_path / "anime.tsv").read_text().replace("title", "火影")
    (tmp_path / "anime.tsv").write_bytes(text.encode("big5"))
    with pytest.raises(ValueError, match=r"anime\.tsv line 2: not UTF-8 .*big5 it reads '0 火影 0.*--encoding NAME"):
        load_dataset(get_config({"data_dir": str(tmp_path)}))
    dataset = load_dataset(get_config({"data_dir": str(tmp_path), "encoding": "big5"}))
    assert dataset.item_names[:2] == ["火影 0", "火影 1"]


def test_tables_of_other_programs(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    write_tsv(tmp_path, "interactions.tsv", [("a", "7", "8", "x\ty", ""), ("b", "09", "0", "", "2020-01-01")])
    wanted = read_table(tmp_path, "interactions.tsv", HEADERS["interactions.tsv"])[1]
    book = openpyxl.Workbook()
    for row in (wanted.columns.tolist(), *wanted.to_numpy().tolist()):
        book.active.append(row)
    book.save(tmp_path / "interactions.tsv")
    pd.testing.assert_frame_equal(read_table(tmp_path, "interactions.tsv", HEADERS["interactions.tsv"])[1], wanted)
    pytest.importorskip("pyarrow")
    wanted.to_parquet(tmp_path / "interactions.tsv")
    pd.testing.assert_frame_equal(read_table(tmp_path, "interactions.tsv", HEADERS["interactions.tsv"])[1], wanted)


def test_binary_files_in_a_folder_are_named(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "interactions.tsv").write_bytes(b"SQLite format 3\0" + bytes(99))
    with pytest.raises(ValueError, match=r"interactions\.tsv: a kind of file that is not read \(SQLite database\)"):
        load_dataset(get_config({"data_dir": str(tmp_path)}))


def test_rows_as_parquet_are_those_of_the_tsv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    rows = [("a", "7", "8", "x\ty", "2020-01-01"), ("b", "9", "", "", "soon"), (" a", "9", "7,5", "z", "13/04/2021")]
    write_tsv(tmp_path, "anime.tsv", [("7", "name", "", ""), ("9", "other", "", "")])
    write_tsv(tmp_path, "interactions.tsv", rows * 3)
    wanted, tsv = rows_of(tmp_path), tmp_path / "interactions.tsv"
    write_columns(tmp_path / "interactions.parquet", table_chunks(tsv, tuple(HEADERS["interactions.tsv"])))
    tsv.unlink()
    pd.testing.assert_frame_equal(rows_of(tmp_path), wanted)
    monkeypatch.setattr(tables, "CHUNK", 2)
    pd.testing.assert_frame_equal(rows_of(tmp_path), wanted)
    columns = {"user_id": [1, 2], "subject_id": [7, 9], "rate": [8.0, None], "comment": None}
    typed = pd.DataFrame({**columns, "updated_at": pd.to_datetime(["2020-01-01", None])})
    typed.to_parquet(tmp_path / "interactions.parquet")
    found = rows_of(tmp_path)
    assert found["user_id"].tolist() == ["1", "2"]
    assert found["rate"].tolist() == [8.0, 0.0]
    assert found["time"].tolist()[0] == 1577836800
    typed.assign(user_id=["a", ""]).to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(ValueError, match=r"interactions\.parquet line 3: user_id is empty"):
        rows_of(tmp_path)
    typed.drop(columns="rate").to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(ValueError, match=r"interactions\.parquet line 1: no column rate"):
        rows_of(tmp_path)
    (tmp_path / "interactions.parquet").write_bytes(b"PAR1\x15\x04 no more")
    with pytest.raises(ValueError, match=r"interactions\.parquet: not a whole parquet file"):
        rows_of(tmp_path)


def test_tags_that_parquet_has_as_lists_are_tags(tmp_path: Path) -> None:
    """As of pandas, whose cells of a column may be lists."""
    pytest.importorskip("pyarrow")
    tags = [["Comedy", "Slice of Life"], [], None]
    table = {"subject_id": [1, 2, 3], "name": ["a", "b", "c"], "tags_name": tags, "summary": ["", None, "s"]}
    pd.DataFrame(table).to_parquet(tmp_path / "anime.parquet")
    assert read_anime(tmp_path)["tags"].tolist() == ["Comedy\nSlice of Life", "", ""]
