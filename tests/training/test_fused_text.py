"""How the text vectors of several blocks are fused: whitened apart, weighed, sides switched off."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import llm_embedding
from llm_embedding import BLOCK_WEIGHTS, TextVectors, fused_text
from text import whitening
from text.whitening import whitened

WIDTHS = {"encoder": 6, "lsa": 4, "names": 5, "tags": 3}
N_USERS, SILENT_USER, SILENT_ITEMS = 20, 5, [3, 4]
OTHERS = np.delete(np.arange(30), SILENT_ITEMS)


@pytest.fixture
def vectors() -> TextVectors:
    """Draw titles around a mean, of other lengths in each block, and users as means of titles; some without any."""
    rng = np.random.default_rng(0)
    items = np.concatenate(
        [
            scale * (1 + rng.normal(size=(30, width)))
            for scale, width in zip((1, 7, 0.1, 3), WIDTHS.values(), strict=True)
        ],
        axis=1,
    ).astype(np.float32)
    items[SILENT_ITEMS] = 0
    users = np.stack([items[rng.choice(OTHERS, 3)].mean(axis=0) for _ in range(N_USERS)])
    users[SILENT_USER] = 0
    return TextVectors(items, users, {}, dict(WIDTHS))


def parts(both: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cut (N, L) into the users' and the titles' rows of each block."""
    ends = np.cumsum(list(WIDTHS.values()))
    return {
        name: (part[:N_USERS], part[N_USERS:])
        for name, part in zip(WIDTHS, np.split(both, ends[:-1], axis=1), strict=True)
    }


def raw(vectors: TextVectors) -> np.ndarray:
    return np.concatenate([vectors.users, vectors.items])


@pytest.mark.parametrize("whiten", [False, True])
def test_titles_rows_of_a_block_are_as_long_as_it_weighs(
    config: dict[str, Any], vectors: TextVectors, whiten: bool
) -> None:
    fused = fused_text(vectors, {**config, "whiten": whiten})
    assert fused.dtype == np.float32
    assert fused.shape == raw(vectors).shape
    for name, (users, items) in parts(fused).items():
        np.testing.assert_allclose(np.linalg.norm(items[OTHERS], axis=1), BLOCK_WEIGHTS[name], rtol=1e-4)
        assert not items[SILENT_ITEMS].any()
        assert not users[SILENT_USER].any()
        assert (np.delete(users, SILENT_USER, axis=0) != 0).any(axis=1).all()


@pytest.mark.parametrize("n_rows", [1, 7, 24])
def test_parts_of_the_rows_are_fused_as_all_of_them(
    config: dict[str, Any], vectors: TextVectors, n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a part in which users end and titles begin."""
    at_once = fused_text(replace(vectors), {**config, "whiten": True})
    monkeypatch.setattr(whitening, "PART_ROWS", n_rows)
    np.testing.assert_allclose(fused_text(vectors, {**config, "whiten": True}), at_once, atol=1e-6)


@pytest.mark.parametrize("whiten", [False, True])
def test_a_block_is_scaled_and_not_turned(config: dict[str, Any], vectors: TextVectors, whiten: bool) -> None:
    """Users by one number a block: how decided their titles are is theirs. Whitening is that of the block alone."""
    fused, before = parts(fused_text(vectors, {**config, "whiten": whiten})), parts(raw(vectors))
    for name, (users, items) in before.items():
        if whiten and name == "tags":  # of a bag of tags what is rare counts already
            there, mean = (lambda part: part.any(axis=1, keepdims=True)), items[OTHERS].mean(axis=0)
            users, items = (users - mean) * there(users), (items - mean) * there(items)
        elif whiten:
            users, items = whitened(users, items), whitened(items, items)
        lengths = np.linalg.norm(items[OTHERS], axis=1, keepdims=True)
        np.testing.assert_allclose(fused[name][1][OTHERS], BLOCK_WEIGHTS[name] * items[OTHERS] / lengths, atol=1e-5)
        np.testing.assert_allclose(fused[name][0], BLOCK_WEIGHTS[name] * users / lengths.mean(), atol=1e-5)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("blocks", [dict(WIDTHS), {}], ids=["blocks", "one block"])
def test_a_side_switched_off_brings_zeros(
    config: dict[str, Any], vectors: TextVectors, whiten: bool, blocks: dict[str, int]
) -> None:
    both, no_users, no_items = (
        fused_text(replace(vectors, blocks=blocks), {**config, "whiten": whiten, **off})
        for off in ({}, {"use_user_llm": False}, {"use_item_llm": False})
    )
    assert not no_users[:N_USERS].any()
    assert not no_items[N_USERS:].any()
    np.testing.assert_array_equal(no_users[N_USERS:], both[N_USERS:])
    np.testing.assert_array_equal(no_items[:N_USERS], both[:N_USERS])
    assert both[:N_USERS].any()
    assert both[N_USERS:].any()


def test_a_single_block_is_weighed_by_nothing(config: dict[str, Any], vectors: TextVectors) -> None:
    for blocks in ({}, {"encoder": 18}):
        single = replace(vectors, blocks=blocks)
        np.testing.assert_array_equal(fused_text(single, {**config, "whiten": False}), raw(vectors))
        np.testing.assert_allclose(
            fused_text(single, {**config, "whiten": True}), whitened(raw(vectors), vectors.items), atol=1e-6
        )


def test_users_of_titles_without_text_stay_finite(config: dict[str, Any], vectors: TextVectors) -> None:
    """Where nothing but comments brings text in a block, no length is divided by."""
    fused = fused_text(replace(vectors, items=np.zeros_like(vectors.items)), {**config, "whiten": False})
    assert np.isfinite(fused).all()
    assert fused[:N_USERS].any()
    assert not fused[N_USERS:].any()


def test_the_work_is_done_once_for_all_settings_of_the_sides(
    config: dict[str, Any], vectors: TextVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    config["whiten"] = True
    expected = fused_text(replace(vectors), config)
    fused_text(vectors, {**config, "use_user_llm": False})[:] = 7  # a copy, where a side is off
    monkeypatch.setattr(llm_embedding, "whitening", lambda *args: pytest.fail("whitened again"))
    np.testing.assert_array_equal(fused_text(vectors, config), expected)
    no_items = fused_text(vectors, {**config, "use_item_llm": False})
    np.testing.assert_array_equal(no_items[:N_USERS], expected[:N_USERS])
    assert not no_items[N_USERS:].any()
    raw_text = fused_text(vectors, {**config, "whiten": False})
    assert not np.allclose(raw_text, expected)
