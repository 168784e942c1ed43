"""The ways to share a step: in a group of one process each of them is the step of one process."""

import json
import socket
from pathlib import Path

import pytest
import torch

from benchmarks import parallel


@pytest.fixture
def group_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for key, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", str(port))):
        monkeypatch.setenv(key, value)


@pytest.mark.usefixtures("group_of_one")
@pytest.mark.parametrize(("loss", "n_forms"), [("softmax", 4), ("bpr", 3)])
def test_every_form_takes_the_same_step(loss: str, n_forms: int, tmp_path: Path) -> None:
    sizes = ["--users", "40", "--titles", "60", "--pairs", "600", "--dim", "8", "--text_dim", "5", "--steps", "1"]
    out = tmp_path / "out.json"
    parallel.main([*sizes, "--loss", loss, "--batch_sizes", "10", "--out", str(out)])
    rows = json.loads(out.read_text())["steps"]
    assert len(rows) == n_forms
    assert all(row["difference"] < 1e-5 for row in rows)
    reduced = {row["shared by"]: row["MB reduced"] for row in rows}
    assert reduced["one process"] == 0
    assert reduced["data parallel"] == pytest.approx((100 * 8 + 5 * 8) * 4 / 1e6)  # all weights
    assert reduced["columns"] > 0


def test_shares_of_a_batch_have_each_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = torch.arange(5), torch.arange(7)
    positives = torch.tensor([[0, 0, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 5, 6]])
    found, factors = [], []
    monkeypatch.setattr(parallel.dist, "get_world_size", lambda: 2)
    for number in (0, 1):
        monkeypatch.setattr(
            parallel, "own_share", lambda n, number=number: slice(number * n // 2, (number + 1) * n // 2)
        )
        (mine, _, places, _), factor = parallel.part_of((users, items, positives, None), "softmax")
        found += list(zip(mine[places[0]].tolist(), places[1].tolist(), strict=True))
        factors.append(factor)
    assert found == list(zip(*positives.tolist(), strict=True))
    assert factors == [pytest.approx(2 * 3 / 7), pytest.approx(2 * 4 / 7)]


def test_alone_it_says_how_to_start_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parallel.main([])
    assert "torchrun --nproc_per_node=2 -m benchmarks.parallel" in capsys.readouterr().err
