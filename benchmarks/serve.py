"""Time the JSON of a running serve.py: one client alone, then many at once.

    python serve.py --saved_dir S --data_dir D &
    python -m benchmarks.serve --clients 50 --seconds 60

Every list is for titles drawn anew from the 200 that most people collect, so that none has been fitted before, with
reasons and new titles, as the page asks for it. Clients keep their connection and ask again as soon as they are
answered.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks import common
from runtime.cli import Flags

Question = tuple[str, str, bytes]  # method, path, body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, question: Question) -> Any:
    """Ask over an open connection and return what the JSON says.

    Raises:
        ValueError: the answer is no success.
    """
    method, path, body = question
    writer.write(
        (
            f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    content = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    if head.split()[1] != "200":
        raise ValueError(f"{method} {path}: {content.decode()}")
    return json.loads(content)


async def client(url: str, end: float, question: Callable[[], Question]) -> list[float]:
    """Ask until a time of time.perf_counter() and return the seconds that each answer took."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    seconds = []
    while (start := time.perf_counter()) < end:
        await ask(reader, writer, at.netloc, question())
        seconds.append(time.perf_counter() - start)
    writer.close()
    return seconds


async def measure(url: str, clients: int, seconds: float, question: Callable[[], Question]) -> dict[str, float]:
    """Let clients ask at once: requests a second, and percentiles of the milliseconds an answer takes."""
    end = time.perf_counter() + seconds
    answers = await asyncio.gather(*(client(url, end, question) for _ in range(clients)))
    took = np.concatenate(answers) * 1e3
    return {
        "clients": clients,
        "requests": len(took),
        "requests/s": len(took) / seconds,
        **{f"p{share} ms": float(np.percentile(took, share)) for share in (50, 95, 99)},
    }


async def popular(url: str) -> list[str]:
    """Return the ids of the titles that most people collect."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    found = await ask(reader, writer, at.netloc, ("GET", "/api/titles?n=200", b""))
    writer.close()
    return [title["subject_id"] for title in found["titles"]]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, log the table, write the JSON and return its content."""
    common.start_logging()
    arguments = read_arguments(argv)
    titles, rng = asyncio.run(popular(arguments.url)), random.Random(arguments.seed)

    def new_list() -> Question:
        asked = {"titles": rng.sample(titles, arguments.titles), "new": True, "why": True}
        return "POST", "/api/list", json.dumps(asked).encode()

    def search() -> Question:
        return "GET", f"/api/titles?n=8&q={rng.choice('aeioustnr')}{rng.choice('aeioustnr')}", b""

    rows = []
    for name, question in (("a new list", new_list), ("a search", search)):
        for clients, seconds in ((1, arguments.seconds / 6), (arguments.clients, arguments.seconds)):
            rows.append({"question": name, **asyncio.run(measure(arguments.url, clients, seconds, question))})
    results = {
        "environment": common.environment("cpu"),
        "arguments": vars(arguments),
        "serve": common.show(f"{arguments.url}, lists for {arguments.titles} titles", rows),
    }
    common.write_json(arguments.out, results)
    return results


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Flags(__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where serve.py listens")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--titles", type=int, default=10, help="titles that a list is made for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
