"""The model of a run: built untrained from data, text and settings, or restored from what a run saved."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset, normalized_adjacency
from llm_embedding import TextVectors, fused_text
from model import LINEAR_BUFFERS, LightGCN
from runtime.mapped import mapped_from_rank0
from training.closed_form import normalized
from training.placing import place_users
from training.user_rows import weighted_train


def build_model(dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device) -> LightGCN:
    """Build the untrained model on its device; a side whose text is switched off has rows of zeros."""
    text = None
    if vectors.items is not None:
        text = torch.from_numpy(mapped_from_rank0(fused_text)(vectors, config))
    generator = torch.Generator().manual_seed(config["seed"])
    popularity = torch.from_numpy(np.bincount(dataset.train.indices, minlength=dataset.n_items))
    train = weighted_train(dataset, config["rating_weight"])
    return LightGCN(
        normalized_adjacency(train).to(device),
        dataset.n_users,
        config["embedding_dim"],
        config["num_layers"],
        config["fusion_mode"],
        text,
        config["init_std"],
        generator,
        initial=svd_start(train, config["embedding_dim"]) if config["init"] == "svd" else None,
        normalize=config["normalize"],
        temperature=config["temperature"],
        has_bias=config["calibrate"] or config["cold_cost"] < 1 and bool((popularity == 0).any()),
        popularity=None if np.diff(dataset.train.indptr).all() else popularity.float().log1p(),
        input_layer=config["input_layer"],
    )


def svd_start(train: sp.csr_matrix, embedding_dim: int) -> torch.Tensor:
    """Factorise the normalised train matrix, weighted or of ones: (n_users + n_items, D), U sqrt(S) above V sqrt(S).

    Source:
        Halko et al. 2011, randomised SVD (scikit-learn's); the matrix is the upper right block of A.
    """
    from sklearn.utils.extmath import randomized_svd

    rank = min(embedding_dim, *train.shape)
    u, s, vt = randomized_svd(normalized(train), rank, n_iter=4, random_state=0)
    vectors = np.concatenate([u, vt.T]) * np.sqrt(s)  # (N, rank)
    return torch.from_numpy(np.pad(vectors, ((0, 0), (0, embedding_dim - rank))).astype(np.float32))


def restore(model: LightGCN, state: dict[str, torch.Tensor], dataset: Dataset) -> None:
    """Give a model the state of a finished run; its users are placed as they are known before test."""
    if "cold_vectors" in state:
        model.set_cold_vectors(state["cold_vectors"])
    model.set_linear_columns(**{name: state[name] for name in LINEAR_BUFFERS if name in state})
    model.load_state_dict(model.own_state(state))
    place_users(model, dataset, "test")
