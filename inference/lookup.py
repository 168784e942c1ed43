"""Which title or user of a run is meant by an id or a name, and which titles a list may hold."""

import re
from typing import NamedTuple

import numpy as np

from data_loader import Dataset
from dataset.readers import title_text
from inference.finished_run import FinishedRun
from inference.name_forms import folded
from inference.title_search import HOLDS, SAME, TAGGED, closest, exact, find, is_other_season, search, split_names

OFFERED = (TAGGED, HOLDS)  # matches that are offered, but not taken for what was meant


def find_titles(run: FinishedRun, query: str, n: int) -> list[int]:
    """Find the rows of up to n titles by any of their names; see title_search.find."""
    return find(run.names, query, n)


def title_row(run: FinishedRun, text: str) -> int:
    """Return the row of a title given by its id, or by a name that matches exactly one title best.

    A name that is given with marks at its end, by which seasons are told apart, is no title's that has others.

    Raises:
        ValueError: none or several do; the message names the nearest with their ids.
    """
    if text in run.item_rows:
        return run.item_rows[text]
    matches = search(run.names, text, 1)
    best = [item for kind, item in matches if kind == matches[0][0] and kind not in OFFERED]
    if len(best) == 1 and not is_other_season(run.names, best[0], text):
        return best[0]
    if len(best) > 1:
        raise ValueError(f"{text!r} matches {len(best):,} titles; name one by its id: {_shown(run.dataset, best[:5])}")
    near = [run.item_rows[raw] for raw in closest(text, run.item_rows, 3)] + find_titles(run, text, 5)
    hint = _shown(run.dataset, list(dict.fromkeys(near))[:5])
    raise ValueError(
        f"there is no title {text!r} in this run; {_nearest(hint, 'a part of a name, or an id of anime.tsv')}"
    )


def rated_titles(run: FinishedRun, text: str) -> tuple[dict[int, float], list[str]]:
    """Find titles given by ids or names that are separated by commas, Chinese ones too.

    One that holds a comma stands in quotes. A number after the last colon of one is its rate, unless the whole is a
    title.

    Returns:
        The rows, each with its rate, 0 where none is given; and of each name that is of no title or of several, a
        sentence that says so.
    """
    rated: dict[int, float] = {}
    refused = []
    for word in split_names(text, lambda name: _is_title(run, _name_and_rate(name)[0]) or _is_title(run, name)):
        try:
            row, rate = _rated(run, word)
            rated[row] = rate
        except ValueError as error:
            refused.append(str(error))
    return rated, refused


def _rated(run: FinishedRun, word: str) -> tuple[int, float]:
    """Take a rate off a title: "Naruto:9" is (row of Naruto, 9.0), but a title called "Season: 2" has none."""
    name, rate = _name_and_rate(word)
    if name == word or _is_title(run, word):
        return title_row(run, word), 0.0
    if not _is_title(run, name) and search(run.names, word, 1):
        return title_row(run, word), 0.0
    return title_row(run, name), rate


def _name_and_rate(word: str) -> tuple[str, float]:
    found = re.fullmatch(r"(.*\S)\s*[:：]\s*(\d+(?:\.\d+)?)", word)
    return (found[1], float(found[2])) if found else (word, 0.0)


def _is_title(run: FinishedRun, text: str) -> bool:
    """Whether a text is an id or a whole name, however it is punctuated."""
    return text in run.item_rows or min(exact(run.names, text).values(), default=SAME + 1) <= SAME


