"""One experiment, start to end: load, split, embed, train, evaluate, recommend.

    python main.py [--preset NAME] [--key value ...]
    torchrun --nproc_per_node=P main.py ...     in P processes, by columns

Everything a run makes is written to saved_dir; interrupted, the same command goes on.
"""

import sys

from runtime.cli import Flags, answer_early

if __name__ == "__main__":
    answer_early(Flags(__doc__, common=True))  # before the imports below, which take seconds

import json
import logging
import pickle
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

from config import CONFIG, RUNTIME_KEYS, get_config
from data_loader import Dataset, check_k, load_dataset
from dataset.splits import PARTS
from evaluator import evaluate, evaluate_cold_listing, evaluate_groups, evaluate_warm, means
from inference.top_k import recommend
from llm_embedding import TextVectors, text_vectors
from runtime import manifest
from runtime.checkpoints import CHECKPOINT
from runtime.cli import parse_overrides, run_script
from runtime.distributed import broadcast_from_rank0, process_group, rank, rank0_first, resolve_device
from runtime.files import atomic_write, load_torch, save_torch, write_json
from runtime.identity import (
    OUTPUTS,
    PAGE,
    WRITTEN,
    check_origin,
    complete_metrics,
    finished_metrics,
    fit_result,
    refuse_other,
    signature,
    text_origin,
)
from runtime.safe_files import parse_json
from trainer import fit
from training.before_training import choose_before_training
from training.model_factory import build_model, restore
from web.report_page import write_report

