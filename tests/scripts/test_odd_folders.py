"""Folders as people have them, from training to lists: sparse users, users of test alone, odd ids and characters."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
import recommend
from config import get_config
from inference.terminal import plain
from runtime.cli import run_script
from tests.helpers.data import write_tsv
from tools import check

FAR = "99999999999999999999"  # beyond int64


def trained(folder: Path, data: Path, **more: Any) -> dict[str, Any]:
    words = {
        "data_dir": str(data),
        "saved_dir": str(folder / "saved"),
        "embedding_dim": 8,
        "epochs": 2,
        "device": "cpu",
    }
    config = get_config({**words, **more})
    main.run(config)
    return config


def lists_in(config: dict[str, Any]) -> dict[str, list[str]]:
    found = json.loads((Path(config["saved_dir"]) / "recommendations.json").read_text(encoding="utf-8"))
    return {user: [title["subject_id"] for title in titles] for user, titles in found.items()}


def ids_in(config: dict[str, Any]) -> tuple[list[str], list[str]]:
    found = json.loads((Path(config["saved_dir"]) / "id_mappings.json").read_text(encoding="utf-8"))
    return found["user_ids"], found["item_ids"]


def asked(
    config: dict[str, Any], *words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["recommend.py", "--saved_dir", config["saved_dir"], *words])
    capsys.readouterr()
    code = run_script(recommend.main)
    return code, *capsys.readouterr()


# --- LightGCN's files whose test part knows more ---


@pytest.fixture(scope="module")
def by_lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run on train.txt, test.txt: user 78 has no item, 1 has two lines, 77 and some items are in test alone."""
    folder, rng = tmp_path_factory.mktemp("lines"), np.random.default_rng(0)
    (folder / "data").mkdir()
    drawn = [rng.choice(30, 10, replace=False) + 1000 for _ in range(20)]
    train = [f"{user} " + " ".join(map(str, items[:8])) for user, items in enumerate(drawn, 1)]
    test = [f"{user} " + " ".join(map(str, items[8:])) for user, items in enumerate(drawn, 1)]
    further = next(item for item in range(1000, 1030) if item not in drawn[0])
    (folder / "data" / "train.txt").write_text("\n".join([*train, "78  ", "79 1003", f"1 {further}", ""]), "utf-8")
    test[2] += " 5555"
    (folder / "data" / "test.txt").write_text("\n".join([*test, f"77 1000 1001 {FAR}", ""]), "utf-8")
    return trained(folder, folder / "data", fusion_mode="none", top_k=[5, 10])


def test_users_and_items_of_test_alone_are_counted_and_ranked(by_lines: dict[str, Any]) -> None:
    (users, items), lists = ids_in(by_lines), lists_in(by_lines)
    assert users == [*map(str, range(1, 21)), "77", "78", "79"]
    assert {"5555", FAR} < {*items}
    assert len(items) == len({*items})
    metrics = json.loads((Path(by_lines["saved_dir"]) / "metrics.json").read_text("utf-8"))
    assert metrics["data"]["test"] == 20 * 2 + 1 + 3
    assert set(lists) == set(users)
    assert not {"1000", "1001"} - {*items}


def test_a_user_on_two_lines_is_one(by_lines: dict[str, Any]) -> None:
    lines = (Path(by_lines["data_dir"]) / "train.txt").read_text("utf-8").splitlines()
    collected = {item for line in lines if line.split()[0] == "1" for item in line.split()[1:]}
    assert len(collected) == 9
    assert not collected & {*lists_in(by_lines)["1"]}


