"""Text encoders: any sentence-transformers model, one behind a server, or lsa and a bag of tags, which need none."""

import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import scipy.sparse as sp

from runtime.memory import explains_out_of_memory, is_out_of_memory
from text.hub import fetched_model
from text.model_files import averages_tokens, is_model2vec, own_code
from text.prompts import NO_PROMPTS, Prompts, prompts_of
from text.server import PREFIX, ServerEncoder

if TYPE_CHECKING:
    import torch

log = logging.getLogger("aglrec")

PROMPTED = ("title or comment", "query")

NOT_LOADED = "name another model, or load this one with sentence-transformers alone to see more"
NO_TEXT = (
    "no title has a name, tags or a summary, so there is no text to encode; set --fusion_mode none, or add some "
    "to anime.tsv (train.txt and test.txt hold ids alone)"
)


class Encode(Protocol):
    """A function from n texts to (n, L) float32, rows of length 1: of titles and comments, or of what is searched for.

    Models that know the two by a prompt put another before a query; for all others as_query changes nothing.
    """

    def __call__(self, texts: list[str], as_query: bool = False) -> np.ndarray:
        """Encode texts."""


def open_encoder(config: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, Encode]:
    """Open the encoder the config names, or its fallback where that cannot be had.

    Args:
        config: its text settings.
        device: where a transformer runs.
        corpus: the texts "lsa" is fitted to.

    Returns:
        The name of the encoder used, and its function; a ServerEncoder for server:NAME.

    Raises:
        OSError: neither whole on disk nor reachable, known within 20 seconds, and encoder_fallback is "none".
        ValueError: the hub, or the server, is reachable and has no such model, or what is on disk is none that can be
            loaded.
    """
    name = config["model_name"]
    if name == "lsa":
        return name, lsa_encoder(corpus, config["lsa_dim"])
    try:
        if name.startswith(PREFIX):
            return name, ServerEncoder(config)
        folder = fetched_model(name, config["model_revision"])
    except OSError as error:
        if config["encoder_fallback"] == "none":
            raise
        log.warning(
            f"!!! {error}\n!!! USING 'lsa' INSTEAD OF {name!r}: these are other vectors, and other results.\n"
            "!!! For an error in place of this, set --encoder_fallback none"
        )
        return "lsa", lsa_encoder(corpus, config["lsa_dim"])
    return name, transformer_encoder(folder, config, device)


def lsa_encoder(corpus: list[str], dim: int, ngrams: tuple[int, int] = (1, 3)) -> Encode:
    """Fit TF-IDF over character n-grams and a truncated SVD to the corpus.

    Source:
        Deerwester et al. 1990, Indexing by latent semantic analysis.
    """
    if not any(corpus):
        raise ValueError(NO_TEXT)
    log.info(f"lsa: fitting to {len(corpus):,} texts")
    return _fitted(corpus, dim, analyzer="char", ngram_range=ngrams, max_features=50_000, sublinear_tf=True)


def tag_encoder(corpus: list[str], dim: int) -> Encode:
    """Fit a bag of tags to the corpus, one tag a line, rare tags counting more; above dim tags with a truncated SVD."""
    return _fitted(corpus, dim, analyzer=lambda text: [tag.strip().lower() for tag in text.splitlines() if tag.strip()])


