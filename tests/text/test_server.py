"""An encoder behind a server: batches, long texts, texts without a vector, prompts, and which model it is."""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import read_config, trained_settings
from data_loader import load_dataset
from runtime.files import write_json
from tests.helpers.embedding_server import Answer, Body, EmbeddingServer, embedding_server, refusal
from tests.helpers.encoders import FakeEncoder, assert_same, stores, vectors_of
from text import embeddings_api
from text.embeddings_api import KEY
from text.encoders import open_encoder
from text.probe import SENTENCE, is_same, mark_of
from text.server import ServerEncoder

TEXTS = [f"text {number} of many" for number in range(40)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    monkeypatch.setattr(embeddings_api.time, "sleep", lambda seconds: None)
    with embedding_server() as found:
        yield found


@pytest.fixture
def served(config: dict[str, Any], server: EmbeddingServer) -> dict[str, Any]:
    """A config whose encoder is behind the server."""
    return {**config, "model_name": "server:m", "encoder_url": server.url, "encoder_fallback": "none"}


def opened(served: dict[str, Any], server: EmbeddingServer, **changes: Any) -> ServerEncoder:
    """Open the encoder, and forget what was asked for it."""
    encode = ServerEncoder({**served, **changes})
    server.bodies.clear()
    return encode


def sizes(server: EmbeddingServer) -> list[int]:
    return [len(body["input"]) for body in server.bodies]


def test_it_encodes_as_any_other(served: dict[str, Any], server: EmbeddingServer) -> None:
    name, encode = open_encoder(served, "cpu", [])
    server.bodies.clear()
    found = encode(TEXTS)
    assert name == "server:m"
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, server.model(TEXTS), atol=1e-6)
    assert sizes(server) == [32, 8]
    assert {body["model"] for body in server.bodies} == {"m"}


def test_a_server_that_knows_no_base64_is_asked_for_numbers(served: dict[str, Any], server: EmbeddingServer) -> None:
    server.instead = lambda body: refusal(400, "unknown field") if "encoding_format" in body else None
    np.testing.assert_allclose(opened(served, server)(TEXTS), server.model(TEXTS), atol=1e-6)
    assert len(server.bodies) == 2


# --- what a server does not take ---


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_batch_that_is_too_large_is_halved_and_that_is_remembered(
    served: dict[str, Any], server: EmbeddingServer, status: int
) -> None:
    encode = opened(served, server)
    server.instead = lambda body: refusal(status, "batch size > 10") if len(body["input"]) > 10 else None
    np.testing.assert_allclose(encode(TEXTS), server.model(TEXTS), atol=1e-6)
    assert sizes(server) == [32, 16, 8, 8, 16, 8, 8, 8]
    encode(TEXTS)
    assert set(sizes(server)[8:]) == {8}


def limited(most: int) -> Any:
    def instead(body: Body) -> Answer | None:
        return refusal(500, "input is too large to process") if max(map(len, body["input"])) > most else None

    return instead


def test_a_text_that_is_too_long_is_cut_by_itself_alone(
    served: dict[str, Any], server: EmbeddingServer, caplog: pytest.LogCaptureFixture
) -> None:
    encode = opened(served, server)
    server.instead = limited(100)
    long, longer = "a" * 101, "b" * 1000
    cut = ["a" * 75, "b" * 75]  # 1000, 750, 562, 421, 315, 236, 177, 132, 99
    cut[1] = "b" * 99
    texts = [TEXTS[0], long, *TEXTS[1:30], longer]
    expected = server.model([TEXTS[0], cut[0], *TEXTS[1:30], cut[1]])
    np.testing.assert_allclose(encode(texts), expected, atol=1e-6)
    np.testing.assert_allclose(encode([longer, long]), server.model(cut[::-1]), atol=1e-6)  # in whatever company
    server.bodies.clear()
    encode(TEXTS[:32])
    assert sizes(server) == [32]  # it was not the size of the batch
    told = [record.getMessage() for record in caplog.records if "too long for the server" in record.getMessage()]
    assert len(told) == 1
    assert "from 101 to 75 characters" in told[0]


def test_a_text_that_no_part_of_is_taken_has_no_vector(served: dict[str, Any], server: EmbeddingServer) -> None:
    encode = opened(served, server)
    server.instead = lambda body: refusal(400, "odd") if any("odd" in text for text in body["input"]) else None
    found = encode(["odd" + "x" * 100, *TEXTS])
    assert not found[0].any()
    np.testing.assert_allclose(found[1:], server.model(TEXTS), atol=1e-6)


