"""What serve.py answers with, as plain dicts: lists with their reasons, similar titles, uploads; knows no HTTP."""

import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset.franchises import franchises_of
from dataset.seasons import newest_first
from importers import read_export
from inference import explanations, lookup
from inference.finished_run import FinishedRun
from inference.fold_in import FoldedIn
from inference.kept import kept
from inference.lists import Titles, list_for_person, similar_titles
from inference.name_forms import folded
from inference.people import UNKNOWN, Person, are_disliked, has_of, has_of_user, person, place, tells_nothing
from inference.shaped_lists import Has, Rules
from inference.taste import AS_MEASURED, minds_taste, with_taste
from inference.user_list import SHOWN, match_user_list
from inference.wishes import Wish, list_for_wish, wish_for
from web.schemas import ListRequest
from web.titles import common_tags, known_types, synopsis, title

log = logging.getLogger("aglrec")

N_NEW = 12
TASTE_STEP = 0.25
AS_RANKED = Rules()
N_TASTES = round(1 / TASTE_STEP) + 1
N_WISHES = 64  # whose scores of all titles are kept
PEOPLE = 1024  # new users whose vectors are kept, and titles whose neighbours are: some kilobytes each


class Refused(ValueError):
    """A question that has no answer: a code for programs, a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# --- the run ---


@kept(2)
def described(run: FinishedRun) -> dict[str, Any]:
    """Describe the run, and make on the way what would hold up the first who asks."""
    dataset = run.dataset
    franchises_of(dataset)
    years = [year for year in dataset.item_years if year is not None]
    return {
        "name": Path(run.config["data_dir"]).resolve().name,
        "n_users": dataset.n_users,
        "n_titles": dataset.n_items,
        "n_collected": int(dataset.seen.nnz),
        "n_new": dataset.n_items - len(dataset.warm_items),
        "years": (min(years), max(years)) if years else None,
        "types": known_types(run),
        "seasons": newest_first(dataset.item_seasons),
        "tags": common_tags(run),
        "can": {
            "new_titles": len(run.cold_items) > 0,
            "text": run.item_text is not None,
            "wish": any(dataset.item_texts),
            "years": bool(years),
            "rates": run.uses_rates,
            "taste": minds_taste(run),
        },
    }


def parts_of(run: FinishedRun, subject_id: str) -> list[dict[str, Any]]:
    """Return the titles of a franchise in the order in which one watches them.

    Raises:
        Refused: there is no such title.
    """
    groups, places, *_ = franchises_of(run.dataset)
    rows = np.flatnonzero(groups == groups[known_row(run, subject_id)])
    return [title(run, item) for item in rows[np.argsort(places[rows], kind="stable")].tolist()]


def known_row(run: FinishedRun, subject_id: str) -> int:
    """Return the row of a title by its id.

    Raises:
        Refused: there is no such title.
    """
    if subject_id not in run.item_rows:
        raise Refused(
            "unknown_title", f"there is no title {subject_id!r} in this run; find ids with /api/titles?q=NAME"
        )
    return run.item_rows[subject_id]


def found(run: FinishedRun, query: str, n: int) -> list[dict[str, Any]]:
    """Return the titles that match a query; without one, those that most people collect."""
    rows = lookup.find_titles(run, query, n) if query.strip() else np.argsort(run.names.popularity_rank)[:n].tolist()
    return [title(run, item) for item in rows]


# --- lists ---


def known_rows(run: FinishedRun, ids: Iterable[str]) -> tuple[list[int], int]:
    """Return the rows of titles by their ids, each once, and how many ids are of none."""
    ids = dict.fromkeys(ids)
    rows = [run.item_rows[raw] for raw in ids if raw in run.item_rows]
    return rows, len(ids) - len(rows)


def filtered(run: FinishedRun, asked: ListRequest) -> np.ndarray | None:
    """Return the rows that may be listed, perhaps none of them; None where nothing is filtered.

    Raises:
        Refused: a tag, type or season is unknown, or no year is known.
    """
    for tag in (*asked.tags, *asked.not_tags):
        if folded(tag) not in run.tags:
            raise Refused("unknown_tag", f"no title has the tag {tag!r}; /api/run names those of most titles")
    if (asked.min_year, asked.max_year) != (None, None) and not any(run.dataset.item_years):
        raise Refused("no_years", "no title of this run has a year; ask without min_year and max_year")
    years = (asked.min_year, asked.max_year)
    filters = lookup.Filters(tuple(asked.tags), tuple(asked.not_tags), *years, tuple(asked.types), asked.season)
    try:
        return lookup.allowed_items(run, filters)
    except ValueError as error:
        raise Refused("unknown_filter", str(error)) from None


minding = kept(N_TASTES)(partial(with_taste, users=False))  # to place people by; all else is of the run


@kept(PEOPLE)
def fit(run: FinishedRun, who: Person, taste: float = AS_MEASURED) -> FoldedIn:
    """Place someone by the run with a taste."""
    return place(minding(run, taste), who)


def to_step(taste: float) -> float:
    """Return the step nearest to a taste from 0 to 1."""
    return round(taste / TASTE_STEP) * TASTE_STEP


def lists_for_new(run: FinishedRun, asked: ListRequest) -> dict[str, Any]:
    """List for someone who is not in the run, from what they collected and what they ask for in words.

    Raises:
        Refused: none of their titles is known, or all are disliked, nothing of the words is known, or as of filtered.
    """
    wish = wished(run, asked)
    if wish and not asked.titles:
        return _lists_for_nobody(run, asked, wish)
    (collected, n_unknown), (excluded, n_more) = known_rows(run, asked.titles), known_rows(run, asked.exclude)
    if not collected:
        raise Refused(
            "none_known", f"none of the {len(asked.titles):,} titles is of this run; find ids with /api/titles?q=NAME"
        )
    ids = [run.dataset.raw_item_ids[item] for item in collected]
    scores, times = [asked.scores.get(raw, 0.0) for raw in ids], [asked.times.get(raw, np.nan) for raw in ids]
    who = person(run, collected, scores, times, left_out=excluded)
    if are_disliked(who.scores):
        raise Refused("all_disliked", "all of the known titles are disliked; give at least one that is not")
    if tells_nothing(run, who):
        raise Refused("none_known", f"{UNKNOWN}; give at least one more")
    taste = to_step(asked.taste)
    user = fit(run, who._replace(left_out=()), taste)
    collected = [item for item in collected if item not in who.left_out]
    rules = Rules(asked.franchise, asked.niche, asked.diversity, asked.min_collectors)
    composition = explanations.of_new_user(user, run.item_emb, minding(run, taste).layout) if asked.why else None
    new = min(asked.k, N_NEW) if asked.new else 0
    lists = _lists(run, user.users[0], has_of(who), rules, (asked.k, new), filtered(run, asked), composition, wish)
    mine = {"collected": [title(run, item) for item in collected], "excluded": [title(run, i) for i in who.left_out]}
    return {"n_unknown": n_unknown + n_more, **mine, **lists}


def wished(run: FinishedRun, asked: ListRequest) -> tuple[Wish, float] | None:
    """Read the wish, and what it counts; None where nothing is asked for in words.

    Raises:
        Refused: nothing of it is known.
    """
    if not asked.wish.strip():
        return None
    try:
        return read_wish(run, asked.wish), asked.wish_weight
    except ValueError as error:
        raise Refused("unknown_words", str(error)) from None


read_wish = kept(N_WISHES)(wish_for)


def _lists_for_nobody(run: FinishedRun, asked: ListRequest, wish: tuple[Wish, float]) -> dict[str, Any]:
    """List by words alone."""
    excluded, n_unknown = known_rows(run, asked.exclude)
    rules = Rules(asked.franchise, asked.niche, asked.diversity, asked.min_collectors)
    composition = explanations.NOBODY if asked.why else None
    lengths = asked.k, min(asked.k, N_NEW) if asked.new else 0
    lists = _lists(run, None, Has((), excluded), rules, lengths, filtered(run, asked), composition, wish)
    mine = {"collected": [], "excluded": [title(run, item) for item in excluded]}
    return {"n_unknown": n_unknown, **mine, **lists}


def lists_for_user(run: FinishedRun, user_id: str, k: int, rules: Rules = AS_RANKED) -> dict[str, Any]:
    """List for a user of the data, with reasons where it is still known what their vector is made of.

    Raises:
        Refused: there is no such user.
    """
    if user_id not in run.user_rows:
        raise Refused("unknown_user", f"there is no user {user_id!r} in this run; give an id of interactions.tsv")
    user = run.user_rows[user_id]
    has = has_of_user(run, user)
    lists = _lists(run, run.user_emb[user], has, rules, (k, min(k, N_NEW)), None, composition_of(run, user))
    who = {"user_id": user_id, "username": run.dataset.user_names[user], "n_unknown": 0}
    return {**who, "collected": [title(run, item) for item in has.seen], "excluded": [], **lists}


def composition_of(run: FinishedRun, user: int) -> explanations.Composition | None:
    """Return what the vector of a user of the data is made of; None where it is no longer known."""
    try:
        return None if sources(run) is None else explanations.of_user(sources(run), user, run.user_emb[user])
    except ValueError as error:
        log.warning(f"no reasons for user {run.dataset.raw_user_ids[user]}: {error}")
        return None


@kept(2)
def sources(run: FinishedRun) -> explanations.Sources | None:
    """Return what the vectors of the run's users are made of; None where it is no longer known."""
    try:
        return explanations.sources_of(run)
    except (OSError, ValueError) as error:  # a text has changed, or cannot be encoded again
        log.warning(f"no reasons for users of the data: {error}")
        return None


