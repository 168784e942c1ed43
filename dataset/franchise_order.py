"""In which order the titles of a franchise are watched, and after which of them each."""

import heapq
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dataset.dataset import Dataset
from dataset.relations import RELATIONS
from dataset.title_markers import EXTRA, FINAL, WORK, Markers, Words, is_meeting, is_season, number_of

SAMPLE = 5_000  # users, at most, whose times are compared for a franchise
_LATER = {"sequel": True, "summary": True, "side_story": True, "spin_off": True, "prequel": False}


class Place(NamedTuple):
    """By what a title is put in order where nothing surer is known: the smaller comes first."""

    year: int  # of the title or, where unknown, of one it belongs to
    rank: float  # what its name says: season, then films and parts, then extras
    times: float  # minus the number of titles that most people collected later
    popularity: int  # minus the collectors in train
    name: str  # so that the order of rows decides nothing


def in_order(dataset: Dataset, groups: np.ndarray, names: list[Markers]) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each title in its franchise, (n_items,), and the row of the title before it, -1 for none.

    What decides is, in this order: relations, numbers of seasons and parts in names of the same work, the year, what
    else names say, what more than half of those who collected both collected first, popularity.

    Args:
        dataset: its relations, years, times and train are used.
        groups: (n_items,) numbers of franchises.
        names: of the titles, one each.
    """
    places, before = np.zeros(len(groups), np.int64), np.full(len(groups), -1, np.int64)
    popularity = np.bincount(dataset.train.indices, minlength=dataset.n_items)
    by_group = np.argsort(groups, kind="stable")
    related, times = _related(dataset), _by_title(dataset)
    for rows in np.split(by_group, np.flatnonzero(np.diff(groups[by_group])) + 1):
        if len(rows) > 1:
            after = _constraints(rows.tolist(), names, related)
            keys = _keys(dataset, rows, names, popularity, times)
            order = _sorted(after, keys)
            places[order] = np.arange(len(order))
            before[order] = _before(order, names, related)
    return places, before


def _related(dataset: Dataset) -> dict[int, set[int]]:
    """Return for each title the titles that relations put before it."""
    earlier: dict[int, set[int]] = {}
    for title, other, code in dataset.relations.tolist():
        if (later := _LATER.get(RELATIONS[code])) is not None:
            first, second = (title, other) if later else (other, title)
            earlier.setdefault(second, set()).add(first)
    return earlier


def _constraints(rows: list[int], names: list[Markers], related: dict[int, set[int]]) -> dict[int, set[int]]:
    """Return for each title of a franchise the titles that must come before it."""
    here, lines = set(rows), {}
    after: dict[int, set[int]] = {row: related.get(row, set()) & here for row in rows}
    for row in rows:
        name = names[row]
        if name.kind != EXTRA:
            lines.setdefault(name.line, []).append(row)
    for line in lines.values():
        line.sort(key=lambda row: _number(names[row]))
        for first, second in zip(line, line[1:], strict=False):
            numbers = _number(names[first]), _number(names[second])
            # related titles are in order already, and a number that says otherwise gives way
            if numbers[0] < numbers[1] and second not in after[first]:
                after[second].add(first)
    return after


def _number(name: Markers) -> tuple[int, int]:
    return name.season, name.part


def _keys(
    dataset: Dataset, rows: np.ndarray, names: list[Markers], popularity: np.ndarray, times: sp.csc_matrix | None
) -> dict[int, Place]:
    ranks, later = _ranks(rows.tolist(), names, popularity), _later(times, rows)
    years = _years(dataset, ranks)
    return {
        row: Place(years[row], ranks[row], -int(later[place]), -int(popularity[row]), dataset.item_names[row])
        for place, row in enumerate(rows.tolist())
    }


def _ranks(rows: list[int], names: list[Markers], popularity: np.ndarray) -> dict[int, float]:
    """Say how late each title of a franchise sounds: 1 for a first season, 2 for a second, more for what belongs to it.

    A film or part without a number of its own is later than the seasons that are more popular: people lose sight of a
    franchise as it goes on.
    """
    stems = {names[row].stem for row in rows}
    longer = {stem: max((size for size in range(1, len(stem)) if stem[:size] in stems), default=0) for stem in stems}
    bases = {stem[:size] for stem, size in longer.items() if size and not longer[stem[:size]]}
    seasons: dict[Words, dict[int, int]] = {stem: {} for stem in stems}  # of each work, the popularity of its seasons
    for row in rows:
        if is_season(names[row]):
            of_one = seasons[names[row].stem]
            of_one[names[row].season] = max(int(popularity[row]), of_one.get(names[row].season, 0))
    elsewhere = {stem: 0.15 * bool(bases and stem not in bases) for stem in stems}
    return {
        row: _season(names[row], longer[names[row].stem], int(popularity[row]), seasons)
        + max(_after_season(names[row]), elsewhere[names[row].stem])
        for row in rows
    }


def _season(name: Markers, longer: int, popularity: int, seasons: dict[Words, dict[int, int]]) -> int:
    """Return after which season of its franchise a title comes; the words before longer name another work of it."""
    # what has no first season, as Lupin III, begins with its least
    own = name.season - min([*seasons[name.stem], name.season]) + 1
    if longer and number_of(name.stem[longer]):
        return own + number_of(name.stem[longer]) - 1
    if name.is_marked or is_season(name) and not longer:
        return own
    of_work = seasons[name.stem[: longer or None]]
    return max([own, *(season for season, count in of_work.items() if season < FINAL and count > popularity)])


def _after_season(name: Markers) -> float:
    if name.kind == EXTRA:
        return 0.6
    return 0.4 if is_meeting(name) else 0.3 if name.rest or name.kind != WORK else 0.0


def _years(dataset: Dataset, ranks: dict[int, float]) -> dict[int, int]:
    """Return the year of each title, where it is unknown that of the title that comes before it by rank."""
    if not dataset.item_years:
        return dict.fromkeys(ranks, 0)
    known = {row: year for row in ranks if (year := dataset.item_years[row])}
    last, years = min(known.values(), default=0), {}
    for row in sorted(ranks, key=ranks.__getitem__):
        last = years[row] = known.get(row, last)
    return years


def _by_title(dataset: Dataset) -> sp.csc_matrix | None:
    """Return when each title was collected in train, (n_users, n_items), NaN = unknown; None where nobody says."""
    if dataset.times is None:
        return None
    train = dataset.train
    return sp.csr_matrix((dataset.times_of(train), train.indices, train.indptr), shape=train.shape).tocsc()


def _later(times: sp.csc_matrix | None, rows: np.ndarray) -> np.ndarray:
    """Count for each title of a franchise those that more than half of who collected both collected after it, (n,)."""
    if times is None:
        return np.zeros(len(rows), int)
    own = times[:, rows]
    users, places = np.unique(own.indices, return_inverse=True)
    matrix = np.full((len(users), len(rows)), np.nan)
    matrix[places, np.repeat(np.arange(len(rows)), np.diff(own.indptr))] = own.data
    matrix = matrix[:: max(1, -(-len(matrix) // SAMPLE))]
    earlier = np.array([(matrix[:, [place]] < matrix).sum(axis=0) for place in range(len(rows))])  # (n, n)
    return (earlier > earlier.T).sum(axis=1)


def _sorted(after: dict[int, set[int]], keys: dict[int, Place]) -> list[int]:
    """Return titles in order: of those whose predecessors are placed, always the one with the smallest key."""
    waiting, follows = {row: len(first) for row, first in after.items()}, {row: [] for row in after}
    for row, first in after.items():
        for each in first:
            follows[each].append(row)
    ready = [(keys[row], row) for row, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[int] = []
    placed: set[int] = set()
    while len(order) < len(after):
        if not ready:  # relations in a circle: the one that would come first without them opens it
            row = min((row for row in after if row not in placed), key=keys.__getitem__)
        else:
            row = heapq.heappop(ready)[1]
        if row in placed:
            continue
        placed.add(row)
        order.append(row)
        for each in follows[row]:
            waiting[each] -= 1
            if not waiting[each]:
                heapq.heappush(ready, (keys[each], each))
    return order


def _before(order: list[int], names: list[Markers], related: dict[int, set[int]]) -> list[int]:
    """Return for each title of an order the row of the one to be seen directly before it, -1 for none.

    That is what relations name; else the last of the same line that has a smaller number; else the last season that is
    not later than the title's own, of the same work; else the first season of all. A season that nothing says to go on
    from another, not even a name that begins with that other's, is where its own work begins, and has none.
    """
    before = [-1]
    for place, row in enumerate(order[1:], start=1):
        earlier, name = order[:place], names[row]
        known = [each for each in earlier if each in related.get(row, ())]
        line = [each for each in earlier if names[each].line == name.line and _number(names[each]) < _number(name)]
        seasons = [each for each in earlier if is_season(names[each])]
        own = [each for each in seasons if names[each].stem == name.stem and _is_up_to(names[each], name)]
        begins = is_season(name) and not name.is_marked and not any(_begins(names[each], name) for each in seasons)
        first = [-1] if begins else seasons[:1] or earlier[:1]
        before.append((known or (line if name.part else ()) or own or first)[-1])
    return before


def _begins(work: Markers, name: Markers) -> bool:
    """Tell whether a name begins with that of a work."""
    return name.stem[: len(work.stem)] == work.stem


def _is_up_to(season: Markers, name: Markers) -> bool:
    """Tell whether a season is to be seen before a title of the same work."""
    return season.season < name.season or season.season == name.season and not season.rest
