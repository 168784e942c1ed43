"""recommend.py --wish: alone, beside a user and somebody new, with filters, reasons and files; what is refused."""

import json
from pathlib import Path

import pytest

from tests.helpers.recommend import Call, listed


def test_words_alone_give_a_list_and_say_what_was_understood(call: Call) -> None:
    code, out, err = call("--wish", "tag2, no tag3", "--k", "4")
    assert code == 0, err
    assert "for anybody, who asks for “tag2”, not “tag3”:" in out
    assert len(listed(out)) == 4
    rows = [int(raw[1:]) for raw in listed(out)]
    assert all(2 in (row % 5, row % 7) and 3 not in (row % 5, row % 7) for row in rows)
    assert "words are looked for as they are written, not by what they mean" in out + err


def test_beside_a_user_words_count_as_asked(call: Call) -> None:
    plain = listed(call("--user", "u3", "--k", "5")[1])
    by_taste = listed(call("--user", "u3", "--k", "5", "--wish", "tag2", "--wish_weight", "0")[1])
    both = call("--user", "u3", "--k", "5", "--wish", "tag2")[1]
    assert by_taste == plain != listed(both)
    assert "for Ann (u3), who asks for “tag2”:" in both


def test_somebody_new_with_filters_and_reasons(call: Call, tmp_path: Path) -> None:
    words = ("--new_user", "s1,s2", "--wish", "story of 7", "--why", "--tags", "tag1", "--k", "3")
    code, out, err = call(*words)
    assert code == 0, err
    assert "in it: story of" in out
    assert "words " in out
    assert all(1 in (int(raw[1:]) % 5, int(raw[1:]) % 7) for raw in listed(out))
    file = tmp_path / "list.json"
    assert call(*words, "--out", str(file))[0] == 0
    [titles] = json.loads(file.read_text(encoding="utf-8")).values()
    assert titles[0]["says"].startswith("story of")
    assert sum(titles[0]["parts"].values()) == pytest.approx(titles[0]["score"], abs=1e-3)


def test_reasons_of_words_alone_name_no_title(call: Call) -> None:
    out = call("--wish", "story of 7", "--why", "--k", "2")[1]
    assert "in it: story of 7" in out
    assert "because of" not in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--wish", "x", "--similar", "s1"), "--wish does not go with --similar"),
        (("--wish", "x", "--users", "f"), "--wish does not go with --users"),
        (("--wish", "x", "--taste", "1"), "--taste does not go with --wish"),
        (("--user", "u1", "--wish_weight", "0.5"), "--wish_weight is for what --wish asks; add --wish"),
        (("--wish", "x", "--wish_weight", "0.5"), "--wish_weight does not go with --wish"),
        (("--wish", "please"), "nothing is asked for"),
        (("--wish", "ЖЖЖ"), "nothing is known of 'ЖЖЖ'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(call: Call, words: tuple[str, ...], told: str) -> None:
    code, _, error = call(*words)
    assert code == 2
    assert told in error
    assert error.count("\n") == 1
