"""The matrices of text vectors on disk: a .npy of items and one of users, each with a sidecar of what made it."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from runtime.files import atomic_write, write_array
from runtime.safe_files import parse_json

log = logging.getLogger("aglrec")


def read_matrix(folder: Path, side: str, about: dict[str, Any]) -> list[np.ndarray] | None:
    """Read the "item" or "user" matrix of a folder, if what made it is just what `about` says.

    Args:
        folder: vectors_dir.
        side: "item" or "user".
        about: what the sidecar must say of encoders, texts, rows and split; as given to write_matrix.

    Returns:
        The columns of each block, (n, dim) float32; None where the matrix is missing, damaged or made of anything else.
    """
    path, sidecar_path = _paths(folder, side)
    try:
        sidecar = json.loads(sidecar_path.read_text(encoding="utf-8"))
        dims = [block.pop("dim") for block in sidecar["blocks"]]
        if {**sidecar, **about} != sidecar:
            return None
        vectors = np.load(path, allow_pickle=False)
        if (vectors.dtype, vectors.shape[1]) != (np.float32, sum(dims)) or digest(vectors) != sidecar["vectors_sha256"]:
            raise ValueError("the vectors are not those its sidecar describes")
        return np.split(vectors, np.cumsum(dims)[:-1], axis=1)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged .npy header can raise nearly anything
        log.warning(f"{path.name} cannot be read ({error}); it is made again")
        return None


def write_matrix(folder: Path, side: str, about: dict[str, Any], parts: list[np.ndarray]) -> None:
    """Write the columns of each block, (n, dim) float32, side by side, and the sidecar; see read_matrix."""
    path, sidecar_path = _paths(folder, side)
    if sidecar_path.exists():
        log.info(f"{path.name} holds vectors of other texts, settings or another split, and is made again")
    vectors = joined(parts)
    blocks = [{**block, "dim": part.shape[1]} for block, part in zip(about["blocks"], parts, strict=True)]
    sidecar = {**about, "blocks": blocks, "dim": vectors.shape[1], "vectors_sha256": digest(vectors)}
    with atomic_write(path) as file:
        write_array(file, vectors)
        # no sidecar may ever stand beside vectors it does not describe, not even after a kill
        sidecar_path.unlink(missing_ok=True)
    with atomic_write(sidecar_path) as file:
        file.write(json.dumps(sidecar).encode())


def stamp_of_matrix(folder: Path) -> dict[str, Any]:
    """Return what made the encoder's part of the titles' matrix of a folder: model_name, settings and model; or {}."""
    try:
        sidecar = parse_json(_paths(folder, "item")[1].read_text(encoding="utf-8"))
        return {key: sidecar[key] for key in ("model_name", "settings", "model")}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def matrix_of_titles(folder: Path, ids: list[str], model_name: str) -> dict[str, np.ndarray] | None:
    """Return the titles' matrix of a folder, block -> (n, dim) float32, if it is of these titles and this encoder."""
    parts = read_matrix(folder, "item", {"ids_sha256": digest("\n".join(ids).encode()), "model_name": model_name})
    if parts is None:
        return None
    sidecar = parse_json(_paths(folder, "item")[1].read_text(encoding="utf-8"))
    return dict(zip((block["name"] for block in sidecar["blocks"]), parts, strict=True))


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Return the columns of all blocks side by side, (n, L)."""
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def digest(data: bytes | np.ndarray) -> str:
    """Return the sha256 of some bytes, or of an array's, in hex."""
    return hashlib.sha256(np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data).hexdigest()


def _paths(folder: Path, side: str) -> tuple[Path, Path]:
    path = folder / f"{side}_llm_embeddings.npy"
    return path, path.with_name(f"{path.name}.json")
