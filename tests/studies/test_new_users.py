"""studies/new_users.py: that those left out are left out whole, and that the figures are those of the vectors."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from config import get_config
from data_loader import load_dataset
from dataset.splits import PARTS
from inference.fold_in import place_users
from main import run
from runtime.cli import run_script
from studies import new_users
from studies.new_users import Pair, drawn, measure, pair, without
from tests.helpers.data import write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on data with comments; what is open, valid decides."""
    folder = tmp_path_factory.mktemp("new_users")
    write_data(folder / "data", n_users=60, n_items=40)
    run(
        get_config(
            {
                "preset": "tuned",
                "data_dir": str(folder / "data"),
                "saved_dir": str(folder / "saved"),
                "model_name": "lsa",
                "lsa_dim": 8,
                "embedding_dim": 8,
                "linear_dim": 8,
                "epochs": 2,
                "device": "cpu",
                "seed": 3,
                "cold_item_ratio": 0.1,
                "recency": 3.0,
            }
        )
    )
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> Pair:
    return pair(folder / "saved")


@pytest.mark.slow
def test_nothing_of_those_left_out_reaches_the_other_run(both: Pair) -> None:
    whole, rest, users = both.known.dataset, both.left_out.dataset, both.users
    gone = {whole.raw_user_ids[user] for user in users}
    assert len(gone) == 6
    assert not gone & set(rest.raw_user_ids)
    assert len(rest.raw_user_ids) == len(both.left_out.user_emb) == 54
    assert not any(f"{user.replace('u', 'user ')} on" in text for user in gone for text in rest.user_comments.texts)
    for user, raw in enumerate(rest.raw_user_ids):
        before = whole.raw_user_ids.index(raw)
        for name in (*PARTS, "excluded", "seen"):
            assert (getattr(rest, name)[[user]] != getattr(whole, name)[[before]]).nnz == 0
        for name in ("rates", "times"):
            values = [
                getattr(data, name)[slice(*data.seen.indptr[row : row + 2])]
                for data, row in ((whole, before), (rest, user))
            ]
            np.testing.assert_array_equal(*values)
        mine = [
            [
                text
                for text, who in zip(data.user_comments.texts, data.user_comments.user_ids, strict=True)
                if who == row
            ]
            for data, row in ((whole, before), (rest, user))
        ]
        assert mine[0] == mine[1]


def test_the_others_rows_alone_decide_the_vectors(both: Pair, folder: Path, tmp_path: Path) -> None:
    """Were those left out to have collected anything else, the other run would be the same to the last bit."""
    whole = both.known.dataset
    shuffled = np.arange(whole.n_users)
    shuffled[both.users] = both.users[::-1]
    other = dataclasses.replace(
        whole, **{name: getattr(whole, name)[shuffled] for name in (*PARTS, "excluded", "seen")}
    )
    asked = json.loads((folder / "saved" / "metrics.json").read_text(encoding="utf-8"))["config"]
    config = {**both.left_out.config, **asked, "vectors_dir": "", "saved_dir": str(tmp_path)}
    again = new_users.trained(both.known, without(other, both.users), config)
    assert torch.equal(again.item_emb, both.left_out.item_emb)


