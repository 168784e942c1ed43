"""A server on this machine that behaves like Bangumi's API, and a clock that never waits."""

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

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


def titles_in(folder: Path) -> list[int]:
    pages = [json.loads(path.read_bytes()) for path in sorted(folder.iterdir(), key=lambda path: int(path.stem))]
    assert [page["offset"] for page in pages] == [50 * number for number in range(len(pages))]
    return [row["subject_id"] for page in pages for row in page["data"]]
