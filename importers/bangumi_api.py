"""Public lists of Bangumi users, page by page from its API, as files that importers/bangumi.py reads.

The API sorts a list by the time of the last change, so whatever a user touches while their list is being read moves the
rest of it by a place. A page that shows this (another total, a title that was on an earlier page, an offset beyond the
end) makes the list start over.
"""

import http.client
import json
import logging
import math
import random
import re
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from runtime.files import atomic_write

log = logging.getLogger("aglrec")

BASE = "https://api.bgm.tv"
PATH = "/v0/users/{}/collections?subject_type=2&limit={}&offset={}"  # 2 is anime
LIMIT, MAX_BYTES, TIMEOUT_S = 50, 16_000_000, 30
TRIES, RESTARTS, LONGEST_WAIT_S = 6, 3, 3600
GO_ON = "give the same command again later, it goes on after the last whole page"
REMEDY = "check that the address is that of Bangumi's API; a file of this kind can be deleted"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Page(NamedTuple):
    """What a page says of where it stands, and the titles on it."""

    offset: int
    limit: int
    total: int
    subject_ids: list[int]


class Api(NamedTuple):
    """How to ask: where, as whom, how often; sleep and clock are those of time, or of a test."""

    base: str
    headers: dict[str, str]
    until_due: Callable[[], None]
    sleep: Callable[[float], None]


def fetch(
    usernames: Iterable[str],
    folder: Path,
    agent: str,
    token: str = "",
    base: str = BASE,
    rate_s: float = 2.0,
    refresh: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, int]:
    """Write what these users collected, a page of the API a file: folder/USERNAME/OFFSET.json, as it came.

    Pages that are there are not asked for again, so a killed fetch resumes. Unknown and private lists are counted.

    Args:
        usernames: as in the address of a user's page; each once.
        folder: where to write.
        agent: who asks; see agent_of.
        token: an access token, which shows its owner's private titles as well; sent to base and nowhere else.
        base: where the API is; anything but https is for this machine alone.
        rate_s: seconds from one request to the next, at least.
        refresh: ask for lists anew that are there already; each stays until its first page has come.
        sleep, clock: seconds, as of time.

    Returns:
        {"fetched", "already there", "unknown or private", "changed all the time"}: how many lists; and "requests".

    Raises:
        ValueError: a name, the agent, the token or base is not valid, or the answer is not what the API promises.
        OSError: the API cannot be reached, or asks to wait longer than LONGEST_WAIT_S, or the disk fails.
    """
    names = list(dict.fromkeys(check_username(name) for name in usernames))
    counts = dict.fromkeys(("fetched", "already there", "unknown or private", "changed all the time", "requests"), 0)
    due = paced(rate_s, sleep, clock)

    def until_due() -> None:
        due()
        counts["requests"] += 1

    api = Api(_checked_base(base), _headers(token, agent), until_due, sleep)
    for number, name in enumerate(names, start=1):
        outcome, rows = _fetch_list(api, name, folder / name, refresh)
        counts[outcome] += 1
        log.info(f"{number:,} of {len(names):,}: {name}: {outcome}" + f", {rows:,} titles" * bool(rows))
    return counts


