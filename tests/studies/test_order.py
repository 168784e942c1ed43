"""studies/order.py: what it says of data whose order tells everything, nothing, or is not there."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from config import get_config
from data_loader import load_dataset
from runtime.cli import run_script
from studies import order
from tests.helpers.cycles import write_cycle
from tests.helpers.data import write_tsv


def said(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str = "") -> str:
    monkeypatch.setattr("sys.argv", ["order.py", "--data_dir", str(data), "--min_rate", "0", *words.split()])
    assert run_script(order.main) == 0
    return capsys.readouterr().out


def test_order_tells_on_a_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said(write_cycle(tmp_path), monkeypatch, capsys)
    assert "\nOrder tells: with a half-life of" in printed
    assert "100.0% of rows have a time" in printed
    assert [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")][2:] == [
        "row as it is",
        *map(str, order.HALF_LIVES),
    ]


def test_order_tells_nothing_where_days_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "\nOrder tells nothing: at no half-life" in said(write_cycle(tmp_path, in_order=False), monkeypatch, capsys)


def test_order_tells_nothing_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tsv(tmp_path, "anime.tsv", ((f"s{item}", f"title {item}", "", "") for item in range(20)))
    rows = [(f"u{user}", f"s{(user + item) % 20}", 0, "", "") for user in range(9) for item in range(10)]
    write_tsv(tmp_path, "interactions.tsv", rows)
    printed = said(tmp_path, monkeypatch, capsys)
    assert "0.0% of rows have a time" in printed
    assert "Order tells nothing: nobody has train rows of different times." in printed


def test_a_random_split_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said(write_cycle(tmp_path), monkeypatch, capsys, "--split random")
    assert "split random does not ask for later titles" in printed


def test_the_figures_are_those_of_ease_on_valid_and_know_nothing_of_test(tmp_path: Path) -> None:
    config = get_config({"data_dir": str(write_cycle(tmp_path)), "min_rate": 0, "device": "cpu"})
    dataset = load_dataset(config)
    found = order.rankings(dataset, config)
    train = dataset.train.toarray().astype(np.float64)
    inverse = np.linalg.inv(train.T @ train + 200 * np.eye(dataset.n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    half_life = 3
    for ages, values in ((None, found.plain), (dataset.ages_of(dataset.train), found.ordered)):
        rows = train.copy()
        if ages is not None:
            rows[dataset.train.nonzero()] = 0.5 ** (ages / half_life)
        scores = np.where(train > 0, -np.inf, rows @ weights)
        wanted = [dataset.valid[user].indices[0] for user in range(dataset.n_users)]
        ranks = 1 + (scores > scores[np.arange(len(wanted)), wanted][:, None]).sum(axis=1)
        expected = np.where(ranks <= 20, 1 / np.log2(ranks + 1), 0)
        assert np.mean(np.isclose(values[half_life], expected)) > 0.95  # but for near ties in float32
    again = order.rankings(dataclasses.replace(dataset, test=dataset.cold_test), config)  # which is empty
    for values, others in zip(found, again, strict=True):
        assert all((values[each] == others[each]).all() for each in order.HALF_LIVES)


def test_shuffling_stays_within_users() -> None:
    users, values = np.repeat(np.arange(50), 20), np.arange(1000)
    found = order.shuffled(values, users, np.random.default_rng(0))
    assert (found // 20 == users).all()
    assert sorted(found) == values.tolist()
    assert (found == values).mean() < 0.2


def test_facts_are_those_counted_by_hand(tmp_path: Path) -> None:
    write_tsv(tmp_path, "anime.tsv", ((f"s{item}", f"title {item}", "", "") for item in range(9)))
    times = {"a": ["2020-01-01"] * 3 + ["2020-01-02"], "b": ["2020-01-01"] * 2, "c": ["", "2020-02-02"], "d": [""]}
    rows = [(user, f"s{item}", 0, "", time) for user, each in times.items() for item, time in enumerate(each)]
    write_tsv(tmp_path, "interactions.tsv", rows)
    config = get_config({"data_dir": str(tmp_path), "min_rate": 0, "refit": True})
    dataset = load_dataset(config)
    assert dataset.train.nnz == 9
    assert order.time_facts(dataset) == pytest.approx(
        {"timed": 7 / 9, "most common": 5 / 9, "ordered": 2 / 3, "tied": 5 / 9}
    )


@pytest.mark.parametrize(
    ("gain_of_order", "gain_of_age", "told"),
    [
        (0.1, 0.1, "Order tells: with a half-life of 2 titles"),
        (0.1, -0.1, "Order tells a little (+0.1000 over the same weights shuffled), but weights by age are no better"),
        (-0.1, -0.1, "Order does not help"),
        (0.0, -0.1, "Order tells nothing"),
    ],
)
def test_the_conclusion_follows_from_the_figures(gain_of_order: float, gain_of_age: float, told: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 200))
    noise -= noise.mean(axis=1, keepdims=True)
    ordered = {half_life: 0.5 + noise[0] - 0.2 * (half_life == 1) for half_life in (1, 2)}
    found = order.Rankings(
        dict.fromkeys(ordered, ordered[2] + noise[1] - gain_of_age),
        ordered,
        {half_life: ordered[half_life] + noise[2] - gain_of_order for half_life in ordered},
    )
    assert order.conclusion(found, "NDCG@20").startswith(told)
