"""Which script a text is written in, and when it is foreign to others."""

import pytest

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