def _lists(
    run: FinishedRun,
    user: torch.Tensor | None,
    has: Has,
    rules: Rules,
    lengths: tuple[int, int],
    among: np.ndarray | None,
    composition: explanations.Composition | None,
    wish: tuple[Wish, float] | None = None,
) -> dict[str, Any]:
    """List for a vector (width,) the best of all titles and of the cold ones, each list of a length of its own."""
    listed = partial(list_for_wish, run, *wish) if wish else partial(list_for_person, run)
    cold = run.cold_items if among is None else np.intersect1d(run.cold_items, among)
    of_cold = rules._replace(min_collectors=0)
    k, n_new = lengths
    titles = listed(user, k, has, rules, among, composition)
    new_titles = listed(user, n_new, has, of_cold, cold, composition) if n_new else []
    said = wish and {**wish[0].words._asdict(), "by": wish[0].reader.by}
    return {"titles": described_titles(run, titles), "new_titles": described_titles(run, new_titles), "wish": said}


def described_titles(run: FinishedRun, titles: Titles) -> list[dict[str, Any]]:
    """Add what is shown of them to the titles of a list."""
    bare = {"because": [], "despite": [], "parts": {}, "after": None, "more": 0, "says": ""}
    rows = [run.item_rows[one["subject_id"]] for one in titles]
    return [
        {**bare, **title(run, item), "synopsis": synopsis(run, item), **one}
        for item, one in zip(rows, titles, strict=True)
    ]


