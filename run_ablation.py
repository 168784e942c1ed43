"""Compare the 8 combinations of fusion_mode (sum, concat) and text (none, user, item, both), and the baselines.

    python run_ablation.py [--seeds N] [--full] [--only ROW,...] [--against ROW]
                           [--rerun]

Each combination is a run of main.py under saved_dir/ablation/<tag>/ (further seeds in <tag>/seed_<n>/); one that is
finished with the same settings and data is not run again unless --rerun. Interrupted, the same command goes on.
Baselines that know time (popularity_late, follows and those ending in _recent) need times of the rows and a --recency
other than 0, those that know rates (ending in _rated) rates and a --rating_weight other than 0.
Where linear_dim is above 0, the rows linear and trained are the two halves of the model. With --refit_valid true every
row, baselines too, is fitted once more to train and valid with what valid decided, and test is measured with that.
The tables are results.md and results.tex there; results.json has every pair of rows, results.csv every figure.
"""

import sys

from runtime.cli import Flags, answer_early, whole_number

FLAGS = Flags(__doc__, common=True)
FLAGS.add_argument(
    "--seeds",
    type=whole_number(1),
    default=1,
    metavar="N",
    help="repeat with N seeds, of model and split (one by time has none)",
)
FLAGS.add_argument("--full", action="store_true", help="add rows for the loss, the start, id dropout and the encoder")
FLAGS.add_argument("--rerun", action="store_true", help="run finished rows again")
FLAGS.add_argument("--only", default="", metavar="ROW,ROW", help="rows to run, as sum-both,ease,linear")
FLAGS.add_argument(
    "--against", default="", metavar="ROW", help="row that p is against, instead of the baseline that is best on valid"
)

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from config import get_config
from data_loader import Dataset, load_dataset
from evaluation.baseline_inputs import Factors
from evaluation.baselines import BASELINES, HALF
from evaluation.comparison_tables import write_tables
from evaluation.comparisons import KINDS, Result, Row, add_p_values, summary
from evaluation.held_out import held_out_metrics
from evaluation.list_metrics import beyond_accuracy
from evaluation.ranking import rank_items
from evaluation.rows import BOTH, COMBINATIONS, FULL, SAME, TRAINED, Settings, picked, reads_text, row_config
from evaluation.tuned_baselines import TAKE_TEXT, fitted, made_of, possible_baselines, text_for, tuned
from llm_embedding import TextVectors, text_vectors
from main import run
from runtime.cli import run_script
from runtime.distributed import resolve_device
from runtime.files import load_torch, write_json
from runtime.identity import USER_METRICS, RunIdentity, complete_metrics
from runtime.safe_files import load_arrays
from web.report_files import read_json
from web.report_page import write_report

log = logging.getLogger("aglrec")

NO_VECTORS = TextVectors(None, None, {"used": None, "dim": 0, "digest": None})


def compare(
    settings: dict[str, Settings],
    overrides: Settings,
    folder: Path,
    seeds: int = 1,
    rerun: bool = False,
    baselines: Collection[str] = tuple(BASELINES),
) -> list[Row]:
    """Run every row with every seed, as gathered does, and return a row each, baselines first; see compared."""
    return compared(gathered(settings, overrides, folder, seeds, rerun, baselines), settings)


def gathered(
    settings: dict[str, Settings],
    overrides: Settings,
    folder: Path,
    seeds: int,
    rerun: bool,
    baselines: Collection[str],
) -> dict[str, list[Result]]:
    """Run every row with every seed, unless it is finished.

    Args:
        settings: tag -> overrides of the row.
        overrides: from the command line; they outrank a row's own settings, and a row they contradict is left out.
        folder: where the rows' folders go.
        seeds: how many seeds, from those of the overrides on; the nth runs of all rows have the same two seeds.
        rerun: run finished rows again as well.
        baselines: names of BASELINES and HALF; those that the data or the settings do not allow are left out.

    Returns:
        tag -> a result for each seed, with "seed" and "split_seed"; baselines first.

    Raises:
        ValueError: the overrides ask for refit.
    """
    base = get_config(overrides)
    if base["refit"]:
        raise ValueError("rows are compared by their test figures, and refit trains on the test part; leave it out")
    results: dict[str, list[Result]] = {}
    for nth in range(seeds):
        seed = {key: base[key] + nth for key in ("seed", "split_seed")}
        shared = {**overrides, **seed, "vectors_dir": base["vectors_dir"] or base["saved_dir"]}
        for tag, result in run_rows(settings, shared, folder, nth, rerun, baselines).items():
            results.setdefault(tag, []).append({**result, **seed})
    return results


