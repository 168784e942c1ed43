"""Texts -> vectors of items and users: cached where possible, encoded where not, and fused for the model."""

import json
import logging
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from runtime.distributed import rank0_first
from text.cache import Block, Cache, digest, path_of, read_caches, write_cache
from text.encoders import NO_TEXT, Encode, lsa_encoder, open_encoder, revision_on_disk, tag_encoder
from text.store import missing, stamps_like, store_of, vectors_of

log = logging.getLogger("aglrec")

WHITEN_SAMPLE = 100_000
NO_REVISION = digest(b"[]")  # in the stamp of a hub model whose commit is not known


class TextVectors(NamedTuple):
    """Vectors of the items and users in row order, and what made them."""

    items: np.ndarray | None  # (n_items, L) float32
    users: np.ndarray | None  # (n_users, L) float32
    info: dict[str, Any]
    blocks: dict[str, int] = {}  # name -> how many of the L columns are its own, in order; empty: one block


# how much a block counts, its rows being about unit length; chosen on the valid part of 5,000 MyAnimeList users
BLOCK_WEIGHTS = {"encoder": 1.0, "lsa": 1.0, "names": 0.7, "tags": 0.5}
BLOCK_DIMS = {"names": 384, "tags": 512}


@rank0_first
def text_vectors(dataset: Any, config: dict[str, Any], device: str) -> TextVectors:
    """Return the text vectors the config asks for, from the cache where it still holds, encoded where not.

    An item's vector is that of its name, tags and summary. A user's is the mean of the vectors of the
    comments in his train rows, weighted by the rate beside each; without comments, the mean of the vectors of
    his train items that have text; without any, zero. With text_blocks those of further encoders stand beside.

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
    info = {
        "requested": config["model_name"],
        "used": None,
        "dim": 0,
        "texts_encoded": 0,
        "seconds": 0.0,
        "digest": None,
    }
    if not uses_text(dataset, config):
        return TextVectors(None, None, info)
    start = time.perf_counter()
    folder = Path(config["vectors_dir"] or config["saved_dir"])
    keys = {"item": [digest(text.encode()) for text in dataset.item_texts]}
    keys["user"] = _user_keys(dataset, keys["item"])
    blocks, texts, parts = [encoder_block(dataset, config, device, keys, folder)], 0, []
    blocks += further_blocks(dataset, config, blocks[0].stamp["model_name"])
    for block in blocks:
        found, counted = read_caches(folder, block), _Counting(block)
        if block.name == "encoder":
            items = found["item"].fill(
                keys["item"], lambda rows, counted=counted: counted([dataset.item_texts[row] for row in rows])
            )
        else:  # what is fitted to all titles holds for all of them or for none
            items = found["item"].vectors if len(found["item"].vectors) == dataset.n_items else counted(block.sources)
        if block.reads_comments:
            users = found["user"].fill(
                keys["user"], lambda rows, counted=counted, items=items: user_vectors(dataset, items, rows, counted)
            )
        else:
            users = user_vectors(dataset, items, np.arange(dataset.n_users), None)
        parts.append((items, users))
        texts += counted.texts
    items, users = (np.concatenate(side, axis=1) if len(side) > 1 else side[0] for side in zip(*parts, strict=True))
    widths = [len(part[0].T) for part in parts]
    for side, vectors, ids, split in (
        ("item", items, dataset.raw_item_ids, None),
        ("user", users, dataset.raw_user_ids, dataset.fingerprint),
    ):
        write_cache(path_of(folder, side), vectors, blocks, widths, keys[side], ids, split)
    stamps = [block.stamp for block in blocks]
    info |= {
        "used": blocks[0].stamp["model_name"],
        "dim": items.shape[1],
        "texts_encoded": texts,
        "blocks": {block.name: width for block, width in zip(blocks, widths, strict=True)},
        "seconds": time.perf_counter() - start,
        "digest": digest(json.dumps([stamps, keys]).encode()),
    }
    return TextVectors(items, users, info, info["blocks"])


def uses_text(dataset: Any, config: dict[str, Any]) -> bool:
    """Tell whether the config asks for text vectors.

    Raises:
        ValueError: it does, and there is no text at all.
    """
    if config["fusion_mode"] == "none" or not (config["use_user_llm"] or config["use_item_llm"]):
        return False
    if not any(dataset.item_texts) and not dataset.user_comments.texts:
        raise ValueError(NO_TEXT)
    return True


def encoder_block(dataset: Any, config: dict[str, Any], device: str, keys: dict[str, list[str]], folder: Path) -> Block:
    """Describe the vectors of model_name, or of its fallback where they are not all cached and it cannot be had."""
    known = _known_stamps(config, dataset.item_texts, folder)
    for stamp in known:
        block = _stored(Block("encoder", stamp, dataset.item_texts, _cannot_encode), folder)
        if not _must_encode(dataset, keys, read_caches(folder, block)) or (
            block.store and not missing(block.store, [*dataset.item_texts, *dataset.user_comments.texts])
        ):
            return block
    used, encode = open_encoder(config, device, dataset.item_texts)
    stamp = _stamp(used, config, dataset.item_texts)
    like = stamps_like(folder, stamp)
    if like and stamp not in like:
        log.info(
            f"{used} is now that of {stamp['model']}; the vectors in {folder} are those of {like[0]['model']} "
            "(--model_revision keeps to one)"
        )
    return _stored(Block("encoder", stamp, dataset.item_texts, lambda: encode), folder)


def _known_stamps(config: dict[str, Any], item_texts: list[str], folder: Path) -> list[dict[str, Any]]:
    """Return the stamps by which vectors of model_name may be known, the best first.

    A hub model is known by its commit, and where it is not on disk, by those of which there are vectors; an older
    version did not write the commit.
    """
    stamp = _stamp(config["model_name"], config, item_texts)
    if config["model_name"] == "lsa" or Path(config["model_name"]).expanduser().is_dir():
        return [stamp]
    like = [other for other in stamps_like(folder, stamp) if other["model"].startswith(config["model_revision"])]
    return [stamp, {**stamp, "model": NO_REVISION}] if stamp["model"] != NO_REVISION else [stamp, *like]


def _stored(block: Block, folder: Path) -> Block:
    """Give a block the store of its encoder; lsa has none, since it is fitted again to any other text."""
    return block._replace(store=None if block.stamp["model_name"] == "lsa" else store_of(folder, block.stamp))


def further_blocks(dataset: Any, config: dict[str, Any], used: str) -> list[Block]:
    """Describe the blocks of text_blocks, without those of which the data have nothing or the encoder is one itself."""
    dims = {**BLOCK_DIMS, "lsa": config["lsa_dim"]}
    sources = {"lsa": dataset.item_texts, "names": dataset.item_names, "tags": dataset.item_tags}
    makers = {"lsa": lsa_encoder, "names": lambda corpus, dim: lsa_encoder(corpus, dim, (2, 4)), "tags": tag_encoder}
    asked = [name for name in config["text_blocks"].split(",") if name and name != used and len(set(sources[name])) > 1]
    return [
        Block(
            name,
            {"model_name": name, "settings": {"dim": dims[name]}, "model": digest("\0".join(sources[name]).encode())},
            sources[name],
            lambda name=name: makers[name](sources[name], dims[name]),
            None,
            name == "lsa",
        )
        for name in asked
    ]


def fused_text(vectors: TextVectors, config: dict[str, Any]) -> np.ndarray:
    """Return the text as the model fuses it, users above items, (N, L) float32: whitened, weighed, sides switched off.

    A block of tags is centred only. With several blocks the titles' rows of each are made unit length and weighed by
    BLOCK_WEIGHTS. Rows of zeros stay.
    """
    n_users = len(vectors.users)
    fused = _fused(np.concatenate([vectors.users, vectors.items]), n_users, vectors, config)  # (N, L)
    fused[:n_users] *= config["use_user_llm"]
    fused[n_users:] *= config["use_item_llm"]
    return fused


def fused_titles(rows: np.ndarray, vectors: TextVectors, config: dict[str, Any]) -> np.ndarray:
    """Return titles as fused_text would: rows (n, L) like vectors.items, to which alone everything is fitted."""
    return _fused(rows, 0, vectors, config)


def _fused(rows: np.ndarray, n_users: int, vectors: TextVectors, config: dict[str, Any]) -> np.ndarray:
    """Whiten and weigh rows (n, L), of which the first n_users are users."""
    blocks, parts, end = vectors.blocks or {"encoder": rows.shape[1]}, [], 0
    for name, width in blocks.items():
        end += width
        part, titles = rows[:, end - width : end], vectors.items[:, end - width : end]
        if config["whiten"]:
            part = _centred(part, titles) if name == "tags" else whitened(part, titles)
        if len(blocks) > 1:
            length = np.linalg.norm(part, axis=1, keepdims=True)
            length[:n_users] = length[n_users:][length[n_users:] > 0].mean() if length[n_users:].any() else 1
            part = part * (BLOCK_WEIGHTS[name] / np.where(length > 0, length, 1))
        parts.append(part)
    return np.concatenate(parts, axis=1).astype(np.float32)


def _centred(vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """Move vectors by the mean of the items that have one; rows of zeros stay."""
    there = item_vectors.any(axis=1)
    if not there.any():
        return vectors
    return (vectors - item_vectors[there].mean(axis=0)) * vectors.any(axis=1, keepdims=True)


def _must_encode(dataset: Any, keys: dict[str, list[str]], caches: dict[str, Cache]) -> bool:
    """Tell whether a text is in neither cache: a title's, or a comment of a user whose vector is not there."""
    wrote = set(dataset.user_comments.user_ids.tolist())
    return not caches["item"].holds(keys["item"]) or any(
        key not in caches["user"].row_of and user in wrote for user, key in enumerate(keys["user"])
    )


