"""Search settings on valid: a resumable study (Optuna's TPE), whose best settings every script reads by --config.

    python tune.py [--minutes M] [--trials N] [--key value ...]

A trial is a training with settings drawn by what the trials before it showed; one that lags behind the median of the
others at its epoch is stopped. A setting that the command line names is kept and not searched. The study is in
saved_dir/tuning/; the same command goes on with it, for as many minutes again, or until it has N trials. It writes
saved_dir/tuned.json after every trial:

    python main.py --config saved/tuned.json

Trials are compared on valid. What every run decides there by itself (calibrate, linear_dim, cold_cost) is switched off.
"""

import sys

from runtime.cli import Flags, answer_early, whole_number

FLAGS = Flags(__doc__)
FLAGS.add_argument("--minutes", type=float, default=30, metavar="M", help="how long to search")
FLAGS.add_argument("--trials", type=whole_number(0), metavar="N", help="search until the study has N trials instead")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config import get_config, trained_settings
from data_loader import Dataset, load_dataset
from evaluation.tables import best_trials, markdown
from llm_embedding import TextVectors, text_vectors
from runtime.cli import run_script
from runtime.distributed import resolve_device
from runtime.files import lock_folder, write_json
from training.before_training import best_valid_metric

log = logging.getLogger("aglrec")

Settings = dict[str, Any]
Space = dict[str, tuple[Any, ...]]  # key -> (kind, the arguments of Optuna's suggest_...)

SPACE: Space = {
    "lr": ("log", 0.001, 0.1),
    "embedding_dim": ("choice", (32, 64, 128, 256, 512)),
    "num_layers": ("int", 1, 3),
    "batch_size": ("choice", (256, 512, 1024, 2048, 4096)),
    "epochs": ("choice", (3, 6, 12, 24)),
    "id_dropout": ("float", 0.0, 0.6),
    "reg_lambda": ("log", 1e-6, 1e-2),
    "temperature": ("log", 0.04, 0.5),
}
SWITCHED_OFF = {"calibrate": False, "linear_dim": 0, "cold_cost": 1.0}


def searched(config: Settings, overrides: Settings) -> Space:
    """Return the part of SPACE that these settings leave open and that changes anything."""
    idle = {"temperature"} if not config["normalize"] else {"reg_lambda"}
    idle |= {"id_dropout"} if config["fusion_mode"] == "none" else set()
    return {key: space for key, space in SPACE.items() if key not in overrides and key not in idle}


def search(
    dataset: Dataset, vectors: TextVectors, config: Settings, space: Space, folder: Path, stop: Callable[[int], bool]
) -> dict[str, Any]:
    """Run trials until stop says so, and write the best settings after each.

    Args:
        dataset, vectors: as for build_model; of the dataset only train and valid are looked at.
        config: what is not searched.
        space: as from searched.
        folder: for the study and its table; saved_dir/tuning.
        stop: takes the number of trials that the study has finished.

    Returns:
        The content of tuning.json; see written.

    Raises:
        OSError: another process searches in that folder.
        ValueError: Optuna is not installed, or the folder holds a study of other settings or data, or a damaged one.
    """
    optuna = _optuna()
    with lock_folder(folder):
        study = opened(folder / "study.log")
        fixed = {key: value for key, value in trained_settings(config).items() if key not in space}
        made_of = {"config": fixed, "data": dataset.fingerprint, "text": vectors.info["digest"], "space": space}
        made_of = json.loads(json.dumps(made_of))  # as it is read back: lists for tuples
        if study.user_attrs.get("made_of", made_of) != made_of:
            raise ValueError(
                f"{folder} holds a study of other settings or data; give another --saved_dir, or delete it"
            )
        study.set_user_attr("made_of", made_of)
        found = written(study, config, space, folder)
        while not stop(len(found["trials"])):
            # each trial is seeded by its number, so that an interrupted study continues as if it had not been
            study.sampler = optuna.samplers.TPESampler(seed=config["seed"] * 10_000 + len(found["trials"]))
            study.optimize(lambda trial: attempt(trial, dataset, vectors, config, space), n_trials=1)
            found = written(study, config, space, folder)
            last = found["trials"][-1]
            log.info(
                f"trial {last['number']}: {'stopped' if last['state'] == 'pruned' else 'finished'} at "
                f"{found['metric']} {last['valid'] or 0:.4f}; best so far {found['best']:.4f}"
            )
    return found


