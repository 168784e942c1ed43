"""What a person thinks of each title, on the served page and in its JSON: love, like, dislike, and not for me."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chromium import Tab, browser, show

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from fastapi.testclient import TestClient

from dataset.ratings import LIMIT
from inference.finished_run import FinishedRun
from inference.people import DISLIKE, LIKE, LOVE
from tests.helpers.served import export
from tests.helpers.tastes import taste_run
from web.app import create_app

ROOT = Path(__file__).parents[2]
ONE, OTHER = [f"s{item}" for item in range(5)], [f"s{item}" for item in range(30, 35)]
needs_browser = pytest.mark.skipif(browser() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return taste_run(tmp_path_factory.mktemp("tastes"))


@pytest.fixture(scope="module")
def client(run: FinishedRun) -> Iterator[TestClient]:
    with TestClient(create_app(run)) as client:
        yield client


def ids(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


def asked(client: TestClient, **more: Any) -> dict[str, Any]:
    reply = client.post("/api/list", json={"titles": [*ONE, *OTHER], **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


# --- the JSON ---


def test_scores_make_the_list(client: TestClient) -> None:
    assert client.get("/api/run").json()["can"]["rates"]
    bare, one, other = (
        asked(client, scores={**dict.fromkeys(high, LOVE), **dict.fromkeys(low, DISLIKE)}, why=True, k=50)
        for high, low in (((), ()), (ONE, OTHER), (OTHER, ONE))
    )
    assert len({*ids(one["titles"][:20])} & {*ids(other["titles"][:20])}) <= 10
    assert ids(bare["titles"]) == ids(asked(client, scores=dict.fromkeys(ONE, 0.0), k=50)["titles"])
    assert set(ids(one["collected"])) == {*ONE, *OTHER}
    for title in one["titles"]:
        assert sum(title["parts"].values()) == pytest.approx(title["score"], abs=1e-4)
        assert set(ids(title["because"])) <= {*ONE}
        assert set(ids(title["despite"])) <= {*OTHER}
    assert any(title["despite"] for title in one["titles"])


def test_who_dislikes_all_is_told_so(client: TestClient) -> None:
    reply = client.post("/api/list", json={"titles": ["s1"], "scores": {"s1": DISLIKE}})
    assert (reply.status_code, reply.json()["code"]) == (422, "all_disliked")


@pytest.mark.parametrize("wrong", [{"scores": {"s1": 3}}, {"scores": ["s1"]}, {"times": {"s1": "x"}}])
def test_a_score_beyond_all_is_refused(wrong: dict[str, Any], client: TestClient) -> None:
    assert client.post("/api/list", json={"titles": ["s1"], **wrong}).json()["code"] == "invalid"


def test_an_upload_brings_scores_and_times(client: TestClient, tmp_path: Path) -> None:
    path = export(tmp_path / "list.xml", [("s1", "Completed", 10), ("s2", "Dropped", 0), ("s3", "Plan to Watch", 0)])
    text = path.read_text().replace(
        "<my_status>Completed", "<my_finish_date>2020-03-01</my_finish_date><my_status>Completed"
    )
    found = client.post("/api/upload", content=text.encode(), headers={"content-type": "application/octet-stream"})
    found = found.json()
    assert {title["subject_id"]: title["score"] > 0 for title in found["collected"]} == {"s1": True, "s2": False}
    assert ids(found["excluded"]) == ["s3"]
    assert found["tastes"] == {"liked": 1, "neutral": 0, "disliked": 1, "unrated": 0}
    assert all("time" in title for title in found["collected"])


def test_an_upload_says_what_of_it_was_left_out_and_refuses_manga_alone(client: TestClient) -> None:
    def rate(number: str, kind: str) -> dict[str, Any]:
        return {
            "target_id": number,
            "target_type": kind,
            "target_title": f"title {number[1:]}",
            "status": "completed",
            "score": 9,
        }

    def sent(*rates: dict[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/octet-stream"}
        return client.post("/api/upload", content=json.dumps(rates).encode(), headers=headers).json()

    found = sent(rate("s1", "Anime"), rate("s2", "Manga"))
    assert (ids(found["collected"]), found["n_rows"]) == (["s1"], 1)
    assert found["notes"] == ["left out: 1 of other kinds than anime"]
    assert "its titles, 1 in all, are manga" in sent(rate("s1", "Manga"))["message"]


def test_the_page_has_the_scores_of_the_server() -> None:
    script = (ROOT / "web" / "serve_state.js").read_text(encoding="utf-8")
    assert f"const LOVE = {LOVE:g}, LIKE = {LIKE}, DISLIKE = {DISLIKE}, LIMIT = {LIMIT};" in script
    assert f'["love", z => z >= 0.5, {LOVE:g}, ' in script


# --- the page ---


def shown(tab: Tab) -> list[str]:
    return tab.run("[...document.querySelectorAll('#titles h3')].map(node => node.innerText)")


PRESSED = "[...document.querySelectorAll('#picked .marks button[aria-pressed=true]')].map(node => node.ariaLabel)"
TEN = "#" + "&".join(f"t={raw}" for raw in [*ONE, *OTHER])


@needs_browser
@pytest.mark.slow
def test_a_press_makes_the_list_anew_and_another_takes_it_back(tab: Tab, url: str) -> None:
    page = show(tab, url, TEN)
    before = shown(page)
    for place in (3 * 5 + 2, 3 * 6 + 2, 3 * 7 + 2, 3 * 8 + 2, 3 * 9 + 2):
        page.run(f"document.querySelectorAll('#picked .marks button')[{place}].focus()")
        page.press("Enter")
        page.wait(f"document.querySelectorAll('#picked .marks button')[{place}].ariaPressed === 'true'")
        assert page.run(f"document.querySelectorAll('#picked .marks button')[{place}] === document.activeElement")
    page.wait(
        "document.querySelector('#status').innerText === '20 titles, because of 5 of yours and 5 that you dislike'"
    )
    assert page.run(PRESSED) == [f"Dislike: title {item}" for item in range(30, 35)]
    after = shown(page)
    assert sum(int(name[6:]) < 30 for name in after) > sum(int(name[6:]) < 30 for name in before)
    told = "objections([{name: 'A / B'}, {name: 'C'}])[0].innerText"
    assert page.run(told) == "In spite of A, C"
    page.press("Enter")  # on the one that has the focus
    page.wait(f"{PRESSED}.length === 4")
    page.run("document.querySelectorAll('#picked .marks button')[27].click()")
    page.wait("location.hash.endsWith('t=s34&z=1')")
    assert page.run(PRESSED)[-1] == "Love: title 34"
    assert page.messages == []


@needs_browser
@pytest.mark.slow
def test_not_for_me_is_a_dislike_that_can_be_undone(tab: Tab, url: str) -> None:
    page = show(tab, url, "#" + "&".join(f"t={raw}" for raw in ONE))
    before = shown(page)
    page.run("document.querySelector('#titles .hide').click()")
    page.wait(f"document.querySelector('#titles h3').innerText !== {before[0]!r}")
    assert page.run("location.hash").endswith("&z=-1.5")
    assert page.run(PRESSED) == [f"Dislike: {before[0]}"]
    assert page.run("document.querySelector('#refused').innerText") == f"{before[0]} is not for you. Undo"
    assert shown(page) != before[1:]  # more than the one has gone
    page.run("document.querySelector('#refused button').click()")
    page.wait(f"document.querySelector('#titles h3').innerText === {before[0]!r}")
    assert shown(page) == before
    assert page.run("document.querySelector('#refused').innerText") == ""


@needs_browser
@pytest.mark.slow
def test_an_upload_presses_the_buttons_and_what_is_added_is_newest(tab: Tab, url: str, tmp_path: Path) -> None:
    page = show(tab, url, "#t=s20")
    entries = [("s1", "Completed", 10), ("s2", "Dropped", 0), ("s3", "Plan to Watch", 0), ("s4", "Completed", 0)]
    path = export(tmp_path / "list.xml", entries)
    page.choose_file("#file", path)
    page.wait("document.querySelectorAll('#picked li').length === 4")
    assert page.run("document.querySelector('#told').innerText") == (
        "3 of 4 entries count here: 1 liked, 0 neutral, 1 disliked, 1 unrated; 1 planned are only left out; 0 are "
        "unknown here."
    )
    assert page.run(PRESSED) == ["Love: title 1", "Dislike: title 2"]
    page = show(tab, url, "#t=s20&w=5&t=s21")
    page.run("document.querySelector('#titles .add').click()")
    page.wait("state().titles.length === 3")
    assert page.run("[...state().times.values()][1] > 1e9 && state().times.size === 2")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "score", "said"), [("love", "1", "Love"), ("add", "0.3", "I like it"), ("seen", "", "Seen it")]
)
def test_what_is_said_of_a_listed_title_counts_and_is_taken_back(
    act: str, score: str, said: str, tab: Tab, url: str
) -> None:
    page = show(tab, url, TEN)
    first, address = shown(page)[0], page.run("location.hash")
    page.run(f"document.querySelector('#titles .{act}').focus()")
    page.press("Enter")
    page.wait(f"document.querySelector('#refused').innerText === '{first}: {said}. Undo'")
    raw = f"s{first.removeprefix('title ')}"
    assert page.run("location.hash") == f"{address}&t={raw}" + (f"&z={score}" if score else "")
    page.run("document.querySelector('#refused button').click()")
    page.wait(f"location.hash === {address!r} && document.querySelector('#refused').innerText === ''")


@needs_browser
@pytest.mark.slow
def test_what_an_upload_left_out_is_said_above_the_list(tab: Tab, url: str, tmp_path: Path) -> None:
    page = show(tab, url, "#t=s20")
    rates = [("s1", "Anime"), ("s2", "Manga"), ("s999", "Anime")]
    rows = [
        {"target_id": raw, "target_type": kind, "target_title": f"title {raw[1:]}", "status": "completed", "score": 9}
        for raw, kind in rates
    ]
    (tmp_path / "rates.json").write_text(json.dumps(rows), encoding="utf-8")
    page.choose_file("#file", tmp_path / "rates.json")
    page.wait("document.querySelector('#notes').innerText.includes('left out: 1 of other kinds than anime.')")
    assert "999) are unknown here" in page.run("document.querySelector('#told').innerText")
    place = "document.querySelector({!r}).getBoundingClientRect()"
    page.wait("state().titles.length === 2")
    assert page.run(f"{place.format('.told')}.bottom <= {place.format('#titles')}.top")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_buttons_fit(width: int, tab: Tab, url: str) -> None:
    page = show(tab, url, f"{TEN}&z=1", width)
    page.run("fold(false)")  # on a narrow screen the list comes first
    assert page.run("document.documentElement.scrollWidth") <= width
    sizes = page.run(
        "[...document.querySelectorAll('#picked .marks button')].map(node => node.getBoundingClientRect().width)"
    )
    assert min(sizes) >= 24  # WCAG 2.2, 2.5.8
