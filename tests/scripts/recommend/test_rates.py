"""recommend.py --new_user for people who rate: in a run that knows rates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from inference import user_list
from tests.helpers.recommend import listed
from tests.helpers.tastes import taste_run

Call = Callable[..., tuple[int, str, str]]
LOVES_ONE = ",".join([f"s{i}:9" for i in range(6)] + [f"s{i}:2" for i in range(30, 36)])
LOVES_OTHER = ",".join([f"s{i}:2" for i in range(6)] + [f"s{i}:9" for i in range(30, 36)])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return taste_run(tmp_path_factory.mktemp("tastes")).config


def test_inverted_rates_give_another_list(call: Call) -> None:
    one, other = (set(listed(call("--new_user", rated, "--k", "20")[1])) for rated in (LOVES_ONE, LOVES_OTHER))
    assert len(one) == len(other) == 20
    assert len(one & other) <= 10


def test_a_taste_for_what_is_loved_lists_less_of_what_is_hated(call: Call) -> None:
    found = [listed(call("--new_user", LOVES_ONE, "--k", "20", "--taste", taste)[1]) for taste in ("0", "0.75", "1")]
    hated = [sum(int(title.removeprefix("s")) >= 30 for title in titles) for titles in found]
    assert hated[0] > hated[1] >= hated[2]
    assert listed(call("--new_user", LOVES_ONE, "--k", "20")[1]) == found[1]


@pytest.mark.parametrize("taste", ["2", "-0.1", "much", "nan"])
def test_a_taste_is_a_number_from_0_to_1(taste: str, call: Call) -> None:
    code, _, error = call("--new_user", "s1", "--taste", taste)
    assert code == 2
    assert f"{taste!r} is not a number from 0 to 1" in error


def test_the_heading_has_the_rates(call: Call) -> None:
    printed = call("--new_user", "s1:9,title 31:2.5,s4", "--k", "1")[1]
    assert "for someone who collected title 1 (9), title 31 (2.5), title 4:" in printed


def test_why_names_what_was_disliked(call: Call) -> None:
    lines = call("--new_user", LOVES_ONE, "--k", "50", "--why")[1]
    told = " ".join(line.strip() for line in lines.splitlines())
    assert "; in spite of title 3" in told
    reasons = [part.partition(" history")[0].split("in spite of ") for part in told.split("because of ")[1:]]
    assert len(reasons) == 48
    assert not [because for because, *_ in reasons if "title 31" in because]
    assert not [despite for _, *rest in reasons for despite in rest if "title 3" not in despite]


def test_those_who_dislike_everything_are_told_so(call: Call) -> None:
    code, _, error = call("--new_user", "s1:1")
    assert code == 2
    assert "are disliked; name at least one that is not" in error


def test_the_sentence_says_what_each_title_tells(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = pd.DataFrame(
        [
            ("s1", "done", 10.0),
            ("s2", "done", 9.0),
            ("s3", "wish", 0.0),
            ("s4", "dropped", 0.0),
            ("s5", "done", 1.0),
            ("s6", "", 0.0),
            ("s7", "done", 6.0),
            ("zz", "done", 7.0),
        ],
        columns=["subject_id", "status", "rate"],
    ).assign(name="", updated_at="")
    monkeypatch.setattr(user_list, "read_export", lambda path: ("mal-xml", rows))
    (tmp_path / "list.xml").write_text("<x/>", encoding="utf-8")
    code, printed, _ = call("--new_user", str(tmp_path / "list.xml"))
    assert code == 0
    assert (
        "list.xml (mal-xml): of 8 titles, 7 are known here (0 by name): 6 count (2 liked, 1 neutral, 2 disliked, "
        "1 unrated), and 1 wished for are only left out" in printed
    )
    assert not {"s1", "s3", "s4", "s5", "s6"} & set(listed(printed))
