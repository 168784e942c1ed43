"""Reading, cleaning, splitting, the graph and the negatives (DESIGN section 3)."""

import csv
import dataclasses
import gzip
import itertools
import json
import logging
import math
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from conftest import dataset_of, write_data, write_tsv

from config import get_config
from data_loader import Dataset, load_dataset, normalized_adjacency
from dataset.readers import parse_tags, parse_times
from dataset.splits import PARTS
from llm_embedding import text_vectors
from training.losses import sample_triples

SPLITS = ("user_time", "leave_one_out", "random", "global_time")
TIME_SPLITS = ("user_time", "leave_one_out", "global_time")
PER_USER_SPLITS = ("user_time", "leave_one_out", "random")
DISJOINT = (*PARTS, "excluded")
DATASETS = Path(__file__).resolve().parents[2] / "shared" / "datasets"
MAL, GOWALLA = DATASETS / "mal-anime", DATASETS / "gowalla"

Pairs = set[tuple[str, str]]
Triples = tuple[np.ndarray, np.ndarray, np.ndarray]


def load(folder: Path, **overrides: Any) -> Dataset:
    return load_dataset(get_config({"data_dir": str(folder), **overrides}))


def write_small(folder: Path, rows: list[tuple[Any, ...]], titles: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """Write these interaction rows, padded with empty cells, and a bare title for each id."""
    write_tsv(folder, "anime.tsv", ((title, f"name of {title}", "", "") for title in titles))
    write_tsv(folder, "interactions.tsv", (row + ("",) * (5 - len(row)) for row in rows))
    return folder


def write_timed(folder: Path, n_users: int, per_user: int, n_items: int = 40) -> Path:
    """Write users whose rows all have times of their own, in shuffled file order, each comment "user item"."""
    rng = np.random.default_rng(5)
    minutes = rng.permutation(n_users * per_user)
    rows = []
    for user in range(n_users):
        for place, item in enumerate(rng.choice(n_items, per_user, replace=False)):
            minute = int(minutes[user * per_user + place])
            rows.append(
                (
                    f"u{user}",
                    f"s{item}",
                    1 + minute % 10,
                    f"u{user} s{item}",
                    f"2020-01-{1 + minute // 1440:02d} {minute // 60 % 24:02d}:{minute % 60:02d}:00",
                )
            )
    return write_small(folder, rows, tuple(f"s{i}" for i in range(n_items)))


def read_rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "interactions.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def rewrite(folder: Path, **cells: str) -> None:
    """Set columns of interactions.tsv to one value in every row."""
    write_tsv(folder, "interactions.tsv", [{**row, **cells}.values() for row in read_rows(folder)])


def pairs(dataset: Dataset, *parts: str) -> Pairs:
    """Return the (raw user id, raw item id) pairs of these parts."""
    return {
        (dataset.raw_user_ids[u], dataset.raw_item_ids[i])
        for part in parts
        for u, i in np.argwhere(getattr(dataset, part).toarray())
    }


def per_user(dataset: Dataset, part: str) -> list[int]:
    return np.diff(getattr(dataset, part).indptr).tolist()


def load_with_every_part(folder: Path) -> Dataset:
    """Load with cold titles, and rows that are cut from train or below min_rate."""
    dataset = load(folder, cold_item_ratio=0.2, min_rate=4, train_rows_per_user=4)
    assert all(pairs(dataset, part) for part in DISJOINT)
    return dataset


def text_of(dataset: Dataset, subject_id: str) -> str:
    return dataset.item_texts[dataset.raw_item_ids.index(subject_id)]


def warnings_of(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(
        record.getMessage()
        for record in caplog.records
        if record.name == "aglrec" and record.levelno >= logging.WARNING
    )


def random_train(n_users: int, n_items: int, density: float, seed: int = 0) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.random.default_rng(seed).random((n_users, n_items)) < density).astype(np.float32))
    matrix.sort_indices()
    return matrix


# --- tags ---


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ('["mecha", "slow life"]', ["mecha", "slow life"]),
        ("['mecha', 'slow life']", ["mecha", "slow life"]),
        ('["a, b", "c;d|e、f"]', ["a, b", "c;d|e、f"]),
        ("""["it's", 'x']""", ["it's", "x"]),
        ('["搞笑"]', ["搞笑"]),
        (r'["\u641e\u7b11"]', ["搞笑"]),
        ("['搞笑', '日常']", ["搞笑", "日常"]),
        ("a,b", ["a", "b"]),
        ("a;b", ["a", "b"]),
        ("a|b", ["a", "b"]),
        ("搞笑、日常", ["搞笑", "日常"]),
        ("slice of life, mecha", ["slice of life", "mecha"]),
        ("a , b;c | d、e", ["a", "b", "c", "d", "e"]),
        ("a,,b,", ["a", "b"]),
        ("Sci-Fi", ["Sci-Fi"]),
        ("", []),
        ("[]", []),
    ],
)
def test_tags_formats(cell: str, tags: list[str]) -> None:
    assert parse_tags(cell) == tags


@pytest.mark.parametrize("cell", ["[broken", ",;", "|", "、、", '["a", ', "[a b]", "['a'", "[" * 3000])
def test_tags_that_parse_as_nothing_are_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="tags_name"):
        parse_tags(cell)


def test_tags_reach_the_item_text_in_every_format(tmp_path: Path) -> None:
    cells = ['["red fox", "owl"]', "['red fox', 'owl']", *(f"red fox{mark}owl" for mark in ",;|、")]
    write_small(tmp_path, [("u", "0", 5)])
    write_tsv(tmp_path, "anime.tsv", ((str(row), f"name{row}", cell, "a story") for row, cell in enumerate(cells)))
    texts = load(tmp_path).item_texts
    assert all("red fox" in text and "owl" in text and "a story" in text for text in texts)
    assert [f"name{row}" in text for row, text in enumerate(texts)] == [True] * len(cells)
    assert not any(mark in text for mark in "[]\"'" for text in texts)


# --- reading ---


