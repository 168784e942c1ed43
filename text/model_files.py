"""Whether a folder holds a whole sentence-transformers model: which file is missing, cut, or another in its place."""

import json
import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

# of what a hub model has, all that is loaded: settings, words and weights for torch, in the root or a module's folder
LOADED = (".json", ".txt", ".model", ".tiktoken", ".vocab", ".jinja", ".py", "README.md")
WEIGHTS = re.compile(r"(model|pytorch_model|adapter_model)(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?")
MODULE_FOLDER = re.compile(r"(\w+_)?\d+_\w+")
# without one of these another model would be loaded, or none
SETTINGS = {"modules.json", "config.json", "config_sentence_transformers.json", "sentence_bert_config.json"}
NEEDED = SETTINGS | {"tokenizer.json", "tokenizer_config.json"}
WORDS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken", "*.vocab")
BY_BYTES = ("ByT5", "Canine", "Perceiver")  # tokenizers that need no list of words
OTHER_FORMATS = {".gguf": "GGUF", ".onnx": "ONNX", ".h5": "TensorFlow", ".msgpack": "Flax", ".ot": "Rust"}

AGAIN = "copy or download it again"
FROM_SOURCE = "copy it from where the model is from, or name the model as the hub does"
LFS = b"version https://git-lfs.github.com/spec/"
HTML = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")


class Fault(NamedTuple):
    """What is wrong with a file of a model."""

    file: str  # relative to the folder of the model
    what: str  # goes on after the file's name
    remedy: str = AGAIN


def wanted(names: Collection[str]) -> list[str]:
    """Return which of a hub model's files are loaded: no weights twice, and none for other programs.

    Weights come last: a download that was cut then lacks them, and is never taken for whole.
    """
    paths = [PurePosixPath(name) for name in names]
    safe = {path.parent for path in paths if WEIGHTS.fullmatch(path.name) and ".safetensors" in path.name}

    def is_loaded(path: PurePosixPath) -> bool:
        if len(path.parts) > 1 and not MODULE_FOLDER.fullmatch(path.parts[0]):
            return False
        if WEIGHTS.fullmatch(path.name):
            return ".safetensors" in path.name or path.parent not in safe or path.name.startswith("adapter")
        return path.name.endswith(LOADED)

    return sorted(
        map(str, filter(is_loaded, paths)), key=lambda name: bool(WEIGHTS.fullmatch(PurePosixPath(name).name))
    )


def faults(folder: Path, listed: Collection[str] = ()) -> list[Fault]:
    """Say what keeps a folder from being loaded as the model that it is.

    Args:
        folder: of a model.
        listed: names of all files that the model has where it is from, if that is known.

    Returns:
        What is missing, cut, or another file in its place; empty if nothing is.
    """
    needed = [name for name in wanted(listed) if PurePosixPath(name).name in NEEDED]
    absent = [Fault(name, "is missing", FROM_SOURCE) for name in needed if not (folder / name).is_file()]
    return absent or list(_faults(folder))


def own_code(folder: Path) -> list[str]:
    """Return the classes that a model brings as code of its own: they run only where trust_remote_code is true."""
    modules = [str(module.get("type")) for module in _modules(folder)]
    found = [kind for kind in modules if not kind.startswith("sentence_transformers.")]
    for path in folder.glob("**/config.json"):
        settings = _json(path)
        classes = settings.get("auto_map") if isinstance(settings, dict) else None
        found += [str(name) for key, name in classes.items() if key == "AutoModel"] if isinstance(classes, dict) else []
    return found


def is_model2vec(folder: Path) -> bool:
    """Tell whether a folder is of model2vec alone, without the modules.json of sentence-transformers."""
    settings = _json(folder / "config.json")
    alone = isinstance(settings, dict) and not (folder / "modules.json").exists()
    return alone and settings.get("model_type") == "model2vec"


def averages_tokens(folder: Path) -> bool:
    """Tell whether a folder holds a bare transformer, for whose texts sentence-transformers averages the tokens."""
    return not (folder / "modules.json").exists() and not is_model2vec(folder)


def _faults(folder: Path) -> Iterator[Fault]:
    for name in sorted(SETTINGS):
        path = folder / name
        if path.is_file() and (fault := _damage(folder, name)):
            yield fault
            return
    if not (folder / "modules.json").is_file():
        if any((folder / name).exists() for name in SETTINGS - {"config.json"}) or list(folder.glob("[0-9]_*")):
            yield Fault("modules.json", "is missing, which says how vectors are made of tokens", FROM_SOURCE)
            return
        if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            yield Fault(
                "config.json", f"is missing{_others(folder)}", "name the folder of a sentence-transformers model"
            )
            return
        kind = "StaticEmbedding" if is_model2vec(folder) else "Transformer"
        yield from _module_faults(folder, kind, "")
        return
    modules = _modules(folder)
    if not modules:
        yield Fault("modules.json", "lists no modules")
    for module in modules:
        place = str(module.get("path", ""))
        if ".." not in place and not place.startswith(("/", "\\")):  # the library refuses those
            yield from _module_faults(folder, str(module.get("type")).rpartition(".")[2], place)


