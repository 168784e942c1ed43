"""Data that grow from period to period, and a run that is updated with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import get_config
from data_loader import load_dataset
from studies import update
from tests.helpers.data import write_data


@pytest.fixture
def stream(tmp_path: Path) -> update.Stream:
    return update.read_stream(write_data(tmp_path / "whole", n_users=30, n_items=24), 0.7, 3)


def test_periods_have_as_many_rows_and_come_in_the_order_of_time(stream: update.Stream) -> None:
    counts = np.bincount(stream.periods)
    assert len(counts) == 1 + 3 + 1  # the last one is only foreseen
    assert counts[0] == pytest.approx(210, abs=1)
    assert max(counts[1:]) - min(counts[1:]) <= 1
    assert (np.diff(stream.periods) >= 0).all()
    assert (np.diff(stream.rows["time"]) >= 0).all()


def test_data_grow_by_rows_and_by_the_titles_of_rows(stream: update.Stream, tmp_path: Path) -> None:
    for period in range(4):
        update.write_until(stream, period, tmp_path / "data")
        dataset = load_dataset(get_config({"data_dir": str(tmp_path / "data"), "refit": True}))
        rows = stream.rows[stream.periods <= period]
        assert dataset.seen.nnz == len(rows)
        assert set(dataset.raw_item_ids) == set(rows["subject_id"])


@pytest.mark.slow
@pytest.mark.parametrize("replay", [1.0, 0.3])
def test_the_study_measures_what_it_says(stream: update.Stream, replay: float, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model_name": "lsa", "lsa_dim": 8, "embedding_dim": 8, "epochs": 3, "device": "cpu"}
    config = get_config({**settings, "saved_dir": str(tmp_path / "saved")})
    every = {update.UPDATED: 1, update.ANEW: 1, update.WHOLE: 3}
    rows = list(update.simulate(stream, config, 3, every, replay))
    assert [(row.kind, row.period) for row in rows] == [
        *((kind, period) for period in (1, 2) for kind in (update.UPDATED, update.ANEW)),
        *((kind, 3) for kind in (update.UPDATED, update.ANEW, update.WHOLE)),
    ]
    last = [row.ndcg for row in rows if row.period == 3]
    coming = stream.rows[(stream.periods == 4)]
    known = stream.rows[stream.periods <= 3]
    coming = coming[coming["user_id"].isin(known["user_id"]) & coming["subject_id"].isin(known["subject_id"])]
    assert [len(each) for each in last] == [coming["user_id"].nunique()] * 3
    lines = update.table(rows).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]][:2] == ["3 of 3"] * 2
    assert sum(update.WHOLE in line for line in lines) >= 1
