"""The linear half of the model: item-item weights in closed form, reduced to extra columns of the final vectors."""

import logging
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluation.ranking import Factor
from evaluation.score_sums import ScoreSum
from evaluator import evaluate_warm, means
from runtime.sparse_products import times_dense
from training.choice_of_weights import Weights, chosen_weights
from training.closed_form import item_weights, low_pass
from training.placed_by_text import place_cold_by_text, score_spreads
from training.user_rows import UserRows, known_rows, with_values

log = logging.getLogger("aglrec")

ITEM_POWER = 0.4  # of the graph filter of large catalogues
WEIGHTS_MAX_ITEMS, SVD_USERS = 25_000, 20_000
# with a linear_dim of -1: as few of these as lose at most this share of what uncut weights have on valid
COLUMNS, COLUMNS_COST = (2_048, 4_096), 0.005
LIKING_L2 = 200.0  # in users; chosen on valid parts of MyAnimeList and of film critics
LIKING_SHARE = 0.25


class Linear(NamedTuple):
    """Scores of a user with the titles R and how much each was liked Z: (R inputs + Z liking) outputs^T / n^user_power.

    R (n_items,) is what each of the user's n titles counts, Z (n_items,) is signed; see UserRows. What rates count is
    chosen afterwards, see choice_of_rates.
    """

    inputs: torch.Tensor  # (n_items, r)
    outputs: torch.Tensor  # (n_items, r)
    user_power: float
    decided: dict[str, Any]
    liking: torch.Tensor | None = None  # (n_items, r); None where it counts nothing
    liking_of_one: torch.Tensor | None = None  # (n_items, r), what liking is a multiple of, see choice_of_rates.rated
    rating_weight: float = 0.0  # by which titles count, see ratings.pair_weights
    recency: float = 0.0  # half-life in titles, see recency.recency_weights

    def users(self, rows: UserRows) -> torch.Tensor:
        """Return the vectors (n, r) of users with these rows, weighed as by rating_weight and recency."""
        return linear_users(self.inputs, self.user_power, rows.collected, self.liking, rows.scores)

    def known_users(self, dataset: Dataset, part: str) -> torch.Tensor:
        """Return the vectors (n_users, r) of all users as they are known before "valid" or "test"."""
        return self.users(known_rows(dataset, part, self.rating_weight, self.recency))


def linear_users(
    inputs: torch.Tensor,
    user_power: float,
    collected: sp.csr_matrix,
    liking: torch.Tensor | None = None,
    scores: sp.csr_matrix | None = None,
) -> torch.Tensor:
    """Return the vectors (n, r) of users with these titles, CSR (n, n_items) each; see Linear and UserRows."""
    scale = np.maximum(np.diff(collected.indptr), 1).astype(np.float32) ** -user_power
    users = times_dense(collected, inputs) * torch.from_numpy(scale)[:, None]
    if liking is not None:
        users += times_dense(scores, liking) * torch.from_numpy(scale)[:, None]
    return users


def linear_model(
    dataset: Dataset,
    item_text: np.ndarray | None,
    config: dict[str, Any],
    chosen: dict[str, Any] | None = None,
    with_rates: bool = False,
) -> Linear:
    """Fit item-item weights to the train part, in the form that is best on valid, at a low rank.

    Beyond WEIGHTS_MAX_ITEMS items, whose weights would take too long, the columns are the smoothest signals on the
    item-item graph instead; not where a run of fewer items chose weights, and what they count along with them. Cold
    items are placed by their text; see place_cold_by_text.

    Args:
        dataset: its test parts are not looked at.
        item_text: (n_items, L) as the model fuses it, or None.
        config: uses linear_dim, recency, early_stop_metric, top_k, seed and eval_memory_mb.
        chosen: what a run with a valid part decided, in place of deciding.
        with_rates: whether it has a liking_of_one, where the data have rates.

    Returns:
        The Linear, on the CPU; decided has the point of one of the grids of item_forms, the share of the common taste
        that is subtracted, the number of columns where linear_dim left it open, and the valid metric of all that was
        tried.

    Source:
        Steck 2020 and Jeunen et al. 2020 for the weights, see item_weights; Shen et al. 2021 for the filter, whose
        ITEM_POWER was chosen on the valid part of Gowalla. Subtracting the common taste is ours.
    """
    train = dataset.train
    if dataset.n_items > WEIGHTS_MAX_ITEMS and chosen:
        log.info(
            f"the linear columns keep item-item weights, as decided for fewer titles; {dataset.n_items:,} of them take "
            f"{4 * dataset.n_items**2 / 2**30:.1f} GiB a matrix (beyond {WEIGHTS_MAX_ITEMS:,} titles a new training "
            "with --mode train takes a graph filter)"
        )
    if dataset.n_items > WEIGHTS_MAX_ITEMS and not chosen:
        counts = np.maximum(np.bincount(train.indices, minlength=dataset.n_items), 1).astype(np.float32)[:, None]
        n_columns = config["linear_dim"] if config["linear_dim"] > 0 else COLUMNS[0]
        _, vectors = low_pass(train, n_columns)
        fixed = max(config["recency"], 0.0)
        found = Linear(vectors * counts**-ITEM_POWER, vectors * counts**ITEM_POWER, 0.5, {}, recency=fixed)
    else:
        liking = liking_weights(dataset) if with_rates and dataset.has_rates else None
        found = cut(chosen_weights(dataset, item_text, config, chosen), liking, dataset, config)
    outputs = found.outputs
    if item_text is not None:
        length = score_spreads(train, found.inputs)
        outputs = place_cold_by_text(item_text, dataset.warm_items, outputs * length) / length
    else:  # not the rounding errors of the factorisation, which may rank new titles by their place in the file
        outputs = outputs * np.isin(np.arange(dataset.n_items), dataset.warm_items)[:, None]
    parts = {"inputs": found.inputs, "outputs": outputs, "liking_of_one": found.liking_of_one}
    tensors = {
        key: None if part is None else torch.from_numpy(np.ascontiguousarray(part, np.float32))
        for key, part in parts.items()
    }
    return found._replace(**tensors)