log = logging.getLogger("aglrec")


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Run one experiment and write everything to config["saved_dir"], where one process at a time may write.

    Args:
        config: as from get_config. With mode "inference" nothing is trained: best_model.pth is reloaded,
            with the settings it was trained with, and vectors and recommendations are written again.

    Returns:
        The content of metrics.json. A run that is finished is not run again.

    Raises:
        OSError, ValueError: one sentence that says what is wrong and what to do.
    """
    twice = config["refit"] or config["refit_valid"]
    one_run = {"inference": infer, "train": refit if twice else train}[config["mode"]]
    with manifest.lock_folder(Path(config["saved_dir"])) if rank() == 0 else nullcontext():
        return one_run(config)


def train(config: dict[str, Any]) -> dict[str, Any]:
    """Train, measure, and write everything; see run."""
    saved, clock = Path(config["saved_dir"]), {"start": time.perf_counter()}
    device, dataset = resolve_device(config["device"]), load_dataset(config)
    check_k(config, dataset)
    refuse_other(config, dataset.fingerprint)
    clock["load_s"] = time.perf_counter()
    vectors = rank0_first(lambda: text_vectors(dataset, config, str(device)))
    clock["encode_s"] = time.perf_counter()
    if done := broadcast_from_rank0(
        lambda: finished_metrics(saved, config, dataset.fingerprint, text_origin(vectors.info))
    ):
        return told_finished(done, config, lambda: page_of(saved, dataset))
    settings, selected = choose_before_training(dataset, vectors, config, device)
    model = build_model(dataset, vectors, settings, device)
    made_by = signature(config, dataset.fingerprint, vectors.info)
    fitted = fit(model, dataset, settings, made_by, selected)
    clock["fit_s"] = time.perf_counter()
    final = model.embeddings()
    if rank() > 0:  # under torchrun the first process alone evaluates and writes
        return {}
    metrics = held_out_metrics(*final, dataset, config)
    save_outputs(saved, dataset, *final, model.cold_items_with_text(), config)
    clock["evaluate_s"] = time.perf_counter()
    metrics |= {
        **fitted,
        **circumstances(dataset, vectors, config),
        "timing": seconds(clock),
        "run": manifest.run_id(made_by),
    }
    finish(saved, metrics, lambda: page_of(saved, dataset))
    return metrics


def infer(config: dict[str, Any]) -> dict[str, Any]:
    """Write vectors and lists of a trained model again, and its figures where there are none; see run."""
    saved, clock = Path(config["saved_dir"]), {"start": time.perf_counter()}
    checkpoint = load_torch(saved / "best_model.pth")
    manifest.check(saved, "best_model.pth", "history.jsonl", "metrics.json")
    config, device = trained_config(checkpoint, config), resolve_device(config["device"])
    dataset = load_dataset(config)
    check_k(config, dataset)
    vectors = rank0_first(lambda: text_vectors(dataset, config, str(device)))
    check_origin(checkpoint, dataset.fingerprint, vectors.info)
    model = build_model(dataset, vectors, config, device)
    restore(model, checkpoint["state_dict"], dataset)
    final = model.embeddings()
    if rank() > 0:
        return {}
    save_outputs(saved, dataset, *final, model.cold_items_with_text(), config)
    manifest.record_again(saved, *WRITTEN)
    for path in (saved / "metrics.json", saved / "measured" / "metrics.json"):
        if path.exists():
            return parse_json(path.read_text(encoding="utf-8"))
    metrics = held_out_metrics(*final, dataset, config)
    clock["infer_s"] = time.perf_counter()
    metrics |= {
        **fit_result(checkpoint, saved),
        **circumstances(dataset, vectors, config),
        "timing": seconds(clock),
        "run": manifest.recorded_run(saved),
    }
    write_json(saved / "metrics.json", metrics)
    manifest.record_again(saved, "metrics.json")
    page_of(saved, dataset)
    return metrics


def refit(config: dict[str, Any]) -> dict[str, Any]:
    """Measure in saved_dir/measured, then train once more on more positives, and write vectors and lists of that.

    The second training is given the first one's settings, its best epoch and all that it decided on valid. With
    refit_valid test figures are of the second model; with refit nothing is held out of that, and all figures stay those
    of the measured run. What is finished is not run again.

    Returns:
        The content of metrics.json: the measured run's, and "refit", what the second was trained on.
    """
    saved, device = Path(config["saved_dir"]), resolve_device(config["device"])
    first = {
        **config,
        "refit": False,
        "refit_valid": False,
        "saved_dir": str(saved / "measured"),
        "vectors_dir": config["vectors_dir"] or config["saved_dir"],
    }
    held_out = load_dataset(first)
    check_k(first, held_out)
    refuse_other(config)
    origin = text_origin(rank0_first(lambda: text_vectors(held_out, first, str(device))).info)
    if done := broadcast_from_rank0(lambda: finished_metrics(saved, config, held_out.fingerprint, origin)):
        dataset = load_dataset(config)
        rank0_first(
            lambda: text_vectors(dataset, config, str(device))
        )  # in whose place those of held_out were put above
        return told_finished(done, config, lambda: page_of_refit(saved, dataset, config))
    done = broadcast_from_rank0(
        lambda: complete_metrics(saved / "measured", first, held_out.fingerprint, origin)
    ) or run(first)
    measured = broadcast_from_rank0(lambda: done)
    what = "every positive" if config["refit"] else "train and valid"
    log.info(f"training once more, {measured['epoch']} epochs on {what}, as {saved / 'measured'} decided")
    dataset = load_dataset(config)
    check_same_data(held_out, dataset)
    vectors = rank0_first(lambda: text_vectors(dataset, config, str(device)))
    settings = {**config, **measured["decided"].get("selected", {})}
    model = build_model(dataset, vectors, settings, device)
    made_by = signature(config, dataset.fingerprint, vectors.info)
    fitted = fit(model, dataset, settings, made_by, measured=measured)
    final = model.embeddings()
    if rank() > 0:
        return {}
    save_outputs(saved, dataset, *final, model.cold_items_with_text(), config)
    metrics = {
        **measured,
        "config": config,
        "run": manifest.run_id(made_by),
        "refit": {
            "positives": int(dataset.train.nnz),
            "epochs": fitted["epochs_run"],
            "train_s": fitted["train_s"],
            "fingerprint": dataset.fingerprint,
            "figures": "those of the run in measured, whose model is another",
        },
    }
    if config["refit_valid"]:
        metrics |= held_out_metrics(*final, dataset, config)
        metrics["refit"]["figures"] = "valid of the run in measured; test of this model, trained on train and valid"
    finish(saved, metrics, lambda: page_of_refit(saved, dataset, config))
    return metrics


def page_of(saved: Path, dataset: Dataset) -> None:
    """Write the page of a run, with the titles' names."""
    write_report(saved, dict(zip(dataset.raw_item_ids, dataset.item_names, strict=True)))


