"""The report: what it shows, that it shows it right, and that nothing is injected."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from markupsafe import escape

from evaluation.tables import mean_and_sd
from tests.helpers.reports import page_of, read
from web.report_page import write_report

NASTY = "<script>alert(1)</script>&\"'"
TAGS = ("popularity", "sum-none", "sum-both")
SERIES = {"with <b>text</b>": (0.0812, 0.1234), "without": (0.0431, 0.1198)}


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil; that it has moved is a part of the test."""
    return Path(shutil.copytree(whole, tmp_path / "saved"))


# --- what it says ---


def test_every_part_is_there(saved: Path) -> None:
    text, _ = page_of(saved)
    assert "What further commands would add" not in text
    groups = [group for side in read(saved / "metrics.json")["groups"].values() for group in side.values()]
    n_groups = sum("NDCG@20" in group for group in groups)
    assert 0 < n_groups < len(groups)
    # curves, comparison, rates, franchises, groups, cold start, sparse data
    assert text.count('<svg viewBox="0 0 340') == 2 + 2 + 1 + 2 + n_groups + 2 + 1
    assert 'class="warn"' not in text


def test_figures_are_those_of_the_json(saved: Path) -> None:
    _, page = page_of(saved)
    figures, metrics = page.table("Means"), read(saved / "metrics.json")
    for row in read(saved / "ablation" / "results.json"):
        for part in ("warm", "test", "valid", "beyond"):
            for key, number in row[part].items():
                assert figures[row["tag"]][f"{part} {key}"] == mean_and_sd(number, 2)
        for part in ("warm", "joint"):
            number = row["listed"][part]["NDCG@20"]
            assert figures[row["tag"]][f"listed {part} NDCG@20"] == mean_and_sd(number, 2)
        number = row["cold"]["among_all"]["Recall@10"]
        assert figures[row["tag"]]["cold among all Recall@10"] == mean_and_sd(number, 2)
        assert figures[row["tag"]]["fit s"] == f"{row['fit_s']['mean']:.1f}"
        assert figures[row["tag"]]["seeds"] == "2"
    assert figures["sum-both"]["gain"] == "+0.0345"
    assert figures["sum-both"]["p"] == "0.002"
    head = page.table("Epochs, and points")
    for part in ("warm", "test"):
        assert f"{part} MRR@20" not in head  # but in the table of all metrics
        for key, value in metrics[part].items():
            if key.startswith(("MRR", "MAP", "Precision")):
                continue
            assert head[f"{part} {key}"][f"this run, epoch {metrics['epoch']}"] == f"{value:.4f}"
    sparse = page.table("Test NDCG@20 by train rows")
    assert sparse["with <b>text</b>"] == {"row": "with <b>text</b>", "1": "0.081 ± 0.012", "20": "0.123 ± 0.012"}


def test_what_people_rated_is_shown_where_there_are_rates(saved: Path) -> None:
    text, page = page_of(saved)
    rows = read(saved / "ablation" / "results.json")
    found = page.table("What people rated")
    for row in rows:
        rated = row["rated"]
        assert found[row["tag"]]["liked NDCG@20"] == mean_and_sd(rated["liked"]["NDCG@20"], 2)
        assert found[row["tag"]]["loved Recall@20"] == mean_and_sd(rated["loved"]["Recall@20"], 2)
        assert found[row["tag"]]["disliked share@20"] == mean_and_sd(rated["disliked"]["share@20"], 2)
        assert found[row["tag"]]["mean z@20"] == mean_and_sd(rated["mean z@20"], 2)
    pairs, users = (rows[0]["rated"]["liked"][key]["mean"] for key in ("n_pairs", "n_users"))
    assert f"{pairs:,.0f} liked test pairs of {users:,.0f} users" in text
    for row in rows:
        del row["rated"], row["groups"]["raters"]
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    text, _ = page_of(saved)
    assert "What people rated" not in text
    assert "they rated in train" not in text


def test_the_best_rows_are_chosen_on_valid(saved: Path) -> None:
    rows = read(saved / "ablation" / "results.json")
    rows[1]["valid"]["NDCG@20"]["mean"] += 0.5  # sum-none, the worse of the two on test
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    head = page_of(saved)[1].table("Epochs, and points")
    for part in ("warm", "test"):
        line = head[f"{part} NDCG@20"]
        assert line["best row: sum-none"] == mean_and_sd(rows[1][part]["NDCG@20"], 2)
        assert line["best baseline: popularity"] == mean_and_sd(rows[0][part]["NDCG@20"], 2)


