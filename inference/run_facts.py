"""What metrics.json says of a run besides its figures: what it was made from and with, and how long it took."""

import platform
from typing import Any

import numpy as np
import scipy
import torch

from data_loader import Dataset
from llm_embedding import TextVectors


def facts(dataset: Dataset, vectors: TextVectors) -> dict[str, Any]:
    """Return what a run was made from and with."""
    versions = {module.__name__: module.__version__ for module in (torch, np, scipy)}
    return {
        "data": {**dataset.facts, **dataset.digests},
        "encoder": vectors.info,
        "versions": {"python": platform.python_version(), **versions, "platform": platform.platform()},
    }


def refit_facts(fitted: dict[str, Any], dataset: Dataset, config: dict[str, Any]) -> dict[str, Any]:
    """Return what the second training learned from, and which model the figures of metrics.json are of."""
    figures = "those of the run in measured, which is another model"
    if config["refit_valid"]:
        figures = "valid of the run in measured; test of this model, trained on train and valid"
    counts = {"positives": int(dataset.train.nnz), "epochs": fitted["epochs_run"], "train_s": fitted["train_s"]}
    return {**counts, "fingerprint": dataset.fingerprint, "figures": figures}


def seconds(clock: dict[str, float], earlier_s: float | None = None) -> dict[str, float]:
    """Turn the moments at which steps ended into the seconds that each took, and their total.

    Args:
        clock: step -> moment, the first one being the start.
        earlier_s: of training before the run was interrupted, which counts as fit_s. Choices before training are made
            again by whoever resumes; what evaluation took before is lost.
    """
    moments = list(clock.values())
    steps = {name: end - start for name, start, end in zip(list(clock)[1:], moments, moments[1:], strict=False)}
    if earlier_s is None:
        return {**steps, "total_s": sum(steps.values())}
    steps["fit_s"] += earlier_s
    return {**steps, "total_s": sum(steps.values()), "earlier_s": earlier_s}
