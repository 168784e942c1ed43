"""Two baselines as they are, without a search: what any model should be ahead of."""

from typing import Any

from data_loader import Dataset
from evaluation.baseline_inputs import Inputs
from evaluation.baselines import BASELINES
from evaluator import evaluate_warm, means

MAX_ITEMS = 12_000  # of EASE, which then takes less than a minute
NAMES = {"popularity": "popularity", "ease": "EASE"}


def plain_baselines(dataset: Dataset, config: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Measure popularity and, up to MAX_ITEMS items, EASE with its default penalty on the warm test pairs.

    Args:
        dataset: they learn from its train part.
        config: uses recency, by which users are placed, top_k, seed and eval_memory_mb.

    Returns:
        Name -> mean metrics, as those of a run; empty without warm test pairs.
    """
    if not dataset.warm_pairs("test").nnz:
        return {}
    inputs = Inputs(dataset, None, config)
    return {
        shown: means(evaluate_warm(*BASELINES[name](inputs).factors(inputs, "test"), dataset, "test", config))
        for name, shown in NAMES.items()
        if name == "popularity" or dataset.n_items <= MAX_ITEMS
    }
