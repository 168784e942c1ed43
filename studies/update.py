"""Simulate data that grow from day to day: what updates of a run lose against training anew, and what they cost.

    python studies/update.py DATA [--periods 30] [--start 0.7] [--anew_every 1]
                             [--whole_every 10] [--replay 0.2]

The oldest rows of DATA (a share --start of them, and all without a time) make a run with nothing held out (refit). The
others come in periods of as many rows each, in the order of their times; a title comes with its first row. After each
period the run is updated (main.py --mode update). For comparison, after every --anew_every periods a model is trained
anew on the same rows, with all that the first run decided on valid, and after every --whole_every one that decides
everything anew, as the first command would. Each ranks, for every user with a row in the NEXT period, the titles that
somebody has collected and the user has not; NDCG at the largest of top_k counts the rows of that next period as hits,
as far as their user and their title are known by then. Figures are means over all (period, user). Seconds are of the
processor.

Everything is written to saved_dir/updates, which is emptied first. With --replay, updates train on the users with new
rows and on that share of the others alone.
"""

import csv
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import main as script
import trainer
from config import get_config
from data_loader import Dataset, load_dataset
from dataset.dataset import sorted_csr
from dataset.earlier_rows import new_pairs, read_rows
from dataset.readers import ANIME_COLUMNS, INTERACTION_COLUMNS, read_anime, read_interactions
from dataset.recency import users_of
from dataset.tables import read_table
from evaluation.tables import markdown
from evaluator import evaluate
from runtime.cli import Flags, run_script, share, whole_number
from runtime.files import load_torch, write_json

log = logging.getLogger("aglrec")

UPDATED, ANEW, WHOLE = "updated", "anew, as decided at the start", "anew, everything decided again"


class Stream(NamedTuple):
    """Rows in the order in which they come, and the period of each: 0 for those of the start."""

    rows: pd.DataFrame  # as from read_interactions
    periods: np.ndarray  # (n,) ascending
    titles: pd.DataFrame  # anime.tsv


class Row(NamedTuple):
    """What one model brought after one period."""

    kind: str
    period: int
    seconds: float
    ndcg: np.ndarray  # (n,) of the users with a row in the next period


def read_stream(folder: Path, start: float, n_periods: int) -> Stream:
    """Read a data folder and cut its rows into the start and periods of as many rows each, and one after the last."""
    ids = read_anime(folder)["subject_id"]
    rows, _ = read_interactions(folder, ids, with_texts=True)
    rows = rows.iloc[np.argsort(rows["time"].fillna(-np.inf), kind="stable")].reset_index(drop=True)
    places = np.arange(len(rows)) / len(rows)
    first = max(start, rows["time"].isna().mean())
    periods = np.maximum(0, np.floor((places - first) / (1 - first) * (n_periods + 1)).astype(int) + 1)
    _, titles = read_table(folder, "anime.tsv", ANIME_COLUMNS)
    return Stream(rows, np.where(places < first, 0, periods), titles.drop_duplicates("subject_id"))


def write_until(stream: Stream, period: int, folder: Path) -> None:
    """Write the data as they are at the end of a period."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = stream.rows[stream.periods <= period]
    titles = stream.titles[stream.titles["subject_id"].isin(rows["subject_id"])]
    for name, table, columns in (("anime.tsv", titles, ANIME_COLUMNS), ("interactions.tsv", rows, INTERACTION_COLUMNS)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerows([columns, *table[list(columns)].itertuples(index=False)])


def figures(saved: Path, dataset: Dataset, stream: Stream, period: int, config: dict[str, Any]) -> np.ndarray:
    """Return NDCG (n,) of the users with a row in the period after this one, by the vectors of a run; see above."""
    ids = json.loads((saved / "id_mappings.json").read_text(encoding="utf-8"))
    if (ids["user_ids"], ids["item_ids"]) != (dataset.raw_user_ids, dataset.raw_item_ids):
        raise ValueError(f"{saved} is of other data than those of period {period}; run the study again")
    coming = stream.rows[(stream.periods == period + 1) & (stream.rows["rate"] >= config["min_rate"])]
    users = pd.Index(dataset.raw_user_ids).get_indexer(coming["user_id"])
    items = pd.Index(dataset.raw_item_ids).get_indexer(coming["subject_id"])
    is_known = (users >= 0) & np.isin(items, dataset.warm_items)
    pairs = users[is_known], items[is_known]
    target = sorted_csr(sp.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), dataset.seen.shape))
    vectors = (load_torch(saved / name) for name in ("user_emb.pt", "item_emb.pt"))
    found = evaluate(*vectors, target, dataset.seen, config, dataset.warm_items, auc=False)
    return found[f"NDCG@{max(config['top_k'])}"]


@contextmanager
def replaying(some: float, saved: Path, seed: int) -> Iterator[None]:
    """Let epochs have the users with new rows and a share of the others; all of them with a share of 1."""
    if some == 1:
        yield
        return
    earlier, whole = read_rows(saved), trainer.train_epoch

    def on_some(model: Any, optimizer: Any, dataset: Dataset, *args: Any, **more: Any) -> float:
        users = np.random.default_rng([seed, dataset.seen.nnz]).random(dataset.n_users) < some
        users[users_of(dataset.seen)[new_pairs(dataset, earlier)]] = True
        kept = sp.csr_matrix(sp.diags_array(users.astype(np.float32)) @ dataset.train)
        kept.eliminate_zeros()
        part = SimpleNamespace(train=kept, scores_of=dataset.scores_of)
        return whole(model, optimizer, part, *args, **more)

    with mock.patch.object(trainer, "train_epoch", on_some):
        yield


def timed(do: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and the seconds of the processor that it took."""
    start = time.process_time()
    return do(), time.process_time() - start