def test_ids_stay_strings_whatever_they_look_like(tmp_path: Path) -> None:
    users, titles = ("007", "1e3", "1.0", "NA", "null", "True", "7"), ("08", "1e5", "nan", "None", "8")
    folder = write_small(tmp_path, [(user, title, 5) for user in users for title in titles], titles)
    dataset = load(folder)
    assert sorted(dataset.raw_user_ids) == sorted(users)
    assert sorted(dataset.raw_item_ids) == sorted(titles)
    assert len(pairs(dataset, "seen")) == len(users) * len(titles)


def test_item_rows_names_and_texts_belong_together(dataset: Dataset) -> None:
    assert sorted(dataset.raw_item_ids) == sorted(f"s{i}" for i in range(30))
    for raw, name, text in zip(dataset.raw_item_ids, dataset.item_names, dataset.item_texts, strict=True):
        assert name == f"title {raw[1:]}"
        assert f"story of {raw[1:]}" in text.split("\n")


def test_every_row_of_the_file_arrives_as_the_pair_it_names(data_dir: Path) -> None:
    written = {(row["user_id"], row["subject_id"]) for row in read_rows(data_dir)}
    dataset = load(data_dir)
    assert pairs(dataset, "seen") == pairs(dataset, *PARTS) == written


def test_matrices_are_float32_csr_of_ones_and_disjoint(data_dir: Path) -> None:
    dataset = load_with_every_part(data_dir)
    for name in (*DISJOINT, "seen"):
        part = getattr(dataset, name)
        assert sp.issparse(part)
        assert part.format == "csr"
        assert part.dtype == np.float32
        assert part.shape == (dataset.n_users, dataset.n_items) == (40, 30)
        assert (part.data == 1).all()
        assert part.has_sorted_indices
    assert not any(pairs(dataset, a) & pairs(dataset, b) for a, b in itertools.combinations(DISJOINT, 2))


@pytest.mark.parametrize("name", ["anime.tsv", "interactions.tsv", "user.tsv"])
def test_gz_reads_like_the_plain_file(name: str, data_dir: Path) -> None:
    write_tsv(data_dir, "user.tsv", [("u3", "Ann", "2019-01-01")])
    plain = load(data_dir)
    (data_dir / f"{name}.gz").write_bytes(gzip.compress((data_dir / name).read_bytes()))
    (data_dir / name).unlink()
    packed = load(data_dir)
    assert packed.fingerprint == plain.fingerprint
    assert (packed.item_texts, packed.user_names) == (plain.item_texts, plain.user_names)
    assert "Ann" in packed.user_names


@pytest.mark.parametrize("name", ["anime.tsv", "interactions.tsv"])
def test_bom_is_no_part_of_the_first_column(name: str, data_dir: Path) -> None:
    plain = load(data_dir)
    (data_dir / name).write_bytes(b"\xef\xbb\xbf" + (data_dir / name).read_bytes())
    assert load(data_dir).fingerprint == plain.fingerprint


def test_bom_inside_gz(data_dir: Path) -> None:
    plain = load(data_dir)
    path = data_dir / "anime.tsv"
    (data_dir / "anime.tsv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))
    path.unlink()
    assert load(data_dir).fingerprint == plain.fingerprint


def test_crlf_reads_like_lf(data_dir: Path) -> None:
    rewrite(data_dir, updated_at="2020-05-05")
    plain = load(data_dir)
    for name in ("anime.tsv", "interactions.tsv"):
        (data_dir / name).write_bytes((data_dir / name).read_bytes().replace(b"\n", b"\r\n"))
    crlf = load(data_dir)
    assert crlf.fingerprint == plain.fingerprint
    assert crlf.item_texts == plain.item_texts
    assert crlf.user_comments.texts == plain.user_comments.texts


def test_quoted_line_breaks_tabs_and_quotes_stay_in_the_comment(tmp_path: Path) -> None:
    comments = ['one\n\n"two"\tthree', 'he said "so"', 'a "" b', '"', "it's\ta\ttab"]
    folder = write_small(tmp_path, [(f"u{row}", "a", 5, comment) for row, comment in enumerate(comments)])
    dataset = load(folder)
    assert dataset.n_users == len(comments)
    assert {
        dataset.raw_user_ids[user]: text
        for user, text in zip(dataset.user_comments.user_ids, dataset.user_comments.texts, strict=True)
    } == {f"u{row}": comment for row, comment in enumerate(comments)}


def test_quotes_inside_an_unquoted_comment_stay(tmp_path: Path) -> None:
    folder = write_small(tmp_path, [])
    (folder / "interactions.tsv").write_text(
        'user_id\tsubject_id\trate\tcomment\tupdated_at\nu\ta\t5\tit was "ok", 5" long\t\nv\tb\t5\t\t\n',
        encoding="utf-8",
    )
    dataset = load(folder)
    assert dataset.user_comments.texts == ['it was "ok", 5" long']
    assert pairs(dataset, "train") == {("u", "a"), ("v", "b")}


def test_unicode_line_separators_end_no_row(tmp_path: Path) -> None:
    comment = "one\u2028two\u0085three\x0bfour"
    dataset = load(write_small(tmp_path, [("u", "a", 5, comment), ("v", "b", 5)]))
    assert dataset.user_comments.texts == [comment]
    assert pairs(dataset, "train") == {("u", "a"), ("v", "b")}


def test_extra_columns_and_another_order_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "anime.tsv").write_text(
        "score\tsummary\tname\tyear\ttags_name\tsubject_id\nSECRET\ta tale\tFox\tSECRET\tx,y\ta\n", encoding="utf-8"
    )
    (tmp_path / "interactions.tsv").write_text(
        "extra\tupdated_at\tcomment\trate\tsubject_id\tuser_id\tmood\nSECRET\t2020-01-01\tfine\t8\ta\tu\tSECRET\n",
        encoding="utf-8",
    )
    dataset = load(tmp_path)
    assert pairs(dataset, "train") == {("u", "a")}
    assert dataset.item_names == ["Fox"]
    assert dataset.user_comments.texts == ["fine"]
    assert dataset.user_comments.weights.tolist() == [8.0]
    assert "SECRET" not in text_of(dataset, "a")


def test_blank_lines_are_no_rows(data_dir: Path) -> None:
    plain = load(data_dir)
    path = data_dir / "interactions.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("\n", "\n\n"), encoding="utf-8")
    assert load(data_dir).fingerprint == plain.fingerprint


