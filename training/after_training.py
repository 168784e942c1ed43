"""What is decided on valid after training: the weights of popularity and of the linear columns, the cold offset."""

import logging
from typing import Any

import numpy as np
import torch

from data_loader import Dataset
from evaluation.score_sums import ScoreSum
from evaluation.tastes import asked_pairs
from evaluator import evaluate, means
from model import UNLISTED, LightGCN
from runtime.distributed import broadcast_from_rank0
from training.choice_of_rates import LINEAR_GRID, choose_rates, rated
from training.closed_form import log_popularity
from training.cold_offset import cold_offset, share_of_new
from training.grid_search import Point, coordinate_search
from training.linear_columns import Linear, linear_model
from training.placed_by_text import place_cold_by_text
from training.placing import Placing, choose_recency, place_users, placing_of, trained_vectors

log = logging.getLogger("aglrec")

SAMPLE = 10_000
# weights of log popularity to try, and beyond the largest
POPULARITY_GRID = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)


def calibrate(
    model: LightGCN,
    dataset: Dataset,
    config: dict[str, Any],
    measured: dict[str, Any] | None = None,
    with_rates: bool = False,
) -> dict[str, Any]:
    """Set the columns that are not trained by what is best on valid, and return the figures that decided.

    With config["recency"], what titles count by their age (see place_users). With config["calibrate"], the weight of
    log popularity (which cosines ignore, and sparse data need), and that of the linear columns, each in turn while the
    valid metric rises; and what rates count (see choose_rates). Then, with cold_cost below 1, how far cold items are
    lowered. All columns of a cold item with text, the trained ones too, are predicted from its text.

    Args:
        model: trained; its item_bias and linear columns are set, and its users placed as they are known before valid.
        dataset: its test parts are not looked at.
        config: as from get_config.
        measured: what this returned for a run with a valid part; nothing is decided then, the same is set again.
        with_rates: whether rates may count beside what is trained, which may count none.

    Returns:
        {"weights", "unit", "tried", "linear"}: the two weights, the unit of that of the linear columns, the valid
        figure of each pair tried, and what was decided for the linear model; "recency", "rates", and "cold_offset";
        each where it applies.
    """
    decided: dict[str, Any] = {}
    if config["recency"]:
        found = measured["recency"] if measured else choose_recency(*trained_vectors(model), dataset, config)
        how = Placing(found["recency"], max(config["rating_weight"], 0.0), by_time=1.0)
        model.placing = torch.tensor(how, dtype=torch.float64, device=model.norm_adj.device)
        place_users(model, dataset, "valid")
        decided["recency"] = found
    if config["calibrate"] and ("weights" in measured if measured else dataset.valid.nnz):
        decided |= _blend(model, dataset, config, measured, with_rates)
    is_cold = np.isin(np.arange(dataset.n_items), model.cold_items_with_text())
    if config["cold_cost"] < 1 and is_cold.any():
        known = measured and measured.get("cold_offset")
        if known:
            offset, figures = known["offset"], known
        elif measured and not dataset.valid.nnz:
            log.warning(
                f"the {is_cold.sum():,} new titles are not listed: this run had none when valid decided how far they "
                "are lowered (train again with --mode train to list them)"
            )
            offset, figures = UNLISTED, {}
        else:
            offset, figures = cold_offset(*model.embeddings(), is_cold, dataset, config)
        model.item_bias -= offset * torch.from_numpy(is_cold).to(model.item_bias.device)
        if figures and not known:
            figures["share"] = share_of_new(*model.embeddings(), is_cold, dataset, config)
        decided["cold_offset"] = {"offset": offset, **figures}
    return decided


def _blend(
    model: LightGCN, dataset: Dataset, config: dict[str, Any], measured: dict[str, Any] | None, with_rates: bool
) -> dict[str, Any]:
    """Add weighted log popularity to item_bias and set the linear columns; see calibrate."""
    text = model.whole_item_text()
    text = None if text is None else text.cpu().numpy()
    popularity, cold_vectors, linear, decided = _decide_blend(
        *model.embeddings(), text, dataset, config, measured, with_rates
    )
    if cold_vectors is not None:
        model.set_cold_vectors(torch.from_numpy(cold_vectors[model.cold_items_with_text()]))
    model.item_bias += decided["weights"]["popularity"] * torch.from_numpy(popularity).to(model.item_bias.device)
    if linear is None:
        return decided
    weight, unit = decided["weights"]["linear"], decided["unit"]
    rates = {"liking": 0.0, "rating": 0.0, "linear": weight, "unit": 0.0}
    if linear.liking_of_one is not None and not (measured and "rates" not in measured):
        user_emb, item_emb = (part.cpu() for part in model.embeddings())
        base = user_emb, item_emb, linear, weight, unit
        rates = measured["rates"] if measured else choose_rates(*base, dataset, config)
        decided["rates"] = rates
    if rates["linear"] or rates["liking"]:
        chosen = rated(linear, rates["linear"] * unit, rates["liking"] * rates["unit"], rates["rating"])
        model.set_linear_columns(
            linear_inputs=chosen.inputs,
            linear_outputs=chosen.outputs,
            linear_power=torch.tensor(chosen.user_power),
            linear_liking=chosen.liking,
        )
        how = placing_of(model)._replace(linear_recency=chosen.recency, linear_rating=chosen.rating_weight)
        model.placing = torch.tensor(how, dtype=torch.float64, device=model.norm_adj.device)
        # the users' columns are computed just as they will be when the model is loaded again
        place_users(model, dataset, "valid")
    return decided


