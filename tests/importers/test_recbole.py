"""RecBole's atomic files: fields by their usual names, types in the header."""

import json
import logging
from pathlib import Path

import pytest

from importers import recbole as module
from importers.common import Options
from tests.helpers.import_samples import all_of, found, lists_of, mmrec, recbole, recbole_parts, titles_of, write

RECBOLE = module.FORMATS[0]


def test_interactions(tmp_path: Path) -> None:
    rows = lists_of(RECBOLE, recbole(tmp_path))
    assert rows["user_id"].tolist() == ["196", "186"]
    assert rows["subject_id"].tolist() == ["0242", "302"]
    assert rows["rate"].tolist() == [3, -1]
    assert rows["updated_at"].tolist() == ["881250949", "891717742"]


def test_titles_keep_their_quotes_and_sequences_are_split(tmp_path: Path) -> None:
    titles = titles_of(RECBOLE, recbole(tmp_path))
    assert titles["name"].tolist() == ['"Kolya" the boy', "L.A. Confidential"]
    assert titles["tags_name"].map(json.loads).tolist() == [["Comedy", "Drama"], ["Film & Noir", "Crime"]]
    assert titles["year"].tolist() == ["1996", "1997"]


@pytest.mark.parametrize(
    ("user", "item", "rate"),
    [("session_id", "asin", "stars"), ("uid", "iid", "score"), ("user_id", "business_id", "rating")],
)
def test_other_usual_names(tmp_path: Path, user: str, item: str, rate: str) -> None:
    write(tmp_path, set__inter=f"{rate}:float\t{user}:token\t{item}:token\n4\tann\t7\n")
    row = lists_of(RECBOLE, tmp_path).iloc[0]
    assert (row["user_id"], row["subject_id"], row["rate"], row["updated_at"]) == ("ann", "7", 4, "")


def test_names_that_are_not_usual_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, set__inter="reader:token\titem_id:token\n1\t2\n") / "set.inter"
    with pytest.raises(
        ValueError,
        match=r"set\.inter line 1: which field is the user_id\? \(found: reader, item_id\); "
        r"call it user_id:token",
    ):
        all_of(RECBOLE.lists, path)
    assert all_of(RECBOLE.lists, path, Options(columns={"user_id": "reader"}))["user_id"].tolist() == ["1"]
    write(tmp_path, set__item="code:token\tname:token\n1\t2\n")
    with pytest.raises(ValueError, match=r"which field is the subject_id\?.*call it item_id:token"):
        all_of(RECBOLE.titles, tmp_path / "set.item")


