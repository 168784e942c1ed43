"""TSV files, or LightGCN's text files -> Dataset: cleaned, split, checked; and its normalised graph."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from dataset.dataset import Comments, Dataset, no_comments, pairs_of_items, sorted_csr
from dataset.drawn_users import draw_users
from dataset.earlier_rows import EarlierRows, Rows, parts_now
from dataset.given import take_split
from dataset.pairs import csr_parts, pair_order
from dataset.readers import SYNONYMS, read_anime, read_interactions, read_known, read_user_names
from dataset.relations import read_relations
from dataset.splits import EXCLUDED, LATER, PARTS, older_than_test, split_rows
from dataset.tables import find_file
from dataset.text_files import is_text_folder, read_text_files
from runtime.encodings import unmarked_text_in
from runtime.mapped import mapped_from_rank0

__all__ = ["Comments", "Dataset", "check_k", "load_dataset", "normalized_adjacency", "pairs_of_items", "sorted_csr"]

log = logging.getLogger("aglrec")


@mapped_from_rank0
def load_dataset(config: dict[str, Any], earlier: EarlierRows | None = None) -> Dataset:
    """Read data_dir, drop what can be dropped safely (and say how much), and split or take the split that is given.

    A folder holds either anime.tsv and interactions.tsv (user.tsv, if there are names, and known.tsv, if there are
    pairs that are no positives and still never recommended back), or, without an interactions.tsv, the text format of
    LightGCN: train.txt, test.txt and perhaps valid.txt with lines of "user item item ...", any ids separated by spaces
    or tabs; a user may have no items. Beside anime.tsv there may be relations.tsv: which title continues which.

    A split is given by a column part of interactions.tsv (see dataset.given), or by the text format, whose every pair
    is a positive. Where nothing is in valid, it is drawn from train, at random.

    Args:
        config: as from get_config; uses data_dir, encoding, early_stop_metric, min_rate, refit, refit_valid, split,
            split_seed, the ratios, train_rows_per_user, valid_users and test_users.
        earlier: rows of a run that keep the parts that they had in it; see earlier_rows.parts_now. None splits anew.

    Returns:
        The Dataset; its items are all rows of anime.tsv, its users all who collected a known title. In the text format
        users are all that occur in any file, in numeric order if every id is an integer; so are the items if there is
        no anime.tsv, and then an item is named by its id and nothing has a text.

    Raises:
        FileNotFoundError, ValueError: one sentence with file, line, what was found and the remedy.
    """
    folder = Path(config["data_dir"])
    with unmarked_text_in(config["encoding"]):
        dataset = (_load_text_files if is_text_folder(folder) else _load_tables)(folder, config, earlier)
    metric = config["early_stop_metric"]
    if " " in metric and not dataset.has_rates:
        raise ValueError(
            f"early_stop_metric is {metric!r}, but in {folder} nobody rated two train titles differently, so that "
            f"nothing is known to be liked; set --early_stop_metric {metric.partition(' ')[2]}"
        )
    return dataset


def _load_tables(folder: Path, config: dict[str, Any], earlier: EarlierRows | None) -> Dataset:
    anime = read_anime(folder)
    rows, facts = read_interactions(folder, anime["subject_id"], config["split"])
    known, more = read_known(folder, rows, anime["subject_id"])
    user_ids, raw_user_ids, item_ids, rates, times, part = _columns(rows, known)
    comments = rows["comment"]
    del rows, known  # the columns stay; of the table nothing else is needed
    shape = (len(raw_user_ids), len(anime))
    is_given = part is not None
    if is_given:
        source = f"the column part of {find_file(folder, 'interactions.tsv')}"
        part = take_split(source, user_ids, item_ids, part, shape, _undrawn(config, earlier))
    else:
        part = _drawn_split(folder, user_ids, item_ids, rates, times, shape, config, is_new=earlier is not None)
    if earlier:
        now = Rows(user_ids, item_ids, raw_user_ids, anime["subject_id"], rates, times)
        part = parts_now(folder, now, part, earlier, None if is_given else _split_name(False, config))
    return _dataset(
        user_ids,
        item_ids,
        part,
        facts | more | {"split": _split_name(is_given, config)},
        config,
        (rates, times),
        raw_user_ids=raw_user_ids,
        user_names=read_user_names(folder, raw_user_ids),
        user_comments=_comments(comments, rates, user_ids, item_ids, part),
        **_titles(folder, anime),
    )


def _columns(rows: pd.DataFrame, known: pd.DataFrame) -> tuple:
    """Return of both tables, one below the other: row numbers and ids of users, items, rates, times, parts or None.

    Users are numbered as they come.
    """
    codes, found = pd.factorize(rows["user_id"].cat.codes.to_numpy())
    columns = [codes.astype(np.int32), *(rows[name].to_numpy() for name in ("rate", "time"))]
    columns.insert(1, rows["subject_id"].cat.codes.to_numpy(np.int32))
    columns.append(rows["part"].to_numpy() if "part" in rows else None)
    raw_user_ids = rows["user_id"].cat.categories[found].tolist()
    if len(known):
        row_of = np.empty(len(rows["user_id"].cat.categories), np.int32)
        row_of[found] = np.arange(len(found), dtype=np.int32)
        below = [row_of[known["user_id"].cat.codes.to_numpy()], known["subject_id"].cat.codes.to_numpy(np.int32)]
        below += [known[name].to_numpy() if name in known else None for name in ("rate", "time", "part")]
        columns = [
            None if above is None else np.concatenate([above, more]) for above, more in zip(columns, below, strict=True)
        ]
    return columns[0], raw_user_ids, *columns[1:]


def _drawn_split(
    folder: Path,
    user_ids: np.ndarray,
    item_ids: np.ndarray,
    rates: np.ndarray,
    times: np.ndarray,
    shape: tuple[int, int],
    config: dict[str, Any],
    is_new: bool,
) -> np.ndarray:
    """Return the part codes (n,) of a split drawn as the settings say; train for all positives that are new to it."""
    is_positive = rates >= config["min_rate"]
    if not is_positive.any():
        raise ValueError(
            f"{folder / 'interactions.tsv'}: no row has a rate of {config['min_rate']:g} or more (the "
            f"highest is {np.nanmax(rates):g}); lower --min_rate (0 counts unrated rows too)"
        )
    config = {**config, "split": _split_name(False, config)}
    part = np.full(len(rates), LATER, np.int8)
    if is_new:
        part[is_positive] = PARTS.index("train")
        return part
    positives = (column[is_positive] for column in (user_ids, item_ids, times))
    part[is_positive] = split_rows(*positives, shape, config)
    later = part == LATER
    if later.any():
        part[later & older_than_test(user_ids, times, part, config["split"])] = EXCLUDED
    return part


def _undrawn(config: dict[str, Any], earlier: EarlierRows | None) -> dict[str, Any]:
    """Return the settings with which no valid part is drawn from a given split whose rows have their parts already."""
    return {**config, "valid_ratio": 0.0} if earlier else config


def _split_name(is_given: bool, config: dict[str, Any]) -> str:
    """Name the split that the setting comes to: "auto" is a given one, and user_time where there is none."""
    if is_given:
        return "given"
    return "user_time" if config["split"] == "auto" else config["split"]


def _load_text_files(folder: Path, config: dict[str, Any], earlier: EarlierRows | None) -> Dataset:
    anime = read_anime(folder) if find_file(folder, "anime.tsv") else None
    subject_ids = None if anime is None else anime["subject_id"]
    rows, facts, raw_user_ids, raw_item_ids = read_text_files(folder, subject_ids, config["text_lines"])
    user_ids, item_ids, part = (rows[column].to_numpy() for column in ("user", "item", "part"))
    shape = len(raw_user_ids), len(raw_item_ids)
    part = take_split(f"{folder}", user_ids, item_ids, part, shape, _undrawn(config, earlier))
    if earlier:
        part = parts_now(folder, Rows(user_ids, item_ids, raw_user_ids, raw_item_ids), part, earlier)
    empty = [""] * len(raw_item_ids)
    bare = {"raw_item_ids": raw_item_ids, "item_names": raw_item_ids, "item_texts": empty, "item_tags": empty}
    return _dataset(
        user_ids,
        item_ids,
        part,
        facts | {"split": "given"},
        config,
        raw_user_ids=raw_user_ids,
        user_names=read_user_names(folder, raw_user_ids),
        user_comments=no_comments(),
        **(bare if anime is None else _titles(folder, anime)),
    )


def _titles(folder: Path, anime: pd.DataFrame) -> dict[str, Any]:
    """Return what a Dataset says of the titles of anime.tsv."""
    return {
        "raw_item_ids": anime["subject_id"].tolist(),
        "item_names": anime["name"].tolist(),
        "item_texts": anime["text"].tolist(),
        "item_tags": anime["tags"].tolist(),
        "item_years": _years(anime["year"].tolist()),
        **{f"item_{column}s": anime[column].tolist() for column in ("season", "type") if anime[column].any()},
        "relations": read_relations(folder, anime["subject_id"]),
        "item_synonyms": anime[SYNONYMS].tolist() if SYNONYMS in anime else [],
    }


def _dataset(
    user_ids: np.ndarray,
    item_ids: np.ndarray,
    part: np.ndarray,
    facts: dict[str, Any],
    config: dict[str, Any],
    values: tuple[np.ndarray, np.ndarray] | None = None,
    **names: Any,
) -> Dataset:
    """Build the matrices from rows and their part codes, and count what went where; values are rates and times."""
    shape = (len(names["raw_user_ids"]), len(names["raw_item_ids"]))
    order = pair_order(user_ids, item_ids, shape)
    rates, times = (None, None) if values is None else _values(*values, order)
    codes = {name: code for code, name in enumerate(PARTS)} | {"excluded": EXCLUDED}
    matrices = csr_parts(user_ids, item_ids, part, order, shape, codes)
    facts |= {"users": shape[0], "items": shape[1], "positives": sum(matrices[name].nnz for name in PARTS)}
    facts |= {name: int(matrices[name].nnz) for name in codes}
    counts = {name: count for name, count in facts.items() if name != "split" and count}
    log.info(f"data, split {facts['split']}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    drawn = draw_users(matrices, names["raw_user_ids"], config)
    return Dataset(**matrices, facts=facts, rates=rates, times=times, drawn=drawn, **names)


def _values(rates: np.ndarray, times: np.ndarray, order: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the rates and times of the rows in the order of the pairs of seen; None for what no row has."""
    rates = rates.astype(np.float32)[order]
    rates[np.isnan(rates)] = 0
    return rates if rates.any() else None, times[order] if np.isfinite(times).any() else None


