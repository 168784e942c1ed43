"""The Dataset: its invariants, what is masked, its fingerprint and its graph."""

import dataclasses
import itertools
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_loader import Dataset, normalized_adjacency
from dataset.splits import PARTS
from tests.helpers.data import dataset_of, write_tsv
from tests.helpers.splits import (
    DISJOINT,
    load,
    load_with_every_part,
    pairs,
    random_train,
    read_rows,
    rewrite,
    warnings_of,
    write_small,
    write_timed,
)

SPLITS = ("user_time", "leave_one_out", "random", "global_time")
TIME_SPLITS = ("user_time", "leave_one_out", "global_time")


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
    user_ids, texts, weights, item_ids = dataset.user_comments
    assert len(user_ids) == len(texts) == len(weights) == len(item_ids)
    assert sorted(texts) == sorted(f"{user} {item}" for user, item in pairs(dataset, "train"))
    assert [dataset.raw_user_ids[user] for user in user_ids] == [text.split()[0] for text in texts]
    assert [dataset.raw_item_ids[item] for item in item_ids] == [text.split()[1] for text in texts]
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


def test_a_folder_of_files_before_conversion_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "Ratings.csv").write_text("user_id,item_id\n1,2\n")
    with pytest.raises(
        FileNotFoundError, match=r"anime\.tsv is missing .*; of Ratings\.csv and its like tools/convert"
    ):
        load(tmp_path)


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
    with (data_dir / "anime.tsv").open("a", encoding="utf-8") as file:
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
