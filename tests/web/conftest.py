"""A folder with everything that a report shows; a browser, and the address of a run that is served."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config import get_config
from evaluation.comparisons import summary
from inference.finished_run import FinishedRun
from main import run as run_main
from tests.helpers.chromium import Tab, opened
from tests.helpers.data import write_data
from tests.helpers.served import running

NASTY = "<script>alert(1)</script>&\"'"
TAGS = ("popularity", "sum-none", "sum-both")
SERIES = {"with <b>text</b>": (0.0812, 0.1234), "without": (0.0431, 0.1198)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved/ folder with every part, made by a real run; ids and titles on it are hostile."""
    root = tmp_path_factory.mktemp("report")
    data = write_data(root / "data", n_users=40, n_items=30)
    for name in ("anime.tsv", "interactions.tsv"):
        text = (data / name).read_text(encoding="utf-8")
        text = text.replace("title 3\t", '"' + NASTY.replace('"', '""') + '"\t').replace("\nu", "\n<i>u")
        (data / name).write_text(text, encoding="utf-8")
    metrics = run_main(
        get_config(
            {
                "data_dir": str(data),
                "saved_dir": str(root / "saved"),
                "model_name": "lsa",
                "lsa_dim": 8,
                "embedding_dim": 8,
                "epochs": 3,
                "batch_size": 64,
                "device": "cpu",
                "cold_item_ratio": 0.2,
                "min_rate": 3.0,
            }
        )
    )
    _compare(root / "saved", metrics)
    (root / "saved" / "sparsity").mkdir()
    series = {label: [{"mean": mean, "sd": 0.0123} for mean in means] for label, means in SERIES.items()}
    (root / "saved" / "sparsity" / "results.json").write_text(
        json.dumps({"metric": "NDCG@20", "n": [1, 20], "series": series, "n_seeds": 2}), encoding="utf-8"
    )
    trials = [
        {"number": n, "state": state, "valid": 0.1 + n / 100, "lr": 0.01 * n}
        for n, state in enumerate(("complete", "pruned", "complete"))
    ]
    (root / "saved" / "tuning").mkdir()
    (root / "saved" / "tuning" / "tuning.json").write_text(
        json.dumps({"metric": "NDCG@20", "trials": trials, "importance": {"lr": 1.0}}), encoding="utf-8"
    )
    return root / "saved"


def _compare(saved: Path, metrics: dict[str, Any]) -> None:
    """Write ablation/ as run_ablation.py does, with two seeds that differ a little."""
    rows = []
    for tag in TAGS:
        runs = []
        for number in range(2):
            folder = saved / "ablation" / tag / f"seed_{number}"
            folder.mkdir(parents=True)
            mine = json.loads(json.dumps(metrics))
            for part, more in (("warm", 1), ("test", 2)):  # of which each is a figure of its own
                mine[part] = {key: value * (more + 0.1 * number + TAGS.index(tag)) for key, value in mine[part].items()}
            if tag == "popularity":
                mine = {**mine, "encoder": {"used": None}, "point": {"l2": 200}}
                del mine["config"]
            else:
                shutil.copy(saved / "history.jsonl", folder)
                mine["config"] |= {
                    "fusion_mode": "sum",
                    "lr": 0.01 if tag == "sum-both" else 0.001,
                    "saved_dir": str(folder),
                }
            (folder / "metrics.json").write_text(json.dumps(mine), encoding="utf-8")
            runs.append({**mine, "beyond": {"Coverage": 0.5}, "folder": str(folder)})
        rows.append({**summary(tag, {}, runs), "gain": None, "p": None})
    rows[2] |= {"gain": 0.0345, "p": 0.0021}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil; that it has moved is a part of the test."""
    return Path(shutil.copytree(whole, tmp_path / "saved"))


@pytest.fixture(scope="module")
def url(run: FinishedRun) -> Iterator[str]:
    """The address of a module's run, served."""
    with running(run) as url:
        yield url


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with opened(tmp_path_factory.mktemp("browser"), "--lang=en") as tab:
        yield tab
