"""Sentences are taken out of texts, and what words, taste and both find is counted right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from inference.wish_reader import Reader, Space
from studies.language_data import OTHERS, read, sampled
from studies.wish_data import WISHES, without_sentences
from studies.wishes import Asked, measure, parse, recall
from tests.helpers.data import write_data, write_tsv

SUMMARY = "This is the first sentence of the story. Here the heroes meet each other for once. And all of it ends well."


def test_a_sentence_is_taken_out_and_kept_beside(tmp_path: Path) -> None:
    write_data(tmp_path / "data", n_items=6, per_user=3)
    rows = [("s0", "A", "", SUMMARY), ("s1", "B", "", "Too short."), ("s2", "heroes / X y", "", SUMMARY)]
    write_tsv(tmp_path / "data", "anime.tsv", rows)
    assert without_sentences(tmp_path / "data", tmp_path / "out") == 2
    left, wishes = (read(tmp_path / "out" / name) for name in ("anime.tsv", WISHES))
    assert wishes["subject_id"].tolist() == ["s0", "s2"]
    for raw, sentence in wishes.itertuples(index=False):
        text = left.set_index("subject_id")["summary"][raw]
        assert sentence in SUMMARY
        assert sentence not in text
        assert len(text) + len(sentence) + 1 == len(SUMMARY)
    assert "heroes" not in wishes["sentence"][1], "it holds the title's name"
    assert left["summary"][1] == "Too short."
    assert (tmp_path / "out" / "interactions.tsv").exists()


def asked(n: int = 40, n_items: int = 60) -> Asked:
    items, rng = np.arange(n), np.random.default_rng(0)
    taste = rng.normal(size=(n, n_items)).astype(np.float32)
    taste[items[: n // 2], items[: n // 2]] = 3.0  # taste finds half of them
    return Asked(items, items, [str(item) for item in items], taste, np.zeros((n, n_items), bool))


def test_recall_counts_what_is_among_the_first_and_leaves_out_what_is_hidden() -> None:
    one = asked(1)
    scores = -np.arange(60.0)[None]
    assert recall(scores, one) == 1
    late = one._replace(items=np.array([20]))
    assert recall(scores, late) == 0
    hidden = np.zeros((1, 60), bool)
    hidden[0, 3] = True
    assert recall(scores, late._replace(hidden=hidden)) == 1
    assert recall(np.zeros((1, 60)), one) == 0, "alike in score is no hit"


def test_valid_chooses_the_way_that_finds_more_and_both_find_more_than_either() -> None:
    right, n_items = np.eye(60, dtype=np.float32), 60

    def knows(texts: list[str], as_query: bool = False) -> np.ndarray:
        return np.stack([right[int(text)] if int(text) % 4 else np.zeros(n_items, np.float32) for text in texts])

    def noise(texts: list[str], as_query: bool = False) -> np.ndarray:
        return np.random.default_rng(1).normal(size=(len(texts), n_items)).astype(np.float32)

    reader = Reader([Space("meaning", right, noise), Space("words", right, knows)])
    rows = measure(reader, asked(), asked())
    chosen = rows["chosen on valid"]
    assert chosen["words"] > 0, "valid begins with the first way alone"
    assert chosen["by both"] > max(chosen["by taste"], chosen["by words"])
    assert rows["as for every run"]["meaning"] == rows["as for every run"]["words"] == 1


def test_a_catalogue_in_one_language_is_sampled(tmp_path: Path) -> None:
    write_data(tmp_path, n_items=8, per_user=4)
    table = pd.DataFrame({"subject_id": [f"s{i}" for i in range(8)], "name": "x", "tags_name": "", "summary": "故事"})
    table["language"] = ["zh", "en"] * 4
    table.to_csv(tmp_path / "anime_zh.tsv", sep="\t", index=False)
    n, n_others, n_pairs = sampled(tmp_path, "zh", 3, 2, tmp_path / "out")
    titles, pairs, others = (read(tmp_path / "out" / name) for name in ("anime.tsv", "interactions.tsv", OTHERS))
    assert (n, n_others, n_pairs) == (3, 2, len(pairs)) == (3, len(others), len(pairs))
    assert {int(raw[1:]) % 2 for raw in titles["subject_id"]} == {0}
    assert {*others["subject_id"]} < {*titles["subject_id"]}
    assert {*pairs["subject_id"]} <= {*titles["subject_id"]}
    assert others["summary"].str.startswith("story of").all()


def test_cut_takes_a_folder_and_a_place() -> None:
    with pytest.raises(ValueError, match="cut takes a data folder and --out"):
        parse(["cut"])
    with pytest.raises(ValueError, match="a RUN takes neither"):
        parse(["S", "--out", "x"])
