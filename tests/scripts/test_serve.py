"""serve.py as it is started."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from serve import FLAGS, listening
from tests.helpers.served import N_ITEMS, make_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make_config(tmp_path_factory.mktemp("serve"))


# --- the script ---


def start(*words: str, program: str | None = None) -> subprocess.Popen:
    command = [sys.executable, *(["-c", program] if program else [str(ROOT / "serve.py")]), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fails(*words: str, program: str | None = None) -> str:
    """Run the script, which ends with one sentence, and return it."""
    process = start(*words, program=program)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (1, 2)
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.slow
def test_a_wrong_start_is_a_sentence(tmp_path: Path) -> None:
    assert "best_model.pth is missing" in fails("--saved_dir", str(tmp_path), "--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} (Address already in use); choose another --port" in fails("--port", port)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--port", "x"], "--port: 'x' is not a whole number of at least 0 and at most 65535"),
        (["--port", "65536"], "'65536'"),
        (["--port", "-1"], "'-1'"),
        (["--users", "maybe"], "'maybe' (choose from"),
        (["--prot", "1"], "the nearest is --port"),
    ],
)
def test_a_wrong_flag_is_a_sentence(words: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        FLAGS.read(words)
    assert FLAGS.read(["--lr", "0.1"])[1] == {"lr": 0.1}


def test_answers_do_not_wait_for_an_acknowledgement() -> None:
    with listening("127.0.0.1", 0) as taken, socket.create_connection(taken.getsockname()):
        accepted, _ = taken.accept()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_not_of_this_machine() -> None:
    with pytest.raises(OSError, match=r"cannot listen at no\.such\.host\.invalid port 8000"):
        listening("no.such.host.invalid", 8000)


def test_without_fastapi_it_names_what_to_install() -> None:
    hidden = (
        "import importlib.util as u, runpy, sys; real = u.find_spec; "
        "u.find_spec = lambda name, *more: None if name == 'fastapi' else real(name, *more); "
        "sys.argv = ['serve.py']; runpy.run_path('serve.py', run_name='__main__')"
    )
    assert "fastapi cannot be imported; run pip install -r requirements-serve.txt" in fails(program=hidden)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_ctrl_c(ending: signal.Signals, config: dict[str, Any]) -> None:
    process = start("--port", "0", "--data_dir", config["data_dir"], "--saved_dir", config["saved_dir"])
    try:
        url = next(found for line in process.stdout if (found := re.search(r"http://127.0.0.1:\d+", line))).group()
        assert json.load(urllib.request.urlopen(f"{url}/api/run", timeout=30))["n_titles"] == N_ITEMS
        process.send_signal(ending)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert said == ""
    assert process.returncode == (0 if ending == signal.SIGINT else -ending)
