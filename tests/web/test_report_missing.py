"""The report of what is there, where parts are missing."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.reports import page_of, read
from web import charts
from web.report_files import read_saved
from web.report_training import curves

RUN, ABLATION, CURVE = "python main.py", "python run_ablation.py", "python studies/learning_curve.py"


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil; that it has moved is a part of the test."""
    return Path(shutil.copytree(whole, tmp_path / "saved"))


# --- what is missing ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gone", "command"),
    [
        ("metrics.json", RUN),
        ("recommendations.json", RUN),
        ("id_mappings.json", RUN),
        ("splits.npz", RUN),
        ("user_emb.pt", RUN),
        ("ablation", ABLATION),
        ("sparsity", CURVE),
        ("tuning", "python tune.py"),
    ],
)
def test_a_missing_part_names_the_command(gone: str, command: str, saved: Path) -> None:
    (shutil.rmtree if (saved / gone).is_dir() else Path.unlink)(saved / gone)
    text, _ = page_of(saved)
    assert re.search(rf"What further commands would add</h2>.*<code>{re.escape(command)}[ <]", text, re.DOTALL)
    assert len(text) > 15_000


def test_an_empty_folder_gives_a_page(tmp_path: Path) -> None:
    text, _ = page_of(tmp_path / "saved")
    where = f"--saved_dir {tmp_path}/saved"
    for command in (f"{RUN} {where}", f"{ABLATION} {where} --cold_item_ratio 0.1", f"{CURVE} {where}"):
        assert f"<code>{command}</code>" in text
    assert 'class="tiles"' not in text
    assert "<svg" not in text


def test_a_run_alone_has_curves_groups_and_figures(saved: Path) -> None:
    shutil.rmtree(saved / "ablation")
    text, page = page_of(saved)
    metrics = read(saved / "metrics.json")
    for part in ("warm", "test"):
        assert page.table("Means")["this run"][f"{part} NDCG@20"] == f"{metrics[part]['NDCG@20']:.4f}"
    assert "valid NDCG@20" in text
    group = metrics["groups"]["users"]["6-20"]
    assert re.search(rf"6-20 \({group['n_users']} users\)</text><text[^>]*>{group['NDCG@20']:.4f}<", text)
    assert "<code>python run_ablation.py --seeds 3 " in text


def test_epochs_that_were_not_evaluated_have_a_loss_alone(saved: Path) -> None:
    shutil.rmtree(saved / "ablation")
    lines = [
        {
            "epoch": epoch,
            "loss": 1 / epoch,
            "seconds": 1.0,
            **({"NDCG@20": epoch / 10, "NDCG@10": 0.3} if epoch % 3 == 0 else {}),
        }
        for epoch in range(1, 7)
    ]
    (saved / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (saved / "manifest.json").unlink()
    valid, loss = curves(read_saved(saved))[1]["charts"]
    assert [len(chart["lines"][0]["marks"]) for chart in (valid, loss)] == [2, 6]
    assert [is_best for *_, is_best in valid["lines"][0]["marks"]] == [False, True]


def test_rows_without_cold_titles_or_histories(saved: Path) -> None:
    rows = read(saved / "ablation" / "results.json")
    for row in rows:
        row["cold"] = {}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    for path in (saved / "ablation").rglob("history.jsonl"):
        path.unlink()
    text, _ = page_of(saved)
    assert re.search(r"<code>python run_ablation.py [^<]*--cold_item_ratio 0\.1", text)
    assert "learning curves</li>" in text
    assert ">Learning curves</h2>" not in text


def test_another_encoder_than_asked_for_is_loud(saved: Path) -> None:
    metrics = read(saved / "metrics.json")
    metrics["encoder"]["requested"] = "BAAI/bge-m3"
    metrics["data"]["fingerprint"] = "other"
    (saved / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text, _ = page_of(saved)
    assert re.search(r'class="warn" role="note">[^<]*lsa[^<]*BAAI/bge-m3[^<]*this run', text)
    assert re.search(r'class="warn" role="note">[^<]*same data', text)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (0.64, 0.69), (0, 0.19), (3, 3), (0, 12345), (1e-6, 2e-6)])
def test_ticks_are_few_even_and_enclose(low: float, high: float) -> None:
    ticks = charts.ticks(low, high)
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 2 <= len(ticks) <= 6
    assert np.diff(ticks) == pytest.approx(ticks[1] - ticks[0], rel=1e-3)


def test_a_loss_that_is_no_number_leaves_a_gap(saved: Path) -> None:
    shutil.rmtree(saved / "ablation")
    lines = [json.loads(line) for line in (saved / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    lines[1]["loss"] = float("nan")
    (saved / "history.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert not re.search(r"(?<![a-z])nan(?![a-z])", page_of(saved)[0])
