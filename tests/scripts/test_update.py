"""--mode update: what came since goes into a finished run, and nothing else about it changes."""

import json
import re
import shutil
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import llm_embedding
import main
from config import PRESETS, get_config
from data_loader import load_dataset
from dataset.earlier_rows import read_rows
from evaluator import evaluate, means
from inference.finished_run import load_finished
from inference.terminal import show
from runtime import replacing
from runtime.language import in_chinese
from tests.helpers.data import write_data
from tests.helpers.encoders import FakeEncoder
from tests.helpers.runs import assert_inference_repeats, contents
from tests.helpers.tables import Row, grow, read_tables, write_rows_of

TUNED = {**PRESETS["tuned"], "linear_dim": 6, "epochs": 4, "batch_size": 16}


class Work:
    """A data folder that grew since a run was finished on it, and what the run left."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.data, self.saved = write_data(folder / "data", n_users=30, n_items=24), folder / "saved"
        self.titles = (self.data / "anime.tsv").read_text(encoding="utf-8")
        self.early, self.late = grow(self.data)
        base = {"model_name": "lsa", "lsa_dim": 8, "embedding_dim": 8, "epochs": 4, "batch_size": 64, "device": "cpu"}
        where = {"data_dir": str(self.data), "saved_dir": str(self.saved)}
        self.config = get_config({**base, **settings, **where})
        self.before = main.run(self.config)

    def add(self, rows: list[Row] | None = None) -> None:
        """Let the rest of the titles come, and rows in between."""
        (self.data / "anime.tsv").write_text(self.titles, encoding="utf-8")
        write_rows_of(self.data, [*(self.late if rows is None else rows), *self.early])

    def update(self, **more: Any) -> dict[str, Any]:
        where = {"data_dir": str(self.data), "saved_dir": str(self.saved), "device": "cpu", "model_name": "lsa"}
        return main.run(get_config({**where, "mode": "update", **more}))


@pytest.fixture(params=["measured", pytest.param("refit", marks=pytest.mark.slow), "tuned"], scope="module")
def updated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, dict[str, Any]]:
    """A run of each kind, updated; what it left before is in a folder beside it."""
    recipe = {"measured": {"min_rate": 3.0}, "refit": {"refit": True}, "tuned": {**TUNED, "refit": True}}
    work = Work(tmp_path_factory.mktemp(request.param), **recipe[request.param])
    work.add()
    shutil.copytree(work.saved, work.saved.parent / "before")
    return work, work.update()


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "best_model.pth", weights_only=True)


def test_all_that_came_is_learned_from_and_listed(updated: tuple[Work, dict[str, Any]]) -> None:
    work, metrics = updated
    run = load_finished(work.config)
    assert metrics["update"]["since"] == {"rows": len(work.late), "users": 4, "titles": 3}
    if work.config["refit"]:
        assert metrics["refit"]["positives"] == run.dataset.train.nnz > work.before["refit"]["positives"]
    assert set(run.dataset.raw_user_ids) == {row.user for row in [*work.early, *work.late]}
    assert run.dataset.seen.nnz == len(work.early) + len(work.late)
    lists = json.loads((work.saved / "recommendations.json").read_text(encoding="utf-8"))
    listed = {title["subject_id"] for titles in lists.values() for title in titles}
    assert {"s21", "s22", "s23"} & listed
    for user in {row.user for row in work.late}:
        assert len(lists[user]) > 0
        collected = {row.title for row in [*work.early, *work.late] if row.user == user}
        assert not collected & {title["subject_id"] for title in lists[user]}
    assert f"updated 1 time, at last with {len(work.late):,} new rows" in (work.saved / "report.html").read_text(
        "utf-8"
    )


def test_what_was_held_out_stays_so_and_what_is_new_is_trained_on(updated: tuple[Work, dict[str, Any]]) -> None:
    work, _ = updated
    was, now = read_rows(work.saved.parent / "before"), read_rows(work.saved)
    parts = [
        dict(
            zip(
                zip([rows.user_ids[u] for u in rows.users], [rows.item_ids[i] for i in rows.items], strict=True),
                rows.parts,
                strict=True,
            )
        )
        for rows in (was, now)
    ]
    assert {pair: parts[1][pair] for pair in parts[0]} == parts[0]
    fresh = {(row.user, row.title): row.rate for row in work.late}
    assert set(parts[1]) - set(parts[0]) == set(fresh)
    for pair, rate in fresh.items():
        assert bool(parts[1][pair] == 0) is (rate >= work.config["min_rate"])
    assert bool((was.parts > 0).any()) is not work.config["refit"]


def test_the_figures_are_of_the_model_that_is_named(updated: tuple[Work, dict[str, Any]]) -> None:
    work, metrics = updated
    assert metrics["update"]["figures"] in show(metrics, work.saved)
    if work.config["refit"]:
        assert "run in measured, which is another model" in metrics["update"]["figures"]
        for key in ("valid", "test", "warm", "decided", "epoch", "data"):
            assert metrics[key] == work.before[key], key
        return
    run = load_finished(work.config)
    assert metrics["update"]["figures"].startswith("of this model, on the rows that the first training held out")
    found = means(
        evaluate(run.user_emb, run.item_emb, run.dataset.test, run.dataset.train + run.dataset.valid, run.config)
    )
    assert metrics["test"] == found != work.before["test"]
    assert metrics["data"]["train"] == run.dataset.train.nnz > work.before["data"]["train"]
    assert metrics["decided"] == work.before["decided"]


def test_what_was_decided_is_kept(updated: tuple[Work, dict[str, Any]]) -> None:
    work, _ = updated
    was, now = state(work.saved.parent / "before"), state(work.saved)
    for key, value in was["decided"].items():
        assert now["decided"][key] == value, key
    trained = {key: value for key, value in was["config"].items() if key != "mode"}
    assert {key: value for key, value in now["config"].items() if key != "mode"} == trained


def test_lists_foretold_what_came(updated: tuple[Work, dict[str, Any]]) -> None:
    work, metrics = updated
    users, early = {row.user for row in work.early}, {row.title for row in work.early}
    pairs = [
        row for row in work.late if row.user in users and row.title in early and row.rate >= work.config["min_rate"]
    ]
    found = metrics["update"]["foreseen"]
    assert found["n_pairs"] == len(pairs) > 5
    assert found["n_users"] == len({row.user for row in pairs})
    assert 0 < found["NDCG@20"] < 1


def test_inference_and_a_second_update_go_on_from_it(updated: tuple[Work, dict[str, Any]], tmp_path: Path) -> None:
    work, metrics = updated
    assert_inference_repeats(work.config, metrics)
    before = contents(work.saved)
    assert work.update() == metrics
    assert contents(work.saved) == before
    other = copy(work)
    other.saved = Path(shutil.copytree(work.saved, tmp_path / "saved"))
    more = [Row("u0", title, 8, "", "2022-01-01 00:00:00") for title in ("s1", "s2", "s3", "s4", "s22")]
    known = {(row.user, row.title) for row in [*work.early, *work.late]}
    whole = read_tables(work.data)
    write_rows_of(work.data, [*whole, *(row for row in more if (row.user, row.title) not in known)])
    try:
        again = other.update()
    finally:
        write_rows_of(work.data, whole)
    assert again["update"]["updates"] == 2
    assert again["update"]["base"] == metrics["run"]


def test_vectors_of_old_titles_stay_near(updated: tuple[Work, dict[str, Any]]) -> None:
    """It goes on from them: another training would have other ones altogether."""
    work, _ = updated
    ids = [
        json.loads((folder / "id_mappings.json").read_text())["item_ids"]
        for folder in (work.saved.parent / "before", work.saved)
    ]
    rows = [ids[1].index(raw) for raw in ids[0]]
    was, now = (
        torch.load(folder / "item_emb.pt", weights_only=True)[:, :8]
        for folder in (work.saved.parent / "before", work.saved)
    )
    near = torch.nn.functional.cosine_similarity(was, now[rows]).median()
    assert near > 0.8


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work(tmp_path_factory.mktemp("grown"))
    work.add()
    return work


@pytest.fixture
def work(grown: Work, tmp_path: Path) -> Work:
    """A finished run whose data have grown, to be changed."""
    mine = copy(grown)
    mine.data, mine.saved = (Path(shutil.copytree(path, tmp_path / path.name)) for path in (grown.data, grown.saved))
    return mine


def test_other_settings_are_refused(work: Work) -> None:
    before = contents(work.saved)
    with pytest.raises(
        ValueError, match=r"keeps all settings of the run, and this call has lr 0.3 \(it was trained with"
    ):
        work.update(lr=0.3)
    assert contents(work.saved) == before


def test_the_command_of_the_run_with_the_mode_is_an_update(work: Work) -> None:
    metrics = main.run({**work.config, "data_dir": str(work.data), "saved_dir": str(work.saved), "mode": "update"})
    assert metrics["update"]["updates"] == 1


def test_what_is_said_of_it(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "aglrec")
    metrics = work.update()
    came = f"{len(work.late):,} new rows, 4 new users, 3 new titles since run {work.before['run']}"
    assert f"update: {came}, which the new run goes on from" in caplog.text
    assert "lsa is now" not in caplog.text  # it is fitted to the titles; no --model_revision would keep to one
    told = [*caplog.text.splitlines(), *show(metrics, work.saved).splitlines()]
    words = {line: in_chinese(line) for line in told if came in line or "came since" in line}
    assert len(words) == 3
    for line, chinese in words.items():
        assert not re.search("rows|users|titles|since|model", chinese), (line, chinese)


def test_figures_say_of_which_model_they_are(tmp_path: Path) -> None:
    work = Work(tmp_path, refit_valid=True)
    work.add()
    metrics = work.update()
    assert metrics["valid"] == work.before["valid"]
    assert metrics["test"] != work.before["test"]
    assert metrics["update"]["figures"].startswith("of valid those of the run in measured, of test those of this model")


def test_a_changed_row_is_refused_and_the_run_stays(work: Work) -> None:
    rows = read_tables(work.data)
    old = next(row for row in rows if row in work.early)
    write_rows_of(work.data, [row._replace(rate=11) if row == old else row for row in rows])
    before = contents(work.saved)
    with pytest.raises(ValueError, match=f"the rate of user '{old.user}' and title '{old.title}' was .* and is now 11"):
        work.update()
    assert contents(work.saved) == before


def test_an_encoder_reads_new_texts_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FakeEncoder()
    monkeypatch.setattr(llm_embedding, "open_encoder", lambda config, *args: (config["model_name"], encoder))
    work = Work(tmp_path, model_name="tests/fake", text_blocks="lsa,tags")
    known = set(encoder.texts)
    encoder.texts.clear()
    work.add()
    with pytest.raises(ValueError, match=r"encoder, 'tests/fake', is named by best_model.pth and not by this command"):
        work.update(model_name=get_config()["model_name"])
    work.update(model_name="tests/fake")
    dataset = load_finished({**work.config, "model_name": "tests/fake"}).dataset
    needed = {*dataset.item_texts, *dataset.user_comments.texts}
    assert set(encoder.texts) == needed - known
    assert len(encoder.texts) == len(needed - known)
    assert {text.splitlines()[0] for text in encoder.texts} >= {"title 21", "title 22", "title 23"}
    assert (work.saved / "encoded").is_dir()
    assert not (work.saved / "encoded").is_symlink()
    encoder.texts.clear()
    assert len(load_finished({**work.config, "model_name": "tests/fake"}).text_vectors.items) == 24
    assert encoder.texts == []


def test_text_that_users_alone_bring_is_that_of_the_run(tmp_path: Path) -> None:
    """Fitted encoders turn its columns with each further title; titles bring none by which to turn the weights."""
    work = Work(tmp_path, use_item_llm=False, fusion_mode="sum", epochs=12)
    before = load_finished(work.config)
    work.add()
    work.update()
    after = load_finished(work.config)
    rows = [after.user_rows[raw] for raw in before.dataset.raw_user_ids]
    alike = torch.nn.functional.cosine_similarity(before.user_emb, after.user_emb[rows])
    assert alike.median() > 0.8


@pytest.mark.slow
def test_titles_that_are_the_first_new_ones_are_placed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose titles all had a history has not decided how far new ones are lowered."""
    for refit in (False, True):
        settings = {"calibrate": True, "cold_cost": 0.02, "refit": refit, "test_ratio": 0.1, "valid_ratio": 0.1}
        work = Work(tmp_path / str(refit), **settings)
        assert "cold_offset" not in work.before["decided"]
        work.titles += "".join(f"x{n}\ttitle x{n}\ttag{n}\tstory of {n}\n" for n in range(2))
        work.add([])
        caplog.clear()
        decided = work.update()["decided"]
        assert ("5 new titles are not listed: this run had none when valid" in caplog.text) is refit
        if refit:
            assert "cold_offset" not in decided
            continue
        assert {"offset", "share"} <= decided["cold_offset"].keys()
        work.add()
        assert work.update()["decided"] == decided
        assert load_finished(work.config).checkpoint["decided"] == decided


