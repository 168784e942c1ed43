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

import json
import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from config import get_config
from data_loader import Dataset, load_dataset
from evaluation.baselines import BASELINES, GRIDS, OPEN_ENDED, Factors
from evaluation.list_metrics import beyond_accuracy
from evaluation.ranking import rank_items
from evaluation.significance import holm, paired_test, spread
from evaluation.tables import ablation_table
from evaluation.tuned_baselines import OF_TEXT, possible_baselines, text_for, tuned
from evaluator import held_out_metrics
from llm_embedding import TextVectors, text_vectors
from main import run
from runtime.cli import run_script
from runtime.distributed import resolve_device
from runtime.files import atomic_write, load_torch, write_json
from runtime.identity import USER_METRICS, RunIdentity, complete_metrics, text_origin
from runtime.safe_files import load_arrays
from runtime.source import run_digests, source_digests
from web.report_files import read_json
from web.report_page import write_report

log = logging.getLogger("aglrec")

Settings = dict[str, Any]  # key -> value, as config.py has them
Result = dict[str, Any]  # metrics.json and comparison.json of a run, and its "folder"

COMBINATIONS: dict[str, Settings] = {
    f"{fusion_mode}-{text}": {
        "fusion_mode": fusion_mode,
        "use_user_llm": text in ("user", "both"),
        "use_item_llm": text in ("item", "both"),
    }
    for fusion_mode in ("sum", "concat")
    for text in ("none", "user", "item", "both")
}
SAME = {"concat-none": "sum-none"}  # without text there is nothing to fuse: one model, which is trained once
BOTH = COMBINATIONS["sum-both"]
FULL: dict[str, Settings] = {
    f"{loss}-{init}-drop{drop:g}-{encoder}": {**BOTH, "loss": loss, "init": init, "id_dropout": drop, **encoder_setting}
    for loss in ("bpr", "softmax")
    for init in ("normal", "svd")
    for drop in (0.0, 0.5)
    for encoder, encoder_setting in (("lsa", {"model_name": "lsa"}), ("model_name", {}))
}
SUMMARISED = ("valid", "warm", "test", "listed", "cold", "groups", "beyond", "train_s")


def compare(
    settings: dict[str, Settings],
    overrides: Settings,
    folder: Path,
    seeds: int = 1,
    rerun: bool = False,
    baselines: Collection[str] = tuple(BASELINES),
) -> list[dict[str, Any]]:
    """Run every row with every seed, unless it is finished, and gather the results.

    Args:
        settings: tag -> overrides of the row.
        overrides: from the command line; they outrank a row's own settings, and a row they contradict is left out.
        folder: where the rows' folders go.
        seeds: how many seeds, from those of the overrides on; the nth runs of all rows have the same two seeds.
        rerun: run finished rows again as well.
        baselines: names of BASELINES; those that the data do not allow are left out.

    Returns:
        A row each, baselines first; see summary.

    Raises:
        ValueError: the overrides ask for refit or refit_valid.
    """
    base = get_config(overrides)
    if base["refit"] or base["refit_valid"]:
        raise ValueError("rows are compared by models of the train part alone; leave out --refit and --refit_valid")
    results: dict[str, list[Result]] = {}
    for nth in range(seeds):
        seed = {key: base[key] + nth for key in ("seed", "split_seed")}
        shared = {**overrides, **seed, "vectors_dir": base["vectors_dir"] or base["saved_dir"]}
        for tag, result in run_rows(settings, shared, folder, nth, rerun, baselines).items():
            results.setdefault(tag, []).append(result)
    rows = [summary(tag, settings.get(tag, {}), runs) for tag, runs in results.items()]
    add_p_values(rows, results)
    return rows


def run_rows(
    settings: dict[str, Settings], overrides: Settings, folder: Path, nth: int, rerun: bool, baselines: Collection[str]
) -> dict[str, Result]:
    """Run every row with the nth seed, on the same data and text vectors: tag -> result; see compare."""

    def home(tag: str) -> Path:
        return folder / tag / f"seed_{nth}" if nth else folder / tag

    found, config = {}, get_config(overrides)
    dataset = load_dataset(config)
    vectors = shared_vectors(dataset, get_config({**overrides, **BOTH}))
    for name in possible_baselines(dataset, vectors, baselines):
        found[name] = baseline_row(name, home(f"baseline-{name}"), dataset, vectors, config, rerun)
    for tag, row in settings.items():
        own = {"vectors_dir": str(folder / "vectors" / row["model_name"])} if "model_name" in row else {}
        config = get_config({**row, **overrides, **own, "saved_dir": str(home(tag))})
        if any(config[key] != value for key, value in row.items()):
            log.info(f"{tag}: left out, the command line contradicts it")
        else:
            found[tag] = found.get(SAME.get(tag)) or trained_row(config, dataset, vectors, rerun)
    return found


def shared_vectors(dataset: Dataset, config: Settings) -> TextVectors:
    """Fill the cache that all rows read, with one call for both sides; data without text have no vectors."""
    if not any(dataset.item_texts):
        return TextVectors(None, None, {"used": None, "dim": 0, "digest": None})
    return text_vectors(dataset, config, str(resolve_device(config["device"])))


