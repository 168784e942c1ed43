"""What a finished run can answer: lists for its users and for others, titles like a title, titles it has never seen."""

import difflib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from config import RUNTIME_KEYS
from data_loader import Dataset, load_dataset
from evaluation.ranking import rank_items
from inference import cold_items
from inference.fold_in import FoldedIn, fold_in_users
from inference.title_search import Names, folded, index_names, search, similar_names, split_names
from inference.top_k import recommend, titled
from llm_embedding import TextVectors, fused_text
from runtime import manifest
from runtime.distributed import resolve_device
from runtime.files import load_torch
from runtime.identity import resolved
from training.linear_columns import linear_users


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its data, its final vectors, and the settings of training with this call's RUNTIME_KEYS."""

    dataset: Dataset
    user_emb: torch.Tensor  # (n_users, D and the columns beside)
    item_emb: torch.Tensor  # (n_items, the same)
    has_bias: bool  # whether the column after the first D is added to the scores of users with a history
    linear: tuple[torch.Tensor, float] | None  # inputs and user_power of the linear columns; see linear.Linear
    config: dict[str, Any]
    checkpoint: dict[str, Any]  # the content of best_model.pth

    @cached_property  # as all that follows, made on first use
    def item_rows(self) -> dict[str, int]:
        return {raw: row for row, raw in enumerate(self.dataset.raw_item_ids)}

    @cached_property
    def user_rows(self) -> dict[str, int]:
        return {raw: row for row, raw in enumerate(self.dataset.raw_user_ids)}

    @cached_property
    def names(self) -> Names:
        popularity = np.bincount(self.dataset.train.indices, minlength=self.dataset.n_items)
        return index_names(self.dataset.item_names, popularity)

    @cached_property
    def tags(self) -> dict[str, np.ndarray]:
        """Tag, folded -> the rows of the titles that have it."""
        found: dict[str, list[int]] = {}
        for row, tags in enumerate(self.dataset.item_tags):
            for tag in dict.fromkeys(map(folded, tags.splitlines())):
                found.setdefault(tag, []).append(row)
        return {tag: np.array(rows) for tag, rows in found.items()}

    @cached_property
    def counts_and_length(self) -> tuple[np.ndarray, float]:
        """(n_items,) how many users collect each title, and the mean length of trained users' vectors."""
        train = self.dataset.train
        users = self.user_emb[np.diff(train.indptr) > 0, : self.config["embedding_dim"]]
        return np.bincount(train.indices, minlength=self.dataset.n_items), users.norm(dim=1).mean().item()

    @cached_property
    def trained_unit(self) -> torch.Tensor:
        """(n_items, D): the final vectors of titles without the columns beside them, unit length."""
        return torch.nn.functional.normalize(self.item_emb[:, : self.config["embedding_dim"]], dim=1)

    @cached_property
    def text_vectors(self) -> TextVectors | None:
        return cold_items.vectors_of_training(self.dataset, self.checkpoint, self.config, self.device)

    @cached_property
    def item_text(self) -> torch.Tensor | None:
        """(n_items, L): the titles' text as the model fuses it; None if it has none of titles."""
        if self.text_vectors is None:
            return None
        return torch.from_numpy(fused_text(self.text_vectors, self.config)[self.dataset.n_users :])

    @cached_property
    def placement(self) -> cold_items.Placement:
        return cold_items.fit_placement(
            self.dataset, self.text_vectors, self.item_text, self.checkpoint, self.config, self.device
        )

    @property
    def device(self) -> str:
        return str(resolve_device(self.config["device"]))


