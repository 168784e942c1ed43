"""A run's vectors for a vector index, and its split for RecBole and for further runs."""

import logging
from pathlib import Path

import numpy as np

from inference.export_split import name_of_data, write_split
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

## For AGLRec

`{name}/` is a data folder as well, whose interactions.tsv has the split of the run in its column part: with
`--data_dir {name}` the same rows are learned from, and the same rows tested, at any min_rate and split_seed. (If the
split has no valid part, give `--valid_ratio 0`, or one is drawn from train.)
"""


def export(run: FinishedRun, folder: Path) -> None:
    """Write the vectors, their ids and the split to a folder; see README.

    Args:
        run: as from load_finished.
        folder: made if need be; the split goes to a folder in it that is named after that of the data.

    Raises:
        ValueError: an id cannot be written to a line, or that folder is the one of the data itself.
    """
    dataset, sizes = run.dataset, {"n_users": run.dataset.n_users, "n_items": run.dataset.n_items}
    name = name_of_data(run)
    sides = ("user", run.user_emb, dataset.raw_user_ids), ("item", run.item_emb, dataset.raw_item_ids)
    for side, vectors, ids in sides:
        _write_ids(folder / f"{side}_ids.txt", ids)
        with atomic_write(folder / f"{side}_vectors.npy") as file:
            write_array(file, vectors.numpy().astype(np.float32))
    n_empty = write_split(run, folder / name)
    with atomic_write(folder / "README.md") as file:
        file.write(README.format(name=name, width=run.item_emb.shape[1], **sizes).encode())
    log.info(
        f"{folder}: {dataset.n_users:,} users' and {dataset.n_items:,} titles' vectors, and the split as "
        f"{name}/{name}.*.inter and, with a column part, {name}/interactions.tsv; README.md there says how to use them"
    )
    if n_empty:
        log.warning(f"{n_empty:,} users have no pair in any part: they are not in the split that was written")


def _write_ids(path: Path, ids: list[str]) -> None:
    for raw in ids:
        if any(character in raw for character in "\t\r\n"):
            raise ValueError(
                f"the id {raw!r} holds a tab or a line break, so it cannot stand on a line of {path}; "
                "change it in the data and train again"
            )
    with atomic_write(path) as file:
        file.write("".join(f"{raw}\n" for raw in ids).encode())
