"""Tables as Excel and its kin save them again: semicolons, decimal commas, marks, other line ends, packed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset.numbers import to_numbers
from dataset.readers import read_interactions
from importers import read_export, recognise
from importers.common import NO_OPTIONS
from importers.pipeline import Rules, convert
from runtime.encodings import unmarked_text_in
from tests.helpers.conversions import rows_of
from tests.helpers.data import HEADERS
from tests.helpers.import_samples import SAMPLES, lists_of, titles_of
from tests.helpers.packed import PACKINGS

PAIRS = "user_id;item_id;rating;timestamp\r\n1;103;10,5;1500001103\r\n1;109;8;1500001109\r\n2;103;,5;1500001108\r\n"
WANTED = [
    ["1", "103", "10.5", "", "1500001103"],
    ["1", "109", "8", "", "1500001109"],
    ["2", "103", "0.5", "", "1500001108"],
]


def converted(path: Path, out: Path) -> list[list[str]]:
    convert([recognise(path)], out, NO_OPTIONS, Rules())
    return rows_of(out, "interactions.tsv")


@pytest.mark.parametrize(
    "content",
    {
        "semicolons": PAIRS.encode(),
        "sep line": b"sep=;\r\n" + PAIRS.encode(),
        "quoted sep line after a mark": b'\xef\xbb\xbf"sep=;"\r\n' + PAIRS.encode(),
        "line feeds": PAIRS.replace("\r\n", "\n").encode(),
        "carriage returns": PAIRS.replace("\r\n", "\r").encode(),
        "mark": PAIRS.encode("utf-8-sig"),
        "unicode text": PAIRS.replace(";", "\t").encode("utf-16"),
        "quoted commas": PAIRS.replace(",", "'")
        .replace(";", ",")
        .replace("10'5", '"10,5"')
        .replace("'5", '",5"')
        .encode(),
        "bars": PAIRS.replace(";", "|").encode(),
    }.items(),
    ids=lambda item: item[0],
)
def test_pairs_as_excel_saves_them(content: tuple[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(content[1])
    assert converted(path, tmp_path / "out") == WANTED


@pytest.mark.parametrize("name", PACKINGS)
def test_pairs_packed_in_any_way(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ratings"
    path.write_bytes(PACKINGS[name](PAIRS.encode()))
    assert converted(path, tmp_path / "out") == WANTED


@pytest.mark.parametrize("name", ["kaggle-2020", "kaggle-2018", "kaggle-reviews", "movielens"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_data_set_that_was_saved_again(name: str, delimiter: str, tmp_path: Path) -> None:
    """With other delimiters it is still of its format, statuses and all."""
    made, _ = recognise(SAMPLES[name](tmp_path / "a"))
    again = SAMPLES[name](tmp_path / "b")
    for path in again.glob("*.csv"):
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=name == "kaggle-2020")
        text = cells.to_csv(index=False, sep=delimiter)
        path.write_bytes(text.encode("utf-16" if delimiter == "\t" else "utf-8-sig"))
    assert recognise(again)[0].name == made.name
    pd.testing.assert_frame_equal(lists_of(made, again), lists_of(made, tmp_path / "a"))
    pd.testing.assert_frame_equal(titles_of(made, again), titles_of(made, tmp_path / "a"))


def test_commas_in_numbers() -> None:
    texts = ["7,5", "7.5", "-0,25", ",5", "3,14159", "0,125", "7", "", "x", "1,234", "1.234,5", "1,234.5", "1,2,3"]
    wanted = [7.5, 7.5, -0.25, 0.5, 3.14159, 0.125, 7.0] + [np.nan] * 6
    np.testing.assert_equal(to_numbers(pd.Series(texts, dtype=object)), wanted)


@pytest.mark.parametrize("rate", ["1.234,5", "1,234"])
def test_separators_of_thousands_are_refused(rate: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"user_id;item_id;rating\n1;2;7,5\n1;3;{rate}\n")
    with pytest.raises(
        ValueError, match=rf"a\.csv line 3: the rate '{rate}' is not a number \(write it with a point, "
    ):
        converted(tmp_path / "a.csv", tmp_path / "out")


def test_decimal_commas_in_a_data_folder(tmp_path: Path) -> None:
    rows = ["\t".join(HEADERS["interactions.tsv"]), "u\ts\t7,5\t\t", "u\tt\t1.234,5\t\t"]
    (tmp_path / "interactions.tsv").write_text("\n".join(rows[:2]))
    assert read_interactions(tmp_path, pd.Series(["s", "t"]))[0]["rate"].tolist() == [7.5]
    (tmp_path / "interactions.tsv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"line 3: rate '1\.234,5' is not a number .*write it with a point"):
        read_interactions(tmp_path, pd.Series(["s", "t"]))


def test_other_encodings_on_request(tmp_path: Path) -> None:
    path = tmp_path / "gbk.csv"
    path.write_bytes("用户,user_id,item_id,comment\n甲,1,103,好看\n".encode("gbk"))
    with pytest.raises(ValueError, match=r"gbk\.csv line 1: not UTF-8 \(in gb18030 it reads '用户,user_id,"):
        converted(path, tmp_path / "out")
    with unmarked_text_in("gbk"):
        assert converted(path, tmp_path / "out") == [["1", "103", "0", "好看", ""]]


def test_one_list_in_a_zip_or_a_workbook(tmp_path: Path) -> None:
    text = "名称,名称(中文),条目类型,地址,状态,最后标注,我的评分,我的评论\nA,水星,动画,https://bgm.tv/subject/8,看过,2020-01-01,8,好\n"
    for name, encoding in (("zip", "utf-8"), ("tar.gz", "utf-16"), ("gz", "gb18030"), ("plain", "utf-8-sig")):
        path = tmp_path / "takeout.csv"
        path.write_bytes(PACKINGS[name](text.encode(encoding)))
        made, rows = read_export(path)
        assert (made, rows["subject_id"].tolist(), rows["name"].tolist()) == ("bangumi-takeout", ["8"], ["水星 / A"])
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in text.splitlines():
        book.active.append(line.split(","))
    book.save(tmp_path / "export.xlsx")
    made, rows = read_export(tmp_path / "export.xlsx")
    assert (made, rows["comment"].tolist(), rows["rate"].tolist()) == ("bangumi-takeout", ["好"], [8.0])


def test_a_workbook_is_a_folder_of_tables(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["user_id", "item_id", "rating"], ["a", 7, 8.5], ["b", 9, None]):
        book.active.append(row)
    for row in (["item_id", "title", "genres"], [7, "Akira", "SF, Action"], [9, "Ran", None]):
        book.create_sheet("titles").append(row) if "titles" not in book.sheetnames else book["titles"].append(row)
    book.save(tmp_path / "data.xlsx")
    assert converted(tmp_path / "data.xlsx", tmp_path / "out") == [["a", "7", "8.5", "", ""], ["b", "9", "0", "", ""]]
    assert rows_of(tmp_path / "out", "anime.tsv")[0][:3] == ["7", "Akira", '"[""SF"", ""Action""]"']
