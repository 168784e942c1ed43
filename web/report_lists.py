"""The section of the report that shows users with their lists."""

from typing import Any

import numpy as np

from web.report_files import Saved, anime_names, as_row, best_titles, cut_off, largest_ndcg, read_arrays, read_json
from web.report_parts import Part

N_USERS = 20


def sample_lists(saved: Saved, item_names: dict[str, str]) -> list[Part]:
    """Show some users, evenly spread over activity: what they collected, what test asks for, what they get.

    Returns:
        The part with the users; nothing where a file of the run is missing.
    """
    names = ("recommendations.json", "new_titles.json", "id_mappings.json")
    lists, shelf, ids = (read_json(saved.folder / name) for name in names)
    arrays = read_arrays(saved.folder)
    if not (lists and ids and saved.metrics and arrays):
        return []
    parts, user_emb, item_emb = arrays
    activity = np.bincount(parts["train"][:, 0], minlength=len(ids["user_ids"]))
    order = np.argsort(-activity, kind="stable")
    users = order[np.linspace(0, len(order) - 1, min(N_USERS, len(order))).round().astype(int)]
    shelf = shelf or {}
    named = {title["subject_id"]: title["name"] for one in (lists, shelf) for found in one.values() for title in found}
    names = {**dict.fromkeys(ids["item_ids"]), **anime_names(saved), **named, **item_names}
    k = cut_off(largest_ndcg(as_row(saved.metrics)))
    best = best_titles(saved, parts, (user_emb, item_emb), np.sort(users), k)
    cards = []
    for user in users.tolist():
        train, test = (part[part[:, 0] == user, 1].tolist() for part in (parts["train"], parts["test"]))
        hits = [item for item in best[user] if item in test]
        asked = hits + [item for item in test if item not in hits]
        found, new = ([title["subject_id"] for title in one.get(ids["user_ids"][user], [])] for one in (lists, shelf))

        def entries(raw_ids: list[str], ranks: list[int]) -> list[dict[str, Any]]:
            return [{"name": names[raw] or raw, "rank": rank} for raw, rank in zip(raw_ids, ranks, strict=True)]

        cards.append(
            {
                "id": ids["user_ids"][user],
                "n_hits": len(hits),
                "train": entries([ids["item_ids"][item] for item in train], [0] * len(train)),
                "test": entries(
                    [ids["item_ids"][item] for item in asked],
                    [best[user].index(item) + 1 if item in hits else 0 for item in asked],
                ),
                "found": entries(found, [0] * len(found)),
                "new": entries(new, [0] * len(new)),
            }
        )
    return [{"users": cards, "k": k}]
