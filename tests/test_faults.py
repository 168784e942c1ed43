"""Full and read-only disks, damaged, swapped and edited files: the right artefacts, or one sentence."""

import builtins
import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_data
from faults.artefacts import artefacts, differing
from import_samples import kaggle_2020
from test_errors import one_sentence
from test_lifecycle import interrupted
from test_main import words

import main
import recommend
import report
import run_ablation
import save_embeddings
from config import get_config
from data_loader import load_dataset
from dataset import tables
from inference.finished_run import load_finished
from llm_embedding import text_vectors
from runtime import manifest
from runtime.cli import run_script
from runtime.files import load_torch
from runtime.identity import OUTPUTS
from text import store as text_store
from tools import convert

ROOT = Path(main.__file__).parent
SCRIPTS = {"save_embeddings": save_embeddings, "main": main, "recommend": recommend, "convert": convert}


@contextmanager
def disk_of(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond n_bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(*folders: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


Script = Callable[..., int]


@pytest.fixture
def script(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Run a script in this process on the data, saved_dir and exports of this test; returns its exit code."""
    kaggle_2020(tmp_path / "kaggle")

    def run(name: str, *more: str) -> int:
        given = {
            "convert": [
                "kaggle-2020",
                str(tmp_path / "kaggle"),
                "--adult",
                "yes",
                "--out",
                str(tmp_path / "converted"),
            ],
            "recommend": ["--data_dir", config["data_dir"], "--saved_dir", config["saved_dir"]],
        }
        monkeypatch.setattr(sys, "argv", [name, *(given[name] if name in given else words(config)[1:]), *more])
        return run_script(SCRIPTS[name].main)

    return run


# --- disks ---


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


def test_a_store_on_a_full_disk_keeps_what_it_has(tmp_path: Path) -> None:
    stamp = {"model_name": "some/encoder", "settings": {}, "model": "abc"}
    store, texts, asked = text_store.store_of(tmp_path, stamp), [f"text {n}" for n in range(100)], []

    def encode(some: list[str]) -> np.ndarray:
        asked.extend(some)
        return np.array([[hash(text) % 1000] * 6 for text in some], np.float32)

    with disk_of(1_500), pytest.raises(OSError, match="vectors.bin cannot be written .File too large.; free some"):
        text_store.vectors_of(store, texts, lambda: encode)
    assert len(text_store.missing(store, texts)) == 100 - 32
    asked.clear()
    vectors, n_encoded = text_store.vectors_of(store, texts, lambda: encode)
    assert n_encoded == len(asked) == 100 - 32
    np.testing.assert_array_equal(vectors, encode(texts))


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
        if os.path.exists(path):
            return folders(path, *more, **named)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        patch.setattr(os, "mkdir", refuse_folder)
        capsys.readouterr()
        code = script(name)
    assert "make the folder writable" in one_sentence(code, *capsys.readouterr())
    assert contents(tmp_path) == before


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


# --- damage ---


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(seed: int) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[np.random.default_rng(seed).integers(len(changed))] ^= 1 << seed % 8
        return bytes(changed)

    return flip


DAMAGE = {
    "empty": lambda content: b"",
    "halved": halved,
    "a byte short": lambda content: content[:-1],
    **{f"bit {seed}": flipped(seed) for seed in range(6)},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A config, and the folder of three runs: finished, one whose training was just done, and a page's."""
    folder = tmp_path_factory.mktemp("whole")
    config = get_config(
        {
            "data_dir": str(write_data(folder / "data", 20, 24)),
            "saved_dir": "saved",
            "vectors_dir": str(folder / "vectors"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 4,
            "epochs": 2,
            "batch_size": 64,
            "device": "cpu",
        }
    )
    for name, run in (("finished", main.run), ("stopped", interrupted)):
        (folder / name).mkdir()
        with chdir(folder / name):
            run(config)
    return config, folder


@pytest.fixture
def copied(
    whole: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """Copy the saved/ of one of these runs to where this test runs, and return the config."""

    def copy(name: str) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree("saved", ignore_errors=True)
        shutil.copytree(whole[1] / name / "saved", "saved")
        return whole[0]

    return copy


@pytest.fixture
def finished(whole: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    return artefacts(whole[1] / "finished" / "saved")


def are(expected: dict[str, Any]) -> bool:
    """Tell whether saved/ holds these artefacts."""
    return differing(artefacts(Path("saved")), expected, 0) == []


Copied = Callable[[str], dict[str, Any]]


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


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", [*OUTPUTS, "manifest.json"])
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


@pytest.mark.parametrize("name", ["about.json", "vectors.bin", "index.bin"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_gives_the_right_vectors_or_a_sentence(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    store = text_store.store_of(tmp_path, {"model_name": "some/encoder", "settings": {}, "model": "abc"})
    texts = [f"text {n}" for n in range(40)]

    def encode(some: list[str]) -> np.ndarray:
        return np.stack([np.random.default_rng(list(text.encode())).normal(size=5) for text in some])

    text_store.vectors_of(store, texts, lambda: encode)
    path = store.folder / name
    path.write_bytes(damage(path.read_bytes()))
    try:
        found, _ = text_store.vectors_of(store, texts, lambda: encode)
    except ValueError as error:
        assert str(store.folder) in str(error)  # noqa: PT017
        shutil.rmtree(store.folder)
        found, _ = text_store.vectors_of(store, texts, lambda: encode)
    np.testing.assert_array_equal(found, encode(texts).astype(np.float32))
    again, n_encoded = text_store.vectors_of(store, texts, lambda: encode)
    assert n_encoded == 0
    np.testing.assert_array_equal(again, found)


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
            with open(path, "a") as file:
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
