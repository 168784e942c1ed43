"""Whole runs: the files in saved/, inference, ablation, recommendations, the cache filled ahead."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evaluator
import llm_embedding
import main
import run_ablation
import save_embeddings
import trainer
from config import METRIC_NAMES, PRESETS, TASTE_METRICS, TASTES
from data_loader import load_dataset
from inference import terminal
from runtime.cli import run_script
from runtime.safe_files import load_arrays, read_user_dict
from tests.helpers.runs import assert_inference_repeats, words
from text import encoders

ROOT = Path(__file__).parents[2]
FILES = {
    "report.html",
    "best_model.pth",
    "user_emb.pt",
    "item_emb.pt",
    "recommendations.json",
    *("new_titles.json", "franchises.json", "rows.npz"),
    "train_user_dict.pkl",
    "user_metrics.npz",
    *(f"{side}_llm_embeddings.npy{end}" for side in ("item", "user") for end in ("", ".json")),
    "id_mappings.json",
    "splits.npz",
    "metrics.json",
    "history.jsonl",
    "manifest.json",
    ".lock",
}


def call(script: Any, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", argv)
    return run_script(script.main)


def test_a_run_writes_every_file_of_the_contract(config: dict[str, Any]) -> None:
    metrics = main.run(config)
    saved = Path(config["saved_dir"])
    assert {path.name for path in saved.iterdir()} == FILES
    assert json.loads((saved / "metrics.json").read_text()) == metrics
    assert set(metrics) == {
        "epoch",
        "epochs_run",
        "train_s",
        "decided",
        "valid",
        "warm",
        "test",
        "listed",
        "groups",
        "cold",
        "cold_valid",
        "data",
        "encoder",
        "timing",
        "config",
        "versions",
        "run",
        "code",
        "beside",
        "rated",
        "valid_rated",
        "franchises",
    }
    at_k = {f"{name}@{k}" for name in METRIC_NAMES for k in (10, 20)}
    by_taste = {f"{taste} {name}@{k}" for taste in TASTES for name in TASTE_METRICS for k in (10, 20)}
    assert set(metrics["test"]) == set(metrics["warm"]) == set(metrics["valid"]) - by_taste == at_k | {"AUC"}
    assert metrics["valid"]["liked NDCG@20"] == pytest.approx(metrics["valid_rated"]["liked"]["NDCG@20"])
    assert set(metrics["listed"]["warm"]) == set(metrics["listed"]["joint"]) == at_k
    dataset = load_dataset(config)
    splits = np.load(saved / "splits.npz", allow_pickle=False)
    assert set(splits) == {"train", "valid", "test", "cold_valid", "cold_test", "excluded"}
    for name in splits:
        assert splits[name].dtype == np.int32
        assert splits[name].tolist() == np.argwhere(getattr(dataset, name)).tolist()
    ids = json.loads((saved / "id_mappings.json").read_text())
    assert ids == {"user_ids": dataset.raw_user_ids, "item_ids": dataset.raw_item_ids}
    train = read_user_dict(saved / "train_user_dict.pkl")
    assert sum(map(len, train.values())) == dataset.train.nnz
    lists = json.loads((saved / "recommendations.json").read_text())
    assert list(lists) == dataset.raw_user_ids
    assert all(len(titles) == 20 for titles in lists.values())


@pytest.fixture
def held_out(config: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    """A config with rows set aside, cold titles, and a title that lost all of its rows to test."""
    with (data_dir / "anime.tsv").open("a", encoding="utf-8") as file:
        file.write("in_test\tall of its rows are in test\t\t\n")
    with (data_dir / "interactions.tsv").open("a", encoding="utf-8") as file:
        file.writelines(f"u{user}\tin_test\t5\t\t2021-01-01\n" for user in range(9))
    return {
        **config,
        "epochs": 15,
        "lr": 0.05,
        "min_rate": 3.0,
        "cold_item_ratio": 0.2,
        "split_seed": 1,
        "fusion_mode": "sum",
        "cold_cost": 0.3,
        "top_k": [3, 5],
        "early_stop_metric": "NDCG@5",
    }


def by_hand(scores: np.ndarray, target: np.ndarray, masked: np.ndarray, k: int = 5) -> float:
    """Compute NDCG@k from the whole matrix of scores."""
    scores, found = np.where(masked > 0, -np.inf, scores), []
    discount = 1 / np.log2(np.arange(2, k + 2))
    for row, wanted in zip(scores, target, strict=True):
        if wanted.any():
            found.append(wanted[np.argsort(-row)[:k]] @ discount / discount[: int(wanted.sum())].sum())
    return float(np.mean(found))


def test_held_out_figures_are_those_of_the_saved_vectors(held_out: dict[str, Any]) -> None:
    """Recomputed from saved/ alone: what is masked, among which titles, and which pairs are asked for."""
    metrics, saved = main.run(held_out), Path(held_out["saved_dir"])
    user_emb, item_emb = (torch.load(saved / f"{side}_emb.pt", weights_only=True).numpy() for side in ("user", "item"))
    scores, parts = user_emb @ item_emb.T, {}
    with np.load(saved / "splits.npz", allow_pickle=False) as splits:
        for name in splits:
            parts[name] = np.zeros(scores.shape)
            parts[name][tuple(splits[name].T)] = 1
    train, valid, test, cold_valid, cold_test, aside = (
        parts[name] for name in ("train", "valid", "test", "cold_valid", "cold_test", "excluded")
    )
    assert all(part.any() for part in parts.values())
    warm = train.any(axis=0)
    assert 0 < (test * warm).sum() < test.sum()
    known = train + valid + aside
    expected = {
        "test": by_hand(scores, test, train + valid),
        "warm": by_hand(scores, test * warm, known + ~warm),
        "listed warm": by_hand(scores, test * warm, known + cold_valid + cold_test),
        "listed joint": by_hand(scores, test + cold_test, known + cold_valid),
        "cold": by_hand(scores, cold_test, known),
        "cold_valid": by_hand(scores, cold_valid, known),
        "cold group": by_hand(scores, test * ~warm, known),
    }
    found = {
        "test": metrics["test"],
        "warm": metrics["warm"],
        "cold": metrics["cold"]["among_all"],
        "cold_valid": metrics["cold_valid"]["among_all"],
        "cold group": metrics["groups"]["items"]["cold"],
        **{f"listed {name}": metrics["listed"][name] for name in ("warm", "joint")},
    }
    assert {name: figures["NDCG@5"] for name, figures in found.items()} == pytest.approx(expected, abs=1e-6)
    # each of them is a figure of its own, so none can stand in for another unnoticed
    assert len({round(value, 6) for value in expected.values()}) == len(expected)


def test_test_figures_mask_train_and_valid(config: dict[str, Any]) -> None:
    """A valid title left in the ranking would take a place from a test title; what is set aside may take one."""
    config = {**config, "epochs": 15, "lr": 0.05, "min_rate": 3.0}
    test = main.run(config)["test"]
    dataset, saved = load_dataset(config), Path(config["saved_dir"])
    vectors = [torch.load(saved / name, weights_only=True) for name in ("user_emb.pt", "item_emb.pt")]
    known = {
        "train": dataset.train,
        "train and valid": dataset.train + dataset.valid,
        "all": dataset.masked_for("test"),
    }
    again = {
        name: evaluator.means(evaluator.evaluate(*vectors, dataset.test, masked, config))
        for name, masked in known.items()
    }
    assert test == pytest.approx(again["train and valid"])
    assert test != pytest.approx(again["train"])
    assert test != pytest.approx(again["all"])


def test_cold_items_are_measured_apart(config: dict[str, Any]) -> None:
    metrics = main.run({**config, "cold_item_ratio": 0.4, "top_k": [3], "early_stop_metric": "NDCG@3"})
    for part in ("cold", "cold_valid"):
        assert set(metrics[part]) == {"n_items", "among_cold", "among_all"}
        assert 0 < metrics[part]["among_cold"]["Recall@3"] <= 1
        assert metrics[part]["among_cold"]["Recall@3"] >= metrics[part]["among_all"]["Recall@3"]
    assert metrics["groups"]["items"]["cold"]["n_items"] >= metrics["cold"]["n_items"]


def test_the_screen_has_both_tables(held_out: dict[str, Any]) -> None:
    metrics = main.run(held_out)
    lines = terminal.show(metrics, Path(held_out["saved_dir"])).splitlines()
    for name, part in (("test, titles with a history", "warm"), ("test, all titles", "test")):
        start = next(number for number, line in enumerate(lines) if line.startswith(name))
        assert lines[start].split()[-2:] == ["@3", "@5"]
        for line, metric in zip(lines[start + 1 : start + 4], ("Recall", "NDCG", "Hit"), strict=True):
            assert line.split() == [metric, *(f"{metrics[part][f'{metric}@{k}']:.4f}" for k in (3, 5))]
        assert lines[start + 4].split() == ["AUC", f"{metrics[part]['AUC']:.4f}"]
    assert metrics["warm"]["NDCG@5"] != metrics["test"]["NDCG@5"]
    rated = metrics["rated"]
    for start, figures in (("NDCG, liked only", rated["liked"]), ("share of disliked listed", rated["disliked"])):
        [line] = [line for line in lines if line.startswith(start)]
        name = "NDCG" if "liked only" in start else "share"
        assert line[len(start) :].split() == [f"{figures[f'{name}@{k}']:.4f}" for k in (3, 5)]
    assert "liked" not in terminal.show({**metrics, "rated": {}}, Path(held_out["saved_dir"]))


@pytest.mark.parametrize(
    "more", [{}, {**PRESETS["tuned"], "linear_dim": 6, "embedding_dim": 8, "lsa_dim": 8}], ids=["defaults", "tuned"]
)
def test_inference_writes_the_same_again(config: dict[str, Any], more: dict[str, Any]) -> None:
    config = {**config, **more}
    assert_inference_repeats(config, main.run(config))


def test_inference_takes_a_run_from_before_a_setting_was_added(config: dict[str, Any]) -> None:
    main.run(config)
    path = Path(config["saved_dir"]) / "best_model.pth"
    before = (path.parent / "item_emb.pt").read_bytes()
    state = torch.load(path, weights_only=True)
    del state["config"]["whiten"]
    torch.save(state, path)
    (path.parent / "manifest.json").unlink()  # that version wrote none
    main.run({**config, "mode": "inference"})
    assert (path.parent / "item_emb.pt").read_bytes() == before


def test_inference_refuses_other_data(config: dict[str, Any], data_dir: Path) -> None:
    main.run(config)
    with (data_dir / "interactions.tsv").open("a", encoding="utf-8") as file:
        file.write("a_new_user\ts1\t5\t\t\n")
    with pytest.raises(ValueError, match="trained on other data"):
        main.run({**config, "mode": "inference"})


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


EDITS = {
    "a summary": ("anime.tsv", "story of 7", "another story"),
    "a tag": ("anime.tsv", "tag1", "tag8"),
    "a comment": ("interactions.tsv", "user 3 on", "user 3 thinks of"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_inference_refuses_other_texts(change: tuple[str, str, str], config: dict[str, Any], data_dir: Path) -> None:
    """Ids, pairs and shapes are as before, so nothing but the texts tells that the weights belong to others."""
    main.run(config)
    before = (Path(config["saved_dir"]) / "item_emb.pt").read_bytes()
    edit(data_dir / change[0], *change[1:])
    with pytest.raises(ValueError, match="other text vectors.*train again"):
        main.run({**config, "mode": "inference"})
    assert (Path(config["saved_dir"]) / "item_emb.pt").read_bytes() == before


def test_inference_without_text_does_not_mind_other_texts(config: dict[str, Any], data_dir: Path) -> None:
    metrics = main.run({**config, "fusion_mode": "none"})
    checkpoint = torch.load(Path(config["saved_dir"]) / "best_model.pth", weights_only=True)
    assert checkpoint["text"] == {"encoder": None, "digest": None}
    edit(data_dir / "anime.tsv", "story of 7", "another story")
    assert main.run({**config, "mode": "inference"}) == metrics


def letters(salt: str = "") -> Any:
    """Return an encoder with vectors of the length of the lsa of the tests, so that no shape gives it away."""
    return lambda texts: np.array(
        [[text.count(letter) + len(salt) for letter in "aeioustn"] for text in texts], np.float32
    )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Encoders that can be reached: name -> encode; every other name falls back to lsa."""
    reachable: dict[str, Any] = {}
    open_encoder = encoders.open_encoder

    def open_it(config: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, Any]:
        name = config["model_name"]
        return (
            (name, reachable[name])
            if name in reachable
            else open_encoder({**config, "model_name": "lsa"}, device, corpus)
        )

    monkeypatch.setattr(llm_embedding, "open_encoder", open_it)
    return reachable


