"""studies/compare.py: which runs are a row, which rows are tested and how, and what is written."""

import json
import logging
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

import main
from config import get_config
from evaluation.significance import paired_test
from run_ablation import compare as ablate
from run_ablation import compared, gathered
from runtime.cli import run_script
from runtime.files import write_json
from runtime.manifest import record_again
from runtime.safe_files import load_arrays
from studies import compare
from studies.compared_runs import read_rows, rows_against, seeds_of
from tests.helpers.data import write_data
from tests.helpers.reports import Page, read


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    base = {"data_dir": str(folder / "data"), "vectors_dir": str(folder / "vectors"), "model_name": "lsa", "lsa_dim": 8}
    return get_config({**base, "embedding_dim": 8, "epochs": 2, "batch_size": 64, "device": "cpu", **more})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, other_data/ and finished runs: one and two layers with two seeds each, and odd ones."""
    folder = tmp_path_factory.mktemp("compare")
    write_data(folder / "data", n_users=30)
    write_data(folder / "other_data", n_users=31)
    odd = {
        "other_split": {"split_seed": 7, "split": "random"},
        "other_data": {"data_dir": str(folder / "other_data"), "vectors_dir": ""},
        "other_k": {"top_k": [5, 10], "split": "random"},
    }
    runs = {f"layers_{n}/s{seed}": {"num_layers": n, "seed": seed} for n in (1, 2) for seed in (0, 1)}
    for name, own in runs.items():
        split = {"split": "random", "split_seed": own["seed"], "lr": 0.05}
        main.run(settings(folder, saved_dir=str(folder / name), **split, **own))
    for name, own in odd.items():
        main.run(settings(folder, saved_dir=str(folder / name), **own))
    return folder


def folders(made: Path, *names: str) -> list[Path]:
    return [made / name for name in names]


def call(monkeypatch: pytest.MonkeyPatch, *words: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, words)])
    return run_script(compare.main)


FOUR = ("layers_1/s1", "layers_2/s0", "layers_1/s0", "layers_2/s1")

# --- rows ---


def test_seeds_of_the_same_settings_are_one_row(made: Path) -> None:
    rows = read_rows(folders(made, *FOUR, FOUR[0]))
    assert {label: [run["seed"] for run in runs] for label, runs in rows.items()} == {
        "layers_1/s1": [0, 1],
        "layers_2/s0": [0, 1],
    }
    found = [read(made / f"layers_1/s{seed}" / "metrics.json")["warm"]["NDCG@20"] for seed in (0, 1)]
    row = rows_against(rows, "layers_2/s0")[0]
    assert row["warm"]["NDCG@20"] == pytest.approx({"mean": np.mean(found), "sd": np.std(found, ddof=1)})
    assert (row["n_seeds"], row["n_splits"]) == (2, 2)


def test_two_runs_with_the_same_settings_and_seeds_are_two_rows(made: Path, tmp_path: Path) -> None:
    """As before and after a change of the code."""
    again = Path(shutil.copytree(made / "layers_1", tmp_path / "again"))
    rows = read_rows([*folders(made, "layers_1/s0", "layers_1/s1"), again / "s0", again / "s1"])
    assert [[run["seed"] for run in runs] for runs in rows.values()] == [[0, 1], [0, 1]]
    label, other = rows
    assert [row["p_rival"] for row in rows_against(rows, label)] == [None, 1.0]
    assert label.endswith("layers_1/s0")
    assert other.endswith("again/s0")


def test_metrics_that_some_runs_lack_are_left_out(made: Path) -> None:
    rows = rows_against(read_rows(folders(made, "layers_1/s0", "other_k")), "layers_1/s0")
    for row in rows:
        assert {key for key in row["warm"] if key.startswith("NDCG")} == {"NDCG@10"}
    values = [load_arrays(made / name / "user_metrics.npz")["NDCG@10"] for name in ("layers_1/s0", "other_k")]
    assert rows[1]["gain_rival"] == pytest.approx((values[1] - values[0]).mean())


def test_runs_without_a_common_k_are_refused(made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made / "other_k", tmp_path / "run"))
    metrics = read(run / "metrics.json")
    metrics["warm"] = {key.replace("@10", "@7").replace("@5", "@3"): value for key, value in metrics["warm"].items()}
    write_json(run / "metrics.json", metrics)
    (run / "manifest.json").unlink()
    with pytest.raises(ValueError, match="give them a common --top_k"):
        read_rows([made / "layers_1/s0", run])


def test_a_refit_is_compared_by_the_run_that_was_measured(made: Path, tmp_path: Path) -> None:
    refit = tmp_path / "refit"
    shutil.copytree(made / "layers_1/s0", refit / "measured")
    write_json(refit / "metrics.json", {**read(made / "layers_1/s0" / "metrics.json"), "config": {"refit": True}})
    (_, [run]), (_, [measured]) = read_rows([refit, made / "layers_1/s0"]).items()
    assert run["folder"] == str(refit.resolve() / "measured")
    assert run["user_test"] == measured["user_test"]


# --- tests ---


def per_user(made: Path, name: str) -> np.ndarray:
    return load_arrays(made / name / "user_metrics.npz")["NDCG@20"]


def test_rows_are_tested_by_the_runs_that_share_a_split(made: Path) -> None:
    label, other = "layers_1/s0", "layers_2/s1"
    rows = rows_against(read_rows(folders(made, label, "layers_1/s1", other, "layers_2/s0")), label)
    users = [load_arrays(made / f"layers_1/s{seed}" / "user_metrics.npz")["user_ids"].tolist() for seed in (0, 1)]
    runs = [
        [
            {"user_test": dict(zip(users[seed], per_user(made, f"layers_{n}/s{seed}").tolist(), strict=True))}
            for seed in (0, 1)
        ]
        for n in (2, 1)
    ]
    assert (rows[1]["gain_rival"], rows[1]["p_rival"]) == pytest.approx(paired_test(*runs))
    assert (rows[1]["n_paired"], rows[1]["p_over_users"]) == (2, None)
    assert (rows[0]["gain_rival"], rows[0]["p_rival"], rows[0]["rival"]) == (None, None, label)


def test_rows_are_tested_by_what_was_liked_as_well(made: Path, tmp_path: Path) -> None:
    """Users without a liked pair are left out; runs with other rates are not tested so."""
    names = ("layers_1/s0", "layers_2/s0")
    first, second = (load_arrays(made / name / "user_metrics.npz")["liked NDCG@20"] for name in names)
    assert 0 < np.isnan(first).sum() < len(first)
    differences = (second - first)[np.isfinite(first)]
    row = rows_against(read_rows(folders(made, *names)), names[0])[1]
    assert row["liked"]["gain_rival"] == pytest.approx(differences.mean())
    assert row["liked"]["p_over_users"] == pytest.approx(ttest_1samp(differences, 0).pvalue)
    assert row["rated"]["liked"]["NDCG@20"]["mean"] == pytest.approx(np.nanmean(second))
    assert "share@20" in row["rated"]["disliked"]
    results = read_rows(folders(made, *names))
    del results[names[1]][0]["user_liked"][next(iter(results[names[1]][0]["user_liked"]))]
    assert rows_against(results, names[0])[1]["liked"]["n_paired"] == 0
    results[names[1]][0]["user_liked"] = None  # as of a run of before
    assert rows_against(results, names[0])[1]["liked"]["gain_rival"] is None


def test_single_runs_are_tested_over_users_and_that_is_said(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_against(read_rows(folders(made, "layers_1/s0", "layers_2/s0")), "layers_1/s0")
    expected = ttest_1samp(per_user(made, "layers_2/s0") - per_user(made, "layers_1/s0"), 0).pvalue
    assert (rows[1]["p_rival"], rows[1]["p_over_users"]) == (None, pytest.approx(expected))
    assert call(monkeypatch, made / "layers_1/s0", made / "layers_2/s0") == 0
    printed = capsys.readouterr().out
    assert "p users" in printed
    assert "A single run does not show" in " ".join(printed.split())
    assert "**" not in printed


@pytest.mark.parametrize(
    ("name", "why"),
    [("other_split", "other splits of the data"), ("other_data", "other data"), ("bare", "run it again")],
)
def test_runs_that_cannot_be_paired_are_listed_and_not_tested(
    name: str, why: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made / name
    if name == "bare":
        folder = Path(shutil.copytree(made / "layers_2/s0", tmp_path / "bare"))
        (folder / "user_metrics.npz").unlink()
    assert call(monkeypatch, made / "layers_1/s0", folder) == 0
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("| ") and line.split()[1].endswith(name))
    assert f"{read(folder / 'metrics.json')['warm']['NDCG@20']:.4f}" in line
    assert "p rival" not in printed
    assert "p users" not in printed
    assert f"({why}" in " ".join(printed.split()) or f"; {why}" in " ".join(printed.split())


# --- ablations ---


@pytest.fixture(scope="module")
def ablation(made: Path) -> Path:
    """A small ablation of two seeds, the first of which has the split of layers_1/s0."""
    overrides = {key: value for key, value in settings(made).items() if value != get_config({})[key]}
    folder = made / "saved" / "ablation"
    overrides |= {"saved_dir": str(made / "saved"), "split": "random"}
    row = {"sum-item": {"fusion_mode": "sum", "use_user_llm": False, "use_item_llm": True}}
    results = gathered(row, overrides, folder, 2, False, ["popularity", "ease"])
    write_json(folder / "results.json", compared(results, row))
    assert ablate(row, overrides, folder, 2, baselines=["popularity", "ease"]) == read(folder / "results.json")
    return folder


def test_a_setting_that_an_older_run_did_not_have_was_at_its_default(made: Path, tmp_path: Path) -> None:
    older = Path(shutil.copytree(made / "layers_1/s1", tmp_path / "older"))
    metrics = read(older / "metrics.json")
    del metrics["config"]["truncate_dim"]
    write_json(older / "metrics.json", metrics)
    record_again(older, "metrics.json")
    assert [len(runs) for runs in read_rows([made / "layers_1/s0", older]).values()] == [2]


def test_seeds_of_a_baseline_that_are_named_one_by_one_are_one_row(ablation: Path) -> None:
    names = ("baseline-ease", "baseline-ease/seed_1", "baseline-popularity", "baseline-popularity/seed_1")
    rows = read_rows([ablation / name for name in names])
    assert {label: [seeds_of(run)[0] for run in runs] for label, runs in rows.items()} == {
        "baseline-ease": [0, 1],
        "baseline-popularity": [0, 1],
    }


def test_the_rows_of_an_ablation_are_rows(made: Path, ablation: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(ablation, tmp_path / "elsewhere"))
    for folder in (ablation, moved):
        rows = {row["tag"]: row for row in rows_against(read_rows([folder]), "popularity")}
        assert list(rows) == ["popularity", "ease", "sum-item"]
        for row in read(ablation / "results.json"):
            assert rows[row["tag"]]["warm"] == row["warm"]
            assert rows[row["tag"]]["fit_s"] == row["fit_s"]
            found = row["against"].get("popularity")
            assert rows[row["tag"]]["gain_rival"] == (found and pytest.approx(found["gain"]))
    both = read_rows([made / "layers_1/s0", ablation])
    assert list(both) == ["layers_1/s0", *(f"saved/ablation: {tag}" for tag in ("popularity", "ease", "sum-item"))]
    tested = rows_against(both, "layers_1/s0")
    assert [row["n_paired"] for row in tested] == [0, 1, 1, 1]


def test_against_names_a_row_or_a_folder(
    ablation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for against in ("ease", ablation / "baseline-ease"):
        assert call(monkeypatch, ablation, "--against", against) == 0
        assert "against ease" in capsys.readouterr().out
    assert call(monkeypatch, ablation, "--against", "eas") == 2
    assert "popularity, ease, sum-item" in capsys.readouterr().err


# --- what is written ---


def test_out_has_tables_and_a_page(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "out"
    assert call(monkeypatch, *folders(made, *FOUR), "--out", out) == 0
    assert {path.name for path in out.iterdir()} == {f"compare.{ending}" for ending in ("md", "tex", "csv", "html")}
    figures = pd.read_csv(out / "compare.csv").set_index(["row", "seed", "split_seed", "part", "metric"])["value"]
    for name in FOUR:
        layers, seed = f"{name[:9]}s{1 if '1/' in name else 0}", int(name[-1])
        metrics = read(made / name / "metrics.json")
        for key, value in metrics["warm"].items():
            assert figures[layers, seed, seed, "warm", key] == value
        assert figures[layers, seed, seed, "run", "fit_s"] == metrics["timing"]["fit_s"]
    assert r"layers\_1/s1" in (out / "compare.tex").read_text(encoding="utf-8")
    text = (out / "compare.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"https?:|@import|url\(|<script|<link|<img", text)
    assert list(page.table("Test, titles")) == ["layers_1/s1", "layers_2/s0"]
    assert page.table("How the rows differ")["layers_2/s0"]["differs in"].startswith("num_layers 2")
    chart = re.search(r"<figcaption>valid NDCG@20</figcaption>.*?</figure>", text).group()
    assert re.findall(r"<title>(.*?)</title>", chart) == ["layers_1/s1", "layers_2/s0"]
    assert all(path.count("L") == 1 for path in re.findall(r'class="line d\d" d="(M.*?)"', chart))  # two epochs
    assert 'class="warn"' not in text


def test_rows_without_epochs_have_a_page_too(made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made / "layers_1/s0", tmp_path / "run"))
    (run / "history.jsonl").unlink()
    results = read_rows([run])
    page = compare.write_page(tmp_path, rows_against(results, "run"), results).read_text(encoding="utf-8")
    assert "None of the runs has epochs" in page


def test_runs_of_other_splits_are_warned_of_on_the_page(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, *folders(made, "layers_1/s0", "other_split"), "--out", tmp_path) == 0
    assert "do not compare them" in (tmp_path / "compare.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["data", "nowhere"])
def test_a_folder_without_a_run_is_one_sentence(
    name: str, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, made / "layers_1/s0", made / name) == 2
    error = capsys.readouterr().err
    assert f"{name} holds no finished run" in error
    assert len(error.splitlines()) == 1


def test_files_of_two_runs_are_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(made / "layers_1/s0", tmp_path / "run"))
    shutil.copy(made / "layers_2/s0" / "user_metrics.npz", run)
    assert call(monkeypatch, run) == 2
    assert "do not belong together" in capsys.readouterr().err


def test_results_of_another_study_are_no_ablation(made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    (tmp_path / "results.json").write_text(json.dumps({"pairs": 3}), encoding="utf-8")
    with pytest.raises(ValueError, match="no ablation"):
        read_rows([tmp_path])
