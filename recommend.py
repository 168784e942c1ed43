"""Recommend with the vectors of a finished run.

    python recommend.py                        write recommendations.json: every user's list
    python recommend.py --user ID [--k N]      print one user's list
    python recommend.py --new_user ID,ID,...   print a list for someone who collected these titles
    python recommend.py --similar ID           print the titles nearest to a title
    ... --user ID --new, --new_user ID,ID --new  only titles that nobody has collected, by their text

Settings as for main.py; --saved_dir and --data_dir say where the run and its data are.
"""

import sys

from config import answer_early

if __name__ == "__main__":
    # before the imports below, which take seconds
    answer_early(__doc__, ("--user", "--new_user", "--similar", "--k", "--new"))

import argparse
import difflib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from config import RUNTIME_KEYS, get_config, parse_overrides, run_script
from data_loader import Dataset, load_dataset
from evaluator import rank_items
from files import load_torch, write_json
from fold_in import fold_in
from linear import linear_users
from lists import recommend, titled

log = logging.getLogger("aglrec")


class Run(NamedTuple):
    """A finished run: its data, its final vectors, and the settings of training with this call's RUNTIME_KEYS."""

    dataset: Dataset
    user_emb: torch.Tensor  # (n_users, D and the columns beside)
    item_emb: torch.Tensor  # (n_items, the same)
    has_bias: bool  # whether the column after the first D is added to the scores of users with a history
    linear: tuple[torch.Tensor, float] | None  # inputs and user_power of the linear columns; see linear.Linear
    config: dict[str, Any]


def load_run(config: dict[str, Any]) -> Run:
    """Load the data and the final vectors of the run in saved_dir.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or the data are no longer those of training.
    """
    saved = Path(config["saved_dir"])
    checkpoint = load_torch(saved / "best_model.pth")
    mine = {key: config[key] for key in (*RUNTIME_KEYS, "recommend_k")}
    config = {**config, **checkpoint["config"], **mine}  # an older run lacks newer settings
    dataset = load_dataset(config)
    if checkpoint["dataset_fingerprint"] != dataset.fingerprint:
        raise ValueError(f"{saved} was trained on other data than {config['data_dir']} holds now; run python main.py "
                         "again, or name the data of that run with --data_dir")
    user_emb, item_emb = load_torch(saved / "user_emb.pt"), load_torch(saved / "item_emb.pt")
    state = checkpoint["state_dict"]
    linear = (state["linear_inputs"], state["linear_power"].item()) if "linear_inputs" in state else None
    return Run(dataset, user_emb, item_emb, "item_bias" in state, linear, config)


def row_of(raw_id: str, raw_ids: list[str], what: str) -> int:
    """Return the row of an id, or raise ValueError with the nearest ids there are."""
    if raw_id in raw_ids:
        return raw_ids.index(raw_id)
    near = difflib.get_close_matches(raw_id, raw_ids, n=5, cutoff=0.0)
    raise ValueError(f"there is no {what} {raw_id!r} in this run; the nearest ids are {', '.join(near)}")


def place(run: Run, collected: sp.csr_matrix) -> torch.Tensor:
    """Fit vectors for users unknown to a run, from what they collected.

    Args:
        run: as from load_run.
        collected: CSR (n, n_items) of ones, at least one a row.

    Returns:
        (n, D and the columns beside); a score is the dot product with a row of item_emb.
    """
    dim, dataset = run.config["embedding_dim"], run.dataset
    counts = np.bincount(dataset.train.indices, minlength=dataset.n_items)
    length = run.user_emb[np.diff(dataset.train.indptr) > 0, :dim].norm(dim=1).mean().item()
    columns = [fold_in(collected, run.item_emb[:, :dim], counts, length, run.config["normalize"])]
    if run.has_bias:
        columns.append(torch.ones(len(columns[0]), 1))
    if run.linear:
        columns.append(linear_users(*run.linear, collected))
    together = torch.cat(columns, dim=1)
    # a last column of popularity, for users of whom nothing is known, is met by 0
    return torch.nn.functional.pad(together, (0, run.item_emb.shape[1] - together.shape[1]))