@pytest.mark.slow
def test_inference_keeps_to_the_fallback_it_was_trained_with(config: dict[str, Any], hub: dict[str, Any]) -> None:
    """Once the encoder can be had again its vectors are others, which the weights know nothing of."""
    config = {**config, "model_name": "tests/hub"}
    metrics, saved = main.run(config), Path(config["saved_dir"])
    assert (metrics["encoder"]["requested"], metrics["encoder"]["used"]) == ("tests/hub", "lsa")
    checkpoint = torch.load(saved / "best_model.pth", weights_only=True)
    assert checkpoint["text"] == {"encoder": "lsa", "digest": metrics["encoder"]["digest"]}
    before = (saved / "item_emb.pt").read_bytes()
    (saved / "item_emb.pt").unlink()
    hub["tests/hub"] = letters()
    assert main.run({**config, "mode": "inference"}) == metrics
    assert (saved / "item_emb.pt").read_bytes() == before
    (saved / "item_llm_embeddings.npy").unlink()  # nor does it hang on the cache
    main.run({**config, "mode": "inference"})
    assert (saved / "item_emb.pt").read_bytes() == before
    assert main.run(config)["encoder"]["used"] == "tests/hub"


def test_inference_keeps_to_the_encoder_it_was_trained_with(config: dict[str, Any], hub: dict[str, Any]) -> None:
    """Where that is gone, the vectors of its cache do, and without them it says so."""
    hub["tests/hub"] = letters()
    config = {**config, "model_name": "tests/hub"}
    metrics, saved = main.run(config), Path(config["saved_dir"])
    before = (saved / "item_emb.pt").read_bytes()
    del hub["tests/hub"]
    assert main.run({**config, "mode": "inference", "model_name": "lsa"}) == metrics
    assert (saved / "item_emb.pt").read_bytes() == before
    (saved / "item_llm_embeddings.npy").unlink()
    assert main.run({**config, "mode": "inference"}) == metrics
    (saved / "item_llm_embeddings.npy").unlink()
    shutil.rmtree(saved / "encoded")
    with pytest.raises(ValueError, match="other text vectors.*'lsa' now"):
        main.run({**config, "mode": "inference"})


