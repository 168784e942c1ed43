"""Lists and titles of any importer -> the files of a data folder, in one pass over files of any length.

What is kept in memory grows with the number of users and titles, 16 bytes each, and never with the number of rows:
ids are known by a hash of 64 bits, and everything else waits in DIR/converting.tmp until all of it is there. Then the
files take their places, interactions.tsv last, an old one of which goes first: a folder that has it is whole.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataset.readers import KNOWN_COLUMNS
from dataset.tables import PACKED, find_file
from dataset.times import Unknown
from importers.about_titles import refuse_two_sites, write_relations, write_site_ids
from importers.common import ENTRY_COLUMNS, Options, Source, count, unmarked
from importers.kinds import OTHER, refusal
from importers.lists import lists_of
from importers.nameless import clean_id, found_by_name
from importers.owners import Owners, told_apart
from importers.rows import all_or_none_in_parts, write_rows
from importers.scale import without
from importers.spill import batches, cleaned, create, read, sieve, work_folder
from importers.tally import among, keys_of
from importers.titles import SPILLED_COLUMNS, bare_titles, finish_titles, left_titles, spill_titles
from importers.users import Dropped, Rules, Users
from runtime.files import named_write_errors

FILES = ANIME, USERS, KNOWN, RELATIONS, IDS, ROWS = (
    "anime.tsv",
    "user.tsv",
    "known.tsv",
    "relations.tsv",
    "ids.tsv",
    "interactions.tsv",
)
WORK = "converting.tmp"
USER_COLUMNS = ("user_id", "username")


class Result(NamedTuple):
    """What was written, and what was not."""

    users: int
    titles: int
    described: bool  # whether any source said more of a title than its id
    rows: int
    unrated: int
    known: int  # pairs of other statuses
    dropped_rows: Dropped
    dropped_titles: Dropped
    parts: dict[str, int] = {}  # rows of each part of a published split; "" is in none
    nameless: tuple[int, int] = (0, 0)  # titles without a number: found by their names, and not
    shared: dict[str, tuple[Path, ...]] = {}  # users whose list is in several files, of which each is a whole list
    told: tuple[str, ...] = ()  # sentences of what is not as it seems: unknown times, the scale of rates
    min_rate: float | None = None  # from where on a rate is a positive, where that is not the default
    relations: int = 0  # rows of relations.tsv


def convert(sources: list[Source], folder: Path, options: Options, rules: Rules) -> Result:
    """Write the files of a data folder, all or none; known.tsv, relations.tsv and ids.tsv only if they have a row.

    Titles come from files of titles first, then from lists that name theirs. Of a title described more than once the
    first tags, summary, year and type stay, and its names are joined. Where no file describes titles, an id is its
    name.

    Args:
        sources: as from recognise().
        folder: made if missing; files of these names in it are replaced.
        options: what the sources cannot say of themselves.
        rules: what is kept. A title wished for or dropped is no positive, and goes to known.tsv. Where the lists have a
            split as published, interactions.tsv gets a column part.

    Raises:
        OSError: the disk is full, the folder cannot be written to, or another process converts into it; it is as it
            was.
        ValueError: a source is damaged, none has lists, some lists have a split and others none, catalogues go by the
            ids of different sites, or nothing is left.
    """
    if not any(files.lists for _, files in sources):
        raise ValueError(
            "none of the sources has lists, only titles; name a file of lists as well, or, if a column of theirs is "
            "that of users, say so with --columns user_id=NAME"
        )
    refuse_two_sites(sources, options)
    with named_write_errors(folder), work_folder(folder / WORK) as work:
        result = _convert(sources, work, with_owners(options, sources), rules)
        _put_in_place(work, folder)
        return result


def with_owners(options: Options, sources: list[Source]) -> Options:
    """Return options by which files of the same name in several folders are the lists of several people."""
    return options._replace(owners=told_apart(file for _, files in sources for file in files.lists))


def is_unfinished(folder: Path) -> bool:
    """Tell whether what a folder has of FILES is what a conversion was killed over, while it put them in place."""
    return (folder / WORK).exists() and not find_file(folder, ROWS)


def _put_in_place(work: Path, folder: Path) -> None:
    """Replace the files of a folder; one that stood there before, and is not among the new ones, goes."""
    for name in FILES:
        if (work / name).exists():
            with (work / name).open("rb") as file:
                os.fsync(file.fileno())
    for name in reversed(FILES):
        for ending in PACKED:
            (folder / f"{name}{ending}").unlink(missing_ok=True)
    (folder / ROWS).unlink(missing_ok=True)
    for name in FILES:
        if (work / name).exists():
            (work / name).replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _convert(sources: list[Source], work: Path, options: Options, rules: Rules) -> Result:
    dropped_rows: Dropped = {}
    unknown = Unknown()
    dropped_titles: Dropped = {}
    titles, adult, n_nameless, columns = spill_titles(sources, work / ANIME, options, rules, dropped_titles)
    numbers = found_by_name(work / ANIME, SPILLED_COLUMNS, titles) if n_nameless else {}
    hidden = np.empty(0, np.uint64) if rules.adult else adult
    owners = Owners()
    entries = batches(
        all_or_none_in_parts(
            owners.meet(file, chunk) if made.lacking is None else chunk
            for made, files in sources
            for file, chunk in lists_of(made, files.lists, options, dropped_rows, unknown)
        ),
        ENTRY_COLUMNS,
    )
    with create(work / USERS, USER_COLUMNS) as names, create(work / KNOWN, KNOWN_COLUMNS) as known:
        users = Users(names, known, rules)
        rows = write_rows(
            (users.meet(_clean(chunk, numbers, titles.keys, hidden, rules, dropped_rows)) for chunk in entries),
            work / ROWS,
        )
    kept = users.chosen(dropped_rows)
    if len(kept) < len(users.tally.keys):
        sieve(work / USERS, USER_COLUMNS, lambda table: among(keys_of(table["user_id"], rules.seed), kept))
        before = work / f"{ROWS}.all"
        (work / ROWS).replace(before)
        rows = write_rows(
            (table[among(keys_of(table["user_id"], rules.seed), kept)] for table in read(before)), work / ROWS
        )
        before.unlink()
    if not rows.total and dropped_rows == {OTHER: dropped_rows.get(OTHER)} and not users.excluded:
        raise ValueError(refusal(next(file for _, files in sources for file in files.lists), dropped_rows[OTHER]))
    if not rows.total:
        why_none = "".join(f"; {n:,} {why}" for why, n in {**users.excluded, **dropped_rows}.items())
        raise ValueError(
            f"no row is left{why_none}; name other statuses, fewer --min_rows, or the file of titles that "
            "goes with these lists"
        )
    n_unrated = 0 if rows.scale.unrated is None else without(rows.scale.unrated, work / ROWS)
    if len(titles.keys):
        left = left_titles(titles, hidden, rows.titles.keys, rules, dropped_titles)
        finish_titles(work / ANIME, titles, left, columns)
    else:
        left = rows.titles.keys
        bare_titles(work / ROWS, work / ANIME)
    n_relations = write_relations(sources, work / RELATIONS, left, options)
    write_site_ids(sources, work / IDS, left, options)
    n_known = _finish_known(work / KNOWN, kept, left, rules.seed)
    if not n_known:
        (work / KNOWN).unlink()
    count(
        dropped_rows, "of other statuses, of users or titles that are left out", sum(users.excluded.values()) - n_known
    )
    nameless = (len(numbers), n_nameless - len(numbers))
    counts = (len(kept), len(left), len(titles.keys) > 0, rows.total, rows.unrated + n_unrated, n_known)
    told = (*unknown.sentences(), *rows.scale.sentences(n_unrated))
    shared = owners.shared()
    more = (rows.parts, nameless, shared, told, rows.scale.min_rate, n_relations)
    return Result(*counts, dropped_rows, dropped_titles, *more)


# --- rows ---


def _clean(
    chunk: pd.DataFrame, numbers: dict[str, str], known: np.ndarray, hidden: np.ndarray, rules: Rules, dropped: Dropped
) -> pd.DataFrame:
    """Return the rows of titles that stay, their ids and comments clean.

    Args:
        chunk: of ENTRY_COLUMNS.
        numbers: ids that are made of names -> those of the same titles.
        known, hidden: ascending keys of titles.
        rules: what stays of spoilers.
        dropped: where rows are counted that do not stay.
    """
    ids = cleaned(chunk["subject_id"], clean_id)
    if numbers:
        ids = np.array([numbers.get(id_, id_) for id_ in ids], dtype=object)
    comment = unmarked(chunk["comment"], rules.drop_spoilers)
    table = chunk.assign(user_id=cleaned(chunk["user_id"]), subject_id=ids, comment=comment)
    nameless = (table["user_id"] == "") | (table["subject_id"] == "")
    count(dropped, "without the id of a user or title", nameless.sum())
    table = table[~nameless]
    titles = keys_of(table["subject_id"])
    is_hidden = among(titles, hidden)
    undescribed = ~among(titles, known) if len(known) else np.zeros(len(table), bool)
    count(dropped, "of adult titles", is_hidden.sum())
    count(dropped, "of titles that no file describes", undescribed.sum())
    return table[~is_hidden & ~undescribed]


def _finish_known(path: Path, users: np.ndarray, titles: np.ndarray, seed: int) -> int:
    """Leave out what is of users or titles that do not stay, given by ascending keys; return how many rows stay."""
    stay = []

    def of_both(table: pd.DataFrame) -> np.ndarray:
        wanted = among(keys_of(table["user_id"], seed), users) & among(keys_of(table["subject_id"]), titles)
        stay.append(int(wanted.sum()))
        return wanted

    sieve(path, KNOWN_COLUMNS, of_both)
    return sum(stay)
