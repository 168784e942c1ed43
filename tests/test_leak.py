"""Nothing of valid, test or aside reaches training: runs on data that differ in such rows only must train alike."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import llm_embedding
from config import PRESETS, SETTING, TASTES, get_config
from data_loader import load_dataset, normalized_adjacency
from dataset.franchises import franchises_of
from main import run
from tests.helpers.data import write_data, write_tsv
from text import encoders
from training.bpr import sample_triples
from training.softmax import softmax_batches

MARKER = "marker of a held-out row"


def settings(data_dir: Path, saved_dir: Path, **overrides: Any) -> dict[str, Any]:
    small = {"lsa_dim": 8, "embedding_dim": 8, "epochs": 4, "batch_size": 64, "num_layers": 2}
    return get_config(
        {
            "model_name": "lsa",
            "lr": 0.05,
            "early_stop_round": 2,
            "device": "cpu",
            **overrides,
            **small,
            "data_dir": str(data_dir),
            "saved_dir": str(saved_dir),
        }
    )


def rewrite_part(source: Path, target: Path, config: dict[str, Any], part: str) -> None:
    """Copy a data folder; rows of one part get another title, another rate and a marker as comment.

    The times stay, and the rates of aside, so the user_time split puts the changed rows into the same part.
    """
    dataset = load_dataset(config)
    held_out = {(dataset.raw_user_ids[u], dataset.raw_item_ids[i]) for u, i in np.argwhere(getattr(dataset, part))}
    seen = {(dataset.raw_user_ids[u], dataset.raw_item_ids[i]) for u, i in np.argwhere(dataset.seen)}
    with (source / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file, delimiter="\t")]
    assert held_out
    for row in rows:
        if (row[0], row[1]) in held_out:
            other = next(raw for raw in dataset.raw_item_ids[::-1] if (row[0], raw) not in seen)
            seen.add((row[0], other))
            row[1], row[2], row[3] = other, row[2] if part == "excluded" else "1", MARKER
    write_tsv(target, "interactions.tsv", rows)
    (target / "anime.tsv").write_bytes((source / "anime.tsv").read_bytes())


def write_timed(folder: Path) -> Path:
    """Write data in which no two rows of a user share a time, so that the order within a user is certain."""
    write_data(folder)
    with (folder / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file, delimiter="\t")]
    for number, row in enumerate(rows):
        row[4] = str(1_600_000_000 + number * 7919 % 99_991)
    write_tsv(folder, "interactions.tsv", rows)
    return folder


# all that valid decides: temperature, dropout, text, the linear columns, and what they and popularity count
TUNED = {**PRESETS["tuned"], "linear_dim": 6}


@pytest.mark.parametrize(
    "recipe",
    [{"fusion_mode": "none"}, {"fusion_mode": "sum"}, {"fusion_mode": "concat"}, TUNED],
    ids=["none", "sum", "concat", "tuned"],
)
def test_changing_test_rows_changes_no_weight(tmp_path: Path, recipe: dict[str, Any]) -> None:
    write_timed(tmp_path / "a")
    first = settings(tmp_path / "a", tmp_path / "saved_a", **recipe)
    rewrite_part(tmp_path / "a", tmp_path / "b", first, "test")
    second = settings(tmp_path / "b", tmp_path / "saved_b", **recipe)
    metrics = [run(config) for config in (first, second)]
    assert metrics[0]["test"] != metrics[1]["test"]
    assert metrics[0]["valid"] == metrics[1]["valid"]
    assert metrics[0]["epoch"] == metrics[1]["epoch"]
    assert metrics[0]["decided"] == metrics[1]["decided"]
    for name in ("user_emb.pt", "item_emb.pt"):
        a, b = (torch.load(Path(c["saved_dir"]) / name, weights_only=True) for c in (first, second))
        assert torch.equal(a, b), f"{name} depends on test rows"


def test_a_changed_rate_of_a_test_row_changes_its_figures_alone(tmp_path: Path) -> None:
    """Also where valid chooses by what was liked: the scale of a user is that of train rates."""
    write_timed(tmp_path / "a")
    first = settings(tmp_path / "a", tmp_path / "saved_a", early_stop_metric="liked NDCG@20")
    dataset = load_dataset(first)
    in_test = {(dataset.raw_user_ids[u], dataset.raw_item_ids[i]) for u, i in np.argwhere(dataset.test)}
    with (tmp_path / "a" / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file, delimiter="\t")]
    for row in rows:
        row[2] = str(11 - int(row[2])) if (row[0], row[1]) in in_test else row[2]
    write_tsv(tmp_path / "b", "interactions.tsv", rows)
    (tmp_path / "b" / "anime.tsv").write_bytes((tmp_path / "a" / "anime.tsv").read_bytes())
    second = settings(tmp_path / "b", tmp_path / "saved_b", early_stop_metric="liked NDCG@20")
    metrics = [run(config) for config in (first, second)]
    assert metrics[0]["rated"] != metrics[1]["rated"]
    for key in ("valid", "valid_rated", "epoch", "decided", "test", "warm", "groups"):
        assert metrics[0][key] == metrics[1][key], key
    for name in ("user_emb.pt", "item_emb.pt"):
        a, b = (torch.load(Path(c["saved_dir"]) / name, weights_only=True) for c in (first, second))
        assert torch.equal(a, b), f"{name} depends on test rates"


EXCLUDED = {"min_rate": 4, "train_rows_per_user": 3}


@pytest.mark.parametrize(
    ("part", "overrides"),
    [("valid", {}), ("excluded", EXCLUDED), ("excluded", {**EXCLUDED, "loss": "softmax", "init": "svd"})],
    ids=["valid", "aside with bpr", "aside with softmax"],
)
def test_changing_valid_or_aside_rows_changes_no_loss_and_no_text(
    tmp_path: Path, part: str, overrides: dict[str, Any]
) -> None:
    write_timed(tmp_path / "a")
    first = settings(tmp_path / "a", tmp_path / "saved_a", early_stop_round=0, **overrides)
    rewrite_part(tmp_path / "a", tmp_path / "b", first, part)
    second = settings(tmp_path / "b", tmp_path / "saved_b", early_stop_round=0, **overrides)
    valid = [run(config)["valid"] for config in (first, second)]
    assert valid[0] != valid[1]  # of aside, too, since its pairs are masked there
    losses, texts = [], []
    for config in (first, second):
        saved = Path(config["saved_dir"])
        losses.append([json.loads(line)["loss"] for line in (saved / "history.jsonl").read_text().splitlines()])
        texts.append(np.load(saved / "user_llm_embeddings.npy"))
    assert losses[0] == losses[1]
    assert np.array_equal(texts[0], texts[1])


@pytest.mark.parametrize(
    ("parts", "overrides"), [(("test", "valid"), {}), (("excluded",), EXCLUDED)], ids=["held out", "excluded"]
)
def test_no_comment_but_of_a_train_row_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...], overrides: dict[str, Any]
) -> None:
    folder = write_timed(tmp_path / "all")
    for part in parts:
        rewrite_part(folder, tmp_path / part, settings(folder, tmp_path / "saved", **overrides), part)
        folder = tmp_path / part
    config = settings(folder, tmp_path / "saved", **overrides)
    dataset = load_dataset(config)
    assert MARKER in (folder / "interactions.tsv").read_text()
    assert dataset.user_comments.texts
    assert MARKER not in dataset.user_comments.texts
    encoded: list[str] = []

    def recording(config: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, encoders.Encode]:
        def encode(texts: list[str]) -> np.ndarray:
            encoded.extend([*texts, *corpus])
            return np.ones((len(texts), 4), np.float32)

        return "lsa", encode

    monkeypatch.setattr(llm_embedding, "open_encoder", recording)
    llm_embedding.text_vectors(dataset, config, "cpu")
    assert encoded
    assert not [text for text in encoded if MARKER in text]


@pytest.mark.parametrize(
    ("split", "cold_item_ratio"),
    # a given split has the cold items that it has
    [
        (split, ratio)
        for split in SETTING["split"].legal.choices
        for ratio in (0.0, 0.3)
        if split != "given" or not ratio
    ],
)
def test_no_pair_but_of_train_is_an_edge_or_a_positive(tmp_path: Path, split: str, cold_item_ratio: float) -> None:
    folder = write_given(tmp_path / "a", held_out=False) if split == "given" else write_timed(tmp_path / "a")
    config = settings(folder, tmp_path, split=split, cold_item_ratio=cold_item_ratio, **EXCLUDED)
    dataset = load_dataset(config)
    assert dataset.excluded.nnz > 50
    edges = normalized_adjacency(dataset.train).to_dense()[: dataset.n_users, dataset.n_users :].numpy() > 0
    users, positives, _ = sample_triples(dataset.train, np.random.default_rng(0))
    trained = set(zip(users.tolist(), positives.tolist(), strict=True))
    for (users, items, (places, wanted), _), _ in softmax_batches(
        dataset.train, {"batch_size": 7}, np.random.default_rng(0), "cpu"
    )[1]:
        pairs = set(zip(users[places].tolist(), items[wanted].tolist(), strict=True))
        assert pairs <= trained
    for part in ("valid", "test", "cold_valid", "cold_test", "excluded"):
        for user, item in np.argwhere(getattr(dataset, part)).tolist():
            assert not edges[user, item], f"a pair of {part} is an edge of the graph"
            assert (user, item) not in trained, f"a pair of {part} is trained on"
    assert edges.sum() == dataset.train.nnz == len(trained)


HELD_OUT = ("valid", "test", "cold_valid", "cold_test", "aside", "")


def write_given(folder: Path, held_out: bool) -> Path:
    """Write a given split with every part; with held_out the contents of all rows but those of train are others."""
    write_timed(folder)
    rng = np.random.default_rng(3)
    with (folder / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file, delimiter="\t")]
    cold = {"s0": "cold_valid", "s1": "cold_test", "s2": "cold_valid", "s3": "cold_test"}
    warm = rng.choice(["train", "valid", "test", "aside", ""], len(rows), p=[0.6, 0.1, 0.1, 0.1, 0.1]).tolist()
    known = [[*row[:2], row[4]] for row in rows[:40:9]]
    with (folder / "interactions.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["user_id", "subject_id", "rate", "comment", "updated_at", "part"])
        for number, row in enumerate(rows):
            part = cold.get(row[1], warm[number])
            if part != "train" and held_out:
                # the rates of valid say which of its titles were liked, by which rating_weight is chosen
                rate = row[2] if part == "valid" else "1" if number % 2 else "10"
                row[2:] = rate, MARKER, str(1_000_000_000 + 10**7 * (number * 31 % 97))
            if number % 9 or number >= 40:
                writer.writerow([*row, part])
    with (folder / "known.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(
            [["user_id", "subject_id", "updated_at"], *known]
        )
    return folder


@pytest.mark.parametrize(
    "recipe", [{"fusion_mode": "concat"}, TUNED, {**TUNED, "refit_valid": True}], ids=["concat", "tuned", "refit_valid"]
)
def test_contents_of_held_out_rows_of_a_given_split_reach_nothing(tmp_path: Path, recipe: dict[str, Any]) -> None:
    """Rates, comments and times of rows beyond train: who collected what is all that a ranking is measured by.

    (With refit_valid the rows of valid are train rows in the end, and are left as they are.)
    """
    runs = []
    for name in ("a", "b"):
        folder = write_given(tmp_path / name, held_out=name == "b")
        if recipe.get("refit_valid"):
            keep_rows_of_valid(tmp_path / "a", folder)
        config = settings(folder, tmp_path / f"saved_{name}", **recipe)
        dataset = load_dataset(config)
        assert all(getattr(dataset, part).nnz for part in ("test", "cold_test", "excluded"))
        runs.append((run(config), dataset.fingerprint, Path(config["saved_dir"])))
    assert MARKER in (tmp_path / "b" / "interactions.tsv").read_text()
    (first, fingerprint, saved), (second, again, beside) = runs
    assert fingerprint == again
    for key in ("test", "cold", "epoch", "decided"):
        assert first[key] == second[key], key
    of_pairs = [key for key in first["valid"] if not key.startswith(TASTES)]  # the others are measured by rates
    assert [first["valid"][key] for key in of_pairs] == [second["valid"][key] for key in of_pairs]
    for name in ("user_emb.pt", "item_emb.pt"):
        assert torch.equal(*(torch.load(folder / name, weights_only=True) for folder in (saved, beside))), name
    if recipe.get("calibrate"):
        placed = [torch.load(folder / "best_model.pth", weights_only=True)["state_dict"] for folder in (saved, beside)]
        assert len(placed[0]["cold_vectors"]) >= (2 if recipe.get("refit_valid") else 4)
        assert torch.equal(*(state["cold_vectors"] for state in placed))
    for name in ("user_llm_embeddings.npy", "item_llm_embeddings.npy"):
        assert np.array_equal(np.load(saved / name), np.load(beside / name)), name


def keep_rows_of_valid(source: Path, folder: Path) -> None:
    """Put the rows of valid and cold_valid of one folder in the place of those of the other."""
    lines = [(f / "interactions.tsv").read_text(encoding="utf-8").splitlines(keepends=True) for f in (source, folder)]
    mixed = [ours if ours.endswith("valid\n") else theirs for ours, theirs in zip(*lines, strict=True)]
    (folder / "interactions.tsv").write_text("".join(mixed), encoding="utf-8")


def test_no_pair_held_out_by_a_given_split_is_an_edge_or_a_comment(tmp_path: Path) -> None:
    dataset = load_dataset(settings(write_given(tmp_path / "a", held_out=True), tmp_path / "saved"))
    edges = normalized_adjacency(dataset.train).to_dense()[: dataset.n_users, dataset.n_users :].numpy() > 0
    with (tmp_path / "a" / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["part"] for row in rows} == {"train", *HELD_OUT}
    for row in rows:
        place = dataset.raw_user_ids.index(row["user_id"]), dataset.raw_item_ids.index(row["subject_id"])
        assert edges[place] == (row["part"] == "train")
    assert dataset.user_comments.texts
    assert MARKER not in dataset.user_comments.texts


@pytest.mark.parametrize("part", ["test", "valid"])
def test_changing_held_out_rows_changes_no_franchise(tmp_path: Path, part: str) -> None:
    """Their order goes by who collected a title in train and when."""
    write_timed(tmp_path / "a")
    names = "\n".join(f"s{item}\tStory: {'abcdefghijklmnopqrstuvwxyzäöü§'[item]}\t\t" for item in range(30))
    (tmp_path / "a" / "anime.tsv").write_text(f"subject_id\tname\ttags_name\tsummary\n{names}\n", encoding="utf-8")
    first = settings(tmp_path / "a", tmp_path / "saved")
    rewrite_part(tmp_path / "a", tmp_path / "b", first, part)
    ours, theirs = (franchises_of(load_dataset({**first, "data_dir": str(tmp_path / name)})) for name in ("a", "b"))
    assert not ours.groups.any()
    for name, values in ours._asdict().items():
        assert np.array_equal(values, getattr(theirs, name)), name


def test_negatives_do_not_shun_held_out_pairs(tmp_path: Path) -> None:
    """To spare them would tell the model where they are."""
    dataset = load_dataset(settings(write_timed(tmp_path / "a"), tmp_path))
    held_out = set(map(tuple, np.argwhere(dataset.valid + dataset.test).tolist()))
    rng, drawn = np.random.default_rng(0), set()
    for _ in range(30):
        users, _, negatives = sample_triples(dataset.train, rng)
        drawn |= set(zip(users.tolist(), negatives.tolist(), strict=True))
    reachable = {(u, i) for u, i in held_out if dataset.train[:, [i]].nnz}
    assert len(drawn & reachable) > 0.9 * len(reachable)
