"""Files that anyone may have made: nothing in them is run, and none takes much more memory than its size is worth."""

import errno
import io
import json
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# what a packed file may always unpack to, and how often its size beyond that: text packs 3 to 30 times, zeros 1,000
UNPACKED_MB, RATIO = 256, 200
# all that a dict of lists of texts is written with: nothing that names a class, calls, or asks for room it does not use
OPCODES = frozenset(
    {
        "PROTO",
        "FRAME",
        "MARK",
        "STOP",
        "MEMOIZE",
        "BINGET",
        "LONG_BINGET",
        "EMPTY_DICT",
        "EMPTY_LIST",
        "SETITEM",
        "SETITEMS",
        "APPEND",
        "APPENDS",
        "SHORT_BINUNICODE",
        "BINUNICODE",
    }
)


class Refused(ValueError):
    """The sentence about a file, which readers of what is in it leave as it is."""


@contextmanager
def in_sentences(path: Path, kind: str) -> Iterator[None]:
    """Make one sentence of whatever a damaged or crafted file of a kind raises, which can be nearly anything."""
    try:
        yield
    except Exception as error:
        # a place before the start of a file (EINVAL) is what a damaged directory of a zip leads to
        is_of_the_disk = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        if isinstance(error, Refused | MemoryError) or is_of_the_disk:
            raise
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise Refused(f"{path}: not a whole {kind} ({said}); compress or download it again") from None


def max_unpacked_bytes(size: int) -> int:
    """Return how many bytes a packed file of some bytes may unpack to."""
    return max(UNPACKED_MB * 2**20, RATIO * size)


def check_zip(path: Path) -> None:
    """Refuse a zip that would unpack to more than max_unpacked_bytes; zipfile reads no more than a file declares.

    Raises:
        zipfile.BadZipFile: it is no zip.
        ValueError: it is a bomb.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > max_unpacked_bytes(path.stat().st_size):
            raise Refused(too_large(path))


def check_torch(path: Path) -> None:
    """Refuse what torch.save never writes: no zip, packed records, records that share their bytes, or damaged ones.

    Raises:
        zipfile.BadZipFile, ValueError: it is one of these.
    """
    with zipfile.ZipFile(path) as archive:
        files = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in files):
        raise ValueError("it holds packed records")
    if sum(info.file_size for info in files) > path.stat().st_size:
        raise ValueError("its records are larger than the file")
    with zipfile.ZipFile(path) as archive:  # torch itself does not look at the sums of what it reads
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it is damaged")


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz of plain numbers and texts, such as splits.npz.

    Raises:
        Exception: nearly any, where it is damaged, holds objects, or is a bomb.
    """
    check_zip(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_user_dict(path: Path) -> dict[str, list[str]]:
    """Read train_user_dict.pkl, user id -> ids of their train titles; nothing but such a dict is read.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, or holds anything else, which is not looked into.
    """
    content = path.read_bytes()
    try:
        strange = next((code.name for code, _, _ in pickletools.genops(content) if code.name not in OPCODES), None)
        found = None if strange else _Builtins(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path} cannot be read ({str(error)[:120]}); write it again with python main.py") from None
    if not isinstance(found, dict) or not all(
        isinstance(user, str) and isinstance(titles, list) and all(isinstance(title, str) for title in titles)
        for user, titles in found.items()
    ):
        raise ValueError(
            f"{path} is no dict of lists of ids{f' (it has {strange})' if strange else ''}; nothing in it "
            "was run; write it again with python main.py"
        )
    return found


class _Builtins(pickle.Unpickler):
    """Knows no class and no function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of any depth.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def too_large(path: Path) -> str:
    """Return what is said of a bomb."""
    return (
        f"{path} unpacks to more than {UNPACKED_MB} MB and {RATIO} times its size, as no table or text does; "
        "unpack it yourself if you trust it"
    )
