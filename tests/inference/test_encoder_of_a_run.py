"""An encoder that a folder names and the command does not: nothing is asked for, opened or loaded on its account."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import main
from config import get_config, read_config
from inference.explanations import sources_of
from inference.export import export
from inference.finished_run import FinishedRun, load_finished
from inference.lists import for_new_item, similar_titles
from runtime.files import write_json
from tests.helpers.data import write_data
from tests.helpers.hub import Hub, serving, static_model
from web import answers

NAME = "acme/tiny"  # what the stand-in for the hub would give
OPENED: dict[str, list[str]] = {}  # of each folder that is watched, what was opened or listed


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if OPENED and event in ("open", "os.listdir", "os.scandir") and args and isinstance(args[0], str | Path):
        for folder, seen in OPENED.items():
            if str(args[0]).startswith(folder):
                seen.append(str(args[0]))


sys.addaudithook(_watch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The settings that a finished run with lsa is used by, which name no encoder."""
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "data")
    places = {"data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"), "device": "cpu"}
    main.run(get_config({**places, "model_name": "lsa", "lsa_dim": 8, "embedding_dim": 8, "epochs": 1}))
    return get_config(places)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(static_model(tmp_path / "model"), tmp_path / "cache", monkeypatch) as served:
        OPENED[str(served.folder)] = []
        yield served
        OPENED.clear()


def crafted(trained: dict[str, Any], tmp_path: Path, encoder: Any, **settings: Any) -> dict[str, Any]:
    """Copy the run, and let its best_model.pth name an encoder."""
    saved = shutil.copytree(trained["saved_dir"], tmp_path / "given")
    (saved / "manifest.json").unlink()
    checkpoint = torch.load(saved / "best_model.pth", weights_only=True)
    checkpoint["config"] |= {"model_name": encoder, **settings}
    checkpoint["text"]["encoder"] = encoder
    torch.save(checkpoint, saved / "best_model.pth")
    return {**trained, "saved_dir": str(saved)}


def refused(do: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="is named by best_model.pth and not by this command, so it is not opened"):
        do()


@pytest.mark.parametrize("kind", ["hub", "folder", "root", "number", "server"])
def test_an_encoder_that_only_the_folder_names_is_left_alone(
    trained: dict[str, Any], hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    encoder = {"hub": NAME, "folder": str(hub.folder), "root": "/", "number": 7, "server": "server:m"}[kind]
    config = crafted(trained, tmp_path, encoder, trust_remote_code=True)
    run = load_finished(config)
    with caplog.at_level(logging.WARNING, "aglrec"):
        assert list(similar_titles(run, 0, 3, None)) == ["collectors"]
        assert not answers.described(run)["can"]["text"]
    assert f"give --model_name '{encoder}' --trust_remote_code 'true'" in caplog.text
    refused(lambda: for_new_item(run, {"name": "a new one"}, 3, None))
    refused(lambda: sources_of(run))
    refused(lambda: main.run({**config, "mode": "inference"}))
    export(run, tmp_path / "exported")
    assert hub.asked == []
    assert {str(hub.folder): []} == OPENED


@pytest.mark.parametrize(
    ("named", "settings"),
    [
        ({"model_name": "acme/other"}, {}),
        ({"model_name": NAME}, {"model_revision": "refs/pr/1"}),
        ({"model_name": NAME}, {"trust_remote_code": True}),
    ],
    ids=["another", "another revision", "its code"],
)
def test_a_command_has_to_name_just_that_encoder(
    trained: dict[str, Any], hub: Hub, tmp_path: Path, named: dict[str, Any], settings: dict[str, Any]
) -> None:
    config = crafted(trained, tmp_path, NAME, **settings)
    refused(load_finished({**config, **named}).check_names_encoder)
    load_finished({**config, "model_name": NAME, **settings}).check_names_encoder()


def test_no_metrics_json_lets_code_run(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"config": {"trust_remote_code": True, "model_name": NAME}})
    assert read_config(tmp_path / "metrics.json") == {"model_name": NAME}


@pytest.mark.slow
def test_vectors_that_are_there_need_no_encoder(trained: dict[str, Any], hub: Hub, tmp_path: Path) -> None:
    folder = str(hub.folder)
    settings = {**trained, "saved_dir": str(tmp_path / "saved"), "embedding_dim": 8, "epochs": 1}
    main.run({**settings, "model_name": folder})
    OPENED[folder].clear()
    call = {**trained, "saved_dir": settings["saved_dir"]}
    run = load_finished(call)
    assert list(similar_titles(run, 0, 3, None)) == ["collectors", "text"]
    refused(lambda: for_new_item(run, {"name": "a new one"}, 3, None))
    assert OPENED[folder] == []
    assert placed(load_finished({**call, "model_name": folder}))
    shutil.rmtree(tmp_path / "saved" / "encoded")
    assert list(similar_titles(load_finished(call), 0, 3, None)) == ["collectors", "text"]


def placed(run: FinishedRun) -> dict[str, Any]:
    return for_new_item(run, {"name": "a new one"}, 3, None)
