"""Refit: measured first, then trained once more on every positive with what valid decided."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
from config import PRESETS, get_config
from data_loader import load_dataset
from evaluator import evaluate, means
from inference.finished_run import load_finished
from run_ablation import COMBINATIONS, compare
from runtime.identity import resolved
from tests.helpers.data import write_data, write_tsv
from tests.helpers.runs import assert_inference_repeats

TUNED = {**PRESETS["tuned"], "linear_dim": 6, "epochs": 4, "batch_size": 16}


@pytest.fixture(params=["defaults", "tuned"])
def refitted(request: pytest.FixtureRequest, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the config of a refit run and its metrics."""
    recipe = {**(TUNED if request.param == "tuned" else {}), "refit": True, "cold_item_ratio": 0.2, "min_rate": 3}
    config = get_config({**config, **recipe, "embedding_dim": 8, "lsa_dim": 8})
    return config, main.run(config)


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "best_model.pth", weights_only=True)


@pytest.mark.slow
def test_the_figures_are_those_of_a_run_without_it(
    refitted: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    config, metrics = refitted
    alone = main.run({**config, "refit": False, "saved_dir": str(tmp_path / "alone")})
    for key in ("valid", "test", "warm", "cold", "groups", "epoch", "decided"):
        assert metrics[key] == alone[key], key
    for name in ("user_emb.pt", "item_emb.pt"):
        a, b = (
            torch.load(folder / name, weights_only=True)
            for folder in (tmp_path / "alone", Path(config["saved_dir"]) / "measured")
        )
        assert torch.equal(a, b)


@pytest.mark.slow
def test_it_trains_on_every_positive_and_on_nothing_else(refitted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    config, metrics = refitted
    held_out, whole = load_dataset({**config, "refit": False}), load_dataset(config)
    positives = held_out.train + held_out.valid + held_out.test + held_out.cold_valid + held_out.cold_test
    assert (whole.train != positives).nnz == 0
    assert whole.valid.nnz == whole.test.nnz == whole.cold_valid.nnz == whole.cold_test.nnz == 0
    assert (whole.seen != held_out.seen).nnz == 0
    assert whole.seen.nnz > whole.train.nnz  # a rate below min_rate is no positive, and is not recommended either
    assert metrics["refit"]["positives"] == positives.nnz
    with np.load(Path(config["saved_dir"]) / "splits.npz") as parts:
        assert len(parts["train"]) == positives.nnz
    with Path(Path(config["data_dir"]) / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        wrote = {row["comment"] for row in csv.DictReader(file, delimiter="\t") if float(row["rate"]) >= 3}
    assert set(whole.user_comments.texts) == wrote - {""}
    history = (Path(config["saved_dir"]) / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line).keys() == {"epoch", "loss", "seconds"} for line in history)  # it has no valid part


def test_what_valid_decided_is_taken_over(refitted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    config, metrics = refitted
    saved = Path(config["saved_dir"])
    first, second = state(saved / "measured"), state(saved)
    assert second["decided"].keys() <= first["decided"].keys()
    for key, value in second["decided"].items():
        if key != "cold_offset":
            assert json.loads(json.dumps(value)) == metrics["decided"][key]
    temperatures = [resolved(each["config"], each["decided"])["temperature"] for each in (first, second)]
    assert temperatures[0] == temperatures[1] > 0
    assert second["epoch"] == first["epoch"] == metrics["refit"]["epochs"]
    assert not torch.equal(first["state_dict"]["id_emb"], second["state_dict"]["id_emb"])
    if "weights" in metrics["decided"]:
        assert second["state_dict"].keys() == first["state_dict"].keys()


def test_the_schedule_ends_where_the_best_epoch_was(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning rate goes down as if all epochs were to come, or the refit would not be what was measured."""
    rates: dict[str, list[float]] = {}
    real = main.fit

    def watched(*args: Any, **kwargs: Any) -> dict[str, Any]:
        from training import epoch as training_epoch

        mine = rates.setdefault("refit" if kwargs.get("measured") else "first", [])
        set_lr = training_epoch.set_lr
        monkeypatch.setattr(
            training_epoch,
            "set_lr",
            lambda optimizer, settings, done: (
                set_lr(optimizer, settings, done),
                mine.append(optimizer.param_groups[0]["lr"]),
            ),
        )
        result = real(*args, **kwargs)
        monkeypatch.setattr(training_epoch, "set_lr", set_lr)
        return result

    monkeypatch.setattr(main, "fit", watched)
    metrics = main.run(
        get_config({**config, "refit": True, "lr_schedule": "cosine", "epochs": 6, "lr": 0.3, "batch_size": 4096})
    )
    assert rates["refit"] == rates["first"][: metrics["epoch"]]


@pytest.mark.slow
def test_a_finished_measurement_is_not_repeated(refitted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    config, metrics = refitted
    path = Path(config["saved_dir"]) / "measured" / "best_model.pth"
    before = path.stat().st_mtime_ns
    again = main.run(config)
    assert path.stat().st_mtime_ns == before
    assert again["test"] == metrics["test"]
    main.run({**config, "lr": config["lr"] / 2})
    assert path.stat().st_mtime_ns != before


def test_the_same_command_again_leaves_every_file_as_it_is(refitted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Users' text vectors too, which are not those of the measured run."""
    config, metrics = refitted
    before = {path: path.read_bytes() for path in Path(config["saved_dir"]).rglob("*") if path.is_file()}
    assert any(path.name == "user_llm_embeddings.npy" for path in before)
    assert main.run(config) == metrics
    assert {path: path.read_bytes() for path in Path(config["saved_dir"]).rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_lists_of_the_run_come_from_it(refitted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    config, metrics = refitted
    saved = Path(config["saved_dir"])
    run = load_finished(config)
    assert run.dataset.train.nnz == metrics["refit"]["positives"]
    assert torch.equal(run.user_emb, torch.load(saved / "user_emb.pt", weights_only=True))
    lists = json.loads((saved / "recommendations.json").read_text(encoding="utf-8"))
    assert lists != json.loads((saved / "measured" / "recommendations.json").read_text(encoding="utf-8"))
    seen = run.dataset.seen.toarray()
    for user, titles in lists.items():
        rows = [run.dataset.raw_item_ids.index(title["subject_id"]) for title in titles]
        assert not seen[run.dataset.raw_user_ids.index(user), rows].any()
    page = (saved / "report.html").read_text(encoding="utf-8")
    assert f"on all {metrics['refit']['positives']:,} positive rows" in page
    assert "test hits:" not in page
    assert f"{metrics['warm']['NDCG@20']:.4f}" in page


@pytest.mark.slow
def test_inference_repeats_it(refitted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    config, metrics = refitted
    assert_inference_repeats(config, metrics)
    (Path(config["saved_dir"]) / "metrics.json").unlink()
    assert main.run({**config, "mode": "inference"})["test"] == metrics["test"]


def test_test_rows_of_text_files_are_trained_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    rows = [rng.permutation(20)[:9] for _ in range(30)]
    for name, part in (("train.txt", slice(0, 7)), ("test.txt", slice(7, 9))):
        (data / name).write_text("\n".join(" ".join(map(str, [user, *items[part]])) for user, items in enumerate(rows)))
    metrics = main.run(
        get_config(
            {
                "data_dir": str(data),
                "saved_dir": str(tmp_path / "saved"),
                "refit": True,
                "fusion_mode": "none",
                "embedding_dim": 4,
                "epochs": 2,
                "device": "cpu",
            }
        )
    )
    assert metrics["refit"]["positives"] == 30 * 9
    assert metrics["data"]["test"] == 60


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [{}, TUNED], ids=["defaults", "tuned"])
def test_with_valid_alone_test_stays_held_out_and_is_measured_with_that_model(
    recipe: dict[str, Any], config: dict[str, Any]
) -> None:
    config = get_config(
        {
            **config,
            **recipe,
            "refit_valid": True,
            "cold_item_ratio": 0.2,
            "min_rate": 3,
            "embedding_dim": 8,
            "lsa_dim": 8,
        }
    )
    saved = Path(config["saved_dir"])
    metrics, held_out = main.run(config), load_dataset({**config, "refit_valid": False})
    first = json.loads((saved / "measured" / "metrics.json").read_text(encoding="utf-8"))
    with np.load(saved / "splits.npz") as parts:
        pairs = {name: {tuple(pair) for pair in parts[name].tolist()} for name in parts.files}
    for name in ("test", "cold_test"):
        assert pairs[name] == set(map(tuple, np.argwhere(getattr(held_out, name).toarray()).tolist()))
    learnt = held_out.train + held_out.valid + held_out.cold_valid
    assert pairs["train"] == set(map(tuple, np.argwhere(learnt.toarray()).tolist()))
    assert not pairs["valid"] | pairs["cold_valid"]
    emb = [torch.load(saved / f"{side}_emb.pt", weights_only=True) for side in ("user", "item")]
    assert metrics["test"] == means(evaluate(*emb, held_out.test, learnt, config))
    assert metrics["test"] != first["test"]
    assert (metrics["valid"], metrics["decided"]) == (first["valid"], first["decided"])
    assert first == json.loads(json.dumps(main.run({**config, "refit_valid": False, "saved_dir": f"{saved}2"}))) | {
        key: first[key] for key in ("timing", "config", "train_s", "encoder")
    }
    assert_inference_repeats(config, metrics)


@pytest.mark.slow
def test_rows_of_a_comparison_learn_from_valid_too_where_it_is_asked(config: dict[str, Any]) -> None:
    keys = ("data_dir", "saved_dir", "model_name", "lsa_dim", "embedding_dim", "batch_size", "device")
    overrides = {**{key: config[key] for key in keys}, "epochs": 2, "refit_valid": True}
    folder = Path(config["saved_dir"]) / "ablation"
    settings = {tag: COMBINATIONS[tag] for tag in ("sum-none", "sum-item")}

    def rows() -> list[dict[str, Any]]:
        return compare(settings, overrides, folder, baselines=["popularity", "edlae"])

    found = rows()
    assert [row["tag"] for row in found] == ["popularity", "edlae", *settings]
    tested = load_dataset({**config, **overrides})
    for row in found:
        home = Path(row["folders"][0])
        compared = json.loads((home / "comparison.json").read_text(encoding="utf-8"))
        users = np.flatnonzero(np.diff(tested.warm_pairs("test").indptr))
        assert list(compared["user_test"]) == [tested.raw_user_ids[user] for user in users]
        assert np.mean(list(compared["user_test"].values())) == pytest.approx(row["warm"]["NDCG@20"]["mean"])
    emb = [torch.load(folder / "sum-item" / f"{side}_emb.pt", weights_only=True) for side in ("user", "item")]
    expected = means(evaluate(*emb, tested.test, tested.train, get_config(overrides)))
    assert {key: figure["mean"] for key, figure in found[-1]["test"].items()} == expected
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert rows() == found
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == times, "something was run again"


def test_rows_of_a_comparison_do_not_learn_from_test(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="refit trains on the test part"):
        compare({}, {**config, "refit": True}, Path(config["saved_dir"]))
    with pytest.raises(ValueError, match="set one of them"):
        get_config({"refit": True, "refit_valid": True})


@pytest.mark.slow
def test_new_titles_keep_the_offset_that_was_decided(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    with (tmp_path / "data" / "anime.tsv").open(encoding="utf-8", newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file, delimiter="\t")]
    write_tsv(tmp_path / "data", "anime.tsv", [*rows, ("new", "title new", '["tag1"]', "story of 1")])
    config = get_config(
        {
            **TUNED,
            "data_dir": str(tmp_path / "data"),
            "saved_dir": str(tmp_path / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "refit": True,
            "device": "cpu",
        }
    )
    metrics = main.run(config)
    first, second = state(tmp_path / "saved" / "measured"), state(tmp_path / "saved")
    assert second["decided"]["cold_offset"] == first["decided"]["cold_offset"] == metrics["decided"]["cold_offset"]
