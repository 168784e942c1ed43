"""Compare the 8 combinations of fusion_mode (sum, concat) and text (none, user, item, both), and the baselines.

    python run_ablation.py [--seeds N] [--full] [--only ROW,ROW] [--rerun]

Each combination is a run of main.py under saved_dir/ablation/<tag>/ (further seeds in <tag>/seed_<n>/); one that is
finished with the same settings and data is not run again unless --rerun. Interrupted, the same command goes on.
"""

import sys

from runtime.cli import Flags, answer_early, whole_number

FLAGS = Flags(__doc__, common=True)
FLAGS.add_argument(
    "--seeds", type=whole_number(1), default=1, metavar="N", help="repeat with N seeds, of model and split"
)
FLAGS.add_argument("--full", action="store_true", help="add rows for the loss, the start, id dropout and the encoder")
FLAGS.add_argument("--rerun", action="store_true", help="run finished rows again")
FLAGS.add_argument("--only", default="", metavar="ROW,ROW", help="baselines or combinations to run, as sum-both,ease")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

import itertools
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from config import get_config
from data_loader import Dataset, load_dataset
from evaluation.baselines import BASELINES, EASE_MAX_ITEMS, GRIDS, Factors, too_many_pairs
from evaluation.list_metrics import beyond_accuracy
from evaluation.significance import holm, paired_test, spread
from evaluation.tables import markdown, mean_and_sd
from evaluator import evaluate_warm, means, rank_items
from llm_embedding import TextVectors, fused_text, text_vectors
from main import held_out_metrics, run
from runtime.cli import run_script
from runtime.distributed import resolve_device
from runtime.files import atomic_write, load_torch, write_json
from runtime.identity import complete_metrics, text_origin
from web.report_files import read_json
from web.report_page import write_report

log = logging.getLogger("aglrec")

COMBINATIONS: dict[str, dict[str, Any]] = {
    f"{fusion_mode}-{text}": {
        "fusion_mode": fusion_mode,
        "use_user_llm": text in ("user", "both"),
        "use_item_llm": text in ("item", "both"),
    }
    for fusion_mode in ("sum", "concat")
    for text in ("none", "user", "item", "both")
}
# without text there is nothing to fuse: one model, which is trained once
SAME = {"concat-none": "sum-none"}
OF_TEXT = ("content_cosine", "content_whitened", "content_blocks")
SUMMARISED = ("valid", "warm", "test", "listed", "cold", "groups", "beyond", "train_s")
BOTH = COMBINATIONS["sum-both"]
FULL: dict[str, dict[str, Any]] = {
    f"{loss}-{init}-drop{id_dropout:g}-{encoder}": {
        **BOTH,
        "loss": loss,
        "init": init,
        "id_dropout": id_dropout,
        **({"model_name": "lsa"} if encoder == "lsa" else {}),
    }
    for loss in ("bpr", "softmax")
    for init in ("normal", "svd")
    for id_dropout in (0.0, 0.5)
    for encoder in ("lsa", "model_name")
}


