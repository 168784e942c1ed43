"""What a finished run answers: titles by name, filters, lists, and titles it has never seen."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
from config import get_config
from data_loader import load_dataset
from inference import cold_items
from inference.finished_run import FinishedRun, load_finished
from inference.lists import for_new_item, list_titles, similar_titles
from inference.lookup import Filters, allowed_items, find_titles, rated_titles, title_row, user_row
from inference.people import person, place
from inference.title_search import index_names, search, similar_names, split_names
from tests.helpers.data import write_data, write_tsv
from training import after_training

N_ITEMS = 40
WORDS = (
    "robot",
    "school",
    "love",
    "war",
    "music",
    "space",
    "cat",
    "sword",
    "ghost",
    "city",
    "moon",
    "river",
    "tea",
    "train",
    "garden",
    "winter",
)
FULL = {
    "fusion_mode": "sum",
    "loss": "softmax",
    "normalize": True,
    "temperature": 0.2,
    "whiten": True,
    "lr": 0.03,
    "text_blocks": "names,tags",
    "calibrate": True,
    "linear_dim": 6,
    "cold_cost": 0.5,
    "num_layers": 2,
}
RUNS = {"full": FULL, "concat": {"fusion_mode": "concat", "cold_cost": 0.5}, "plain": {"fusion_mode": "sum"}}


def write_dated(folder: Path) -> Path:
    """Write data whose titles have two names, tags and, but for the last five, a year."""
    write_data(folder, n_users=60, n_items=N_ITEMS, per_user=12)
    rng, rows = np.random.default_rng(0), []
    for item in range(N_ITEMS):
        words = rng.choice(WORDS, 4, replace=False)
        tags = f'["{words[0].title()}", "{words[1]}, slow"]'
        rows.append((f"s{item}", f"The {words[0]} {item} / 题{item}", tags, f"A {words[2]} and a {words[3]}."))
    path = write_tsv(folder, "anime.tsv", rows)
    lines = path.read_text(encoding="utf-8").splitlines()
    dates = ["date", *(f"{1990 + item}-04-01" if item < N_ITEMS - 5 else "soon" for item in range(N_ITEMS))]
    path.write_text(
        "\n".join(f"{line}\t{date}" for line, date in zip(lines, dates, strict=True)) + "\n", encoding="utf-8"
    )
    return folder


def settings_of(folder: Path, **more: Any) -> dict[str, Any]:
    return get_config(
        {
            "data_dir": str(folder / "data"),
            "saved_dir": str(folder / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "epochs": 3,
            "batch_size": 64,
            "device": "cpu",
            "min_rate": 0.0,
            "top_k": [5],
            "recommend_k": 5,
            "cold_item_ratio": 0.3,
            **more,
        }
    )


@pytest.fixture(scope="module", params=list(RUNS))
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run with titles held out whole; in the first, popularity and linear columns count for sure."""
    folder = tmp_path_factory.mktemp("run")
    write_dated(folder / "data")
    config = settings_of(folder, **RUNS[request.param])
    search_weights = after_training.search_blend_weights

    def decided(*args: Any) -> tuple[dict[str, float], float, list[dict[str, float]]]:
        return {"popularity": 0.45, "linear": 0.5}, search_weights(*args)[1], []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(after_training, "search_blend_weights", decided)
        main.run(config)
    return load_finished(config)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("run")
    write_dated(folder / "data")
    config = settings_of(folder, **RUNS["plain"])
    main.run(config)
    return load_finished(config)


def fields_of(run: FinishedRun, item: int) -> dict[str, Any]:
    """Take a title's fields as they stand in anime.tsv."""
    name, _, summary = run.dataset.item_texts[item].split("\n")
    return {"name": name, "tags_name": run.dataset.item_tags[item].split("\n"), "summary": summary}


# --- titles that the run has never seen ---


def placed(run: FinishedRun, fields: dict[str, Any]) -> torch.Tensor:
    return cold_items.place_title(run, cold_items.read_title(fields))[0]


def test_a_title_without_a_history_lands_where_the_run_placed_it(each: FinishedRun) -> None:
    cold = each.cold_items
    assert len(cold) >= 10
    for item in cold:
        torch.testing.assert_close(placed(each, fields_of(each, item)), each.item_emb[item], rtol=1e-3, atol=1e-4)
    spread = each.item_emb[torch.from_numpy(cold)]
    assert spread.std(dim=0)[: each.config["embedding_dim"]].min() > 1e-3, "all alike, and the test says nothing"


