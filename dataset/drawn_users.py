"""Some of the users whose held-out pairs are ranked, where ranking those of all would take too long."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

log = logging.getLogger("aglrec")


class Drawn(NamedTuple):
    """The users whose pairs of a part are asked for."""

    are: np.ndarray  # (n_users,) bool
    n_from: int  # how many there were to draw from


def draw_users(parts: Mapping[str, sp.csr_matrix], raw_user_ids: list[str], config: dict[str, Any]) -> dict[str, Drawn]:
    """Draw whose pairs of valid and of test are ranked: of the users with such a pair those with the smallest lots.

    A lot is a hash of split_seed and the user's id, and depends on nothing else. So the draw stays as it is when rows
    or users come that have no held-out pair; who is drawn for valid is drawn for test as well, where the same users are
    in both; and the users of a smaller draw are among those of a larger one.

    Args:
        parts: CSR (n_users, n_items) of at least valid, test, cold_valid and cold_test; each cold part goes with the
            other of its name.
        raw_user_ids: of all users.
        config: uses split_seed, and valid_users and test_users: how many at most, 0 for all.

    Returns:
        "valid", "test" -> who was drawn; a part whose users are all asked is left out.
    """
    found = {}
    for part in ("valid", "test"):
        most = config[f"{part}_users"]
        has_any = np.diff(parts[part].indptr) + np.diff(parts[f"cold_{part}"].indptr) > 0
        users = np.flatnonzero(has_any)
        if not most or len(users) <= most:
            continue
        ids = np.array([raw_user_ids[user] for user in users.tolist()], dtype=object)
        lots = pd.util.hash_array(ids, hash_key=f"{config['split_seed']:016d}", categorize=False)
        are = np.zeros(len(raw_user_ids), bool)
        are[users[np.argsort(lots, kind="stable")[:most]]] = True
        found[part] = Drawn(are, len(users))
        log.info(f"{part} figures are those of {most:,} users, drawn from {len(users):,} ({part}_users)")
    return found


def of_users(pairs: sp.csr_matrix, members: np.ndarray) -> sp.csr_matrix:
    """Return the pairs (n_users, n_items) whose user is a member, (n_users,) bool."""
    counts = np.diff(pairs.indptr)
    kept = np.repeat(members, counts)
    indptr = np.concatenate([[0], np.cumsum(counts * members)]).astype(pairs.indptr.dtype)
    return sp.csr_matrix((pairs.data[kept], pairs.indices[kept], indptr), pairs.shape)
