"""Which script a text is written in, and when it is foreign to others."""

import numpy as np
import pytest

from text.languages import SAME, without_language
from text.scripts import is_foreign, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("A slow story.", "LATIN"),
        ("Ｆａｔｅ", "LATIN"),
        ("讲机器人的故事 TV", "CJK"),
        ("機動戦士ガンダム", "KANA"),
        ("進撃の巨人", "KANA"),
        ("나의 히어로", "HANGUL"),
        ("Наруто", "CYRILLIC"),
        ("2016!", ""),
        ("", ""),
    ],
)
def test_a_script_is_that_of_most_letters_and_kana_make_it_japanese(text: str, script: str) -> None:
    assert script_of(text) == script


def test_a_text_is_foreign_where_hardly_any_other_is_in_its_script() -> None:
    chinese = ["CJK"] * 99
    assert is_foreign("an English text", [*chinese, "LATIN"])
    assert not is_foreign("an English text", [*chinese[:90], *["LATIN"] * 9])
    assert not is_foreign("一个故事", chinese)
    assert not is_foreign("2016", chinese)
    assert not is_foreign("an English text", ["", ""])


# --- what a language adds ---


def speaking(texts: list[str], as_query: bool = False) -> np.ndarray:
    """Encode what a text says by its place in SAME, and its language by a part in common."""
    said = {text: place for same in SAME.values() for place, text in enumerate(same)}
    rows = np.zeros((len(texts), 16), np.float32)
    for row, text in enumerate(texts):
        rows[row, said.get(text, 0)] = 1
        rows[row, 12 + [*SAME].index(script_of(text))] = 2
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_foreign_text_comes_to_what_says_the_same() -> None:
    chinese, english = [*SAME["CJK"]], [*SAME["LATIN"]]
    titles, found = speaking(chinese), speaking(english)
    moved = without_language(speaking, english, found, ["CJK"] * 30)
    assert (moved @ titles.T).diagonal() == pytest.approx(1, abs=1e-5)
    assert (found @ titles.T).diagonal().max() < 0.5
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)


def test_what_is_not_foreign_or_of_an_unknown_language_stays() -> None:
    english = [*SAME["LATIN"]]
    found = speaking(english)
    for scripts in (["LATIN"] * 9, ["CJK", "LATIN"] * 9, ["HANGUL"] * 9, ["", ""], []):
        np.testing.assert_array_equal(without_language(speaking, english, found, scripts), found)
    nothing = np.zeros_like(found)
    np.testing.assert_array_equal(without_language(speaking, english, nothing, ["CJK"] * 9), nothing)


def test_the_same_is_said_in_each_language() -> None:
    assert len({len(same) for same in SAME.values()}) == 1
    assert all(script_of(text) == script for script, same in SAME.items() for text in same)
