"""The table of rows and seeds: what is run, tuned, kept and run again, and the statistics over it."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import ttest_rel

import llm_embedding
import run_ablation
from baselines import BASELINES, GRIDS
from config import get_config, run_script
from data_loader import Dataset, load_dataset
from evaluator import beyond_accuracy, evaluate, rank_items
from llm_embedding import TextVectors
from run_ablation import COMBINATIONS, FULL, add_p_values, baseline, compare, holm, paired_test, summary, tuned

NO_TEXT = TextVectors(None, None, {"used": None, "dim": 0})
TWO = {tag: COMBINATIONS[tag] for tag in ("sum-none", "sum-item")}


def run_of(value: float, user_test: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """Return what model() and baseline() return of a run whose figures are all this value."""
    figures = {"NDCG@20": value, "Recall@20": 10 * value}
    return {"encoder": {"used": "lsa"}, "folder": f"folder of {value:g}", "epoch": int(value), "valid": figures,
            "test": figures, "cold": {}, "groups": {"users": {"<=5": {"n_users": 4, **figures}}},
            "beyond": {"Coverage": value}, "train_s": value, "user_test": user_test or {}, **more}


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

@pytest.mark.parametrize(("given", "corrected"), [
    ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
    ([0.2], [0.2]),
    ([0.5, 0.4], [0.8, 0.8]),
    ([0.6, 0.7, 0.9], [1.0, 1.0, 1.0]),
    ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
    ([0.02, 0.001, 0.9], [0.04, 0.003, 0.9]),
    ([], [])])
def test_holm_by_hand(given: list[float], corrected: list[float]) -> None:
    names = "dcba"[: len(given)]
    found = holm(dict(zip(names, given, strict=True)))
    assert list(found) == list(names)
    assert list(found.values()) == pytest.approx(corrected)


# --- the paired test ---

def test_paired_test_of_one_seed_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((2, 30))
    users = [f"u{number}" for number in range(30)]
    gain, p = paired_test([run_of(0, dict(zip(users, ours, strict=True)))],
                          [run_of(0, dict(zip(users[::-1], theirs[::-1], strict=True)))])
    assert gain == pytest.approx((ours - theirs).mean())
    assert p == pytest.approx(ttest_rel(ours, theirs).pvalue)


def test_paired_test_averages_a_user_over_the_seeds_that_test_him() -> None:
    ours = [{"a": 0.9, "b": 0.5, "c": 0.3}, {"a": 0.5, "b": 0.1, "d": 1.0}]
    theirs = [{"a": 0.1, "b": 0.4, "c": 0.2}, {"a": 0.3, "b": 0.3, "d": 0.5}]
    gain, p = paired_test([run_of(0, one) for one in ours], [run_of(0, one) for one in theirs])
    of_users = [(0.8 + 0.2) / 2, (0.1 - 0.2) / 2, 0.1, 0.5]
    assert gain == pytest.approx(np.mean(of_users))
    assert p == pytest.approx(ttest_rel(of_users, np.zeros(4)).pvalue)


def test_rows_that_do_not_differ_have_a_p_of_one() -> None:
    same = [run_of(0, {"a": 0.5, "b": 0.25})]
    assert paired_test(same, same) == (0.0, 1.0)


def test_rows_are_tested_against_their_fusion_without_text() -> None:
    rng = np.random.default_rng(1)
    results = {tag: [run_of(0, {f"u{n}": value for n, value in enumerate(rng.random(20))})]
               for tag in ("popularity", "sum-none", "sum-item", "concat-none", "concat-both", "bpr-svd-drop0-lsa")}
    rows = [{"tag": tag} for tag in results]
    add_p_values(rows, results)
    found = {row["tag"]: (row["gain"], row["p"]) for row in rows}
    values = {tag: np.array(list(runs[0]["user_test"].values())) for tag, runs in results.items()}
    tested = {tag: ttest_rel(values[tag], values[f"{tag.split('-')[0]}-none"]).pvalue
              for tag in ("sum-item", "concat-both")}
    for tag, p in holm(tested).items():
        gain = (values[tag] - values[f"{tag.split('-')[0]}-none"]).mean()
        assert found[tag] == pytest.approx((gain, p))
    assert [found[tag] for tag in found if tag not in tested] == [(None, None)] * 4


# --- means over seeds ---

def test_summary_has_means_and_sample_deviations_of_every_number() -> None:
    row = summary("tag", {"lr": 1}, [run_of(1, point={"l2": 10}), run_of(2, point={"l2": 30}), run_of(6)])
    sd = np.std([1, 2, 6], ddof=1)
    assert sd == pytest.approx(7 ** 0.5)
    assert row["test"] == {"NDCG@20": {"mean": 3, "sd": pytest.approx(sd)},
                           "Recall@20": {"mean": 30, "sd": pytest.approx(10 * sd)}}
    assert row["valid"] == row["test"]
    assert row["groups"]["users"]["<=5"] == {"n_users": {"mean": 4, "sd": 0}, **row["test"]}
    assert row["beyond"]["Coverage"] == row["train_s"] == {"mean": 3, "sd": pytest.approx(sd)}
    assert row["cold"] == {}
    assert {key: row[key] for key in ("tag", "overrides", "encoder", "folders", "epochs", "points", "n_seeds")} == {
        "tag": "tag", "overrides": {"lr": 1}, "encoder": "lsa", "epochs": [1, 2, 6], "n_seeds": 3,
        "folders": ["folder of 1", "folder of 2", "folder of 6"], "points": [{"l2": 10}, {"l2": 30}, {}]}


def test_summary_of_one_seed_has_no_deviation() -> None:
    row = summary("tag", {}, [run_of(2)])
    assert (row["test"]["NDCG@20"], row["n_seeds"]) == ({"mean": 2, "sd": 0.0}, 1)


# --- baselines ---

@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A baseline whose grid holds an oracle of every part, in the order train, test, valid, cold_test."""
    monkeypatch.setitem(GRIDS, "planted", {"knows": ("train", "test", "valid", "cold_test")})
    monkeypatch.setitem(BASELINES, "planted", lambda dataset, item_vectors, knows: (
        torch.from_numpy(getattr(dataset, knows).toarray()), torch.eye(dataset.n_items)))
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
    monkeypatch.setitem(BASELINES, "planted", lambda dataset, item_vectors, which: (
        torch.tensor([scores[which]], dtype=torch.float32), torch.eye(6)))
    toy = type("Toy", (), {"valid": target, "train": nothing})
    for metric, which in (("Recall@4", "deep"), ("Hit@1", "top")):
        settings = {**config, "top_k": [1, 4], "early_stop_metric": metric}
        assert tuned("planted", toy, None, settings)[1] == {"which": which}


