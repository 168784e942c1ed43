"""Files that are written whole or not at all, and read without running what is in them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from untrusted import check_torch


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of path once it is whole; on any failure path stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that a person can read, whole or not at all."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, ensure_ascii=False, indent=1).encode())


def save_torch(path: Path, content: dict[str, Any]) -> None:
    """Write with torch.save, whole or not at all."""
    with atomic_write(path) as file:
        torch.save(content, file)


def load_torch(path: Path) -> dict[str, Any]:
    """Read a file of save_torch, tensors on the CPU and builtins only.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, or holds code.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run python main.py with the same --saved_dir first")
    try:
        check_torch(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or crafted file can raise nearly anything
        raise ValueError(f"{path} cannot be read ({str(error)[:120]}); delete it and train again") from None
