"""Figures by what people rated: whether lists find what their users liked, and spare them what they disliked."""

from typing import Any

from data_loader import Dataset
from dataset.tastes import pairs_by_taste
from evaluation.ranking import Factor
from evaluator import means, rank_warm, user_metrics


def liked_and_all(
    user_emb: Factor, item_emb: Factor, dataset: Dataset, part: str, config: dict[str, Any]
) -> tuple[float, float]:
    """Measure one ranking twice among the items with a history: by all pairs, and by those that were liked.

    Args:
        user_emb: (n_users, D), sparse or not; item_emb: (n_items, D).
        dataset: with rates or without.
        part: "valid" or "test".
        config: uses early_stop_metric (for AUC, which is one of all pairs, NDCG at the largest of top_k stands in),
            top_k, seed and eval_memory_mb.

    Returns:
        The mean of early_stop_metric, and the mean of the same metric where only liked pairs are targets; of "loved
        NDCG@20", the second is that of the liked. 0.0 where no user has such a pair.
    """
    asked = config["early_stop_metric"]
    taste, _, metric = ("NDCG@" + str(max(config["top_k"])) if asked == "AUC" else asked).rpartition(" ")
    name, _, k = metric.partition("@")
    ranking = rank_warm(user_emb, item_emb, dataset, part, config, auc=False)
    pairs = dataset.warm_pairs(part)
    targets = {"": pairs, **pairs_by_taste(dataset, pairs)}

    def figure(which: str) -> float:
        if which not in targets:
            return 0.0
        return means(user_metrics(ranking, targets[which], [int(k)], [name]))[metric]

    return figure(taste), figure("liked")
