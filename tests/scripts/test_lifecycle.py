"""Runs that are killed, repeated, or meet another one in their folder: nothing is lost, mixed, or run in vain."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import main
import report
import trainer
from config import get_config
from inference.finished_run import load_finished
from runtime import identity, manifest
from runtime.cli import run_script
from runtime.identity import OUTPUTS
from studies.common import finished_run
from tests.helpers.data import write_data
from tests.helpers.runs import interrupted, killed_at, words

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trains(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the epochs that are trained."""
    epochs: list[int] = []
    train_epoch = trainer.train_epoch
    monkeypatch.setattr(
        trainer, "train_epoch", lambda *args, **more: epochs.append(args[-1]) or train_epoch(*args, **more)
    )
    return epochs


def contents(saved: Path) -> dict[str, bytes]:
    return {name: (saved / name).read_bytes() for name in OUTPUTS if (saved / name).exists()}


def untimed(saved: Path) -> dict[str, Any]:
    """Read the outputs of a run without what differs from one time to the next: seconds, and where it lies."""
    found: dict[str, Any] = {name: content for name, content in contents(saved).items() if name.endswith(("t", "z"))}
    found |= {name: json.loads((saved / name).read_text()) for name in ("recommendations.json", "new_titles.json")}
    lines = (saved / "history.jsonl").read_text().splitlines()
    found["history"] = [{**json.loads(line), "seconds": 0} for line in lines]
    metrics = json.loads((saved / "metrics.json").read_text())
    found["metrics"] = {
        key: value for key, value in metrics.items() if key not in ("timing", "train_s", "config", "encoder")
    }
    found["metrics"].get("refit", {}).pop("train_s", None)
    model = torch.load(saved / "best_model.pth", weights_only=True)
    found["model"] = {name: value.tolist() for name, value in model["state_dict"].items()}
    return found


# --- files that belong together ---


# what an old run left is used until the first of these is replaced; from then on nothing is until all of them are
WRITES = ["checkpoint.pth", *OUTPUTS, "manifest.json"]
OTHER = {"lr": 0.05}
# a kill: as this file takes its place in this folder, with these settings, over a run that differs in these; over the
# same run, which lost a file, where it differs in none; over nothing
KILLS: list[tuple[str, str, dict[str, Any], dict[str, Any] | None]] = [
    *((name, ".", {}, OTHER) for name in [*WRITES, "report.html"]),
    ("report.html", ".", {"refit": True}, OTHER),
    ("report.html", "measured", {"refit": True}, OTHER),
    ("report.html", ".", {"refit_valid": True}, OTHER),
    ("user_emb.pt", ".", {}, {}),
    ("metrics.json", ".", {}, None),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "where", "more", "old"), KILLS)
def test_a_run_killed_over_an_old_one_ends_as_an_undisturbed_one(
    name: str,
    where: str,
    more: dict[str, Any],
    old: dict[str, Any] | None,
    config: dict[str, Any],
    tmp_path: Path,
    trains: list[int],
) -> None:
    saved, config = Path(config["saved_dir"]), {**config, **more}
    finished = {} if old is None else main.run({**config, **old})
    if old == {}:
        (saved / "best_model.pth").unlink()
    before = contents(saved)
    killed_at(name, config, saved / where)
    if name in ("checkpoint.pth", "history.jsonl"):
        assert contents(saved) == before
        assert load_finished({**config, **old}).item_emb.isfinite().all()
        manifest.check(saved, *OUTPUTS)
    elif name == "report.html":
        assert not (saved / where / name).exists()
    elif old:
        with pytest.raises(ValueError, match=r"not belong together: .*of run \w+.*give the run's command again"):
            manifest.check(saved, *OUTPUTS)
    else:
        assert (saved / "checkpoint.pth").exists()
    trains.clear()
    metrics = main.run(config)
    assert metrics == finished or old != {}
    epochs = {"checkpoint.pth": 3, "report.html": metrics["refit"]["epochs"] if where == "measured" else 0}
    assert trains == list(range(1, epochs.get(name, 0) + 1))
    main.run({**config, "saved_dir": str(tmp_path / "whole")})
    assert untimed(saved) == untimed(tmp_path / "whole")
    manifest.check(saved, *OUTPUTS)
    for folder in {saved, saved / where}:
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert re.findall(r">lr</t[dh]>\s*<td[^>]*>([\d.]+)", page) == [str(config["lr"])]
        assert not (folder / "checkpoint.pth").exists()


@pytest.fixture
def mixed(config: dict[str, Any]) -> dict[str, Any]:
    """A run over which another was killed while it wrote its vectors."""
    main.run(config)
    killed_at("item_emb.pt", {**config, "embedding_dim": 4})
    return config


