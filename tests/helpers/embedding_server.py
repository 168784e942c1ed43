"""A server on this machine that encodes texts as OpenAI's API does, and misbehaves as a test asks it to."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from tests.helpers.encoders import FakeEncoder

Body = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]  # status, headers, body
HANGS_UP = 0  # in place of a status


def refusal(status: int, words: str = "no", **headers: str) -> Answer:
    return status, headers, json.dumps({"error": {"message": words, "type": "invalid_request_error"}}).encode()


def answer(vectors: list[Any]) -> Answer:
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return 200, {}, json.dumps({"object": "list", "data": data[::-1], "model": "echoed"}).encode()  # in any order


class EmbeddingServer(ThreadingHTTPServer):
    """Gives each text a vector by its hash, whatever the model is called."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = FakeEncoder()
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.instead: Callable[[Body], Answer | None] = lambda body: None  # what is done in place of encoding
        self.read: Callable[[str, Body], str] = lambda text, body: text  # what the model gets of a text
        self.bend: Callable[[str, np.ndarray], np.ndarray] = lambda text, vector: vector

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def texts(self) -> list[str]:
        """All texts that were sent."""
        return [text for body in self.bodies for text in body["input"]]

    def encoded(self, body: Body) -> Answer:
        texts = [self.read(text, body) for text in body["input"]]
        vectors = [self.bend(text, self.model.of(text)).astype("<f4") for text in texts]
        if body.get("encoding_format") == "base64":
            return answer([base64.b64encode(vector.tobytes()).decode() for vector in vectors])
        return answer([vector.tolist() for vector in vectors])


class _Handler(BaseHTTPRequestHandler):
    server: EmbeddingServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # which costs 40 ms a request

    def log_message(self, *args: object) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.headers.append(dict(self.headers))
        found = self.server.instead(body)
        if found is None:
            found = self.server.encoded(body) if self.path == "/v1/embeddings" else refusal(404, "no such route")
        status, headers, content = found
        if status == HANGS_UP:
            self.close_connection = True
            return
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except ConnectionError:  # the client has had enough
            self.close_connection = True


@contextmanager
def embedding_server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
