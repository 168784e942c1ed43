"""The run that an update goes on from: what it decided, the rows it knew, and whether this call may go on from it."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from config import CALL_KEYS, get_config
from data_loader import Dataset, sorted_csr
from dataset.earlier_rows import EarlierRows, new_pairs, read_rows, rows_in
from dataset.recency import users_of
from dataset.splits import PARTS
from evaluator import evaluate, means
from inference.finished_run import data_dir_of, load_checkpoint, names_encoder, trained_config
from llm_embedding import TextVectors, fused_titles
from runtime import manifest
from runtime.checkpoints import CHECKPOINT
from runtime.distributed import broadcast_from_rank0
from runtime.files import load_torch, write_json
from runtime.identity import OUTPUTS, PAGE, ROWS, USER_METRICS
from runtime.replacing import share
from runtime.safe_files import parse_json
from text.store import FOLDER
from training.earlier_text import earlier_titles
from training.update import Start

TEXT = [f"{side}_llm_embeddings.npy{end}" for side in ("item", "user") for end in ("", ".json")]
STAGED, NAMED = "update", "run.json"  # where the new run is made, and which one it is


class EarlierRun(NamedTuple):
    """A finished run, as it was before rows were added to its data."""

    folder: Path
    checkpoint: dict[str, Any]  # the content of best_model.pth
    metrics: dict[str, Any]
    rows: EarlierRows
    run: str  # as manifest.json names it
    asked: dict[str, Any]  # the settings as its command asked for them, and this call's CALL_KEYS
    config: dict[str, Any]  # the same with what valid chose before training, and the encoder that was used


def load_earlier(config: dict[str, Any]) -> EarlierRun:
    """Load the run in saved_dir for an update.

    Args:
        config: as from get_config, of this call. Settings that are not the defaults have to be those of the run.

    Raises:
        FileNotFoundError, ValueError: there is no finished run, it cannot be updated, or this call has other settings.
    """
    saved = Path(config["saved_dir"])
    if missing := [name for name in OUTPUTS if not (saved / name).exists()]:
        raise FileNotFoundError(f"{saved} holds no finished run to update ({missing[0]} is missing); train it first")
    checkpoint = load_checkpoint(saved, *OUTPUTS, ROWS)
    trained = {**get_config(), **checkpoint["config"]}
    _refuse_other_settings(saved, config, trained, checkpoint["text"]["encoder"])
    of_call = {**config, "data_dir": data_dir_of(checkpoint, config["data_dir"])}
    if config["recommend_k"] == get_config()["recommend_k"]:
        of_call["recommend_k"] = trained["recommend_k"]
    asked = {**trained, **{key: of_call[key] for key in CALL_KEYS}, "mode": "train"}
    settings = trained_config(checkpoint, asked)
    metrics = parse_json((saved / "metrics.json").read_text(encoding="utf-8"))
    if checkpoint["text"]["encoder"] and not names_encoder(of_call, settings):
        raise ValueError(
            f"this run's encoder, {settings['model_name']!r}, is named by best_model.pth and not by this command, so "
            "it is not opened; if you trust it, give --model_name (and --model_revision, --trust_remote_code) as in "
            "training"
        )
    run = manifest.recorded_run(saved) or metrics["run"]
    return EarlierRun(saved, checkpoint, metrics, read_rows(saved), run, asked, settings)


def _refuse_other_settings(saved: Path, config: dict[str, Any], trained: dict[str, Any], encoder: str | None) -> None:
    defaults, used = get_config(), {"model_name": encoder}  # which may have been the fallback
    changed = [
        f"{key} {config[key]} (it was trained with {trained[key]})"
        for key in config
        if key not in CALL_KEYS and config[key] not in (defaults[key], trained[key], used.get(key))
    ]
    if changed:
        raise ValueError(
            f"{saved}: an update keeps all settings of the run, and this call has {', '.join(changed)}; leave them "
            "out, or train again with --mode train"
        )
    if trained["train_rows_per_user"]:
        raise ValueError(
            f"{saved}: the run keeps {trained['train_rows_per_user']} train rows a user (train_rows_per_user), so it "
            "has no use for more of them; train again with --mode train"
        )


@broadcast_from_rank0
def make_room(config: dict[str, Any], saved: Path) -> None:
    """Make the folder of the new run, with the store of encoded texts linked in, to which new ones are added."""
    staged, store = Path(config["saved_dir"]), saved / FOLDER
    staged.mkdir(exist_ok=True)
    for name in TEXT[:2]:  # the titles' vectors, for data whose titles stayed the same
        if not config["vectors_dir"] and (saved / name).is_file() and not (staged / name).exists():
            share(saved / name, staged / name)
    if not config["vectors_dir"] and config["model_name"] != "lsa" and not (staged / FOLDER).exists():
        store.mkdir(exist_ok=True)
        try:
            (staged / FOLDER).symlink_to(Path("..", FOLDER))
        except OSError:  # a disk, or a system, without symbolic links
            shutil.copytree(store, staged / FOLDER)


@broadcast_from_rank0
def is_staged(staged: Path, run: str) -> bool:
    """Tell whether a folder holds this new run whole; what is there of another one is removed."""
    if not (staged / NAMED).exists() or parse_json((staged / NAMED).read_text(encoding="utf-8")) != run:
        for name in (*OUTPUTS, ROWS, USER_METRICS, CHECKPOINT, manifest.NAME):
            (staged / name).unlink(missing_ok=True)
        write_json(staged / NAMED, run)
    if not all((staged / name).exists() for name in (*OUTPUTS, manifest.NAME)):
        return False
    try:
        manifest.check(staged, *OUTPUTS, ROWS)
        return manifest.recorded_run(staged) == run
    except ValueError:
        return False


def outputs_in(staged: Path) -> list[str]:
    """Name what of the old run makes way, and what takes its place."""
    made = [name for name in TEXT if (staged / name).exists()]
    return [*OUTPUTS, ROWS, USER_METRICS, PAGE, *made, manifest.NAME]


def is_all_known(before: EarlierRun, dataset: Dataset) -> bool:
    """Tell whether the data have no row, user or title that a run did not have."""
    sizes = len(before.rows.user_ids), len(before.rows.item_ids), len(before.rows.items)
    return sizes == (dataset.n_users, dataset.n_items, dataset.seen.nnz)


def came_since(before: EarlierRun, dataset: Dataset) -> dict[str, int]:
    """Count the rows, users and titles that a run did not have."""
    rows = before.rows
    was = {"rows": len(rows.items), "users": len(rows.user_ids), "titles": len(rows.item_ids)}
    now = {"rows": int(dataset.seen.nnz), "users": dataset.n_users, "titles": dataset.n_items}
    return {name: now[name] - was[name] for name in was}


def told(before: EarlierRun, dataset: Dataset) -> str:
    """Say what came since."""
    n = came_since(before, dataset)
    came = f"{n['rows']:,} new rows, {n['users']:,} new users, {n['titles']:,} new titles"
    return f"{came} since run {before.run}, which the new run goes on from"


def start_of(before: EarlierRun, dataset: Dataset, vectors: TextVectors) -> Start:
    """Return what the model of an update starts from; before lets go of its state, for which training has no use."""
    state, rows = before.checkpoint.pop("state_dict"), before.rows
    users, items = rows_in(dataset.raw_user_ids, rows.user_ids), rows_in(dataset.raw_item_ids, rows.item_ids)
    text = None
    if "text_weight" in state:
        folder = Path(before.config["vectors_dir"] or before.folder)
        # the model's own rows would be 0 where only users bring text, whose columns change along with the titles'
        now = fused_titles(vectors.items[items], vectors, before.config)
        text = earlier_titles(dataset, vectors, before.config, folder, rows.item_ids), now
    return Start(state, users, items, text)


def update_facts(before: EarlierRun, dataset: Dataset, fitted: dict[str, Any]) -> dict[str, Any]:
    """Return what metrics.json says of an update, of which model its figures are, and what the last one foresaw."""
    figures = "those of the run in measured, which is another model and knew none of the rows that came since"
    if not before.config["refit"]:
        figures = (
            "of this model, on the rows that the first training held out; it has learned from all rows that came "
            "since, those too that are newer than these"
        )
    if before.config["refit_valid"]:
        figures = f"of valid those of the run in measured, of test those {figures}"
    updates = before.metrics["update"]["updates"] + 1 if "update" in before.metrics else 1
    trained = {"epochs": fitted["epochs_run"], "train_s": fitted["train_s"], "fingerprint": dataset.fingerprint}
    about = {"updates": updates, "base": before.run, "since": came_since(before, dataset), **trained}
    return {**about, "foreseen": foreseen(before, dataset), "figures": figures}


def foreseen(before: EarlierRun, dataset: Dataset) -> dict[str, Any]:
    """Say how well the lists of a run, made before the new rows were known, had their titles.

    Returns:
        {"n_users", "n_pairs", NDCG and Recall at the largest of top_k}: of new positive pairs that are trained on, of
        users and titles that the run knew, among titles that had a history; figures are missing without such a pair.
    """
    rows, n_items = before.rows, len(before.rows.item_ids)
    users, items = rows_in(rows.user_ids, dataset.raw_user_ids), rows_in(rows.item_ids, dataset.raw_item_ids)
    is_new = new_pairs(dataset, rows)
    fresh = sp.csr_matrix((is_new.astype(np.float32), dataset.seen.indices, dataset.seen.indptr), dataset.seen.shape)
    fresh = sorted_csr(fresh.multiply(dataset.train))
    fresh.eliminate_zeros()
    pairs = np.stack([users[users_of(fresh)], items[fresh.indices]])
    is_trained = rows.parts == PARTS.index("train")
    warm = np.unique(rows.items[is_trained])
    pairs = pairs[:, (pairs >= 0).all(axis=0) & np.isin(pairs[1], warm)]
    shape = len(rows.user_ids), n_items
    target, masked = (
        sorted_csr(sp.csr_matrix((np.ones(len(u), np.float32), (u, i)), shape))
        for u, i in (pairs, (rows.users, rows.items))
    )
    found = {"n_users": int((np.diff(target.indptr) > 0).sum()), "n_pairs": int(target.nnz)}
    if not target.nnz:
        return found
    emb = (load_torch(before.folder / name) for name in ("user_emb.pt", "item_emb.pt"))
    figures = means(evaluate(*emb, target, masked, before.config, warm, auc=False))
    k = max(before.config["top_k"])
    return found | {key: figures[key] for key in (f"NDCG@{k}", f"Recall@{k}")}