@pytest.mark.slow
def test_each_who_reads_a_mix_says_which_file_is_of_which_run(
    mixed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = Path(mixed["saved_dir"])
    old = json.loads((saved / "metrics.json").read_text())["run"]
    new = manifest.recorded_run(saved)
    said = rf"best_model.pth of run {new}; user_emb.pt not as run {old} wrote it; item_emb.pt of run {old}"
    for read in (lambda: load_finished(mixed), lambda: finished_run(saved)):
        with pytest.raises(ValueError, match=said):
            read()
    with pytest.raises(ValueError, match=f"best_model.pth, history.jsonl of run {new}; metrics.json of run {old}"):
        main.run({**mixed, "mode": "inference"})
    monkeypatch.setattr(sys, "argv", ["report.py", str(saved)])
    with pytest.raises(ValueError, match=f"history.jsonl of run {new}"):
        report.main()


# --- nothing is run that should not be ---


@pytest.mark.slow
@pytest.mark.parametrize("refit", [False, True])
def test_a_finished_run_is_not_run_again_and_says_so(
    refit: bool, config: dict[str, Any], trains: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    config = {**config, "refit": refit}
    metrics, saved = main.run(config), Path(config["saved_dir"])
    before, n_epochs = contents(saved), len(trains)
    with caplog.at_level(logging.INFO, "aglrec"):
        assert main.run(config) == metrics
    assert "this run is finished; nothing is left to do (to run it again: --resume never)" in caplog.text
    assert len(trains) == n_epochs
    assert contents(saved) == before
    main.run({**config, "resume": "never"})
    assert len(trains) > n_epochs


def test_other_lengths_of_lists_train_nothing(config: dict[str, Any], trains: list[int]) -> None:
    main.run(config)
    saved, n_epochs = Path(config["saved_dir"]), len(trains)
    metrics = main.run({**config, "recommend_k": 3})
    lists = json.loads((saved / "recommendations.json").read_text())
    assert {len(titles) for titles in lists.values()} == {3}
    assert len(trains) == n_epochs
    assert metrics["config"]["recommend_k"] == 3
    assert json.loads((saved / "metrics.json").read_text()) == metrics
    manifest.check(saved, *OUTPUTS)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["metrics.json", "item_emb.pt", "best_model.pth", "splits.npz"])
def test_a_damaged_run_is_run_again_and_says_why(
    damage: str, config: dict[str, Any], trains: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    main.run(config)
    path, n_epochs = Path(config["saved_dir"]) / damage, len(trains)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"?" + whole[len(whole) // 2 + 1 : -1])
    main.run(config)
    assert len(trains) == 2 * n_epochs
    assert damage in caplog.text
    manifest.check(path.parent, *OUTPUTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 0.5}, "lr was 0.001, now it is 0.5"),
        ({"epochs": 9}, "epochs was 3, now it is 9"),
        ({"split_seed": 3}, "split_seed was 0, now it is 3"),
    ],
)
@pytest.mark.parametrize("refit", [False, True])
def test_a_checkpoint_of_other_settings_is_refused_before_anything_is_encoded(
    refit: bool, change: dict[str, Any], said: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, saved = {**config, "refit": refit}, Path(config["saved_dir"])
    interrupted(config, saved)
    before = (saved / "checkpoint.pth").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(main, "text_vectors", lambda *args: pytest.fail("encoded"))
        with pytest.raises(ValueError, match=f"{said}.*Give that run's command to resume it, --resume never"):
            main.run({**config, **change})
    assert (saved / "checkpoint.pth").read_bytes() == before
    assert main.run({**config, **change, "resume": "never"})
    assert not (saved / "checkpoint.pth").exists()


def test_an_interrupted_run_does_not_mind_longer_lists(config: dict[str, Any], trains: list[int]) -> None:
    interrupted(config)
    trains.clear()
    assert main.run({**config, "recommend_k": 3})["config"]["recommend_k"] == 3
    assert trains == []


def test_a_finished_run_is_told_so_beside_the_checkpoint_of_another(config: dict[str, Any]) -> None:
    metrics = main.run(config)
    interrupted({**config, "lr": 0.5})
    assert main.run(config) == metrics
    assert main.run({**config, "mode": "inference"}) == metrics
    assert (Path(config["saved_dir"]) / "checkpoint.pth").exists()


def test_a_checkpoint_from_before_a_setting_was_added_is_refused(config: dict[str, Any]) -> None:
    interrupted(config)
    path = Path(config["saved_dir"]) / "checkpoint.pth"
    state = torch.load(path, weights_only=True)
    del state["signature"]["config"]["whiten"]
    torch.save(state, path)
    with pytest.raises(ValueError, match="whiten was unknown, now it is False"):
        main.run(config)


def test_the_seconds_of_a_fit_are_all_that_its_vectors_needed(config: dict[str, Any], tmp_path: Path) -> None:
    """Choices before training and decisions after it, and what was trained before an interruption."""
    tuned = {**config, "temperature": 0.0, "loss": "softmax", "calibrate": True, "saved_dir": str(tmp_path / "whole")}
    timing, train_s = (main.run(tuned)[key] for key in ("timing", "train_s"))
    assert timing["fit_s"] > 2 * train_s  # the short runs alone take longer
    assert timing["earlier_s"] == 0
    interrupted(config)
    path = Path(config["saved_dir"]) / "checkpoint.pth"
    state = torch.load(path, weights_only=True)
    for line in state["history"]:
        line["seconds"] = 1000.0
    torch.save(state, path)
    resumed = main.run(config)
    assert resumed["timing"]["earlier_s"] == resumed["train_s"] == 3000
    assert 3000 < resumed["timing"]["fit_s"] < resumed["timing"]["total_s"] < 3060


@pytest.mark.slow
def test_inference_brings_the_figures_that_a_killed_run_did_not_come_to(config: dict[str, Any], tmp_path: Path) -> None:
    whole = main.run({**config, "saved_dir": str(tmp_path / "whole")})
    killed_at("user_emb.pt", config)
    metrics, saved = main.run({**config, "mode": "inference"}), Path(config["saved_dir"])
    assert set(metrics) == set(whole)
    assert metrics["train_s"] > 0
    for key in ("run", "test", "warm", "decided", "epochs_run", "epoch"):
        assert metrics[key] == whole[key], key
    manifest.check(saved, *OUTPUTS)


# --- disks ---


def on_a_disk_of(n_bytes: int, config: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    """Run main.py in a process that can write no file longer than n_bytes."""
    program = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, {n_bytes}))\n"
        f"sys.argv = {[*words(config), *more]!r}; sys.path[:0] = [{str(ROOT)!r}]\n"
        f"runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.slow