def test_the_test_above_reaches_every_part_of_a_vector(each: FinishedRun) -> None:
    if each.config["calibrate"]:
        assert each.checkpoint["decided"]["weights"] == {"popularity": 0.45, "linear": 0.5}
        assert each.item_emb.shape[1] == 8 + 1 + 6
        assert each.item_emb[torch.from_numpy(each.cold_items)][:, 8:].std(dim=0).min() > 0
        # the trained columns are not those that the text weights make
        state, text = each.checkpoint["state_dict"], each.item_text[torch.from_numpy(each.cold_items)]
        by_weights = torch.nn.functional.normalize(text @ state["text_weight"])
        assert (each.item_emb[torch.from_numpy(each.cold_items), :8] - by_weights).abs().max() > 0.05
    assert ("cold_vectors" in each.checkpoint["state_dict"]) == each.config["calibrate"]
    assert each.layout.has_bias == (each.config["cold_cost"] < 1)


def test_a_new_title_is_told_what_it_is_like_and_whom_it_suits(each: FinishedRun) -> None:
    item = int(each.cold_items[0])
    found = for_new_item(each, fields_of(each, item), 7)
    assert [found[side][0]["subject_id"] for side in ("collectors", "text")] == [each.dataset.raw_item_ids[item]] * 2
    assert [entry["score"] for entry in found["users"]] == pytest.approx(
        torch.sort(each.user_emb @ each.item_emb[item], descending=True)[0][:7].tolist(), rel=1e-3, abs=1e-3
    )
    assert set(found["users"][0]) == {"user_id", "username", "score"}


def test_tags_may_be_a_cell_of_the_file_and_one_field_is_enough(run: FinishedRun) -> None:
    fields = fields_of(run, 3)
    as_cell = {**fields, "tags_name": json.dumps(fields["tags_name"])}
    torch.testing.assert_close(placed(run, as_cell), placed(run, fields))
    assert torch.isfinite(placed(run, {"summary": "A robot and a cat."})).all()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "needs a name"),
        ({"name": " ", "tags_name": []}, "needs a name"),
        ({"title": "x"}, "no field 'title'"),
        ({"name": 3}, "must be text"),
        ({"tags_name": 3}, "list of tags"),
        ({"name": "\u4e00\u4e01"}, "the encoder knows nothing"),
    ],
)
def test_a_new_title_that_cannot_be_placed(run: FinishedRun, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        placed(run, fields)


def test_an_encoder_that_does_otherwise_than_in_training_is_refused(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    monkeypatch.setattr(cold_items, "open_encoder", lambda *_: ("lsa", lambda texts: rng.normal(size=(len(texts), 8))))
    with pytest.raises(ValueError, match="no longer gives the titles the vectors"):
        placed(run, fields_of(run, 3))


# --- titles by name ---


NAMES = [
    "Naruto / 火影忍者",
    "Naruto Shippuuden",
    "K-On! / 轻音少女",
    "K-On!!",
    "The Boy Naruto",
    "Menaruto",
    "Ｆａｔｅ/Zero",
    "☆",
    "Straße",
    "ガンダム",
    "Gundam Wing / ガンダム W",
]
STANDING = np.array([5, 9, 4, 3, 8, 10, 1, 1, 1, 2, 6])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("naruto", [0, 1, 4, 5]),
        ("NARUTO ", [0, 1, 4, 5]),
        ("boy naruto", [4]),
        ("火影", [0, 1]),  # 火影忍者 疾风传 is a known name of Naruto Shippuuden
        ("漩涡", []),
        ("k on", [2, 3]),
        ("K-On!", [2, 3]),
        ("k-on!!", [3, 2]),
        ("fate zero", [6]),
        ("☆", [7]),
        ("STRASSE", [8]),
        ("ｶﾞﾝﾀﾞﾑ", [9, 10]),
        ("ガン・ダム", [9, 10]),
        ("", []),
        ("zzz", []),
    ],
)
def test_titles_are_found_by_any_name_the_best_fit_first(query: str, found: list[int]) -> None:
    assert [item for _, item in search(index_names(NAMES, STANDING), query, 10)] == found