def test_inference_refuses_another_model_of_the_same_name(
    config: dict[str, Any], hub: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"first")
    hub[str(folder)] = letters()
    config = {**config, "model_name": str(folder)}
    main.run(config)
    main.run({**config, "mode": "inference"})
    (folder / "weights").write_bytes(b"others")
    hub[str(folder)] = letters("salt")
    with pytest.raises(ValueError, match="other text vectors"):
        main.run({**config, "mode": "inference"})


@pytest.mark.slow
@pytest.mark.parametrize("change", ["nothing", "a text", "the encoder"])
def test_a_killed_run_goes_on_only_with_the_texts_it_began_with(
    change: str, config: dict[str, Any], data_dir: Path, hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**config, "model_name": "tests/hub", "early_stop_round": 0}
    train_epoch, epochs = trainer.train_epoch, []
    with monkeypatch.context() as patch:
        patch.setattr(
            trainer, "train_epoch", lambda *args, **more: 1 / 0 if args[-1] == 3 else train_epoch(*args, **more)
        )
        with pytest.raises(ZeroDivisionError):
            main.run(config)
    if change == "a text":
        edit(data_dir / "anime.tsv", "story of 7", "another story")
    if change == "the encoder":
        hub["tests/hub"] = letters()
    monkeypatch.setattr(
        trainer, "train_epoch", lambda *args, **more: epochs.append(args[-1]) or train_epoch(*args, **more)
    )
    told = {
        "a text": "a text, or the model that encodes it, has changed.*--resume never",
        "the encoder": "the text vectors were those of 'lsa', now they are of 'tests/hub'.*--resume never",
    }
    if change != "nothing":
        with pytest.raises(ValueError, match=told[change]):
            main.run(config)
    main.run({**config, "resume": "auto" if change == "nothing" else "never"})
    assert epochs == ([3] if change == "nothing" else [1, 2, 3])


