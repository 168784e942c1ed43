"""Tables on disk, a chunk at a time: tab-separated text in which a row is a line."""

import csv
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from importers.common import CHUNK
from runtime.files import LOCK, lock_folder


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Hold the folder in which files wait, emptied of what a killed conversion left, and remove it afterwards.

    Raises:
        OSError: another process holds it.
    """
    with lock_folder(folder, remedy="name another --out"):
        try:
            for left in folder.iterdir():
                if left.name != LOCK:
                    left.unlink()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def one_line(text: str) -> str:
    """Return text on one line, without what UTF-8 cannot hold: a row is a line then, for head, grep and wc."""
    return " ".join(text.replace("\0", "").encode("utf-8", "ignore").decode().split())


def cleaned(cells: pd.Series, clean: Callable[[str], str] = one_line) -> np.ndarray:
    """Clean every cell (n,), put on one line if nothing else is said; each text is looked at once."""
    which, kinds = pd.factorize(cells.to_numpy(object))
    return np.array([clean(kind) for kind in kinds], dtype=object)[which]


@contextmanager
def create(path: Path, columns: tuple[str, ...]) -> Iterator[TextIO]:
    """Open a new file with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(columns) + "\n")
        yield file


def write(file: TextIO, table: pd.DataFrame) -> None:
    """Append the rows of a table of one-line texts."""
    # every cell is text, so that the checks of to_csv would only take time
    csv.writer(file, delimiter="\t", lineterminator="\n").writerows(
        zip(*(table[column].tolist() for column in table), strict=True)
    )


def read(path: Path) -> Iterator[pd.DataFrame]:
    """Yield a file as text, CHUNK rows at a time."""
    return pd.read_csv(path, sep="\t", dtype=object, keep_default_na=False, na_filter=False, chunksize=CHUNK)


def sieve(path: Path, columns: tuple[str, ...], chosen: Callable[[pd.DataFrame], np.ndarray]) -> None:
    """Leave out of a file all rows but the chosen ones, and all columns but those named."""
    before = path.with_name(f"{path.name}.all")
    path.replace(before)
    with create(path, columns) as out:
        for table in read(before):
            write(out, table.loc[chosen(table), list(columns)])
    before.unlink()


def batches(chunks: Iterable[pd.DataFrame], columns: tuple[str, ...]) -> Iterator[pd.DataFrame]:
    """Join small chunks, as of a page each, to some of CHUNK rows or more; a column that one lacks is empty in it."""
    waiting, n_rows = [], 0
    for chunk in chunks:
        waiting.append(chunk.reindex(columns=list(columns), fill_value=""))
        n_rows += len(chunk)
        if n_rows >= CHUNK:
            yield pd.concat(waiting, ignore_index=True)
            waiting, n_rows = [], 0
    if n_rows:
        yield pd.concat(waiting, ignore_index=True)
