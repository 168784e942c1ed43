"""python -m benchmarks.gpu: that it runs, what it writes, and that it sees a device that gives something else."""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import common, gpu, gpu_checks
from model import LightGCN
from tests.helpers.hub import static_model

CHECKS = list(gpu_checks.checks())
TIMINGS = ["standard form", "epochs", "ranking", "encoding", "tuned"]
TINY = ["--device", "cpu", "--tiny", "--out"]
MEASURED = [
    "bpr, batch 256, s an epoch",
    "bpr, batch 512, s an epoch",
    "bpr epoch, batch 256",
    "bpr epoch, batch 512",
    "softmax epoch, batch 256",
    "concat, L=16",
    "ranking, without AUC",
    "ranking, with AUC",
    "16 texts encoded, float32",
    "tuned, until best_model.pth",
    "tuned, whole run",
    "its vectors in bfloat16",
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def results(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["name"]: row["result"] for row in rows}


@pytest.mark.slow
def test_all_passes_on_a_cpu(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    out = tmp_path / "new" / "tiny.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *TINY, str(out), "--model_folder", str(static_model(tmp_path / "m"))],
        cwd=common.ROOT,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(out.read_text())
    assert written["failed"] == []
    assert written["seconds"] < gpu.LIMIT
    assert written["environment"]["torch"] == torch.__version__
    assert written["device"].startswith("cpu")
    assert results(written["checks"]) == {
        name: "skipped" if name == "no waiting in a step" else "passed" for name in CHECKS
    }
    assert results(written["timings"]) == dict.fromkeys(TIMINGS, "passed")
    timed = {row["name"]: row["detail"] for row in written["timings"]}
    assert [row["batch"] for row in timed["standard form"]] == [256, 512]
    assert all(row["step ratio"] > 0 for row in timed["standard form"])
    rows = [row for name in TIMINGS[1:] for row in timed[name]]
    assert all(row["s"] > 0 and row["peak MiB"] > 0 for row in rows if row["measured"] != MEASURED[-1])
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:2] == "| "]
    assert [row[0] for row in table[2:]] == [*CHECKS, *MEASURED]  # one table, and each line of it was made
    figures = {line: figure for line, *_, figure in table}
    assert all(figures[name] for name in CHECKS if name != "no waiting in a step")
    assert re.fullmatch(r"[\d.]+x of [\d.e-]+", figures[MEASURED[0]])
    assert re.fullmatch(r"[\d,]+ tokens/s", figures["16 texts encoded, float32"])
    assert re.fullmatch(r"R@20 0[.]\d{4}", figures["tuned, until best_model.pth"])
    assert re.fullmatch(r"R@20 [+-]0[.]\d{5}", figures["its vectors in bfloat16"])
    tables = done.stdout[done.stdout.index("| ") :]
    assert max(map(len, tables.replace(f"written: {out}", "").splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_disagreement_fails_and_the_others_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build, calls = gpu_checks.build, itertools.count(1)

    def differing(setup: gpu_checks.Setup, device: torch.device, **more: Any) -> LightGCN:
        model = build(setup, device, **more)
        if more.get("fusion_mode") == "sum":
            model.id_emb.data.mul_(1 + 1e-3 * next(calls))
        return model

    def broken(*_: Any) -> None:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(gpu_checks, "build", differing)
    monkeypatch.setattr(gpu_checks, "cold_offset", broken)
    monkeypatch.setattr(gpu, "ranking", broken)
    out = tmp_path / "planted.json"
    assert gpu.main([*TINY, str(out)]) == 1
    written = json.loads(out.read_text())
    assert written["failed"] == ["embeddings, sum", "calibration", "ranking"]
    assert results(written["checks"]) == {
        name: "failed" if name in written["failed"][:2] else "skipped" if name == "no waiting in a step" else "passed"
        for name in CHECKS
    }
    assert [row["result"] for row in written["timings"]] == ["passed", "passed", "failed", "skipped", "passed"]
    shown = capsys.readouterr().out
    apart = shown[shown.index("failed: 3") :]
    assert re.search("- embeddings, sum: vectors differ by 0[.]001[0-9]*, and 1e-05 is allowed", apart)
    assert "- calibration: RuntimeError: out of memory" in apart


def test_a_run_without_out_is_kept_under_the_device_unless_tiny(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "ROOT", tmp_path)
    name = "NVIDIA H100 80GB HBM3 (SXM)"
    assert gpu.path_of(argparse.Namespace(out=None, tiny=True), name) is None
    assert gpu.path_of(argparse.Namespace(out=None, tiny=False), name) == str(
        tmp_path / "benchmarks" / "gpu" / "nvidia-h100-80gb-hbm3-sxm.json"
    )


def test_a_number_that_is_none_does_not_agree() -> None:
    for found in (float("nan"), float("inf"), 2.0):
        with pytest.raises(gpu_checks.Disagreement):
            gpu_checks.agree("losses", found, 1.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so cuda is no mistake")
def test_a_device_that_is_not_there_is_named_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cuda", "--tiny"])
    assert "'cuda' is not on this machine" in capsys.readouterr().err
