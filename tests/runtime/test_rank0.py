"""What process 0 alone computes, where it fails."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import torch.distributed as dist

from runtime import distributed
from runtime.mapped import mapped_from_rank0


@pytest.mark.parametrize("decorated", [distributed.broadcast_from_rank0, distributed.rank0_first, mapped_from_rank0])
@pytest.mark.parametrize("rank", [0, 1])
def test_where_the_first_process_fails_it_alone_says_why(
    decorated: Any, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = [False, None]

    def fails() -> None:
        raise ValueError("the sentence")

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: rank)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box: box.__setitem__(slice(None), sent))
    with pytest.raises(ValueError, match="the sentence") if rank == 0 else pytest.raises(SystemExit):
        decorated(fails)()


def test_others_map_the_arrays_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both processes in one: what the first sends is what the second gets, while the file is there."""
    wanted = {
        "matrix": sp.csr_matrix(np.eye(3, dtype=np.float32)),
        "empty": np.empty(0),
        "odd": np.arange(7, dtype=">i2"),
    }
    sent: list[Any] = []
    names: list[Path] = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: names.append(Path(sent[1])))
    for key in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.setenv(key, "2")
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "broadcast_object_list", sent.extend)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        assert mapped_from_rank0(lambda: wanted)() is wanted
    assert names[0].exists()
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box: box.__setitem__(slice(None), sent))
    found = mapped_from_rank0(lambda: pytest.fail("computed twice"))()
    names[0].unlink()
    assert (found["matrix"] != wanted["matrix"]).nnz == 0
    assert np.array_equal(found["odd"], wanted["odd"])
    assert found["empty"].shape == (0,)
    assert found["matrix"].indices.ctypes.data % 4 == 0
    found["odd"][0] = 9
    assert wanted["odd"][0] == 0


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
def test_a_file_that_could_not_be_written_is_removed(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(joblib, "dump", fails)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box: None)
    for key in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.setenv(key, "2")
    with pytest.raises(error):
        mapped_from_rank0(lambda: "gigabytes")()
    assert list(tmp_path.iterdir()) == []


def test_on_several_machines_each_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box: box.__setitem__(slice(None), [True, None]))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert mapped_from_rank0(lambda: "mine")() == "mine"
