"""Texts -> vectors of items and users, read from disk where they match, and fused into what the model takes."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from runtime.distributed import rank0_first
from runtime.mapped import mapped_from_rank0
from text.cache import digest, joined, read_matrix, stamp_of_matrix, write_matrix
from text.encoders import NO_TEXT, Encode, lsa_encoder, open_encoder, tag_encoder
from text.stamps import likely_stamps, opened_stamp, others_of
from text.store import Store, missing, stamps_in, store_of, vectors_of
from text.whitening import centring, row_parts, whitening

log = logging.getLogger("aglrec")

# how much a block counts, its rows being about unit length; chosen on the valid part of 5,000 MyAnimeList users
BLOCK_WEIGHTS = {"encoder": 1.0, "lsa": 1.0, "names": 0.7, "tags": 0.5}
BLOCK_DIMS = {"names": 384, "tags": 512}
READ_COMMENTS = ("encoder", "lsa")  # in the other blocks a user's vector is always the mean of their titles


@dataclass(frozen=True, eq=False)
class TextVectors:
    """Vectors of the items and users in row order, and what made them."""

    items: np.ndarray | None  # (n_items, L) float32
    users: np.ndarray | None  # (n_users, L) float32
    info: dict[str, Any]
    blocks: dict[str, int] = field(default_factory=dict)  # name -> its number of columns, in order; empty: one block
    fused: dict[bool, np.ndarray] = field(default_factory=dict, init=False, repr=False)  # whiten -> see fused_text


class Block(NamedTuple):
    """A group of columns: one encoder, and what it reads of each title."""

    name: str
    stamp: dict[str, Any]  # what decides a vector besides the text: model_name, settings and model (its state)
    sources: list[str]  # (n_items,) what of each title is encoded
    open: Callable[[], Encode]
    store: Store | None = None  # keeps each text's vector; None where the encoder is fitted to the titles

    def encoded(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Return the vectors of texts, (n, dim) float32, and how many had to be encoded for them."""
        if self.store:
            return vectors_of(self.store, texts, self.open)
        return self.open()(texts), len(set(texts))


@mapped_from_rank0
def text_vectors(dataset: Dataset, config: dict[str, Any], device: str) -> TextVectors:
    """Return the text vectors the config asks for, read from disk where they match, encoded where not.

    An item's vector is that of its name, tags and summary. A user's is the mean of the vectors of the comments in
    their train rows, weighted by the rate given with each; without comments, the mean of the vectors of their train
    items that have text; without any, zero. text_blocks adds the columns of further encoders.

    The encoder is opened only if a text has to be encoded. info has "digest", a sha256 of what the vectors depend on:
    the encoder that was really used, its settings, and every text.

    Args:
        dataset: as from load_dataset.
        config: as from get_config; uses the text section, vectors_dir and saved_dir.
        device: where a transformer runs, such as "cuda".

    Returns:
        TextVectors; both arrays are None when no side uses text.

    Raises:
        OSError: the encoder cannot be had and encoder_fallback is "none".
        ValueError: there is no such model, or no text at all.
    """
    info = {"requested": config["model_name"], "used": None, "dim": 0, "texts_encoded": 0, "seconds": 0, "digest": None}
    if not uses_text(dataset, config):
        return TextVectors(None, None, info)
    start = time.perf_counter()
    folder = Path(config["vectors_dir"] or config["saved_dir"])
    stamps = likely_stamps(config, dataset.item_texts, folder)
    found = [whole for stamp in stamps if (whole := _assembled(dataset, config, folder, stamp, None))]
    vectors = found[0] if len(found) == 1 else None  # of two models that a server had, it is asked which it has now
    if not vectors:
        used, encode = open_encoder(config, device, dataset.item_texts)
        stamp = opened_stamp(config, used, dataset.item_texts, getattr(encode, "mark", ""), folder)
        others = [other["model"] for other in others_of(config, stamp, folder) if used != "lsa"]  # fitted to the titles
        if others and stamp["model"] not in others:
            log.info(f"{used} is now {stamp['model']}, and was {others[0]} before (--model_revision keeps to one)")
        vectors = _assembled(dataset, config, folder, stamp, encode)
    return replace(vectors, info={**info, **vectors.info, "seconds": time.perf_counter() - start})


@rank0_first
def vectors_on_disk(dataset: Dataset, config: dict[str, Any], origin: str) -> TextVectors | None:
    """Return the text vectors of a finished run if vectors_dir has all of them.

    The encoder may be one that only the run names: it is neither opened nor looked for, on disk or on the hub.

    Args:
        dataset: that of the run.
        config: as for text_vectors, with model_name that of the encoder the run used.
        origin: "digest" in the info of the run's vectors.
    """
    folder, keys = Path(config["vectors_dir"] or config["saved_dir"]), _text_keys(dataset)
    for stamp in [*stamps_in(folder), stamp_of_matrix(folder)]:
        if stamp.get("model_name") == config["model_name"] != "lsa":
            others = further_blocks(dataset, config, stamp["model_name"])
            if _origin([stamp, *(block.stamp for block in others)], keys) == origin:
                return _assembled(dataset, config, folder, stamp, None)
    return None


