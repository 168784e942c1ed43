"""How long a run would take on this machine: a few steps of each part of it, timed on the data at hand."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from data_loader import Dataset
from evaluator import evaluate
from llm_embedding import BLOCK_DIMS, TextVectors, further_blocks
from text.encoders import lsa_encoder, transformer_encoder
from training.after_training import SAMPLE
from training.before_training import SHORT, TEMPERATURE_GRID
from training.closed_form import item_weights
from training.linear_columns import L2_GRID, TEXT_WEIGHT_GRID, WEIGHTS_MAX_ITEMS
from training.losses import BATCHES, id_dropout
from training.model_factory import build_model
from training.optimizer import adam

N_TEXTS, N_ENCODED, N_STEPS, N_USERS, N_ITEMS = 600, 32, 3, 500, 1000  # what is timed
# of rankings of the valid users: pairs of weights that calibration tries, and what is measured at the end
RANKINGS_OF_BALANCE, RANKINGS_AT_THE_END = 32, 10


class Encoder(NamedTuple):
    """The text encoder a run would use: "lsa", or what sentence-transformers loads."""

    name: str
    source: str  # "lsa", a folder on disk, or the name of a model that has to be downloaded

    @property
    def is_here(self) -> bool:
        return self.name == "lsa" or Path(self.source).is_dir()


def estimate(
    dataset: Dataset, config: dict[str, Any], device: torch.device, encoder: Encoder | None, load_s: float
) -> dict[str, float]:
    """Estimate the seconds of the parts of main.run; a download, and the encoder after it, are not in them.

    Args:
        dataset, config, device: of the run.
        encoder: what encodes the texts, None without text.
        load_s: seconds that loading took.
    """
    vectors, seconds = TextVectors(None, None, {}), {"loading": load_s}
    if encoder:
        seconds["text"], width = _text_seconds(dataset, config, device, encoder)
        vectors = _random_vectors(dataset, config, encoder, width)
    has_text = vectors.items is not None
    n_short = (
        len(TEMPERATURE_GRID) + has_text + (has_text and bool(dataset.user_comments.texts))
        if config["temperature"] == 0 and dataset.valid.nnz
        else 0
    )
    settings = {**config, "temperature": config["temperature"] or TEMPERATURE_GRID[1]}
    build, epoch, ranking = _training_seconds(dataset, vectors, settings, device)
    if n_short:
        short = {**settings, **SHORT}
        built, of_two, ranked = _training_seconds(dataset, vectors, short, device)
        seconds["short runs"] = n_short * (built + short["epochs"] * (of_two + ranked))
    seconds["training"] = build + config["epochs"] * (epoch + ranking)
    n_valid = int((np.diff(dataset.valid.indptr) > 0).sum())
    n_rankings = RANKINGS_AT_THE_END
    if config["calibrate"] and n_valid:
        n_rankings += RANKINGS_OF_BALANCE * min(1, SAMPLE / 2 / n_valid)
        seconds["closed form"] = _linear_seconds(dataset, config, has_text)
    seconds["rankings"] = n_rankings * ranking
    return seconds


def _text_seconds(
    dataset: Dataset, config: dict[str, Any], device: torch.device, encoder: Encoder
) -> tuple[float, int]:
    """Time the encoders on a sample of texts: the seconds for all of them, and the length of the encoder's vectors."""
    titles, comments = dataset.item_texts, sorted(set(dataset.user_comments.texts))
    seconds, width = 0.0, config["lsa_dim"]
    if encoder.name != "lsa" and encoder.is_here:
        encode = transformer_encoder(encoder.source, config, str(device))
        texts = sorted(set(titles)) + comments
        some = _sample(texts, N_ENCODED)
        encode(some[:1])
        took, found = _timed(lambda: encode(some))
        seconds, width = took * len(texts) / len(some), found.shape[1]
    blocks = config["text_blocks"].split(",") + ["lsa"] * (encoder.name == "lsa")
    for name, source, ngrams in (("lsa", titles, (1, 3)), ("names", dataset.item_names, (2, 4))):
        some = _sample(source, N_TEXTS)
        if name in blocks and len(set(some)) > 1:
            dim = config["lsa_dim"] if name == "lsa" else BLOCK_DIMS[name]
            took, encode = _timed(lambda some=some, dim=dim, ngrams=ngrams: lsa_encoder(some, dim, ngrams))
            seconds += took * len(source) / len(some)
            seconds += _timed(lambda encode=encode, some=some: encode(some))[0] * len(source) / len(some)
            wrote = _sample(comments, N_TEXTS)
            if name == "lsa" and wrote:
                seconds += _timed(lambda encode=encode, wrote=wrote: encode(wrote))[0] * len(comments) / len(wrote)
    return seconds, width


