"""run_ablation.py: rows and seeds, what is run again, and the command line."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import llm_embedding
import run_ablation
import trainer
from config import get_config
from data_loader import Dataset, load_dataset
from evaluation.baselines import BASELINES, RATED, TIMED
from evaluation.comparisons import best_baseline
from evaluation.list_metrics import beyond_accuracy
from evaluation.ranking import rank_items
from evaluation.significance import paired_test
from evaluation.tables import mean_and_sd
from evaluation.tuned_baselines import OF_TEXT, possible_baselines, text_for
from llm_embedding import TextVectors
from run_ablation import COMBINATIONS, FULL, baseline_row, compare
from runtime.cli import run_script
from tests.helpers.ablations import among_warm, read, runs_of
from text import encoders
from text.encoders import lsa_encoder

# without recency, rating_weight and text_blocks
OF_ONE_BLOCK = [name for name in BASELINES if name not in (*TIMED, *RATED, "content_blocks")]
TAKE_TEXT = [name for name in OF_ONE_BLOCK if name in OF_TEXT]
NO_TEXT = TextVectors(None, None, {"used": None, "dim": 0, "digest": None})
ABSENT = "aglrec-tests/not-on-this-disk"
TWO = {tag: COMBINATIONS[tag] for tag in ("sum-none", "sum-item")}


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


# --- rows and seeds ---


@pytest.mark.slow
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
    found = rows[-1]["against"]["sum-none"]
    assert (rows[-1]["gain"], found["p_uncorrected"]) == pytest.approx(paired_test(compared[1], compared[0]))
    assert found["p_uncorrected"] <= rows[-1]["p"] <= found["p_all_pairs"]
    runs.clear(), fits.clear()
    again = compare(TWO, overrides, tmp_path / "a", seeds=2)
    assert (runs, fits) == ([], [])
    assert again == rows
    compare(TWO, overrides, tmp_path / "a", seeds=3)
    assert runs == [str(a / "sum-none" / "seed_2"), str(a / "sum-item" / "seed_2")]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_changed_texts_are_noticed(overrides: dict[str, Any], runs: list[str], fits: list[str], tmp_path: Path) -> None:
    """Ids and pairs are as before: a row without text stays, but the Diversity of its lists is measured anew."""
    folder = tmp_path / "a"
    compare(TWO, overrides, folder)
    before, trained = diversity(folder / "sum-none"), (folder / "sum-none" / "best_model.pth").stat().st_mtime_ns
    runs.clear(), fits.clear()
    change_a_summary(overrides)
    rows = {row["tag"]: row for row in compare(TWO, overrides, folder)}
    assert (runs, fits) == ([str(folder / "sum-item")], TAKE_TEXT)
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


@pytest.mark.slow
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
        assert fits == ([] if not expected else OF_ONE_BLOCK if len(expected) == 2 else TAKE_TEXT)
        assert (rows["sum-item"]["encoder"], rows["content_cosine"]["encoder"]) == (used, used)
        assert rows["sum-none"]["encoder"] is None


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_rows_that_the_command_line_contradicts_are_left_out(
    overrides: dict[str, Any], runs: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    rows = compare(TWO, {**overrides, "use_item_llm": True}, tmp_path / "a")
    assert [row["tag"] for row in rows if row["tag"] in TWO] == ["sum-item"]
    assert runs == [str(tmp_path / "a" / "sum-item")]
    assert "sum-none: left out, the command line contradicts it" in caplog.text


@pytest.mark.slow
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
    found = rows["concat-item"]["against"]["concat-none"]
    assert (rows["concat-item"]["gain"], found["p_uncorrected"]) == pytest.approx(paired_test(*tests))
    assert rows["concat-none"]["against"]["sum-none"]["p_uncorrected"] == 1
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert mean_and_sd(rows[-1]["warm"]["NDCG@20"], 2) in line
    assert "each with a split of its own" in printed  # some rows have no date, and are drawn
    assert {row["rival"] for row in rows} == {best_baseline(rows)} != {None}
    assert printed.endswith(f"{folder.parent / 'report.html'} has the charts\n")
    assert (folder / "results.md").read_text(encoding="utf-8") in printed
    figures = pd.read_csv(folder / "results.csv")
    assert set(figures["row"]) == {row["tag"] for row in rows}
    mine = figures[(figures["row"] == "sum-item") & (figures["part"] == "run") & (figures["metric"] == "fit_s")]
    assert list(zip(mine["seed"], mine["split_seed"], strict=True)) == [(0, 0), (1, 1)]
    fitted = [read(folder / home / "metrics.json")["timing"]["fit_s"] for home in ("sum-item", "sum-item/seed_1")]
    assert mine["value"].tolist() == fitted
    assert (folder / "results.tex").read_text(encoding="utf-8").count(r"\begin{tabular}") == 4


@pytest.mark.slow
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


def test_rows_without_text_need_no_encoder(
    overrides: dict[str, Any], runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their lists have no Diversity then."""
    for name in ("open_encoder", "_assembled"):
        monkeypatch.setattr(llm_embedding, name, lambda *args: pytest.fail("text is read"))
    more = {"model_name": ABSENT, "encoder_fallback": "none"}
    words = [word for key, value in {**overrides, **more}.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["run_ablation.py", "--only", "popularity,ease,sum-none", *words])
    assert run_script(run_ablation.main) == 0
    rows = read(Path(overrides["saved_dir"]) / "ablation" / "results.json")
    assert [row["tag"] for row in rows] == ["popularity", "ease", "sum-none"]
    assert all(row["beyond"].keys() == {"Coverage", "Gini", "Novelty"} for row in rows)


