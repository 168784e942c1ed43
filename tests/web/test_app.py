"""The server: its JSON, what it lets through and what not."""

import gzip
import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from fastapi.testclient import TestClient

from inference.finished_run import FinishedRun, load_finished
from inference.fold_in import place_users
from inference.lists import list_titles, similar_titles
from inference.lookup import Filters, allowed_items
from inference.people import person
from tests.helpers.served import HOSTILE, N_ITEMS, NEW, export, make_config, raw, running
from web import answers
from web import app as app_module
from web import schemas as web_schemas
from web.app import create_app, guarded, is_ours

PICKED = [raw(item) for item in (0, 5, 9)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make_config(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def run(config: dict[str, Any]) -> FinishedRun:
    return load_finished(config)


@pytest.fixture(scope="module")
def client(run: FinishedRun) -> Iterator[TestClient]:
    with TestClient(
        guarded(create_app(run), "127.0.0.1"), base_url="http://localhost:8000", raise_server_exceptions=False
    ) as client:
        yield client


def list_of(client: TestClient, **asked: Any) -> dict[str, Any]:
    reply = client.post("/api/list", json={"titles": PICKED, **asked})
    assert reply.status_code == 200, reply.text
    return reply.json()


def ids(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


def collected_by(rows: list[int]) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(rows), np.float32), ([0] * len(rows), rows)), shape=(1, N_ITEMS))


def list_of_user(run: FinishedRun, raw_id: str) -> list[dict[str, Any]]:
    return list_titles(run, run.user_emb[user := run.user_rows[raw_id]], 5, run.dataset.seen[user].indices)


def refused(reply: Any, status: int, code: str) -> str:
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert len(found := reply.json()) == 2
    return found["message"]


# --- the run and its titles ---


def test_the_run_is_described(client: TestClient, run: FinishedRun) -> None:
    info = client.get("/api/run").json()
    assert (info["n_users"], info["n_titles"], info["n_new"]) == (60, N_ITEMS, N_ITEMS - NEW)
    assert info["n_collected"] == run.dataset.seen.nnz
    assert (info["types"], info["seasons"], info["years"]) == ([], [], [1991, 1990 + N_ITEMS - 1])
    can, cannot = ("new_titles", "text", "wish", "years", "upload"), ("users", "rates", "taste")
    assert info["can"] == dict.fromkeys(can, True) | dict.fromkeys(cannot, False)
    counts = {tag["name"]: tag["n_titles"] for tag in info["tags"]}
    assert max(counts.values()) == counts[HOSTILE[:4]] == N_ITEMS
    assert (len({name.casefold() for name in counts}), info["name"]) == (len(counts), "data")  # tag1 and Tag1 are one


@pytest.mark.parametrize("query", ["kimi no na wa", "你的名字", "君の名は。", "ＫＩＭＩ"])
def test_a_title_is_found_by_any_of_its_names(query: str, client: TestClient) -> None:
    found = client.get("/api/titles", params={"q": query, "n": 3}).json()["titles"]
    assert found[0] == {
        "subject_id": raw(0),
        "name": "Kimi no Na wa. / 你的名字。 / 君の名は。",
        "year": None,
        "type": "",
        "season": "",
        "tags": ["tag0", "Tag0", "<img"],
        "collectors": client.get("/api/titles", params={"q": query}).json()["titles"][0]["collectors"],
        "is_new": False,
        "pages": [{"site": "Bangumi", "address": "https://bgm.tv/subject/7%2F8"}],
    }


def test_without_a_query_the_most_collected_are_found(client: TestClient, run: FinishedRun) -> None:
    counts = np.bincount(run.dataset.train.indices, minlength=N_ITEMS)
    found = ids(client.get("/api/titles", params={"n": 5}).json()["titles"])
    assert [counts[run.item_rows[one]] for one in found] == sorted(counts, reverse=True)[:5]


# --- lists ---


def test_a_list_is_that_of_recommend(client: TestClient, run: FinishedRun) -> None:
    rows = [run.item_rows[one] for one in PICKED]
    wanted = list_titles(run, place_users(run, collected_by(rows)).users[0], 10, [*rows, 7])
    found = list_of(client, k=10, exclude=[raw(7)])
    assert ids(found["titles"]) == ids(wanted)
    assert [one["score"] for one in found["titles"]] == pytest.approx([one["score"] for one in wanted], abs=1e-4)
    assert ids(found["collected"]) == PICKED
    assert ids(found["excluded"]) == [raw(7)]
    assert found["new_titles"] == []


def test_a_fitted_vector_is_that_of_serving(run: FinishedRun) -> None:
    placed = place_users(run, collected_by([3, 8])).users
    assert torch.allclose(answers.fit(run, person(run, [8, 3])).users, placed, atol=1e-6)
    assert answers.fit.cache_info().maxsize == answers.PEOPLE


