"""Where an encoder's files are: a folder, a snapshot in the hub's cache, or the hub, which sends what is missing."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

from text.model_files import Fault, faults, wanted

log = logging.getLogger("aglrec")

PROBE_SECONDS = 15
OTHERWISE = "name a folder, or set --model_name lsa"


def find_model(name: str, revision: str = "") -> str:
    """Return what to load: a folder, a snapshot on disk, or the name of a model that the hub just confirmed.

    Raises:
        OSError: neither whole on disk nor reachable.
        ValueError: the hub has no such model, or the folder holds none that can be loaded.
    """
    if folder := _on_disk(name, revision):
        return str(folder)
    _ask_hub(name, revision)
    return name


def fetched_model(name: str, revision: str = "") -> Path:
    """Return the folder of a model, after a download of what it lacks; raises what find_model does."""
    return _on_disk(name, revision) or _download(name, revision)


def snapshot_on_disk(name: str, revision: str) -> Path | None:
    """Return the folder, named for the commit, that a cache of the hub has of a model; None if there is none.

    It may lack files, which a download that was cut leaves out; where there are two caches, a whole one comes first.
    """
    found = [snapshot for cache in _caches() if (snapshot := _snapshot(name, revision, cache))]
    return min(found, key=lambda snapshot: len(found) > 1 and bool(_faults(name, snapshot)), default=None)


def _on_disk(name: str, revision: str) -> Path | None:
    """Return the folder of a model that is whole on disk, None if the hub has to be asked for it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if (path := Path(name).expanduser()).is_dir():
        if wrong := faults(path):
            raise ValueError(f"{path / wrong[0].file} {wrong[0].what}; {wrong[0].remedy}")
        return path
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"model_name {name!r} is neither a folder with a model nor a hub name ({error})") from None
    snapshot = snapshot_on_disk(name, revision)
    return snapshot if snapshot and not _faults(name, snapshot) else None


def _caches() -> list[str | None]:
    """Return the folders in which models of the hub are looked for, None being that of the hub's own library.

    HF_HUB_CACHE and HF_HOME name that one. Models are downloaded to the first, as sentence-transformers does.
    """
    home = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    return [home, None] if home else [None]


def _snapshot(name: str, revision: str, cache: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, IncompleteSnapshotError

    try:
        return Path(snapshot_download(name, revision=revision or None, cache_dir=cache, local_files_only=True))
    except IncompleteSnapshotError as error:  # it lacks a file, be it one that is never loaded
        return Path(error.snapshot_path)
    except (HFValidationError, OSError):
        return None


def _faults(name: str, snapshot: Path) -> list[Fault]:
    """Say what a snapshot lacks, of what its cache lists (not every download writes that) or has to be there."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(name, revision=snapshot.name, cache_dir=snapshot.parents[2])
    except (CachedRepoTreeNotFoundError, OSError, ValueError):
        tree = []
    return faults(snapshot, [file.path for file in tree])


def _download(name: str, revision: str) -> Path:
    """Download what is missing of a model."""
    from huggingface_hub.errors import GatedRepoError

    sizes = {file.rfilename: file.size or 0 for file in _ask_hub(name, revision).siblings or []}
    load, begun = wanted(sizes), snapshot_on_disk(name, revision)
    size = sum(sizes[file] for file in load if not (begun and (begun / file).is_file())) / 1e9
    log.info(
        f"{name}: going on with its download, about {size:.1f} GB"
        if begun
        else f"{name}: downloading about {size:.1f} GB, once; it is kept in the hub's cache folder"
    )
    try:
        folder = _snapshot_with(name, revision, load)
        if wrong := [fault.file for fault in faults(folder) if fault.file in sizes]:  # what is damaged, or never listed
            _snapshot_with(name, folder.name, wrong, force_download=True)
    except GatedRepoError:
        raise ValueError(
            f"the model {name!r} is given out to those who accept its terms; do so on its page of the hub, and log in "
            "with hf auth login"
        ) from None
    except Exception as error:  # whatever the client's network stack raises means: it did not come whole
        raise OSError(
            f"the download of {name!r} broke off ({_sentence(error)}); the files that came whole are kept, and the "
            f"same command downloads the others; or {OTHERWISE}"
        ) from None
    if wrong := faults(folder):
        raise ValueError(f"{name!r} is no model that can be loaded: its {wrong[0].file} {wrong[0].what}; name another")
    return folder


def _snapshot_with(name: str, revision: str, files: list[str], **how: Any) -> Path:
    """Download files of one commit, each unless it is there, and return the folder of that commit.

    One after the other, and not by snapshot_download, whose threads Ctrl-C would wait for.
    """
    from huggingface_hub import hf_hub_download

    if not files:
        raise FileNotFoundError("it has no files that sentence-transformers loads")
    folder = None
    for file in files:
        commit = folder.name if folder else revision or None
        path = Path(hf_hub_download(name, file, revision=commit, cache_dir=_caches()[0], **how))
        folder = path.parents[file.count("/")]
    return folder


def _ask_hub(name: str, revision: str) -> Any:
    """Return what the hub says of a model; the answer, or its absence, is known after PROBE_SECONDS."""
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
        unreachable = f"the model hub is not reachable ({_sentence(answer[0])})"
        if begun := snapshot_on_disk(name, revision):
            wrong = _faults(name, begun)[0]
            raise OSError(
                f"encoder {name!r} is not whole on disk ({begun / wrong.file} {wrong.what}), and {unreachable}; "
                f"connect and give the same command, which downloads what is missing; or {OTHERWISE}"
            )
        raise OSError(f"encoder {name!r} is not on disk, and {unreachable}; connect, {OTHERWISE}")
    return answer[0]


def _sentence(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
