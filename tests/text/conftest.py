"""Encoders that count, and a hub that does not answer."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import llm_embedding
from tests.helpers.data import write_tsv
from tests.helpers.encoders import FakeEncoder
from text.encoders import lsa_encoder

ABSENT = "aglrec-tests/not-on-this-disk"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> FakeEncoder:
    """Put a counting encoder in the place of every real one, and name one that is not "lsa"."""
    encoder = FakeEncoder()

    def open_fake(settings: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, Any]:
        encoder.opened += 1
        if not encoder.reachable:
            if settings["encoder_fallback"] == "none":
                raise OSError("no network in tests")
            return "lsa", lsa_encoder(corpus, settings["lsa_dim"])
        encoder.salt = f"{settings['model_name']} {settings['max_seq_length']}"
        return settings["model_name"], encoder

    monkeypatch.setattr(llm_embedding, "open_encoder", open_fake)
    config["model_name"] = "tests/fake"
    return encoder


@pytest.fixture
def small(config: dict[str, Any], tmp_path: Path, fake: FakeEncoder) -> dict[str, Any]:
    """Five users on six titles; users of one or two rows keep them all in train."""
    folder = tmp_path / "small"
    write_tsv(folder, "anime.tsv", ((f"s{i}", f"title {i}", "tag", f"story {i}") for i in range(6)))
    write_tsv(
        folder,
        "interactions.tsv",
        [
            ("both", "s0", 8, "good", ""),
            ("both", "s1", 2, "dull", ""),
            ("silent", "s2", 4, "", ""),
            ("silent", "s3", 6, "", ""),
            ("unrated", "s4", "", "hm", ""),
            ("unrated", "s5", 5, "well", ""),
            ("long", "s0", 5, "", "2020-01-01"),
            ("long", "s1", 5, "early", "2020-01-02"),
            ("long", "s2", 9, "in valid", "2020-01-03"),
            ("long", "s3", 9, "in test", "2020-01-04"),
            ("zero", "s5", 0, "", ""),
            ("zero", "s4", 0, "never mind", ""),
        ],
    )
    return {**config, "data_dir": str(folder), "min_rate": 0.0, "vectors_dir": str(tmp_path / "small_vectors")}


@pytest.fixture
def asked(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Name a model that is not on disk, on a machine whose hub answers nothing."""

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network in tests")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    return {**config, "model_name": ABSENT}
