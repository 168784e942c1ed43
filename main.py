"""One experiment, start to end: load, split, embed, train, evaluate, recommend.

    python main.py [--preset name] [--key value ...]
    torchrun --nproc_per_node=P main.py ...            the same in P processes, each with a share of the columns
"""

import sys

from config import answer_early

if __name__ == "__main__":
    answer_early(__doc__)  # before the imports below, which take seconds

import json
import logging
import pickle
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

from config import CONFIG, RUNTIME_KEYS, experiment, get_config, parse_overrides, run_script
from data_loader import Dataset, load_dataset
from evaluator import evaluate, evaluate_groups, evaluate_listed, evaluate_warm, means
from files import atomic_write, load_torch, save_torch, write_json
from lists import recommend
from llm_embedding import TextVectors, text_vectors
from processes import from_first, in_turn, processes, rank, resolve_device
from report import write_report
from selection import select
from splits import PARTS
from trainer import build_model, fit, restore
from untrusted import parse_json

log = logging.getLogger("aglrec")


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Run one experiment and write everything to config["saved_dir"].

    Args:
        config: as from get_config. With mode "inference" nothing is trained: best_model.pth is reloaded,
            with the settings it was trained with, and vectors and recommendations are written again.

    Returns:
        The content of metrics.json.

    Raises:
        OSError, ValueError: one sentence that says what is wrong and what to do.
    """
    if config["refit"] and config["mode"] == "train":
        return refit(config)
    saved, clock = Path(config["saved_dir"]), {"start": time.perf_counter()}
    device = resolve_device(config["device"])
    checkpoint = load_torch(saved / "best_model.pth") if config["mode"] == "inference" else None
    if checkpoint:
        config = trained_config(checkpoint, config)
    dataset = load_dataset(config)
    check_k(config, dataset)
    clock["load_s"] = time.perf_counter()
    vectors = in_turn(lambda: text_vectors(dataset, config, str(device)))
    clock["encode_s"] = time.perf_counter()
    if checkpoint:
        check_origin(checkpoint, dataset, vectors.info)
    settings, selected = select(dataset, vectors, config, device)
    model = build_model(dataset, vectors, settings, device)
    if checkpoint:
        restore(model, checkpoint["state_dict"], dataset)
    else:
        fitted = fit(model, dataset, settings, signature(config, dataset, vectors), selected)
    clock["fit_s"] = time.perf_counter()
    final = model.embeddings()
    if rank() > 0:  # under torchrun the first process alone evaluates and writes
        return {}
    save_outputs(saved, dataset, *final, model.new_items(), config)
    there = [path for path in (saved / "metrics.json", saved / "measured" / "metrics.json") if path.exists()]
    if checkpoint and there:
        return parse_json(there[0].read_text(encoding="utf-8"))
    metrics = held_out_metrics(*final, dataset, config)
    clock["evaluate_s"] = time.perf_counter()
    metrics |= fitted if not checkpoint else {"epoch": checkpoint["epoch"], "valid": checkpoint["valid"]}
    metrics |= {"data": {**dataset.facts, "fingerprint": dataset.fingerprint}, "encoder": vectors.info,
                "config": config, "versions": versions(), "timing": seconds(clock)}
    write_json(saved / "metrics.json", metrics)
    write_report(saved, dict(zip(dataset.raw_item_ids, dataset.item_names, strict=True)))
    return metrics


def refit(config: dict[str, Any]) -> dict[str, Any]:
    """Measure in saved_dir/measured, then train once more on every positive, and write vectors and lists of that.

    The figures stay those of the measured run, since nothing is held out of the second. That is given the first one's
    settings, its best epoch and all that it decided on valid. A measured run that is finished is not run again.

    Returns:
        The content of metrics.json: the measured run's, and "refit", what the second was trained on.
    """
    saved, device = Path(config["saved_dir"]), resolve_device(config["device"])
    first = {**config, "refit": False, "saved_dir": str(saved / "measured"),
             "vectors_dir": config["vectors_dir"] or config["saved_dir"]}
    held_out = load_dataset(first)
    check_k(first, held_out)
    origin = text_origin(in_turn(lambda: text_vectors(held_out, first, str(device))).info)
    done = from_first(lambda: finished(saved / "measured", first, held_out.fingerprint, origin)) or run(first)
    measured = from_first(lambda: done)
    log.info(f"refit: {measured['epoch']} epochs on every positive, as {saved / 'measured'} decided")
    dataset = load_dataset(config)
    vectors = in_turn(lambda: text_vectors(dataset, config, str(device)))
    settings = {**config, **measured["decided"].get("selected", {})}
    model = build_model(dataset, vectors, settings, device)
    fitted = fit(model, dataset, settings, signature(config, dataset, vectors), measured=measured)
    final = model.embeddings()
    if rank() > 0:
        return {}
    save_outputs(saved, dataset, *final, model.new_items(), config)
    metrics = {**measured, "config": config, "refit": {
        "positives": int(dataset.train.nnz), "epochs": fitted["epochs_run"], "train_s": fitted["train_s"],
        "fingerprint": dataset.fingerprint, "figures": "those of the run in measured, whose model is another"}}
    write_json(saved / "metrics.json", metrics)
    with atomic_write(saved / "report.html") as page:
        page.write((saved / "measured" / "report.html").read_bytes())
    return metrics


def signature(config: dict[str, Any], dataset: Dataset, vectors: TextVectors) -> dict[str, Any]:
    """Say what makes a training this one: a checkpoint of another is not gone on from."""
    return {"config": experiment(config), "dataset": dataset.fingerprint, "text": text_origin(vectors.info)}


def held_out_metrics(user_emb: torch.Tensor, item_emb: torch.Tensor, dataset: Dataset,
                 config: dict[str, Any]) -> dict[str, Any]:
    """Compute the test figures, the only place where test is looked at.

    Returns:
        "test": among all titles with train and valid masked, which the vectors and splits.npz alone reproduce; "warm":
        what rows are compared by, see evaluate_warm; "listed": see evaluate_listed; "groups": see evaluate_groups;
        "cold" and "cold_valid": the pairs of those parts, ranked among the titles of the part and among all.
    """
    known = dataset.known("test")
    metrics = {"test": means(evaluate(user_emb, item_emb, dataset.test, dataset.train + dataset.valid, config)),
               "warm": means(evaluate_warm(user_emb, item_emb, dataset, "test", config)),
               "listed": evaluate_listed(user_emb, item_emb, dataset, config),
               "groups": evaluate_groups(user_emb, item_emb, dataset, config)}
    for name, target in (("cold", dataset.cold_test), ("cold_valid", dataset.cold_valid)):
        metrics[name] = {}
        if target.nnz:
            cold = np.flatnonzero(np.bincount(target.indices, minlength=dataset.n_items))
            metrics[name] = {"n_items": len(cold),
                             "among_cold": means(evaluate(user_emb, item_emb, target, known, config, cold)),
                             "among_all": means(evaluate(user_emb, item_emb, target, known, config))}
    return metrics


def trained_config(checkpoint: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of training with this run's RUNTIME_KEYS and recommend_k, and name what is ignored.

    The encoder is the one that was really used, which may have been the fallback.
    """
    taken, trained = (*RUNTIME_KEYS, "recommend_k"), {**CONFIG, **checkpoint["config"]}  # an older run lacks new keys
    ignored = [f"{key} {config[key]} (trained with {trained[key]})" for key in config
               if key not in taken and config[key] not in (CONFIG[key], trained[key])]
    if ignored:
        log.warning("inference keeps the settings of training; ignored: " + ", ".join(ignored))
    encoder = checkpoint["text"]["encoder"] if "text" in checkpoint else None
    return {**trained, **{key: config[key] for key in taken}, "model_name": encoder or trained["model_name"]}


