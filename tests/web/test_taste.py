"""The slider of the served page, between what someone will watch and what they will love, and taste in the JSON."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chromium import Tab, browser, show

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from fastapi.testclient import TestClient

from inference.finished_run import FinishedRun
from inference.lists import list_titles
from inference.people import DISLIKE, LOVE, person, place
from inference.taste import AS_MEASURED, FOR_PEOPLE, with_taste
from tests.helpers.tastes import N_OF_KIND, taste_run
from web import answers
from web.app import create_app

ROOT = Path(__file__).parents[2]
LOVED, DISLIKED = [f"s{item}" for item in range(5)], [f"s{item}" for item in range(30, 35)]
SCORES = {**dict.fromkeys(LOVED, LOVE), **dict.fromkeys(DISLIKED, DISLIKE)}
needs_browser = pytest.mark.skipif(browser() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return taste_run(tmp_path_factory.mktemp("tastes"))


@pytest.fixture(scope="module")
def client(run: FinishedRun) -> Iterator[TestClient]:
    with TestClient(create_app(run, users=True)) as client:
        yield client


def ids(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


def listed(client: TestClient, **more: Any) -> list[dict[str, Any]]:
    reply = client.post("/api/list", json={"titles": [*LOVED, *DISLIKED], "scores": SCORES, "k": 50, **more})
    assert reply.status_code == 200, reply.text
    return reply.json()["titles"]


# --- the JSON ---


@pytest.mark.parametrize("taste", [0, 0.25, AS_MEASURED, FOR_PEOPLE, 1])
def test_a_list_is_that_of_the_run_with_this_taste(taste: float, client: TestClient, run: FinishedRun) -> None:
    minded, rows = with_taste(run, taste, users=False), [run.item_rows[raw] for raw in SCORES]
    user = place(minded, person(minded, rows, list(SCORES.values()))).users[0]
    wanted, found = list_titles(run, user, 50, rows), listed(client, taste=taste, why=True)
    assert ids(found) == ids(wanted)
    for title, one in zip(found, wanted, strict=True):
        assert title["score"] == pytest.approx(one["score"], abs=1e-4)
        assert sum(title["parts"].values()) == pytest.approx(title["score"], abs=1e-4)


def test_tastes_differ_and_that_of_people_is_the_default(client: TestClient) -> None:
    assert client.get("/api/run").json()["can"]["taste"]
    lists = {taste: listed(client, taste=taste) for taste in (0, AS_MEASURED, FOR_PEOPLE, 1)}
    assert listed(client) == lists[FOR_PEOPLE]
    assert all(lists[taste] != lists[FOR_PEOPLE] for taste in (0, AS_MEASURED, 1))
    of_kind = {taste: sum(int(raw[1:]) < N_OF_KIND for raw in ids(found[:20])) for taste, found in lists.items()}
    assert of_kind[0] < of_kind[1]


def test_a_taste_between_the_steps_is_the_nearest(client: TestClient) -> None:
    assert listed(client, taste=0.1) == listed(client, taste=0)
    assert listed(client, taste=0.6) == listed(client, taste=AS_MEASURED)
    most, before = listed(client, taste=1), answers.minding.cache_info()
    assert listed(client, taste=0.99) == most
    after = answers.minding.cache_info()
    assert after.misses == before.misses
    assert after.maxsize == answers.N_TASTES


@pytest.mark.parametrize("wrong", [-0.25, 1.01, "much", None, [0.5]])
def test_what_is_no_taste_is_refused(wrong: Any, client: TestClient) -> None:
    reply = client.post("/api/list", json={"titles": LOVED, "taste": wrong})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid")
    assert reply.json()["message"].startswith("taste: ")


def test_users_of_the_run_have_lists_as_measured(client: TestClient, run: FinishedRun) -> None:
    wanted = list_titles(run, run.user_emb[0], 9, run.dataset.seen[0].indices)
    found = client.get(f"/api/user/{run.dataset.raw_user_ids[0]}", params={"k": 9}).json()["titles"]
    assert ids(found) == ids(wanted)


def test_a_run_without_rates_takes_a_taste_that_changes_nothing(tmp_path: Path) -> None:
    with TestClient(create_app(taste_run(tmp_path, rating_weight=0.0))) as client:
        assert not client.get("/api/run").json()["can"]["taste"]
        assert listed(client, taste=0) == listed(client, taste=1) == listed(client)


def test_the_slider_has_the_steps_and_the_default_of_the_server() -> None:
    slider = re.search(r"<input id=\"taste\"[^>]*>", (ROOT / "web" / "serve.html").read_text(encoding="utf-8")).group()
    assert f'min="0" max="1" step="{answers.TASTE_STEP}" value="{FOR_PEOPLE}"' in slider


# --- the page ---


MARKED = "#" + "&".join(f"t={raw}&z={score}" for raw, score in SCORES.items())
SLIDER = "document.querySelector('#taste')"


def shown(tab: Tab) -> list[str]:
    return tab.run("[...document.querySelectorAll('#titles h3')].map(node => node.innerText)")


@needs_browser
@pytest.mark.slow
def test_the_slider_makes_the_list_anew_by_keyboard_and_stays_in_the_address(tab: Tab, url: str) -> None:
    page = show(tab, url, MARKED)
    first = shown(page)
    assert page.run(f"[{SLIDER}.value, {SLIDER}.ariaValueText]") == ["0.75", "rather what I will love"]
    page.run(f"{SLIDER}.focus()")
    for step, said in ((0.5, "both alike"), (0.25, "rather what I will watch"), (0, "what I will watch")):
        page.press("ArrowDown")
        page.wait(f"location.hash.endsWith('&taste={step:g}') && answered.includes('\"taste\":{step:g},')")
        assert page.run(f"{SLIDER}.ariaValueText") == said
    assert page.run(f"{SLIDER} === document.activeElement")
    watched = shown(page)
    assert watched != first
    assert shown(show(tab, url, f"{MARKED}&taste=0")) == watched
    page.run(f"{SLIDER}.focus()")
    page.press("ArrowUp", "ArrowUp", "ArrowUp")
    page.wait("!location.hash.includes('taste') && answered.includes('\"taste\":0.75,')")
    assert shown(page) == first
    page.run("history.back()")
    page.wait(f"{SLIDER}.value === '0.5' && answered.includes('\"taste\":0.5,')")
    assert page.messages == []


@needs_browser
@pytest.mark.slow
def test_an_address_with_another_taste_has_the_default(tab: Tab, url: str) -> None:
    for wrong in ("2", "-1", "x", "", "0.6"):
        page = show(tab, url, f"{MARKED}&taste={wrong}")
        assert page.run(f"[{SLIDER}.value, state().taste]") == ["0.75", 0.75]


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_slider_fits_has_a_name_and_says_when_it_counts(width: int, tab: Tab, url: str) -> None:
    page = show(tab, url, MARKED, width)
    page.run("fold(false)")  # on a narrow screen the list comes first
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(f"{SLIDER}.getBoundingClientRect().width") >= 80
    assert page.run(f"{SLIDER}.labels[0].innerText") == "This list is of"
    assert page.run("document.querySelector('#taste-hint').hidden")
    page = show(tab, url, "#t=s1&t=s2", width)
    page.run("fold(false)")
    assert page.run("document.querySelector('#taste-hint').innerText").startswith("It changes the list once you mark")
    assert page.run(f"{SLIDER}.getAttribute('aria-describedby')") == "taste-hint"
    page.run("run.can.taste = false; show()")
    assert page.run("document.querySelector('#taste-row').hidden")
