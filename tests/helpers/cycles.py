"""Data of users who go round a cycle of titles, so that the next title follows from the last one."""

from pathlib import Path

import numpy as np

from tests.helpers.data import write_tsv

N_TITLES = 30


def write_cycle(
    folder: Path, n_users: int = 150, per_user: int = 12, in_order: bool = True, detour: tuple[int, ...] = ()
) -> Path:
    """Write users who start anywhere and collect per_user titles of the cycle, one a day.

    Args:
        folder: gets anime.tsv and interactions.tsv.
        n_users, per_user: how many users, and rows of each.
        in_order: whether the days are those of the cycle, and not drawn anew for each user.
        detour: for these rows of each user (-1 is the newest) another title takes the place of the cycle's.
    """
    rng = np.random.default_rng(0)
    write_tsv(folder, "anime.tsv", ((f"s{item}", f"title {item}", "", "") for item in range(N_TITLES)))
    rows = []
    for user in range(n_users):
        titles = (rng.integers(N_TITLES) + np.arange(per_user)) % N_TITLES
        titles[list(detour)] += per_user  # beyond all of the user's own
        days = 1 + (np.arange(per_user) if in_order else rng.permutation(per_user))
        rows += [
            (f"u{user}", f"s{title % N_TITLES}", 0, "", f"2020-01-{day:02d}")
            for title, day in zip(titles, days, strict=True)
        ]
    write_tsv(folder, "interactions.tsv", rows)
    return folder
