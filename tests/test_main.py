"""Whole runs: the files in saved/, inference, ablation, recommendations, the cache filled ahead."""

import json
import pickle
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
import recommend
import run_ablation
import save_embeddings
import trainer
from config import get_config, run_script
from data_loader import load_dataset

ROOT = Path(__file__).parents[1]
FILES = {"report.html", "best_model.pth", "user_emb.pt", "item_emb.pt", "recommendations.json", "train_user_dict.pkl",
         "item_llm_embeddings.npy", "user_llm_embeddings.npy", "item_llm_embeddings.npy.json",
         "user_llm_embeddings.npy.json", "id_mappings.json", "splits.npz", "metrics.json", "history.jsonl",
         "checkpoint.pth"}


def words(config: dict[str, Any], *more: str) -> list[str]:
    """Turn the settings of the test config into a command line."""
    keys = ("data_dir", "saved_dir", "model_name", "lsa_dim", "embedding_dim", "epochs", "batch_size", "device")
    return ["script", *(word for key in keys for word in (f"--{key}", str(config[key]))), *more]


def call(script: Any, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", argv)
    return run_script(script.main, script.__doc__)


def test_a_run_writes_every_file_of_the_contract(config: dict[str, Any]) -> None:
    metrics = main.run(config)
    saved = Path(config["saved_dir"])
    assert {path.name for path in saved.iterdir()} == FILES
    assert json.loads((saved / "metrics.json").read_text()) == metrics
    assert {"valid", "test", "cold", "groups", "data", "encoder", "timing", "config", "versions"} <= set(metrics)
    assert set(metrics["test"]) == {f"{name}@{k}" for name in ("Recall", "NDCG", "Hit") for k in (10, 20)} | {"AUC"}
    dataset = load_dataset(config)
    splits = np.load(saved / "splits.npz", allow_pickle=False)
    for name in ("train", "valid", "test", "cold_valid", "cold_test"):
        assert splits[name].dtype == np.int32
        assert splits[name].tolist() == np.argwhere(getattr(dataset, name)).tolist()
    ids = json.loads((saved / "id_mappings.json").read_text())
    assert ids == {"user_ids": dataset.raw_user_ids, "item_ids": dataset.raw_item_ids}
    train = pickle.loads((saved / "train_user_dict.pkl").read_bytes())
    assert sum(map(len, train.values())) == dataset.train.nnz
    lists = json.loads((saved / "recommendations.json").read_text())
    assert list(lists) == dataset.raw_user_ids
    assert all(len(titles) == 20 for titles in lists.values())


def test_test_figures_mask_train_and_valid(config: dict[str, Any]) -> None:
    """Recomputed from the saved vectors: a valid title left in the ranking would take a place from a test title."""
    config = {**config, "epochs": 15, "lr": 0.05}
    test = main.run(config)["test"]
    dataset, saved = load_dataset(config), Path(config["saved_dir"])
    vectors = [torch.load(saved / name, weights_only=True) for name in ("user_emb.pt", "item_emb.pt")]
    known = {"train": dataset.train, "train and valid": dataset.train + dataset.valid}
    again = {name: evaluator.means(evaluator.evaluate(*vectors, dataset.test, masked, config))
             for name, masked in known.items()}
    assert test == pytest.approx(again["train and valid"])
    assert test != pytest.approx(again["train"])


def test_cold_items_are_measured_apart(config: dict[str, Any]) -> None:
    metrics = main.run({**config, "cold_item_ratio": 0.4, "top_k": [3], "early_stop_metric": "NDCG@3"})
    for part in ("cold", "cold_valid"):
        assert set(metrics[part]) == {"n_items", "among_cold", "among_all"}
        assert 0 < metrics[part]["among_cold"]["Recall@3"] <= 1
        assert metrics[part]["among_cold"]["Recall@3"] >= metrics[part]["among_all"]["Recall@3"]
    assert metrics["groups"]["items"]["cold"]["n_items"] >= metrics["cold"]["n_items"]


def test_inference_writes_the_same_again(config: dict[str, Any]) -> None:
    metrics = main.run(config)
    saved = Path(config["saved_dir"])
    names = ("user_emb.pt", "item_emb.pt", "recommendations.json", "metrics.json")
    before = {name: (saved / name).read_bytes() for name in names}
    for name in names[:3]:
        (saved / name).unlink()
    again = main.run({**get_config({}), **{key: config[key] for key in ("data_dir", "saved_dir", "device")},
                      "mode": "inference"})
    assert again == metrics
    assert {name: (saved / name).read_bytes() for name in names} == before


def test_inference_takes_a_run_from_before_a_setting_was_added(config: dict[str, Any]) -> None:
    main.run(config)
    path = Path(config["saved_dir"]) / "best_model.pth"
    before = (path.parent / "item_emb.pt").read_bytes()
    state = torch.load(path, weights_only=True)
    del state["config"]["whiten"]
    torch.save(state, path)
    main.run({**config, "mode": "inference"})
    assert (path.parent / "item_emb.pt").read_bytes() == before


def test_inference_refuses_other_data(config: dict[str, Any], data_dir: Path) -> None:
    main.run(config)
    with open(data_dir / "interactions.tsv", "a", encoding="utf-8") as file:
        file.write("a_new_user\ts1\t5\t\t\n")
    with pytest.raises(ValueError, match="trained on other data"):
        main.run({**config, "mode": "inference"})


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


def test_ablation_runs_eight_encodes_once_and_goes_on(config: dict[str, Any], capsys: pytest.CaptureFixture[str],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_encoder = llm_embedding.open_encoder
    monkeypatch.setattr(llm_embedding, "open_encoder", lambda *args: opened.append("") or open_encoder(*args))
    assert call(run_ablation, monkeypatch, words(config)) == 0
    assert len(opened) == 1
    folder = Path(config["saved_dir"]) / "ablation"
    rows = json.loads((folder / "results.json").read_text())
    assert [row["tag"] for row in rows[:5]] == ["popularity", "item_knn", "ease", "content_cosine", "content_whitened"]
    rows = rows[5:]
    assert [row["tag"] for row in rows] == [f"{fusion}-{text}" for fusion in ("sum", "concat")
                                           for text in ("none", "user", "item", "both")]
    for row in rows:
        assert {"history.jsonl", "metrics.json", "best_model.pth"} <= {p.name for p in (folder / row["tag"]).iterdir()}
        test = json.loads((folder / row["tag"] / "metrics.json").read_text())["test"]
        assert {key: {"mean": value, "sd": 0.0} for key, value in test.items()} == row["test"]
    # without text there is nothing to fuse, so both ways to fuse are the same model
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
    again = json.loads((folder / "results.json").read_text())[5:]
    assert [row["test"] for row in again] == [row["test"] for row in rows]
    assert call(run_ablation, monkeypatch, words(config, "--rerun")) == 0
    assert len(runs) == 9


def test_ablation_with_other_settings_is_run_again(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    argv = words(config, "--fusion_mode", "sum", "--use_user_llm", "false")
    runs: list[str] = []
    run = run_ablation.run
    monkeypatch.setattr(run_ablation, "run", lambda config: runs.append(config["saved_dir"]) or run(config))
    for more in ((), (), ("--lr", "0.5")):
        assert call(run_ablation, monkeypatch, [*argv, *more]) == 0
    assert [Path(path).name for path in runs] == ["sum-none", "sum-item"] * 2


def test_recommend_writes_and_prints(config: dict[str, Any], capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    main.run(config)
    saved = Path(config["saved_dir"])
    lists = json.loads((saved / "recommendations.json").read_text())
    (saved / "recommendations.json").unlink()
    where = ["script", "--data_dir", config["data_dir"], "--saved_dir", config["saved_dir"]]
    assert call(recommend, monkeypatch, where) == 0
    assert json.loads((saved / "recommendations.json").read_text()) == lists
    capsys.readouterr()
    assert call(recommend, monkeypatch, [*where, "--user", "u3", "--k", "4"]) == 0
    printed = capsys.readouterr().out
    for title in lists["u3"][:4]:
        assert f"{title['name']} ({title['subject_id']})" in printed
    assert f"({lists['u3'][4]['subject_id']})" not in printed
    assert call(recommend, monkeypatch, [*where, "--user", "u333"]) == 2
    error = capsys.readouterr().err
    assert "u333" in error
    assert "u33" in error.replace("u333", "")


def test_recommend_for_a_new_user_and_similar_titles(config: dict[str, Any], capsys: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    main.run(config)
    where = ["script", "--data_dir", config["data_dir"], "--saved_dir", config["saved_dir"], "--k", "5"]
    for flag, given in (("--new_user", "s1,s2"), ("--similar", "s1")):
        capsys.readouterr()
        assert call(recommend, monkeypatch, [*where, flag, given]) == 0
        listed = [line.rsplit("(", 1)[1].rstrip(")") for line in capsys.readouterr().out.splitlines() if "  " in line]
        assert len(listed) == 5
        assert not set(listed) & set(given.split(","))
        assert call(recommend, monkeypatch, [*where, flag, "none"]) == 2


def test_recommend_without_a_run_says_what_to_do(config: dict[str, Any], capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(recommend, monkeypatch, ["script", "--saved_dir", config["saved_dir"]]) == 2
    assert "run python main.py" in capsys.readouterr().err


def test_sample_on_the_command_line(tmp_path: Path) -> None:
    """The README's own command, its table and its five lists."""
    done = subprocess.run([sys.executable, "main.py", "--model_name", "lsa", "--saved_dir", str(tmp_path)], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("for user ") == 5
    assert "Recall" in done.stdout
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    # far above what a random ranking of 300 titles gets (about 0.03), or something is broken
    assert metrics["test"]["NDCG@20"] > 0.09
    assert torch.isfinite(torch.load(tmp_path / "user_emb.pt", weights_only=True)).all()


@pytest.mark.parametrize("script", ["main", "save_embeddings", "recommend", "run_ablation"])
def test_help_lists_every_setting(script: str, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(sys.modules[script], monkeypatch, [script, "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"--{key} " in printed for key in get_config({}))
    assert f"python {script}.py" in printed
