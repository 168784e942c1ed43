"""The command line: its forms, files of settings, help and exit codes."""

import ast
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import config as config_module
from config import CALL_KEYS, CONFIG, PRESETS, RUNTIME_KEYS, SETTINGS, get_config, trained_settings
from runtime.cli import Flags, answer_early, explain, parse_overrides, run_script, whole_number
from runtime.settings import as_argument
from tests.helpers.config import help_of

ROOT = Path(config_module.__file__).parent


def as_text(value: Any) -> str:
    """Write a value as a person would on the command line."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- command line ---


def test_no_words_no_overrides() -> None:
    assert parse_overrides([]) == {}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--lr", "0.01"], {"lr": 0.01}),
        (["--lr=0.01"], {"lr": 0.01}),
        (["--lr", "1"], {"lr": 1.0}),
        (["--epochs", "7", "--split=random"], {"epochs": 7, "split": "random"}),
        (["--top_k", "5,10"], {"top_k": [5, 10]}),
        (["--top_k=5"], {"top_k": [5]}),
        (["--data_dir=a=b"], {"data_dir": "a=b"}),
        (["--data_dir", "a=b"], {"data_dir": "a=b"}),
        (["--vectors_dir="], {"vectors_dir": ""}),
        (["--vectors_dir", ""], {"vectors_dir": ""}),
        (["--data_dir", "/tmp/x y"], {"data_dir": "/tmp/x y"}),
        (["--data_dir", "007"], {"data_dir": "007"}),
        (["--use_user_llm", "false"], {"use_user_llm": False}),
        (["--use_user_llm=True"], {"use_user_llm": True}),
        (["--use_item_llm", "FALSE"], {"use_item_llm": False}),
        (["--preset", "tuned"], {"preset": "tuned"}),
        (["--preset=tuned", "--epochs=2"], {"preset": "tuned", "epochs": 2}),
    ],
)
def test_forms_of_the_command_line(argv: list[str], expected: dict[str, Any]) -> None:
    found = parse_overrides(argv)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize("key", list(CONFIG))
def test_every_key_can_be_set_both_ways(key: str) -> None:
    text = as_text(CONFIG[key])
    for argv in ([f"--{key}", text], [f"--{key}={text}"]):
        found = parse_overrides(argv)[key]
        assert found == CONFIG[key]
        assert type(found) is type(CONFIG[key])


@pytest.mark.parametrize("argv", [["--epochs"], ["--epochs", "--lr", "0.1"], ["--lr", "0.1", "--epochs"]])
def test_missing_value_names_the_key(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="--epochs needs a value"):
        parse_overrides(argv)


@pytest.mark.parametrize("argv", [["--preset"], ["--preset", "--lr", "0.1"]])
def test_missing_preset_name(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="--preset needs a value"):
        parse_overrides(argv)


@pytest.mark.parametrize("argv", [["stray"], ["--lr", "0.1", "stray"], ["stray", "--lr", "0.1"], ["-stray", "1"]])
def test_stray_word_is_named(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="stray"):
        parse_overrides(argv)


@pytest.mark.parametrize("argv", [["--seed", "-1"], ["--seed=-1"]])
def test_negative_seed_is_a_clear_error(argv: list[str]) -> None:
    with pytest.raises(ValueError, match=r"seed .*-1\b.*0 or more"):
        get_config(parse_overrides(argv))


@pytest.mark.parametrize("argv", [["--init_std", "-0.5"], ["--init_std=-0.5"], ["--lr", "-0.5"]])
def test_negative_number_is_a_value_not_a_missing_one(argv: list[str]) -> None:
    with pytest.raises(ValueError, match=r"(init_std|lr) .*-0\.5"):
        get_config(parse_overrides(argv))


@pytest.mark.parametrize(
    ("argv", "key"),
    [
        (["--epochs", "many"], "epochs"),
        (["--epochs=1.5"], "epochs"),
        (["--epochs="], "epochs"),
        (["--lr", "x"], "lr"),
        (["--use_user_llm", "maybe"], "use_user_llm"),
        (["--top_k", "10;20"], "top_k"),
        (["--epochs", "true"], "epochs"),
    ],
)
def test_unreadable_value_names_the_key(argv: list[str], key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} takes"):
        get_config(parse_overrides(argv))


# --- what scripts get beside the dict ---


def test_help_all_names_every_key_and_preset_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(Flags("what it does"), capsys, "all")
    assert [key for key in CONFIG if f"  --{key} " not in text] == []
    assert [name for name in PRESETS if f"\n{name}: " not in text] == []
    assert max(map(len, text.splitlines())) <= 80


def test_settings_are_shown_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    short, common = (help_of(Flags("what it does", shown), capsys) for shown in (False, True))
    assert "--data_dir" not in short
    for key in ("data_dir", "saved_dir", "model_name", "preset", "epochs"):
        assert f"  --{key} " in common
    assert "--lr" not in common
    assert "--help all" in short
    assert "--help all" in common


@pytest.mark.parametrize("key", list(CONFIG))
def test_help_tells_meaning_and_legal_values_of_every_setting(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    setting = next(section[key] for section in SETTINGS.values() if key in section)
    short, long = (" ".join(text.split()) for text in (help_of(Flags(""), capsys, "all"), explain(key)))
    assert setting.meaning in short
    assert setting.meaning in long
    assert setting.legal.words in long
    assert " ".join(setting.more.split()) in long
    assert (as_argument(setting.default) or "empty") in long


# --- a file of settings ---


def test_a_file_outranks_the_preset_and_is_outranked_by_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"lr": 0.5, "epochs": 3, "saved_dir": "there"}', encoding="utf-8")
    words = ["--preset", "tuned", "--config", str(tmp_path / "mine.json"), "--epochs", "4"]
    found = get_config(parse_overrides(words))
    assert [found[key] for key in ("lr", "epochs", "saved_dir", "loss")] == [0.5, 4, "there", "softmax"]


def test_a_runs_metrics_make_that_run_again_elsewhere(tmp_path: Path) -> None:
    once = get_config({"preset": "tuned", "seed": 7, "data_dir": "crawl", "saved_dir": "old", "mode": "inference"})
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {}, "config": once}), encoding="utf-8")
    again = get_config({"config": str(tmp_path / "metrics.json")})
    assert trained_settings(again) == trained_settings(once)
    assert [again[key] for key in ("data_dir", "saved_dir", "mode")] == ["crawl", "saved", "train"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "is missing"),
        ("lr = 3", "is no JSON"),
        ("[1, 2]", "holds no settings"),
        ('{"leer": 1}', "nearest is 'lr'"),
        ('{"lr": "much"}', "lr takes a number"),
    ],
)
def test_a_bad_file_of_settings_is_one_sentence(content: str | None, what: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "mine.json").write_text(content, encoding="utf-8")
    with pytest.raises((OSError, ValueError), match=re.escape(what)):
        get_config({"config": str(tmp_path / "mine.json")})


def test_trained_settings_are_all_but_those_of_a_call() -> None:
    config = get_config()
    kept = trained_settings(config)
    assert set(kept) == set(CONFIG) - CALL_KEYS
    assert all(kept[key] == config[key] for key in kept)
    assert RUNTIME_KEYS.issubset(CONFIG)


def test_run_script_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("too bad")

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["main.py"])
    assert run_script(lambda: None) == 0
    assert run_script(fail) == 2
    assert capsys.readouterr().err == "error: too bad\n"
    assert run_script(interrupt) == 130


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--help"], 0, "--epochs 20"),
        (["--help", "all"], 0, "--embedding_dim 64"),
        (["--lr", "0.1", "--help"], 0, "--epochs 20"),
        (["-h"], 0, "what it does"),
        (["--help", "lr"], 0, "learning rate of Adam"),
        (["--help", "--cold_cost"], 0, "share of valid"),
        (["--help", "lurr"], 2, "the nearest is 'lr'"),
        (["--epoch", "3"], 2, "the nearest is --epochs"),
        (["--lr", "0"], 2, "lr is 0.0; it must be above 0"),
        (["--seed_", "x"], 2, "unknown flag '--seed_'; the nearest is --seed"),
        (["--seeds", "x"], 2, "--seeds: 'x' is not a whole number of at least 1"),
        (["--seeds", "0"], 2, "--seeds: '0' is not a whole number of at least 1"),
        (["--seeds"], 2, "--seeds: expected one argument"),
        (["--sedes", "2"], 2, "the nearest is --seeds"),
        (["--seeds=2", "--epoch", "3"], 2, "the nearest is --epochs"),
    ],
)
def test_help_and_typos_are_answered_early(
    words: list[str], code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["main.py", *words])
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            answer_early(with_seeds())
    finally:
        signal.signal(signal.SIGINT, handler)
    out, err = capsys.readouterr()
    assert ended.value.code == code
    assert told in (err if code else out)
    assert (err.count("\n"), err[:7]) == ((1, "error: ") if code else (0, ""))


def with_seeds() -> Flags:
    flags = Flags("what it does", common=True)
    flags.add_argument("--seeds", type=whole_number(1), default=1)
    return flags


def test_own_flags_and_settings_are_read_in_any_order_and_form() -> None:
    for words in (["--seeds", "3", "--lr", "1"], ["--lr=1", "--seeds=3"]):
        asked, overrides = with_seeds().read(words)
        assert (vars(asked), overrides) == ({"seeds": 3}, {"lr": 1.0})
    assert with_seeds().read([])[0].seeds == 1


def test_right_words_and_a_scripts_own_flags_pass_early(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGINT)
    for words in (["--lr", "0.1", "--preset", "tuned"], ["--seeds", "3", "--lr", "1"]):
        monkeypatch.setattr("sys.argv", ["main.py", *words])
        answer_early(with_seeds())
    signal.signal(signal.SIGINT, handler)


SCRIPTS = [
    path.relative_to(ROOT)
    for room in (".", "studies", "tools", "benchmarks")
    for path in sorted((ROOT / room).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_help_of_every_script(script: Path) -> None:
    """It fits 80 columns, has the script's own flags before any setting, and does not wait for torch."""
    program = (
        "import builtins, runpy, sys\nreal = builtins.__import__\n"
        "def guard(name, *rest):\n    assert not name.startswith(('torch', 'pandas')), name\n"
        "    return real(name, *rest)\n" + "builtins.__import__ = guard\n" * (script.parent == Path())
    )
    run = f"path({str(script)!r}" if script.parent != Path("benchmarks") else f"module('benchmarks.{script.stem}'"
    program += f"sys.argv = [{str(script)!r}, '--help']\nrunpy.run_{run}, run_name='__main__')\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, env={"COLUMNS": "200"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    shown = re.findall(r"^ +(?:-h, )?--(\w+)", done.stdout, re.MULTILINE)
    assert shown[0] == "help"
    is_setting = [name in (*CONFIG, "preset", "config") for name in shown]
    assert is_setting == sorted(is_setting) or script.parent != Path()
    tree = ast.parse((ROOT / script).read_text(encoding="utf-8"))
    own = {
        ast.unparse(node.args[0]).strip("'-")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("add_argument")
        and ast.unparse(node.args[0]).startswith("'--")
    }
    assert own <= set(shown)


def test_help_of_an_own_flag_and_a_setting_without_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    flags = Flags("A script.")
    flags.add_argument("--why", action="store_true", help="give the reasons")
    with pytest.raises(SystemExit):
        flags.read(["--help", "why"])
    assert capsys.readouterr().out.split() == ["--why", "give", "the", "reasons"]
    with pytest.raises(ValueError, match="write --model_name VALUE, with two dashes"):
        flags.read(["model_name", "lsa"])
