"""Why a title is in a list: its score taken apart, exactly, into what every collected title and the rest brought to it.

A score is one dot product, and a user's vector is a sum. Propagation makes it (f_u + sum_i A_ui g_i) / (K + 1), where f
is what stands at a node before, i are the titles that he collected, and g = sum_{k<K} A^k f: all that comes over the
graph comes through them. The length that it is divided by where scores are cosines is a number known afterwards. His
linear columns are a sum over the same titles, and so is a vector that was fitted to them (see fold_in.Fitted).

    a run's user: of_user(sources_of(...), user, his vector)      anyone else: newcomer(...)
    then explain(...), and named(...) for people to read
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset, normalized_adjacency
from inference.fold_in import FoldedIn
from llm_embedding import fused_text, text_vectors
from model import propagate
from runtime.files import load_torch

ROUNDING = 1e-3  # of a vector, that which float32 and the way over the graph may cost


class Part(NamedTuple):
    """A summand of a user's vector, which fills some of its columns."""

    name: str
    columns: slice
    vectors: np.ndarray  # (c,); or (n, c), a row for each of the n titles that he collected


class Composition(NamedTuple):
    """A user's vector as the sum of its parts.

    Parts by title are "history": what training gave to titles and to other users, as it comes over the graph;
    "graph_text": their texts, by the same way; and "linear". Beside them stand "own": what training gave to himself;
    "own_text": the vector of what he wrote, or of his titles if he wrote nothing; and "popularity". Of someone whom
    training has not seen there are "history", "linear", "popularity" and "catalogue": what titles that he might have
    collected have in common, which is taken off.
    """

    titles: np.ndarray  # (n,) rows of what he collected
    parts: list[Part]


class Reason(NamedTuple):
    """A score taken apart: the parts sum to it, and the titles to those parts that are by title."""

    because: np.ndarray  # (n,) rows of the titles that he collected, those that brought the most first
    brought: np.ndarray  # (n,) what each of them brought
    parts: dict[str, float]


class ExtraColumns(NamedTuple):
    """The columns beside the trained ones."""

    start: int  # how many come before them, D
    has_bias: bool
    linear: tuple[np.ndarray, float] | None  # inputs (n_items, r) and user_power; see linear.Linear


class Sources(NamedTuple):
    """What the vectors of a run's users are made of."""

    train: sp.csr_matrix  # (n_users, n_items)
    item_scale: np.ndarray  # (n_items,) of A: one over the square root of how many collected it
    own: dict[str, np.ndarray]  # part -> (n_users, D)
    of_titles: dict[str, np.ndarray]  # part -> (n_items, D), of which a user gets A_ui each
    is_unknown: np.ndarray  # (n_users,) bool, for whom popularity ranks
    divided_by: tuple[bool, float]  # whether by its length, and the temperature
    extra: ExtraColumns


def sources_of(dataset: Dataset, config: dict[str, Any]) -> Sources:
    """Compute sources for the finished run in saved_dir, from its best model and the text vectors that it left.

    Args:
        dataset: the run's data.
        config: the settings of its training; vectors_dir as it was then.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or the texts are no longer those of training.
    """
    checkpoint = load_torch(Path(config["saved_dir"]) / "best_model.pth")
    encoder = checkpoint["text"]["encoder"] or config["model_name"]  # that really used, maybe the fallback
    vectors = text_vectors(dataset, {**config, "model_name": encoder}, "cpu")
    if vectors.info["digest"] != checkpoint["text"]["digest"]:
        raise ValueError(
            f"{config['saved_dir']} was trained on other text vectors: a text of anime.tsv or a comment "
            "has changed since, or the encoder has; restore them, or train again with --mode train"
        )
    text = None if vectors.items is None else fused_text(vectors, config)
    return sources(checkpoint["state_dict"], dataset, text, config)


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
    norm_adj, of_titles = normalized_adjacency(dataset.train), {}
    for name, over_graph in (("own", "history"), ("own_text", "graph_text")):
        if name in before and depth:
            g = propagate(before[name], norm_adj, depth - 1)[n_users:] * (depth / (depth + 1))  # (n_items, D)
            of_titles[over_graph] = g.numpy()
    own = {name: (part[:n_users] / (depth + 1)).numpy() for name, part in before.items()}
    has_text = np.zeros(n_users, bool) if text is None else text[:n_users].any(axis=1)
    counts = np.bincount(dataset.train.indices, minlength=dataset.n_items)
    return Sources(
        dataset.train,
        np.maximum(counts, 1) ** -0.5,
        own,
        of_titles,
        ~has_text & (np.diff(dataset.train.indptr) == 0),
        (config["normalize"], config["temperature"]),
        extra_columns(state),
    )


def extra_columns(state: dict[str, torch.Tensor]) -> ExtraColumns:
    """Tell from the state_dict of best_model.pth which columns stand beside the trained ones."""
    linear = (state["linear_inputs"].numpy(), state["linear_power"].item()) if "linear_inputs" in state else None
    return ExtraColumns(state["id_emb"].shape[1], "item_bias" in state, linear)


