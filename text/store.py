"""The vectors of single texts, found by the text: written while an encoder works, so that a kill loses few of them."""

import hashlib
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from runtime.files import lock_folder, named_write_errors, write_json
from runtime.safe_files import parse_json
from text.encoders import Encode

log = logging.getLogger("aglrec")

# what is written at a time, which is what a kill can cost: at most so many texts, and what takes about so many seconds
WINDOW, SECONDS = 512, 30.0
FOLDER = "encoded"
RECORD = np.dtype([("text", "V32"), ("crc", "<u4")])  # of a row: sha256 of its text, crc32 of its bytes


class Store(NamedTuple):
    """A folder of about.json, vectors.bin (rows of dim numbers) and index.bin (a RECORD for each, written after it).

    Both only grow at the end. A row counts once its record is whole, and is used if its bytes have the crc of the
    record, so that neither a kill in the middle of a write nor a flipped bit reaches a model.
    """

    folder: Path
    stamp: dict[str, Any]
    dtype: np.dtype


def store_of(folder: Path, stamp: dict[str, Any]) -> Store:
    """Return the store of an encoder within a folder; each encoder, with each of its settings, has its own.

    Args:
        folder: vectors_dir.
        stamp: what decides a vector besides the text: "model_name", "settings" and "model"; with "half" among the
            settings, rows are kept as float16.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(stamp["model_name"])[-40:]).strip("-")
    mark = hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:8]
    return Store(folder / FOLDER / f"{name}-{mark}", stamp, np.dtype("<f2" if "half" in stamp["settings"] else "<f4"))


def stamps_in(folder: Path) -> list[dict[str, Any]]:
    """Return the stamps of all stores in a folder, the newest first."""
    paths = sorted(folder.glob(f"{FOLDER}/*/about.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    stamps = [_about(path.parent).get("stamp") for path in paths]
    return [
        stamp for stamp in stamps if isinstance(stamp, dict) and {"model_name", "settings", "model"} <= stamp.keys()
    ]


def missing(store: Store, texts: list[str]) -> list[str]:
    """Return the distinct texts without a vector, longest first, so that those of a batch are alike in length."""
    _, rows = _read(store)
    distinct = {text for text in texts if _digest(text) not in rows}
    return sorted(distinct, key=lambda text: (-len(text), text))


def vectors_of(store: Store, texts: list[str], encode: Callable[[], Encode]) -> tuple[np.ndarray, int]:
    """Return the vectors of texts, encoding and keeping those that are missing, and how many these were.

    If another process is encoding into the same store, it is waited for, and what it made is used.

    Args:
        store: as from store_of.
        texts: n of them, repeats allowed.
        encode: opens the encoder; called only if there is a text to encode.

    Returns:
        (n, L) float32, and the number of texts that were encoded for them.

    Raises:
        OSError: the disk is full, or the folder cannot be written to. What was committed stays.
        ValueError: the encoder gave a vector that is not finite or of another length.
    """
    digests, left = [_digest(text) for text in texts], []
    table, rows = _read(store)
    if not rows.keys() >= set(digests):
        with lock_folder(store.folder, wait=True):
            if left := missing(store, texts):
                _fill(store, left, encode())
        table, rows = _read(store)
    return np.asarray(table[[rows[digest] for digest in digests]], np.float32), len(left)


def _fill(store: Store, texts: list[str], encode: Encode) -> None:
    """Encode texts and commit them a window at a time: WINDOW of them, or as many as take SECONDS if fewer."""
    start, done, n_none, window = time.perf_counter(), 0, 0, 32
    with tqdm(total=len(texts), desc="encoding", unit="text", mininterval=1, disable=None) as bar:
        while done < len(texts):
            part, before = texts[done : done + window], time.perf_counter()
            _commit(store, part, vectors := encode(part))
            n_none += sum(bool(text) for text, row in zip(part, vectors, strict=True) if not row.any())
            done += len(part)
            bar.update(len(part))
            rate = len(part) / max(time.perf_counter() - before, 1e-9)
            window = int(min(max(rate * SECONDS, 1), WINDOW, 4 * window))
    seconds = max(time.perf_counter() - start, 1e-9)
    none = f"; {n_none:,} of them got no vector" if n_none else ""
    log.info(f"{store.stamp['model_name']}: {done:,} texts encoded, {done / seconds:,.1f} a second{none}")


def _commit(store: Store, texts: list[str], vectors: np.ndarray) -> None:
    """Append rows and, once they are on the disk, their records."""
    rows, dim = np.ascontiguousarray(vectors, store.dtype), _about(store.folder).get("dim")
    if not np.isfinite(rows).all():
        raise ValueError(
            f"{store.stamp['model_name']!r} gave a vector that is not finite; on a GPU try --device cpu, "
            "and look at the texts for one of 100,000 characters"
        )
    if dim not in (None, rows.shape[1]):
        raise ValueError(
            f"{store.stamp['model_name']!r} gives vectors of {rows.shape[1]} numbers, but {store.folder} "
            f"has its vectors of {dim}; delete that folder"
        )
    if dim is None:
        write_json(store.folder / "about.json", {"stamp": store.stamp, "dim": rows.shape[1], "dtype": store.dtype.str})
    records = [(_digest(text), zlib.crc32(row)) for text, row in zip(texts, rows, strict=True)]
    n = _n_whole(store, rows.shape[1])
    _append(store.folder / "vectors.bin", n * rows[0].nbytes, rows)
    _append(store.folder / "index.bin", n * RECORD.itemsize, np.array(records, RECORD))


def _append(path: Path, end: int, data: np.ndarray) -> None:
    """Write data at `end`, over whatever a kill left there, and wait until it is on the disk."""
    with named_write_errors(path), path.open("ab") as file:
        file.truncate(end)
        file.write(data.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _read(store: Store) -> tuple[np.ndarray, dict[bytes, int]]:
    """Map the rows that have a record, (n, dim), into memory, and find by a text's digest the row that is its own."""
    dim = _about(store.folder).get("dim")
    n = _n_whole(store, dim) if dim else 0
    if not n:
        return np.empty((0, dim or 1), np.float32), {}
    table = np.memmap(store.folder / "vectors.bin", store.dtype, "r", shape=(n, dim))
    records = np.fromfile(store.folder / "index.bin", RECORD, n)
    whole = [zlib.crc32(row) == crc for row, crc in zip(np.asarray(table), records["crc"].tolist(), strict=True)]
    digests = records["text"].tolist()
    rows = {digests[row]: row for row in np.flatnonzero(whole).tolist()}
    if lost := set(digests) - rows.keys():
        log.warning(f"{store.folder}: {len(lost):,} vectors are damaged; their texts are encoded again")
    return table, rows


def _n_whole(store: Store, dim: int) -> int:
    """Count the rows that are whole, and whose record is."""
    rows, index = store.folder / "vectors.bin", store.folder / "index.bin"
    if not (rows.exists() and index.exists()):
        return 0
    return min(rows.stat().st_size // (dim * store.dtype.itemsize), index.stat().st_size // RECORD.itemsize)


def _about(folder: Path) -> dict[str, Any]:
    """Read the about.json of a store; empty where it is missing or damaged: the next commit writes it."""
    try:
        return dict(parse_json((folder / "about.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
