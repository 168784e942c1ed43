"""Lists from a finished run: for a user's vector, with reasons on request; titles like a title; whom a title suits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from evaluator import rank_items
from inference.cold_items import place_title, read_title
from inference.explanations import Composition, against, explain, readable
from inference.finished_run import FinishedRun
from inference.shaped_lists import Has, Rules, shaped
from inference.top_k import titled

TOLD = 1e-3  # of a score, from where on a part of it is more than rounding
Titles = list[dict[str, Any]]  # {"subject_id", "name", "score"} each, best first


def list_titles(
    run: FinishedRun,
    user: torch.Tensor,
    k: int,
    excluded: Sequence[int],
    among: np.ndarray | None = None,
    composition: Composition | None = None,
) -> Titles:
    """List the best k titles for a user.

    Args:
        run: as from load_finished.
        user: (width,) their vector: a row of run.user_emb, or as from people.place.
        k: length of the list.
        excluded: rows of titles that are not listed, above all those that the user collected.
        among: rows to choose from; all if None.
        composition: of the vector, as from explanations; with it each title has "because", the collected titles that
            spoke for it, "despite", the disliked ones that spoke against it, and "parts", which sum to its score.
    """
    titles = nearest(run, user, run.item_emb, k, excluded, among)
    return titles if composition is None else with_reasons(run, titles, composition)


def list_for_person(
    run: FinishedRun,
    user: torch.Tensor,
    k: int,
    has: Has,
    rules: Rules,
    among: np.ndarray | None = None,
    composition: Composition | None = None,
) -> Titles:
    """List up to k titles for a person, by rules; the arguments are those of list_titles and shaped.

    Returns:
        As list_titles. By franchise each title has "after", the title seen that it goes on from ({"subject_id", "name"}
        or None), and "more", how many further parts are unseen. What a niche adds to a score is its part "niche".
    """
    if rules == Rules():
        return list_titles(run, user, k, [*has.seen, *has.wished], among, composition)
    entries = shaped(run, user, k, has, among, rules)
    titles = titled(run.dataset, [entry.item for entry in entries], [entry.score for entry in entries])
    if rules.franchise != "all":
        for title, entry in zip(titles, entries, strict=True):
            title |= {"after": _named(run, entry.after) if entry.after >= 0 else None, "more": entry.more}
    return titles if composition is None else with_reasons(run, titles, composition)


def _named(run: FinishedRun, item: int) -> dict[str, str]:
    return {"subject_id": run.dataset.raw_item_ids[item], "name": run.dataset.item_names[item]}


def with_reasons(run: FinishedRun, titles: Titles, composition: Composition) -> Titles:
    """Add to each title what spoke for it and against it, and the parts of its score; see list_titles."""
    reasons = explain(composition, run.item_emb, [run.item_rows[title["subject_id"]] for title in titles])
    found = []
    for title, reason in zip(titles, reasons, strict=True):
        rest = title["score"] - sum(reason.parts.values())
        parts = reason.parts | ({"niche": rest} if abs(rest) > TOLD * (1 + abs(title["score"])) else {})
        said = {"because": readable(reason, run.dataset), "despite": against(reason, run.dataset), "parts": parts}
        found.append({**title, **said})
    return found


def similar_titles(run: FinishedRun, item: int, k: int, among: np.ndarray | None = None) -> dict[str, Titles]:
    """List the titles nearest to a title, by cosine.

    Returns:
        {"collectors": by the trained columns of the final vectors, "text": by the text as the model fuses it}; a run
        without text has only the first. Each is empty for a title of which it knows nothing.
    """
    text = None if run.item_text is None else run.item_text[item]
    return _like(run, run.item_emb[item], text, k, [item], among)


def for_new_item(
    run: FinishedRun, fields: dict[str, Any], k: int, among: np.ndarray | None = None
) -> dict[str, Titles]:
    """Say which titles a title in no data is like, and which users it suits best.

    Args:
        run: as from load_finished.
        fields: of the title; see cold_items.read_title.
        k: length of the lists.
        among: rows of titles to choose from; all if None.

    Returns:
        {"collectors", "text"} as of similar_titles, and {"users": [{"user_id", "username", "score"}, ...]}, best first,
        of those of whom anything is known.
    """
    vector, text = place_title(run, read_title(fields))
    known = run.user_emb[:, : run.layout.dim].any(dim=1)
    best = (run.user_emb @ vector).masked_fill(~known, -torch.inf).topk(min(k, int(known.sum())))
    users = [
        {"user_id": run.dataset.raw_user_ids[user], "username": run.dataset.user_names[user], "score": score}
        for score, user in zip(*map(torch.Tensor.tolist, best), strict=True)
    ]
    return {**_like(run, vector, text, k, [], among), "users": users}


def _like(
    run: FinishedRun,
    vector: torch.Tensor,
    text: torch.Tensor | None,
    k: int,
    excluded: list[int],
    among: np.ndarray | None,
) -> dict[str, Titles]:
    """List the titles nearest to a final vector (width,) and to a text (L,); see similar_titles."""
    dim, unit = run.layout.dim, torch.nn.functional.normalize
    by_who = nearest(run, unit(vector[:dim], dim=0), unit(run.item_emb[:, :dim]), k, excluded, among)
    found = {"collectors": by_who if vector[:dim].any() else []}
    if text is not None:
        without = torch.nonzero(~run.item_text.any(dim=1)).ravel().tolist()
        by_text = nearest(run, unit(text, dim=0), unit(run.item_text), k, excluded + without, among)
        found["text"] = by_text if text.any() else []
    return found


def nearest(
    run: FinishedRun,
    query: torch.Tensor,
    vectors: torch.Tensor,
    k: int,
    excluded: Sequence[int],
    among: np.ndarray | None = None,
) -> Titles:
    """List up to k titles with the largest dot product of query (D,) and vectors (n_items, D), but the excluded."""
    candidates = np.setdiff1d(np.arange(len(vectors)) if among is None else among, excluded)
    if not len(candidates):
        return []
    nothing, k = sp.csr_matrix((1, len(candidates))), min(k, len(candidates))
    scores = (vectors @ query)[torch.from_numpy(candidates)]  # cheaper than a copy of the candidates' rows
    ranking = rank_items(torch.ones(1, 1), scores[:, None], np.array([0]), nothing, k)
    return titled(run.dataset, candidates[ranking.items[0]].tolist(), ranking.scores[0].tolist())
