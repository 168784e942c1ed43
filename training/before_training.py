"""What is decided on valid before training, by short runs: temperature, id dropout, users' text, weight of rates."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from data_loader import Dataset
from evaluation.rated import liked_and_all
from llm_embedding import TextVectors
from model import LightGCN
from runtime.distributed import broadcast_from_rank0
from training.epoch import train_epoch
from training.model_factory import build_model
from training.optimizer import adam
from training.validation import valid_metrics

log = logging.getLogger("aglrec")

# users with tens of items need a low temperature; with a few items a high one, and more items placed by text only
TEMPERATURE_GRID, MIDDLE, ID_DROPOUT = (0.08, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8), 0.12, 0.5
# shares of the best figure: what runs of EPOCHS leave open, of temperatures (low ones learn later) and of other choices
NEAR_TEMPERATURES, NEAR = 0.1, 0.05
TIE = 0.02  # ... and what longer runs leave open: more columns are better off with a lower temperature
RATING_GRID = (0.0, 0.25, 0.5, 1.0)
# of rating_cost, that weights of pairs may spend: the liking beside what is trained finds more for it
SHARE_OF_COST = 0.25
EPOCHS, SHORT = 2, {"embedding_dim": 128, "calibrate": False, "linear_dim": 0, "cold_cost": 1.0}


def choose_before_training(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """Choose on valid what the config leaves open with a temperature of 0, and with a rating_weight of -1.

    Args:
        dataset: its test parts are not looked at.
        vectors: as from text_vectors.
        config: as from get_config.
        device: where to train.

    Returns:
        {"selected": the choices, "metric", "by": choice, epochs and figure of every run; "liked", the figure of liked
        pairs, of those that chose the weight of rates}, empty where nothing was open.
    """
    selected: dict[str, Any] = {}
    tried: list[dict[str, Any]] = []
    unrated = None
    if not config["temperature"]:
        selected, tried, unrated = _chosen_temperature(dataset, vectors, config, device)
    if config["rating_weight"] < 0:
        chosen, rated = _chosen_rating_weight(dataset, vectors, {**config, **selected}, device, unrated)
        selected, tried = {**selected, **chosen}, tried + rated
    if not selected:
        return {}
    if tried:
        log.info("short runs on valid decided: " + ", ".join(f"{key} {value}" for key, value in selected.items()))
    return {"selected": selected, "metric": config["early_stop_metric"], "by": tried}


def _chosen_temperature(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device
) -> tuple[dict[str, Any], list[dict[str, Any]], tuple[float, float] | None]:
    """Choose a temperature, and what goes with it; return the choices, all runs, and what rated_run says of the choice.

    Short runs of a small model decide: first the temperature of TEMPERATURE_GRID, then, with text, whether id_dropout
    rises to ID_DROPOUT, and where users wrote something, whether their text is left out. Choices whose figures are near
    to each other are decided by runs of as many epochs as training has; of temperatures that these do not tell apart
    either the lowest is taken. A weight of rates that is open is 0 in them. The figures of rated_run are None where no
    run of the choice was as long as training, or no rates are to be weighed.
    """
    if not dataset.valid.nnz:
        log.warning(f"without a valid part the temperature cannot be chosen; it is {MIDDLE}")
        return {"temperature": MIDDLE}, [], None
    tried: list[dict[str, Any]] = []
    found: list[tuple[float, float]] = []  # of each of tried, where rates are to be weighed
    is_rated = config["rating_weight"] < 0 and dataset.has_rates and config["early_stop_metric"] != "AUC"

    def figure_of(choice: dict[str, Any], epochs: int) -> float:
        for run in tried:
            if (run["choice"], run["epochs"]) == (choice, epochs):
                return run["figure"]
        settings = {**config, **choice, "epochs": epochs}
        if is_rated:
            found.append(rated_run(dataset, vectors, settings, device))
        figure = found[-1][0] if is_rated else short_run(dataset, vectors, settings, device)
        tried.append({"choice": choice, "epochs": epochs, "figure": figure})
        return figure

    def near(choices: list[dict[str, Any]], epochs: int, share: float) -> list[dict[str, Any]]:
        figures = [figure_of(choice, epochs) for choice in choices]
        return [choice for choice, figure in zip(choices, figures, strict=True) if figure >= (1 - share) * max(figures)]

    def best(choices: list[dict[str, Any]], share: float = NEAR, tie: float = 0.0) -> dict[str, Any]:
        left = near(choices, EPOCHS, share)
        return (near(left, config["epochs"], tie) if len(left) > 1 else left)[0]

    temperatures = [{"temperature": temperature} for temperature in _from_the_middle(figure_of)]
    selected = best(temperatures, NEAR_TEMPERATURES, TIE)
    if vectors.items is not None and config["use_item_llm"] and config["id_dropout"] < ID_DROPOUT:
        selected = best([selected, {**selected, "id_dropout": ID_DROPOUT}])
    if vectors.items is not None and dataset.user_comments.texts and config["use_user_llm"]:
        selected = best([selected, {**selected, "use_user_llm": False}])
    runs = [(run["choice"], run["epochs"]) for run in tried] if is_rated else []
    whole = (selected, config["epochs"])
    return selected, tried, found[runs.index(whole)] if whole in runs else None


def _from_the_middle(figure_of: Callable[[dict[str, Any], int], float]) -> list[float]:
    """Try temperatures from MIDDLE outwards, on each side as far as one that is not near the best; return these.

    Figures rise to one temperature and fall after it; so those further out are not near either.
    """
    place = TEMPERATURE_GRID.index(MIDDLE)
    figures = {MIDDLE: figure_of({"temperature": MIDDLE}, EPOCHS)}
    for side in (TEMPERATURE_GRID[:place][::-1], TEMPERATURE_GRID[place + 1 :]):
        for temperature in side:
            figures[temperature] = figure_of({"temperature": temperature}, EPOCHS)
            if figures[temperature] < (1 - NEAR_TEMPERATURES) * max(figures.values()):
                break
    return sorted(figures)


def _chosen_rating_weight(
    dataset: Dataset,
    vectors: TextVectors,
    config: dict[str, Any],
    device: torch.device,
    unrated: tuple[float, float] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Choose how much rates count; return that, with what is left of rating_cost if some is spent, and all runs.

    Of RATING_GRID it is the weight that finds liked titles best, among those whose figure of all pairs is at most
    SHARE_OF_COST of rating_cost below the best of them. The figures are near to each other, so the runs, of a small
    model, have as many epochs as training. Without rates or a valid part it is 0, and nothing is run. With unrated, the
    figures of the run in which rates count nothing, that one is not repeated.
    """
    if not dataset.valid.nnz or not dataset.has_rates:
        return {"rating_weight": RATING_GRID[0]}, []
    runs = []
    for weight in RATING_GRID:
        settings = {**config, "rating_weight": weight}
        figure, liked = unrated if unrated and not weight else rated_run(dataset, vectors, settings, device)
        choice = {"rating_weight": weight}
        runs.append({"choice": choice, "epochs": config["epochs"], "figure": figure, "liked": liked})
    highest = max(run["figure"] for run in runs)
    least = (1 - SHARE_OF_COST * config["rating_cost"]) * highest
    enough = [run for run in runs if run["figure"] >= least]
    best = max(enough, key=lambda run: run["liked"])
    left = {"rating_cost": config["rating_cost"] - (1 - best["figure"] / highest)} if best["figure"] < highest else {}
    return best["choice"] | left, runs


