"""Why a title is in a list: its score split, exactly, into what each collected title and the rest contributed.

A score is one dot product, and a user's vector is a sum. Propagation makes it (f_u + sum_i A_ui g_i) / (K + 1), where f
is a node's vector before propagation, i are the titles that the user collected, and g = sum_{k<K} A^k f: all that comes
over the graph comes through them. Where scores are cosines, the length that it is divided by is a number known
afterwards. The linear columns of a user are a sum over their titles, each with what it counts and how much it was
liked, and so is a vector that was fitted to them (see fold_in.FoldedIn), or placed anew (see placed.Placed).

    a user of the run: of_user(sources_of(run), user, vector)      anyone else: of_new_user(...)
    then explain(...), and readable(...) for people
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset, normalized_adjacency
from dataset.ratings import DISLIKED
from inference.finished_run import FinishedRun, Layout, layout_of
from inference.fold_in import FoldedIn
from inference.placed import Placed, among, placed_in, placed_users, titles_of
from model import propagate
from training.user_rows import weighted_train, with_values

ROUNDING = 1e-3  # relative error of a vector that float32 and propagation may cause
N_BECAUSE, N_DESPITE = 3, 2  # collected titles that are named for a listed one, and against it
NOTICEABLE = 0.05  # share of what speaks for a title, from which what speaks against it is named


class Part(NamedTuple):
    """A summand of a user's vector, which fills some of its columns."""

    name: str
    columns: slice
    vectors: np.ndarray  # (c,); or (n, c), a row for each of the n titles that the user collected


class Composition(NamedTuple):
    """A user's vector as the sum of its parts.

    Parts by title are "history": what training gave to titles and to other users, as it comes over the graph;
    "graph_text": their texts, by the same way; and "linear". The others are "own": what training gave to the user;
    "own_text": the vector of what they wrote, or of their titles if they wrote nothing; and "popularity". The vector of
    someone whom training has not seen has "history", "linear", "popularity" and "catalogue": what titles that they
    might have collected have in common, which is subtracted.
    """

    titles: np.ndarray  # (n,) rows of what the user collected
    parts: list[Part]
    scores: np.ndarray | None = None  # (n,) how much each was liked; None where rates decide nothing


NOBODY = Composition(np.empty(0, int), [])


class Reason(NamedTuple):
    """A score split up: the parts sum to it, and the titles to those parts that are by title."""

    titles: np.ndarray  # (n,) rows of the titles that the user collected, those that contributed the most first
    contributions: np.ndarray  # (n,) of each of them
    parts: dict[str, float]
    scores: np.ndarray  # (n,) how much each of them was liked


class Sources(NamedTuple):
    """What the vectors of a run's users are made of."""

    edges: sp.csr_matrix  # (n_users, n_items) A_ui of every train pair; of what counts nothing, 0
    own: dict[str, np.ndarray]  # part -> (n_users, D)
    of_titles: dict[str, np.ndarray]  # part -> (n_items, D), of which a user gets A_ui each
    is_unknown: np.ndarray  # (n_users,) bool, for whom popularity ranks
    divided_by: tuple[bool, float]  # whether by its length, and the temperature
    layout: Layout
    placed: Placed


def sources_of(run: FinishedRun) -> Sources:
    """Do as sources for a finished run.

    Raises:
        OSError, ValueError: its texts are no longer those of training, or cannot be encoded again.
    """
    found = sources(run.checkpoint["state_dict"], run.dataset, run.text, run.config)
    placed = placed_in(run)
    is_placed = placed.anew.sum(axis=1) > 0
    return found._replace(placed=placed, is_unknown=found.is_unknown & ~np.asarray(is_placed).ravel())


