"""Titles that a run has never seen, placed by their text just as it placed its own titles without a history."""

import csv
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from data_loader import Dataset
from dataset.readers import parse_tags, title_text
from llm_embedding import TextVectors, further_blocks, fused_titles, text_vectors
from runtime.safe_files import parse_json
from text.encoders import Encode, open_encoder
from training.linear_columns import score_spreads, text_regression

log = logging.getLogger("aglrec")

FIELDS = ("name", "tags_name", "summary")
# titles that are encoded anew to see that an encoder still does what it did, and the least cosine of the two vectors
SAMPLE, AGREEMENT = 8, 0.99


class Title(NamedTuple):
    """What there is to read of a title."""

    name: str
    tags: list[str]
    summary: str


class Placement(NamedTuple):
    """How a run places titles by their text; see prepare."""

    vectors: TextVectors
    encoders: dict[str, Encode]
    trained: Callable[[torch.Tensor], torch.Tensor]  # fused text (n, L) -> (n, D)
    bias: Callable[[np.ndarray], np.ndarray] | None  # fused text -> (n, 1)
    linear: Callable[[np.ndarray], np.ndarray] | None  # fused text -> (n, r)
    config: dict[str, Any]


def read_title(fields: dict[str, Any]) -> Title:
    """Check the fields of a title: name, tags_name (a list, or as a cell of anime.tsv) and summary, each optional.

    Raises:
        ValueError: a field is unknown or no text, or there is nothing in any.
    """
    if unknown := [key for key in fields if key not in FIELDS]:
        raise ValueError(f"a title has no field {unknown[0]!r}; it has {', '.join(FIELDS)}")
    name, tags, summary = (fields.get(key, "") for key in FIELDS)
    for key, value in (("name", name), ("summary", summary)):
        if not isinstance(value, str):
            raise ValueError(f"{key} of a new title is {value!r}; it must be text")
    if not isinstance(tags, (str, list)):
        raise ValueError(f"tags_name of a new title is {tags!r}; it must be a list of tags, or text as in anime.tsv")
    tags = parse_tags(tags.strip()) if isinstance(tags, str) else [str(tag).strip() for tag in tags]
    title = Title(name.strip(), [tag for tag in tags if tag], summary.strip())
    if not any(title):
        raise ValueError("a new title needs a name, tags_name or summary, by which it is placed; all are empty")
    return title


def read_fields(path: Path) -> dict[str, Any]:
    """Read the fields of a new title: a JSON object of them, or a TSV with a header and one row (other columns aside).

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is neither.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; --new_item names a file with {', '.join(FIELDS)} of a title")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            rows = [parse_json(text)]
        else:
            table = csv.DictReader(text.splitlines(keepends=True), delimiter="\t", strict=True)
            rows = [{key: row[key] or "" for key in FIELDS if key in row} for row in table]
    except (ValueError, csv.Error) as error:  # a UnicodeDecodeError and a JSONDecodeError are ValueErrors
        raise ValueError(
            f"{path} cannot be read ({error}); write a JSON object in a .json file, or else a TSV, in UTF-8"
        ) from None
    if len(rows) != 1 or not isinstance(rows[0], dict) or not rows[0]:
        raise ValueError(
            f"{path} must hold one title, with some of {', '.join(FIELDS)}: a JSON object in a .json "
            "file, or else a TSV with a header and one row"
        )
    return rows[0]


def has_item_text(config: dict[str, Any]) -> bool:
    """Tell whether a run's titles have vectors of text."""
    return config["fusion_mode"] != "none" and config["use_item_llm"]


def vectors_of_training(
    dataset: Dataset, checkpoint: dict[str, Any], config: dict[str, Any], device: str
) -> TextVectors | None:
    """Return the text vectors that a model was trained with; None if it knows no text of titles.

    None, too, with a warning, where they cannot be had again.
    """
    if not has_item_text(config):
        return None
    info = (vectors := text_vectors(dataset, config, device)).info
    if "text" in checkpoint and checkpoint["text"] == {"encoder": info["used"], "digest": info["digest"]}:
        return vectors
    log.warning(
        "a text of the data, or the encoder, is no longer the one of training, so nothing is told by text; "
        "restore it, or train again"
    )
    return None