def finished(folder: Path, config: dict[str, Any], fingerprint: str, origin: dict[str, Any]) -> dict[str, Any] | None:
    """Return the metrics of a finished run with these settings, data and text vectors (see text_origin), else None."""
    path = folder / "metrics.json"
    if not path.exists():
        return None
    metrics = parse_json(path.read_text(encoding="utf-8"))
    if "digest" not in metrics["encoder"]:  # an older version's, whose figures mean something else
        return None
    of_run = experiment(metrics["config"]), metrics["data"]["fingerprint"], text_origin(metrics["encoder"])
    return metrics if of_run == (experiment(config), fingerprint, origin) else None


def text_origin(info: dict[str, Any]) -> dict[str, Any]:
    """Say what text vectors were made of: the encoder that was used, and the digest of it and of all texts."""
    return {"encoder": info["used"], "digest": info["digest"]}


def check_k(config: dict[str, Any], dataset: Dataset) -> None:
    """Refuse lists longer than the catalogue before anything is encoded or trained."""
    for key, k in (("top_k", max(config["top_k"])), ("recommend_k", config["recommend_k"])):
        if k > dataset.n_items:
            raise ValueError(f"{key} asks for {k} titles, but the data have {dataset.n_items}; lower --{key}")


def check_origin(checkpoint: dict[str, Any], dataset: Dataset, info: dict[str, Any] | None = None) -> None:
    """Refuse weights trained on other data, whose rows would belong to other users and titles, or on other texts."""
    if checkpoint["dataset_fingerprint"] != dataset.fingerprint:
        raise ValueError("best_model.pth was trained on other data (or another split of it); restore the files in "
                         "data_dir, or train again with --mode train")
    if info is not None and checkpoint.get("text") != text_origin(info):
        raise ValueError("best_model.pth was trained on other text vectors: a text of anime.tsv or a comment has "
                         f"changed since, or the encoder has (it is {info['used']!r} now); restore them, or train "
                         "again with --mode train")