def sources(
    state: dict[str, torch.Tensor], dataset: Dataset, text: np.ndarray | None, config: dict[str, Any]
) -> Sources:
    """Compute, once for all explanations, what the vectors of a run's users are made of.

    Args:
        state: state_dict of the run's best_model.pth.
        dataset: the run's data.
        text: (N, L) as from llm_embedding.fused_text; None if the run fuses no text.
        config: the settings that best_model.pth has.
    """
    n_users, depth, before = dataset.n_users, config["num_layers"], {"own": state["id_emb"]}  # (N, D)
    if "id_weight" in state:
        before["own"] = before["own"] @ state["id_weight"] + state["bias"]
    if text is not None:
        before["own_text"] = torch.from_numpy(text) @ state["text_weight"]  # (N, D)
    norm_adj = normalized_adjacency(weighted_train(dataset, config["rating_weight"]))
    of_titles, n_layers = {}, depth + config["input_layer"]
    for name, over_graph in (("own", "history"), ("own_text", "graph_text")):
        if name in before and depth:
            g = propagate(before[name], norm_adj, depth - 1)[n_users:] * (depth / n_layers)  # (n_items, D)
            of_titles[over_graph] = g.numpy()
    own = {name: (part[:n_users] * (config["input_layer"] / n_layers)).numpy() for name, part in before.items()}
    has_text = np.zeros(n_users, bool) if text is None else text[:n_users].any(axis=1)
    is_unknown = ~has_text & (np.diff(dataset.train.indptr) == 0)
    edges = with_values(dataset.train, norm_adj.values()[: dataset.train.nnz].numpy())  # users' rows stand first
    divided_by = config["normalize"], config["temperature"]
    layout = layout_of(state)
    return Sources(edges, own, of_titles, is_unknown, divided_by, layout, placed_users(dataset, layout))


def of_user(known: Sources, user: int, vector: torch.Tensor) -> Composition:
    """Do as composition, for the vector (width,) that the user's list was made with.

    Raises:
        ValueError: the parts sum to another vector, so user_emb.pt is not what best_model.pth makes.
    """
    found, total = composition(known, user), np.zeros(len(vector))
    for _, columns, part in found.parts:
        total[columns] += part.sum(axis=0) if part.ndim == 2 else part
    if not np.allclose(total, vector.double().numpy(), rtol=ROUNDING, atol=ROUNDING * max(1.0, np.abs(total).max())):
        raise ValueError(
            "user_emb.pt is not what best_model.pth makes, so its lists cannot be explained; write it again with "
            "python main.py --mode inference"
        )
    return found


def composition(known: Sources, user: int) -> Composition:
    """Split the vector of a user of the run into parts, which sum to their row of user_emb.

    Args:
        known: as from sources.
        user: their row.
    """
    titles, edges = known.edges[user].indices, known.edges[user].data
    if known.is_unknown[user]:
        return Composition(titles, [Part("popularity", slice(-1, None), np.ones(1))])
    vectors = {
        name: edges[:, None].astype(np.float64) * part[titles] for name, part in known.of_titles.items()
    }  # (n, D) each
    vectors |= {name: part[user].astype(np.float64) for name, part in known.own.items()}  # (D,) each
    by_length, divisor = known.divided_by
    if by_length:
        total = sum(part.reshape(-1, part.shape[-1]).sum(axis=0) for part in vectors.values())
        divisor *= max(np.linalg.norm(total), 1e-12)
    parts = [Part(name, slice(0, known.layout.dim), part / divisor) for name, part in vectors.items()]
    return _as_placed(known, user, Composition(titles, parts))


def _as_placed(known: Sources, user: int, trained: Composition) -> Composition:
    """Complete the trained parts of a user by how they are placed: over all titles that are known of them."""
    titles, scores = titles_of(known.placed, user)
    parts = [
        part._replace(vectors=among(titles, trained.titles, part.vectors)) if part.vectors.ndim == 2 else part
        for part in trained.parts
    ]
    anew = known.placed.anew[[user]]
    if anew.data.any():
        vectors = among(titles, anew.indices, anew.data[:, None] * known.placed.vectors[anew.indices])  # (n, D)
        parts = [Part("history", slice(0, known.layout.dim), vectors)]
    collected, liked = (part[[user]].data for part in known.placed.linear)
    return Composition(titles, parts + _further_parts(known.layout, titles, collected, liked), scores)