def uses_text(dataset: Dataset, config: dict[str, Any]) -> bool:
    """Tell whether the config asks for text vectors.

    Raises:
        ValueError: it does, and there is no text at all.
    """
    if config["fusion_mode"] == "none" or not (config["use_user_llm"] or config["use_item_llm"]):
        return False
    if not any(dataset.item_texts) and not dataset.user_comments.texts:
        raise ValueError(NO_TEXT)
    return True


def _assembled(
    dataset: Dataset, config: dict[str, Any], folder: Path, stamp: dict[str, Any], encode: Encode | None
) -> TextVectors | None:
    """Read the matrices that match and make the others; None if a text has no vector yet and encode is None."""
    comments, keys = dataset.user_comments.texts, _text_keys(dataset)
    read = READ_COMMENTS if comments and config["use_user_llm"] else ()
    store = None if stamp["model_name"] == "lsa" else store_of(folder, stamp)  # lsa is fitted again to other titles
    encoder = Block("encoder", stamp, dataset.item_texts, lambda: encode, store)
    blocks = [encoder, *further_blocks(dataset, config, stamp["model_name"])]
    about = {
        "item": _about(blocks, keys["item"], dataset.raw_item_ids, None),
        "user": _about(blocks, keys["user"], dataset.raw_user_ids, dataset.fingerprint),
    }
    items, users = (read_matrix(folder, side, about[side]) for side in about)
    needed = [*(dataset.item_texts if items is None else []), *(comments if users is None and read else [])]
    if encode is None and needed and (store is None or missing(store, needed)):
        return None
    n_encoded = 0
    if items is None:
        items, counts = zip(*(block.encoded(block.sources) for block in blocks), strict=True)
        n_encoded += sum(counts)
        write_matrix(folder, "item", about["item"], items)
    if users is None:
        said = [block.encoded(comments) if block.name in read else (None, 0) for block in blocks]
        users = [user_vectors(dataset, part, vectors) for part, (vectors, _) in zip(items, said, strict=True)]
        n_encoded += sum(count for _, count in said)
        if read or not comments:
            write_matrix(folder, "user", about["user"], users)
    info = {
        "used": stamp["model_name"],
        "dim": sum(part.shape[1] for part in items),
        "texts_encoded": n_encoded,
        "digest": _origin([block.stamp for block in blocks], keys),
        "blocks": {block.name: part.shape[1] for block, part in zip(blocks, items, strict=True)},
    }
    return TextVectors(joined(items), joined(users), info, info["blocks"])


def _origin(stamps: list[dict[str, Any]], keys: dict[str, list[str]]) -> str:
    """Return a digest of all that vectors depend on: the stamps of the blocks, and _text_keys."""
    return digest(json.dumps([stamps, keys]).encode())


def further_blocks(dataset: Dataset, config: dict[str, Any], used: str) -> list[Block]:
    """Return the blocks of text_blocks, except those that the data say nothing for and that of the encoder used."""
    makers = {
        "lsa": (dataset.item_texts, config["lsa_dim"], lsa_encoder),
        "names": (dataset.item_names, BLOCK_DIMS["names"], partial(lsa_encoder, ngrams=(2, 4))),
        "tags": (dataset.item_tags, BLOCK_DIMS["tags"], tag_encoder),
    }
    blocks = []
    for name in config["text_blocks"].split(","):
        sources, dim, fit = makers.get(name, ([], 0, None))
        if name != used and len(set(sources)) > 1:
            model = digest("\0".join(sources).encode())
            stamp = {"model_name": name, "settings": {"dim": dim}, "model": model}
            blocks.append(Block(name, stamp, sources, cache(partial(fit, sources, dim))))
    return blocks


def _about(blocks: list[Block], keys: list[str], ids: list[str], split: str | None) -> dict[str, Any]:
    """Return what the sidecar of a matrix must say for it to be made of just these blocks, texts and rows."""
    return {
        **blocks[0].stamp,
        "blocks": [{"name": block.name, **block.stamp} for block in blocks],
        "ids_sha256": digest("\n".join(ids).encode()),
        "texts_sha256": digest("\n".join(keys).encode()),
        "split": split,
    }


