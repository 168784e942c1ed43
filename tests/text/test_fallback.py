"""Encoders that cannot be had, opened only when needed, each with vectors of its own."""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_embedding
import save_embeddings
from data_loader import load_dataset
from runtime.cli import run_script
from tests.helpers.encoders import (
    FakeEncoder,
    assert_same,
    from_scratch,
    rewrite,
    rewrite_anime,
    saved,
    shuffle_rows,
    sidecar,
    stores,
    vectors_of,
)
from text import store as text_store

ABSENT = "aglrec-tests/not-on-this-disk"
SIDES = ("item", "user")


# --- encoders that cannot be had ---


def test_an_unreachable_hub_falls_back_to_lsa_and_says_so(
    asked: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    vectors = vectors_of(asked)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(ABSENT in message and "lsa" in message for message in warnings)
    assert (vectors.info["requested"], vectors.info["used"]) == (ABSENT, "lsa")
    assert {sidecar(asked, side)["model_name"] for side in SIDES} == {"lsa"}
    assert_same(vectors, vectors_of(asked, model_name="lsa"))


def test_the_fallback_is_cached_too(asked: dict[str, Any]) -> None:
    first, second = vectors_of(asked), vectors_of(asked)
    assert second.info["texts_encoded"] == 0
    assert second.info["used"] == "lsa"
    assert_same(first, second)


def test_vectors_of_the_fallback_are_dropped_once_the_encoder_is_there(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors_of(asked)
    encoder = FakeEncoder()
    monkeypatch.setattr(llm_embedding, "open_encoder", lambda *args: (ABSENT, encoder))
    vectors = vectors_of(asked)
    assert vectors.info["used"] == ABSENT
    assert vectors.items.shape[1] == vectors.users.shape[1] == encoder.dim
    np.testing.assert_allclose(vectors.items[3], encoder.of(load_dataset(asked).item_texts[3]), atol=1e-6)


def test_cached_vectors_need_neither_hub_nor_model(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(llm_embedding, "open_encoder", lambda *args: (ABSENT, FakeEncoder()))
        first = vectors_of(asked)
    second = vectors_of(asked, encoder_fallback="none")
    assert second.info["used"] == ABSENT
    assert_same(first, second)


# --- the encoder is opened only if a text has to be encoded ---


def without_comments(config: dict[str, Any]) -> None:
    rewrite(
        config,
        "interactions.tsv",
        lambda lines: ["\t".join([*line.split("\t")[:3], "", line.split("\t")[4]]) for line in lines],
    )


@pytest.mark.parametrize("reachable", [True, False], ids=["reachable", "unreachable"])
def test_a_new_split_without_comments_opens_nothing(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path, reachable: bool
) -> None:
    without_comments(config)
    first = vectors_of(config)
    fake.opened, fake.reachable = 0, reachable
    second = vectors_of(config, split="random")
    assert (fake.opened, second.info["texts_encoded"], second.info["used"]) == (0, 0, "tests/fake")
    assert {sidecar(config, side)["model_name"] for side in SIDES} == {"tests/fake"}
    np.testing.assert_array_equal(second.items, first.items)
    assert not np.array_equal(second.users, first.users)
    fake.reachable = True
    assert_same(second, from_scratch(config, tmp_path, split="random"))


def test_a_new_user_without_a_comment_opens_nothing(small: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    """Though others wrote some: theirs are in the cache."""
    vectors_of(small)
    rewrite(small, "interactions.tsv", lambda lines: [*lines, "new\ts1\t5\t\t", "new\ts2\t5\t\t"])
    fake.opened = 0
    second = vectors_of(small)
    assert (fake.opened, len(second.users)) == (0, 6)
    np.testing.assert_allclose(second.users[-1], second.items[[1, 2]].mean(axis=0), atol=1e-6)
    assert_same(second, from_scratch(small, tmp_path))


@pytest.mark.parametrize("change", ["a title", "a comment"])
def test_a_text_that_is_new_opens_the_encoder(small: dict[str, Any], fake: FakeEncoder, change: str) -> None:
    vectors_of(small)
    if change == "a title":
        rewrite_anime(small, lambda lines: [*lines, "new\ta new title\t\t"])
    else:
        rewrite(small, "interactions.tsv", lambda lines: [*lines, "new\ts1\t5\tnever written before\t"])
    fake.opened = 0
    assert vectors_of(small).info["texts_encoded"] == fake.opened == 1


# --- each encoder keeps its own vectors ---


def test_a_fallback_does_not_destroy_the_encoders_vectors(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    """A new title while the encoder is gone: lsa for once, and later that one text is all there is to encode."""
    vectors_of(config)
    rewrite_anime(config, lambda lines: [*lines, "new\ta new title\t\t"])
    fake.reachable = False
    meanwhile = vectors_of(config)
    assert meanwhile.info["used"] == "lsa"
    assert {sidecar(config, side)["model_name"] for side in SIDES} == {"lsa"}
    fake.reachable = True
    fake.texts.clear()
    back = vectors_of(config)
    assert fake.texts == ["a new title"]
    assert (back.info["used"], back.info["texts_encoded"]) == ("tests/fake", 1)
    assert_same(back, from_scratch(config, tmp_path))


def test_trying_lsa_in_between_costs_nothing(config: dict[str, Any], fake: FakeEncoder) -> None:
    first = vectors_of(config)
    vectors_of(config, model_name="lsa")
    fake.opened, fake.reachable = 0, False
    second = vectors_of(config, encoder_fallback="none")
    assert (fake.opened, second.info["texts_encoded"], second.info["digest"]) == (0, 0, first.info["digest"])
    assert_same(second, first)
    np.testing.assert_array_equal(np.load(saved(config)), first.items)


@pytest.mark.slow
def test_each_of_several_encoders_is_kept_apart(config: dict[str, Any], fake: FakeEncoder) -> None:
    settings = [{}, {"model_name": "tests/other"}, {"max_seq_length": 64}, {"half_vectors": True}]
    first = [vectors_of(config, **one) for one in settings]
    fake.texts.clear()
    for one, vectors in list(zip(settings, first, strict=True)) * 2:
        assert_same(vectors_of(config, **one), vectors)
    assert fake.texts == []
    assert len(stores(config)) == 4


def test_half_vectors_are_rounded_and_half_as_large(config: dict[str, Any], fake: FakeEncoder) -> None:
    whole, half = vectors_of(config), vectors_of(config, half_vectors=True)
    np.testing.assert_allclose(half.items, whole.items, atol=5e-4)
    assert not np.array_equal(half.items, whole.items)
    sizes = sorted((store / "vectors.bin").stat().st_size for store in stores(config))
    assert 2 * sizes[0] == sizes[1]
    assert half.info["digest"] != whole.info["digest"]


def test_lsa_is_not_kept(config: dict[str, Any], fake: FakeEncoder) -> None:
    for lsa_dim in (4, 5):
        vectors_of(config, model_name="lsa", lsa_dim=lsa_dim)
    vectors_of(config)
    assert len(stores(config)) == 1


@pytest.mark.parametrize("split", ["user_time", "random"])
def test_vectors_damaged_in_store_and_cache_are_not_used(split: str, config: dict[str, Any], fake: FakeEncoder) -> None:
    first = vectors_of(config, split=split)
    shuffle_rows(saved(config))
    rows = np.fromfile(stores(config)[0] / "vectors.bin", np.float32).reshape(-1, fake.dim)
    rows[[3, 8]] = rows[[8, 3]]
    rows.tofile(stores(config)[0] / "vectors.bin")
    second = vectors_of(config, split=split)
    assert_same(second, first)
    assert second.info["texts_encoded"] == 2


def test_an_interrupted_encoding_keeps_what_it_did(
    config: dict[str, Any], fake: FakeEncoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in save_embeddings costs a window of texts at most."""
    monkeypatch.setattr(text_store, "WINDOW", 8)
    encode, n_texts = FakeEncoder.__call__, []

    def interrupted(self: FakeEncoder, texts: list[str]) -> np.ndarray:
        if len(n_texts) == 5:
            raise KeyboardInterrupt
        n_texts.append(len(texts))
        return encode(self, texts)

    keys = ("data_dir", "saved_dir", "model_name", "device")
    monkeypatch.setattr(sys, "argv", ["", *(word for key in keys for word in (f"--{key}", config[key]))])
    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "__call__", interrupted)
        assert run_script(save_embeddings.main) == 130
    assert "what is finished is kept" in capsys.readouterr().err
    before, fake.texts = set(fake.texts), []
    assert run_script(save_embeddings.main) == 0
    assert len(before) == sum(n_texts) > 0
    assert not before & set(fake.texts)