def new_titles(run: Run) -> np.ndarray:
    """Return the rows of the titles that nobody collected in train and that their text places."""
    config, dataset = run.config, run.dataset
    if config["fusion_mode"] == "none" or not config["use_item_llm"]:
        raise ValueError("this run knows no text of titles, by which those without a history could be placed; train it "
                         "with a fusion_mode of sum or concat, and use_item_llm true")
    has_text = np.array([bool(text) for text in dataset.item_texts])
    return np.setdiff1d(np.flatnonzero(has_text), dataset.warm_items)


def for_new_user(run: Run, item_ids: list[int], k: int, among: np.ndarray | None = None) -> list[dict[str, Any]]:
    """List titles (of some rows alone, if given) for a user unknown to the run, from the titles he collected."""
    collected = sp.csr_matrix((np.ones(len(item_ids), np.float32), (np.zeros(len(item_ids), int), item_ids)),
                              shape=(1, run.dataset.n_items))
    left_out = item_ids if among is None else [*item_ids, *np.setdiff1d(np.arange(run.dataset.n_items), among).tolist()]
    return nearest(place(run, collected)[0], run.item_emb, sorted(set(left_out)), run.dataset, k)


def similar_titles(item_emb: torch.Tensor, item: int, dataset: Dataset, config: dict[str, Any],
                   k: int) -> list[dict[str, Any]]:
    """List the titles whose final vectors, without any bias, have the largest cosine with that of a title."""
    unit = torch.nn.functional.normalize(item_emb[:, : config["embedding_dim"]], dim=1)
    return nearest(unit[item], unit, [item], dataset, k)


def nearest(query: torch.Tensor, item_emb: torch.Tensor, left_out: list[int], dataset: Dataset,
            k: int) -> list[dict[str, Any]]:
    """List the k titles with the largest dot product with query (D,), leaving some out."""
    masked = sp.csr_matrix((np.ones(len(left_out)), (np.zeros(len(left_out), int), left_out)),
                           shape=(1, dataset.n_items))
    ranking = rank_items(query[None], item_emb, np.array([0]), masked, k)
    return titled(dataset, ranking.items[0].tolist(), ranking.scores[0].tolist())


def printed(title: str, titles: list[dict[str, Any]]) -> str:
    """Lay a list out for the screen."""
    width = len(str(len(titles)))
    return "\n".join([title] + [f"{rank:{width + 2}d}. {entry['score']:7.3f}  {entry['name']} ({entry['subject_id']})"
                                for rank, entry in enumerate(titles, start=1)])


def main() -> None:
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--user", "--new_user", "--similar", "--k"):
        asked.add_argument(flag)
    asked.add_argument("--new", action="store_true")
    asked, rest = asked.parse_known_args()
    if asked.k is not None:
        rest += ["--recommend_k", asked.k]
    run = load_run(get_config(parse_overrides(rest)))
    dataset, user_emb, item_emb, config = run.dataset, run.user_emb, run.item_emb, run.config
    k = config["recommend_k"]
    if k > dataset.n_items:
        raise ValueError(f"--k asks for {k:,} titles, but the data have {dataset.n_items:,}; ask for fewer")
    if asked.new and asked.user is None and asked.new_user is None:
        raise ValueError("--new goes with --user ID or --new_user ID,ID; new_titles.json has the lists of all users")
    among = new_titles(run) if asked.new else None
    what = "new titles for" if asked.new else "for"
    if asked.user is not None:
        user = row_of(asked.user, dataset.raw_user_ids, "user")
        lists = recommend(user_emb, item_emb, dataset, k, config, np.array([user]), among)
        log.info(printed(f"{what} {dataset.user_names[user]} ({asked.user}):", lists[asked.user]))
    elif asked.new_user is not None:
        items = [row_of(raw.strip(), dataset.raw_item_ids, "title") for raw in asked.new_user.split(",")]
        log.info(printed(f"{what} someone who collected " + ", ".join(dataset.item_names[i] for i in items) + ":",
                         for_new_user(run, items, k, among)))
    elif asked.similar is not None:
        item = row_of(asked.similar, dataset.raw_item_ids, "title")
        log.info(printed(f"nearest to {dataset.item_names[item]}:", similar_titles(item_emb, item, dataset, config, k)))
    else:
        path = Path(config["saved_dir"]) / "recommendations.json"
        write_json(path, recommend(user_emb, item_emb, dataset, k, config))
        log.info(f"{path}: {k} titles for each of {dataset.n_users:,} users")


if __name__ == "__main__":
    sys.exit(run_script(main))
