"""Data that change while a run reads them, and clocks."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import main
from data_loader import load_dataset
from dataset import tables
from inference.finished_run import load_finished
from tests.faults.artefacts import artefacts
from tests.helpers.runs import are, contents

# --- damage ---


@pytest.fixture
def finished(whole: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    return artefacts(whole[1] / "finished" / "saved")


Copied = Callable[[str], dict[str, Any]]


# --- clocks, and data that change ---


@pytest.mark.parametrize("moment", [0, 4_000_000_000])
def test_what_the_clock_says_decides_nothing(
    moment: int, copied: Copied, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: float(moment))
    for name in ("stopped", "finished"):
        config = copied(name)
        for path in Path("saved").iterdir():
            os.utime(path, (moment, moment))
        before = contents(Path("saved"))
        main.run(config)
        assert are(finished)
        assert name == "stopped" or contents(Path("saved")) == before


def test_data_written_to_while_they_are_read_are_refused(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, check = Path(config["data_dir"]) / "interactions.tsv", tables._check_header

    def check_and_append(read: Path, *columns: Any) -> None:
        check(read, *columns)
        if read == path:
            with path.open("a") as file:
                file.write("u1\ts1\t")

    with monkeypatch.context() as patch:
        patch.setattr(tables, "_check_header", check_and_append)
        with pytest.raises(ValueError, match="interactions.tsv was written to while it was read; give the command"):
            main.run(config)


def edited_after(n_reads: int, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the last row from interactions.tsv once it was read so often."""
    path, reads, load = Path(config["data_dir"]) / "interactions.tsv", [], main.load_dataset

    def load_and_edit(config: dict[str, Any]) -> Any:
        dataset = load(config)
        reads.append(1)
        if len(reads) == n_reads:
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        return dataset

    monkeypatch.setattr(main, "load_dataset", load_and_edit)


def test_a_run_whose_data_were_edited_meanwhile_is_of_what_it_read_and_says_so(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = main.run({**config, "saved_dir": str(tmp_path / "whole")})
    with monkeypatch.context() as patch:
        edited_after(1, config, patch)
        assert main.run(config)["test"] == whole["test"]
    with pytest.raises(ValueError, match="trained on other data"):
        load_finished(config)


@pytest.mark.slow
def test_what_is_trained_once_more_has_to_be_what_was_measured(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "refit": True}
    with monkeypatch.context() as patch:
        edited_after(1, config, patch)
        with pytest.raises(ValueError, match="the data were changed while the run was measured; give the command"):
            main.run(config)
    assert not (Path(config["saved_dir"]) / "metrics.json").exists()
    assert main.run(config)["refit"]["positives"] == load_dataset(config).train.nnz