def liking_weights(dataset: Dataset, l2: float = LIKING_L2) -> torch.Tensor:
    """Return the item-item weights that best restore how much users liked their titles from the others: EASE on scores.

    Args:
        dataset: its train part; pairs that nobody rated say nothing.
        l2: penalty, in users.

    Returns:
        (n_items, n_items) float32, for the scores of UserRows.
    """
    train = dataset.train
    scores = with_values(train, dataset.scores_of(train))
    return item_weights(torch.from_numpy((scores.T @ scores).toarray()), l2)


def cut(weights: Weights, liking: torch.Tensor | None, dataset: Dataset, config: dict[str, Any]) -> Linear:
    """Project weights to the directions in which the scores of the users vary the most, linear_dim at most.

    The liking gets LIKING_SHARE times as many columns of its own: in common ones each would blur the other.

    Returns:
        The Linear, of numpy arrays.
    """
    rows = known_rows(dataset, "valid", recency=weights.recency)
    (inputs, outputs), decided = _columns(weights, rows.collected, dataset, config)
    liked = None
    if liking is not None:
        n_columns = decided.get("columns", config["linear_dim"])
        of_liking, further = _projected(rows.scores, liking, max(1, round(LIKING_SHARE * n_columns)))
        before, after = inputs.shape[1], of_liking.shape[1]
        liked, inputs = np.pad(of_liking, ((0, 0), (before, 0))), np.pad(inputs, ((0, 0), (0, after)))
        outputs = np.concatenate([outputs, further], axis=1)
    return Linear(inputs, outputs, 0.0, decided, recency=weights.recency, liking_of_one=liked)


def _columns(
    weights: Weights, rows: sp.csr_matrix, dataset: Dataset, config: dict[str, Any]
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Project weights to linear_dim columns; where that is -1, to as few of COLUMNS as COLUMNS_COST allows.

    Returns:
        Inputs and outputs, (n_items, r) each, and what was decided, with "columns" and "columns_tried" where linear_dim
        left their number open. A number that an earlier run decided stays; without a valid part it is the least.
    """
    decided = weights.decided
    fixed = config["linear_dim"] if config["linear_dim"] > 0 else decided.get("columns", 0)
    if fixed:
        return _projected(rows, weights.collected, fixed), decided
    metric, tried = config["early_stop_metric"], []
    for n_columns in COLUMNS:
        found = _projected(rows, weights.collected, n_columns)
        if n_columns >= min(*rows.shape, COLUMNS[-1]) or not dataset.valid.nnz:
            break
        if not tried:
            tried.append({"columns": 0, **_figure(rows, weights.collected.T, dataset, config)})
        inputs, outputs = (torch.from_numpy(part) for part in found)
        tried.append({"columns": n_columns, **_figure(linear_users(inputs, 0.0, rows), outputs, dataset, config)})
        if tried[-1][metric] >= (1 - COLUMNS_COST) * tried[0][metric]:
            break
    if n_columns > COLUMNS[0]:
        lost = 1 - tried[-1][metric] / tried[0][metric]
        log.info(f"{n_columns:,} linear columns, because half of them lose {lost:.1%} of {metric} on valid")
    return found, {**decided, "columns": n_columns, "columns_tried": tried}


def _figure(users: Factor, items: torch.Tensor, dataset: Dataset, config: dict[str, Any]) -> dict[str, float]:
    """Return the valid metric, by its name, of scores whose factors are (n_users, D) and (n_items, D)."""
    metric, warm = config["early_stop_metric"], dataset.warm_items
    scores = ScoreSum({"linear": (users, items[torch.from_numpy(warm)])}, warm, dataset.n_items)
    found = evaluate_warm(*scores.at({"linear": 1.0}), dataset, "valid", config, metric == "AUC")
    return {metric: means(found)[metric]}


def _projected(rows: sp.csr_matrix, weights: torch.Tensor, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and outputs, (n_items, rank) each, of weights (n_items, n_items) for the rows of users.

    Of many users a sample counts. A user's scores are divided by the square root of their number of titles, or the few
    with long lists decide.
    """
    from sklearn.utils.extmath import randomized_svd

    if rows.shape[0] > SVD_USERS:
        rows = rows[np.sort(np.random.default_rng(0).choice(rows.shape[0], SVD_USERS, replace=False))]
    scores = times_dense(rows, weights).numpy()
    scores *= np.maximum(np.diff(rows.indptr), 1).astype(np.float32)[:, None] ** -0.5
    _, _, vectors = randomized_svd(scores, min(rank, *scores.shape), n_iter=2, random_state=0)
    return weights.numpy() @ vectors.T, vectors.T