def test_of_titles_that_fit_alike_the_popular_come_first_and_better_fits_are_enough() -> None:
    index = index_names(NAMES, STANDING)
    assert [item for _, item in search(index, "n", 2)][:2] == [0, 1], "a name that begins another's stands before it"
    assert [item for _, item in search(index, "an", 9)] == []
    assert 5 in [item for _, item in search(index, "naruto", 5)]
    assert 5 not in [item for _, item in search(index, "naruto", 3)]


@pytest.mark.parametrize(("query", "first"), [("narto", 0), ("gunndam wing", 10), ("轻音小女", 2)])
def test_a_misspelt_name_is_near(query: str, first: int) -> None:
    index = index_names(NAMES, STANDING)
    assert similar_names(index, query, 5)[0] == first
    assert not similar_names(index, "qqxx", 5)


def test_found_titles_are_followed_by_near_ones_up_to_n(run: FinishedRun) -> None:
    assert find_titles(run, "题7", 1) == [7]
    assert find_titles(run, run.dataset.item_names[7], 5)[0] == 7
    assert len(find_titles(run, "the", 5)) == 5


def test_a_title_is_named_by_its_id_or_by_a_name_that_only_one_has(run: FinishedRun) -> None:
    assert title_row(run, "s7") == 7
    assert title_row(run, "题7") == 7
    assert title_row(run, run.dataset.item_names[7].split(" / ")[0].upper()) == 7
    with pytest.raises(ValueError, match=r"matches 40 titles; name one by its id: .*\(s\d+\)"):
        title_row(run, "the")
    with pytest.raises(ValueError, match=r"no title 's77' in this run; the nearest are .*\(s7\)"):
        title_row(run, "s77")
    with pytest.raises(ValueError, match="no title '@@@@' in this run; nothing in it is near; give a part of a name"):
        title_row(run, "@@@@")


def test_titles_are_parted_by_commas_and_quoted_where_they_hold_one(run: FinishedRun) -> None:
    assert list(rated_titles(run, "s7, 题8 ,s7")[0]) == [7, 8]
    assert split_names('"a, b", c') == ["a, b", "c"]
    assert split_names('"say ""x"", y"') == ['say "x", y']
    for wrong in ("", " , ", '"open'):
        with pytest.raises(ValueError, match="separate names"):
            split_names(wrong)


def test_a_user_is_named_by_his_id_or_by_a_name_no_other_has(tmp_path: Path) -> None:
    folder = write_dated(tmp_path / "data")
    write_tsv(folder, "user.tsv", [("u1", "Ann, B", ""), ("u2", "Bo", ""), ("u3", "bo", "")])
    config = settings_of(tmp_path, epochs=1, fusion_mode="none")
    main.run(config)
    run = load_finished(config)
    row = run.dataset.raw_user_ids.index
    assert (user_row(run, "u2"), user_row(run, "ann, b")) == (row("u2"), row("u1"))
    with pytest.raises(ValueError, match="2 users are called 'BO'.*u[23], u[23]"):
        user_row(run, "BO")
    with pytest.raises(ValueError, match=r"no user 'An, B'.*Ann, B \(u1\)"):
        user_row(run, "An, B")


# --- among which titles ---


def test_filters_let_through_what_has_all_tags_none_of_the_others_and_the_years(run: FinishedRun) -> None:
    tags = [set(map(str.casefold, of_one.split("\n"))) for of_one in run.dataset.item_tags]
    first, second = sorted(tags[0])
    years = run.dataset.item_years
    assert allowed_items(run, Filters()) is None
    assert allowed_items(run, Filters(tags=(first.upper(),))).tolist() == [i for i, t in enumerate(tags) if first in t]
    assert allowed_items(run, Filters(tags=(first, second))).tolist() == [i for i, t in enumerate(tags) if tags[0] <= t]
    assert allowed_items(run, Filters(not_tags=(first,))).tolist() == [i for i, t in enumerate(tags) if first not in t]
    assert allowed_items(run, Filters(min_year=1995, max_year=1997)).tolist() == [5, 6, 7]
    assert allowed_items(run, Filters(max_year=3000)).tolist() == [i for i, year in enumerate(years) if year]