def test_the_order_of_titles_says_nothing(client: TestClient) -> None:
    titles, before = [raw(item) for item in (2, 11, 29)], answers.fit.cache_info()
    assert list_of(client, titles=titles[::-1])["titles"] == list_of(client, titles=titles)["titles"]
    after = answers.fit.cache_info()
    assert (after.misses, after.hits) == (before.misses + 1, before.hits + 1)  # the second is not fitted again


def test_everything_is_listed_but_what_was_named(client: TestClient) -> None:
    found = list_of(client, k=200, exclude=[raw(7)], new=True)
    assert len(found["titles"]) == N_ITEMS - 4
    assert not {*PICKED, raw(7)} & {*ids(found["titles"]), *ids(found["new_titles"])}
    assert set(ids(found["new_titles"])) == {raw(item) for item in range(NEW, N_ITEMS)}
    assert all(one["is_new"] == (one["subject_id"] in ids(found["new_titles"])) for one in found["titles"])


def test_reasons_add_up(client: TestClient) -> None:
    found = list_of(client, why=True, new=True)
    for one in found["titles"] + found["new_titles"]:
        assert sum(one["parts"].values()) == pytest.approx(one["score"], abs=1e-4)
        assert set(ids(one["because"])) <= set(PICKED)
        shares = [because["share"] for because in one["because"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-9
    assert any(one["because"] for one in found["titles"])
    assert not any(one["because"] or one["parts"] for one in list_of(client)["titles"])


def test_filters_hold(client: TestClient, run: FinishedRun) -> None:
    found = list_of(client, tags=["TAG1"], not_tags=["tag3"], min_year=1991, max_year=2020, k=200, new=True)
    rows = [run.item_rows[one] for one in ids(found["titles"])]
    wanted = allowed_items(run, Filters(("tag1",), ("tag3",), 1991, 2020))
    assert set(rows) == set(wanted.tolist()) - {run.item_rows[one] for one in PICKED}
    assert 0 < len(rows) < N_ITEMS
    assert set(ids(found["new_titles"])) == {raw(row) for row in rows if row >= NEW}


def test_where_filters_leave_nothing_the_list_is_empty(client: TestClient) -> None:
    found = list_of(client, min_year=2020, max_year=1990, new=True)
    assert (found["titles"], found["new_titles"]) == ([], [])


def test_unknown_ids_are_counted(client: TestClient) -> None:
    found = list_of(client, titles=[*PICKED, "no", "such", "no"], exclude=["title"])
    assert (ids(found["collected"]), found["n_unknown"]) == (PICKED, 3)


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ({"titles": ["no"]}, "none_known", "none of the 1 titles"),
        ({"tags": ["no"]}, "unknown_tag", "'no'"),
        ({"titles": []}, "invalid", "titles"),
        ({"k": 0}, "invalid", "k"),
        ({"k": 10**6}, "invalid", "k"),
        ({"title": ["100"]}, "invalid", "title: "),
        ({"titles": ["\ud800"]}, "invalid", "titles"),
        ({"\ud800": 1}, "invalid", "body"),
        ({"titles": [7]}, "invalid", "titles.0"),
        ({"min_year": 1e9}, "invalid", "min_year"),
        ({"types": ["TV"]}, "unknown_filter", "add a column type"),
    ],
)
def test_a_wrong_question_is_answered_with_a_sentence(
    asked: dict[str, Any], code: str, says: str, client: TestClient
) -> None:
    body = json.dumps({"titles": PICKED, **asked})
    reply = client.post("/api/list", content=body, headers={"content-type": "application/json"})
    assert says in refused(reply, 422, code)


def test_a_body_that_is_no_json(client: TestClient) -> None:
    for body, status in ((b"{", 422), (b"[]", 422), (b"", 422), (b"\xff", 400)):
        refused(client.post("/api/list", content=body, headers={"content-type": "application/json"}), status, "invalid")


def test_a_form_of_a_foreign_page_is_not_answered(client: TestClient) -> None:
    body = json.dumps({"titles": PICKED})
    assert client.post("/api/list", content=body, headers={"content-type": "text/plain"}).status_code == 422


@pytest.mark.parametrize("item", [0, 5, NEW])
def test_similar_titles_are_those_of_serving(item: int, client: TestClient, run: FinishedRun) -> None:
    found = client.get(f"/api/similar/{urllib.request.quote(raw(item), safe='')}", params={"k": 4}).json()
    assert found["title"]["subject_id"] == raw(item)
    for side, titles in similar_titles(run, item, 4).items():
        assert ids(found[side]) == ids(titles)
        assert len(titles) == 4
    refused(client.get("/api/similar/no"), 404, "unknown_title")


