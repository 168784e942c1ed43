"""Files that are whole or not there, on disks that are full or read-only."""

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

import main
from runtime import files
from runtime.files import atomic_write

# --- disks ---


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
@pytest.mark.parametrize("at", ["lock", "file"])
def test_a_folder_that_cannot_be_written_to_is_a_sentence(
    number: int, at: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((Path, "mkdir") if at == "lock" else (files.os, "fsync")), refuse)
    remedy = "free some space" if number == errno.ENOSPC else "make the folder writable"
    with pytest.raises(OSError, match=f"saved.* cannot be written .{os.strerror(number)}.; {remedy}"):
        main.run(config)


def test_a_full_disk_under_torchs_writer_is_a_sentence(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="x.pt cannot be written .File too large.; free some space"):
            files.save_torch(tmp_path / "x.pt", {"a": torch.ones(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_is_no_disks_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="of the model"), files.atomic_write(tmp_path / "x"):
        raise RuntimeError("of the model, which could not write")


# --- files ---


def test_atomic_write_replaces_the_file_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"first", b"second"):
        with atomic_write(path) as file:
            file.write(content)
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def fail_half_way(path: Path, error: type[BaseException]) -> None:
    with atomic_write(path) as file:
        file.write(b"new, but not wh")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        fail_half_way(path, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_shows_nothing_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.exists()