def test_a_server_that_refuses_everything_from_now_on_stops_the_run(
    served: dict[str, Any], server: EmbeddingServer
) -> None:
    encode = opened(served, server)
    server.instead = lambda body: refusal(500, "llama runner process has terminated")
    with pytest.raises(OSError, match="no longer encodes.*has terminated.*the same command goes on"):
        encode(TEXTS)


def nan(text: str, vector: np.ndarray) -> np.ndarray:
    return vector * np.nan if "7" in text else vector


def refuses_nan(body: Body) -> Answer | None:
    said = "failed to encode response: json: unsupported value: NaN"
    return refusal(500, said) if any("7" in text for text in body["input"]) else None


@pytest.mark.parametrize("kind", ["base64", "numbers", "refused"])
def test_texts_without_a_finite_vector_get_none_and_the_run_goes_on(
    served: dict[str, Any], server: EmbeddingServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    if kind == "refused":
        server.instead = refuses_nan
    else:
        server.bend = nan
        if kind == "numbers":
            server.instead = lambda body: refusal(400) if "encoding_format" in body else None
    vectors, dataset = vectors_of(served), load_dataset(served)
    has_none = np.array(["7" in text for text in dataset.item_texts])
    assert 0 < has_none.sum() < len(has_none)
    np.testing.assert_array_equal(vectors.items.any(axis=1), ~has_none)
    assert np.isfinite(vectors.users).all()
    n = len({text for text in [*dataset.item_texts, *dataset.user_comments.texts] if "7" in text})
    assert sum(map(int, re.findall(r"(\d+) of them got no vector", caplog.text))) == n
    assert caplog.text.count("no finite vector") == 1
    if kind == "refused":
        encode = opened(served, server)
        encode([*TEXTS, *TEXTS])
        server.bodies.clear()
        encode([text for text in TEXTS if "7" not in text])
        assert sizes(server)[0] == 32  # its size was not what was wrong with a batch


def test_a_model_that_gives_no_finite_vector_at_all_is_refused(served: dict[str, Any], server: EmbeddingServer) -> None:
    server.bend = lambda text, vector: vector * np.nan
    with pytest.raises(ValueError, match="a plain sentence no vector"):
        ServerEncoder(served)


def test_empty_texts_are_not_sent(served: dict[str, Any], server: EmbeddingServer) -> None:
    found = opened(served, server)(["", "a", " \n"])
    assert found.any(axis=1).tolist() == [False, True, False]
    assert server.texts == ["a"]


def test_halves_of_characters_are_not_sent(served: dict[str, Any], server: EmbeddingServer) -> None:
    opened(served, server)(["a\ud83d b"])
    assert server.texts == ["a\ufffd b"]


def test_truncated_vectors_have_length_one(served: dict[str, Any], server: EmbeddingServer) -> None:
    found = opened(served, server, truncate_dim=4)(TEXTS)
    whole = server.model(TEXTS)[:, :4]
    np.testing.assert_allclose(found, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)


def test_a_model_that_is_exchanged_in_between_is_noticed(served: dict[str, Any], server: EmbeddingServer) -> None:
    encode = opened(served, server)
    server.model = FakeEncoder(dim=9)
    with pytest.raises(ValueError, match="9 numbers a text now, and gave 6 before"):
        encode(TEXTS)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_server_without_the_model_says_so_at_once(
    served: dict[str, Any], server: EmbeddingServer, status: int
) -> None:
    server.instead = lambda body: refusal(status, "model m is not loaded")
    with pytest.raises(ValueError, match="'m'.*model m is not loaded"):
        vectors_of(served)


@pytest.mark.parametrize("name", ["server:", "server:/"])
def test_a_model_needs_a_name(served: dict[str, Any], server: EmbeddingServer, name: str) -> None:
    if name == "server:":
        with pytest.raises(ValueError, match="names no model"):
            ServerEncoder({**served, "model_name": name})


# --- prompts ---


def sent(served: dict[str, Any], server: EmbeddingServer, **changes: Any) -> list[str]:
    """Return what is sent for a title and for a query."""
    encode = opened(served, server, **changes)
    encode(["x"]), encode(["x"], as_query=True)
    return server.texts


def test_prompts_are_those_that_the_name_is_known_for(served: dict[str, Any], server: EmbeddingServer) -> None:
    assert sent(served, server) == ["x", "x"]
    assert sent(served, server, model_name="server:multilingual-e5-small") == ["passage: x", "query: x"]
    assert sent(served, server, model_name="server:multilingual-e5-small", document_prompt="") == ["x", "query: x"]
    assert sent(served, server, document_prompt="d: ", query_prompt="q: ") == ["d: x", "q: x"]


def prefixed(text: str, body: Body) -> str:
    return f"{body.get('input_type', 'query')}: {text}"


def test_a_server_that_puts_prompts_itself_is_told_which_and_none_is_doubled(
    served: dict[str, Any], server: EmbeddingServer
) -> None:
    server.read = prefixed
    encode = opened(served, server, model_name="server:multilingual-e5-small")
    np.testing.assert_allclose(encode(["x"]), server.model(["passage: x"]), atol=1e-6)
    np.testing.assert_allclose(encode(["x"], as_query=True), server.model(["query: x"]), atol=1e-6)
    assert server.texts == ["x", "x"]


def test_a_server_that_refuses_input_type_is_not_sent_it(served: dict[str, Any], server: EmbeddingServer) -> None:
    server.instead = lambda body: refusal(422, "extra field") if "input_type" in body else None
    assert sent(served, server, model_name="server:e5") == ["passage: x", "query: x"]


# --- which model it is ---


def test_a_mark_tells_models_apart_and_no_machines() -> None:
    rng = np.random.default_rng(0)
    vector, other = rng.normal(size=(2, 384)) / np.sqrt(384)
    mark = mark_of(vector.astype(np.float32))
    assert len(mark) == 68
    for noise, same in ((0.0, True), (1e-4, True), (0.01, True), (0.1, False)):
        assert is_same(mark, mark_of(vector + noise * other)) == same, noise
    assert not is_same(mark, mark_of(other))
    assert not is_same(mark, mark_of(vector[:383]))
    assert not any(is_same(mark, odd) for odd in ("", "384-", "x" * 68, "384-" + "A" * 64))
    assert is_same(mark, mark_of(3 * vector))


def turned(server: EmbeddingServer, cosine: float) -> None:
    """Let the server give each text a vector that lies a little beside the one it had."""

    def bend(text: str, vector: np.ndarray) -> np.ndarray:
        beside = np.roll(vector, 1) - np.roll(vector, 1) @ vector * vector
        return cosine * vector + np.sqrt(1 - cosine**2) * beside / np.linalg.norm(beside)

    server.bend = bend


def test_vectors_that_are_there_need_no_server(served: dict[str, Any], server: EmbeddingServer) -> None:
    first = vectors_of(served)
    server.bodies.clear()
    again = vectors_of(served, encoder_url="http://127.0.0.1:1/v1")
    assert_same(first, again)
    assert (again.info["digest"], server.bodies) == (first.info["digest"], [])
    kept = Path(served["saved_dir"])
    shutil.move(kept / "encoded", kept / "aside")  # the matrices are enough, and so is the store
    assert_same(first, vectors_of(served, encoder_url="http://127.0.0.1:1/v1"))
    shutil.move(kept / "aside", kept / "encoded")
    for name in ("item", "user"):
        (kept / f"{name}_llm_embeddings.npy").unlink()
    assert_same(first, vectors_of(served, encoder_url="http://127.0.0.1:1/v1"))


@pytest.mark.parametrize(("cosine", "same"), [(1.0, True), (0.9997, True), (0.99, False)])
def test_the_same_model_elsewhere_goes_on_and_another_begins_anew(
    served: dict[str, Any], server: EmbeddingServer, cosine: float, same: bool
) -> None:
    first = vectors_of(served)
    with (Path(served["data_dir"]) / "anime.tsv").open("a", encoding="utf-8") as file:
        file.write("s999\ta new title\t\t\n")
    server.bodies.clear()
    turned(server, cosine)
    second = vectors_of(served)
    assert len(stores(served)) == (1 if same else 2)
    texts = [text for text in server.texts if text != SENTENCE]
    assert (texts == [load_dataset(served).item_texts[-1]]) == same
    assert (second.items[:-1] == first.items).all() == same


def test_a_revision_pins_the_model(
    served: dict[str, Any], server: EmbeddingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    mark = ServerEncoder(served).mark
    assert f"--model_revision {mark} keeps to this model" in caplog.text
    pinned = {**served, "model_revision": mark}
    turned(server, 0.9997)
    first = vectors_of(pinned)
    assert first.info["digest"] == vectors_of(pinned, vectors_dir=served["saved_dir"] + "2").info["digest"]
    turned(server, 0.99)
    with pytest.raises(ValueError, match="another model than --model_revision asks for"):
        vectors_of(pinned, vectors_dir=served["saved_dir"] + "3")
    assert_same(vectors_of(pinned), first)  # what is there needs no server
    with pytest.raises(ValueError, match="'main' is none of a server"):
        vectors_of(served, model_revision="main", vectors_dir=served["saved_dir"] + "4")


def test_of_two_models_that_encoded_all_the_server_says_which_it_has(
    served: dict[str, Any], server: EmbeddingServer
) -> None:
    kept = Path(served["saved_dir"])
    first = vectors_of(served)
    shutil.move(kept / "encoded", kept / "aside")
    for matrix in kept.glob("*_llm_embeddings.npy*"):
        matrix.unlink()
    turned(server, 0.9)
    second = vectors_of(served)
    for store in (kept / "aside").iterdir():
        shutil.move(store, kept / "encoded" / store.name)
    assert len(stores(served)) == 2
    server.bodies.clear()
    assert_same(vectors_of(served), second)
    turned(server, 1.0)
    assert_same(vectors_of(served), first)
    assert set(server.texts) == {SENTENCE}
    with pytest.raises(OSError, match="not reachable"):
        vectors_of(served, encoder_url="http://127.0.0.1:1/v1")


def test_another_prompt_makes_other_vectors(served: dict[str, Any], server: EmbeddingServer) -> None:
    first = vectors_of(served)
    second = vectors_of(served, document_prompt="d: ")
    assert first.info["digest"] != second.info["digest"]
    assert not np.allclose(first.items, second.items)
    assert len(stores(served)) == 2
    assert vectors_of(served, query_prompt="q: ").info["digest"] == first.info["digest"]


# --- the run ---


def test_another_address_is_no_other_run(served: dict[str, Any]) -> None:
    moved = {**served, "encoder_url": "https://elsewhere.example/v1", "encoder_plain_http": True, "query_prompt": "q"}
    assert trained_settings(moved) == trained_settings(served)


def test_no_file_of_a_run_says_where_texts_go(tmp_path: Path) -> None:
    found = {"config": {"encoder_url": "http://127.0.0.1:1", "encoder_plain_http": True, "model_name": "server:m"}}
    write_json(tmp_path / "metrics.json", found)
    assert read_config(tmp_path / "metrics.json") == {"model_name": "server:m"}


def test_a_server_that_is_not_there_is_replaced_or_told_of(
    served: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gone = {**served, "encoder_url": "http://127.0.0.1:1/v1"}
    with pytest.raises(OSError, match="http://127.0.0.1:1/v1/embeddings is not reachable"):
        vectors_of(gone)
    assert vectors_of(gone, encoder_fallback="lsa").info["used"] == "lsa"
    assert "USING 'lsa' INSTEAD OF 'server:m'" in caplog.text


def test_what_a_server_that_breaks_down_has_encoded_is_kept(served: dict[str, Any], server: EmbeddingServer) -> None:
    server.instead = lambda body: refusal(503, "overloaded") if len(server.bodies) > 5 else None
    with pytest.raises(OSError, match="is busy .503: overloaded.*kept"):
        vectors_of(served)
    asked = {text for body in server.bodies[:5] for text in body["input"]} - {SENTENCE}
    assert asked
    server.instead = lambda body: None
    server.bodies.clear()
    vectors_of(served)
    assert not asked & set(server.texts)


@pytest.mark.parametrize("comments", [True, False])
def test_where_texts_go_is_said_before_they_go(
    served: dict[str, Any], server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    comments: bool,
) -> None:  # fmt: skip
    ServerEncoder(served)
    assert "leave this machine" not in caplog.text
    address = f"{server.url}/embeddings"
    monkeypatch.setattr(embeddings_api, "_checked", lambda url, plain_http: (address, False))
    ServerEncoder({**served, "use_user_llm": comments})
    what = "titles and the comments of users" if comments else "titles"
    assert f"the texts of {what} leave this machine: they are sent to 127.0.0.1:{server.server_port}" in caplog.text


def test_comments_that_are_not_used_are_not_sent(served: dict[str, Any], server: EmbeddingServer) -> None:
    dataset = load_dataset(served)
    without = vectors_of(served, use_user_llm=False)
    assert set(server.texts) == {SENTENCE, *dataset.item_texts}
    assert set(dataset.user_comments.texts) - set(server.texts)
    both = vectors_of(served)
    assert set(dataset.user_comments.texts) <= set(server.texts)
    np.testing.assert_array_equal(without.items, both.items)
    assert without.info["digest"] == both.info["digest"]


def test_the_key_is_written_nowhere(
    served: dict[str, Any], server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk-do-not-tell")
    vectors_of(served)
    assert server.headers[-1]["Authorization"] == "Bearer sk-do-not-tell"
    written = [path for path in Path(served["saved_dir"]).rglob("*") if path.is_file()]
    assert written
    assert not any(b"do-not-tell" in path.read_bytes() for path in written)
