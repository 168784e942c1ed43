"""Measure lists asked for in words: by taste alone, by the words alone, and by both.

    python studies/wishes.py cut DATA --out FOLDER
    python studies/wishes.py RUN [--encoders lsa,NAME,...] [--wishes N]

The first copies a data folder; from each summary one sentence is taken out, and written to wishes.tsv. RUN is the
saved_dir of a finished run of main.py, on such a folder or on data with comments. A wish is the sentence that was taken
out of a held-out title of a user (sentences ask for half of the titles on valid, for the others on test), or what a
user wrote about a held-out title that they liked; the title is to be found among those that they have not collected.
N pairs of valid decide what ways of comparing, and the words beside the taste, count; N of test are reported. Taste is
that of RUN; the words are read by each of the encoders in turn, whose vectors of the titles are kept in RUN/wishes/.
Beside it: by the weights that recommend.py has for every run; by lsa's vectors alone; and what becomes of a list when
the wish ends in "no TAG", a tag drawn from those that the title lacks.
"""

import argparse
import dataclasses
import logging
import shutil
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

from data_loader import Dataset
from dataset.dataset import no_comments
from dataset.ratings import LIKED
from dataset.readers import read_interactions
from dataset.recency import users_of
from evaluation.tables import markdown
from inference.finished_run import FinishedRun
from inference.wish_reader import AWAY, WEIGHTS, Reader, Space, in_spreads, make_reader
from inference.wishes import WEIGHT
from llm_embedding import text_vectors
from runtime.cli import Flags, run_script, whole_number
from studies.common import finished_run
from studies.wish_data import WISHES, without_sentences
from text.encoders import lsa_encoder, open_encoder
from text.store import FOLDER
from training.grid_search import Point, coordinate_search
from training.model_factory import build_model, restore
from training.placing import place_users

log = logging.getLogger("aglrec")

K, LEAST = 20, 40  # LEAST characters of a comment that is a wish
COUNTS = (0.0, 0.5, 1.0, 2.0)  # what a way of comparing counts beside the others
SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)  # of the words beside the taste


COMMON = (0.05, 0.5)  # share of titles with a tag, between which it is drawn

Ways = dict[str, np.ndarray]  # way of comparing -> (n, n_items) in spreads


class Asked(NamedTuple):
    """Wishes of a part."""

    users: np.ndarray  # (n,) rows
    items: np.ndarray  # (n,) rows of the titles that are to be found
    texts: list[str]
    taste: np.ndarray  # (n, n_items) in spreads
    hidden: np.ndarray  # (n, n_items) bool, what cannot be listed


def wishes_of(run: FinishedRun, part: str, most: int) -> Asked:
    """Draw up to so many wishes of the held-out pairs of "valid" or "test", by seed 0."""
    dataset = run.dataset
    pairs = dataset.warm_pairs(part)
    users, items = users_of(pairs), pairs.indices
    path = Path(run.config["data_dir"]) / WISHES
    if path.exists():
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        said = {run.item_rows[raw]: text for raw, text in table.itertuples(index=False)}
        is_of = [zlib.crc32(raw.encode()) % 2 == (part == "test") for raw in dataset.raw_item_ids]
        texts = [said.get(item, "") if is_of[item] else "" for item in items.tolist()]
    else:
        table, _ = read_interactions(Path(run.config["data_dir"]), pd.Series(dataset.raw_item_ids))
        rows = zip(table["user_id"].map(run.user_rows), table["subject_id"].map(run.item_rows), strict=True)
        said = dict(zip(rows, table["comment"], strict=True))
        liked = dataset.scores_of(pairs) >= LIKED
        each = zip(users.tolist(), items.tolist(), liked, strict=True)
        texts = [said.get((user, item), "") if is_liked else "" for user, item, is_liked in each]
        texts = [text if len(text) >= LEAST else "" for text in texts]
    can = np.flatnonzero([text != "" for text in texts])
    if not len(can):
        raise ValueError(f"no pair of {part} of {run.config['saved_dir']} has a wish; see studies/wishes.py --help")
    drawn = np.random.default_rng(0).permutation(can)[:most]
    users, items = users[drawn], items[drawn]
    hidden = dataset.masked_for(part)[users].toarray() > 0
    hidden[:, np.setdiff1d(np.arange(dataset.n_items), dataset.warm_items)] = True
    taste = in_spreads((_users_before(run, part)[users] @ run.item_emb.numpy().T).astype(np.float32))
    return Asked(users, items, [texts[row] for row in drawn], taste, hidden)