def test_there_has_to_be_a_run(work: Work) -> None:
    (work.saved / "metrics.json").unlink()
    with pytest.raises(
        FileNotFoundError, match="holds no finished run to update \\(metrics.json is missing\\); train it"
    ):
        work.update()


def test_no_row_held_out_reaches_an_update(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors are the same whatever the held-out rows say, as long as they are there."""
    held_out = load_dataset({**work.config, "data_dir": str(work.data)}, read_rows(work.saved))
    pairs = {
        (held_out.raw_user_ids[user], held_out.raw_item_ids[item])
        for part in (held_out.valid, held_out.test)
        for user, item in np.argwhere(part.toarray()).tolist()
    }
    assert len(pairs) > 20
    seen: list[Any] = []
    fit = main.fit
    monkeypatch.setattr(
        main, "fit", lambda model, dataset, *args, **more: seen.append(dataset) or fit(model, dataset, *args, **more)
    )
    work.update()
    [trained] = seen
    learned = {
        (trained.raw_user_ids[u], trained.raw_item_ids[i]) for u, i in np.argwhere(trained.train.toarray()).tolist()
    }
    assert not learned & pairs
    wrote = {row.comment for row in read_tables(work.data) if (row.user, row.title) in pairs} - {""}
    assert not wrote & set(trained.user_comments.texts)


@pytest.mark.slow
def test_a_train_command_trains_anew(work: Work) -> None:
    config = {**work.config, "data_dir": str(work.data), "saved_dir": str(work.saved)}
    work.update()
    metrics = main.run(config)
    assert "update" not in metrics
    shutil.rmtree(work.saved)
    assert main.run(config)["test"] == metrics["test"]


@pytest.mark.slow
def test_killed_at_any_file_the_folder_holds_one_run_and_the_command_ends_equal(work: Work, tmp_path: Path) -> None:
    undisturbed = copy(work)
    undisturbed.saved = Path(shutil.copytree(work.saved, tmp_path / "whole"))
    undisturbed.update()
    vectors = [
        (undisturbed.saved / name).read_bytes() for name in ("user_emb.pt", "item_emb.pt", "recommendations.json")
    ]
    before, step, held = contents(work.saved), 0, []
    whole = Path(shutil.copytree(work.saved, tmp_path / "untouched"))
    while True:
        shutil.rmtree(work.saved)
        shutil.copytree(whole, work.saved)
        ended = stopped_before(step, work)
        names = {path: content for path, content in contents(work.saved).items() if path.parent == work.saved}
        is_old = {path: names.get(path) for path in before} == before
        held.append(is_old)
        assert is_old or (work.saved / "user_emb.pt").read_bytes() == vectors[0], step
        assert is_old or (work.saved / "recommendations.json").read_bytes() == vectors[2], step
        if ended:
            break
        work.update()
        assert [
            (work.saved / name).read_bytes() for name in ("user_emb.pt", "item_emb.pt", "recommendations.json")
        ] == vectors
        assert not (work.saved / "update").exists()
        assert not (work.saved / replacing.WORK).exists()
        assert (work.saved / "report.html").exists()
        step += 3
    assert held.count(True) > 3
    assert held.count(False) > 2


def stopped_before(step: int, work: Work) -> bool:
    """Stop an update before a file takes its place for the n-th time; True if it ends before."""
    replace, count = Path.replace, [0]

    def deadly(source: Path, target: Path) -> Path:
        if count[0] == step:
            raise KeyboardInterrupt
        count[0] += 1
        return replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", deadly)
        try:
            work.update()
        except KeyboardInterrupt:
            return False
    return True