def load_run(config: dict[str, Any]) -> Run:
    """Load the data and the final vectors of the run in saved_dir.

    Raises:
        FileNotFoundError, ValueError: a file is missing or not of a run, or the data are no longer those of training.
    """
    checkpoint = load_torch((saved := Path(config["saved_dir"])) / "best_model.pth")
    if not isinstance(checkpoint, dict) or not {"config", "state_dict", "dataset_fingerprint"} <= set(checkpoint):
        raise ValueError(f"{saved / 'best_model.pth'} is no model of main.py; name the saved_dir of a run")
    manifest.check(saved, "best_model.pth", "user_emb.pt", "item_emb.pt")
    mine = {key: config[key] for key in (*RUNTIME_KEYS, "recommend_k")}
    config = {**config, **resolved(checkpoint["config"], checkpoint["decided"]), **mine}
    if "text" in checkpoint:  # the encoder that was really used, perhaps the fallback
        config["model_name"] = checkpoint["text"]["encoder"] or config["model_name"]
    dataset = load_dataset(config)
    if checkpoint["dataset_fingerprint"] != dataset.fingerprint:
        raise ValueError(
            f"{saved} was trained on other data than {config['data_dir']} holds now; run python main.py "
            "again, or name the data of that run with --data_dir"
        )
    user_emb, item_emb = load_torch(saved / "user_emb.pt"), load_torch(saved / "item_emb.pt")
    if (len(user_emb), len(item_emb)) != (dataset.n_users, dataset.n_items):
        raise ValueError(f"{saved / 'user_emb.pt'} or item_emb.pt is of another run; give --mode inference to main.py")
    state = checkpoint["state_dict"]
    linear = (state["linear_inputs"], state["linear_power"].item()) if "linear_inputs" in state else None
    return Run(dataset, user_emb, item_emb, "item_bias" in state, linear, config, checkpoint)


# --- which title, which user ---


def find_titles(run: Run, query: str, n: int) -> list[int]:
    """Find the rows of up to n titles by any of their names: exact first, then beginnings, parts, near names."""
    found = [item for _, item in search(run.names, query, n)]
    if len(found) < n:
        found = list(dict.fromkeys(found + similar_names(run.names, query)))
    return found[:n]


def title_row(run: Run, text: str) -> int:
    """Return the row of a title given by its id, or by a name where exactly one title fits best.

    Raises:
        ValueError: none or several do; the message names the nearest with their ids.
    """
    if text in run.item_rows:
        return run.item_rows[text]
    fits = search(run.names, text, 1)
    best = [item for order, item in fits if order == fits[0][0]]
    if len(best) == 1:
        return best[0]
    dataset = run.dataset
    if best:
        raise ValueError(f"{text!r} fits {len(best):,} titles; name one by its id: {_shown(dataset, best[:5])}")
    ids = difflib.get_close_matches(text, dataset.raw_item_ids, n=5, cutoff=0.6)
    close = list(dict.fromkeys([run.item_rows[raw] for raw in ids[:3]] + find_titles(run, text, 5)))
    if not close:
        close = [run.item_rows[raw] for raw in difflib.get_close_matches(text, dataset.raw_item_ids, n=5, cutoff=0.0)]
    raise ValueError(f"there is no title {text!r} in this run; the nearest are {_shown(dataset, close[:5])}")


def title_rows(run: Run, text: str) -> list[int]:
    """Return the rows of titles given by ids or names parted by commas; one that holds a comma stands in quotes."""
    return list(dict.fromkeys(title_row(run, word) for word in split_names(text)))


def user_row(run: Run, text: str) -> int:
    """Return the row of a user given by his id, or by his name where no other user has it.

    Raises:
        ValueError: none or several do; the message names the nearest with their ids.
    """
    if text in run.user_rows:
        return run.user_rows[text]
    dataset = run.dataset
    named = [row for row, name in enumerate(dataset.user_names) if folded(name) == folded(text)]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(dataset.raw_user_ids[row] for row in named[:5])
        raise ValueError(f"{len(named):,} users are called {text!r}; name one by his id: {ids}")
    ids = {**dict(zip(dataset.user_names, dataset.raw_user_ids, strict=True)), **{raw: raw for raw in run.user_rows}}
    close = difflib.get_close_matches(text, ids, n=5, cutoff=0.0)
    raise ValueError(
        f"there is no user {text!r} in this run; the nearest are "
        + ", ".join(name if name == ids[name] else f"{name} ({ids[name]})" for name in close)
    )


def _shown(dataset: Dataset, items: list[int]) -> str:
    return ", ".join(f"{dataset.item_names[item]} ({dataset.raw_item_ids[item]})" for item in items)


# --- among which titles ---