# --- people ---


def test_people_are_private_unless_asked_for(client: TestClient, run: FinishedRun) -> None:
    refused(client.get("/api/user/u0"), 404, "not_found")
    assert not [path for path in client.get("/openapi.json").json()["paths"] if "user" in path]
    with TestClient(guarded(create_app(run, users=True), "127.0.0.1"), base_url="http://localhost") as opened:
        found = opened.get("/api/user/u0", params={"k": 5}).json()
        assert opened.get("/api/run").json()["can"]["users"]
        refused(opened.get("/api/user/no"), 404, "unknown_user")
    user = run.user_rows["u0"]
    assert ids(found["titles"]) == ids(list_of_user(run, "u0"))
    assert set(ids(found["collected"])) == {run.dataset.raw_item_ids[item] for item in run.dataset.seen[user].indices}
    for one in found["titles"]:
        assert sum(one["parts"].values()) == pytest.approx(one["score"], abs=1e-3)
        assert one["because"]


def test_where_reasons_cannot_be_told_users_have_lists(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: Any) -> None:
        raise ValueError("a text has changed")

    monkeypatch.setattr(answers.explanations, "sources_of", changed)
    answers.sources.cache_clear()
    found = answers.lists_for_user(run, "u0", 5)
    answers.sources.cache_clear()
    assert ids(found["titles"]) == ids(list_of_user(run, "u0"))
    assert not any(one["because"] for one in found["titles"])


def test_vectors_that_are_not_the_models_have_lists_without_reasons(run: FinishedRun) -> None:
    for shift, told in ((0, True), (0.05, False)):
        found = answers.lists_for_user(replace(run, user_emb=run.user_emb + shift), "u0", 5)
        assert len(found["titles"]) == 5
        assert any(one["because"] for one in found["titles"]) == told


# --- uploads ---


ENTRIES = [
    (raw(0), "Completed", 9),
    (raw(1), "Watching", 0),
    (raw(2), "Plan to Watch", 0),
    (raw(3), "Dropped", 8),
    (raw(4), "Completed", 1),
    ("999999", "Completed", 9),
]


