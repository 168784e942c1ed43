"""Weighted sums of scores, for a search of weights on valid: each part is multiplied out once, and kept."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch

from evaluation.ranking import AsScored, Factor, KeptScores
from runtime.sparse_products import times_dense

MOST = 2**26  # users x titles of a part that is kept: 256 MiB


class ScoreSum:
    """Scores of users as a sum of parts, which are products of two factors each, with weights that change.

    Parts of up to MOST scores are kept, so that other weights cost an addition; of more, the factors are joined.
    """

    def __init__(
        self,
        parts: Mapping[str, tuple[Factor, Factor]],
        candidates: np.ndarray | None = None,
        n_items: int | None = None,
    ) -> None:
        """Take parts, and among which items is ranked.

        Args:
            parts: name -> (n, D) of users, and (m, D) of the candidates, on the device of the first.
            candidates: (m,) item rows, ascending; all items if None. The scores of others must not be asked for.
            n_items: how many items there are; m unless given.
        """
        self.parts = dict(parts)
        self.candidates, self.n_items = candidates, n_items
        self.kept: dict[str, tuple[torch.Tensor, ...]] = {}

    def replace(self, name: str, users: Factor, items: Factor) -> None:
        """Add a part, or put another in its place."""
        self.parts[name] = users, items
        self.kept.pop(name, None)

    def at(self, weights: Mapping[str, float]) -> tuple[Factor, Factor | AsScored]:
        """Return user_emb and item_emb, as of evaluator.rank, whose products are the sum with these weights.

        Args:
            weights: of parts; those of weight 0, or not named, are left out, but one has to stay. Names of no part
                say nothing.
        """
        named = {name: weight for name, weight in weights.items() if weight and name in self.parts}
        some = next(iter(self.parts.values()))
        n_users, n_kept = some[0].shape[0], some[1].shape[0]
        n_items = self.n_items or n_kept
        rows = torch.arange(n_kept) if self.candidates is None else torch.from_numpy(self.candidates)
        if n_users * n_kept <= MOST:
            total = KeptScores(tuple((self._product(name), weight) for name, weight in named.items()))
            columns = torch.full((n_items,), -1).index_copy_(0, rows, torch.arange(n_kept))
            return total, AsScored(columns.to(total.parts[0][0][0].device), n_kept)
        users = [self.parts[name][0] * weight for name, weight in named.items()]
        items = [self.parts[name][1] for name in named]
        if self.candidates is not None:
            items = [
                part.new_zeros(n_items, part.shape[1]).index_copy_(0, rows.to(part.device), part) for part in items
            ]
        if any(sp.issparse(part) for part in users):
            dense = [part if sp.issparse(part) else sp.csr_matrix(part.numpy()) for part in users]
            return sp.hstack(dense, format="csr"), torch.cat(items, dim=1)
        return torch.cat(users, dim=1), torch.cat(items, dim=1)

    def _product(self, name: str) -> tuple[torch.Tensor, ...]:
        """Return the scores (n, m) of a part, or its factors (n, 1) and (1, m) where each has one column."""
        if name not in self.kept:
            users, items = self.parts[name]
            if sp.issparse(users):
                self.kept[name] = (times_dense(users, items.T),)
            elif items.shape[1] == 1:
                self.kept[name] = users, items.T
            else:
                filled = users.any(dim=0)  # of the liking and the rest of the linear columns each has others
                self.kept[name] = (users @ items.T if filled.all() else users[:, filled] @ items[:, filled].T,)
        return self.kept[name]


def multiplied(user_emb: Factor, item_emb: Factor) -> tuple[Factor, Factor | AsScored]:
    """Multiply vectors out for several rankings; return them as they are where there are more than MOST scores.

    Args:
        user_emb: (n_users, D), sparse or not; item_emb: (n_items, D), which stays if it is sparse.
    """
    if sp.issparse(item_emb) or user_emb.shape[0] * item_emb.shape[0] > MOST:
        return user_emb, item_emb
    return ScoreSum({"all": (user_emb, item_emb)}).at({"all": 1.0})
