"""Tell how well users are served whom training has not seen: the run's own users, placed anew from their titles.

    python tools/new_users.py RUN [RUN ...] [--data_dir FOLDER]

RUN is the saved_dir of a finished run of main.py (or a row's folder under ablation/); several are seeds of the same
run. Every user with train rows is folded in from them, as recommend.py --new_user does it, and ranked for beside the
vector that training gave him.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from config import get_config, run_script
from evaluator import evaluate_warm, means
from files import load_torch
from serving import load_run, place
from significance import spread
from tables import markdown, mean_and_sd

log = logging.getLogger("aglrec")


def measure(folder: Path, data_dir: str | None = None) -> dict[str, dict[str, float]]:
    """Evaluate the trained and the folded-in users of a run: {"trained", "folded in"} -> valid and test NDCG@k, ms."""
    trained = load_torch(folder / "best_model.pth")["config"]
    run = load_run(get_config({"saved_dir": str(folder), "data_dir": data_dir or trained["data_dir"]}))
    users, start = np.flatnonzero(np.diff(run.dataset.train.indptr)), time.perf_counter()
    folded = run.user_emb.clone()
    folded[users] = place(run, run.dataset.train[users])
    milliseconds = 1000 * (time.perf_counter() - start) / len(users)
    rows = {"trained": (run.user_emb, 0.0), "folded in": (folded, milliseconds)}
    ndcg = f"NDCG@{max(run.config['top_k'])}"
    return {name: {**{part: means(evaluate_warm(user_emb, run.item_emb, run.dataset, part, run.config,
                                                auc=False))[ndcg] for part in ("valid", "test")}, "ms": ms}
            for name, (user_emb, ms) in rows.items()}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    asked.add_argument("--data_dir")
    asked = asked.parse_args()
    runs = [measure(folder, asked.data_dir) for folder in asked.runs]
    rows = {name: spread([run[name] for run in runs]) for name in runs[0]}
    log.info(markdown([["users", "valid", "test", "ms a user"]] + [
        [name, *(mean_and_sd(row[part], len(runs)) for part in ("valid", "test")), f"{row['ms']['mean']:.1f}"]
        for name, row in rows.items()]))


if __name__ == "__main__":
    sys.exit(run_script(main))
