"""What the scripts print in Chinese: every message has its translation, and an English terminal sees none of them."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli import worded
from runtime.language import PLACE, can_show, in_chinese, of_terminal, read_catalogue
from tests.helpers.messages import ROOT, Source, of_template

CATALOGUE = read_catalogue()
SOURCE = Source()
# what stays English, and why
ENGLISH = {
    "{} must be a float32 matrix of ones of shape {}, not {}": "only code that makes a Dataset itself can see it",
    "{} must be one for each of the {} pairs of seen, not {}": "only code that makes a Dataset itself can see it",
    "a pair of train, valid or test is missing in seen": "only code that makes a Dataset itself can see it",
    "train, valid, test, excluded and the cold parts share a pair; they must be disjoint": "the same",
    "true | false": "words to type",
}
# beginnings of what is no sentence: a query in another language, and LaTeX in a table
NO_WORDS = ("user { name mediaListOptions", "\\begin{table}", "\\end{table}", "% in the preamble")

# entries of parts, which the source has apart
JOINED = {"new titles for {} ({})", "resuming after epoch {} and {} steps from {} (to start over: --resume never)"}
JOINED |= {f"{group} ({{}} titles)" for group in ("head", "tail", "cold")}
# in the modules of the report: a flag, a key, and a time
NOT_WORDED = {"--only popularity,ease,ease_text,sum-both", "cold n items", "{} UTC"}
# what names a figure by the keys that lead to it, as rated.liked.n_pairs
NAME_OF_FIGURE = re.compile(
    r"(cold|listed|rated|beyond|test)( among (cold|all)| warm| joint| (dis)?liked| loved)?"
    r"( n (pairs|users|rated)| mean z( of all)?| share| [A-Z]\w*(@\{\})?)?"
)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script with nothing of this process's language."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=kept | environment, capture_output=True, check=False)


# --- the catalogue ---


def test_every_message_has_its_chinese() -> None:
    lacking = [
        f"{template}\t"
        for template, (_, is_whole) in sorted(SOURCE.messages().items())
        if template not in CATALOGUE
        and (is_whole or not any(template in english for english in CATALOGUE))
        and template not in ENGLISH
        and not template.startswith(NO_WORDS)
    ]
    assert not lacking, "add to runtime/messages_zh.tsv, with the Chinese after the tab:\n" + "\n".join(lacking)


def test_all_that_a_report_says_has_its_chinese() -> None:
    fixed = {text: text.removesuffix("@{}").removesuffix(" {}") for text in SOURCE.of_report()}  # of a figure's name
    lacking = [
        text
        for text, words in fixed.items()
        if text not in NOT_WORDED and not any(words in english for english in CATALOGUE)
    ]
    lacking += [text for text in of_template() if text not in CATALOGUE]
    assert not lacking, "add to runtime/messages_zh.tsv, with the Chinese after the tab:\n" + "\n".join(lacking)


def test_no_entry_outlives_its_message() -> None:
    texts = set(SOURCE.messages()) | {*SOURCE.of_report(), *of_template()}
    for module in SOURCE.modules.values():
        texts |= {node.value for node in ast.walk(module) if isinstance(node, ast.Constant) and type(node.value) is str}
    every = "\n".join(texts) + "\n".join(texts).replace("_", " ")
    dead = [
        english
        for english in CATALOGUE
        if english not in texts | JOINED
        and not NAME_OF_FIGURE.fullmatch(english)
        and not all(piece.strip(" ;,:") in every for piece in english.split("{}"))
    ]
    assert not dead, "delete from runtime/messages_zh.tsv:\n" + "\n".join(dead)


def test_no_exception_outlives_its_message() -> None:
    assert set(ENGLISH) <= set(SOURCE.messages())


@pytest.mark.parametrize("english", CATALOGUE)
def test_the_chinese_has_what_is_put_in(english: str) -> None:
    places = {int(place[1]) for place in PLACE.finditer(CATALOGUE[english])}
    assert places == set(range(1, english.count("{}") + 1))
    assert "{}" not in CATALOGUE[english].replace('{"', "")


def test_each_english_sentence_stands_once() -> None:
    lines = (ROOT / "runtime" / "messages_zh.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == len(CATALOGUE)
    assert all(line.count("\t") == 1 for line in lines)


# --- how it is applied ---


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("epoch   3  loss 0.1234  0.5 s", "轮次   3  损失 0.1234  0.5 秒"),
        ("epoch   3  loss 0.1  0.5 s  valid NDCG@20 0.2 *", "轮次   3  损失 0.1  0.5 秒  验证集 NDCG@20 0.2 *"),
        ("error: lr is -1.0; it must be above 0", "错误：lr 为 -1.0；必须大于 0"),
        ("data, split random: 30 users, 1,234 items", "数据，划分 random：30 位用户，1,234 部作品"),
        (
            "error: there is no user 'A; B' in this run; the nearest are 'above 0' (3)",
            "错误：本次运行中没有用户 'A; B'；最接近的是 'above 0' (3)",
        ),
        (
            "error: a/b.json cannot be written (No space left on device); free some space, or name another disk. "
            "What was there before stays",
            "错误：无法写入 a/b.json（No space left on device）；请腾出空间，或换一块磁盘。原有内容不变",
        ),
        (
            "d/anime.tsv gives the split, and valid is drawn from its train part at random; min_rate and test_ratio "
            "are ignored",
            "划分由 d/anime.tsv 给出，验证集从其训练部分随机抽取；忽略 min_rate 和 test_ratio",
        ),
        ("!!! text vectors are those of 'lsa', not of 'x'", "!!! 文本向量来自 'lsa'，而不是 'x'"),
        ("\n  there is none", "\n  无"),
    ],
)
def test_sentences_and_their_parts(english: str, chinese: str) -> None:
    assert in_chinese(english) == chinese


def test_a_table_keeps_its_columns() -> None:
    line = in_chinese(f"{'test, all titles':28s}" + "      @10")
    assert line.startswith("测试集，所有作品  ")
    assert line.endswith(" " * 6 + "@10")
    assert len(line) + len("测试集，所有作品") == 28 + 9


@pytest.mark.parametrize(
    "text",
    [
        "  1.   0.812  because of you (12)",
        "  2.   0.8  nothing in it is near; give me (a part of a name, or an id of anime.tsv)",
        "Some line of another program",
        "",
        "\n\n",
        "{1!} {}",
        '{\n "wrong": "above 0; running",\n "more": "a cannot be read (b); ask again"\n}',
        "x" * 20_000,
        "\nThe runs:\n\n| row | NDCG |\n| --- | ---: |\n| a | 0.1 |\n\n- joint: up to 20 titles",
    ],
)
def test_what_is_no_message_stays(text: str) -> None:
    assert in_chinese(text) == text


def test_a_name_that_reads_like_a_message_stays() -> None:
    assert in_chinese("for above 0 (users):") == "给 above 0（users）："
    assert in_chinese("because of running; in spite of fetched") == "因为 running；尽管 fetched"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
    ],
)
def test_the_terminal_says_its_language(environment: dict[str, str], language: str) -> None:
    assert of_terminal(environment) == language


def test_only_a_stream_that_can_show_chinese_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["main.py", "--lang", "zh"])
    said = {}
    for encoding in ("utf-8", "gb18030", "ascii", "latin-1"):
        with (tmp_path / encoding).open("w", encoding=encoding) as stream:
            said[encoding] = worded("lsa: fitting to 3 texts", stream)
            assert can_show(stream) == (encoding in ("utf-8", "gb18030"))
    assert said["utf-8"] == said["gb18030"] == "lsa：正在拟合 3 条文本"
    assert said["ascii"] == said["latin-1"] == "lsa: fitting to 3 texts"


@pytest.mark.parametrize(
    ("argv", "begins"),
    [
        (["--lang", "zh"], "错误："),
        (["--lang=zh"], "错误："),
        (["--lang", "en"], "error: "),
        ([], "error: "),
        (["--config", "FILE"], "错误："),
        (["--config", "missing.json"], "error: "),
    ],
)
def test_the_command_line_outranks_the_terminal(
    argv: list[str], begins: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "own.json"
    file.write_text('{"lang": "zh"}', encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["main.py", *(str(file) if word == "FILE" else word for word in argv)])
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        assert worded("error: lr is 0.0; it must be above 0", stream).startswith(begins)


# --- scripts, which a mistyped command line ends before they import torch ---


def test_an_error_is_one_chinese_sentence() -> None:
    done = run(
        "recommend.py", "--bom", "--user", "1", "--fusion_mod", "sum", LANG="zh_CN.UTF-8", PYTHONIOENCODING="utf-8"
    )
    assert done.returncode == 2
    expected = "错误：没有参数 '--fusion_mod'；最接近的是 --fusion_mode（--help all 列出全部）\n"
    assert done.stderr.decode("utf-8") == expected.replace("\n", os.linesep)


@pytest.mark.parametrize("environment", [{"LANG": "C"}, {"LANG": "zh_CN.UTF-8", "PYTHONIOENCODING": "ascii"}])
def test_a_terminal_without_chinese_gets_english(environment: dict[str, str]) -> None:
    done = run("main.py", "--epochs", "-1", **environment)
    assert (done.returncode, done.stderr.split()) == (2, b"error: epochs is -1; it must be at least 1".split())


def test_english_is_what_it_was_to_the_byte() -> None:
    spoken, plain = (
        run("main.py", "--lr", "0", *words, LANG=name, PYTHONIOENCODING="utf-8")
        for words, name in (((), "en_US.UTF-8"), (("--lang", "en"), "zh_CN.UTF-8"))
    )
    assert spoken.stderr == plain.stderr == b"error: lr is 0.0; it must be above 0" + os.linesep.encode()


def test_help_is_english_and_says_so() -> None:
    done = run("main.py", "--help", "lang", LANG="zh_CN.UTF-8", PYTHONIOENCODING="utf-8")
    assert b"English" in done.stdout
    assert not re.search(rb"[^\x00-\x7f]", done.stdout)
