"""Compare the 8 combinations of fusion_mode (sum, concat) and text (none, user, item, both), and the baselines.

    python run_ablation.py [--seeds N] [--full] [--rerun] [--preset name] [--key value ...]

--seeds N repeats everything with N seeds; --full adds rows for the loss, the start, id dropout and the encoder.
Each combination is a run of main.py under saved_dir/ablation/<tag>/ (further seeds in <tag>/seed_<n>/); one that is
finished with the same settings and data is not run again unless --rerun. Interrupted, the same command goes on.
"""

import argparse
import itertools
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from baselines import BASELINES, EASE_MAX_ITEMS, GRIDS, Factors
from config import experiment, get_config, parse_overrides, run_script
from data_loader import Dataset, load_dataset
from evaluator import beyond_accuracy, evaluate, means, rank_items
from llm_embedding import TextVectors, atomic_write, text_vectors, write_json
from main import held_out_metrics, run
from report import write_report
from trainer import load_torch, resolve_device

log = logging.getLogger("aglrec")

COMBINATIONS: dict[str, dict[str, Any]] = {
    f"{fusion_mode}-{text}": {"fusion_mode": fusion_mode, "use_user_llm": text in ("user", "both"),
                              "use_item_llm": text in ("item", "both")}
    for fusion_mode in ("sum", "concat") for text in ("none", "user", "item", "both")
}
OF_TEXT = ("content_cosine", "content_whitened")
SUMMARISED = ("valid", "test", "cold", "groups", "beyond", "train_s")
BOTH = COMBINATIONS["sum-both"]
FULL: dict[str, dict[str, Any]] = {
    f"{loss}-{init}-drop{id_dropout:g}-{encoder}": {**BOTH, "loss": loss, "init": init, "id_dropout": id_dropout,
                                                    **({"model_name": "lsa"} if encoder == "lsa" else {})}
    for loss in ("bpr", "softmax") for init in ("normal", "svd") for id_dropout in (0.0, 0.5)
    for encoder in ("lsa", "model_name")
}


