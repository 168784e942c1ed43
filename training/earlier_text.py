"""The titles' text as a run had it that knew fewer titles."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data_loader import Dataset
from llm_embedding import TextVectors, further_blocks, fused_titles
from text.cache import joined, matrix_of_titles
from text.encoders import lsa_encoder


class Titles(NamedTuple):
    """What encoders read of some titles; see Dataset."""

    item_texts: list[str]
    item_names: list[str]
    item_tags: list[str]


def earlier_titles(
    dataset: Dataset, vectors: TextVectors, config: dict[str, Any], folder: Path, ids: list[str]
) -> np.ndarray:
    """Return some titles as fused_text had them while there were no others, (n, L before) float32.

    Encoders that are fitted to the titles, as lsa is, give other vectors with each further title.

    Args:
        dataset: with all titles of now.
        vectors: of these titles.
        config: as for text_vectors.
        folder: vectors_dir of the run that knew these titles alone; what it no longer has is made again.
        ids: of the titles, in the order of that run.
    """
    used = vectors.info["used"]
    parts = matrix_of_titles(folder, ids, used)
    if parts is None:
        rows = pd.Index(dataset.raw_item_ids).get_indexer(ids)
        some = Titles(
            *([texts[row] for row in rows] for texts in (dataset.item_texts, dataset.item_names, dataset.item_tags))
        )
        fit = lsa_encoder(some.item_texts, config["lsa_dim"]) if used == "lsa" else None
        encoded = fit(some.item_texts) if fit else vectors.items[rows, : vectors.blocks["encoder"]]
        further = further_blocks(some, config, used)
        parts = {"encoder": encoded, **{block.name: block.encoded(block.sources)[0] for block in further}}
    items = joined([*parts.values()])
    blocks = {name: part.shape[1] for name, part in parts.items()}
    return fused_titles(items, TextVectors(items, None, {}, blocks), config)