def test_every_point_of_a_grid_is_tried_and_the_best_kept(monkeypatch: pytest.MonkeyPatch, dataset: Dataset,
                                                          config: dict[str, Any]) -> None:
    tried: list[tuple[int, str]] = []
    oracle = torch.from_numpy(dataset.valid.toarray()), torch.eye(dataset.n_items)
    monkeypatch.setitem(GRIDS, "planted", {"a": (1, 2), "b": ("x", "y", "z")})
    monkeypatch.setitem(BASELINES, "planted", lambda dataset, item_vectors, a, b: tried.append((a, b)) or (
        oracle if (a, b) == (2, "x") else (torch.zeros(dataset.n_users, 1), torch.zeros(dataset.n_items, 1))))
    assert tuned("planted", dataset, None, config)[1] == {"a": 2, "b": "x"}
    assert sorted(tried) == [(a, b) for a in (1, 2) for b in "xyz"]


def test_a_finished_baseline_is_fitted_again_only_when_something_changed(
        fits: list[str], tmp_path: Path, dataset: Dataset, config: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted(config: dict[str, Any] = config, dataset: Dataset = dataset, rerun: bool = False) -> bool:
        fits.clear()
        result = baseline("item_knn", tmp_path / "knn", dataset, NO_TEXT, config, rerun)
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


def test_only_content_is_fitted_again_with_another_encoder(fits: list[str], tmp_path: Path, dataset: Dataset,
                                                           config: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    names = ["popularity", "content_cosine", "content_whitened"]
    for used, expected in (("one", names), ("one", []), ("two", names[1:])):
        fits.clear()
        vectors = TextVectors(rng.normal(size=(dataset.n_items, 5)).astype(np.float32), None, {"used": used, "dim": 5})
        for name in names:
            baseline(name, tmp_path / name, dataset, vectors, config, False)
        assert fits == expected


def test_a_baseline_has_the_figures_of_its_best_point(tmp_path: Path, planted: str, data_dir: Path,
                                                      config: dict[str, Any]) -> None:
    with open(data_dir / "interactions.tsv", "a", encoding="utf-8") as file:
        file.write("untested\ts1\t5\t\t\n")  # a user with a single row has none in test
    dataset = load_dataset(config)
    found = baseline(planted, tmp_path / "planted", dataset, NO_TEXT, config, False)
    factors = torch.from_numpy(dataset.valid.toarray()), torch.eye(dataset.n_items)
    known = dataset.train + dataset.valid
    test = evaluate(*factors, dataset.test, known, config)
    assert found["point"] == {"knows": "valid"}
    assert found["test"] == pytest.approx({key: np.nanmean(values) for key, values in test.items()})
    users = np.flatnonzero(np.diff(dataset.test.indptr))
    assert list(found["user_test"]) == [dataset.raw_user_ids[user] for user in users]
    assert list(found["user_test"].values()) == pytest.approx(test["NDCG@20"].tolist())
    lists = rank_items(*factors, users, known, 20, seed=config["seed"]).items
    assert found["beyond"] == pytest.approx(beyond_accuracy(lists, dataset.train, None))


# --- rows and seeds ---

def test_each_seed_has_its_folder_and_data_of_its_own(overrides: dict[str, Any], runs: list[str], fits: list[str],
                                                      tmp_path: Path) -> None:
    overrides = {**overrides, "seed": 4, "split": "random"}
    rows = compare(TWO, overrides, tmp_path / "a", seeds=2)
    a = tmp_path / "a"
    assert runs == [str(a / "sum-none"), str(a / "sum-item"), str(a / "sum-none" / "seed_1"),
                    str(a / "sum-item" / "seed_1")]
    assert fits == list(BASELINES) * 2
    for row in rows:
        folders = [Path(folder) for folder in row["folders"]]
        name = row["tag"] if row["tag"] in TWO else f"baseline-{row['tag']}"
        assert folders == [a / name, a / name / "seed_1"]
        seeds = [read(folder / "metrics.json") for folder in folders]
        assert [one.get("seed", one.get("config", {}).get("seed")) for one in seeds] == [4, 5]
        values = [one["test"]["NDCG@20"] for one in seeds]
        assert row["test"]["NDCG@20"] == pytest.approx({"mean": np.mean(values), "sd": np.std(values, ddof=1)})
        assert seeds[0]["data"]["fingerprint"] != seeds[1]["data"]["fingerprint"]
    compared = [[{**read(Path(folder) / "comparison.json")} for folder in row["folders"]] for row in rows[-2:]]
    assert (rows[-1]["gain"], rows[-1]["p"]) == pytest.approx(paired_test(compared[1], compared[0]))
    runs.clear(), fits.clear()
    again = compare(TWO, overrides, tmp_path / "a", seeds=2)
    assert (runs, fits) == ([], [])
    assert again == rows
    compare(TWO, overrides, tmp_path / "a", seeds=3)
    assert runs == [str(a / "sum-none" / "seed_2"), str(a / "sum-item" / "seed_2")]


def test_a_row_without_its_comparison_gets_it_without_training(overrides: dict[str, Any], runs: list[str],
                                                               tmp_path: Path) -> None:
    rows = compare(TWO, overrides, tmp_path / "a")
    path = tmp_path / "a" / "sum-item" / "comparison.json"
    before = path.read_bytes()
    path.unlink()
    runs.clear()
    assert compare(TWO, overrides, tmp_path / "a") == rows
    assert runs == []
    assert path.read_bytes() == before


def test_a_baseline_without_its_comparison_gets_it(tmp_path: Path, dataset: Dataset, config: dict[str, Any]) -> None:
    found = baseline("popularity", tmp_path, dataset, NO_TEXT, config, False)
    (tmp_path / "comparison.json").unlink()
    assert baseline("popularity", tmp_path, dataset, NO_TEXT, config, False)["user_test"] == found["user_test"]


def test_a_row_that_is_run_again_gets_a_new_comparison(overrides: dict[str, Any], runs: list[str],
                                                       tmp_path: Path) -> None:
    compare(TWO, overrides, tmp_path / "a")
    path = tmp_path / "a" / "sum-item" / "comparison.json"
    before = path.read_bytes()
    runs.clear()
    compare(TWO, {**overrides, "lr": 0.5}, tmp_path / "a")
    assert len(runs) == 2
    assert path.read_bytes() != before


def test_a_comparison_is_that_of_the_saved_vectors(overrides: dict[str, Any], tmp_path: Path) -> None:
    compare({"sum-item": TWO["sum-item"]}, overrides, tmp_path / "a")
    folder = tmp_path / "a" / "sum-item"
    config = read(folder / "metrics.json")["config"]
    dataset = load_dataset(config)
    vectors = [torch.load(folder / name, weights_only=True) for name in ("user_emb.pt", "item_emb.pt")]
    test = evaluate(*vectors, dataset.test, dataset.train + dataset.valid, config)["NDCG@20"]
    found = read(folder / "comparison.json")
    assert found["user_metric"] == "NDCG@20"
    assert list(found["user_test"].values()) == pytest.approx(test.tolist())
    assert np.mean(list(found["user_test"].values())) == pytest.approx(
        read(folder / "metrics.json")["test"]["NDCG@20"])


def test_rows_that_the_command_line_contradicts_are_left_out(overrides: dict[str, Any], runs: list[str],
                                                             tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    rows = compare(TWO, {**overrides, "use_item_llm": True}, tmp_path / "a")
    assert [row["tag"] for row in rows if row["tag"] in TWO] == ["sum-item"]
    assert runs == [str(tmp_path / "a" / "sum-item")]
    assert "sum-none: left out, the command line says otherwise" in caplog.text


# --- --full ---

def test_full_crosses_loss_start_dropout_and_encoder() -> None:
    assert len(FULL) == 16
    crossed = {(row["loss"], row["init"], row["id_dropout"], row.get("model_name")) for row in FULL.values()}
    assert crossed == {(loss, init, drop, name) for loss in ("bpr", "softmax") for init in ("normal", "svd")
                       for drop in (0.0, 0.5) for name in ("lsa", None)}
    assert all(row.items() >= COMBINATIONS["sum-both"].items() for row in FULL.values())
    for row in FULL.values():
        get_config(row)


def test_rows_of_another_encoder_have_a_vectors_folder_of_their_own(overrides: dict[str, Any], tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_encoder = llm_embedding.open_encoder

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
    assert used == {"sum-none": None, "sum-item": default, "bpr-normal-drop0-lsa": "lsa", "bpr-svd-drop0-lsa": "lsa",
                    "bpr-normal-drop0-model_name": default}
    assert rows["bpr-svd-drop0-lsa"]["encoder"] == "lsa"
    shapes = [np.load(folder / "item_llm_embeddings.npy").shape[1]
              for folder in (Path(overrides["saved_dir"]), tmp_path / "a" / "vectors" / "lsa")]
    assert shapes == [3, overrides["lsa_dim"]]


# --- the script ---

def test_seeds_on_the_command_line(overrides: dict[str, Any], runs: list[str], capsys: pytest.CaptureFixture[str],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"fusion_mode": "sum", "use_user_llm": "false", "use_item_llm": "true"}
    words = [word for key, value in {**overrides, **more}.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["run_ablation.py", "--seeds", "2", *words])
    assert run_script(run_ablation.main, "") == 0
    folder = Path(overrides["saved_dir"]) / "ablation"
    assert runs == [str(folder / "sum-item"), str(folder / "sum-item" / "seed_1")]
    rows = read(folder / "results.json")
    assert [row["n_seeds"] for row in rows] == [2] * (len(BASELINES) + 1)
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("| sum-item"))
    ndcg = rows[-1]["test"]["NDCG@20"]
    assert f"{ndcg['mean']:.4f} ± {ndcg['sd']:.4f}" in line