def save_outputs(saved: Path, dataset: Dataset, user_emb: torch.Tensor, item_emb: torch.Tensor,
                 new_items: np.ndarray, config: dict[str, Any]) -> None:
    """Write vectors, lists, id mappings, splits and each user's train titles; new_items are the rows of the shelf."""
    save_torch(saved / "user_emb.pt", user_emb.float().cpu().clone())
    save_torch(saved / "item_emb.pt", item_emb.float().cpu().clone())
    for name, candidates in (("recommendations.json", None), ("new_titles.json", new_items)):
        write_json(saved / name, recommend(user_emb, item_emb, dataset, config["recommend_k"], config,
                                           candidates=candidates))
    write_json(saved / "id_mappings.json", {"user_ids": dataset.raw_user_ids, "item_ids": dataset.raw_item_ids})
    with atomic_write(saved / "splits.npz") as file:
        np.savez_compressed(file, **{name: np.argwhere(getattr(dataset, name)).astype(np.int32)
                                     for name in (*PARTS, "aside")})
    titles = np.array(dataset.raw_item_ids, dtype=object)
    train = {user: titles[items].tolist() for user, items in
             zip(dataset.raw_user_ids, np.split(dataset.train.indices, dataset.train.indptr[1:-1]), strict=True)}
    with atomic_write(saved / "train_user_dict.pkl") as file:
        pickle.dump(train, file)


def versions() -> dict[str, str]:
    """Name what this run was made with."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "scipy": scipy.__version__, "platform": platform.platform()}


def seconds(clock: dict[str, float]) -> dict[str, float]:
    """Turn moments into the seconds each step took, and their total."""
    moments = list(clock.values())
    return {**{name: b - a for name, a, b in zip(list(clock)[1:], moments, moments[1:], strict=False)},
            "total_s": moments[-1] - moments[0]}


def show(metrics: dict[str, Any], saved: Path, n_users: int = 5) -> str:
    """Lay out the test figures and the lists of the first users for the screen."""
    cutoffs, lines = metrics["config"]["top_k"], []
    for name, found in (("test, titles with a history", metrics["warm"]), ("test, all titles", metrics["test"])):
        lines += ["", f"{name:28s}" + "".join(f"{'@' + str(k):>9s}" for k in cutoffs)]
        lines += [f"{key:28s}" + "".join(f"{found[f'{key}@{k}']:9.4f}" for k in cutoffs)
                  for key in ("Recall", "NDCG", "Hit")] + [f"{'AUC':28s}{found['AUC']:9.4f}"]
    lists = json.loads((saved / "recommendations.json").read_text(encoding="utf-8"))
    for user, titles in list(lists.items())[:n_users]:
        lines += ["", f"for user {user}:"] + [f"  {rank}. {title['name']}  ({title['score']:.3f})"
                                              for rank, title in enumerate(titles[:5], start=1)]
    encoder = metrics["encoder"]
    if encoder["used"] not in (None, encoder["requested"]):
        lines += ["", f"!!! text vectors are those of {encoder['used']!r}, not of {encoder['requested']!r}"]
    return "\n".join(lines + ["", f"everything is in {saved}"])


def main() -> None:
    config = get_config(parse_overrides(sys.argv[1:]))
    with processes() as number:
        metrics = run(config)
        if number == 0:
            log.info(show(metrics, Path(config["saved_dir"])))


if __name__ == "__main__":
    sys.exit(run_script(main))
