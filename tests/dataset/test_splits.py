"""Each split, cold items, and fewer train rows a user."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_loader import Dataset
from dataset.splits import PARTS
from tests.helpers.data import write_tsv
from tests.helpers.splits import Pairs, load, pairs, per_user, read_rows, rewrite, warnings_of, write_small, write_timed

SPLITS = ("user_time", "leave_one_out", "random", "global_time")
TIME_SPLITS = ("user_time", "leave_one_out", "global_time")
PER_USER_SPLITS = ("user_time", "leave_one_out", "random")


# --- splits ---


@pytest.mark.parametrize("n", [10, 20])
def test_user_time_holds_out_each_users_newest(n: int, tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=n)
    dataset = load(folder, split="user_time")
    expected: dict[str, Pairs] = {"train": set(), "valid": set(), "test": set()}
    for user in dataset.raw_user_ids:
        mine = sorted((row for row in read_rows(folder) if row["user_id"] == user), key=lambda row: row["updated_at"])
        ordered = [(user, row["subject_id"]) for row in mine]
        expected["test"] |= set(ordered[-n // 10 :])
        expected["valid"] |= set(ordered[-2 * n // 10 : -n // 10])
        expected["train"] |= set(ordered[: -2 * n // 10])
    assert {part: pairs(dataset, part) for part in expected} == expected


def test_leave_one_out_holds_out_the_newest_and_the_one_before(tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=20, per_user=25)
    dataset = load(folder, split="leave_one_out")
    for user in dataset.raw_user_ids:
        mine = sorted((row for row in read_rows(folder) if row["user_id"] == user), key=lambda row: row["updated_at"])
        assert {pair for pair in pairs(dataset, "test") if pair[0] == user} == {(user, mine[-1]["subject_id"])}
        assert {pair for pair in pairs(dataset, "valid") if pair[0] == user} == {(user, mine[-2]["subject_id"])}
    assert per_user(dataset, "train") == [23] * 20


def test_leave_one_out_works_from_three_rows_on(tmp_path: Path) -> None:
    rows = [("u", title, 5, "", f"2020-01-0{day}") for title, day in zip("abc", (2, 3, 1), strict=True)]
    dataset = load(write_small(tmp_path, rows), split="leave_one_out")
    assert [pairs(dataset, part) for part in ("train", "valid", "test")] == [{("u", "c")}, {("u", "a")}, {("u", "b")}]


def test_random_split_takes_a_tenth_of_each_user_not_the_newest(tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=20)
    dataset = load(folder, split="random")
    assert per_user(dataset, "test") == per_user(dataset, "valid") == [2] * 30
    newest = load(folder, split="user_time")
    assert len(pairs(dataset, "test") & pairs(newest, "test")) < 30


def test_random_split_is_seeded(data_dir: Path) -> None:
    first, again, other = (load(data_dir, split="random", split_seed=seed) for seed in (3, 3, 4))
    for part in ("train", "valid", "test"):
        assert pairs(first, part) == pairs(again, part) != pairs(other, part)


def test_global_time_cuts_everyone_at_one_date(tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=10)
    dataset = load(folder, split="global_time")
    time = {(row["user_id"], row["subject_id"]): row["updated_at"] for row in read_rows(folder)}
    times = {part: [time[pair] for pair in pairs(dataset, part)] for part in ("train", "valid", "test")}
    assert {part: len(found) for part, found in times.items()} == {"train": 240, "valid": 30, "test": 30}
    assert max(times["train"]) <= min(times["valid"])
    assert max(times["valid"]) <= min(times["test"])
    assert len(set(per_user(dataset, "test"))) > 1, "a date cuts users unevenly"


def test_global_time_holds_with_equal_times(data_dir: Path) -> None:
    dataset = load(data_dir, split="global_time")
    time = {(row["user_id"], row["subject_id"]): row["updated_at"] for row in read_rows(data_dir)}
    times = [[time[pair] for pair in pairs(dataset, part)] for part in ("train", "valid", "test")]
    assert max(times[0]) <= min(times[1])
    assert max(times[1]) <= min(times[2])


@pytest.mark.parametrize("split", SPLITS)
def test_no_positive_is_lost_by_a_split(split: str, data_dir: Path) -> None:
    dataset = load(data_dir, split=split, min_rate=4)
    positive = {(row["user_id"], row["subject_id"]) for row in read_rows(data_dir) if float(row["rate"]) >= 4}
    assert pairs(dataset, *PARTS) == positive
    assert sum(getattr(dataset, part).nnz for part in PARTS) == len(positive)
    assert all(pairs(dataset, part) for part in ("train", "valid", "test"))


@pytest.mark.parametrize("ratios", [(0.1, 0.3), (0.3, 0.1)])
def test_ratios_are_those_of_valid_and_test(ratios: tuple[float, float], tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=5, per_user=20)
    dataset = load(folder, valid_ratio=ratios[0], test_ratio=ratios[1])
    assert per_user(dataset, "valid") == [20 * ratios[0]] * 5
    assert per_user(dataset, "test") == [20 * ratios[1]] * 5


@pytest.mark.parametrize("ratios", [(0.49, 0.5), (0.01, 0.98), (0.98, 0.01)])
@pytest.mark.parametrize("split", ["user_time", "random"])
def test_extreme_ratios_leave_every_user_a_train_row(split: str, ratios: tuple[float, float], data_dir: Path) -> None:
    dataset = load(data_dir, split=split, valid_ratio=ratios[0], test_ratio=ratios[1])
    assert min(per_user(dataset, "train")) >= 1


@pytest.mark.parametrize("split", PER_USER_SPLITS)
def test_users_with_fewer_than_three_rows_stay_in_train(split: str, tmp_path: Path) -> None:
    rows = [
        ("one", "a", 5, "", "2021-01-01"),
        ("two", "a", 5, "", "2021-01-01"),
        ("two", "b", 5, "", "2021-01-02"),
        ("low", "a", 5, "", "2021-01-01"),
        ("low", "b", 0, "", "2021-01-02"),
        ("low", "c", 0, "", "2021-01-03"),
    ]
    rows += [("many", title, 5, "", f"2020-01-0{day}") for day, title in enumerate("abcdef", start=1)]
    dataset = load(write_small(tmp_path, rows, tuple("abcdef")), split=split)
    assert {user for user, _ in pairs(dataset, "valid", "test")} == {"many"}
    assert {("one", "a"), ("two", "a"), ("two", "b"), ("low", "a")} <= pairs(dataset, "train")


def test_a_split_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    folder = write_small(tmp_path, [(user, title, 5) for user in "uvw" for title in "ab"])
    with pytest.raises(ValueError, match="leaves no training pair; lower cold_item_ratio"):
        load(folder, cold_item_ratio=0.5)  # one title to each of the cold parts


@pytest.mark.parametrize("split", TIME_SPLITS)
def test_missing_times_fall_back_to_the_seeded_random_order(
    split: str, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(data_dir, updated_at="")
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        first, again, other = (load(data_dir, split=split, split_seed=seed) for seed in (3, 3, 4))
    assert "updated_at" in warnings_of(caplog)
    assert "400" in warnings_of(caplog)
    assert split in warnings_of(caplog)
    assert (first.train.nnz, first.valid.nnz, first.test.nnz) == (320, 40, 40)
    for part in ("train", "valid", "test"):
        assert pairs(first, part) == pairs(again, part) != pairs(other, part)


@pytest.mark.parametrize("split", TIME_SPLITS)
@pytest.mark.parametrize("share_timed", [0.05, 0.15, 0.5, 0.95])
def test_some_missing_times_are_told_and_every_part_is_still_filled(
    split: str, share_timed: float, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(1)
    write_tsv(
        data_dir,
        "interactions.tsv",
        [{**row, **({} if rng.random() < share_timed else {"updated_at": ""})}.values() for row in read_rows(data_dir)],
    )
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(data_dir, split=split)
    assert "updated_at" in warnings_of(caplog)
    assert dataset.train.nnz > dataset.valid.nnz > 0
    assert dataset.test.nnz > 0


@pytest.mark.parametrize("share_timed", [0.3, 0.7])
@pytest.mark.parametrize("split", TIME_SPLITS)
def test_the_warning_of_missing_times_says_which_rows_are_in_random_order(
    split: str, share_timed: float, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = read_rows(data_dir)
    write_tsv(
        data_dir,
        "interactions.tsv",
        [
            {**row, **({} if number < share_timed * len(rows) else {"updated_at": ""})}.values()
            for number, row in enumerate(rows)
        ],
    )
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        load(data_dir, split=split)
    everything = split == "global_time" and share_timed < 0.5
    assert ("all rows in a seeded random order" in warnings_of(caplog)) == everything
    assert ("as older than all others" in warnings_of(caplog)) != everything


def test_random_split_needs_no_times(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    rewrite(data_dir, updated_at="")
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        load(data_dir, split="random")
    assert "updated_at" not in warnings_of(caplog)


def test_empty_comments_and_times_everywhere_are_fine(data_dir: Path) -> None:
    rewrite(data_dir, comment="", updated_at="")
    dataset = load(data_dir)
    assert dataset.user_comments.texts == []
    assert len(dataset.user_comments.user_ids) == len(dataset.user_comments.weights) == 0


@pytest.mark.parametrize("ratio", [0.2, 0.5])
@pytest.mark.parametrize("split", SPLITS)
def test_cold_items_lose_every_training_interaction(split: str, ratio: float, data_dir: Path) -> None:
    dataset = load(data_dir, split=split, cold_item_ratio=ratio)
    cold = {part: {item for _, item in pairs(dataset, part)} for part in ("cold_valid", "cold_test")}
    assert not cold["cold_valid"] & cold["cold_test"]
    assert len(cold["cold_valid"]) + len(cold["cold_test"]) == round(30 * ratio)
    assert abs(len(cold["cold_valid"]) - len(cold["cold_test"])) <= 1
    both = cold["cold_valid"] | cold["cold_test"]
    assert not both & {item for _, item in pairs(dataset, "train", "valid", "test")}
    written = {(row["user_id"], row["subject_id"]) for row in read_rows(data_dir)}
    assert pairs(dataset, "cold_valid", "cold_test") == {pair for pair in written if pair[1] in both}
    assert pairs(dataset, *PARTS) == written


def test_no_cold_items_by_default(dataset: Dataset) -> None:
    assert dataset.cold_valid.nnz == dataset.cold_test.nnz == 0


def test_cold_items_are_drawn_by_the_seed(data_dir: Path) -> None:
    first, again, other = (load(data_dir, cold_item_ratio=0.3, split_seed=seed) for seed in (3, 3, 4))
    assert pairs(first, "cold_test") == pairs(again, "cold_test") != pairs(other, "cold_test")


# --- no valid part ---


@pytest.mark.parametrize("cold_item_ratio", [0.0, 0.2])
@pytest.mark.parametrize("split", SPLITS)
def test_valid_ratio_0_leaves_valid_empty_and_test_as_it_was(
    split: str, cold_item_ratio: float, data_dir: Path
) -> None:
    some, none = (
        load(data_dir, split=split, valid_ratio=ratio, cold_item_ratio=cold_item_ratio) for ratio in (0.1, 0.0)
    )
    assert none.valid.nnz == 0 < some.valid.nnz
    assert pairs(none, "test") == pairs(some, "test")
    assert pairs(none, "train") == pairs(some, "train", "valid")


# --- fewer train rows a user ---


@pytest.mark.parametrize("cold_item_ratio", [0.0, 0.3])
@pytest.mark.parametrize("split", SPLITS)
def test_train_rows_per_user_cuts_train_and_nothing_else(split: str, cold_item_ratio: float, tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=12)
    whole, cut = (load(folder, split=split, cold_item_ratio=cold_item_ratio, train_rows_per_user=n) for n in (0, 3))
    assert per_user(cut, "train") == [min(n, 3) for n in per_user(whole, "train")]
    assert max(per_user(whole, "train")) > 3
    assert pairs(cut, "train") < pairs(whole, "train")
    for part in (*PARTS[1:], "seen"):
        assert pairs(cut, part) == pairs(whole, part), part
    dropped = pairs(whole, "train") - pairs(cut, "train")
    assert pairs(cut, "excluded") == dropped
    assert cut.raw_user_ids == whole.raw_user_ids
    assert cut.raw_item_ids == whole.raw_item_ids
    assert (cut.facts["excluded"], cut.facts["positives"]) == (len(dropped), len(pairs(cut, *PARTS)))


def test_comments_of_rows_beyond_train_rows_per_user_vanish(tmp_path: Path) -> None:
    dataset = load(write_timed(tmp_path, n_users=30, per_user=12), train_rows_per_user=2)
    assert set(dataset.user_comments.texts) == {f"{user} {item}" for user, item in pairs(dataset, "train")}
    assert len(dataset.user_comments.texts) == 60


def test_train_rows_per_user_are_drawn_by_the_seed(tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=12)
    first, again, other = (load(folder, train_rows_per_user=3, split_seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert pairs(first, "train") != pairs(other, "train")
    assert pairs(first, "test") == pairs(other, "test")


def test_train_rows_per_user_are_drawn_at_random_not_by_age(tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=200, per_user=12)
    kept = pairs(load(folder, train_rows_per_user=1), "train")
    oldest_first = sorted(read_rows(folder), key=lambda row: (row["user_id"], row["updated_at"]))
    places = Counter(
        number % 12 for number, row in enumerate(oldest_first) if (row["user_id"], row["subject_id"]) in kept
    )
    assert set(places) == set(range(10))  # the other two are valid and test
    assert max(places.values()) < 45  # 20 expected


def test_train_rows_per_user_above_what_there_is_changes_nothing(data_dir: Path) -> None:
    assert load(data_dir, train_rows_per_user=100).fingerprint == load(data_dir).fingerprint
    assert load(data_dir, train_rows_per_user=100).facts["excluded"] == 0


def test_rows_below_min_rate_are_aside_beside_the_cut(tmp_path: Path) -> None:
    folder = write_small(tmp_path, [("u", title, 9 if title < "d" else 1) for title in "abcdef"], tuple("abcdef"))
    dataset = load(folder, min_rate=5, train_rows_per_user=1, split="random", valid_ratio=0)
    assert [len(pairs(dataset, part)) for part in ("train", "test")] == [1, 1]
    assert pairs(dataset, "seen") == {("u", title) for title in "abcdef"}
    assert pairs(dataset, "excluded") == pairs(dataset, "seen") - pairs(dataset, "train", "test")