@kept(PEOPLE)
def similar_to(run: FinishedRun, subject_id: str, k: int) -> dict[str, Any]:
    """List the titles nearest to one.

    Raises:
        Refused: there is no such title.
    """
    item = known_row(run, subject_id)
    sides = {"text": [], **similar_titles(run, item, k)}
    return {"title": title(run, item), **{side: described_titles(run, titles) for side, titles in sides.items()}}


# --- uploads ---


def uploaded(run: FinishedRun, path: Path) -> dict[str, Any]:
    """Read an exported list and find its titles in the run.

    Raises:
        Refused: no importer reads the file, or none of its titles says anything about taste.
    """
    try:
        name, rows = read_export(path)
    except (OSError, ValueError) as error:
        raise Refused("unreadable", str(error).replace(f"{path.parent}/", "")) from None
    found = match_user_list(run, rows, name)
    who = found.person
    if are_disliked(who.scores):
        raise Refused(
            "nothing_known",
            f"none of the {len(rows):,} entries of {path.name} is a title of this run that was watched and not "
            "disliked; export another list",
        )
    return {
        "format": name,
        "n_rows": len(rows),
        "n_unknown": len(rows) - found.n_known,
        "unknown": found.unknown[:SHOWN],
        "collected": [
            {**title(run, item), "score": score, "time": found.times.get(item)}
            for item, score in zip(who.items, who.scores, strict=True)
        ],
        "excluded": [title(run, item) for item in who.left_out],
        "tastes": found.tastes,
        "notes": [*rows.attrs.get("told", ()), *found.notes],
    }
