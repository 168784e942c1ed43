"""Scripts on full and read-only disks: one sentence, and the old files."""

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import main
from tests.helpers.runs import contents, disk_of, one_sentence

ROOT = Path(main.__file__).parent
Script = Callable[..., int]


# --- disks ---


@pytest.mark.slow
@pytest.mark.parametrize("out", ["lists.json", "lists.jsonl", "lists.csv", "inference.top_k.parquet"])
def test_lists_for_a_full_disk_are_a_sentence_and_leave_the_old_ones(
    out: str, script: Script, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if out.endswith("parquet"):
        pytest.importorskip("pyarrow")
    main.run(config)
    path = tmp_path / out
    path.write_text("old")
    capsys.readouterr()
    with disk_of(2_000):
        code = script("recommend", "--out", str(path))
    assert "free some space" in one_sentence(code, *capsys.readouterr())
    assert path.read_text() == "old"
    assert not list(tmp_path.glob("*.tmp"))
    assert script("recommend", "--out", str(path)) == 0
    assert path.stat().st_size > 2_000


def test_vectors_exported_to_a_full_disk_are_a_sentence(
    script: Script, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main.run(config)
    capsys.readouterr()
    with disk_of(1_000):
        code = script("recommend", "--export", str(tmp_path / "export"))
    assert "_vectors.npy cannot be written" in one_sentence(code, *capsys.readouterr())
    assert not list((tmp_path / "export").glob("*.npy"))


def test_vectors_for_a_full_disk_are_a_sentence_and_leave_the_old_ones(
    script: Script, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("save_embeddings") == 0
    before = contents(Path(config["saved_dir"]))
    capsys.readouterr()
    with disk_of(500):
        code = script("save_embeddings", "--lsa_dim", "7")
    assert "free some space" in one_sentence(code, *capsys.readouterr())
    assert contents(Path(config["saved_dir"])) == before
    assert script("save_embeddings", "--lsa_dim", "7") == 0
    assert contents(Path(config["saved_dir"])) != before


@pytest.mark.parametrize("more", [[], ["--overwrite", "--seed", "1"]])
def test_a_conversion_to_a_full_disk_is_a_sentence_and_leaves_the_folder_as_it_was(
    more: list[str], script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if more:
        assert script("convert") == 0
    before = contents(tmp_path / "converted")
    capsys.readouterr()
    with disk_of(100):
        code = script("convert", *more)
    out, err = capsys.readouterr()
    assert "free some space" in one_sentence(code, out, err)
    assert contents(tmp_path / "converted") == before
    assert script("convert", *more) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["save_embeddings", "recommend", "convert"])
def test_a_read_only_disk_is_a_sentence(
    name: str,
    script: Script,
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main.run(config)
    for path in Path(config["saved_dir"]).glob("*.npy*"):
        path.unlink()
    before, opened, folders = contents(tmp_path), builtins.open, os.mkdir

    def refuse(path: Any, *more: Any, **named: Any) -> Any:
        if set("".join(map(str, (more or ("r",))[:1])) + named.get("mode", "")) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opened(path, *more, **named)

    def refuse_folder(path: Any, *more: Any, **named: Any) -> Any:
        if Path(path).exists():
            return folders(path, *more, **named)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        patch.setattr(io, "open", refuse)  # what Path.open calls
        patch.setattr(os, "mkdir", refuse_folder)
        capsys.readouterr()
        code = script(name)
    assert "make the folder writable" in one_sentence(code, *capsys.readouterr())
    assert contents(tmp_path) == before
