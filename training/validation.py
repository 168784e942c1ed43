"""The valid figures of a model, by which everything about it is chosen."""

from typing import Any

import torch

from data_loader import Dataset
from evaluator import evaluate_warm, figures
from model import LightGCN
from runtime.distributed import broadcast_from_rank0


def valid_metrics(model: LightGCN, dataset: Dataset, config: dict[str, Any], auc: bool = True) -> dict[str, Any]:
    """Return the mean valid metrics of a model among the items with a history, the same in every process.

    Where users were drawn for valid, they have "drawn" as well; see evaluator.figures.

    Args:
        model: evaluated as it is.
        dataset: its test parts are not looked at.
        config: uses top_k, seed and eval_memory_mb.
        auc: whether to compute AUC.
    """
    return _valid_means(*model.embeddings(), dataset, config, auc)


@broadcast_from_rank0
def _valid_means(
    user_emb: torch.Tensor, item_emb: torch.Tensor, dataset: Dataset, config: dict[str, Any], auc: bool
) -> dict[str, Any]:
    return figures(evaluate_warm(user_emb, item_emb, dataset, "valid", config, auc), dataset, "valid")
