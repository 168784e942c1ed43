"""Both READMEs: short, alike in what is to be typed, and naming only what there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    """Return the lines of code blocks without their comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text_of(name), flags=re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", READMES)
def test_it_is_short_and_names_only_what_there_is(name: str) -> None:
    assert len(text_of(name).splitlines()) <= 150
    linked = re.findall(r"\]\(([^):#]+)\)", text_of(name))
    scripts = re.findall(r"(?<![\w/-])((?:tools/|tests/)?\w+\.py)\b", text_of(name))
    assert len(linked) >= 6
    assert {"tools/convert.py", "recommend.py"} <= {*scripts}
    missing = [
        path
        for path in (*linked, *scripts)
        if not (ROOT / path).exists() and not any((ROOT / room / path).exists() for room in ("tools", "studies"))
    ]
    assert not missing


def test_both_tell_to_type_the_same() -> None:
    assert commands(READMES[0]) == commands(READMES[1])
    assert len(commands(READMES[0])) > 20


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs").glob("*.png"))
    assert {path.name for path in pictures} >= {"report.png", "list.png", "serve.png"}
    assert all(path.stat().st_size <= 200 * 1024 for path in pictures)
