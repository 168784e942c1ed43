"""Folders as people have them: what is missing, cut, or another file in its place, told by file with the remedy."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.helpers.encoders import CORPUS
from tests.helpers.hub import static_model
from text.encoders import open_encoder
from text.model_files import faults, own_code, wanted

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 594744\n"
PAGE = b"\n<!DOCTYPE html><html>Sign in</html>"
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The files of a transformer with a pooling and a dense module, as far as they are read here."""
    folder = tmp_path / "model"
    for name in ("1_Pooling", "2_Dense"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "sentence_bert_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        save_file({"a": np.ones((9, 9), np.float32), "b": np.ones(3, np.float32)}, folder / name)
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def half_archive(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.ones(9, 9)}, folder / "pytorch_model.bin")
    cut(folder / "pytorch_model.bin")


def only_gguf(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-q8.gguf")


CHANGES: dict[str, tuple[Callable[[Path], Any], str, str, str]] = {
    "cut": (lambda m: cut(m / "model.safetensors"), "model.safetensors", "was cut: it has 200 of", "again"),
    "cut in the header": (
        lambda m: (m / "model.safetensors").write_bytes((m / "model.safetensors").read_bytes()[:20]),
        "model.safetensors",
        "was cut within its header",
        "again",
    ),
    "empty": (lambda m: (m / "model.safetensors").write_bytes(b""), "model.safetensors", "is empty", "again"),
    "pointer": (lambda m: (m / "model.safetensors").write_bytes(LFS), "model.safetensors", "Git LFS", "git lfs pull"),
    "page": (lambda m: (m / "model.safetensors").write_bytes(PAGE), "model.safetensors", "is a web page", "again"),
    "page as settings": (lambda m: (m / "config.json").write_bytes(PAGE), "config.json", "is a web page", "again"),
    "pointer as tokenizer": (lambda m: (m / "tokenizer.json").write_bytes(LFS), "tokenizer.json", "LFS", "lfs pull"),
    "half settings": (lambda m: (m / "config.json").write_text('{"model_'), "config.json", "is no JSON", "again"),
    "modules of text": (
        lambda m: (m / "modules.json").write_text('["a"]'),
        "modules.json",
        "lists no modules",
        "again",
    ),
    "no modules": (lambda m: (m / "modules.json").unlink(), "modules.json", "is missing", "copy it"),
    "no settings": (lambda m: (m / "config.json").unlink(), "config.json", "is missing", "copy it"),
    "no pooling": (lambda m: (m / "1_Pooling/config.json").unlink(), "1_Pooling/config.json", "is missing", "copy it"),
    "no tokenizer": (lambda m: (m / "tokenizer.json").unlink(), "tokenizer.json", "is missing", "copy it"),
    "no dense": (lambda m: cut(m / "2_Dense/model.safetensors"), "2_Dense/model.safetensors", "was cut", "again"),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), "model.safetensors", "is missing", "copy it"),
    "gguf": (only_gguf, "model.safetensors", "model-q8.gguf is in the format of GGUF", "copy it"),
    "a shard": (shards, "model-00002-of-00002.safetensors", "is missing", "copy it"),
    "half a bin": (half_archive, "pytorch_model.bin", "was cut at 200 bytes", "again"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_is_told_by_file(model: Path, change: str, config: dict[str, Any]) -> None:
    assert faults(model) == []
    spoil, file, what, remedy = CHANGES[change]
    spoil(model)
    fault = faults(model)[0]
    assert fault.file == file
    assert what in fault.what
    assert remedy in fault.remedy
    told = f"{model / fault.file} {fault.what}; {fault.remedy}"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        open_encoder({**config, "model_name": str(model)}, "cpu", CORPUS)


def test_weights_of_torch_alone_are_whole(model: Path) -> None:
    (model / "model.safetensors").unlink()
    torch.save({"a": torch.ones(9, 9)}, model / "pytorch_model.bin")
    assert faults(model) == []


def test_a_tokenizer_of_bytes_needs_no_words(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    assert faults(model) == []


@pytest.mark.parametrize("content", ["nothing", "gguf"])
def test_a_folder_without_a_model_says_what_it_holds(tmp_path: Path, content: str) -> None:
    if content == "gguf":
        (tmp_path / "model-q8.gguf").write_bytes(b"GGUF")
    told = {"nothing": "the folder is empty", "gguf": "model-q8.gguf is in the format of GGUF"}
    assert told[content] in faults(tmp_path)[0].what


def test_what_the_hub_lists_has_to_be_there(model: Path) -> None:
    listed = ["config.json", "tokenizer_config.json", "onnx/config.json", "train_script.py", "vocab.txt"]
    assert [fault.file for fault in faults(model, listed)] == ["tokenizer_config.json"]


def test_a_module_outside_the_folder_is_not_looked_at(model: Path) -> None:
    (model / "modules.json").write_text(json.dumps([*MODULES, {**MODULES[1], "path": "../../etc"}]))
    assert faults(model) == []


def test_weights_come_once_and_last() -> None:
    names = ["model.safetensors", "pytorch_model.bin", "config.json", "onnx/model.onnx", "2_Dense/pytorch_model.bin"]
    names += ["1_Pooling/config.json", "tf_model.h5", "training_args.bin", "checkpoint-500/model.safetensors", "a.png"]
    settings = ["config.json", "1_Pooling/config.json"]
    assert wanted(names) == [*settings, "model.safetensors", "2_Dense/pytorch_model.bin"]


def test_code_of_its_own_is_named(model: Path) -> None:
    assert own_code(model) == []
    (model / "config.json").write_text('{"auto_map": {"AutoConfig": "c.C", "AutoModel": "other/repo--m.Mine"}}')
    (model / "modules.json").write_text(json.dumps([{**MODULES[0], "type": "custom_st.Transformer"}]))
    assert own_code(model) == ["custom_st.Transformer", "other/repo--m.Mine"]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["embedding.weight", "embeddings"])
def test_static_embeddings_are_encoders(tmp_path: Path, config: dict[str, Any], key: str) -> None:
    name, encode = open_encoder({**config, "model_name": str(static_model(tmp_path / "m", key))}, "cpu", CORPUS)
    vectors = encode(CORPUS)
    assert name == str(tmp_path / "m")
    assert vectors.shape == (len(CORPUS), 6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_static_embeddings_keep_to_the_longest_text(tmp_path: Path, config: dict[str, Any]) -> None:
    settings = {**config, "model_name": str(static_model(tmp_path / "m")), "max_seq_length": 3}
    encode = open_encoder(settings, "cpu", CORPUS)[1]
    np.testing.assert_array_equal(encode(["abcdef"]), encode(["abc"]))
