"""Requests to an OpenAI-compatible /v1/embeddings: what is sent, what may come back, how long it is waited for."""

import base64
import ipaddress
import json
import logging
import os
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from runtime.safe_files import parse_json

log = logging.getLogger("aglrec")

KEY = "AGLREC_ENCODER_KEY"  # the environment variable that holds the key
CONNECT_S, READ_S, WHOLE_S = 10.0, 300.0, 900.0  # a server may have to load its model first
WAITS_S, LONGEST_WAIT_S = (1.0, 2.0, 4.0, 8.0, 16.0), 120.0  # unless a busy server asks for another wait
BUSY = (408, 425, 429, 502, 503, 504, 529)
MOST_BYTES, MOST_BYTES_A_TEXT = 1_000_000, 400_000  # 16,384 numbers of 20 characters take 330,000


class Refused(Exception):
    """The server does not encode what it was sent: too many texts, too long ones, or one that its model fails at."""

    @property
    def is_not_finite(self) -> bool:
        """Whether the vector was not finite, for which JSON has no word."""
        return "unsupported value:" in str(self).lower()  # as Go says it


class EmbeddingsApi:
    """An address that encodes texts with one model."""

    def __init__(self, url: str, model: str, plain_http: bool) -> None:
        """Check the address and the key; nothing is sent yet.

        Args:
            url: as https://host/v1; /v1 is added where there is no path, and /embeddings always.
            model: its name on the server.
            plain_http: whether texts may go to other machines without encryption.

        Raises:
            ValueError: the url, or the key in KEY, cannot be used.
        """
        self.address, self.is_here = _checked(url, plain_http)
        self.model, self._key, self._has_answered = model, os.environ.get(KEY, "").strip(), False
        if not (self._key.isascii() and self._key.isprintable()):
            raise ValueError(f"the key in {KEY} has characters that no key has; set it again")
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", "User-Agent": "AGLRec"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        timeout = httpx2.Timeout(READ_S, connect=CONNECT_S)
        direct = {"trust_env": not self.is_here, "follow_redirects": False}  # no proxy lies before this machine
        self._client = httpx2.Client(headers=headers, timeout=timeout, **direct)

    def ask(self, texts: list[str], **more: Any) -> np.ndarray:
        """Return the vectors of texts, (n, L) float32 in their order; where the model failed they are not finite.

        Args:
            texts: n of them.
            more: further fields of the request.

        Raises:
            Refused: the server does not encode these.
            OSError: it is not reachable, or stays busy.
            ValueError: it wants a key, has no such model, or what it sends are no vectors of texts.
        """
        body = json.dumps({"model": self.model, "input": texts, **more}).encode()
        for wait in (*WAITS_S, None):
            try:
                status, headers, answer = self._send(body, len(texts))
            except httpx2.RequestError as error:
                why = f"is not reachable ({self._line(str(error)) or type(error).__name__})"
                if not self._has_answered and isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                    break
            else:
                if status not in BUSY:
                    self._has_answered = True
                    return self._vectors(status, headers, answer, len(texts))
                why = f"is busy ({status}: {self._said(answer)})"
                asked = _seconds(headers.get("Retry-After", ""))
                if asked is not None and asked > LONGEST_WAIT_S:
                    why += f" and asks to wait {asked:,.0f} seconds"
                    break
                wait = asked if asked is not None and wait else wait
            if wait is None:
                break
            log.info(f"the encoder's server {why}; it is asked again in {wait:.0f} s")
            time.sleep(wait)
        kept = "; what was encoded is kept, and the same command goes on from there" if self._has_answered else ""
        raise OSError(f"the encoder's server {self.address} {why}{kept}")

    def _send(self, body: bytes, n: int) -> tuple[int, httpx2.Headers, bytes]:
        """Send a request, and read its answer as far as vectors of n texts may go."""
        answer, most, deadline = b"", MOST_BYTES + n * MOST_BYTES_A_TEXT, time.monotonic() + WHOLE_S
        with self._client.stream("POST", self.address, content=body) as response:
            for part in response.iter_bytes():
                answer += part
                if len(answer) > most:
                    raise ValueError(
                        f"{self.address} sends more than the {most / 1e6:.1f} MB that vectors of {n} texts may take; "
                        "name the address of a server that gives one vector a text"
                    )
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout(f"no whole answer in {WHOLE_S:.0f} s")
            return response.status_code, response.headers, answer

    def _vectors(self, status: int, headers: httpx2.Headers, answer: bytes, n: int) -> np.ndarray:
        """Read an answer; see ask."""
        where, said = self.address, self._said(answer)
        if 300 <= status < 400:
            host = urlsplit(headers.get("Location", "")).netloc.rpartition("@")[2] or "another page"
            raise ValueError(f"{where} sends on to {self._line(host)}, where no texts are sent; name that address")
        if status == 401:
            remedy = f"does not take the key in {KEY}" if self._key else f"wants a key; set it in {KEY}"
            raise ValueError(f"{where} {remedy} (401: {said})")
        if status == 403:
            raise ValueError(f"{where} forbids it (403: {said}); the key in {KEY} may lack a right, or pay for no more")
        if status == 404:
            raise ValueError(
                f"{where} is not there, or has no model {self.model!r} (404: {said}); check --encoder_url, and have "
                "the server load that model"
            )
        if answer.lstrip()[:1] == b"<" and status < 400:
            raise ValueError(
                f"{where} answers with a page, not with vectors; name the address of the API, as http://host/v1"
            )
        if status >= 400:
            raise Refused(f"{status}: {said}")
        try:
            found = parse_json(answer)
        except ValueError:
            raise ValueError(f"{where} answers with what is no JSON ({said}); name the address of the API") from None
        if not isinstance(found, dict) or not isinstance(found.get("data"), list):
            is_chat = isinstance(found, dict) and ("choices" in found or "message" in found)
            what = "is a chat model's, which gives no vectors" if is_chat else f"has no list of vectors ({said})"
            raise ValueError(f"the answer of {where} {what}; name an embedding model")
        return self._in_order(found["data"], n)

    def _in_order(self, data: list[Any], n: int) -> np.ndarray:
        """Return the vectors of an answer in the order of the texts, whatever order they came in."""
        rows = [row for row in data if isinstance(row, dict)]
        places = [row.get("index", place) for place, row in enumerate(rows)]
        if sorted(map(str, places)) != sorted(map(str, range(n))):
            raise ValueError(
                f"{self.address} gives {len(data)} vectors for {n} texts; name a server that gives one a text"
            )
        vectors: list[Any] = [None] * n
        for place, row in zip(places, rows, strict=True):
            vectors[int(place)] = self._vector(row.get("embedding"))
        if len({len(vector) for vector in vectors}) > 1:
            raise ValueError(f"{self.address} gives vectors of different lengths; name a server that gives one a text")
        return np.stack(vectors)

    def _vector(self, found: Any) -> np.ndarray:
        """Read one vector: numbers, of which null is none, or base64 of float32."""
        if isinstance(found, list) and found and isinstance(found[0], list):
            raise ValueError(
                f"{self.address} gives a vector for each token; start the server with the pooling of its model "
                "(llama.cpp: --pooling mean, cls or last)"
            )
        try:
            if isinstance(found, str):
                vector = np.frombuffer(base64.b64decode(found, validate=True), "<f4")
            else:
                with np.errstate(over="ignore"):
                    vector = np.array(found, np.float64).astype(np.float32)
            if vector.ndim == 1 and len(vector):
                return vector
        except (ValueError, TypeError, OverflowError):
            pass
        raise ValueError(f"{self.address} gives {self._line(repr(found)[:60])} for a vector; name an embedding model")

    def _said(self, answer: bytes) -> str:
        """Return what a server says in an answer, on one line."""
        try:
            found = parse_json(answer)
            for key in ("error", "message", "detail"):
                found = found.get(key, found) if isinstance(found, dict) else found
            text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        except ValueError:
            text = answer[:2000].decode("utf-8", "replace")
        return self._line(text) or "no word"

    def _line(self, text: str) -> str:
        """Return a server's words as one line, without the key if they hold it."""
        text = text.replace(self._key, "***") if self._key else text
        return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))[:200]


def _checked(url: str, plain_http: bool) -> tuple[str, bool]:
    """Return the address that texts are sent to, and whether it is on this machine; a ValueError where none may go."""
    form = "write it as http://127.0.0.1:11434/v1"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"encoder_url cannot be read ({error}); {form}") from None
    if "@" in parts.netloc or parts.query or parts.fragment:  # it would be written to metrics.json
        raise ValueError(f"encoder_url holds more than an address; {form}, and set a key in {KEY}")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"encoder_url {url!r} is no address of a server; {form}")
    try:
        address = ipaddress.ip_address(host)
        is_here = address.is_loopback or address.is_unspecified
    except ValueError:
        is_here = host == "localhost" or host.endswith(".localhost")
    if parts.scheme == "http" and not is_here and not plain_http:
        raise ValueError(
            f"encoder_url would send texts, and a key, to {host} where the network between can read them; name an "
            "https address, or allow it with --encoder_plain_http true"
        )
    path = parts.path.rstrip("/").removesuffix("/embeddings") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}/embeddings", is_here


def _seconds(asked: str) -> float | None:
    """Read a Retry-After: seconds, or a date; None where it is neither."""
    try:
        return max(float(int(asked)), 0.0)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(asked)
        return max((date - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
