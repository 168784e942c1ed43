"""recommend.py: files of lists, and vectors and split for other programs."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import main
import recommend
from config import get_config
from data_loader import load_dataset
from inference import top_k
from runtime.cli import run_script
from tests.helpers.recommend import ids_of

Call = Callable[..., tuple[int, str, str]]
N_ITEMS = 30


@pytest.fixture
def saved_lists(config: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return json.loads((Path(config["saved_dir"]) / "recommendations.json").read_text(encoding="utf-8"))


# --- files of lists ---


def test_lists_in_every_format_are_the_same_lists(
    call: Call, tmp_path: Path, saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    for suffix in (".json", ".jsonl", ".csv", ".tsv"):
        assert call("--out", str(tmp_path / f"new/lists{suffix}"))[0] == 0
    folder = tmp_path / "new"
    assert json.loads((folder / "lists.json").read_text(encoding="utf-8")) == saved_lists
    lines = [json.loads(line) for line in (folder / "lists.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["user_id"]: line["titles"] for line in lines} == saved_lists
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        with (folder / f"lists{suffix}").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
        assert list(rows[0]) == list(top_k.COLUMNS)
        assert [list(row.values()) for row in rows] == [
            [user, str(rank), *map(str, title.values())]
            for user, titles in saved_lists.items()
            for rank, title in enumerate(titles, start=1)
        ]
    assert not list(folder.glob("*.tmp"))


def test_parquet_holds_the_same_rows_in_blocks(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(top_k, "ROWS", 7)
    assert call("--out", str(tmp_path / "inference.top_k.parquet"))[0] == 0
    table = parquet.read_table(tmp_path / "inference.top_k.parquet").to_pydict()
    assert list(table) == list(top_k.COLUMNS)
    assert table["subject_id"] == [raw for titles in saved_lists.values() for raw in ids_of(titles)]
    assert table["rank"][:3] == [1, 2, 3]


def test_one_users_list_and_a_newcomers_go_to_a_file_too(
    call: Call, tmp_path: Path, saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    path = tmp_path / "one.json"
    assert call("--user", "Ann", "--out", str(path))[0] == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    assert list(written) == ["u3"]
    assert ids_of(written["u3"]) == ids_of(saved_lists["u3"])
    assert call("--new_user", "s1", "--out", str(path), "--k", "3")[0] == 0
    assert len(json.loads(path.read_text(encoding="utf-8"))["new user"]) == 3
    (tmp_path / "ids").write_text("u7\nu3\n", encoding="utf-8")
    assert call("--users", str(tmp_path / "ids"), "--out", str(path))[0] == 0
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["u7", "u3"]


def test_no_lists_are_json_as_well(tmp_path: Path) -> None:
    top_k.write_lists(tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text(encoding="utf-8")) == {}


def test_a_file_of_lists_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> top_k.Lists:
        yield "u1", []
        raise ValueError("half way")

    for suffix in (".json", ".csv"):
        path = tmp_path / f"lists{suffix}"
        path.write_text("before", encoding="utf-8")
        with pytest.raises(ValueError, match="half way"):
            top_k.write_lists(path, broken())
        assert path.read_text(encoding="utf-8") == "before"
    assert len(list(tmp_path.iterdir())) == 2


def test_lists_of_blocks_are_those_of_one(config: dict[str, Any], saved_lists: dict[str, list[dict[str, Any]]]) -> None:
    dataset = load_dataset(config)
    users, items = (
        torch.load(Path(config["saved_dir"]) / f"{side}_emb.pt", weights_only=True) for side in ("user", "item")
    )
    ties = torch.zeros_like(users)  # which are broken by one sequence of random numbers
    for vectors in (users, ties):
        one, again = (dict(top_k.each_list(vectors, items, dataset, 9, config)) for _ in range(2))
        many = dict(top_k.each_list(vectors, items, dataset, 9, {**config, "eval_memory_mb": 0}))
        assert again == one
        assert list(many) == list(one)
        if vectors is users:
            assert [ids_of(titles) for titles in many.values()] == [ids_of(titles) for titles in one.values()]
    assert [ids_of(titles[:9]) for titles in saved_lists.values()] == [
        ids_of(titles) for titles in top_k.recommend(users, items, dataset, 9, config).values()
    ]


# --- vectors and split for others ---


def test_exported_vectors_and_split_are_those_of_the_run(call: Call, config: dict[str, Any], tmp_path: Path) -> None:
    assert call("--export", str(tmp_path))[0] == 0
    dataset = load_dataset(config)
    for side, ids in (("user", dataset.raw_user_ids), ("item", dataset.raw_item_ids)):
        vectors = np.load(tmp_path / f"{side}_vectors.npy", allow_pickle=False)
        assert vectors.dtype == np.float32
        assert np.array_equal(vectors, torch.load(Path(config["saved_dir"]) / f"{side}_emb.pt", weights_only=True))
        assert (tmp_path / f"{side}_ids.txt").read_text(encoding="utf-8").split("\n") == [*ids, ""]
    raw = pd.read_csv(Path(config["data_dir"]) / "interactions.tsv", sep="\t", dtype=str)
    rates = {(row.user_id, row.subject_id): float(row.rate) for row in raw.itertuples()}
    for part in ("train", "valid", "test", "cold_valid", "cold_test"):
        lines = (tmp_path / "data" / f"data.{part}.inter").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float"
        rows = [line.split("\t") for line in lines[1:]]
        pairs = np.argwhere(getattr(dataset, part))
        assert [row[:2] for row in rows] == [
            [dataset.raw_user_ids[user], dataset.raw_item_ids[item]] for user, item in pairs
        ]
        assert all(float(rate) == rates[user, item] for user, item, rate, _ in rows)
        assert all(1.57e9 < float(time) < 1.62e9 for *_, time in rows)
    titles = (tmp_path / "data" / "data.item").read_text(encoding="utf-8").splitlines()
    assert titles[:2] == ["item_id:token\tname:token_seq\ttags:token_seq", "s0\ttitle 0\ttag0 tag0"]
    assert len(titles) == N_ITEMS + 1
    assert "IndexFlatIP" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_bare_graph_is_exported_without_rates_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("train.txt", "test.txt"):
        rows = [" ".join(map(str, (user, *rng.choice(12, 5, replace=False)))) for user in range(12)]
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    where = ["recommend.py", "--data_dir", str(folder), "--saved_dir", str(tmp_path / "saved")]
    main.run(
        get_config(
            {
                "data_dir": str(folder),
                "saved_dir": str(tmp_path / "saved"),
                "fusion_mode": "none",
                "epochs": 1,
                "embedding_dim": 4,
                "top_k": [3],
                "recommend_k": 3,
                "device": "cpu",
            }
        )
    )
    monkeypatch.setattr(sys, "argv", [*where, "--export", str(tmp_path / "out")])
    assert run_script(recommend.main) == 0
    split = tmp_path / "out" / "my-data"
    assert {path.name for path in split.iterdir()} == {
        "anime.tsv",
        "interactions.tsv",
        *(f"my-data.{part}" for part in ("train.inter", "valid.inter", "test.inter", "item")),
    }
    assert (split / "my-data.train.inter").read_text(encoding="utf-8").startswith("user_id:token\titem_id:token\n")


def test_an_id_with_a_line_break_is_not_exported(tmp_path: Path) -> None:
    from inference.export import _write_ids

    with pytest.raises(ValueError, match=r"id 'a\\nb' holds a tab or a line break"):
        _write_ids(tmp_path / "ids.txt", ["a\nb"])