def compare(
    settings: dict[str, dict[str, Any]],
    overrides: dict[str, Any],
    folder: Path,
    seeds: int = 1,
    rerun: bool = False,
    baselines: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Run every row with every seed, unless it is finished, and gather the results.

    Args:
        settings: tag -> overrides of the row.
        overrides: from the command line; they outrank a row's own settings, and a row they contradict is left out.
        folder: where the rows' folders go.
        seeds: how many seeds, from those of the overrides on; a row's n-th run has the same two seeds as any other's.
        rerun: run finished rows again as well.
        baselines: which of them, None for all; those that the data do not allow are left out.

    Returns:
        A row each, baselines first; see summary.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    base = get_config(overrides)
    if base["refit"] or base["refit_valid"]:
        raise ValueError("rows are compared by models of the train part alone; leave out --refit and --refit_valid")
    for number in range(seeds):
        mine = {
            **overrides,
            "vectors_dir": base["vectors_dir"] or base["saved_dir"],
            **{key: base[key] + number for key in ("seed", "split_seed")},
        }
        dataset = load_dataset(get_config(mine))
        vectors = shared_vectors(dataset, get_config({**mine, **BOTH}))
        for name in possible_baselines(dataset, vectors):
            if baselines is not None and name not in baselines:
                continue
            where = _folder(folder, f"baseline-{name}", number)
            results.setdefault(name, []).append(baseline_row(name, where, dataset, vectors, get_config(mine), rerun))
        for tag, row in settings.items():
            own = {"vectors_dir": str(folder / "vectors" / row["model_name"])} if "model_name" in row else {}
            config = get_config({**row, **mine, **own, "saved_dir": str(_folder(folder, tag, number))})
            if any(config[key] != value for key, value in row.items()):
                log.info(f"{tag}: left out, the command line says otherwise")
                continue
            if SAME.get(tag) in results:
                results.setdefault(tag, []).append(results[SAME[tag]][number])
                continue
            results.setdefault(tag, []).append(trained_row(config, dataset, vectors, rerun))
    rows = [summary(tag, settings.get(tag, {}), runs) for tag, runs in results.items()]
    add_p_values(rows, results)
    return rows


def shared_vectors(dataset: Dataset, config: dict[str, Any]) -> TextVectors:
    """Fill the cache that all rows read, with one call for both sides; data without text have no vectors."""
    if not any(dataset.item_texts):
        return TextVectors(None, None, {"used": None, "dim": 0, "digest": None})
    return text_vectors(dataset, config, str(resolve_device(config["device"])))


def possible_baselines(dataset: Dataset, vectors: TextVectors) -> list[str]:
    """Name the baselines these data allow: item by item matrices have to fit, and content needs text."""
    left_out = set() if vectors.items is not None else set(OF_TEXT)
    left_out |= {"content_blocks"} if len(vectors.blocks) < 2 else set()
    if dataset.n_items > EASE_MAX_ITEMS:
        left_out |= {"item_knn", "ease", "edlae"} | ({"graph_filter"} if too_many_pairs(dataset.train) else set())
    for name in sorted(left_out):
        log.info(f"{name}: left out, {dataset.n_items:,} items, text: {vectors.items is not None}")
    return [name for name in BASELINES if name not in left_out]


def trained_row(config: dict[str, Any], dataset: Dataset, vectors: TextVectors, rerun: bool) -> dict[str, Any]:
    """Return the result of a run of main.py in config["saved_dir"], which runs unless it is finished."""
    folder = Path(config["saved_dir"])
    origin = text_origin(text_vectors(dataset, config, str(resolve_device(config["device"]))).info)
    done = None if rerun else complete_metrics(folder, config, dataset.fingerprint, origin)
    log.info(f"{folder}: {'finished before' if done else 'running'}")
    if done is None:
        (folder / "comparison.json").unlink(missing_ok=True)
        done = run({**config, "resume": "never"} if rerun else config)
    if not _is_of(folder / "comparison.json", vectors):
        factors = load_torch(folder / "user_emb.pt"), load_torch(folder / "item_emb.pt")
        write_json(folder / "comparison.json", comparison(factors, dataset, vectors, config))
    return {**done, **read_json(folder / "comparison.json"), "folder": str(folder)}


def baseline_row(
    name: str, folder: Path, dataset: Dataset, vectors: TextVectors, config: dict[str, Any], rerun: bool
) -> dict[str, Any]:
    """Return the result of a baseline, tuned on valid over its grid, which is fitted unless it is finished."""
    made_of = {
        "grid": GRIDS.get(name, {}),
        "data": {"fingerprint": dataset.fingerprint},
        "encoder": {"used": vectors.info["used"] if name in OF_TEXT else None},
        "text": text_origin(vectors.info),
        **{key: config[key] for key in ("seed", "top_k", "early_stop_metric")},
    }
    path = folder / "metrics.json"
    done = read_json(path) if path.exists() and not rerun else {}
    same = all(done.get(key) == value for key, value in json.loads(json.dumps(made_of)).items())
    if not same or not (folder / "comparison.json").exists():
        log.info(f"{folder}: fitting")
        path.unlink(missing_ok=True)
        start = time.perf_counter()
        factors, point, valid = tuned(name, dataset, vectors_for(name, vectors), config)
        write_json(folder / "comparison.json", comparison(factors, dataset, vectors, config))
        done = {
            **made_of,
            "point": point,
            "valid": valid,
            "train_s": time.perf_counter() - start,
            "epoch": 0,
            **held_out_metrics(*factors, dataset, config),
        }
        write_json(path, done)
    return {**done, **read_json(folder / "comparison.json"), "folder": str(folder)}


def vectors_for(name: str, vectors: TextVectors) -> np.ndarray | None:
    """Return what a baseline takes for the titles' text: the encoder's block, or all blocks as the model fuses them."""
    if name not in OF_TEXT or vectors.items is None:
        return None
    if name == "content_blocks":
        return fused_text(vectors, {"whiten": True, "use_user_llm": True, "use_item_llm": True})[len(vectors.users) :]
    return vectors.items[:, : next(iter(vectors.blocks.values()), vectors.items.shape[1])]


def tuned(
    name: str, dataset: Dataset, item_vectors: np.ndarray | None, config: dict[str, Any]
) -> tuple[Factors, dict[str, Any], dict[str, float]]:
    """Fit a baseline at every point of its grid and keep the one that is best on valid.

    Returns:
        Its Factors, the point of the grid, and its valid metrics.
    """
    best, grid, metric = None, GRIDS.get(name, {}), config["early_stop_metric"]
    if grid and not dataset.valid.nnz:
        log.warning(f"{name}: without a valid part nothing tells which of {grid} is best; the first of each is taken")
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        factors = BASELINES[name](dataset, item_vectors, **point)
        valid = means(evaluate_warm(*factors, dataset, "valid", config, auc=metric == "AUC"))
        if best is None or valid[metric] > best[2][metric]:
            best = factors, point, valid
    return best[0], best[1], means(evaluate_warm(*best[0], dataset, "valid", config))


def comparison(factors: Factors, dataset: Dataset, vectors: TextVectors, config: dict[str, Any]) -> dict[str, Any]:
    """Compute what comparing rows needs beside metrics.json: each user's warm metric, and what the lists are like."""
    known, metric = dataset.masked_for("test"), "NDCG@" + str(max(config["top_k"]))
    users = np.flatnonzero(np.diff(dataset.warm_pairs("test").indptr))
    found = evaluate_warm(*factors, dataset, "test", config, auc=False)[metric]
    lists = rank_items(*factors, users, known, max(config["top_k"]), None, config["seed"], config["eval_memory_mb"])
    return {
        "user_metric": metric,
        "text": vectors.info["digest"],
        "beyond": beyond_accuracy(lists.items, dataset.train, vectors.items),
        "user_test": {dataset.raw_user_ids[user]: value for user, value in zip(users, found.tolist(), strict=True)},
    }


def _is_of(path: Path, vectors: TextVectors) -> bool:
    """Tell whether a comparison.json is there and its Diversity is that of these vectors."""
    return path.exists() and read_json(path)["text"] == vectors.info["digest"]


# --- statistics ---


def summary(tag: str, settings: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the runs of a row over seeds.

    Returns:
        {"tag", "overrides", "encoder", "folders", "epochs", "points", "n_seeds"}, and each of SUMMARISED as in a
        run's metrics.json with {"mean", "sd"} for every number; sd is over seeds, with n - 1, and 0 for one seed.
    """
    return {
        "tag": tag,
        "overrides": settings,
        "encoder": runs[0]["encoder"]["used"],
        "n_seeds": len(runs),
        "folders": [run["folder"] for run in runs],
        "epochs": [run["epoch"] for run in runs],
        "points": [run.get("point", {}) for run in runs],
        **{key: spread([run[key] for run in runs]) for key in SUMMARISED},
    }


def add_p_values(rows: list[dict[str, Any]], results: dict[str, list[dict[str, Any]]]) -> None:
    """Test each row against the row without text of the same fusion_mode, and add "gain" and "p" to both.

    See paired_test; p is corrected by Holm's method over all rows that are tested, and None for a single run a row.
    """
    gains, p_values = {}, {}
    for tag in results:
        reference = f"{tag.split('-')[0]}-none"
        if tag in COMBINATIONS and tag != reference and reference in results:
            gains[tag], p_values[tag] = paired_test(results[tag], results[reference])
    corrected = holm(p_values)
    for row in rows:
        row["gain"], row["p"] = gains.get(row["tag"]), corrected.get(row["tag"])


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out as a Markdown table of test figures, mean and, over several seeds, sd.

    The first two columns rank the titles with a history alone; the next is the share of their NDCG that is lost where
    the others are listed as well.
    """
    k = max(int(key.split("@")[1]) for key in rows[0]["warm"] if "@" in key)
    ndcg = f"NDCG@{k}"
    shown = [(f"{name}@{k}", lambda row, name=name: row["warm"][f"{name}@{k}"]) for name in ("Recall", "NDCG")]
    shown += [("lost by listing", lambda row: {"mean": listing_cost(row, ndcg)})]
    if any(row["cold"] for row in rows):
        shown += [
            (f"cold {ndcg} {where.replace('_', ' ')}", lambda row, where=where: row["cold"][where][ndcg])
            for where in ("among_cold", "among_all")
        ]
        shown += [(f"joint {ndcg}", lambda row: row["listed"]["joint"][ndcg])]
    shown += [("coverage", lambda row: row["beyond"]["Coverage"])]
    lines = [["row", *(name for name, _ in shown), "p", "train s"]]
    for row in rows:
        p = "" if row["p"] is None else f"{row['p']:.1g}"
        lines.append(
            [
                row["tag"],
                *(mean_and_sd(pick(row), row["n_seeds"]) for _, pick in shown),
                p,
                f"{row['train_s']['mean']:.1f}",
            ]
        )
    return markdown(lines)


def listing_cost(row: dict[str, Any], metric: str) -> float:
    """Return the share of a row's warm metric that is lost where titles without a history are listed as well."""
    warm = row["warm"][metric]["mean"]
    return 1 - row["listed"]["warm"][metric]["mean"] / warm if warm else 0.0


def picked(settings: dict[str, dict[str, Any]], only: str) -> tuple[dict[str, dict[str, Any]], list[str] | None]:
    """Pick the rows named in --only, parted by commas: settings of models, and baselines; all of them if it is empty.

    Raises:
        ValueError: there is no row of that name.
    """
    if not only:
        return settings, None
    names = [name.strip() for name in only.split(",")]
    unknown = sorted(set(names) - set(settings) - set(BASELINES))
    if unknown:
        raise ValueError(f"--only names {', '.join(unknown)}; the rows are {', '.join([*BASELINES, *settings])}")
    return {tag: row for tag, row in settings.items() if tag in names}, [name for name in BASELINES if name in names]


def _folder(folder: Path, tag: str, number: int) -> Path:
    return folder / tag / f"seed_{number}" if number else folder / tag


def main() -> None:
    asked, overrides = FLAGS.read()
    folder = Path(get_config(overrides)["saved_dir"]) / "ablation"
    settings, baselines = picked({**COMBINATIONS, **(FULL if asked.full else {})}, asked.only)
    rows = compare(settings, overrides, folder, asked.seeds, asked.rerun, baselines)
    if not settings and not rows:
        raise ValueError(f"these data allow none of the baselines {asked.only}")
    if settings and not any(row["tag"] in settings for row in rows):
        raise ValueError(
            "the command line contradicts every combination; leave fusion_mode, use_user_llm and "
            "use_item_llm to the ablation"
        )
    write_json(folder / "results.json", rows)
    with atomic_write(folder / "results.md") as file:
        file.write((table(rows) + "\n").encode())
    log.info("\n" + table(rows))
    log.info(f"{write_report(folder.parent)} has the charts")


if __name__ == "__main__":
    sys.exit(run_script(main))