class Filters(NamedTuple):
    """What titles must have to be listed."""

    tags: tuple[str, ...] = ()  # all of them
    not_tags: tuple[str, ...] = ()  # none of them
    min_year: int | None = None
    max_year: int | None = None


def allowed_items(run: Run, filters: Filters) -> np.ndarray | None:
    """Return the rows of the titles that filters let through, ascending; None where nothing is filtered.

    Raises:
        ValueError: a tag that no title has, a year where the data know none, or nothing is left.
    """
    if filters == Filters():
        return None
    kept = np.ones(run.dataset.n_items, bool)
    for tag in filters.tags:
        kept &= np.isin(np.arange(len(kept)), _tagged(run, tag))
    for tag in filters.not_tags:
        kept[_tagged(run, tag)] = False
    if filters.min_year is not None or filters.max_year is not None:
        if not run.dataset.item_years:
            raise ValueError(
                f"no title of {run.config['data_dir']} has a year to be chosen by; add a column year to anime.tsv"
            )
        years = np.array([np.nan if year is None else year for year in run.dataset.item_years])
        kept &= years >= (-np.inf if filters.min_year is None else filters.min_year)  # never of an unknown year
        kept &= years <= (np.inf if filters.max_year is None else filters.max_year)
    if not kept.any():
        raise ValueError("no title has all that is asked of it; ask for fewer tags or more years")
    return np.flatnonzero(kept)


def _tagged(run: Run, tag: str) -> np.ndarray:
    if folded(tag) in run.tags:
        return run.tags[folded(tag)]
    if not run.tags:
        raise ValueError(f"no title of {run.config['data_dir']} has tags to be chosen by")
    close = difflib.get_close_matches(folded(tag), run.tags, n=5, cutoff=0.0)
    raise ValueError(f"no title has the tag {tag!r}; the nearest are {', '.join(close)}")


def new_titles(run: Run) -> np.ndarray:
    """Return the rows of the titles that nobody collected in train and that their text places."""
    if not cold_items.has_item_text(run.config):
        raise ValueError(
            "this run knows no text of titles, by which those without a history could be placed; train it "
            "with a fusion_mode of sum or concat, and use_item_llm true"
        )
    has_text = np.array([bool(text) for text in run.dataset.item_texts])
    return np.setdiff1d(np.flatnonzero(has_text), run.dataset.warm_items)


# --- lists ---


def list_for_user(run: Run, user: int, k: int, among: np.ndarray | None = None) -> list[dict[str, Any]]:
    """List the best k titles (of some rows alone, if given) that a user of the run has not collected."""
    lists = recommend(run.user_emb, run.item_emb, run.dataset, k, run.config, np.array([user]), among)
    return lists[run.dataset.raw_user_ids[user]]


def list_for_new(
    run: Run, items: list[int], k: int, among: np.ndarray | None = None, left_out: list[int] | None = None
) -> list[dict[str, Any]]:
    """List the best k titles (of some rows alone, if given) for a user unknown to the run.

    Args:
        run: as from load_run.
        items: rows of the titles he collected, at least one.
        k: length of the list.
        among: rows to choose from; all if None.
        left_out: rows beside items that are not listed, and that say nothing of him.
    """
    collected = sp.csr_matrix(
        (np.ones(len(items), np.float32), (np.zeros(len(items), int), items)), shape=(1, run.dataset.n_items)
    )
    return nearest(run, place_user(run, collected)[0], run.item_emb, k, [*items, *(left_out or [])], among)


def place_user(run: Run, collected: sp.csr_matrix) -> torch.Tensor:
    """Fit vectors for users unknown to a run, from what they collected.

    Args:
        run: as from load_run.
        collected: CSR (n, n_items) of ones, at least one a row.

    Returns:
        (n, D and the columns beside); a score is the dot product with a row of item_emb.
    """
    return place_users(run, collected)[0]


