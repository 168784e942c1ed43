"""Ages in titles, what they count, and what is known of users before each part."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from config import get_config
from data_loader import load_dataset
from dataset.recency import ages, recency_weights
from tests.helpers.data import write_data


def pairs(rows: list[list[int]]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.float32))


def test_ages_count_the_newer_titles() -> None:
    collected = pairs([[1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    times = np.array([30, 10, 20, 5, 5, np.nan, 7, 7, 9])
    assert ages(collected, times).tolist() == [0, 2, 1, 0.5, 0.5, 3, 1.5, 1.5, 0]
    assert ages(collected, None).tolist() == [1, 1, 1, 0.5, 0.5, 1.5, 1.5, 1.5, 1.5]


def test_titles_count_half_after_a_half_life() -> None:
    assert recency_weights(np.array([0.0, 2.0, 4.0, 1.0]), 2.0).tolist() == pytest.approx([1, 0.5, 0.25, 0.5**0.5])
    assert recency_weights(np.array([0.0, 7.0]), 0.0).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("split", "by_time"), [("user_time", True), ("leave_one_out", True), ("global_time", True), ("random", False)]
)
def test_valid_rows_are_known_before_test_where_time_splits(split: str, by_time: bool, tmp_path: Path) -> None:
    dataset = load_dataset(get_config({"data_dir": str(write_data(tmp_path)), "split": split}))
    assert dataset.valid.nnz
    assert (dataset.known_before("valid") != dataset.train).nnz == 0
    expected = dataset.train + dataset.valid if by_time else dataset.train
    known = dataset.known_before("test")
    assert (known != expected).nnz == 0
    assert known.has_sorted_indices


def test_order_is_there_if_times_differ_within_a_user(tmp_path: Path) -> None:
    dataset = load_dataset(get_config({"data_dir": str(write_data(tmp_path))}))
    assert dataset.has_order
    users = np.repeat(np.arange(dataset.n_users), np.diff(dataset.seen.indptr))
    assert not dataclasses.replace(dataset, times=users.astype(float)).has_order
    one = np.where(np.arange(len(users)) == 0, np.nan, users).astype(float)
    assert dataclasses.replace(dataset, times=one).has_order == bool(dataset.train[0].nnz > 1)
    assert not dataclasses.replace(dataset, times=None).has_order
