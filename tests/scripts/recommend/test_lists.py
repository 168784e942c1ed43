"""recommend.py: lists on the screen."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_loader import load_dataset
from inference import terminal
from runtime import manifest
from runtime.identity import OUTPUTS
from tests.helpers.recommend import ids_of, listed

Call = Callable[..., tuple[int, str, str]]
N_ITEMS = 30


@pytest.fixture
def saved_lists(config: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return json.loads((Path(config["saved_dir"]) / "recommendations.json").read_text(encoding="utf-8"))


# --- lists on the screen ---


def test_everybodys_lists_are_written_again(
    call: Call, config: dict[str, Any], saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    path = Path(config["saved_dir"]) / "recommendations.json"
    path.unlink()
    assert call()[0] == 0
    assert json.loads(path.read_text(encoding="utf-8")) == saved_lists
    whole = path.read_bytes()
    assert call("--recommend_k", "3")[0] == 0
    assert path.read_bytes() != whole
    manifest.check(path.parent, *OUTPUTS)  # it is still of the run
    assert call()[0] == 0


@pytest.mark.parametrize("who", ["u3", "ann"])
def test_a_users_list(call: Call, saved_lists: dict[str, list[dict[str, Any]]], who: str) -> None:
    code, printed, _ = call("--user", who, "--k", "4")
    assert code == 0
    assert "for Ann (u3):" in printed
    assert listed(printed) == ids_of(saved_lists["u3"])[:4]
    assert f"{saved_lists['u3'][0]['score']:.3f}  {saved_lists['u3'][0]['name']}" in printed


def test_some_users_lists_from_a_file_and_from_the_input(
    call: Call, saved_lists: dict[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids").write_text("u7\n\nu3\nnobody\nu7\n", encoding="utf-8")
    wanted = ids_of(saved_lists["u7"])[:3] + ids_of(saved_lists["u3"])[:3]
    code, printed, _ = call("--users", str(tmp_path / "ids"), "--k", "3")
    assert (code, listed(printed)) == (0, wanted)
    assert "1 of 3 ids are of no user of this run and get no list, the first of them 'nobody'" in printed
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"u7\nu3\n")))
    assert listed(call("--users", "-", "--k", "3")[1]) == wanted


def test_a_list_for_someone_who_collected_some_titles(call: Call) -> None:
    code, printed, _ = call("--new_user", "s1,title 2", "--k", "5")
    assert code == 0
    assert "for someone who collected title 1, title 2:" in printed
    assert len(listed(printed)) == 5
    assert not {"s1", "s2"} & set(listed(printed))


def test_titles_like_a_title(call: Call) -> None:
    code, printed, _ = call("--similar", "title 1", "--k", "5")
    assert code == 0
    assert "nearest to title 1, by who collects them:" in printed
    assert "nearest to title 1, by their text:" in printed
    assert len(listed(printed)) == 10
    assert "s1" not in listed(printed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("new.json", '{"name": "title 99", "tags_name": ["tag1"], "summary": "story of 9"}'),
        ("new.tsv", 'year\tname\ttags_name\tsummary\n2030\ttitle 99\t["tag1"]\tstory of 9\n'),
    ],
)
def test_a_title_that_is_in_no_data(call: Call, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, printed, _ = call("--new_item", str(tmp_path / name), "--k", "4", "--min_year", "2000")
    assert code == 0
    assert printed.count("titles it is like") == 2
    assert "the users whom it suits best:" in printed
    assert all(int(raw[1:]) >= 10 for raw in listed(printed)[:8])
    assert all(raw.startswith("u") for raw in listed(printed)[8:])
    assert len(listed(printed)) == 12


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("no.json", None, "is missing"),
        ("bad.json", "{", "cannot be read"),
        ("list.json", "[]", "must hold one title"),
        ("two.tsv", "name\na\nb\n", "must hold one title"),
        ("none.tsv", "title\na\n", "must hold one title"),
        ("latin.tsv", b"name\n\xff\n", "UTF-8"),
        ("empty.json", '{"name": ""}', "needs a name"),
    ],
)
def test_a_new_title_that_cannot_be_read(
    call: Call, tmp_path: Path, name: str, content: str | bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    code, _, error = call("--new_item", str(tmp_path / name))
    assert code == 2
    assert told in error
    assert error.count("\n") == 1


def test_filters_hold_wherever_titles_are_listed(call: Call, config: dict[str, Any]) -> None:
    dataset = load_dataset(config)
    fit = {f"s{i}" for i in range(5, 26) if "tag1" in dataset.item_tags[i] and "tag2" not in dataset.item_tags[i]}
    filters = ("--tags", "TAG1", "--not_tags", "tag2", "--min_year", "1995", "--max_year", "2015", "--k", "30")
    for ask in (("--user", "u3"), ("--new_user", "s0,s4"), ("--similar", "s0")):
        code, printed, _ = call(*ask, *filters)
        assert code == 0
        assert set(listed(printed)) <= fit
    assert set(listed(printed)) == fit


def test_new_titles_alone_with_filters_and_without(call: Call, config: dict[str, Any]) -> None:
    dataset = load_dataset(config)
    cold = {f"s{item}" for item in np.setdiff1d(np.arange(N_ITEMS), dataset.warm_items)}
    code, printed, _ = call("--new_user", "s1", "--new", "--k", "30")
    assert (code, set(listed(printed))) == (0, cold - {"s1"})
    later = set(listed(call("--new_user", "s1", "--new", "--k", "30", "--min_year", "2005")[1]))
    assert later == {raw for raw in cold if int(raw[1:]) >= 15} - {"s1"}
    assert "there is none" in call("--new_user", sorted(cold)[0], "--new", "--tags", "tag0", "--max_year", "1990")[1]


def test_the_screen_is_80_columns_wide_whatever_the_script() -> None:
    entries = [
        {"subject_id": "12345", "name": name, "score": 1.0}
        for name in ("進撃の巨人" * 20, "a" * 200, "two\nlines", "e\u0301" * 30, "short")
    ]
    heading, *lines = terminal.printed("為" * 60, entries).splitlines()
    assert all(terminal.columns(line) <= 80 for line in (heading, *lines))
    assert all(line.endswith(" (12345)") for line in lines)
    assert [terminal.columns(line) for line in lines[:2]] == [79, 80]
    assert ["…" in line for line in lines] == [True, True, False, False, False]
