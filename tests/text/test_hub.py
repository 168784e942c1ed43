"""Models of the hub: their revisions, names, and a hub that never answers."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from tests.helpers.encoders import CORPUS, FakeEncoder, assert_same, rewrite_anime, saved, sidecar, stores, vectors_of
from text import hub
from text.encoders import open_encoder
from text.hub import find_model, snapshot_on_disk

ABSENT = "aglrec-tests/not-on-this-disk"


# --- the state of a hub model ---


A, B = "a" * 40, "b" * 40


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The commits of tests/fake in the hub's cache folder: revision ("" is the main branch) -> commit."""
    commits = {"": A}

    def found(name: str, revision: str | None = None, **more: Any) -> str:
        commit = commits.get(revision or "")
        if name != "tests/fake" or not commit:
            raise LocalEntryNotFoundError("not on disk")
        return f"/cache/snapshots/{commit}"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", found)
    return commits


def test_a_model_that_changed_on_the_hub_is_noticed(
    config: dict[str, Any], fake: FakeEncoder, on_disk: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    first = vectors_of(config)
    assert sidecar(config)["model"] == A
    on_disk[""] = B
    fake.texts.clear()
    with caplog.at_level(logging.INFO, "aglrec"):
        second = vectors_of(config)
    assert len(fake.texts) == first.info["texts_encoded"] > 0
    assert second.info["digest"] != first.info["digest"]
    assert f"tests/fake is now {B}, and was {A} before" in caplog.text
    on_disk[""] = A
    fake.texts.clear()
    assert vectors_of(config).info["digest"] == first.info["digest"]
    assert fake.texts == []


def test_a_pinned_revision_stays_whatever_the_hub_has(
    config: dict[str, Any], fake: FakeEncoder, on_disk: dict[str, str]
) -> None:
    first = vectors_of(config)
    on_disk[""] = B
    assert vectors_of(config, model_revision=A).info["digest"] == first.info["digest"]
    on_disk |= {"": B, "v1": A}
    assert vectors_of(config, model_revision="v1").info["digest"] == first.info["digest"]
    assert vectors_of(config).info["digest"] != first.info["digest"]


def test_without_the_model_its_last_vectors_do(
    config: dict[str, Any], fake: FakeEncoder, on_disk: dict[str, str]
) -> None:
    first = vectors_of(config)
    on_disk.clear()
    fake.opened = 0
    assert vectors_of(config).info["digest"] == first.info["digest"]
    assert fake.opened == 0
    vectors_of(config, model_revision=B)
    assert fake.opened == 1


def test_the_revision_reaches_whoever_opens_the_model(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[Any] = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, revision=None, **more: asked_for.append(revision) or f"/cache/models/snapshots/{A}",
    )
    monkeypatch.setattr(hub, "faults", lambda *args: [])
    assert find_model(ABSENT, "v1") == f"/cache/models/snapshots/{A}"
    assert snapshot_on_disk(ABSENT, "") == Path(f"/cache/models/snapshots/{A}")
    assert asked_for == ["v1", None]


def test_a_revision_the_hub_does_not_have_is_an_error(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: Any, name: str, revision: str, **more: Any) -> None:
        assert revision == "v7"
        raise RevisionNotFoundError("404", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unknown)
    with pytest.raises(ValueError, match="no revision 'v7'; check model_revision"):
        vectors_of(asked, model_revision="v7")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "org/model",
        "../../../outside",
        "/etc/outside",
        "...",
        "a.b/c..d",
        "~/model",
        "模型",
        "x" * 200,
        "c:\\dir\\model",
        "na me\n",
    ],
)
def test_no_name_of_an_encoder_leads_outside_the_folder(
    name: str, config: dict[str, Any], fake: FakeEncoder, tmp_path: Path
) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    first = vectors_of(config, model_name=name)
    vectors_of(config)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    folders = {path.parent for path in written}
    assert folders == {Path(config["saved_dir"]), *stores(config)}
    assert len(stores(config)) == 2
    fake.texts.clear()
    assert_same(vectors_of(config, model_name=name), first)
    assert fake.texts == []


def test_names_that_look_alike_do_not_share_a_file(config: dict[str, Any], fake: FakeEncoder) -> None:
    names = ["org/a-b", "org/a.b", "org/a_b", "other" * 20 + "/" + "x" * 40, "another" * 20 + "/" + "x" * 40]
    first = [vectors_of(config, model_name=name) for name in names]
    vectors_of(config, model_name="lsa")
    assert len(stores(config)) == 5
    for name, vectors in zip(names, first, strict=True):
        assert_same(vectors_of(config, model_name=name), vectors)


def test_fallback_none_raises_and_writes_nothing(asked: dict[str, Any]) -> None:
    with pytest.raises(OSError, match=ABSENT):
        vectors_of(asked, encoder_fallback="none")
    assert not saved(asked).exists()


@pytest.fixture
def silent_hub(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Let the hub keep the caller waiting until the test is over."""
    over = threading.Event()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **kwargs: over.wait(30))
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.5)
    yield asked
    over.set()


@pytest.mark.slow
@pytest.mark.parametrize("fallback", ["lsa", "none"])
def test_a_hub_that_never_answers_is_known_in_time(silent_hub: dict[str, Any], fallback: str) -> None:
    settings = {**silent_hub, "encoder_fallback": fallback}
    start = time.monotonic()
    if fallback == "none":
        with pytest.raises(OSError, match=ABSENT):
            open_encoder(settings, "cpu", CORPUS)
    else:
        assert open_encoder(settings, "cpu", CORPUS)[0] == "lsa"
    assert time.monotonic() - start < 5


def test_the_wait_for_the_hub_is_within_the_promised_20_seconds() -> None:
    assert hub.PROBE_SECONDS < 20


@pytest.mark.parametrize("fallback", ["lsa", "none"])
def test_a_name_the_hub_does_not_know_is_an_error_whatever_the_fallback(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fallback: str
) -> None:
    def unknown(*args: Any, **kwargs: Any) -> None:
        raise RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unknown)
    with pytest.raises(ValueError, match=ABSENT):
        vectors_of(asked, encoder_fallback=fallback)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "~/no-such-folder", "a/b/c", "what is it"])
def test_a_name_that_can_be_no_model_is_an_error_whatever_the_fallback(asked: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        open_encoder({**asked, "model_name": name}, "cpu", CORPUS)


def test_a_model_the_hub_confirms_goes_by_its_name(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **kwargs: SimpleNamespace(siblings=None))
    assert find_model(ABSENT) == ABSENT


def test_no_text_at_all_is_an_error(config: dict[str, Any]) -> None:
    rewrite_anime(config, lambda lines: [f"s{i}\t\t\t" for i in range(len(lines))])
    with pytest.raises(ValueError, match="text"):
        vectors_of(config)
