"""Which row goes where: train, valid, test, the cold parts, or excluded."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from dataset.pairs import grouped, user_blocks

log = logging.getLogger("aglrec")

PARTS = ("train", "valid", "test", "cold_valid", "cold_test")
# beside the indices into PARTS: a row that takes part in no ranking before the test, and is no positive there: a train
# row beyond train_rows_per_user, or one below min_rate that is older than the user's test part; and a newer one
EXCLUDED, LATER = -1, -2
NOTHING_LEFT = "the split leaves no training pair; lower cold_item_ratio, valid_ratio or test_ratio"


def split_rows(
    user_ids: np.ndarray, item_ids: np.ndarray, times: np.ndarray, shape: tuple[int, int], config: dict[str, Any]
) -> np.ndarray:
    """Assign every positive row to a part.

    Args:
        user_ids, item_ids: (n,) row numbers.
        times: (n,) seconds, NaN where unknown.
        shape: (n_users, n_items).
        config: split, split_seed, valid_ratio, test_ratio, cold_item_ratio, train_rows_per_user; and refit, with which
            every row is in train, or refit_valid, with which those of the valid parts are.

    Returns:
        (n,) codes: index into PARTS, or EXCLUDED. Unless one date cuts everyone (global_time), a user with fewer than 3
        warm rows keeps all of them in train.
    """
    if config["refit"]:
        return np.zeros(len(user_ids), np.int8)
    rng = np.random.default_rng([config["split_seed"], 1])
    part = np.zeros(len(user_ids), np.int8)
    if config["cold_item_ratio"] > 0:
        cold_valid, cold_test = _draw_cold_items(item_ids, config["cold_item_ratio"], rng)
        part[np.isin(item_ids, cold_valid)] = PARTS.index("cold_valid")
        part[np.isin(item_ids, cold_test)] = PARTS.index("cold_test")
    warm = part == 0
    if not warm.any():
        raise ValueError(NOTHING_LEFT)
    warm = slice(None) if warm.all() else warm
    users, times = user_ids[warm], times[warm]
    # the random order breaks ties of time, and stands in where there is no time
    order = rng.permutation(len(users)).astype(np.int32)
    if config["split"] == "random":
        times = None
    else:
        _warn_of_missing_times(times, config["split"])
    if config["split"] == "global_time":
        part[warm] = _cut_by_date(times, order, config)
    else:
        part[warm] = _cut_per_user(users, times, order, shape[0], config)
    if not (part == 0).any():
        raise ValueError(NOTHING_LEFT)
    if config["train_rows_per_user"]:
        train = rng.permutation(np.flatnonzero(part == 0))
        place = pd.Series(user_ids[train]).groupby(user_ids[train]).cumcount().to_numpy()
        part[train[place >= config["train_rows_per_user"]]] = EXCLUDED
    if config["refit_valid"]:
        part[np.isin(part, [PARTS.index("valid"), PARTS.index("cold_valid")])] = PARTS.index("train")
    return part


def older_than_test(user_ids: np.ndarray, times: np.ndarray, part: np.ndarray, split: str) -> np.ndarray:
    """Tell which rows are older than the first test row, of their user or, with global_time, of anyone.

    Args:
        user_ids, times, part: (n,) row numbers, seconds or NaN, and codes as of split_rows.
        split: the setting; random has no time, so every row counts as older.

    Returns:
        (n,) bool; a row without a time is older than all, as in the splits.
    """
    positive = part >= 0
    if split == "random" or (split == "global_time" and _mostly_missing(times[positive])):
        return np.ones(len(part), bool)
    who = np.zeros_like(user_ids) if split == "global_time" else user_ids
    is_test, first = part == PARTS.index("test"), np.full(who.max() + 1, np.inf)
    np.fmin.at(first, who[is_test], times[is_test])
    return ~(times >= first[who])


def _draw_cold_items(item_ids: np.ndarray, ratio: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    collected = np.unique(item_ids)
    cold = rng.permutation(collected)[: max(2, round(ratio * len(collected)))]
    return cold[: len(cold) // 2], cold[len(cold) // 2 :]


def _warn_of_missing_times(times: np.ndarray, split: str) -> None:
    missing = int(np.isnan(times).sum())
    if missing:
        what = "those in a seeded random order, as older than all others"
        if split == "global_time" and _mostly_missing(times):
            what = "all rows in a seeded random order, since a date would cut off too little of them"
        log.warning(
            f"updated_at is missing in {missing:,} of {len(times):,} positive rows: split {split!r} takes {what}"
        )


def _mostly_missing(times: np.ndarray) -> bool:
    return bool(np.isnan(times).mean() > 0.5)


def _cut_per_user(
    user_ids: np.ndarray, times: np.ndarray | None, order: np.ndarray, n_users: int, config: dict[str, Any]
) -> np.ndarray:
    """Cut the newest rows of each user off, in blocks of users; of rows of the same time the later in the order."""
    counts = np.bincount(user_ids, minlength=n_users)
    ratios = np.array([[config["test_ratio"]], [config["valid_ratio"]]])  # (2, 1)
    wanted = 1 if config["split"] == "leave_one_out" else np.floor(counts * ratios + 0.5)  # (2, n_users)
    n_test, n_valid = np.where((ratios > 0) & (counts >= 3), np.maximum(1, wanted), 0).astype(int)
    n_test = np.minimum(n_test, np.maximum(counts - 2, 0))
    n_valid = np.minimum(n_valid, np.maximum(counts - n_test - 1, 0))
    part, by_user = np.empty(len(user_ids), np.int8), grouped(user_ids, n_users)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for block in user_blocks(starts):
        rows = by_user[starts[block.start] : starts[block.stop]]
        keys = (order[rows],) if times is None else (order[rows], np.nan_to_num(times[rows], nan=-np.inf))
        newest_first = rows[np.lexsort((*(-key for key in keys), user_ids[rows]))]
        rank = np.arange(len(rows)) - np.repeat(starts[block] - starts[block.start], counts[block])
        test, valid = (np.repeat(n[block], counts[block]) for n in (n_test, n_valid))
        part[newest_first] = np.where(rank < test, 2, np.where(rank < test + valid, 1, 0))
    return part


def _cut_by_date(times: np.ndarray, order: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    when = np.nan_to_num(times, nan=-np.inf)
    if _mostly_missing(times):
        when = np.lexsort((order, when)).argsort().astype(float)
    ordered = np.sort(when)
    first_test = ordered[int(len(when) * (1 - config["test_ratio"]))]
    first_valid = ordered[int(len(when) * (1 - config["test_ratio"] - config["valid_ratio"]))]
    return np.where(when >= first_test, np.int8(2), np.where(when >= first_valid, np.int8(1), np.int8(0)))
