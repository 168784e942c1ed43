"""An encoder that counts what it encodes, and the cache files of its vectors."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_loader import load_dataset
from llm_embedding import TextVectors, text_vectors


class FakeEncoder:
    """A row-wise encoder: a vector depends on nothing but the text and the name; keeps what it was given."""

    def __init__(self, salt: str = "", dim: int = 6) -> None:
        self.salt, self.dim, self.opened, self.reachable = salt, dim, 0, True
        self.texts: list[str] = []

    def __call__(self, texts: list[str], as_query: bool = False) -> np.ndarray:
        self.texts += texts
        return np.stack([self.of(text) for text in texts])

    def of(self, text: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256((self.salt + text).encode()).digest()[:8], "little")
        vector = np.random.default_rng(seed).normal(size=self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def vectors_of(config: dict[str, Any], **changes: Any) -> TextVectors:
    """Load the data and ask for the vectors, as a new process would."""
    changed = {**config, **changes}
    return text_vectors(load_dataset(changed), changed, "cpu")


def from_scratch(config: dict[str, Any], tmp_path: Path, **changes: Any) -> TextVectors:
    """Ask for the same vectors where no cache is."""
    return vectors_of(config, vectors_dir=str(tmp_path / f"fresh{time.monotonic_ns()}"), **changes)


def assert_same(ours: TextVectors, theirs: TextVectors) -> None:
    np.testing.assert_allclose(ours.items, theirs.items, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.users, theirs.users, rtol=0, atol=1e-6)


def saved(config: dict[str, Any], side: str = "item") -> Path:
    return Path(config["saved_dir"]) / f"{side}_llm_embeddings.npy"


def sidecar(config: dict[str, Any], side: str = "item") -> dict[str, Any]:
    return json.loads(Path(f"{saved(config, side)}.json").read_text(encoding="utf-8"))


def stores(config: dict[str, Any]) -> list[Path]:
    """List the stores of encoded texts, one an encoder."""
    return sorted((Path(config["saved_dir"]) / "encoded").iterdir())


def rewrite_anime(config: dict[str, Any], change: Callable[[list[str]], list[str]]) -> None:
    """Let change rework the data lines of anime.tsv."""
    rewrite(config, "anime.tsv", change)


def rewrite(config: dict[str, Any], name: str, change: Callable[[list[str]], list[str]]) -> None:
    path = Path(config["data_dir"]) / name
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *change(lines)]) + "\n", encoding="utf-8")


CORPUS = [
    "giant robots fight a war in space",
    "robots and pilots at war among the stars, in space",
    "a quiet school club drinks tea",
    "girls of a school club play music and drink tea",
    "a detective solves a murder",
    "the great detective and another murder",
    "银河英雄传说",
    "银河铁道之夜",
]


def shuffle_rows(path: Path) -> None:
    vectors = np.load(path)
    np.save(path, vectors[np.random.default_rng(0).permutation(len(vectors))])
