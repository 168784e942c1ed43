"""Full ranking: the best items of every user among all items that are not masked, and the AUC.

Ties are broken at random with a fixed seed. Rows of anime.tsv often follow popularity, so breaking ties by row number
would hand the popular items to a model that cannot tell items apart.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from runtime.memory import in_blocks

CHUNK = 64
SUMMED = 2**21  # scores that are summed up at a time: few enough to stay in the processor's cache


class KeptScores(NamedTuple):
    """Stands for the vectors of users where scores are kept: their weighted sum, made a block of users at a time."""

    # of each part the scores (n_users, m), or a factor of users (n_users, 1) and one of items (1, m); and its weight
    parts: tuple[tuple[tuple[torch.Tensor, ...], float], ...]

    def write(self, users: np.ndarray, out: torch.Tensor) -> None:
        """Write the scores (b, m) of some users, ascending rows."""
        together = len(users) and users[-1] - users[0] + 1 == len(users)
        rows = slice(users[0], users[-1] + 1) if together else torch.from_numpy(users).to(out.device)
        for number, (factors, weight) in enumerate(self.parts):
            scores = torch.mul(factors[0][rows], factors[1]) if len(factors) == 2 else factors[0][rows]
            if number:
                out.add_(scores, alpha=weight)
            else:
                torch.mul(scores, weight, out=out)


class AsScored(NamedTuple):
    """Stands for the vectors of items where those of users are KeptScores."""

    columns: torch.Tensor  # (n,) of the items, -1 for those whose scores are not kept
    n_kept: int  # m

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of items first, as of vectors."""
        return tuple(self.columns.shape)

    def picked(self, items: torch.Tensor) -> "AsScored":
        """Take the columns of some items alone."""
        return self._replace(columns=self.columns[items.to(self.columns.device)])

    def are_all(self) -> bool:
        """Say whether these are all columns that are kept, in order."""
        return torch.equal(self.columns, torch.arange(self.n_kept, device=self.columns.device))


Factor = torch.Tensor | sp.csr_matrix | KeptScores


class Ranking(NamedTuple):
    """The best items of some users."""

    user_ids: np.ndarray  # (n,) user rows, ascending
    items: np.ndarray  # (n, k) item rows, best first; -1 where a user has fewer than k items left
    scores: np.ndarray  # (n, k) float32; -inf where items is -1
    auc: np.ndarray | None  # (n,) AUC of each user, NaN where it has no meaning


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
    """Rank every unmasked item for each user and keep the best k.

    Args:
        user_emb: (n_users, D), a tensor, or a CSR matrix where most of it is zero, as in item-item methods.
        item_emb: (n_items, D), on the device of user_emb; CSR only where user_emb is. AsScored where user_emb has
            the scores themselves.
        user_ids: (n,) user rows, ascending.
        masked: CSR (n_users, n_items), the pairs that take no part.
        k: length of the lists, at most n_items.
        target: CSR (n_users, n_items), disjoint from masked; if given, auc is computed against it: per user,
            the share of (target item, other unmasked item) pairs in which the target scores higher, ties a half.
        seed: of the tie breaks.
        memory_mb: bounds the memory of a block of users, in MiB.

    Returns:
        The Ranking.

    Raises:
        ValueError: k is larger than the catalogue.
    """
    parts = rank_blocks(user_emb, item_emb, user_ids, masked, k, target, seed, memory_mb)
    return joined(parts, user_ids, k, target is not None)


def joined(blocks: Iterable[Ranking], user_ids: np.ndarray, k: int, with_auc: bool) -> Ranking:
    """Make one Ranking of those of blocks of users."""
    parts = list(blocks)
    items, scores = (np.concatenate([part[a] for part in parts]) if parts else np.empty((0, k)) for a in (1, 2))
    auc = np.concatenate([part.auc for part in parts] or [np.empty(0)]) if with_auc else None
    return Ranking(user_ids, items.astype(np.int64), scores, auc)


def rank_blocks(
    user_emb: Factor,
    item_emb: Factor | AsScored,
    user_ids: np.ndarray,
    masked: sp.csr_matrix,
    k: int,
    target: sp.csr_matrix | None = None,
    seed: int = 0,
    memory_mb: int = 256,
) -> Iterator[Ranking]:
    """Yield what rank_items returns, and raise what it raises, a block of users at a time."""
    side, rng = item_side(item_emb, k, memory_mb), lots_of(seed)
    scored = block_scorer(side, user_emb, user_ids, masked, target)

    def ranked(rows: slice) -> Ranking:
        state = rng.bit_generator.state
        try:
            return with_lots(scored(rows), k, rng)
        except (MemoryError, RuntimeError):  # in_blocks asks again, for fewer users: the same lots
            rng.bit_generator.state = state
            raise

    yield from in_blocks(len(user_ids), side.block, ranked)


