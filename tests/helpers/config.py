"""The config contract: copies, precedence, types, ranges, and the command line (DESIGN section 2)."""

import pytest

from runtime.cli import Flags


def help_of(flags: Flags, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        flags.read(["--help", *words])
    return capsys.readouterr().out
