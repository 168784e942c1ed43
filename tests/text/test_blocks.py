"""Vectors of several encoders side by side: what each is made from, and the cache of all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_embedding
from data_loader import load_dataset
from llm_embedding import BLOCK_DIMS, TextVectors, text_vectors
from tests.helpers.data import write_tsv
from tests.helpers.encoders import FakeEncoder
from text.encoders import lsa_encoder, tag_encoder

BLOCKS = ["encoder", "lsa", "names", "tags"]
LSA_DIM, FAKE_DIM = 8, 6


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> FakeEncoder:
    """Put a counting encoder in the place of model_name and ask for every further block."""
    encoder = FakeEncoder(dim=FAKE_DIM)

    def open_fake(settings: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, Any]:
        encoder.opened += 1
        return settings["model_name"], encoder

    monkeypatch.setattr(llm_embedding, "open_encoder", open_fake)
    config |= {"model_name": "tests/fake", "text_blocks": "lsa,names,tags", "lsa_dim": LSA_DIM}
    return encoder


def vectors_of(config: dict[str, Any], **changes: Any) -> TextVectors:
    """Load the data and ask for the vectors, as a new process would."""
    changed = {**config, **changes}
    return text_vectors(load_dataset(changed), changed, "cpu")


def parts(vectors: TextVectors, side: str = "items") -> dict[str, np.ndarray]:
    """Cut the columns of a side into its blocks."""
    ends = np.cumsum(list(vectors.blocks.values()))
    assert ends[-1] == vectors.items.shape[1] == vectors.users.shape[1]
    return dict(zip(vectors.blocks, np.split(getattr(vectors, side), ends[:-1], axis=1), strict=True))


def sidecar_path(config: dict[str, Any], side: str) -> Path:
    return Path(config["saved_dir"]) / f"{side}_llm_embeddings.npy.json"


def replace_in(config: dict[str, Any], old: str, new: str) -> None:
    path = Path(config["data_dir"]) / "anime.tsv"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def refuse(*args: Any) -> Any:
    raise AssertionError("a text was to be encoded")


# --- what a block is made of ---


def test_titles_are_the_blocks_side_by_side(config: dict[str, Any], fake: FakeEncoder) -> None:
    dataset, vectors = load_dataset(config), vectors_of(config)
    found = parts(vectors)
    assert list(found) == BLOCKS
    np.testing.assert_array_equal(found["encoder"], [fake.of(text) for text in dataset.item_texts])
    expected = {
        "lsa": lsa_encoder(dataset.item_texts, LSA_DIM)(dataset.item_texts),
        "names": lsa_encoder(dataset.item_names, BLOCK_DIMS["names"], (2, 4))(dataset.item_names),
        "tags": tag_encoder(dataset.item_tags, BLOCK_DIMS["tags"])(dataset.item_tags),
    }
    for name, of_block in expected.items():
        np.testing.assert_allclose(found[name], of_block, atol=1e-6)
    assert vectors.info["blocks"] == vectors.blocks == {name: part.shape[1] for name, part in found.items()}
    assert vectors.info["dim"] == vectors.items.shape[1]


@pytest.mark.parametrize("side", ["item", "user"])
def test_the_sidecar_names_the_blocks(config: dict[str, Any], fake: FakeEncoder, side: str) -> None:
    vectors = vectors_of(config)
    about = json.loads(sidecar_path(config, side).read_text(encoding="utf-8"))
    assert {block["name"]: block["dim"] for block in about["blocks"]} == vectors.blocks
    assert [block["name"] for block in about["blocks"]] == BLOCKS
    assert about["model_name"] == config["model_name"] != about["blocks"][-1]["model_name"]
    saved = np.load(Path(config["saved_dir"]) / f"{side}_llm_embeddings.npy")
    np.testing.assert_array_equal(saved, vectors.items if side == "item" else vectors.users)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("story of 7\n", "another story\n", {"encoder", "lsa"}),
        ("title 7\t", "seventh\t", {"encoder", "lsa", "names"}),
        ('title 7\t"[""tag2"", ""tag0""]"', 'title 7\t"[""tag3"", ""tag0""]"', {"encoder", "lsa", "tags"}),
    ],
    ids=["summary", "name", "tags"],
)
def test_a_block_reads_its_own_source_alone(
    config: dict[str, Any], fake: FakeEncoder, old: str, new: str, changed: set[str]
) -> None:
    before = parts(vectors_of(config))
    replace_in(config, old, new)
    after = parts(vectors_of(config))
    moved = {
        name
        for name in BLOCKS
        if before[name].shape != after[name].shape or not np.allclose(before[name][7], after[name][7], atol=1e-4)
    }
    assert moved == changed


def test_a_block_the_data_have_nothing_of_is_left_out(config: dict[str, Any], fake: FakeEncoder) -> None:
    dataset = load_dataset(config)
    bare = dataclasses.replace(dataset, item_tags=[""] * dataset.n_items)
    assert list(text_vectors(bare, config, "cpu").blocks) == ["encoder", "lsa", "names"]
    assert list(vectors_of(config, text_blocks="tags").blocks) == ["encoder", "tags"]


def test_lsa_stands_beside_no_lsa(config: dict[str, Any]) -> None:
    """Nor where it is the fallback of an encoder out of reach."""
    assert list(vectors_of(config, model_name="lsa", text_blocks="lsa,names").blocks) == ["encoder", "names"]


def test_tags_that_no_two_titles_share_say_nothing() -> None:
    corpus = [f"tag {number}" for number in range(60)]
    assert np.isfinite(tag_encoder(corpus, 8)(corpus)).all()


# --- users ---


def test_users_names_and_tags_are_those_of_their_train_titles(config: dict[str, Any], fake: FakeEncoder) -> None:
    dataset, vectors = load_dataset(config), vectors_of(config)
    items, users = parts(vectors), parts(vectors, "users")
    assert set(dataset.user_comments.user_ids) == set(range(dataset.n_users)), "all wrote something"
    for user in range(dataset.n_users):
        train = dataset.train[user].indices
        held_out = (dataset.valid + dataset.test)[user].indices
        assert held_out.size
        for name in ("names", "tags"):
            np.testing.assert_allclose(users[name][user], items[name][train].mean(axis=0), atol=1e-6)
            assert not np.allclose(users[name][user], items[name][[*train, *held_out]].mean(axis=0), atol=1e-3)


def test_a_held_out_titles_marker_does_not_arrive(config: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    write_tsv(
        tmp_path / "few",
        "anime.tsv",
        [
            (f"s{i}", name, f'["{name}"]', "")
            for i, name in enumerate(["robots", "magic", "school", "MARKER", "MARKER TOO"])
        ],
    )
    rows = [
        (f"u{user}", f"s{item}", 5, "" if user else "a comment", f"2020-01-0{1 + item}")
        for user in range(2)
        for item in range(5)
    ]
    write_tsv(tmp_path / "few", "interactions.tsv", rows)
    config |= {"data_dir": str(tmp_path / "few"), "valid_ratio": 0.2, "test_ratio": 0.2}
    dataset, vectors = load_dataset(config), vectors_of(config)
    assert dataset.train.toarray().tolist() == [[1, 1, 1, 0, 0]] * 2
    # the five bags of tags are orthogonal
    likeness = parts(vectors, "users")["tags"] @ parts(vectors)["tags"].T
    np.testing.assert_allclose(likeness, [[1 / 3, 1 / 3, 1 / 3, 0, 0]] * 2, atol=1e-6)


def test_users_names_follow_their_train_titles(config: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    """With the same comments in train and another split, a title that is held out now must not stay in the mean."""
    write_tsv(tmp_path / "few", "anime.tsv", [(f"s{i}", f"name {i}", "", "") for i in range(4)])
    config |= {"data_dir": str(tmp_path / "few")}
    for titles in ((0, 1), (0, 2)):
        write_tsv(
            tmp_path / "few",
            "interactions.tsv",
            [("u", f"s{item}", 5, "" if item else "a comment", "") for item in titles],
        )
        vectors = vectors_of(config)
        expected = parts(vectors)["names"][list(titles)].mean(axis=0)
        np.testing.assert_allclose(parts(vectors, "users")["names"][0], expected, atol=1e-6)


# --- the cache ---


def test_a_second_call_encodes_nothing(
    config: dict[str, Any], fake: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vectors_of(config)
    for name in ("open_encoder", "lsa_encoder", "tag_encoder"):
        monkeypatch.setattr(llm_embedding, name, refuse)
    second = vectors_of(config)
    np.testing.assert_array_equal(second.items, first.items)
    np.testing.assert_array_equal(second.users, first.users)
    assert (second.blocks, second.info["texts_encoded"]) == (first.blocks, 0)
    assert second.info["digest"] == first.info["digest"]


def test_a_changed_title_costs_the_encoder_one_text(config: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    vectors_of(config)
    fake.texts.clear()
    replace_in(config, "story of 7\n", "another story\n")
    second = vectors_of(config)
    assert [text.splitlines()[-1] for text in fake.texts] == ["another story"]
    fresh = vectors_of(config, vectors_dir=str(tmp_path / "fresh"))
    np.testing.assert_allclose(second.items, fresh.items, atol=1e-6)
    np.testing.assert_allclose(second.users, fresh.users, atol=1e-6)


def test_blocks_come_and_go_beside_the_encoders_columns(config: dict[str, Any], fake: FakeEncoder) -> None:
    alone = vectors_of(config, text_blocks="")
    fake.texts.clear()
    both = vectors_of(config)
    again = vectors_of(config, text_blocks="")
    assert (fake.texts, fake.opened) == ([], 1)
    assert (alone.blocks, list(both.blocks)) == ({"encoder": FAKE_DIM}, BLOCKS)
    for side in ("items", "users"):
        np.testing.assert_array_equal(parts(both, side)["encoder"], getattr(alone, side))
        np.testing.assert_array_equal(getattr(again, side), getattr(alone, side))
    assert len({vectors.info["digest"] for vectors in (alone, both)}) == 2


def test_titles_of_one_text_keep_their_own_tags(config: dict[str, Any], fake: FakeEncoder, tmp_path: Path) -> None:
    """A tag of one is the summary of the other."""
    write_tsv(
        tmp_path / "few",
        "anime.tsv",
        [("s0", "first", '["word"]', ""), ("s1", "first", "", "word"), ("s2", "other", '["tag"]', "")],
    )
    write_tsv(tmp_path / "few", "interactions.tsv", [("u", "s0", 5, "", ""), ("u", "s1", 5, "", "")])
    first, second = (vectors_of({**config, "data_dir": str(tmp_path / "few")}) for _ in range(2))
    np.testing.assert_array_equal(second.items, first.items)