def fit_placement(
    dataset: Dataset,
    vectors: TextVectors | None,
    item_text: torch.Tensor | None,
    checkpoint: dict[str, Any],
    config: dict[str, Any],
    device: str,
) -> Placement:
    """Fit everything again that placed the run's own new titles, to the run's own titles alone.

    Args:
        dataset, config: of the run, with the encoder that was really used as model_name.
        vectors: as from vectors_of_training.
        item_text: (n_items, L) the titles' text as the model fuses it.
        checkpoint: the content of best_model.pth.
        device: where a transformer runs.

    Raises:
        OSError, ValueError: the run knows no text, or an encoder cannot be had, or no longer gives the titles their
            vectors.
    """
    if vectors is None:
        raise ValueError(
            "this run knows no text of titles, by which it could place a new one; train it with a "
            "fusion_mode of sum or concat, and use_item_llm true"
        )
    state, text = checkpoint["state_dict"], item_text.numpy()
    trained = partial(_trained, state=state, config=config)
    bias = _bias(dataset, text, checkpoint["decided"]) if "item_bias" in state else None
    linear = _linear(dataset, text, state) if "linear_outputs" in state else None
    return Placement(vectors, _encoders(dataset, vectors, config, device), trained, bias, linear, config)


def place_title(placement: Placement, title: Title, width: int) -> tuple[torch.Tensor, np.ndarray]:
    """Place a title: its final vector (width,), columns beside included, and its text as the model fuses it (L,)."""
    sources = _sources(title)
    raw = np.concatenate([encode([sources[block]]) for block, encode in placement.encoders.items()], axis=1)
    text = fused_titles(raw, placement.vectors, placement.config)  # (1, L)
    if not text.any():
        raise ValueError(
            "nothing in the text of this title is known to the encoder; give more of its name, tags or "
            "summary, in a language of the other titles"
        )
    columns = [placement.trained(torch.from_numpy(text))]
    columns += [torch.from_numpy(part(text)).float() for part in (placement.bias, placement.linear) if part]
    together = torch.cat(columns, dim=1)
    # a last column of popularity, for users of whom nothing is known: nobody has collected the title
    return torch.nn.functional.pad(together, (0, width - together.shape[1]))[0], text[0]


def _trained(text: torch.Tensor, state: dict[str, torch.Tensor], config: dict[str, Any]) -> torch.Tensor:
    """Return the trained columns of titles without edges, (n, D); see model.LightGCN."""
    fused = text @ state["text_weight"]  # (n, L) @ (L, D)
    if config["fusion_mode"] == "concat":
        fused = fused + state["bias"]
    fused = fused / (config["num_layers"] + 1)
    return torch.nn.functional.normalize(fused) if config["normalize"] else fused


def _bias(dataset: Dataset, text: np.ndarray, decided: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what calibration.calibrate adds to the scores of a new title, as a function of its text."""
    weight = decided["weights"]["popularity"] if "weights" in decided else 0.0
    offset = decided["cold_offset"]["offset"] if "cold_offset" in decided else 0.0
    if not weight:
        return lambda rows: np.full((len(rows), 1), -offset)
    counts = np.bincount(dataset.train.indices, minlength=dataset.n_items)
    expected = text_regression(text, dataset.warm_items, np.log(np.maximum(counts, 1))[:, None])
    return lambda rows: weight * expected(rows) - offset


def _linear(dataset: Dataset, text: np.ndarray, state: dict[str, torch.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the linear columns of a new title as a function of its text; see linear.linear_model."""
    length = score_spreads(dataset.train, state["linear_inputs"].numpy())
    expected = text_regression(text, dataset.warm_items, state["linear_outputs"].numpy() * length)
    return lambda rows: expected(rows) / length


def _encoders(dataset: Dataset, vectors: TextVectors, config: dict[str, Any], device: str) -> dict[str, Encode]:
    """Open the encoder of every block, those of the titles' own words fitted to them again."""
    used, encode = open_encoder({**config, "encoder_fallback": "none"}, device, dataset.item_texts)
    blocks = {
        "encoder": (encode, dataset.item_texts),
        **{block.name: (block.open(), block.sources) for block in further_blocks(dataset, config, used)},
    }
    end = 0
    for name, (encode, sources) in blocks.items():
        end += vectors.blocks[name]
        known = vectors.items[:, end - vectors.blocks[name] : end]
        rows = np.flatnonzero(known.any(axis=1))[:: max(1, dataset.n_items // SAMPLE)]
        again = encode([sources[row] for row in rows])
        if again.shape[1] != known.shape[1] or ((again * known[rows]).sum(axis=1) < AGREEMENT).any():
            raise ValueError(
                f"{config['model_name']!r} ({name}) no longer gives the titles the vectors they were "
                "trained with; train again, or use the machine and versions of training"
            )
    return {name: encode for name, (encode, _) in blocks.items()}


def _sources(title: Title) -> dict[str, str]:
    """Name what each block reads of a title."""
    text = title_text(*title)
    return {"encoder": text, "lsa": text, "names": title.name, "tags": "\n".join(title.tags)}
