"""The section of the report that shows the lists of some users."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from dataset.readers import read_anime
from evaluation.ranking import rank_items
from runtime.encodings import unmarked_text_in
from web.report_files import Saved, read_arrays, read_json
from web.report_parts import Part

N_USERS = 20


def sample_lists(saved: Saved) -> list[Part]:
    """Show users from the most to the least active: what they collected, what test holds out, what they are listed.

    Returns:
        The part with the users; nothing where a file of the run is missing.
    """
    files = ("recommendations.json", "new_titles.json", "id_mappings.json")
    lists, new_titles, ids = (read_json(saved.folder / name) for name in files)
    arrays = read_arrays(saved.folder)
    if not (lists and ids and saved.metrics and arrays):
        return []
    parts, *vectors = arrays
    activity = np.bincount(parts["train"][:, 0], minlength=len(ids["user_ids"]))
    order = np.argsort(-activity, kind="stable")
    users = order[np.linspace(0, len(order) - 1, min(N_USERS, len(order))).round().astype(int)]
    k = max(saved.metrics["config"]["top_k"])
    best = best_items(saved, parts, vectors, np.sort(users), k)
    both = (lists, new_titles or {})
    names = dict.fromkeys(ids["item_ids"]) | anime_names(saved)
    names |= {title["subject_id"]: title["name"] for one in both for found in one.values() for title in found}
    names |= saved.item_names

    def titles(raw_ids: list[str], ranks: dict[str, int] | None = None) -> list[dict[str, Any]]:
        return [{"name": names[raw] or raw, "rank": (ranks or {}).get(raw)} for raw in raw_ids]

    cards, raw_items = [], np.array(ids["item_ids"], dtype=object)
    for user in users.tolist():
        raw_user = ids["user_ids"][user]
        train, test = (raw_items[part[part[:, 0] == user, 1]].tolist() for part in (parts["train"], parts["test"]))
        ranks = {raw: rank for rank, raw in enumerate(raw_items[best[user]], start=1) if raw in test}
        found, new = ([title["subject_id"] for title in one.get(raw_user, [])] for one in both)
        test.sort(key=lambda raw: ranks.get(raw, k + 1))
        card = {"id": raw_user, "n_hits": len(ranks), "train": titles(train), "test": titles(test, ranks)}
        cards.append({**card, "found": titles(found), "new": titles(new)})
    return [{"users": cards, "k": k, "about": _about(saved.metrics, len(cards), k)}]


def _about(metrics: dict[str, Any], n_users: int, k: int) -> list[str]:
    """Say which model the lists are of, and how to read the cards."""
    spread_out = f"{n_users} users, evenly spread from the most to the least active."
    if metrics["config"].get("refit"):
        return [
            f"These are the lists that people get: of the model that was trained once more, on all "
            f"{metrics['refit']['positives']:,} positive rows. The figures on this page are of another model, the one "
            "measured, which did not know the test titles; from this one nothing is held out, so no hits are marked.",
            spread_out,
        ]
    learned = "train and valid" if "refit" in metrics else "train alone"
    model = f"These are lists of the measured model, which learned from {learned}"
    return [
        f"{model}; for the lists that people get, --refit true trains it once more on every positive row.",
        f"{spread_out} ✓ 3 marks a hit: a title held out for the test that the model ranks third, among the first {k}, "
        "when only train and valid titles are left out. The recommendations leave out everything a user has "
        "collected, held-out titles too, so they hold no hits.",
    ]


def best_items(
    saved: Saved, parts: dict[str, np.ndarray], vectors: list[torch.Tensor], users: np.ndarray, k: int
) -> dict[int, list[int]]:
    """Rank all items but those known before the test: user row -> the best k item rows, best first."""
    pairs = np.concatenate([parts[name] for name in ("train", "valid", "excluded")])
    known = sp.csr_matrix((np.ones(len(pairs), np.float32), pairs.T), shape=tuple(map(len, vectors)))
    ranking = rank_items(*vectors, users, known, k, seed=saved.metrics["config"]["seed"])
    lists = [[item for item in items if item >= 0] for items in ranking.items.tolist()]
    return dict(zip(users.tolist(), lists, strict=True))


def anime_names(saved: Saved) -> dict[str, str]:
    """Read the titles' names from the data of the run; none where they are gone."""
    config = {"encoding": "", **saved.metrics["config"]}  # which runs of earlier versions do not name
    try:
        with unmarked_text_in(config["encoding"]):
            anime = read_anime(Path(config["data_dir"]))
    except (OSError, ValueError):
        return {}
    return dict(zip(anime["subject_id"], anime["name"], strict=True))