@broadcast_from_rank0
def _decide_blend(
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    text: np.ndarray | None,
    dataset: Dataset,
    config: dict[str, Any],
    measured: dict[str, Any] | None,
    with_rates: bool,
) -> tuple[np.ndarray, np.ndarray | None, Linear | None, dict[str, Any]]:
    """Return log popularity, items' trained columns with cold items by their text, the linear model, and the weights.

    The weights of popularity and of the linear model are chosen on valid, or as measured.
    """
    popularity, cold_vectors = _log_popularity(dataset, text), None
    if text is not None:
        cold_vectors = place_cold_by_text(
            text, dataset.warm_items, item_emb[:, : config["embedding_dim"]].cpu().numpy()
        )
    chosen = measured and measured["linear"]
    linear = linear_model(dataset, text, config, chosen, with_rates) if config["linear_dim"] else None
    if measured:
        weights, unit, tried = (measured[name] for name in ("weights", "unit", "tried"))
    else:
        columns = linear and (linear.known_users(dataset, "valid"), linear.outputs)
        weights, unit, tried = search_blend_weights(user_emb, item_emb, popularity, columns, dataset, config)
    decided = {"weights": weights, "unit": unit, "tried": tried, "linear": linear and linear.decided}
    return popularity, cold_vectors, linear, decided


def search_blend_weights(
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    popularity: np.ndarray,
    linear: tuple[torch.Tensor, torch.Tensor] | None,
    dataset: Dataset,
    config: dict[str, Any],
) -> tuple[dict[str, float], float, list[dict[str, float]]]:
    """Choose on valid, among the titles with a history, the weights of log popularity and of linear columns.

    Args:
        user_emb: (n_users, D); item_emb: (n_items, D), as trained.
        popularity: (n_items,) added to the scores.
        linear: (n_users, r) and (n_items, r), or None.
        dataset: of its valid part half of SAMPLE users are taken, if there are more.
        config: uses early_stop_metric, top_k, seed and eval_memory_mb.

    Returns:
        {"popularity": weight, "linear": weight in units}, the unit, in which the spread of the linear scores is that of
        the trained ones, and each pair that was tried, with its valid metric.
    """
    metric = config["early_stop_metric"]
    target, plain = asked_pairs(dataset, dataset.warm_pairs("valid"), metric)
    users = np.flatnonzero(np.diff(target.indptr))
    users = np.sort(np.random.default_rng(0).permutation(users)[: SAMPLE // 2])
    target, known = target[users], dataset.masked_for("valid")[users]
    mine, bias = user_emb[torch.from_numpy(users).to(user_emb.device)], torch.from_numpy(popularity).to(item_emb.device)
    unit, columns = 0.0, None
    if linear is not None:
        columns = tuple(part.to(item_emb.device) for part in (linear[0][torch.from_numpy(users)], linear[1]))
    if columns and len(users) and len(dataset.warm_items) > 1:  # without users, or with one item, scores have no spread
        spreads = [
            (a[:500] @ b[torch.from_numpy(dataset.warm_items)].T).std(dim=1).mean()
            for a, b in ((mine, item_emb), columns)
        ]
        unit = float(spreads[0] / spreads[1].clamp_min(1e-12))

    parts = {"trained": (mine, item_emb), "popularity": (torch.ones_like(mine[:, :1]), bias[:, None])}
    parts |= {"linear": columns} if columns else {}
    warm = torch.from_numpy(dataset.warm_items).to(item_emb.device)
    of_warm = {name: (users, items[warm]) for name, (users, items) in parts.items()}
    scores = ScoreSum(of_warm, dataset.warm_items, dataset.n_items)

    def figure(point: Point) -> float:
        factors = scores.at({"trained": 1.0, "popularity": point["popularity"], "linear": point["linear"] * unit})
        return means(evaluate(*factors, target, known, config, dataset.warm_items, auc=metric == "AUC"))[plain]

    grid = {"linear": LINEAR_GRID if linear is not None else (0.0,), "popularity": POPULARITY_GRID}
    best, tried, _ = coordinate_search(grid, {"linear": 0.0, "popularity": 0.0}, figure)
    return best, unit, [{**point, metric: value} for point, value in tried]


def _log_popularity(dataset: Dataset, text: np.ndarray | None) -> np.ndarray:
    """Return the logarithm of how many users collect each title in train, (n_items,) float32; see calibrate."""
    logs = log_popularity(dataset.train)
    return logs if text is None else place_cold_by_text(text, dataset.warm_items, logs[:, None])[:, 0]