def send(client: TestClient, content: Any, name: str = "list.xml", kind: str = "application/octet-stream") -> Any:
    return client.post("/api/upload", params={"name": name}, content=content, headers={"content-type": kind})


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["list.xml", "../../../list.xml", "列表" * 90 + ".xml", ".", "", "\0/x"])
def test_an_export_is_read(
    pack: Any, name: str, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "work"))
    reply = send(client, pack(export(tmp_path / "list.xml", ENTRIES).read_bytes()), name[:200])
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert (found["n_rows"], found["n_unknown"], found["unknown"]) == (6, 1, ["999999"])
    assert ids(found["collected"]) == [raw(0), raw(1)]
    assert ids(found["excluded"]) == [raw(2), raw(3), raw(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.xml", "work"]
    assert not list((tmp_path / "work").iterdir())  # nothing is kept


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<myanimelist>", b"\x1f\x8bnot gzip", b"a,b\n1,2\n"])
def test_what_is_no_list_is_a_sentence(content: bytes, client: TestClient) -> None:
    said = refused(send(client, content, "mine.xml"), 422, "unreadable")
    assert said.startswith("mine.xml")
    assert "/" not in said.replace("n/a", "")  # the folder that it was put into


def test_a_list_without_a_known_title(client: TestClient, tmp_path: Path) -> None:
    body = export(tmp_path / "list.xml", [("999999", "Completed", 9), (raw(0), "Dropped", 9)]).read_bytes()
    assert "none of the 2 entries" in refused(send(client, body), 422, "nothing_known")


def test_a_large_file_is_refused_as_it_comes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "UPLOAD_MIB", 1)
    sent = []

    def parts() -> Iterator[bytes]:
        for number in range(40):
            sent.append(number)
            yield b"x" * 2**16

    refused(send(client, parts()), 413, "too_large")
    refused(send(client, b"x" * 2**20), 422, "unreadable")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_large_request_is_refused_as_it_comes(
    streamed: bool, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"titles": ["' + b"x" * 2**21 + b'"]}'
    refused(client.post("/api/list", content=body, headers={"Content-Type": "application/json"}), 422, "invalid")
    monkeypatch.setattr(app_module, "UPLOAD_MIB", 1)
    parts = iter([body[: 2**20], body[2**20 :]]) if streamed else body
    answer = client.post("/api/list", content=parts, headers={"Content-Type": "application/json"})
    assert "1 MiB is too much for one person's list" in refused(answer, 413, "too_large")


def test_an_upload_is_no_form(client: TestClient) -> None:
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        refused(send(client, b"x", kind=kind), 415, "wrong_type")
    refused(client.options("/api/upload"), 405, "not_allowed")


def test_reading_a_list_holds_up_nobody(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(run: FinishedRun, path: Path) -> dict[str, Any]:
        inside.set()
        assert go_on.wait(30)
        raise app_module.Refused("unreadable", "it took long")

    monkeypatch.setattr(answers, "uploaded", slow)
    with running(run) as url:
        request = urllib.request.Request(f"{url}/api/upload", b"x", {"Content-Type": "application/octet-stream"})
        codes: list[int] = []
        uploads = [
            threading.Thread(target=lambda: codes.append(status_of(request))) for _ in range(app_module.AT_ONCE + 2)
        ]
        for thread in uploads:
            thread.start()
        assert inside.wait(30)
        assert status_of(f"{url}/api/titles?q=title") == 200
        go_on.set()
        for thread in uploads:
            thread.join(30)
    assert codes == [422] * len(uploads)


def status_of(request: Any) -> int:
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_client_that_goes_away_leaves_nothing(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with running(run) as url:
        host, port = url[7:].split(":")
        with socket.create_connection((host, int(port))) as half:
            half.sendall(
                b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
                b"Content-Length: 1000\r\n\r\n<myanimelist>"
            )
        assert status_of(f"{url}/api/run") == 200
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in caplog.text


# --- what protects the page ---


@pytest.mark.parametrize("path", ["/", "/serve.js", "/api/run", "/api/similar/no", "/no", "/openapi.json"])
def test_every_answer_has_the_headers(path: str, client: TestClient) -> None:
    headers = client.get(path, headers={"origin": "http://evil.example"}).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert not [name for name in headers if name.startswith("access-control")]


def test_a_failure_has_them_too_and_tells_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "found", lambda *_: 1 / 0)
    reply = client.get("/api/titles")
    assert "division" not in refused(reply, 500, "failed")
    assert "content-security-policy" in reply.headers


@pytest.mark.parametrize(
    ("called", "host", "ours"),
    [
        ("localhost:8000", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]:8000", "::1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("evil.example", "127.0.0.1", False),
        ("localhost.evil", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("192.168.1.5", "127.0.0.1", False),
        ("[", "127.0.0.1", False),
        ("localhost:x@evil.example", "127.0.0.1", False),
        ("192.168.1.5:1", "192.168.1.5", True),
        ("box.lan", "box.lan", True),
        ("192.168.1.5", "0.0.0.0", True),
        ("[fe80::1]", "::", True),
        (socket.gethostname(), "0.0.0.0", True),
        ("evil.example", "0.0.0.0", False),
    ],
)
def test_only_our_names_are_answered(called: str, host: str, ours: bool) -> None:
    assert is_ours(called, host) == ours


def test_a_foreign_name_is_answered_nothing(client: TestClient) -> None:
    for path in ("/", "/api/run"):
        refused(client.get(path, headers={"host": "evil.example"}), 421, "wrong_host")


def test_the_page_loads_nothing_from_elsewhere_and_holds_no_code(client: TestClient) -> None:
    page = client.get("/").text
    linked = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [link for link in linked if not link.startswith("data:")] == [
        "serve.css",
        "serve_texts.js",
        "serve_state.js",
        "serve_titles.js",
        "serve.js",
        "openapi.json",
    ]
    assert re.findall(r"<script[^>]*>(.*?)</script>", page) == [""] * 4
    assert not re.search(r"<style|\son\w+=|\sstyle=", page)
    for path in ("/serve.css", "/serve.js", "/serve_state.js", "/serve_titles.js", "/serve_texts.js"):
        assert not re.search(
            r"https?://|@import|url\(|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", client.get(path).text
        )
    refused(client.get("/docs"), 404, "not_found")
    refused(client.get("/redoc"), 404, "not_found")


# --- the description ---


@pytest.mark.slow
def test_the_description_fits_what_is_answered(run: FinishedRun) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    hypothesis = pytest.importorskip("hypothesis")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_asgi("/openapi.json", guarded(create_app(run, users=True), "testserver"))
    tried = []
    for operation in schema.get_all_operations():

        @hypothesis.settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.ok().as_strategy())
        def holds(case: Any) -> None:
            tried.append(case.operation.path)
            case.call_and_validate(excluded_checks=[positive_data_acceptance])  # what ids there are no schema says

        holds()
    assert len(set(tried)) == 8
    assert len(tried) > 60


def test_every_answer_is_described(client: TestClient) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            schemas = {
                status: reply["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                for status, reply in operation["responses"].items()
            }
            assert issubclass(getattr(web_schemas, schemas.pop("200")), web_schemas.BaseModel)
            assert set(schemas.values()) == {"Error"}
            assert {"421", "422"} <= set(schemas)
