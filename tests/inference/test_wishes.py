"""Lists asked for in words: by meaning, words and tags, alone and beside a taste; what pushes away; reasons."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
from config import get_config
from inference import explanations, wish_reader
from inference.finished_run import FinishedRun, load_finished
from inference.people import has_of, person, place
from inference.shaped_lists import Has, Rules
from inference.wish_reader import make_reader, read
from inference.wish_words import Words, read_words
from inference.wishes import Wish, list_for_wish, wish_for
from tests.helpers.data import write_data, write_tsv

STORIES = {
    "robots": ("Iron giants walk the moon. Their pilots never come home.", "Machines"),
    "love": ("Two pupils fall for each other at school. Spring comes.", "Romance"),
    "music": ("A band of four plays loud guitar. They tour the country.", "Music"),
    "both": ("An android loves its maker. Machines can be gentle at heart.", "Machines; Romance"),
}
KINDS, N = [*STORIES], 32
# what an encoder of meaning would know: words -> what they are about
ABOUT = {
    "iron": 0,
    "android": 0,
    "machines": 0,
    "mecha": 0,
    "fall": 1,
    "loves": 1,
    "romance": 1,
    "guitar": 2,
    "songs": 2,
}


def kind(raw: str) -> str:
    return KINDS[int(raw[1:]) % len(KINDS)]


def by_meaning(texts: list[str], as_query: bool = False) -> np.ndarray:
    rows = np.full((len(texts), 3), 0.05, np.float32)
    for row, text in enumerate(texts):
        for word, topic in ABOUT.items():
            rows[row, topic] += word in text.lower()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "data", n_items=N, n_users=60)
    rows = ((f"s{i}", f"title {chr(65 + i)}", STORIES[KINDS[i % 4]][1], STORIES[KINDS[i % 4]][0]) for i in range(N))
    write_tsv(folder / "data", "anime.tsv", rows)
    places = {"data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"), "device": "cpu"}
    small = {"lsa_dim": 8, "embedding_dim": 8, "linear_dim": 8, "epochs": 2, "temperature": 0.2, "batch_size": 64}
    main.run(get_config({**places, "model_name": "lsa", "preset": "tuned", "rating_weight": 0.0, **small}))
    return load_finished(get_config(places))


def ids(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


def asked(run: FinishedRun, text: str, weight: float = 1.0, user: Any = None, **more: Any) -> list[dict[str, Any]]:
    how = {"k": 8, "has": Has(), "rules": Rules()} | more
    return list_for_wish(run, wish_for(run, text), weight, user, **how)


def meaning_of(run: FinishedRun, text: str) -> Wish:
    reader = make_reader(run.dataset, by_meaning, by_meaning(run.dataset.item_texts))
    return Wish(read_words(text), read(reader, read_words(text)), reader)


# --- words alone ---


def test_words_find_the_titles_whose_texts_have_them(run: FinishedRun) -> None:
    assert {*map(kind, ids(asked(run, "a band with a guitar, on tour")))} == {"music"}


def test_meaning_finds_what_no_letter_does_and_what_is_not_wanted_goes_away(run: FinishedRun) -> None:
    wish = meaning_of(run, "mecha")
    titles = list_for_wish(run, wish, 1.0, None, 16, Has(), Rules())
    assert {*map(kind, ids(titles))} == {"robots", "both"}
    without = list_for_wish(run, meaning_of(run, "mecha, no romance"), 1.0, None, 8, Has(), Rules())
    assert {*map(kind, ids(without))} == {"robots"}


def test_what_is_only_not_wanted_is_last(run: FinishedRun) -> None:
    titles = list_for_wish(run, meaning_of(run, "no romance"), 1.0, None, N, Has(), Rules())
    assert {*map(kind, ids(titles)[:16])} == {"robots", "music"}


def test_a_tag_in_the_words_counts_as_a_word_of_its_own(run: FinishedRun) -> None:
    known = {"music": "Music", "恋爱": "恋爱"}
    assert wish_reader.tags_in("sad music, please", known) == "Music"
    assert wish_reader.tags_in("musical", known) == ""
    assert wish_reader.tags_in("讲恋爱的故事", known) == "恋爱"
    titles = list_for_wish(run, meaning_of(run, "songs"), 1.0, None, 8, Has(), Rules())
    assert {*map(kind, ids(titles))} == {"music"}


def test_what_people_wrote_of_a_title_in_train_counts_as_its_words(run: FinishedRun) -> None:
    comments = run.dataset.user_comments
    place = comments.texts.index(next(text for text in comments.texts if text.endswith(" on 12")))
    assert run.dataset.raw_item_ids[comments.item_ids[place]] == "s12"
    assert ids(asked(run, "user 12", k=1)) == ["s12"]


def test_the_same_title_ranks_alike_whatever_the_unit_of_a_comparison(run: FinishedRun) -> None:
    reader = make_reader(run.dataset, by_meaning, by_meaning(run.dataset.item_texts))
    scores = read(reader, Words("mecha and songs", ("romance",)))
    assert scores.mean() == pytest.approx(0, abs=1e-6)
    assert scores.std() == pytest.approx(1, abs=1e-6)


def test_nothing_asked_and_nothing_known_are_said(run: FinishedRun) -> None:
    with pytest.raises(ValueError, match="nothing is asked for; say it as in --wish"):
        wish_for(run, " , please")
    with pytest.raises(ValueError, match="nothing is known of 'ЖЖЖ'; ask with other words"):
        wish_for(run, "ЖЖЖ")


def test_a_run_without_a_transformer_says_that_it_takes_words_as_written(run: FinishedRun) -> None:
    reader = wish_for(run, "guitar").reader
    assert reader.by == "words"
    assert "since this run has no transformer" in reader.note
    assert make_reader(run.dataset, by_meaning, by_meaning(run.dataset.item_texts)).by == "meaning"


def test_an_encoder_that_cannot_be_had_is_named_and_words_as_written_take_its_place(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: FinishedRun, further: bool) -> None:
        raise OSError("the encoder is not there")

    monkeypatch.setattr(wish_reader, "encoders_of", gone)
    monkeypatch.setitem(run.config, "model_name", "acme/tiny")
    wish_reader.reader_of.cache_clear()
    reader = wish_reader.reader_of(run)
    assert (reader.by, "the encoder is not there" in reader.note) == ("words", True)
    wish_reader.reader_of.cache_clear()


# --- words and taste ---


def test_a_weight_of_nothing_is_taste_and_of_one_is_words(run: FinishedRun) -> None:
    user = run.user_emb[3]
    by_taste = torch.argsort(run.item_emb @ user, descending=True)[:8].tolist()
    assert ids(asked(run, "guitar", 0.0, user)) == [run.dataset.raw_item_ids[item] for item in by_taste]
    assert ids(asked(run, "guitar", 1.0, user)) == ids(asked(run, "guitar"))


def test_between_them_both_count_in_their_own_spreads(run: FinishedRun) -> None:
    user, wish = run.user_emb[3], wish_for(run, "guitar")
    taste = (run.item_emb @ user).double().numpy()
    expected = 0.7 * taste / taste[run.dataset.warm_items].std() + 0.3 * wish.scores
    for scale in (1.0, 50.0):  # whatever the temperature of a run
        titles = list_for_wish(run, wish, 0.3, scale * user, N, Has(), Rules())
        found = [title["score"] for title in sorted(titles, key=lambda title: int(title["subject_id"][1:]))]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rules_and_filters_of_lists_hold(run: FinishedRun) -> None:
    seen = [i for i in range(N) if KINDS[i % 4] == "music"][:6]
    titles = asked(run, "guitar", 0.5, run.user_emb[3], has=Has(seen=seen), among=np.arange(0, N, 2))
    rows = [run.item_rows[raw] for raw in ids(titles)]
    assert not {*rows} & {*seen}
    assert all(row % 2 == 0 for row in rows)
    first = asked(run, "guitar", 0.5, run.user_emb[3], rules=Rules("first", niche=1.0, diversity=0.5))
    assert all({"after", "more"} <= {*title} for title in first)


# --- reasons ---


def test_parts_sum_to_scores_and_the_nearest_sentence_is_named(run: FinishedRun) -> None:
    who = person(run, [0, 4, 8])
    user = place(run, who)
    composition = explanations.of_new_user(user, run.item_emb, run.layout)
    wish = meaning_of(run, "mecha")
    titles = list_for_wish(run, wish, 0.5, user.users[0], 8, has_of(who), Rules(), None, composition)
    for title in titles:
        assert sum(title["parts"].values()) == pytest.approx(title["score"], abs=1e-3)
        assert "niche" not in title["parts"]  # which takes what the others leave
        assert title["parts"]["words"] == pytest.approx(0.5 * wish.scores[run.item_rows[title["subject_id"]]], abs=1e-4)
    assert any(title["because"] for title in titles)


def test_the_sentence_is_of_the_summary_and_nearest_to_what_is_wanted(run: FinishedRun) -> None:
    [one] = asked(run, "pilots", k=1, composition=explanations.NOBODY)
    assert kind(one["subject_id"]) == "robots"
    assert one["says"] == "Their pilots never come home."
    assert one["parts"] == {"words": pytest.approx(one["score"], abs=1e-4)}
    assert "says" not in asked(run, "pilots", k=1)[0]


def test_a_title_without_a_summary_says_nothing(tmp_path: Path, run: FinishedRun, monkeypatch: Any) -> None:
    texts = list(run.dataset.item_texts)
    texts[0] = "title A\nMachines"
    monkeypatch.setitem(run.dataset.__dict__, "item_texts", texts)
    from inference.wishes import _sentences, nearest_sentences

    _sentences.cache_clear()
    assert nearest_sentences(run, wish_for(run, "pilots"), [0, 4]) == ["", "Their pilots never come home."]
    _sentences.cache_clear()
