"""What serve.py answers with, as plain dicts: lists with their reasons, similar titles, uploads; knows no HTTP."""

import logging
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from importers import read_export
from inference import explanations, finished_run
from inference.finished_run import Filters, Run, place_users
from inference.fold_in import FoldedIn
from inference.title_search import folded
from inference.user_list import match_user_list
from web.schemas import ListRequest

log = logging.getLogger("aglrec")

N_TAGS, N_BECAUSE, N_NEW = 400, 3, 12
PEOPLE = 1024  # whose vectors are kept, and titles those like which are: some kilobytes each


class Refused(ValueError):
    """A question that has no answer: a code for programs, a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Person(NamedTuple):
    """Someone a list is made for; rows of titles."""

    vector: torch.Tensor  # (D and the columns beside,)
    collected: list[int]
    left_out: list[int]  # neither listed nor telling of taste
    made_of: explanations.Composition | None  # None where no reasons are asked for


class Asked(NamedTuple):
    """Rows of titles for a list of ids."""

    rows: list[int]
    n_unknown: int


# --- the run ---


@lru_cache(maxsize=2)
def new_rows(run: Run) -> frozenset[int]:
    """Return the rows of the titles that nobody had collected in train."""
    return frozenset(np.setdiff1d(np.arange(run.dataset.n_items), run.dataset.warm_items).tolist())


@lru_cache(maxsize=2)
def has_signal(run: Run) -> np.ndarray:
    """Return the rows of those of them that can be listed by their text; none where the run knows no text."""
    try:
        return finished_run.new_titles(run)
    except ValueError:
        return np.empty(0, int)


@lru_cache(maxsize=2)
def described(run: Run) -> dict[str, Any]:
    """Describe the run, and make on the way what would hold up the first who asks."""
    dataset = run.dataset
    years = [year for year in dataset.item_years if year is not None]
    return {
        "name": Path(run.config["data_dir"]).resolve().name,
        "n_users": dataset.n_users,
        "n_titles": dataset.n_items,
        "n_collected": int(dataset.seen.nnz),
        "n_new": len(new_rows(run)),
        "years": (min(years), max(years)) if years else None,
        "tags": common_tags(dataset.item_tags),
        "can": {"new_titles": len(has_signal(run)) > 0, "text": run.item_text is not None, "years": bool(years)},
    }


def common_tags(item_tags: Iterable[str]) -> list[dict[str, Any]]:
    """Count the tags, a tag a line, and return the N_TAGS of most titles; spellings alike but for case are one."""
    counts, spellings = Counter(), {}
    for tags in item_tags:
        for tag in {folded(tag): tag for tag in tags.splitlines()}.items():
            counts[tag[0]] += 1
            spellings.setdefault(*tag)
    return [{"name": spellings[tag], "n_titles": count} for tag, count in counts.most_common(N_TAGS)]


def title(run: Run, item: int) -> dict[str, Any]:
    """Return what is shown of a title."""
    dataset = run.dataset
    return {
        "subject_id": dataset.raw_item_ids[item],
        "name": dataset.item_names[item],
        "tags": dataset.item_tags[item].splitlines(),
        "year": dataset.item_years[item] if dataset.item_years else None,
        "is_new": item in new_rows(run),
    }


def found(run: Run, query: str, n: int) -> list[dict[str, Any]]:
    """Return the titles that fit a query; without one, those that most people collect."""
    if query.strip():
        return [title(run, item) for item in finished_run.find_titles(run, query, n)]
    return [title(run, item) for item in np.argsort(run.names.standing)[:n].tolist()]


# --- lists ---


def asked_for(run: Run, ids: Iterable[str]) -> Asked:
    """Find titles by their ids, each once, and count the ids of none."""
    ids = dict.fromkeys(ids)
    rows = [run.item_rows[raw] for raw in ids if raw in run.item_rows]
    return Asked(rows, len(ids) - len(rows))


def filtered(run: Run, asked: Filters) -> np.ndarray | None:
    """Return the rows that filters let through, possibly none of them; None where nothing is filtered.

    Raises:
        Refused: a tag is unknown, or no year is known.
    """
    for tag in (*asked.tags, *asked.not_tags):
        if folded(tag) not in run.tags:
            raise Refused("unknown_tag", f"no title has the tag {tag!r}; /api/run names those of most titles")
    if (asked.min_year, asked.max_year) != (None, None) and not any(run.dataset.item_years):
        raise Refused("no_years", "no title of this run has a year; ask without min_year and max_year")
    try:
        return finished_run.allowed_items(run, asked)
    except ValueError:  # nothing is left
        return np.empty(0, int)


@lru_cache(maxsize=PEOPLE)
def fit(run: Run, items: tuple[int, ...]) -> tuple[torch.Tensor, FoldedIn]:
    """Fit the vector of finished_run.place to what someone collected, and tell what its trained columns are made of.

    Args:
        run: as from finished_run.load_run.
        items: rows of titles, ascending.
    """
    collected = sp.csr_matrix(
        (np.ones(len(items), np.float32), ([0] * len(items), items)), shape=(1, run.dataset.n_items)
    )
    vectors, made = place_users(run, collected)
    return vectors[0], made


def lists_for_new(run: Run, asked: ListRequest) -> dict[str, Any]:
    """List for someone unknown to the run, from what he collected.

    Raises:
        Refused: none of his titles is known, or as of filtered.
    """
    collected, excluded = asked_for(run, asked.titles), asked_for(run, asked.exclude)
    if not collected.rows:
        raise Refused(
            "none_known", f"none of the {len(asked.titles):,} titles is of this run; find ids with /api/titles?q=NAME"
        )
    among = filtered(run, Filters(tuple(asked.tags), tuple(asked.not_tags), asked.min_year, asked.max_year))
    vector, fit_of = fit(run, tuple(sorted(collected.rows)))
    columns = explanations.extra_columns(run.checkpoint["state_dict"])
    made_of = explanations.of_new_user(fit_of, run.item_emb, columns) if asked.why else None
    person = Person(vector, collected.rows, excluded.rows, made_of)
    return {"n_unknown": collected.n_unknown + excluded.n_unknown, **_lists(run, person, asked.k, asked.new, among)}


def lists_for_user(run: Run, user_id: str, k: int) -> dict[str, Any]:
    """List for a user of the data, with reasons where the run still knows what his vector is made of.

    Raises:
        Refused: there is no such user.
    """
    if user_id not in run.user_rows:
        raise Refused("unknown_user", f"there is no user {user_id!r} in this run; give an id of interactions.tsv")
    user = run.user_rows[user_id]
    person = Person(run.user_emb[user], run.dataset.seen[user].indices.tolist(), [], made_of(run, user))
    return {
        "user_id": user_id,
        "username": run.dataset.user_names[user],
        "n_unknown": 0,
        **_lists(run, person, k, True, None),
    }


def made_of(run: Run, user: int) -> explanations.Composition | None:
    """Return what the vector of a user of the data is made of; None where it can no longer be told."""
    if sources(run) is None:
        return None
    try:
        return explanations.of_user(sources(run), user, run.user_emb[user])
    except ValueError as error:
        log.warning(f"no reasons for user {run.dataset.raw_user_ids[user]}: {error}")
        return None


@lru_cache(maxsize=2)
def sources(run: Run) -> explanations.Sources | None:
    """Return what the vectors of the run's users are made of; None where it can no longer be told."""
    try:
        return explanations.sources_of(run.dataset, run.config)
    except (OSError, ValueError, KeyError) as error:  # a text has changed; or an older run did not write down which
        log.warning(f"no reasons for users of the data: {error}")
        return None


