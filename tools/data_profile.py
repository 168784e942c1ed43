"""What a data set is like, in figures: how much of what, how it is distributed, in which scripts it is written."""

import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data_loader import Dataset
from dataset.readers import read_anime, read_interactions
from dataset.splits import PARTS
from dataset.tables import find_file
from dataset.times import SECONDS
from importers.scale import Scale

QUARTILES = ("least", "quarter", "median", "three quarters", "most")
MOST_RATES = 21  # up to so many different rates are counted one by one

# how the names that Unicode gives to the letters of a script begin
SCRIPTS = {
    "LATIN": "Latin",
    "CJK": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "HANGUL": "Hangul",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "THAI": "Thai",
}


class Tables(NamedTuple):
    """The files as the readers leave them; None what the text format of LightGCN does not have."""

    titles: pd.DataFrame | None  # see readers.read_anime
    rows: pd.DataFrame | None  # see readers.read_interactions
    read: dict[str, int]  # how many rows there were, and why some are not in rows


def read_tables(folder: Path) -> Tables:
    """Read anime.tsv and interactions.tsv where there is an interactions.tsv."""
    if not find_file(folder, "interactions.tsv"):
        return Tables(None, None, {})
    titles = read_anime(folder)
    return Tables(titles, *read_interactions(folder, titles["subject_id"]))


def profile(dataset: Dataset, tables: Tables, min_rate: float) -> dict[str, Any]:
    """Compute the figures of a data set; shares are from 0 to 1, lengths in characters.

    Returns:
        {"split", "counts", "rows per user", "rows per title"}, and of TSV files {"rates", "times", "comments",
        "texts"}; rows per title are those of titles that have any.
    """
    pairs = (
        dataset.seen.nonzero()
        if tables.rows is None
        else [  # of known.tsv, seen has more than rows
            pd.Index(ids).get_indexer(tables.rows[column])
            for ids, column in ((dataset.raw_user_ids, "user_id"), (dataset.raw_item_ids, "subject_id"))
        ]
    )
    per_user, per_title = (np.bincount(ids, minlength=n) for ids, n in zip(pairs, dataset.seen.shape, strict=True))
    found = {
        "split": dataset.facts["split"],
        "counts": counts(dataset, tables, per_title),
        "rows per user": quartiles(per_user),
        "rows per title": quartiles(per_title[per_title > 0]),
    }
    if tables.rows is not None:
        found |= {
            "rates": rates(tables.rows["rate"].to_numpy(), min_rate),
            "times": times(tables.rows),
            "comments": written(tables.rows["comment"]),
            "texts": texts(tables.titles),
        }
    return found


def counts(dataset: Dataset, tables: Tables, per_title: np.ndarray) -> dict[str, Any]:
    """Count users, titles, rows, pairs and positives, and what the split makes of them."""
    facts, (n_users, n_items) = dataset.facts, dataset.seen.shape
    positives = sum(np.diff(getattr(dataset, name).indptr) for name in PARTS)
    return {
        "users": n_users,
        "titles": n_items,
        "rows": tables.read["rows"] if tables.read else facts["rows"],
        "pairs": int(per_title.sum()),
        "known only": facts.get("known only", 0),
        "positives": facts["positives"],
        "density": per_title.sum() / (n_users * n_items),
        "titles without a row": int((per_title == 0).sum()),
        "users with fewer than 3 positives": int((positives < 3).sum()),
        "users in test": int((np.diff(dataset.test.indptr) > 0).sum()),
        **{name: facts[name] for name in PARTS},
    }


def quartiles(numbers: np.ndarray) -> dict[str, float]:
    """Return the least, the quartiles and the most of some numbers; empty without any."""
    if not len(numbers):
        return {}
    return dict(zip(QUARTILES, np.quantile(numbers, np.linspace(0, 1, 5)).tolist(), strict=True))


def rates(values: np.ndarray, min_rate: float) -> dict[str, Any]:
    """Return the share of unrated rows and of positives, the quartiles of the others, and how often each rate is there.

    More than MOST_RATES different ones are counted in ten equal steps. "advised" is the min_rate that suits them, None
    for the default.
    """
    rated, scale = values[values != 0], Scale()
    scale.add(*np.unique(values, return_counts=True))
    different, numbers = np.unique(rated, return_counts=True)
    names = [f"{rate:g}" for rate in different]
    if len(different) > MOST_RATES:
        numbers, edges = np.histogram(rated, bins=10)
        names = [f"{low:.3g} to {high:.3g}" for low, high in zip(edges, edges[1:], strict=False)]
    return {
        "unrated": float((values == 0).mean()),
        "positive": float((values >= min_rate).mean()),
        "advised": scale.min_rate,
        "quartiles": quartiles(rated),
        "counts": dict(zip(names, map(int, numbers), strict=True)),
    }


def times(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the share of rows with a time, and of these the range, how many differ, and the most frequent one.

    "distinct" is the share of the rows with a time whose user has no other row of the same time: the others have no
    order among themselves.
    """
    known = rows[rows["time"].notna()]
    if known.empty:
        return {"share": 0.0}
    day = date if known["time"].max() >= SECONDS[0] else str  # an order has no dates
    often = known["time"].value_counts()
    return {
        "share": len(known) / len(rows),
        "first": day(known["time"].min()),
        "last": day(known["time"].max()),
        "distinct": float((~known.duplicated(["user_id", "time"], keep=False)).mean()),
        "most frequent": {"time": day(often.index[0]), "share": float(often.iloc[0] / len(known))},
    }


def date(seconds: float) -> str:
    """Write seconds since 1970 as a date; as they are, where a calendar has none."""
    try:
        return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))
    except (ValueError, OverflowError):
        return f"{seconds:g} s"


def written(cells: pd.Series) -> dict[str, Any]:
    """Return the share of cells with text, the quartiles of their lengths, and their scripts."""
    filled = cells[cells != ""]
    return {
        "share": len(filled) / len(cells),
        "length": quartiles(filled.str.len().to_numpy()),
        "scripts": scripts("".join(filled)),
    }


def texts(titles: pd.DataFrame) -> dict[str, Any]:
    """Return what share of the titles has a name, tags and a summary, or nothing, and what they are like."""
    tags = titles["tags"].map(lambda cell: len(cell.split("\n")) if cell else 0)
    return {
        "name": float((titles["name"] != "").mean()),
        "tags": float((tags > 0).mean()),
        "summary": float((titles["summary"] != "").mean()),
        "nothing": float((titles["text"] == "").mean()),
        "tags of a title": quartiles(tags[tags > 0].to_numpy()),
        "summary length": written(titles["summary"])["length"],
        "scripts": scripts("".join(titles["text"])),
    }


def scripts(text: str) -> dict[str, float]:
    """Return the share of each script among the letters of a text, the largest first; "other" are all further ones."""
    found: Counter[str] = Counter()
    for letter, n in Counter(text).items():
        if letter.isalpha():
            name = re.sub("^(FULL|HALF)WIDTH ", "", unicodedata.name(letter, ""))
            found[SCRIPTS.get(re.split("[ -]", name)[0], "other")] += n
    return {name: n / found.total() for name, n in found.most_common()}
