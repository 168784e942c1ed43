"""The figures of final vectors: those of the test part, which nothing else looks at, overall and by group."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset, pairs_of_items
from dataset.recency import users_of
from evaluation.discovery import franchise_figures
from evaluation.ranking import Factor
from evaluation.rated import rated_figures
from evaluation.score_sums import multiplied
from evaluator import evaluate, figures, means, rank_warm, taste_metrics, user_metrics

USER_GROUPS = (("<=5", 0, 5), ("6-20", 6, 20), ("21-50", 21, 50), (">50", 51, np.inf))
RATER_GROUPS = (("0", 0, 0), ("1-5", 1, 5), ("6-20", 6, 20), (">20", 21, np.inf))


def held_out_metrics(
    user_emb: Factor, item_emb: Factor, dataset: Dataset, config: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compute the test figures, and those of valid by what people rated.

    Returns:
        For metrics.json: "test", among all items with train and valid masked, which the vectors and splits.npz alone
        reproduce; "warm", by which models are compared, see evaluate_warm; "listed", see evaluate_cold_listing;
        "groups", see evaluate_groups; "cold" and "cold_valid", the pairs of those parts, ranked among the items of the
        part and among all. Where the data have rates, "rated", of the lists of "warm", and "valid_rated", of those of
        valid, see rated_figures; where titles belong to franchises, "franchises", see franchise_figures. And the
        per-user values of "warm", see evaluate, and of NDCG by what was liked and loved, see taste_metrics, and by
        franchise. Where users were drawn for a part, all figures of it are theirs.
    """
    user_emb, item_emb = multiplied(user_emb, item_emb)
    ranking, top_k = rank_warm(user_emb, item_emb, dataset, "test", config), config["top_k"]
    warm, target = user_metrics(ranking, dataset.warm_pairs("test"), top_k), dataset.targets("test")
    metrics = {
        "test": figures(evaluate(user_emb, item_emb, target, dataset.train + dataset.valid, config), dataset, "test"),
        "warm": figures(warm, dataset, "test"),
        "listed": evaluate_cold_listing(user_emb, item_emb, dataset, config),
        "groups": evaluate_groups(user_emb, item_emb, dataset, config, warm),
    }
    masked = dataset.masked_for("test")
    for name, part in (("cold", "cold_test"), ("cold_valid", "cold_valid")):
        metrics[name], target = {}, dataset.targets(part)
        if target.nnz:
            cold = np.flatnonzero(np.bincount(getattr(dataset, part).indices, minlength=dataset.n_items))
            metrics[name] = {
                "n_items": len(cold),
                "among_cold": means(evaluate(user_emb, item_emb, target, masked, config, cold)),
                "among_all": means(evaluate(user_emb, item_emb, target, masked, config)),
            }
    if dataset.has_rates:
        metrics["rated"] = rated_figures(ranking, dataset, "test", top_k)
    if dataset.has_rates and dataset.valid.nnz:
        of_valid = rank_warm(user_emb, item_emb, dataset, "valid", config, auc=False)
        metrics["valid_rated"] = rated_figures(of_valid, dataset, "valid", top_k)
    by_taste = taste_metrics(ranking, dataset, "test", top_k)
    by_franchise, of_users = franchise_figures(user_emb, item_emb, ranking, dataset, "test", config)
    if by_franchise:
        metrics["franchises"] = by_franchise
    return metrics, warm | of_users | {key: values for key, values in by_taste.items() if " NDCG@" in key}


def evaluate_cold_listing(
    user_emb: Factor, item_emb: Factor, dataset: Dataset, config: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Evaluate the test among all items, cold ones listed where their scores put them.

    Returns:
        {"warm": the targets of evaluate_warm, a user's held-out pairs of cold items masked rather than counted as
        misses; "joint": the pairs of test and cold_test as one target}. A cold item has all of its pairs held out,
        another one a tenth, so "joint" gives cold items more weight than they have once they are no longer new.
    """
    known, joint = (
        dataset.masked_for("test") + dataset.cold_valid,
        dataset.targets("test") + dataset.targets("cold_test"),
    )
    warm = dataset.warm_pairs("test")
    return {
        "warm": means(evaluate(user_emb, item_emb, warm, known + joint - warm, config, auc=False)),
        "joint": means(evaluate(user_emb, item_emb, joint, known, config, auc=False)),
    }


def evaluate_groups(
    user_emb: Factor, item_emb: Factor, dataset: Dataset, config: dict[str, Any], warm: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Evaluate the test by users' number of train rows, by that of train rates, and by how often train collects items.

    Items are cold (no train row), head (the most collected fifth of the others) or tail (the rest); the target is the
    part of a user's test pairs within the group. Cold items are ranked among all, everything else as in evaluate_warm.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D).
        dataset: as for evaluate_warm.
        config: as for evaluate.
        warm: per-user values of evaluate_warm on "test".

    Returns:
        {"users": {group: {"n_users": n, metric key: mean}}, "raters": {...} where the data have rates, "items": {...}};
        a group without a user has no metrics.
    """
    tested = np.diff(dataset.warm_pairs("test").indptr) > 0
    groups = {"users": _user_groups(USER_GROUPS, np.diff(dataset.train.indptr)[tested], warm)}
    if dataset.has_rates:
        is_rated = dataset.rates_of(dataset.train) != 0
        n_rates = np.bincount(users_of(dataset.train)[is_rated], minlength=dataset.n_users)
        groups["raters"] = _user_groups(RATER_GROUPS, n_rates[tested], warm)
    groups["items"] = {}
    for name, members in item_groups(dataset.train).items():
        part = pairs_of_items(dataset.targets("test"), members)
        found = evaluate(
            user_emb,
            item_emb,
            part,
            dataset.masked_for("test"),
            config,
            None if name == "cold" else dataset.warm_items,
            auc=False,
        )
        groups["items"][name] = {
            "n_items": int(members.sum()),
            **_group(int((np.diff(part.indptr) > 0).sum()), means(found)),
        }
    return groups


def _user_groups(
    groups: tuple[tuple[str, float, float], ...], counts: np.ndarray, warm: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Average what users have in lists, but AUC, by a count of each: group -> figures."""
    overall = {key: values for key, values in warm.items() if key != "AUC"}
    inside = {name: (counts >= low) & (counts <= high) for name, low, high in groups}
    return {name: _group(int(users.sum()), means(overall, users)) for name, users in inside.items()}


def _group(n_users: int, found: dict[str, float]) -> dict[str, Any]:
    return {"n_users": n_users, **(found if n_users else {})}


def item_groups(train: sp.csr_matrix) -> dict[str, np.ndarray]:
    """Divide the items into cold, tail and head: group -> (n_items,) bool; see evaluate_groups."""
    counts = np.bincount(train.indices, minlength=train.shape[1])
    warm = np.flatnonzero(counts)
    head = np.zeros(len(counts), bool)
    head[warm[np.argsort(-counts[warm], kind="stable")][: round(0.2 * len(warm))]] = True
    return {"cold": counts == 0, "tail": (counts > 0) & ~head, "head": head}
