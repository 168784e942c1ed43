"""Conversions killed as they put files in their places."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_loader import load_dataset

Script = Callable[..., int]


# --- conversions that are killed while they put files in their places ---


FILES = ["anime.tsv", "user.tsv", "known.tsv", "interactions.tsv"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("more", [[], ["--overwrite", "--statuses", "done"]])
def test_a_conversion_killed_over_a_file_is_repeated_by_its_command(
    more: list[str], name: str, script: Script, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "converted"
    if more:
        assert script("convert") == 0
        shutil.copytree(folder, tmp_path / "old")
    replace = os.replace

    def deadly(source: Any, target: Any) -> None:
        if Path(target) == folder / name:
            raise SystemExit
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", deadly)
        patch.setattr(shutil, "rmtree", lambda *args, **more: None)  # nor does a kill clear anything away
        with pytest.raises(SystemExit):
            script("convert", *more)
    with pytest.raises(FileNotFoundError, match="(anime|interactions).tsv is missing"):
        load_dataset({**config, "data_dir": str(folder)})
    assert script("convert", *more) == 0
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    if more:
        shutil.copytree(tmp_path / "old", folder)
    assert script("convert", *more) == 0
    assert found == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_overwritten_folder_keeps_nothing_of_the_old_one(script: Script, tmp_path: Path) -> None:
    assert script("convert") == 0
    folder = tmp_path / "converted"
    for name in FILES:
        shutil.copy(folder / name, folder / f"{name}.gz")
    assert script("convert", "--overwrite", "--statuses", "wish,done,doing,on_hold,dropped,unknown") == 0
    assert {path.name for path in folder.iterdir()} == {"anime.tsv", "user.tsv", "interactions.tsv"}