def test_who_has_nothing_gets_what_is_popular(
    by_lines: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = asked(by_lines, "--user", "78", "--k", "3", "--parts", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert printed.count("popularity") == 3


def test_of_a_title_without_anything_nothing_is_near_and_no_list_is_made(
    by_lines: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its vector is zero: what was listed were the least popular titles first."""
    code, printed, _ = asked(by_lines, "--similar", FAR, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert "there is none" in printed
    code, _, error = asked(by_lines, "--new_user", f"{FAR},5555", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert "nothing is known of these titles: nobody else had collected one in training" in error
    code, printed, _ = asked(by_lines, "--new_user", f"{FAR},1003", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0


def test_the_figures_follow_from_what_is_saved(by_lines: dict[str, Any]) -> None:
    """Recall, NDCG and Hit by a second way, from the files of a run alone; ties lie between the best and the worst."""
    saved = Path(by_lines["saved_dir"])
    vectors = [torch.load(saved / f"{side}_emb.pt", weights_only=True).double() for side in ("user", "item")]
    scores, splits = (vectors[0] @ vectors[1].T).numpy(), np.load(saved / "splits.npz")
    part = {
        name: {u: {*map(int, splits[name][splits[name][:, 0] == u, 1])} for u in range(23)} for name in splits.files
    }
    metrics = json.loads((saved / "metrics.json").read_text("utf-8"))
    warm = {item for items in part["train"].values() for item in items}
    for name, among in (("warm", warm), ("test", {*range(scores.shape[1])})):
        for k in (5, 10):
            low, high = (
                np.mean([_figures(scores[u], part, u, among, k, sign) for u in range(23) if part["test"][u] & among], 0)
                for sign in (-1, 1)
            )
            told = [metrics[name][f"{key}@{k}"] for key in ("Recall", "NDCG", "Hit")]
            assert np.all(low - 1e-6 <= told), (name, k, low, told)
            assert np.all(told <= high + 1e-6), (name, k, high, told)
            assert np.all(high - low < 0.06)  # the few who are ranked for by popularity


def _figures(
    scores: np.ndarray, part: dict[str, dict[int, set[int]]], user: int, among: set[int], k: int, sign: int
) -> tuple[float, float, float]:
    """Return Recall, NDCG and Hit of a user, target items first among ties for sign 1 and last for -1."""
    target = part["test"][user] & among
    left = among - part["train"][user] - part["valid"][user]
    ranked = sorted(left, key=lambda item: (-round(scores[item], 6), -sign * (item in target)))[:k]
    hits = [item in target for item in ranked]
    ideal = sum(1 / np.log2(place + 2) for place in range(min(k, len(target))))
    gain = sum(hit / np.log2(place + 2) for place, hit in enumerate(hits))
    return sum(hits) / len(target), gain / ideal, float(any(hits))


# --- users without a positive, with one, with two; no times ---


def test_users_with_next_to_nothing_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, data = np.random.default_rng(1), tmp_path / "data"
    write_tsv(data, "anime.tsv", [(i, f"T{i}", '["a"]', f"story {i % 4}") for i in range(40)])
    rows = [(f"u{u}", i, int(rng.integers(5, 11)), "", "") for u in range(40) for i in rng.choice(30, 6, replace=False)]
    sparse = [("cold0", 35, 0, "", ""), ("cold1", 36, 0, "", ""), ("one", 5, 9, "", "")]
    rows += [*sparse, ("two", 5, 9, "", ""), ("two", 6, 9, "", "")]
    write_tsv(data, "interactions.tsv", rows)
    config = trained(tmp_path, data, model_name="lsa", lsa_dim=8)
    printed, lists = capsys.readouterr().out, lists_in(config)
    assert printed.count("updated_at is missing") <= 1
    splits = np.load(Path(config["saved_dir"]) / "splits.npz")
    users = ids_in(config)[0]
    held_out = {users[u] for name in ("valid", "test") for u in splits[name][:, 0]}
    assert not held_out & {"cold0", "cold1", "one"}
    assert "35" not in lists["cold0"]
    assert "36" not in lists["cold1"]
    assert "5" not in lists["one"]
    assert not {"5", "6"} & {*lists["two"]}
    counts = np.bincount(splits["train"][:, 1], minlength=40)
    for user in ("cold0", "cold1"):  # the same for both but for the order of what is as popular
        assert [counts[int(raw)] for raw in lists[user][:10]] == sorted(counts, reverse=True)[:10]
    for user in ("cold0", "one", "two"):
        code, printed, _ = asked(config, "--user", user, "--k", "2", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 0
        assert f"for {user} ({user}):" in printed


# --- odd ids and characters ---

ODD_USERS = ["u1", "u\0two", "NA", "null", "nan", "007", "7", "1e3", "u9\u200b", "ｕ１"]
ODD_TITLES = {
    "2": "nul\0inside",
    "4": "emoji 🎌👩‍👩‍👧",
    "5": "\u202eRTL override",
    "6": "عنوان",
    "8": "line\u2028sep",
    "9": "\x1b[31mred",
    "13\u200b": "zero width id",
    "１４": "full width id",
    "015": "leading zero",
    "1e3": "scientific id",
    "9" * 40: "huge id",
    "-7": "negative",
    "nan": "nan id",
    "NULL": "null id",
    "true": "bool",
    "a/b": "slash",
    "é": "nfc",
    "e\u0301": "nfd",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, rng = tmp_path_factory.mktemp("odd"), np.random.default_rng(2)
    titles = {**{f"p{n}": f"plain {n}" for n in range(12)}, **ODD_TITLES}
    write_tsv(folder / "data", "anime.tsv", [(raw, name, "[]", "") for raw, name in titles.items()])
    rows = [
        (u, i, 1 + n, f"c {u} \0", 15e8 + n) for u in ODD_USERS for n, i in enumerate(rng.permutation([*titles])[:9])
    ]
    write_tsv(folder / "data", "interactions.tsv", rows)
    return trained(folder, folder / "data", model_name="lsa", lsa_dim=4)


def test_ids_stay_what_they_are(odd: dict[str, Any]) -> None:
    users, items = ids_in(odd)
    assert sorted(users) == sorted(ODD_USERS)
    assert set(ODD_TITLES) < set(items)
    assert len(items) == len(ODD_TITLES) + 12


@pytest.mark.parametrize("raw", [raw for raw in ODD_USERS if "\0" not in raw])
def test_every_user_is_found_by_id(
    odd: dict[str, Any], raw: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = asked(odd, "--user", raw, "--k", "2", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert f"for {raw} ({raw}):" in printed


@pytest.mark.parametrize("raw", [*ODD_TITLES])
def test_every_title_is_found_by_id_and_no_name_commands_the_terminal(
    odd: dict[str, Any], raw: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = asked(odd, "--similar", raw, "--k", "30", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert f"nearest to {plain(ODD_TITLES[raw])}, by who" in printed
    assert not {"\0", "\x1b", "\u202e", "\u2028"} & {*printed}


def test_ids_with_a_nul_are_listed_for_and_files_keep_them(
    odd: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.txt").write_bytes("\n".join(ODD_USERS).encode())
    words = ("--users", str(tmp_path / "ids.txt"), "--out", str(tmp_path / "lists.jsonl"))
    assert asked(odd, *words, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    lines = (tmp_path / "lists.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["user_id"] for line in lines] == ODD_USERS


def test_what_looks_wrong_in_them_is_told(
    odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check.py", odd["data_dir"]])
    assert run_script(check.main) == 0
    assert "subject_ids that differ only in case or width: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a b c"),
        ("\x1b[31mx", "\ufffd[31mx"),
        ("\u202eabc", "abc"),
        ("👩‍👩‍👧 é", "👩‍👩‍👧 é"),
        ("x\x9by", "x\ufffdy"),
    ],
)
def test_plain_keeps_what_can_be_seen(text: str, shown: str) -> None:
    assert plain(text) == shown
