"""The list of someone who is not in a run, as exported from a site, its titles matched to the run's."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataset.ratings import DISLIKED, DROPPED, LIKED
from dataset.times import parse_times
from importers import read_export
from inference.finished_run import FinishedRun
from inference.people import Person, are_disliked, on_the_scale, person, scores_of, top_of
from inference.probable import probable_titles
from inference.title_names import BETWEEN
from inference.title_search import SAME, exact, told_apart

SHOWN = 10  # names of unknown titles
OF_TEN, OF_FIVE = (
    ("bangumi", "mal", "anilist", "shikimori", "yamtrack"),
    ("movielens", "amazon"),
)  # formats whose rates have a known maximum
# how names of files begin or end, and those of titles do not
PATHS = ("/", "./", "../", "~/", ".\\")
EXPORTS = (".xml", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".xlsx", ".parquet", ".gz", ".zip", ".xz", ".bz2", ".zst")
# formats -> the site whose numbers their titles go by
SITES = {"mal": "myanimelist", "shikimori": "myanimelist", "anilist": "myanimelist", "bangumi": "bangumi"}


class Collected(NamedTuple):
    """Someone's list as a run knows it."""

    person: Person
    times: dict[int, float]  # row -> when it was collected, of the titles that count, in seconds, where it is known
    n_known: int  # entries of the list that are titles of the run
    n_by_name: int  # of them, those whose id is not known
    unknown: list[str]  # names of the others, or ids where there is no name
    tastes: dict[str, int]  # "liked", "neutral", "disliked", "unrated" -> how many of the titles that count
    notes: tuple[str, ...] = ()  # sentences on what is doubtful
    probable: tuple[tuple[str, int], ...] = ()  # names of unknown ones, and the titles they probably are


def read_user_list(run: FinishedRun, path: Path) -> tuple[Collected, str]:
    """Read an exported list, in any format of importers, and find its titles among those of a run.

    Returns:
        What is known of it, and a sentence that says so.

    Raises:
        FileNotFoundError, ValueError: the file is of no known format, or none of its titles says what is liked.
    """
    name, rows = read_export(path)
    found = match_user_list(run, rows, name)
    n_left, n_items = len(found.person.left_out), len(found.person.items)
    if run.uses_rates:
        tastes = ", ".join(f"{n:,} {taste}" for taste, n in found.tastes.items())
        counts = f"{n_items:,} count ({tastes}), and {n_left:,} wished for are only left out"
    else:
        counts = (
            f"{n_items:,} count, all alike, since this run was trained without rates; {n_left:,} wished for, dropped "
            f"or rated below {run.config['min_rate']:g} are only left out"
        )
    summary = (
        f"{path.name} ({name}): of {len(rows):,} titles, {found.n_known:,} are known here ({found.n_by_name:,} by "
        f"name): {counts}{shown_unknown(found.unknown)}"
    )
    summary = "; ".join([summary, *rows.attrs.get("told", ()), *found.notes])
    if are_disliked(found.person.scores):
        raise ValueError(f"{summary}; a list needs at least one that counts and is not disliked")
    return found, summary


def is_path(text: str) -> bool:
    """Say whether a text looks like the name of a file or is that of a folder, more than like titles."""
    return text.lower().endswith(EXPORTS) or text.startswith(PATHS) or (text != "" and Path(text).is_dir())


def shown_unknown(unknown: list[str]) -> str:
    """Name the entries of a list that are of no title, SHOWN at most."""
    names = ", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else "")
    return f"; not known here: {names}" if unknown else ""


