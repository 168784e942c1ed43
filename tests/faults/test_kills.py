"""Scripts that are killed, in any order with other things that people do: they end as if nothing had been."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import main
from runtime.files import write_json
from tests.faults import __main__ as faults
from tests.faults import cases
from tests.faults.artefacts import artefacts, differing

ROOT = Path(main.__file__).parent


def long_form(name: str, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a little of what takes hours, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", name, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
    )


@pytest.mark.slow
@pytest.mark.parametrize("script", ["main", "update", "tune", "convert"])
def test_a_script_that_is_killed_leaves_what_an_undisturbed_one_does(script: str, tmp_path: Path) -> None:
    done = long_form("tests.faults", tmp_path, "--kills", "1", "--only", script)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count(": the same") == 1
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.slow
def test_what_people_do_in_any_order_leaves_what_undisturbed_runs_do(tmp_path: Path) -> None:
    done = long_form("tests.faults.sequences", tmp_path, "--sequences", "4", "--steps", "9", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {
        what: int(count)
        for count, _, what in (part.partition(" ") for part in done.stdout.splitlines()[-1].split(", "))
    }
    assert counts["sequences"] >= 4
    assert min(counts["runs"], counts["kills"], counts["edits"]) > 0
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.slow
def test_a_script_that_does_not_survive_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        "from pathlib import Path\nfrom time import sleep\n"
        "path = Path('out.txt')\nassert HARSH or not path.exists(), 'there already'\n"
        "path.write_text(str(path.exists()))\nsleep(1)\n"
    )
    for name, harsh in (("changed", True), ("refused", False)):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.py").write_text(script.replace("HARSH", str(harsh)))
        found = faults.outcome(name, cases.Case([str(tmp_path / f"{name}.py")]), 1, 0, tmp_path / name)
        assert (found.kills, found.survived) == (1, 0)
        assert list(found.differed) == [
            *(["out.txt"] if harsh else ["refused.py ended with 1: AssertionError: there already"])
        ]


@pytest.mark.parametrize(
    ("change", "tolerance", "are_same"),
    [
        (lambda found: found, 0, True),
        (lambda found: {**found, "more": b""}, 0, False),
        (lambda found: {name: found[name] for name in list(found)[1:]}, 0, False),
        (lambda found: {**found, "a.npy": found["a.npy"] + 1e-6}, 1e-5, True),
        (lambda found: {**found, "a.npy": found["a.npy"] + 1e-6}, 0, False),
        (lambda found: {**found, "a.npy": found["a.npy"] + 1e-3}, 1e-5, False),
        (lambda found: {**found, "m.json": {"test": 0.5}}, 0, True),
        (lambda found: {**found, "m.json": {"test": 0.4}}, 0, False),
    ],
)
def test_what_differs_is_seen_and_seconds_are_not(
    change: Callable[[Any], Any], tolerance: float, are_same: bool, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "m.json").write_text('{"test": 0.5, "train_s": 7.3, "timing": {"fit_s": 3}}')
    found = artefacts(tmp_path)
    assert (differing(change(found), found, tolerance) == []) is are_same


@pytest.mark.parametrize("written", ["a file", "a run"])
def test_what_dead_processes_left_half_written_goes(written: str, config: dict[str, Any]) -> None:
    saved = Path(config["saved_dir"])
    saved.mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    gone = [saved / f"metrics.json.{dead.pid}.tmp"]
    stays = [saved / f"{name}.{os.getppid()}.tmp" for name in ("metrics.json", "checkpoint.pth")]
    stays += [saved / "notes.tmp", saved / "my.own.tmp"]
    others = [saved / f"{name}.{dead.pid}.tmp" for name in ("checkpoint.pth", "item_emb.pt")]
    (stays if written == "a file" else gone).extend(others)  # a file clears away what was left of itself alone
    for path in (*gone, *stays):
        path.write_bytes(b"x")
    if written == "a file":
        write_json(saved / "metrics.json", 1)
    else:
        main.run(config)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stays)