def trained_row(config: Settings, dataset: Dataset, vectors: TextVectors, rerun: bool) -> Result:
    """Return the result of a run of main.py in config["saved_dir"], which runs unless it is finished."""
    folder = Path(config["saved_dir"])
    origin = text_origin(text_vectors(dataset, config, str(resolve_device(config["device"]))).info)
    done = None if rerun else complete_metrics(RunIdentity(config, dataset.fingerprint, origin, run_digests(config)))
    log.info(f"{folder}: {'finished before' if done else 'running'}")
    if done is None:
        (folder / "comparison.json").unlink(missing_ok=True)
        done = run({**config, "resume": "never"} if rerun else config)
    compared = read_json(folder / "comparison.json")
    if compared is None or compared["text"] != vectors.info["digest"]:  # or its Diversity is that of other texts
        factors = load_torch(folder / "user_emb.pt"), load_torch(folder / "item_emb.pt")
        compared = comparison(folder, factors, load_arrays(folder / USER_METRICS), dataset, vectors, config)
    return {**done, **compared, "folder": str(folder)}


def baseline_row(
    name: str, folder: Path, dataset: Dataset, vectors: TextVectors, config: Settings, rerun: bool
) -> Result:
    """Return the result of a baseline, tuned on valid over its grid, which is fitted unless it is finished."""
    made_of = {
        "grid": GRIDS.get(name, {}),
        "open_ended": OPEN_ENDED.get(name, ()),
        "data": {"fingerprint": dataset.fingerprint},
        "encoder": {"used": vectors.info["used"] if name in OF_TEXT else None},
        "text": text_origin(vectors.info),
        "code": source_digests("evaluation.tuned_baselines"),
        **{key: config[key] for key in ("seed", "top_k", "early_stop_metric")},
    }
    path = folder / "metrics.json"
    done, compared = (None, None) if rerun else (read_json(path), read_json(folder / "comparison.json"))
    if not done or not compared or not json.loads(json.dumps(made_of)).items() <= done.items():
        log.info(f"{folder}: fitting")
        path.unlink(missing_ok=True)
        start = time.perf_counter()
        factors, point, valid = tuned(name, dataset, text_for(name, vectors), config)
        done = {**made_of, "point": point, "valid": valid, "train_s": time.perf_counter() - start, "epoch": 0}
        metrics, warm = held_out_metrics(*factors, dataset, config)
        done |= metrics
        compared = comparison(folder, factors, warm, dataset, vectors, config)
        write_json(path, done)
    return {**done, **compared, "folder": str(folder)}


def comparison(
    folder: Path,
    factors: Factors,
    warm: dict[str, np.ndarray],
    dataset: Dataset,
    vectors: TextVectors,
    config: Settings,
) -> dict[str, Any]:
    """Write, and return, what comparing rows needs in addition to metrics.json: per-user metrics, beyond-accuracy.

    Args:
        folder: of the row.
        factors: final vectors of users and items.
        warm: per-user values on the warm test pairs, as from held_out_metrics.
        dataset: shared by all rows.
        vectors: shared by all rows.
        config: uses top_k, seed and eval_memory_mb.

    Returns:
        The content of comparison.json: "user_test" maps each user with a warm test pair to "user_metric" there,
        "beyond" describes the lists of these users among all items, and "text" is the digest of the vectors of that.
    """
    k = max(config["top_k"])
    metric = f"NDCG@{k}"
    users = np.flatnonzero(np.diff(dataset.warm_pairs("test").indptr))
    seed, memory_mb = config["seed"], config["eval_memory_mb"]
    lists = rank_items(*factors, users, dataset.masked_for("test"), k, seed=seed, memory_mb=memory_mb)
    compared = {
        "user_metric": metric,
        "text": vectors.info["digest"],
        "beyond": beyond_accuracy(lists.items, dataset.train, vectors.items),
        "user_test": {
            dataset.raw_user_ids[user]: value for user, value in zip(users, warm[metric].tolist(), strict=True)
        },
    }
    write_json(folder / "comparison.json", compared)
    return compared


def summary(tag: str, settings: Settings, runs: list[Result]) -> dict[str, Any]:
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


def add_p_values(rows: list[dict[str, Any]], results: dict[str, list[Result]]) -> None:
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


def picked(settings: dict[str, Settings], only: str) -> tuple[dict[str, Settings], list[str]]:
    """Pick the rows named in --only, split by commas: settings of models, and baselines; all of them if it is empty.

    Raises:
        ValueError: there is no row of that name.
    """
    rows = [*BASELINES, *settings]
    names = [name.strip() for name in only.split(",")] if only else rows
    if unknown := sorted(set(names) - set(rows)):
        raise ValueError(f"--only names {', '.join(unknown)}; the rows are {', '.join(rows)}")
    return {tag: row for tag, row in settings.items() if tag in names}, [name for name in BASELINES if name in names]


def main() -> None:
    """Run the command line."""
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
        file.write((ablation_table(rows) + "\n").encode())
    log.info("\n" + ablation_table(rows))
    log.info(f"{write_report(folder.parent)} has the charts")


if __name__ == "__main__":
    sys.exit(run_script(main))
