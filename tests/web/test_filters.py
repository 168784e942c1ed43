"""Filters of what titles were made as and of the season in which they began: as JSON, and on the page in a browser."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.chromium import Tab, browser, show

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from fastapi.testclient import TestClient

from dataset.seasons import newest_first
from inference.finished_run import FinishedRun, load_finished
from tests.helpers.served import N_ITEMS, make_config, raw, running
from web.app import create_app, guarded

KINDS = ("TV", "Movie", "tv", "OVA", "")
SEASONS = ("2014-fall", "", "2015-spring", "2014-winter")
THREE = f"#t={raw(3)}&t={raw(4)}&t={raw(6)}"
in_a_browser = pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
PRESSED = "[...document.querySelectorAll('#types [aria-pressed=true]')].map(node => node.innerText)"
META = "[...document.querySelectorAll('#titles .meta')].map(node => node.querySelector('span:not(.badge)').innerText)"


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run on data that say no types or seasons."""
    return load_finished(make_config(tmp_path_factory.mktemp("serve")))


@pytest.fixture(scope="module")
def run(untold: FinishedRun) -> FinishedRun:
    told = {"item_types": list(KINDS) * N_ITEMS, "item_seasons": list(SEASONS) * N_ITEMS}
    return replace(untold, dataset=replace(untold.dataset, **{key: cells[:N_ITEMS] for key, cells in told.items()}))


@pytest.fixture(scope="module")
def client(run: FinishedRun) -> Iterator[TestClient]:
    with TestClient(guarded(create_app(run), "127.0.0.1"), base_url="http://localhost:8000") as client:
        yield client


def listed(client: TestClient, **asked: Any) -> list[dict[str, Any]]:
    reply = client.post("/api/list", json={"titles": [raw(3)], "k": 100, **asked})
    assert reply.status_code == 200, reply.text
    return reply.json()["titles"]


# --- as JSON ---


def test_seasons_are_told_the_newest_first() -> None:
    assert newest_first(["2014-winter", "", "2015-winter", "2014-fall", "2014-fall", "2014-summer"]) == [
        "2015-winter",
        "2014-fall",
        "2014-summer",
        "2014-winter",
    ]


def test_the_run_says_what_there_is_to_choose(client: TestClient) -> None:
    info = client.get("/api/run").json()
    assert info["types"] == ["TV", "Movie", "OVA"]  # tv is TV
    assert info["seasons"] == ["2015-spring", "2014-fall", "2014-winter"]


def test_lists_are_of_the_types_and_the_season_that_are_asked_for(client: TestClient) -> None:
    everything = listed(client)
    assert {one["type"] for one in everything} == {*KINDS}
    found = listed(client, types=["Movie", "TV"])
    wanted = [one["subject_id"] for one in everything if one["type"] in ("Movie", "TV", "tv")]
    assert [one["subject_id"] for one in found] == wanted
    assert {one["season"] for one in listed(client, season="2014-fall")} == {"2014-fall"}
    both = listed(client, types=["movie"], season="2014-Fall")
    assert {(one["type"], one["season"]) for one in both} == {("Movie", "2014-fall")}


def test_a_type_or_season_that_no_title_has_is_refused(client: TestClient) -> None:
    for asked, says in (
        ({"types": ["TV", "film"]}, "no title has the type 'film'"),
        ({"season": "1999-fall"}, "season"),
    ):
        reply = client.post("/api/list", json={"titles": [raw(3)], **asked})
        assert (reply.status_code, reply.json()["code"]) == (422, "unknown_filter")
        assert says in reply.json()["message"]


# --- on the page ---


def seen(tab: Tab, query: str) -> bool:
    return tab.run(f"document.querySelector({query!r}).checkVisibility()")


def answered(tab: Tab, question: str) -> None:
    tab.wait(f"answered.includes({question!r})")


@pytest.mark.slow
@in_a_browser
def test_types_are_chosen_by_keyboard_and_stay_in_the_address(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    page.run("document.querySelector('#filters').open = true; document.querySelector('#types button').focus()")
    assert page.run("document.querySelector('#types').innerText.split('\\n')") == ["TV", "Movie", "OVA"]
    page.press("Enter")
    answered(page, '"types":["TV"]')
    assert page.run("document.activeElement.innerText") == "TV"  # the focus stays
    assert {*page.run(META)} <= {"TV", "tv"}
    page.press("Tab", "Enter")
    answered(page, '"types":["TV","Movie"]')
    assert page.run("location.hash").endswith("&type=TV&type=Movie")
    assert page.run(PRESSED) == ["TV", "Movie"]
    page.press("Enter")
    answered(page, '"types":["TV"]')
    assert page.messages == []


@pytest.mark.slow
@in_a_browser
def test_an_address_opens_the_filters_however_it_is_spelt(tab: Tab, url: str) -> None:
    page = show(tab, url, f"{THREE}&type=movie&season=2014-Fall")
    assert page.run("document.querySelector('#filters').open")
    assert page.run(PRESSED) == ["Movie"]
    assert page.run("document.querySelector('#season').value") == "2014-fall"
    page.run("document.querySelector('#types [aria-pressed=true]').click()")
    page.wait("!location.hash.includes('type=')")


@pytest.mark.slow
@in_a_browser
def test_a_season_is_chosen_and_let_go(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    page.run("document.querySelector('#filters').open = true; document.querySelector('#season').focus()")
    options = "[...document.querySelectorAll('#season option')].map(node => node.innerText)"
    assert page.run(options) == ["any", "Spring 2015", "Fall 2014", "Winter 2014"]
    page.press("ArrowDown")
    answered(page, '"season":"2015-spring"')
    page.press("ArrowUp")
    answered(page, '"season":""')
    assert "season" not in page.run("location.hash")


@pytest.mark.slow
@in_a_browser
def test_all_is_in_chinese_as_well(tab: Tab, url: str) -> None:
    page = show(tab, url, f"{THREE}&type=Movie")
    page.run("speak('zh')")
    page.wait("document.querySelector('#titles .meta').innerText.includes('剧场版')")
    assert page.run("document.querySelector('#types-row').innerText.split('\\n')") == ["类型", "TV", "剧场版", "OVA"]
    assert page.run("document.querySelector('#season option:nth-child(2)').innerText") == "2015 年春季"
    assert page.run("document.querySelector('#season').labels[0].innerText") == "播出季度"
    page.run("speak('en')")


@pytest.mark.slow
@in_a_browser
def test_what_helps_a_list_that_filters_leave_empty_is_said(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    page.run("location.hash += '&tag=tag1&tag=tag2&tag=tag3&type=OVA&season=2014-fall'")
    page.wait("document.querySelector('#status').innerText.startsWith('No title passes')")
    assert page.run("document.querySelector('#status').innerText") == (
        "No title passes these filters. Remove a tag, or allow more types, or choose another season."
    )
    page.run("location.hash = location.hash.replace('OVA', 'film')")
    page.wait("!document.querySelector('#error').hidden")
    assert page.run("document.querySelector('#error-text').innerText").startswith("No title is of this type or season")
    assert page.run(PRESSED) == ["film"]  # so that it can be taken away


@pytest.mark.slow
@in_a_browser
def test_data_that_say_neither_have_no_such_filter(tab: Tab, untold: FinishedRun) -> None:
    with running(untold) as url:
        page = show(tab, url, f"{THREE}&type=TV&season=2014-fall")
        answered(page, '"types":[]')
        answered(page, '"season":""')
        page.run("document.querySelector('#filters').open = true")
        assert seen(page, "#years")
        assert not seen(page, "#types-row")
        assert not seen(page, "#season-row")