def test_types_and_seasons_filter_however_they_are_spelt(run: FinishedRun) -> None:
    n = run.dataset.n_items
    types, seasons = ["TV", "Movie", "", "OVA"] * n, ["2014-fall", "", "2015-spring"] * n
    told = replace(run, dataset=replace(run.dataset, item_types=types[:n], item_seasons=seasons[:n]))
    assert allowed_items(told, Filters(types=("tv", "OVA"))).tolist() == [i for i in range(n) if i % 4 in (0, 3)]
    assert allowed_items(told, Filters(season="2014-Fall")).tolist() == list(range(0, n, 3))
    assert allowed_items(told, Filters(types=("Movie",), season="2014-fall")).tolist() == list(range(9, n, 12))
    for wrong, sentence in (
        (Filters(types=("film",)), "no title has the type 'film'; the nearest are TV, Movie, OVA"),
        (Filters(season="2014-winter"), "no title has the season '2014-winter'; the nearest are 2014-fall"),
    ):
        with pytest.raises(ValueError, match=sentence):
            allowed_items(told, wrong)


def test_what_cannot_be_filtered_is_a_sentence(run: FinishedRun) -> None:
    with pytest.raises(ValueError, match="add a column type to anime.tsv"):
        allowed_items(run, Filters(types=("TV",)))
    with pytest.raises(ValueError, match="no title has the tag 'robott'; the nearest are robot"):
        allowed_items(run, Filters(tags=("robott",)))
    assert allowed_items(run, Filters(min_year=2500)).tolist() == []


def test_data_without_years_or_tags_say_so(config: dict[str, Any]) -> None:
    main.run({**config, "fusion_mode": "none"})
    bare = load_finished({**config, "fusion_mode": "none"})
    assert bare.dataset.item_years == []
    with pytest.raises(ValueError, match="add a column year"):
        allowed_items(bare, Filters(min_year=1990))
    bare.tags.clear()
    with pytest.raises(ValueError, match="has tags"):
        allowed_items(bare, Filters(tags=("tag1",)))


def test_years_change_neither_the_data_nor_their_texts(tmp_path: Path) -> None:
    folder = write_dated(tmp_path / "data")
    config = settings_of(tmp_path)
    dated = load_dataset(config)
    lines = (folder / "anime.tsv").read_text(encoding="utf-8").splitlines()
    (folder / "anime.tsv").write_text("\n".join(line.rsplit("\t", 1)[0] for line in lines) + "\n", encoding="utf-8")
    bare = load_dataset(config)
    assert (bare.fingerprint, bare.item_texts) == (dated.fingerprint, dated.item_texts)
    assert (dated.item_years[0], dated.item_years[-1], bare.item_years) == (1990, None, [])


@pytest.mark.parametrize(
    ("header", "cell", "year"),
    [
        ("year", "2004", 2004),
        ("aired", "2004-04-01 to 2005", 2004),
        ("year", "20045", None),
        ("air_date", "Apr 2004", 2004),
        ("aired", "Apr 3, 1998 to Apr 24, 1999", 1998),
        ("aired", "Not available", None),
    ],
)
def test_a_year_is_the_first_that_a_cell_names(tmp_path: Path, header: str, cell: str, year: int | None) -> None:
    path = write_data(tmp_path / "data") / "anime.tsv"
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    cells = [cell, *["1999"] * (len(lines) - 1)]
    rows = [f"{line}\t{of_one}" for line, of_one in zip(lines, cells, strict=True)]
    path.write_text("\n".join([f"{first}\t{header}", *rows]) + "\n", encoding="utf-8")
    assert load_dataset(settings_of(tmp_path)).item_years[:2] == [year, 1999]


# --- lists ---


def test_a_users_list_holds_the_best_of_some_titles_he_lacks(run: FinishedRun) -> None:
    user, among = 4, np.arange(0, N_ITEMS, 2)
    scores = (run.user_emb[user] @ run.item_emb.T).numpy()
    seen = set(run.dataset.seen[user].indices)
    best = [item for item in np.argsort(-scores) if item in among and item not in seen][:6]
    found = list_titles(run, run.user_emb[user], 6, list(seen), among)
    assert [title["subject_id"] for title in found] == [f"s{item}" for item in best]


