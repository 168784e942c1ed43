"""Models with code of their own, models that cannot be loaded, and prompts: with a real, tiny transformer."""

import importlib.util
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.encoders import CORPUS, sidecar, vectors_of
from text import encoders
from text.encoders import batched, open_encoder, precision

MODEL = """from transformers import BertModel
from .configuration_my import MyConfig
class MyModel(BertModel):
    config_class = MyConfig
"""
CONFIG = """from transformers import BertConfig
open({mark!r}, "w").close()
class MyConfig(BertConfig):
    model_type = "my_own"
"""
CLASSES = {"AutoConfig": "configuration_my.MyConfig", "AutoModel": "modeling_my.MyModel"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights, one token a character."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "plain"
    words = {name: row for row, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(32, 127))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    return folder


def changed(plain: Path, tmp_path: Path, **settings: Any) -> Path:
    """Copy the model, with other settings in its config.json."""
    folder = shutil.copytree(plain, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **settings}), encoding="utf-8")
    return folder


def test_code_of_its_own_runs_only_where_it_is_let(
    plain: Path, tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, mark = changed(plain, tmp_path, model_type="my_own", auto_map=CLASSES), tmp_path / "ran"
    (folder / "modeling_my.py").write_text(MODEL)
    (folder / "configuration_my.py").write_text(CONFIG.format(mark=str(mark)))
    settings = {**config, "model_name": str(folder)}
    with pytest.raises(ValueError, match=r"brings code of its own \(modeling_my.MyModel in .*--trust_remote_code true"):
        open_encoder(settings, "cpu", CORPUS)
    assert not mark.exists()
    assert open_encoder({**settings, "trust_remote_code": True}, "cpu", CORPUS)[1](CORPUS).shape == (len(CORPUS), 8)
    assert mark.exists()


def test_a_class_that_takes_the_place_of_its_own_is_told(
    plain: Path, tmp_path: Path, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    folder = changed(plain, tmp_path, auto_map={"AutoModel": "modeling_my.MyModel"})
    open_encoder({**config, "model_name": str(folder)}, "cpu", CORPUS)
    assert "brings code of its own (modeling_my.MyModel), which is not run" in caplog.text


def test_a_module_of_its_own_is_refused(plain: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    folder = changed(plain, tmp_path)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Mine"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "custom_st.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match=r"code of its own \(custom_st.Mine"):
        open_encoder({**config, "model_name": str(folder)}, "cpu", CORPUS)


@pytest.mark.parametrize("is_evil", [False, True])
def test_weights_of_torch_are_read_as_tensors_alone(
    plain: Path, tmp_path: Path, config: dict[str, Any], is_evil: bool
) -> None:
    folder, mark = changed(plain, tmp_path), tmp_path / "ran"
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "evil": Opens(str(mark))} if is_evil else weights, folder / "pytorch_model.bin")
    settings = {**config, "model_name": str(folder)}
    if is_evil:
        with pytest.raises(ValueError, match="cannot be loaded from"):
            open_encoder(settings, "cpu", CORPUS)
        assert not mark.exists()
    else:
        vectors = open_encoder(settings, "cpu", CORPUS)[1](CORPUS)
        same = open_encoder({**config, "model_name": str(plain)}, "cpu", CORPUS)[1](CORPUS)
        np.testing.assert_array_equal(vectors, same)


