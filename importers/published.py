"""Data sets of papers in their authors' split: text files of LightGCN, AlphaRec and SELFRec; RLMRec's matrices."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import scipy.sparse as sp

from dataset.splits import PARTS
from dataset.text_files import check_triples, doubt_about, end_with_times, kind_of_lines, without_header
from importers.common import CHUNK, Files, Format, Options, count
from importers.sheets import bare_name, entries, files_in, head, open_any, sibling_sheet
from runtime.safe_files import load_arrays

TEXTS = {f"{part}.txt": part for part in PARTS[:3]}
MATRICES = {"trn_mat": "train", "val_mat": "valid", "tst_mat": "test"}
LINES = 5_000  # a chunk


# --- lines of a user and their items, or of user, item and weight ---


def find_texts(source: Path) -> Files | None:
    """Find train.txt, test.txt and perhaps valid.txt in one folder; their ids end in numbers, parted by spaces."""
    files = [path for path in files_in(source) if bare_name(path) in TEXTS and _has_ids(path)]
    found = _of_one_folder({path: TEXTS[bare_name(path)] for path in files}, {"train", "test"})
    return Files(found) if found else None


def read_texts(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read one of the files; the lines of train.txt beside it say how they all are written."""
    kind = _kind(path, options)
    lines, part = _lines(path), TEXTS[bare_name(path)]
    if kind == "triples":
        check_triples(path, lines)
    with_times = kind == "triples" and end_with_times([words for _, words in lines])
    for start in range(0, len(lines), LINES):
        some = [words for _, words in lines[start : start + LINES]]
        table = pd.DataFrame({"user": [words[0] for words in some], "item": [words[1:] for words in some]})
        if kind == "triples":
            weights = table["item"].str[1].astype(float)
            count(counts, "of weight 0", (weights == 0).sum())
            table, weights = table[weights != 0], weights[weights != 0]
            rates = weights if not with_times or table["item"].str.len().eq(3).all() else 1.0
            yield entries(
                user_id=table["user"],
                subject_id=table["item"].str[0],
                rate=rates,
                updated_at=table["item"].str[-1] if with_times else "",
                part=part,
            )
        else:
            table = table.explode("item").dropna()
            yield entries(user_id=table["user"], subject_id=table["item"], rate=1.0, part=part)


def tell_texts(path: Path, options: Options) -> list[str]:
    """Say how lines are read, where they may be of another kind."""
    kind = _kind(path, options) if bare_name(path) == "train.txt" and options.text_lines == "auto" else "items"
    if kind == "triples" and end_with_times([words for _, words in _lines(path)]):
        return [f"{path}: lines of user, item{', weight' * (len(_lines(path)[0][1]) == 4)} and time"]
    if kind == "triples":
        return [
            f"{path}: lines of user, item and weight, since users have several; if they are a user and two items, "
            "add --text_lines items"
        ]
    return [doubt_about(path)] if kind == "either" else []


def _kind(path: Path, options: Options) -> str:
    """Tell what the lines of a file and of those beside it are: train.txt decides."""
    if options.text_lines != "auto":
        return options.text_lines
    train = sibling_sheet(path, "train.txt") or path
    lines = [words for _, words in _lines(train)]
    # tabs part the columns of a table
    is_table = "\t" in head(train).lstrip().partition("\n")[0] and {len(words) for words in lines} == {3}
    return "triples" if is_table else kind_of_lines(lines)


def _has_ids(path: Path) -> bool:
    lines = [(number, words) for number, line in enumerate(head(path).splitlines()[:2]) if (words := line.split())]
    first = " ".join(next((words for _, words in without_header(lines)), []))
    return re.fullmatch(r"[a-z]{0,6}[-_]?\d+( [a-z]{0,6}[-_]?\d+(\.\d+)?)*", first, re.IGNORECASE) is not None


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines of a file as their numbers and words, without empty ones."""
    with open_any(path) as file:
        return without_header([(number, words) for number, text in enumerate(file, 1) if (words := text.split())])


# --- matrices of users by items ---


def find_matrices(source: Path) -> Files | None:
    """Find trn_mat, tst_mat and perhaps val_mat in one folder, as .npz, or as .pkl that read_matrix refuses."""
    files = {path.stem: path for path in _matrix_files(source, ".pkl")}
    files |= {path.stem: path for path in _matrix_files(source, ".npz")}
    found = _of_one_folder({path: MATRICES[name] for name, path in files.items()}, {"train", "test"})
    return Files(found) if found else None


def _matrix_files(source: Path, ending: str) -> list[Path]:
    files = files_in(source) if source.is_dir() else []
    return [path for path in files if path.stem in MATRICES and path.suffix == ending]


def read_matrix(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read a matrix of scipy.sparse.save_npz; the ids of users and titles are its rows and columns, from 0."""
    if path.suffix == ".pkl":
        raise ValueError(
            f"{path} is a pickle, and to read one is to run what is in it; if you trust it, write it again in Python "
            f"with scipy.sparse.save_npz('{path.stem}.npz', pickle.load(open('{path.name}', 'rb'))), also those beside "
            "it, and convert again"
        )
    matrix = _matrix(path)
    count(counts, "zeros of a matrix", (matrix.data == 0).sum())
    rows, columns, data = (cells[matrix.data != 0] for cells in (matrix.row, matrix.col, matrix.data))
    for start in range(0, len(data), CHUNK):
        some = slice(start, start + CHUNK)
        yield entries(
            user_id=rows[some].astype(str).astype(object),
            subject_id=columns[some].astype(str).astype(object),
            rate=data[some].astype(float),
            part=MATRICES[path.stem],
        )


def _matrix(path: Path) -> sp.coo_matrix:
    try:
        held = load_arrays(path)
        kind, shape = bytes(held["format"].item()).decode(), tuple(held["shape"].tolist())
        if kind == "coo":
            return sp.coo_matrix((held["data"], (held["row"], held["col"])), shape)
        packed = {"csr": sp.csr_matrix, "csc": sp.csc_matrix}[kind](
            (held["data"], held["indices"], held["indptr"]), shape
        )
        packed.check_format(full_check=True)  # what scipy follows in a crafted file would lead outside its memory
        return packed.tocoo()
    except Exception as error:  # a damaged or crafted file can raise nearly anything
        raise ValueError(
            f"{path}: no sparse matrix (coo, csr or csc) that can be read ({type(error).__name__}: {str(error)[:80]}); "
            "write it again with scipy.sparse.save_npz"
        ) from None


def _of_one_folder(parts: dict[Path, str], needed: set[str]) -> tuple[Path, ...]:
    """Return the files, path -> part, of the first folder that has the needed parts; nothing if none has."""
    for folder in sorted({path.parent for path in parts}):
        here = {path: part for path, part in parts.items() if path.parent == folder}
        if needed <= set(here.values()):
            return tuple(sorted(here, key=lambda path: PARTS.index(here[path])))
    return ()


FORMATS = (
    Format(
        "lightgcn",
        "train.txt, test.txt, valid.txt of LightGCN, AlphaRec or SELFRec",
        find_texts,
        read_texts,
        None,
        tell=tell_texts,
        takes="weights of SELFRec as rates (0 is unrated); times that lines end with; no comments",
    ),
    Format(
        "rlmrec",
        "trn_mat.npz, val_mat.npz, tst_mat.npz of RLMRec",
        find_matrices,
        read_matrix,
        None,
        takes="numbers of the matrices as rates; no times; no comments",
    ),
)