def test_user_tsv_is_optional_and_names_whom_it_knows(tmp_path: Path) -> None:
    folder = write_small(tmp_path, [("u1", "a", 5), ("u2", "a", 5)])
    assert load(folder).user_names == ["u1", "u2"]
    write_tsv(folder, "user.tsv", [("u9", "nobody", ""), ("u2", "Ann", "2019-01-01")])
    dataset = load(folder)
    assert dict(zip(dataset.raw_user_ids, dataset.user_names, strict=True)) == {"u1": "u1", "u2": "Ann"}


def test_titles_nobody_collected_keep_a_row(tmp_path: Path) -> None:
    dataset = load(write_small(tmp_path, [("u", "b", 5)], ("z", "b", "y", "x")))
    assert sorted(dataset.raw_item_ids) == ["b", "x", "y", "z"]
    assert dataset.train.shape == (1, 4)
    assert "name of y" in text_of(dataset, "y")


# --- positives, and what is dropped ---


@pytest.mark.parametrize(("min_rate", "positives"), [(0, "abcde"), (1, "cde"), (5, "de"), (5.5, "e"), (7, "e")])
def test_rows_below_min_rate_are_seen_yet_no_positives(min_rate: float, positives: str, tmp_path: Path) -> None:
    rows = [("u", title, rate) for title, rate in zip("abcde", ("", 0, 1, 5, 7), strict=True)]
    dataset = load(write_small(tmp_path, rows, tuple("abcdef")), min_rate=min_rate)
    assert pairs(dataset, *PARTS) == {("u", title) for title in positives}
    assert pairs(dataset, "seen") == {("u", title) for title in "abcde"}


def test_unrated_counts_as_no_positive_by_default(tmp_path: Path) -> None:
    dataset = load(write_small(tmp_path, [("u", "a", ""), ("u", "b", 0), ("u", "c", 1)]))
    assert pairs(dataset, "train") == {("u", "c")}


def test_user_without_a_positive_keeps_a_row(tmp_path: Path) -> None:
    dataset = load(write_small(tmp_path, [("u", "a", 0), ("v", "b", 5)]))
    assert sorted(dataset.raw_user_ids) == ["u", "v"]
    assert pairs(dataset, *PARTS) == {("v", "b")}


def test_unknown_subjects_are_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("u", "a", 5), ("u", "ghost", 5), ("v", "b", 5), ("w", "ghost", 5), ("w", "phantom", 5)]
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(write_small(tmp_path, rows))
    assert pairs(dataset, "seen") == {("u", "a"), ("v", "b")}
    assert sorted(dataset.raw_user_ids) == ["u", "v"]
    assert "interactions.tsv" in warnings_of(caplog)
    assert "3 rows of unknown titles" in warnings_of(caplog)
    assert 3 in dataset.facts.values()


@pytest.mark.parametrize("newest_last", [True, False])
def test_duplicate_pair_newest_stays(newest_last: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("u", "a", 2, "old", "2020-12-31"), ("u", "a", 9, "new", "2021-01-01T00:00:01")]
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(write_small(tmp_path, rows if newest_last else rows[::-1]), min_rate=5)
    assert pairs(dataset, "train") == pairs(dataset, "seen") == {("u", "a")}
    assert dataset.user_comments.texts == ["new"]
    assert dataset.user_comments.weights.tolist() == [9.0]
    assert "1 repeated pairs" in warnings_of(caplog)


def test_duplicate_pair_whose_newest_rate_is_low_is_no_positive(tmp_path: Path) -> None:
    rows = [("u", "a", 2, "", "2021-01-01"), ("u", "a", 9, "", "2020-01-01"), ("u", "b", 9, "", "")]
    dataset = load(write_small(tmp_path, rows), min_rate=5)
    assert pairs(dataset, *PARTS) == {("u", "b")}
    assert pairs(dataset, "seen") == {("u", "a"), ("u", "b")}


def test_duplicates_compare_times_not_texts(tmp_path: Path) -> None:
    """As instants 23:00-05:00 is the later one; as text it is the earlier."""
    rows = [("u", "a", 9, "new", "2020-01-01T23:00:00-05:00"), ("u", "a", 2, "old", "2020-01-02T03:00:00Z")]
    assert load(write_small(tmp_path, rows)).user_comments.texts == ["new"]


def test_repeated_subject_id_is_reported_and_kept_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(write_small(tmp_path, [("u", "b", 5)], ("a", "b", "a", "c")))
    assert sorted(dataset.raw_item_ids) == ["a", "b", "c"]
    assert pairs(dataset, "train") == {("u", "b")}
    assert "subject_id" in warnings_of(caplog)


def test_unparsable_times_are_counted_and_the_row_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("u", "a", 5, "", "yesterday-ish"), ("v", "b", 5, "", "2020-13-45"), ("w", "c", 5, "", "2020-01-01")]
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(write_small(tmp_path, rows))
    assert len(pairs(dataset, "train")) == 3
    assert "2 unparsable times" in warnings_of(caplog)


def test_clean_data_raises_no_warning(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        load(data_dir)
    assert warnings_of(caplog) == ""


# --- times ---


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("1970-01-01", 0),
        ("2020-01-01", 1577836800),
        ("2020-01-01 10:00:00", 1577872800),
        ("2020-01-01T10:00:00", 1577872800),
        ("2020-01-01T10:00:00Z", 1577872800),
        ("2020-01-01T10:00:00+02:00", 1577865600),
        ("2020-01-01 10:00:00-05:00", 1577890800),
        ("2020-01-01 10:00:00.25", 1577872800.25),
        ("1577872800", 1577872800),
        ("1577872800.5", 1577872800.5),
        ("1969-12-31 23:59:59", -1),
    ],
)
def test_times_that_can_be_read(cell: str, seconds: float) -> None:
    times, bad = parse_times(pd.Series([cell]))
    assert times.tolist() == [pytest.approx(seconds, abs=1e-3)]
    assert bad == 0


