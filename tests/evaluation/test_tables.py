"""Means over seeds, and the table of an ablation."""

from typing import Any

import numpy as np
import pytest

from evaluation.significance import spread
from evaluation.tables import ablation_table
from run_ablation import add_p_values, summary
from tests.helpers.ablations import run_of, runs_of

# --- means over seeds ---


def test_summary_has_means_and_sample_deviations_of_every_number() -> None:
    row = summary("tag", {"lr": 1}, [run_of(1, point={"l2": 10}), run_of(2, point={"l2": 30}), run_of(6)])
    sd = np.std([1, 2, 6], ddof=1)
    assert sd == pytest.approx(7**0.5)
    assert row["test"] == {
        "NDCG@20": {"mean": 3, "sd": pytest.approx(sd)},
        "Recall@20": {"mean": 30, "sd": pytest.approx(10 * sd)},
    }
    assert row["valid"] == row["warm"] == row["listed"]["joint"] == row["test"]
    assert row["groups"]["users"]["<=5"] == {"n_users": {"mean": 4, "sd": 0}, **row["test"]}
    assert row["beyond"]["Coverage"] == row["train_s"] == {"mean": 3, "sd": pytest.approx(sd)}
    assert row["cold"] == {}
    assert {key: row[key] for key in ("tag", "overrides", "encoder", "folders", "epochs", "points", "n_seeds")} == {
        "tag": "tag",
        "overrides": {"lr": 1},
        "encoder": "lsa",
        "epochs": [1, 2, 6],
        "n_seeds": 3,
        "folders": ["folder of 1", "folder of 2", "folder of 6"],
        "points": [{"l2": 10}, {"l2": 30}, {}],
    }


def test_summary_of_one_seed_has_no_deviation() -> None:
    row = summary("tag", {}, [run_of(2)])
    assert (row["test"]["NDCG@20"], row["n_seeds"]) == ({"mean": 2, "sd": 0.0}, 1)


def test_a_number_that_some_runs_lack_is_that_of_the_others() -> None:
    """A group that is empty in a run has no metrics there, which is not a metric of 0."""
    found = spread(
        [
            {"<=5": {"n_users": 0}, ">50": {"n_users": 2, "NDCG@20": 0.5}},
            {"<=5": {"n_users": 3, "NDCG@20": 0.2}, ">50": {"n_users": 2, "NDCG@20": 0.5}},
            {"<=5": {"n_users": 6, "NDCG@20": 0.4}, ">50": {"n_users": 2, "NDCG@20": 0.5}},
        ]
    )
    assert found["<=5"]["n_users"] == {"mean": 3, "sd": 3}
    assert found["<=5"]["NDCG@20"] == pytest.approx({"mean": 0.3, "sd": 0.02**0.5})
    assert found[">50"]["NDCG@20"] == {"mean": 0.5, "sd": 0}
    assert spread([{}, {"NDCG@20": 0.5}]) == {"NDCG@20": {"mean": 0.5, "sd": 0}}


# --- the table ---


def cells(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Read the Markdown of some rows back: column -> cell, a dict a row."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in ablation_table(rows).splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_the_table_compares_titles_with_a_history_and_tells_what_listing_costs() -> None:
    other = {"NDCG@20": 0.9, "Recall@20": 0.8}
    mine = [
        run_of(value, test=other, listed={"warm": {"NDCG@20": value / 2}, "joint": {"NDCG@20": 0.6}})
        for value in (0.1, 0.2)
    ]
    rows = [{**summary("sum-item", {}, mine), "gain": 0.1, "p": 0.0123}]
    [row] = cells(rows)
    assert list(row) == ["row", "Recall@20", "NDCG@20", "lost by listing", "coverage", "p", "train s"]
    assert row["NDCG@20"] == "0.1500 ± 0.0707"
    assert (row["Recall@20"], row["lost by listing"], row["p"]) == ("1.5000 ± 0.7071", "50.0%", "0.01")
    places = {where: {"NDCG@20": 0.25} for where in ("among_cold", "among_all")}
    cold = [{**run, "cold": {"n_items": 7, **places}} for run in mine]
    [row] = cells([{**summary("sum-item", {}, cold), "gain": 0.1, "p": 1.0}])
    assert list(row) == [
        "row",
        "Recall@20",
        "NDCG@20",
        "lost by listing",
        "cold NDCG@20 among cold",
        "cold NDCG@20 among all",
        "joint NDCG@20",
        "coverage",
        "p",
        "train s",
    ]
    assert (row["joint NDCG@20"], row["cold NDCG@20 among all"]) == ("0.6000 ± 0.0000", "0.2500 ± 0.0000")


def test_the_table_of_one_seed_has_neither_sd_nor_p() -> None:
    results = {tag: runs_of(np.random.default_rng(0).random((1, 9))) for tag in ("sum-none", "sum-item")}
    rows = [summary(tag, {}, runs) for tag, runs in results.items()]
    add_p_values(rows, results)
    assert rows[1]["gain"] is not None
    assert [row["p"] for row in cells(rows)] == ["", ""]
    assert "±" not in ablation_table(rows)


@pytest.mark.parametrize(
    ("warm", "listed", "cost"),
    [(0.2, 0.15, "25.0%"), (0.2, 0.2, "0.0%"), (0.2, 0.0, "100.0%"), (0.2, 0.21, "-5.0%"), (0.0, 0.0, "0.0%")],
)
def test_listing_cost_by_hand(warm: float, listed: float, cost: str) -> None:
    run = run_of(warm, listed={"warm": {"NDCG@20": listed}, "joint": {}})
    assert cells([{**summary("tag", {}, [run]), "p": None}])[0]["lost by listing"] == cost
