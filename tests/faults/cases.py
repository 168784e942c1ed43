"""The commands that are killed, small enough for seconds, and the data they need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import convert
from tests.helpers.data import write_data

ROOT = Path(__file__).parents[2]
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"),
]


class Case(NamedTuple):
    """A command; FOLDER in its words stands for what prepare fills."""

    words: list[str]
    prepare: Callable[[Path], Any] = lambda folder: None
    tolerance: float = 0.0  # of vectors whose last bits hang on which texts are encoded together
    begun: bool = False  # whether prepare leaves a finished run in saved/, which the command goes on from


def tiny_encoder(folder: Path) -> None:
    """Write a sentence-transformers model of random weights, the same ones always."""
    import torch
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    bert = BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(bert).save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    words = models.Transformer(str(folder / "bert"), max_seq_length=32)
    SentenceTransformer(modules=[words, models.Pooling(bert.hidden_size)]).save(str(folder / "encoder"))


def made_lists(folder: Path) -> None:
    """Write lists of some hundred users, as Kaggle's files of 2020 are."""
    convert.make(folder, 40_000, seed=0)


def made_data(folder: Path) -> None:
    """Write data so small that most of an epoch is what is done once an epoch."""
    write_data(folder, n_users=100, n_items=60, per_user=12)


def data_and_encoder(folder: Path) -> None:
    """Write enough texts for several commits to the store, and what encodes them."""
    write_data(folder, n_users=600, n_items=300, per_user=12)
    tiny_encoder(folder)


def grown_data(folder: Path) -> None:
    """Write most of some data, a finished run on them in saved/, and then the rest of the data."""
    import main
    from config import get_config
    from tests.helpers.tables import grow, write_rows_of

    made_data(folder)
    titles = (folder / "anime.tsv").read_text(encoding="utf-8")
    early, late = grow(folder)
    settings = {"data_dir": str(folder), "saved_dir": str(folder / "saved"), "device": "cpu", "model_name": "lsa"}
    main.run(get_config({**settings, "lsa_dim": 8, "embedding_dim": 8, "epochs": 20, "batch_size": 128}))
    (folder / "anime.tsv").write_text(titles, encoding="utf-8")
    write_rows_of(folder, [*early, *late])


DATA = ["--data_dir", "FOLDER", "--saved_dir", "saved", "--device", "cpu"]
SMALL = [*DATA, "--model_name", "lsa", "--lsa_dim", "8", "--embedding_dim", "8"]
CASES: dict[str, Case] = {
    "save_embeddings": Case(["save_embeddings.py", *DATA, "--model_name", "FOLDER/encoder"], data_and_encoder, 1e-5),
    "main": Case(["main.py", *SMALL, "--epochs", "20", "--batch_size", "128"], made_data),
    "tuned": Case(["main.py", "--preset", "tuned", *SMALL, "--linear_dim", "16"], made_data),
    "refit": Case(["main.py", *SMALL, "--epochs", "10", "--batch_size", "128", "--refit", "true"], made_data),
    "update": Case(["main.py", "--mode", "update", *DATA, "--model_name", "lsa"], grown_data, begun=True),
    "run_ablation": Case(["run_ablation.py", "--only", "item_knn,sum-both", *SMALL, "--epochs", "8"], made_data),
    "tune": Case(["tune.py", "--trials", "13", *DATA, "--fusion_mode", "none", "--embedding_dim", "8"], made_data),
    "convert": Case(["tools/convert.py", "kaggle-2020", "FOLDER", "--users", "60", "--out", "out"], made_lists),
}