def user_row(run: FinishedRun, text: str) -> int:
    """Return the row of a user given by their id, or by their name if no other user has it.

    Raises:
        ValueError: none or several do; the message names the nearest with their ids.
    """
    if text in run.user_rows:
        return run.user_rows[text]
    dataset = run.dataset
    named = [row for row, name in enumerate(dataset.user_names) if folded(name) == folded(text)]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(dataset.raw_user_ids[row] for row in named[:5])
        raise ValueError(f"{len(named):,} users are called {text!r}; name one by their id: {ids}")
    ids = {**dict(zip(dataset.user_names, dataset.raw_user_ids, strict=True)), **{raw: raw for raw in run.user_rows}}
    hint = ", ".join(name if name == ids[name] else f"{name} ({ids[name]})" for name in closest(text, ids))
    raise ValueError(f"there is no user {text!r} in this run; {_nearest(hint, 'an id of interactions.tsv')}")


def _shown(dataset: Dataset, items: list[int]) -> str:
    return ", ".join(f"{dataset.item_names[item]} ({dataset.raw_item_ids[item]})" for item in items)


def _nearest(hint: str, give: str) -> str:
    return f"the nearest are {hint}" if hint else f"nothing in it is near; give {give}"


def summary_of(dataset: Dataset, item: int) -> str:
    """Return the summary of a title; what comes before it in the title's text are name and tags."""
    head = title_text(dataset.item_names[item], dataset.item_tags[item].splitlines(), "")
    return dataset.item_texts[item].removeprefix(head).strip()


# --- which titles a list may hold ---


class Filters(NamedTuple):
    """What titles must have to be listed."""

    tags: tuple[str, ...] = ()  # all of them
    not_tags: tuple[str, ...] = ()  # none of them
    min_year: int | None = None
    max_year: int | None = None
    types: tuple[str, ...] = ()  # one of them
    season: str = ""


def allowed_items(run: FinishedRun, filters: Filters) -> np.ndarray | None:
    """Return the rows of the titles that filters let through, ascending; None where nothing is filtered.

    Raises:
        ValueError: a tag, type or season that no title has, or a year where the data have none.
    """
    if filters == Filters():
        return None
    kept = np.ones(run.dataset.n_items, bool)
    for tag in filters.tags:
        kept &= np.isin(np.arange(len(kept)), _tagged(run, tag))
    for tag in filters.not_tags:
        kept[_tagged(run, tag)] = False
    if filters.min_year is not None or filters.max_year is not None:
        if not run.dataset.item_years:
            raise ValueError(f"no title of {run.config['data_dir']} has a year; add a column year to anime.tsv")
        years = np.array([np.nan if year is None else year for year in run.dataset.item_years])
        kept &= years >= (-np.inf if filters.min_year is None else filters.min_year)  # never of an unknown year
        kept &= years <= (np.inf if filters.max_year is None else filters.max_year)
    if filters.types:
        kept &= _told(run, "type", filters.types)
    if filters.season:
        kept &= _told(run, "season", (filters.season,))
    return np.flatnonzero(kept)


def _told(run: FinishedRun, what: str, wanted: tuple[str, ...]) -> np.ndarray:
    """Return which titles (n_items,) are of one of the types or seasons that are wanted."""
    cells = np.array([folded(cell) for cell in getattr(run.dataset, f"item_{what}s")])
    known = {folded(cell): cell for cell in getattr(run.dataset, f"item_{what}s") if cell}
    if not known:
        raise ValueError(f"no title of {run.config['data_dir']} has a {what}; add a column {what} to anime.tsv")
    for one in wanted:
        if folded(one) not in known:
            have = [*known.values()] if len(known) < 12 else closest(folded(one), known)
            raise ValueError(f"no title has the {what} {one!r}; {_nearest(', '.join(have), f'a {what} of anime.tsv')}")
    return np.isin(cells, [folded(one) for one in wanted])


def _tagged(run: FinishedRun, tag: str) -> np.ndarray:
    if folded(tag) in run.tags:
        return run.tags[folded(tag)]
    if not run.tags:
        raise ValueError(f"no title of {run.config['data_dir']} has tags")
    hint = ", ".join(closest(folded(tag), run.tags))
    raise ValueError(f"no title has the tag {tag!r}; {_nearest(hint, 'a tag of anime.tsv')}")
