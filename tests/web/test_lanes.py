"""The lists of the served page in a real browser: lanes, franchises, what a title tells, undo, and what is kept."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.helpers.chromium import Tab, browser, show

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from importers import read_export
from inference.finished_run import FinishedRun, load_finished
from inference.shaped_lists import EVEN
from inference.user_list import read_user_list
from tests.helpers.served import SEASONS, make_config, raw

pytestmark = [pytest.mark.slow, pytest.mark.skipif(browser() is None, reason="no Chromium is installed")]
HAVE = f"#t={raw(10)}&t={raw(4)}"
NICHE = "document.querySelector('#niche')"
NAMES = "[...document.querySelectorAll('#titles h3')].map(node => node.innerText)"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return load_finished(make_config(tmp_path_factory.mktemp("serve"), SEASONS))


def lanes_of(tab: Tab, url: str, state: str = HAVE, width: int = 1280) -> Tab:
    page = show(tab, url, state, width)
    page.wait("!document.querySelector('#gems').parentElement.hidden")
    return page


def entry(name: str) -> str:
    """Return the script of the entry of a title in the first list."""
    return f"[...document.querySelectorAll('#titles > li')].find(li => li.querySelector('h3').innerText === {name!r})"


def test_lanes_show_what_goes_on_and_what_is_new_and_lead_there(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    second = SEASONS[11]
    assert second in page.run("[...document.querySelectorAll('#further h3')].map(node => node.innerText)")
    gems = page.run("[...document.querySelectorAll('#gems h3')].map(node => node.innerText)")
    assert gems
    assert not {*gems} & {*SEASONS.values()}
    assert page.run("[...document.querySelectorAll('.lanes button')].map(node => node.innerText)") == [
        "Continue",
        "Hidden gems",
        "New titles",
    ]
    page.run("document.querySelector('#to-gems').focus()")
    page.press("Enter")
    page.wait("document.querySelector('#gems').contains(document.activeElement)")
    assert page.messages == []


def test_a_lane_of_nothing_is_not_there(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    assert not page.run("document.querySelector('#to-further').hidden")
    page.run("fill('further', [])")
    assert page.run("document.querySelector('#to-further').hidden")
    assert not page.run("document.querySelector('#further').checkVisibility()")


def test_a_franchise_says_what_it_follows_and_unfolds_by_keyboard(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    mine = entry(SEASONS[11])
    assert page.run(f"{mine}.querySelector('.series').innerText") == "After Blue Harbour · +1 more of it"
    page.run(f"{mine}.querySelector('.series button').focus()")
    page.press("Enter")
    page.wait(f"{mine}.querySelectorAll('.parts li').length === {len(SEASONS)}")
    assert page.run(f"{mine}.querySelector('.parts').innerText").count("yours") == 1
    assert page.run(f"{mine}.querySelector('.series button').ariaExpanded") == "true"
    page.press("Enter")
    page.wait(f"{mine}.querySelector('.parts').hidden")


def test_a_title_has_a_tile_collectors_and_a_synopsis_that_opens(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    assert page.run(f"{entry(SEASONS[11])}.querySelector('.tile').innerText") == "BH"
    assert "people" in page.run(f"{entry(SEASONS[11])}.querySelector('.meta').innerText")
    assert page.run("document.querySelector('#titles .readon').hidden")  # all of it is seen
    page.run("document.querySelector('#titles .synopsis').textContent = 'a word '.repeat(90)")
    page.wait("!document.querySelector('#titles .readon').hidden")
    height = "document.querySelector('#titles .synopsis').clientHeight"
    closed = page.run(height)
    page.run("document.querySelector('#titles .readon').focus()")
    page.press("Enter")
    assert page.run(height) > 1.5 * closed
    assert page.run("document.querySelector('#titles .readon').ariaExpanded") == "true"


def test_a_niche_makes_the_list_anew_and_stays_in_the_address(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    assert float(page.run(f"{NICHE}.value")) == EVEN == page.run("NICHE")
    assert page.run(f"{NICHE}.labels[0].innerText") == "It shows"
    before = page.run(NAMES)
    page.run(f"{NICHE}.focus()")
    page.press("ArrowUp", "ArrowUp")
    page.wait("location.hash.endsWith('&niche=1') && answered.includes('\"niche\":1,')")
    assert page.run(f"{NICHE}.ariaValueText") == "hidden gems"
    assert page.run(NAMES) != before


def test_more_titles_are_shown_and_the_first_of_them_has_the_focus(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    assert page.run("document.querySelectorAll('#titles > li').length") == 20
    page.run("document.querySelector('#longer').focus()")
    page.press("Enter")
    page.wait("document.querySelectorAll('#titles > li').length > 20")
    page.wait("document.querySelectorAll('#titles > li')[20].contains(document.activeElement)")
    assert page.run("document.querySelector('#longer').hidden")  # there are no 40


@pytest.mark.parametrize(("act", "said"), [("add", "I like it."), ("hide", None)])
def test_what_was_said_can_be_taken_back(act: str, said: str | None, tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    before, address = page.run(NAMES), page.run("location.hash")
    page.run(f"document.querySelector('#titles .{act}').click()")
    page.wait(f"document.querySelector('#titles h3').innerText !== {before[0]!r}")
    wanted = f"{before[0]}: {said} Undo" if said else f"{before[0]} is not for you. Undo"
    page.wait(f"document.querySelector('#refused').innerText === {wanted!r}")
    page.run("document.querySelector('#refused button').click()")
    page.wait(f"document.querySelector('#titles h3').innerText === {before[0]!r}")
    assert (page.run(NAMES), page.run("location.hash")) == (before, address)


def test_the_list_is_kept_in_the_browser_but_not_that_of_a_link(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    page.run("localStorage.removeItem('list')")
    page.run("document.querySelector('#titles .add').click()")
    page.wait("state().titles.length === 3")
    kept = page.run("location.hash")
    lanes_of(tab, url, f"#t={raw(20)}")  # somebody else's link
    assert show(tab, url, "").run("location.hash") == kept
    page.run("localStorage.removeItem('list')")


def test_a_saved_file_is_read_by_recommend_and_by_the_page(
    tab: Tab, url: str, run: FinishedRun, tmp_path: Path
) -> None:
    state = f"#t={raw(10)}&z=1&t={quote(raw(5), safe='')}&t={raw(4)}&z=-1.5&w=1600000000&x={raw(7)}"
    page = lanes_of(tab, url, state)
    (tmp_path / "my-titles.json").write_text(page.run("asFile(state())"), encoding="utf-8")
    name, rows = read_export(tmp_path / "my-titles.json")
    assert name.startswith("shikimori")
    assert dict(zip(rows["subject_id"], rows["status"], strict=True)) == {
        raw(10): "done",
        raw(5): "done",
        raw(4): "dropped",
        raw(7): "wish",
    }
    found, _ = read_user_list(run, tmp_path / "my-titles.json")
    assert {*found.person.items} == {10, 5}
    assert {*found.person.left_out} == {4, 7}  # without rates a dislike is only left out
    assert json.loads((tmp_path / "my-titles.json").read_text())[0]["score"] == 8.5
    page.run("URL.createObjectURL = blob => { window.saved = blob.size; return '#'; }")
    page.run("document.querySelector('#save').click()")
    assert page.run("window.saved") == len(page.run("asFile(state())").encode())


def test_a_link_is_copied_or_it_is_said_where_it_is(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    page.run("navigator.clipboard.writeText = async text => { window.copied = text; }")
    page.run("document.querySelector('#copy').click()")
    page.wait("document.querySelector('#refused').innerText === 'The link is copied.'")
    assert page.run("window.copied === location.href")
    page.run("navigator.clipboard.writeText = async () => { throw new Error('refused'); }")
    page.run("document.querySelector('#copy').click()")
    page.wait("document.querySelector('#refused').innerText.startsWith('The link is the address')")


def test_found_titles_tell_collectors_and_the_match_in_bold(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    page.run("document.querySelector('#search').focus()")
    page.press("harbour")
    page.wait("!document.querySelector('#found').hidden")
    assert page.run("document.querySelector('#found b').innerText") == "Harbour"
    assert "people" in page.run("document.querySelector('#found small').innerText")


def test_all_tags_that_are_offered_can_be_seen(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    page.run("document.querySelector('#filters').open = true; document.querySelector('#tag').focus()")
    page.press("tag")
    page.wait("document.querySelectorAll('#tags-found [role=option]').length > 6")
    page.wait(
        "(() => { const list = document.querySelector('#tags-found').getBoundingClientRect(), "
        "box = document.querySelector('.mine').getBoundingClientRect(); "
        "return list.bottom <= box.bottom + 1 && list.bottom <= innerHeight; })()"
    )
    page.press("Escape")
    page = lanes_of(tab, url, f"{HAVE}&no=tag1")
    assert page.run("document.querySelector('#tags button').title") == "With or without tag1"


def test_nothing_is_offered_that_cannot_help(tab: Tab, url: str) -> None:
    page = show_error(tab, url, f"{HAVE}&tag=none")
    assert page.run("document.querySelector('#retry').hidden")
    page = show_error(tab, url, f"{HAVE}&tag=tag1&tag=tag2&tag=tag3&tag=tag4")
    assert page.run("document.querySelector('#status').innerText") == "No title passes these filters. Remove a tag."
    page.wait("!document.querySelector('#lists').hasAttribute('aria-busy')")
    page.run("run.can.years = false; answered = ''; location.hash = location.hash + '&from=2000'")
    page.wait("answered.includes('\"min_year\":null')")


def show_error(tab: Tab, url: str, state: str) -> Tab:
    tab.look(1280)
    tab.open("about:blank")
    tab.open(f"{url}/{state}")
    tab.wait("document.querySelector('#error')?.hidden === false || document.querySelector('#lists')?.hidden === false")
    return tab


def test_a_bar_of_what_is_not_named_is_left_out(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    bars = "reasons([{{name: 'A', share: {}}}]).length"
    assert (page.run(bars.format(0.5)), page.run(bars.format(0.2))) == (2, 1)


def test_on_a_phone_the_list_comes_first_and_the_rest_on_request(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url, HAVE, 390)
    assert page.run("document.querySelector('#titles > li').getBoundingClientRect().top") <= 300
    assert not page.run("document.querySelector('#picked').checkVisibility()")
    page.run("document.querySelector('#fold').focus()")
    page.press("Enter")
    assert page.run(
        "document.querySelector('#picked').checkVisibility() && document.querySelector('#niche').checkVisibility()"
    )
    assert page.run("document.querySelector('#fold').ariaExpanded") == "true"
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_an_unchanged_page_does_not_move(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    page.run(
        "window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach(one => { moved += one.value; }))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    page.run("new Promise(done => setTimeout(done, 300))")
    assert page.run("moved") < 0.1


def test_what_changes_no_list_leaves_its_answer_on_the_way(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    page.run(
        "fill('gems', []); window.after = showLanes; "
        "showLanes = async (...words) => { showLists(state()); await after(...words); }; answered = ''; show()"
    )
    page.wait("!document.querySelector('#lists').hasAttribute('aria-busy')")
    assert page.run("document.querySelectorAll('#gems > li').length")


def test_a_list_that_was_left_in_between_is_whole(tab: Tab, url: str) -> None:
    page = lanes_of(tab, url)
    page.run("location.hash += '&tag=tag1'; setTimeout(() => history.back(), 1)")
    page.wait("!location.hash.includes('tag1') && !document.querySelector('#lists').hasAttribute('aria-busy')")
    page.wait("!answered.includes('tag1') && document.querySelectorAll('#titles > li').length === 20")
