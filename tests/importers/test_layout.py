"""Which column of a table holds what: by its name, or without a header by what is in it; and that it is told."""

import logging
from pathlib import Path

import pytest

from importers import pairs as module
from importers.common import Options
from importers.layout import layout_of, told
from importers.nameless import clean_id
from tests.helpers.import_samples import all_of, found, write

PAIRS = module.FORMATS[0]
BOOKS = '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"0155061224";"5"\n'


def table(folder: Path, rows: list[str], header: str = "") -> Path:
    return write(folder, t__csv="\n".join([header, *rows] if header else rows) + "\n") / "t.csv"


def laid_out(path: Path, **given: str) -> tuple[dict[str, str], str]:
    layout = layout_of(path, given)
    return layout.columns, " ".join(told(path, layout))


def grid(row: str, separator: str = ",") -> list[str]:
    """Write a row for each of 3 users and 4 titles."""
    cells = [
        row.format(n=n, u=1 + n // 4, t=104 + n % 4, r=n % 4 + 1, s=1_500_000_000 + 86_400 * n, d=f"2020-01-{n + 1:02}")
        for n in range(12)
    ]
    return [cell.replace(",", separator) for cell in cells]


# --- names ---


def test_book_crossing_has_a_rate_of_which_0_is_implicit(tmp_path: Path) -> None:
    path = write(tmp_path, t__csv=BOOKS) / "t.csv"
    rows = all_of(PAIRS.lists, path)
    assert rows["rate"].tolist() == [0, 5]
    assert rows["subject_id"].tolist() == ["034545104X", "0155061224"]
    assert laid_out(path)[1] == "t.csv: User-ID is user_id, ISBN is subject_id, Book-Rating is rate (0 is unrated)"


@pytest.mark.parametrize(
    ("header", "rate", "time"),
    [
        ("user_id,anime_id,user_score,watched_on", "user_score", "watched_on"),
        ("uid,iid,my_rating,rated_at", "my_rating", "rated_at"),
        ("visitor_id,Movie ID,stars,added_at", "stars", "added_at"),
        ("reviewer,asin,review_score,review_date", "review_score", "review_date"),
        ("user,item,评分,时间", "评分", "时间"),
        ("user,item,Rating (1-10),Time-Stamp", "Rating (1-10)", "Time-Stamp"),
    ],
)
def test_rates_and_times_of_many_names(tmp_path: Path, header: str, rate: str, time: str) -> None:
    columns, _ = laid_out(table(tmp_path, grid("{u},{t},{r},{d}"), header))
    assert (columns["rate"], columns["updated_at"]) == (rate, time)


def test_what_a_user_gave_goes_before_the_mean_of_a_title(tmp_path: Path) -> None:
    path = table(tmp_path, ["1,2,8.1,3"], "user_id,anime_id,rating,user_rating")
    assert all_of(PAIRS.lists, path)["rate"].tolist() == [3]


def test_columns_left_out_are_named_with_the_option_that_takes_them(tmp_path: Path) -> None:
    path = table(tmp_path, grid("{u},{t},{r},{d},x"), "user_id,item_id,how good,when,shop")
    columns, lines = laid_out(path)
    assert set(columns) == {"user_id", "subject_id"}
    assert "left out: how good, when, shop" in lines
    assert "how good looks like rates" in lines
    assert "--columns 'rate=how good'" in lines
    assert "when looks like times" in lines
    assert "--columns updated_at=when" in lines
    rows = all_of(PAIRS.lists, path, Options(columns={"rate": "how good", "updated_at": "when"}))
    assert rows["rate"].tolist()[:4] == [1, 2, 3, 4]
    assert rows["updated_at"][0] == "2020-01-01"
    assert "looks like" not in laid_out(path, **{"rate": "how good", "updated_at": "when"})[1]


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "Unnamed: 0.1", "level_0", "index"])
def test_the_index_of_pandas_is_no_id(tmp_path: Path, index: str) -> None:
    path = table(tmp_path, grid("{n},{u},{t},{r}"), f"{index},user_id,item_id,rating")
    rows = all_of(PAIRS.lists, path)
    assert rows[["user_id", "subject_id", "rate"]].to_numpy().tolist()[4] == ["2", "104", 1]
    lines = laid_out(path)[1]
    assert f"left out: {index or 'the column without a name'}" in lines
    assert "looks like" not in lines


def test_numbers_of_columns_are_no_row(tmp_path: Path) -> None:
    path = table(tmp_path, grid("{n},{u},{t},{r}"), ",0,1,2")
    with pytest.raises(ValueError, match=r"which column is the user_id .*found: , 0, 1, 2"):
        all_of(PAIRS.lists, path)
    rows = all_of(PAIRS.lists, path, Options(columns={"user_id": "0", "subject_id": "1", "rate": "2"}))
    assert len(rows) == 12
    assert rows["user_id"].unique().tolist() == ["1", "2", "3"]
    assert "delete it if pandas wrote it" in laid_out(table(tmp_path, ["0,1,2", "7,104,3", "8,105,3"]))[1]


# --- without a header ---


