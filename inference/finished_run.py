"""A finished run, loaded: its data, the settings of its training, its texts and its final vectors."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from config import CALL_KEYS, get_config
from data_loader import Dataset, load_dataset
from dataset.earlier_rows import read_rows
from dataset.site_ids import pages_of, read_site_ids
from inference.name_forms import folded
from inference.title_search import Names, index_names
from llm_embedding import TextVectors, fused_text, text_vectors, uses_text, vectors_on_disk
from runtime import manifest
from runtime.distributed import resolve_device
from runtime.files import load_torch
from runtime.identity import check_origin, resolved
from runtime.settings import as_argument
from training.placing import Placing

log = logging.getLogger("aglrec")


class Layout(NamedTuple):
    """The columns of a final vector: D trained ones, then a bias and linear columns where the model has them.

    A last column, if there are more, holds the titles' popularity, which ranks for users of whom nothing is known.
    """

    dim: int  # D
    has_bias: bool
    linear: tuple[torch.Tensor, float] | None  # inputs (n_items, r) and user_power; see linear_columns.Linear
    liking: torch.Tensor | None = None  # (n_items, r) of the linear columns; None where rates decide nothing in them
    placing: Placing = Placing()  # how users are placed


def layout_of(state: dict[str, torch.Tensor]) -> Layout:
    """Read the layout off the state_dict of best_model.pth."""
    linear = (state["linear_inputs"], state["linear_power"].item()) if "linear_inputs" in state else None
    placing = Placing(*state["placing"].tolist()) if "placing" in state else Placing()
    return Layout(state["id_emb"].shape[1], "item_bias" in state, linear, state.get("linear_liking"), placing)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The best model of a run, with its data and settings; everything else is made on first use."""

    checkpoint: dict[str, Any]  # the content of best_model.pth
    config: dict[str, Any]  # as from trained_config
    dataset: Dataset
    names_encoder: bool = field(default=False, kw_only=True)  # whether this call names the run's encoder too

    @property
    def device(self) -> str:
        """Name the device that encoders run on."""
        return str(resolve_device(self.config["device"]))

    @cached_property
    def text_vectors(self) -> TextVectors:
        """The text vectors of training; a ValueError if a text or the encoder has changed since."""
        asked = {**self.config, "use_user_llm": self.checkpoint["config"]["use_user_llm"]}
        if uses_text(self.dataset, asked) and not self.names_encoder:
            if found := vectors_on_disk(self.dataset, asked, self.checkpoint["text"]["digest"]):
                return found
            self.check_names_encoder()
        vectors = text_vectors(self.dataset, asked, self.device)
        check_origin(self.checkpoint, self.dataset.fingerprint, vectors.info)
        return vectors

    def check_names_encoder(self) -> None:
        """Raise ValueError if the encoder, a folder or a model of the hub, is named by best_model.pth alone.

        Whoever made that file would otherwise decide what this machine asks the hub for, opens and loads.
        """
        if not self.names_encoder:
            keys = ("model_name", "model_revision", "trust_remote_code")
            flags = " ".join(f"--{key} {as_argument(self.config[key])!r}" for key in keys if self.config[key])
            raise ValueError(
                "a text has to be encoded, but this run's encoder is named by best_model.pth and not by this command, "
                f"so it is not opened; if you trust it, give {flags}"
            )

    @cached_property
    def text(self) -> np.ndarray | None:
        """(N, L): all texts as the model fuses them, users above items; None if it fuses none."""
        return None if self.text_vectors.items is None else fused_text(self.text_vectors, self.config)


@dataclass(frozen=True, eq=False)
class FinishedRun(TrainedModel):
    """A trained model with the final vectors that its lists are made of."""

    user_emb: torch.Tensor  # (n_users, width)
    item_emb: torch.Tensor  # (n_items, width); a score is a dot product of two rows

    @cached_property
    def layout(self) -> Layout:
        """The columns of the final vectors."""
        return layout_of(self.checkpoint["state_dict"])

    @cached_property
    def item_rows(self) -> dict[str, int]:
        """Id -> row of a title."""
        return {raw: row for row, raw in enumerate(self.dataset.raw_item_ids)}

    @cached_property
    def site_rows(self) -> dict[tuple[str, str], int]:
        """(site, id on it) -> row of a title, of the data's ids.tsv."""
        return read_site_ids(Path(self.config["data_dir"]), self.item_rows)

    @cached_property
    def pages(self) -> dict[int, list[dict[str, str]]]:
        """Row of a title -> its pages on sites, as of site_ids.pages_of."""
        return pages_of(self.site_rows)

    @cached_property
    def user_rows(self) -> dict[str, int]:
        """Id -> row of a user."""
        return {raw: row for row, raw in enumerate(self.dataset.raw_user_ids)}

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(n_items,): how many users collected each title in train."""
        return np.bincount(self.dataset.train.indices, minlength=self.dataset.n_items)

    @property
    def share_of_new(self) -> float:
        """How much of a person's list titles without a history may fill, as decided on valid; see cold_offset."""
        return self.checkpoint["decided"].get("cold_offset", {}).get("share", 1.0)

    @cached_property
    def user_length(self) -> float:
        """Mean length of the trained columns of users with a history."""
        return self.user_emb[np.diff(self.dataset.train.indptr) > 0, : self.layout.dim].norm(dim=1).mean().item()

    @cached_property
    def names(self) -> Names:
        """All names of the titles, to be searched."""
        dataset = self.dataset
        return index_names(dataset.item_names, self.item_counts, dataset.item_synonyms, dataset.item_tags)

    @cached_property
    def tags(self) -> dict[str, np.ndarray]:
        """Tag, folded -> the rows of the titles that have it."""
        found: dict[str, list[int]] = {}
        for row, tags in enumerate(self.dataset.item_tags):
            for tag in dict.fromkeys(map(folded, tags.splitlines())):
                found.setdefault(tag, []).append(row)
        return {tag: np.array(rows) for tag, rows in found.items()}

    @property
    def has_item_text(self) -> bool:
        """Whether the model places titles by their text."""
        return self.config["fusion_mode"] != "none" and self.config["use_item_llm"]

    @property
    def uses_rates(self) -> bool:
        """Whether rates decide anything here, so that a disliked title is more than one that is not liked."""
        layout = self.layout
        return layout.liking is not None or layout.placing.linear_rating > 0 or self.config["rating_weight"] > 0

    @cached_property
    def cold_items(self) -> np.ndarray:
        """Rows of the new titles that can be listed: without a history, and placed by their text."""
        placed = [row for row, text in enumerate(self.dataset.item_texts) if text and self.has_item_text]
        return np.setdiff1d(np.array(placed, int), self.dataset.warm_items)

    @cached_property
    def item_text(self) -> torch.Tensor | None:
        """(n_items, L): the titles' part of text; None without, and with a warning if it cannot be had again."""
        try:
            return torch.from_numpy(self.text[self.dataset.n_users :]) if self.has_item_text else None
        except (OSError, ValueError) as error:
            log.warning(f"titles are not compared by their text: {error}")
            return None