def _lists(run: Run, person: Person, k: int, new: bool, among: np.ndarray | None) -> dict[str, Any]:
    scores = (run.item_emb @ person.vector)[:, None]  # as vectors of length 1, of which a part is cheaply taken

    def best(k: int, among: np.ndarray | None) -> list[dict[str, Any]]:
        titles = finished_run.nearest(run, torch.ones(1), scores, k, [*person.collected, *person.left_out], among)
        return listed(run, titles, person.made_of)

    fresh = has_signal(run) if among is None else np.intersect1d(has_signal(run), among)
    return {
        "collected": [title(run, item) for item in person.collected],
        "excluded": [title(run, item) for item in person.left_out],
        "titles": best(k, among),
        "new_titles": best(min(k, N_NEW), fresh) if new else [],
    }


def listed(
    run: Run, titles: list[dict[str, Any]], made_of: explanations.Composition | None = None
) -> list[dict[str, Any]]:
    """Put to the titles of a list what is shown of them, and why they are there."""
    rows = [run.item_rows[entry["subject_id"]] for entry in titles]
    why = explanations.explain(made_of, run.item_emb, rows) if made_of and rows else [None] * len(rows)
    return [
        {
            **title(run, row),
            "score": entry["score"],
            "parts": reason.parts if reason else {},
            "because": explanations.readable(reason, run.dataset, N_BECAUSE) if reason else [],
        }
        for row, entry, reason in zip(rows, titles, why, strict=True)
    ]


@lru_cache(maxsize=PEOPLE)
def similar_to(run: Run, subject_id: str, k: int) -> dict[str, Any]:
    """List the titles nearest to one.

    Raises:
        Refused: there is no such title.
    """
    if subject_id not in run.item_rows:
        raise Refused(
            "unknown_title", f"there is no title {subject_id!r} in this run; find ids with /api/titles?q=NAME"
        )
    sides = finished_run.similar(run, run.item_rows[subject_id], k)
    return {
        "title": title(run, run.item_rows[subject_id]),
        "text": [],
        **{side: listed(run, titles) for side, titles in sides.items()},
    }


# --- uploads ---


def uploaded(run: Run, path: Path) -> dict[str, Any]:
    """Read an exported list and find its titles in the run.

    Raises:
        Refused: no importer reads the file, or none of its titles tells of taste.
    """
    try:
        name, rows = read_export(path)
    except (OSError, ValueError) as error:
        raise Refused("unreadable", str(error).replace(f"{path.parent}/", "")) from None
    found = match_user_list(run, rows)
    if not found.items:
        raise Refused(
            "nothing_known",
            f"none of the {len(rows):,} entries of {path.name} is a title of this run "
            "that was watched and liked; export another list",
        )
    return {
        "format": name,
        "n_rows": len(rows),
        "n_unknown": len(rows) - found.n_known,
        "collected": [title(run, item) for item in found.items],
        "excluded": [title(run, item) for item in found.left_out],
    }