def match_user_list(run: FinishedRun, rows: pd.DataFrame, format_name: str = "") -> Collected:
    """Find the titles of a list, as from importers.read_export, among those of a run, and say what they tell.

    Where the data have an ids.tsv with ids of the list's site, these decide. Else a title is found by its id, or by
    another site's id where the list has one. Ids whose names mostly belong to other
    titles of the run are those of another site, and count for nothing; then, and where there is no id, a title is found
    by its name, where exactly one title has it and the marks at its end, which tell seasons apart. Titles that are
    wished for say nothing. Those dropped are disliked, whatever their rate. Rates are brought to the scale of the data.
    Where the run uses no rates, titles that were dropped or rated below min_rate say nothing either. Of entries of the
    same title the newest counts, and one that says something before one that does not.
    """
    found, by_name, notes = _matched(run, rows, format_name)
    top = next((top for top, names in ((10.0, OF_TEN), (5.0, OF_FIVE)) if format_name.startswith(names)), None)
    rates = rows["rate"].to_numpy(float)
    rates = on_the_scale(run, rates, top_of(rates) if top is None else top)
    is_dropped = (rows["status"] == "dropped").to_numpy()
    table = pd.DataFrame(
        {
            "item": found,
            "says": (rows["status"] != "wish").to_numpy(),
            "time": parse_times(rows["updated_at"].astype(str))[0].to_numpy() if "updated_at" in rows else np.nan,
            "score": np.where(is_dropped, DROPPED, scores_of(run, rates)),
            "is_rated": is_dropped | (rates != 0),
            "is_negative": is_dropped | ((rates != 0) & (rates < run.config["min_rate"])),
        }
    )
    table = table[table["item"] >= 0].sort_values(["says", "time"], kind="stable", na_position="first")
    table = table.drop_duplicates("item", keep="last")
    says = table[table["says"]]
    columns = (says[name].to_numpy() for name in ("item", "score", "time", "is_negative"))
    who = person(run, *columns, left_out=table["item"][~table["says"]].tolist())
    counted = says[says["item"].isin(who.items)]
    times = {int(item): time for item, time in zip(counted["item"], counted["time"], strict=True) if not np.isnan(time)}
    unknown = [name or raw for name, raw in rows.loc[found < 0, ["name", "subject_id"]].itertuples(index=False)]
    n_known, n_by_name = int((found >= 0).sum()), int(by_name.sum())
    known = {*found.tolist()}
    probable = tuple(pair for pair in probable_titles(run, rows["name"][found < 0]) if pair[1] not in known)
    notes += (_probably(run, probable),) * bool(probable)
    return Collected(who, times, n_known, n_by_name, unknown, _tastes(counted), notes, probable)


def _probably(run: FinishedRun, probable: Sequence[tuple[str, int]]) -> str:
    dataset = run.dataset
    first = "; ".join(f"{name!r} {dataset.item_names[i]} ({dataset.raw_item_ids[i]})" for name, i in probable[:SHOWN])
    more = f" and {len(probable) - SHOWN:,} more" if len(probable) > SHOWN else ""
    return (
        f"{len(probable):,} of the unknown ones are probably here under names in another language, and do not count: "
        f"{first}{more}; name those that are right by their ids to count them"
    )


def _tastes(counted: pd.DataFrame) -> dict[str, int]:
    """Count the titles by what their scores say."""
    rated = counted["score"][counted["is_rated"]]
    n_liked, n_disliked = int((rated >= LIKED).sum()), int((rated <= DISLIKED).sum())
    return {
        "liked": n_liked,
        "neutral": len(rated) - n_liked - n_disliked,
        "disliked": n_disliked,
        "unrated": len(counted) - len(rated),
    }