def test_rows_are_compared_among_titles_with_a_history(saved: Path) -> None:
    rows, page = read(saved / "ablation" / "results.json"), page_of(saved)[1]
    gains = page.table("Gain in warm NDCG@20")
    for row in rows:
        number = row["warm"]["NDCG@20"]
        assert gains[row["tag"]]["NDCG@20"] == mean_and_sd(number, 2)
    assert (gains["sum-both"]["gain"], gains["sum-both"]["p"]) == ("+0.0345", "0.002")
    assert list(gains["sum-both"]) == ["row", "NDCG@20", "gain", "p"]  # these results are of before there was a rival
    for row in rows:
        row |= {"rival": "popularity", "gain_rival": -0.2, "p_rival": 1e-9}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    gains = page_of(saved)[1].table("Gain in warm NDCG@20")["sum-both"]
    assert (gains["gain over popularity"], gains["p against popularity"]) == ("-0.2000", "< 0.001")


def test_one_seed_has_a_gain_without_a_p(saved: Path) -> None:
    rows = read(saved / "ablation" / "results.json")
    for row in rows:
        row["n_seeds"] = 1
    rows[2] |= {"gain": 0.0345, "p": None}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    page = page_of(saved)[1]
    for table in (page.table("Gain in warm"), page.table("Means")):
        assert table["sum-both"]["gain"] == "+0.0345"
        assert table["sum-both"]["p"] == table["sum-none"]["p"]  # that of a row which is not tested at all
        assert not any(character.isdigit() for character in table["sum-both"]["p"])


def test_a_group_that_some_rows_lack_is_shown_for_the_others(saved: Path) -> None:
    """A group may be empty in all runs of a row and not in those of another, and then it has no metrics there."""
    rows = read(saved / "ablation" / "results.json")
    group = next(name for name, found in rows[0]["groups"]["users"].items() if "NDCG@20" in found)
    rows[1]["groups"]["users"][group] = {"n_users": {"mean": 0.0, "sd": 0.0}}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    text, _ = page_of(saved)
    figure = re.search(rf"<figure><figcaption>{re.escape(str(escape(group)))} \(.*?</figure>", text).group()
    assert [tag in figure for tag in TAGS] == [True, False, True]


def test_bars_start_at_0_and_are_as_long_as_their_figures(saved: Path) -> None:
    text, _ = page_of(saved)
    figure = re.search(r"<figure><figcaption>warm NDCG@20</figcaption>.*?</figure>", text).group()
    bars = re.findall(r'<rect class="bar( base)?" x="8" y="\d+" width="([\d.]+)"', figure)
    numbers = [row["warm"]["NDCG@20"] for row in read(saved / "ablation" / "results.json")]
    scale = float(bars[-1][1]) / numbers[-1]["mean"]
    assert [kind for kind, _ in bars] == [" base", "", ""]
    assert [float(width) for _, width in bars] == pytest.approx([n["mean"] * scale for n in numbers], abs=0.1)
    ends = re.findall(r'class="error" d="M([\d.]+),\d+H([\d.]+)', figure)
    assert [(float(b) - float(a)) / 2 for a, b in ends] == pytest.approx([n["sd"] * scale for n in numbers], abs=0.1)


def test_a_line_passes_through_its_points(saved: Path) -> None:
    text, _ = page_of(saved)
    group = re.search(r"<title>without</title>.*?</g>", text).group()
    (_, y_0), (_, y_1) = re.findall(r"([\d.]+),([\d.]+)", re.search(r'd\d" d="M(.*?)"', group).group(1))
    ticks = {
        float(value): float(y) - 4
        for y, value in re.findall(
            r'text-anchor="end" x="39" y="([\d.]+)">([\d.]+)<', text[text.index("by train rows a user keeps") - 9999 :]
        )
    }
    low, high = ticks[0.0], ticks[0.05]
    assert [(low - float(y)) / (low - high) * 0.05 for y in (y_0, y_1)] == pytest.approx(SERIES["without"], abs=0.001)


def test_settings_that_differ_are_named(saved: Path) -> None:
    table = page_of(saved)[1].table("How the rows differ")
    assert {tag: line["differs in"] for tag, line in table.items()} == {
        "this run": "fusion_mode concat",
        "popularity": "l2 200",
        "sum-none": "nothing",
        "sum-both": "lr 0.01",
    }


