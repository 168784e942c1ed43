"""Measure how well titles are placed that are described in a language which the catalogue lacks.

    python studies/languages.py sample DATA --out FOLDER [--titles N]
                                [--language zh] [--japanese]
    python studies/languages.py RUN [RUN ...] --model_name NAME [--names]
                                [--encoder_url ADDRESS]

The first draws N titles in one language of DATA/anime_zh.tsv, whose column language says which, and writes a data
folder of them; described.tsv in it has 200 of them as anime.tsv describes them. With --japanese it has up to 200
Japanese names alone, which stand among the tags of anime_zh.tsv: known by the name in anime.tsv, which is the same in
Latin letters, and taken out of the folder with all tags in kana; titles whose text is Japanese are left out.

RUN is the saved_dir of a finished run of main.py on such a folder, and NAME its encoder. Each title of described.tsv is
placed as recommend.py --new_item would (with --names, by its name alone), and the title it is is looked for: by the
cosine of the encoder's whitened vectors, as they are and without what the language adds to them; of all blocks; of the
final vectors, with all blocks; and as --new_item makes them, without what the language adds and without the blocks that
see nothing of it, near the titles most like it.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from dataset.tags import parse_tags
from evaluation.significance import spread
from evaluation.tables import markdown, mean_and_sd
from inference.cold_items import (
    Title,
    encoders_of,
    in_another_language,
    place_by_text,
    place_near,
    read_by_blocks,
    sources_of_title,
)
from inference.finished_run import FinishedRun
from llm_embedding import fused_titles
from runtime.cli import Flags, run_script, whole_number
from studies.common import finished_run
from studies.language_data import OTHERS, read, sampled
from text.encoders import Encode

log = logging.getLogger("aglrec")

K, N_OTHERS = 10, 200
COLUMNS = ("median rank", f"recall@{K}")

Rows = dict[str, dict[str, float]]


def measure(run: FinishedRun, names_alone: bool = False) -> Rows:
    """Rank, for each title of OTHERS, perhaps by its name alone, the one of the run that it is.

    Returns:
        space -> {"median rank": 1 for the first; "recall@10"}.
    """
    table = read(Path(run.config["data_dir"]) / OTHERS)
    rows = np.array([run.item_rows[raw] for raw in table["subject_id"]])
    if names_alone:
        table = table.assign(tags_name="", summary="")
    titles = [Title(one.name, parse_tags(one.tags_name), one.summary) for one in table.itertuples(index=False)]
    encoders = encoders_of(run)
    rows_read, sees = zip(*(read_by_blocks(run, encoders, one) for one in titles), strict=True)
    sees = np.stack(sees)
    seen = fused_titles(np.concatenate(rows_read), run.text_vectors, run.config) * sees
    every = fused_titles(np.concatenate([by_all(encoders, one) for one in titles]), run.text_vectors, run.config)
    known = run.text[run.dataset.n_users :]
    strange = np.array([in_another_language(run, one) for one in titles])
    dim, first = run.layout.dim, run.text_vectors.blocks["encoder"]
    final = run.item_emb[:, :dim].numpy()
    all_columns = np.ones(known.shape[1], bool)
    placed = np.zeros((len(titles), dim), np.float32)
    for pattern in np.unique(sees, axis=0):
        mine = (sees == pattern).all(axis=1)
        placed[mine] = place_by_text(run, seen[mine], pattern)[:, :dim]
    near = place_near(run, np.concatenate(rows_read))[:, :dim]
    return {
        "encoder": figures(every[:, :first], known[:, :first], rows),
        "encoder, without the language": figures(seen[:, :first], known[:, :first], rows),
        "all blocks": figures(every, known, rows),
        "blocks that see it, without the language": figures(seen, known, rows),
        "final vectors, all blocks": figures(place_by_text(run, every, all_columns)[:, :dim], final, rows),
        "final vectors, blocks that see it": figures(placed, final, rows),
        "final vectors, as --new_item": figures(np.where(strange[:, None], near, placed), final, rows),
        **{
            f"the same, {name}": figures(near[half::2], final, rows[half::2])
            for half, name in enumerate(("first half", "other half"))
        },
    }


def by_all(encoders: dict[str, Encode], title: Title) -> np.ndarray:
    """Read a title by all blocks, whatever they see of it: (1, L)."""
    sources = sources_of_title(title)
    return np.concatenate([encode([sources[block]]) for block, encode in encoders.items()], axis=1)


def figures(vectors: np.ndarray, titles: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Rank the titles (n_items, L) by cosine for vectors (n, L), and say where those of rows (n,) are."""
    scores = _unit(vectors) @ _unit(titles).T
    mine = scores[np.arange(len(rows)), rows][:, None]
    ranks = 1 + (scores > mine).sum(axis=1) + ((scores == mine).sum(axis=1) - 1) / 2
    return {"median rank": float(np.median(ranks)), f"recall@{K}": float((ranks <= K).mean())}


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def main() -> None:
    """Run the command line."""
    asked, settings = parse()
    if asked.runs[0] == "sample":
        n, n_others, n_pairs = sampled(
            Path(asked.runs[1]), asked.language, asked.titles, N_OTHERS, Path(asked.out), japanese=asked.japanese
        )
        log.info(f"{asked.out}: {n:,} titles, {n_others:,} of them described anew, {n_pairs:,} pairs")
        return
    runs = [measure(finished_run(Path(folder), **settings), asked.names) for folder in asked.runs]
    lines = [[name, *(mean_and_sd(row[column], len(runs)) for column in COLUMNS)] for name, row in spread(runs).items()]
    log.info(markdown([["compared by", *COLUMNS], *lines]))


def parse(argv: list[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Read the command line: flags of its own, and settings."""
    flags = Flags(__doc__)
    flags.add_argument("runs", nargs="+", metavar="RUN", help="the saved_dir of a run; or sample and a data folder")
    flags.add_argument("--out", metavar="FOLDER", help="with sample, the new data folder")
    flags.add_argument("--titles", type=whole_number(1), default=1200, metavar="N", help="with sample, how many titles")
    flags.add_argument("--language", default="zh", metavar="L", help="with sample, of the titles")
    flags.add_argument("--japanese", action="store_true", help="with sample, describe titles by Japanese names alone")
    flags.add_argument("--names", action="store_true", help="with a RUN, place titles by their names alone")
    asked, settings = flags.read(argv)
    if (asked.runs[0] == "sample") != bool(asked.out) or asked.out and len(asked.runs) != 2:
        raise ValueError("sample takes a data folder and --out; a RUN takes neither")
    return asked, settings


if __name__ == "__main__":
    sys.exit(run_script(main))
