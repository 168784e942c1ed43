"""What decides a vector besides its text: an encoder's name, its settings, and the state of its model."""

import json
import re
from pathlib import Path
from typing import Any

from text.cache import digest, stamp_of_matrix
from text.hub import snapshot_on_disk
from text.probe import is_mark, is_same
from text.prompts import AUTO, own_prompts, prompts_of
from text.server import PREFIX
from text.store import stamps_in

NO_REVISION = digest(b"[]")  # in the stamp of a hub model whose commit is not known


def stamp_of(config: dict[str, Any], name: str, corpus: list[str], mark: str = "") -> dict[str, Any]:
    """Return the stamp of an encoder: {"model_name", "settings", "model"}.

    Args:
        config: its text settings.
        name: of the encoder, as open_encoder returns it.
        corpus: the texts "lsa" is fitted to.
        mark: of the model behind a server, as ServerEncoder.mark; empty while it is not asked.
    """
    if name == "lsa":
        model = digest("".join(digest(text.encode()) for text in corpus).encode())
        return {"model_name": name, "settings": {"lsa_dim": config["lsa_dim"]}, "model": model}
    model, folder = _state({**config, "model_name": name}, mark)
    return {"model_name": name, "settings": _settings({**config, "model_name": name}, folder), "model": model}


def likely_stamps(config: dict[str, Any], corpus: list[str], folder: Path) -> list[dict[str, Any]]:
    """Return the stamps that vectors of the config's encoder may have in a folder, though it is not opened.

    Of a model behind a server that is each model it had; of any other it is one, and where a hub model is not on disk
    that of the newest vectors it made.

    Args:
        config, corpus: as of stamp_of.
        folder: vectors_dir.
    """
    name, revision = config["model_name"], config["model_revision"]
    stamp = stamp_of(config, name, corpus)
    if name == "lsa" or _state(config, "")[1]:
        return [stamp]
    if name.startswith(PREFIX):
        return [stamp] if is_mark(revision) else others_of(config, stamp, folder)
    known = [other for other in others_of(config, stamp, folder) if other["model"].startswith(revision)]
    return [stamp] if stamp in known or not known else known[:1]


def opened_stamp(config: dict[str, Any], used: str, corpus: list[str], mark: str, folder: Path) -> dict[str, Any]:
    """Return the stamp of an encoder that is open; of a model behind a server, the one it already has in a folder."""
    stamp = stamp_of(config, used, corpus, mark)
    same = [other for other in others_of(config, stamp, folder) if mark and is_same(other["model"], mark)]
    return same[0] if same and not is_mark(config["model_revision"]) else stamp


def others_of(config: dict[str, Any], stamp: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return the stamps in a folder that differ from one at most in the state of the model, the newest first."""
    # a prompt that the model brings is not known where its files are not
    knows_prompt = prompts_of(config).document or config["document_prompt"] != AUTO or _state(config, "")[1]

    def compared(other: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in other["settings"].items() if knows_prompt or key != "document_prompt"}

    found = [*stamps_in(folder), stamp_of_matrix(folder)]  # whose store may have been deleted since
    named = [other for n, other in enumerate(found) if other and other not in found[:n]]
    named = [other for other in named if other["model_name"] == stamp["model_name"]]
    return [other for other in named if compared(other) == compared(stamp)]


def _state(config: dict[str, Any], mark: str) -> tuple[str, Path | None]:
    """Return what tells the state of the model that a config names from others, and its folder if there is one."""
    name, revision = config["model_name"], config["model_revision"]
    if name.startswith(PREFIX):
        return revision if is_mark(revision) else mark, None
    if (folder := Path(name).expanduser()).is_dir():
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        listing = [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        return digest(json.dumps(listing).encode()), folder
    snapshot = snapshot_on_disk(name, revision)
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision, snapshot
    return (snapshot.name if snapshot else NO_REVISION), snapshot


def _settings(config: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Return the settings that decide a vector of a model; those that came later only where they are on."""
    later = {
        "half": config["half_vectors"],
        "trust_remote_code": config["trust_remote_code"],
        "truncate_dim": config["truncate_dim"],
        "encoder_backend": config["encoder_backend"].replace("torch", ""),
    }
    settings = {key: value for key, value in later.items() if value}
    own = own_prompts(folder) if folder else None
    if (prompt := prompts_of(config, folder).document) or (own and own.document):
        settings["document_prompt"] = prompt
    is_served = config["model_name"].startswith(PREFIX)  # which reads as much as it reads
    return settings if is_served else {"max_seq_length": config["max_seq_length"], **settings}