def _fitted(corpus: list[str], dim: int, **how_to_count: Any) -> Encode:
    """Fit TF-IDF to the corpus, and a truncated SVD where it has more than dim features."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import FunctionTransformer, normalize

    counter = TfidfVectorizer(min_df=2 if sum(map(bool, corpus)) >= 50 else 1, dtype=np.float32, **how_to_count)
    try:
        counted = counter.fit_transform(corpus)
    except ValueError as error:  # no feature at all, or none that two texts share
        log.warning(f"these texts tell no titles apart, and are left out: {error}")
        return lambda texts, as_query=False: np.zeros((len(texts), 1), np.float32)
    svd = TruncatedSVD(min(dim, *counted.shape), random_state=0)  # it needs two features
    reduced = svd if counted.shape[1] > 1 else FunctionTransformer(sp.csr_matrix.toarray)
    with np.errstate(invalid="ignore"):  # of a single text no variance is explained
        reduced.fit(counted)

    def encode(texts: list[str], as_query: bool = False) -> np.ndarray:
        return normalize(reduced.transform(counter.transform(texts))).astype(np.float32)

    return encode


def transformer_encoder(folder: Path, config: dict[str, Any], device: str) -> Encode:
    """Load a sentence-transformers model; texts are truncated to max_seq_length tokens, prompts included.

    Raises:
        ValueError: it cannot be loaded, or brings code of its own and trust_remote_code is false.
    """
    brings = own_code(folder)
    _check_backend(config["encoder_backend"])
    try:
        model = _loaded(folder, config, device)
    except Exception as error:  # whatever reads a model's files raises means: not to be loaded
        if is_out_of_memory(error):
            raise
        if brings and not config["trust_remote_code"]:
            raise ValueError(
                f"{config['model_name']!r} brings code of its own ({', '.join(brings)} in {folder}), which is not run; "
                "read it, and if you trust it give --trust_remote_code true"
            ) from None
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{config['model_name']!r} cannot be loaded from {folder} ({why}); {NOT_LOADED}") from error
    if brings and not config["trust_remote_code"]:
        log.warning(
            f"{config['model_name']!r} brings code of its own ({', '.join(brings)}), which is not run; transformers' "
            "class of the same kind takes its place, and may give other vectors (--trust_remote_code true runs it)"
        )
    if averages_tokens(folder):
        log.info(f"{config['model_name']}: no modules.json says how, so a text's vector is the mean of its tokens'")
    if config["encoder_backend"] == "torch":
        model = model.to(precision(model, device))
    _limit_length(model, config["max_seq_length"])
    if any(prompts := prompts_of(config, folder)):
        told = ", ".join(f"{text!r} before a {what}" for what, text in zip(PROMPTED, prompts, strict=True) if text)
        log.info(f"{config['model_name']}: {told} (--document_prompt and --query_prompt change it)")
    return batched(model, config["encode_batch_size"], prompts, config["truncate_dim"])


def _check_backend(backend: str) -> None:
    """Raise ValueError if a backend of sentence-transformers needs a package that is not installed."""
    package = {"onnx": "optimum.onnxruntime", "openvino": "optimum.intel"}.get(backend)
    try:
        is_there = not package or find_spec(package)
    except ModuleNotFoundError:  # of the package it lies in
        is_there = None
    if not is_there:
        raise ValueError(
            f"encoder_backend {backend} needs a package that is not installed; pip install "
            f"'sentence-transformers[{backend}]', or leave the setting out"
        )


def precision(model: Any, device: str) -> "torch.dtype":
    """Return the numbers a model computes with: half of the bits on a card that is fast with them, else float32.

    A model that was trained in bfloat16 may overflow float16, so it gets bfloat16 or float32.
    """
    import torch

    if not device.startswith("cuda"):
        return torch.float32  # processors are slow with halves, in which some models are published
    major = torch.cuda.get_device_capability(device)[0]
    if any(weight.dtype == torch.bfloat16 for weight in model.parameters()):
        return torch.bfloat16 if major >= 8 else torch.float32
    return torch.float16 if major >= 7 else torch.float32


def _loaded(folder: Path, config: dict[str, Any], device: str) -> Any:
    """Load a model from a folder, with no word to the hub unless its own code, or a model it adapts, is there."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()
    if is_model2vec(folder):
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding

        return SentenceTransformer(modules=[StaticEmbedding.load(str(folder))], device=device)
    trusted = config["trust_remote_code"]
    is_whole = not trusted and not any(folder.glob("**/adapter_config.json"))
    how = {"trust_remote_code": trusted, "local_files_only": is_whole, "backend": config["encoder_backend"]}
    return SentenceTransformer(str(folder), device=device, **how)


def _limit_length(model: Any, longest: int) -> None:
    """Cut texts to a number of tokens; a model that reads fewer keeps to that."""
    try:
        model.max_seq_length = min(longest, model.max_seq_length or longest)
    except AttributeError:  # static embeddings read any length, and leave it to their tokenizer
        model.tokenizer.enable_truncation(longest)


def batched(model: Any, batch_size: int, prompts: Prompts = NO_PROMPTS, dim: int = 0) -> Encode:
    """Encode with a sentence-transformers model in batches, which are halved where they are too large for memory.

    Args:
        model: any SentenceTransformer.
        batch_size: texts at a time, to begin with.
        prompts: what is put before texts.
        dim: how many numbers of each vector are kept, the first ones; 0: all.
    """

    @explains_out_of_memory("encoding", "lower --max_seq_length, or name a smaller --model_name")
    def encode(texts: list[str], as_query: bool = False) -> np.ndarray:
        nonlocal batch_size
        settings = {"prompt": prompts[as_query], "truncate_dim": dim or None, "normalize_embeddings": True}
        while True:
            try:
                rows = model.encode(texts, batch_size=batch_size, show_progress_bar=False, **settings)
                return rows.astype(np.float32)
            except (MemoryError, RuntimeError) as error:
                if batch_size == 1 or not is_out_of_memory(error):
                    raise
            log.warning(
                f"out of memory with {batch_size} texts at a time; going on with {batch_size // 2} "
                "(a lower --encode_batch_size asks for no more from the start)"
            )
            batch_size //= 2

    return encode