def _text_keys(dataset: Dataset) -> dict[str, list[str]]:
    """Return for every item and every user a digest of the texts, and their weights, that decide their vector."""
    items = [digest(text.encode()) for text in dataset.item_texts]
    comments, train = dataset.user_comments, dataset.train
    parts: list[list[str]] = [[] for _ in dataset.raw_user_ids]
    for user, text, weight in zip(comments.user_ids.tolist(), comments.texts, comments.weights.tolist(), strict=True):
        parts[user].append(f"{weight:g} {digest(text.encode())}")
    for user, part in enumerate(parts):
        if not part:
            part += ["history, titles with text"]
            part += [items[i] for i in train.indices[train.indptr[user] : train.indptr[user + 1]]]
    return {"item": items, "user": [digest("\n".join(part).encode()) for part in parts]}


def user_vectors(dataset: Dataset, item_vectors: np.ndarray, comment_vectors: np.ndarray | None) -> np.ndarray:
    """Compute the vectors of all users; see text_vectors.

    Args:
        dataset: uses train and user_comments.
        item_vectors: (n_items, L).
        comment_vectors: (C, L), of dataset.user_comments; None leaves the comments out.

    Returns:
        (n_users, L) float32.
    """
    # rates do not weigh titles here: they do on every edge of the graph, over which the same texts come, and a
    # rating_weight that valid chooses is known only after these vectors are made
    has_text = sp.diags_array(item_vectors.any(axis=1).astype(np.float32))
    history = _row_means(dataset.train @ has_text) @ item_vectors  # (n_users, L)
    if comment_vectors is None:
        return history.astype(np.float32)
    comments = dataset.user_comments
    places = (comments.user_ids, np.arange(len(comments.texts)))
    weights = sp.csr_matrix((comments.weights, places), shape=(len(history), len(comments.texts)))
    wrote = np.diff(weights.indptr) > 0
    return np.where(wrote[:, None], _row_means(weights) @ comment_vectors, history).astype(np.float32)


def _row_means(weights: sp.csr_matrix) -> sp.csr_matrix:
    totals = np.asarray(weights.sum(axis=1)).ravel()
    return sp.diags_array(1 / np.where(totals > 0, totals, 1)) @ weights


def fused_text(vectors: TextVectors, config: dict[str, Any]) -> np.ndarray:
    """Return the text as the model fuses it, users above items, (N, L) float32: whitened, weighted, sides switched off.

    A block of tags is only centred. With several blocks the titles' rows of each are scaled to unit length and weighted
    by BLOCK_WEIGHTS. Rows of zeros stay zero. The work is done once per TextVectors and kept there: what is returned is
    only to be read.
    """
    n_users, whiten = len(vectors.users), config["whiten"]
    if whiten not in vectors.fused:
        vectors.fused[whiten] = _fused((vectors.users, vectors.items), vectors, whiten)
    fused = vectors.fused[whiten]  # (N, L)
    if config["use_user_llm"] and config["use_item_llm"]:
        return fused
    fused = fused.copy()
    fused[:n_users] *= config["use_user_llm"]
    fused[n_users:] *= config["use_item_llm"]
    return fused


def fused_titles(rows: np.ndarray, vectors: TextVectors, config: dict[str, Any]) -> np.ndarray:
    """Return further titles as fused_text would: rows (n, L) like vectors.items, to which everything is fitted."""
    return _fused((rows[:0], rows), vectors, config["whiten"])


def _fused(sides: tuple[np.ndarray, np.ndarray], vectors: TextVectors, whiten: bool) -> np.ndarray:
    """Whiten and weight users' rows and titles' rows, (n, L) each, part by part, so that only the result is large."""
    n_users = len(sides[0])
    fused = np.empty((n_users + len(sides[1]), sides[1].shape[1]), np.float32)
    end = 0
    for name, width in (vectors.blocks or {"encoder": fused.shape[1]}).items():
        end += width
        columns = slice(end - width, end)
        titles = vectors.items[:, columns]
        change = (centring if name == "tags" else whitening)(titles) if whiten else np.asarray
        for rows in row_parts(len(fused)):
            part = np.concatenate(
                [side[part, columns] for side, part in zip(sides, _split(rows, n_users), strict=True)]
            )
            fused[rows, columns] = change(part)
        if len(vectors.blocks) > 1:
            mine = fused[:, columns]
            length = np.concatenate(
                [np.linalg.norm(mine[rows], axis=1, keepdims=True) for rows in row_parts(len(fused))]
            )
            length[:n_users] = length[n_users:][length[n_users:] > 0].mean() if length[n_users:].any() else 1
            mine *= BLOCK_WEIGHTS[name] / np.where(length > 0, length, 1)
    return fused


def _split(rows: slice, n_users: int) -> tuple[slice, slice]:
    """Say which users and which titles are in a slice of rows, users above titles."""
    users = slice(min(rows.start, n_users), min(rows.stop, n_users))
    return users, slice(max(rows.start - n_users, 0), max(rows.stop - n_users, 0))