def short_run(dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> float:
    """Train a small model and return its best valid metric among the titles with a history."""
    return best_valid_metric(dataset, vectors, _small(config), device)


def rated_run(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device
) -> tuple[float, float]:
    """Train a small model and return, of the epoch that is best on all valid pairs, liked_and_all on valid."""
    config, measure = _small(config), broadcast_from_rank0(liked_and_all)
    return max(
        measure(*model.embeddings(), dataset, "valid", config)
        for model in _each_epoch(dataset, vectors, config, device)
    )


def _small(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, **SHORT, "embedding_dim": min(SHORT["embedding_dim"], config["embedding_dim"])}


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
    metric, figures = config["early_stop_metric"], []
    for epoch, model in enumerate(_each_epoch(dataset, vectors, config, device), start=1):
        figures.append(valid_metrics(model, dataset, config, auc=metric == "AUC")[metric])
        after_epoch(epoch, figures[-1])
    return max(figures)


def _each_epoch(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device
) -> Iterator[LightGCN]:
    """Train a model, and yield it after each epoch."""
    model = build_model(dataset, vectors, config, device)
    optimizer, rng = adam(model, config["lr"]), np.random.default_rng([config["seed"], 4])
    for epoch in range(1, config["epochs"] + 1):
        train_epoch(model, optimizer, dataset, config, rng, epoch)
        yield model
