"""The cache of vectors: where it holds, what it must notice, what its sidecar says."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_loader import load_dataset
from llm_embedding import text_vectors
from tests.helpers.encoders import (
    FakeEncoder,
    assert_same,
    from_scratch,
    rewrite,
    rewrite_anime,
    saved,
    sidecar,
    stores,
    vectors_of,
)

SIDES = ("item", "user")
FILES = [f"{side}_llm_embeddings.npy{suffix}" for side in SIDES for suffix in ("", ".json")]


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


def test_titles_are_encoded_though_only_users_have_text(config: dict[str, Any], fake: FakeEncoder) -> None:
    """A user who wrote nothing is the mean of their titles."""
    vectors = vectors_of(config, use_item_llm=False)
    assert_same(vectors, vectors_of(config))


def test_comments_that_are_not_used_are_not_encoded(config: dict[str, Any], fake: FakeEncoder) -> None:
    comments = set(load_dataset(config).user_comments.texts)
    without = vectors_of(config, use_user_llm=False)
    assert not comments & set(fake.texts)
    assert not saved(config, "user").exists()  # which other runs would take for theirs
    both = vectors_of(config)
    assert comments <= set(fake.texts)
    np.testing.assert_array_equal(without.items, both.items)
    assert not np.allclose(without.users, both.users)
    assert without.users.any(axis=1).all()
    assert_same(vectors_of(config, use_user_llm=False), both)  # these are there, at no cost


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


@pytest.mark.slow
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
    assert f"{saved(config).name} holds vectors of other texts, settings or another split" in caplog.text


# --- files ---


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