def page_of_refit(saved: Path, dataset: Dataset, config: dict[str, Any]) -> None:
    """Write the page of a run that trained once more: the measured run's where that has the figures."""
    if config["refit_valid"]:
        page_of(saved, dataset)
    else:
        with atomic_write(saved / PAGE) as page:
            page.write((saved / "measured" / PAGE).read_bytes())


def finish(saved: Path, metrics: dict[str, Any], write_page: Callable[[], None]) -> None:
    """Write metrics.json, enter what was written, drop the checkpoint, and write the page: without it more is to do."""
    (saved / PAGE).unlink(missing_ok=True)
    write_json(saved / "metrics.json", metrics)
    manifest.record(saved, metrics["run"], *OUTPUTS)
    (saved / CHECKPOINT).unlink(missing_ok=True)
    write_page()


def told_finished(done: dict[str, Any], config: dict[str, Any], write_page: Callable[[], None]) -> dict[str, Any]:
    """Say that a run is finished; write what is missing at its end, and longer or shorter lists if they are wanted."""
    saved, k = Path(config["saved_dir"]), config["recommend_k"]
    if rank() == 0 and not (saved / PAGE).exists():  # it was killed before that
        write_page()
    if done["config"]["recommend_k"] == k:
        log.info(f"{saved}: this very run is finished, and nothing is run again (--resume never does)")
        return done
    log.info(f"{saved}: this run is finished; only lists of {k} titles are written (--resume never runs it again)")
    infer({**config, "mode": "inference"})
    metrics = {**done, "config": {**done["config"], "recommend_k": k}}
    if rank() == 0:
        write_json(saved / "metrics.json", metrics)
        manifest.record_again(saved, "metrics.json")
        write_page()
    return metrics


def circumstances(dataset: Dataset, vectors: TextVectors, config: dict[str, Any]) -> dict[str, Any]:
    """Say what figures were made from and with, for metrics.json."""
    return {
        "data": {**dataset.facts, "fingerprint": dataset.fingerprint},
        "encoder": vectors.info,
        "config": config,
        "versions": versions(),
    }


def held_out_metrics(
    user_emb: torch.Tensor, item_emb: torch.Tensor, dataset: Dataset, config: dict[str, Any]
) -> dict[str, Any]:
    """Compute the test figures, the only place where test is looked at.

    Returns:
        "test": among all titles with train and valid masked, which the vectors and splits.npz alone reproduce; "warm":
        what rows are compared by, see evaluate_warm; "listed": see evaluate_listed; "groups": see evaluate_groups;
        "cold" and "cold_valid": the pairs of those parts, ranked among the titles of the part and among all.
    """
    known = dataset.masked_for("test")
    metrics = {
        "test": means(evaluate(user_emb, item_emb, dataset.test, dataset.train + dataset.valid, config)),
        "warm": means(evaluate_warm(user_emb, item_emb, dataset, "test", config)),
        "listed": evaluate_cold_listing(user_emb, item_emb, dataset, config),
        "groups": evaluate_groups(user_emb, item_emb, dataset, config),
    }
    for name, target in (("cold", dataset.cold_test), ("cold_valid", dataset.cold_valid)):
        metrics[name] = {}
        if target.nnz:
            cold = np.flatnonzero(np.bincount(target.indices, minlength=dataset.n_items))
            metrics[name] = {
                "n_items": len(cold),
                "among_cold": means(evaluate(user_emb, item_emb, target, known, config, cold)),
                "among_all": means(evaluate(user_emb, item_emb, target, known, config)),
            }
    return metrics