def compared(results: dict[str, list[Result]], settings: dict[str, Settings], against: str | None = None) -> list[Row]:
    """Summarise the runs of each row, and test the rows against each other; see summary and add_p_values.

    Args:
        results: as from gathered.
        settings: tag -> overrides of the row; a baseline has none.
        against: the rival of all rows; without it, or where it could not be run, the best baseline on valid.
    """
    if against and against not in results:
        log.warning(f"{against} could not be run; p is against the best baseline on valid")
    rows = [summary(tag, settings.get(tag, {}), runs) for tag, runs in results.items()]
    add_p_values(rows, results, against if against in results else None)
    return rows


def run_rows(
    settings: dict[str, Settings], overrides: Settings, folder: Path, nth: int, rerun: bool, baselines: Collection[str]
) -> dict[str, Result]:
    """Run every row with the nth seed, on the same data and text vectors: tag -> result; see compare."""

    def home(tag: str) -> Path:
        return folder / tag / f"seed_{nth}" if nth else folder / tag

    base, found, configs = get_config(overrides), {}, {}
    dataset = load_dataset({**base, "refit_valid": False})
    tested = load_dataset(base) if base["refit_valid"] else dataset
    for tag, row in settings.items():
        own = {"vectors_dir": str(folder / "vectors" / row["model_name"])} if "model_name" in row else {}
        if config := row_config(tag, row, {**overrides, **own, "saved_dir": str(home(tag))}):
            configs[tag] = config
    half = {name: config for name in HALF if name in baselines and (config := row_config(name, {}, overrides))}
    vectors = NO_VECTORS  # nothing is encoded for the Diversity of lists alone
    if TAKE_TEXT & set(baselines) or any(map(reads_text, [*configs.values(), *half.values()])):
        vectors = shared_vectors(dataset, get_config({**overrides, **BOTH}))
    for name in possible_baselines(dataset, vectors, base, baselines):
        found[name] = baseline_row(name, home(f"baseline-{name}"), dataset, vectors, base, rerun, tested)
    for name, config in half.items():
        found[name] = baseline_row(name, home(name), dataset, vectors, config, rerun, tested)
    for tag, config in configs.items():
        found[tag] = found.get(SAME.get(tag)) or trained_row(config, dataset, vectors, rerun, tested)
    return found


def shared_vectors(dataset: Dataset, config: Settings) -> TextVectors:
    """Fill the cache that all rows read, with one call for both sides; data without text have no vectors."""
    if not any(dataset.item_texts):
        return NO_VECTORS
    return text_vectors(dataset, config, str(resolve_device(config["device"])))


def trained_row(
    config: Settings, dataset: Dataset, vectors: TextVectors, rerun: bool, tested: Dataset | None = None
) -> Result:
    """Return the result of a run of main.py in config["saved_dir"], which runs unless it is finished; see run_rows."""
    folder = Path(config["saved_dir"])
    info = text_vectors(dataset, config, str(resolve_device(config["device"]))).info
    done = None if rerun else complete_metrics(RunIdentity.of_run(config, dataset.digests, info))
    log.info(f"{folder}: {'finished before' if done else 'running'}")
    if done is None:
        (folder / "comparison.json").unlink(missing_ok=True)
        done = run({**config, "resume": "never"} if rerun else config)
    compared = read_json(folder / "comparison.json")
    if is_stale(compared, vectors):
        factors = load_torch(folder / "user_emb.pt"), load_torch(folder / "item_emb.pt")
        compared = comparison(folder, factors, load_arrays(folder / USER_METRICS), tested or dataset, vectors, config)
    return {**done, **compared, "folder": str(folder)}


def is_stale(compared: Result | None, vectors: TextVectors) -> bool:
    """Tell whether a comparison.json is missing, or its Diversity that of other texts, where any are at hand."""
    return compared is None or (vectors.items is not None and compared["text"] != vectors.info["digest"])