@pytest.mark.parametrize(
    ("row", "separator", "expected"),
    [
        ("{u},{t}", ",", {"user_id": "1", "subject_id": "2"}),
        ("{u},{t},{r}", " ", {"user_id": "1", "subject_id": "2", "rate": "3"}),
        ("{u},{t},{s}", "\t", {"user_id": "1", "subject_id": "2", "updated_at": "3"}),
        ("{u},{t},{d}", ",", {"user_id": "1", "subject_id": "2", "updated_at": "3"}),
        ("{u},{t},{r},{s}", "::", {"user_id": "1", "subject_id": "2", "rate": "3", "updated_at": "4"}),
        ("{u},{t},{s},{r}", ",", {"user_id": "1", "subject_id": "2", "updated_at": "3", "rate": "4"}),
        ("{n},{u},{t},{r}", ",", {"user_id": "2", "subject_id": "3", "rate": "4"}),
        ("{n},{u},{t},{r},{s}", ",", {"user_id": "2", "subject_id": "3", "rate": "4", "updated_at": "5"}),
    ],
)
def test_cells_tell_rates_from_times_and_from_numbers_of_rows(
    tmp_path: Path, row: str, separator: str, expected: dict[str, str]
) -> None:
    path = table(tmp_path, grid(row, separator))
    assert found(PAIRS, path).lists == (path,)
    columns, lines = laid_out(path)
    assert columns == expected
    assert "the usual order is taken, users before titles" in lines
    assert ("the first column numbers the rows" in lines) == row.startswith("{n}")
    # what is proposed reads titles first
    swapped = dict(pair.split("=") for pair in lines.split("add --columns ")[1].removesuffix(")").split(","))
    assert swapped == {**expected, "user_id": expected["subject_id"], "subject_id": expected["user_id"]}
    rows = all_of(PAIRS.lists, path, Options(columns=swapped))
    assert rows["user_id"].nunique() == 4


@pytest.mark.parametrize(
    "row", ["tt00{t}11,user_{u},{r}", "i{t},{u},{r}", "B0007777{u}{r},{t},{r}", "{t},u{u},{r}", "item-{t},A{u}X,{r}"]
)
def test_ids_that_say_what_they_are_decide(tmp_path: Path, row: str) -> None:
    columns, lines = laid_out(table(tmp_path, grid(row)))
    assert columns == {"subject_id": "1", "user_id": "2", "rate": "3"}
    assert "look like titles and users" in lines


@pytest.mark.parametrize("row", ["{n},{u},{r}", "{u},{t},{r},{r}", "{u},{t},{r},{s},{r},1", "{u},{t},1,0"])
def test_what_nothing_decides_is_asked_for(tmp_path: Path, row: str) -> None:
    path = table(tmp_path, grid(row))
    with pytest.raises(
        ValueError, match=r"t\.csv line 1: there is no header, and .*say so with --columns user_id=NAME"
    ):
        all_of(PAIRS.lists, path)
    assert laid_out(path) == ({}, "")


def test_spaces_part_numbers_only(tmp_path: Path) -> None:
    for text in ("Dear user, hello\nthis is prose\n", "1 2 3\n4 5\n", "0 1 2 3\n1 4 5 6\n2 7\n"):
        assert PAIRS.find(write(tmp_path, t__txt=text) / "t.txt") is None


# --- ids ---


def test_whole_numbers_that_became_floats_are_themselves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path, ["1.0,12.0,3", "2,12,4", "2,,4"], "user_id,item_id,rating")
    with caplog.at_level(logging.WARNING, "aglrec"):
        rows = all_of(PAIRS.lists, path)
    assert rows[["user_id", "subject_id"]].to_numpy().tolist() == [["1", "12"], ["2", "12"], ["2", ""]]
    assert "1 cells of item_id are whole numbers written as floats, and are taken as such: 12.0 is 12" in caplog.text
    path = table(tmp_path, ["12.0,Akira"], "item_id,title")
    assert all_of(PAIRS.titles, path)["subject_id"].tolist() == ["12"]


@pytest.mark.parametrize("cell", ["9.78014E+12", "1.2345678901234568e+17", "12.5"])
def test_ids_that_a_spreadsheet_shortened_are_told(tmp_path: Path, cell: str, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path, ["1,2,3", f"1,{cell},3", f"2,{cell},3"], "user_id,item_id,rating")
    with caplog.at_level(logging.WARNING, "aglrec"):
        rows = all_of(PAIRS.lists, path)
    assert rows["subject_id"].tolist() == ["2", cell, cell]
    assert f"t.csv line 3: item_id {cell!r} is no whole number (2 such rows), and is taken as it is" in caplog.text


def test_ids_that_a_spreadsheet_kept_as_text_or_failed_to_make(tmp_path: Path) -> None:
    path = table(tmp_path, ['"=""001""","=""6""",5', "'007,'6,4", "O'Neil,7,5"], "user_id,item_id,rating")
    rows = all_of(PAIRS.lists, path)
    assert rows["user_id"].tolist() == ["001", "007", "O'Neil"]
    assert rows["subject_id"].tolist() == ["6", "6", "7"]
    assert [clean_id(text) for text in ("#N/A", "#REF!", "undefined", "-", "A#1")] == ["", "", "", "", "A#1"]


def test_ids_of_letters_and_digits_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path, ["1e5,2.0,3", "ab3,Akira,3", "77,12.5,3"], "user_id,item_id,rating")
    with caplog.at_level(logging.WARNING, "aglrec"):
        rows = all_of(PAIRS.lists, path)
    assert rows["user_id"].tolist() == ["1e5", "ab3", "77"]
    assert rows["subject_id"].tolist() == ["2.0", "Akira", "12.5"]
    assert not caplog.text