class SparseColumns(NamedTuple):
    """A sparse (D, width) of which some rows are mostly filled, as those of a low-rank part are."""

    sparse: sp.csr_matrix  # (D, width), where those rows are empty
    rows: np.ndarray  # (d,)
    dense: np.ndarray  # (d, width)


class ItemSide(NamedTuple):
    """The items of a ranking, as blocks of scores take them."""

    columns: torch.Tensor | SparseColumns | AsScored  # (D, width)
    n_items: int
    k: int
    block: int  # users at a time
    # scores (b, width), one for every block: memory that is new to the process costs more than what fills it
    room: list[torch.Tensor]

    @property
    def width(self) -> int:
        """n_items rounded up to CHUNK."""
        return self.n_items + -self.n_items % CHUNK


class Scored(NamedTuple):
    """A block of users whose ties are not broken yet."""

    ranking: Ranking
    tied: np.ndarray  # (t,) rows of the block in whose lists scores are equal
    of_tied: torch.Tensor  # (t, width) all scores of these


def item_side(item_emb: Factor | AsScored, k: int, memory_mb: int) -> ItemSide:
    """Prepare the items of a ranking; see rank_items."""
    n_items = item_emb.shape[0]
    if k > n_items:
        raise ValueError(
            f"a list of k = {k} items cannot be made from a catalogue of {n_items}; lower top_k or recommend_k"
        )
    width = n_items + -n_items % CHUNK
    block = max(1, int(memory_mb * 2**20 / (width * 4 * 4)))
    if isinstance(item_emb, AsScored):
        block = max(1, min(block, SUMMED // width))
    return ItemSide(_columns(item_emb, width), n_items, k, block, [])


def lots_of(seed: int) -> np.random.Generator:
    """Return what draws the lots by which ties are broken."""
    return np.random.default_rng([seed, 2])


def block_scorer(
    side: ItemSide, user_emb: Factor, user_ids: np.ndarray, masked: sp.csr_matrix, target: sp.csr_matrix | None
) -> Callable[[slice], Scored]:
    """Return a function that scores some of the users, which are given as for rank_items."""
    n_masked = np.diff(masked.indptr)
    if not side.room:
        like = user_emb.parts[0][0][0] if isinstance(side.columns, AsScored) else side.columns
        side.room.append(like[:0] if isinstance(like, torch.Tensor) else torch.empty(0))

    def scored(rows: slice) -> Scored:
        users, scores = user_ids[rows], side.room[0][: rows.stop - rows.start]
        try:
            if len(scores) < len(users):
                side.room[0] = scores = side.room[0].new_empty(len(users), side.width)
            _fill_scores(scores, user_emb, side.columns, users)
            scores[:, side.n_items :] = -torch.inf
            scores[_pairs(masked, users, scores.device)] = -torch.inf
            items, values, tied = _top_k(scores, side.k)
            auc = None if target is None else _auc(scores, target[users], side.n_items - n_masked[users])
            return Scored(Ranking(users, items, values, auc), tied, scores[torch.from_numpy(tied).to(scores.device)])
        except (MemoryError, RuntimeError):  # whoever asks again, for fewer users, finds room for them
            side.room[0] = side.room[0][:0].clone()
            raise

    return scored


def with_lots(block: Scored, k: int, rng: np.random.Generator) -> Ranking:
    """Break the ties of a block at random; its users have to come in order."""
    if len(block.tied):
        kth = block.ranking.scores[block.tied, -1]
        block.ranking.items[block.tied] = _break_ties(block.of_tied, kth, k, rng)
    return block.ranking


def _columns(item_emb: Factor | AsScored, width: int) -> torch.Tensor | SparseColumns | AsScored:
    """Turn (n_items, D) into (D, width); the columns beyond the items are zero."""
    if isinstance(item_emb, AsScored):
        return item_emb
    if sp.issparse(item_emb):
        transposed = sp.csr_matrix(item_emb.T)
        transposed.resize(transposed.shape[0], width)
        filled = np.diff(transposed.indptr) > width // 2
        return SparseColumns(
            sp.csr_matrix(sp.diags_array((~filled).astype(np.float32)) @ transposed),
            np.flatnonzero(filled),
            transposed[filled].toarray(),
        )
    return torch.nn.functional.pad(item_emb, (0, 0, 0, width - len(item_emb))).T.contiguous()


def _fill_scores(
    scores: torch.Tensor, user_emb: Factor, item_columns: torch.Tensor | SparseColumns | AsScored, users: np.ndarray
) -> None:
    """Write the product of the rows of some users and (D, width) into scores, (b, width)."""
    if isinstance(item_columns, AsScored):
        wanted = scores[:, : len(item_columns.columns)]
        if item_columns.are_all():
            user_emb.write(users, wanted)
        else:
            user_emb.write(users, every := scores.new_empty(len(users), item_columns.n_kept))
            torch.index_select(every, 1, item_columns.columns, out=wanted)
    elif isinstance(item_columns, SparseColumns):
        mine = user_emb[users]
        scores.copy_(torch.from_numpy((mine @ item_columns.sparse).toarray()))
        if len(item_columns.rows):
            scores += torch.from_numpy(mine[:, item_columns.rows].toarray() @ item_columns.dense)
    elif sp.issparse(user_emb):
        scores.copy_(torch.from_numpy(user_emb[users] @ item_columns.numpy()))
    else:
        torch.mm(user_emb[torch.from_numpy(users).to(user_emb.device)], item_columns, out=scores)


def _pairs(matrix: sp.csr_matrix, users: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(part.astype(np.int64)).to(device) for part in matrix[users].nonzero())


def _top_k(scores: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return items (b, k), scores (b, k), and the rows with ties (t,); the width of scores is a multiple of CHUNK.

    The best k + 1 lie in the k + 1 chunks with the largest maxima, so only those chunks are searched.
    """
    b, width = scores.shape
    chunks = scores.view(b, width // CHUNK, CHUNK)
    best_chunks = chunks.amax(dim=2).topk(min(k + 1, width // CHUNK), dim=1).indices  # (b, c)
    pool = chunks.gather(1, best_chunks[:, :, None].expand(-1, -1, CHUNK)).flatten(1)  # (b, c * CHUNK)
    values, place = pool.topk(min(k + 1, pool.shape[1]), dim=1)  # (b, k + 1)
    items = best_chunks.gather(1, place // CHUNK) * CHUNK + place % CHUNK
    values, items = values.cpu().numpy(), items.cpu().numpy()
    # the (k + 1)-th value is kept only to see whether it ties with the k-th
    tied = ((values[:, 1:] == values[:, :-1]) & np.isfinite(values[:, 1:])).any(axis=1)
    values, items = values[:, :k].copy(), items[:, :k].copy()
    items[~np.isfinite(values)] = -1
    return items, values, np.flatnonzero(tied)


def _break_ties(scores: torch.Tensor, kth: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return the items (t, k) of rows with ties: by score, then at random; -1 where there are none."""
    kth = torch.from_numpy(kth).to(scores.device)[:, None]  # (t, 1)
    # of the titles that tie at the last place, often most of the catalogue, k at random are enough
    lots = torch.from_numpy(rng.random(scores.shape, dtype=np.float32)).to(scores.device) + 1
    drawn = (lots * ((scores == kth) & (kth > -torch.inf))).topk(k, dim=1)  # (t, k)
    keep = (scores > kth).scatter_(1, drawn.indices, (drawn.values > 0) | (scores > kth).gather(1, drawn.indices))
    rows, items = (index.cpu().numpy() for index in keep.nonzero(as_tuple=True))
    order = np.lexsort((lots[keep].cpu().numpy(), -scores[keep].cpu().numpy(), rows))
    counts = np.bincount(rows, minlength=len(kth))
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.full((len(kth), k), -1)
    first = place < k
    chosen[rows[order][first], place[first]] = items[order][first]
    return chosen


def _auc(scores: torch.Tensor, target: sp.csr_matrix, n_unmasked: np.ndarray) -> np.ndarray:
    """Return the AUC of each row from the ranks of its target items; NaN without a target or another item."""
    sizes = np.diff(target.indptr)
    others = n_unmasked - sizes
    above = np.zeros(len(sizes))  # items above each target item, ties a half, summed over the target
    order = np.argsort(-sizes, kind="stable")
    step = max(1, 2**20 // scores.shape[1])  # so few rows that they stay in the processor's cache
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        part = scores[torch.from_numpy(rows).to(scores.device)]
        difference = torch.empty_like(part)
        for j in range(sizes[rows[0]]):
            rows = rows[: np.count_nonzero(sizes[rows] > j)]  # users with more than j target items come first
            items = torch.from_numpy(target.indices[target.indptr[rows] + j].astype(np.int64)).to(scores.device)
            n = len(rows)
            # masked and padding columns are -inf and count as below
            balance = torch.sub(part[:n], part[:n].gather(1, items[:, None]), out=difference[:n]).sign_().sum(dim=1)
            above[rows] += (scores.shape[1] + balance.cpu().numpy()) / 2
    defined = (sizes > 0) & (others > 0)
    # among themselves the target items contribute |T|^2 / 2 to the sum: a half for each pair and itself
    return np.where(defined, 1 - (above - sizes**2 / 2) / np.maximum(sizes * others, 1), np.nan)