def test_parts_of_a_set_and_of_several_sets_the_first(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\n"
    write(
        tmp_path,
        **{name.replace(".", "__"): f"{header}1\t{name}\n" for name in ("b.inter", "a.part1.inter", "a.part2.inter")},
        a__item="item_id:token\tname:token\n1\tx\n",
        b__item="item_id:token\tname:token\n1\ty\n",
    )
    files = found(RECBOLE, tmp_path)
    assert [path.name for path in files.lists] == ["a.part1.inter", "a.part2.inter"]
    assert [path.name for path in files.titles] == ["a.item"]


# --- parts of a published split ---


def test_benchmark_files_name_their_parts(tmp_path: Path) -> None:
    rows = lists_of(RECBOLE, recbole_parts(tmp_path))
    found_parts = {(row.user_id, row.subject_id): row.part for row in rows.itertuples()}
    assert found_parts == {
        ("1", "03"): "train",
        ("2", "9"): "train",
        ("1", "9"): "valid",
        ("2", "03"): "test",
        ("2", "7"): "cold_test",
    }
    assert lists_of(RECBOLE, recbole(tmp_path / "whole"))["part"].tolist() == ["", ""]


def test_parts_beside_the_whole_are_refused(tmp_path: Path) -> None:
    write(recbole_parts(tmp_path), ml__inter="user_id:token\titem_id:token\n1\t9\n")
    with pytest.raises(
        ValueError, match=r"has ml\.cold_test\.inter, .*, which are parts of a split, and ml\.inter; name"
    ):
        RECBOLE.find(tmp_path)
    assert found(RECBOLE, tmp_path / "ml.inter").lists == (tmp_path / "ml.inter",)


def test_a_name_that_says_no_part_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(
        tmp_path,
        a__part1__inter="user_id:token\titem_id:token\n1\t9\n",
        train__inter="user_id:token\titem_id:token\n1\t9\n",
    )
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        assert all_of(RECBOLE.lists, tmp_path / "a.part1.inter")["part"].tolist() == [""]
    assert "a.part1.inter: its name says no part of a split" in caplog.text
    assert all_of(RECBOLE.lists, tmp_path / "train.inter")["part"].tolist() == [""]  # a data set of that name


def test_mmrec_numbers_the_parts(tmp_path: Path) -> None:
    rows = lists_of(RECBOLE, mmrec(tmp_path))
    assert rows[["user_id", "subject_id", "rate", "updated_at", "part"]].to_numpy().tolist() == [
        ["1", "03", 1, "15", "train"],
        ["1", "9", 4, "16", "valid"],
        ["2", "9", 5, "17", "test"],
    ]
    path = write(tmp_path, baby__inter="userID\titemID\tx_label\n1\t3\t0\n1\t9\t3\n") / "baby.inter"
    with pytest.raises(
        ValueError, match=r"baby\.inter line 3: x_label '3' is no part of a split; write train, valid, test"
    ):
        all_of(RECBOLE.lists, path)
    write(tmp_path, baby__inter="userID\titemID\n1\t3\n")
    assert RECBOLE.find(path) is None  # a table like any other


def test_wrong_and_broken_files(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        a__inter="user_id:token\titem_id\n1\t2\n",
        b__inter="",
        c__inter=("user_id:token\titem_id:token\n1\t2\n1\n"),
        d__inter="user_id:token\titem_id:token\n",
    )
    assert RECBOLE.find(folder / "a.inter") is None
    assert RECBOLE.find(folder / "b.inter") is None
    for name in "ab":
        with pytest.raises(ValueError, match=rf"{name}\.inter line 1: not all fields have a type"):
            all_of(RECBOLE.lists, folder / f"{name}.inter")
    with pytest.raises(ValueError, match=r"c\.inter line 3: 1 fields where there should be 2"):
        all_of(RECBOLE.lists, folder / "c.inter")
    with pytest.raises(ValueError, match=r"d\.inter: no rows; give a \.inter file"):
        all_of(RECBOLE.lists, folder / "d.inter")


def test_a_column_of_row_numbers_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, set__inter="\tuser_id:token\titem_id:token\n0\tann\t7\n1\tbob\t7\n")
    assert lists_of(RECBOLE, tmp_path)["user_id"].tolist() == ["ann", "bob"]
    untyped = "Unnamed: 0\tuserID\titemID\tx_label\n0\t1\t7\t0.0\n1\t2\t7\t2.0\n"
    rows = lists_of(RECBOLE, write(tmp_path, set__inter=untyped))
    assert rows[["user_id", "part"]].to_numpy().tolist() == [["1", "train"], ["2", "test"]]


def test_parts_without_a_name_are_one_set(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\n"
    files = {f"{part}__inter": f"{header}1\t{n}\n" for n, part in enumerate(("train", "valid", "test"))}
    write(tmp_path, **files, ml__item="item_id:token\tclass:token_seq\n0\t['Action' 'Drama']\n")
    rows = lists_of(RECBOLE, tmp_path)
    assert dict(zip(rows["subject_id"], rows["part"], strict=True)) == {"0": "train", "1": "valid", "2": "test"}
    assert json.loads(titles_of(RECBOLE, tmp_path)["tags_name"][0]) == ["Action", "Drama"]


def test_fields_taken_and_left_are_told(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\tclicks:float\n"
    path = write(tmp_path, set__inter=f"{header}1\t2\t3\n") / "set.inter"
    assert RECBOLE.tell(path, Options())[0] == (
        "set.inter: user_id:token is user_id, item_id:token is subject_id; left out: clicks:float"
    )