def check_username(name: str) -> str:
    """Return the name if it can stand in an address and name a folder.

    Raises:
        ValueError: it is empty, "." or "..", or holds anything but ASCII letters, digits and _ . -
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) or name in (".", ".."):
        raise ValueError(
            f"{name[:60]!r} is no username of Bangumi; take the last part of the address of the user's "
            "page, bgm.tv/user/USERNAME, which has only letters, digits and _ . -"
        )
    return name


def agent_of(who: str) -> str:
    """Return a User-Agent as Bangumi asks for, which names this program and by whom it is used.

    Args:
        who: a username of Bangumi, or a whole User-Agent with a page or an address of mail in it.

    Raises:
        ValueError: it is neither.
    """
    who = who.strip()
    if re.fullmatch(r"[A-Za-z0-9_.-]+", who):
        return f"{check_username(who)}/{_program()} (https://bgm.tv/user/{who})"
    if not re.search(r"://|@", who):
        raise ValueError(
            "Bangumi wants to know whose program asks; name yourself with --agent: your username, as in "
            "bgm.tv/user/USERNAME, or 'NAME/VERSION (https://your.page)'"
        )
    return who


def _program() -> str:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"{project['name']}-{project['version']}"


def paced(rate_s: float, sleep: Callable[[float], None], clock: Callable[[], float]) -> Callable[[], None]:
    """Return a function that returns rate_s seconds after its last return at the earliest."""
    earliest = -math.inf

    def until_due() -> None:
        nonlocal earliest
        if (pause := earliest - clock()) > 0:
            sleep(pause)
        earliest = clock() + rate_s

    return until_due


def _fetch_list(api: Api, name: str, folder: Path, refresh: bool) -> tuple[str, int]:
    """Complete a user's list and say what became of it, and how many titles are on it."""
    pages, starts = [] if refresh else _stored(folder), 1
    if pages and _next_offset(pages) is None:
        return "already there", _rows(pages)
    while not pages or _next_offset(pages) is not None:
        offset = _next_offset(pages) or 0
        status, body = _get(api, PATH.format(name, LIMIT, offset))
        if status == 404:
            _forget(folder)
            return "unknown or private", 0
        page = None if status == 400 else parse_page(body, f"{api.base}: list of {name}")
        if offset and (page is None or _has_moved(pages, page)):
            if starts > RESTARTS:
                _forget(folder)
                return "changed all the time", 0
            log.info(f"{name}: the list has changed since its first page came; it starts over")
            pages, starts = [], starts + 1
            continue
        if page is None or page.offset != offset:
            raise ValueError(
                f"{api.base}: asked for the list of {name} from {offset}, got {body[:200]!r}; check that "
                "the address is that of Bangumi's API"
            )
        if not offset:
            _forget(folder)
        with atomic_write(folder / f"{offset}.json") as file:
            file.write(body)
        pages.append(page)
    return "fetched", _rows(pages)


def _next_offset(pages: list[Page]) -> int | None:
    """Return where the next page starts, None after the last; 0 before the first."""
    if not pages:
        return 0
    after = pages[-1].offset + pages[-1].limit  # not its length: private titles leave gaps
    return after if after < pages[-1].total and pages[-1].subject_ids else None


def _has_moved(pages: list[Page], page: Page) -> bool:
    known = {subject for earlier in pages for subject in earlier.subject_ids}
    return page.total != pages[-1].total or not known.isdisjoint(page.subject_ids)


def _rows(pages: list[Page]) -> int:
    return sum(len(page.subject_ids) for page in pages)


def _stored(folder: Path) -> list[Page]:
    """Read the pages that are on disk, from the first to the last that goes on where the one before it ends."""
    pages: list[Page] = []
    while (offset := _next_offset(pages)) is not None and (path := folder / f"{offset}.json").is_file():
        page = parse_page(path.read_bytes(), str(path))
        if page.offset != offset:
            raise ValueError(f"{path} is the page of offset {page.offset}; delete the folder {folder} to fetch it anew")
        pages.append(page)
    return pages


def _forget(folder: Path) -> None:
    """Delete a list, its last page first, so that a kill leaves the start of it and not a gap."""
    for path in sorted(folder.glob("*.json"), key=lambda path: (len(path.name), path.name), reverse=True):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def parse_page(body: bytes, where: str) -> Page:
    """Read a page of GET /v0/users/{username}/collections.

    Raises:
        ValueError: it is no JSON or no such page; the message names where it is from.
    """
    try:
        found = json.loads(body)
        page = Page(found["offset"], found["limit"], found["total"], [row["subject_id"] for row in found["data"]])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{where}: not a page of a list ({type(error).__name__}: {str(error)[:80]}), but {body[:100]!r}; {REMEDY}"
        ) from None
    numbers = (page.offset, page.limit, page.total, *page.subject_ids)
    if not all(type(number) is int and number >= 0 for number in numbers) or page.limit < 1:
        raise ValueError(
            f"{where}: a page whose offset, limit, total or subject_ids are no whole numbers, {body[:100]!r}; {REMEDY}"
        )
    return page


