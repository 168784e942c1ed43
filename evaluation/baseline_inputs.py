"""What baselines are fitted to, and what a fit is: item vectors, and users as they are known before valid or test."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluation.ranking import Factor
from training.closed_form import gram, log_popularity, low_pass, normalized, text_similarity
from training.item_forms import FILTER_RANK
from training.placed_by_text import place_cold_by_text
from training.user_rows import UserRows, weighted_rows

Factors = tuple[Factor, Factor]  # of users and of items
Value = TypeVar("Value")


class Inputs:
    """What a baseline is fitted to, and what all points of its grid have in common, which is computed once."""

    def __init__(self, dataset: Dataset, item_text: np.ndarray | None, config: dict[str, Any] | None = None):
        """Keep a dataset, whose test parts are not looked at, the text (n_items, L) of its items, and the settings."""
        self.dataset, self.train, self.item_text, self.config = dataset, dataset.train, item_text, config
        self.decided: dict[str, Any] = {}  # what a fit decided on valid by itself
        self._last: dict[str, tuple[Any, Any]] = {}
        self._known: dict[str, tuple[sp.csr_matrix, np.ndarray, np.ndarray]] = {}

    def known(self, part: str, rating_weight: float = 0.0, recency: float = 0.0) -> UserRows:
        """Weigh all that is known of the users before "valid" or "test", as our model does.

        With recency 0 that is train for both, else as Dataset.known_before says.
        """
        part = part if self.config and self.config["recency"] else "valid"
        if part not in self._known:
            pairs = self.dataset.known_before(part)
            self._known[part] = pairs, self.dataset.scores_of(pairs), self.dataset.ages_of(pairs)
        return weighted_rows(*self._known[part], rating_weight, recency)

    def last(self, name: str, key: Any, make: Callable[[], Value]) -> Value:
        """Return what make returns, which is not to be changed; that of the last key of each name is kept."""
        if name not in self._last or self._last[name][0] != key:
            self._last.pop(name, None)  # before the next is made, for the memory
            self._last[name] = key, make()
        return self._last[name][1]

    def gram(self, user_power: float = 0.0) -> torch.Tensor:
        """Return closed_form.gram, which is not to be changed; that of the last user_power is kept."""
        return self.last("gram", user_power, lambda: gram(self.train, user_power))

    @cached_property
    def counts(self) -> np.ndarray:
        """How many users collected each title, (n_items,) float32, 1 at the least."""
        return np.maximum(np.bincount(self.train.indices, minlength=self.dataset.n_items), 1).astype(np.float32)

    @cached_property
    def similarity(self) -> torch.Tensor:
        """The similarity of the items' texts, (n_items, n_items); see text_similarity."""
        return text_similarity(self.item_text)

    @cached_property
    def log_popularity(self) -> np.ndarray:
        """Log popularity, (n_items,) float32; that of a cold item is predicted from its text, else it is 0."""
        logs, text = log_popularity(self.train), self.item_text
        return logs if text is None else place_cold_by_text(text, self.dataset.warm_items, logs[:, None])[:, 0]

    @cached_property
    def cold_with_text(self) -> np.ndarray:
        """Which items are cold and have a text, (n_items,) bool."""
        cold = ~np.isin(np.arange(self.dataset.n_items), self.dataset.warm_items)
        return cold & (False if self.item_text is None else self.item_text.any(axis=1))

    @cached_property
    def smooth(self) -> sp.csr_matrix:
        """R~^T R~ of graph_filter, (n_items, n_items) float32."""
        smooth = normalized(self.train).astype(np.float32)
        return sp.csr_matrix(smooth.T @ smooth)

    @cached_property
    def low_pass(self) -> np.ndarray:
        """The smoothest signals on the item-item graph, (n_items, FILTER_RANK); see closed_form.low_pass."""
        return low_pass(self.train, FILTER_RANK)[1]


def collected(rows: UserRows) -> sp.csr_matrix:
    """Return what users' titles count, the user side of item-item methods: scores are these rows times the weights."""
    return rows.collected


class Fit(NamedTuple):
    """A fitted baseline: users with these rows score users(rows) @ item_emb.T."""

    users: Callable[[UserRows], Factor]  # (n, D)
    item_emb: Factor  # (n_items, D)
    rating_weight: float = 0.0  # by which a user's titles count, see ratings.pair_weights
    recency: float = 0.0  # half-life in titles, see recency.recency_weights

    def factors(self, inputs: Inputs, part: str = "valid") -> Factors:
        """Return the vectors of all users, as they are known before "valid" or "test", and of the items."""
        return self.users(inputs.known(part, self.rating_weight, self.recency)), self.item_emb
