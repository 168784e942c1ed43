"""recommend.py: what is refused, and help."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import recommend
from inference import top_k
from runtime.cli import run_script
from tests.helpers.recommend import listed

Call = Callable[..., tuple[int, str, str]]
N_ITEMS = 30


# --- what is refused ---


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--user", "u1", "--similar", "s1"), "--user and --similar ask for two things"),
        (("--export", "x", "--users", "y"), "--users and --export ask for two things"),
        (("--export", "x", "--k", "3"), "--k does not go with --export"),
        (("--similar", "s1", "--out", "x.csv"), "--out does not go with --similar"),
        (("--new_item", "x", "--out", "x.csv"), "--out does not go with --new_item"),
        (("--new",), "--new alone does not say for whom; it goes with --user, --new_user"),
        (("--tags", "tag1"), "--tags alone does not say for whom"),
        (("--min_year", "2000"), "--min_year alone does not say for whom"),
        (("--user", "u1", "--min_year", "2001", "--max_year", "2000"), "--min_year 2001 is after --max_year 2000"),
        (("--user", "u1", "--min_year", "then"), "--min_year: invalid int value: 'then'"),
        (("--user",), "--user: expected one argument"),
        (("--out", "lists.xml"), "let it end in one of: .json, .jsonl, .csv, .tsv, .parquet"),
        (("--user", "u1", "--k", "99"), "--k asks for 99 titles, but the data have 30"),
        (("--user", "u1", "--k", "x"), "--k: 'x' is not a whole number"),
        (("--user", "u333"), "no user 'u333' in this run; the nearest are u33"),
        (("--similar", "s333"), "no title 's333' in this run; the nearest are"),
        (("--new_user", "nothing,nobody"), "no title 'nothing' in this run; nothing in it is near"),
        (("--new_user", ""), "names nothing"),
        (("--new_user", "list.xlsx"), "list.xlsx is missing, and no title is called so; name an exported list"),
        (("--new_user", "./my list"), "my list is missing, and no title is called so"),
        (("--user", "u1", "--tags", "tagg1"), "no title has the tag 'tagg1'; the nearest are tag1"),
        (("--user", "u1", "--tags", "tag1", "--not_tags", "tag1"), "no title has all that is asked of it"),
        (("--users", "no file"), "no file is missing; --users names a file"),
        (("--user", "u1", "--lr", "x"), "lr takes a number, not 'x'"),
        (("--similer", "s1"), "unknown flag '--similer'; the nearest is --similar"),
    ],
)
def test_bad_input_is_one_sentence(call: Call, words: tuple[str, ...], told: str) -> None:
    code, _, error = call(*words)
    assert code == 2
    assert told in error
    assert error.startswith("error: ")
    assert "everybody" not in error
    assert error.count("\n") == 1


def test_without_k_a_list_is_as_long_as_the_data_allow(call: Call) -> None:
    assert len(listed(call("--new_user", "s1", "--recommend_k", "99")[1])) == N_ITEMS - 1


def test_a_year_of_0_or_1_is_a_year(call: Call) -> None:
    assert "no title has all" in call("--user", "u1", "--max_year", "0")[2]
    assert "--max_year alone does not say for whom" in call("--max_year", "0")[2]


def test_users_of_whom_none_is_known(call: Call, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("x\ny\n", encoding="utf-8")
    assert "none of the 2 lines" in call("--users", str(tmp_path / "ids"))[2]


def test_without_pyarrow_parquet_is_refused_before_anything_is_loaded(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k, "find_spec", lambda name: None)
    monkeypatch.setattr(recommend, "load_finished", None)
    code, _, error = call("--out", "inference.top_k.parquet")
    assert code == 2
    assert "pip install pyarrow, or write one of: .json" in error


def test_without_a_run_the_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recommend.py", "--saved_dir", str(tmp_path)])
    assert run_script(recommend.main) == 2
    assert "run python main.py" in capsys.readouterr().err


def test_every_flag_is_answered_or_stands_beside_one_that_is() -> None:
    assert set(recommend.ANSWERS) == set(recommend.BESIDE)
    flags = set(vars(recommend.FLAGS.parse_args([])))
    assert flags | {"everybody"} == {*recommend.BESIDE, *sum(recommend.BESIDE.values(), ())}


def test_a_chinese_terminal_reads_one_chinese_sentence(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    code, printed, said = call("--user", "u333")
    assert code == 2
    assert printed.startswith("数据，划分 user_time：400 行记录，40 位用户，30 部作品，400 条正例，")
    assert re.fullmatch("错误：本次运行中没有用户 'u333'；最接近的是 [^\\n]*\n", said)
    code, printed, said = call("--user", "u3", "--why")
    assert "\n给 Ann（u3）：\n" in printed
    assert "because of" not in printed
    assert "因为 " in printed
