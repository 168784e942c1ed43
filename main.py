"""One experiment, start to end: load, split, embed, train, evaluate, recommend.

    python main.py [--preset NAME] [--key value ...]
    torchrun --nproc_per_node=P main.py ...    in P processes that share columns

Everything a run makes is written to saved_dir; interrupted, the same command goes on.
"""

import sys

from runtime.cli import Flags, answer_early

if __name__ == "__main__":
    answer_early(Flags(__doc__, common=True))  # before the imports below, which take seconds

import logging
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from config import CALL_KEYS, get_config
from data_loader import Dataset, check_k, load_dataset
from evaluation.held_out import held_out_metrics
from evaluation.plain import plain_baselines
from evaluator import evaluate_warm, means
from inference.earlier_run import (
    STAGED,
    EarlierRun,
    is_all_known,
    is_staged,
    load_earlier,
    make_room,
    outputs_in,
    start_of,
    told,
    update_facts,
)
from inference.finished_run import load_trained
from inference.outputs import write_outputs
from inference.run_facts import facts, refit_facts, seconds
from inference.terminal import show
from llm_embedding import text_vectors
from model import LightGCN
from runtime import manifest
from runtime.checkpoints import CHECKPOINT
from runtime.cli import parse_overrides, run_script
from runtime.distributed import broadcast_from_rank0, process_group, rank, resolve_device
from runtime.files import atomic_write, lock_folder, write_json
from runtime.identity import (
    DERIVED,
    OUTPUTS,
    PAGE,
    ROWS,
    USER_METRICS,
    RunIdentity,
    finished_metrics,
    refuse_other,
    resolved,
)
from runtime.log_streams import add_result
from runtime.replacing import finish_replacing, replace_run
from runtime.safe_files import parse_json
from trainer import fit, saved_result
from training.before_training import choose_before_training
from training.model_factory import build_model, restore
from training.placing import knows_more_before_test, place_users
from training.update import first_epoch, start_from
from web.report_page import write_report

log = logging.getLogger("aglrec")

Embeddings = tuple[torch.Tensor, torch.Tensor]  # of users (n_users, D) and items (n_items, D)


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Run one experiment and write everything to config["saved_dir"], where one process at a time may write.

    Args:
        config: as from get_config. With mode "inference" nothing is trained: best_model.pth is loaded, with the
            settings of its training, and vectors and recommendations are written again. With mode "update" it goes on
            from the run there, see update.

    Returns:
        The content of metrics.json. A finished run is not run again.

    Raises:
        OSError, ValueError: one sentence that says what is wrong and what to do.
    """
    with lock_folder(Path(config["saved_dir"])) if rank() == 0 else nullcontext():
        if rank() == 0:
            finish_replacing(Path(config["saved_dir"]))
        if config["mode"] != "train":
            return infer(config) if config["mode"] == "inference" else update(config)
        refuse_other(config)
        if config["refit"] or config["refit_valid"]:
            return train(config, measured=measure(config))
        return train(config)


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate with held-out parts in saved_dir/measured, for a run that trains once more on more positives.

    Returns:
        The metrics of that run, which is not run again if it is finished.
    """
    saved = Path(config["saved_dir"])
    vectors_dir = config["vectors_dir"] or config["saved_dir"]
    first = {"refit": False, "refit_valid": False, "saved_dir": str(saved / "measured"), "vectors_dir": vectors_dir}
    return run({**config, **first})


