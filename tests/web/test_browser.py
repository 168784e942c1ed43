"""The page of serve.py in a real browser: by keyboard, with an upload, in both languages and themes, at three sizes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chromium import Tab, browser

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from inference.finished_run import load_finished
from tests.helpers.served import HOSTILE, N_ITEMS, NEW, export, make_config, name_of, raw, running

pytestmark = pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
ROOT = Path(__file__).parents[2]
THREE = f"#t={raw(3)}&t={raw(4)}&t={raw(6)}"
LISTED = "document.querySelectorAll('#titles > li').length"
# the text that is seen, with its colour and the background it stands on, both as numbers from 0 to 255
COLOURS = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number), found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility()) continue;
    let behind = node;
    while (behind && (numbers(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
    found.push([node.textContent.trim().slice(0, 30), numbers(getComputedStyle(node).color).slice(0, 3),
                numbers(getComputedStyle(behind ?? document.body).backgroundColor).slice(0, 3)]);
  }
  return found; })()"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(load_finished(make_config(tmp_path_factory.mktemp("serve")))) as url:
        yield url


@pytest.fixture
def page(tab: Tab, url: str) -> Tab:
    return show(tab, url)


def show(tab: Tab, url: str, state: str = "", width: int = 1280, dark: bool = False) -> Tab:
    """Open the page anew, with what is asked for in its address."""
    tab.look(width, dark=dark)
    tab.open("about:blank")
    if not state:  # what the browser has kept would be shown
        tab.call("Storage.clearDataForOrigin", origin=url, storageTypes="local_storage")
    tab.messages.clear()
    tab.open(f"{url}/{state}")
    tab.wait("document.readyState === 'complete' && document.querySelectorAll('#popular button').length")
    if state:
        tab.wait("!document.getElementById('lists').hidden || !document.getElementById('error').hidden")
    return tab


def text(tab: Tab, selector: str) -> str:
    return tab.run(f"document.querySelector({selector!r}).innerText")


def texts(tab: Tab, selector: str) -> list[str]:
    return tab.run(f"[...document.querySelectorAll({selector!r})].map(node => node.innerText)")


def pick(tab: Tab, query: str, *keys: str) -> None:
    """Type into the search, which has the focus, and choose by keyboard."""
    before = tab.run("location.hash")
    tab.press(query)
    tab.wait(
        "document.querySelector('#search').ariaExpanded === 'true' && "
        "document.querySelector('#found [aria-selected=true]') !== null"
    )
    tab.press(*keys, "Enter")
    tab.wait(f"location.hash !== {before!r}")


@pytest.mark.slow
def test_three_titles_by_keyboard_give_a_list_with_reasons(page: Tab) -> None:
    page.run("document.querySelector('#search').focus()")
    pick(page, "你的名字")
    pick(page, name_of(3), "ArrowDown", "ArrowUp")
    pick(page, name_of(4))
    page.wait("document.querySelector('#status').innerText === '20 titles, because of 3 of yours'")
    assert page.run(LISTED) == 20
    assert page.run("document.activeElement.id") == "search"
    assert texts(page, "#picked li button:first-child") == ["Kimi no Na wa.", name_of(3), name_of(4)]
    reason = text(page, "#titles .because")
    assert reason.startswith("Because of ")
    assert any(name in reason for name in ("Kimi no Na wa.", name_of(3), name_of(4)))
    assert re.search(r"\d+%", page.run("document.querySelector('#titles .shares').ariaLabel"))
    assert set(texts(page, "#new-titles h3")) == {"Quite new", *(name_of(item) for item in range(NEW + 1, N_ITEMS))}
    assert page.messages == []


@pytest.mark.slow
def test_what_is_typed_can_be_left(page: Tab) -> None:
    page.run("document.querySelector('#search').focus()")
    page.press("title")
    page.wait("!document.querySelector('#found').hidden")
    page.press("ArrowDown")
    active = page.run("document.querySelector('#search').getAttribute('aria-activedescendant')")
    assert page.run(f"document.getElementById('{active}').ariaSelected") == "true"
    page.press("Escape")
    assert page.run("document.querySelector('#found').hidden")
    page.run("document.querySelector('#search').value = ''")
    page.press("zzzzqqq")
    assert page.wait("document.querySelector('#found .nothing')?.innerText") == "No name is like that."
    page.press("Enter")
    assert page.run("location.hash") == ""


@pytest.mark.slow
def test_similar_titles_give_the_focus_back(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    page.run("document.querySelectorAll('#titles .similar')[2].focus()")
    label = page.run("document.activeElement.ariaLabel")
    page.press("Enter")
    page.wait("document.querySelector('#similar').open")
    assert page.run("document.querySelector('#similar').contains(document.activeElement)")
    page.press("Escape")
    page.wait("!document.querySelector('#similar').open")
    assert page.run("document.activeElement.ariaLabel") == label


@pytest.mark.slow
def test_similar_titles_open_close_and_come_back(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    name = text(page, "#titles h3")
    page.run("document.querySelector('#titles .similar').focus()")
    page.press("Enter")
    page.wait("document.querySelector('#similar').open")
    assert text(page, "#similar-heading") == f"Similar titles: {name}"
    assert texts(page, "#sides section > h3") == ["Collected by the same people", "Alike in text"]
    assert len(texts(page, "#sides li h3")) == 16
    # the first that is not liked already
    place = texts(page, "#sides .acts button").index("I like it")
    acts = f"document.querySelectorAll('#sides .acts button')[{place}]"
    page.run(f"{acts}.click()")
    page.wait(f"{acts}.innerText === '✓ Liked'")
    page.run("history.back()")
    page.wait(f"{acts}.innerText === 'I like it'")
    page.press("Escape")
    page.wait("!document.querySelector('#similar').open && !location.hash.includes('s=')")
    page.run("history.back()")
    page.wait("document.querySelector('#similar').open")


@pytest.mark.slow
def test_the_back_button_takes_a_choice_back(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    first = text(page, "#titles h3")
    page.run("document.querySelector('#titles .hide').click()")  # not for me: here rates count nothing
    page.wait(f"document.querySelector('#titles h3').innerText !== {first!r}")
    assert text(page, "#refused").startswith(f"{first} is not for you.")
    assert text(page, "#hidden-count") == "Left out: 1"
    page.run("history.back()")
    page.wait(f"document.querySelector('#titles h3').innerText === {first!r}")
    page.run("document.querySelector('#titles .add').click()")  # I like it
    page.wait("document.querySelectorAll('#picked li').length === 4")
    assert first in texts(page, "#picked li button:first-child")


@pytest.mark.slow
def test_an_export_is_uploaded(page: Tab, tmp_path: Path) -> None:
    entries = [(raw(item), "Completed", 9) for item in range(15)]
    entries += [(raw(20), "Dropped", 0), ("999999", "Completed", 1)]
    page.choose_file("#file", export(tmp_path / "my list.xml", entries))
    page.wait(f"{LISTED} > 0")
    assert text(page, "#told") == (
        "15 of 17 entries count here, all alike: this run was trained without rates; 1 planned, dropped or rated "
        "low are only left out; 1 (999999) are unknown here."
    )
    assert len(texts(page, "#picked li")) == 12
    page.run("document.querySelector('#more').click()")
    assert len(texts(page, "#picked li")) == 15
    assert text(page, "#hidden-count") == "Left out: 1"
    assert page.messages == []


@pytest.mark.slow
def test_a_file_that_is_no_list_is_a_sentence(page: Tab, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\0\1\2")
    page.choose_file("#file", tmp_path / "x.bin")
    page.wait("document.querySelector('#told').innerText.startsWith('No list could be read')")
    page.run("run.max_upload_mib = 0")
    page.choose_file("#file", tmp_path / "x.bin")
    page.wait("document.querySelector('#told').innerText.startsWith('That file is larger than 0 MiB')")


@pytest.mark.slow
def test_a_hostile_name_is_text_everywhere(tab: Tab, url: str) -> None:
    page = show(tab, url, f"#t={raw(1)}&x={raw(2)}&s={raw(1)}&tag=%3Cimg")
    page.wait("document.querySelector('#similar').open")
    assert text(page, "#similar-heading") == f"Similar titles: {HOSTILE}"
    assert HOSTILE in texts(page, "#picked li button:first-child")
    assert HOSTILE in text(page, "#titles .because")
    assert "<img" in texts(page, "#tags li button:first-child")
    show(tab, url, THREE)
    page.run("document.querySelector('#search').focus()")
    page.press("<img src")
    page.wait(f"document.querySelector('#found li')?.innerText.includes({HOSTILE!r})")
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("typeof window.ran") == "undefined"


@pytest.mark.slow
def test_filters_and_what_is_wrong_with_them(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    page.run("document.querySelector('#filters').open = true; document.querySelector('#tag').focus()")
    page.press("tag1")
    page.wait("document.querySelector('#tags-found [role=option]') !== null")
    page.press("Enter")
    page.wait(f"{LISTED} < 20 && {LISTED} > 0")
    assert texts(page, "#tags li button:first-child") == ["Tag1"]
    page.run("document.querySelector('#tags button').click()")
    page.wait("location.hash.includes('no=Tag1')")
    assert texts(page, "#tags li button:first-child") == ["without Tag1"]
    page.run(
        "document.querySelector('#from').value = 2029;"
        "document.querySelector('#from').dispatchEvent(new Event('change'))"
    )
    page.wait("location.hash.includes('from=2029')")
    page.wait(f"{LISTED} === 1")
    assert text(page, "#titles h3") == name_of(39)
    show(tab, url, f"{THREE}&from=1900&to=1901")
    assert "No title passes" in text(page, "#status")
    show(tab, url, f"{THREE}&tag=none")
    assert text(page, "#error-text").startswith("No title has this tag")
    show(tab, url, "#t=nope")
    assert text(page, "#error-text").startswith("None of the titles in this address is known")
    show(tab, url, f"{THREE}&t=nope")
    assert "1 of the titles in this address are unknown here." in text(page, "#status")


@pytest.mark.slow
def test_a_question_that_is_given_up_is_no_answer(page: Tab) -> None:
    page.run("fetch = async () => ({ok: true, json: async () => { throw new DOMException('', 'AbortError'); }})")
    assert page.run("ask('api/run').then(() => 'answered', error => error.name)") == "AbortError"


@pytest.mark.slow
def test_a_server_that_has_gone_is_told(tab: Tab, tmp_path: Path, url: str) -> None:
    page = show(tab, url, THREE)
    page.call("Network.enable")
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.call("Network.emulateNetworkConditions", offline=True, **conditions)
    page.run("document.querySelector('#titles .add').click()")
    page.wait("document.querySelector('#error-text').innerText === 'The server does not answer. Is it still running?'")
    page.call("Network.emulateNetworkConditions", offline=False, **conditions)
    page.run("document.querySelector('#retry').click()")
    page.wait(f"{LISTED} === 20 && document.querySelector('#error').hidden && !document.querySelector('#lists').hidden")


@pytest.mark.slow
def test_both_languages_say_everything(tab: Tab, url: str) -> None:
    page = show(tab, url, THREE)
    kinds = "Object.entries(TEXTS.{}).map(([key, value]) => key + ' ' + typeof value).sort()"
    assert page.run(kinds.format("en")) == page.run(kinds.format("zh"))
    script = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "web").glob("serve*.js")))
    used = set(re.findall(r'\bt\("(\w+)"', script)) | set(
        page.run(
            "[...document.querySelectorAll('[data-text], [data-label]')].map(n => n.dataset.text ?? n.dataset.label)"
        )
    )
    assert used <= set(page.run("Object.keys(TEXTS.en)"))
    page.run("document.querySelector('#languages [lang=zh]').click()")
    page.wait("document.querySelector('#status').innerText.startsWith('20 部')")
    assert text(page, "#list-heading") == "推荐给你"
    assert page.run("document.documentElement.lang") == "zh-Hans"
    show(tab, url, f"#t={raw(0)}")
    assert texts(page, "#picked li button:first-child") == ["你的名字。"]  # it is remembered
    page.run("document.querySelector('#languages [lang=en]').click()")
    page.wait("document.querySelector('#picked button').innerText === 'Kimi no Na wa.'")


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_can_be_read(width: int, dark: bool, tab: Tab, url: str) -> None:
    page = show(tab, url, f"#t={raw(2)}&t={raw(1)}&t={raw(NEW)}&no=tag1&x={raw(3)}", width, dark)
    page.run("document.querySelector('#hidden').open = true")
    for state in ("list", "similar"):
        assert page.run("document.documentElement.scrollWidth") <= width
        pale = [(words, ratio) for words, ink, paper in page.run(COLOURS) if (ratio := contrast(ink, paper)) < 4.5]
        assert not pale, state
        page.run("document.querySelector('#titles .similar').click()")
        page.wait("document.querySelector('#similar').open")
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", background).group()) < 60) == dark
    assert page.messages == []


def contrast(ink: list[float], paper: list[float]) -> float:
    """Return the contrast of two colours (WCAG 2.2, 1.4.3)."""

    def luminance(colour: list[float]) -> float:
        linear = [c / 255 / 12.92 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dim = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dim + 0.05)


@pytest.mark.slow
def test_a_screen_reader_finds_names_for_everything(tab: Tab, url: str) -> None:
    page = show(tab, url, f"{THREE}&x={raw(8)}&tag=tag1")
    page.run("document.querySelector('#hidden').open = true")
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in tree:
        if not node["ignored"]:
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role in ("button", "combobox", "spinbutton", "image", "heading", "link"):
        assert roles[role], role
        assert all(roles[role]), (role, roles[role])
    assert len(roles["status"]) == 3
    assert set(roles["combobox"]) == {"Search by any name", "Tag"}


@pytest.mark.slow
def test_the_tests_see_what_the_policy_refuses(page: Tab) -> None:
    seen: list[Any] = page.messages
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    page.run("1")
    assert any("Content Security Policy" in message for message in seen)
    assert page.run("typeof window.ran") == "undefined"