def opened(path: Path) -> Any:
    """Open or make a study in a folder that this process has locked; a trial left running by a kill counts as failed.

    Optuna itself would stop at a half-written line, wait for the lock of a killed process, and count that trial.
    """
    optuna = _optuna()
    for left in path.parent.glob(f"{path.name}.lock*"):
        left.unlink()
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    try:
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path))),
            study_name="aglrec",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )
    except (ValueError, LookupError, TypeError, AssertionError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}); delete {path.parent} to search anew") from None
    for trial in study.trials:
        if not trial.state.is_finished():
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def attempt(trial: Any, dataset: Dataset, vectors: TextVectors, config: Settings, space: Space) -> float:
    """Train with the settings that a trial draws and return its best valid metric."""
    pruned = _optuna().TrialPruned
    settings = {**config, **{key: drawn(trial, key, *kind) for key, kind in space.items()}, **SWITCHED_OFF}

    def after_epoch(epoch: int, figure: float) -> None:
        # in percent of the training, so that trials of different lengths can be compared
        trial.report(figure, round(100 * epoch / settings["epochs"]))
        if trial.should_prune():
            raise pruned

    try:
        return best_valid_metric(dataset, vectors, settings, resolve_device(config["device"]), after_epoch)
    except FloatingPointError as error:  # settings under which training explodes are no good, and the search goes on
        log.info(f"trial {trial.number}: {error}")
        raise pruned from None


def drawn(trial: Any, key: str, kind: str, *bounds: Any) -> Any:
    """Let a trial draw a setting."""
    if kind == "choice":
        return trial.suggest_categorical(key, bounds[0])
    if kind == "int":
        return trial.suggest_int(key, *bounds)
    return trial.suggest_float(key, *bounds, log=kind == "log")


def written(study: Any, config: Settings, space: Space, folder: Path) -> dict[str, Any]:
    """Write what a study has found so far, and return it.

    Returns:
        {"metric", "best", "settings", "trials", "importance"}: the best valid metric and its settings, every trial but
        those that a kill interrupted, and the share of the differences that each key explains.
    """
    tried = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    done = [trial for trial in tried if trial.state.name == "COMPLETE"]
    best = study.best_trial if done else None
    importances = _optuna().importance.get_param_importances
    found = {
        "metric": config["early_stop_metric"],
        "best": best.value if best else 0.0,
        "settings": {**trained_settings(config), "data_dir": config["data_dir"], **best.params} if best else {},
        "trials": [
            {"number": number, "state": trial.state.name.lower(), "valid": trial.value, **trial.params}
            for number, trial in enumerate(tried)
        ],
        "importance": importances(study) if len(done) > 3 and len(space) > 1 else {},
    }
    write_json(folder / "tuning.json", found)
    if best:
        write_json(folder.parent / "tuned.json", found["settings"])
    return found


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise ValueError("tune.py needs Optuna: pip install optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def table(found: dict[str, Any], n_trials: int = 10) -> str:
    """Lay out the best trials and the importance of the keys in Markdown."""
    keys, best = best_trials(found, n_trials)
    lines = [["trial", f"valid {found['metric']}", *keys]]
    lines += [[str(trial["number"]), f"{trial['valid']:.4f}", *(f"{trial[key]:.4g}" for key in keys)] for trial in best]
    if found["importance"]:
        lines.append(["importance", "", *(f"{found['importance'][key]:.0%}" for key in keys)])
    return markdown(lines)


def main() -> None:
    """Run the command line."""
    asked, overrides = FLAGS.read()
    config = get_config(overrides)
    if config["temperature"] == 0 and "temperature" in overrides:
        raise ValueError("--temperature 0 lets short runs decide it; leave it out here, where it is searched")
    dataset, deadline = load_dataset(config), time.perf_counter() + 60 * asked.minutes
    if not dataset.valid.nnz:
        raise ValueError("there is no valid part to search on; set a --valid_ratio above 0")
    vectors = text_vectors(dataset, config, str(resolve_device(config["device"])))
    space = searched(config, overrides)
    if not space:
        raise ValueError("the command line names every setting that could be searched; leave some to the search")
    log.info(f"searching {', '.join(space)}")
    saved = Path(config["saved_dir"])

    def stop(n_trials: int) -> bool:
        return n_trials >= asked.trials if asked.trials else n_trials > 0 and time.perf_counter() > deadline

    found = search(dataset, vectors, config, space, saved / "tuning", stop)
    log.info("\n" + table(found))
    log.info(f"{saved / 'tuned.json'} has the best settings: python main.py --config {saved / 'tuned.json'}")


if __name__ == "__main__":
    sys.exit(run_script(main))