class Opens:
    """What opens a file once it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_a_model_of_an_unknown_kind_is_one_sentence(plain: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    folder = changed(plain, tmp_path, model_type="of_tomorrow")
    with pytest.raises(ValueError, match=r"cannot be loaded from .*of_tomorrow.*; name another model") as error:
        open_encoder({**config, "model_name": str(folder)}, "cpu", CORPUS)
    assert "\n" not in str(error.value)


def test_vectors_with_its_own_code_are_kept_apart_and_those_without_as_ever(
    plain: Path, config: dict[str, Any]
) -> None:
    settings = {**config, "model_name": str(plain)}
    without, with_code = vectors_of(settings), vectors_of(settings, trust_remote_code=True)
    assert sidecar(settings)["settings"] == {"max_seq_length": 512, "trust_remote_code": True}
    assert without.info["digest"] != with_code.info["digest"]
    vectors_of(settings)
    assert sidecar(settings)["settings"] == {"max_seq_length": 512}


def test_tokens_are_averaged_and_that_is_told(
    plain: Path, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "aglrec"):
        open_encoder({**config, "model_name": str(plain)}, "cpu", CORPUS)
    assert "a text's vector is the mean of its tokens'" in caplog.text


@pytest.mark.parametrize("default", [None, "query"])
def test_a_model_puts_its_own_prompts_before_texts(
    plain: Path, tmp_path: Path, config: dict[str, Any], default: str | None
) -> None:
    from sentence_transformers import SentenceTransformer

    # to these sentence-transformers adds an empty "document"
    prompts = {"query": "query: ", "passage": "passage: "}
    model = SentenceTransformer(str(plain), device="cpu", prompts=prompts, default_prompt_name=default)
    model.save(str(tmp_path / "prompts"))
    own = {**config, "model_name": str(tmp_path / "prompts")}
    encode = open_encoder(own, "cpu", CORPUS)[1]
    bare = open_encoder({**config, "model_name": str(plain)}, "cpu", CORPUS)[1]
    np.testing.assert_allclose(encode(CORPUS), bare([f"passage: {text}" for text in CORPUS]), atol=1e-5)
    np.testing.assert_allclose(encode(CORPUS, as_query=True), bare([f"query: {text}" for text in CORPUS]), atol=1e-5)
    np.testing.assert_array_equal(bare(CORPUS, as_query=True), bare(CORPUS))
    none = open_encoder({**own, "document_prompt": ""}, "cpu", CORPUS)[1]
    np.testing.assert_allclose(none(CORPUS), bare(CORPUS), atol=1e-5)


def test_truncated_vectors_are_the_first_numbers_at_length_one(plain: Path, config: dict[str, Any]) -> None:
    named = {**config, "model_name": str(plain)}
    whole, short = (open_encoder({**named, "truncate_dim": dim}, "cpu", CORPUS)[1](CORPUS) for dim in (0, 3))
    expected = whole[:, :3] / np.linalg.norm(whole[:, :3], axis=1, keepdims=True)
    np.testing.assert_allclose(short, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_processor_computes_models_of_halves_in_float32(
    plain: Path, tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    from transformers import AutoModel

    folder = shutil.copytree(plain, tmp_path / "half")
    AutoModel.from_pretrained(folder).to(dtype).save_pretrained(folder)
    assert load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"].dtype == dtype
    opened: list[Any] = []
    monkeypatch.setattr(encoders, "batched", lambda model, *how: opened.append(model) or batched(model, *how))
    found = open_encoder({**config, "model_name": str(folder)}, "cpu", CORPUS)[1](CORPUS)
    assert {weight.dtype for weight in opened[0].parameters()} == {torch.float32}
    whole = open_encoder({**config, "model_name": str(plain)}, "cpu", CORPUS)[1](CORPUS)
    assert (found * whole).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(
    ("major", "halves", "expected"),
    [
        (9, False, torch.float16), (7, False, torch.float16), (6, False, torch.float32),
        (9, True, torch.bfloat16), (8, True, torch.bfloat16), (7, True, torch.float32),
    ],
)  # fmt: skip
def test_a_card_computes_in_what_it_is_fast_with(
    monkeypatch: pytest.MonkeyPatch, major: int, halves: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
    model = torch.nn.Linear(2, 2, dtype=torch.bfloat16 if halves else torch.float32)
    assert precision(model, "cuda:0") == expected


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_backend_without_its_package_says_what_to_install(plain: Path, config: dict[str, Any], backend: str) -> None:
    if importlib.util.find_spec("optimum"):
        pytest.skip("optimum is installed")
    with pytest.raises(ValueError, match=rf"pip install 'sentence-transformers\[{backend}\]'"):
        open_encoder({**config, "model_name": str(plain), "encoder_backend": backend}, "cpu", CORPUS)