def compare(settings: dict[str, dict[str, Any]], overrides: dict[str, Any], folder: Path, seeds: int = 1,
            rerun: bool = False) -> list[dict[str, Any]]:
    """Run every row with every seed, unless it is finished, and gather the results.

    Args:
        settings: tag -> overrides of the row.
        overrides: from the command line; they outrank a row's own settings, and a row they contradict is left out.
        folder: where the rows' folders go.
        seeds: how many seeds, from that of the overrides on.
        rerun: run finished rows again as well.

    Returns:
        A row each, baselines first; see summary.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for number in range(seeds):
        base = get_config(overrides)
        mine = {**overrides, "seed": base["seed"] + number, "vectors_dir": base["vectors_dir"] or base["saved_dir"]}
        dataset = load_dataset(get_config(mine))
        vectors = shared_vectors(dataset, get_config({**mine, **BOTH}))
        for name in possible_baselines(dataset, vectors):
            where = _folder(folder, f"baseline-{name}", number)
            results.setdefault(name, []).append(baseline(name, where, dataset, vectors, get_config(mine), rerun))
        for tag, row in settings.items():
            own = {"vectors_dir": str(folder / "vectors" / row["model_name"])} if "model_name" in row else {}
            config = get_config({**row, **mine, **own, "saved_dir": str(_folder(folder, tag, number))})
            if any(config[key] != value for key, value in row.items()):
                log.info(f"{tag}: left out, the command line says otherwise")
                continue
            results.setdefault(tag, []).append(model(config, dataset, vectors, rerun))
    rows = [summary(tag, settings.get(tag, {}), runs) for tag, runs in results.items()]
    add_p_values(rows, results)
    return rows


def shared_vectors(dataset: Dataset, config: dict[str, Any]) -> TextVectors:
    """Fill the cache that all rows read, with one call for both sides; data without text have no vectors."""
    if not any(dataset.item_texts):
        return TextVectors(None, None, {"used": None, "dim": 0})
    return text_vectors(dataset, config, str(resolve_device(config["device"])))


def possible_baselines(dataset: Dataset, vectors: TextVectors) -> list[str]:
    """Name the baselines these data allow: item by item matrices have to fit, and content needs text."""
    left_out = set() if vectors.items is not None else set(OF_TEXT)
    if dataset.n_items > EASE_MAX_ITEMS:
        left_out |= {"item_knn", "ease"}
    for name in sorted(left_out):
        log.info(f"{name}: left out, {dataset.n_items:,} items, text: {vectors.items is not None}")
    return [name for name in BASELINES if name not in left_out]


def model(config: dict[str, Any], dataset: Dataset, vectors: TextVectors, rerun: bool) -> dict[str, Any]:
    """Return the result of a run of main.py in config["saved_dir"], which runs unless it is finished."""
    folder = Path(config["saved_dir"])
    done = None if rerun else finished(folder, config, dataset.fingerprint)
    log.info(f"{folder}: {'finished before' if done else 'running'}")
    if done is None:
        (folder / "comparison.json").unlink(missing_ok=True)
        done = run({**config, "resume": "never"} if rerun else config)
    if not (folder / "comparison.json").exists():
        factors = load_torch(folder / "user_emb.pt"), load_torch(folder / "item_emb.pt")
        write_json(folder / "comparison.json", comparison(factors, dataset, vectors, config))
    return {**done, **_read(folder / "comparison.json"), "folder": str(folder)}


def baseline(name: str, folder: Path, dataset: Dataset, vectors: TextVectors, config: dict[str, Any],
             rerun: bool) -> dict[str, Any]:
    """Return the result of a baseline, tuned on valid over its grid, which is fitted unless it is finished."""
    encoder = {"used": vectors.info["used"], "dim": vectors.info["dim"]} if name in OF_TEXT else {"used": None}
    made_of = {"grid": GRIDS.get(name, {}), "data": {"fingerprint": dataset.fingerprint}, "encoder": encoder,
               **{key: config[key] for key in ("seed", "top_k", "early_stop_metric")}}
    path = folder / "metrics.json"
    done = _read(path) if path.exists() and not rerun else {}
    same = all(done.get(key) == value for key, value in json.loads(json.dumps(made_of)).items())
    if not same or not (folder / "comparison.json").exists():
        log.info(f"{folder}: fitting")
        path.unlink(missing_ok=True)
        start = time.perf_counter()
        factors, point, valid = tuned(name, dataset, vectors.items, config)
        write_json(folder / "comparison.json", comparison(factors, dataset, vectors, config))
        done = {**made_of, "point": point, "valid": valid, "train_s": time.perf_counter() - start, "epoch": 0,
                **held_out_metrics(*factors, dataset, config)}
        write_json(path, done)
    return {**done, **_read(folder / "comparison.json"), "folder": str(folder)}


def tuned(name: str, dataset: Dataset, item_vectors: np.ndarray | None,
          config: dict[str, Any]) -> tuple[Factors, dict[str, Any], dict[str, float]]:
    """Fit a baseline at every point of its grid and keep the one that is best on valid.

    Returns:
        Its Factors, the point of the grid, and its valid metrics.
    """
    best, grid, metric = None, GRIDS.get(name, {}), config["early_stop_metric"]
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        factors = BASELINES[name](dataset, item_vectors, **point)
        valid = means(evaluate(*factors, dataset.valid, dataset.train, config, auc=metric == "AUC"))
        if best is None or valid[metric] > best[2][metric]:
            best = factors, point, valid
    return best[0], best[1], means(evaluate(*best[0], dataset.valid, dataset.train, config))


def comparison(factors: Factors, dataset: Dataset, vectors: TextVectors, config: dict[str, Any]) -> dict[str, Any]:
    """Compute what comparing rows needs beside metrics.json: each user's test metric, and what the lists are like."""
    known = dataset.train + dataset.valid
    metric = "NDCG@" + str(max(config["top_k"]))
    users = np.flatnonzero(np.diff(dataset.test.indptr))
    found = evaluate(*factors, dataset.test, known, config, auc=False)[metric]
    lists = rank_items(*factors, users, known, max(config["top_k"]), None, config["seed"], config["eval_memory_mb"])
    return {"user_metric": metric, "beyond": beyond_accuracy(lists.items, dataset.train, vectors.items),
            "user_test": {dataset.raw_user_ids[user]: value for user, value in zip(users, found.tolist(), strict=True)}}


def finished(folder: Path, config: dict[str, Any], fingerprint: str) -> dict[str, Any] | None:
    """Return the metrics of a finished run with these settings and data, else None."""
    path = folder / "metrics.json"
    if not path.exists():
        return None
    metrics = _read(path)
    same = experiment(metrics["config"]) == experiment(config) and metrics["data"]["fingerprint"] == fingerprint
    return metrics if same else None


# --- statistics ---

