"""Text encoders: any sentence-transformers model, or lsa and a bag of tags, which need no download."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from runtime.memory import explains_out_of_memory, is_out_of_memory

log = logging.getLogger("aglrec")

Encode = Callable[[list[str]], np.ndarray]
PROBE_SECONDS = 15
NO_TEXT = (
    "no title has a name, tags or a summary, so there is no text to encode; set --fusion_mode none, or add some "
    "to anime.tsv (train.txt and test.txt hold ids alone)"
)


def open_encoder(config: dict[str, Any], device: str, corpus: list[str]) -> tuple[str, Encode]:
    """Open the encoder the config names, or its fallback where that cannot be had.

    Args:
        config: uses model_name, model_revision, encoder_fallback, max_seq_length, encode_batch_size and lsa_dim.
        device: where a transformer runs.
        corpus: the texts "lsa" is fitted to.

    Returns:
        The name of the encoder used, and a function from n texts to (n, L) float32 rows of length 1.

    Raises:
        OSError: not on disk nor reachable, known within 20 seconds, and encoder_fallback is "none".
        ValueError: the hub is reachable and has no such model.
    """
    name = config["model_name"]
    if name != "lsa":
        try:
            return name, transformer_encoder(find_model(name, config["model_revision"]), config, device)
        except OSError as error:
            if config["encoder_fallback"] == "none":
                raise
            log.warning(
                f"!!! {error}\n!!! USING 'lsa' INSTEAD OF {name!r}: these are other vectors, and other results.\n"
                "!!! For an error in place of this, set --encoder_fallback none"
            )
    return "lsa", lsa_encoder(corpus, config["lsa_dim"])


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
        return lambda texts: np.zeros((len(texts), 1), np.float32)
    svd = TruncatedSVD(min(dim, *counted.shape), random_state=0)  # it needs two features
    reduced = svd if counted.shape[1] > 1 else FunctionTransformer(sp.csr_matrix.toarray)
    with np.errstate(invalid="ignore"):  # of a single text no variance is explained
        reduced.fit(counted)
    return lambda texts: normalize(reduced.transform(counter.transform(texts))).astype(np.float32)


def transformer_encoder(name: str, config: dict[str, Any], device: str) -> Encode:
    """Load a sentence-transformers model (fp16 on a GPU); texts are truncated to max_seq_length tokens."""
    from sentence_transformers import SentenceTransformer

    # a snapshot on disk is a folder, for which the revision says nothing
    model = SentenceTransformer(name, device=device, revision=config["model_revision"] or None)
    if device.startswith("cuda"):
        model = model.half()
    model.max_seq_length = min(config["max_seq_length"], model.max_seq_length or config["max_seq_length"])
    return batched(model, config["encode_batch_size"])


def batched(model: Any, batch_size: int) -> Encode:
    """Encode with a sentence-transformers model in batches, which are halved where they are too large for memory."""

    @explains_out_of_memory("encoding", "lower --max_seq_length, or name a smaller --model_name")
    def encode(texts: list[str]) -> np.ndarray:
        nonlocal batch_size
        while True:
            try:
                settings = {"batch_size": batch_size, "normalize_embeddings": True, "show_progress_bar": False}
                return model.encode(texts, **settings).astype(np.float32)
            except (MemoryError, RuntimeError) as error:
                if batch_size == 1 or not is_out_of_memory(error):
                    raise
            log.warning(
                f"out of memory with {batch_size} texts at a time; going on with {batch_size // 2} "
                "(a lower --encode_batch_size asks for no more from the start)"
            )
            batch_size //= 2

    return encode


def find_model(name: str, revision: str = "") -> str:
    """Return what to load: a folder, a snapshot on disk, or the name of a model that the hub just confirmed."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if (path := Path(name).expanduser()).is_dir():
        return str(path)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"model_name {name!r} is neither a folder with a model nor a hub name ({error})") from None
    if snapshot := snapshot_on_disk(name, revision):
        return str(snapshot)
    size = _ask_hub(name, revision)
    log.info(f"{name}: downloading about {size / 1e9:.1f} GB, once; it is kept in the hub's cache folder")
    return name


def snapshot_on_disk(name: str, revision: str) -> Path | None:
    """Return the folder, named for the commit, that the hub's cache has of a model; None if there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (HFValidationError, OSError):
        return None


def _ask_hub(name: str, revision: str) -> int:
    """Return the model's size in bytes; the answer, or its absence, is known after PROBE_SECONDS."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    answer: list[Any] = [TimeoutError("no answer")]

    def ask() -> None:
        try:
            of = revision or None
            answer[0] = HfApi().model_info(name, revision=of, timeout=PROBE_SECONDS / 2, files_metadata=True)
        except Exception as error:  # whatever the client's network stack raises means: not reachable
            answer[0] = error

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if isinstance(answer[0], RepositoryNotFoundError):
        raise ValueError(f"the model hub has no model {name!r} (or it is private); check model_name")
    if isinstance(answer[0], RevisionNotFoundError):
        raise ValueError(f"the model {name!r} has no revision {revision!r}; check model_revision")
    if isinstance(answer[0], Exception):
        raise OSError(
            f"encoder {name!r} is not on disk, and the model hub is not reachable ({answer[0]}); connect, "
            "name a folder, or set --model_name lsa"
        )
    files = answer[0].siblings or []
    return sum(file.size or 0 for file in files if not file.rfilename.startswith(("onnx/", "openvino/")))
