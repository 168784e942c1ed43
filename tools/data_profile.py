"""What a data set is like, in figures: how much of what, how it is spread, in which scripts it is written."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data_loader import Dataset
from dataset.readers import find_file, parse_tags, read_anime, read_interactions

QUARTILES = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "most": 1.0}
MOST_RATES = 21  # as many different rates are counted one by one

# the blocks of Unicode whose letters make up a script: first and last code point
SCRIPTS = {
    "Latin": (
        (0x41, 0x5A),
        (0x61, 0x7A),
        (0xC0, 0xD6),
        (0xD8, 0xF6),
        (0xF8, 0x24F),
        (0x1E00, 0x1EFF),
        (0xFF21, 0xFF3A),
        (0xFF41, 0xFF5A),
    ),
    "Han": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
    "Kana": (
        (0x3041, 0x3096),
        (0x309D, 0x309F),
        (0x30A1, 0x30FA),
        (0x30FC, 0x30FF),
        (0x31F0, 0x31FF),
        (0xFF66, 0xFF9F),
    ),
    "Hangul": ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7A3)),
    "Cyrillic": ((0x400, 0x481), (0x48A, 0x52F)),
    "Greek": ((0x370, 0x373), (0x376, 0x377), (0x37B, 0x37D), (0x386, 0x386), (0x388, 0x3FF)),
    "Arabic": ((0x620, 0x64A), (0x66E, 0x6D3)),
    "Thai": ((0xE01, 0xE30), (0xE40, 0xE45)),
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
        {"counts", "rows per user", "rows per title"}, and of TSV files {"rates", "times", "comments", "texts"}; rows
        per title are those of titles that have any.
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
    positives = sum(
        part for part in (getattr(dataset, name) for name in ("train", "valid", "test", "cold_valid", "cold_test"))
    )
    few = np.bincount(positives.nonzero()[0], minlength=n_users)
    return {
        "users": n_users,
        "titles": n_items,
        "rows": tables.read["rows"] if tables.read else facts["rows"],
        "pairs": int(per_title.sum()),
        "known only": facts.get("known only", 0),
        "positives": facts["positives"],
        "density": per_title.sum() / (n_users * n_items),
        "titles without a row": int((per_title == 0).sum()),
        "users with fewer than 3 positives": int((few < 3).sum()),
        "users in test": int((np.diff(dataset.test.indptr) > 0).sum()),
        **{name: facts[name] for name in ("train", "valid", "test", "cold_valid", "cold_test")},
    }


def quartiles(numbers: np.ndarray) -> dict[str, float]:
    """Return the least, the quartiles and the most of some numbers; empty without any."""
    if not len(numbers):
        return {}
    return {
        name: float(value)
        for name, value in zip(QUARTILES, np.quantile(numbers, list(QUARTILES.values())), strict=True)
    }


def rates(values: np.ndarray, min_rate: float) -> dict[str, Any]:
    """Return the share of unrated rows and of positives, the quartiles of the others, and how often each rate is there.

    More than MOST_RATES different ones are counted in ten equal steps.
    """
    rated = values[values > 0]
    different, numbers = np.unique(rated, return_counts=True)
    names = [f"{rate:g}" for rate in different]
    if len(different) > MOST_RATES:
        numbers, edges = np.histogram(rated, bins=10)
        names = [f"{low:.3g} to {high:.3g}" for low, high in zip(edges, edges[1:], strict=False)]
    return {
        "unrated": float((values == 0).mean()),
        "positive": float((values >= min_rate).mean()),
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
    often = known["time"].value_counts()
    return {
        "share": len(known) / len(rows),
        "first": day(known["time"].min()),
        "last": day(known["time"].max()),
        "distinct": float((~known.duplicated(["user_id", "time"], keep=False)).mean()),
        "most frequent": {"time": day(often.index[0]), "share": float(often.iloc[0] / len(known))},
    }


def day(seconds: float) -> str:
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
    tags = titles["tags_name"].map(lambda cell: len(parse_tags(cell)))
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
    points, numbers = np.unique(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4"), return_counts=True)
    found, left = {}, np.array([chr(point).isalpha() for point in points], bool)
    for name, blocks in SCRIPTS.items():
        mine = np.any([(first <= points) & (points <= last) for first, last in blocks], axis=0)
        found[name] = int(numbers[mine].sum())
        left &= ~mine
    found["other"] = int(numbers[left].sum())
    total = sum(found.values())
    return {name: n / total for name, n in sorted(found.items(), key=lambda item: -item[1]) if n}