def _years(cells: list[str]) -> list[int | None]:
    return [int(cell) if cell else None for cell in cells] if any(cells) else []


def _comments(
    cells: pd.Series, rates: np.ndarray, user_ids: np.ndarray, item_ids: np.ndarray, part: np.ndarray
) -> Comments:
    """Gather the comments of train rows; one given without a rate weighs as much as the mean rate.

    Args:
        cells: categorical, of the first rows; the others have none.
        rates, user_ids, item_ids, part: of all rows.
    """
    in_train = part[: len(cells)] == PARTS.index("train")
    wrote = np.flatnonzero(in_train & (cells != "").to_numpy())
    if not len(wrote):
        return no_comments()
    given = rates[: len(cells)][in_train].astype(np.float32)
    neutral = given[given > 0].mean() if (given > 0).any() else 1.0
    given = rates[wrote].astype(np.float32)
    weights = np.where(given > 0, given, neutral).astype(np.float32)
    of_users, of_items = (ids[wrote].astype(np.int64) for ids in (user_ids, item_ids))
    return Comments(of_users, cells.iloc[wrote].tolist(), weights, of_items)


def normalized_adjacency(train: sp.csr_matrix) -> torch.Tensor:
    """Build D^-1/2 [[0, R], [R^T, 0]] D^-1/2 of the train graph, with D the sums of the rows.

    Args:
        train: CSR (n_users, n_items) of ones, or of what pairs count, 0 or more; a pair of 0 stays, as an edge of 0.

    Returns:
        Sparse CSR tensor (N, N), N = n_users + n_items, float32 with int32 indices; users come first.

    Source:
        He et al. 2020, equation 8.
    """
    n_users, n_items = train.shape
    back = train.T.tocsr()
    back.sort_indices()
    degrees = [m @ np.ones(m.shape[1]) for m in (train, back)]  # float64
    scale = [1 / np.sqrt(np.where(degree > 0, degree, 1)) for degree in degrees]
    values = [
        np.repeat(scale[a], np.diff(m.indptr)) * scale[1 - a][m.indices] * m.data for a, m in enumerate((train, back))
    ]
    indptr = np.concatenate([train.indptr, train.nnz + back.indptr[1:]]).astype(np.int32)
    indices = np.concatenate([train.indices + n_users, back.indices]).astype(np.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(indptr),
            torch.from_numpy(indices),
            torch.from_numpy(np.concatenate(values).astype(np.float32)),
            size=(n_users + n_items,) * 2,
            check_invariants=False,
        )


def check_k(config: dict[str, Any], dataset: Dataset) -> None:
    """Refuse lists longer than the catalogue before anything is encoded or trained."""
    lengths = {"top_k": max(config["top_k"]), "recommend_k": config["recommend_k"]}
    if too_long := {key: k for key, k in lengths.items() if k > dataset.n_items}:
        asked = " and ".join(f"{key} asks for {k}" for key, k in too_long.items())
        flags = " and ".join(f"--{key}" for key in too_long)
        raise ValueError(f"{asked} titles, but the data have {dataset.n_items}; lower {flags}")
