"""Runs that are repeated, killed or damaged, and what must come of them."""

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import main
from config import get_config
from tests.faults.artefacts import artefacts, differing


def assert_inference_repeats(config: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Check that --mode inference writes the vectors and lists of a finished run again, and changes no figure."""
    saved = Path(config["saved_dir"])
    names = ("user_emb.pt", "item_emb.pt", "recommendations.json", "new_titles.json", "metrics.json")
    before = {name: (saved / name).read_bytes() for name in names}
    for name in names[:-1]:
        (saved / name).unlink()
    again = main.run(
        {**get_config({}), **{key: config[key] for key in ("data_dir", "saved_dir", "device")}, "mode": "inference"}
    )
    assert again == metrics
    assert {name: (saved / name).read_bytes() for name in names} == before


REMEDY = re.compile(
    r"\b(add|check|close|compress|connect|delete|fill|give|install|leave|lower|make|must|name|names|"
    r"nearest|needs|put|run|save|set|takes|train|use|write)\b"
)


def one_sentence(code: int, out: str, err: str) -> str:
    """Check how every failure must look, and return the line on stderr."""
    assert code == 2
    assert "Traceback" not in out + err
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: ")
    assert REMEDY.search(err), f"no remedy in: {err}"
    return err


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


def are(expected: dict[str, Any]) -> bool:
    """Tell whether saved/ holds these artefacts."""
    return differing(artefacts(Path("saved")), expected, 0) == []


def killed_at(name: str, config: dict[str, Any], folder: Path | None = None) -> None:
    """Run until a file of this name is about to take its place, in this folder if one is given."""
    replace = Path.replace

    def deadly(source: Path, target: Path) -> Path:
        if target.name == name and folder in (None, target.parent):
            raise KeyboardInterrupt
        return replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", deadly)
        with pytest.raises(KeyboardInterrupt):
            main.run(config)


def interrupted(config: dict[str, Any], folder: Path | None = None) -> None:
    """Stop a run at the end of its training, before anything but the checkpoint is written."""
    killed_at("history.jsonl", config, folder)


def words(config: dict[str, Any], *more: str) -> list[str]:
    """Turn the settings of the test config into a command line."""
    keys = ("data_dir", "saved_dir", "model_name", "lsa_dim", "embedding_dim", "epochs", "batch_size", "device")
    return ["script", *(word for key in keys for word in (f"--{key}", str(config[key]))), *more]
