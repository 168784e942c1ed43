"""Sentences that ask for a title, taken out of its summary: a data folder without them, and the sentences beside it."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.readers import ANIME_COLUMNS
from dataset.tables import existing_file, open_text

ENDS = re.compile(r"(?<=[.!?…])[\"”’)]*\s+|(?<=[。！？])[”」』）]*|\n+")  # of sentences
WISHES = "wishes.tsv"  # subject_id and the sentence, in the data folder without it
LEAST, MOST = 30, 300  # characters of a sentence that can be a wish
STAY = 2  # sentences of a summary that have to be left


def without_sentences(data: Path, out: Path, seed: int = 0) -> int:
    """Copy a data folder, in which each title's summary lacks a drawn sentence; WISHES has those.

    A sentence that holds the title's name is not drawn, and none is from a summary with fewer than STAY others.

    Returns:
        How many titles have lost one.
    """
    with open_text(existing_file(data, "anime.tsv")) as file:
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    rng, wishes, left = np.random.default_rng(seed), [], []
    for raw, name, summary in table[[ANIME_COLUMNS[0], ANIME_COLUMNS[1], ANIME_COLUMNS[3]]].itertuples(index=False):
        parts = [part.strip() for part in ENDS.split(summary) if part and part.strip()]
        can = [
            place
            for place, part in enumerate(parts)
            if LEAST <= len(part) <= MOST and not any(one.lower() in part.lower() for one in name.split(" / "))
        ]
        if len(parts) > STAY and can:
            wishes.append((raw, parts.pop(can[rng.integers(len(can))])))
            summary = " ".join(parts)
        left.append(summary)
    out.mkdir(parents=True, exist_ok=True)
    for path in data.iterdir():
        if path.is_file() and not path.name.startswith("anime"):
            shutil.copyfile(path, out / path.name)
    how = {"sep": "\t", "index": False, "quoting": csv.QUOTE_MINIMAL}
    table.assign(summary=left).to_csv(out / "anime.tsv", **how)
    pd.DataFrame(wishes, columns=["subject_id", "sentence"]).to_csv(out / WISHES, **how)
    return len(wishes)
