"""One run's files in the place of another's: killed before any step, the folder holds one of them, whole."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.replacing import WORK, finish_replacing, replace_run

NAMES = ["a", "b", "gone", "manifest.json"]
OLD, NEW = {"a": "old", "b": "old", "gone": "old"}, {"a": "new", "b": "new", "manifest.json": "new"}
STEPS = ("replace", "symlink_to", "hardlink_to", "unlink", "mkdir")


def written(folder: Path) -> tuple[Path, Path]:
    """Write an old run with a file of somebody else's, and a new one in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, files in ((folder, OLD), (folder / "staged", NEW)):
        path.mkdir(parents=True)
        for name, content in files.items():
            (path / name).write_text(content)
    (folder / "staged" / "run.json").write_text("staged")
    (folder / "notes").write_text("mine")
    return folder, folder / "staged"


def seen(folder: Path) -> dict[str, str]:
    """Read what anybody sees of the run in a folder."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file() and path.name in NAMES}


@contextmanager
def killed_before(step: int) -> Iterator[list[int]]:
    """Count the steps that change the disk, and stop before one of them."""
    count = [0]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step_or_stop(*args: Any, **kwargs: Any) -> Any:
            if count[0] == step:
                raise KeyboardInterrupt
            count[0] += 1
            return real(*args, **kwargs)

        return step_or_stop

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        yield count


def test_at_every_moment_the_folder_holds_one_of_both(tmp_path: Path) -> None:
    both = written(tmp_path / "saved")
    with killed_before(-1) as count:
        replace_run(*both, NAMES)
    n_steps, found = count[0], []
    assert n_steps > 15
    for step in range(n_steps):
        folder, staged = written(tmp_path / "saved")
        with killed_before(step), pytest.raises(KeyboardInterrupt):
            replace_run(folder, staged, NAMES)
        found.append(seen(folder))
        assert found[-1] in (OLD, NEW), step
        finish_replacing(folder)
        assert seen(folder) == found[-1]
        assert not any(path.is_symlink() for path in folder.iterdir() if not path.name.endswith(".tmp"))
        assert not (folder / WORK).exists()
        assert found[-1] == NEW or {name: (staged / name).read_text() for name in NEW} == NEW
        if found[-1] == OLD:
            replace_run(folder, staged, NAMES)
        assert seen(folder) == NEW
        assert (folder / "notes").read_text() == "mine"
    assert OLD in found
    assert found == sorted(found, key=lambda each: each == NEW)  # once it is the new one, it stays


def test_a_kill_while_a_kill_is_made_good_costs_nothing(tmp_path: Path) -> None:
    for first in range(4, 24, 3):
        folder, staged = written(tmp_path / "saved")
        with killed_before(first), pytest.raises(KeyboardInterrupt):
            replace_run(folder, staged, NAMES)
        held = seen(folder)
        for second in range(20):
            with killed_before(second):
                try:
                    finish_replacing(folder)
                    break
                except KeyboardInterrupt:
                    assert seen(folder) == held
        assert seen(folder) == held


def test_without_symbolic_links_what_a_kill_left_is_ended_as_the_new_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any) -> None:
        raise OSError("no symbolic links here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    both = written(tmp_path / "saved")
    with killed_before(-1) as count:
        replace_run(*both, NAMES)
    assert seen(tmp_path / "saved") == NEW
    for step in range(count[0]):
        folder, staged = written(tmp_path / "saved")
        with killed_before(step), pytest.raises(KeyboardInterrupt):
            replace_run(folder, staged, NAMES)
        finish_replacing(folder)
        assert seen(folder) in (OLD, NEW)


def test_without_symbolic_links_a_kill_at_the_very_end_is_made_good(tmp_path: Path) -> None:
    folder, _ = written(tmp_path / "saved")
    (folder / WORK).mkdir()
    (folder / WORK / "at").write_text("gone")  # its folders are removed already
    finish_replacing(folder)
    assert not (folder / WORK).exists()
    assert seen(folder) == {"a": "old", "b": "old"}


def test_files_that_can_have_no_second_name_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    folder, staged = written(tmp_path / "saved")
    replace_run(folder, staged, NAMES)
    assert seen(folder) == NEW
    assert not staged.exists()
