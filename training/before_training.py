"""What is decided on valid before training, by short runs: temperature, id dropout, and whether to use users' text."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from data_loader import Dataset
from llm_embedding import TextVectors
from training.epoch import train_epoch
from training.model_factory import build_model
from training.optimizer import adam
from training.validation import valid_metrics

log = logging.getLogger("aglrec")

# users with tens of items need a low temperature; with a few items a high one, and more items placed by text only
TEMPERATURE_GRID, ID_DROPOUT = (0.08, 0.12, 0.2, 0.3, 0.45), 0.5
NEAR = 0.05  # share of the best figure
EPOCHS, SHORT = 2, {"embedding_dim": 128, "calibrate": False, "linear_dim": 0, "cold_cost": 1.0}


def choose_before_training(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """Choose on valid what the config leaves open with a temperature of 0.

    Short runs of a small model decide: first the temperature of TEMPERATURE_GRID, then, with text, whether id_dropout
    rises to ID_DROPOUT, and where users wrote something, whether their text is left out. Choices whose figures are NEAR
    to each other are decided by runs of as many epochs as training has.

    Args:
        dataset: its test parts are not looked at.
        vectors: as from text_vectors.
        config: as from get_config.
        device: where to train.

    Returns:
        {"selected": the choices, "metric", "by": choice, epochs and figure of every run}, empty where nothing was open.
    """
    if config["temperature"]:
        return {}
    if not dataset.valid.nnz:
        selected = {"temperature": TEMPERATURE_GRID[1]}
        log.warning(f"without a valid part the temperature cannot be chosen; it is {TEMPERATURE_GRID[1]}")
        return {"selected": selected, "metric": config["early_stop_metric"], "by": []}
    tried: list[dict[str, Any]] = []

    def figure_of(choice: dict[str, Any], epochs: int) -> float:
        for run in tried:
            if (run["choice"], run["epochs"]) == (choice, epochs):
                return run["figure"]
        figure = short_run(dataset, vectors, {**config, **choice, "epochs": epochs}, device)
        tried.append({"choice": choice, "epochs": epochs, "figure": figure})
        return figure

    def best(choices: list[dict[str, Any]]) -> dict[str, Any]:
        for epochs in (EPOCHS, config["epochs"]):
            figures = [figure_of(choice, epochs) for choice in choices]
            near = np.flatnonzero(np.array(figures) >= (1 - NEAR) * max(figures))
            if len(near) == 1:
                return choices[near[0]]
            winner, choices = choices[int(np.argmax(figures))], [choices[place] for place in near]
        return winner

    selected = best([{"temperature": temperature} for temperature in TEMPERATURE_GRID])
    if vectors.items is not None and config["use_item_llm"] and config["id_dropout"] < ID_DROPOUT:
        selected = best([selected, {**selected, "id_dropout": ID_DROPOUT}])
    if vectors.items is not None and dataset.user_comments.texts and config["use_user_llm"]:
        selected = best([selected, {**selected, "use_user_llm": False}])
    log.info("short runs on valid decided: " + ", ".join(f"{key} {value}" for key, value in selected.items()))
    return {"selected": selected, "metric": config["early_stop_metric"], "by": tried}


def short_run(dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> float:
    """Train a small model and return its best valid metric among the titles with a history."""
    short = {**config, **SHORT, "embedding_dim": min(SHORT["embedding_dim"], config["embedding_dim"])}
    return best_valid_metric(dataset, vectors, short, device)


def best_valid_metric(
    dataset: Dataset,
    vectors: TextVectors,
    config: dict[str, Any],
    device: torch.device,
    after_epoch: Callable[[int, float], None] = lambda epoch, figure: None,
) -> float:
    """Train a model, keep nothing, and return its best valid metric among the titles with a history.

    Args:
        dataset, vectors, device: as for build_model.
        config: as from get_config, with a temperature above 0.
        after_epoch: called with each epoch and its figure; what it raises ends the training.
    """
    model = build_model(dataset, vectors, config, device)
    optimizer, rng, figures = adam(model, config["lr"]), np.random.default_rng([config["seed"], 4]), []
    metric = config["early_stop_metric"]
    for epoch in range(1, config["epochs"] + 1):
        train_epoch(model, optimizer, dataset, config, rng, epoch)
        figures.append(valid_metrics(model, dataset, config, auc=metric == "AUC")[metric])
        after_epoch(epoch, figures[-1])
    return max(figures)