def test_a_run_killed_before_its_metrics_goes_on(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = main.run({**config, "saved_dir": config["saved_dir"] + "2"})
    with monkeypatch.context() as patch:
        patch.setattr(main, "held_out_metrics", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main.run(config)
    monkeypatch.setattr(trainer, "train_epoch", lambda *args: pytest.fail("trained again"))
    assert main.run(config)["test"] == expected["test"]


def test_save_embeddings_leaves_nothing_to_encode(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(save_embeddings, monkeypatch, words(config)) == 0
    monkeypatch.setattr(llm_embedding, "open_encoder", lambda *args: pytest.fail("an encoder was opened"))
    assert main.run(config)["encoder"]["texts_encoded"] == 0


@pytest.mark.slow
def test_ablation_has_eight_rows_encodes_once_and_goes_on(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_encoder = encoders.open_encoder
    monkeypatch.setattr(llm_embedding, "open_encoder", lambda *args: opened.append("") or open_encoder(*args))
    assert call(run_ablation, monkeypatch, words(config)) == 0
    assert len(opened) == 1
    folder = Path(config["saved_dir"]) / "ablation"
    rows = json.loads((folder / "results.json").read_text())
    fitted = "popularity item_knn ease edlae ease_text graph_filter content_cosine content_whitened"
    assert [row["tag"] for row in rows[:8]] == fitted.split()
    rows = rows[8:]
    assert [row["tag"] for row in rows] == [
        f"{fusion}-{text}" for fusion in ("sum", "concat") for text in ("none", "user", "item", "both")
    ]
    for row in rows:
        # without text there is nothing to fuse, so both ways to fuse are the same model, which is run once
        own = folder / row["tag"].replace("concat-none", "sum-none")
        assert row["folders"] == [str(own)]
        assert {"history.jsonl", "metrics.json", "best_model.pth"} <= {p.name for p in own.iterdir()}
        metrics = json.loads((own / "metrics.json").read_text())
        for part in ("warm", "test"):
            assert {key: {"mean": value, "sd": 0.0} for key, value in metrics[part].items()} == row[part]
    assert not (folder / "concat-none").exists()
    assert rows[0]["test"] == rows[4]["test"]
    assert len({json.dumps(row["test"]) for row in rows}) == 7
    written = (folder / "results.md").read_text()
    assert written in capsys.readouterr().out
    runs: list[str] = []
    run = run_ablation.run
    monkeypatch.setattr(run_ablation, "run", lambda config: runs.append(config["saved_dir"]) or run(config))
    (folder / "sum-user" / "metrics.json").unlink()
    assert call(run_ablation, monkeypatch, words(config)) == 0
    assert [Path(path).name for path in runs] == ["sum-user"]
    again = json.loads((folder / "results.json").read_text())[8:]
    assert [row["test"] for row in again] == [row["test"] for row in rows]
    assert call(run_ablation, monkeypatch, words(config, "--rerun")) == 0
    assert len(runs) == 1 + 7


@pytest.mark.slow
def test_ablation_with_other_settings_is_run_again(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    argv = words(config, "--fusion_mode", "sum", "--use_user_llm", "false")
    runs: list[str] = []
    run = run_ablation.run
    monkeypatch.setattr(run_ablation, "run", lambda config: runs.append(config["saved_dir"]) or run(config))
    for more in ((), (), ("--lr", "0.5")):
        assert call(run_ablation, monkeypatch, [*argv, *more]) == 0
    assert [Path(path).name for path in runs] == ["sum-none", "sum-item"] * 2


@pytest.mark.slow
def test_sample_on_the_command_line(tmp_path: Path) -> None:
    """The README's own command, its table and its five lists."""
    done = subprocess.run(
        [sys.executable, "main.py", "--model_name", "lsa", "--saved_dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("for user ") == 5
    assert "Recall" in done.stdout
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    # far above what a random ranking of 300 titles gets (about 0.03), or something is broken
    assert metrics["test"]["NDCG@20"] > 0.09
    assert torch.isfinite(torch.load(tmp_path / "user_emb.pt", weights_only=True)).all()


def test_user_metrics_are_those_of_each_user_with_a_warm_test_pair(config: dict[str, Any]) -> None:
    metrics, saved, dataset = main.run(config), Path(config["saved_dir"]), load_dataset(config)
    found, figures = load_arrays(saved / "user_metrics.npz"), metrics["rated"] | metrics["franchises"]
    users, kinds = found.pop("user_ids"), (*TASTES, "discovery", "continuing")
    further = {key: found.pop(key) for key in list(found) if key.startswith(kinds)}
    assert {key: float(values.mean()) for key, values in found.items()} == pytest.approx(metrics["warm"])
    assert {key: float(np.nanmean(values)) for key, values in further.items()} == pytest.approx(
        {f"{name} NDCG@{k}": figures[name][f"NDCG@{k}"] for name in kinds for k in (10, 20)}
    )
    user_emb, item_emb = (torch.load(saved / name, weights_only=True) for name in ("user_emb.pt", "item_emb.pt"))
    for user, hit, recall in zip(users, found["Hit@20"], found["Recall@20"], strict=True):
        scores = (user_emb[user] @ item_emb[torch.from_numpy(dataset.warm_items)].T).numpy()
        scores[dataset.masked_for("test")[[user]].toarray()[0, dataset.warm_items] > 0] = -np.inf
        target = dataset.test[[user]].toarray()[0, dataset.warm_items] > 0
        best = target[np.argsort(-scores)[:20]]
        assert (hit, recall) == (best.any(), pytest.approx(best.sum() / target.sum()))
    assert len(users) == np.count_nonzero(dataset.warm_pairs("test").sum(axis=1))


def test_a_refit_has_no_user_metrics_of_its_own(config: dict[str, Any]) -> None:
    main.run({**config, "refit": True})
    assert not (Path(config["saved_dir"]) / "user_metrics.npz").exists()
    assert (Path(config["saved_dir"]) / "measured" / "user_metrics.npz").exists()