# --- one request ---


def _get(api: Api, path: str) -> tuple[int, bytes]:
    """Ask until there is an answer: its status (200, 400 or 404) and body.

    Raises:
        OSError: after TRIES attempts there is none, or waiting for it would take more than LONGEST_WAIT_S.
        ValueError: the answer is that this program does something wrong.
    """
    opener = urllib.request.build_opener(_SameHost)
    request = urllib.request.Request(api.base + path, headers=api.headers)
    for attempt in range(1, TRIES + 1):
        api.until_due()
        asked_to_wait = None
        try:
            with opener.open(request, timeout=TIMEOUT_S) as response:
                return response.status, _whole_body(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (400, 404):
                    return error.code, error.read(1000)
                if error.code != 429 and error.code < 500:
                    raise ValueError(_refusal(error)) from None
                found, asked_to_wait = f"status {error.code}", retry_after(error.headers["Retry-After"])
        except (OSError, http.client.HTTPException) as error:
            found = f"{type(error).__name__}: {error}"[:120]
        if attempt < TRIES:
            _wait(api, attempt, found, asked_to_wait)
    raise OSError(f"{api.base} did not answer in {TRIES} attempts ({found}); {GO_ON}")


def _wait(api: Api, attempt: int, found: str, asked_to_wait: float | None) -> None:
    """Wait as long as the API asks, or else exponentially longer, with jitter so that clients do not come in step."""
    seconds = 2**attempt * random.uniform(0.75, 1.25) if asked_to_wait is None else asked_to_wait
    if seconds > LONGEST_WAIT_S:
        raise OSError(f"{api.base} asks to wait for {seconds:,.0f} s ({found}); {GO_ON}")
    log.info(f"{api.base}: {found}; trying again in {seconds:.0f} s")
    api.sleep(seconds)


def retry_after(value: str | None) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date, as seconds from now; None without a legible one."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _whole_body(response: http.client.HTTPResponse) -> bytes:
    body = response.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise ValueError(
            f"{response.url}: an answer of more than {MAX_BYTES:,} bytes, where a page has some thousand; check --base"
        )
    if response.length:  # a body cut short ends read(n) without a word
        raise http.client.IncompleteRead(body, response.length)
    return body


def _refusal(error: urllib.error.HTTPError) -> str:
    said = error.read(300).decode("utf-8", "replace")
    hints = {
        401: "the token is not valid (any more); make a new one at https://next.bgm.tv/demo/access-token",
        403: "Bangumi refuses programs whose User-Agent does not name them and a person or page; set --agent "
        "'NAME/VERSION (https://your.page)'",
    }
    hint = hints.get(error.code, "check --base and the names")
    return f"{error.url.partition('?')[0]}: status {error.code} ({said!r}): {hint}"


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to where the request went: the headers hold the token."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            raise ValueError(
                f"{req.host} sends on to {newurl[:100]}, which is another host and gets neither requests "
                "nor the token; check --base"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _headers(token: str, agent: str) -> dict[str, str]:
    """Build the headers; what could not stand in one is refused without being shown, for it may be the token."""
    headers = {"User-Agent": agent_of(agent), "Accept": "application/json"}
    if token.strip():
        headers["Authorization"] = f"Bearer {token.strip()}"
    for name, value in headers.items():
        if not re.fullmatch(r"[\x20-\x7e]+", value):
            raise ValueError(
                f"{name} may hold printable ASCII only; check "
                + ("--token and BANGUMI_TOKEN" if name == "Authorization" else "--agent")
            )
    return headers


def _checked_base(base: str) -> str:
    parts = urlsplit(base)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK) or not parts.hostname:
        raise ValueError(f"base is {base!r}; it must be an https address, such as {BASE}")
    return base.rstrip("/")
