"""The cache of vectors, damaged or killed: never a vector for the wrong row."""

import json
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import files
from tests.helpers.encoders import (
    FakeEncoder,
    assert_same,
    from_scratch,
    rewrite_anime,
    saved,
    shuffle_rows,
    stores,
    vectors_of,
)
from text import cache as vector_cache

SIDES = ("item", "user")
FILES = [f"{side}_llm_embeddings.npy{suffix}" for side in SIDES for suffix in ("", ".json")]


# --- the cache, damaged ---


def drop_last_row(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def pickled_objects(path: Path) -> None:
    np.save(path, np.array([Trap(path.with_name("sprung"))] * 3, dtype=object), allow_pickle=True)


def other_shape(path: Path) -> None:
    np.save(path, np.load(path).reshape(-1, 3))


def cut_to(size: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def flip_byte(place: int) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 4
        path.write_bytes(content)

    return flip


def write_sidecar(content: bytes) -> Callable[[Path], None]:
    return lambda path: Path(f"{path}.json").write_bytes(content)


def old_name(path: Path) -> None:
    content = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    for part in (content, *content["blocks"]):
        part["model_name"] = "tests/older"
    Path(f"{path}.json").write_text(json.dumps(content), encoding="utf-8")


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "rows shuffled": shuffle_rows,
    "row missing": drop_last_row,
    "other dtype": lambda path: np.save(path, np.load(path).astype(np.float64)),
    "other shape": other_shape,
    "other numbers": lambda path: np.save(path, np.load(path) + 1),
    "pickle": pickled_objects,
    "no vectors": lambda path: path.unlink(),
    "vectors of 0 bytes": cut_to(0),
    "vectors of 5 bytes": cut_to(5),
    "half the header": cut_to(70),
    "half the vectors": cut_to(300),
    "last byte gone": lambda path: cut_to(path.stat().st_size - 1)(path),
    "a bit in the header's length": flip_byte(8),
    "a bit in the header": flip_byte(12),
    "a bit in the header's bracket": lambda path: flip_byte(path.read_bytes().index(b"("))(path),
    "a bit in the vectors": flip_byte(200),
    "no sidecar": lambda path: Path(f"{path}.json").unlink(),
    "sidecar empty": write_sidecar(b""),
    "sidecar cut": lambda path: write_sidecar(Path(f"{path}.json").read_bytes()[:100])(path),
    "sidecar a list": write_sidecar(b"[1, 2]"),
    "sidecar without keys": write_sidecar(b"{}"),
    "sidecar not UTF-8": write_sidecar(b"\xff\xfe\x00"),
    "sidecar of another model": old_name,
}


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_noticed(
    config: dict[str, Any], fake: FakeEncoder, side: str, damage: Callable[[Path], None]
) -> None:
    first = vectors_of(config)
    damage(saved(config, side))
    shutil.rmtree(stores(config)[0])
    second = vectors_of(config)
    assert_same(second, first)
    assert second.info["texts_encoded"] > 0
    assert not saved(config).with_name("sprung").exists()


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_repaired(
    config: dict[str, Any], fake: FakeEncoder, side: str, damage: Callable[[Path], None]
) -> None:
    first = vectors_of(config)
    damage(saved(config, side))
    fake.opened = 0
    vectors_of(config)
    np.testing.assert_array_equal(np.load(saved(config)), first.items)
    np.testing.assert_array_equal(np.load(saved(config, "user")), first.users)
    assert fake.opened == 0  # the texts' own vectors are kept apart


@pytest.mark.parametrize("damage", [shuffle_rows, write_sidecar(b""), cut_to(5)])
def test_damage_is_reported(
    config: dict[str, Any], fake: FakeEncoder, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    vectors_of(config)
    damage(saved(config))
    vectors_of(config)
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(saved(config).name in message for message in messages)


def test_the_trap_would_spring_if_it_were_unpickled(tmp_path: Path) -> None:
    pickled_objects(tmp_path / "trap.npy")
    np.load(tmp_path / "trap.npy", allow_pickle=True)
    assert (tmp_path / "sprung").exists()


def test_nothing_is_loaded_as_a_pickle(
    config: dict[str, Any], fake: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[dict[str, Any]] = []
    load = np.load

    def watched(*args: Any, **kwargs: Any) -> Any:
        loads.append(kwargs)
        return load(*args, **kwargs)

    monkeypatch.setattr(np, "load", watched)
    monkeypatch.setattr(pickle, "load", None)
    vectors_of(config)
    vectors_of(config)
    assert len(loads) >= 2
    assert all(kwargs.get("allow_pickle") is False for kwargs in loads)


class Killed(BaseException):
    """Stands in for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("survivor", ["nothing", "old vectors"])
@pytest.mark.parametrize("killed_at", FILES)
def test_a_kill_while_writing_leaves_nothing_that_is_used_as_if_it_matched(
    config: dict[str, Any],
    fake: FakeEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_at: str,
    survivor: str,
) -> None:
    if survivor == "old vectors":
        vectors_of(config)
    rewrite_anime(config, lambda lines: [line.replace("story", "tale") for line in lines[::-1]])
    change = {"split": "random"}
    write = files.atomic_write

    def killing(path: Path) -> Any:
        if path.name == killed_at:
            raise Killed
        return write(path)

    with monkeypatch.context() as patch:
        patch.setattr(vector_cache, "atomic_write", killing)
        with pytest.raises(Killed):
            vectors_of(config, **change)
    expected = from_scratch(config, tmp_path, **change)
    assert_same(vectors_of(config, **change), expected)
    np.testing.assert_array_equal(np.load(saved(config)), expected.items)
    assert vectors_of(config, **change).info["texts_encoded"] == 0


def test_a_kill_and_then_the_old_data_again(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vectors_of(config)
    write = files.atomic_write

    def killing(path: Path) -> Any:
        if path.suffix == ".json":
            raise Killed
        return write(path)

    with monkeypatch.context() as patch:
        patch.setattr(vector_cache, "atomic_write", killing)
        with pytest.raises(Killed):
            vectors_of(config, model_name="tests/other")
    assert saved(config).exists()
    assert not Path(f"{saved(config)}.json").exists()  # it would describe vectors that are gone
    again = vectors_of(config)
    assert_same(again, first)
    assert again.info["texts_encoded"] == 0
