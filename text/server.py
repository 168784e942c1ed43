"""An encoder behind a server: batches as large as it takes, texts as long as it takes, and which model it is."""

import logging
import re
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from text.embeddings_api import EmbeddingsApi, Refused
from text.probe import SENTENCE, is_mark, is_same, mark_of
from text.prompts import prompts_of

log = logging.getLogger("aglrec")

PREFIX = "server:"
SHORTEST = 16  # characters that a text is cut to before it is given up
KINDS = ("passage", "query")  # input_type of servers that put a model's prompts before texts themselves


class ServerEncoder:
    """The encoder `server:NAME` of a config, which is a text.encoders.Encode."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Ask the server for a first vector, which shows what it takes and which model it has.

        Args:
            config: uses model_name, model_revision, document_prompt, query_prompt, truncate_dim, encode_batch_size,
                encoder_url, encoder_plain_http and use_user_llm.

        Raises:
            OSError: the server is not reachable, or stays busy.
            ValueError: it wants a key, has no such model, gives no vectors of texts, or others than model_revision.
        """
        self.name, self._most, self._width = config["model_name"], config["encode_batch_size"], 0
        self._api = EmbeddingsApi(config["encoder_url"], model_on_server(self.name), config["encoder_plain_http"])
        if not self._api.is_here:
            what = "titles and the comments of users" if config["use_user_llm"] else "titles"
            log.warning(
                f"the texts of {what} leave this machine: they are sent to {urlsplit(self._api.address).netloc}"
            )
        self._form = self._accepted_form()
        self._prompts = prompts_of(config)
        self._has_kinds = self._knows_kinds()
        if self._has_kinds:  # then only what was asked for is put before as well
            self._prompts = prompts_of({**config, "model_name": ""})
        found = self._rows([SENTENCE], as_query=False)[0]
        self.mark = mark_of(found)  # tells this model from others
        self._width, self._kept = len(found), config["truncate_dim"] or len(found)
        self._n_refused = self._n_cut = self._n_none = 0  # texts
        _check_pinned(self.name, config["model_revision"], self.mark)
        log.info(f"{self.name}: vectors of {len(found):,} numbers; --model_revision {self.mark} keeps to this model")

    def __call__(self, texts: list[str], as_query: bool = False) -> np.ndarray:
        """Encode n texts, (n, L) float32 in rows of length 1; of zeros for an empty text, and one without a vector."""
        rows = np.zeros((len(texts), min(self._width, self._kept)), np.float32)
        left = [place for place, text in enumerate(texts) if text.strip()]
        while left:
            part, left = left[: self._most], left[self._most :]
            rows[part] = self._unit(self._batch([texts[place] for place in part], as_query))
        return rows

    def _batch(self, texts: list[str], as_query: bool) -> np.ndarray:
        """Return the raw vectors of a batch; one that is refused is halved, which is remembered if its size was why."""
        try:
            return self._rows(texts, as_query)
        except Refused as error:
            if len(texts) == 1:
                return self._shortened(texts[0], as_query, error)
        half, n_refused = len(texts) // 2, self._n_refused
        rows = np.concatenate([self._batch(part, as_query) for part in (texts[:half], texts[half:])])
        if self._n_refused == n_refused and self._most > half:
            self._most = half
            log.info(f"{self.name}: the server refuses {len(texts)} texts at a time; going on with {half}")
        return rows

    def _shortened(self, text: str, as_query: bool, refusal: Refused) -> np.ndarray:
        """Return the raw vector (1, L) of a text that is refused: that of its first three quarters, and so on.

        How much is left depends on this text alone. Where nothing of it is taken it has no vector.
        """
        whole, self._n_refused = len(text), self._n_refused + 1
        while not refusal.is_not_finite and len(text) > SHORTEST:
            text = text[: len(text) * 3 // 4]
            try:
                row = self._rows([text], as_query)
            except Refused as error:
                refusal = error
                continue
            self._n_cut += 1
            if self._n_cut == 1:
                log.warning(
                    f"{self.name}: texts that are too long for the server ({refusal}) are cut, the first from "
                    f"{whole:,} to {len(text):,} characters; started with a longer context it reads more"
                )
            return row
        try:
            self._rows([SENTENCE], as_query)
        except Refused as error:
            raise OSError(
                f"{self._api.address} no longer encodes what it did before ({error}); what was encoded is kept, and "
                "the same command goes on from there"
            ) from None
        return np.full((1, self._width), np.nan)

    def _unit(self, rows: np.ndarray) -> np.ndarray:
        """Cut vectors to truncate_dim and to length 1; those that are not finite become zeros, and are counted."""
        rows = rows[:, : self._kept].astype(np.float64)
        there = np.isfinite(rows).all(axis=1)
        if not there.all():
            if not self._n_none:
                log.warning(
                    f"{self.name}: the server has no finite vector for some texts; they count as texts without any"
                )
            self._n_none += int((~there).sum())
        rows = np.where(there[:, None], rows, 0)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)

    def _rows(self, texts: list[str], as_query: bool) -> np.ndarray:
        """Ask for the vectors of texts, prompts before them."""
        prompt, more = self._prompts[as_query], {"input_type": KINDS[as_query]} if self._has_kinds else {}
        rows = self._api.ask([_clean(prompt + text) for text in texts], **self._form, **more)
        if self._width and rows.shape[1] != self._width:
            raise ValueError(
                f"{self._api.address} gives {rows.shape[1]} numbers a text now, and gave {self._width} before"
            )
        return rows

    def _accepted_form(self) -> dict[str, str]:
        """Return how vectors are asked for: as base64, which is exact and short; where that is refused, as numbers."""
        for form in ({"encoding_format": "base64"}, {}):
            try:
                found = self._api.ask([SENTENCE], **form)
            except Refused as error:
                refusal = error
                continue
            if np.isfinite(found).all() and found.any():
                return form
            raise ValueError(f"{self._api.address} gives a plain sentence no vector; run its model on another device")
        raise ValueError(
            f"{self._api.address} does not encode a plain sentence with {self._api.model!r} ({refusal}); check that it "
            "serves this model for embeddings"
        )

    def _knows_kinds(self) -> bool:
        """Tell whether the server itself puts one prompt before a passage and another before a query."""
        try:
            passage, query = (self._api.ask([SENTENCE], **self._form, input_type=kind)[0] for kind in KINDS)
        except Refused:
            return False
        return not is_same(mark_of(passage), mark_of(query))


def model_on_server(name: str) -> str:
    """Return the name of a model on its server, from server:NAME."""
    if not (model := name.removeprefix(PREFIX)):
        raise ValueError(f"model_name {name!r} names no model; write {PREFIX}NAME, as the server calls it")
    return model


def _check_pinned(name: str, revision: str, mark: str) -> None:
    """Raise ValueError if a revision is given and the model that a server has now is another."""
    if revision and not is_mark(revision):
        raise ValueError(f"model_revision {revision!r} is none of a server; the one of {name!r} is {mark} now")
    if revision and not is_same(revision, mark):
        raise ValueError(
            f"{name!r} is another model than --model_revision asks for: it gives {mark} now, which is not {revision}; "
            "have the server load that model, or leave the revision out"
        )


def _clean(text: str) -> str:
    """Replace halves of characters, which no server can read."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