def test_it_is_trained_once_and_anew_when_the_run_is_another(
    folder: Path, both: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(new_users, "fit", refuse)
    again = pair(folder / "saved")
    assert torch.equal(again.left_out.item_emb, both.left_out.item_emb)
    one_more, rest = without(both.known.dataset, both.users[1:]), both.left_out.dataset
    for number, (dataset, changed) in enumerate(((one_more, {}), (rest, {"lr": 0.5}), (rest, {"epochs": 1}))):
        saved = shutil.copytree(folder / "saved" / "left_out", tmp_path / str(number))
        settings = {**both.left_out.config, "temperature": 0.0, "saved_dir": str(saved)}
        new_users.trained(both.known, rest, settings)
        with pytest.raises(AssertionError, match="trained again"):
            new_users.trained(both.known, dataset, settings | changed)


def test_the_run_stays_as_it_was(folder: Path, both: Pair) -> None:
    assert both.known.config["saved_dir"] == str(folder / "saved")
    assert (folder / "saved" / "user_llm_embeddings.npy").stat().st_mtime < (
        folder / "saved" / "left_out" / "best_model.pth"
    ).stat().st_mtime


def test_the_figures_are_those_of_the_vectors(both: Pair) -> None:
    rows = measure(both)
    assert list(rows) == ["trained in", "trained in, placed anew", "left out, placed"]
    dataset, users, among = both.known.dataset, both.users, both.left_out.dataset.warm_items
    for part in ("valid", "test"):
        pairs = dataset.known_before(part)
        theirs = np.isin(np.repeat(np.arange(dataset.n_users), np.diff(pairs.indptr)), users)
        values = dataset.scores_of(pairs)[theirs], dataset.ages_of(pairs)[theirs]
        target = getattr(dataset, part)
        liked = (dataset.scores_of(target) >= 0) & (dataset.rates_of(target) > 0)
        liked = sp.csr_matrix((liked.astype(np.float32), *map(np.copy, (target.indices, target.indptr))), target.shape)
        liked.eliminate_zeros()
        for name, run_, emb in (
            ("trained in", both.known, new_users.as_trained(both, part)),
            ("left out, placed", both.left_out, place_users(both.left_out, pairs[users], *values).users),
        ):
            for figure, of in ((part, target), (f"{part}, liked", liked)):
                found = []
                for user, vector in zip(users, emb, strict=True):
                    wanted = np.intersect1d(of[[user]].indices, among)
                    open_ = np.setdiff1d(among, dataset.masked_for(part)[[user]].indices)
                    order = open_[np.argsort(-(run_.item_emb[open_] @ vector).numpy(), kind="stable")][:20]
                    gains = np.isin(order, wanted) / np.log2(np.arange(2, len(order) + 2))
                    if len(wanted):
                        found.append(gains.sum() / (1 / np.log2(np.arange(2, min(len(wanted), 20) + 2))).sum())
                assert rows[name][figure] == pytest.approx(np.mean(found), abs=1e-6)
    assert rows["left out, placed"]["ms"] > 0


def test_those_trained_in_are_ranked_for_by_what_was_known_before(both: Pair) -> None:
    """Their vectors in the run are those for test, which know the valid rows."""
    torch.testing.assert_close(
        new_users.as_trained(both, "test"), both.known.user_emb[both.users], rtol=1e-4, atol=1e-4
    )
    assert both.known.layout.placing.by_time
    assert not torch.allclose(new_users.as_trained(both, "valid"), both.known.user_emb[both.users], atol=1e-3)


def test_a_tenth_is_drawn_by_the_seed_of_those_with_train_rows(folder: Path) -> None:
    dataset = load_dataset(get_config({"data_dir": str(folder / "data")}))
    few = sp.csr_matrix((np.arange(60) >= 50)[:, None] * dataset.train.toarray())
    assert len(drawn(dataset, 0)) == 6
    assert not np.array_equal(drawn(dataset, 0), drawn(dataset, 1))
    assert drawn(dataclasses.replace(dataset, train=few), 0).min() >= 50


def test_the_table_says_what_is_lost_run_by_run(
    folder: Path, capsys: pytest.CaptureFixture[str], both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = [((0.4, 0.5, 0.0), (0.3, 0.4, 2.0)), ((0.2, 0.5, 0.0), (0.1, 0.5, 4.0))]
    runs = [
        {
            name: dict(zip(("valid", "test", "ms"), row, strict=True))
            for name, row in zip(("trained in", "left out, placed"), rows, strict=True)
        }
        for rows in figures
    ]
    last = new_users.table(runs).splitlines()[-1]
    assert [cell.strip() for cell in last.split("|")[1:-1]] == [
        "left out, placed",
        "0.20 ± 0.14",
        "37.5% ± 17.7",
        "0.45 ± 0.07",
        "10.0% ± 14.1",
        "3.0",
    ]
    monkeypatch.setattr(sys, "argv", ["new_users.py", str(folder / "saved")])
    assert run_script(new_users.main) == 0
    assert "left out, placed" in capsys.readouterr().out
