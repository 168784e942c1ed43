"""A run's vectors for a vector index, and its split for RecBole."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.readers import find_file, read_interactions
from dataset.splits import PARTS
from inference.finished_run import FinishedRun
from runtime.files import atomic_write, write_array

log = logging.getLogger("aglrec")

README = """# Vectors and split of an AGLRec run

## For a vector index

`user_vectors.npy` ({n_users:,} x {width}) and `item_vectors.npy` ({n_items:,} x {width}) are float32; line i of
`user_ids.txt` and `item_ids.txt` is the id of row i. A score is the dot product of a user's and a title's row, so the
index must be one of inner products (faiss `IndexFlatIP`, hnswlib `space="ip"`): lengths count, and neither cosine nor
Euclidean distance gives these lists. What a user has collected is still among the results; ask for more than you need
and leave it out.

    import faiss, numpy
    items = numpy.load("item_vectors.npy")
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    scores, rows = index.search(numpy.load("user_vectors.npy")[:10], 20)

## For RecBole

`{name}/` holds the split of the run. With these settings RecBole ranks every title, those without a row in any part as
well, and masks train and valid: its figures stand beside `test` of metrics.json.

    from recbole.quick_start import run_recbole
    run_recbole(model="LightGCN", dataset="{name}", config_dict={{
        "data_path": ".", "benchmark_filename": ["train", "valid", "test"],
        "load_col": {{"inter": ["user_id", "item_id"], "item": ["item_id"]}},
        "eval_args": {{"mode": "full", "order": "RO", "group_by": "user"}}}})

`{name}.cold_valid.inter` and `{name}.cold_test.inter`, if there are any, are the pairs of titles held out whole.
"""


def export(run: FinishedRun, folder: Path) -> None:
    """Write the vectors, their ids and the split to a folder; see README.

    Args:
        run: as from load_finished.
        folder: made if need be; the split goes to a folder in it that is named after that of the data.

    Raises:
        ValueError: an id cannot be written to a line.
    """
    dataset, sizes = run.dataset, {"n_users": run.dataset.n_users, "n_items": run.dataset.n_items}
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(run.config["data_dir"]).resolve().name).strip("-") or "data"
    sides = ("user", run.user_emb, dataset.raw_user_ids), ("item", run.item_emb, dataset.raw_item_ids)
    for side, vectors, ids in sides:
        _write_ids(folder / f"{side}_ids.txt", ids)
        with atomic_write(folder / f"{side}_vectors.npy") as file:
            write_array(file, vectors.numpy().astype(np.float32))
    _write_split(run, folder / name / name)
    with atomic_write(folder / "README.md") as file:
        file.write(README.format(name=name, width=run.item_emb.shape[1], **sizes).encode())
    log.info(
        f"{folder}: {dataset.n_users:,} users' and {dataset.n_items:,} titles' vectors, and the split as "
        f"{name}/{name}.*.inter; README.md there says how to use them"
    )


def _write_ids(path: Path, ids: list[str]) -> None:
    for raw in ids:
        if any(character in raw for character in "\t\r\n"):
            raise ValueError(
                f"the id {raw!r} holds a tab or a line break, so it cannot stand on a line of {path}; "
                "change it in the data and train again"
            )
    with atomic_write(path) as file:
        file.write("".join(f"{raw}\n" for raw in ids).encode())


def _write_split(run: FinishedRun, stem: Path) -> None:
    """Write RecBole's atomic files: stem.PART.inter of every part that has pairs, and stem.item."""
    dataset, known = run.dataset, _rates_and_times(run)
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


def _rates_and_times(run: FinishedRun) -> pd.DataFrame:
    """Read the rates and times of pairs, as far as the data have any, by user row * n_items + item row."""
    dataset, folder = run.dataset, Path(run.config["data_dir"])
    if not find_file(folder, "interactions.tsv"):
        return pd.DataFrame()
    rows, _ = read_interactions(folder, pd.Series(dataset.raw_item_ids))
    users = pd.Index(dataset.raw_user_ids).get_indexer(rows["user_id"]).astype(np.int64)
    pairs = users * dataset.n_items + pd.Index(dataset.raw_item_ids).get_indexer(rows["subject_id"])
    columns = {"rating:float": rows["rate"].to_numpy(), "timestamp:float": rows["time"].to_numpy()}
    found = pd.DataFrame(columns, index=pairs)
    return found[[column for column in found if found[column].fillna(0).any()]]


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with atomic_write(path) as file:
        table.to_csv(file, sep="\t", index=False, lineterminator="\n", float_format="%.12g")
