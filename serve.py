"""A local page, and JSON, over a finished run.

    python serve.py                 the run in saved/ at http://127.0.0.1:8000

Settings as for main.py; --saved_dir says where the run is, and --data_dir where its data are now, if not where they
were in training. A new run in saved_dir is served from then on, without a restart. /openapi.json describes the JSON.
There is no password: whoever reaches the address may ask. Needs: pip install -r requirements-serve.txt
"""

import os
import sys
from importlib.util import find_spec

from runtime.cli import Flags, answer_early, whole_number

FLAGS = Flags(__doc__)
FLAGS.add_argument("--port", type=whole_number(0, 65535), default=8000, help="0 takes a free one")
FLAGS.add_argument("--host", default="127.0.0.1", help="0.0.0.0: let other machines in")
public_help = "where a proxy shows it: https://NAME or https://NAME/PATH"
FLAGS.add_argument("--public_url", metavar="URL", default="", help=public_help)
users_help = "list for users of the data, too: whoever reaches the page can read their lists"
FLAGS.add_argument("--users", choices=("true", "false"), default="false", help=users_help)

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds
    if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        sys.exit(f"error: {' and '.join(missing)} cannot be imported; run pip install -r requirements-serve.txt")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # answers are made side by side, each on a core of its own

import logging
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvicorn

from config import get_config
from inference.finished_run import load_finished
from runtime.cli import run_script
from web import answers
from web.app import create_app, guarded, public
from web.renewal import Renewal

log = logging.getLogger("aglrec")


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
    """Serve until Ctrl-C."""
    asked, overrides = FLAGS.read()
    config, at_proxy = get_config(overrides), public(asked.public_url)
    with suppress(KeyboardInterrupt), listening(asked.host, asked.port) as taken:  # Ctrl-C is the way to end it
        renewal = Renewal(Path(config["saved_dir"]), partial(load_finished, config))
        inside = create_app(
            load_finished(config), asked.users == "true", renewal
        )  # nothing else holds the run for good
        answers.described(inside.state.run)
        app = guarded(inside, asked.host, at_proxy)
        at = f"[{asked.host}]" if ":" in asked.host else asked.host
        log.info(f"http://{at}:{taken.getsockname()[1]} serves {config['saved_dir']}; Ctrl-C ends it")
        uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2)
        ).run([taken])


if __name__ == "__main__":
    sys.exit(run_script(main))
