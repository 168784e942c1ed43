"""A local page, and JSON, over a finished run.

    python serve.py                            http://127.0.0.1:8000 for the run in saved/
    ... --port N                               another port; 0 takes a free one
    ... --host ADDRESS                         for other machines: 0.0.0.0 is all of this one's addresses
    ... --users true                           also list for the users of the data, by their ids: who can reach the
                                               page then reads their lists

Settings as for main.py; --saved_dir and --data_dir say where the run and its data are. /openapi.json describes the
JSON. There is no password: whoever reaches the address may ask. Needs: pip install -r requirements-serve.txt
"""

import os
import sys
from importlib.util import find_spec

from runtime.cli import answer_early

OWN_FLAGS = ("--host", "--port", "--users")

if __name__ == "__main__":
    # before the imports below, which take seconds
    answer_early(__doc__, OWN_FLAGS)
    if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        sys.exit(f"error: {' and '.join(missing)} cannot be imported; run pip install -r requirements-serve.txt")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # answers are made side by side, each on a core of its own

import argparse
import logging
import socket
from contextlib import suppress

import uvicorn

from config import get_config
from inference.finished_run import load_finished
from runtime.cli import parse_overrides, run_script
from web import answers
from web.app import create_app, guarded

log = logging.getLogger("aglrec")


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Part the script's own flags from the settings.

    Raises:
        ValueError: a flag has an illegal value.
    """
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag, default in zip(OWN_FLAGS, ("127.0.0.1", "8000", "false"), strict=True):
        asked.add_argument(flag, default=default)
    asked, rest = asked.parse_known_args(words)
    if not asked.port.isdecimal() or int(asked.port) > 65535:
        raise ValueError(f"--port is {asked.port!r}; it must be a whole number from 0 to 65535")
    if asked.users not in ("true", "false"):
        raise ValueError(f"--users is {asked.users!r}; use one of: true, false")
    return asked, rest


def listening(host: str, port: int) -> socket.socket:
    """Take the port at once: what follows takes seconds."""
    try:
        taken = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else the body of an answer may wait 40 ms
        return taken
    except OSError as error:
        why = error.strerror.partition(" (while")[0]
        raise OSError(f"cannot listen at {host} port {port} ({why}); choose another --port or --host") from None


def main() -> None:
    asked, rest = parse(sys.argv[1:])
    config = get_config(parse_overrides(rest))
    with suppress(KeyboardInterrupt), listening(asked.host, int(asked.port)) as taken:  # Ctrl-C is the way to end it
        run = load_finished(config)
        answers.described(run)
        app = guarded(create_app(run, asked.users == "true"), asked.host)
        at = f"[{asked.host}]" if ":" in asked.host else asked.host
        log.info(f"http://{at}:{taken.getsockname()[1]} serves {config['saved_dir']}; Ctrl-C ends it")
        uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2)
        ).run([taken])


if __name__ == "__main__":
    sys.exit(run_script(main))
