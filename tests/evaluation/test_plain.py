"""What plain baselines reach, which a run names at its end."""

from typing import Any

import numpy as np
import pytest
import torch

import main
from data_loader import load_dataset
from evaluation import plain
from evaluation.plain import plain_baselines
from evaluator import evaluate, means
from inference.terminal import show


def test_they_are_popularity_and_ease_of_the_train_part(config: dict[str, Any]) -> None:
    dataset = load_dataset(config)
    train = dataset.train.toarray().astype(float)
    inverse = np.linalg.inv(train.T @ train + 200 * np.eye(dataset.n_items))
    weights = np.eye(dataset.n_items) - inverse / np.diag(inverse)
    found = plain_baselines(dataset, config)
    assert list(found) == ["popularity", "EASE"]
    for name, scores in (("popularity", np.ones_like(train) * train.sum(axis=0)), ("EASE", train @ weights)):
        factors = torch.from_numpy(scores).float(), torch.eye(dataset.n_items)
        target, known = dataset.warm_pairs("test"), dataset.masked_for("test")
        expected = means(evaluate(*factors, target, known, config, dataset.warm_items))
        assert found[name]["NDCG@20"] == pytest.approx(expected["NDCG@20"], abs=1e-5)


def test_a_large_catalogue_has_no_item_item_matrix(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(config)
    monkeypatch.setattr(plain, "MAX_ITEMS", dataset.n_items - 1)
    assert list(plain_baselines(dataset, config)) == ["popularity"]


def test_the_end_of_a_run_names_them_unless_they_are_in_the_model(config: dict[str, Any]) -> None:
    metrics = main.run(config)
    shown = show(metrics, main.Path(config["saved_dir"]))
    for name, found in metrics["beside"].items():
        assert f"{name} {found['NDCG@20']:.4f}" in shown
    assert "--preset tuned" in shown
    weighed = main.run({**config, "calibrate": True, "resume": "never"})
    assert "beside" not in weighed
    assert "--preset tuned" not in show(weighed, main.Path(config["saved_dir"]))