@pytest.mark.parametrize("cell", ["junk", "2020-13-01", "2020-02-30", "nan", "inf", "noon", "None", "now", "today"])
def test_junk_times_are_nan_and_counted(cell: str) -> None:
    times, bad = parse_times(pd.Series(["2020-01-01", cell, ""]))
    assert np.isnan(times.to_numpy()).tolist() == [False, True, True]
    assert bad == 1


@pytest.mark.parametrize("cell", ["9999-12-31", "2300-06-01", "0001-01-01", "1500-01-01T00:00:00Z", "99999-01-01"])
def test_year_far_away_is_read_or_counted(cell: str) -> None:
    times, bad = parse_times(pd.Series(["2020-01-01", cell, "1577836801"]))
    assert times[0] == 1577836800
    assert times[2] == 1577836801
    assert bad == int(np.isnan(times[1]))
    if not bad:
        assert times[1] == (np.datetime64(cell.removesuffix("Z"), "s") - np.datetime64(0, "s")).astype(float)


def test_mixed_forms_keep_their_places() -> None:
    cells = pd.Series(["2020-01-01", "", "junk", "1577836801", "2020-01-01T02:00:02+02:00"], index=[4, 3, 2, 1, 9])
    times, bad = parse_times(cells)
    assert times.index.tolist() == [4, 3, 2, 1, 9]
    assert times.fillna(-1).tolist() == [1577836800, -1, -1, 1577836801, 1577836802]
    assert bad == 1


def test_no_times_at_all() -> None:
    times, bad = parse_times(pd.Series(["", "", ""]))
    assert times.isna().all()
    assert bad == 0


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


# --- Dataset ---


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(DISJOINT, 2)))
def test_construction_refuses_overlapping_parts(a: str, b: str, data_dir: Path) -> None:
    dataset = load_with_every_part(data_dir)
    stolen = sp.csr_matrix(dataset.seen.shape, dtype=np.float32).tolil()
    stolen[tuple(np.argwhere(getattr(dataset, a))[0])] = 1
    with pytest.raises(ValueError, match="disjoint"):
        dataclasses.replace(dataset, **{b: (getattr(dataset, b) + stolen.tocsr()).tocsr()})


@pytest.mark.parametrize("part", DISJOINT)
def test_construction_refuses_a_pair_that_is_not_seen(part: str, data_dir: Path) -> None:
    dataset = load_with_every_part(data_dir)
    seen = dataset.seen.copy().tolil()
    seen[tuple(np.argwhere(getattr(dataset, part))[0])] = 0
    with pytest.raises(ValueError, match="seen"):
        dataclasses.replace(dataset, seen=seen.tocsr())


@pytest.mark.parametrize("part", [*DISJOINT, "seen"])
def test_construction_refuses_what_is_not_binary_float32_of_the_shape(part: str, dataset: Dataset) -> None:
    matrix = dataset.seen if part == "seen" else dataset.train
    for bad in (matrix * 2, matrix.astype(np.float64), matrix[:, :-1], matrix[:-1]):
        with pytest.raises(ValueError, match=part):
            dataclasses.replace(dataset, **{part: bad})


def test_dataset_is_frozen(dataset: Dataset) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.train = dataset.test


@pytest.mark.parametrize("overrides", [{"split": split} for split in SPLITS] + [{"cold_item_ratio": 0.3}])
def test_comments_are_those_of_train_rows_weighted_by_their_rates(overrides: dict[str, Any], tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=20, per_user=12)
    dataset = load(folder, min_rate=3, **overrides)
    rate = {row["comment"]: float(row["rate"]) for row in read_rows(folder)}
    user_ids, texts, weights = dataset.user_comments
    assert len(user_ids) == len(texts) == len(weights)
    assert sorted(texts) == sorted(f"{user} {item}" for user, item in pairs(dataset, "train"))
    assert [dataset.raw_user_ids[user] for user in user_ids] == [text.split()[0] for text in texts]
    assert weights.dtype == np.float32
    assert weights.tolist() == [rate[text] for text in texts]


def test_comment_without_a_rate_still_counts(tmp_path: Path) -> None:
    dataset = load(write_small(tmp_path, [("u", "a", "", "hm"), ("v", "b", 8, "ha")]), min_rate=0)
    weights = dict(zip(dataset.user_comments.texts, dataset.user_comments.weights.tolist(), strict=True))
    assert weights["ha"] == 8
    assert math.isfinite(weights["hm"])
    assert weights["hm"] > 0


# --- what is masked without being learned ---


@pytest.mark.parametrize("split", SPLITS)
def test_rows_below_min_rate_are_aside_where_they_are_older_than_the_test(split: str, tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=30, per_user=12)
    rng = np.random.default_rng(2)
    rows = [
        {**row, **({"updated_at": ""} if float(row["rate"]) < 5 and rng.random() < 0.1 else {})}
        for row in read_rows(folder)
    ]
    write_tsv(folder, "interactions.tsv", [row.values() for row in rows])
    dataset = load(folder, split=split, min_rate=5)
    time = {(row["user_id"], row["subject_id"]): row["updated_at"] for row in rows}
    low = {(row["user_id"], row["subject_id"]) for row in rows if float(row["rate"]) < 5}
    tests = pairs(dataset, "test")
    older = set()
    for pair in low:  # written alike, times are in order as text, and none comes first
        of_whom = tests if split == "global_time" else {other for other in tests if other[0] == pair[0]}
        if split == "random" or all(time[pair] < time[other] for other in of_whom):
            older.add(pair)
    assert pairs(dataset, "excluded") == older
    assert any(time[pair] == "" for pair in older)
    assert (low == older) == (split == "random")
    assert pairs(dataset, *PARTS) == time.keys() - low
    assert pairs(dataset, "seen") == time.keys()


def test_where_most_times_are_missing_a_date_tells_no_age(tmp_path: Path) -> None:
    """With global_time all positives are then in random order, so that every other row counts as older."""
    folder = write_timed(tmp_path, n_users=30, per_user=12)
    rows = [{**row, **({"updated_at": ""} if number % 3 else {})} for number, row in enumerate(read_rows(folder))]
    write_tsv(folder, "interactions.tsv", [row.values() for row in rows])
    low = {(row["user_id"], row["subject_id"]) for row in rows if float(row["rate"]) < 5}
    assert pairs(load(folder, split="global_time", min_rate=5), "excluded") == low


