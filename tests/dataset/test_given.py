"""A split as published: the column part of interactions.tsv."""

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import get_config
from data_loader import Dataset, load_dataset
from dataset.given import NAMES
from dataset.splits import PARTS
from tests.helpers.splits import DISJOINT, load, pairs, per_user, read_rows, write_small, write_timed

CITEULIKE = Path(__file__).resolve().parents[3] / "shared" / "datasets" / "citeulike"
COLUMNS = ("user_id", "subject_id", "rate", "comment", "updated_at", "part")
ROWS = [
    ("u", "a", "train"),
    ("u", "b", "valid"),
    ("v", "b", "train"),
    ("v", "a", "test"),
    ("v", "c", "cold_valid"),
    ("u", "d", "cold_test"),
    ("w", "a", "aside"),
    ("w", "b", ""),
]


def write_parts(folder: Path, rows: list[dict[str, str]]) -> Path:
    """Write interactions.tsv with a column part, over that of the folder."""
    with (folder / "interactions.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def write_given(folder: Path, rows: list[tuple[str, str, str]], titles: str = "abcd") -> Path:
    write_small(folder, [("x", titles[0])], tuple(titles))
    return write_parts(folder, [dict(zip(("user_id", "subject_id", "part"), row, strict=True)) for row in rows])


def assert_same(one: Dataset, other: Dataset) -> None:
    assert one.fingerprint == other.fingerprint
    assert one.collected == other.collected
    assert all(pairs(one, part) == pairs(other, part) for part in (*DISJOINT, "seen"))
    assert one.user_comments.texts == other.user_comments.texts
    assert np.array_equal(one.user_comments.user_ids, other.user_comments.user_ids)
    assert np.array_equal(one.user_comments.weights, other.user_comments.weights)


def infos(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


# --- taken as it is ---


@pytest.mark.parametrize("split", ["auto", "given"])
def test_every_row_is_in_the_part_that_it_names(split: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="aglrec"):
        dataset = load(write_given(tmp_path, ROWS), split=split)
    found = {part: pairs(dataset, part) for part in DISJOINT}
    names = {**{part: part for part in PARTS}, "excluded": "aside"}
    assert found == {part: {row[:2] for row in ROWS if row[2] == name} for part, name in names.items()}
    assert pairs(dataset, "seen") == {row[:2] for row in ROWS}
    assert "gives the split; min_rate, test_ratio and valid_ratio are ignored" in infos(caplog)
    assert dataset.facts["split"] == "given"


def test_unrated_and_low_rows_stay_in_their_parts_at_any_min_rate(tmp_path: Path) -> None:
    folder = write_given(tmp_path, ROWS)
    before = load(folder, min_rate=0)
    for rates, min_rate in ((("", "0"), 1), (("3", "1"), 9)):
        rows = [{**row, "rate": rates[number % 2]} for number, row in enumerate(read_rows(folder))]
        assert load(write_parts(folder, rows), min_rate=min_rate).fingerprint == before.fingerprint


def test_aside_is_also_spelled_excluded(tmp_path: Path) -> None:
    one = load(write_given(tmp_path, ROWS))
    assert_same(one, load(write_given(tmp_path, [(*row[:2], row[2].replace("aside", "excluded")) for row in ROWS])))


def test_the_given_split_is_in_the_fingerprint(tmp_path: Path) -> None:
    one = load(write_given(tmp_path, ROWS))
    moved = [("v", "a", "valid") if row == ("v", "a", "test") else row for row in ROWS]
    other = load(write_given(tmp_path, moved))
    assert one.fingerprint != other.fingerprint
    assert one.collected == other.collected


@pytest.mark.parametrize("how", ["auto", "explicit"])
def test_a_column_without_any_part_gives_no_split(how: str, data_dir: Path) -> None:
    drawn = load(data_dir, split="user_time")
    write_parts(data_dir, read_rows(data_dir))
    assert_same(drawn, load(data_dir, **({} if how == "auto" else {"split": "user_time"})))
    assert load(data_dir).facts["split"] == "user_time"


def test_asked_for_and_not_there_is_refused(data_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"interactions\.tsv has no column part that is filled in.*--split user_time"):
        load(data_dir, split="given")


@pytest.mark.parametrize("split", ["user_time", "leave_one_out", "random", "global_time"])
def test_another_split_merges_the_parts_and_says_so(
    split: str, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn, rows = load(data_dir, split=split), read_rows(data_dir)
    names = np.random.default_rng(0).choice([*PARTS, "aside", "no such part"], len(rows)).tolist()
    write_parts(data_dir, [{**row, "part": name} for row, name in zip(rows, names, strict=True)])
    with caplog.at_level(logging.INFO, logger="aglrec"):
        assert_same(drawn, load(data_dir, split=split))
    assert f"with split '{split}' the parts are merged and drawn anew" in infos(caplog)


# --- what other settings still do ---


def given_of(drawn: Dataset, folder: Path) -> Path:
    """Write the split of a dataset into its own data folder."""
    names = {pair: name for name in DISJOINT for pair in pairs(drawn, name)}
    rows = read_rows(folder)
    return write_parts(folder, [{**row, "part": names.get((row["user_id"], row["subject_id"]), "")} for row in rows])


SETTINGS: dict[str, dict[str, Any]] = {
    "user_time": {"min_rate": 4},
    "leave_one_out": {"split": "leave_one_out", "min_rate": 3, "cold_item_ratio": 0.3},
    "random": {"split": "random", "cold_item_ratio": 0.2, "train_rows_per_user": 4},
    "global_time": {"split": "global_time", "min_rate": 5, "train_rows_per_user": 2},
    "no valid": {"valid_ratio": 0, "cold_item_ratio": 0.2},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_drawn_split_given_back_is_the_same_dataset(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=12)
    drawn = load(folder, **settings)
    assert_same(drawn, load(given_of(drawn, folder), valid_ratio=settings.get("valid_ratio", 0.1)))


def test_without_valid_rows_valid_is_drawn_from_train(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=12)
    drawn = load(folder, valid_ratio=0)
    given_of(drawn, folder)
    with caplog.at_level(logging.INFO, logger="aglrec"):
        first, again, other = (load(folder, split_seed=seed) for seed in (3, 3, 4))
    assert per_user(first, "valid") == [1] * 30
    assert pairs(first, "valid") == pairs(again, "valid") != pairs(other, "valid")
    assert pairs(first, "train", "valid") == pairs(drawn, "train")
    assert pairs(first, "test") == pairs(drawn, "test")
    assert "valid is drawn from its train part at random; min_rate and test_ratio are ignored" in infos(caplog)
    assert load(folder, valid_ratio=0).valid.nnz == 0


def test_train_rows_per_user_cuts_the_given_train_part_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=12)
    whole = load(given_of(load(folder), folder))
    with caplog.at_level(logging.INFO, logger="aglrec"):
        cut = load(folder, train_rows_per_user=3)
    assert per_user(cut, "train") == [3] * 30
    assert all(pairs(cut, part) == pairs(whole, part) for part in (*PARTS[1:], "seen"))
    assert pairs(cut, "excluded") == pairs(whole, "train") - pairs(cut, "train")
    assert "each user keeps 3 rows (train_rows_per_user)" in infos(caplog)


def test_refit_trains_on_every_positive_and_refit_valid_on_valid(tmp_path: Path) -> None:
    folder = write_given(tmp_path, ROWS)
    parts, whole, both = load(folder), load(folder, refit=True), load(folder, refit_valid=True)
    assert pairs(whole, "train") == pairs(parts, *PARTS)
    assert pairs(whole, "excluded") == pairs(parts, "excluded")
    assert pairs(both, "train") == pairs(parts, "train", "valid", "cold_valid")
    assert pairs(both, "test", "cold_test") == pairs(parts, "test", "cold_test")


def test_cold_titles_are_not_drawn_into_a_given_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cold_item_ratio is 0\.1, but the column part of .*set --cold_item_ratio 0"):
        load(write_given(tmp_path, ROWS), cold_item_ratio=0.1)


def test_known_pairs_are_aside_unless_their_file_says_otherwise(tmp_path: Path) -> None:
    folder = write_given(tmp_path, ROWS)
    (folder / "known.tsv").write_text("user_id\tsubject_id\nu\tc\nv\td\n", encoding="utf-8")
    assert pairs(load(folder), "excluded") == {("w", "a"), ("u", "c"), ("v", "d")}
    (folder / "known.tsv").write_text("user_id\tsubject_id\tpart\nu\tc\taside\nv\td\t\n", encoding="utf-8")
    dataset = load(folder)
    assert pairs(dataset, "excluded") == {("w", "a"), ("u", "c")}
    assert ("v", "d") in pairs(dataset, "seen")
    (folder / "known.tsv").write_text("user_id\tsubject_id\tpart\nu\tc\taside\nv\td\ttest\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"known\.tsv line 3: the part test holds positives only"):
        load(folder)


# --- what is refused ---


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("w", "d", "tset"), r"line 10: there is no part 'tset', the nearest is 'test'; use one of train, valid, .*"),
        (("w", "d", "Train"), r"line 10: there is no part 'Train', the nearest is 'train'"),
        (("w", "z", "test"), r"line 10: anime\.tsv has no title 'z' \(1 such rows\); add a line for it"),
        (
            ("u", "a", "test"),
            r"line 10: user 'u' and title 'a' are in the part test here and in the part train on line 2; .*delete",
        ),
        (
            ("w", "a", "train"),
            r"line 10: user 'w' and title 'a' are in the part train here and in the part aside on .*8",
        ),
        (("w", "b", "aside"), r"line 10: .* are in the part aside here and in no part on line 9"),
        (("w", "c", "train"), r"line 6: title 'c' is in the part cold_valid, but line 10 has it in train; the cold"),
    ],
)
def test_a_row_that_cannot_be_is_named(row: tuple[str, str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"interactions\.tsv {message}"):
        load(write_given(tmp_path, [*ROWS, row]))


def test_a_split_without_train_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"interactions\.tsv: no row is in the part train"):
        load(write_given(tmp_path, [row for row in ROWS if row[2] != "train"]))


def test_a_split_without_test_rows_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(write_given(tmp_path, [row for row in ROWS if "test" not in row[2]]))
    assert "puts no row into test or cold_test" in infos(caplog)
    assert dataset.test.nnz == dataset.cold_test.nnz == 0


def test_a_pair_twice_in_one_part_is_only_repeated(tmp_path: Path) -> None:
    folder = write_given(tmp_path, [*ROWS, ROWS[0]])
    assert load(folder).facts["repeated pairs"] == 1
    assert_same(load(folder), load(write_given(tmp_path, ROWS)))


def test_names_of_parts_are_written_as_papers_write_them() -> None:
    assert list(NAMES.values()) == ["", "aside", "cold_test", "cold_valid", "test", "valid", "train"]


# --- real data ---


@pytest.mark.skipif(not CITEULIKE.is_dir(), reason="shared/datasets/citeulike is not here")
def test_citeulike_is_found_in_its_published_split() -> None:
    dataset = load_dataset(get_config({"data_dir": str(CITEULIKE)}))
    assert (dataset.n_users, dataset.n_items) == (5_551, 16_980)
    assert [getattr(dataset, part).nnz for part in DISJOINT] == [132_073, 16_471, 16_482, 19_802, 20_158, 0]
    cold = [set(getattr(dataset, part).indices.tolist()) for part in ("cold_valid", "cold_test")]
    assert [len(titles) for titles in cold] == [1_698, 1_698]
    assert not set.intersection(*cold)
    assert sum(map(len, cold)) == 0.2 * dataset.n_items
