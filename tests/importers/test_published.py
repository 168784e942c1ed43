"""Data sets of papers: the split of their authors arrives, and loads, as it was published."""

import logging
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from config import get_config
from dataset.splits import PARTS
from importers import published, recognise
from importers.common import NO_OPTIONS, Options
from importers.pipeline import convert
from importers.users import Rules
from inference.export_split import write_split
from tests.helpers.data import write_data
from tests.helpers.import_samples import PUBLISHED, all_of, found, lightgcn, lists_of, rlmrec, selfrec, write
from tests.helpers.splits import load, pairs

TEXTS, MATRICES = published.FORMATS


def parts_of(rows: object) -> dict[tuple[str, str], str]:
    return {(row.user_id, row.subject_id): row.part for row in rows.itertuples()}


def test_lines_of_a_user_and_their_items(tmp_path: Path) -> None:
    rows = lists_of(TEXTS, lightgcn(tmp_path / "amazon" / "cf_data"))
    expected = {
        ("0", "03"): "train",
        ("0", "9"): "train",
        ("1", "9"): "train",
        ("1", "7"): "valid",
        ("0", "7"): "test",
        ("1", "03"): "test",
    }
    assert parts_of(rows) == parts_of(lists_of(TEXTS, tmp_path / "amazon")) == expected
    assert set(rows["rate"]) == {1}


def test_lines_of_user_item_and_weight(tmp_path: Path) -> None:
    rows = lists_of(TEXTS, selfrec(tmp_path))
    assert parts_of(rows) == {
        ("0", "3"): "train",
        ("0", "9"): "train",
        ("1", "9"): "train",
        ("1", "3"): "train",
        ("0", "7"): "test",
        ("1", "7"): "test",
    }
    assert rows["rate"].tolist() == [1, 1, 1, 0.5, 1, 1]
    write(tmp_path, test__txt="0 7 1\n1 7 8 9\n")
    with pytest.raises(ValueError, match=r"test\.txt line 2: 4 words where there should be user, item and weight"):
        lists_of(TEXTS, tmp_path)


def test_texts_of_other_kinds_are_left_alone(tmp_path: Path) -> None:
    assert TEXTS.find(write(tmp_path / "a", train__txt="0 1\n")) is None  # without a test part
    for number, text in enumerate(("0,1\n", "user\ttime\n0\t1\n", "Dear user, hello\n", "one two three\n", "")):
        assert TEXTS.find(write(tmp_path / f"b{number}", train__txt=text, test__txt="0 2\n")) is None
    folder = lightgcn(tmp_path / "c")
    assert TEXTS.find(folder / "train.txt") is None
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"c/{path.name}")
    assert parts_of(lists_of(TEXTS, tmp_path / "c.zip")) == parts_of(lists_of(TEXTS, folder))


@pytest.mark.parametrize(
    ("lines", "rate", "time"),
    [
        ("{} {} 16000000{}\n", 1, "1600000015"),
        ("{} {} 16000000{}123\n", 1, "1600000015123"),
        ("{} {} 4.5 16000000{}\n", 4.5, "1600000015"),
        ("user_id item_id time\n{} {} 16000000{}\n", 1, "1600000015"),
        ("u{}\ti{}\t87 16000000{}\n", 87, "1600000015"),
    ],
)
def test_times_at_the_end_of_lines_are_no_titles(lines: str, rate: float, time: str, tmp_path: Path) -> None:
    head, _, line = lines.removesuffix("\n").rpartition("\n")
    train = "".join(f"{line.format(n % 4, n, n)}\n" for n in range(10, 30))
    test = "".join(f"{line.format(n, 5, n)}\n" for n in range(10, 12))
    folder = write(tmp_path / "in", train__txt=f"{head}\n{train}".lstrip(), test__txt=f"{head}\n{test}".lstrip())
    rows = lists_of(TEXTS, folder)
    assert (rows["part"] == "train").sum() == 20
    assert rows["subject_id"].str.lstrip("i").tolist() == [str(n) for n in range(10, 30)] + ["5", "5"]
    assert rows[["rate", "updated_at"]].iloc[5].tolist() == [rate, time]
    told = TEXTS.tell(folder / "train.txt", NO_OPTIONS)
    assert told == [f"{folder / 'train.txt'}: lines of user, item{', weight' * (rate != 1)} and time"]
    with pytest.raises(ValueError, match=r"train\.txt line \d: .*or time, not like a user and all their items"):
        load(folder)
    assert load(folder, text_lines="triples", valid_ratio=0).n_items == 21