@pytest.mark.parametrize("split", TIME_SPLITS)
def test_a_row_as_old_as_the_first_of_the_test_is_no_older(split: str, tmp_path: Path) -> None:
    rows = [("u", title, 9, "", f"2020-01-0{day}") for day, title in enumerate("abcd", start=1)]
    rows += [
        ("u", "e", 1, "", "2020-01-04"),
        ("u", "f", 1, "", "2020-01-03"),
        ("v", "a", 9, "", "2020-01-02"),
        ("v", "b", 1, "", "2020-01-09"),
        ("v", "c", 1, "", "2020-01-01"),
    ]
    dataset = load(write_small(tmp_path, rows, tuple("abcdef")), split=split, min_rate=5)
    assert pairs(dataset, "test") == {("u", "d")}
    newer_of_v = set() if split == "global_time" else {("v", "b")}  # who else has no test row to be newer than
    assert pairs(dataset, "excluded") == {("u", "f"), ("v", "c")} | newer_of_v


@pytest.mark.parametrize(
    ("part", "before"), [("valid", ("train", "excluded")), ("test", ("train", "excluded", "valid"))]
)
def test_known_is_what_came_before_and_aside(part: str, before: tuple[str, ...], data_dir: Path) -> None:
    dataset = load_with_every_part(data_dir)
    known = dataset.masked_for(part)
    assert known.toarray().tolist() == sum(getattr(dataset, name).toarray() for name in before).tolist()
    assert (known.shape, known.dtype, known.max()) == (dataset.train.shape, np.float32, 1)


def test_warm_pairs_are_those_of_titles_with_a_train_row() -> None:
    drawn = np.random.default_rng(0).integers(5, size=(9, 12))
    drawn[:, [3, 7, 11]] = drawn[:, [3, 7, 11]].clip(2)  # valid, test and aside are no history
    train, valid, test, aside = (sp.csr_matrix((drawn == code).astype(np.float32)) for code in (1, 2, 3, 4))
    dataset = dataset_of(train, valid=valid, test=test, excluded=aside)
    assert dataset.warm_items.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    for part, code in (("valid", 2), ("test", 3)):
        warm = dataset.warm_pairs(part)
        expected = [pair for pair in np.argwhere(drawn == code).tolist() if pair[1] in dataset.warm_items]
        assert np.argwhere(warm).tolist() == expected
        assert warm.nnz == len(expected) < getattr(dataset, part).nnz  # no explicit zeros, which indptr would count


# --- fingerprint ---


def test_fingerprint_is_stable_over_loads(data_dir: Path) -> None:
    assert load(data_dir).fingerprint == load(data_dir).fingerprint


def test_fingerprint_ignores_what_leaves_the_split_alone(tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=10, per_user=10)
    before = load(folder).fingerprint
    assert load(folder, split_seed=9).fingerprint == before, "distinct times leave nothing to the seed"
    rewrite(folder, comment="another", rate="4")
    assert load(folder, epochs=3, lr=0.5).fingerprint == before


@pytest.mark.parametrize(
    "overrides",
    [{"split": "random"}, {"split": "global_time"}, {"valid_ratio": 0.2}, {"cold_item_ratio": 0.2}, {"min_rate": 6}],
)
def test_fingerprint_changes_with_the_split(overrides: dict[str, Any], data_dir: Path) -> None:
    assert load(data_dir, **overrides).fingerprint != load(data_dir).fingerprint


@pytest.mark.parametrize(
    "overrides", [{"split": "random"}, {"split": "global_time", "cold_item_ratio": 0.2}, {"train_rows_per_user": 3}]
)
def test_fingerprint_changes_with_the_seed_of_the_split_and_not_of_the_model(
    overrides: dict[str, Any], data_dir: Path
) -> None:
    before = load(data_dir, **overrides).fingerprint
    assert load(data_dir, **overrides, seed=1).fingerprint == before
    assert load(data_dir, **overrides, split_seed=1).fingerprint != before


def test_fingerprint_tells_valid_from_test(dataset: Dataset) -> None:
    assert dataclasses.replace(dataset, valid=dataset.test, test=dataset.valid).fingerprint != dataset.fingerprint


@pytest.mark.parametrize("part", DISJOINT)
def test_fingerprint_covers_every_part(part: str, data_dir: Path) -> None:
    dataset = load_with_every_part(data_dir)
    fewer = getattr(dataset, part).copy()
    fewer.data[0] = 0
    fewer.eliminate_zeros()
    assert dataclasses.replace(dataset, **{part: fewer}).fingerprint != dataset.fingerprint


def test_fingerprint_changes_with_the_catalogue(data_dir: Path) -> None:
    before = load(data_dir).fingerprint
    with open(data_dir / "anime.tsv", "a", encoding="utf-8") as file:
        file.write("s99\tnew\t\t\n")
    assert load(data_dir).fingerprint != before


def test_fingerprint_changes_with_an_id(dataset: Dataset) -> None:
    renamed = dataclasses.replace(dataset, raw_user_ids=["other", *dataset.raw_user_ids[1:]])
    assert renamed.fingerprint != dataset.fingerprint


# --- graph ---


def dense_adjacency(train: sp.csr_matrix) -> np.ndarray:
    """Compute D^-1/2 A D^-1/2 of He et al. 2020 the plain way, in float64; 0 where a degree is 0."""
    n_users, n_items = train.shape
    adjacency = np.zeros((n_users + n_items,) * 2)
    adjacency[:n_users, n_users:] = train.toarray()
    adjacency += adjacency.T
    degrees = adjacency.sum(axis=1)
    scale = np.where(degrees > 0, 1 / np.sqrt(np.where(degrees > 0, degrees, 1)), 0)
    return scale[:, None] * adjacency * scale


@pytest.mark.parametrize(("shape", "density"), [((7, 5), 0.4), ((5, 9), 0.2), ((20, 30), 0.05), ((3, 4), 1.0)])
def test_adjacency_equals_the_dense_formula(shape: tuple[int, int], density: float) -> None:
    train = random_train(*shape, density)
    adjacency = normalized_adjacency(train)
    assert adjacency.layout == torch.sparse_csr
    assert adjacency.dtype == torch.float32
    assert adjacency.crow_indices().dtype == adjacency.col_indices().dtype == torch.int32
    np.testing.assert_allclose(adjacency.to_dense().numpy(), dense_adjacency(train), rtol=1e-6)