def _users_before(run: FinishedRun, part: str) -> np.ndarray:
    """Return the vectors (n_users, width) that users have before a part is asked for."""
    import torch

    model = build_model(run.dataset, run.text_vectors, run.config, torch.device("cpu"))
    restore(model, run.checkpoint["state_dict"], run.dataset)
    place_users(model, run.dataset, part)
    return model.embeddings()[0].detach().numpy()


def reader_by(run: FinishedRun, name: str) -> Reader:
    """Open what reads words for the titles of a run, whatever the run was trained with.

    Args:
        run: as from finished_run.
        name: "lsa" for its vectors alone, "words" for what every run has, or of an encoder, as --model_name.
    """
    nothing = no_comments()
    dataset: Dataset = dataclasses.replace(run.dataset, user_comments=nothing)
    if name == "lsa":
        lsa = lsa_encoder(dataset.item_texts, run.config["lsa_dim"])
        return Reader([Space("meaning", lsa(dataset.item_texts), lsa)])
    if name == "words":
        return make_reader(run.dataset)
    saved = Path(run.config["saved_dir"])
    folder, known = saved / "wishes", Path(run.config["vectors_dir"] or saved) / FOLDER
    if known.exists() and not folder.exists():  # what the run has encoded
        shutil.copytree(known, folder / FOLDER)
    config = {**run.config, "model_name": name, "model_revision": "", "text_blocks": "", "vectors_dir": str(folder)}
    config |= {"fusion_mode": "sum", "use_item_llm": True, "use_user_llm": False, "encoder_fallback": "none"}
    vectors = text_vectors(dataset, config, run.device).items
    return make_reader(run.dataset, open_encoder(config, run.device, dataset.item_texts)[1], vectors)


def ahead_of(scores: np.ndarray, asked: Asked) -> np.ndarray:
    """Count the titles ahead of the one that each wish asks for (n,), those alike in score by half."""
    scores = np.where(asked.hidden, -np.inf, scores)
    mine = scores[np.arange(len(scores)), asked.items][:, None]
    return (scores > mine).sum(axis=1) + ((scores == mine).sum(axis=1) - 1) / 2


def recall(scores: np.ndarray, asked: Asked) -> float:
    """Return the share of wishes whose title is among the K best."""
    return float((ahead_of(scores, asked) < K).mean())


def said(ways: Ways, counts: dict[str, float]) -> np.ndarray:
    """Return what words say of each title (n, n_items), in spreads, where ways of comparing count so."""
    return in_spreads(sum(count * ways[name] for name, count in counts.items()))


def measure(reader: Reader, valid: Asked, test: Asked) -> dict[str, dict[str, float]]:
    """Choose on valid what the ways of comparing count, then what words count beside taste; report on test.

    Returns:
        "chosen on valid" and "as for every run" -> {"by taste", "by words", "by both": recall on test; "share": of the
        words; and what each way of comparing counts}.
    """
    of_valid, of_test = ({one.name: one.scores(asked.texts) for one in reader.spaces} for asked in (valid, test))
    first = {name: float(name == reader.by) for name in of_valid}

    def figure(point: Point) -> float:
        return recall(said(of_valid, point), valid) if any(point.values()) else 0.0

    chosen, *_ = coordinate_search(dict.fromkeys(of_valid, COUNTS), first, figure)
    by_words = said(of_valid, chosen)
    best = max(SHARES, key=lambda share: recall(share * by_words + (1 - share) * valid.taste, valid))

    def row(counts: dict[str, float], share: float) -> dict[str, float]:
        words = said(of_test, counts)
        found = {"by taste": test.taste, "by words": words, "by both": share * words + (1 - share) * test.taste}
        return {**{name: recall(scores, test) for name, scores in found.items()}, "share": share, **counts}

    always = {name: WEIGHTS[name] for name in of_test}
    return {"chosen on valid": row(chosen, best), "as for every run": row(always, WEIGHT)}


