"""Reading what recommend.py prints."""

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

import recommend
from runtime.cli import run_script

Call = Callable[..., tuple[int, str, str]]


def listed(printed: str) -> list[str]:
    """Read the ids off printed lists."""
    return re.findall(r"^ +\d+\. .*\((.*)\)$", printed, re.MULTILINE)


def ids_of(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


def whole(words: tuple[str, ...]) -> tuple[str, ...]:
    """Ask for lists of all titles, unless words say how to go by franchises: titles 1, 2, 3 are taken for one."""
    says = {"--franchise", "--continue"} & {*words} or not {"--user", "--new_user", "--wish"} & {*words}
    return words if says else (*words, "--franchise", "all")


def calling(
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[tuple[str, ...]], tuple[str, ...]] = whole,
) -> Call:
    """Return a call of the script on a run: words -> exit code, what it printed, what it said of errors."""

    def call(*words: str) -> tuple[int, str, str]:
        where = ["--data_dir", config["data_dir"], "--saved_dir", config["saved_dir"]]
        monkeypatch.setattr(sys, "argv", ["recommend.py", *where, *change(words)])
        capsys.readouterr()
        code = run_script(recommend.main)
        return code, *capsys.readouterr()

    return call
