"""How much rates count in a list: between what people want to watch and what they will rate highly."""

import dataclasses

import numpy as np
import torch

from inference.finished_run import FinishedRun
from training.linear_columns import linear_users
from training.user_rows import known_rows

AS_MEASURED = 0.5  # as the figures of a run are made, and its recommendations.json
# for someone who asks for a list: as many liked titles as measured, fewer disliked ones, and with scores the other way
# round less than half of the list is the same
FOR_PEOPLE = 0.75
TRACE = 1e-9  # weighs titles alike in float32, and is still that of a run that uses rates
TIMES = {0.0: 0.0, AS_MEASURED: 1.0, FOR_PEOPLE: 3.0, 1.0: 4.0}  # taste -> times what was chosen on valid; see below


def times_chosen(taste: float) -> float:
    """Return how many times what valid chose rates count: as TIMES says, and between its tastes in proportion."""
    return float(np.interp(taste, [*TIMES], [*TIMES.values()]))


def minds_taste(run: FinishedRun) -> bool:
    """Say whether rates decide anything in the linear columns of a run, without which every taste is the same."""
    return bool(run.layout.linear) and (run.layout.liking is not None or run.layout.placing.linear_rating > 0)


def with_taste(run: FinishedRun, taste: float, users: bool = True) -> FinishedRun:
    """Return a run whose lists mind rates more, or less.

    What changes are the linear columns of users, where titles count by their rate and by how much they were liked.

    Args:
        run: as from load_finished.
        taste: from 0, where rates count nothing, to 1.
        users: whether the run's own users are placed anew, which lists for others do without.
    """
    layout, by = run.layout, times_chosen(taste)
    if by == 1 or not minds_taste(run):
        return run
    rating = layout.placing.linear_rating
    placing = layout.placing._replace(linear_rating=max(rating * by, min(rating, TRACE)))
    state = {**run.checkpoint["state_dict"], "placing": torch.tensor(placing, dtype=torch.float64)}
    if layout.liking is not None:
        state["linear_liking"] = layout.liking * by
    other = dataclasses.replace(run, checkpoint={**run.checkpoint, "state_dict": state})
    return dataclasses.replace(other, user_emb=_users_of(other)) if users else other


def _users_of(run: FinishedRun) -> torch.Tensor:
    """Return the vectors of a run's users, their linear columns anew."""
    layout, how, users = run.layout, run.layout.placing, run.user_emb.clone()
    rows = known_rows(run.dataset, "test" if how.by_time else "valid", how.linear_rating, how.linear_recency)
    columns = linear_users(*layout.linear, rows.collected, layout.liking, rows.scores)
    start = layout.dim + layout.has_bias
    users[:, start : start + columns.shape[1]] = columns
    return users
