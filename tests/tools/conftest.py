"""tools/check.py called in this process."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from runtime.cli import run_script


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a script's main and return exit code, stdout and stderr."""

    def run(script: Any, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["script", *words])
        return run_script(script.main), *capsys.readouterr()

    return run
