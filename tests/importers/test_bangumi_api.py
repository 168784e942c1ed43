"""importers/bangumi_api.py against a server on this machine that behaves like the API."""

import json
import re
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from importers.bangumi_api import retry_after
from tests.helpers.bangumi_server import Bangumi, Clock, Instead, titles_in


@pytest.fixture
def clock() -> Clock:
    return Clock()


Ask = Callable[..., dict[str, int]]


def answer_once(*answers: tuple[int, dict[str, str], bytes], at: int = 1) -> Instead:
    """Give these answers from the request number `at` on, and the API's own otherwise."""
    return lambda number, name, offset: answers[number - at] if 0 <= number - at < len(answers) else None


# --- pages ---


def test_pages_are_written_as_they_came(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    counts = ask("sai", "b_2", "none", "sai")
    assert counts == {
        "fetched": 3,
        "already there": 0,
        "unknown or private": 0,
        "changed all the time": 0,
        "requests": 5,
    }
    assert bangumi.asked == [("sai", 0), ("sai", 50), ("sai", 100), ("b_2", 0), ("none", 0)]
    assert {name: titles_in(tmp_path / name) for name in bangumi.lists} == bangumi.lists
    assert sorted(path.name for path in (tmp_path / "sai").iterdir()) == ["0.json", "100.json", "50.json"]
    assert "好看 1000" in json.loads((tmp_path / "sai" / "0.json").read_bytes())["data"][0]["comment"]


@pytest.mark.parametrize("n", [49, 50, 51, 100])
def test_the_last_page_may_be_full(n: int, bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    bangumi.lists["x"] = list(range(n))
    ask("x")
    assert titles_in(tmp_path / "x") == bangumi.lists["x"]
    assert len(bangumi.asked) == -(-n // 50)


def test_a_server_that_gives_shorter_pages_loses_no_title(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    titles = bangumi.lists["sai"]
    bangumi.instead = lambda number, name, offset: (
        200,
        {},
        json.dumps(
            {
                "total": 120,
                "limit": 30,
                "offset": offset,
                "data": [{"subject_id": i} for i in titles[offset : offset + 30]],
            }
        ).encode(),
    )
    ask("sai")
    assert [offset for _, offset in bangumi.asked] == [0, 30, 60, 90]


@pytest.mark.slow
def test_what_is_there_is_not_asked_for_again_but_with_refresh(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    ask("sai")
    bangumi.lists["sai"] = [7, *bangumi.lists["sai"][:55]]
    assert ask("sai")["already there"] == 1
    assert len(bangumi.asked) == 3
    assert ask("sai", refresh=True)["fetched"] == 1
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]
    assert sorted(path.name for path in (tmp_path / "sai").iterdir()) == ["0.json", "50.json"]


def test_a_refresh_that_cannot_begin_leaves_the_old_list(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    ask("sai")
    bangumi.instead = lambda *_: (500, {}, b"")
    with pytest.raises(OSError, match="did not answer"):
        ask("sai", refresh=True)
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]


def test_a_kill_while_old_pages_are_deleted_leaves_no_gap(
    bangumi: Bangumi, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("sai")
    unlink, deleted = Path.unlink, []

    def killed(path: Path, **more: Any) -> None:
        if path.suffix == ".json":
            deleted.append(path.name)
            if len(deleted) == 2:
                raise KeyboardInterrupt
        unlink(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            ask("sai", refresh=True)
    assert sorted(path.name for path in (tmp_path / "sai").iterdir()) == ["0.json", "50.json"]


def test_unknown_and_private_lists_are_counted_and_the_rest_goes_on(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    assert ask("nobody", "b_2")["unknown or private"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["b_2"]


def test_a_list_made_private_goes_at_the_next_refresh(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    ask("sai")
    del bangumi.lists["sai"]
    ask("sai", refresh=True)
    assert not (tmp_path / "sai").exists()


# --- lists that change while they are read ---


CHANGES: dict[str, Callable[[list[int]], list[int]]] = {
    "a title more": lambda titles: [7, *titles],
    "a title less": lambda titles: titles[1:],
    "an old title touched": lambda titles: [titles[-1], *titles[:-1]],
    "nearly all gone": lambda titles: titles[:20],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_list_that_changes_between_pages_starts_over(change: str, bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    def instead(number: int, name: str, offset: int) -> None:
        if number == 3:
            bangumi.lists["sai"] = CHANGES[change](bangumi.lists["sai"])

    bangumi.instead = instead
    assert ask("sai")["fetched"] == 1
    assert [offset for _, offset in bangumi.asked[:4]] == [0, 50, 100, 0]
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]


def test_a_list_that_never_rests_is_given_up_and_the_rest_goes_on(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    def instead(number: int, name: str, offset: int) -> None:
        bangumi.lists["sai"] = [10_000 + number, *bangumi.lists["sai"]]

    bangumi.instead = instead
    counts = ask("sai", "b_2")
    assert (counts["changed all the time"], counts["fetched"]) == (1, 1)
    assert not (tmp_path / "sai").exists()  # rather than a part of it


# --- answers that are none ---


@pytest.mark.parametrize(
    "answers",
    [[(500, {}, b"")] * 2, [(502, {}, b"<html>")], [(200, {"Content-Length": "5000"}, b'{"total": 120, "da')]],
)
def test_servers_in_trouble_are_asked_again_ever_later(
    answers: list[Any], bangumi: Bangumi, ask: Ask, clock: Clock, tmp_path: Path
) -> None:
    bangumi.instead = answer_once(*answers, at=2)
    ask("sai", rate_s=0.01)
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]
    waits = [seconds for seconds in clock.slept if seconds > 1]
    assert len(waits) == len(answers)
    assert all(0.75 * 2**n <= seconds <= 1.25 * 2**n for n, seconds in enumerate(waits, start=1))


def test_a_server_that_stays_in_trouble_ends_in_a_sentence(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    bangumi.instead = lambda number, *_: (503, {}, b"") if number > 1 else None
    with pytest.raises(OSError, match=r"did not answer in 6 attempts \(status 503\); give the same command again"):
        ask("sai")
    assert len(bangumi.asked) == 1 + 6
    assert [path.name for path in (tmp_path / "sai").iterdir()] == ["0.json"]


def test_no_server_at_all_ends_in_a_sentence(ask: Ask, clock: Clock) -> None:
    with pytest.raises(OSError, match="did not answer in 6 attempts.*refused"):
        ask("sai", base="http://127.0.0.1:9")
    assert len([seconds for seconds in clock.slept if seconds > 0]) >= 5


def test_retry_after_is_obeyed(bangumi: Bangumi, ask: Ask, clock: Clock) -> None:
    bangumi.instead = answer_once(
        (429, {"Retry-After": "77"}, b""),
        (429, {"Retry-After": formatdate(time.time() + 500, usegmt=True)}, b""),
        (429, {}, b""),
    )
    ask("b_2")
    waits = [seconds for seconds in clock.slept if seconds > 0]
    assert waits[0] == 77
    assert 490 < waits[1] <= 500
    assert 6 <= waits[2] <= 10  # without the header as after a 500


def test_more_patience_than_an_hour_is_not_had(bangumi: Bangumi, ask: Ask) -> None:
    bangumi.instead = answer_once((429, {"Retry-After": "86400"}, b""))
    with pytest.raises(OSError, match="wait for 86,400 s.*same command"):
        ask("b_2")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120),
        (" 0 ", 0),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("²", None),
    ],
)
def test_retry_after_values(value: str | None, expected: float | None) -> None:
    assert retry_after(value) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>please log in</html>", "not a page.*please log in"),
        (b"", "not a page"),
        (b"[]", "not a page"),
        (b'{"total": 3, "limit": 50, "offset": 0}', "not a page.*data"),
        (b'{"total": "3", "limit": 50, "offset": 0, "data": []}', "no whole numbers"),
        (b'{"total": 3, "limit": 0, "offset": 0, "data": []}', "no whole numbers"),
        (b'{"total": 3, "limit": 50, "offset": 50, "data": []}', "asked for the list of b_2 from 0"),
        (b"[" * 100_000, "not a page"),
        (b"x" * 16_000_001, "more than 16,000,000 bytes"),
    ],
)
def test_an_answer_that_is_no_page_is_a_sentence(
    body: bytes, words: str, bangumi: Bangumi, ask: Ask, tmp_path: Path
) -> None:
    bangumi.instead = lambda *_: (200, {}, body)
    with pytest.raises(ValueError, match=words):
        ask("b_2")
    assert not list(tmp_path.iterdir())


def test_a_total_beyond_all_pages_ends_with_the_first_empty_one(bangumi: Bangumi, ask: Ask) -> None:
    bangumi.instead = lambda number, name, offset: (
        200,
        {},
        json.dumps(
            {"total": 10**12, "limit": 50, "offset": offset, "data": [{"subject_id": 1}] if offset == 0 else []}
        ).encode(),
    )
    assert ask("b_2")["requests"] == 2


# --- manners ---


def test_requests_keep_their_distance(bangumi: Bangumi, ask: Ask, clock: Clock) -> None:
    moments: list[float] = []
    bangumi.instead = lambda number, *_: moments.append(clock.now) or ((500, {}, b"") if number == 2 else None)
    ask("sai", "b_2", "nobody", rate_s=5)
    assert len(moments) == 6
    assert all(later - earlier >= 5 for earlier, later in zip(moments, moments[1:], strict=False))
    assert moments[-1] - moments[0] < 5 * 5 + 1  # and no longer than asked


def test_the_agent_names_program_and_person(bangumi: Bangumi, ask: Ask) -> None:
    ask("b_2", agent="sai.1")
    assert re.fullmatch(
        r"sai\.1/aglrec-\d+\.\d+\.\d+ \(https://bgm\.tv/user/sai\.1\)", bangumi.headers[0]["User-Agent"]
    )
    assert "Authorization" not in bangumi.headers[0]
    ask("b_2", agent="mine/1 (https://example.org)", refresh=True)
    assert bangumi.headers[-1]["User-Agent"] == "mine/1 (https://example.org)"


@pytest.mark.parametrize("agent", ["", " ", "Python-urllib/3.11", "my program", "..", "名"])
def test_nothing_is_asked_without_a_person_to_reach(agent: str, bangumi: Bangumi, ask: Ask) -> None:
    with pytest.raises(ValueError, match="--agent|no username"):
        ask("b_2", agent=agent)
    assert not bangumi.asked


def test_a_refused_agent_is_told_what_bangumi_wants(ask: Ask) -> None:
    with pytest.raises(ValueError, match="status 403.*User-Agent.*--agent"):
        ask("b_2", agent="Python-urllib/3.11 (https://example.org)")


def test_the_token_goes_to_the_api_and_to_no_other_host(bangumi: Bangumi, ask: Ask) -> None:
    ask("b_2", token=" secret\n")
    assert bangumi.headers[0]["Authorization"] == "Bearer secret"
    with Bangumi() as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        bangumi.instead = lambda *_: (302, {"Location": other.url + "/v0/users/b_2/collections?offset=0"}, b"")
        with pytest.raises(ValueError, match="another host"):
            ask("none", token="secret")
        other.shutdown()
        assert not other.asked


def test_a_redirect_on_the_same_host_is_followed(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    to = "/v0/users/b_2/collections?subject_type=2&limit=50&offset=0"
    bangumi.instead = lambda number, name, offset: (302, {"Location": to}, b"") if name == "old" else None
    ask("old")
    assert titles_in(tmp_path / "old") == [1, 2, 3]


@pytest.mark.parametrize("given", [{"token": "se\ncret"}, {"token": "密"}, {"agent": "a@b\r\nX: y"}])
def test_what_cannot_stand_in_a_header_is_refused_unseen(given: dict[str, str], bangumi: Bangumi, ask: Ask) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as error:
        ask("b_2", **given)
    assert not any(value in str(error.value) for value in given.values())
    assert not bangumi.asked


def test_an_expired_token_is_named(bangumi: Bangumi, ask: Ask) -> None:
    bangumi.instead = lambda *_: (401, {}, b"expired")
    with pytest.raises(ValueError, match="401.*token"):
        ask("b_2", token="secret")


@pytest.mark.parametrize("base", ["http://api.bgm.tv", "ftp://api.bgm.tv", "api.bgm.tv", "https://", ""])
def test_other_machines_are_asked_by_https_alone(base: str, ask: Ask) -> None:
    with pytest.raises(ValueError, match="https"):
        ask("b_2", base=base)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "名", "a%2f", "x" * 101, "a\n"])
def test_names_that_could_lead_elsewhere_are_refused(name: str, bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no username"):
        ask("b_2", name)
    assert not bangumi.asked
    assert not list(tmp_path.iterdir())
