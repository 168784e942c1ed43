"""A new run is served without a restart, and no request is lost over it."""

import asyncio
import gc
import json
import logging
import shutil
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
import main
import serve
from inference.finished_run import load_finished
from tests.helpers.served import make_config, raw, running
from web import answers
from web import renewal as renewal_module
from web.renewal import Renewal
from web.schemas import ListRequest

FILES = ("best_model.pth", "user_emb.pt", "item_emb.pt", "manifest.json")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The config of a run, and the folder of another one of the same data."""
    config = make_config(tmp_path_factory.mktemp("served"))
    other = Path(config["saved_dir"]).parent / "other"
    main.run({**config, "saved_dir": str(other), "seed": 5})
    return config, other


@pytest.fixture
def served(runs: tuple[dict[str, Any], Path], tmp_path: Path) -> dict[str, Any]:
    """A copy of the run, to be replaced."""
    shutil.copytree(runs[0]["saved_dir"], tmp_path / "saved")
    return {**runs[0], "saved_dir": str(tmp_path / "saved")}


def put(source: Path, folder: Path) -> None:
    """Let another run take the place of the one in a folder, the manifest last."""
    for path in sorted(source.iterdir(), key=lambda path: path.name == "manifest.json"):
        if path.is_file() and path.name != ".lock":
            shutil.copy(path, folder / f"{path.name}.1.tmp")
            (folder / f"{path.name}.1.tmp").replace(folder / path.name)


def ask(url: str) -> list[tuple[str, float]]:
    body = json.dumps({"titles": [raw(item) for item in (0, 5, 9)], "k": 5}).encode()
    request = urllib.request.Request(f"{url}/api/list", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as reply:
        return [(title["subject_id"], title["score"]) for title in json.load(reply)["titles"]]


@contextmanager
def asked_all_the_time(url: str) -> Iterator[list[Any]]:
    """Ask from a thread, again and again; yield what was answered or went wrong."""
    answers: list[Any] = []
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            try:
                answers.append(ask(url))
            except Exception as error:
                answers.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield answers
    end.set()
    for thread in threads:
        thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def renewal_of(config: dict[str, Any]) -> Renewal:
    return Renewal(Path(config["saved_dir"]), partial(load_finished, config))


def test_requests_go_on_while_a_run_is_replaced(
    runs: tuple[dict[str, Any], Path], served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal_module, "EVERY", 0.02)
    with running(load_finished(served), renewal=renewal_of(served)) as url, asked_all_the_time(url) as answers:
        old = ask(url)
        put(runs[1], Path(served["saved_dir"]))
        wait_for(lambda: ask(url) != old)
        new = ask(url)
        n_before = len(answers)
        wait_for(lambda: len(answers) > n_before + 10)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert {tuple(answer) for answer in answers} == {tuple(old), tuple(new)}
    order = [answer == new for answer in answers]
    assert order.index(True) > 0


def test_a_run_that_is_broken_is_told_of_once_and_the_old_one_goes_on(
    runs: tuple[dict[str, Any], Path],
    served: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(renewal_module, "EVERY", 0.02)
    caplog.set_level(logging.INFO, "aglrec")
    saved = Path(served["saved_dir"])
    with running(load_finished(served), renewal=renewal_of(served)) as url:
        old = ask(url)
        shutil.copy(runs[1] / "user_emb.pt", saved)
        shutil.copy(runs[1] / "manifest.json", saved / "whole")
        (saved / "whole").replace(saved / "manifest.json")  # at once, as a run does: half of one would be told of too
        wait_for(lambda: "is not served, and the old one goes on" in caplog.text)
        time.sleep(0.2)
        assert ask(url) == old
        assert caplog.text.count("is not served, and the old one goes on") == 1
        assert "do not belong together" in caplog.text
        (saved / "manifest.json").write_text("{")
        wait_for(lambda: caplog.text.count("is not served, and the old one goes on") == 2)
        assert ask(url) == old
        put(runs[1], saved)
        wait_for(lambda: ask(url) != old)
        assert "from now on its new run is served" in caplog.text


def test_the_same_run_written_again_is_not_loaded_again(served: dict[str, Any]) -> None:
    renewal = renewal_of(served)
    renewal.load = lambda: pytest.fail("it is the same run")
    manifest = Path(served["saved_dir"]) / "manifest.json"
    assert renewal.look() is None
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    assert renewal.look() is None


def test_a_run_replaced_while_it_is_read_is_read_again(
    runs: tuple[dict[str, Any], Path], served: dict[str, Any]
) -> None:
    renewal, saved = renewal_of(served), Path(served["saved_dir"])
    first = Path(shutil.copytree(served["saved_dir"], saved.parent / "first"))
    load = renewal.load

    def load_and_replace() -> Any:
        found = load()
        put(first, saved)
        return found

    put(runs[1], saved)
    renewal.load = load_and_replace
    assert renewal.look() is None
    renewal.load = load
    assert renewal.look() is None  # it is the first one again
    put(runs[1], saved)
    assert renewal.look() is not None


@pytest.mark.slow
def test_nothing_of_the_old_run_stays_in_memory(
    runs: tuple[dict[str, Any], Path], served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Served for weeks with a new run each night, it would else hold several of them."""
    monkeypatch.setattr(renewal_module, "EVERY", 0.02)
    monkeypatch.setattr("sys.argv", ["serve.py", *(f"--{key}={served[key]}" for key in ("data_dir", "saved_dir"))])
    old: list[weakref.ref[Any]] = []

    def ask_and_replace(app: Any) -> None:
        """Stand for the server: answer from the first run, let another one take its place, and look for the first."""
        state, asked = app.state, ListRequest(titles=[raw(0), raw(5)], wish="story, no tag1", why=True, taste=1)
        old.append(weakref.ref(state.run))
        answers.lists_for_new(state.run, asked)
        put(runs[1], Path(served["saved_dir"]))
        asyncio.run(gone(state))

    async def gone(state: Any) -> None:
        watching = asyncio.create_task(watches[0].watch(state))
        until = time.monotonic() + 20
        while old[0]() is not None:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
            gc.collect()
        watching.cancel()

    watches: list[Renewal] = []
    monkeypatch.setattr(serve, "Renewal", lambda *of: watches.append(Renewal(*of)) or watches[0])
    monkeypatch.setattr(serve, "guarded", lambda app, *_: app)
    monkeypatch.setattr(serve.uvicorn, "Config", lambda app, **_: app)
    monkeypatch.setattr(serve.uvicorn, "Server", lambda app: SimpleNamespace(run=lambda _: ask_and_replace(app)))
    serve.main()
    assert old
