"""The lists of the served page, as JSON: one entry a franchise, what goes on, hidden gems, and what is told of each."""

from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install -r requirements-serve.txt")
from fastapi.testclient import TestClient

from dataset.franchises import franchises_of
from inference.finished_run import FinishedRun, load_finished
from inference.shaped_lists import EVEN, FRANCHISE, Rules
from tests.helpers.served import NEW, SEASONS, make_config, raw
from web import titles
from web.app import create_app, guarded
from web.schemas import Franchise, ListRequest


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return load_finished(make_config(tmp_path_factory.mktemp("serve"), SEASONS))


@pytest.fixture(scope="module")
def client(run: FinishedRun) -> Iterator[TestClient]:
    with TestClient(guarded(create_app(run, users=True), "127.0.0.1"), base_url="http://localhost:8000") as client:
        yield client


def listed(client: TestClient, *titles: int, **asked: Any) -> list[dict[str, Any]]:
    reply = client.post("/api/list", json={"titles": [raw(item) for item in titles], "k": 100, **asked})
    assert reply.status_code == 200, reply.text
    return reply.json()["titles"]


def ids(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


def test_what_a_list_may_be_of_is_what_lists_can_be_shaped_by() -> None:
    assert get_args(Franchise) == FRANCHISE
    asked = ListRequest(titles=["x"])
    assert Rules(asked.franchise, asked.niche, asked.diversity, asked.min_collectors) == Rules()


def test_a_franchise_has_one_entry_that_follows_what_was_seen(client: TestClient) -> None:
    seasons = [raw(item) for item in SEASONS]
    everything, first = ids(listed(client, 10)), listed(client, 10, franchise="first", why=True)
    assert {*seasons[1:]} < {*everything}
    assert [one for one in ids(first) if one in seasons] == [seasons[1]]
    [entry] = [one for one in first if one["subject_id"] == seasons[1]]
    assert entry["after"] == {"subject_id": seasons[0], "name": SEASONS[10]}
    assert entry["more"] == len(seasons) - 2
    assert all(one["after"] is None for one in first if one is not entry)


def test_what_goes_on_and_what_is_new_are_apart(client: TestClient) -> None:
    [only] = listed(client, 10, franchise="continue")
    assert only["subject_id"] == raw([*SEASONS][1])
    assert not {raw(item) for item in SEASONS} & {*ids(listed(client, 10, franchise="new"))}
    alone = next(
        item
        for item in range(NEW)
        if len(client.get(f"/api/franchise/{quote(raw(item), safe='')}").json()["titles"]) == 1
    )
    assert listed(client, alone, franchise="continue") == []


def test_a_dropped_title_blocks_what_it_belongs_to(client: TestClient, run: FinishedRun) -> None:
    found = ids(listed(client, 10, 20, franchise="first", scores={raw(10): -1.5}))
    assert run.uses_rates or found  # without rates it is only left out
    user = next(user for user in range(60) if run.dataset.seen[user].indices.size)
    rows = {run.item_rows[one["subject_id"]] for one in user_list(client, user, "new")}
    groups = franchises_of(run.dataset).groups
    assert not {*groups[[*rows]]} & {*groups[run.dataset.seen[user].indices]}


def user_list(client: TestClient, user: int, franchise: str) -> list[dict[str, Any]]:
    reply = client.get(f"/api/user/u{user}", params={"franchise": franchise, "k": 100})
    assert reply.status_code == 200, reply.text
    return reply.json()["titles"]


def test_a_niche_and_collectors_decide_what_is_listed(client: TestClient) -> None:
    known, even, gems = (
        np.mean([one["collectors"] for one in listed(client, 4, 8, k=8, niche=n)]) for n in (0, EVEN, 1)
    )
    assert known > even > gems
    most = max(one["collectors"] for one in listed(client, 4))
    assert all(one["collectors"] >= most for one in listed(client, 4, min_collectors=most))
    assert listed(client, 4, diversity=1.0, k=6) != listed(client, 4, k=6)


@pytest.mark.parametrize("wrong", [{"franchise": "some"}, {"niche": 1.5}, {"diversity": -1}, {"min_collectors": -1}])
def test_a_rule_that_there_is_not_is_refused(wrong: dict[str, Any], client: TestClient) -> None:
    reply = client.post("/api/list", json={"titles": [raw(4)], **wrong})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid")


def test_new_titles_have_no_collectors_to_be_asked_for(client: TestClient) -> None:
    body = {"titles": [raw(4)], "new": True, "min_collectors": 2, "franchise": "first"}
    found = client.post("/api/list", json=body).json()
    assert found["new_titles"]
    assert all(one["collectors"] == 0 for one in found["new_titles"])
    assert all(one["collectors"] >= 2 for one in found["titles"])


def test_a_synopsis_is_the_summary_alone_and_ends_at_a_word(client: TestClient, run: FinishedRun) -> None:
    for one in listed(client, 4):
        assert one["synopsis"] == f"story of {run.item_rows[one['subject_id']] % 6}"
    texts = list(run.dataset.item_texts)
    texts[7] += "\n" + "word " * 200
    object.__setattr__(run.dataset, "item_texts", texts)
    said = titles.synopsis(run, 7)
    assert said.startswith("story of 1 word word")
    assert said.endswith("word …")
    assert len(said) <= titles.SYNOPSIS


def test_parts_stand_in_the_order_of_watching(client: TestClient) -> None:
    found = client.get(f"/api/franchise/{raw([*SEASONS][2])}").json()["titles"]
    assert ids(found) == [raw(item) for item in SEASONS]
    assert ids(client.get(f"/api/franchise/{raw(NEW)}").json()["titles"]) == [raw(NEW)]
    assert client.get("/api/franchise/no").json()["code"] == "unknown_title"


def test_the_server_says_that_it_is_there(client: TestClient) -> None:
    assert client.get("/api/health").json() == {"status": "ok"}
    assert client.head("/api/health").status_code == 200
