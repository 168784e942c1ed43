"""The store of encoded texts on a full disk and damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.runs import DAMAGE, disk_of
from text import store as text_store

# --- disks ---


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


# --- damage ---


@pytest.mark.slow
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
