"""tools/fetch_bangumi.py: killed and repeated, its flags, and its sentences."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from importers import bangumi_api
from runtime.cli import run_script
from tests.helpers.bangumi_server import Bangumi, titles_in
from tools import fetch_bangumi

ROOT = Path(bangumi_api.__file__).resolve().parents[1]
Ask = Callable[..., dict[str, int]]


# --- the script ---


@pytest.mark.slow
def test_a_fetch_that_was_killed_asks_for_the_missing_pages_only(bangumi: Bangumi, tmp_path: Path) -> None:
    bangumi.lists["sai"] = list(range(400))
    command = [
        sys.executable,
        "tools/fetch_bangumi.py",
        "sai",
        "--to",
        str(tmp_path),
        "--base",
        bangumi.url,
        "--rate",
        "0.5",
        "--agent",
        "me",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 60
    while not (tmp_path / "sai" / "50.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = {int(path.stem) for path in (tmp_path / "sai").glob("*.json")}
    assert 2 <= len(whole) < 8
    bangumi.asked.clear()
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert [offset for _, offset in bangumi.asked] == [offset for offset in range(0, 400, 50) if offset not in whole]
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]


def test_a_list_that_changed_since_the_kill_starts_over(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    ask("sai")
    (tmp_path / "sai" / "100.json").unlink()
    bangumi.lists["sai"] = [7, *bangumi.lists["sai"]]
    ask("sai")
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]


def test_a_page_damaged_by_hand_is_named(ask: Ask, tmp_path: Path) -> None:
    ask("sai")
    (tmp_path / "sai" / "50.json").write_bytes(b"{")
    with pytest.raises(ValueError, match="50.json: not a page.*can be deleted"):
        ask("sai")


@pytest.fixture
def script(
    bangumi: Bangumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("aglrec"), "level", logging.NOTSET)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys,
            "argv",
            [
                "fetch_bangumi.py",
                *words,
                "--to",
                str(tmp_path / "to"),
                "--base",
                bangumi.url,
                "--rate",
                "0.5",
                "--agent",
                "me",
            ],
        )
        return run_script(fetch_bangumi.main), *capsys.readouterr()

    return run


@pytest.mark.slow
def test_the_script_reads_names_and_token(
    script: Callable[..., Any], bangumi: Bangumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users.txt").write_text("\ufeffb_2\r\n\n  none \n", encoding="utf-8")
    monkeypatch.setenv("BANGUMI_TOKEN", "secret")
    code, out, err = script("--users_file", str(tmp_path / "users.txt"))
    assert (code, err) == (0, "")
    assert "2 fetched" in out
    assert "secret" not in out
    assert bangumi.headers[0]["Authorization"] == "Bearer secret"
    assert titles_in(tmp_path / "to" / "b_2") == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "whose list"),
        (("nobody",), "no list came.*1 unknown or private"),
        (("b_2", "--rate", "0.5"), ""),
        (("b/2",), "'b/2' is no username"),
    ],
)
def test_the_script_ends_in_a_sentence(words: tuple[str, ...], error: str, script: Callable[..., Any]) -> None:
    code, _, err = script(*words)
    assert code == (2 if error else 0)
    assert re.search(error, err)
    assert len(err.splitlines()) == bool(error)


def test_a_bad_line_of_the_users_file_is_named(script: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("b_2\nhttps://bgm.tv/user/x\n", encoding="utf-8")
    code, _, err = script("--users_file", str(tmp_path / "users.txt"))
    assert code == 2
    assert "users.txt line 2" in err
