"""Training on a dataset, killed or not, and what its history holds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import trainer
from data_loader import Dataset
from evaluator import evaluate, means
from llm_embedding import text_vectors
from model import LightGCN
from runtime.identity import RunIdentity
from training import model_factory

IDENTITY = RunIdentity({"of": "the test"}, "this one", {"encoder": "lsa", "digest": "of the test"}, {"model.py": "1"})
CPU = torch.device("cpu")
SOFTMAX = {"loss": "softmax", "lr_schedule": "cosine", "calibrate": True, "linear_dim": 4, "batch_size": 7}


def built(dataset: Dataset, config: dict[str, Any]) -> LightGCN:
    return model_factory.build_model(dataset, text_vectors(dataset, config, "cpu"), config, CPU)


def fitted(dataset: Dataset, config: dict[str, Any]) -> tuple[LightGCN, dict[str, Any]]:
    model = built(dataset, config)
    return model, trainer.fit(model, dataset, config, IDENTITY)


def history(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config["saved_dir"]) / "history.jsonl").read_text().splitlines()]


def among_warm(model: LightGCN, dataset: Dataset, config: dict[str, Any]) -> dict[str, float]:
    """Compute the valid metrics of the titles with a history, ranked among each other, from the vectors."""
    warm = dataset.train.toarray().any(axis=0)
    target = sp.csr_matrix(dataset.valid.toarray() * warm)
    return means(evaluate(*model.embeddings(), target, dataset.train + dataset.excluded, config, np.flatnonzero(warm)))


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def killed_before(epoch: int, dataset: Dataset, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until a kill at the start of an epoch."""
    train_epoch = trainer.train_epoch

    def killed(*args: Any, **kwargs: Any) -> float:
        if args[-1] == epoch:
            raise KeyboardInterrupt
        return train_epoch(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted(dataset, config)


def check_gradients(model: LightGCN, total: Callable[[], torch.Tensor]) -> None:
    """Compare the gradient of every parameter of a float64 model with the slope of its loss in a random direction."""
    total().backward()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        way, ends = torch.randn(parameter.shape, generator=generator, dtype=torch.float64), []
        with torch.no_grad():
            for step in (1e-6, -2e-6, 1e-6):
                ends.append(total().item())
                parameter += step * way
        slope = (ends[1] - ends[2]) / 2e-6
        assert (parameter.grad * way).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-8), name
