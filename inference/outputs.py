"""What a run writes into saved_dir besides its model: vectors, lists, ids, splits, and what each user collected."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from dataset.earlier_rows import write_rows
from dataset.franchises import named_franchises
from dataset.splits import PARTS
from inference.top_k import each_list, write_indented
from runtime.files import atomic_write, save_torch, write_json


def write_outputs(
    saved: Path,
    dataset: Dataset,
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    cold_items: np.ndarray,
    config: dict[str, Any],
) -> None:
    """Write everything that follows from the final vectors, each file whole or not at all.

    Args:
        saved: the folder.
        dataset: of the run.
        user_emb: (n_users, D).
        item_emb: (n_items, D).
        cold_items: rows of the items that new_titles.json may list.
        config: uses recommend_k, seed and eval_memory_mb.
    """
    save_torch(saved / "user_emb.pt", _alone(user_emb.float().cpu()))
    save_torch(saved / "item_emb.pt", _alone(item_emb.float().cpu()))
    for name, candidates in (("recommendations.json", None), ("new_titles.json", cold_items)):
        lists = each_list(user_emb, item_emb, dataset, config["recommend_k"], config, candidates=candidates)
        write_indented(saved / name, lists)
    write_json(saved / "franchises.json", named_franchises(dataset))
    write_json(saved / "id_mappings.json", {"user_ids": dataset.raw_user_ids, "item_ids": dataset.raw_item_ids})
    with atomic_write(saved / "splits.npz") as file:
        np.savez_compressed(file, **{name: _pairs(getattr(dataset, name)) for name in (*PARTS, "excluded")})
    write_rows(saved, dataset)
    with atomic_write(saved / "train_user_dict.pkl") as file:
        pickle.dump(_train_items(dataset), file)


def _alone(vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors without what else is in their memory, all of which torch would write; as they are without such."""
    return vectors if vectors.untyped_storage().nbytes() == vectors.nbytes else vectors.clone()


def _pairs(part: sp.csr_matrix) -> np.ndarray:
    """Return the rows and columns of a matrix of ones, (nnz, 2) int32, without a copy in int64."""
    pairs = np.empty((2, part.nnz), np.int32)
    pairs[0] = np.repeat(np.arange(part.shape[0], dtype=np.int32), np.diff(part.indptr))
    pairs[1] = part.indices
    return pairs.T


def _train_items(dataset: Dataset) -> dict[str, list[str]]:
    """Return each user's train items, by the ids of the data."""
    raw_item_ids = np.array(dataset.raw_item_ids, dtype=object)
    of_users = np.split(dataset.train.indices, dataset.train.indptr[1:-1])
    return {user: raw_item_ids[items].tolist() for user, items in zip(dataset.raw_user_ids, of_users, strict=True)}