def train(config: dict[str, Any], measured: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train, evaluate, and write everything; see run.

    Args:
        config: as from get_config.
        measured: metrics of the same settings with held-out parts, where this run trains once more with nothing held
            out (refit) or with only test held out (refit_valid). Their best epoch and all that they decided are used
            again. With refit_valid the test figures are those of this model; with refit all are those of measured.
    """
    saved, clock, device = Path(config["saved_dir"]), {"start": time.perf_counter()}, resolve_device(config["device"])
    dataset = load_dataset(config)
    check_k(config, dataset)
    if measured:
        check_same_data(measured, dataset)
    clock["load_s"] = time.perf_counter()
    vectors = text_vectors(dataset, config, str(device))
    clock["encode_s"] = time.perf_counter()
    identity = RunIdentity.of_run(config, dataset.digests, vectors.info)
    if done := finished_metrics(RunIdentity.of_metrics(measured, config) if measured else identity):
        return end_again(done, config, dataset)
    selected = selection_of(measured) if measured else choose_before_training(dataset, vectors, config, device)
    settings = resolved(config, selected)
    if measured:
        log.info(f"measured; training once more, on {dataset.train.nnz:,} positives, to epoch {measured['epoch']}")
    model = build_model(dataset, vectors, settings, device)
    fitted = fit(model, dataset, settings, identity, selected, measured=measured)
    before, after = embeddings_before_test(model, dataset)
    clock["fit_s"] = time.perf_counter()
    earlier_s = fitted.pop("earlier_s")
    metrics = evaluate_and_write(before, after, dataset, model.cold_items_with_text(), config)
    if rank() > 0:  # under torchrun process 0 alone writes
        return {}
    clock["evaluate_s"] = time.perf_counter()
    if measured:
        metrics = {**measured, **metrics, "refit": refit_facts(fitted, dataset, config)}
    else:
        metrics |= {**fitted, **facts(dataset, vectors), "timing": seconds(clock, earlier_s)}
    metrics |= {"config": config, "run": identity.run_id, "code": identity.code}
    end(saved, metrics)
    write_page(saved, dataset, config)
    if not config["refit"]:  # whose figures are those of measured
        add_result(config, metrics)
    return metrics


def update(config: dict[str, Any]) -> dict[str, Any]:
    """Take rows, users and titles that came since into the finished run in saved_dir.

    The model goes on from the vectors of that run for a few epochs over all pairs, with all that was decided; see
    training.update. Rows that it held out stay held out, and new ones are trained on; see earlier_rows.parts_now. The
    new run is made in saved_dir/update and takes the old one's place at once when it is whole.

    Args:
        config: of this call; its settings are those of the run, or the defaults.

    Returns:
        The content of metrics.json. Its "update" says what came since, and which model the figures are of.
    """
    saved, clock, device = Path(config["saved_dir"]), {"start": time.perf_counter()}, resolve_device(config["device"])
    before, staged = load_earlier(config), saved / STAGED
    settings = {**before.config, "saved_dir": str(staged)}
    dataset = load_dataset(settings, before.rows)
    check_k(settings, dataset)
    if is_all_known(before, dataset):
        return update_again(before, dataset, config)
    log.info(f"update: {told(before, dataset)}")
    clock["load_s"] = time.perf_counter()
    make_room(settings, saved)
    vectors = text_vectors(dataset, settings, str(device))
    clock["encode_s"] = time.perf_counter()
    identity = RunIdentity.of_run(before.asked, dataset.digests, vectors.info)._replace(base=before.run)
    if not is_staged(staged, identity.run_id):
        # what it is built with is replaced, so the quickest will do
        model, last = build_model(dataset, vectors, {**settings, "init": "normal"}, device), before.metrics["epoch"]
        start_from(model, start_of(before, dataset, vectors), dataset)
        selected = selection_of(before.metrics)
        fitted = fit(model, dataset, settings, identity, selected, before.metrics, epochs_before=first_epoch(last))
        both = embeddings_before_test(model, dataset)
        clock["fit_s"] = time.perf_counter()
        metrics = evaluate_and_write(*both, dataset, model.cold_items_with_text(), settings)
        if rank() > 0:
            return {}
        clock["evaluate_s"] = time.perf_counter()
        about = update_facts(before, dataset, fitted) | {"timing": seconds(clock, fitted["earlier_s"])}
        if dataset.valid.nnz:
            metrics |= {"valid": fitted["valid"], "decided": before.metrics["decided"] | fitted["decided"]}
        metrics |= {} if settings["refit"] else {"data": facts(dataset, vectors)["data"]}
        metrics |= {"refit": refit_facts(fitted, dataset, settings)} if "refit" in before.metrics else {}
        metrics = {**before.metrics, **metrics, "update": about}
        end(staged, metrics | {"config": identity.config, "run": identity.run_id, "code": identity.code})
    if rank() > 0:
        return {}
    replace_run(saved, staged, outputs_in(staged))
    return update_again(load_earlier(config), dataset, config)


def update_again(before: EarlierRun, dataset: Dataset, config: dict[str, Any]) -> dict[str, Any]:
    """Write what a kill at its end left out of an updated run, and return its metrics."""
    if rank() == 0:
        shutil.rmtree(before.folder / STAGED, ignore_errors=True)
        if not (before.folder / PAGE).exists():
            write_page(before.folder, dataset, config)
    log.info(f"{before.folder}: this run has all rows, users and titles of the data")
    return before.metrics


def infer(config: dict[str, Any]) -> dict[str, Any]:
    """Write vectors and lists of a trained model again, and its figures where there are none; see run."""
    saved, clock = Path(config["saved_dir"]), {"start": time.perf_counter()}
    trained = load_trained(config, "history.jsonl", "metrics.json")
    dataset, settings = trained.dataset, trained.config
    check_k(settings, dataset)
    vectors = trained.text_vectors
    model = build_model(dataset, vectors, settings, resolve_device(config["device"]))
    restore(model, trained.checkpoint["state_dict"], dataset)
    user_emb, item_emb = model.embeddings()
    broadcast_from_rank0(write_outputs)(saved, dataset, user_emb, item_emb, model.cold_items_with_text(), settings)
    if rank() > 0:
        return {}
    manifest.record_again(saved, *DERIVED, ROWS)
    for path in (saved / "metrics.json", saved / "measured" / "metrics.json"):
        if path.exists():
            return parse_json(path.read_text(encoding="utf-8"))
    asked = {**settings, **trained.checkpoint["config"], **{key: settings[key] for key in CALL_KEYS}}
    metrics = saved_result(trained.checkpoint, saved) | facts(dataset, vectors)
    metrics |= evaluate_and_keep(user_emb, item_emb, dataset, asked)
    clock["infer_s"] = time.perf_counter()
    metrics |= {"timing": seconds(clock), "config": asked, "run": manifest.recorded_run(saved)}
    metrics["code"] = trained.checkpoint.get("code", {})
    write_json(saved / "metrics.json", metrics)
    manifest.record_again(saved, "metrics.json")
    write_page(saved, dataset, config)
    return metrics


def embeddings_before_test(model: LightGCN, dataset: Dataset) -> tuple[Embeddings | None, Embeddings]:
    """Place users by all that is known of them before test; return the final vectors, and before them those by train.

    The first are None where train is all that is known.
    """
    by_train = model.embeddings() if knows_more_before_test(model, dataset) else None
    place_users(model, dataset, "test")
    return by_train, model.embeddings()


@broadcast_from_rank0
def evaluate_and_write(
    by_train: Embeddings | None, final: Embeddings, dataset: Dataset, cold_items: np.ndarray, config: dict[str, Any]
) -> dict[str, Any]:
    """Return the test figures of final vectors, unless nothing is held out, and write what follows from them."""
    metrics = {} if config["refit"] else evaluate_and_keep(*final, dataset, config)
    if metrics and by_train:
        metrics["placed_by_train"] = means(evaluate_warm(*by_train, dataset, "test", config))
    write_outputs(Path(config["saved_dir"]), dataset, *final, cold_items, config)
    return metrics


def evaluate_and_keep(
    user_emb: torch.Tensor, item_emb: torch.Tensor, dataset: Dataset, config: dict[str, Any]
) -> dict[str, Any]:
    """Return the test figures, and write the values of each user, by which finished runs are compared.

    user_metrics.npz has "user_ids", rows (n,) of the users with a warm test pair, and (n,) values of each metric.
    """
    metrics, warm = held_out_metrics(user_emb, item_emb, dataset, config)
    users = np.flatnonzero(np.diff(dataset.warm_pairs("test").indptr))
    with atomic_write(Path(config["saved_dir"]) / USER_METRICS) as file:
        np.savez_compressed(file, user_ids=users.astype(np.int32), **warm)
    if not config["calibrate"]:  # where it is on, the model has both of them in it
        metrics["beside"] = plain_baselines(dataset, config)
    return metrics


def selection_of(measured: dict[str, Any]) -> dict[str, Any]:
    """Return what a measured run chose before training, as choose_before_training returned it."""
    decided = measured["decided"]
    return {key: decided[key] for key in ("selected", "metric", "by") if "selected" in decided}


def check_same_data(measured: dict[str, Any], dataset: Dataset) -> None:
    """Refuse to train once more on data that were edited since they were measured."""
    if measured["data"]["collected"] != dataset.collected:
        raise ValueError("the data were changed while the run was measured; give the command again")


def end(saved: Path, metrics: dict[str, Any]) -> None:
    """Write metrics.json, record all outputs, and delete the checkpoint and the page, which is written last of all."""
    (saved / PAGE).unlink(missing_ok=True)
    write_json(saved / "metrics.json", metrics)
    if metrics["config"]["refit"]:
        (saved / USER_METRICS).unlink(missing_ok=True)
    by_user = [USER_METRICS] if (saved / USER_METRICS).exists() else []
    manifest.record(saved, metrics["run"], *OUTPUTS, ROWS, *by_user)
    (saved / CHECKPOINT).unlink(missing_ok=True)


def end_again(done: dict[str, Any], config: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Write what a kill at its end left out of a finished run, and lists of another length if they are asked for."""
    saved, k = Path(config["saved_dir"]), config["recommend_k"]
    if rank() == 0 and not (saved / PAGE).exists():
        write_page(saved, dataset, config)
    if done["config"]["recommend_k"] == k:
        log.info(f"{saved}: this run is finished; nothing is left to do (to run it again: --resume never)")
        return done
    log.info(f"{saved}: this run is finished; only lists of {k} titles are written (to run it again: --resume never)")
    infer({**config, "mode": "inference"})
    metrics = {**done, "config": {**done["config"], "recommend_k": k}}
    if rank() == 0:
        write_json(saved / "metrics.json", metrics)
        manifest.record_again(saved, "metrics.json")
        write_page(saved, dataset, config)
    return metrics


def write_page(saved: Path, dataset: Dataset, config: dict[str, Any]) -> None:
    """Write the page of a run, in the language that is asked for."""
    write_report(saved, dict(zip(dataset.raw_item_ids, dataset.item_names, strict=True)), config["lang"])


def main() -> None:
    """Run the command line."""
    config = get_config(parse_overrides(sys.argv[1:]))
    with process_group() as number:
        metrics = run(config)
        if number == 0:
            log.info(show(metrics, Path(config["saved_dir"])))


if __name__ == "__main__":
    sys.exit(run_script(main))