@pytest.mark.slow
def test_the_halves_of_the_model(overrides: dict[str, Any], runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"linear_dim": 6, "calibrate": "true", "cold_item_ratio": 0.2, "cold_cost": 0.1, "fusion_mode": "concat"}
    words = [word for key, value in {**overrides, **more}.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["run_ablation.py", "--only", "linear,trained,concat-both", *words])
    assert run_script(run_ablation.main) == 0
    folder = Path(overrides["saved_dir"]) / "ablation"
    assert [Path(path).name for path in runs] == ["concat-both", "trained"]
    assert [row["tag"] for row in read(folder / "results.json")] == ["linear", "concat-both", "trained"]
    both, trained, linear = (read(folder / tag / "metrics.json") for tag in ("concat-both", "trained", "linear"))
    assert {key for key in both["config"] if both["config"][key] != trained["config"][key]} == {
        "saved_dir",
        "linear_dim",
    }
    assert trained["config"]["linear_dim"] == 0
    assert linear["decided"]["linear"] == both["decided"]["linear"]
    assert linear["decided"]["cold_offset"]["offset"]
    assert linear["encoder"]["used"] == "lsa"


@pytest.mark.slow
def test_p_is_against_the_row_that_is_named(
    overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    only = ["--only", "popularity,ease,sum-none,sum-item", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["run_ablation.py", *only, "--against", "sum-none", *words])
    assert run_script(run_ablation.main) == 0
    rows = {row["tag"]: row for row in read(Path(overrides["saved_dir"]) / "ablation" / "results.json")}
    assert {tag: row["p_rival"] is not None for tag, row in rows.items()} == {tag: tag != "sum-none" for tag in rows}
    assert (
        rows["sum-item"]["gain"] == rows["sum-item"]["gain_rival"] == -rows["sum-none"]["against"]["sum-item"]["gain"]
    )
    assert "against sum-none." in " ".join(capsys.readouterr().out.split())


def test_a_rival_that_the_data_do_not_allow_is_told(caplog: pytest.LogCaptureFixture) -> None:
    results = {tag: runs_of(np.random.default_rng(0).random((2, 9))) for tag in ("popularity", "ease")}
    results["ease"] = [{**run, "valid": {"NDCG@20": 0.5}} for run in results["ease"]]
    rows = run_ablation.compared(results, {}, "content_blocks")
    assert {row["rival"] for row in rows} == {"ease"}
    assert "content_blocks could not be run" in caplog.text


@pytest.mark.parametrize(
    ("only", "more", "said"),
    [
        ("sum-none", {"against": "ease"}, "--against names ease; the rows are sum-none"),
        ("ease,eas", {}, "names eas; the rows are popularity"),
        ("sum-none", {"fusion_mode": "concat"}, "contradicts every"),
        ("linear,trained", {}, "allow none of the rows linear,trained"),
        ("content_blocks", {}, "allow none of the rows content_blocks"),
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


def test_the_cosine_over_all_blocks_is_there_where_there_are_several(dataset: Dataset, config: dict[str, Any]) -> None:
    items, users = (
        np.random.default_rng(n).normal(size=(n, 5)).astype(np.float32) for n in (dataset.n_items, dataset.n_users)
    )
    one, two = (TextVectors(items, users, {}, blocks) for blocks in ({"encoder": 5}, {"encoder": 3, "tags": 2}))
    assert possible_baselines(dataset, one, config) == OF_ONE_BLOCK
    assert [name for name in BASELINES if name in (*OF_ONE_BLOCK, "content_blocks")] == possible_baselines(
        dataset, two, config
    )
    assert text_for("content_cosine", two).shape == (dataset.n_items, 3)
    lengths = np.linalg.norm(text_for("content_blocks", two).astype(float), axis=1)
    assert lengths == pytest.approx(np.hypot(1.0, 0.5), rel=1e-4)
    assert text_for("ease", two) is None
