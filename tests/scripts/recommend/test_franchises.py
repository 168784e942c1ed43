"""--franchise, --continue, --niche, --diversity: what a list of one person shows, on titles that are parts of works."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import main
from config import get_config
from dataset.franchises import franchises_of
from inference.finished_run import load_finished
from tests.helpers.data import write_tsv
from tests.helpers.recommend import Call, calling, listed

WORKS = (
    "Kumo no Ie",
    "Bara no Michi",
    "Yoru Basket",
    "Tetsu Golem",
    "Sora Miko",
    "Umi Ryori",
    "Mori Densha",
    "Haru Band",
)
PARTS = ("{}", "{} 2nd Season", "{} 3rd Season", "{}: Recap")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Eight works of three seasons and a recap; title w2p1 is the second season of the third one."""
    folder, rng = tmp_path_factory.mktemp("works"), np.random.default_rng(0)
    titles = [
        (f"w{w}p{p}", part.format(work), f"kind{w % 2}", f"the story of {work} goes on in part {p}")
        for w, work in enumerate(WORKS)
        for p, part in enumerate(PARTS)
    ]
    write_tsv(folder / "data", "anime.tsv", titles)
    rows = []
    for user in range(60):
        for w in rng.choice(8, 4, replace=False):
            rows += [(f"u{user}", f"w{w}p{p}", rng.integers(5, 11), "", "") for p in range(rng.integers(1, 5))]
    write_tsv(folder / "data", "interactions.tsv", rows)
    settings = {"data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"), "fusion_mode": "none"}
    config = get_config(
        {**settings, "embedding_dim": 8, "epochs": 2, "batch_size": 64, "device": "cpu", "split": "random"}
    )
    main.run(config)
    return config


@pytest.fixture
def call(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return calling(config, monkeypatch, capsys, change=lambda words: words)


def works(ids: list[str]) -> list[str]:
    return [one[:2] for one in ids]


def test_the_works_are_franchises(config: dict[str, Any]) -> None:
    found = franchises_of(load_finished(config).dataset)
    assert len(set(found.groups.tolist())) == 8
    assert found.is_extra.sum() == 8


def test_someone_gets_one_title_a_work_the_first_that_is_not_seen(call: Call) -> None:
    printed = call("--new_user", "w0p0,w1p0,w1p1", "--k", "30")[1]
    ids = listed(printed)
    assert len(ids) == len(set(works(ids))) == 8
    assert {"w0p1", "w1p2"} <= {*ids}
    assert {one for one in ids if works([one])[0] not in ("w0", "w1")} == {f"w{w}p0" for w in range(2, 8)}
    assert "\n      after Kumo no Ie\n" in printed or "\n     after Kumo no Ie\n" in printed
    assert "Kumo no Ie 2nd Season +1 (w0p1)" in printed
    assert printed == call("--new_user", "w0p0,w1p0,w1p1", "--k", "30", "--franchise", "first")[1]


def test_new_continue_and_all(call: Call) -> None:
    given = ("--new_user", "w0p0,w1p0,w1p1", "--k", "32")
    assert set(works(listed(call(*given, "--franchise", "new")[1]))) == {f"w{w}" for w in range(2, 8)}
    assert set(listed(call(*given, "--continue")[1])) == {"w0p1", "w1p2"}
    assert len(listed(call(*given, "--franchise", "all")[1])) == 32 - 3
    code, _, said = call(*given, "--continue", "--franchise", "new")
    assert code == 2
    assert "--continue and --franchise new contradict each other" in said


def test_recaps_wait_for_their_work(call: Call) -> None:
    assert "w0p3" in listed(call("--new_user", "w0p0,w0p1,w0p2", "--k", "9")[1])
    assert not [one for one in listed(call("--new_user", "w0p0", "--k", "32")[1]) if one.endswith("p3")]


def test_a_file_says_what_a_title_follows(call: Call, tmp_path: Path) -> None:
    assert call("--new_user", "w0p0", "--continue", "--out", str(tmp_path / "a.json"))[0] == 0
    [title] = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["new user"]
    assert title["after"] == {"subject_id": "w0p0", "name": "Kumo no Ie"}
    assert title["more"] == 1


def test_users_get_all_titles_unless_asked_otherwise(call: Call, config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("u1\nu2\n")
    saved = json.loads((Path(config["saved_dir"]) / "recommendations.json").read_text(encoding="utf-8"))
    asked = ("--users", str(tmp_path / "ids"), "--out", str(tmp_path / "a.json"))
    assert call(*asked)[0] == 0
    found = json.loads((tmp_path / "a.json").read_text())
    for user in ("u1", "u2"):
        assert [title["subject_id"] for title in found[user]] == [title["subject_id"] for title in saved[user]]
    assert call(*asked, "--franchise", "first")[0] == 0
    for titles in json.loads((tmp_path / "a.json").read_text()).values():
        ids = [title["subject_id"] for title in titles]
        assert len(ids) == len(set(works(ids)))


def test_a_niche_is_a_part_of_the_score(call: Call, tmp_path: Path) -> None:
    given = (
        "--new_user",
        "w0p0,w1p0",
        "--franchise",
        "all",
        "--niche",
        "1",
        "--why",
        "--out",
        str(tmp_path / "a.json"),
    )
    assert call(*given)[0] == 0
    titles = json.loads((tmp_path / "a.json").read_text())["new user"]
    assert all("niche" in title["parts"] for title in titles)
    for title in titles:
        assert sum(title["parts"].values()) == pytest.approx(title["score"], abs=1e-4)
