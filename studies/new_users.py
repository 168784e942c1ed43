"""Measure how well new users are served: a tenth of the users is left out of training and folded in afterwards.

    python studies/new_users.py RUN [RUN ...] [--data_dir FOLDER]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/); several are seeds of the same
run. A tenth of its users, drawn by the run's seed, is left out with all their rows: a model is trained on the others as
main.py does it, with the run's settings, in RUN/left_out/ (minutes; once it is there it is used again). It places those
left out from their train rows, as recommend.py --new_user does, and ranks for them. For comparison, the same users as
RUN, which was trained with their rows, knows them, and as RUN places them from their rows, with their rates and dates;
always among the titles that the others collected in train, and where the data have rates, by the liked pairs as well.
Make choices by the valid column; that of test is for reporting.
"""

import dataclasses
import json
import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from config import trained_settings
from data_loader import Comments, Dataset, pairs_of_items
from dataset.recency import users_of
from dataset.splits import PARTS
from evaluation.significance import spread
from evaluation.tables import markdown, mean_and_sd
from evaluation.tastes import pairs_by_taste
from evaluator import evaluate, means
from inference.finished_run import FinishedRun
from inference.fold_in import place_users
from llm_embedding import text_vectors
from runtime.checkpoints import CHECKPOINT
from runtime.cli import Flags, run_script
from runtime.distributed import resolve_device
from runtime.files import load_torch, save_torch
from runtime.identity import RunIdentity, resolved
from studies.common import finished_run
from text.store import FOLDER
from trainer import fit
from training.before_training import choose_before_training
from training.model_factory import build_model

log = logging.getLogger("aglrec")

SHARE = 0.1
FIGURES = ("valid", "valid, liked", "test", "test, liked")


class Pair(NamedTuple):
    """A run, and one like it that was trained without some of its users."""

    known: FinishedRun
    left_out: FinishedRun
    users: np.ndarray  # (n,) their rows in the first


def pair(folder: Path, data_dir: str | None = None) -> Pair:
    """Load a run, and train the other one unless it is there.

    Args:
        folder: the run's saved_dir.
        data_dir: where the data are, if no longer where the run found them.
    """
    known = finished_run(folder, data_dir)
    users = drawn(known.dataset, known.config["seed"])
    # the settings asked for: what valid decided before training is decided again, by the rows of the others
    asked = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["config"]
    moved = {"data_dir": known.config["data_dir"], "saved_dir": str(folder / "left_out"), "vectors_dir": ""}
    return Pair(known, trained(known, without(known.dataset, users), {**known.config, **asked, **moved}), users)


def drawn(dataset: Dataset, seed: int) -> np.ndarray:
    """Draw the users to leave out among those with train rows: user rows, ascending."""
    users = np.flatnonzero(np.diff(dataset.train.indptr))
    return np.sort(np.random.default_rng([seed, 5]).permutation(users)[: max(1, round(SHARE * len(users)))])


def without(dataset: Dataset, users: np.ndarray) -> Dataset:
    """Return the data as they would be without these users; the titles are the same."""
    kept = np.setdiff1d(np.arange(dataset.n_users), users)
    is_kept = np.isin(users_of(dataset.seen), kept)
    values = {name: getattr(dataset, name) for name in ("rates", "times")}
    comments, theirs = dataset.user_comments, np.isin(dataset.user_comments.user_ids, kept)
    return dataclasses.replace(
        dataset,
        **{name: getattr(dataset, name)[kept] for name in (*PARTS, "excluded", "seen")},
        **{name: None if each is None else each[is_kept] for name, each in values.items()},
        raw_user_ids=[dataset.raw_user_ids[user] for user in kept],
        user_names=[dataset.user_names[user] for user in kept],
        user_comments=Comments(
            np.searchsorted(kept, comments.user_ids[theirs]),
            [comments.texts[place] for place in np.flatnonzero(theirs)],
            comments.weights[theirs],
            None if comments.item_ids is None else comments.item_ids[theirs],
        ),
    )


def trained(known: FinishedRun, dataset: Dataset, config: dict[str, Any]) -> FinishedRun:
    """Train on a dataset as main.run does, unless that was done before.

    Args:
        known: the run with all users, whose vectors of the titles' texts are taken.
        dataset: as from without.
        config: the settings; saved_dir is where this run goes.
    """
    saved = Path(config["saved_dir"])
    if not finished(saved, dataset, config):
        saved.mkdir(parents=True, exist_ok=True)
        (saved / "item_emb.pt").unlink(missing_ok=True)  # it marks a finished run, which this is no longer
        vectors_dir = Path(known.config["vectors_dir"] or known.config["saved_dir"])
        for path in vectors_dir.glob("item_llm_embeddings.npy*"):
            shutil.copy(path, saved)
        if (vectors_dir / FOLDER).exists():
            shutil.copytree(vectors_dir / FOLDER, saved / FOLDER, dirs_exist_ok=True)
        device = resolve_device(config["device"])
        vectors = text_vectors(dataset, config, str(device))
        selected = choose_before_training(dataset, vectors, config, device)
        settings = resolved(config, selected)
        model = build_model(dataset, vectors, settings, device)
        identity = RunIdentity.of_run(config, dataset.digests, vectors.info)
        fit(model, dataset, settings, identity, selected)
        (saved / CHECKPOINT).unlink()
        for name, emb in zip(("user_emb.pt", "item_emb.pt"), model.embeddings(), strict=True):
            save_torch(saved / name, emb.cpu().clone())
    checkpoint = load_torch(saved / "best_model.pth")
    return dataclasses.replace(
        known,
        checkpoint=checkpoint,
        dataset=dataset,
        user_emb=load_torch(saved / "user_emb.pt"),
        item_emb=load_torch(saved / "item_emb.pt"),
        config=resolved({**known.config, **checkpoint["config"]}, checkpoint["decided"]),
    )


