"""Reading and cleaning: tags, rows, positives, times."""

import gzip
import itertools
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from data_loader import Dataset
from dataset.splits import PARTS
from dataset.times import parse_times
from tests.helpers.data import write_data, write_tsv
from tests.helpers.splits import (
    DISJOINT,
    load,
    load_with_every_part,
    pairs,
    read_rows,
    rewrite,
    warnings_of,
    write_small,
)

DATASETS = Path(__file__).resolve().parents[3] / "shared" / "datasets"
MAL, GOWALLA = DATASETS / "mal-anime", DATASETS / "gowalla"


def text_of(dataset: Dataset, subject_id: str) -> str:
    return dataset.item_texts[dataset.raw_item_ids.index(subject_id)]


# --- tags ---


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
        ("1970-01-02", 86400),
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


# --- real data ---


def test_write_data_is_what_the_other_tests_take_it_for(tmp_path: Path) -> None:
    dataset = load(write_data(tmp_path))
    assert (dataset.n_users, dataset.n_items, dataset.seen.nnz) == (40, 30, 400)


@pytest.mark.slow
@pytest.mark.skipif(not MAL.is_dir(), reason="shared/datasets/mal-anime is not here")
def test_mal_anime_loads_whole() -> None:
    dataset = load(MAL, min_rate=0, split="random")
    assert (dataset.n_users, dataset.n_items) == (4997, 6444)
    assert sum(getattr(dataset, part).nnz for part in PARTS) == dataset.seen.nnz == 513_137
