"""By what the users of a run are placed: what each of their titles counts, and which columns follow from that alone."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from data_loader import Dataset
from inference.finished_run import FinishedRun, Layout
from inference.fold_in import round_weights
from training.user_rows import UserRows, known_rows, with_values


class Placed(NamedTuple):
    """What is known of the users before test, CSR (n_users, n_items) each, with the same pairs."""

    scores: sp.csr_matrix  # how much they liked each; zeros where rates decide nothing
    linear: UserRows  # what each counts in the linear columns
    anew: sp.csr_matrix  # what each counts in trained columns that follow from it; no entries for those as trained
    vectors: np.ndarray  # (n_items, D), the trained columns of titles, of which anew is a sum


def placed_users(dataset: Dataset, layout: Layout) -> Placed:
    """Say how users are placed whose trained columns are as training left them; see placing.place_users.

    The scores are left at 0.
    """
    how = layout.placing
    part = "test" if how.by_time else "valid"
    linear = known_rows(dataset, part, how.linear_rating, how.linear_recency)
    scores = with_values(linear.collected, np.zeros(linear.collected.nnz))
    nothing = sp.csr_matrix((dataset.n_users, dataset.n_items), dtype=np.float64)
    return Placed(scores, linear, nothing, np.zeros((dataset.n_items, layout.dim)))


def placed_in(run: FinishedRun) -> Placed:
    """Say how the users of a run are placed, those too whose trained columns are a round of propagation."""
    placed, how, dim = placed_users(run.dataset, run.layout), run.layout.placing, run.layout.dim
    if run.uses_rates:
        placed = placed._replace(scores=with_values(placed.scores, run.dataset.scores_of(placed.scores)))
    if not how.by_time:
        return placed
    counted = known_rows(run.dataset, "test", how.rating_weight, how.recency).collected
    if not how.recency:  # then it is those without a title in train alone
        counted = sp.diags_array((np.diff(run.dataset.train.indptr) == 0).astype(np.float32)) @ counted
    users, items = run.user_emb[:, :dim], run.item_emb[:, :dim]
    anew = round_weights(users, items, sp.csr_matrix(counted), run.item_counts)
    return placed._replace(anew=anew, vectors=items.double().numpy())


def titles_of(placed: Placed, user: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the titles that are known of a user, ascending, and how much they liked each: (n,) each."""
    return placed.scores[[user]].indices, placed.scores[[user]].data


def among(titles: np.ndarray, some: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Spread values (m, ...) of some of the titles (n,), ascending, over all: (n, ...), zeros for the others."""
    whole = np.zeros((len(titles), *values.shape[1:]))
    whole[np.searchsorted(titles, some)] = values
    return whole
