"""importers/bangumi_live.py and tools/fetch_bangumi.py against a server of this machine that behaves like the API."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from importers import bangumi_live
from importers.bangumi_live import fetch, retry_after
from runtime.cli import run_script
from tools import fetch_bangumi

ROOT = Path(bangumi_live.__file__).resolve().parents[1]
# what a test has the server do in place of answering a request: (status, headers, body), or None to answer after all
Instead = Callable[[int, str, int], "tuple[int, dict[str, str], bytes] | None"]


class Bangumi(ThreadingHTTPServer):
    """The lists of its users, as GET /v0/users/{username}/collections gives them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.lists: dict[str, list[int]] = {}
        self.asked: list[tuple[str, int]] = []
        self.headers: list[dict[str, str]] = []
        self.instead: Instead = lambda number, name, offset: None
        self.pause_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Bangumi

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: int(value) for key, (value,) in parse_qs(parts.query).items()}
        name, offset = parts.path.split("/")[3], query["offset"]
        self.server.asked.append((name, offset))
        self.server.headers.append(dict(self.headers))
        time.sleep(self.server.pause_s)
        self.send(*(self.server.instead(len(self.server.asked), name, offset) or self.page(name, query)))

    def page(self, name: str, query: dict[str, int]) -> tuple[int, dict[str, str], bytes]:
        assert query["subject_type"] == 2
        if "urllib" in self.headers["User-Agent"]:
            return 403, {}, b"no User-Agent"
        if name not in self.server.lists:
            return 404, {}, b'{"title": "Not Found"}'
        titles, offset, limit = self.server.lists[name], query["offset"], min(query["limit"], 50)
        if offset > len(titles):
            return 400, {}, b'{"description": "offset should be less than or equal to the total"}'
        rows = [
            {"subject_id": title, "rate": 7, "comment": f"好看 {title}"} for title in titles[offset : offset + limit]
        ]
        return 200, {}, json.dumps({"total": len(titles), "limit": limit, "offset": offset, "data": rows}).encode()

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Clock:
    """Time that passes in sleep alone."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def bangumi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bangumi]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Bangumi() as server:
        server.lists = {"sai": list(range(1000, 1120)), "b_2": [1, 2, 3], "none": []}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ask(bangumi: Bangumi, clock: Clock, tmp_path: Path) -> Callable[..., dict[str, int]]:
    def fetch_these(*names: str, **more: Any) -> dict[str, int]:
        return fetch(
            names, tmp_path, **{"agent": "me", "base": bangumi.url, "sleep": clock.sleep, "clock": clock, **more}
        )

    return fetch_these


Ask = Callable[..., dict[str, int]]


def titles_in(folder: Path) -> list[int]:
    pages = [json.loads(path.read_bytes()) for path in sorted(folder.iterdir(), key=lambda path: int(path.stem))]
    assert [page["offset"] for page in pages] == [50 * number for number in range(len(pages))]
    return [row["subject_id"] for page in pages for row in page["data"]]


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


# --- the script ---


def test_a_fetch_that_was_killed_asks_for_the_missing_pages_only(bangumi: Bangumi, tmp_path: Path) -> None:
    bangumi.lists["sai"] = list(range(400))
    command = [
        sys.executable,
        "tools/fetch_bangumi.py",
        "sai",
        "--to",
        str(tmp_path),
        "--base",
        bangumi.url,
        "--rate",
        "0.5",
        "--agent",
        "me",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 60
    while not (tmp_path / "sai" / "50.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = {int(path.stem) for path in (tmp_path / "sai").glob("*.json")}
    assert 2 <= len(whole) < 8
    bangumi.asked.clear()
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert [offset for _, offset in bangumi.asked] == [offset for offset in range(0, 400, 50) if offset not in whole]
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]


def test_a_list_that_changed_since_the_kill_starts_over(bangumi: Bangumi, ask: Ask, tmp_path: Path) -> None:
    ask("sai")
    (tmp_path / "sai" / "100.json").unlink()
    bangumi.lists["sai"] = [7, *bangumi.lists["sai"]]
    ask("sai")
    assert titles_in(tmp_path / "sai") == bangumi.lists["sai"]


def test_a_page_damaged_by_hand_is_named(ask: Ask, tmp_path: Path) -> None:
    ask("sai")
    (tmp_path / "sai" / "50.json").write_bytes(b"{")
    with pytest.raises(ValueError, match="50.json: not a page.*can be deleted"):
        ask("sai")


@pytest.fixture
def script(
    bangumi: Bangumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("aglrec"), "level", logging.NOTSET)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys,
            "argv",
            [
                "fetch_bangumi.py",
                *words,
                "--to",
                str(tmp_path / "to"),
                "--base",
                bangumi.url,
                "--rate",
                "0.5",
                "--agent",
                "me",
            ],
        )
        return run_script(fetch_bangumi.main), *capsys.readouterr()

    return run


def test_the_script_reads_names_and_token(
    script: Callable[..., Any], bangumi: Bangumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users.txt").write_text("\ufeffb_2\r\n\n  none \n", encoding="utf-8")
    monkeypatch.setenv("BANGUMI_TOKEN", "secret")
    code, out, err = script("--users_file", str(tmp_path / "users.txt"))
    assert (code, err) == (0, "")
    assert "2 fetched" in out
    assert "secret" not in out
    assert bangumi.headers[0]["Authorization"] == "Bearer secret"
    assert titles_in(tmp_path / "to" / "b_2") == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "whose list"),
        (("nobody",), "no list came.*1 unknown or private"),
        (("b_2", "--rate", "0.5"), ""),
        (("b/2",), "'b/2' is no username"),
    ],
)
def test_the_script_ends_in_a_sentence(words: tuple[str, ...], error: str, script: Callable[..., Any]) -> None:
    code, _, err = script(*words)
    assert code == (2 if error else 0)
    assert re.search(error, err)
    assert len(err.splitlines()) == bool(error)


def test_a_bad_line_of_the_users_file_is_named(script: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("b_2\nhttps://bgm.tv/user/x\n", encoding="utf-8")
    code, _, err = script("--users_file", str(tmp_path / "users.txt"))
    assert code == 2
    assert "users.txt line 2" in err
