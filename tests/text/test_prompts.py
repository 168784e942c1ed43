"""Which prompts a model gets: its own, those its name is known for, or those that are asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from text.prompts import NO_PROMPTS, Prompts, known_prompts, own_prompts, prompts_of
from text.stamps import stamp_of

E5 = Prompts("passage: ", "query: ")


@pytest.mark.parametrize(
    ("name", "prompts"),
    [
        ("intfloat/multilingual-e5-small", E5),
        ("server:e5", E5),
        ("server:jeffh/intfloat-multilingual-e5-large:f16", E5),
        ("/models/e5-base-v2/", E5),
        ("/c/hub/models--intfloat--multilingual-e5-small/snapshots/abc", E5),
        ("nomic-ai/nomic-embed-text-v1.5", Prompts("search_document: ", "search_query: ")),
        ("server:nomic-embed-text:latest", Prompts("search_document: ", "search_query: ")),
        ("BAAI/bge-m3", NO_PROMPTS),
        ("server:bge-m3", NO_PROMPTS),
        ("sentence-transformers/all-MiniLM-L6-v2", NO_PROMPTS),
        ("/home/e5/models/minilm", NO_PROMPTS),
        ("server:base5", NO_PROMPTS),
    ],
)
def test_well_known_names_have_prompts(name: str, prompts: Prompts) -> None:
    assert known_prompts(name) == prompts


@pytest.mark.parametrize(
    "name",
    ["Qwen/Qwen3-Embedding-0.6B", "server:qwen3-embedding:8b", "intfloat/multilingual-e5-large-instruct",
     "intfloat/e5-mistral-7b-instruct", "Alibaba-NLP/gte-Qwen2-1.5B-instruct", "BAAI/bge-small-en-v1.5",
     "BAAI/bge-large-zh-v1.5", "server:mxbai-embed-large", "server:snowflake-arctic-embed2"],
)  # fmt: skip
def test_many_have_one_for_queries_alone(name: str) -> None:
    document, query = known_prompts(name)
    assert document == ""
    assert query


def brings(folder: Path, prompts: Any, default: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"prompts": prompts, "default_prompt_name": default}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("prompts", "default", "found"),
    [
        ({"query": "q: ", "document": "d: "}, None, Prompts("d: ", "q: ")),
        ({"query": "query: ", "passage": "passage: ", "document": ""}, None, E5),  # as sentence-transformers 6 saves e5
        ({"document": "", "query": "query: ", "passage": "passage: "}, "document", E5),
        ({"query": "Instruct: find\nQuery:", "document": ""}, None, Prompts("", "Instruct: find\nQuery:")),
        ({"query": "q: ", "document": ""}, "query", Prompts("", "q: ")),
        ({"sts": "s: "}, "sts", Prompts("s: ", "s: ")),
        ({"sts": "s: "}, None, None),
        ({"query": "", "document": ""}, None, None),
        ({}, None, None),
        (["query"], None, None),
        ({"query": 3, "document": None}, "query", None),
    ],
)
def test_a_model_brings_its_prompts(tmp_path: Path, prompts: Any, default: str | None, found: Prompts | None) -> None:
    assert own_prompts(brings(tmp_path, prompts, default)) == found


def test_of_prompts_what_is_asked_for_counts_then_the_models_own_then_its_name(tmp_path: Path) -> None:
    auto = {"model_name": "e5-small", "document_prompt": "auto", "query_prompt": "auto"}
    own = brings(tmp_path, {"query": "q: ", "document": "d: "})
    assert prompts_of(auto) == E5
    assert prompts_of(auto, own) == Prompts("d: ", "q: ")
    assert prompts_of(auto, brings(tmp_path / "none", {})) == E5
    assert prompts_of({**auto, "document_prompt": "", "query_prompt": "mine "}, own) == Prompts("", "mine ")


def test_a_stamp_holds_the_prompt_only_where_there_is_one(tmp_path: Path, config: dict[str, Any]) -> None:
    def settings(folder: Path, **changes: Any) -> dict[str, Any]:
        return stamp_of({**config, **changes}, str(folder), [])["settings"]

    plain, own = brings(tmp_path / "plain", {"query": "q: "}), brings(tmp_path / "own", {"document": "d: "})
    assert settings(plain) == {"max_seq_length": 512}  # as it was before there were prompts
    assert settings(plain, query_prompt="other") == {"max_seq_length": 512}
    assert settings(plain, document_prompt="x ") == {"max_seq_length": 512, "document_prompt": "x "}
    assert settings(own) == {"max_seq_length": 512, "document_prompt": "d: "}
    assert settings(own, document_prompt="") == {"max_seq_length": 512, "document_prompt": ""}
    assert settings(plain, truncate_dim=8, encoder_backend="onnx") == {
        "max_seq_length": 512, "truncate_dim": 8, "encoder_backend": "onnx",
    }  # fmt: skip
