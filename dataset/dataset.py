"""The data of a run: users, items, the parts of the split, rates and times."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from dataset.drawn_users import Drawn, of_users
from dataset.pairs import MOST, user_blocks
from dataset.ratings import RatingScale, rating_scale
from dataset.recency import TIME_SPLITS, ages, users_of
from dataset.relations import no_relations
from dataset.splits import PARTS


class Comments(NamedTuple):
    """What users wrote in their train rows: aligned sequences, one entry a comment."""

    user_ids: np.ndarray  # (C,) user rows
    texts: list[str]
    weights: np.ndarray  # (C,) float32, the rate given along with the comment
    item_ids: np.ndarray | None = None  # (C,) rows of the titles it is about; None where it is not known


def no_comments() -> Comments:
    """Return the comments of data that have none."""
    return Comments(np.empty(0, np.int64), [], np.empty(0, np.float32), np.empty(0, np.int64))


@dataclass(frozen=True)
class Dataset:
    """Everything a run knows of its data; row numbers are positions in raw_user_ids and raw_item_ids.

    train, valid, test, cold_valid, cold_test, excluded and seen are CSR (n_users, n_items), float32, of ones. The
    first six are pairwise disjoint and lie within seen, the pairs that must not be recommended back. Those of excluded
    were collected before the test part, but nothing learns from them and nothing asks for them: train rows cut by
    train_rows_per_user, rows below min_rate, those of known.tsv, and what a given split puts aside. They are masked
    where rows are compared.

    Raises:
        ValueError: on construction, if any of this does not hold.
    """

    train: sp.csr_matrix
    valid: sp.csr_matrix
    test: sp.csr_matrix
    cold_valid: sp.csr_matrix
    cold_test: sp.csr_matrix
    excluded: sp.csr_matrix
    seen: sp.csr_matrix
    raw_user_ids: list[str]
    raw_item_ids: list[str]
    user_names: list[str]
    item_names: list[str]
    item_texts: list[str]
    item_tags: list[str]  # a tag a line
    user_comments: Comments
    facts: dict[str, Any]
    item_years: list[int | None] = field(default_factory=list)  # empty where the data know no title's year
    item_seasons: list[str] = field(default_factory=list)  # as "2014-fall", "" where unknown; empty likewise
    item_types: list[str] = field(default_factory=list)  # TV, Movie, ..., "" where unknown; empty likewise
    # (n, 3): title row, row of a related title, what the second is to the first as an index into RELATIONS
    relations: np.ndarray = field(default_factory=no_relations)
    item_synonyms: list[list[str]] = field(default_factory=list)  # other names; empty where the data have none
    # aligned with the pairs of seen, (nnz,); None where the data have none
    rates: np.ndarray | None = None  # float32, 0 = unrated
    times: np.ndarray | None = None  # float64, seconds since 1970, NaN = unknown
    # "valid", "test" -> whose pairs are asked for; of a part that is not named those of all users
    drawn: dict[str, Drawn] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.raw_user_ids), len(self.raw_item_ids))
        parts = {name: getattr(self, name) for name in (*PARTS, "excluded", "seen")}
        for name, part in parts.items():
            if part.shape != shape or part.dtype != np.float32 or (part.data != 1).any():
                raise ValueError(f"{name} must be a float32 matrix of ones of shape {shape}, not {part.shape}")
        for users in user_blocks(self.seen.indptr):
            together = sum(parts[name][users] for name in (*PARTS, "excluded"))
            if together.nnz and together.max() > 1:
                raise ValueError("train, valid, test, excluded and the cold parts share a pair; they must be disjoint")
            if (together - together.multiply(self.seen[users])).nnz:
                raise ValueError("a pair of train, valid or test is missing in seen")
        for name, values in (("rates", self.rates), ("times", self.times)):
            if values is not None and len(values) != self.seen.nnz:
                raise ValueError(
                    f"{name} must be one for each of the {self.seen.nnz:,} pairs of seen, not {len(values):,}"
                )

    @property
    def n_users(self) -> int:
        """How many users there are."""
        return len(self.raw_user_ids)

    @property
    def n_items(self) -> int:
        """How many items there are, with a history or without."""
        return len(self.raw_item_ids)

    @cached_property
    def warm_items(self) -> np.ndarray:
        """Rows of the titles with a history, ascending: those that somebody collected in train."""
        return np.flatnonzero(np.bincount(self.train.indices, minlength=self.n_items))

    def targets(self, part: str) -> sp.csr_matrix:
        """Return the pairs of a held-out part that are asked for: all of them, or those of the drawn users."""
        drawn = self.drawn.get(part.removeprefix("cold_"))
        return getattr(self, part) if drawn is None else of_users(getattr(self, part), drawn.are)

    def warm_pairs(self, part: str) -> sp.csr_matrix:
        """Return the targets of "valid" or "test" whose items have a history."""
        return pairs_of_items(self.targets(part), np.isin(np.arange(self.n_items), self.warm_items))

    def masked_for(self, part: str) -> sp.csr_matrix:
        """Return the pairs that are masked when ranking for "valid" or for "test": what came before, and excluded."""
        before = self.train + self.excluded
        return before + self.valid if part == "test" else before

    def known_before(self, part: str) -> sp.csr_matrix:
        """Return the pairs by which users are placed when "valid" or "test" is asked for: all that is known by then.

        That is train; for the test part of a split by time, valid as well, whose rows are older.
        """
        by_time = part == "test" and self.facts.get("split") in TIME_SPLITS
        return sorted_csr(self.train + self.valid) if by_time and self.valid.nnz else self.train

    def rates_of(self, pairs: sp.csr_matrix) -> np.ndarray:
        """Return the rates of pairs, which are some of seen: (nnz,) float32, 0 = unrated."""
        return np.zeros(pairs.nnz, np.float32) if self.rates is None else self.rates[self.places_of(pairs)]

    def scores_of(self, pairs: sp.csr_matrix) -> np.ndarray:
        """Return how much the users of pairs liked them, in their own spreads, (nnz,) float32; see RatingScale."""
        return self.rating_scale.scores(users_of(pairs), self.rates_of(pairs))

    def ages_of(self, pairs: sp.csr_matrix) -> np.ndarray:
        """Return how many of a user's pairs are newer than each, (nnz,) float32; see recency.ages."""
        return ages(pairs, None if self.times is None else self.times_of(pairs))

    def times_of(self, pairs: sp.csr_matrix) -> np.ndarray:
        """Return when pairs, which are some of seen, were collected: (nnz,) seconds since 1970, NaN = unknown."""
        return np.full(pairs.nnz, np.nan) if self.times is None else self.times[self.places_of(pairs)]

    def places_of(self, pairs: sp.csr_matrix) -> np.ndarray:
        """Find where pairs, which are some of seen, stand in it: (nnz,)."""
        places = np.empty(pairs.nnz, self.seen.indptr.dtype)
        for users in user_blocks(self.seen.indptr):
            ours, theirs = (users_of(some[users]) * self.n_items + some[users].indices for some in (self.seen, pairs))
            start, end = pairs.indptr[[users.start, users.stop]]
            places[start:end] = self.seen.indptr[users.start] + np.searchsorted(ours, theirs)
        return places

    @cached_property
    def rating_scale(self) -> RatingScale:
        """What each user gives on average, learned from the rates of train alone."""
        return rating_scale(users_of(self.train), self.rates_of(self.train), self.n_users)

    @cached_property
    def has_rates(self) -> bool:
        """Whether somebody rated two titles of train differently, so that rates can say anything."""
        return bool(self.scores_of(self.train).any())

    @property
    def has_order(self) -> bool:
        """Whether somebody collected two titles of train at different times."""
        ages, counts = self.ages_of(self.train), np.diff(self.train.indptr)
        return bool((ages != (counts[users_of(self.train)] - 1) / 2).any())

    @property
    def digests(self) -> dict[str, str]:
        """Return what metrics.json knows the data by: fingerprint, collected, and values of rates and times."""
        return {"fingerprint": self.fingerprint, "collected": self.collected, "values": self.values_digest}

    @cached_property
    def values_digest(self) -> str:
        """sha256 over the rates and times of all pairs; "" without any."""
        values = [self.rates, self.times]
        if all(each is None for each in values):
            return ""
        digest = hashlib.sha256()
        for each in values:
            digest.update(b"-" if each is None else np.ascontiguousarray(each))
        return digest.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the ids in row order and every part of the split."""
        return self._digest(*PARTS, "excluded")

    @cached_property
    def collected(self) -> str:
        """sha256 over the ids in row order and all collected pairs, however they are split."""
        return self._digest("seen")

    def _digest(self, *names: str) -> str:
        digest = hashlib.sha256(json.dumps([self.raw_user_ids, self.raw_item_ids]).encode())
        for part in (getattr(self, name) for name in names):
            digest.update(part.indptr.astype(np.int64))
            for start in range(0, part.nnz, MOST):
                digest.update(part.indices[start : start + MOST].astype(np.int64))
        return digest.hexdigest()


def sorted_csr(pairs: sp.csr_matrix) -> sp.csr_matrix:
    """Return pairs as CSR whose rows are sorted by item."""
    pairs = sp.csr_matrix(pairs)
    pairs.sort_indices()
    return pairs


def pairs_of_items(pairs: sp.csr_matrix, members: np.ndarray) -> sp.csr_matrix:
    """Return the pairs (n_users, n_items) whose item is a member, (n_items,) bool."""
    kept = sp.csr_matrix(pairs.multiply(members))
    kept.eliminate_zeros()  # multiply keeps the other pairs as explicit zeros
    return kept
