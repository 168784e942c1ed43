"""What is downloaded of an encoder, where it is looked for, and what becomes of a download that was cut."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.encoders import CORPUS, vectors_of
from tests.helpers.hub import COMMIT, Hub, serving, static_model
from text.encoders import open_encoder
from text.hub import fetched_model, find_model
from text.model_files import faults

NAME = "acme/tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("SENTENCE_TRANSFORMERS_HOME", raising=False)
    folder = static_model(tmp_path / "model")
    for name in ("pytorch_model.bin", "onnx/model.onnx", "tf_model.h5", "pic.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"for others")
    with serving(folder, cache, monkeypatch) as served:
        yield served


def snapshot(cache: Path) -> Path:
    return cache / "models--acme--tiny" / "snapshots" / COMMIT


@pytest.fixture
def cut(hub: Hub, cache: Path) -> Hub:
    """A hub to which the weights are missing in the cache, after a download that was cut."""
    fetched_model(NAME)
    weights = snapshot(cache) / WEIGHTS
    weights.resolve().unlink()
    weights.unlink()
    hub.asked.clear()
    return hub


def test_what_is_loaded_is_downloaded_once_and_nothing_else(hub: Hub, cache: Path) -> None:
    folder = fetched_model(NAME)
    assert folder == snapshot(cache)
    assert {path.name for path in folder.iterdir()} == {"modules.json", "tokenizer.json", WEIGHTS}
    hub.asked.clear()
    assert fetched_model(NAME) == folder
    assert find_model(NAME) == str(folder)
    assert hub.asked == []


def test_to_find_a_model_downloads_nothing(hub: Hub, cache: Path) -> None:
    assert find_model(NAME) == NAME
    assert not snapshot(cache).exists()


@pytest.mark.slow
def test_a_download_that_breaks_off_is_told_and_gone_on_with(
    hub: Hub, cache: Path, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub.cuts = WEIGHTS
    settings = {**config, "model_name": NAME}
    assert open_encoder(settings, "cpu", CORPUS)[0] == "lsa"
    assert "the download of 'acme/tiny' broke off" in caplog.text
    assert "the same command downloads the others" in caplog.text
    assert (snapshot(cache) / "modules.json").exists()
    hub.cuts = ""
    hub.asked.clear()
    with caplog.at_level(logging.INFO, "aglrec"):
        assert open_encoder(settings, "cpu", CORPUS)[0] == NAME
    assert "going on with its download" in caplog.text
    assert [path for path in hub.asked if path.startswith("GET /acme")] == [
        f"GET /acme/tiny/resolve/{COMMIT}/{WEIGHTS}"
    ]


def test_a_snapshot_that_lacks_its_weights_is_finished(cut: Hub, cache: Path) -> None:
    assert find_model(NAME) == NAME
    assert not faults(fetched_model(NAME))
    assert any(WEIGHTS in path for path in cut.asked)


@pytest.mark.parametrize("damage", ["cut", "pointer", "page"])
def test_a_damaged_file_in_the_cache_is_fetched_again(hub: Hub, cache: Path, damage: str) -> None:
    blob = (fetched_model(NAME) / WEIGHTS).resolve()
    whole = blob.read_bytes()
    bad = {"cut": whole[:-9], "pointer": b"version https://git-lfs.github.com/spec/v1\n", "page": b"<!DOCTYPE html>"}
    blob.write_bytes(bad[damage])
    assert (fetched_model(NAME) / WEIGHTS).read_bytes() == whole


@pytest.mark.parametrize("name", ["tokenizer.json", "modules.json"])
def test_settings_that_are_missing_are_fetched(hub: Hub, cache: Path, name: str) -> None:
    folder = fetched_model(NAME)
    (folder / name).unlink()
    assert (fetched_model(NAME) / name).exists()


@pytest.mark.parametrize("fallback", ["lsa", "none"])
def test_without_a_network_it_is_told_what_is_missing(
    cut: Hub,
    cache: Path,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fallback: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    settings = {**config, "model_name": NAME, "encoder_fallback": fallback}
    told = caplog
    if fallback == "none":
        with pytest.raises(OSError, match="is not whole on disk") as error:
            open_encoder(settings, "cpu", CORPUS)
        text = str(error.value)
    else:
        assert open_encoder(settings, "cpu", CORPUS)[0] == "lsa"
        text = told.text
    assert f"{snapshot(cache) / WEIGHTS} is missing" in text
    assert "the same command, which downloads what is missing" in text
    assert cut.asked == []


def test_the_model_is_found_where_sentence_transformers_looks(
    hub: Hub, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(home))
    assert fetched_model(NAME).is_relative_to(home)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert fetched_model(NAME).is_relative_to(home)
    monkeypatch.delenv("SENTENCE_TRANSFORMERS_HOME")
    with pytest.raises(OSError, match="is not on disk"):
        fetched_model(NAME)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    assert fetched_model(NAME).is_relative_to(home)
    assert hub.asked == []


def test_a_whole_model_in_the_other_cache_comes_before_half_a_one(
    hub: Hub, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fetched_model(NAME)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "home"))
    assert fetched_model(NAME) == whole
    half = tmp_path / "home" / whole.relative_to(cache)
    half.mkdir(parents=True)
    (half.parents[1] / "refs").mkdir()
    (half.parents[1] / "refs" / "main").write_text(COMMIT)
    assert fetched_model(NAME) == whole


def test_a_model_of_the_hub_without_weights_for_torch_is_an_error(hub: Hub, config: dict[str, Any]) -> None:
    (hub.folder / WEIGHTS).rename(hub.folder / "model-q8.gguf")
    (hub.folder / "pytorch_model.bin").unlink()
    with pytest.raises(
        ValueError, match="'acme/tiny' is no model that can be loaded: its model.safetensors is missing"
    ):
        open_encoder({**config, "model_name": NAME}, "cpu", CORPUS)


@pytest.mark.slow
def test_the_vectors_of_a_folder_and_of_the_hub_are_the_same(hub: Hub, config: dict[str, Any]) -> None:
    ours = vectors_of(config, model_name=NAME)
    np.testing.assert_array_equal(ours.items, vectors_of(config, model_name=str(hub.folder)).items)
    assert ours.info["used"] == NAME
