"""Texts -> vectors: encoders, the vectors of items and users, and the cache that keeps them."""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from encoders import NO_TEXT, Encode, open_encoder
from files import atomic_write

log = logging.getLogger("aglrec")

WHITEN_SAMPLE = 100_000


class TextVectors(NamedTuple):
    """Vectors of the items and users in row order, and what made them."""

    items: np.ndarray | None  # (n_items, L) float32
    users: np.ndarray | None  # (n_users, L) float32
    info: dict[str, Any]


def text_vectors(dataset: Any, config: dict[str, Any], device: str) -> TextVectors:
    """Return the text vectors the config asks for, from the cache where it still holds, encoded where not.

    An item's vector is that of its name, tags and summary. A user's is the mean of the vectors of the
    comments in his train rows, weighted by the rate beside each; without comments, the mean of the vectors of
    his train items that have text; without any, zero.

    The encoder is opened only if a text has to be encoded. info has "digest", a sha256 of what the vectors hang on: the
    encoder that was really used, its settings, and every text.

    Args:
        dataset: a data_loader.Dataset.
        config: as from get_config; uses the text section, vectors_dir and saved_dir.
        device: where a transformer runs, such as "cuda".

    Returns:
        TextVectors; both arrays are None when no side uses text.

    Raises:
        OSError: the encoder cannot be had and encoder_fallback is "none".
        ValueError: there is no such model, or no text at all.
    """
    info = {"requested": config["model_name"], "used": None, "dim": 0, "texts_encoded": 0, "seconds": 0.0,
            "digest": None}
    if config["fusion_mode"] == "none" or not (config["use_user_llm"] or config["use_item_llm"]):
        return TextVectors(None, None, info)
    if not any(dataset.item_texts) and not dataset.user_comments.texts:
        raise ValueError(NO_TEXT)
    start = time.perf_counter()
    folder = Path(config["vectors_dir"] or config["saved_dir"])
    keys = {"item": _item_keys(dataset.item_texts)}
    keys["user"] = _user_keys(dataset, keys["item"])
    stamp = _stamp(config["model_name"], config, keys["item"])
    caches, encode = _caches(folder, stamp), _cannot_encode
    if _must_encode(dataset, keys, caches):
        used, encode = open_encoder(config, device, dataset.item_texts)
        if used != config["model_name"]:
            stamp = _stamp(used, config, keys["item"])
            caches = _caches(folder, stamp)
    counted = _Counting(encode)
    items = caches["item"].fill(keys["item"], lambda rows: counted([dataset.item_texts[row] for row in rows]))
    users = caches["user"].fill(keys["user"], lambda rows: user_vectors(dataset, items, rows, counted))
    for side, vectors, ids, split in (("item", items, dataset.raw_item_ids, None),
                                      ("user", users, dataset.raw_user_ids, dataset.fingerprint)):
        write_cache(_path(folder, side), vectors, stamp, keys[side], ids, split)
    info |= {"used": stamp["model_name"], "dim": items.shape[1], "texts_encoded": counted.texts,
             "seconds": time.perf_counter() - start, "digest": _digest(json.dumps([stamp, keys]).encode())}
    return TextVectors(items, users, info)


def _must_encode(dataset: Any, keys: dict[str, list[str]], caches: dict[str, "Cache"]) -> bool:
    """Tell whether a text is in neither cache: a title's, or a comment of a user whose vector is not there."""
    wrote = set(dataset.user_comments.user_ids.tolist())
    return (not caches["item"].holds(keys["item"])
            or any(key not in caches["user"].row_of and user in wrote for user, key in enumerate(keys["user"])))


def user_vectors(dataset: Any, item_vectors: np.ndarray, rows: np.ndarray, encode: Encode) -> np.ndarray:
    """Compute the vectors of some users; see text_vectors.

    Args:
        dataset: a data_loader.Dataset.
        item_vectors: (n_items, L).
        rows: (n,) user rows.
        encode: texts -> (n_texts, L).

    Returns:
        (n, L) float32.
    """
    comments = dataset.user_comments
    mine = np.flatnonzero(np.isin(comments.user_ids, rows))
    position = np.full(len(dataset.raw_user_ids), -1)
    position[rows] = np.arange(len(rows))
    has_text = sp.diags_array(item_vectors.any(axis=1).astype(np.float32))
    history = _row_means(dataset.train[rows] @ has_text) @ item_vectors  # (n, L)
    if not mine.size:
        return history.astype(np.float32)
    vectors = encode([comments.texts[c] for c in mine])  # (C, L)
    weights = sp.csr_matrix((comments.weights[mine], (position[comments.user_ids[mine]], np.arange(len(mine)))),
                            shape=(len(rows), len(mine)))
    wrote = np.diff(weights.indptr) > 0
    return np.where(wrote[:, None], _row_means(weights) @ vectors, history).astype(np.float32)