def test_adjacency_with_nodes_of_degree_zero() -> None:
    train = sp.csr_matrix(np.array([[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]], np.float32))
    dense = normalized_adjacency(train).to_dense().numpy()
    np.testing.assert_allclose(dense, dense_adjacency(train), rtol=1e-6)
    assert np.isfinite(dense).all()
    assert dense[1, 4] == pytest.approx(1 / math.sqrt(2))
    assert dense[1, 6] == pytest.approx(1 / 2)


def test_adjacency_of_a_real_split_multiplies(dataset: Dataset) -> None:
    adjacency = normalized_adjacency(dataset.train)
    vectors = torch.randn(dataset.n_users + dataset.n_items, 3, generator=torch.Generator().manual_seed(0))
    expected = dense_adjacency(dataset.train) @ vectors.numpy().astype(float)
    np.testing.assert_allclose((adjacency @ vectors).numpy(), expected, atol=1e-5)


# --- negatives ---


def held_out(dataset: Dataset) -> set[tuple[int, int]]:
    return {tuple(pair) for part in (dataset.valid, dataset.test) for pair in np.argwhere(part.toarray()).tolist()}


def sample_within(train: sp.csr_matrix, seed: int = 0, seconds: float = 20) -> Triples:
    """Call sample_triples, and fail instead of hanging where it does not end."""
    found: list[Any] = []
    rng = np.random.default_rng(seed)
    thread = threading.Thread(target=lambda: found.append(sample_triples(train, rng)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "sample_triples did not end (or raised)"
    return found[0]


def test_every_train_pair_is_drawn_exactly_once(dataset: Dataset) -> None:
    user_ids, pos_items, neg_items = sample_triples(dataset.train, np.random.default_rng(0))
    drawn = sorted(zip(user_ids.tolist(), pos_items.tolist(), strict=True))
    assert drawn == [tuple(pair) for pair in np.argwhere(dataset.train.toarray()).tolist()]
    assert user_ids.dtype == pos_items.dtype == neg_items.dtype == np.int64
    assert user_ids.shape == pos_items.shape == neg_items.shape


def test_pairs_come_in_random_order(dataset: Dataset) -> None:
    user_ids = sample_triples(dataset.train, np.random.default_rng(0))[0]
    assert (np.diff(user_ids) < 0).mean() > 0.3


@pytest.mark.parametrize("density", [0.05, 0.5, 0.95])
def test_negatives_are_trained_items_the_user_has_not(density: float) -> None:
    dense = random_train(50, 40, density, seed=2).toarray()
    dense[:, ::4] = 0  # every fourth item has no train interaction
    train = sp.csr_matrix(dense)
    trained = np.flatnonzero(train.sum(axis=0))
    for epoch in range(5):
        user_ids, _, neg_items = sample_within(train, seed=epoch)
        assert np.isin(neg_items, trained).all()
        assert not np.asarray(train[user_ids, neg_items]).any()


def test_held_out_items_are_drawn_like_any_other(dataset: Dataset) -> None:
    """Sparing them would tell the model what is held out: their share must be that of the legal pairs."""
    drawn: Counter[tuple[int, int]] = Counter()
    rng = np.random.default_rng(0)
    for _ in range(100):
        user_ids, _, neg_items = sample_triples(dataset.train, rng)
        drawn.update(zip(user_ids.tolist(), neg_items.tolist(), strict=True))
    hidden = held_out(dataset)
    trained = np.bincount(dataset.train.indices, minlength=dataset.n_items) > 0
    legal = (dataset.train.toarray() == 0) & trained
    weights = np.diff(dataset.train.indptr)[:, None] * legal / legal.sum(axis=1, keepdims=True)
    expected = 100 * sum(weights[pair] for pair in hidden)
    assert sum(drawn[pair] for pair in hidden) == pytest.approx(expected, rel=0.1)


def test_negatives_are_uniform() -> None:
    """User 0 has half of the 40 items, user 1 all of them: user 0's negatives are uniform over the other half."""
    train = sp.csr_matrix(np.stack([np.arange(40) % 2, np.ones(40)]).astype(np.float32))
    rng = np.random.default_rng(0)
    counts = np.zeros(40)
    for _ in range(500):
        counts += np.bincount(sample_triples(train, rng)[2], minlength=40)
    assert counts.sum() == 500 * 20
    assert (counts[1::2] == 0).all()
    chi_square = ((counts[::2] - 500) ** 2 / 500).sum()
    assert chi_square < 60, "19 degrees of freedom: mean 19, the 99.999th percentile is 58"


def test_popular_items_are_no_likelier_negatives() -> None:
    """Item 0 has 30 train users, items 1 to 5 one each; a user of none of them draws each of the six alike."""
    dense = np.zeros((31, 8), np.float32)
    dense[:30, 0] = 1
    dense[range(5), range(1, 6)] = 1
    dense[30, 6] = 1
    train, rng = sp.csr_matrix(dense), np.random.default_rng(0)
    counts = np.zeros(8)
    for _ in range(3000):
        user_ids, _, neg_items = sample_triples(train, rng)
        counts += np.bincount(neg_items[user_ids == 30], minlength=8)
    assert counts[[6, 7]].tolist() == [0, 0]
    np.testing.assert_allclose(counts[:6], 500, atol=120)


def test_user_who_collected_everything_is_left_out() -> None:
    dense = np.eye(6, 5, dtype=np.float32)
    dense[3] = 1
    user_ids, pos_items, _ = sample_within(sp.csr_matrix(dense))
    assert sorted(zip(user_ids.tolist(), pos_items.tolist(), strict=True)) == [(0, 0), (1, 1), (2, 2), (4, 4)]


def test_user_who_collected_every_trained_item_is_left_out() -> None:
    """There is an item 2, but without a train interaction it is no negative."""
    user_ids, _, neg_items = sample_within(sp.csr_matrix(np.array([[1, 1, 0], [1, 0, 0]], np.float32)))
    assert (user_ids.tolist(), neg_items.tolist()) == ([1], [1])


def test_where_nobody_has_a_negative_bpr_is_refused() -> None:
    """There is a title nobody collected, but it is no negative."""
    with pytest.raises(ValueError, match=r"every user has all 4 .*--loss softmax"):
        sample_triples(sp.csr_matrix(np.pad(np.ones((3, 4), np.float32), ((0, 1), (0, 1)))), np.random.default_rng(0))


def test_one_free_item_is_found() -> None:
    dense = np.ones((2, 200), np.float32)
    dense[0, 17] = 0
    user_ids, _, neg_items = sample_within(sp.csr_matrix(dense))
    assert set(user_ids.tolist()) == {0}
    assert set(neg_items.tolist()) == {17}


def test_triples_are_decided_by_the_generator(dataset: Dataset) -> None:
    first, again, other = (sample_triples(dataset.train, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_global_random_state_is_neither_used_nor_changed(dataset: Dataset) -> None:
    before = json.dumps(np.random.get_state(legacy=False), default=str)  # noqa: NPY002
    sample_triples(dataset.train, np.random.default_rng(1))
    assert json.dumps(np.random.get_state(legacy=False), default=str) == before  # noqa: NPY002


# --- LightGCN's text format ---


def write_text(folder: Path, train: str, test: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(train, encoding="utf-8")
    (folder / "test.txt").write_text(test, encoding="utf-8")
    return folder


def write_random_text(folder: Path, n_users: int = 30, per_user: int = 10, per_test: int = 3) -> Path:
    rng = np.random.default_rng(4)
    items = [rng.permutation(50)[: per_user + per_test].tolist() for _ in range(n_users)]
    train, test = (
        "".join(" ".join(map(str, [user, *mine[cut]])) + "\n" for user, mine in enumerate(items))
        for cut in (slice(per_user), slice(per_user, None))
    )
    return write_text(folder, train, test)


def text_pairs(path: Path) -> Pairs:
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return {(user, item) for user, *items in filter(None, lines) for item in items}


def test_text_files_arrive_whole_and_in_their_parts(tmp_path: Path) -> None:
    folder = write_random_text(tmp_path)
    dataset = load(folder, valid_ratio=0.2)
    assert pairs(dataset, "test") == text_pairs(folder / "test.txt")
    assert pairs(dataset, "train", "valid") == text_pairs(folder / "train.txt")
    assert per_user(dataset, "train") == [8] * 30
    assert per_user(dataset, "valid") == [2] * 30
    assert pairs(dataset, "seen") == pairs(dataset, *PARTS)
    assert dataset.facts["rows"] == dataset.facts["positives"] == 390
    assert [dataset.facts[part] for part in PARTS] == [240, 60, 90, 0, 0]


def test_text_files_know_ids_and_no_texts(tmp_path: Path) -> None:
    dataset = load(write_text(tmp_path, "u2 b a\nu1 c a b\nalone\n", "u1 d\nlate  a\n"))
    assert dataset.raw_user_ids == dataset.user_names == ["u2", "u1", "alone", "late"]
    assert dataset.raw_item_ids == dataset.item_names == ["b", "a", "c", "d"]
    assert dataset.item_texts == [""] * 4
    assert [len(part) for part in dataset.user_comments] == [0, 0, 0]
    assert pairs(dataset, "test") == {("u1", "d"), ("late", "a")}
    assert len(dataset.fingerprint) == 64


def test_integer_ids_of_text_files_are_in_numeric_order(tmp_path: Path) -> None:
    dataset = load(write_text(tmp_path, "10 7 100\n9 x 7\n", "2 3\n"))
    assert dataset.raw_user_ids == ["2", "9", "10"]
    assert dataset.raw_item_ids == ["7", "100", "x", "3"]
    assert load(write_text(tmp_path, "10 7 100\n9 7\n", "2 3\n")).raw_item_ids == ["3", "7", "100"]


def test_text_valid_is_random_seeded_and_spares_small_users(tmp_path: Path) -> None:
    folder = write_random_text(tmp_path / "many")
    parts = {seed: pairs(load(folder, split_seed=seed), "valid") for seed in (0, 1)}
    assert parts[0] == pairs(load(folder, split="global_time"), "valid") != parts[1]
    small = load(write_text(tmp_path / "few", "u a b\nv a b c\n", "u c\nv d e f g h\n"), valid_ratio=0.4)
    assert per_user(small, "valid") == [0, 1]


def test_text_files_say_that_the_split_setting_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="aglrec"):
        load(write_random_text(tmp_path), min_rate=5)
    assert sum("split" in record.getMessage() and "ignored" in record.getMessage() for record in caplog.records) == 1
    assert warnings_of(caplog) == ""


def test_repeats_and_test_pairs_of_train_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(write_text(tmp_path, "u a b a\nv a c\nu b\n", "u b d d b\nv c e\n"))
    assert pairs(dataset, "train") == {("u", "a"), ("u", "b"), ("v", "a"), ("v", "c")}
    assert pairs(dataset, "test") == {("u", "d"), ("v", "e")}
    assert (dataset.facts["repeated pairs"], dataset.facts["test pairs that train has"]) == (4, 2)
    assert "4 repeated pairs, 2 test pairs that train has" in warnings_of(caplog)


def test_train_rows_per_user_cuts_text_files(tmp_path: Path) -> None:
    whole, cut = (load(write_random_text(tmp_path), train_rows_per_user=n) for n in (0, 4))
    assert per_user(cut, "train") == [4] * 30
    assert pairs(cut, "train") < pairs(whole, "train")
    assert all(pairs(cut, part) == pairs(whole, part) for part in ("valid", "test", "seen"))
    assert pairs(cut, "excluded") == pairs(whole, "train") - pairs(cut, "train")


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfu a b c\nv a\n", b"u a b c\r\nv a\r\n", b"u a b c\rv a", b"\n  u\ta  b c \n\n\nv a\n\n"]
)
def test_forms_of_the_text_files(content: bytes, tmp_path: Path) -> None:
    write_text(tmp_path, "", "v b\n")
    (tmp_path / "train.txt").unlink()
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(content))
    assert pairs(load(tmp_path, valid_ratio=0), "train") == {("u", "a"), ("u", "b"), ("u", "c"), ("v", "a")}


@pytest.mark.parametrize(("gone", "there"), [("train.txt", "test.txt"), ("test.txt", "train.txt")])
def test_half_of_the_text_files_is_an_error(gone: str, there: str, tmp_path: Path) -> None:
    (write_random_text(tmp_path) / gone).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{gone} is missing.*both train.txt and test.txt"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("", "u a\n", r"train.txt has no pair"),
        ("u\nv\n", "u a\n", r"train.txt has no pair"),
        ("u a\n", "u\n", r"test.txt has no pair"),
        ("u a b\n", "u b\n", r"test.txt has no pair that train.txt lacks"),
        ("", "", r"train.txt has no pair"),
    ],
)
def test_text_files_without_pairs_are_refused(train: str, test: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_text(tmp_path, train, test))


