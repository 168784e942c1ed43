"""recommend.py called in this process, on a run with names and years."""

from typing import Any

import pytest

import main
from config import get_config
from tests.helpers.data import write_data, write_tsv
from tests.helpers.recommend import Call, calling


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A finished run with text, years and titles nobody has collected."""
    folder = tmp_path_factory.mktemp("run")
    path = write_data(folder / "data") / "anime.tsv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = [f"{header}\tyear", *(f"{line}\t{1990 + item}" for item, line in enumerate(lines))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_tsv(folder / "data", "user.tsv", [("u3", "Ann", "")])
    config = get_config(
        {
            "data_dir": str(folder / "data"),
            "saved_dir": str(folder / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "epochs": 3,
            "batch_size": 64,
            "device": "cpu",
            "cold_item_ratio": 0.2,
        }
    )
    main.run(config)
    return config


@pytest.fixture
def call(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the script on the run: words -> exit code, what it printed, what it said of errors."""
    return calling(config, monkeypatch, capsys)
