"""recommend.py: seasons whose names differ in punctuation alone, and names that are near none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import main
from config import get_config
from inference.name_forms import end_marks
from inference.title_search import closest, index_names, similar_names
from tests.helpers.data import write_tsv
from tests.helpers.recommend import Call, calling, listed

FIRST_SEASONS = ["Working!!", "Gintama", "K-On!", "K-On!!", "New Game!", "Yuru Yuri", "Durarara!!", "Aria", "Nisekoi"]
LATER = ["Working'!!", "Gintama'", "Gintama°", "New Game!!", "Durarara!!", "K-On!!", "Yuru Yuri♪♪", "Nisekoi:"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run on first seasons; of K-On! there is the second one, too."""
    folder = tmp_path_factory.mktemp("seasons")
    names = [*FIRST_SEASONS, *(f"other {number}" for number in range(21))]
    write_tsv(folder / "data", "anime.tsv", [(f"b{n}", name, '["t"]', "") for n, name in enumerate(names)])
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"b{i}", 8, "", "") for u in range(20) for i in rng.choice(30, 6, replace=False)]
    write_tsv(folder / "data", "interactions.tsv", rows)
    words = {"data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"), "fusion_mode": "none", "epochs": 1}
    main.run(config := get_config({**words, "device": "cpu"}))
    return config


@pytest.fixture
def call(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return calling(config, monkeypatch, capsys)


def mal_list(path: Path, names: list[str]) -> str:
    entries = "".join(
        f"<anime><series_animedb_id>{9000 + n}</series_animedb_id><series_title><![CDATA[{name}]]></series_title>"
        "<my_score>8</my_score><my_status>Completed</my_status></anime>"
        for n, name in enumerate(names)
    )
    path.write_text(f"<myanimelist><myinfo><user_name>me</user_name></myinfo>{entries}</myanimelist>", "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("typed", "raw"), [("K-On!", "b2"), ("K-ON！！", "b3"), ("new game", "b4"), ("yuruyuri", "b5"), ("Durarara‼", "b6")]
)
def test_an_exact_name_comes_before_one_but_for_punctuation(call: Call, typed: str, raw: str) -> None:
    assert listed(call("--new_user", typed)[1]) == listed(call("--new_user", raw)[1])


@pytest.mark.parametrize("typed", ["Gintama'", "Gintama°", "gintama’", "New Game!!", "Working'!!:9", "Yuru Yuri♪♪"])
def test_another_season_is_not_the_first(call: Call, typed: str) -> None:
    code, _, error = call("--new_user", typed)
    assert code == 2
    assert f"in this run; the nearest are {typed[:7].title()}" in error
    assert call("--similar", typed)[0] == 2 or ":9" in typed


def test_where_several_fit_alike_the_id_is_asked_for(call: Call) -> None:
    assert "'k on' matches 2 titles; name one by its id: K-On!" in call("--new_user", "k on")[2]


def test_a_list_counts_no_season_as_another(call: Call, tmp_path: Path) -> None:
    code, printed, _ = call("--new_user", mal_list(tmp_path / "animelist.xml", LATER))
    assert code == 0
    assert "of 8 titles, 2 are known here (2 by name)" in printed
    assert "6 are taken for unknown" in printed
    assert 'as seasons do (the first: "Working\'!!", here Working!! (b0))' in printed
    assert listed(printed) == listed(call("--new_user", "Durarara!!,K-On!!")[1])


@pytest.mark.parametrize("typed", ["Xyzzy", "qqqqq", "무엇", "@@@@"])
@pytest.mark.parametrize("flag", ["--new_user", "--similar"])
def test_where_nothing_is_near_the_sentence_says_how_to_search(call: Call, flag: str, typed: str) -> None:
    code, _, error = call(flag, typed)
    assert code == 2
    assert f"no title {typed!r} in this run; nothing in it is near; give a part of a name, or an id" in error


def test_near_names_share_more_than_letters_here_and_there() -> None:
    names = ["R.O.D OVA", "Ougon Bat", "Cowboy Bebop", "鬼灭之刃", "A.F", "Fullmetal Alchemist"]
    index = index_names(names, np.zeros(len(names)))
    assert [similar_names(index, query, 5) for query in ("foobar", "asdf")] == [[], []]
    found = [similar_names(index, query, 1) for query in ("Cowbuy Beebop", "鬼灭之刀", "alchemist fulmetal")]
    assert found == [[2], [3], [5]]
    assert closest("校圆", ["校园", "爱情"]) == ["校园"]
    assert closest("12345", ["12346", "98765"]) == ["12346"]


@pytest.mark.parametrize(
    ("name", "marks"),
    [("Gintama’", "'"), ("K-ON！", "!"), ("[Oshi no Ko]", ""), ("Foo (TV)", ""), ("Lucky~", ""), ("K-ON!!（TV）", "")],
)
def test_end_marks_are_those_that_tell_seasons_apart(name: str, marks: str) -> None:
    assert end_marks(name) == marks
