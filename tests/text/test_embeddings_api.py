"""One request to a server of embeddings: every answer that is none, what is waited for, and where texts go."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

from tests.helpers.embedding_server import HANGS_UP, Answer, EmbeddingServer, answer, embedding_server, refusal
from text import embeddings_api
from text.embeddings_api import KEY, EmbeddingsApi, Refused

SECRET = "sk-do-not-tell"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as found:
        yield found


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(embeddings_api.time, "sleep", seconds.append)
    return seconds


def api_of(server: EmbeddingServer) -> EmbeddingsApi:
    return EmbeddingsApi(server.url, "m", plain_http=False)


@pytest.mark.parametrize("form", [{}, {"encoding_format": "base64"}], ids=["float", "base64"])
def test_vectors_come_in_the_order_of_the_texts(server: EmbeddingServer, form: dict[str, str]) -> None:
    texts = ["one", "two", "三", "four"]
    found = api_of(server).ask(texts, **form)  # the stand-in answers from the last to the first
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, server.model(texts), atol=1e-7)
    assert server.bodies == [{"model": "m", "input": texts, **form}]


@pytest.mark.parametrize("url", ["{}", "{}/", "{}/embeddings", "{}/embeddings/", " {} "])
def test_an_address_is_taken_with_or_without_its_end(server: EmbeddingServer, url: str) -> None:
    EmbeddingsApi(url.format(server.url), "m", plain_http=False).ask(["text"])
    EmbeddingsApi(url.format(server.url.removesuffix("/v1")) if "emb" not in url else server.url, "m", False).ask(["a"])


PAGE = b"<!doctype html><html><body>Welcome to the router</body></html>"
WRONG: dict[str, tuple[Answer, str]] = {
    "no key": (refusal(401), f"wants a key; set it in {KEY}"),
    "forbidden": (refusal(403), "forbids it"),
    "no such model": (refusal(404, "model 'm' not found, try pulling it"), "has no model 'm'.*try pulling it"),
    "a page that is missing": ((404, {}, PAGE), "is not there"),
    "a page": ((200, {}, PAGE), "answers with a page"),
    "no JSON": ((200, {}, b"ok"), "no JSON"),
    "a chat answer": ((200, {}, b'{"choices": [{"message": {"content": "Hi"}}]}'), "a chat model's"),
    "another list": ((200, {}, b"[[0.1, 0.2]]"), "has no list of vectors"),
    "token vectors": (answer([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0]]]), "a vector for each token"),
    "one for two": (answer([[1.0, 2.0]]), "gives 1 vectors for 2 texts"),
    "three for two": (answer([[1.0, 2.0]] * 3), "gives 3 vectors for 2 texts"),
    "twice the same": (
        (200, {}, b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}'),
        "gives 2",
    ),
    "lengths differ": (answer([[1.0, 2.0], [1.0]]), "of different lengths"),
    "empty vectors": (answer([[], []]), "for a vector"),
    "words": (answer(["no vector!", "none"]), "for a vector"),
    "no vector": (answer([None, {}]), "for a vector"),
    "another address": (
        (307, {"Location": "https://user:pw@elsewhere.example/v1"}, b""),
        "sends on to elsewhere.example",
    ),
}


@pytest.mark.parametrize(("instead", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_answer_is_told_in_a_sentence(
    server: EmbeddingServer, slept: list[float], instead: Answer, said: str
) -> None:
    server.instead = lambda body: instead
    with pytest.raises(ValueError, match=said) as caught:
        api_of(server).ask(["one", "two"])
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert (len(server.bodies), slept) == (1, [])


def test_texts_do_not_follow_to_another_address(server: EmbeddingServer) -> None:
    with embedding_server() as other:
        server.instead = lambda body: (308, {"Location": f"{other.url}/embeddings"}, b"")
        with pytest.raises(ValueError, match=f"127.0.0.1:{other.server_port}"):
            api_of(server).ask(["private"])
        assert other.bodies == []


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_refusal_is_told_from_a_fault(server: EmbeddingServer, slept: list[float], status: int) -> None:
    server.instead = lambda body: refusal(status, "input is too large to process")
    with pytest.raises(Refused, match=f"{status}: input is too large"):
        api_of(server).ask(["long"])
    assert (len(server.bodies), slept) == (1, [])


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_busy_server_is_asked_again_within_bounds(server: EmbeddingServer, slept: list[float], status: int) -> None:
    server.instead = lambda body: refusal(status, "later") if len(server.bodies) < 3 else None
    api_of(server).ask(["text"])
    assert slept == [1, 2]
    server.instead = lambda body: refusal(status, "later")
    with pytest.raises(OSError, match=f"is busy .{status}: later"):
        api_of(server).ask(["text"])
    assert len(server.bodies) == 3 + 6
    assert sum(slept[2:]) < 60


def test_a_server_that_says_when_is_asked_then(server: EmbeddingServer, slept: list[float]) -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    waits = ["7", in_a_minute, "soon"]
    server.instead = lambda body: (
        refusal(429, **{"Retry-After": waits[len(server.bodies) - 1]}) if waits[len(server.bodies) - 1 :] else None
    )
    api_of(server).ask(["text"])
    assert slept[0] == 7
    assert 50 < slept[1] <= 60
    assert slept[2] == 4  # it cannot be read


def test_nobody_waits_for_an_hour(server: EmbeddingServer, slept: list[float]) -> None:
    server.instead = lambda body: refusal(429, "quota", **{"Retry-After": "3600"})
    with pytest.raises(OSError, match="asks to wait 3,600 seconds"):
        api_of(server).ask(["text"])
    assert slept == []


def test_a_server_that_was_there_is_waited_for(server: EmbeddingServer, slept: list[float]) -> None:
    api = api_of(server)
    api.ask(["text"])
    server.instead = lambda body: (HANGS_UP, {}, b"")
    with pytest.raises(OSError, match="not reachable.*what was encoded is kept"):
        api.ask(["text"])
    assert len(slept) == 5
    slept.clear()
    with pytest.raises(OSError, match="not reachable"):
        EmbeddingsApi("http://127.0.0.1:1/v1", "m", plain_http=False).ask(["text"])
    assert slept == []  # one that never was there is not


def test_an_endless_answer_is_cut_off(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_api, "MOST_BYTES", 1000)
    monkeypatch.setattr(embeddings_api, "MOST_BYTES_A_TEXT", 100)
    server.instead = lambda body: (200, {}, b" " * 50_000_000)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="sends more than the 0.0 MB"):
        api_of(server).ask(["text"])
    assert time.perf_counter() - start < 2


def test_no_proxy_sees_what_goes_to_this_machine(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedding_server() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        api_of(server).ask(["text"])
        assert (len(server.bodies), proxy.bodies) == (1, [])


# --- the key, and where texts may go ---


def test_the_key_is_sent_and_never_told(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv(KEY, f" {SECRET}\n")
    api_of(server).ask(["text"])
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    for status, error in ((401, ValueError), (403, ValueError), (404, ValueError), (500, Refused), (503, OSError)):
        server.instead = lambda body, status=status: refusal(status, f"Incorrect API key: {SECRET}")
        with pytest.raises(error) as caught:
            api_of(server).ask(["text"])
        assert SECRET not in str(caught.value)
        assert "***" in str(caught.value)
    assert SECRET not in caplog.text
    assert "***" in caplog.text


def test_without_a_key_none_is_sent(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    api_of(server).ask(["text"])
    assert "Authorization" not in server.headers[0]


def test_a_key_that_was_pasted_wrongly_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, f"{SECRET}\nX-Other: 1")
    with pytest.raises(ValueError, match=KEY) as caught:
        EmbeddingsApi("http://127.0.0.1:1/v1", "m", plain_http=False)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["encoders.example", "192.168.1.5", "[2001:db8::1]", "localhost.example.com", "127.0.0.1.example"]
)
def test_texts_go_to_other_machines_by_https_or_where_http_is_let(host: str) -> None:
    with pytest.raises(ValueError, match="--encoder_plain_http true"):
        EmbeddingsApi(f"http://{host}/v1", "m", plain_http=False)
    for api in (EmbeddingsApi(f"http://{host}/v1", "m", True), EmbeddingsApi(f"https://{host}/v1", "m", False)):
        assert not api.is_here


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "[::1]", "localhost", "LOCALHOST", "0.0.0.0"])
def test_this_machine_needs_no_https(host: str) -> None:
    api = EmbeddingsApi(f"http://{host}:11434", "m", plain_http=False)
    assert api.is_here
    assert api.address.endswith(":11434/v1/embeddings")


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:11434", "ftp://127.0.0.1/v1", "file:///etc/passwd", "http://", "http://[::1/v1", "http://h:99999/v1",
     f"https://me:{SECRET}@host/v1", f"https://host/v1?key={SECRET}", f"https://host/v1#{SECRET}"],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_no_secret_of_it_shown(url: str) -> None:
    with pytest.raises(ValueError, match="encoder_url") as caught:
        EmbeddingsApi(url, "m", plain_http=True)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "null", "1e39", "Infinity", "-1e999"])
def test_a_number_that_is_none_comes_through_as_such(server: EmbeddingServer, number: str) -> None:
    row = f'{{"index": 0, "embedding": [0.5, {number}]}}'
    server.instead = lambda body: (200, {}, f'{{"data": [{row}]}}'.encode())
    assert np.isfinite(api_of(server).ask(["text"])).tolist() == [[True, False]]


def test_what_a_server_says_is_one_printable_line(server: EmbeddingServer) -> None:
    server.instead = lambda body: (500, {}, b"a\n\x1b[31mred\x00" + b"x" * 5000)
    with pytest.raises(Refused) as caught:
        api_of(server).ask(["text"])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_odd_texts_are_sent_as_json(server: EmbeddingServer) -> None:
    odd: list[Any] = ['"', "\\", "\u2028", "a\0b", "😀", "é" * 1000]
    api_of(server).ask(odd)
    assert server.texts == odd
    assert json.dumps(server.bodies[0])