def simulate(
    stream: Stream, config: dict[str, Any], n_periods: int, every: dict[str, int], some: float
) -> Iterator[Row]:
    """Make the run of the start, and after each period what is compared.

    Args:
        stream: as from read_stream.
        config: of the run; saved_dir is where everything goes.
        n_periods: of the stream.
        every: kind -> after how many periods there is such a model.
        some: see replaying.
    """
    home = Path(config["saved_dir"]) / "updates"
    shutil.rmtree(home, ignore_errors=True)
    folders = {kind: home / name for kind, name in ((UPDATED, "updated"), (ANEW, "anew"), (WHOLE, "whole"))}
    config = {**config, "data_dir": str(home / "data"), "refit": True}
    write_until(stream, 0, home / "data")
    first, seconds = timed(lambda: script.run({**config, "saved_dir": str(folders[UPDATED])}))
    log.info(f"the first run took {seconds:.1f} s")
    for period in range(1, n_periods + 1):
        write_until(stream, period, home / "data")
        kinds = [kind for kind in folders if period % every[kind] == 0]
        dataset = load_dataset(config)
        measured = {**first, "data": {**first["data"], **dataset.digests}}
        for kind in kinds:
            settings = {**config, "saved_dir": str(folders[kind])}
            if kind == UPDATED:
                with replaying(some, folders[kind], config["seed"]):
                    _, seconds = timed(partial(script.run, {**settings, "mode": "update"}))
            else:
                shutil.rmtree(folders[kind], ignore_errors=True)
                make = partial(script.train, settings, measured) if kind == ANEW else partial(script.run, settings)
                _, seconds = timed(make)
            yield Row(kind, period, seconds, figures(folders[kind], dataset, stream, period, config))


def table(rows: list[Row]) -> str:
    """Lay out, for all periods, for the last third and for those where everything was decided again, what came out."""
    periods = sorted({row.period for row in rows if row.kind == ANEW})
    third = periods[len(periods) * 2 // 3 :]
    spans = {
        f"{len(periods)} of {max((row.period for row in rows), default=0)}": periods,
        f"the last {len(third)} of these": third,
        "where all is decided again": [row.period for row in rows if row.kind == WHOLE],
    }
    lines = [["periods", "model", "users", "NDCG", "lost", "seconds", "share"]]
    for name, span in spans.items():
        mine = {
            kind: [row for row in rows if row.kind == kind and row.period in span] for kind in (UPDATED, ANEW, WHOLE)
        }
        mine = {kind: some for kind, some in mine.items() if len(some) == len(span) > 0}
        if not {ANEW, WHOLE} & set(mine):
            continue
        for kind, some in mine.items():
            against = mine[WHOLE if WHOLE in mine else ANEW]
            ndcg, other = (np.concatenate([row.ndcg for row in each]) for each in (some, against))
            lost = 1 - ndcg.mean() / other.mean()
            error = (ndcg - other).std() / np.sqrt(len(ndcg)) / other.mean()
            seconds = [float(np.mean([row.seconds for row in each])) for each in (some, against)]
            told = "" if some is against else f"{lost:.1%} ± {error:.1%}"
            cells = [
                f"{len(ndcg):,}",
                f"{ndcg.mean():.4f}",
                told,
                f"{seconds[0]:.1f}",
                f"{seconds[0] / seconds[1]:.2f}",
            ]
            lines.append([name, kind, *cells])
    return markdown(lines)


def main() -> None:
    """Run the command line."""
    flags = Flags(__doc__)
    flags.add_argument("data", type=Path, metavar="DATA", help="a data folder whose rows have times")
    flags.add_argument("--periods", type=whole_number(3), default=30, help="how many are simulated")
    flags.add_argument("--start", type=share, default=0.7, help="share of the rows that the first run has")
    flags.add_argument("--anew_every", type=whole_number(1), default=1, help="periods from one such training on")
    flags.add_argument("--whole_every", type=whole_number(1), default=10, help="periods from one such training on")
    flags.add_argument(
        "--replay", type=share, default=1.0, help="share of users without new rows in an update's epochs"
    )
    asked, overrides = flags.read()
    config = get_config(overrides)
    stream = read_stream(asked.data, asked.start, asked.periods)
    every = {UPDATED: 1, ANEW: asked.anew_every, WHOLE: asked.whole_every}
    rows: list[Row] = []
    try:
        for row in simulate(stream, config, asked.periods, every, asked.replay):
            rows.append(row)
            ndcg = f"{row.ndcg.mean():.4f}, {len(row.ndcg)} users"
            log.info(f"period {row.period}: {row.kind}: {ndcg}, {row.seconds:.1f} s")
    finally:  # after Ctrl-C, too
        found = [{**row._asdict(), "ndcg": row.ndcg.tolist()} for row in rows]
        write_json(Path(config["saved_dir"]) / "updates" / "study.json", found)
        log.info(table(rows))


if __name__ == "__main__":
    sys.exit(run_script(main))