def test_text_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write_text(tmp_path, "u a b\n", "u c\n")
    (tmp_path / "test.txt").write_bytes(b"u c\nv \xff\xfe\n")
    with pytest.raises(ValueError, match=r"test.txt line 2: not UTF-8"):
        load(tmp_path)


def test_text_files_have_no_cold_items(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cold_item_ratio is 0.1.*set --cold_item_ratio 0"):
        load(write_random_text(tmp_path), cold_item_ratio=0.1)


def test_interactions_outrank_text_files(data_dir: Path) -> None:
    before = load(data_dir).fingerprint
    assert load(write_random_text(data_dir)).fingerprint == before


@pytest.mark.parametrize("model_name", ["lsa", "BAAI/bge-m3"])
def test_text_files_have_nothing_to_encode(model_name: str, tmp_path: Path) -> None:
    config = get_config({"data_dir": str(write_random_text(tmp_path)), "model_name": model_name})
    with pytest.raises(ValueError, match=r"no text to encode; set --fusion_mode none"):
        text_vectors(load_dataset(config), config, "cpu")


@pytest.mark.skipif(not GOWALLA.is_dir(), reason="shared/datasets/gowalla is not here")
def test_gowalla_loads_whole() -> None:
    start = time.process_time()
    dataset = load(GOWALLA, valid_ratio=0)
    assert time.process_time() - start < 8  # about 2; a Python loop over pairs takes longer
    assert (dataset.n_users, dataset.n_items) == (29_858, 40_981)
    assert (dataset.train.nnz, dataset.valid.nnz, dataset.test.nnz) == (810_128, 0, 217_242)
    assert dataset.raw_item_ids == [str(item) for item in range(40_981)]


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


# --- real data ---


def test_write_data_is_what_the_other_tests_take_it_for(tmp_path: Path) -> None:
    dataset = load(write_data(tmp_path))
    assert (dataset.n_users, dataset.n_items, dataset.seen.nnz) == (40, 30, 400)


@pytest.mark.skipif(not MAL.is_dir(), reason="shared/datasets/mal-anime is not here")
def test_mal_anime_loads_whole() -> None:
    dataset = load(MAL, min_rate=0, split="random")
    assert (dataset.n_users, dataset.n_items) == (4997, 6444)
    assert sum(getattr(dataset, part).nnz for part in PARTS) == dataset.seen.nnz == 513_137


# --- known.tsv ---


def write_known(folder: Path, *rows: tuple[str, ...], header: str = "user_id\tsubject_id\tupdated_at") -> Path:
    (folder / "known.tsv").write_text("\n".join([header, *map("\t".join, rows)]) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("min_rate", [0, 1, 5])
@pytest.mark.parametrize("split", SPLITS)
def test_known_pairs_are_seen_and_no_positives_at_any_rate(split: str, min_rate: float, tmp_path: Path) -> None:
    folder = write_timed(tmp_path, n_users=20, per_user=12)
    plain = load(folder, split=split, min_rate=min_rate)
    free = [
        next(title for title in plain.raw_item_ids if (user, title) not in pairs(plain, "seen"))
        for user in plain.raw_user_ids
    ]
    known = {*zip(plain.raw_user_ids, free, strict=True)}
    write_known(
        folder,
        *(
            (*pair, "2019-12-31" if number % 2 else "2021-01-01")
            for number, pair in enumerate(zip(plain.raw_user_ids, free, strict=True))
        ),
    )
    dataset = load(folder, split=split, min_rate=min_rate)
    assert (dataset.raw_user_ids, dataset.raw_item_ids) == (plain.raw_user_ids, plain.raw_item_ids)
    for part in PARTS:
        assert pairs(dataset, part) == pairs(plain, part)
    assert pairs(dataset, "seen") == pairs(plain, "seen") | known
    older = known if split == "random" else {(plain.raw_user_ids[row], free[row]) for row in range(1, len(free), 2)}
    assert pairs(dataset, "excluded") == pairs(plain, "excluded") | older
    assert dataset.facts["known only"] == len(known)
    assert dataset.user_comments.texts == plain.user_comments.texts


def test_known_pairs_that_tell_nothing_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_small(tmp_path, [("u", "a", 5), ("u", "b", 5), ("v", "a", 5)])
    write_known(folder, ("u", "a"), ("u", "c"), ("u", "c"), ("v", "ghost"), ("w", "a"), header="user_id\tsubject_id")
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(folder)
    assert pairs(dataset, "seen") == {("u", "a"), ("u", "b"), ("v", "a"), ("u", "c")}
    assert ("u", "a") in pairs(dataset, *PARTS)
    assert dataset.raw_user_ids == ["u", "v"]
    assert (
        "known.tsv: of 5 rows: 2 of titles that anime.tsv does not have or users that interactions.tsv does not "
        "have, 2 of pairs that are there already (dropped)"
    ) in warnings_of(caplog)


def test_known_pairs_without_an_id_are_refused(tmp_path: Path) -> None:
    write_known(write_small(tmp_path, [("u", "a", 5)]), ("u", "", "2020-01-01"))
    with pytest.raises(ValueError, match=r"known\.tsv line 2: subject_id is empty"):
        load(tmp_path)
