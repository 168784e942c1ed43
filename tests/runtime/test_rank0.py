"""What process 0 alone computes, where it fails."""

from typing import Any

import pytest
import torch.distributed as dist

from runtime import distributed


@pytest.mark.parametrize("decorated", [distributed.broadcast_from_rank0, distributed.rank0_first])
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
