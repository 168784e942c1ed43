"""Lists of titles with ids, names and scores, and the files they are written to."""

import csv
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np
import torch

from data_loader import Dataset
from evaluation.shared_ranking import rank_together
from runtime.files import atomic_write

Lists = Iterable[tuple[str, list[dict[str, Any]]]]  # whose, and the titles, best first
COLUMNS = ("user_id", "rank", "subject_id", "name", "score")
ROWS = 50_000  # of a table of titles, to be written at once
# what a spreadsheet would run as a formula; a plain number such as -7 is none
FORMULA = re.compile(r"(?![+-]?\d+(\.\d+)?(e[+-]?\d+)?$)[=+\-@\t\r＝＋－＠]", re.IGNORECASE)

log = logging.getLogger("aglrec")


def recommend(
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    dataset: Dataset,
    k: int,
    config: dict[str, Any],
    user_ids: np.ndarray | None = None,
    candidates: np.ndarray | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """List the best k titles each user has not collected: {raw user id: [{subject_id, name, score}, ...]}.

    With candidates, item rows, only these are listed, and no more than there are.
    """
    return dict(each_list(user_emb, item_emb, dataset, k, config, user_ids, candidates))


def each_list(
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    dataset: Dataset,
    k: int,
    config: dict[str, Any],
    user_ids: np.ndarray | None = None,
    candidates: np.ndarray | None = None,
) -> Lists:
    """Yield what recommend returns a user at a time, in memory that does not grow with their number."""
    users, seen = np.arange(dataset.n_users) if user_ids is None else user_ids, dataset.seen
    if candidates is not None:
        if not len(candidates):
            yield from ((dataset.raw_user_ids[user], []) for user in users)
            return
        item_emb = item_emb[torch.from_numpy(candidates).to(item_emb.device)]
        seen, k = seen[:, candidates], min(k, len(candidates))
        candidates = np.append(candidates, -1)  # so that -1, no title, stays -1
    for ranking in rank_together(user_emb, item_emb, users, seen, k, None, config["seed"], config["eval_memory_mb"]):
        items = ranking.items if candidates is None else candidates[ranking.items]
        for user, *titles in zip(ranking.user_ids, items.tolist(), ranking.scores.tolist(), strict=True):
            yield dataset.raw_user_ids[user], titled(dataset, *titles)


def titled(dataset: Dataset, items: list[int], scores: list[float]) -> list[dict[str, Any]]:
    """Add ids and names to a list of item rows, leaving out the -1 of rank_items."""
    return [
        {"subject_id": dataset.raw_item_ids[item], "name": dataset.item_names[item], "score": score}
        for item, score in zip(items, scores, strict=True)
        if item >= 0
    ]


# --- files ---


def write_lists(path: Path, lists: Lists, bom: bool = False) -> None:
    """Write lists as they come, whole or not at all, in the format that the name of the file ends in.

    .json is {user_id: [{subject_id, name, score}, ...]}, a user a line; .jsonl {"user_id", "titles"} a line; .csv, .tsv
    and .parquet have a row a title, with COLUMNS. In .csv all text is quoted, also where it looks like a number. In
    .csv and .tsv an apostrophe stands before text that a spreadsheet would run as a formula. With bom a text begins
    with the mark of UTF-8, which Excel asks for.
    """
    check_format(path)
    with atomic_write(path) as file:
        if path.suffix.lower() == ".parquet":
            _write_parquet(file, lists)
            return
        text = io.TextIOWrapper(file, encoding="utf-8-sig" if bom else "utf-8", newline="")
        WRITERS[path.suffix.lower()](text, lists)
        text.detach()  # flushes, and leaves the closing to atomic_write


def check_format(path: Path, marked: bool = False, with_reasons: bool = False) -> None:
    """Raise ValueError unless lists can be written to a file of this name, for Excel and with reasons where asked."""
    formats = ", ".join(WRITERS)
    suffix = path.suffix.lower()
    if suffix not in (*WRITERS, ".parquet"):
        raise ValueError(f"--out is {str(path)!r}; let it end in one of: {formats}, .parquet")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(
            f"{path} needs pyarrow, which is not installed; pip install pyarrow, or write one of: {formats}"
        )
    if marked and suffix not in (".csv", ".tsv"):
        raise ValueError(f"{str(path)!r} is no table for Excel; end --out in .csv or .tsv, or leave out --bom")
    if with_reasons and suffix not in (".json", ".jsonl"):
        where = "end --out in .json or .jsonl, or leave out --why and --parts"
        raise ValueError(f"{str(path)!r} has no place for reasons; {where}")


def write_indented(path: Path, lists: Lists) -> None:
    """Write lists as they come, as files.write_json writes them all: JSON a person can read, whole or not at all."""
    with atomic_write(path) as file:
        start = "{"
        for whose, titles in lists:
            entries = (
                "{\n" + ",\n".join(f"   {_json(key)}: {_json(value)}" for key, value in title.items()) + "\n  }"
                for title in titles
            )
            listed = "[\n  " + ",\n  ".join(entries) + "\n ]" if titles else "[]"
            file.write(f"{start}\n {_json(whose)}: {listed}".encode())
            start = ","
        file.write(b"{}" if start == "{" else b"\n}")


def first_lists(path: Path, n: int) -> dict[str, list[dict[str, Any]]]:
    """Read the first n lists of a file of write_indented or, as .json, of write_lists, and no more of it."""
    lines, left = [], n
    with path.open(encoding="utf-8") as file:
        for line in file:
            lines.append(line)
            left -= line.startswith((" ]", ' "')) and line.rstrip(",\n").endswith("]")
            if not left:
                break
    text = "".join(lines).rstrip()
    lists = json.loads(text if text.endswith("}") else text.removesuffix(",") + "}")
    return dict(islice(lists.items(), n))


def _write_json(file: TextIO, lists: Lists) -> None:
    start = "{\n "
    for whose, titles in lists:
        file.write(f"{start}{_json(whose)}: {_json(titles)}")
        start = ",\n "
    file.write("{}\n" if start.startswith("{") else "\n}\n")


def _write_jsonl(file: TextIO, lists: Lists) -> None:
    file.writelines(_json({"user_id": whose, "titles": titles}) + "\n" for whose, titles in lists)


def _write_table(file: TextIO, lists: Lists, delimiter: str) -> None:
    quoting = csv.QUOTE_NONNUMERIC if delimiter == "," else csv.QUOTE_MINIMAL
    writer, formulas = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=quoting), set[str]()
    writer.writerow(COLUMNS)
    for row in _rows(lists):
        found = {cell for cell in row if isinstance(cell, str) and FORMULA.match(cell)}
        formulas |= found
        writer.writerow([f"'{cell}" if cell in found else cell for cell in row] if found else row)
    if formulas:
        log.warning(
            f"an apostrophe stands before {len(formulas):,} names or ids, which a spreadsheet would run as formulas "
            f"(one: {min(formulas)!r}); .json, .jsonl and .parquet have all as in the data"
        )


def _write_parquet(file: IO[bytes], lists: Lists) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, kinds = pa.string(), {"rank": pa.int32(), "score": pa.float32()}
    schema = pa.schema([(name, kinds.get(name, text)) for name in COLUMNS])
    rows = _rows(lists)
    with pq.ParquetWriter(file, schema) as writer:
        while block := list(islice(rows, ROWS)):
            writer.write_table(pa.table(list(map(list, zip(*block, strict=True))), schema=schema))


def _rows(lists: Lists) -> Iterator[tuple[str, int, str, str, float]]:
    return (
        (whose, rank, title["subject_id"], title["name"], title["score"])
        for whose, titles in lists
        for rank, title in enumerate(titles, start=1)
    )


_json = partial(json.dumps, ensure_ascii=False)
WRITERS = {
    ".json": _write_json,
    ".jsonl": _write_jsonl,
    ".csv": partial(_write_table, delimiter=","),
    ".tsv": partial(_write_table, delimiter="\t"),
}