def of_new_user(fitted: FoldedIn, item_emb: torch.Tensor, layout: Layout, row: int = 0) -> Composition:
    """Split the vector of a user whom training has not seen, as it was fitted to what they collected.

    Args:
        fitted: as from fold_in.
        item_emb: (n_items, width).
        layout: of its columns.
        row: which of the fitted users.
    """
    mine, trained = fitted.weights[[row]], slice(0, layout.dim)
    mine.sort_indices()
    titles, counts = mine.indices, [np.ones(mine.nnz), np.zeros(mine.nnz)]
    if fitted.linear is not None:
        titles, counts = fitted.linear.collected[[row]].indices, [part[[row]].data for part in fitted.linear]
    vectors = among(titles, mine.indices, mine.data[:, None] * item_emb[mine.indices, trained].double().numpy())
    catalogue = fitted.users[row, trained].double().numpy() - vectors.sum(axis=0)
    parts = [Part("history", trained, vectors)]
    if not layout.placing.recency:  # a round of propagation subtracts nothing
        parts.append(Part("catalogue", trained, catalogue))
    scores = None if fitted.scores is None else fitted.scores[[row]].data
    return Composition(titles, parts + _further_parts(layout, titles, *counts), scores)


def _further_parts(layout: Layout, titles: np.ndarray, collected: np.ndarray, liked: np.ndarray) -> list[Part]:
    """Return the parts in the columns after the trained ones, for a user with these titles; see UserRows."""
    parts, start = [], layout.dim
    if layout.has_bias:
        parts.append(Part("popularity", slice(start, start + 1), np.ones(1)))
        start += 1
    if layout.linear:
        inputs = collected[:, None].astype(np.float64) * layout.linear[0].numpy()[titles]  # (n, r)
        if layout.liking is not None:
            inputs += liked[:, None] * layout.liking.numpy()[titles]
        inputs *= max(len(titles), 1) ** -layout.linear[1]
        parts.append(Part("linear", slice(start, start + inputs.shape[1]), inputs))
    return parts


def explain(user: Composition, item_emb: torch.Tensor, items: list[int]) -> list[Reason]:
    """Say, for each of some titles, what its score for a user is made of.

    Args:
        user: as from of_user or of_new_user.
        item_emb: (n_items, width).
        items: rows of the titles.

    Returns:
        A Reason for each; its parts sum to user . item.
    """
    theirs = item_emb[items].double().numpy()  # (m, width)
    by_title, totals = np.zeros((len(user.titles), len(items))), {}
    liked = np.zeros(len(user.titles)) if user.scores is None else user.scores
    for name, columns, vectors in user.parts:
        scores = vectors @ theirs[:, columns].T  # (m,) or (n, m)
        if vectors.ndim == 2:
            by_title += scores
            scores = scores.sum(axis=0)
        totals[name] = scores.tolist()
    reasons = []
    for place in range(len(items)):
        order = np.lexsort((user.titles, -by_title[:, place]))
        parts = {name: scores[place] for name, scores in totals.items()}
        reasons.append(Reason(user.titles[order], by_title[order, place], parts, liked[order]))
    return reasons


def readable(reason: Reason, dataset: Dataset) -> list[dict[str, Any]]:
    """Name the collected titles that spoke for a title the most, but for those that the user disliked.

    Returns:
        At most N_BECAUSE of {"subject_id", "name", "share"}, the share being that of all that collected titles
        contributed in its favour; those that spoke against it do not count. Empty if none spoke for it.
    """
    speaks = (reason.contributions > 0) & (reason.scores > DISLIKED)
    return _named(reason, np.flatnonzero(speaks)[:N_BECAUSE], dataset)


def against(reason: Reason, dataset: Dataset) -> list[dict[str, Any]]:
    """Name the titles that the user disliked and that spoke against a title the most.

    Returns:
        At most N_DESPITE as of readable, whose share is what they took away of what spoke for the title; none below
        NOTICEABLE.
    """
    least = NOTICEABLE * _favour(reason)
    speaks = np.flatnonzero((-reason.contributions > least) & (reason.scores <= DISLIKED))
    return _named(reason, speaks[::-1][:N_DESPITE], dataset)


def _favour(reason: Reason) -> float:
    """Return all that collected titles contributed in favour of a title."""
    return float(reason.contributions[reason.contributions > 0].sum())


def _named(reason: Reason, places: np.ndarray, dataset: Dataset) -> list[dict[str, Any]]:
    favour = _favour(reason) or 1.0
    each = zip(reason.titles[places].tolist(), np.abs(reason.contributions[places]).tolist(), strict=True)
    return [
        {"subject_id": dataset.raw_item_ids[title], "name": dataset.item_names[title], "share": part / favour}
        for title, part in each
    ]