def finished(saved: Path, dataset: Dataset, config: dict[str, Any]) -> bool:
    """Tell whether a folder holds a finished run of these data and settings."""
    if not (saved / "item_emb.pt").exists():
        return False
    checkpoint = load_torch(saved / "best_model.pth")
    of_both = [trained_settings(resolved(each, checkpoint["decided"])) for each in (checkpoint["config"], config)]
    return checkpoint["dataset_fingerprint"] == dataset.fingerprint and of_both[0] == of_both[1]


def measure(both: Pair) -> dict[str, dict[str, float]]:
    """Evaluate for those left out, as each run serves them.

    Returns:
        Row -> {"valid", "test": NDCG@k, "valid, liked", "test, liked": the same of liked pairs where the data have
        rates, "ms": per user}.
    """
    known, left_out, users = both
    rows: dict[str, dict[str, float]] = {}
    for part in ("valid", "test"):
        vectors = {"trained in": (as_trained(both, part), known.item_emb)}
        for name, run in (("trained in, placed anew", known), ("left out, placed", left_out)):
            start = time.perf_counter()
            vectors[name] = placed_in(run, both, part), run.item_emb
            rows.setdefault(name, {})["ms"] = 1000 * (time.perf_counter() - start) / len(users)
        for name, embeddings in vectors.items():
            rows.setdefault(name, {"ms": 0.0}).update(ndcg(*embeddings, both, part))
    return {name: rows[name] for name in ("trained in", "trained in, placed anew", "left out, placed")}


def placed_in(run: FinishedRun, both: Pair, part: str) -> torch.Tensor:
    """Place those left out in a run by what is known of them before a part, with their rates and dates: (n, width)."""
    dataset, users = both.known.dataset, both.users
    pairs = dataset.known_before(part if run.layout.placing.by_time else "valid")
    theirs = np.isin(users_of(pairs), users)
    scores, ages = dataset.scores_of(pairs)[theirs], dataset.ages_of(pairs)[theirs]
    return place_users(run, pairs[users], scores, ages).users


def as_trained(both: Pair, part: str) -> torch.Tensor:
    """Return the vectors (n, width) by which the run that knows those left out ranks for them before a part."""
    run, users, dim = both.known, both.users, both.known.layout.dim
    placed = placed_in(run, both, part)  # but for the trained columns that training left, all follows from the data
    return placed if run.layout.placing.recency else torch.cat([run.user_emb[users, :dim], placed[:, dim:]], dim=1)


def ndcg(user_emb: torch.Tensor, item_emb: torch.Tensor, both: Pair, part: str) -> dict[str, float]:
    """Compute NDCG at the largest of top_k for those left out, among the titles that the others collected in train."""
    dataset, config, among = both.known.dataset, both.known.config, both.left_out.dataset.warm_items
    masked, found = dataset.masked_for(part)[both.users], {}
    liked = pairs_by_taste(dataset, getattr(dataset, part))
    for name, pairs in ((part, getattr(dataset, part)), (f"{part}, liked", liked.get("liked"))):
        if pairs is not None:
            target = pairs_of_items(pairs[both.users], np.isin(np.arange(dataset.n_items), among))
            figures = evaluate(user_emb, item_emb, target, masked, config, among, auc=False)
            found[name] = means(figures)[f"NDCG@{max(config['top_k'])}"]
    return found


def _lost(figure: float, whole: float) -> float:
    return 1 - figure / whole if whole else 0.0


def table(runs: list[dict[str, dict[str, float]]]) -> str:
    """Lay out the mean and sd of some runs' rows; what is lost is against "trained in", run by run."""
    n, parts = len(runs), [part for part in FIGURES if part in runs[0]["trained in"]]
    lost = [
        {name: {part: _lost(row[part], run["trained in"][part]) for part in parts} for name, row in run.items()}
        for run in runs
    ]
    shares, lines = spread(lost), [["users", *(word for part in parts for word in (part, "lost")), "ms a user"]]
    for name, row in spread(runs).items():
        cells = []
        for part in parts:
            share = shares[name][part]
            deviation = f" ± {100 * share['sd']:.1f}" if n > 1 else ""
            cells += [mean_and_sd(row[part], n), f"{share['mean']:.1%}{deviation}"]
        lines.append([name, *cells, f"{row['ms']['mean']:.1f}"])
    return markdown(lines)


def main() -> None:
    """Run the command line."""
    flags = Flags(__doc__)
    flags.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the saved_dir of a run")
    flags.add_argument("--data_dir", metavar="DIR", help="where the data are, if no longer where the run found them")
    asked = flags.parse_args()
    log.info(table([measure(pair(folder, asked.data_dir)) for folder in asked.runs]))


if __name__ == "__main__":
    sys.exit(run_script(main))
