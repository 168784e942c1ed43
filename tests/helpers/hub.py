"""A stand-in for the model hub, which counts what it is asked, and small models as it has them."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

COMMIT = "c" * 40
STATIC = "sentence_transformers.models.StaticEmbedding"


class Hub:
    """What a stand-in serves: the files of one folder, as acme/tiny at COMMIT."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.cuts = folder, [], ""  # cuts: a file that is never sent whole

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers."""
        files = {str(file.relative_to(self.folder)): file for file in self.folder.rglob("*") if file.is_file()}
        if path.startswith("/api/models/acme/tiny"):
            siblings = [{"rfilename": name, "size": file.stat().st_size} for name, file in files.items()]
            about = {"id": "acme/tiny", "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
            return 200, json.dumps(about).encode(), {"Content-Type": "application/json"}
        if path.startswith("/acme/tiny/resolve/") and (name := path.split("/", 5)[5]) in files:
            body = files[name].read_bytes()
            return 200, body, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return 404, b"{}", {"X-Error-Code": "EntryNotFound" if "/resolve/" in path else "RepoNotFound"}


@contextmanager
def serving(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a folder as acme/tiny, and let the hub's own library ask nobody else and keep its files in cache."""
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

        def do_GET(self) -> None:
            path = urlparse(self.path).path
            if "agent" not in path:  # which the library asks once a day
                hub.asked.append(f"{self.command} {path}")
            status, body, headers = hub.answer(path)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET" and hub.cuts and path.endswith(hub.cuts):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
            elif self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None, raising=False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def static_model(folder: Path, key: str = "embedding.weight", dim: int = 6) -> Path:
    """Write a model of static embeddings, one vector a character: as sentence-transformers does, or model2vec."""
    folder.mkdir(parents=True)
    vocabulary = {"[UNK]": 0} | {chr(code): code - 31 for code in range(32, 127)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))
    weights = np.random.default_rng(0).normal(size=(len(vocabulary), dim)).astype(np.float32)
    save_file({key: weights}, folder / "model.safetensors")
    if key == "embedding.weight":
        modules = [{"idx": 0, "name": "0", "path": "", "type": STATIC}]
        (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    else:
        (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}', encoding="utf-8")
    return folder
