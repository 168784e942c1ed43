"""A server on this machine in place of Bangumi's API."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from importers.bangumi_api import fetch
from tests.helpers.bangumi_server import Bangumi, Clock


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