def baseline_row(
    name: str,
    folder: Path,
    dataset: Dataset,
    vectors: TextVectors,
    config: Settings,
    rerun: bool,
    tested: Dataset | None = None,
) -> Result:
    """Return the result of a baseline, or of HALF, tuned on valid unless that is done.

    Args:
        name: of the baseline.
        folder: where its files go.
        dataset: what it is tuned on.
        vectors: shared by all rows; none if no row takes text.
        config: of all rows; that of the model for HALF.
        rerun: tune it again.
        tested: where given (with refit_valid), the dataset to whose train part, which has the valid pairs, it is fitted
            once more with what was decided, and which test is measured with.
    """
    text, path, tested = text_for(name, vectors, config), folder / "metrics.json", tested or dataset
    origin = made_of(name, dataset, text, vectors, config)
    done, compared = (None, None) if rerun else (read_json(path), read_json(folder / "comparison.json"))
    if not done or not origin.items() <= done.items():
        log.info(f"{folder}: fitting")
        path.unlink(missing_ok=True)
        start = time.perf_counter()
        best = tuned(name, dataset, text, config)
        seconds = time.perf_counter() - start
        done = {**origin, **best.found, "train_s": seconds, "timing": {"fit_s": seconds}, "epoch": 0}
        factors = best.factors if tested is dataset else None
    elif is_stale(compared, vectors):
        factors = None
    else:
        return {**done, **compared, "folder": str(folder)}
    factors = factors or fitted(name, tested, text, config, done["decided"])
    metrics, warm = held_out_metrics(*factors, tested, config)
    compared = comparison(folder, factors, warm, tested, vectors, config)
    write_json(path, done | metrics)
    return {**done, **metrics, **compared, "folder": str(folder)}


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
        The content of comparison.json: "user_test" maps each user with a warm test pair to "user_metric" there, those
        of KINDS each with such a pair (as a liked one) to the same metric of those, "beyond" describes the lists of all
        these users among all items, and "text" is the digest of the vectors of that.
    """
    k = max(config["top_k"])
    metric = f"NDCG@{k}"
    users = np.flatnonzero(np.diff(dataset.warm_pairs("test").indptr))
    seed, memory_mb = config["seed"], config["eval_memory_mb"]

    def by_user(values: np.ndarray) -> dict[str, float]:
        known = np.isfinite(values)
        return {
            dataset.raw_user_ids[user]: value for user, value in zip(users[known], values[known].tolist(), strict=True)
        }

    lists = rank_items(*factors, users, dataset.masked_for("test"), k, seed=seed, memory_mb=memory_mb)
    compared = {
        "user_metric": metric,
        "text": vectors.info["digest"],
        "beyond": beyond_accuracy(lists.items, dataset.train, vectors.items),
        "user_test": by_user(warm[metric]),
        **{key: by_user(warm.get(f"{kind} {metric}", np.full(len(users), np.nan))) for kind, key in KINDS.items()},
    }
    write_json(folder / "comparison.json", compared)
    return compared


def main() -> None:
    """Run the command line."""
    asked, overrides = FLAGS.read()
    config = get_config(overrides)
    folder = Path(config["saved_dir"]) / "ablation"
    settings, baselines = picked({**COMBINATIONS, **TRAINED, **(FULL if asked.full else {})}, asked.only)
    if asked.against and asked.against not in (*settings, *baselines):
        raise ValueError(f"--against names {asked.against}; the rows are {', '.join([*baselines, *settings])}")
    results = gathered(settings, overrides, folder, asked.seeds, asked.rerun, baselines)
    if (combined := settings.keys() - TRAINED) and not combined & results.keys():
        raise ValueError(
            "the command line contradicts every combination; leave fusion_mode, use_user_llm and "
            "use_item_llm to the ablation"
        )
    if not results:
        raise ValueError(f"these data and settings allow none of the rows {asked.only}")
    rows = compared(results, settings, asked.against)
    write_json(folder / "results.json", rows)
    log.info("\n" + write_tables(folder, rows, results))
    log.info(f"{write_report(folder.parent, language=config['lang'])} has the charts")


if __name__ == "__main__":
    sys.exit(run_script(main))