def _matched(run: FinishedRun, rows: pd.DataFrame, format_name: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Find the titles of a list: (n,) rows, -1 for none; (n,) bool, found by name alone; sentences on what is doubtful.

    See match_user_list.
    """
    names = rows["name"]
    if format_name in ("pairs", "json-lines"):  # in a table anything may be the id
        names = names.mask((names == "") & ~rows["subject_id"].str.fullmatch(r"[\d.-]*"), rows["subject_id"])
    named, but_for_marks = _rows_by_name(run, names)
    found, has_id = _rows_by_site(run, rows, format_name)
    notes = []
    for column in ("subject_id", "other_id"):
        # where the run has the numbers of one site, it has other works under those of the other
        if column not in rows or (found >= 0).any():
            continue
        by_id = np.array([run.item_rows.get(raw, -1) for raw in rows[column]], int)
        both, n_by_id = (by_id >= 0) & (named >= 0), (by_id >= 0).sum()
        if (by_id == named)[both].mean() >= 0.5 if both.any() else n_by_id > (named >= 0).sum():
            unnamed = np.flatnonzero((found < 0) & (by_id >= 0) & (rows["name"] != "").to_numpy())
            if not both.any() and len(unnamed):
                notes.append(_strange(run, rows.iloc[unnamed[0]], column, by_id[unnamed[0]]))
            found, has_id = np.where(found < 0, by_id, found), has_id | (rows[column] != "").to_numpy()
    by_name = (found < 0) & (named >= 0) & ~has_id
    if len(near := np.flatnonzero((found < 0) & (but_for_marks >= 0) & ~has_id)):
        notes.append(_told_apart(run, rows["name"].iloc[near[0]], but_for_marks[near[0]], len(near)))
    return np.where(by_name, named, found), by_name, tuple(notes)


def _rows_by_site(run: FinishedRun, rows: pd.DataFrame, format_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Find the titles of a list by the ids of its site, as ids.tsv has them: (n,) title rows, -1 for none.

    Then (n,) bool: whose id is one of the data's own site, so that it alone decides.
    """
    found = np.full(len(rows), -1)
    site = next((site for start, site in SITES.items() if format_name.startswith(start)), "")
    for column, of in (("subject_id", site), ("other_id", "anilist")):
        if site and run.site_rows and column in rows:
            # "anilist:1" names its site
            keys = [tuple(raw.split(":", 1)) if ":" in raw else (of, raw) for raw in rows[column]]
            found = np.where(found < 0, [run.site_rows.get(key, -1) for key in keys], found)
    theirs = [run.dataset.raw_item_ids[row] == raw for (of, raw), row in run.site_rows.items() if of == site]
    if (found >= 0).any() and all(theirs):
        own = np.array([run.item_rows.get(raw, -1) for raw in rows["subject_id"]], int)
        return np.where(found < 0, own, found), (rows["subject_id"] != "").to_numpy()
    return found, np.zeros(len(rows), bool)


def _strange(run: FinishedRun, entry: pd.Series, column: str, item: int) -> str:
    return (
        f"titles are found by their ids, though no name agrees ({entry[column]} is {entry['name']!r} in the list and "
        f"{run.dataset.item_names[item]!r} here): if the list is of another site than the data, it is misread"
    )


def _told_apart(run: FinishedRun, name: str, item: int, n: int) -> str:
    here = f"{run.dataset.item_names[item]} ({run.dataset.raw_item_ids[item]})"
    return (
        f"{n:,} are taken for unknown, since the title here differs in the marks at the end of its name, as seasons do "
        f"(the first: {name!r}, here {here}); write its name as here to count one all the same"
    )


def _rows_by_name(run: FinishedRun, names: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Find the only title that has a name, or one of several as in anime.tsv: (n,) title rows, -1 for none or more.

    Then (n,) rows of those that would have it, were it not for the marks at the end, -1 for none.
    """
    rows, but_for_marks = [], []
    for name in names:
        kinds: dict[int, int] = {}
        near: list[int] = []
        for part in (name, *name.split(BETWEEN)):
            others = told_apart(run.names, part)
            near += sorted(others)
            for item, kind in exact(run.names, part).items():
                if item not in others:
                    kinds[item] = min(kind, kinds.get(item, kind))
        best = min(kinds.values(), default=SAME + 1)
        found = [item for item, kind in kinds.items() if kind == best <= SAME]
        rows.append(found[0] if len(found) == 1 else -1)
        but_for_marks.append(near[0] if near and not found else -1)
    return np.array(rows, int), np.array(but_for_marks, int)
