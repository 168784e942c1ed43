"""Damaged and swapped files: the right artefacts, or one sentence."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
import report
import run_ablation
from data_loader import load_dataset
from inference.finished_run import load_finished
from llm_embedding import text_vectors
from runtime import manifest
from runtime.files import load_torch
from runtime.identity import OUTPUTS, ROWS
from tests.faults.artefacts import artefacts
from tests.helpers.data import write_data
from tests.helpers.runs import DAMAGE, are


@pytest.fixture
def finished(whole: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    return artefacts(whole[1] / "finished" / "saved")


Copied = Callable[[str], dict[str, Any]]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_refused_or_gone_on_from_rightly(
    damage: Callable[[bytes], bytes], copied: Copied, finished: dict[str, Any]
) -> None:
    config, path = copied("stopped"), Path("saved/checkpoint.pth")
    path.write_bytes(damage(path.read_bytes()))
    try:
        main.run(config)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - whether it is raised hangs on which bit was hit
        path.unlink()
        main.run(config)
    assert are(finished)


@pytest.mark.parametrize(("name", "run"), [("checkpoint.pth", "stopped"), ("best_model.pth", "finished")])
def test_a_bit_in_the_weights_is_noticed(name: str, run: str, copied: Copied) -> None:
    copied(run)
    content = bytearray(Path("saved", name).read_bytes())
    state = torch.load(Path("saved", name), weights_only=True)
    weights = (state["model"] if run == "stopped" else state["state_dict"])["id_emb"].numpy().tobytes()
    content[content.index(weights) + 7] ^= 64
    Path("saved", name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} cannot be read .* is damaged.*; delete it and train again"):
        load_torch(Path("saved", name))


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", [*OUTPUTS, ROWS, "manifest.json"])
def test_a_damaged_file_of_a_run_is_refused_or_made_again(
    name: str,
    damage: Callable[[bytes], bytes],
    copied: Copied,
    finished: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, path = copied("finished"), Path("saved", name)
    expected = torch.load("saved/item_emb.pt", weights_only=True)
    path.write_bytes(damage(path.read_bytes()))
    monkeypatch.setattr(sys, "argv", ["report.py", "saved"])
    for use in (lambda: load_finished(config).item_emb, lambda: report.main() or expected):
        try:
            assert torch.equal(use(), expected)
        except (ValueError, SystemExit) as error:
            assert "saved" in str(error)  # noqa: PT017
    main.run(config)
    manifest.check(Path("saved"), *OUTPUTS)
    if name == "manifest.json":  # where a name was hit, its entry stays
        del finished[name]
        path.unlink()
    assert are(finished)


def test_vectors_of_two_data_sets_that_were_swapped_are_not_used(config: dict[str, Any], tmp_path: Path) -> None:
    other = {**config, "data_dir": str(write_data(tmp_path / "other", seed=5)), "saved_dir": str(tmp_path / "others")}
    titles = tmp_path / "other" / "anime.tsv"
    titles.write_text(titles.read_text().replace("story", "tale"))
    expected = [text_vectors(load_dataset(one), one, "cpu") for one in (config, other)]
    names = [f"{side}_llm_embeddings.npy{end}" for side in ("item", "user") for end in ("", ".json")]
    for swapped in (names, names[::2], names[1::2]):
        for name in swapped:
            ours, theirs = (Path(one["saved_dir"]) / name for one in (config, other))
            kept = ours.read_bytes()
            ours.write_bytes(theirs.read_bytes())
            theirs.write_bytes(kept)
        for one, vectors in zip((config, other), expected, strict=True):
            found = text_vectors(load_dataset(one), one, "cpu")
            np.testing.assert_array_equal(found.items, vectors.items)
            np.testing.assert_array_equal(found.users, vectors.users)


@pytest.mark.parametrize("name", ["metrics.json", "comparison.json"])
def test_a_damaged_row_of_an_ablation_is_named(name: str, config: dict[str, Any]) -> None:
    folder = Path(config["saved_dir"]) / "ablation"
    run_ablation.compare({}, config, folder, baselines=["popularity"])
    path = folder / "baseline-popularity" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{name} is damaged .*; delete it and run again"):
        run_ablation.compare({}, config, folder, baselines=["popularity"])
    path.unlink()
    assert run_ablation.compare({}, config, folder, baselines=["popularity"])