def test_a_newcomers_list_leaves_out_what_he_has_and_what_says_nothing_of_him(run: FinishedRun) -> None:
    vector = place(run, person(run, [1, 2])).users[0]
    everything = list_titles(run, vector, N_ITEMS, [1, 2])
    without = list_titles(run, vector, N_ITEMS, [1, 2, 5, 6])
    assert {title["subject_id"] for title in everything} == {f"s{i}" for i in range(N_ITEMS)} - {"s1", "s2"}
    assert without == [title for title in everything if title["subject_id"] not in ("s5", "s6")]
    assert list_titles(run, vector, 3, [1, 2], np.array([1, 2])) == []


def test_similar_titles_by_collectors_and_by_text(run: FinishedRun) -> None:
    found = similar_titles(run, 3, 4, np.arange(2, 20))
    vectors = {"collectors": run.item_emb[:, :8], "text": run.item_text}
    for side, titles in found.items():
        cosines = torch.cosine_similarity(vectors[side][3], vectors[side], dim=1)
        best = sorted((i for i in range(2, 20) if i != 3), key=lambda item, cosines=cosines: -cosines[item])[:4]
        assert [title["subject_id"] for title in titles] == [f"s{item}" for item in best]
        assert [title["score"] for title in titles] == pytest.approx(cosines[best].tolist(), abs=1e-5)


def test_titles_without_a_text_are_like_none_by_text(run: FinishedRun) -> None:
    silent = replace(run)
    silent.__dict__["item_text"] = run.item_text.clone().index_fill_(0, torch.tensor([5, 6]), 0)
    assert similar_titles(silent, 5, 3)["text"] == []
    assert {title["subject_id"] for title in similar_titles(silent, 1, N_ITEMS)["text"]} == {
        f"s{item}" for item in range(N_ITEMS)
    } - {"s1", "s5", "s6"}


def test_users_of_whom_nothing_is_known_suit_no_title(run: FinishedRun) -> None:
    averse = -placed(run, fields_of(run, 3)).expand(run.dataset.n_users, -1)  # so that 0 would come first
    unknown = replace(run, user_emb=averse.clone().index_fill_(0, torch.tensor([0, 2]), 0))
    found = for_new_item(unknown, fields_of(run, 3), 1000)["users"]
    assert len(found) == run.dataset.n_users - 2
    assert not {"u0", "u2"} & {entry["user_id"] for entry in found}


def test_a_run_without_text_of_titles_tells_nothing_by_it(config: dict[str, Any]) -> None:
    main.run({**config, "use_item_llm": False})
    run = load_finished(config)
    assert list(similar_titles(run, 0, 3)) == ["collectors"]
    for ask in (lambda: placed(run, {"name": "x"}), lambda: cold_items.check_places_by_text(run)):
        with pytest.raises(ValueError, match="use_item_llm true"):
            ask()


def test_a_text_changed_since_training_silences_text_alone(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    main.run(config)
    path = Path(config["data_dir"]) / "anime.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("story of 7", "another story"), encoding="utf-8")
    with caplog.at_level(logging.WARNING, "aglrec"):
        assert list(similar_titles(load_finished(config), 0, 3)) == ["collectors"]
    assert "not compared by their text: best_model.pth was trained on other text vectors" in caplog.text


# --- a wrong folder ---


@pytest.mark.parametrize("wrong", ["nothing", "other file", "other vectors", "other data"])
def test_a_folder_that_holds_no_whole_run_is_a_sentence(run: FinishedRun, tmp_path: Path, wrong: str) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    config = {**run.config, "saved_dir": str(saved)}
    if wrong == "other file":
        torch.save({"weights": torch.ones(3)}, saved / "best_model.pth")
    elif wrong != "nothing":
        shutil.copytree(run.config["saved_dir"], saved, dirs_exist_ok=True)
    if wrong == "other vectors":
        torch.save(run.item_emb, saved / "user_emb.pt")
    if wrong == "other data":
        config["data_dir"] = str(write_data(tmp_path / "data"))
    told = {
        "nothing": "run python main.py",
        "other file": "is no model of main.py",
        "other vectors": "user_emb.pt not as run .* wrote it",
        "other data": "was trained on other data",
    }
    with pytest.raises((FileNotFoundError, ValueError), match=told[wrong]):
        load_finished(config)