def whitened(vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """Centre vectors on the items' mean and even out the items' variance over all directions.

    Encoders place all texts in a narrow cone, where what texts share outweighs what tells them apart. Users are moved
    with the items, so that a mean of items stays their mean. Rows of zeros bring no text and stay as they are.

    Args:
        vectors: (n, L), of items or users.
        item_vectors: (m, L); their covariance (of WHITEN_SAMPLE of them, if there are more) is shrunk towards a
            multiple of the identity, the more the fewer they are. No interaction takes part.

    Returns:
        (n, L) float32, in units of the items' root mean square length.

    Source:
        Zhang et al. 2024, Are ID embeddings necessary? https://arxiv.org/abs/2402.10602, for whitened text in
        recommendation; Ledoit and Wolf 2004 for the shrinkage.
    """
    from sklearn.covariance import ledoit_wolf
    there = np.flatnonzero(item_vectors.any(axis=1))
    if len(there) > WHITEN_SAMPLE:
        there = np.random.default_rng(0).choice(there, WHITEN_SAMPLE, replace=False)
    sample = item_vectors[there].astype(np.float64)
    if (sample == sample[:1]).all():
        return vectors.astype(np.float32)
    values, axes = np.linalg.eigh(ledoit_wolf(sample)[0])
    evened = (axes / np.sqrt(np.maximum(values, 1e-6 * values[-1]))) @ axes.T  # (L, L), symmetric
    mean = sample.mean(axis=0)
    length = np.sqrt(np.square((sample - mean) @ evened).sum(axis=1).mean())
    parts = [((part - mean) * part.any(axis=1, keepdims=True) @ (evened / length)).astype(np.float32)
             for part in np.array_split(vectors, len(vectors) // WHITEN_SAMPLE + 1)]  # float64 a part at a time
    return np.concatenate(parts)


def _row_means(weights: sp.csr_matrix) -> sp.csr_matrix:
    totals = np.asarray(weights.sum(axis=1)).ravel()
    return sp.diags_array(1 / np.where(totals > 0, totals, 1)) @ weights


class _Counting:
    """Encodes each distinct text once, and counts them."""

    def __init__(self, encode: Encode) -> None:
        self.encode, self.texts = encode, 0

    def __call__(self, texts: list[str]) -> np.ndarray:
        distinct = sorted(set(texts), key=lambda text: (-len(text), text))
        self.texts += len(distinct)
        row = {text: number for number, text in enumerate(distinct)}
        return self.encode(distinct)[[row[text] for text in texts]]


def _cannot_encode(texts: list[str]) -> np.ndarray:
    raise AssertionError(f"the cache held every vector, yet {len(texts)} texts were to be encoded")


# --- encoders ---


# --- cache ---

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
    """Read path and its sidecar; an empty Cache if they are missing, damaged, or of another encoder."""
    empty = Cache({}, np.empty((0, 0), np.float32))
    try:
        sidecar = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        vectors = np.load(path, allow_pickle=False)
        intact = sidecar["vectors_sha256"] == _digest(vectors.tobytes()) and len(sidecar["keys"]) == len(vectors)
    except FileNotFoundError:
        return empty
    except Exception as error:  # a damaged .npy header can raise nearly anything; any of it means: make it again
        log.warning(f"{path.name}: the cache cannot be read ({error}); encoding again")
        return empty
    if not intact:
        log.warning(f"{path.name}: the vectors are not those its sidecar describes; encoding again")
        return empty
    if {key: sidecar.get(key) for key in stamp} != stamp:
        log.info(f"{path.name}: made by another encoder or with other settings; encoding again")
        return empty
    return Cache({key: row for row, key in enumerate(sidecar["keys"])}, vectors)


def write_cache(path: Path, vectors: np.ndarray, stamp: dict[str, Any], keys: list[str], ids: list[str],
                split: str | None) -> None:
    """Write the vectors and their sidecar, unless just these are there already; those of another encoder move aside."""
    sidecar = {**stamp, "dim": vectors.shape[1], "ids_sha256": _digest("\n".join(ids).encode()),
               "texts_sha256": _digest("\n".join(keys).encode()), "split": split,
               "vectors_sha256": _digest(vectors.tobytes()), "keys": keys}
    text = json.dumps(sidecar)
    if read_cache(path, stamp).row_of and _sidecar(path).read_bytes() == text.encode():
        return
    _move_aside(path, stamp)
    # no sidecar may ever stand beside vectors it does not describe, not even after a kill
    _sidecar(path).unlink(missing_ok=True)
    with atomic_write(path) as file:
        np.save(file, vectors, allow_pickle=False)
    with atomic_write(_sidecar(path)) as file:
        file.write(text.encode())
    for kept in (_sidecar(_aside(path, stamp)), _aside(path, stamp)):
        kept.unlink(missing_ok=True)


def _caches(folder: Path, stamp: dict[str, Any]) -> dict[str, Cache]:
    """Read both sides' vectors of an encoder, from their place or from where another encoder's moved them."""
    caches = {}
    for side in ("item", "user"):
        path = _path(folder, side)
        here, away = read_cache(path, stamp), read_cache(_aside(path, stamp), stamp)
        caches[side] = here if here.row_of else away
    return caches


def _aside(path: Path, stamp: dict[str, Any]) -> Path:
    """Name the file that keeps an encoder's vectors while those of another one are in their place."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(stamp["model_name"])[-40:]).strip("-")
    return path.with_name(f"{path.stem}.{name}-{_digest(json.dumps(stamp, sort_keys=True).encode())[:8]}{path.suffix}")


def _move_aside(path: Path, stamp: dict[str, Any]) -> None:
    """Keep the vectors at path that another encoder made, so that going back to it encodes nothing again."""
    try:
        sidecar = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        theirs = {key: sidecar[key] for key in stamp}
    except (OSError, ValueError, KeyError, TypeError):
        return
    # what lsa made, it makes again in seconds, and other titles make it another encoder
    if theirs != stamp and theirs["model_name"] != "lsa" and path.exists():
        kept = _aside(path, theirs)
        # in an order in which a kill leaves no sidecar beside vectors it does not describe
        _sidecar(kept).unlink(missing_ok=True)
        os.replace(path, kept)
        os.replace(_sidecar(path), _sidecar(kept))
        log.info(f"{path.name}: the vectors of {theirs['model_name']!r} are kept as {kept.name}")


def _path(folder: Path, side: str) -> Path:
    return folder / f"{side}_llm_embeddings.npy"


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _stamp(name: str, config: dict[str, Any], item_keys: list[str]) -> dict[str, Any]:
    """Describe what, beside the text itself, decides a vector."""
    if name == "lsa":
        return {"model_name": name, "settings": {"lsa_dim": config["lsa_dim"]},
                "model": _digest("".join(item_keys).encode())}
    folder = Path(name).expanduser()
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    listing = [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return {"model_name": name, "settings": {"max_seq_length": config["max_seq_length"]},
            "model": _digest(json.dumps(listing).encode())}


def _item_keys(texts: list[str]) -> list[str]:
    return [_digest(text.encode()) for text in texts]


def _user_keys(dataset: Any, item_keys: list[str]) -> list[str]:
    """Return for every user a digest of what his vector is made of."""
    comments, train = dataset.user_comments, dataset.train
    parts: list[list[str]] = [[] for _ in dataset.raw_user_ids]
    for user, text, weight in zip(comments.user_ids.tolist(), comments.texts, comments.weights.tolist(), strict=True):
        parts[user].append(f"{weight:g} {_digest(text.encode())}")
    for user, part in enumerate(parts):
        if not part:
            part += ["history, titles with text"]
            part += [item_keys[i] for i in train.indices[train.indptr[user]:train.indptr[user + 1]]]
    return [_digest("\n".join(part).encode()) for part in parts]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
