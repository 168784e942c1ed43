"""The time that a run is expected to take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import get_config
from data_loader import load_dataset
from runtime.distributed import resolve_device
from tests.helpers.hub import static_model
from tools import check, run_time

Call = Callable[..., tuple[int, str, str]]


# --- time ---


@pytest.fixture
def a_second_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything that is timed take a second."""
    monkeypatch.setattr(run_time, "_timed", lambda work: (1.0, work()))


def seconds_of(data_dir: Path, **overrides: Any) -> dict[str, float]:
    config = get_config(
        {
            "preset": "tuned",
            "data_dir": str(data_dir),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "device": "cpu",
            **overrides,
        }
    )
    dataset = load_dataset(config)
    encoder = None if config["fusion_mode"] == "none" else run_time.Encoder("lsa", "lsa")
    return run_time.estimate(dataset, config, resolve_device("cpu"), encoder, 7.0)


@pytest.mark.usefixtures("a_second_each")
def test_what_was_timed_is_extrapolated(data_dir: Path) -> None:
    found = seconds_of(data_dir, epochs=10, batch_size=8)
    assert found["loading"] == 7
    assert found["text"] == 2 + 1 + 2  # lsa: fitted, titles, comments; names: fitted, titles
    # 40 users in steps of 8: a second to draw, and 3 steps in a second; then a ranking
    epoch = 1 + 5 / 3
    assert found["training"] == pytest.approx(1 + 10 * (epoch + 1))
    # five temperatures, id dropout and users' text, of two epochs each; two runs, and four that weigh rates, of all ten
    assert found["short runs"] == pytest.approx(7 * (1 + 2 * (epoch + 1)) + 6 * (1 + 10 * (epoch + 1)))
    assert found["rankings"] == 32 + 10
    assert seconds_of(data_dir, epochs=20, batch_size=8)["training"] == pytest.approx(1 + 20 * (epoch + 1))


@pytest.mark.usefixtures("a_second_each")
def test_samples_stand_for_all(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = seconds_of(data_dir)
    monkeypatch.setattr(run_time, "N_TEXTS", 10)  # of 30 titles
    monkeypatch.setattr(run_time, "N_USERS", 10)  # of 40 users
    monkeypatch.setattr(run_time, "N_ITEMS", 15)  # of 30 titles
    part = seconds_of(data_dir)
    assert part["text"] > 2.9 * whole["text"]
    assert part["rankings"] == pytest.approx(4 * whole["rankings"])
    assert part["closed form"] > 7 * whole["closed form"]


@pytest.mark.usefixtures("a_second_each")
def test_what_a_run_does_not_do_takes_no_time(data_dir: Path) -> None:
    assert set(seconds_of(data_dir, fusion_mode="none")) == {
        "loading",
        "short runs",
        "training",
        "closed form",
        "rankings",
    }
    assert set(seconds_of(data_dir, temperature=0.1, rating_weight=0, calibrate=False, linear_dim=0)) == {
        "loading",
        "text",
        "training",
        "rankings",
    }


def test_the_encoder_on_disk_is_timed(
    data_dir: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    monkeypatch.setattr(
        run_time,
        "transformer_encoder",
        lambda *args: lambda texts: encoded.append(len(texts)) or np.ones((len(texts), 5), np.float32),
    )
    model = static_model(tmp_path / "model")
    code, page, _ = call(check, str(data_dir), "--model_name", str(model), "--device", "cpu")
    assert code == 0
    assert encoded == [1, 32]
    assert "a run of --preset tuned here: about 1 minute\n" in page
    assert not (data_dir / "saved").exists()
