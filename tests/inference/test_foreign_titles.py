"""New titles in a language that the catalogue lacks: blocks that see nothing of them have no part in their place."""

from typing import Any

import numpy as np
import pytest

import main
from config import get_config
from inference import cold_items
from inference.cold_items import encoders_of, place_near, place_title, read_by_blocks, read_title
from inference.finished_run import FinishedRun, load_finished
from tests.helpers.data import write_data, write_tsv
from training.placed_by_text import text_regression

STORY = "机器人的故事", "学校的生活", "音乐和乐队", "宇宙的战争"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run on titles described in Chinese, whose first block stands for an encoder that knows every language."""
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "data", n_users=50, n_items=40)
    rows = ((f"s{i}", f"作品{chr(0x4E00 + i)}", f"标签{i % 5}", f"{STORY[i % 4]}。第{i}部") for i in range(40))
    write_tsv(folder / "data", "anime.tsv", rows)
    places = {"data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"), "device": "cpu"}
    small = {"lsa_dim": 8, "embedding_dim": 8, "linear_dim": 8, "epochs": 2, "temperature": 0.2, "batch_size": 64}
    main.run(get_config({**places, "model_name": "lsa", "preset": "tuned", "rating_weight": 0.0, **small}))
    return load_finished(get_config(places))


def sees(run: FinishedRun, fields: dict[str, Any]) -> dict[str, bool]:
    columns, found, end = read_by_blocks(run, encoders_of(run), read_title(fields))[1], {}, 0
    for name, width in run.text_vectors.blocks.items():
        assert len({*columns[end : end + width].tolist()}) == 1
        found[name] = bool(columns[end])
        end += width
    return found


@pytest.mark.parametrize(
    ("fields", "blind"),
    [
        ({"name": "作品一", "tags_name": ["标签1"], "summary": "机器人的故事，学校的生活，音乐和乐队"}, set()),
        ({"name": "Robots", "tags_name": ["标签1"], "summary": "机器人的故事，学校的生活，音乐和乐队"}, {"names"}),
        ({"name": "作品一", "tags_name": ["Mecha"], "summary": "机器人的故事，学校的生活，音乐和乐队"}, {"tags"}),
        (
            {"name": "Robots", "tags_name": ["Mecha"], "summary": "机器人的故事，学校的生活，音乐和乐队"},
            {"names", "tags"},
        ),
        (
            {"name": "作品一", "summary": "机器人的故事，学校的生活，音乐和乐队"},
            set(),
        ),  # what is not given is not foreign
    ],
)
def test_a_block_that_sees_nothing_is_left_out(run: FinishedRun, fields: dict[str, Any], blind: set[str]) -> None:
    assert {name for name, one in sees(run, fields).items() if not one} == blind


def test_a_title_that_no_block_sees_is_placed_by_what_letters_it_shares(run: FinishedRun) -> None:
    nothing = sees(run, {"name": "第 Robots", "tags_name": ["Mecha"], "summary": "Robots at school."})
    assert all(nothing.values())


def test_it_is_placed_by_the_others_alone(run: FinishedRun) -> None:
    fields = {"name": "Robots", "tags_name": ["Mecha"], "summary": "机器人的故事，学校的生活，音乐和乐队"}
    vector, text = place_title(run, read_title(fields))
    first, known = run.text_vectors.blocks["encoder"], run.text[run.dataset.n_users :]
    assert not text[first:].any()
    fit = text_regression(known[:, :first], run.dataset.warm_items, run.item_emb[:, :8].numpy())
    np.testing.assert_allclose(vector[:8], fit(text[None, :first].numpy())[0], atol=1e-5)


def test_scripts_are_looked_at_once(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    sees(run, {"summary": "机器人的故事，学校的生活，音乐和乐队"})
    monkeypatch.setattr(cold_items, "script_of", lambda text: pytest.fail("looked at again"))
    sees(run, {"summary": "机器人的故事，学校的生活，音乐和乐队"})


# --- with a transformer ---


def test_a_title_in_another_language_stands_where_what_is_like_it_stands(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, item = run.text_vectors.items[[5]], run.item_emb[5].numpy().copy()
    lowered = run.checkpoint["decided"].get("cold_offset", {"offset": 0.0})["offset"]
    item[run.layout.dim] -= lowered
    monkeypatch.setattr(cold_items, "NEAR", 1e-5)
    np.testing.assert_allclose(place_near(run, raw)[0], item, atol=1e-3)
    monkeypatch.setattr(cold_items, "NEAR", 1e5)
    everywhere = run.item_emb[run.dataset.warm_items].mean(dim=0).numpy()
    everywhere[run.layout.dim] -= lowered
    np.testing.assert_allclose(place_near(run, raw)[0], everywhere, atol=1e-3)


def test_a_transformer_alone_places_it(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    first, blocks = run.text_vectors.blocks["encoder"], encoders_of(run)
    blocks["encoder"] = lambda texts, as_query=False: run.text_vectors.items[[5] * len(texts), :first]
    monkeypatch.setattr(cold_items, "encoders_of", lambda run: blocks)
    english = read_title({"name": "作品一", "tags_name": ["标签1"], "summary": "Robots go to school and start a band."})
    assert not cold_items.in_another_language(run, english)  # lsa knows no other language
    monkeypatch.setitem(run.config, "model_name", "acme/tiny")
    cold_items._scripts.cache_clear()
    vector, text = place_title(run, english)
    np.testing.assert_allclose(vector, place_near(run, run.text_vectors.items[[5]])[0], atol=1e-6)
    assert not text[first:].any()
    chinese = read_title({"summary": "机器人的故事，学校的生活"})
    assert place_title(run, chinese)[1][first:].any() or not cold_items.in_another_language(run, chinese)
    cold_items._scripts.cache_clear()


def test_what_names_alone_have_in_common_is_taken_away(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    first, blocks, known = run.text_vectors.blocks["encoder"], encoders_of(run), run.text_vectors.items
    short = 0.5 * np.eye(first, dtype=np.float32)[0]
    own = {name: known[row, :first] + short for row, name in enumerate(run.dataset.item_names)}

    def encode(texts: list[str], as_query: bool = False) -> np.ndarray:
        return np.stack([own.get(text, known[5, :first]) for text in texts])

    monkeypatch.setattr(cold_items, "encoders_of", lambda run: {**blocks, "encoder": encode})
    monkeypatch.setitem(run.config, "model_name", "acme/tiny")
    cold_items._scripts.cache_clear()
    moved = known[[5]].copy()
    moved[0, :first] -= short
    name_alone, whole = {"name": "Robots"}, {"name": "Robots", "summary": "Robots go to school and start a band."}
    for fields, expected in ((name_alone, moved), (whole, known[[5]])):
        expected = place_near(run, expected / np.linalg.norm(expected[0, :first]))
        np.testing.assert_allclose(place_title(run, read_title(fields))[0], expected[0], atol=1e-5)
    cold_items._scripts.cache_clear()