@pytest.mark.parametrize("n_bytes", [2_000, 9_000])
def test_a_full_disk_is_a_sentence_and_costs_nothing(n_bytes: int, config: dict[str, Any]) -> None:
    main.run(config)
    saved = Path(config["saved_dir"])
    before = contents(saved)
    done = on_a_disk_of(n_bytes, config, "--lr", "0.5")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "cannot be written (File too large); free some space" in done.stderr
    assert contents(saved) == before
    assert not list(saved.glob("*.tmp"))


# --- screens ---


def test_a_screen_that_cannot_show_a_title_or_goes_away_costs_nothing(tmp_path: Path) -> None:
    program = (
        "import logging, sys; from runtime.cli import run_script\n"
        "def main():\n log = logging.getLogger('aglrec')\n"
        " for n in range(500): log.info('进击的巨人 %d', n)\n open(sys.argv[1], 'w').write('done')\n"
        "sys.exit(run_script(main))"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [*command, str(tmp_path / "a")], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 500
    with subprocess.Popen(
        [*command, str(tmp_path / "b")], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as script:
        script.stdout.readline()
        script.stdout.close()
        errors = script.stderr.read()
    assert "Logging error" not in errors
    assert len(errors.splitlines()) < 3
    assert (tmp_path / "b").read_text() == "done"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], []])
def test_a_reader_of_report_that_goes_away_costs_nothing(words: list[str], config: dict[str, Any]) -> None:
    main.run(config)
    given, place = os.pipe()
    os.close(given)
    page = Path(config["saved_dir"]) / "report.html"
    page.unlink()
    try:
        done = subprocess.run(
            [sys.executable, ROOT / "report.py", *(words or [config["saved_dir"]])],
            stdout=place,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(place)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.exists() == (words == [])


# --- a user who has every title ---


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"preset": "tuned"}, {"loss": "softmax"}])
@pytest.mark.parametrize("n_users", [1, 3])
def test_users_who_have_every_title_are_no_nan(
    n_users: int, more: dict[str, Any], config: dict[str, Any], tmp_path: Path
) -> None:
    write_data(tmp_path / "all", n_users, 30, per_user=30)
    keys = ("saved_dir", "model_name", "lsa_dim", "embedding_dim", "device")
    asked = get_config({**{key: config[key] for key in keys}, "data_dir": str(tmp_path / "all"), "epochs": 2, **more})
    metrics = main.run(asked)
    assert "NaN" not in json.dumps(metrics)
    assert torch.isfinite(torch.load(Path(config["saved_dir"]) / "item_emb.pt", weights_only=True)).all()


def test_an_unreadable_metrics_file_is_no_finished_run(config: dict[str, Any]) -> None:
    main.run(config)
    (Path(config["saved_dir"]) / "metrics.json").write_text("[]")
    assert identity._metrics_of_same_settings(config) is None


def test_a_wrong_setting_leaves_no_folder(config: dict[str, Any], tmp_path: Path) -> None:
    assert run_script(lambda: main.run({**config, "data_dir": str(tmp_path / "none")})) == 2
    assert not Path(config["saved_dir"]).exists()
