"""What proxies, health checks and foreign pages ask of the served page, and what stands in odd requests."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from fastapi import FastAPI
from fastapi.testclient import TestClient

from inference.finished_run import load_finished
from serve import FLAGS
from tests.helpers.served import N_ITEMS, make_config, raw
from web.app import create_app, guarded, public

PUBLIC = "https://rec.example.org/anime"
HEAD_OF = (
    "/",
    "/serve.js",
    "/api/run",
    "/api/titles?q=a",
    "/api/similar/100",
    "/api/similar/no",
    "/no",
    "/openapi.json",
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(load_finished(make_config(tmp_path_factory.mktemp("serve"))))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(guarded(app, "127.0.0.1"), base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture(scope="module")
def behind(app: FastAPI) -> Iterator[TestClient]:
    guard = guarded(app, "127.0.0.1", public(PUBLIC))
    with TestClient(guard, base_url="http://rec.example.org", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize("path", HEAD_OF)
def test_head_is_get_without_a_body(client: TestClient, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert head.status_code == got.status_code
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""
    assert client.head("/api/list").status_code == 405


def test_a_preflight_is_refused_in_a_sentence(client: TestClient) -> None:
    asks = {"Origin": "http://app.example", "Access-Control-Request-Method": "POST"}
    reply = client.options("/api/list", headers=asks)
    assert (reply.status_code, reply.json()["code"]) == (405, "not_allowed")
    assert "a page of http://app.example may not ask this server (CORS)" in reply.json()["message"]
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_proxy_may_show_it_under_its_name_and_nobody_else(client: TestClient, behind: TestClient) -> None:
    message = client.get("/api/run", headers={"host": "rec.example.org"}).json()["message"]
    assert "behind a proxy start it with --public_url" in message
    assert behind.get("/api/run", headers={"host": "rec.example.org:8443"}).status_code == 200
    assert behind.get("/api/run", headers={"host": "evil.example"}).status_code == 421
    assert behind.get("/api/run", headers={"host": "evil.example", "x-forwarded-host": "localhost"}).status_code == 421


@pytest.mark.parametrize("prefix", ["/anime", ""], ids=["the proxy keeps the path", "takes it off"])
def test_a_page_below_a_path(behind: TestClient, prefix: str) -> None:
    page = behind.get(f"{prefix}/")
    assert "serve.js" in page.text
    for linked in re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page.text):
        assert behind.get(f"{prefix}/{linked}").status_code == 200
    assert behind.get(f"{prefix}/api/run").json()["n_titles"] == N_ITEMS
    assert behind.post(f"{prefix}/api/list", json={"titles": [raw(0)]}).status_code == 200
    assert behind.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/anime"}]


def test_the_page_is_a_folder(behind: TestClient) -> None:
    reply = behind.get("/anime")
    assert (reply.status_code, reply.headers["location"]) == (307, "/anime/")
    assert behind.get("/animes/api/run").status_code == 404


@pytest.mark.parametrize("url", ["rec.example.org", "ftp://x", "https://", "https://x/?a=1", "https://["])
def test_what_is_no_address_is_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="--public_url is .*; write it as https://NAME"):
        public(FLAGS.read(["--public_url", url])[0].public_url)


@pytest.mark.parametrize(
    "path",
    [
        "/api/similar/进击的巨人",
        "/api/similar/%ff%fe",
        "/api/similar/%00",
        "/api/similar/" + "é" * 150,
        "/api/similar/100?k=100000",
        "/api/similar/100?k=0",
        "/api/titles?n=99999999999999999999999",
        "/api/titles?n=1e3",
    ],
)
def test_odd_questions_are_answered_in_a_sentence(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code in (404, 422)
    assert set(reply.json()) == {"code", "message"}


@pytest.mark.parametrize("query", ["进击的巨人", "\0", "عنوان", "🎌", "\u202e", "é" * 200, "%", "*"])
def test_any_text_may_be_searched_for(client: TestClient, query: str) -> None:
    assert client.get("/api/titles", params={"q": query}).status_code == 200


def test_more_than_there_is_is_all_there_is(client: TestClient) -> None:
    reply = client.post("/api/list", json={"titles": [raw(0)], "k": 200, "new": True}).json()
    assert len(reply["titles"]) == N_ITEMS - 1
    assert len(client.get(f"/api/similar/{raw(0)}?k=200").json()["collectors"]) <= N_ITEMS - 1


@pytest.mark.parametrize("name", ["manga.xml", "漫画.xml"])
def test_a_list_of_manga_is_refused_in_a_sentence(client: TestClient, name: str, tmp_path: Path) -> None:
    entries = "<manga><manga_mangadb_id>100</manga_mangadb_id><my_score>8</my_score></manga>"
    content = f"<myanimelist><myinfo><user_export_type>2</user_export_type></myinfo>{entries}</myanimelist>"
    sent = {"content": content.encode(), "headers": {"content-type": "application/octet-stream"}}
    reply = client.post("/api/upload", params={"name": name}, **sent)
    assert (reply.status_code, reply.json()["code"]) == (422, "unreadable")
    assert "manga" in reply.json()["message"]
    assert "/tmp" not in reply.json()["message"]


def test_an_upload_in_utf_16_is_read_or_a_sentence(client: TestClient) -> None:
    content = (
        '<?xml version="1.0" encoding="UTF-16"?><myanimelist><myinfo><user_name>me</user_name></myinfo><anime>'
        f"<series_animedb_id>{raw(0)}</series_animedb_id><my_score>8</my_score><my_status>Completed</my_status></anime>"
        "</myanimelist>"
    ).encode("utf-16")
    sent = {"content": content, "headers": {"content-type": "application/octet-stream"}}
    reply = client.post("/api/upload", params={"name": "list.xml"}, **sent)
    assert reply.status_code in (200, 422)
    if reply.status_code == 200:
        assert [title["subject_id"] for title in reply.json()["collected"]] == [raw(0)]
    else:
        assert "UTF-8" in reply.json()["message"]