def test_hits_are_those_of_an_independent_ranking(saved: Path) -> None:
    text, _ = page_of(saved)
    ids = read(saved / "id_mappings.json")
    scores = (torch.load(saved / "user_emb.pt") @ torch.load(saved / "item_emb.pt").T).numpy()
    with np.load(saved / "splits.npz") as parts:
        assert len(parts["excluded"])
        for part in ("train", "valid", "excluded"):
            scores[tuple(parts[part].T)] = -np.inf
        test, train = parts["test"], parts["train"]
    k, shown = max(read(saved / "metrics.json")["config"]["top_k"]), 0
    for user, raw in enumerate(ids["user_ids"]):
        found = re.search(
            rf"User <bdi>{re.escape(str(escape(raw)))}</bdi></b>: (\d+) collected in train, "
            r"test hits: (\d+) of (\d+)<",
            text,
        )
        if found:
            wanted, best = test[test[:, 0] == user, 1], np.argsort(-scores[user])[:k].tolist()
            ranks = [rank for rank, item in enumerate(best, start=1) if item in wanted]
            assert [int(n) for n in found.groups()] == [(train[:, 0] == user).sum(), len(ranks), len(wanted)]
            card = text[found.start() : text.index("</details>", found.start())]
            assert [int(rank) for rank in re.findall(r'"hit">✓ (\d+)<', card)] == ranks
            shown += 1
    assert shown == 20
    activity = np.bincount(train[:, 0])
    counts = [int(count) for count in re.findall(r": (\d+) collected in train", text)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (activity.max(), activity.min())
    assert text.count('<span class="hit">') > 1


def test_titles_come_from_the_argument_the_lists_or_the_file(saved: Path) -> None:
    lists = read(saved / "recommendations.json")
    for titles in lists.values():
        titles[:] = [title for title in titles if title["subject_id"] != "s5"]
    (saved / "recommendations.json").write_text(json.dumps(lists), encoding="utf-8")
    assert "<bdi>title 5</bdi>" in page_of(saved)[0]  # anime.tsv
    assert "<bdi>my 5</bdi>" in page_of(saved, item_names={"s5": "my 5"})[0]
    metrics = read(saved / "metrics.json")
    metrics["config"]["data_dir"] = "gone"
    (saved / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text = page_of(saved)[0]
    assert "<bdi>s5</bdi>" in text
    assert "<bdi>title 6</bdi>" in text


# --- what it must not do ---


def test_titles_and_ids_cannot_inject(saved: Path) -> None:
    metrics = read(saved / "metrics.json")
    metrics["config"]["model_name"] = metrics["encoder"]["requested"] = metrics["versions"][NASTY] = NASTY
    (saved / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text, page = page_of(saved, item_names={"s4": NASTY})
    assert escape(NASTY) in text
    assert "User <bdi>&lt;i&gt;u" in text
    assert not page.seen & {"script", "i", "img", "iframe", "link", "object"}
    assert "<b>text" not in text


def test_half_a_surrogate_pair_is_no_failure(saved: Path) -> None:
    assert "<bdi>a?</bdi>" in page_of(saved, item_names={f"s{i}": "a\ud800" for i in range(30)})[0]


def test_the_page_is_self_contained(saved: Path) -> None:
    text, _ = page_of(saved)
    assert not re.search(r"\b(src|href|action|data)\s*=\s*(?![\"']?#)", text)
    assert not re.search(r"https?:|@import|url\(|<script|<link|<img", text)
    assert "default-src 'none'" in text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme:dark" in text


def test_nothing_on_disk_runs(saved: Path) -> None:
    (saved / "train_user_dict.pkl").write_bytes(b"cos\nsystem\n(S'touch " + bytes(saved / "ran") + b"'\ntR.")
    write_report(saved)
    (saved / "user_emb.pt").write_bytes((saved / "train_user_dict.pkl").read_bytes())
    with pytest.raises(ValueError, match="user_emb.pt"):
        write_report(saved)
    assert not (saved / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "metrics.json",
        "history.jsonl",
        "recommendations.json",
        "ablation/results.json",
        "sparsity/results.json",
        "ablation/sum-both/seed_0/history.jsonl",
    ],
)
def test_a_damaged_file_is_named_and_the_old_page_stays(name: str, saved: Path) -> None:
    if name == "history.jsonl":
        shutil.rmtree(saved / "ablation")
    before = write_report(saved).read_bytes()
    (saved / name).write_text('{"test": ', encoding="utf-8")
    with pytest.raises(ValueError, match=Path(name).name):
        write_report(saved)
    assert (saved / "report.html").read_bytes() == before
    assert not list(saved.glob("*.tmp"))


def test_the_page_is_written_whole_or_not_at_all(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_report(saved).read_bytes()
    monkeypatch.setattr("runtime.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_report(saved, {"s1": "other"})
    assert (saved / "report.html").read_bytes() == before
    assert not list(saved.glob("*.tmp"))
