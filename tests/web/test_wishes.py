"""What is asked for in words: in the JSON, and on the served page in a real browser."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers.chromium import Tab, browser, show

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from fastapi.testclient import TestClient

from inference.finished_run import FinishedRun, load_finished
from inference.wishes import WEIGHT
from tests.helpers.served import make_config, raw
from web.app import create_app

needs_browser = pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
STATUS = "document.querySelector('#status').innerText"
NAMES = "[...document.querySelectorAll('#titles h3')].map(node => node.innerText)"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return load_finished(make_config(tmp_path_factory.mktemp("serve")))


@pytest.fixture(scope="module")
def client(run: FinishedRun) -> Iterator[TestClient]:
    with TestClient(create_app(run)) as client:
        yield client


def answer(client: TestClient, **asked: Any) -> dict[str, Any]:
    reply = client.post("/api/list", json={"k": 8, **asked})
    assert reply.status_code == 200, reply.text
    return reply.json()


def ids(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


# --- the JSON ---


def test_words_alone_are_a_question_and_are_said_back(client: TestClient) -> None:
    assert client.get("/api/run").json()["can"]["wish"]
    found = answer(client, wish="tag3, no tag1", why=True, new=True, exclude=[raw(3)])
    assert found["wish"] == {"wanted": "tag3", "unwanted": ["tag1"], "by": "words"}
    assert all("tag3" in {tag.lower() for tag in one["tags"]} for one in found["titles"][:4])
    assert not any("tag1" in {tag.lower() for tag in one["tags"]} for one in found["titles"])
    assert raw(3) not in ids(found["titles"])
    assert (found["collected"], ids(found["excluded"])) == ([], [raw(3)])
    one = found["titles"][0]
    assert one["says"].startswith("story of ")
    assert one["parts"] == {"words": pytest.approx(one["score"], abs=1e-4)}
    assert found["new_titles"]


def test_words_count_beside_titles_as_asked(client: TestClient) -> None:
    titles = [raw(4), raw(8)]
    plain = answer(client, titles=titles)
    assert plain["wish"] is None
    by_weight = {
        weight: ids(answer(client, titles=titles, wish="tag3", wish_weight=weight)["titles"])
        for weight in (0, WEIGHT, 1)
    }
    assert by_weight[0] == ids(plain["titles"])
    assert ids(answer(client, titles=titles, wish="tag3")["titles"]) == by_weight[WEIGHT]
    assert len({*map(tuple, by_weight.values())}) == 3
    assert not {*titles} & {*by_weight[1]}


def test_a_question_of_nothing_and_unknown_words_are_refused(client: TestClient) -> None:
    for asked, code, told in (
        ({}, "invalid", "titles and wish are both empty"),
        ({"wish": "  "}, "invalid", "titles and wish are both empty"),
        ({"wish": "ЖЖЖ"}, "unknown_words", "nothing is known of 'ЖЖЖ'"),
        ({"wish": "please"}, "unknown_words", "nothing is asked for"),
        ({"wish": "x" * 501}, "invalid", "wish"),
        ({"wish": "tag3", "wish_weight": 1.5}, "invalid", "wish_weight"),
    ):
        reply = client.post("/api/list", json=asked)
        assert (reply.status_code, reply.json()["code"]) == (422, code), reply.text
        assert told in reply.json()["message"]


# --- the page ---


@needs_browser
@pytest.mark.slow
def test_words_are_typed_and_stand_in_the_address(tab: Tab, url: str) -> None:
    page = show(tab, url, f"#t={raw(4)}&t={raw(8)}")
    before = page.run(NAMES)
    assert not page.run("document.querySelector('#words').checkVisibility()")
    page.run("document.querySelector('#wish').focus()")
    page.press("tag3, no tag1", "Enter")
    page.wait(f"{STATUS}.includes('not “tag1”')")
    assert page.run(STATUS).startswith("20 titles, because of 2 of yours Asked for: “tag3”, not “tag1”.")
    assert "looks for words as they are written" in page.run(STATUS)
    assert page.run(NAMES) != before
    assert page.run("document.querySelector('#titles .because q').innerText").startswith("story of ")
    assert "q=tag3" in page.run("location.hash")
    page.run("document.querySelector('#words').focus()")
    assert page.run("document.querySelector('#words').ariaValueText") == "rather your words"
    page.run("document.querySelector('#words').value = 0; document.querySelector('#words').onchange()")
    page.wait("location.hash.includes('words=0')")
    page.wait(f"{NAMES}.join('|') === {'|'.join(before)!r}")
    page.run("document.querySelector('#wish').value = ''; document.querySelector('#wish').onchange()")
    page.wait("!location.hash.includes('q=')")
    assert page.messages == []


@needs_browser
@pytest.mark.slow
def test_words_without_titles_give_a_list_and_hostile_ones_are_text(tab: Tab, url: str) -> None:
    wish = "<b>tag3</b> <img src=x onerror='window.ran=1'>"
    page = show(tab, url, f"#q={quote(wish)}")
    assert page.run("document.querySelector('#wish').value") == wish
    assert page.run(STATUS).startswith("20 titles. Asked for: “<b>tag3</b>")
    assert not page.run("document.querySelector('#start').checkVisibility()")
    assert not page.run("document.querySelector('#words').checkVisibility()")
    assert page.run("window.ran") is None
    page.run("speak('zh')")
    page.wait(f"{STATUS}.startsWith('20 部。 想看：')")
    assert page.messages == []
