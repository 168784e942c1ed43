"""The table of rows and seeds: what is run, tuned, kept and run again, and the statistics over it."""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import f as f_distribution
from scipy.stats import ttest_1samp

import llm_embedding
import run_ablation
import trainer
from config import get_config
from data_loader import Dataset, load_dataset
from evaluation.baselines import BASELINES, GRIDS
from evaluation.list_metrics import beyond_accuracy
from evaluation.ranking import rank_items
from evaluation.significance import holm, paired_test, spread
from evaluation.tables import ablation_table
from evaluation.tuned_baselines import possible_baselines, text_for, tuned
from evaluator import evaluate
from llm_embedding import TextVectors
from run_ablation import COMBINATIONS, FULL, add_p_values, baseline_row, compare, summary
from runtime.cli import run_script
from text import encoders
from text.encoders import lsa_encoder

OF_ONE_BLOCK = [name for name in BASELINES if name != "content_blocks"]  # text_blocks is empty here
NO_TEXT = TextVectors(None, None, {"used": None, "dim": 0, "digest": None})
ABSENT = "aglrec-tests/not-on-this-disk"
TWO = {tag: COMBINATIONS[tag] for tag in ("sum-none", "sum-item")}


def run_of(value: float, user_test: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """Return what model() and baseline() return of a run whose figures are all this value."""
    figures = {"NDCG@20": value, "Recall@20": 10 * value}
    return {
        "encoder": {"used": "lsa"},
        "folder": f"folder of {value:g}",
        "epoch": int(value),
        "valid": figures,
        "test": figures,
        "warm": figures,
        "listed": {"warm": {"NDCG@20": 0.75 * value}, "joint": figures},
        "cold": {},
        "groups": {"users": {"<=5": {"n_users": 4, **figures}}},
        "beyond": {"Coverage": value},
        "train_s": value,
        "user_test": user_test or {},
        **more,
    }


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def overrides(config: dict[str, Any]) -> dict[str, Any]:
    """What a command line says for tiny runs."""
    keys = ("data_dir", "saved_dir", "model_name", "lsa_dim", "embedding_dim", "batch_size", "device")
    return {**{key: config[key] for key in keys}, "epochs": 1}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders in which main.run was called."""
    called: list[str] = []
    run = run_ablation.run
    monkeypatch.setattr(run_ablation, "run", lambda config: called.append(config["saved_dir"]) or run(config))
    return called


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The baselines that were tuned."""
    called: list[str] = []
    tuned = run_ablation.tuned
    monkeypatch.setattr(run_ablation, "tuned", lambda name, *args: called.append(name) or tuned(name, *args))
    return called


# --- Holm ---


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.2], [0.2]),
        ([0.5, 0.4], [0.8, 0.8]),
        ([0.6, 0.7, 0.9], [1.0, 1.0, 1.0]),
        ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
        ([0.02, 0.001, 0.9], [0.04, 0.003, 0.9]),
        ([None, 0.01, None, 0.04], [None, 0.02, None, 0.04]),
        ([None, None], [None, None]),
        ([], []),
    ],
)
def test_holm_by_hand(given: list[float | None], corrected: list[float | None]) -> None:
    names = "dcba"[: len(given)]
    found = holm(dict(zip(names, given, strict=True)))
    assert list(found) == list(names)
    assert list(found.values()) == pytest.approx(corrected)


# --- the paired test ---


def runs_of(values: np.ndarray) -> list[dict[str, Any]]:
    """Return a row's runs that test the same users: (n_runs, n_users) values."""
    return [run_of(0, {f"u{number}": value for number, value in enumerate(run.tolist())}) for run in values]


def clark(differences: np.ndarray) -> float:
    """Compute p of min F' from the two F values over users and over runs, as Clark 1973 gives it."""
    n_runs, n_users = differences.shape
    over_users, over_runs = (ttest_1samp(differences.mean(axis=axis), 0).statistic ** 2 for axis in (0, 1))
    freedom = (over_users + over_runs) ** 2 / (over_users**2 / (n_runs - 1) + over_runs**2 / (n_users - 1))
    return float(f_distribution.sf(over_users * over_runs / (over_users + over_runs), 1, freedom))