def load_trained(config: dict[str, Any], *beside: str) -> TrainedModel:
    """Load the best model of the run in saved_dir, and its data.

    Args:
        config: as from get_config, of this call. Unless its data_dir is another than the default, the data are read
            from where they were in training, if that folder is still there.
        beside: names of further files in saved_dir that must be of the same run.

    Raises:
        FileNotFoundError, ValueError: a file is missing or not of a run, or the data are no longer those of training.
    """
    saved = Path(config["saved_dir"])
    checkpoint = load_checkpoint(saved, *beside)
    of_call = {**config, "data_dir": data_dir_of(checkpoint, config["data_dir"])}
    config = trained_config(checkpoint, of_call)
    dataset = load_dataset(config, read_rows(saved) if checkpoint.get("base") else None)
    check_origin(checkpoint, dataset.fingerprint, folder=config["data_dir"])
    if config["rating_weight"] > 0 and checkpoint.get("values", dataset.values_digest) != dataset.values_digest:
        raise ValueError(
            f"best_model.pth was trained with rating_weight {config['rating_weight']:g} on other rates or times than "
            "those of interactions.tsv now; restore them, or train again with --mode train"
        )
    return TrainedModel(checkpoint, config, dataset, names_encoder=names_encoder(of_call, config))


def load_checkpoint(saved: Path, *beside: str) -> dict[str, Any]:
    """Load the best model of the run in a folder, and check the files beside it; see load_trained."""
    checkpoint = load_torch(saved / "best_model.pth")
    if not isinstance(checkpoint, dict) or not {"config", "state_dict", "dataset_fingerprint"} <= set(checkpoint):
        raise ValueError(f"{saved / 'best_model.pth'} is no model of main.py; name the saved_dir of a run")
    manifest.check(saved, "best_model.pth", *beside)
    return checkpoint


def data_dir_of(checkpoint: dict[str, Any], asked: str) -> str:
    """Return the folder of a run's data: the one that is asked for, or that of training where none is."""
    trained = checkpoint["config"].get("data_dir", asked)
    if trained == asked or asked != get_config()["data_dir"]:
        return asked
    if Path(trained).is_dir():
        log.info(f"the data are read from {trained}, as in training")
        return trained
    log.warning(f"{trained}, where the data were in training, is not there; {asked} is read (--data_dir names another)")
    return asked


def load_finished(config: dict[str, Any]) -> FinishedRun:
    """Load the run in saved_dir with its final vectors.

    Args:
        config: as from get_config, of this call.

    Raises:
        FileNotFoundError, ValueError: as of load_trained, or the vectors are of another run.
    """
    model, saved = load_trained(config, "user_emb.pt", "item_emb.pt"), Path(config["saved_dir"])
    user_emb, item_emb = load_torch(saved / "user_emb.pt"), load_torch(saved / "item_emb.pt")
    if (len(user_emb), len(item_emb)) != (model.dataset.n_users, model.dataset.n_items):
        raise ValueError(f"{saved / 'user_emb.pt'} or item_emb.pt is of another run; give --mode inference to main.py")
    parts = (model.checkpoint, model.config, model.dataset, user_emb, item_emb)
    return FinishedRun(*parts, names_encoder=model.names_encoder)


def names_encoder(of_call: dict[str, Any], trained: dict[str, Any]) -> bool:
    """Tell whether a call names the encoder of a run, its revision and, where it was let, that its code may run."""
    same = all(of_call[key] == trained[key] for key in ("model_name", "model_revision"))
    return trained["model_name"] == "lsa" or (
        same and (of_call["trust_remote_code"] or not trained["trust_remote_code"])
    )


def trained_config(checkpoint: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of training with what valid decided, and this call's RUNTIME_KEYS and recommend_k.

    model_name is the encoder that was really used, which may have been the fallback. Other settings of this call are
    ignored with a warning.
    """
    defaults = get_config({})
    trained = {**defaults, **checkpoint["config"]}
    ignored = [
        f"{key} {config[key]} (trained with {trained[key]})"
        for key in config
        if key not in CALL_KEYS and config[key] not in (defaults[key], trained[key])
    ]
    if ignored:
        log.warning("the settings of training are kept; ignored: " + ", ".join(ignored))
    encoder = str(checkpoint["text"]["encoder"] or trained["model_name"])
    of_call = {key: config[key] for key in CALL_KEYS}
    return {**resolved(trained, checkpoint["decided"]), **of_call, "model_name": encoder}
