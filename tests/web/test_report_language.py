"""The report in Chinese: all that it says itself is translated, and nothing else is."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import main
import report
from tests.helpers.reports import Spoken, page_of, read
from web.report_page import write_report

# names, which are the same in every language; "with text" and "without" are those of rows here
NAMES = {"NDCG", "Recall", "Hit", "MRR", "MAP", "Precision", "AUC", "Coverage", "LightGCN", "AGLRec", "EASE", "Holm"}
NAMES |= {"edlae", "popularity", "lsa", "data", "bpr", "lr", "true", "epochs"} | {"with", "text", "without"}
WORD = re.compile(r"(?<![\w@./-])[A-Za-z]{2,}(?![\w@=/-]|\.\w)")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def change(folder: Path, **more: Any) -> None:
    metrics = {**read(folder / "metrics.json"), **more}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def of_a_run(folder: Path) -> None:
    for name in ("ablation", "sparsity", "tuning"):
        shutil.rmtree(folder / name)


def of_a_refit(folder: Path) -> None:
    of_a_run(folder)
    config = read(folder / "metrics.json")["config"] | {"refit": True}
    update = {"since": {"rows": 7}, "updates": 2}
    change(folder, refit={"positives": 1234}, config=config, update=update, epochs_run=9)
    (folder / "measured").mkdir()
    shutil.copy(folder / "history.jsonl", folder / "measured")


def of_a_calibrated_run(folder: Path) -> None:
    of_a_run(folder)
    metrics = read(folder / "metrics.json")
    chosen = {"offset": 0.1, "metric": "NDCG@20", "chosen": 0.2, "highest": 0.3, "none listed": 0.4}
    tried = [{"epochs": 1, "NDCG@20": 0.1}]
    change(
        folder,
        beside=None,
        config=metrics["config"] | {"calibrate": True},
        decided={"weights": {"linear": 0.5}, "cold_offset": chosen, "linear": {"l2": 10}, "tried": tried},
    )
    (folder / "history.jsonl").unlink()


def of_an_ablation_alone(folder: Path) -> None:
    (folder / "metrics.json").unlink()
    rows = read(folder / "ablation" / "results.json")
    rows[0]["tag"] = "edlae"  # a closed form
    for row in rows[1:]:
        row |= {"rival": "edlae", "gain_rival": 0.1, "p_rival": 0.0123}
    (folder / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")


@pytest.fixture(params=[None, of_a_run, of_a_refit, of_a_calibrated_run, of_an_ablation_alone])
def folder(request: pytest.FixtureRequest, saved: Path) -> Path:
    if request.param:
        request.param(saved)
    return saved


@pytest.fixture
def both(folder: Path) -> tuple[Spoken, Spoken]:
    """The page of a folder in English and in Chinese."""
    return Spoken(write_report(folder)), Spoken(write_report(folder, language="zh"))


def test_all_that_the_page_says_is_in_chinese(both: tuple[Spoken, Spoken]) -> None:
    english, chinese = (page.texts for page in both)
    pairs = zip(english, chinese, strict=True)
    lacking = sorted({NUMBER.sub("{}", text) for text, there in pairs if {*WORD.findall(there)} - NAMES})
    assert not lacking, "add to runtime/messages_zh.tsv, with the Chinese after the tab:\n" + "\n".join(lacking)


def test_tags_and_figures_stay(both: tuple[Spoken, Spoken]) -> None:
    english, chinese = both
    assert chinese.tags == english.tags
    for text, there in zip(english.texts, chinese.texts, strict=True):
        assert sorted(NUMBER.findall(there)) == sorted(NUMBER.findall(text)), text


@pytest.mark.parametrize(
    ("asked", "terminal", "language"),
    [("en", "zh_CN", "en"), ("zh", "C", "zh-Hans"), ("", "zh_CN.UTF-8", "zh-Hans"), ("", "de_DE", "en")],
)
def test_the_page_says_its_language(
    asked: str, terminal: str, language: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", terminal)
    assert page_of(saved, language=asked)[0].startswith(f'<!doctype html><html lang="{language}">')


def test_scripts_take_a_language(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["report.py", str(saved), "--lang", "zh"])
    report.main()
    assert 'lang="zh-Hans"' in (saved / "report.html").read_text(encoding="utf-8")
    for language, shown in (("", "en"), ("zh", "zh-Hans")):
        main.write_page(saved, SimpleNamespace(raw_item_ids=[], item_names=[]), {"lang": language})
        assert f'lang="{shown}"' in (saved / "report.html").read_text(encoding="utf-8")


def test_names_and_values_are_never_translated(saved: Path) -> None:
    of_a_run(saved)
    lists = read(saved / "recommendations.json")
    names = {title["subject_id"]: "this run" for titles in lists.values() for title in titles}
    change(saved, versions={"torch": "this run", "users": "none"})
    text, page = page_of(saved, language="zh", item_names=names)
    assert "<bdi>this run</bdi>" in text
    assert "<bdi>&lt;i&gt;u" in text  # a user's id, escaped
    assert page.table("本次运行：版本")["torch"]["值"] == "this run"
    assert page.table("本次运行：版本")["users"]["值"] == "none"


def test_words_among_values_are_translated(saved: Path) -> None:
    _, page = page_of(saved, language="zh")
    differs = page.table("各行与最常见设置的不同")
    assert differs["本次运行"]["不同之处"]
    assert "nothing" not in {line["不同之处"] for line in differs.values()}
    assert page.table("每行第一个种子的编码器")["popularity"]["所用的编码器"] == "无"
