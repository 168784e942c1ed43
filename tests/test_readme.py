"""The documents: the READMEs are short and give the same commands, and every file that a document names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
DOCUMENTS = (*READMES, "CONTRIBUTING.md", "RESULTS.md", "SECURITY.md", "benchmarks/SCALE.md")
CODE = ("py", "js", "css", "html", "jinja")
ENDINGS = "|".join((*CODE, "json", "md", "cff", "txt"))
# where a document may name a file without its folder
SCRIPTS = ("tools", "studies", "tests/faults", "tests/properties")
WRITTEN = {  # by a run, by LightGCN's authors, or by the reader
    "metrics.json",
    "manifest.json",
    "id_mappings.json",
    "recommendations.json",
    "new_titles.json",
    "franchises.json",
    "new.json",
    "report.html",
    "saved/report.html",
    "encoded/",
    "train.txt",
    "valid.txt",
    "test.txt",
    "ids.txt",
    "names.txt",
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    """Return the lines of code blocks without their comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text_of(name), flags=re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def named(name: str) -> set[str]:
    """Return the files and folders that a document names in code spans, code blocks and links."""
    text = text_of(name)
    code = " ".join(re.findall(r"`[^`]+`", re.sub(r"^```.*", "", text, flags=re.MULTILINE)) + commands(name))
    files = re.findall(rf"(?<![\w/.-])((?:\w+/)*[\w-]+(?:\.\w+)?\.(?:{ENDINGS}))\b(?!\.)", code)
    folders = re.findall(r"`((?:\w+/)+)`", text)
    return {*files, *folders, *(link for link in re.findall(r"\]\(([^):#]+)", text))}


def anchors(name: str) -> set[str]:
    """Return what GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)", text_of(name), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sources() -> set[str]:
    """Return the files of the root and the rooms that hold code, without tests."""
    paths = [*ROOT.glob("*.py"), *(path for path in ROOT.glob("*/*") if path.suffix[1:] in CODE)]
    found = {path.relative_to(ROOT).as_posix() for path in paths}
    return {path for path in found if not path.startswith(("tests/", "data/", "saved/", "docs/", "."))}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_names_exists(name: str) -> None:
    places = (ROOT, (ROOT / name).parent, *(ROOT / folder for folder in SCRIPTS))
    missing = [path for path in named(name) - WRITTEN if not any((place / path).exists() for place in places)]
    assert not missing
    for document, anchor in re.findall(r"\]\(([\w.-]+\.md)#([^)]+)\)", text_of(name)):
        assert anchor in anchors(document)


@pytest.mark.parametrize("name", READMES)
def test_a_readme_is_short_and_maps_the_root_and_the_rooms(name: str) -> None:
    assert len(text_of(name).splitlines()) <= 150
    rooms = {f"{path.partition('/')[0]}/" for path in sources() if "/" in path}
    assert {path for path in sources() if "/" not in path} | rooms | {"tests/"} <= named(name)


def test_contributing_says_what_to_change_in_every_file() -> None:
    assert sources() - named("CONTRIBUTING.md") <= {"benchmarks/__init__.py"}


def test_both_readmes_give_the_same_commands() -> None:
    assert commands(READMES[0]) == commands(READMES[1])
    assert len(commands(READMES[0])) > 20


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs").glob("*.png"))
    assert {path.name for path in pictures} >= {"report.png", "list.png", "serve.png"}
    assert all(path.stat().st_size <= 200 * 1024 for path in pictures)
