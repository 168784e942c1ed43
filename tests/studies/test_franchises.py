"""studies/franchises.py: what it prints of pairs and franchises."""

from pathlib import Path

import pytest

from runtime.cli import run_script
from studies import franchises
from tests.helpers.data import write_tsv

NAMES = {"a": "Toradora!", "b": "Toradora! OVA", "c": "Clannad 2nd Season", "d": "Clannad", "e": "Kanon"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_tsv(tmp_path, "anime.tsv", ((raw, name, "", "") for raw, name in NAMES.items()))
    return write_tsv(
        tmp_path, "interactions.tsv", ((f"u{n}", raw, 5, "", "") for n in range(5) for raw in NAMES)
    ).parent


def said(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, code: int = 0
) -> str:
    monkeypatch.setattr("sys.argv", ["franchises.py", "--data_dir", str(data), *words.split()])
    assert run_script(franchises.main) == code
    printed = capsys.readouterr()
    return printed.out + printed.err


def test_pairs_are_counted_and_franchises_drawn(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = data / "pairs.tsv"
    pairs.write_text("before\tafter\na\tb\nc\td\nd\tc\na\te\nz\ta\n", encoding="utf-8")
    printed = said(data, monkeypatch, capsys, f"--pairs {pairs} --draw 9").splitlines()
    first = next(place for place, line in enumerate(printed) if " franchises of " in line)
    assert printed[first].startswith("3 franchises of 5 titles in ")
    assert printed[first + 1 : first + 4] == ["of 4 pairs:", "together 75.0%", "in order 66.7%"]
    assert printed[first + 4] == "largest: Toradora! (2), Clannad (2)"
    assert printed[first + 5 :] == ["- Toradora! > Toradora! OVA", "- Clannad > Clannad 2nd Season"]


def test_pairs_of_other_data_are_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "pairs.tsv").write_text("before\tafter\ny\tz\n", encoding="utf-8")
    printed = said(data, monkeypatch, capsys, f"--pairs {data / 'pairs.tsv'}", code=2)
    assert "no pair of its 1 has both titles in the data" in printed