def test_tabs_part_columns_and_a_header_is_no_user(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", train__txt="0\t1\t99\n1\t2\t61\n", test__txt="0\t2\t7\n")
    assert lists_of(TEXTS, folder)["rate"].tolist() == [99, 61, 7]
    folder = write(tmp_path / "b", train__txt="user item\n0 1\n1 2\n", test__txt="user item\n0 2\n")
    assert parts_of(lists_of(TEXTS, folder)) == {("0", "1"): "train", ("1", "2"): "train", ("0", "2"): "test"}
    assert load(folder, valid_ratio=0).raw_item_ids == ["1", "2"]


def test_matrices_of_users_by_items(tmp_path: Path) -> None:
    rows = lists_of(MATRICES, rlmrec(tmp_path))
    assert parts_of(rows) == {("0", "3"): "train", ("1", "9"): "train", ("0", "9"): "valid", ("1", "3"): "test"}
    assert rows["rate"].tolist() == [1, 2, 1, 1]  # an explicit zero is no pair
    counts: dict[str, int] = {}
    list(MATRICES.lists(tmp_path / "trn_mat.npz", NO_OPTIONS, counts))
    assert counts == {"zeros of a matrix": 1}


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("run"),)


def test_a_pickle_is_refused_unread_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("trn_mat", "val_mat", "tst_mat"):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(Bomb()))
    made, files = recognise(tmp_path)
    assert made.name == "rlmrec"
    with pytest.raises(
        ValueError,
        match=r"trn_mat\.pkl is a pickle.*scipy\.sparse\.save_npz\('trn_mat\.npz', pickle\.load\(open\('trn_mat\.pkl'",
    ):
        all_of(made.lists, files.lists[0])
    assert not (tmp_path / "run").exists()
    rlmrec(tmp_path)
    assert [path.name for path in found(MATRICES, tmp_path).lists] == ["trn_mat.npz", "val_mat.npz", "tst_mat.npz"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"data": [1.0, 1.0], "indices": [0, 1], "indptr": [0, 10**9, 2], "format": b"csr", "shape": [2, 2]},
        {"data": [1.0], "indices": [5], "indptr": [0, 1, 1], "format": b"csr", "shape": [2, 2]},
        {"data": [1.0], "row": [-1], "col": [0], "format": b"coo", "shape": [2, 2]},
        {"data": [1.0], "format": b"dia", "shape": [2, 2]},
        {"data": [1.0]},
    ],
    ids=["pointers", "indices", "negative", "kind", "no matrix"],
)
def test_a_crafted_matrix_is_one_sentence(arrays: dict[str, object], tmp_path: Path) -> None:
    rlmrec(tmp_path)
    np.savez(tmp_path / "val_mat.npz", **{name: np.array(value) for name, value in arrays.items()})
    with pytest.raises(
        ValueError, match=r"val_mat\.npz: no sparse matrix .*write it again with scipy\.sparse\.save_npz"
    ):
        lists_of(MATRICES, tmp_path)
    (tmp_path / "val_mat.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"val_mat\.npz: no sparse matrix"):
        lists_of(MATRICES, tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_split_is_converted_and_loaded_as_it_is(name: str, tmp_path: Path) -> None:
    source = PUBLISHED[name](tmp_path / "source")
    made, files = recognise(source)
    assert made.name == name.split()[0]
    result = convert([(made, files)], tmp_path / "out", NO_OPTIONS, Rules())
    expected = parts_of(lists_of(made, source))
    dataset = load(tmp_path / "out", valid_ratio=0)
    assert {pair: part for part in PARTS for pair in pairs(dataset, part)} == expected
    assert result.parts == {part: list(expected.values()).count(part) for part in expected.values()}


def test_users_may_be_drawn_from_a_published_split(tmp_path: Path) -> None:
    made, files = recognise(lightgcn(tmp_path / "source"))
    result = convert([(made, files)], tmp_path / "out", NO_OPTIONS, Rules(users=1))
    assert result.users == 1
    assert sum(result.parts.values()) == result.rows == 3


def test_lists_with_and_without_a_split_are_not_mixed(tmp_path: Path) -> None:
    whole = write(tmp_path / "pairs", t__csv="user,item\n5,3\n")
    sources = [recognise(lightgcn(tmp_path / "source")), recognise(whole)]
    for both in (sources, sources[::-1]):
        with pytest.raises(
            ValueError, match="some of the lists say to which part of a split a row belongs .*and others"
        ):
            convert(both, tmp_path / "out", NO_OPTIONS, Rules())
    assert not (tmp_path / "out" / "interactions.tsv").exists()


def test_the_export_of_a_run_converts_back_to_its_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """RecBole's files and our own table stand in one folder; either has the parts."""
    folder = write_data(tmp_path / "data")
    dataset = load(folder, cold_item_ratio=0.2)
    config = get_config({"data_dir": str(folder)})
    write_split(SimpleNamespace(dataset=dataset, config=config), tmp_path / "out")
    with caplog.at_level(logging.INFO, logger="aglrec"):
        for asked in ("auto", "pairs"):
            source = tmp_path / "out" / ("interactions.tsv" if asked == "pairs" else "")
            convert([recognise(source, asked)], tmp_path / asked, NO_OPTIONS, Rules())
            again = load(tmp_path / asked)
            assert all(pairs(again, part) == pairs(dataset, part) for part in PARTS)


def test_a_matrix_is_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "CHUNK", 2)
    monkeypatch.setattr(published, "LINES", 1)
    sp.save_npz(tmp_path / "trn_mat.npz", sp.coo_matrix(np.ones((3, 3))))
    assert [len(chunk) for chunk in MATRICES.lists(tmp_path / "trn_mat.npz", NO_OPTIONS, {})] == [2, 2, 2, 2, 1]
    folder = lightgcn(tmp_path / "text")
    assert [len(chunk) for chunk in TEXTS.lists(folder / "train.txt", NO_OPTIONS, {})] == [2, 1, 0]


def triples(folder: Path, users: int, each: int) -> Path:
    lines = "".join(f"{user} {10 * title + user} 1\n" for user in range(users) for title in range(4, 4 + each))
    return write(folder, train__txt=lines, test__txt="".join(f"{user} 9{user} 1\n" for user in range(users)))


def test_users_of_two_lines_have_triples_and_it_is_told(tmp_path: Path) -> None:
    folder = triples(tmp_path, 6, 2)
    write(folder, train__txt=(folder / "train.txt").read_text() + "6 40 1\n7 40 0\n")
    rows = lists_of(TEXTS, folder)
    assert len(rows) == 13 + 6
    assert set(rows["rate"]) == {1}
    assert "7" not in set(rows["user_id"])  # of weight 0
    (line,) = TEXTS.tell(folder / "train.txt", NO_OPTIONS)
    assert "lines of user, item and weight" in line
    assert line.endswith("add --text_lines items")
    items = Options(text_lines="items")
    assert len(lists_of(TEXTS, folder, items)) == 2 * (14 + 6)
    assert TEXTS.tell(folder / "train.txt", items) == TEXTS.tell(folder / "test.txt", NO_OPTIONS) == []


def test_lines_that_may_be_triples_are_items_and_the_option_is_named(tmp_path: Path) -> None:
    folder = triples(tmp_path, 12, 1)
    assert len(lists_of(TEXTS, folder)) == 2 * 24
    (line,) = TEXTS.tell(folder / "train.txt", NO_OPTIONS)
    assert line.endswith("add --text_lines triples")
    rows = lists_of(TEXTS, folder, Options(text_lines="triples"))
    assert len(rows) == 24
    assert set(rows["part"]) == {"train", "test"}