def pushed(run: FinishedRun, reader: Reader, test: Asked) -> str:
    """Say what becomes of lists by words alone if wishes end in "no TAG", drawn of those that their titles lack."""
    shares = {tag: len(rows) / run.dataset.n_items for tag, rows in run.tags.items()}
    tags = sorted(tag for tag, share in shares.items() if COMMON[0] <= share <= COMMON[1])
    rng, every = np.random.default_rng(0), np.arange(run.dataset.n_items)
    has = np.stack([np.isin(every, run.tags[tag]) for tag in tags])
    drawn = np.array([rng.choice(np.flatnonzero(~has[:, item])) for item in test.items])
    plain = sum(WEIGHTS[one.name] * one.scores(test.texts) for one in reader.spaces)
    away = sum(WEIGHTS[one.name] * np.maximum(one.scores(tags), 0) for one in reader.spaces)[drawn]
    figures = []
    for scores in (plain, plain - AWAY * away):
        best = np.argsort(-np.where(test.hidden, -np.inf, scores), axis=1)[:, :K]
        listed = np.take_along_axis(has[drawn], best, axis=1).mean()
        figures.append((listed, recall(scores, test)))
    (before, found), (after, still) = figures
    return f"no TAG: {before:.1%} -> {after:.1%} of the first {K} have it; recall@{K} {found:.3f} -> {still:.3f}"


def main() -> None:
    """Run the command line."""
    asked = parse()
    if asked.run == "cut":
        n = without_sentences(Path(asked.data), Path(asked.out))
        log.info(f"{asked.out}: {n:,} titles lack a sentence, which {WISHES} has")
        return
    run = finished_run(Path(asked.run))
    valid, test = (wishes_of(run, part, asked.wishes) for part in ("valid", "test"))
    lines, notes = [], []
    for name in asked.encoders.split(","):
        reader = reader_by(run, name)
        for how, found in measure(reader, valid, test).items():
            gain = found["by both"] / max(found["by taste"], found["by words"]) - 1
            ways = ", ".join(f"{way} {found[way]:g}" for way in WEIGHTS if way in found)
            figures = [f"{found[key]:.3f}" for key in ("by taste", "by words", "by both")]
            lines.append([Path(name).name, how, *figures, f"{gain:+.0%}", f"{found['share']:g}", ways])
        notes.append(f"{Path(name).name}, {pushed(run, reader, test)}")
    log.info(f"recall@{K} of {len(test.texts):,} wishes of test, chosen by {len(valid.texts):,} of valid")
    header = ["words read by", "weights", "taste alone", "words alone", "both", "gain", "words' share", "ways"]
    log.info(markdown([header, *lines]))
    log.info("\n".join(notes))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    flags = Flags(__doc__)
    flags.add_argument("run", metavar="RUN", help="the saved_dir of a run; or cut")
    flags.add_argument("data", nargs="?", metavar="DATA", help="with cut, a data folder")
    flags.add_argument("--out", metavar="FOLDER", help="with cut, where the copy goes")
    flags.add_argument("--encoders", default="lsa,words", metavar="NAMES", help="lsa, words, or models")
    flags.add_argument("--wishes", type=whole_number(1), default=1000, metavar="N", help="wishes of a part")
    asked = flags.parse_args(argv)
    if not (asked.run == "cut") == bool(asked.data) == bool(asked.out):
        raise ValueError("cut takes a data folder and --out; a RUN takes neither")
    return asked


if __name__ == "__main__":
    sys.exit(run_script(main))