def _random_vectors(dataset: Dataset, config: dict[str, Any], encoder: Encoder, width: int) -> TextVectors:
    """Draw vectors of the shape of those that the texts will have: their numbers change no time."""
    widths = {"encoder": width}
    widths |= {
        block.name: min(block.stamp["settings"]["dim"], dataset.n_items)
        for block in further_blocks(dataset, config, encoder.name)
    }
    rng, n = np.random.default_rng(0), sum(widths.values())
    items, users = (rng.standard_normal((rows, n), np.float32) for rows in (dataset.n_items, dataset.n_users))
    items[[not text for text in dataset.item_texts]] = 0
    return TextVectors(items, users, {}, widths)


def _training_seconds(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device
) -> tuple[float, float, float]:
    """Time the making of a model, an epoch by a few of its steps, and a ranking of valid by a few of its users."""
    built, model = _timed(lambda: build_model(dataset, vectors, config, device))
    optimizer, rng = adam(model, config["lr"]), np.random.default_rng(0)
    drawing, (loss_of, batches) = _timed(
        lambda: BATCHES[config["loss"]](dataset.train, config["batch_size"], rng, device)
    )
    drop = id_dropout(model, config["id_dropout"], torch.Generator(device).manual_seed(0))

    def step(batch: Any) -> None:
        loss, penalty = loss_of(model, *batch, config["reg_lambda"], drop)
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        optimizer.step()

    step(batches[0][0])  # what is done once
    some = [batches[number % len(batches)][0] for number in range(1, N_STEPS + 1)]
    took, _ = _timed(lambda: [step(batch) for batch in some])
    epoch = drawing + took / N_STEPS * len(batches)
    target = dataset.warm_pairs("valid") if dataset.valid.nnz else dataset.warm_pairs("test")
    users = np.flatnonzero(np.diff(target.indptr))
    mine = np.isin(np.arange(dataset.n_users), _sample(users.tolist(), N_USERS)).astype(np.float32)
    factors = model.embeddings()
    ranked, _ = _timed(
        lambda: evaluate(
            *factors,
            sp.csr_matrix(sp.diags_array(mine) @ target),
            dataset.masked_for("valid"),
            config,
            dataset.warm_items,
        )
    )
    return built, epoch, ranked * len(users) / max(mine.sum(), 1)


def _linear_seconds(dataset: Dataset, config: dict[str, Any], has_text: bool) -> float:
    """Time the item-item weights on some titles; their cost grows with the cube of how many there are."""
    n_items, rank = dataset.n_items, min(config["linear_dim"], *dataset.train.shape)
    if not rank:
        return 0.0
    size = min(n_items, N_ITEMS)
    square = torch.rand(size, size)
    took, _ = _timed(lambda: item_weights(square @ square.T, 100.0, 0.2))
    product, _ = _timed(lambda: square @ square)
    flop = product / size**3
    n_users = min(dataset.n_users, 20_000)
    cut = 6 * n_users * n_items * (rank + 10) * flop
    if n_items > WEIGHTS_MAX_ITEMS:
        return cut
    attempts = len(L2_GRID) + (len(TEXT_WEIGHT_GRID) - 1) * has_text
    scores = (dataset.train.nnz * n_items + dataset.n_users * n_items) * flop * 10  # sparse: about a tenth as fast
    return attempts * (took * (n_items / size) ** 3 + scores) + cut


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def _sample(members: list[Any], n: int) -> list[Any]:
    """Draw n of the members, in their order; all, if there are fewer."""
    if len(members) <= n:
        return members
    return [members[place] for place in np.sort(np.random.default_rng(0).choice(len(members), n, replace=False))]