def summary(tag: str, settings: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the runs of a row over seeds.

    Returns:
        {"tag", "overrides", "encoder", "folders", "epochs", "points", "n_seeds"}, and each of SUMMARISED as in a
        run's metrics.json with {"mean", "sd"} for every number; sd is over seeds, with n - 1, and 0 for one seed.
    """
    return {"tag": tag, "overrides": settings, "encoder": runs[0]["encoder"]["used"], "n_seeds": len(runs),
            "folders": [run["folder"] for run in runs], "epochs": [run["epoch"] for run in runs],
            "points": [run.get("point", {}) for run in runs],
            **{key: spread([run[key] for run in runs]) for key in SUMMARISED}}


def add_p_values(rows: list[dict[str, Any]], results: dict[str, list[dict[str, Any]]]) -> None:
    """Test each row against the row without text of the same fusion_mode, and add "gain" and "p" to both.

    See paired_test; p is corrected by Holm's method over all rows that are tested.
    """
    gains, p_values = {}, {}
    for tag in results:
        reference = f"{tag.split('-')[0]}-none"
        if tag in COMBINATIONS and tag != reference and reference in results:
            gains[tag], p_values[tag] = paired_test(results[tag], results[reference])
    corrected = holm(p_values)
    for row in rows:
        row["gain"], row["p"] = gains.get(row["tag"]), corrected.get(row["tag"])


def paired_test(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[float, float]:
    """Test the runs of a row against those of another with the same seeds, as of comparison.

    A user's difference in the test metric is averaged over the seeds that test him.

    Returns:
        The mean difference over users, and p of a two-sided paired t-test over users.
    """
    differences: dict[str, list[float]] = {}
    for one, other in zip(ours, theirs, strict=True):
        for user, value in one["user_test"].items():
            differences.setdefault(user, []).append(value - other["user_test"][user])
    of_users = np.array([np.mean(values) for values in differences.values()])
    return float(of_users.mean()), float(ttest_1samp(of_users, 0).pvalue) if of_users.any() else 1.0


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Correct p values for their number: name -> p, in the order given.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.get)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out as a Markdown table of test metrics, mean and, over several seeds, sd."""
    k = max(int(key.split("@")[1]) for key in rows[0]["test"] if "@" in key)
    shown = [(f"test {name}@{k}", lambda row, name=name: row["test"][f"{name}@{k}"]) for name in ("Recall", "NDCG")]
    if any(row["cold"] for row in rows):
        shown += [(f"cold NDCG@{k} {where.replace('_', ' ')}", lambda row, where=where: row["cold"][where][f"NDCG@{k}"])
                  for where in ("among_cold", "among_all")]
    shown += [("coverage", lambda row: row["beyond"]["Coverage"])]
    lines = [["row", *(name for name, _ in shown), "p", "train s"]]
    for row in rows:
        p = "" if row["p"] is None else f"{row['p']:.1g}"
        lines.append([row["tag"], *(mean_and_sd(pick(row), row["n_seeds"]) for _, pick in shown), p,
                      f"{row['train_s']['mean']:.1f}"])
    return markdown(lines)


def markdown(lines: list[list[str]]) -> str:
    """Lay out cells below the heading that is the first line; all columns but the first keep to the right."""
    widths = [max(2, *map(len, column)) for column in zip(*lines, strict=True)]
    lines = [lines[0], ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], *lines[1:]]
    return "\n".join("| " + " | ".join(cell.ljust(width) if number == 0 else cell.rjust(width) for number, (cell, width)
                                       in enumerate(zip(line, widths, strict=True))) + " |" for line in lines)


def mean_and_sd(number: dict[str, float], n_seeds: int) -> str:
    """Write a figure of summary; with one seed there is no sd."""
    return f"{number['mean']:.4f}" + (f" ± {number['sd']:.4f}" if n_seeds > 1 else "")


def spread(values: list[Any]) -> Any:
    """Turn equal dicts of numbers, one a run, into a dict of {"mean", "sd"}; dicts may be nested."""
    if isinstance(values[0], dict):
        return {key: spread([value[key] for value in values]) for key in values[0]
                if all(key in value for value in values)}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


def _folder(folder: Path, tag: str, number: int) -> Path:
    return folder / tag / f"seed_{number}" if number else folder / tag


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("--seeds", type=int, default=1)
    asked.add_argument("--full", action="store_true")
    asked.add_argument("--rerun", action="store_true")
    asked, words = asked.parse_known_args()
    if asked.seeds < 1:
        raise ValueError(f"--seeds is {asked.seeds}; it must be at least 1")
    overrides = parse_overrides(words)
    folder = Path(get_config(overrides)["saved_dir"]) / "ablation"
    rows = compare({**COMBINATIONS, **(FULL if asked.full else {})}, overrides, folder, asked.seeds, asked.rerun)
    if not any(row["tag"] in COMBINATIONS for row in rows):
        raise ValueError("the command line contradicts every combination; leave fusion_mode, use_user_llm and "
                         "use_item_llm to the ablation")
    write_json(folder / "results.json", rows)
    with atomic_write(folder / "results.md") as file:
        file.write((table(rows) + "\n").encode())
    log.info("\n" + table(rows))
    log.info(f"{write_report(folder.parent)} has the charts")


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
