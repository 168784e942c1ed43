"""Full ranking by all processes of a torchrun: while the others wait for the first one, each ranks some of the users.

What one process would rank together stays together, and ties are broken in the order of the users, so that lists and
figures are those of a single process, to the bit.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from evaluation.ranking import (
    AsScored,
    Factor,
    ItemSide,
    Ranking,
    Scored,
    block_scorer,
    item_side,
    joined,
    lots_of,
    rank_blocks,
    with_lots,
)
from runtime.distributed import n_helpers, with_help
from runtime.memory import in_blocks

BLOCKS = 4  # that a process ranks at a time: their scores of users with ties are kept, a fourth of memory_mb a block


class Share(NamedTuple):
    """What a process ranks: some users, with rows of their own."""

    side: ItemSide | None  # None where it is that of the share before
    user_emb: Factor  # (n, D)
    masked: sp.csr_matrix  # (n, n_items)
    target: sp.csr_matrix | None
    is_last: bool


def rank_items(
    user_emb: Factor,
    item_emb: Factor | AsScored,
    user_ids: np.ndarray,
    masked: sp.csr_matrix,
    k: int,
    target: sp.csr_matrix | None = None,
    seed: int = 0,
    memory_mb: int = 256,
) -> Ranking:
    """Rank as ranking.rank_items does, with the processes that wait for this one, if there are any."""
    blocks = rank_together(user_emb, item_emb, user_ids, masked, k, target, seed, memory_mb)
    return joined(blocks, user_ids, k, target is not None)


def rank_together(
    user_emb: Factor,
    item_emb: Factor | AsScored,
    user_ids: np.ndarray,
    masked: sp.csr_matrix,
    k: int,
    target: sp.csr_matrix | None = None,
    seed: int = 0,
    memory_mb: int = 256,
) -> Iterator[Ranking]:
    """Yield what rank_items returns some users at a time.

    What a single block has room for is ranked by this process alone. So is what a GPU ranks in less time than it could
    be sent, and scores that are kept already.
    """
    n_processes = n_helpers() + 1
    is_sent = n_processes > 1 and (sp.issparse(item_emb) or (isinstance(item_emb, torch.Tensor) and item_emb.is_cpu))
    side = item_side(item_emb, k, memory_mb) if is_sent else None
    if side is None or len(user_ids) <= side.block:
        yield from rank_blocks(user_emb, item_emb, user_ids, masked, k, target, seed, memory_mb)
        return
    rng, sent, start = lots_of(seed), side, 0
    while start < len(user_ids):
        # whole blocks for each, of what is left and of as many as a process takes at a time
        n_blocks = -(-(len(user_ids) - start) // side.block)
        most = side.block * min(BLOCKS, -(-n_blocks // n_processes))
        parts = [user_ids[start + most * number :][:most] for number in range(n_processes)]
        start += most * n_processes
        is_last = start >= len(user_ids)
        shares = [
            Share(sent, _rows(user_emb, users), masked[users], None if target is None else target[users], is_last)
            for users in parts
        ]
        found = with_help(score_share, shares)
        sent = None
        for users, blocks in zip(parts, found, strict=True):
            for block in blocks:
                yield with_lots(_of(users, block), k, rng)


_sides: list[ItemSide] = []  # of the ranking that this process takes part in


def score_share(share: Share) -> list[Scored]:
    """Score the users of a share, in the process whose share it is."""
    if share.side:
        _sides[:] = [share.side]
    [side] = _sides
    if share.is_last:
        _sides.clear()
    n_users = share.masked.shape[0]
    scored = block_scorer(side, share.user_emb, np.arange(n_users), share.masked, share.target)
    return list(in_blocks(n_users, side.block, scored))


def _of(users: np.ndarray, block: Scored) -> Scored:
    """Give the users of a share their numbers among all."""
    ranking = block.ranking
    return block._replace(ranking=ranking._replace(user_ids=users[ranking.user_ids]))


def _rows(user_emb: Factor, users: np.ndarray) -> Factor:
    return user_emb[torch.from_numpy(users)] if isinstance(user_emb, torch.Tensor) else user_emb[users]
