"""Titles of a catalogue in one language that are described in another: a data folder, and those titles beside it."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.readers import ANIME_COLUMNS, title_text
from dataset.tables import existing_file, open_text
from dataset.tags import parse_tags
from studies.japanese_names import japanese_name
from text.scripts import script_of

ID = "subject_id"
OTHERS = "described.tsv"  # in the data folder: titles of it, as the other catalogue describes them
HOW = {"sep": "\t", "index": False, "quoting": csv.QUOTE_MINIMAL}


def read(path: Path) -> pd.DataFrame:
    """Read a TSV file with all of its columns as text."""
    with open_text(path) as file:
        return pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)


def sampled(
    data: Path, language: str, n_titles: int, n_others: int, out: Path, seed: int = 0, japanese: bool = False
) -> tuple[int, int, int]:
    """Write a data folder of drawn titles in one language of anime_zh.tsv, and OTHERS, as anime.tsv describes them.

    Args:
        data: a folder with anime.tsv, anime_zh.tsv (with a column language) and interactions.tsv.
        language: what that column says of the titles that are drawn.
        n_titles: how many are drawn; n_others: how many of them are in OTHERS.
        out: the new folder, with the pairs of these titles alone.
        seed: of the draw.
        japanese: OTHERS has Japanese names alone, see named_in_japanese; titles with one are drawn before the others.

    Returns:
        How many titles it has, how many of them are in OTHERS, and how many pairs.
    """
    titles, described = read(existing_file(data, "anime_zh.tsv")), read(existing_file(data, "anime.tsv"))
    titles, described = titles[(titles["language"] == language) & (titles["summary"] != "")], described.set_index(ID)
    if japanese:
        titles, described = named_in_japanese(titles, described["name"])
    else:
        described = described[described["summary"] != ""]
    drawn = np.random.default_rng(seed).permutation(len(titles))
    if japanese:
        drawn = drawn[np.argsort(~titles[ID].isin(described.index).to_numpy()[drawn], kind="stable")]
    titles = titles.iloc[np.sort(drawn[:n_titles])]
    others = titles[ID].iloc[np.random.default_rng(seed).permutation(len(titles))]
    described = described.loc[others[others.isin(described.index)][:n_others]].reset_index()
    pairs = read(existing_file(data, "interactions.tsv"))
    pairs = pairs[pairs[ID].isin(titles[ID])]
    out.mkdir(parents=True, exist_ok=True)
    titles[[*ANIME_COLUMNS]].to_csv(out / "anime.tsv", **HOW)
    pairs.to_csv(out / "interactions.tsv", **HOW)
    described[[*ANIME_COLUMNS]].to_csv(out / OTHERS, **HOW)
    return len(titles), len(described), len(pairs)


def named_in_japanese(titles: pd.DataFrame, latin: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the Japanese from titles, and return what is left of them, and the Japanese names that were among the tags.

    Args:
        titles: with ANIME_COLUMNS; tags may be in Japanese, names of the title among them.
        latin: subject_id -> the Japanese name in Latin letters, by which its tag is known.

    Returns:
        The titles whose text is in the script of most, without tags in kana; and a table like theirs, of names alone,
        by subject_id, of titles that have a tag of their own for one that is not in what is left of their text.
    """
    tags = titles["tags_name"].map(parse_tags)
    left = tags.map(lambda mine: [tag for tag in mine if script_of(tag) != "KANA"])
    texts = [title_text(*one) for one in zip(titles["name"], left, titles["summary"], strict=True)]
    scripts = [*map(script_of, texts)]
    [(most, _)] = Counter(scripts).most_common(1)
    counts = Counter(tag for mine in tags for tag in mine)
    names = {
        raw: japanese_name([tag for tag in mine if counts[tag] == 1 and tag not in text], latin.get(raw, ""))
        for raw, mine, text, script in zip(titles[ID], tags, texts, scripts, strict=True)
        if script == most
    }
    titles = titles.assign(tags_name=left.map(lambda mine: json.dumps(mine, ensure_ascii=False)))
    named = pd.DataFrame({"name": {raw: name for raw, name in names.items() if name}}, dtype=str)
    return titles[titles[ID].isin(names)], named.rename_axis(ID).assign(tags_name="", summary="")
