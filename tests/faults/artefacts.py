"""What a script left in a folder, without what differs from one undisturbed run to the next, and what differs still."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

# seconds, what this very call had to encode, and sums over files that hold such
TIMES = {"seconds", "timing", "train_s", "fit_s", "infer_s", "texts_encoded"}
TIMED_FILES = {"metrics.json", "history.jsonl"}
SUMS = {"vectors_sha256"}
NOT_COMPARED = {"said.txt", ".lock", "study.log"}  # tuning.json has what the study found


def artefacts(folder: Path) -> dict[str, Any]:
    """Read all files of a folder, and of those in it, by their paths."""
    return {
        str(path.relative_to(folder)): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED
    }


def differing(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> list[str]:
    """Name the files that are in one alone, or are not the same in both."""
    return sorted(
        name
        for name in {*ours, *theirs}
        if name not in ours or name not in theirs or not same(ours[name], theirs[name], tolerance)
    )


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Tell whether two files' contents are equal, bit for bit unless there is a tolerance for arrays."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        keys = {*a, *b} - (SUMS if tolerance else set())
        return all(key in a and key in b and same(a[key], b[key], tolerance) for key in keys)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(one, other, tolerance) for one, other in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return same(a.numpy(), b.numpy(), tolerance)
    if isinstance(a, np.ndarray):
        is_same = a.dtype == b.dtype and a.shape == b.shape
        return is_same and (np.allclose(a, b, 0, tolerance) if tolerance else a.tobytes() == b.tobytes())
    return a == b


def _read(path: Path) -> Any:
    if path.suffix in (".pth", ".pt"):
        return _untimed(torch.load(path, map_location="cpu", weights_only=True))
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as parts:
            return dict(parts)
    if path.name == "vectors.bin":
        about = json.loads((path.parent / "about.json").read_text(encoding="utf-8"))
        return np.fromfile(path, about["dtype"]).reshape(-1, about["dim"])
    if path.name == "index.bin":  # the sums of the rows' bytes left out
        return path.read_bytes() if path.stat().st_size % 36 else np.fromfile(path, "V36").astype("V32").tobytes()
    if path.suffix == ".json":
        return _untimed(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".jsonl":
        return [_untimed(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix in (".html", ".md", ".tex", ".csv"):
        return _without_seconds(path.read_text(encoding="utf-8"))
    return path.read_bytes()


def _untimed(content: Any) -> Any:
    if isinstance(content, dict):
        content = {
            key: {"run": value["run"]} if key in TIMED_FILES else _untimed(value)
            for key, value in content.items()
            if key not in TIMES
        }
    return [_untimed(value) for value in content] if isinstance(content, list) else content


def _without_seconds(page: str) -> str:
    """Leave out of a page or a table its date, rows and cells that tell seconds, and how many texts were encoded."""
    page = re.sub(r"<time>[^<]*", "", page)
    page = re.sub(r"<tr><t[dh][^>]*>(\w+_s|seconds|texts_encoded)</t[dh]>.*?</tr>", "", page)
    page = re.sub(r"<td>[^<]*</td>(?=<td>\d+</td><td>[^<]*</td></tr>)", "", page)  # before the seeds and the encoder
    page = re.sub(r"^.*,(train|fit)_s,.*$", "", page, flags=re.MULTILINE)
    page = re.sub(r"& [\d.]+ \\\\$", "", page, flags=re.MULTILINE)
    return re.sub(r"\|[ \d.±]+\|$", "|", page, flags=re.MULTILINE)
