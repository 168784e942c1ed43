"""Titles of a catalogue that are described in another language: which tags are Japanese names, what is left without."""

from pathlib import Path

import pandas as pd
import pytest

import main
from config import get_config
from dataset.tags import parse_tags
from studies.common import finished_run
from studies.japanese_names import japanese_name
from studies.language_data import OTHERS, read, sampled
from studies.languages import measure, parse
from tests.helpers.data import write_data, write_tsv


@pytest.mark.parametrize(
    ("tag", "latin"),
    [
        ("風の谷のナウシカ", "Kaze no Tani no Nausicaä"),
        ("ハウルの動く城", "Howl no Ugoku Shiro"),
        ("キルラキル", "Kill la Kill"),
        ("けいおん！！", "K-On!!"),
        ("ヱヴァンゲリヲン新劇場版：序", "Evangelion: 1.0 You Are (Not) Alone"),
        ("純潔のマリアさま", "Junketsu no Maria-sama: Another Story"),
        ("僕は妹に恋をするが", "Boku wa Imouto ni Koi wo Suru ga"),
        ("ヘルシングだよ OVA", "Hellsing da yo OVA"),
        ("バッカーノ!", "Baccano!"),
    ],
)
def test_a_tag_is_known_for_the_japanese_name_by_its_sound(tag: str, latin: str) -> None:
    assert japanese_name(["アニメーション", tag, "原作漫画"], latin) == tag
    assert not japanese_name([tag], "Ginga Tetsudou no Yoru")


@pytest.mark.parametrize("tag", ["城の", "イシグロキョウヘイ", "ハウル", "动画电影", "Howl no Ugoku Shiro", ""])
def test_staff_short_tags_and_other_scripts_are_no_japanese_names(tag: str) -> None:
    assert not japanese_name([tag], "Howl no Ugoku Shiro")
    assert not japanese_name([tag], "Shino")


def test_the_longest_of_several_names_is_taken() -> None:
    assert japanese_name(["こいこいこい", "こいこいこい7", "こいこい"], "Koi Koi Koi 7: TV") == "こいこいこい7"


def catalogue(folder: Path) -> None:
    """Write nine titles; of 0 to 3 the Japanese name is a tag, 4 and 5 share one, 6 tells its own, 7 is in Japanese."""
    write_data(folder, n_items=9, per_user=5)
    tags = [
        f'["故事", "さくらの{kana}"]'
        for kana in ("ミライ", "ナルト", "カナタ", "ソラノ", "テニス", "テニス", "ラジオ", "マリア")
    ]
    table = pd.DataFrame({"subject_id": [f"s{i}" for i in range(9)], "name": "故事", "tags_name": [*tags, ""]})
    table["summary"] = "很久以前有一个故事"
    table.loc[6, "summary"] += "，又名さくらのラジオ" + 20 * "，很久以前有一个故事"
    table.loc[7, "summary"] = "むかしむかし、あるところに"
    table.assign(language="zh").to_csv(folder / "anime_zh.tsv", sep="\t", index=False)
    names = ("Mirai", "Naruto", "Kanata", "Sora no", "Tennis", "Tennis", "Rajio", "Maria", "X")
    described = table.assign(name=[f"Sakura no {name}" for name in names], tags_name="", summary="A story.")
    described.to_csv(folder / "anime.tsv", sep="\t", index=False)


def test_japanese_names_are_taken_out_of_the_catalogue_and_asked_for(tmp_path: Path) -> None:
    catalogue(tmp_path)
    n, n_others, n_pairs = sampled(tmp_path, "zh", 8, 200, tmp_path / "out", japanese=True)
    titles, others, pairs = (read(tmp_path / "out" / name) for name in ("anime.tsv", OTHERS, "interactions.tsv"))
    assert (n, n_others, n_pairs) == (8, 4, len(pairs))
    assert {*titles["subject_id"]} == {*pairs["subject_id"]} == {f"s{i}" for i in range(9)} - {"s7"}
    assert {*map(str, titles["tags_name"].map(parse_tags))} == {"['故事']", "[]"}
    known = {"s0": "さくらのミライ", "s1": "さくらのナルト", "s2": "さくらのカナタ", "s3": "さくらのソラノ"}
    assert dict(zip(others["subject_id"], others["name"], strict=True)) == known
    assert not others[["tags_name", "summary"]].to_numpy().any()


def test_titles_with_a_japanese_name_are_drawn_before_others(tmp_path: Path) -> None:
    catalogue(tmp_path)
    assert sampled(tmp_path, "zh", 4, 3, tmp_path / "out", japanese=True)[:2] == (4, 3)
    assert {*read(tmp_path / "out" / "anime.tsv")["subject_id"]} == {"s0", "s1", "s2", "s3"}


def test_the_draw_in_english_is_as_before(tmp_path: Path) -> None:
    catalogue(tmp_path)
    sampled(tmp_path, "zh", 5, 3, tmp_path / "out")
    titles, others = (read(tmp_path / "out" / name) for name in ("anime.tsv", OTHERS))
    assert titles["subject_id"].tolist() == ["s2", "s3", "s4", "s5", "s6"]
    assert others["subject_id"].tolist() == ["s4", "s6", "s5"]
    assert others["summary"].tolist() == ["A story."] * 3
    assert "さくらのカナタ" in titles["tags_name"][0]


def test_flags_of_the_two_commands() -> None:
    assert parse(["sample", "D", "--out", "C", "--japanese"])[0].japanese
    asked, settings = parse(["S", "R", "--model_name", "server:e5", "--names"])
    assert (asked.runs, asked.names, settings) == (["S", "R"], True, {"model_name": "server:e5"})


def test_titles_are_found_by_their_text_and_not_by_a_name_that_all_share(tmp_path: Path) -> None:
    write_data(tmp_path / "data", n_users=40, n_items=30)
    rows = [(f"s{i}", "作品", f"标签{i}", f"故事{chr(0x4E00 + 7 * i)}{chr(0x5000 + 5 * i)}第{i}部") for i in range(30)]
    write_tsv(tmp_path / "data", "anime.tsv", rows)
    described = pd.DataFrame(rows[:9], columns=["subject_id", "name", "tags_name", "summary"])
    described.to_csv(tmp_path / "data" / OTHERS, sep="\t", index=False)
    places = {"data_dir": str(tmp_path / "data"), "saved_dir": str(tmp_path / "saved"), "device": "cpu"}
    small = {"lsa_dim": 16, "embedding_dim": 8, "linear_dim": 0, "epochs": 1, "temperature": 0.2, "batch_size": 64}
    main.run(get_config({"preset": "tuned", "model_name": "lsa", "rating_weight": 0.0, **small, **places}))
    run = finished_run(tmp_path / "saved", model_name="lsa")
    whole, by_names = measure(run), measure(run, names_alone=True)
    assert whole["all blocks"] == {"median rank": 1, "recall@10": 1}
    assert by_names["all blocks"]["median rank"] > 2
    assert {*map(len, (whole, by_names))} == {9}