def of_user(made_of: Sources, user: int, vector: torch.Tensor) -> Composition:
    """Do as composition does, for the vector (D and the columns beside,) that his list was made with.

    Raises:
        ValueError: the parts sum to another vector, so that user_emb.pt is not what best_model.pth makes.
    """
    apart, total = composition(made_of, user), np.zeros(len(vector))
    for _, columns, part in apart.parts:
        total[columns] += part.sum(axis=0) if part.ndim == 2 else part
    if not np.allclose(total, vector.double().numpy(), rtol=ROUNDING, atol=ROUNDING * max(1.0, np.abs(total).max())):
        raise ValueError(
            "user_emb.pt is not what best_model.pth makes, so that no reason for its lists can be told; "
            "write it again with python main.py --mode inference"
        )
    return apart


def composition(made_of: Sources, user: int) -> Composition:
    """Take the vector of a run's user apart; the parts sum to his row of user_emb.

    Args:
        made_of: as from sources.
        user: his row.
    """
    titles = made_of.train[user].indices
    if made_of.is_unknown[user]:
        return Composition(titles, [Part("popularity", slice(-1, None), np.ones(1))])
    scale = made_of.item_scale[titles, None] / max(len(titles), 1) ** 0.5  # (n, 1), A_ui
    vectors = {name: scale * part[titles] for name, part in made_of.of_titles.items()}  # (n, D) each
    vectors |= {name: part[user].astype(np.float64) for name, part in made_of.own.items()}  # (D,) each
    by_length, divisor = made_of.divided_by
    if by_length:
        divisor *= max(
            np.linalg.norm(sum(part.reshape(-1, part.shape[-1]).sum(axis=0) for part in vectors.values())), 1e-12
        )
    parts = [Part(name, slice(0, made_of.extra.start), part / divisor) for name, part in vectors.items()]
    return Composition(titles, parts + _beside(made_of.extra, titles))


def of_new_user(fitted: FoldedIn, item_emb: torch.Tensor, columns: ExtraColumns, row: int = 0) -> Composition:
    """Take the vector of someone apart whom training has not seen, as it was fitted to what he collected.

    Args:
        fitted: as from fold_in.fitted.
        item_emb: (n_items, D and the columns beside).
        columns: as from beside.
        row: which of the fitted users.
    """
    mine, trained = fitted.weights[[row]], slice(0, columns.start)
    vectors = mine.data[:, None] * item_emb[mine.indices, trained].double().numpy()  # (n, D)
    catalogue = fitted.users[row].double().numpy() - vectors.sum(axis=0)
    return Composition(
        mine.indices,
        [Part("history", trained, vectors), Part("catalogue", trained, catalogue), *_beside(columns, mine.indices)],
    )


def _beside(columns: ExtraColumns, titles: np.ndarray) -> list[Part]:
    """Return the parts in the columns beside the trained ones."""
    parts, start = [], columns.start
    if columns.has_bias:
        parts.append(Part("popularity", slice(start, start + 1), np.ones(1)))
        start += 1
    if columns.linear:
        inputs, power = columns.linear
        parts.append(
            Part(
                "linear",
                slice(start, start + inputs.shape[1]),
                inputs[titles].astype(np.float64) * max(len(titles), 1) ** -power,
            )
        )
    return parts


def explain(user: Composition, item_emb: torch.Tensor, items: list[int]) -> list[Reason]:
    """Tell, for each of some titles, what its score for a user is made of.

    Args:
        user: as from composition or newcomer.
        item_emb: (n_items, D and the columns beside).
        items: rows of the titles.

    Returns:
        A Reason for each; its parts sum to user . item.
    """
    theirs = item_emb[items].double().numpy()  # (m, D and the columns beside)
    brought, totals = np.zeros((len(user.titles), len(items))), {}
    for name, columns, vectors in user.parts:
        scores = vectors @ theirs[:, columns].T  # (m,) or (n, m)
        if vectors.ndim == 2:
            brought += scores
            scores = scores.sum(axis=0)
        totals[name] = scores.tolist()
    reasons = []
    for place in range(len(items)):
        order = np.lexsort((user.titles, -brought[:, place]))
        reasons.append(
            Reason(user.titles[order], brought[order, place], {name: scores[place] for name, scores in totals.items()})
        )
    return reasons


def readable(reason: Reason, dataset: Dataset, k: int = 3) -> list[dict[str, Any]]:
    """Name the collected titles that spoke for a title the most.

    Returns:
        At most k of {"subject_id", "name", "share"}, the share being that of all that collected titles brought in its
        favour; those that spoke against it do not count. Empty if none spoke for it.
    """
    favour = float(reason.brought[reason.brought > 0].sum())
    first = zip(reason.because[:k].tolist(), reason.brought[:k].tolist(), strict=True)
    return [
        {"subject_id": dataset.raw_item_ids[title], "name": dataset.item_names[title], "share": brought / favour}
        for title, brought in first
        if brought > 0
    ]
