"""The first screen of the report, and which model its lists and curves are of."""

import json
import re
import shlex
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from config import get_config
from evaluation.tables import mean_and_sd
from runtime.cli import parse_overrides
from tests.helpers.reports import page_of, read
from web.report_files import read_saved
from web.report_summary import result, subject, summary_of, yardsticks


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil; that it has moved is a part of the test."""
    return Path(shutil.copytree(whole, tmp_path / "saved"))


@pytest.fixture
def alone(saved: Path) -> Path:
    """The folder of a run that nothing is compared with."""
    shutil.rmtree(saved / "ablation")
    return saved


def change(folder: Path, **more: Any) -> dict[str, Any]:
    metrics = {**read(folder / "metrics.json"), **more}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return metrics


def sentence(folder: Path) -> str:
    found = read_saved(folder)
    return result(found, subject(found), yardsticks(found))


def settings_of(line: str) -> dict[str, Any]:
    return get_config(parse_overrides(shlex.split(unescape(line))[2:]))


def test_the_command_of_the_run_brings_its_settings_again(saved: Path) -> None:
    text, _ = page_of(saved)
    run, ablation = re.search(r"<dt>By</dt><dd>(.*?)</dd>", text).group(1).removeprefix("<code>").split("</code><code>")
    assert settings_of(run) == read(saved / "metrics.json")["config"]
    assert ablation.startswith("python run_ablation.py --only popularity,sum-none,sum-both --seeds 2 ")
    assert f"--saved_dir {saved} " in ablation
    assert "--lr " not in ablation  # which the rows do not share


def test_further_commands_have_the_settings_of_the_run(alone: Path) -> None:
    shutil.rmtree(alone / "tuning")
    text, _ = page_of(alone)
    line = re.search(r"<code>(python tune.py .*?)</code>", text).group(1)
    wanted = {**read(alone / "metrics.json")["config"], "saved_dir": str(alone)}  # where the folder is now
    assert settings_of(line) == wanted


def test_the_result_is_measured_by_what_the_run_computed_beside_it(alone: Path) -> None:
    metrics = read(alone / "metrics.json")
    warm = metrics["warm"] | {"NDCG@20": 0.24}
    beside = {"popularity": warm | {"NDCG@20": 0.1}, "EASE": warm | {"NDCG@20": 0.25}}
    change(alone, warm=warm, beside=beside)
    said = "NDCG@20 0.2400 among titles with a history: 4.0% behind EASE (0.2500) and 2.4 times popularity (0.1000)."
    assert sentence(alone) == said
    text, _ = page_of(alone)
    assert said in text
    assert "not computed beside" not in text
    assert re.findall(r'<rect class="bar( base)?"', text)[:3] == ["", " base", " base"]


def test_what_was_not_computed_is_said_with_the_command_that_does(alone: Path) -> None:
    metrics = read(alone / "metrics.json")
    beside = metrics.pop("beside")
    (alone / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert sentence(alone) == f"NDCG@20 {metrics['warm']['NDCG@20']:.4f} among titles with a history."
    assert "No closed form was computed beside this run; this computes them: <code>python run_abl" in page_of(alone)[0]
    change(alone, config=metrics["config"] | {"calibrate": True, "refit": True}, refit={"positives": 1})
    text, _ = page_of(alone)
    line = re.search(r"whose model has both in it; this computes them: <code>(.*?)</code>", text).group(1)
    assert line.startswith("python run_ablation.py --only popularity,ease,ease_text,sum-both ")
    assert "--calibrate true" in line
    assert "--refit" not in line  # which cannot be compared
    (alone / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    change(alone, beside={"popularity": beside["popularity"]}, data=metrics["data"] | {"items": 20_000})
    assert "EASE was not computed beside this run: with more than 12,000 titles" in page_of(alone)[0]


def test_an_ablation_on_the_same_data_is_the_yardstick(saved: Path) -> None:
    rows = read(saved / "ablation" / "results.json")
    rows[0]["tag"] = "edlae"  # a closed form
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    figure = mean_and_sd(rows[0]["warm"]["NDCG@20"], 2)
    assert f"edlae ({figure}; of the baselines the best on valid) and" in sentence(saved)
    metrics = read(saved / "metrics.json")
    change(saved, data=metrics["data"] | {"fingerprint": "other"})
    assert "edlae" not in sentence(saved)
    assert "EASE" in sentence(saved)


def test_without_a_run_of_its_own_it_is_about_the_row_that_is_best_on_valid(saved: Path) -> None:
    (saved / "metrics.json").unlink()
    rows = read(saved / "ablation" / "results.json")
    rows[1]["valid"]["NDCG@20"]["mean"] += 0.5
    rows[1] |= {"rival": "popularity", "gain_rival": 0.1, "p_rival": 0.0123}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    assert sentence(saved).startswith("sum-none, the row that is best on valid: NDCG@20 ")
    assert "; p 0.012)" in sentence(saved)
    assert summary_of(read_saved(saved))["facts"]["Run"] == "2 models and 1 baselines compared"


def test_tiles_and_grid_have_the_figures_of_the_run(alone: Path) -> None:
    metrics = read(alone / "metrics.json")
    found = summary_of(read_saved(alone))
    wanted = [
        metrics["warm"]["NDCG@20"],
        metrics["rated"]["liked"]["NDCG@20"],
        metrics["franchises"]["discovery"]["NDCG@20"],
        metrics["cold"]["among_cold"]["NDCG@20"],
    ]
    assert [tile["figure"] for tile in found["tiles"]] == [f"{value:.4f}" for value in wanted]
    assert found["tiles"][1]["note"].startswith(f"EASE {metrics['beside']['EASE']['liked NDCG@20']:.4f}")
    grid = page_of(alone)[1].table("Test figures by kind")
    assert grid["all titles"]["Recall@10"] == f"{metrics['test']['Recall@10']:.4f}"
    assert grid["new titles, among all"]["Hit@20"] == f"{metrics['cold']['among_all']['Hit@20']:.4f}"
    assert grid["discovery"]["NDCG@10"] == f"{metrics['franchises']['discovery']['NDCG@10']:.4f}"
    for key in ("rated", "franchises"):
        del metrics[key]
    (alone / "metrics.json").write_text(json.dumps({**metrics, "cold": {}}), encoding="utf-8")
    found = summary_of(read_saved(alone))
    names = [tile["name"] for tile in found["tiles"]]
    assert names == [f"{key}@20, titles with a history" for key in ("NDCG", "Recall", "Hit")]


def test_a_single_run_has_pictures_of_what_was_liked_and_of_franchises(alone: Path) -> None:
    text, _ = page_of(alone)
    metrics = read(alone / "metrics.json")
    for label, part in (("liked", "rated"), ("discovery", "franchises"), ("continuing", "franchises")):
        figure = f"{metrics[part][label]['NDCG@20']:.4f}"
        assert re.search(rf'>{label}</text><text text-anchor="end"[^>]*>{figure}</text>', text)


def test_with_refit_the_lists_are_of_the_model_trained_last_and_the_curves_of_the_measured_one(alone: Path) -> None:
    assert "lists of the measured model, which learned from train alone" in page_of(alone)[0]
    (alone / "measured").mkdir()
    shutil.copy(alone / "history.jsonl", alone / "measured")
    before = read_saved(alone).histories
    epoch = json.dumps({"epoch": 1, "loss": 0.5, "seconds": 1.0, "NDCG@20": 0.0}) + "\n"
    (alone / "history.jsonl").write_text(epoch, encoding="utf-8")
    config = read(alone / "metrics.json")["config"] | {"refit": True}
    change(alone, refit={"positives": 1234}, config=config)
    assert read_saved(alone).histories == before
    text, _ = page_of(alone)
    assert "of the model that was trained once more, on all 1,234 positive rows" in text
    assert "valid NDCG@20" in text
    shutil.rmtree(alone / "measured")
    assert read_saved(alone).histories == {}  # the figures of the last training are no figures
    change(alone, config=config | {"refit": False})
    assert "which learned from train and valid" in page_of(alone)[0]


def test_epochs_without_a_valid_part_have_a_loss_and_no_metric(alone: Path) -> None:
    lines = [json.dumps({"epoch": epoch, "loss": 1 / epoch, "seconds": 1.0}) + "\n" for epoch in (1, 2)]
    (alone / "history.jsonl").write_text("".join(lines), encoding="utf-8")
    text, _ = page_of(alone)
    assert "There is no valid part to measure epochs by." in text
    assert "<figcaption>valid" not in text
