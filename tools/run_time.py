"""How long a run would take on this machine: a few steps of each part of it, timed on the data at hand."""

import time
from collections.abc import Callable
from functools import partial
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
from training.before_training import EPOCHS, RATING_GRID, SHORT, TEMPERATURE_GRID
from training.choice_of_weights import BUDGET, COMMON_GRID
from training.closed_form import item_weights
from training.linear_columns import WEIGHTS_MAX_ITEMS
from training.losses import epoch_batches
from training.model_factory import build_model
from training.optimizer import adam
from training.steps import id_dropout

TRIED_TEMPERATURES = 5  # of the grid, about so many are tried
LONG_RUNS = 2  # about so many decide between choices that are near to each other
N_TEXTS, N_ENCODED, N_STEPS, N_USERS, N_ITEMS = 600, 32, 3, 500, 1000  # what is timed
# of rankings of the valid users: pairs of weights that calibration tries, and what is measured at the end
RANKINGS_OF_BALANCE, RANKINGS_AT_THE_END = 32, 10


class Encoder(NamedTuple):
    """The text encoder a run would use: "lsa", what sentence-transformers loads, or a server's."""

    name: str
    source: str  # "lsa", a folder on disk, or the name of a model that has to be downloaded or asked

    @property
    def is_here(self) -> bool:
        """Whether it can be loaded without a download."""
        return self.name == "lsa" or Path(self.source).is_dir()


def estimate(
    dataset: Dataset, config: dict[str, Any], device: torch.device, encoder: Encoder | None, load_s: float
) -> dict[str, float]:
    """Estimate the seconds of the parts of main.run; a download, and encoding with what it brings, are not included.

    Args:
        dataset, config, device: of the run.
        encoder: what encodes the texts, None without text.
        load_s: seconds that loading took.
    """
    vectors, seconds = TextVectors(None, None, {}), {"loading": load_s}
    if encoder:
        seconds["text"], vectors = _text_seconds(dataset, config, device, encoder)
    has_text = vectors.items is not None
    settings = {**config, "temperature": config["temperature"] or TEMPERATURE_GRID[1]}
    n_runs = n_long = 0
    if config["temperature"] == 0 and dataset.valid.nnz:
        n_runs = TRIED_TEMPERATURES + has_text + (has_text and bool(dataset.user_comments.texts))
        n_long = LONG_RUNS
    if config["rating_weight"] < 0 and dataset.valid.nnz and dataset.has_rates:
        n_long += len(RATING_GRID)
    if n_runs + n_long:
        built, epoch, ranking = _training_seconds(dataset, vectors, {**settings, **SHORT}, device)
        n_epochs = n_runs * EPOCHS + n_long * config["epochs"]
        seconds["short runs"] = (n_runs + n_long) * built + n_epochs * (epoch + ranking)
    built, epoch, ranking = _training_seconds(dataset, vectors, settings, device)
    seconds["training"] = built + config["epochs"] * (epoch + ranking)
    n_valid, n_rankings = int((np.diff(dataset.targets("valid").indptr) > 0).sum()), RANKINGS_AT_THE_END
    if config["calibrate"] and n_valid:
        n_rankings += RANKINGS_OF_BALANCE * min(1, SAMPLE / 2 / n_valid)
        seconds["closed form"] = _linear_seconds(dataset, config)
    return {**seconds, "rankings": n_rankings * ranking}