def user_vectors(dataset: Any, item_vectors: np.ndarray, rows: np.ndarray, encode: Encode | None) -> np.ndarray:
    """Compute the vectors of some users; see text_vectors.

    Args:
        dataset: a data_loader.Dataset.
        item_vectors: (n_items, L).
        rows: (n,) user rows.
        encode: texts -> (n_texts, L); None leaves the comments out.

    Returns:
        (n, L) float32.
    """
    comments = dataset.user_comments
    mine = np.flatnonzero(np.isin(comments.user_ids, rows))
    position = np.full(len(dataset.raw_user_ids), -1)
    position[rows] = np.arange(len(rows))
    has_text = sp.diags_array(item_vectors.any(axis=1).astype(np.float32))
    history = _row_means(dataset.train[rows] @ has_text) @ item_vectors  # (n, L)
    if not mine.size or encode is None:
        return history.astype(np.float32)
    vectors = encode([comments.texts[c] for c in mine])  # (C, L)
    weights = sp.csr_matrix(
        (comments.weights[mine], (position[comments.user_ids[mine]], np.arange(len(mine)))),
        shape=(len(rows), len(mine)),
    )
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
    parts = [
        ((part - mean) * part.any(axis=1, keepdims=True) @ (evened / length)).astype(np.float32)
        for part in np.array_split(vectors, len(vectors) // WHITEN_SAMPLE + 1)
    ]  # float64 a part at a time
    return np.concatenate(parts)


def _row_means(weights: sp.csr_matrix) -> sp.csr_matrix:
    totals = np.asarray(weights.sum(axis=1)).ravel()
    return sp.diags_array(1 / np.where(totals > 0, totals, 1)) @ weights


class _Counting:
    """Encodes each distinct text once, and counts them; the encoder is opened when there is one to encode."""

    def __init__(self, block: Block) -> None:
        self.open, self.store, self.encode, self.texts = block.open, block.store, None, 0

    def __call__(self, texts: list[str]) -> np.ndarray:
        if self.store:
            vectors, n_encoded = vectors_of(self.store, texts, self.open)
            self.texts += n_encoded
            return vectors
        self.encode = self.encode or self.open()
        distinct = sorted(set(texts), key=lambda text: (-len(text), text))
        self.texts += len(distinct)
        row = {text: number for number, text in enumerate(distinct)}
        return self.encode(distinct)[[row[text] for text in texts]]


def _cannot_encode() -> Encode:
    raise AssertionError("the cache held every vector, yet a text was to be encoded")


def _stamp(name: str, config: dict[str, Any], item_texts: list[str]) -> dict[str, Any]:
    """Describe what, beside the text itself, decides a vector."""
    if name == "lsa":
        return {
            "model_name": name,
            "settings": {"lsa_dim": config["lsa_dim"]},
            "model": digest("".join(digest(text.encode()) for text in item_texts).encode()),
        }
    folder = Path(name).expanduser()
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    listing = [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    settings = {"max_seq_length": config["max_seq_length"], **({"half": True} if config["half_vectors"] else {})}
    pinned = config["model_revision"] if re.fullmatch("[0-9a-f]{40}", config["model_revision"]) else None
    commit = None if folder.is_dir() else pinned or revision_on_disk(name, config["model_revision"])
    return {"model_name": name, "settings": settings, "model": commit or digest(json.dumps(listing).encode())}


def _user_keys(dataset: Any, item_keys: list[str]) -> list[str]:
    """Return for every user a digest of what his vector is made of."""
    comments, train = dataset.user_comments, dataset.train
    parts: list[list[str]] = [[] for _ in dataset.raw_user_ids]
    for user, text, weight in zip(comments.user_ids.tolist(), comments.texts, comments.weights.tolist(), strict=True):
        parts[user].append(f"{weight:g} {digest(text.encode())}")
    for user, part in enumerate(parts):
        if not part:
            part += ["history, titles with text"]
            part += [item_keys[i] for i in train.indices[train.indptr[user] : train.indptr[user + 1]]]
    return [digest("\n".join(part).encode()) for part in parts]
