"""The cache of text vectors: blocks of columns side by side, found by what they were made of, never by row number."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.files import atomic_write, write_array
from text.encoders import Encode

log = logging.getLogger("aglrec")


class Block(NamedTuple):
    """A part of the columns: what decides its vectors beside the text itself, and how they are made."""

    name: str
    stamp: dict[str, Any]
    sources: list[str]  # (n_items,) what of each title is encoded
    open: Callable[[], Encode]
    store: Any = None  # a text_store.Store that keeps each text's vector as it is made, or None
    reads_comments: bool = True  # or else a user's vector is always the mean of his titles'


class Cache(NamedTuple):
    """Vectors read back from disk, found by what they were made of, never by row number."""

    row_of: dict[str, int]
    vectors: np.ndarray

    def holds(self, keys: list[str]) -> bool:
        return bool(keys) and all(key in self.row_of for key in keys)

    def fill(self, keys: list[str], encode_rows: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the vectors of keys in their order; encode_rows makes those the cache lacks."""
        stale = np.array([row for row, key in enumerate(keys) if key not in self.row_of], int)
        fresh = encode_rows(stale) if stale.size else self.vectors[:0]
        vectors = np.empty((len(keys), fresh.shape[1]), np.float32)
        vectors[stale] = fresh
        kept = np.setdiff1d(np.arange(len(keys)), stale)
        vectors[kept] = self.vectors[[self.row_of[keys[row]] for row in kept]] if kept.size else 0
        return vectors


def read_cache(path: Path, stamp: dict[str, Any]) -> Cache:
    """Read a block's columns of path by its sidecar; an empty Cache if there are none, or they are damaged."""
    empty = Cache({}, np.empty((0, 0), np.float32))
    try:
        sidecar = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        vectors = np.load(path, allow_pickle=False)
        intact = sidecar["vectors_sha256"] == digest(vectors) and len(sidecar["keys"]) == len(vectors)
        blocks = sidecar.get("blocks", [sidecar])  # an older version wrote a single one
        ends = np.cumsum([block["dim"] for block in blocks])
        found = [
            slice(end - block["dim"], end)
            for block, end in zip(blocks, ends, strict=True)
            if {key: block.get(key) for key in stamp} == stamp
        ]
    except FileNotFoundError:
        return empty
    except Exception as error:  # a damaged .npy header can raise nearly anything; any of it means: make it again
        log.warning(f"{path.name}: the cache cannot be read ({error}); encoding again")
        return empty
    if not intact:
        log.warning(f"{path.name}: the vectors are not those its sidecar describes; encoding again")
        return empty
    if not found:
        log.info(f"{path.name}: none made by {stamp['model_name']!r} with these settings; encoding again")
        return empty
    return Cache({key: row for row, key in enumerate(sidecar["keys"])}, vectors[:, found[0]])


def write_cache(
    path: Path,
    vectors: np.ndarray,
    blocks: list[Block],
    widths: list[int],
    keys: list[str],
    ids: list[str],
    split: str | None,
) -> None:
    """Write the vectors and their sidecar, unless just these are there already."""
    stamp = blocks[0].stamp
    sidecar = {
        **stamp,
        "dim": vectors.shape[1],
        "blocks": [
            {"name": block.name, "dim": width, **block.stamp} for block, width in zip(blocks, widths, strict=True)
        ],
        "ids_sha256": digest("\n".join(ids).encode()),
        "texts_sha256": digest("\n".join(keys).encode()),
        "split": split,
        "vectors_sha256": digest(vectors),
        "keys": keys,
    }
    text = json.dumps(sidecar)
    if _sidecar(path).exists() and _sidecar(path).read_bytes() == text.encode() and read_cache(path, stamp).row_of:
        return
    with atomic_write(path) as file:
        write_array(file, vectors)
        # no sidecar may ever stand beside vectors it does not describe, not even after a kill
        _sidecar(path).unlink(missing_ok=True)
    with atomic_write(_sidecar(path)) as file:
        file.write(text.encode())


def read_caches(folder: Path, block: Block) -> dict[str, Cache]:
    """Read both sides' vectors of a block."""
    return {side: read_cache(path_of(folder, side), block.stamp) for side in ("item", "user")}


def path_of(folder: Path, side: str) -> Path:
    return folder / f"{side}_llm_embeddings.npy"


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def digest(data: bytes | np.ndarray) -> str:
    """Return the sha256 of some bytes, or of an array's, in hex."""
    return hashlib.sha256(np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data).hexdigest()