@pytest.mark.parametrize(("n_runs", "n_users"), [(2, 30), (3, 30), (5, 4)])
def test_paired_test_takes_users_and_runs_as_random(n_runs: int, n_users: int) -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random((n_runs, n_users))
    differences = 0.3 + rng.normal(size=(n_runs, 1)) / 5 + rng.normal(size=(n_runs, n_users)) / 3
    gain, p = paired_test(runs_of(theirs + differences), runs_of(theirs))
    assert gain == pytest.approx(differences.mean())
    assert p == pytest.approx(clark(differences))


def test_a_single_run_does_not_tell_how_much_runs_vary() -> None:
    ours, theirs = np.random.default_rng(0).random((2, 1, 30))
    users = [f"u{number}" for number in range(30)]
    shuffled = [run_of(0, dict(zip(users[::-1], theirs[0, ::-1].tolist(), strict=True)))]
    gain, p = paired_test(runs_of(ours), shuffled)
    assert gain == pytest.approx((ours - theirs).mean())
    assert p is None


def test_paired_test_averages_a_user_over_the_seeds_that_test_him() -> None:
    ours = [{"a": 0.9, "b": 0.5, "c": 0.3}, {"a": 0.5, "b": 0.1, "d": 1.0}]
    theirs = [{"a": 0.1, "b": 0.4, "c": 0.2}, {"a": 0.3, "b": 0.3, "d": 0.5}]
    gain, p = paired_test([run_of(0, one) for one in ours], [run_of(0, one) for one in theirs])
    of_users, of_runs = [(0.8 + 0.2) / 2, (0.1 - 0.2) / 2, 0.1, 0.5], [(0.8 + 0.1 + 0.1) / 3, (0.2 - 0.2 + 0.5) / 3]
    assert gain == pytest.approx(np.mean(of_users))
    parts = np.var(of_users, ddof=1) / 4, np.var(of_runs, ddof=1) / 2
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 1)
    assert p == pytest.approx(f_distribution.sf(gain**2 / sum(parts), 1, freedom))


@pytest.mark.parametrize("n_runs", [2, 3])
def test_rows_that_do_not_differ_have_a_p_of_one(n_runs: int) -> None:
    same = [run_of(0, {"a": 0.5, "b": 0.25})] * n_runs
    assert paired_test(same, same) == (0.0, 1.0)


def test_rows_that_differ_by_the_same_everywhere_have_a_p_of_zero() -> None:
    assert paired_test(runs_of(np.full((2, 3), 0.75)), runs_of(np.full((2, 3), 0.5))) == (0.25, 0.0)


def test_of_two_rows_with_the_same_settings_few_differ() -> None:
    """An A/A test of 3 runs a row, whose luck outweighs what a mean over 200 users leaves of theirs.

    A test over users alone takes that luck for an effect: it is the same for every user.
    """
    rng, n_pairs, alarms = np.random.default_rng(0), 300, {"ours": 0, "over users": 0}
    for _ in range(n_pairs):
        values = (
            rng.normal(scale=0.2, size=(1, 1, 200))
            + rng.normal(scale=0.02, size=(2, 3, 1))
            + rng.normal(scale=0.1, size=(2, 3, 200))
        )  # a user's own, a run's luck, and the rest
        alarms["ours"] += paired_test(*map(runs_of, values))[1] < 0.05
        alarms["over users"] += ttest_1samp((values[0] - values[1]).mean(axis=0), 0).pvalue < 0.05
    assert alarms["ours"] <= 0.07 * n_pairs
    assert alarms["over users"] > 0.4 * n_pairs