def place_users(run: Run, collected: sp.csr_matrix) -> tuple[torch.Tensor, FoldedIn]:
    """Do as place does, and tell what the trained columns are made of."""
    dim, (counts, length) = run.config["embedding_dim"], run.counts_and_length
    columns, linear = [torch.ones(collected.shape[0], 1)] * run.has_bias, None
    if run.linear:
        start, columns = dim + run.has_bias, [*columns, linear_users(*run.linear, collected)]
        linear = columns[-1], run.item_emb[:, start : start + columns[-1].shape[1]]
    trained = fold_in_users(collected, run.item_emb[:, :dim], counts, length, run.config["normalize"], linear)
    together = torch.cat([trained.users, *columns], dim=1)
    # a last column of popularity, for users of whom nothing is known, is met by 0
    return torch.nn.functional.pad(together, (0, run.item_emb.shape[1] - together.shape[1])), trained


def similar(run: Run, item: int, k: int, among: np.ndarray | None = None) -> dict[str, list[dict[str, Any]]]:
    """List the titles nearest to a title, by cosine.

    Returns:
        {"collectors": by the final vectors without any bias, "text": by the text as the model fuses it}; a run without
        text has only the first, and the second is empty for a title without a text.
    """
    found = {"collectors": nearest(run, run.trained_unit[item], run.trained_unit, k, [item], among)}
    return found if run.item_text is None else {**found, "text": _like_text(run, run.item_text[item], k, [item], among)}


def place_new_item(run: Run, fields: dict[str, Any]) -> torch.Tensor:
    """Place a title that the run has never seen, as it placed its own titles without a history.

    Args:
        run: as from load_run; the first call fits encoders and regressions again, which takes seconds.
        fields: name, tags_name (a list, or as a cell of anime.tsv) and summary, each optional.

    Returns:
        (D and the columns beside,); a score is the dot product with a row of user_emb.

    Raises:
        OSError, ValueError: the run has no text, its encoder cannot be had, or there is nothing to go by.
    """
    return cold_items.place_title(run.placement, cold_items.read_title(fields), run.item_emb.shape[1])[0]


def for_new_item(
    run: Run, fields: dict[str, Any], k: int, among: np.ndarray | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Tell which titles a title that the run has never seen is like, and which users it suits best.

    Returns:
        {"collectors", "text"} as of similar, and {"users": [{"user_id", "username", "score"}, ...]}, best first, of
        those of whom anything is known.
    """
    vector, text = cold_items.place_title(run.placement, cold_items.read_title(fields), run.item_emb.shape[1])
    dim = run.config["embedding_dim"]
    unit = torch.nn.functional.normalize(vector[:dim], dim=0)
    known = run.user_emb[:, :dim].any(dim=1)
    best = (run.user_emb @ vector).masked_fill(~known, -torch.inf).topk(min(k, int(known.sum())))
    return {
        "collectors": nearest(run, unit, run.trained_unit, k, [], among),
        "text": _like_text(run, torch.from_numpy(text), k, [], among),
        "users": [
            {"user_id": run.dataset.raw_user_ids[user], "username": run.dataset.user_names[user], "score": score}
            for user, score in zip(*map(torch.Tensor.tolist, best[::-1]), strict=True)
        ],
    }


def _like_text(
    run: Run, text: torch.Tensor, k: int, left_out: list[int], among: np.ndarray | None
) -> list[dict[str, Any]]:
    """List the titles whose text has the largest cosine with text (L,); none where either has none."""
    if not text.any():
        return []
    unit = torch.nn.functional.normalize(run.item_text, dim=1)
    silent = torch.nonzero(~run.item_text.any(dim=1)).ravel().tolist()
    return nearest(run, torch.nn.functional.normalize(text, dim=0), unit, k, left_out + silent, among)


def nearest(
    run: Run, query: torch.Tensor, vectors: torch.Tensor, k: int, left_out: list[int], among: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """List up to k titles with the largest dot product of query (D,) and vectors (n_items, D), leaving some out."""
    candidates = np.setdiff1d(np.arange(len(vectors)) if among is None else among, left_out)
    if not len(candidates):
        return []
    ranking = rank_items(
        query[None],
        vectors[torch.from_numpy(candidates)],
        np.array([0]),
        sp.csr_matrix((1, len(candidates))),
        min(k, len(candidates)),
    )
    return titled(run.dataset, candidates[ranking.items[0]].tolist(), ranking.scores[0].tolist())