def _module_faults(folder: Path, kind: str, place: str) -> Iterator[Fault]:
    """Check the files of a module, such as Pooling in 1_Pooling; a kind unknown here is left to the library."""
    inside = f"{place}/" if place else ""
    if (folder / inside / "adapter_config.json").is_file():  # the rest is that of the model it adapts
        yield from _file_faults(folder, f"{inside}adapter_model.safetensors")
        return
    if kind in ("Transformer", "Pooling", "Dense"):
        yield from _file_faults(folder, f"{inside}config.json")
    if kind in ("Transformer", "Dense", "StaticEmbedding"):
        yield from _weight_faults(folder, inside)
    if kind == "StaticEmbedding":
        yield from _file_faults(folder, f"{inside}tokenizer.json")
    if kind == "Transformer":
        yield from _tokenizer_faults(folder, inside)


def _weight_faults(folder: Path, inside: str) -> Iterator[Fault]:
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / inside / name).is_file():
            yield from _file_faults(folder, f"{inside}{name}")
            return
        index = f"{inside}{name}.index.json"
        if (folder / index).is_file():
            yield from _file_faults(folder, index)
            parts = _json(folder / index)
            parts = parts.get("weight_map") if isinstance(parts, dict) else None
            for part in sorted({str(part) for part in parts.values()}) if isinstance(parts, dict) else []:
                yield from _file_faults(folder, f"{inside}{part}")
            return
    yield Fault(f"{inside}model.safetensors", f"is missing{_others(folder / inside)}", FROM_SOURCE)


def _tokenizer_faults(folder: Path, inside: str) -> Iterator[Fault]:
    there = [path for pattern in WORDS for path in (folder / inside).glob(pattern)]
    settings = _json(folder / inside / "tokenizer_config.json")
    kind = str(settings.get("tokenizer_class")) if isinstance(settings, dict) else ""
    if not there and not kind.startswith(BY_BYTES):
        yield Fault(f"{inside}tokenizer.json", "is missing", FROM_SOURCE)
    for path in [*there, folder / inside / "tokenizer_config.json"]:
        if path.is_file() and (fault := _damage(folder, f"{inside}{path.name}")):
            yield fault


def _file_faults(folder: Path, name: str) -> Iterator[Fault]:
    if not (folder / name).is_file():
        yield Fault(name, "is missing", FROM_SOURCE)
    elif fault := _damage(folder, name):
        yield fault


def _damage(folder: Path, name: str) -> Fault | None:
    """Say what stands in the place of a file that is there."""
    path = folder / name
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(LFS):
        return Fault(name, "is a pointer of Git LFS, not the file itself", "run git lfs pull in that folder")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML):
        return Fault(name, "is a web page, as a proxy or a login sends it, not the file itself")
    if not size:
        return Fault(name, "is empty")
    check = {".safetensors": _cut_tensors, ".bin": _cut_archive, ".json": _no_json}.get(path.suffix)
    what = check(path, size, head) if check else None
    return Fault(name, what) if what else None


def _cut_tensors(path: Path, size: int, head: bytes) -> str | None:
    """Compare a safetensors file with what its header says: a length, JSON with the place of each tensor, tensors."""
    length = int.from_bytes(head[:8], "little")
    if size < 8 or length > 100_000_000:
        return "is no safetensors file"
    with path.open("rb") as file:
        file.seek(8)
        text = file.read(length)
    try:
        ends = [place["data_offsets"][1] for key, place in json.loads(text).items() if key != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, AttributeError, LookupError, TypeError):
        return "was cut within its header" if len(text) < length else "is no safetensors file"
    return f"was cut: it has {size:,} of {whole:,} bytes" if size < whole else None


def _cut_archive(path: Path, size: int, head: bytes) -> str | None:
    if head.startswith(b"PK"):  # as torch.save writes it, with the directory at the end
        return None if zipfile.is_zipfile(path) else f"was cut at {size:,} bytes"
    return None if head.startswith(b"\x80") else "is no file of torch.save"


def _no_json(path: Path, size: int, head: bytes) -> str | None:
    return None if isinstance(_json(path), dict | list) else "is no JSON"


def _json(path: Path) -> Any:
    """Read JSON; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def read_settings(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model; empty where there is none."""
    found = _json(path)
    return found if isinstance(found, dict) else {}


def _modules(folder: Path) -> list[dict[str, Any]]:
    found = _json(folder / "modules.json")
    return [module for module in found if isinstance(module, dict)] if isinstance(found, list) else []


def _others(folder: Path) -> str:
    """Name a file that a model for another program has in the place of the one that is missing."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if kind := OTHER_FORMATS.get(path.suffix.lower()):
            return f" ({path.name} is in the format of {kind}, which is not read)"
    return "" if folder.is_dir() and any(folder.iterdir()) else " (the folder is empty)"