def test_a_real_effect_is_found() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(50):
        values = rng.normal(scale=0.2, size=(1, 1, 400)) + rng.normal(scale=0.1, size=(2, 3, 400))
        values[0] += 0.05
        found.append(paired_test(*map(runs_of, values))[1] < 0.05)
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("n_runs", [1, 3])
def test_rows_are_tested_against_their_fusion_without_text(n_runs: int) -> None:
    rng = np.random.default_rng(1)
    values = {
        tag: rng.random((n_runs, 20))
        for tag in ("popularity", "sum-none", "sum-item", "concat-none", "concat-both", "bpr-svd-drop0-lsa")
    }
    rows = [{"tag": tag} for tag in values]
    add_p_values(rows, {tag: runs_of(of_row) for tag, of_row in values.items()})
    found = {row["tag"]: (row["gain"], row["p"]) for row in rows}
    differences = {tag: values[tag] - values[f"{tag.split('-')[0]}-none"] for tag in ("sum-item", "concat-both")}
    tested = {tag: clark(of_row) if n_runs > 1 else None for tag, of_row in differences.items()}
    for tag, p in holm(tested).items():
        assert found[tag] == pytest.approx((differences[tag].mean(), p))
    assert [found[tag] for tag in found if tag not in tested] == [(None, None)] * 4


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


# --- baselines ---


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A baseline whose grid holds an oracle of every part, in the order train, test, valid, cold_test."""
    monkeypatch.setitem(GRIDS, "planted", {"knows": ("train", "test", "valid", "cold_test")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda dataset, item_vectors, knows: (
            torch.from_numpy(getattr(dataset, knows).toarray()),
            torch.eye(dataset.n_items),
        ),
    )
    return "planted"


def test_a_baseline_is_tuned_on_valid_alone(planted: str, config: dict[str, Any]) -> None:
    dataset = load_dataset({**config, "test_ratio": 0.4})  # so much that it outweighs valid where both are looked at
    (user_emb, _), point, valid = tuned(planted, dataset, None, config)
    assert point == {"knows": "valid"}
    np.testing.assert_array_equal(user_emb.numpy(), dataset.valid.toarray())
    assert valid["NDCG@20"] == 1
    oracle = (torch.from_numpy(dataset.test.toarray()), torch.eye(dataset.n_items))
    known = dataset.train + dataset.valid
    ours = evaluate(user_emb, torch.eye(dataset.n_items), dataset.test, known, config)["NDCG@20"].mean()
    assert evaluate(*oracle, dataset.test, known, config)["NDCG@20"].mean() == 1 > ours


def test_a_baseline_is_tuned_by_the_early_stop_metric(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    """A list with both targets far down wins by Recall@4, one with a target on top by Hit@1."""
    target = sp.csr_matrix(np.array([[1, 1, 0, 0, 0, 0]], np.float32))
    nothing = sp.csr_matrix((1, 6), dtype=np.float32)
    scores = {"deep": [1, 2, 5, 4, 0, 0], "top": [9, 0, 5, 4, 3, 2]}
    monkeypatch.setitem(GRIDS, "planted", {"which": ("deep", "top")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda dataset, item_vectors, which: (torch.tensor([scores[which]], dtype=torch.float32), torch.eye(6)),
    )
    toy = SimpleNamespace(
        valid=target, warm_pairs={"valid": target}.get, masked_for={"valid": nothing}.get, warm_items=np.arange(6)
    )
    for metric, which in (("Recall@4", "deep"), ("Hit@1", "top")):
        settings = {**config, "top_k": [1, 4], "early_stop_metric": metric}
        assert tuned("planted", toy, None, settings)[1] == {"which": which}


def test_every_point_of_a_grid_is_tried_and_the_best_kept(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, config: dict[str, Any]
) -> None:
    tried: list[tuple[int, str]] = []
    oracle = torch.from_numpy(dataset.valid.toarray()), torch.eye(dataset.n_items)
    monkeypatch.setitem(GRIDS, "planted", {"a": (1, 2), "b": ("x", "y", "z")})
    monkeypatch.setitem(
        BASELINES,
        "planted",
        lambda dataset, item_vectors, a, b: (
            tried.append((a, b))
            or (oracle if (a, b) == (2, "x") else (torch.zeros(dataset.n_users, 1), torch.zeros(dataset.n_items, 1)))
        ),
    )
    assert tuned("planted", dataset, None, config)[1] == {"a": 2, "b": "x"}
    assert sorted(tried) == [(a, b) for a in (1, 2) for b in "xyz"]


def test_a_finished_baseline_is_fitted_again_only_when_something_changed(
    fits: list[str], tmp_path: Path, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(config: dict[str, Any] = config, dataset: Dataset = dataset, rerun: bool = False) -> bool:
        fits.clear()
        result = baseline_row("item_knn", tmp_path / "knn", dataset, NO_TEXT, config, rerun)
        assert read(tmp_path / "knn" / "metrics.json")["test"] == result["test"]
        return fits == ["item_knn"]

    assert fitted()
    assert not fitted()
    assert not fitted({**config, "lr": 5.0, "epochs": 99})
    assert fitted(rerun=True)
    for change in ({"seed": 1}, {"top_k": [5, 10, 20]}, {"early_stop_metric": "Recall@10"}):
        assert fitted({**config, **change}), change
        assert not fitted({**config, **change}), change
        assert fitted(), change
    other = load_dataset({**config, "split": "random"})
    assert fitted(dataset=other)
    assert not fitted(dataset=other)
    monkeypatch.setitem(GRIDS, "item_knn", {"neighbours": (2, 7), "shrink": (0,)})
    assert fitted(dataset=other)
    assert not fitted(dataset=other)


def test_baselines_are_fitted_again_with_other_texts(
    fits: list[str], tmp_path: Path, dataset: Dataset, config: dict[str, Any]
) -> None:
    """Content is made of the vectors, and the Diversity of every baseline's lists is measured with them."""
    names = ["popularity", "content_cosine", "content_whitened"]
    for number, (used, digest, expected) in enumerate(
        (("one", "first", names), ("one", "first", []), ("two", "first", names), ("two", "second", names))
    ):
        fits.clear()
        items = np.random.default_rng([number - (expected == [])]).normal(size=(dataset.n_items, 5)).astype(np.float32)
        vectors = TextVectors(items, None, {"used": used, "dim": 5, "digest": digest})
        found = {name: baseline_row(name, tmp_path / name, dataset, vectors, config, False) for name in names}
        assert fits == expected
        assert [found[name]["encoder"]["used"] for name in names] == [None, used, used]
        known, users = dataset.masked_for("test"), np.flatnonzero(np.diff(dataset.test.indptr))
        lists = rank_items(*BASELINES["popularity"](dataset, items), users, known, 20, seed=config["seed"]).items
        assert found["popularity"]["beyond"] == pytest.approx(beyond_accuracy(lists, dataset.train, items))


