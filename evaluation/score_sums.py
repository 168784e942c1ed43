"""Weighted sums of scores, for a search of weights on valid: each part is multiplied out once, and kept."""

from collections.abc import Mapping

import scipy.sparse as sp
import torch

from evaluation.ranking import AsScored, Factor

MOST = 2**26  # users x titles of a part that is kept: 256 MiB


class ScoreSum:
    """Scores of users as a sum of parts, which are products of two factors each, with weights that change.

    Parts of up to MOST scores are kept, so that other weights cost an addition; of more, the factors are joined.
    """

    def __init__(self, parts: Mapping[str, tuple[Factor, Factor]]) -> None:
        """Take parts: name -> (n, D) of users, and (n_items, D), on the device of the first."""
        self.parts = dict(parts)
        self.kept: dict[str, torch.Tensor] = {}

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
        n_users, n_items = some[0].shape[0], some[1].shape[0]
        if n_users * n_items <= MOST:
            total = sum(weight * self._product(name) for name, weight in named.items())
            return total, AsScored(torch.arange(n_items, device=total.device))
        users = [self.parts[name][0] * weight for name, weight in named.items()]
        items = [self.parts[name][1] for name in named]
        if any(sp.issparse(part) for part in users):
            dense = [part if sp.issparse(part) else sp.csr_matrix(part.numpy()) for part in users]
            return sp.hstack(dense, format="csr"), torch.cat(items, dim=1)
        return torch.cat(users, dim=1), torch.cat(items, dim=1)

    def _product(self, name: str) -> torch.Tensor:
        if name not in self.kept:
            users, items = self.parts[name]
            if sp.issparse(users):
                self.kept[name] = torch.from_numpy(users @ items.T.numpy())
            else:
                self.kept[name] = users @ items.T
        return self.kept[name]
