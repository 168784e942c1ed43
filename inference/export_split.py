"""The split of a run, for others and for AGLRec itself: RecBole's files, and a data folder with a column part."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd

from data_loader import Dataset
from dataset.given import COLUMN
from dataset.readers import ANIME_COLUMNS, INTERACTION_COLUMNS, KNOWN_COLUMNS, read_interactions, read_known
from dataset.splits import PARTS
from dataset.tables import find_file, open_text
from dataset.text_files import is_text_folder
from inference.finished_run import FinishedRun
from runtime.files import atomic_write

ROWS, TITLES, KNOWN, USERS = "interactions.tsv", "anime.tsv", "known.tsv", "user.tsv"
RELATIONS = "relations.tsv"


def name_of_data(run: FinishedRun) -> str:
    """Return the name of the run's data folder, without what a name of RecBole cannot hold."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(run.config["data_dir"]).resolve().name).strip("-") or "data"


def write_split(run: FinishedRun, folder: Path) -> int:
    """Write the split of a run into a folder, twice: as RecBole's files, named like it, and as a data folder of ours.

    Args:
        run: as from load_finished.
        folder: made if need be; what it has of these files is replaced.

    Returns:
        How many users have no pair at all, as the text format allows: they are in neither.

    Raises:
        ValueError: the folder is that of the run's data.
    """
    dataset, source = run.dataset, Path(run.config["data_dir"])
    if folder.resolve() == source.resolve():
        raise ValueError(f"the split would be written over the data in {source}; name another folder for --export")
    titles = pd.Series(dataset.raw_item_ids)
    is_text = is_text_folder(source)
    rows = _bare_rows(dataset) if is_text else read_interactions(source, titles, with_texts=True)[0]
    _write_recbole(dataset, rows, folder / folder.name)
    for name in (ROWS, TITLES, KNOWN, USERS, RELATIONS):
        (folder / name).unlink(missing_ok=True)
        (folder / f"{name}.gz").unlink(missing_ok=True)
    for name in (TITLES, USERS, RELATIONS):
        _copy(source, folder, name)
    if not find_file(source, TITLES):
        nameless = pd.DataFrame({"subject_id": titles}).reindex(columns=list(ANIME_COLUMNS), fill_value="")
        _write_table(folder / TITLES, nameless)
    known = rows[:0] if is_text else read_known(source, rows, titles, with_texts=True)[0]
    for name, table, columns in ((KNOWN, known, KNOWN_COLUMNS), (ROWS, rows, INTERACTION_COLUMNS)):
        if len(table):
            _write_table(folder / name, table.assign(**{COLUMN: _parts_of(dataset, table)})[[*columns, COLUMN]])
    return int((np.diff(dataset.seen.indptr) == 0).sum())


def _write_recbole(dataset: Dataset, rows: pd.DataFrame, stem: Path) -> None:
    """Write RecBole's atomic files: stem.PART.inter of every part that has pairs, and stem.item."""
    known = _rates_and_times(dataset, rows)
    users, items = (np.array(ids, dtype=object) for ids in (dataset.raw_user_ids, dataset.raw_item_ids))
    for part in PARTS:
        pairs = getattr(dataset, part).tocoo()
        if pairs.nnz or part in PARTS[:3]:
            table = known.reindex(pairs.row.astype(np.int64) * dataset.n_items + pairs.col)
            table.insert(0, "user_id:token", users[pairs.row])
            table.insert(1, "item_id:token", items[pairs.col])
            _write_table(stem.with_name(f"{stem.name}.{part}.inter"), table)
    names = [" ".join(name.split()) for name in dataset.item_names]
    tags = [" ".join("_".join(tag.split()) for tag in of_one.splitlines()) for of_one in dataset.item_tags]
    table = pd.DataFrame({"item_id:token": items, "name:token_seq": names, "tags:token_seq": tags})
    _write_table(stem.with_name(f"{stem.name}.item"), table)


def _rates_and_times(dataset: Dataset, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rates and times of pairs, as far as the data have any, by user row * n_items + item row."""
    users, items = _places(dataset, rows)
    columns = {"rating:float": rows["rate"].to_numpy(), "timestamp:float": rows["time"].to_numpy()}
    found = pd.DataFrame(columns, index=users * dataset.n_items + items)
    return found[[column for column in found if found[column].fillna(0).any()]].apply(_digits)


def _digits(numbers: pd.Series) -> pd.Series:
    """Write numbers with as many digits as it takes to read the same again, "" for NaN."""
    which, kinds = pd.factorize(numbers)
    texts = [np.format_float_positional(number, trim="-") for number in kinds]
    return pd.Series(np.array([*texts, ""], dtype=object)[which], index=numbers.index)


def _bare_rows(dataset: Dataset) -> pd.DataFrame:
    """Return the rows of a run on text files, in the order of its users."""
    users, items = dataset.seen.nonzero()
    rows = {
        "user_id": np.array(dataset.raw_user_ids, object)[users],
        "subject_id": np.array(dataset.raw_item_ids, object)[items],
    }
    return pd.DataFrame(rows | {"rate": 0.0, "comment": "", "updated_at": "", "time": np.nan})


def _parts_of(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Return the name of the part (n,) that each row is in, "" in none."""
    names = ("", *PARTS, "aside")
    held = (*(getattr(dataset, part) for part in PARTS), dataset.excluded)
    codes = sum(code * matrix for code, matrix in enumerate(held, 1)).tocsr()
    return np.array(names, object)[np.asarray(codes[_places(dataset, rows)]).ravel().astype(int)]


def _places(dataset: Dataset, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers (n,) of the users and of the titles of some rows."""
    users = pd.Index(dataset.raw_user_ids).get_indexer(rows["user_id"]).astype(np.int64)
    return users, pd.Index(dataset.raw_item_ids).get_indexer(rows["subject_id"]).astype(np.int64)


def _copy(source: Path, folder: Path, name: str) -> None:
    """Copy a file of the data, unpacked and in UTF-8, if it is there."""
    if path := find_file(source, name):
        with open_text(path) as content, atomic_write(folder / name) as file:
            while block := content.read(2**20):
                file.write(block.encode())


def _write_table(path: Path, table: pd.DataFrame) -> None:
    # csv quotes of the two kinds of line end only the one that it writes
    returns = any(table[column].str.contains("\r").any() for column in table.select_dtypes(exclude="number"))
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    with atomic_write(path) as file:
        table.to_csv(file, sep="\t", index=False, lineterminator="\n", quoting=quoting)