def _text_seconds(
    dataset: Dataset, config: dict[str, Any], device: torch.device, encoder: Encoder
) -> tuple[float, TextVectors]:
    """Estimate the seconds of encoding, and draw vectors of the shape that all blocks together will have."""
    titles, comments = dataset.item_texts, sorted(set(dataset.user_comments.texts))
    seconds, widths = 0.0, {"encoder": config["lsa_dim"]}
    if encoder.name != "lsa" and encoder.is_here:
        encode = transformer_encoder(Path(encoder.source), config, str(device))
        encode(titles[:1])  # what is done once
        seconds, found = _scaled(encode, sorted(set(titles)) + comments, N_ENCODED)
        widths["encoder"] = found.shape[1]
    blocks = config["text_blocks"].split(",") + ["lsa"] * (encoder.name == "lsa")
    for name, source, ngrams in (("lsa", titles, (1, 3)), ("names", dataset.item_names, (2, 4))):
        if name in blocks and len(set(source)) > 1:
            fit = partial(lsa_encoder, dim=BLOCK_DIMS.get(name, config["lsa_dim"]), ngrams=ngrams)
            fitting, encode = _scaled(fit, source, N_TEXTS)
            seconds += fitting + _scaled(encode, source, N_TEXTS)[0]
            if name == "lsa" and comments:
                seconds += _scaled(encode, comments, N_TEXTS)[0]
    for block in further_blocks(dataset, config, encoder.name):
        widths[block.name] = min(block.stamp["settings"]["dim"], dataset.n_items)
    rng = np.random.default_rng(0)  # what the numbers are changes no time
    items, users = (rng.standard_normal((n, sum(widths.values())), np.float32) for n in dataset.train.shape[::-1])
    items[[not text for text in titles]] = 0
    return seconds, TextVectors(items, users, {}, widths)


def _training_seconds(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: torch.device
) -> tuple[float, float, float]:
    """Time the making of a model, an epoch by a few of its steps, and a ranking of valid by a few of its users."""
    built, model = _timed(lambda: build_model(dataset, vectors, config, device))
    optimizer, rng = adam(model, config["lr"]), np.random.default_rng(0)
    drawing, (loss_of, batches) = _timed(lambda: epoch_batches(dataset.train, config, rng, device))
    drop = id_dropout(model, config["id_dropout"], torch.Generator(device).manual_seed(0))

    def train(some: list[Any]) -> None:
        for batch, _ in some:
            loss, penalty = loss_of(model, *batch, config, drop)
            optimizer.zero_grad(set_to_none=True)
            (loss + penalty).backward()
            optimizer.step()

    target = dataset.warm_pairs("valid") if dataset.valid.nnz else dataset.warm_pairs("test")

    def rank(users: list[int]) -> None:
        mine = np.isin(np.arange(dataset.n_users), users).astype(np.float32)
        some = sp.csr_matrix(sp.diags_array(mine) @ target)
        evaluate(*model.embeddings(), some, dataset.masked_for("valid"), config, dataset.warm_items)

    train(batches[:1])  # what is done once
    users = np.flatnonzero(np.diff(target.indptr)).tolist()
    return built, drawing + _scaled(train, batches, N_STEPS)[0], _scaled(rank, users, N_USERS)[0]


def _linear_seconds(dataset: Dataset, config: dict[str, Any]) -> float:
    """Time the item-item weights on some titles; their cost grows with the cube of how many there are."""
    n_items, rank = dataset.n_items, min(config["linear_dim"], *dataset.train.shape)
    if not rank:
        return 0.0
    size = min(n_items, N_ITEMS)
    square = torch.rand(size, size)
    took, _ = _timed(lambda: item_weights(square @ square.T, 100.0, 0.2))
    flop = _timed(lambda: square @ square)[0] / size**3
    cut = 6 * min(dataset.n_users, 20_000) * n_items * (rank + 10) * flop
    if n_items > WEIGHTS_MAX_ITEMS:
        return cut
    scores = (dataset.train.nnz * n_items + dataset.n_users * n_items) * flop * 10  # sparse: about a tenth as fast
    return BUDGET * took * (n_items / size) ** 3 + (2 * BUDGET + len(COMMON_GRID) - 1) * scores + cut


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def _scaled(work: Callable[[list[Any]], Any], members: list[Any], n: int) -> tuple[float, Any]:
    """Time work on n of the members, or on all if there are fewer: the seconds for all of them, and its result."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(members))[:n])
    took, result = _timed(lambda: work([members[place] for place in chosen]))
    return took * len(members) / max(len(chosen), 1), result
