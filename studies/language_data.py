"""Titles of a catalogue in one language that are described in another: a data folder, and those titles beside it."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.readers import ANIME_COLUMNS
from dataset.tables import existing_file, open_text

OTHERS = "described.tsv"  # in the data folder: titles of it, as the other catalogue describes them
HOW = {"sep": "\t", "index": False, "quoting": csv.QUOTE_MINIMAL}


def read(path: Path) -> pd.DataFrame:
    """Read a TSV file with all of its columns as text."""
    with open_text(path) as file:
        return pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)


def sampled(data: Path, language: str, n_titles: int, n_others: int, out: Path, seed: int = 0) -> tuple[int, int]:
    """Write a data folder of drawn titles in one language of anime_zh.tsv, and OTHERS, as anime.tsv describes them.

    Args:
        data: a folder with anime.tsv, anime_zh.tsv (with a column language) and interactions.tsv.
        language: what that column says of the titles that are drawn.
        n_titles: how many are drawn; n_others: how many of them are in OTHERS.
        out: the new folder, with the pairs of these titles alone.
        seed: of the draw.

    Returns:
        How many titles it has, and how many pairs.
    """
    titles, described = read(existing_file(data, "anime_zh.tsv")), read(existing_file(data, "anime.tsv"))
    titles = titles[(titles["language"] == language) & (titles["summary"] != "")]
    drawn = np.random.default_rng(seed).permutation(len(titles))[:n_titles]
    titles = titles.iloc[np.sort(drawn)]
    others = titles["subject_id"].iloc[np.random.default_rng(seed).permutation(len(titles))]
    described = described.set_index("subject_id").reindex(others).reset_index()
    described = described[described["summary"].fillna("") != ""].head(n_others)
    pairs = read(existing_file(data, "interactions.tsv"))
    pairs = pairs[pairs["subject_id"].isin(titles["subject_id"])]
    out.mkdir(parents=True, exist_ok=True)
    titles[[*ANIME_COLUMNS]].to_csv(out / "anime.tsv", **HOW)
    pairs.to_csv(out / "interactions.tsv", **HOW)
    described[[*ANIME_COLUMNS]].to_csv(out / OTHERS, **HOW)
    return len(titles), len(pairs)
