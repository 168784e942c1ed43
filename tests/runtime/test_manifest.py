"""Which run wrote which file, and one process at a time in a folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import main
from inference.finished_run import load_finished
from runtime import files
from runtime.identity import OUTPUTS

ROOT = Path(__file__).parents[2]


# --- files that belong together ---


def test_every_output_is_entered_with_its_run(config: dict[str, Any]) -> None:
    metrics, saved = main.run(config), Path(config["saved_dir"])
    entries = json.loads((saved / "manifest.json").read_text())["files"]
    assert {entry["run"] for entry in entries.values()} == {metrics["run"]}
    assert set(entries) == {*OUTPUTS, "rows.npz", "user_metrics.npz"}
    other = main.run({**config, "seed": 1, "saved_dir": str(saved / "other")})
    assert other["run"] != metrics["run"]


@pytest.mark.slow
def test_a_file_that_was_changed_or_came_from_elsewhere_is_named(config: dict[str, Any]) -> None:
    run, saved = main.run(config)["run"], Path(config["saved_dir"])
    main.run({**config, "seed": 1, "saved_dir": str(saved / "other")})
    shutil.copy(saved / "other" / "user_emb.pt", saved)
    with pytest.raises(ValueError, match=rf"best_model.pth, item_emb.pt of run {run}; user_emb.pt not as run {run}"):
        load_finished(config)
    main.run({**config, "mode": "inference"})
    assert load_finished(config)


def test_a_file_of_no_known_run_is_refused(config: dict[str, Any]) -> None:
    main.run(config)
    path = Path(config["saved_dir"]) / "manifest.json"
    entries = json.loads(path.read_text())
    del entries["files"]["item_emb.pt"]
    path.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="item_emb.pt of no run that is known"):
        load_finished(config)


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"files": {"item_emb.pt": 7}}'])
def test_a_damaged_manifest_is_a_sentence(content: str, config: dict[str, Any]) -> None:
    main.run(config)
    (Path(config["saved_dir"]) / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="manifest.json cannot be read .*; delete it"):
        load_finished(config)


def test_what_an_older_version_wrote_is_taken_as_it_is(config: dict[str, Any]) -> None:
    main.run(config)
    (Path(config["saved_dir"]) / "manifest.json").unlink()
    assert load_finished(config)
    main.run({**config, "mode": "inference"})
    assert not (Path(config["saved_dir"]) / "manifest.json").exists()


# --- one at a time ---


def test_a_second_run_into_a_folder_is_refused(config: dict[str, Any]) -> None:
    saved = Path(config["saved_dir"])
    with files.lock_folder(saved), pytest.raises(OSError, match="another process is writing to .*saved; .*--saved_dir"):
        main.run(config)
    assert main.run(config)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "inference"])
def test_a_lock_is_lost_with_its_process(mode: str, config: dict[str, Any]) -> None:
    main.run(config)
    program = (
        f"import sys, time; sys.path[:0] = [{str(ROOT)!r}]\nfrom runtime import files\n"
        "from pathlib import Path\n"
        f"with files.lock_folder(Path({config['saved_dir']!r})):\n print(flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(OSError, match="another process"):
            main.run({**config, "mode": mode})
        other.kill()
    assert main.run({**config, "mode": mode})


def test_a_file_in_the_place_of_the_folder_is_a_sentence(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match="a file stands where a folder is needed; name another folder"):
        main.run({**config, "saved_dir": str(tmp_path / "notes.txt")})
    assert (tmp_path / "notes.txt").read_text() == "mine"