@pytest.fixture
def cold_dataset(data_dir: Path, config: dict[str, Any]) -> Dataset:
    """Titles without a history, rows set aside, and a user with a single row, who has none in test."""
    with open(data_dir / "interactions.tsv", "a", encoding="utf-8") as file:
        file.write("untested\ts1\t5\t\t\n")
        file.writelines(f"u{user}\tin_test\t5\t\t2021-01-01\n" for user in range(9))
    with open(data_dir / "anime.tsv", "a", encoding="utf-8") as file:
        file.write("in_test\tall of its rows are in test\t\t\n")
    dataset = load_dataset({**config, "cold_item_ratio": 0.2, "split_seed": 1, "min_rate": 3.0})
    assert dataset.excluded.nnz > 0
    assert 0 < dataset.warm_pairs("test").nnz < dataset.test.nnz
    return dataset


def among_warm(factors: Any, dataset: Dataset, part: str, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Evaluate the titles with a history among each other, with all pairs masked that came before."""
    warm = dataset.train.toarray().any(axis=0)
    known = dataset.train + dataset.excluded + (dataset.valid if part == "test" else 0 * dataset.valid)
    return evaluate(
        *factors, sp.csr_matrix(getattr(dataset, part).toarray() * warm), known, config, np.flatnonzero(warm)
    )


def test_a_baseline_has_the_figures_of_its_best_point(
    tmp_path: Path, planted: str, cold_dataset: Dataset, config: dict[str, Any]
) -> None:
    dataset = cold_dataset
    found = baseline_row(planted, tmp_path / "planted", dataset, NO_TEXT, config, False)
    factors = torch.from_numpy(dataset.valid.toarray()), torch.eye(dataset.n_items)
    warm, test = (
        among_warm(factors, dataset, "test", config),
        evaluate(*factors, dataset.test, dataset.train + dataset.valid, config),
    )
    assert found["point"] == {"knows": "valid"}
    for part, values in (("warm", warm), ("test", test), ("valid", among_warm(factors, dataset, "valid", config))):
        assert found[part] == pytest.approx({key: np.nanmean(of_users) for key, of_users in values.items()})
    assert found["warm"] != pytest.approx(found["test"])
    users = np.flatnonzero((dataset.test.toarray() * dataset.train.toarray().any(axis=0)).any(axis=1))
    assert list(found["user_test"]) == [dataset.raw_user_ids[user] for user in users]
    assert list(found["user_test"].values()) == pytest.approx(warm["NDCG@20"].tolist())
    lists = rank_items(*factors, users, dataset.train + dataset.valid + dataset.excluded, 20, seed=config["seed"]).items
    assert found["beyond"] == pytest.approx(beyond_accuracy(lists, dataset.train, None))


# --- rows and seeds ---


def test_each_seed_has_its_folder_and_data_of_its_own(
    overrides: dict[str, Any], runs: list[str], fits: list[str], tmp_path: Path
) -> None:
    overrides = {**overrides, "seed": 4, "split_seed": 7, "split": "random"}
    rows = compare(TWO, overrides, tmp_path / "a", seeds=2)
    a = tmp_path / "a"
    assert runs == [
        str(a / "sum-none"),
        str(a / "sum-item"),
        str(a / "sum-none" / "seed_1"),
        str(a / "sum-item" / "seed_1"),
    ]
    assert fits == OF_ONE_BLOCK * 2
    for row in rows:
        folders = [Path(folder) for folder in row["folders"]]
        name = row["tag"] if row["tag"] in TWO else f"baseline-{row['tag']}"
        assert folders == [a / name, a / name / "seed_1"]
        seeds = [read(folder / "metrics.json") for folder in folders]
        assert [one.get("seed", one.get("config", {}).get("seed")) for one in seeds] == [4, 5]
        assert row["tag"] not in TWO or [one["config"]["split_seed"] for one in seeds] == [7, 8]
        for part in ("warm", "test"):
            values = [one[part]["NDCG@20"] for one in seeds]
            assert row[part]["NDCG@20"] == pytest.approx({"mean": np.mean(values), "sd": np.std(values, ddof=1)})
        prints = [load_dataset(get_config({**overrides, "split_seed": seed})).fingerprint for seed in (7, 8)]
        assert [one["data"]["fingerprint"] for one in seeds] == prints
        assert prints[0] != prints[1]
    compared = [[{**read(Path(folder) / "comparison.json")} for folder in row["folders"]] for row in rows[-2:]]
    assert (rows[-1]["gain"], rows[-1]["p"]) == pytest.approx(paired_test(compared[1], compared[0]))
    runs.clear(), fits.clear()
    again = compare(TWO, overrides, tmp_path / "a", seeds=2)
    assert (runs, fits) == ([], [])
    assert again == rows
    compare(TWO, overrides, tmp_path / "a", seeds=3)
    assert runs == [str(a / "sum-none" / "seed_2"), str(a / "sum-item" / "seed_2")]


def test_a_row_without_its_comparison_gets_it_without_training(
    overrides: dict[str, Any], runs: list[str], tmp_path: Path
) -> None:
    rows = compare(TWO, overrides, tmp_path / "a")
    path = tmp_path / "a" / "sum-item" / "comparison.json"
    before = path.read_bytes()
    path.unlink()
    runs.clear()
    assert compare(TWO, overrides, tmp_path / "a") == rows
    assert runs == []
    assert path.read_bytes() == before


def test_a_row_that_was_killed_before_its_page_gets_it_without_training(
    overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(overrides["saved_dir"])
    before = compare(TWO, overrides, folder)
    pages = [folder / tag / "report.html" for tag in TWO]
    pages[0].unlink()
    monkeypatch.setattr(trainer, "train_epoch", lambda *args, **more: pytest.fail("trained again"))
    assert compare(TWO, overrides, folder) == before
    assert all(page.exists() for page in pages)


def test_a_baseline_without_its_comparison_gets_it(tmp_path: Path, dataset: Dataset, config: dict[str, Any]) -> None:
    found = baseline_row("popularity", tmp_path, dataset, NO_TEXT, config, False)
    (tmp_path / "comparison.json").unlink()
    assert baseline_row("popularity", tmp_path, dataset, NO_TEXT, config, False)["user_test"] == found["user_test"]


def test_a_row_that_is_run_again_gets_a_new_comparison(
    overrides: dict[str, Any], runs: list[str], tmp_path: Path
) -> None:
    compare(TWO, overrides, tmp_path / "a")
    path = tmp_path / "a" / "sum-item" / "comparison.json"
    before = path.read_bytes()
    runs.clear()
    compare(TWO, {**overrides, "lr": 0.5}, tmp_path / "a")
    assert len(runs) == 2
    assert path.read_bytes() != before


def change_a_summary(overrides: dict[str, Any]) -> None:
    path = Path(overrides["data_dir"]) / "anime.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("story of 7", "another story"), encoding="utf-8")


def diversity(folder: Path) -> float:
    return read(folder / "comparison.json")["beyond"]["Diversity"]


def test_changed_texts_are_noticed(overrides: dict[str, Any], runs: list[str], fits: list[str], tmp_path: Path) -> None:
    """Ids and pairs are as before: a row without text stays, but the Diversity of its lists is measured anew."""
    folder = tmp_path / "a"
    compare(TWO, overrides, folder)
    before, trained = diversity(folder / "sum-none"), (folder / "sum-none" / "best_model.pth").stat().st_mtime_ns
    runs.clear(), fits.clear()
    change_a_summary(overrides)
    rows = {row["tag"]: row for row in compare(TWO, overrides, folder)}
    assert (runs, fits) == ([str(folder / "sum-item")], OF_ONE_BLOCK)
    config = read(folder / "sum-none" / "metrics.json")["config"]
    dataset = load_dataset(config)
    vectors = llm_embedding.text_vectors(dataset, {**config, "fusion_mode": "sum", "use_item_llm": True}, "cpu")
    factors = [torch.load(folder / "sum-none" / name, weights_only=True) for name in ("user_emb.pt", "item_emb.pt")]
    lists = rank_items(*factors, np.flatnonzero(np.diff(dataset.test.indptr)), dataset.masked_for("test"), 20).items
    expected = beyond_accuracy(lists, dataset.train, vectors.items)["Diversity"]
    assert rows["sum-none"]["beyond"]["Diversity"]["mean"] == diversity(folder / "sum-none") == pytest.approx(expected)
    assert diversity(folder / "sum-none") != pytest.approx(before, rel=1e-6)
    assert (folder / "sum-none" / "best_model.pth").stat().st_mtime_ns == trained
    runs.clear(), fits.clear()
    assert {row["tag"]: row for row in compare(TWO, overrides, folder)} == rows
    assert (runs, fits) == ([], [])


def test_rows_that_fell_back_to_lsa_are_run_again_once_the_encoder_is_back(
    overrides: dict[str, Any], runs: list[str], fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable: list[bool] = []

    def open_encoder(config: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, Any]:
        if reachable:
            return ABSENT, lambda texts: np.array([[len(t), t.count("a"), 1] for t in texts], np.float32)
        return "lsa", lsa_encoder(corpus, config["lsa_dim"])

    monkeypatch.setattr(llm_embedding, "open_encoder", open_encoder)
    overrides, folder = {**overrides, "model_name": ABSENT}, tmp_path / "a"
    for used, expected in (("lsa", ["sum-none", "sum-item"]), ("lsa", []), (ABSENT, ["sum-item"]), (ABSENT, [])):
        runs.clear(), fits.clear()
        reachable[:] = [True] * (used == ABSENT)
        rows = {row["tag"]: row for row in compare(TWO, overrides, folder)}
        assert [Path(path).name for path in runs] == expected
        assert fits == (OF_ONE_BLOCK if expected else [])
        assert (rows["sum-item"]["encoder"], rows["content_cosine"]["encoder"]) == (used, used)
        assert rows["sum-none"]["encoder"] is None


def test_a_row_of_before_text_was_stamped_is_run_again(
    overrides: dict[str, Any], runs: list[str], tmp_path: Path
) -> None:
    compare(TWO, overrides, tmp_path / "a")
    path = tmp_path / "a" / "sum-item" / "metrics.json"
    metrics = read(path)
    del metrics["encoder"]["digest"]
    path.write_text(json.dumps(metrics), encoding="utf-8")
    runs.clear()
    compare(TWO, overrides, tmp_path / "a")
    assert runs == [str(tmp_path / "a" / "sum-item")]


def test_a_comparison_is_that_of_the_saved_vectors(overrides: dict[str, Any], tmp_path: Path) -> None:
    compare({"sum-item": TWO["sum-item"]}, overrides, tmp_path / "a")
    folder = tmp_path / "a" / "sum-item"
    config = read(folder / "metrics.json")["config"]
    dataset = load_dataset(config)
    vectors = [torch.load(folder / name, weights_only=True) for name in ("user_emb.pt", "item_emb.pt")]
    test = among_warm(vectors, dataset, "test", config)["NDCG@20"]
    found = read(folder / "comparison.json")
    assert found["user_metric"] == "NDCG@20"
    assert list(found["user_test"].values()) == pytest.approx(test.tolist())
    assert np.mean(list(found["user_test"].values())) == pytest.approx(read(folder / "metrics.json")["warm"]["NDCG@20"])


def test_rows_that_the_command_line_contradicts_are_left_out(
    overrides: dict[str, Any], runs: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    rows = compare(TWO, {**overrides, "use_item_llm": True}, tmp_path / "a")
    assert [row["tag"] for row in rows if row["tag"] in TWO] == ["sum-item"]
    assert runs == [str(tmp_path / "a" / "sum-item")]
    assert "sum-none: left out, the command line contradicts it" in caplog.text


def test_without_text_both_ways_to_fuse_are_one_model(
    overrides: dict[str, Any], runs: list[str], tmp_path: Path
) -> None:
    """It is trained once a seed, and stands for both rows; alone it is trained as what the command line asks for."""
    tags, folder = ("sum-none", "concat-none", "concat-item"), tmp_path / "a"
    rows = {row["tag"]: row for row in compare({tag: COMBINATIONS[tag] for tag in tags}, overrides, folder, seeds=2)}
    assert [str(Path(path).relative_to(folder)) for path in runs] == [
        "sum-none",
        "concat-item",
        "sum-none/seed_1",
        "concat-item/seed_1",
    ]
    assert rows["concat-none"]["folders"] == rows["sum-none"]["folders"]
    assert rows["concat-none"]["warm"] == rows["sum-none"]["warm"]
    tests = [
        [read(Path(path) / "comparison.json") for path in rows[tag]["folders"]] for tag in ("concat-item", "sum-none")
    ]
    assert (rows["concat-item"]["gain"], rows["concat-item"]["p"]) == pytest.approx(paired_test(*tests))
    runs.clear()
    alone = compare({tag: COMBINATIONS[tag] for tag in tags}, {**overrides, "fusion_mode": "concat"}, tmp_path / "b")
    assert [Path(path).name for path in runs] == ["concat-none", "concat-item"]
    assert [row["tag"] for row in alone if row["tag"] in tags] == ["concat-none", "concat-item"]


# --- --full ---


def test_full_crosses_loss_start_dropout_and_encoder() -> None:
    assert len(FULL) == 16
    crossed = {(row["loss"], row["init"], row["id_dropout"], row.get("model_name")) for row in FULL.values()}
    assert crossed == {
        (loss, init, drop, name)
        for loss in ("bpr", "softmax")
        for init in ("normal", "svd")
        for drop in (0.0, 0.5)
        for name in ("lsa", None)
    }
    assert all(row.items() >= COMBINATIONS["sum-both"].items() for row in FULL.values())
    for row in FULL.values():
        get_config(row)


def test_rows_of_another_encoder_have_a_vectors_folder_of_their_own(
    overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_encoder = encoders.open_encoder

    def fake(config: dict[str, Any], *args: Any) -> tuple[str, Any]:
        """Stand in for a transformer, whose vectors have another length than those of lsa."""
        opened.append(config["model_name"])
        if config["model_name"] == "lsa":
            return open_encoder(config, *args)
        return config["model_name"], lambda texts: np.array([[len(t), t.count("a"), 1] for t in texts], np.float32)

    monkeypatch.setattr(llm_embedding, "open_encoder", fake)
    del overrides["model_name"]
    settings = {tag: FULL[tag] for tag in ("bpr-normal-drop0-lsa", "bpr-normal-drop0-model_name", "bpr-svd-drop0-lsa")}
    rows = {row["tag"]: row for row in compare({**TWO, **settings}, overrides, tmp_path / "a")}
    default = get_config({})["model_name"]
    assert opened == [default, "lsa"]
    used = {tag: read(tmp_path / "a" / tag / "metrics.json")["encoder"]["used"] for tag in (*TWO, *settings)}
    assert used == {
        "sum-none": None,
        "sum-item": default,
        "bpr-normal-drop0-lsa": "lsa",
        "bpr-svd-drop0-lsa": "lsa",
        "bpr-normal-drop0-model_name": default,
    }
    assert rows["bpr-svd-drop0-lsa"]["encoder"] == "lsa"
    shapes = [
        np.load(folder / "item_llm_embeddings.npy").shape[1]
        for folder in (Path(overrides["saved_dir"]), tmp_path / "a" / "vectors" / "lsa")
    ]
    assert shapes == [3, overrides["lsa_dim"]]


# --- the script ---


def test_seeds_on_the_command_line(
    overrides: dict[str, Any], runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"fusion_mode": "sum", "use_user_llm": "false", "use_item_llm": "true"}
    words = [word for key, value in {**overrides, **more}.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["run_ablation.py", "--seeds", "2", *words])
    assert run_script(run_ablation.main) == 0
    folder = Path(overrides["saved_dir"]) / "ablation"
    assert runs == [str(folder / "sum-item"), str(folder / "sum-item" / "seed_1")]
    rows = read(folder / "results.json")
    assert [row["n_seeds"] for row in rows] == [2] * (len(OF_ONE_BLOCK) + 1)
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("| sum-item"))
    ndcg = rows[-1]["warm"]["NDCG@20"]
    assert f"{ndcg['mean']:.4f} ± {ndcg['sd']:.4f}" in line


@pytest.mark.parametrize(
    ("only", "tags", "names"),
    [("sum-item,ease", ["sum-item"], ["ease"]), ("popularity", [], ["popularity"]), ("sum-none", ["sum-none"], [])],
)
def test_only_the_rows_that_are_named_are_run(
    overrides: dict[str, Any],
    runs: list[str],
    only: str,
    tags: list[str],
    names: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["run_ablation.py", "--only", only, *words])
    assert run_script(run_ablation.main) == 0
    assert [Path(folder).name for folder in runs] == tags
    rows = read(Path(overrides["saved_dir"]) / "ablation" / "results.json")
    assert [row["tag"] for row in rows] == names + tags


@pytest.mark.parametrize(
    ("only", "more", "said"),
    [
        ("ease,eas", {}, "names eas; the rows are popularity"),
        ("sum-none", {"fusion_mode": "concat"}, "contradicts every"),
        ("content_blocks", {}, "allow none of the baselines content_blocks"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    overrides: dict[str, Any],
    runs: list[str],
    only: str,
    more: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word for key, value in {**overrides, **more}.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["run_ablation.py", "--only", only, *words])
    assert run_script(run_ablation.main) != 0
    assert said in capsys.readouterr().err
    assert not runs


def test_the_cosine_over_all_blocks_is_there_where_there_are_several(dataset: Dataset) -> None:
    items, users = (
        np.random.default_rng(n).normal(size=(n, 5)).astype(np.float32) for n in (dataset.n_items, dataset.n_users)
    )
    one, two = (TextVectors(items, users, {}, blocks) for blocks in ({"encoder": 5}, {"encoder": 3, "tags": 2}))
    assert possible_baselines(dataset, one) == OF_ONE_BLOCK
    assert possible_baselines(dataset, two) == list(BASELINES)
    assert text_for("content_cosine", two).shape == (dataset.n_items, 3)
    lengths = np.linalg.norm(text_for("content_blocks", two).astype(float), axis=1)
    assert lengths == pytest.approx(np.hypot(1.0, 0.5), rel=1e-4)
    assert text_for("ease", two) is None
