"""What is asked for in words, taken apart in three languages."""

import pytest

from inference.wish_words import Words, read_words, sentences


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("a slow, sad story about robots, no romance", "a slow, sad story about robots", ["romance"]),
        ("No romance or gore", "", ["romance", "gore"]),
        ("Something like Heat but not too violent", "Something like Heat", ["violent"]),
        ("without any harem, with swords", "with swords", ["harem"]),
        ("a school story with no romance but lots of music", "a school story but lots of music", ["romance"]),
        ("space opera, but no war and no politics", "space opera", ["war", "politics"]),
        ("I don't want anything sad, please", "", ["sad"]),
        ("讲机器人的悲伤故事，不要恋爱", "讲机器人的悲伤故事", ["恋爱"]),
        ("不要恋爱和后宫", "", ["恋爱", "后宫"]),
        ("没有恋爱的机甲番", "机甲番", ["恋爱"]),
        ("治愈，别太虐", "治愈", ["虐"]),
        ("除了机甲以外的科幻", "科幻", ["机甲"]),
        ("ロボットの悲しい話、恋愛なし", "ロボットの悲しい話", ["恋愛"]),
        ("恋愛要素抜きで、静かな話", "静かな話", ["恋愛"]),
        ("ホラー以外", "", ["ホラー"]),
    ],
)
def test_what_is_not_wanted_is_parted_from_what_is(text: str, wanted: str, unwanted: list[str]) -> None:
    assert read_words(text) == Words(wanted, tuple(unwanted))


@pytest.mark.parametrize(
    "text",
    [
        "not only romance but robots",
        "no longer young heroes",
        "She does not know who she is, not knowing why",
        "A man who has nothing left",
        "不可思议的故事",
        "无口少女",
        "离别的故事",
        "かなしいはなし",
        "eine Geschichte ohne Liebe",
    ],
)
def test_words_that_only_look_like_a_no_are_wanted(text: str) -> None:
    assert read_words(text) == Words(text, ())


@pytest.mark.parametrize("text", ["", "  ", "please", ",", "、"])
def test_nothing_is_nothing(text: str) -> None:
    assert read_words(text) == Words("", ())


def test_sentences_end_at_marks_of_either_script() -> None:
    assert sentences('One. "Two!" Three? Mr') == ["One.", '"Two!"', "Three?", "Mr"]
    assert sentences("一句。二句！「三句。」四句") == ["一句。", "二句！", "「三句。」", "四句"]
    assert sentences("a\n\nb\n") == ["a", "b"]
    assert sentences("") == []