def trained_config(checkpoint: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of training with this run's RUNTIME_KEYS and recommend_k, and name what is ignored.

    The encoder is the one that was really used, which may have been the fallback.
    """
    taken, trained = (*RUNTIME_KEYS, "recommend_k"), {**CONFIG, **checkpoint["config"]}  # an older run lacks new keys
    ignored = [
        f"{key} {config[key]} (trained with {trained[key]})"
        for key in config
        if key not in taken and config[key] not in (CONFIG[key], trained[key])
    ]
    if ignored:
        log.warning("inference keeps the settings of training; ignored: " + ", ".join(ignored))
    encoder = checkpoint["text"]["encoder"] if "text" in checkpoint else None
    return {**trained, **{key: config[key] for key in taken}, "model_name": encoder or trained["model_name"]}


def check_same_data(first: Dataset, now: Dataset) -> None:
    """Refuse to train once more on data that were edited since they were measured."""
    ids = [(data.raw_user_ids, data.raw_item_ids) for data in (first, now)]
    if ids[0] != ids[1] or (first.seen != now.seen).nnz:
        raise ValueError("the data were changed while the run was measured; give the command again")


def save_outputs(
    saved: Path,
    dataset: Dataset,
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    new_items: np.ndarray,
    config: dict[str, Any],
) -> None:
    """Write vectors, lists, id mappings, splits and each user's train titles; new_items are the rows of the shelf."""
    save_torch(saved / "user_emb.pt", user_emb.float().cpu().clone())
    save_torch(saved / "item_emb.pt", item_emb.float().cpu().clone())
    for name, candidates in (("recommendations.json", None), ("new_titles.json", new_items)):
        write_json(
            saved / name, recommend(user_emb, item_emb, dataset, config["recommend_k"], config, candidates=candidates)
        )
    write_json(saved / "id_mappings.json", {"user_ids": dataset.raw_user_ids, "item_ids": dataset.raw_item_ids})
    with atomic_write(saved / "splits.npz") as file:
        np.savez_compressed(
            file, **{name: np.argwhere(getattr(dataset, name)).astype(np.int32) for name in (*PARTS, "excluded")}
        )
    titles = np.array(dataset.raw_item_ids, dtype=object)
    train = {
        user: titles[items].tolist()
        for user, items in zip(
            dataset.raw_user_ids, np.split(dataset.train.indices, dataset.train.indptr[1:-1]), strict=True
        )
    }
    with atomic_write(saved / "train_user_dict.pkl") as file:
        pickle.dump(train, file)


def versions() -> dict[str, str]:
    """Name what this run was made with."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "platform": platform.platform(),
    }


def seconds(clock: dict[str, float]) -> dict[str, float]:
    """Turn moments into the seconds each step took, and their total."""
    moments = list(clock.values())
    return {
        **{name: b - a for name, a, b in zip(list(clock)[1:], moments, moments[1:], strict=False)},
        "total_s": moments[-1] - moments[0],
    }


def show(metrics: dict[str, Any], saved: Path, n_users: int = 5) -> str:
    """Lay out the test figures and the lists of the first users for the screen."""
    cutoffs, lines = metrics["config"]["top_k"], []
    for name, found in (("test, titles with a history", metrics["warm"]), ("test, all titles", metrics["test"])):
        lines += ["", f"{name:28s}" + "".join(f"{'@' + str(k):>9s}" for k in cutoffs)]
        lines += [
            f"{key:28s}" + "".join(f"{found[f'{key}@{k}']:9.4f}" for k in cutoffs) for key in ("Recall", "NDCG", "Hit")
        ] + [f"{'AUC':28s}{found['AUC']:9.4f}"]
    lists = json.loads((saved / "recommendations.json").read_text(encoding="utf-8"))
    for user, titles in list(lists.items())[:n_users]:
        lines += ["", f"for user {user}:"] + [
            f"  {rank}. {title['name']}  ({title['score']:.3f})" for rank, title in enumerate(titles[:5], start=1)
        ]
    encoder = metrics["encoder"]
    if encoder["used"] not in (None, encoder["requested"]):
        lines += ["", f"!!! text vectors are those of {encoder['used']!r}, not of {encoder['requested']!r}"]
    return "\n".join(lines + ["", f"everything is in {saved}"])


def main() -> None:
    config = get_config(parse_overrides(sys.argv[1:]))
    with process_group() as number:
        metrics = run(config)
        if number == 0:
            log.info(show(metrics, Path(config["saved_dir"])))


if __name__ == "__main__":
    sys.exit(run_script(main))
